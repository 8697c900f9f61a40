"""Keys and owners in a database, through SQLAlchemy's asyncio API.

Each method is one short transaction: a read is one statement, a write touches the columns that it speaks of. Nothing is
ever written back that was read before.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import attrgetter

from sqlalchemy import URL, Connection

from keyguard.errors import Conflict
from keyguard.model import (
    AuditEvent,
    AuditKind,
    Credential,
    Found,
    KeyPage,
    KeyQuery,
    KeyRecord,
    KeyState,
    NewOwner,
    Owner,
    OwnerPage,
    Session,
    SessionFound,
    Usage,
)
from keyguard.settings import Keyring
from keyguard.stores._audit import event_of
from keyguard.stores._credentials import Credentials, credential_of
from keyguard.stores._imports import adding_all
from keyguard.stores._opened import OpenedDatabase
from keyguard.stores._own_owners import OwnOwners
from keyguard.stores._owners import UserTable, owner_of
from keyguard.stores._rows import found_in, record_of
from keyguard.stores._search import Search, owners_in, page_in
from keyguard.stores._sessions import Sessions, session_in
from keyguard.stores._sqlite_reader import Busy
from keyguard.stores._text import is_storable
from keyguard.stores._uses import record, selects, usage_of

__all__ = ["SQLStore", "UserTable"]


class SQLStore(OpenedDatabase):
    """A `keyguard.ports.ImportStore` in a database, which is a `KeyRegistry` and a `CredentialStore`.

    It is a `SessionStore`, too, for owners of its own: where they live in the app's user table, whoever signs them in
    keeps their sessions.

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
        super().__init__(url, keyring=keyring, users=users, listen_url=listen_url)
        self._own_owners = OwnOwners(self._schema, self._owners)
        self._search = Search(self._schema, self._owners, self._keys, self._database.backend)
        self._credentials = Credentials(self._schema, self._owners)
        self._sessions = Sessions(self._schema, self._owners)

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

    async def page_owners(self, *, offset: int = 0, limit: int) -> OwnerPage:
        """Return the owners, by name: at most `limit` of them, behind the first `offset`."""
        return owners_in(await self._read(self._search.owners(offset=offset, limit=limit)))

    async def rename_owner(self, owner_id: str, name: str, *, event: AuditEvent) -> bool:
        """Give an owner another name; tell whether it had another one. Raises `Conflict` if the name is taken."""
        renaming = self._own_owners.renaming(owner_id, name)

        def rename(connection: Connection) -> bool:
            old_name = renaming(connection)
            if old_name is None:
                return False
            self._audit.write(connection, [replace(event, detail={**event.detail, "old_name": old_name})])
            return True

        return await self._write_and_tell(rename)

    async def remove_owner(self, owner_id: str, *, event: AuditEvent) -> int:
        """Delete an owner with its keys, their uses, its sessions and its credentials; return how many keys it had."""
        removing = self._own_owners.removing(owner_id)

        def remove(connection: Connection) -> int:
            name, keys = removing(connection)
            self._audit.write(connection, [replace(event, detail={**event.detail, "name": name, "keys": keys})])
            return keys

        return await self._write_and_tell(remove)

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

    async def search_keys(self, query: KeyQuery, *, at: datetime, offset: int = 0, limit: int) -> KeyPage:
        """Return the keys that fit `query` at the time `at`: at most `limit` of them, behind the first `offset`."""
        return page_in(await self._read(self._search.page(query, at=at, offset=offset, limit=limit)))

    async def rename_key(
        self, key_id: str, name: str, *, expected: KeyRecord | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Change a key's name."""
        await self._write(self._keys.renaming(key_id, name, expected), events)

    async def set_key_disabled(
        self,
        key_id: str,
        at: datetime | None,
        *,
        expected: KeyRecord | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> bool:
        """Disable a key as of `at`, or enable it with None; tell whether this call did it."""
        return await self._write_and_tell(self._keys.disabling(key_id, at, expected), events)

    async def revoke_key(
        self,
        key_id: str,
        at: datetime,
        reason: str,
        *,
        expected: KeyRecord | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> bool:
        """Revoke a key for good; tell whether this call did it. Of a revoked key the first time and reason stay."""
        return await self._write_and_tell(self._keys.revoking(key_id, at, reason, expected), events)

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

    # --- sessions ---

    async def add_session(
        self, session: Session, *, password: str | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Keep a session of an active owner; with `password`, of one whose password verifier that is at this moment."""
        await self._write(self._sessions.adding(session, password), events)

    async def find_session(self, lookup: str) -> SessionFound | None:
        """Return the session with that lookup and its owner, by one statement."""
        rows = await self._read(self._sessions.by_lookup(lookup))
        return session_in(rows[0]) if rows else None

    async def end_session(self, lookup: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """End a session; tell whether there was one."""
        return await self._write(self._sessions.ending(lookup), events)

    async def end_sessions(self, owner_id: str, *, events: Sequence[AuditEvent] = ()) -> int:
        """End all sessions of an owner; return how many there were."""
        return await self._write(self._sessions.ending_all(owner_id), events)

    async def purge_sessions(self, before: datetime) -> int:
        """Delete the sessions that have expired before that time; return how many there were."""
        purged = 0
        # Most sign-ins find none: to look takes nobody's turn to write.
        while await self._read(self._sessions.expired(before)):
            some = await self._write(self._sessions.purging(before))
            if not some:
                break  # Others are at it.
            purged += some
        return purged

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
