"""Who changed what, in a database: events are written in the transaction of the change that they tell of."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, false, insert, select

from keyguard.errors import StoreUnavailable
from keyguard.model import AuditEvent, AuditKind
from keyguard.stores._changes import Change, batches, bounded
from keyguard.stores._schema import Schema
from keyguard.stores._text import check_storable, is_storable, json_of

__all__ = ["Audit", "event_of"]

_T = TypeVar("_T")


class Audit:
    """The events of one store."""

    def __init__(self, schema: Schema) -> None:
        self._events = schema.events
        self._keys = schema.keys

    def telling(self, change: Change[_T], events: Sequence[AuditEvent]) -> Change[_T]:
        """Return what makes a change and then writes `events`, unless it returns that nothing was changed.

        That is what False and 0 say. Raises `ConfigurationError` at once if the events cannot be stored.
        """
        rows = list(map(_row_of, events))

        def tell(connection: Connection) -> _T:
            result = change(connection)
            if rows and (result is None or result):
                self._write(connection, rows)
            return result

        return tell

    def write(self, connection: Connection, events: Sequence[AuditEvent]) -> None:
        """Write `events`."""
        if events:
            self._write(connection, list(map(_row_of, events)))

    def _write(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows, those of keys with the owners that the keys have now."""
        owners: dict[str, str] = {}
        keys, of_whom = self._keys.c, sorted({row["key_id"] for row in rows if row["owner_id"] is None} - {None})
        for batch in batches(of_whom):
            for key in connection.execute(select(keys.id, keys.owner_id).where(keys.id.in_(batch))):
                owners[key.id] = str(key.owner_id)
        for row in rows:
            if row["owner_id"] is None:
                row["owner_id"] = owners.get(row["key_id"])
        connection.execute(insert(self._events), rows)

    def listing(
        self,
        *,
        key_id: str | None,
        owner_id: str | None,
        kinds: Collection[AuditKind] | None,
        since: datetime | None,
        before: int | None,
        limit: int | None,
    ) -> Select[Any]:
        """Select the events that fit all that is given, the newest first."""
        columns = self._events.c
        statement = select(self._events).order_by(columns.id.desc()).limit(bounded(limit))
        for column, value in ((columns.key_id, key_id), (columns.owner_id, owner_id)):
            if value is not None:
                statement = statement.where(column == value if is_storable(value) else false())
        if kinds is not None:
            statement = statement.where(columns.kind.in_([kind.value for kind in kinds]))
        if since is not None:
            statement = statement.where(columns.at >= since)
        if before is not None:
            statement = statement.where(columns.id < bounded(before))
        return statement


def _row_of(event: AuditEvent) -> dict[str, Any]:
    check_storable([event.actor, event.key_id, event.owner_id])
    return {
        "at": event.at,
        "kind": event.kind.value,
        "actor": event.actor,
        "key_id": event.key_id,
        "owner_id": event.owner_id,
        "detail": json_of(event.detail),
    }


def event_of(row: Row[Any]) -> AuditEvent:
    """Return the event that a row holds. Raises `StoreUnavailable` if somebody wrote into it what cannot be read."""
    try:
        kind, detail = AuditKind(row.kind), json.loads(row.detail)
    except ValueError:
        raise StoreUnavailable(f"the event {row.id} is of no kind that is known here, or has no JSON detail") from None
    return AuditEvent(
        id=row.id,
        at=row.at,
        kind=kind,
        actor=row.actor,
        key_id=row.key_id,
        owner_id=row.owner_id,
        detail=detail,
    )
