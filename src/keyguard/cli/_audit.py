"""The command that shows who changed what, and when."""

import json
from datetime import datetime
from typing import Annotated

import typer

from keyguard import lifecycle
from keyguard.cli._app import app, command
from keyguard.cli._arguments import OwnerFilter
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._named import key_named, owner_named
from keyguard.cli._output import instant
from keyguard.cli._values import time_or_age
from keyguard.model import AuditEvent, AuditKind
from keyguard.stores.sql import SQLStore

__all__: list[str] = []


@command(app, "audit")
async def audit(
    invocation: Invocation,
    *,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Those of this key alone.")] = None,
    owner: OwnerFilter = None,
    kind: Annotated[
        list[AuditKind] | None,
        typer.Option(metavar="KIND", help="Those of this kind alone, such as key.revoked; may be repeated."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=time_or_age, metavar="TIME", help="Those since then: a time, or how long ago, such as 24h."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="So many at most.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Those before this one: the next page.")
    ] = None,
) -> None:
    """Show who changed what, and when, the latest change first."""
    async with invocation.opened() as store:
        events = await lifecycle.events(
            store,
            key=None if key is None else await _key_id(store, key),
            owner=None if owner is None else await _owner_id(store, owner),
            kinds=kind or None,
            since=since,
            before=before,
            limit=limit + 1,
        )
        events, rest = events[:limit], events[limit:]
        names = {each.id: each.name for each in await store.list_owners()}
    if invocation.as_json:
        documents = [_document(event, names.get(event.owner_id or "")) for event in events]
        return invocation.output.json({"events": documents, "next": events[-1].id if rest else None})
    for event in events:
        invocation.output.item(*_lines(event, names.get(event.owner_id or "")))
    if rest:
        invocation.output.note(f"There are more: --before {events[-1].id}")
    elif not events:
        invocation.output.note("There is no such event.")
    return None


async def _key_id(store: SQLStore, text: str) -> str:
    """Return the id of a key, which need not be there any more: its events stay."""
    try:
        return (await key_named(store, text)).id
    except Failed as failure:
        if failure.code is not ExitCode.NOT_FOUND:
            raise
        return text


async def _owner_id(store: SQLStore, text: str) -> str:
    """Return the id of an owner, who need not be there any more."""
    try:
        return (await owner_named(store, text)).id
    except Failed as failure:
        if failure.code is not ExitCode.NOT_FOUND:
            raise
        return text.removeprefix("id:")


def _lines(event: AuditEvent, owner: str | None) -> tuple[str, str]:
    """Return when what was done by whom, and to what; what is not set is left out."""
    done = f"{instant(event.at)}  {event.kind.value}"
    if event.actor:
        done += f"  by {event.actor}"
    subject = " of ".join(
        ([f"key {event.key_id}"] if event.key_id else [])
        + ([f"owner {owner or event.owner_id}"] if event.owner_id else [])
    )
    said = {name: value for name, value in event.detail.items() if value not in (None, "", [])}
    detail = ", ".join(f"{name} {_word(value)}" for name, value in said.items())
    return done, ": ".join(part for part in (subject, detail) if part)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _document(event: AuditEvent, owner: str | None) -> dict[str, object]:
    return {
        "id": event.id,
        "at": event.at,
        "kind": event.kind.value,
        "actor": event.actor,
        "key_id": event.key_id,
        "owner": None if event.owner_id is None else {"id": event.owner_id, "name": owner},
        "detail": dict(event.detail),
    }
