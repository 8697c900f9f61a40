"""Keys in a database: what selects them, and what changes them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, insert, select, true, update

from keyguard.errors import NotFound
from keyguard.model import KeyRecord
from keyguard.stores._changes import Change, execute
from keyguard.stores._owners import Owners
from keyguard.stores._rows import values_of
from keyguard.stores._schema import Schema
from keyguard.stores._text import check_storable, is_storable

__all__ = ["Keys"]


class Keys:
    """The keys of one store. What changes one raises `NotFound`, at once or when it is done, if there is none."""

    def __init__(self, schema: Schema, owners: Owners) -> None:
        self._table = schema.keys
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

    def listing(self, owner_id: str | None) -> Select[Any]:
        """Select the keys of one owner or of all, the newest first."""
        statement = select(self._table).order_by(self._table.c.created_at.desc(), self._table.c.id.desc())
        if owner_id is not None:
            value = self._owners.id_from(owner_id)
            statement = statement.where(false() if value is None else self._table.c.owner_id == value)
        return statement

    def adding(self, record: KeyRecord) -> Change[None]:
        """Return what adds a key. Raises `NotFound` there if it has no owner."""
        values = values_of(record)
        check_storable(values.values())

        def add(connection: Connection) -> None:
            if connection.execute(self._owners.by_id(record.owner_id)).first() is None:
                raise NotFound("there is no owner with that id")
            owner_id = self._owners.id_from(record.owner_id)
            execute(connection, insert(self._table).values(values | {"owner_id": owner_id}))

        return add

    def upgrading(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> Change[bool]:
        """Return what replaces a key's digests, if its verifier still is `verifier`, and tells whether it was."""
        statement = (
            update(self._table)
            .where(self._table.c.id == key_id, self._table.c.verifier == verifier)
            .values(lookup=new_lookup, verifier=new_verifier)
        )
        return lambda connection: execute(connection, statement) == 1

    def renaming(self, key_id: str, name: str) -> Change[bool]:
        """Return what changes a key's name."""
        return self._updating(key_id, name=name)

    def disabling(self, key_id: str, at: datetime | None) -> Change[bool]:
        """Return what disables a key that is enabled, or with None enables it."""
        condition = true() if at is None else self._table.c.disabled_at.is_(None)
        return self._updating(key_id, condition, disabled_at=at)

    def revoking(self, key_id: str, at: datetime, reason: str) -> Change[bool]:
        """Return what revokes a key, and tells whether it was good until then."""
        return self._updating(key_id, self._table.c.revoked_at.is_(None), revoked_at=at, revoked_reason=reason)

    def rotating(self, old: KeyRecord, new: KeyRecord, until: datetime | None) -> Change[bool]:
        """Return what adds `new` and ends `old`, if that still is as it was read, and tells whether it was."""
        columns = self._table.c
        is_as_read = columns.revoked_at.is_(None), columns.expires_at.is_not_distinct_from(old.expires_at)
        end = {"revoked_at": new.created_at, "revoked_reason": "rotated"} if until is None else {"expires_at": until}
        ending, adding = self._updating(old.id, *is_as_read, **end), self.adding(new)

        def rotate(connection: Connection) -> bool:
            if not ending(connection):
                return False
            adding(connection)
            return True

        return rotate

    def _updating(self, key_id: str, *conditions: ColumnElement[bool], **values: object) -> Change[bool]:
        """Return what changes a key on the conditions, and tells whether they held."""
        check_storable(values.values())
        if not is_storable(key_id):
            raise NotFound("there is no key with that id")
        statement = update(self._table).where(self._table.c.id == key_id, *conditions).values(values)

        def change(connection: Connection) -> bool:
            if execute(connection, statement):
                return True
            if connection.execute(select(self._table.c.id).where(self._table.c.id == key_id)).first() is None:
                raise NotFound("there is no key with that id")
            return False

        return change
