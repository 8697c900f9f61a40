"""The audit log in memory."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from keyguard.model import AuditEvent, AuditKind, KeyRecord
from keyguard.stores._text import check_storable, json_of

__all__ = ["NotesInMemory", "check_events"]


class NotesInMemory:
    """The part of a store that makes it a `keyguard.ports.AuditLog`; it knows the keys, whose owners events name."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, KeyRecord] = {}
        self._events: list[AuditEvent] = []

    async def list_events(
        self,
        *,
        key_id: str | None = None,
        owner_id: str | None = None,
        kinds: Collection[AuditKind] | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[AuditEvent]:
        """Return the events that fit all that is given, the newest first."""
        fitting = [
            _copy(event)
            for event in reversed(self._events)
            if key_id in {None, event.key_id}
            and owner_id in {None, event.owner_id}
            and (kinds is None or event.kind in kinds)
            and (since is None or event.at >= since)
            and (before is None or event.id < before)
        ]
        return fitting[:limit]

    def _note(self, events: Sequence[AuditEvent]) -> None:
        for event in events:
            owner_id = event.owner_id
            if owner_id is None and event.key_id in self._keys:
                owner_id = self._keys[event.key_id].owner_id
            self._events.append(replace(_copy(event), owner_id=owner_id, id=len(self._events) + 1))


def check_events(events: Sequence[AuditEvent]) -> None:
    """Raise `ConfigurationError` if one of `events` cannot be stored."""
    for event in events:
        check_storable([event.actor, event.key_id, event.owner_id])
        json_of(event.detail)


def _copy(event: AuditEvent) -> AuditEvent:
    """Return an event whose detail is its own: what JSON makes of it, as in a database."""
    return replace(event, detail=json.loads(json_of(event.detail)))
