"""Keys in a database: what selects them, and what changes them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)

from keyguard.errors import ConfigurationError, NotFound
from keyguard.model import KeyRecord, KeyState
from keyguard.stores._changes import Change, batches, bounded, execute, updating
from keyguard.stores._owners import Owners
from keyguard.stores._rows import values_of
from keyguard.stores._schema import Schema
from keyguard.stores._text import check_storable, is_storable

__all__ = ["Keys"]


class Keys:
    """The keys of one store. What changes one raises `NotFound`, at once or when it is done, if there is none."""

    def __init__(self, schema: Schema, owners: Owners) -> None:
        self._table = schema.keys
        self._uses = schema.uses
        self._owners = owners
        self.by_lookup: Select[Any] = (
            select(self._table, *owners.columns)
            .join_from(self._table, owners.table, self._table.c.owner_id == owners.id)
            .where(self._table.c.lookup.in_(bindparam("lookups", expanding=True)))
        )
        """The keys whose lookup is among the parameter ``lookups``, each with its owner."""

    def by_id(self, key_id: str) -> Select[Any]:
        """Select the key with that id."""
        return select(self._table).where(self._table.c.id == key_id if is_storable(key_id) else false())

    def listing(
        self,
        owner_id: str | None,
        *,
        state: KeyState | None,
        at: datetime | None,
        begins: str,
        after: KeyRecord | None,
        limit: int | None,
    ) -> Select[Any]:
        """Select the keys that fit all that is given, the newest first."""
        columns = self._table.c
        statement = select(self._table).order_by(columns.created_at.desc(), columns.id.desc()).limit(bounded(limit))
        if owner_id is not None:
            statement = statement.where(self._owners.is_whose(columns.owner_id, owner_id))
        if state is not None:
            if at is None:
                raise ConfigurationError("a key is in a state at a time: give `at` as well")
            statement = statement.where(*self.is_in(state, at))
        if begins:  # Not LIKE, which on SQLite takes letters of either case, and has characters of its own.
            beginning = func.substr(columns.prefix + columns.id, 1, len(begins))
            statement = statement.where(beginning == begins if is_storable(begins) else false())
        if after is not None:
            statement = statement.where(tuple_(columns.created_at, columns.id) < (after.created_at, after.id))
        return statement

    def is_in(self, state: KeyState, at: datetime) -> Iterator[ColumnElement[bool]]:
        """Return the conditions on which `KeyRecord.state` is `state`: it applies, and none before it does."""
        columns = self._table.c
        applies: dict[KeyState, ColumnElement[bool]] = {
            KeyState.REVOKED: columns.revoked_at.is_not(None),
            KeyState.EXPIRED: and_(columns.expires_at.is_not(None), columns.expires_at <= at),
            KeyState.DISABLED: columns.disabled_at.is_not(None),
            KeyState.NOT_YET_VALID: and_(columns.not_before.is_not(None), columns.not_before > at),
            KeyState.GRACE: columns.rotated_at.is_not(None),
            KeyState.ACTIVE: true(),
        }
        for earlier in takewhile(lambda each: each is not state, KeyState):
            yield not_(applies[earlier])
        yield applies[state]

    def adding(self, record: KeyRecord) -> Change[None]:
        """Return what adds a key. Raises `NotFound` there if it has no owner."""
        row = self.row_of(record)

        def add(connection: Connection) -> None:
            self._find_owner(connection, record)
            execute(connection, insert(self._table).values(row))

        return add

    def _find_owner(self, connection: Connection, record: KeyRecord) -> None:
        """Lock the owner of a key that is to be added; `NotFound` if there is none."""
        if connection.execute(self._owners.staying(record.owner_id)).first() is None:
            raise NotFound("there is no owner with that id")

    def row_of(self, record: KeyRecord) -> dict[str, Any]:
        """Return the row of a key. Raises `ConfigurationError` if a text of it cannot be stored."""
        values = values_of(record)
        check_storable(values.values())
        return {"owner_id": self._owners.id_from(record.owner_id), **values}

    def upgrading(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> Change[bool]:
        """Return what replaces a key's digests, if its verifier still is `verifier`, and tells whether it was."""
        statement = (
            update(self._table)
            .where(self._table.c.id == key_id, self._table.c.verifier == verifier)
            .values(lookup=new_lookup, verifier=new_verifier)
        )
        return lambda connection: execute(connection, statement) == 1

    def renaming(self, key_id: str, name: str, expected: KeyRecord | None) -> Change[bool]:
        """Return what changes a key's name, and tells whether it was another one."""
        return self._updating(key_id, self._table.c.name != name, values={"name": name}, expected=expected)

    def disabling(self, key_id: str, at: datetime | None, expected: KeyRecord | None) -> Change[bool]:
        """Return what disables a key, or with None enables it, and tells whether it did."""
        disabled_at = self._table.c.disabled_at
        is_otherwise = disabled_at.is_not(None) if at is None else disabled_at.is_(None)
        return self._updating(key_id, is_otherwise, values={"disabled_at": at}, expected=expected)

    def revoking(self, key_id: str, at: datetime, reason: str, expected: KeyRecord | None) -> Change[bool]:
        """Return what revokes a key, and tells whether it was good until then."""
        is_good = self._table.c.revoked_at.is_(None)
        revoked = {"revoked_at": at, "revoked_reason": reason}
        return self._updating(key_id, is_good, values=revoked, expected=expected)

    def rotating(self, old: KeyRecord, new: KeyRecord, until: datetime | None) -> Change[bool]:
        """Return what adds `new` and ends `old`, if that still is as it was read, and tells whether it was."""
        columns = self._table.c
        is_as_read = (
            columns.name == old.name,
            columns.expires_at.is_not_distinct_from(old.expires_at),
            columns.disabled_at.is_not_distinct_from(old.disabled_at),
        )
        is_first = columns.revoked_at.is_(None), columns.rotated_at.is_(None)
        end: dict[str, object] = {"rotated_at": new.created_at, "expires_at": until}
        if until is None:
            end = {"rotated_at": new.created_at, "revoked_at": new.created_at, "revoked_reason": "rotated"}
        ending = self._updating(old.id, *is_as_read, *is_first, values=end)
        row = self.row_of(new)

        def rotate(connection: Connection) -> bool:
            self._find_owner(connection, new)  # Who removes an owner locks it before its keys, too.
            if not ending(connection):
                return False
            execute(connection, insert(self._table).values(row))
            return True

        return rotate

    def purging(self, before: datetime, limit: int) -> Change[list[tuple[str, str]]]:
        """Return what deletes keys that ended before that time, with their uses, and returns their and the owners' ids.

        The oldest go first. On PostgreSQL, a key that somebody is changing is waited for, and two that purge at once
        take one another's leavings. When none is left, uses go that were counted for a key which is not there any more.
        """
        columns, uses = self._table.c, self._uses
        ended = (
            select(columns.id, columns.owner_id)
            .where(or_(columns.revoked_at < before, columns.expires_at < before))
            .order_by(columns.created_at, columns.id)
            .limit(bounded(limit))
            .with_for_update()
        )
        has_key = select(columns.id).where(columns.id == uses.c.key_id).exists()
        strays = select(uses.c.key_id).where(not_(has_key)).with_for_update(skip_locked=True)

        def purge(connection: Connection) -> list[tuple[str, str]]:
            gone = [(row.id, str(row.owner_id)) for row in connection.execute(ended)]
            ids = [key_id for key_id, _ in gone]
            for batch in batches(ids):
                connection.execute(delete(self._table).where(columns.id.in_(batch)))
            late = [row.key_id for row in connection.execute(strays)] if len(gone) < limit else []
            for batch in batches([*ids, *late]):
                connection.execute(delete(uses).where(uses.c.key_id.in_(batch)))
            return gone

        return purge

    def _updating(
        self,
        key_id: str,
        *conditions: ColumnElement[bool],
        values: Mapping[str, object],
        expected: KeyRecord | None = None,
    ) -> Change[bool]:
        is_as_expected = () if expected is None else tuple(self._is_as(expected))
        return updating(self._table, "key", key_id, *conditions, values=values, expected=is_as_expected)

    def _is_as(self, expected: KeyRecord) -> Iterator[ColumnElement[bool]]:
        """Return the conditions that all that can change of a key is what somebody has read."""
        columns = self._table.c
        yield columns.name == expected.name if is_storable(expected.name) else false()
        for name in ("expires_at", "disabled_at", "revoked_at", "rotated_at"):
            yield columns[name].is_not_distinct_from(getattr(expected, name))
