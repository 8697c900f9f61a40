"""The command that looks whether a database, its server and the environment are as Keyguard needs them."""

from collections import Counter

import typer

from keyguard.cli import _doctor_postgres, _doctor_sqlite
from keyguard.cli._app import app, command
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._findings import Finding, Verdict
from keyguard.cli._invocation import Invocation
from keyguard.cli._shown import amount_of

__all__: list[str] = []


@command(app, "doctor")
async def doctor(invocation: Invocation) -> None:
    """Look whether all is as it should be.

    What is not comes with what to do. Nothing is changed, but that on PostgreSQL a row is written into
    keyguard_listener, as each worker does, and removed.
    """
    found = await _examine(invocation)
    count = Counter(finding.verdict for finding in found)
    if invocation.as_json:
        findings = [
            {"about": each.about, "verdict": each.verdict.value, "what": each.what, "to_do": each.to_do}
            for each in found
        ]
        invocation.output.json({"findings": findings, "problems": count[Verdict.PROBLEM]})
    else:
        for each in found:
            invocation.output.item(f"{each.verdict.value}: {each.about}", f"{each.what} {each.to_do}")
        problems, warnings = count[Verdict.PROBLEM], count[Verdict.WARNING]
        invocation.output.line(f"{amount_of(problems, 'problem')}, {amount_of(warnings, 'warning')}.")
    if count[Verdict.PROBLEM]:
        raise typer.Exit(ExitCode.FOUND)


async def _examine(invocation: Invocation) -> list[Finding]:
    store = invocation.store()
    match store.url.get_backend_name():
        case "sqlite":
            return _doctor_sqlite.examine(store)
        case "postgresql":
            return await _doctor_postgres.examine(store)
        case other:
            raise Failed(f"doctor knows SQLite and PostgreSQL, and nothing of {other}")
