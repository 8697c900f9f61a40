"""What Keyguard asks of the world, as Protocols: stores of keys, credentials, sessions and audit events, a clock.

Each method's docstring is its promise. `keyguard.testing` has the suites that hold a store to them.

`Freshness` and `UsageStore` are found by `isinstance`, which from Python 3.12 on does not ask `__getattr__`: a wrapper
around a store has their methods itself.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from keyguard.model import (
    AuditEvent,
    AuditKind,
    Credential,
    Event,
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
from keyguard.settings import Hasher, Keyring

__all__ = [
    "AuditLog",
    "Clock",
    "CredentialStore",
    "Freshness",
    "Hasher",
    "ImportStore",
    "KeyRegistry",
    "KeyStore",
    "Observer",
    "SessionStore",
    "SignInStore",
    "UsageStore",
]


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Return the time now, as an aware datetime in UTC."""
        ...


class Observer(Protocol):
    """Is told of each request that was judged: metrics, audit trails, alarms."""

    def __call__(self, event: Event) -> None:
        """Take notice of `event`, without waiting. What it raises is logged and changes nothing."""
        ...


class KeyStore(Protocol):
    """What a check asks of a store.

    Every method may raise `StoreUnavailable`, when the store cannot be reached or does not answer; a request is then
    answered with 503. No method is given a key, only digests of it.
    """

    @property
    def keyring(self) -> Keyring:
        """What the keys of this store are made and checked with."""
        ...

    @property
    def concurrency(self) -> int:
        """How many reads it can serve at once; KeyGuard sends it no more than that."""
        ...

    @property
    def is_open(self) -> bool:
        """Tell whether `open` has succeeded and `close` was not called since."""
        ...

    async def open(self) -> None:
        """Make sure that the store can be used: it is reached, has the right tables, and knows one of the peppers.

        Calling it again does nothing. It changes nothing but the note of the keyring's first pepper.

        Raises `StartRefused` (`SchemaMismatch`, `WrongPepper`) if store and program do not belong together, and
        `StoreUnavailable` if the store cannot be reached now.
        """
        ...

    async def close(self) -> None:
        """Give back what `open` took. Calling it again, or before `open`, does nothing; `open` may follow."""
        ...

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose `lookup` is among `lookups`, with its owner, as they are at this moment.

        One read, whether or not there is such a key. A change that was committed before the call is seen. A key whose
        owner does not exist is not found. Disabled, revoked and expired keys are found: judging them is not the
        store's.
        """
        ...

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`, character for character."""
        ...

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        """Replace a key's digests, if its verifier still is `verifier`; tell whether that was done.

        Nothing else of the key changes. It is not done where another key has `new_lookup`, nor by a store that cannot
        write.
        """
        ...


@runtime_checkable
class Freshness(Protocol):
    """What a store has that can vouch for what was read from it before: with it, a check costs no read.

    A store without it is asked with every check.
    """

    @property
    def is_exact(self) -> bool:
        """Tell whether a token vouches for every change, whoever made it, up to the moment at which it is asked for.

        If not, it vouches for the changes that this library's calls have returned from; others are seen a little later.
        """
        ...

    def token(self) -> int | None:
        """Return the store's revision: cheap, without waiting.

        Equal tokens of one store object: in between, no key and no owner has changed in what a check reads (state,
        times, scopes, networks, owner, the owner's name and its active and superuser flags). A change of a key's name,
        of digests, counts or passwords, and a new key, need not show. None: nothing that was read before may be used
        now.
        """
        ...


@runtime_checkable
class UsageStore(Protocol):
    """Where is kept how often, when and from where keys were used.

    Both methods may raise `StoreUnavailable`.
    """

    async def record_uses(self, uses: Mapping[str, Usage], *, worker: str, sequence: int) -> None:
        """Add `uses`, by key id, to what is known: totals are added up, of the last uses the latest stays.

        One transaction. `worker` counts its batches in `sequence`, from 1 on and upwards: a batch that was recorded
        already, because its answer got lost, is not added again. Ids of keys that do not exist do no harm.
        """
        ...

    async def get_uses(self, key_ids: Collection[str]) -> Mapping[str, Usage]:
        """Return what is known of the uses of these keys; one that was never used is left out."""
        ...


@runtime_checkable
class AuditLog(Protocol):
    """Where stands who changed what, and when."""

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
        """Return the events that fit all that is given, the newest first.

        `since` is the earliest time, `before` an event's `id` (for the next page), `limit` how many at most. An event
        stays when its key or owner is gone.
        """
        ...


