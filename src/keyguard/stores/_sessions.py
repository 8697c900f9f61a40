"""Who has signed in, in a database: what selects sessions, and what begins and ends them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, delete, false, insert, select

from keyguard.errors import Conflict, NotFound, NotSupported
from keyguard.model import Session, SessionFound
from keyguard.stores._changes import Change, batches, execute
from keyguard.stores._owners import Owners, owner_of
from keyguard.stores._schema import Schema
from keyguard.stores._text import check_storable, is_storable

__all__ = ["Sessions", "session_in"]

_PURGED_AT_ONCE = 5_000
"""A fraction of a second's work."""


class Sessions:
    """The sessions of one store. Each method raises `NotSupported` where owners live in the app's own table."""

    def __init__(self, schema: Schema, owners: Owners) -> None:
        self._table = schema.sessions
        self._own_owners = schema.owners
        self._owners = owners

    def by_lookup(self, lookup: str) -> Select[Any]:
        """Select the session with that lookup, with its owner."""
        table, _ = self._there()
        return (
            select(table, *self._owners.columns)
            .join_from(table, self._owners.table, table.c.owner_id == self._owners.id)
            .where(self._is(lookup))
        )

    def adding(self, session: Session, password: str | None) -> Change[None]:
        """Return what adds a session, if its owner is active and, where that is given, has that password verifier.

        It locks the owner's row: whoever deactivates the owner or sets another password at the same moment waits, and
        ends this session, or is waited for and seen.
        """
        table, owners = self._there()
        check_storable([session.lookup])
        current = (
            select(owners.c.is_active, owners.c.password)
            .where(self._owners.is_whose(owners.c.id, session.owner_id))
            .with_for_update(read=True)
        )
        row = {
            "lookup": session.lookup,
            "owner_id": session.owner_id,
            "created_at": session.created_at,
            "expires_at": session.expires_at,
        }

        def add(connection: Connection) -> None:
            owner = connection.execute(current).first()
            if owner is None:
                raise NotFound("there is no owner with that id")
            if not owner.is_active:
                raise Conflict("the owner is not active")
            if password is not None and owner.password != password:
                raise Conflict("the owner's password has been changed meanwhile")
            execute(connection, insert(table).values(row))

        return add

    def ending(self, lookup: str) -> Change[bool]:
        """Return what ends a session, and tells whether there was one."""
        table, _ = self._there()
        end = self._ending(select(table.c.lookup).where(self._is(lookup)).with_for_update())
        return lambda connection: end(connection) == 1

    def ending_all(self, owner_id: str) -> Change[int]:
        """Return what ends all sessions of an owner, and counts them.

        They are locked in the order of their lookups, as whoever else ends them locks them: none waits for one that
        waits for it.
        """
        table, _ = self._there()
        is_theirs = self._owners.is_whose(table.c.owner_id, owner_id)
        return self._ending(select(table.c.lookup).where(is_theirs).order_by(table.c.lookup).with_for_update())

    def expired(self, before: datetime) -> Select[Any]:
        """Select one of the sessions that expired before that time, if there are any."""
        table, _ = self._there()
        return select(table.c.lookup).where(table.c.expires_at < before).limit(1)

    def purging(self, before: datetime) -> Change[int]:
        """Return what deletes some of the sessions that expired before that time, and counts them: 0 if none is left.

        Some, so that no transaction takes long, however many there are after a night. It leaves to others what they are
        deleting at the moment: whoever signs in need not wait for them.
        """
        table, _ = self._there()
        expires_at = table.c.expires_at
        some = select(table.c.lookup).where(expires_at < before).order_by(expires_at).limit(_PURGED_AT_ONCE)
        return self._ending(some.with_for_update(skip_locked=True))

    def _ending(self, chosen: Select[Any]) -> Change[int]:
        """Return what deletes the sessions whose lookups are selected, and locked by that, and counts them."""
        table, _ = self._there()

        def end(connection: Connection) -> int:
            gone = [row.lookup for row in connection.execute(chosen)]
            for batch in batches(gone):
                connection.execute(delete(table).where(table.c.lookup.in_(batch)))
            return len(gone)

        return end

    def _is(self, lookup: str) -> ColumnElement[bool]:
        table, _ = self._there()
        return table.c.lookup == lookup if is_storable(lookup) else false()

    def _there(self) -> tuple[Table, Table]:
        """Return the tables of sessions and owners."""
        if self._table is None or self._own_owners is None:
            raise NotSupported(
                f"owners are kept in the app's own table {self._owners.name!r}: whoever signs them in keeps sessions"
            )
        return self._table, self._own_owners


def session_in(row: Row[Any]) -> SessionFound:
    """Return the session and the owner that a row of both holds."""
    session = Session(lookup=row.lookup, owner_id=row.owner_id, created_at=row.created_at, expires_at=row.expires_at)
    return SessionFound(session=session, owner=owner_of(row))
