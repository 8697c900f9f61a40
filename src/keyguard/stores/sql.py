"""Keys and owners in a database, through SQLAlchemy's asyncio API.

Each method is one short transaction: a read is one statement, a write touches the columns that it speaks of. Nothing is
ever written back that was read before.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Any, TypeVar, cast

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Insert,
    MetaData,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    false,
    insert,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError, NoSuchTableError

from keyguard.errors import Conflict, NotFound, NotSupported, SchemaMismatch, StoreUnavailable, WrongPepper
from keyguard.loops import Places
from keyguard.model import Found, KeyRecord, Owner
from keyguard.settings import Keyring
from keyguard.stores._database import Database
from keyguard.stores._owners import OWN_OWNERS, Owners, UserTable, owner_of
from keyguard.stores._schema import REVISION, VERSION, Schema, version_table
from keyguard.stores._text import check_storable, is_storable

__all__ = ["SQLStore", "UserTable"]

_T = TypeVar("_T")

# --- rows and records -------------------------------------------------------------------------------------------


def _values(record: KeyRecord) -> dict[str, Any]:
    """Return the row of a key, but for its owner."""
    return {
        "id": record.id,
        "lookup": record.lookup,
        "verifier": record.verifier,
        "prefix": record.prefix,
        "name": record.name,
        "scopes": json.dumps(sorted(record.scopes)),
        "networks": json.dumps([str(network) for network in record.networks]),
        "created_at": record.created_at,
        "not_before": record.not_before,
        "expires_at": record.expires_at,
        "disabled_at": record.disabled_at,
        "revoked_at": record.revoked_at,
        "revoked_reason": record.revoked_reason,
    }


def _record(row: Row[Any]) -> KeyRecord:
    """Return the key that a row holds. Raises `StoreUnavailable` if somebody wrote into it what cannot be read."""
    try:
        scopes = frozenset(_texts(row.scopes))
        networks = tuple(ip_network(text) for text in _texts(row.networks))
    except ValueError:
        raise StoreUnavailable(f"the row of the key {row.id!r} holds no JSON lists of scopes and networks") from None
    return KeyRecord(
        id=row.id,
        owner_id=str(row.owner_id),
        prefix=row.prefix,
        name=row.name,
        lookup=row.lookup,
        verifier=row.verifier,
        scopes=scopes,
        networks=networks,
        created_at=row.created_at,
        not_before=row.not_before,
        expires_at=row.expires_at,
        disabled_at=row.disabled_at,
        revoked_at=row.revoked_at,
        revoked_reason=row.revoked_reason,
    )


def _texts(written: str) -> list[str]:
    texts = json.loads(written)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in cast("list[object]", texts)):
        raise ValueError
    return cast("list[str]", texts)


# --- the store --------------------------------------------------------------------------------------------------


class SQLStore:
    """A `keyguard.ports.KeyRegistry` in a database.

    It opens by itself at the first call; `open` is for those who want to know at start whether it can. A call that is
    cancelled is left to finish behind the scenes, because what a database has begun cannot be taken back.

    An in-memory database (``sqlite+aiosqlite://``) is this store's alone, and ends when it is closed.

    Args:
        url: of an asyncio driver, such as ``sqlite+aiosqlite:///keys.db``.
        keyring: what the keys are made and checked with.
        users: the app's own user table, if owners live there.

    Raises:
        ConfigurationError: if the URL is none, or that of a synchronous driver.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        keyring: Keyring = Keyring(),  # noqa: B008 A frozen value is safe to share.
        users: UserTable | None = None,
    ) -> None:
        self.keyring = keyring
        self.users = users
        self.is_open: bool = False
        self._database = Database(url)
        self.concurrency: int = self._database.concurrency
        self._alone = Places(1)
        self._schema = Schema.build(users.key_type if users else None)
        self._keys = self._schema.keys
        self._owners = Owners(users or OWN_OWNERS)
        self._find = (
            select(self._keys, *self._owners.columns)
            .join_from(self._keys, self._owners.table, self._keys.c.owner_id == self._owners.id)
            .where(self._keys.c.lookup.in_(bindparam("lookups", expanding=True)))
        )

    @property
    def metadata(self) -> MetaData:
        """The tables that this store needs, as SQLAlchemy describes them: for an app's own migrations."""
        return self._schema.metadata

    # --- opening and closing ---

    async def open(self) -> None:
        """Make sure that the database can be reached, has the right tables, and knows one of the peppers.

        Raises `SchemaMismatch`, `WrongPepper` or `StoreUnavailable`.
        """
        async with self._alone:
            if self.is_open:
                return
            await self._verify()
            self.is_open = True

    async def close(self) -> None:
        """Close all connections, when the calls that are under way have ended."""
        async with self._alone:
            self.is_open = False
            await self._database.close()

    async def create_schema(self) -> None:
        """Make the tables, where they are not there yet. Several processes may do this at once.

        Raises `SchemaMismatch`, and changes nothing, if there are tables of another version.
        """
        await self.change_schema(self._create)

    async def change_schema(self, change: Callable[[Connection], None]) -> None:
        """Call `change` in one transaction on a database in whatever state, as migrations do.

        What is there afterwards is looked at again before anything else is done.
        """
        async with self._alone:
            self.is_open = False
            await self._database.change(change)

    async def _verify(self) -> None:
        noted = await self._database.inspect(self._look)
        if _pepper_to_note(noted, self.keyring.pepper_checks) != noted:
            await self._database.change(self._note_pepper)

    def _look(self, connection: Connection) -> str:
        """Return the note of the pepper, if the tables are as they should be."""
        there = inspect(connection)
        if not self.metadata.tables.keys() <= set(there.get_table_names()):
            raise SchemaMismatch(
                "the database has no Keyguard tables, or not all of them: `await store.create_schema()` makes them, "
                "before the server starts"
            )
        notes = self._notes(connection)
        _check_version(notes)
        if self.users is not None:
            try:
                columns = {each["name"] for each in there.get_columns(self._owners.name, self._owners.schema)}
            except NoSuchTableError:
                raise SchemaMismatch(f"the database has no table {self._owners.name!r}") from None
            if missing := set(self.users.columns) - columns:
                raise SchemaMismatch(f"the table {self._owners.name!r} has no column {min(missing)!r}")
        return notes["pepper"]

    def _notes(self, connection: Connection) -> dict[str, str]:
        return {row.name: row.value for row in connection.execute(select(self._schema.meta))}

    def _note_pepper(self, connection: Connection) -> None:
        value, is_pepper = self._schema.meta.c.value, self._schema.meta.c.name == "pepper"
        noted = connection.execute(select(value).where(is_pepper).with_for_update()).scalar_one()
        note = _pepper_to_note(noted, self.keyring.pepper_checks)  # Another process may have noted one meanwhile.
        connection.execute(update(self._schema.meta).where(is_pepper).values(value=note))

    def _create(self, connection: Connection) -> None:
        # An app that makes the tables of `metadata` itself has the one of the notes empty at first.
        if inspect(connection).has_table(self._schema.meta.name) and (noted := self._notes(connection)):
            _check_version(noted)
        self.metadata.create_all(connection)
        version_table.create(connection, checkfirst=True)
        if not self._notes(connection):
            notes = [{"name": "schema", "value": VERSION}, {"name": "pepper", "value": ""}]
            connection.execute(insert(self._schema.meta), notes)
        if connection.execute(select(self._schema.revision)).first() is None:
            connection.execute(insert(self._schema.revision).values(id=1, n=0))
        if connection.execute(select(version_table)).first() is None:
            connection.execute(insert(version_table).values(version_num=REVISION))

    # --- what a check asks ---

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose `lookup` is among `lookups`, with its owner, by one statement."""
        rows = await self._read(self._find, {"lookups": list(lookups)})
        return Found(key=_record(rows[0]), owner=owner_of(rows[0])) if rows else None

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`, character for character."""
        if not is_storable(name):
            return None
        owners = map(owner_of, await self._read(self._owners.by_name(name)))
        return next((owner for owner in owners if owner.name == name), None)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        """Replace a key's digests, if its verifier still is `verifier`; tell whether that was done."""
        statement = (
            update(self._keys)
            .where(self._keys.c.id == key_id, self._keys.c.verifier == verifier)
            .values(lookup=new_lookup, verifier=new_verifier)
        )
        try:
            return await self._write(lambda connection: _change(connection, statement) == 1)
        except Conflict:
            return False

    # --- owners ---

    async def add_owner(self, owner: Owner, *, created_at: datetime, password: str | None = None) -> None:
        """Add an owner. Raises `Conflict` if the id or the name is taken."""
        check_storable([owner.id, owner.name, password])
        values = {
            "id": owner.id,
            "name": owner.name,
            "is_active": owner.is_active,
            "is_superuser": owner.is_superuser,
            "password": password,
            "created_at": created_at,
        }
        statement = insert(self._own_owners()).values(values)
        await self._write(lambda connection: _change(connection, statement))

    async def get_owner(self, owner_id: str) -> Owner | None:
        """Return the owner with that id."""
        rows = await self._read(self._owners.by_id(owner_id))
        return owner_of(rows[0]) if rows else None

    async def list_owners(self) -> list[Owner]:
        """Return all owners, by name."""
        return sorted(map(owner_of, await self._read(self._owners.every)), key=lambda owner: owner.name)

    async def set_owner_active(self, owner_id: str, *, active: bool) -> None:
        """Activate or deactivate an owner, and with it all of its keys."""
        await self._update_owner(owner_id, is_active=active)

    async def set_owner_superuser(self, owner_id: str, *, superuser: bool) -> None:
        """Give or take superuser rights."""
        await self._update_owner(owner_id, is_superuser=superuser)

    async def get_password(self, owner_id: str) -> str | None:
        """Return the owner's password verifier; the app's own users have none here."""
        owners = self._schema.owners
        if owners is None or not is_storable(owner_id):
            return None
        rows = await self._read(select(owners.c.password).where(owners.c.id == owner_id))
        return rows[0].password if rows else None

    async def set_password(self, owner_id: str, password: str | None) -> None:
        """Replace the owner's password verifier; None takes it away."""
        await self._update_owner(owner_id, password=password)

    async def _update_owner(self, owner_id: str, **values: object) -> None:
        owners = self._own_owners()
        check_storable(values.values())
        statement = update(owners).where(owners.c.id == owner_id).values(values)
        if not is_storable(owner_id) or await self._write(lambda connection: _change(connection, statement)) == 0:
            raise NotFound("there is no owner with that id")

    def _own_owners(self) -> Table:
        if self._schema.owners is None:
            raise NotSupported(f"owners are kept in the app's own table {self._owners.name!r}: change them there")
        return self._schema.owners

    # --- keys ---

    async def add_key(self, record: KeyRecord) -> None:
        """Add a key. Raises `NotFound` if there is no such owner and `Conflict` if the id or the lookup is taken."""
        await self._write(self._adding(record))

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """Return the key with that id, in whatever state."""
        if not is_storable(key_id):
            return None
        rows = await self._read(select(self._keys).where(self._keys.c.id == key_id))
        return _record(rows[0]) if rows else None

    async def list_keys(self, owner_id: str | None = None) -> list[KeyRecord]:
        """Return the keys of one owner or of all, the newest first, revoked ones included."""
        statement = select(self._keys).order_by(self._keys.c.created_at.desc(), self._keys.c.id.desc())
        if owner_id is not None:
            value = self._owners.id_from(owner_id)
            statement = statement.where(false() if value is None else self._keys.c.owner_id == value)
        return [_record(row) for row in await self._read(statement)]

    async def rename_key(self, key_id: str, name: str) -> None:
        """Change a key's name."""
        await self._update_key(key_id, name=name)

    async def set_key_disabled(self, key_id: str, at: datetime | None) -> None:
        """Disable a key as of `at`, or enable it with None. Of a disabled key the first time stays."""
        condition = true() if at is None else self._keys.c.disabled_at.is_(None)
        await self._update_key(key_id, condition, disabled_at=at)

    async def revoke_key(self, key_id: str, at: datetime, reason: str) -> bool:
        """Revoke a key for good; tell whether this call did it. Of a revoked key the first time and reason stay."""
        return await self._update_key(key_id, self._keys.c.revoked_at.is_(None), revoked_at=at, revoked_reason=reason)

    async def rotate_key(self, old: KeyRecord, new: KeyRecord, *, until: datetime | None) -> bool:
        """Add `new` and end `old`, both or nothing; tell whether it was done."""
        columns = self._keys.c
        is_as_read = columns.revoked_at.is_(None), columns.expires_at.is_not_distinct_from(old.expires_at)
        end = {"revoked_at": new.created_at, "revoked_reason": "rotated"} if until is None else {"expires_at": until}
        ending, adding = self._updating(old.id, *is_as_read, **end), self._adding(new)

        def rotate(connection: Connection) -> bool:
            if not ending(connection):
                return False
            adding(connection)
            return True

        return await self._write(rotate)

    async def _update_key(self, key_id: str, *conditions: ColumnElement[bool], **values: object) -> bool:
        """Change a key on the conditions; tell whether they held. Raises `NotFound` if there is no such key."""
        return await self._write(self._updating(key_id, *conditions, **values))

    def _adding(self, record: KeyRecord) -> Callable[[Connection], None]:
        values = _values(record)
        check_storable(values.values())

        def add(connection: Connection) -> None:
            if connection.execute(self._owners.by_id(record.owner_id)).first() is None:
                raise NotFound("there is no owner with that id")
            owner_id = self._owners.id_from(record.owner_id)
            _change(connection, insert(self._keys).values(values | {"owner_id": owner_id}))

        return add

    def _updating(
        self, key_id: str, *conditions: ColumnElement[bool], **values: object
    ) -> Callable[[Connection], bool]:
        check_storable(values.values())
        if not is_storable(key_id):
            raise NotFound("there is no key with that id")
        statement = update(self._keys).where(self._keys.c.id == key_id, *conditions).values(values)

        def change(connection: Connection) -> bool:
            if _change(connection, statement):
                return True
            if connection.execute(select(self._keys.c.id).where(self._keys.c.id == key_id)).first() is None:
                raise NotFound("there is no key with that id")
            return False

        return change

    # --- the database, opened at the first need ---

    async def _read(self, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        if not self.is_open:
            await self.open()
        return await self._database.read(statement, parameters)

    async def _write(self, change: Callable[[Connection], _T]) -> _T:
        if not self.is_open:
            await self.open()
        return await self._database.change(change)


def _change(connection: Connection, statement: Insert | Update) -> int:
    """Execute `statement` and return how many rows it touched. Raises `Conflict` where something unique is taken."""
    try:
        return connection.execute(statement).rowcount
    except IntegrityError:
        raise Conflict("that id, name or lookup is taken already") from None


def _check_version(notes: Mapping[str, str]) -> None:
    if not notes:
        raise SchemaMismatch(
            "the table keyguard_meta is empty: `await store.create_schema()` fills it, before the server starts"
        )
    if notes.get("schema") != VERSION or "pepper" not in notes:
        raise SchemaMismatch(
            f"the database's Keyguard tables are of version {notes.get('schema')!r}, and this library needs "
            f"{VERSION!r}: `await keyguard.migrations.upgrade(store)` brings older ones up to date"
        )


def _pepper_to_note(noted: str, checks: Sequence[str]) -> str:
    """Return what is to be noted of the peppers: the first one's check value.

    Raises `WrongPepper` if the one that is noted is not among them: the keys that it made would all be dead.
    """
    if noted and noted not in checks:
        raise WrongPepper(
            "the keys in this database were made under a pepper that is not among those given"
            if checks
            else "the keys in this database were made under a pepper, and none was given"
        )
    return checks[0] if checks else noted
