"""What a store does in one transaction, as a function of the connection that is in it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Table,
    Update,
    and_,
    bindparam,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from keyguard.errors import Changed, Conflict, NotFound
from keyguard.stores._text import check_storable, is_storable

__all__ = ["Change", "batches", "bounded", "execute", "put", "updating"]

_T = TypeVar("_T")

Change = Callable[[Connection], _T]

_AT_ONCE = 900
"""How many values one statement asks for: older SQLites take 999 parameters."""

_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""Who knows ON CONFLICT."""


_LARGEST = 2**63 - 1
"""The largest whole number that a database takes."""


def bounded(number: int | None) -> int | None:
    """Return a number that a database takes: one that is larger means no more than the largest there."""
    return None if number is None else min(number, _LARGEST)


def batches(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Return `values` in parts, each of which one statement can ask for."""
    for begin in range(0, len(values), _AT_ONCE):
        yield values[begin : begin + _AT_ONCE]


def execute(
    connection: Connection, statement: Insert | Update | Delete, rows: Sequence[Mapping[str, Any]] | None = None
) -> int:
    """Execute `statement` and return how many rows it touched. Raises `Conflict` where something unique is taken.

    With many rows it is one statement for each of them, however many there are, and their count is not known.
    """
    try:
        return connection.execute(statement, rows).rowcount
    except IntegrityError:
        raise Conflict("that id, name or lookup is taken already") from None


def put(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    change: Callable[[Mapping[str, ColumnElement[Any]]], dict[str, Any]],
) -> None:
    """Add whole rows. One whose primary key is there already is changed to what `change` makes of the new one."""
    make = _INSERTS.get(connection.dialect.name)
    if make is not None:
        adding = make(table)
        values = change(dict(adding.excluded))
        connection.execute(adding.on_conflict_do_update(index_elements=[*table.primary_key], set_=values), rows)
        return
    new = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in table.columns}
    is_it = [column == new[column.name] for column in table.primary_key]
    changing = update(table).where(*is_it).values(change(new))
    for row in rows:
        if not connection.execute(changing, {f"new_{name}": value for name, value in row.items()}).rowcount:
            connection.execute(insert(table), row)


def updating(
    table: Table,
    kind: str,
    id_: str,
    *conditions: ColumnElement[bool],
    values: Mapping[str, object],
    expected: Sequence[ColumnElement[bool]] = (),
) -> Change[bool]:
    """Return what changes the row with that id on the conditions, and tells whether they held.

    Raises `NotFound`, at once or when it is done, if there is no such row, and `Changed` if it is not as `expected`; it
    is called by its kind then.
    """
    check_storable(values.values())
    if not is_storable(id_):
        raise NotFound(f"there is no {kind} with that id")
    is_it = table.c.id == id_
    statement = update(table).where(is_it, *expected, *conditions).values(dict(values))

    def change(connection: Connection) -> bool:
        if execute(connection, statement):
            return True
        if connection.execute(select(table.c.id).where(is_it)).first() is None:
            raise NotFound(f"there is no {kind} with that id")
        # What would be changed by now was not as expected a moment ago, and somebody has put it back meanwhile.
        is_so_already = (*expected, not_(and_(*conditions)))
        if expected and connection.execute(select(table.c.id).where(is_it, *is_so_already)).first() is None:
            raise Changed(f"the {kind} is not as it was when it was read: somebody has changed it meanwhile")
        return False

    return change
