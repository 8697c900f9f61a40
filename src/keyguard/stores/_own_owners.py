"""What changes the owners in Keyguard's own table, and what removes one with all that hangs on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, false, insert, select, update

from keyguard.errors import NotFound, NotSupported
from keyguard.model import NewOwner
from keyguard.stores._changes import Change, batches, execute, updating
from keyguard.stores._owners import Owners
from keyguard.stores._schema import Schema
from keyguard.stores._sessions import Sessions
from keyguard.stores._text import check_storable, is_storable

__all__ = ["OwnOwners"]


class OwnOwners:
    """The owners of one store. Whatever changes one raises `NotSupported` where they live in the app's own table.

    It raises `NotFound`, at once or when it is done, if there is no such owner.
    """

    def __init__(self, schema: Schema, owners: Owners) -> None:
        self._table = schema.owners
        self._keys = schema.keys
        self._uses = schema.uses
        self._credentials = schema.credentials
        self._name = owners.name
        self._sessions = Sessions(schema, owners)

    def password(self, owner_id: str) -> Select[Any] | None:
        """Select an owner's password verifier; the app's own users have none here."""
        if self._table is None:
            return None
        return select(self._table.c.password).where(self._table.c.id == owner_id if is_storable(owner_id) else false())

    def adding(self, new: Sequence[NewOwner]) -> Change[None]:
        """Return what adds owners."""
        table, rows = self._there(), list(map(_row_of, new))

        def add(connection: Connection) -> None:
            execute(connection, insert(table), rows)

        return add

    def activating(self, owner_id: str, *, active: bool) -> Change[bool]:
        """Return what activates or deactivates an owner, and tells whether it did.

        If it did, the owner's sessions end: also of one who is activated, whom somebody else may have deactivated with
        SQL, or with a release that knew no sessions.
        """
        is_otherwise = self._there().c.is_active.is_distinct_from(active)
        return self._signing_out(owner_id, self._updating(owner_id, is_otherwise, values={"is_active": active}))

    def promoting(self, owner_id: str, *, superuser: bool) -> Change[bool]:
        """Return what gives or takes superuser rights, and tells whether it did."""
        is_another = self._there().c.is_superuser.is_distinct_from(superuser)
        return self._updating(owner_id, is_another, values={"is_superuser": superuser})

    def setting_password(self, owner_id: str, password: str | None) -> Change[bool]:
        """Return what replaces an owner's password verifier, and tells whether it was another one.

        If it was, the owner's sessions end.
        """
        is_another = self._there().c.password.is_distinct_from(password)
        return self._signing_out(owner_id, self._updating(owner_id, is_another, values={"password": password}))

    def upgrading_password(self, owner_id: str, *, password: str, new_password: str) -> Change[bool]:
        """Return what replaces an owner's password verifier, if it still is `password`, and tells whether it was."""
        table = self._there()
        is_as_read = table.c.password == password if is_storable(password) else false()
        return self._updating(owner_id, is_as_read, values={"password": new_password})

    def renaming(self, owner_id: str, name: str) -> Change[str | None]:
        """Return what gives an owner another name, and returns the old one: None if that is the same."""
        table = self._there()
        check_storable([name])

        def rename(connection: Connection) -> str | None:
            before = self._locked(connection, owner_id)
            if before == name:
                return None
            execute(connection, update(table).where(table.c.id == owner_id).values(name=name))
            return before

        return rename

    def removing(self, owner_id: str) -> Change[tuple[str, int]]:
        """Return what deletes an owner with all that is the owner's, and returns the name and how many keys there were.

        The owner's row is locked first: no key, credential or session comes to it any more. All else is locked in the
        order in which others lock several of its kind: none waits for one that waits for it.
        """
        table, keys, uses, credentials = self._there(), self._keys, self._uses, self._credentials
        ending = self._sessions.ending_all(owner_id)
        chosen_keys = select(keys.c.id).where(keys.c.owner_id == owner_id).order_by(keys.c.created_at, keys.c.id)
        chosen_credentials = (
            select(credentials.c.name).where(credentials.c.owner_id == owner_id).order_by(credentials.c.name)
        )

        def remove(connection: Connection) -> tuple[str, int]:
            name = self._locked(connection, owner_id)
            gone = [row.id for row in connection.execute(chosen_keys.with_for_update())]
            for batch in batches(sorted(gone)):
                are_theirs = uses.c.key_id.in_(batch)
                connection.execute(select(uses.c.key_id).where(are_theirs).order_by(uses.c.key_id).with_for_update())
                connection.execute(delete(uses).where(are_theirs))
            connection.execute(delete(keys).where(keys.c.owner_id == owner_id))
            connection.execute(chosen_credentials.with_for_update())
            connection.execute(delete(credentials).where(credentials.c.owner_id == owner_id))
            ending(connection)
            connection.execute(delete(table).where(table.c.id == owner_id))
            return name, len(gone)

        return remove

    def _locked(self, connection: Connection, owner_id: str) -> str:
        """Lock an owner's row, and return the name."""
        table = self._there()
        is_it = table.c.id == owner_id if is_storable(owner_id) else false()
        row = connection.execute(select(table.c.name).where(is_it).with_for_update()).first()
        if row is None:
            raise NotFound("there is no owner with that id")
        name: str = row.name
        return name

    def _there(self) -> Table:
        if self._table is None:
            raise NotSupported(f"owners are kept in the app's own table {self._name!r}: change them there")
        return self._table

    def _signing_out(self, owner_id: str, change: Change[bool]) -> Change[bool]:
        """Return what makes a change and, if it did something, ends the owner's sessions.

        The change has locked the owner's row by then: a session that was begun before is there to be ended, and one
        that is begun later sees the change.
        """
        ending = self._sessions.ending_all(owner_id)

        def change_and_end(connection: Connection) -> bool:
            has_changed = change(connection)
            if has_changed:
                ending(connection)
            return has_changed

        return change_and_end

    def _updating(self, owner_id: str, condition: ColumnElement[bool], values: Mapping[str, object]) -> Change[bool]:
        """Return what changes an owner on the condition, and tells whether it held."""
        return updating(self._there(), "owner", owner_id, condition, values=values)


def _row_of(new: NewOwner) -> dict[str, Any]:
    owner = new.owner
    check_storable([owner.id, owner.name, new.password])
    return {
        "id": owner.id,
        "name": owner.name,
        "is_active": owner.is_active,
        "is_superuser": owner.is_superuser,
        "password": new.password,
        "created_at": new.created_at,
    }
