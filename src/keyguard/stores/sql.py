"""Keys and owners in a database, through SQLAlchemy's asyncio API.

Each method is one short transaction: a read is one statement, a write touches the columns that it speaks of. Nothing is
ever written back that was read before.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, MetaData, Row, Select

from keyguard.errors import Conflict, StoreUnavailable
from keyguard.loops import Places
from keyguard.model import AuditEvent, AuditKind, Credential, Found, KeyRecord, KeyState, NewOwner, Owner, Usage
from keyguard.settings import Keyring
from keyguard.stores._audit import Audit, event_of
from keyguard.stores._changes import Change
from keyguard.stores._credentials import Credentials, credential_of
from keyguard.stores._database import Database
from keyguard.stores._imports import adding_all
from keyguard.stores._keys import Keys
from keyguard.stores._own_owners import OwnOwners
from keyguard.stores._owners import OWN_OWNERS, Owners, UserTable, owner_of
from keyguard.stores._rows import found_in, record_of
from keyguard.stores._schema import Schema
from keyguard.stores._sqlite_reader import Busy, KeyReader
from keyguard.stores._tables import Tables
from keyguard.stores._text import is_storable
from keyguard.stores._triggers import triggers_for, warn_of_missing
from keyguard.stores._uses import record, selects, usage_of
from keyguard.stores._vouchers import voucher_for

__all__ = ["SQLStore", "UserTable"]

_T = TypeVar("_T")


class SQLStore:
    """A `keyguard.ports.ImportStore` in a database, which is a `KeyRegistry` and a `CredentialStore`.

    It opens by itself at the first call; `open` is for those who want to know at start whether it can. A call that is
    cancelled is left to finish behind the scenes, because what a database has begun cannot be taken back.

    An in-memory database (``sqlite+aiosqlite://``) is this store's alone, and ends when it is closed.

    Args:
        url: of an asyncio driver, such as ``sqlite+aiosqlite:///keys.db``.
        keyring: what the keys are made and checked with.
        users: the app's own user table, if owners live there.
        listen_url: on PostgreSQL, where the one connection that listens leads to, if `url` leads to a pooler: the same
            database, directly.

    Raises:
        ConfigurationError: if the URL is none, or that of a synchronous driver.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        keyring: Keyring = Keyring(),  # noqa: B008 A frozen value is safe to share.
        users: UserTable | None = None,
        listen_url: str | URL | None = None,
    ) -> None:
        self.keyring = keyring
        self.users = users
        self.listen_url = listen_url
        self.is_open: bool = False
        self._database = Database(url)
        self.concurrency: int = self._database.concurrency
        self._alone = Places(1)
        self._schema = Schema.build(users.key_type if users else None)
        self._owners = Owners(users or OWN_OWNERS)
        self._own_owners = OwnOwners(self._schema, self._owners)
        self._keys = Keys(self._schema, self._owners)
        self._credentials = Credentials(self._schema, self._owners)
        self._audit = Audit(self._schema)
        self._triggers = triggers_for(self._database.backend, users)
        self._tables = Tables(
            self._schema,
            users=users,
            owners=self._owners,
            triggers=self._triggers,
            pepper_checks=keyring.pepper_checks,
        )
        self._voucher = voucher_for(self._database, self._triggers, listen_url)
        file, dialect = self._database.file, self._database.engine.dialect
        self._reader = KeyReader(file, self._keys.by_lookup, dialect) if file is not None else None

    @property
    def url(self) -> URL:
        """Where it leads to; made a text, a URL of SQLAlchemy's does not show its password."""
        return self._database.url

    @property
    def metadata(self) -> MetaData:
        """The tables that this store needs, as SQLAlchemy describes them: for an app's own migrations."""
        return self._schema.metadata

    def trigger_statements(self, dialect_name: str) -> list[str]:
        """Return the SQL that makes the triggers, or makes them anew: for an app's own migrations.

        To be executed one after the other, when the tables are there. `dialect_name` is SQLAlchemy's, as in
        ``op.get_context().dialect.name``; for one that Keyguard knows no triggers for the list is empty.
        """
        triggers = triggers_for(dialect_name, self.users)
        return triggers.statements() if triggers else []

    # --- opening and closing ---

    async def open(self) -> None:
        """Make sure that the database can be reached, has the right tables, and knows one of the peppers.

        Warns, in the log, where triggers are missing. Raises `SchemaMismatch`, `WrongPepper` or `StoreUnavailable`.
        """
        async with self._alone:
            if self.is_open and not self._database.is_stale():
                return
            await self._begin_anew()
            seen = await self._database.inspect(self._tables.look)
            if self._tables.pepper_to_note(seen.pepper) != seen.pepper:
                await self._database.change(self._tables.note_pepper)
            if seen.missing_triggers:
                warn_of_missing(seen.missing_triggers)
            await self._voucher.open(seen.missing_triggers)
            if self._database.file is not None:
                self._database.file.note_log()
            if self._reader is not None:
                self._reader.open()
            self.is_open = True

    async def close(self) -> None:
        """Close all connections, when the calls that are under way have ended."""
        async with self._alone:
            await self._let_go()
            await self._database.close()

    async def create_schema(self) -> None:
        """Make the tables and triggers, where they are not there yet. Several processes may do this at once.

        Triggers of another text are replaced; those on the app's own user table wait until that is there. Raises
        `SchemaMismatch`, and changes nothing, if there are tables of another version.
        """
        await self.change_schema(self._tables.create)

    async def change_schema(self, change: Callable[[Connection], None]) -> None:
        """Call `change` in one transaction on a database in whatever state, as migrations do.

        What is there afterwards is looked at again before anything else is done.
        """
        async with self._alone:
            await self._begin_anew()
            await self._database.change(change, alone=True)

    async def _begin_anew(self) -> None:
        await self._let_go()
        await self._database.renew()

    async def _let_go(self) -> None:
        self.is_open = False
        await self._voucher.aclose()
        if self._reader is not None:
            self._reader.close()

    # --- how fresh it is ---

    @property
    def is_exact(self) -> bool:
        """Tell whether a token vouches for everybody's changes: on SQLite."""
        return self._voucher.is_exact

    def token(self) -> int | None:
        """Return a number that moves with every change of what a check reads; None while nothing vouches for that."""
        return self._voucher.token()

    # --- what a check asks ---

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose `lookup` is among `lookups`, with its owner, by one statement."""
        await self._ready()
        if self._reader is not None:
            with suppress(Busy):
                return self._reader.find(lookups)
        rows = await self._database.read(self._keys.by_lookup, {"lookups": list(lookups)})
        return found_in(rows[0]) if rows else None

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`, character for character."""
        if not is_storable(name):
            return None
        owners = map(owner_of, await self._read(self._owners.by_name(name)))
        return next((owner for owner in owners if owner.name == name), None)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        """Replace a key's digests, if its verifier still is `verifier`; tell whether that was done."""
        upgrading = self._keys.upgrading(key_id, verifier=verifier, new_lookup=new_lookup, new_verifier=new_verifier)
        try:
            return await self._write(upgrading)
        except Conflict:
            return False

    # --- owners ---

    async def add_owner(
        self,
        owner: Owner,
        *,
        created_at: datetime,
        password: str | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add an owner. Raises `Conflict` if the id or the name is taken."""
        new = NewOwner(owner=owner, created_at=created_at, password=password)
        await self._write(self._own_owners.adding([new]), events)

    async def get_owner(self, owner_id: str) -> Owner | None:
        """Return the owner with that id."""
        rows = await self._read(self._owners.by_id(owner_id))
        return owner_of(rows[0]) if rows else None

    async def list_owners(self) -> list[Owner]:
        """Return all owners, by name."""
        return sorted(map(owner_of, await self._read(self._owners.every)), key=attrgetter("name"))

    async def set_owner_active(self, owner_id: str, *, active: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Activate or deactivate an owner, and with it all of its keys; tell whether this call did it."""
        return await self._write_and_tell(self._own_owners.activating(owner_id, active=active), events)

    async def set_owner_superuser(self, owner_id: str, *, superuser: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Give or take superuser rights; tell whether this call did it."""
        return await self._write_and_tell(self._own_owners.promoting(owner_id, superuser=superuser), events)

    async def get_password(self, owner_id: str) -> str | None:
        """Return the owner's password verifier; the app's own users have none here."""
        statement = self._own_owners.password(owner_id)
        if statement is None:
            return None
        rows = await self._read(statement)
        return rows[0].password if rows else None

    async def set_password(self, owner_id: str, password: str | None, *, events: Sequence[AuditEvent] = ()) -> None:
        """Replace the owner's password verifier; None takes it away."""
        await self._write(self._own_owners.setting_password(owner_id, password), events)

    async def upgrade_password(self, owner_id: str, *, password: str, new_password: str) -> bool:
        """Replace the owner's password verifier, if it still is `password`; tell whether that was done."""
        return await self._write(
            self._own_owners.upgrading_password(owner_id, password=password, new_password=new_password)
        )

    # --- keys ---

    async def add_key(self, record: KeyRecord, *, events: Sequence[AuditEvent] = ()) -> None:
        """Add a key. Raises `NotFound` if there is no such owner and `Conflict` if the id or the lookup is taken."""
        await self._write(self._keys.adding(record), events)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """Return the key with that id, in whatever state."""
        rows = await self._read(self._keys.by_id(key_id))
        return record_of(rows[0]) if rows else None

    async def list_keys(
        self,
        owner_id: str | None = None,
        *,
        state: KeyState | None = None,
        at: datetime | None = None,
        begins: str = "",
        after: KeyRecord | None = None,
        limit: int | None = None,
    ) -> list[KeyRecord]:
        """Return the keys that fit all that is given, by one statement, the newest first, revoked ones included."""
        listing = self._keys.listing(owner_id, state=state, at=at, begins=begins, after=after, limit=limit)
        return list(map(record_of, await self._read(listing)))

    async def rename_key(self, key_id: str, name: str, *, events: Sequence[AuditEvent] = ()) -> None:
        """Change a key's name."""
        await self._write(self._keys.renaming(key_id, name), events)

    async def set_key_disabled(self, key_id: str, at: datetime | None, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Disable a key as of `at`, or enable it with None; tell whether this call did it."""
        return await self._write_and_tell(self._keys.disabling(key_id, at), events)

    async def revoke_key(self, key_id: str, at: datetime, reason: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Revoke a key for good; tell whether this call did it. Of a revoked key the first time and reason stay."""
        return await self._write_and_tell(self._keys.revoking(key_id, at, reason), events)

    async def rotate_key(
        self, old: KeyRecord, new: KeyRecord, *, until: datetime | None, events: Sequence[AuditEvent] = ()
    ) -> bool:
        """Add `new` and end `old`, both or nothing; tell whether it was done."""
        return await self._write_and_tell(self._keys.rotating(old, new, until), events)

    async def purge_keys(self, before: datetime, *, limit: int, event: AuditEvent) -> int:
        """Delete keys that were revoked or have expired before that time, with their uses; return how many."""
        purging = self._keys.purging(before, limit)

        def purge(connection: Connection) -> int:
            gone = purging(connection)
            told = [replace(event, key_id=key_id, owner_id=owner_id) for key_id, owner_id in gone]
            self._audit.write(connection, told)
            return len(gone)

        return await self._write_and_tell(purge)

    # --- credentials ---

    async def put_credential(self, credential: Credential, *, events: Sequence[AuditEvent] = ()) -> None:
        """Keep a credential, in the place of the one that the owner has by that name; its `created_at` then stays."""
        await self._write(self._credentials.putting(credential), events)

    async def get_credential(self, owner_id: str, name: str) -> Credential | None:
        """Return the credential that an owner has by that name."""
        rows = await self._read(self._credentials.by_name(owner_id, name))
        return credential_of(rows[0]) if rows else None

    async def list_credentials(self, owner_id: str | None = None) -> list[Credential]:
        """Return the credentials of one owner or of all, by owner and name."""
        rows = await self._read(self._credentials.listing(owner_id))
        return sorted(map(credential_of, rows), key=attrgetter("owner_id", "name"))

    async def remove_credential(self, owner_id: str, name: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Remove a credential; tell whether there was one."""
        return await self._write(self._credentials.removing(owner_id, name), events)

    async def sealed_with(self) -> frozenset[str]:
        """Return the check values of all secret keys that a credential here is sealed with."""
        return frozenset(row.sealed_with for row in await self._read(self._credentials.sealed_with))

    async def credentials_to_reseal(self, sealed_with: str, *, limit: int) -> list[Credential]:
        """Return some credentials, `limit` at most, that are sealed with another secret key than that one."""
        return list(map(credential_of, await self._read(self._credentials.to_reseal(sealed_with, limit))))

    async def reseal_credentials(
        self, resealed: Sequence[tuple[Credential, Credential]], *, events: Sequence[AuditEvent] = ()
    ) -> int:
        """Replace what is `sealed` in the first of each pair by that of the second; return how many were replaced."""
        return await self._write(self._credentials.resealing(resealed), events)

    # --- the audit log, and what comes from elsewhere ---

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
        listing = self._audit.listing(
            key_id=key_id, owner_id=owner_id, kinds=kinds, since=since, before=before, limit=limit
        )
        return list(map(event_of, await self._read(listing)))

    async def add_all(
        self,
        *,
        owners: Sequence[NewOwner] = (),
        keys: Sequence[KeyRecord] = (),
        credentials: Sequence[Credential] = (),
        uses: Mapping[str, Usage] | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add all of these, or nothing, in one transaction, which may take any time."""
        adding = adding_all(
            self._schema, self._owners, new_owners=owners, keys=keys, credentials=credentials, uses=uses or {}
        )
        await self._written(self._audit.telling(adding, events), partial(self._database.change, alone=True))

    # --- uses ---

    async def record_uses(self, uses: Mapping[str, Usage], *, worker: str, sequence: int) -> None:
        """Add `uses`, by key id, to what is known, unless this batch of this worker was added already."""

        def add(connection: Connection) -> None:
            record(connection, self._schema, uses, worker=worker, sequence=sequence)

        await self._write(add)

    async def get_uses(self, key_ids: Collection[str]) -> Mapping[str, Usage]:
        """Return what is known of the uses of these keys; one that was never used is left out."""
        rows = [row for statement in selects(self._schema, key_ids) for row in await self._read(statement)]
        return {row.key_id: usage_of(row) for row in rows}

    # --- the database, opened at the first need ---

    async def _read(self, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        await self._ready()
        return await self._database.read(statement, parameters)

    async def _write_and_tell(self, change: Change[_T], events: Sequence[AuditEvent] = ()) -> _T:
        """Change what a check reads; return when every check sees it, also if somebody else has just done the same."""
        return await self._written(self._audit.telling(change, events), self._voucher.change)

    async def _write(self, change: Change[_T], events: Sequence[AuditEvent] = ()) -> _T:
        """Change what nobody who remembers a key has to hear of: new rows, names, digests, passwords, counts."""
        return await self._written(self._audit.telling(change, events), self._database.change)

    async def _written(self, change: Change[_T], make: Callable[[Change[_T]], Awaitable[_T]]) -> _T:
        await self._ready()
        result = await make(change)
        if self._database.is_stale():
            raise StoreUnavailable("another file took the database's place meanwhile: the change may be lost")
        return result

    async def _ready(self) -> None:
        if not self.is_open or self._database.is_stale():
            await self.open()
