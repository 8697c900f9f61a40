"""The commands that issue keys, show them and name them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from keyguard import lifecycle
from keyguard.cli._app import command, group
from keyguard.cli._arguments import Expires, KeyName, Lifetime, OwnerName
from keyguard.cli._failures import ExitCode, Failed, NotPrinted
from keyguard.cli._invocation import Invocation
from keyguard.cli._named import key_named, owner_named
from keyguard.cli._output import instant
from keyguard.cli._shown import key_document, last_use, name_of, owner_word, scopes_word
from keyguard.cli._values import expiry_of, json_object, time
from keyguard.clock import utc_now
from keyguard.model import KeyRecord, KeyState, Owner, Usage

__all__ = ["keys", "show_new_key"]

_STATES = ", ".join(repr(state.value) if " " in state.value else state.value for state in KeyState)

keys = group("key", "Issue, list, rotate and revoke keys.")


@command(keys, "issue")
async def issue(
    invocation: Invocation,
    owner: OwnerName,
    *,
    name: Annotated[str, typer.Option(metavar="TEXT", help="What the key is called.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="What it may do; may be repeated. Without it, all that its owner may."),
    ] = None,
    no_scopes: Annotated[bool, typer.Option("--no-scopes", help="It may do nothing but be known.")] = False,
    network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="From where it may be used; may be repeated.")
    ] = None,
    not_before: Annotated[
        datetime | None, typer.Option(parser=time, metavar="TIME", help="From when on it is good.")
    ] = None,
    expires: Expires = None,
    lifetime: Lifetime = None,
    metadata: Annotated[
        dict[str, Any] | None, typer.Option(parser=json_object, metavar="JSON", help="What the app notes about it.")
    ] = None,
) -> None:
    """Issue a key, and print it on standard output: this once, and alone."""
    if no_scopes and scope:
        raise Failed("--scope and --no-scopes contradict each other")
    invocation.check_output()
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        issued = await lifecycle.issue(
            store,
            found,
            name=name,
            scopes=[] if no_scopes else scope or None,
            networks=network or (),
            not_before=not_before,
            expires_at=expiry_of(expires, lifetime),
            metadata=metadata,
            actor=invocation.actor,
        )
    show_new_key(invocation, issued, found, f"Issued {name_of(issued.record)} to {found.name}.")


def show_new_key(invocation: Invocation, issued: lifecycle.Issued, owner: Owner, what: str, **more: object) -> None:
    """Print the text of a new key, which nobody can read back later; `what` was done goes to standard error."""
    text = issued.key.reveal()
    try:
        if invocation.as_json:
            invocation.output.json({"text": text, "key": key_document(issued.record, owner), **more})
        else:
            invocation.output.secret(text)
    except NotPrinted:
        raise Failed(
            f"{what} But it could not be printed, so nobody has it: revoke {name_of(issued.record)}, and try again",
            ExitCode.NOT_PRINTED,
        ) from None
    invocation.output.note(f"{what} It is shown this once.")


@command(keys, "list")
async def list_(
    invocation: Invocation,
    *,
    owner: Annotated[
        str | None, typer.Option(metavar="OWNER", help="Those of this owner alone: a name or an id.")
    ] = None,
    state: Annotated[
        KeyState | None, typer.Option(metavar="STATE", help=f"Those in this state alone: {_STATES}.")
    ] = None,
    begins: Annotated[str, typer.Option(metavar="TEXT", help="Those whose prefix and id begin so: kg_3f.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="So many at most.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Those behind this key: the next page.")] = None,
) -> None:
    """List keys, the newest first, revoked ones included."""
    now = utc_now()
    async with invocation.opened() as store:
        found = await lifecycle.list_keys(
            store,
            None if owner is None else await owner_named(store, owner),
            state=state,
            begins=begins,
            after=None if after is None else await key_named(store, after),
            limit=limit + 1,
            clock=lambda: now,
        )
        found, rest = found[:limit], found[limit:]
        known = {each.id: each for each in await store.list_owners()}
        uses = await lifecycle.usages(store, [record.id for record in found])
    if invocation.as_json:
        documents = [key_document(record, known.get(record.owner_id), uses[record.id], now) for record in found]
        return invocation.output.json({"keys": documents, "next": found[-1].id if rest else None})
    invocation.output.table(
        ["key", "name", "owner", "state", "last used", "uses", "expires", "scopes"],
        [_row(record, known.get(record.owner_id), uses[record.id], now) for record in found],
        whole=["key", "last used", "expires"],
    )
    if rest:
        invocation.output.note(f"There are more: --after {found[-1].id}")
    elif not found:
        invocation.output.note("There is no such key.")
    return None


def _row(record: KeyRecord, owner: Owner | None, uses: Usage, now: datetime) -> Sequence[object]:
    return [
        name_of(record),
        record.name,
        owner_word(record, owner),
        record.state(now).value,
        f"{uses.last_used_at:%Y-%m-%d}" if uses.last_used_at else "never",
        uses.total,
        f"{record.expires_at:%Y-%m-%d}" if record.expires_at else "never",
        scopes_word(record),
    ]


@command(keys, "show")
async def show(invocation: Invocation, key: KeyName) -> None:
    """Show all that is known of a key: everything but its secret, which nobody knows."""
    now = utc_now()
    async with invocation.opened() as store:
        record = await key_named(store, key)
        owner = await store.get_owner(record.owner_id)
        uses = await lifecycle.usage(store, record.id)
    if invocation.as_json:
        return invocation.output.json({"key": key_document(record, owner, uses, now)})
    pairs: list[tuple[str, object]] = [
        ("key", name_of(record)),
        ("id", record.id),
        ("name", record.name),
        ("owner", f"{owner_word(record, owner)}, id {record.owner_id}"),
        ("state", record.state(now).value),
        ("scopes", scopes_word(record)),
        ("networks", ", ".join(map(str, record.networks)) or "anywhere"),
        ("created", instant(record.created_at)),
        ("not before", instant(record.not_before)),
        ("expires", instant(record.expires_at, otherwise="never")),
        ("disabled", instant(record.disabled_at)),
        ("revoked", instant(record.revoked_at)),
        ("revoked because", record.revoked_reason),
        ("replaced", instant(record.rotated_at)),
        ("took the place of", record.rotated_from or ""),
        ("uses", uses.total),
        ("last used", last_use(uses)),
        ("metadata", record.metadata_json if record.metadata else ""),
    ]
    invocation.output.pairs((name, value) for name, value in pairs if value != "")
    return None


@command(keys, "rename")
async def rename(
    invocation: Invocation,
    key: KeyName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called from now on.")],
) -> None:
    """Give a key another name."""
    async with invocation.opened() as store:
        record = await key_named(store, key)
        await lifecycle.rename(store, record.id, name, actor=invocation.actor)
        record = await lifecycle.get(store, record.id)
        owner = await store.get_owner(record.owner_id)
    invocation.done(f"{name_of(record)} is called “{record.name}” now.", {"key": key_document(record, owner)})
