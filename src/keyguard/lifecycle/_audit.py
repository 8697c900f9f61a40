"""Who changed what, and when: the events that the functions here leave, and how they are read."""

from collections.abc import Iterable
from datetime import datetime

from keyguard.lifecycle._arguments import Actor, actor_of, check_count, check_is, check_text, id_of, in_utc
from keyguard.model import AuditEvent, AuditKind, KeyRecord, Owner
from keyguard.ports import AuditLog

__all__ = ["born", "event", "events", "iso"]

Detail = str | bool | list[str] | None


def event(
    kind: AuditKind,
    at: datetime,
    actor: Actor | None,
    *,
    key_id: str | None = None,
    owner_id: str | None = None,
    **detail: Detail,
) -> AuditEvent:
    """Return the event of a change; the store gives that of a key its owner."""
    return AuditEvent(at=at, kind=kind, actor=actor_of(actor), key_id=key_id, owner_id=owner_id, detail=detail)


def born(kind: AuditKind, record: KeyRecord, actor: Actor | None) -> AuditEvent:
    """Return the event of a new key, which says all of it that a check goes by, and what people know it by."""
    return event(
        kind,
        record.created_at,
        actor,
        key_id=record.id,
        prefix=record.prefix,
        name=record.name,
        scopes=sorted(record.scopes),
        networks=[str(network) for network in record.networks],
        not_before=iso(record.not_before),
        expires_at=iso(record.expires_at),
        disabled_at=iso(record.disabled_at),
        rotated_from=record.rotated_from,
    )


def iso(time: datetime | None) -> str | None:
    """Write a time as text."""
    return None if time is None else time.isoformat()


async def events(
    store: AuditLog,
    *,
    key: KeyRecord | str | None = None,
    owner: Owner | str | None = None,
    kinds: Iterable[AuditKind] | None = None,
    since: datetime | None = None,
    before: AuditEvent | int | None = None,
    limit: int | None = 100,
) -> list[AuditEvent]:
    """Return who changed what, the newest first: all events that fit everything that is given.

    An event stays when its key or owner is gone.

    Args:
        store: whose log it is.
        key: the key that was changed: its record or its id.
        owner: the owner who was changed, or whose key was: an `Owner`, or the id of one.
        kinds: what was done.
        since: the earliest time.
        before: the event, or the `id` of it, that all others come before: the last one of the page before this one.
        limit: how many at most; None for all.

    Raises:
        ConfigurationError: if an argument is not as above.
    """
    for what, value in {"key": key, "owner": owner}.items():
        if value is not None and not isinstance(value, KeyRecord | Owner):
            check_text(what, value)
    if before is not None and not isinstance(before, AuditEvent):
        check_is("before", int, before)
    chosen = None if kinds is None else frozenset(kinds)
    for kind in chosen or ():
        check_is("each of kinds", AuditKind, kind)
    if limit is not None:
        check_count("limit", limit)
    return await store.list_events(
        key_id=key.id if isinstance(key, KeyRecord) else key,
        owner_id=None if owner is None else id_of(owner),
        kinds=chosen,
        since=in_utc("since", since),
        before=before.id if isinstance(before, AuditEvent) else before,
        limit=limit,
    )
