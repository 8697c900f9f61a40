"""Counting uses in a database, which adds up itself, so that workers never overwrite one another."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, delete, insert, or_, select, update

from keyguard.model import Usage
from keyguard.stores._changes import batches, put
from keyguard.stores._schema import Schema
from keyguard.stores._text import is_storable

__all__ = ["add_up", "record", "selects", "usage_of"]

_KEPT = timedelta(days=7)
"""How long a worker's last batch is known by its number. It tries again each few seconds."""


def record(connection: Connection, schema: Schema, uses: Mapping[str, Usage], *, worker: str, sequence: int) -> None:
    """Add `uses` to the table, unless this batch was added before.

    Its note comes first: of two transactions with the same batch, one waits there for the other.
    """
    flushes = schema.flushes
    now = datetime.now(UTC)
    noted = {"sequence": sequence, "written_at": now}
    is_worker = flushes.c.worker == worker
    if not connection.execute(update(flushes).where(is_worker, flushes.c.sequence < sequence).values(noted)).rowcount:
        if connection.execute(select(flushes.c.worker).where(is_worker)).first() is not None:
            return
        # It is new workers that make the table grow.
        connection.execute(delete(flushes).where(flushes.c.written_at < now - _KEPT))
        connection.execute(insert(flushes).values(noted | {"worker": worker}))
    add_up(connection, schema, uses)


def add_up(connection: Connection, schema: Schema, uses: Mapping[str, Usage]) -> None:
    """Add `uses` to the table."""
    if rows := _rows(uses):
        put(connection, schema.uses, rows, lambda new: _sums(schema.uses, new))


def _rows(uses: Mapping[str, Usage]) -> list[dict[str, Any]]:
    """Return the rows in the order of their ids, in which all workers lock them: none waits for one that waits for it.

    What no database takes is left out, so that it does not keep the others from being counted.
    """
    return [
        {
            "key_id": key_id,
            "total": use.total,
            "last_used_at": use.last_used_at,
            "last_used_address": use.last_used_address if is_storable(use.last_used_address or "") else None,
        }
        for key_id, use in sorted(uses.items())
        if is_storable(key_id)
    ]


def _sums(uses: Table, new: Mapping[str, ColumnElement[Any]]) -> dict[str, Any]:
    """Return what a row becomes: time and address go together, and never back."""
    is_later = or_(uses.c.last_used_at.is_(None), uses.c.last_used_at < new["last_used_at"])
    return {
        "total": uses.c.total + new["total"],
        "last_used_at": case((is_later, new["last_used_at"]), else_=uses.c.last_used_at),
        "last_used_address": case((is_later, new["last_used_address"]), else_=uses.c.last_used_address),
    }


def selects(schema: Schema, key_ids: Collection[str]) -> Iterator[Select[Any]]:
    """Return the statements that select the uses of these keys."""
    known = [key_id for key_id in key_ids if is_storable(key_id)]
    for batch in batches(known):
        yield select(schema.uses).where(schema.uses.c.key_id.in_(batch))


def usage_of(row: Row[Any]) -> Usage:
    return Usage(total=row.total, last_used_at=row.last_used_at, last_used_address=row.last_used_address)
