"""Sealed credentials in a database: what selects them, and what changes them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, false, select, update

from keyguard.errors import NotFound
from keyguard.model import Credential
from keyguard.stores._changes import Change, bounded, execute, put
from keyguard.stores._owners import Owners
from keyguard.stores._schema import Schema
from keyguard.stores._text import check_storable, is_storable

__all__ = ["Credentials", "credential_of"]


class Credentials:
    """The credentials of one store."""

    def __init__(self, schema: Schema, owners: Owners) -> None:
        self._table = schema.credentials
        self._owners = owners
        self.sealed_with: Select[Any] = select(self._table.c.sealed_with).distinct()
        """The check values of all secret keys that a credential is sealed with."""

    def by_name(self, owner_id: str, name: str) -> Select[Any]:
        """Select the one that an owner has by that name."""
        return select(self._table).where(self._is(owner_id, name))

    def listing(self, owner_id: str | None) -> Select[Any]:
        """Select those of one owner or of all."""
        statement = select(self._table)
        if owner_id is None:
            return statement
        return statement.where(self._owners.is_whose(self._table.c.owner_id, owner_id))

    def to_reseal(self, sealed_with: str, limit: int) -> Select[Any]:
        """Select some that are sealed with another secret key than that one."""
        return select(self._table).where(self._table.c.sealed_with != sealed_with).limit(bounded(limit))

    def putting(self, credential: Credential) -> Change[None]:
        """Return what adds one, or puts it in the place of the one that is there. Raises `NotFound` there."""
        row = self.row_of(credential)

        def change(connection: Connection) -> None:
            if connection.execute(self._owners.staying(credential.owner_id)).first() is None:
                raise NotFound("there is no owner with that id")
            kept = {"owner_id", "name", "created_at"}
            put(connection, self._table, [row], lambda new: {name: new[name] for name in row if name not in kept})

        return change

    def removing(self, owner_id: str, name: str) -> Change[bool]:
        """Return what removes one, and tells whether there was one."""
        statement = delete(self._table).where(self._is(owner_id, name))
        return lambda connection: execute(connection, statement) == 1

    def resealing(self, resealed: Sequence[tuple[Credential, Credential]]) -> Change[int]:
        """Return what seals anew, if they still are sealed as in the first of a pair, and counts them."""
        # In one order, in which whoever does the same locks them as well.
        pairs = sorted(resealed, key=lambda pair: (pair[0].owner_id, pair[0].name))
        check_storable(text for _, new in pairs for text in (new.sealed, new.sealed_with))
        statements = [
            update(self._table)
            .where(self._is(old.owner_id, old.name), self._table.c.sealed == old.sealed)
            .values(sealed=new.sealed, sealed_with=new.sealed_with)
            for old, new in pairs
        ]
        return lambda connection: sum(execute(connection, statement) for statement in statements)

    def row_of(self, credential: Credential) -> dict[str, Any]:
        """Return its row. Raises `ConfigurationError` if a text of it cannot be stored."""
        values = {
            "name": credential.name,
            "sealed": credential.sealed,
            "sealed_with": credential.sealed_with,
            "created_at": credential.created_at,
            "updated_at": credential.updated_at,
            "metadata": credential.metadata_json,
        }
        check_storable(values.values())
        return {"owner_id": self._owners.id_from(credential.owner_id), **values}

    def _is(self, owner_id: str, name: str) -> ColumnElement[bool]:
        if not is_storable(name):
            return false()
        return and_(self._owners.is_whose(self._table.c.owner_id, owner_id), self._table.c.name == name)


def credential_of(row: Row[Any]) -> Credential:
    return Credential(
        owner_id=str(row.owner_id),
        name=row.name,
        sealed=row.sealed,
        sealed_with=row.sealed_with,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata_json=row.metadata,
    )
