"""Taking users, keys and variables over from Langflow."""

from collections.abc import Mapping
from typing import assert_type

from keyguard import Keyring, langflow
from keyguard.langflow import LANGFLOW_KEYS, Kind, Note, Outcome, Plan, Report
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.vault import SecretKeys, Vault

keyring = Keyring(formats=[LANGFLOW_KEYS])


async def into_a_database(secret: str) -> None:
    store = SQLStore("sqlite+aiosqlite:///keys.db", keyring=keyring)
    vault = Vault(store, SecretKeys.from_file("secret.key"))
    plan = await langflow.plan("sqlite:///langflow.db", store, secret=secret, vault=vault)
    assert_type(plan, Plan)
    assert_type(plan.expected.outcomes(Kind.KEY), Mapping[Outcome, int])
    assert_type(plan.expected.notes(Kind.USER), Mapping[Note, int])
    report = await langflow.carry_out(plan, store, vault=vault, actor="ada")
    assert_type(report, Report)
    assert_type(report.changes, int)


async def into_memory() -> None:
    store = MemoryStore(keyring=keyring)
    plan = await langflow.plan("postgresql://langflow@localhost/langflow", store)
    await langflow.carry_out(plan, store)