class KeyRegistry(KeyStore, AuditLog, Protocol):
    """What issuing and administering keys asks of a store, beyond what a check does.

    Each method is one transaction: when it returns, the change is durable and every later `find` of every process sees
    it. Writes are narrow: they touch the columns that they speak of and nothing else, so that two at once lose nothing.
    A method that changes a key or owner raises `NotFound` if there is none with that id. Where owners live in the app's
    own table, the methods that write owners raise `NotSupported`.

    `events` are written in the same transaction, and only if something was changed: where a method tells whether it did
    what it was asked for, no is the answer to what is as it should be already. An event of a key without an `owner_id`
    gets that of the key's owner.

    With `expected`, a change of a key is made only if the key's name, its end, and when it was disabled, revoked and
    rotated are what that record says, and `Changed` is raised if they are not: in the same transaction, so that of two
    who have read the same, one changes it.

    A text with a NUL character or a surrogate, which JSON can bring and no database takes, is no id and no name: asked
    for it is not there, and to write it raises `ConfigurationError`.
    """

    async def add_owner(
        self,
        owner: Owner,
        *,
        created_at: datetime,
        password: str | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add an owner; `password` is a verifier, not a password. Raises `Conflict` if the id or the name is taken."""
        ...

    async def get_owner(self, owner_id: str) -> Owner | None:
        """Return the owner with that id."""
        ...

    async def list_owners(self) -> list[Owner]:
        """Return all owners, by name."""
        ...

    async def page_owners(self, *, offset: int = 0, limit: int) -> OwnerPage:
        """Return the owners in the order of `list_owners`: at most `limit` of them, behind the first `offset`."""
        ...

    async def rename_owner(self, owner_id: str, name: str, *, event: AuditEvent) -> bool:
        """Give an owner another name; tell whether it had another one. Raises `Conflict` if the name is taken.

        `event` is written with the old name as `old_name` in its detail.
        """
        ...

    async def remove_owner(self, owner_id: str, *, event: AuditEvent) -> int:
        """Delete an owner with its keys, their uses, its sessions and its credentials; return how many keys it had.

        `event` is written with the owner's `name`, and how many `keys` it had, in its detail. Events stay.
        """
        ...

    async def set_owner_active(self, owner_id: str, *, active: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Activate or deactivate an owner, and with it all of its keys; tell whether this call did it.

        Deactivating ends the owner's sessions.
        """
        ...

    async def set_owner_superuser(self, owner_id: str, *, superuser: bool, events: Sequence[AuditEvent] = ()) -> bool:
        """Give or take superuser rights; tell whether this call did it."""
        ...

    async def get_password(self, owner_id: str) -> str | None:
        """Return the owner's password verifier, None where there is no such owner or no password."""
        ...

    async def set_password(self, owner_id: str, password: str | None, *, events: Sequence[AuditEvent] = ()) -> None:
        """Replace the owner's password verifier; None takes it away. Nothing is changed if it is the same.

        If it is changed the owner's sessions end.
        """
        ...

    async def upgrade_password(self, owner_id: str, *, password: str, new_password: str) -> bool:
        """Replace the owner's password verifier, if it still is `password`; tell whether that was done.

        It is the same password: no session ends.
        """
        ...

    async def add_key(self, record: KeyRecord, *, events: Sequence[AuditEvent] = ()) -> None:
        """Add a key. Raises `NotFound` if there is no such owner and `Conflict` if the id or the lookup is taken."""
        ...

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """Return the key with that id, in whatever state."""
        ...

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
        """Return the keys of one owner or of all, the newest first, revoked ones included.

        `state` leaves those that are in that state at the time `at`, which then is given too; `begins` those whose
        prefix and id, one behind the other, begin with it (``kg_``, ``kg_3fJ2``), letter case and all; `after` those
        that come behind that key, which need not exist any more; `limit` the first so many.
        """
        ...

    async def search_keys(self, query: KeyQuery, *, at: datetime, offset: int = 0, limit: int) -> KeyPage:
        """Return the keys that fit `query` at the time `at`: at most `limit` of them, behind the first `offset`.

        Keys, owners and uses are read in one statement. A store that does not count uses says 0 of each key.
        """
        ...

    async def rename_key(
        self, key_id: str, name: str, *, expected: KeyRecord | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Change a key's name; nothing is changed if it has that name."""
        ...

    async def set_key_disabled(
        self,
        key_id: str,
        at: datetime | None,
        *,
        expected: KeyRecord | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> bool:
        """Disable a key as of `at`, or enable it with None; tell whether this call did it.

        Of a disabled key the first time stays.
        """
        ...

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
        ...

    async def rotate_key(
        self, old: KeyRecord, new: KeyRecord, *, until: datetime | None, events: Sequence[AuditEvent] = ()
    ) -> bool:
        """Add `new` and end `old`, both or nothing; tell whether it was done.

        The old key was rotated at `new.created_at`. It expires at `until`; with None it is revoked as of
        `new.created_at`, for the reason ``rotated``: what is refused from now on must not depend on how exactly several
        hosts' clocks agree.

        It is not done if the old key is revoked or was rotated before, or if its name, its end or whether it is
        disabled is not what `old` says: somebody else was faster, and the new key would not be like the old one. Raises
        `NotFound` if there is no such key or owner, and `Conflict` if the new id or lookup is taken.
        """
        ...

    async def purge_keys(self, before: datetime, *, limit: int, event: AuditEvent) -> int:
        """Delete keys that were revoked or have expired before that time, with their uses; return how many.

        At most `limit` at once, the oldest first. For each of them `event` is written, with its id and its owner's.
        When there are fewer, uses of keys that are not there are deleted, too: a worker may have written them late.
        """
        ...


@runtime_checkable
class CredentialStore(Protocol):
    """Where sealed credentials are kept. No method is given a secret, only what `keyguard.vault` has sealed.

    What `KeyRegistry` says of transactions, of `events` and of texts that cannot be stored holds here, too.
    """

    async def put_credential(self, credential: Credential, *, events: Sequence[AuditEvent] = ()) -> None:
        """Keep a credential, in the place of the one that the owner has by that name; its `created_at` then stays.

        Raises `NotFound` if there is no such owner.
        """
        ...

    async def get_credential(self, owner_id: str, name: str) -> Credential | None:
        """Return the credential that an owner has by that name."""
        ...

    async def list_credentials(self, owner_id: str | None = None) -> list[Credential]:
        """Return the credentials of one owner or of all, by owner and name."""
        ...

    async def remove_credential(self, owner_id: str, name: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """Remove a credential; tell whether there was one."""
        ...

    async def sealed_with(self) -> frozenset[str]:
        """Return the check values of all secret keys that a credential here is sealed with."""
        ...

    async def credentials_to_reseal(self, sealed_with: str, *, limit: int) -> list[Credential]:
        """Return some credentials, `limit` at most, that are sealed with another secret key than that one."""
        ...

    async def reseal_credentials(
        self, resealed: Sequence[tuple[Credential, Credential]], *, events: Sequence[AuditEvent] = ()
    ) -> int:
        """Replace, of each pair, what is `sealed` in the first by that of the second; return how many were replaced.

        One whose `sealed` is another one by now, or that is gone, is left as it is. Nothing but `sealed` and
        `sealed_with` changes.
        """
        ...


@runtime_checkable
class SessionStore(Protocol):
    """Where is kept who has signed in. No method is given what a browser holds, only the digest of it.

    What `KeyRegistry` says of transactions, of `events` and of texts that cannot be stored holds here, too. A session
    ends on every worker when the call that ended it returns. Where owners live in the app's own table, whoever signs
    them in keeps their sessions, too: each method raises `NotSupported`.
    """

    async def add_session(
        self, session: Session, *, password: str | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Keep a session of an active owner; with `password`, of one whose password verifier that is at this moment.

        Raises `NotFound` if there is no such owner, and `Conflict` if it is not active, its password has changed in the
        meantime, or the lookup is taken. An owner who is deactivated, or whose password is changed, at the same moment
        has no session afterwards.
        """
        ...

    async def find_session(self, lookup: str) -> SessionFound | None:
        """Return the session with that lookup and its owner, as they are at this moment.

        One that has expired is found, and one whose owner is not active: judging them is not the store's.
        """
        ...

    async def end_session(self, lookup: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """End a session; tell whether there was one."""
        ...

    async def end_sessions(self, owner_id: str, *, events: Sequence[AuditEvent] = ()) -> int:
        """End all sessions of an owner; return how many there were: 0 of an owner who is not known."""
        ...

    async def purge_sessions(self, before: datetime) -> int:
        """Delete the sessions that have expired before that time; return how many there were."""
        ...


class SignInStore(KeyRegistry, SessionStore, Protocol):
    """A store that knows owners by their passwords, and keeps their sessions."""


class ImportStore(KeyRegistry, CredentialStore, Protocol):
    """A store that takes many owners, keys and credentials over from elsewhere, at once."""

    async def add_all(
        self,
        *,
        owners: Sequence[NewOwner] = (),
        keys: Sequence[KeyRecord] = (),
        credentials: Sequence[Credential] = (),
        uses: Mapping[str, Usage] | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add all of these, or nothing, in one transaction; `uses` are those of the new keys so far, by id.

        Raises `Conflict` if an id, a name or a lookup is taken, `NotFound` if an owner is neither there nor among
        `owners`, and `NotSupported` if `owners` are given and live in the app's own table.
        """
        ...
