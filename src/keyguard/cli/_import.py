"""The commands that take over what another program keeps."""

import os
from pathlib import Path
from typing import Annotated

import typer

from keyguard import langflow as another
from keyguard.cli._app import command, group
from keyguard.cli._failures import Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._vault import vault_of
from keyguard.langflow import Kind, Outcome, Report
from keyguard.stores.sql import SQLStore
from keyguard.vault import FILE_VARIABLE, KEY_VARIABLE, Vault

__all__: list[str] = []

importing = group("import", "Take over what another program keeps.")

_DATABASE, _SECRET = "LANGFLOW_DATABASE_URL", "LANGFLOW_SECRET_KEY"
"""What Langflow itself reads: where they are set they need not be said again."""

_EXPECTED = {Outcome.NEW, Outcome.PRESENT}
"""What becomes of a row that nobody has to look at."""


@command(importing, "langflow")
async def langflow(
    invocation: Invocation,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL",
            help="Langflow's database, such as sqlite:////srv/langflow/langflow.db; it is only read. "
            f"Else {_DATABASE} names it.",
        ),
    ] = "",
    secret_key_file: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The file with Langflow's secret key, or - for standard input or a prompt. "
            f"Else {_SECRET} may hold the key.",
        ),
    ] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be taken over, and write nothing.")] = False,
) -> None:
    """Take over users, API keys and variables from Langflow, whose programs go on with the keys that they have.

    It may be run again: what is there already is left as it is. Variables go into the vault, if the environment names
    its secret key.
    """
    url = source or os.environ.get(_DATABASE, "")
    if not url:
        raise Failed(f"which Langflow database? Say --from URL or set {_DATABASE}")
    async with invocation.opened() as store:
        vault = _vault_over(store)
        prepared = await another.plan(url, store, secret=_secret(invocation, secret_key_file), vault=vault)
        actor = invocation.actor
        report = prepared.expected if plan else await another.carry_out(prepared, store, vault=vault, actor=actor)
    if invocation.as_json:
        return invocation.output.json(_document(report, is_plan=plan))
    invocation.output.line(_summary(report, is_plan=plan))
    for line in report.lines():
        invocation.output.line(line)
    for warning in report.warnings:
        invocation.output.note(f"Warning: {warning}.")
    return None


def _vault_over(store: SQLStore) -> Vault | None:
    """Return the vault, None if the environment does not speak of one."""
    return vault_of(store) if {KEY_VARIABLE, FILE_VARIABLE} & os.environ.keys() else None


def _secret(invocation: Invocation, file: str) -> str | None:
    if file == "-":
        return invocation.read_secret("Langflow's secret key")
    if not file:
        return os.environ.get(_SECRET) or None
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failed(f"the file with Langflow's secret key cannot be read: {reason}") from None


def _summary(report: Report, *, is_plan: bool) -> str:
    if not report.changes:
        return "There is nothing new to take over. Nothing was written."
    rows = "1 row" if report.changes == 1 else f"{report.changes} rows"
    return f"Would take over {rows}. Nothing was written." if is_plan else f"Took over {rows}."


def _document(report: Report, *, is_plan: bool) -> dict[str, object]:
    return {
        "is_plan": is_plan,
        "new": report.changes,
        **{kind.value: _counts(report, kind) for kind in Kind},
        "to_look_at": [
            {
                "kind": item.kind.value,
                "id": item.id,
                "outcome": item.outcome.name.lower(),
                "notes": [note.name.lower() for note in item.notes],
                "differs": [*item.differs],
            }
            for item in report.items
            if item.outcome not in _EXPECTED
        ],
        "warnings": [*report.warnings],
    }


def _counts(report: Report, kind: Kind) -> dict[str, object]:
    return {
        "rows": report.rows(kind),
        "outcomes": {outcome.name.lower(): count for outcome, count in report.outcomes(kind).items()},
        "notes": {note.name.lower(): count for note, count in report.notes(kind).items()},
    }
