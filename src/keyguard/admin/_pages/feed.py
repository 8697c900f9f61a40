"""What was done to a key, or to an owner and their keys: audit events, with the names of all who are in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from keyguard.admin._desk import Desk
from keyguard.admin._pages.listing import Part
from keyguard.admin._pages.told import Told, told
from keyguard.admin._visit import Visit
from keyguard.model import AuditEvent, AuditKind, KeyRecord

__all__ = ["PER_PAGE", "Done", "before_of", "feed", "part", "successor_of"]

PER_PAGE = 25

_MOST_DIGITS = 18
"""Of an event's id: databases count in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One event as it is shown; `key` and `other` are None where that key is gone, or another owner's."""

    at: datetime
    by: str
    told: Told
    key_id: str
    key: KeyRecord | None
    other: KeyRecord | None


async def feed(desk: Desk, events: Sequence[AuditEvent]) -> list[Done]:
    """Find out who and what is in events."""
    names = await desk.names_of_actors(events)
    words = [(event, told(event)) for event in events]
    ids = {event.key_id or "" for event in events} | {each.key_id for _, each in words}
    keys = await desk.keys_of(ids - {""})
    return [
        Done(
            at=event.at,
            by="You" if event.actor == desk.visitor.owner.id else names.get(event.actor, event.actor),
            told=each,
            key_id=event.key_id or "",
            key=keys.get(event.key_id or ""),
            other=keys.get(each.key_id),
        )
        for event, each in words
    ]


def before_of(visit: Visit) -> int | None:
    """Return before which event the events begin that an address asks for; None for the latest."""
    written = visit.request.query_params.get("before", "")
    return int(written) if written.isascii() and written.isdigit() and len(written) <= _MOST_DIGITS else None


def part(visit: Visit, path: str, events: Sequence[AuditEvent], **query: str | None) -> Part:
    """Return the links to newer and to older events; `events` is one more than is shown, if there are more."""
    older = visit.url(path, **query, before=str(events[PER_PAGE - 1].id)) if len(events) > PER_PAGE else ""
    return Part(
        before="" if before_of(visit) is None else visit.url(path, **query),
        before_word="Latest",
        behind=older,
        behind_word="Older",
    )


async def successor_of(desk: Desk, key: KeyRecord) -> str:
    """Return the id of the key that has taken the place of `key`; empty if none has, or nobody has noted it."""
    if key.rotated_at is None:
        return ""
    events = await desk.key_events(key.id, kinds={AuditKind.KEY_ROTATED}, limit=1)
    return next((told(event).key_id for event in events), "")
