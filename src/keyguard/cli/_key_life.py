"""The commands that end keys: for a while, for good, or for another one to take their place."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from keyguard import lifecycle
from keyguard.cli._app import command
from keyguard.cli._arguments import Expires, KeyName, Lifetime, Yes
from keyguard.cli._failures import Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._keys import keys, show_new_key
from keyguard.cli._named import key_named
from keyguard.cli._output import instant
from keyguard.cli._shown import amount_of, called, key_document, name_of
from keyguard.cli._values import ago, duration, expiry_of, time
from keyguard.clock import utc_now
from keyguard.model import KeyRecord, KeyState, Owner
from keyguard.stores.sql import SQLStore

__all__: list[str] = []


@command(keys, "rotate")
async def rotate(
    invocation: Invocation,
    key: KeyName,
    *,
    grace: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="How long the old key is still good beside the new one."
        ),
    ] = None,
    expires: Expires = None,
    lifetime: Lifetime = None,
    yes: Yes = False,
) -> None:
    """Issue a key in the place of another one, and print it on standard output: this once, and alone.

    It keeps name, scopes and networks. Without --grace the old key is revoked at once.
    """
    invocation.check_output()
    async with invocation.opened() as store:
        record = await key_named(store, key)
        owner = await store.get_owner(record.owner_id)
        if not grace:
            invocation.confirm(f"Rotate {called(record, owner)} without a grace? It is refused at once.", yes=yes)
        issued = await lifecycle.rotate(
            store,
            record.id,
            grace=grace or timedelta(0),
            expires_at=expiry_of(expires, lifetime),
            actor=invocation.actor,
        )
        old = await lifecycle.get(store, record.id)
        owner = owner or Owner(id=record.owner_id, name="")
    end = f"is good until {instant(old.expires_at)}" if grace else "is revoked"
    what = f"Issued {name_of(issued.record)} in the place of {name_of(record)}, which {end}."
    show_new_key(invocation, issued, owner, what, old=key_document(old, owner))


@command(keys, "end-grace")
async def end_grace(invocation: Invocation, key: KeyName, *, yes: Yes = False) -> None:
    """Revoke a key that was rotated, before its grace is over."""
    async with invocation.opened() as store:
        record = await key_named(store, key)
        owner = await store.get_owner(record.owner_id)
        invocation.confirm(f"End the grace of {called(record, owner)}? It is refused at once.", yes=yes)
        changed = await lifecycle.end_grace(store, record.id, actor=invocation.actor)
        await _report(invocation, store, record, "Ended the grace of", changed=changed, otherwise="was revoked before")


@command(keys, "revoke")
async def revoke(
    invocation: Invocation,
    key: KeyName,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who look later.")] = "",
    yes: Yes = False,
) -> None:
    """Refuse a key from now on, for good."""
    async with invocation.opened() as store:
        record = await key_named(store, key)
        owner = await store.get_owner(record.owner_id)
        invocation.confirm(f"Revoke {called(record, owner)}? That cannot be undone.", yes=yes)
        changed = await lifecycle.revoke(store, record.id, reason=reason, actor=invocation.actor)
        await _report(invocation, store, record, "Revoked", changed=changed, otherwise="was revoked before")


@command(keys, "disable")
async def disable(invocation: Invocation, key: KeyName) -> None:
    """Refuse a key until it is enabled again."""
    async with invocation.opened() as store:
        record = await key_named(store, key)
        changed = await lifecycle.disable(store, record.id, actor=invocation.actor)
        await _report(invocation, store, record, "Disabled", changed=changed, otherwise="is disabled already")


@command(keys, "enable")
async def enable(invocation: Invocation, key: KeyName) -> None:
    """Accept a disabled key again."""
    async with invocation.opened() as store:
        record = await key_named(store, key)
        changed = await lifecycle.enable(store, record.id, actor=invocation.actor)
        await _report(invocation, store, record, "Enabled", changed=changed, otherwise="is not disabled")


@command(keys, "purge")
async def purge(
    invocation: Invocation,
    *,
    older_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="Those that were revoked or expired so long ago."),
    ] = None,
    before: Annotated[
        datetime | None, typer.Option(parser=time, metavar="TIME", help="Those that were revoked or expired before.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete the rows of keys that ended some time ago, with their uses. Audit events stay."""
    if (older_than is None) == (before is None):
        raise Failed("say --older-than or --before, and not both")
    end = before or ago(older_than or timedelta(0))
    async with invocation.opened() as store:
        count = await _purge(invocation, store, end, yes=yes)
    invocation.done(f"Deleted {amount_of(count, 'key')}.", {"purged": count})


async def _purge(invocation: Invocation, store: SQLStore, end: datetime, *, yes: bool) -> int:
    now = utc_now()
    revoked = await store.list_keys(state=KeyState.REVOKED, at=now)
    expired = await store.list_keys(state=KeyState.EXPIRED, at=now)
    ends = [min(each for each in (key.revoked_at, key.expires_at) if each) for key in (*revoked, *expired)]
    count = sum(each < end for each in ends)
    if count:
        what = f"{amount_of(count, 'key')} that ended before {instant(end)}"
        invocation.confirm(f"Delete {what}? That cannot be undone.", yes=yes)
    return await lifecycle.purge(store, end, actor=invocation.actor)


async def _report(
    invocation: Invocation, store: SQLStore, record: KeyRecord, did: str, *, changed: bool, otherwise: str
) -> None:
    """Say what was done, or what was so `otherwise`, and in JSON what the key is now."""
    record = await lifecycle.get(store, record.id)
    owner = await store.get_owner(record.owner_id)
    sentence = f"{did} {name_of(record)}." if changed else f"{name_of(record)} {otherwise}."
    invocation.done(sentence, {"changed": changed, "key": key_document(record, owner)})
