"""Bringing users, API keys and variables from Langflow, so that programs go on with the keys that they have.

::

    keyring = Keyring(formats=[LANGFLOW_KEYS])
    plan = await langflow.plan("sqlite:////srv/langflow/langflow.db", store, secret=secret, vault=vault)
    for line in plan.expected.lines():
        print(line)
    report = await langflow.carry_out(plan, store, vault=vault, actor="ada")

Langflow's database is only read, in one transaction. What is new is written in one, with its audit events; a second
time changes nothing. What cannot be read for sure is left out and counted, never guessed.
"""

from keyguard.langflow._judge import LANGFLOW_KEYS
from keyguard.langflow._plan import Plan, carry_out, plan
from keyguard.langflow._report import Item, Kind, Note, Outcome, Report

__all__ = ["LANGFLOW_KEYS", "Item", "Kind", "Note", "Outcome", "Plan", "Report", "carry_out", "plan"]
