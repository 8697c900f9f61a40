"""The life of keys and owners: functions over a store, shared by everything that administers.

Each returns when its change is durable; a request that reaches KeyGuard after that sees it. `clock` and `entropy`
(which returns so many random bytes) are there for tests and vectors.

Every function may raise `StoreUnavailable`, and `StartRefused` if the store does not belong to this program.
"""

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, Conflict, InvalidKey, NotFound, NotSupported
from keyguard.hashing import SLOW_HASHING, Argon2Hasher, Digests
from keyguard.keys import ENTROPY_BYTES, ApiKey, Plaintext, from_entropy, recognise
from keyguard.model import ALL_SCOPES, IPNetwork, KeyRecord, Owner, Usage, check_scope
from keyguard.ports import Clock, KeyRegistry, KeyStore, UsageStore
from keyguard.settings import Keyring

__all__ = [
    "Issued",
    "activate",
    "add_owner",
    "adopt",
    "deactivate",
    "disable",
    "enable",
    "get",
    "issue",
    "list_keys",
    "mint",
    "rename",
    "revoke",
    "rotate",
    "set_password",
    "set_superuser",
    "usage",
    "usages",
    "verify_password",
]

Entropy = Callable[[int], bytes]

_PASSWORDS = Argon2Hasher()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key. `key.reveal()` gives its text, to be shown this once: nobody can read it back later."""

    key: ApiKey
    record: KeyRecord


# --- keys -------------------------------------------------------------------------------------------------------


async def issue(
    store: KeyRegistry,
    owner: Owner | str,
    *,
    name: str = "",
    scopes: Iterable[str] | None = None,
    networks: Iterable[IPNetwork | str] = (),
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Issued:
    """Issue a new key to an owner.

    Args:
        store: where the key is kept.
        owner: whom it stands for: an `Owner`, or the id of one.
        name: for people.
        scopes: what it may do: None for all that its owner may, an empty list for nothing.
        networks: from where it may be used, such as ``192.0.2.0/24``; empty for anywhere.
        not_before: from when on it is good.
        expires_at: from when on it is not good any more. Where the keyring has a `max_lifetime`, that is the default.
        clock: the time it is issued at.
        entropy: where its randomness comes from.

    Raises:
        ConfigurationError: if the name, a scope, a network or a time is not as above, or the life is longer than
            `max_lifetime`.
        NotFound: if there is no such owner.
    """
    key = from_entropy(store.keyring.prefix, entropy(ENTROPY_BYTES))
    record = await _record(
        store.keyring,
        key,
        owner,
        id=key.id,
        prefix=f"{key.prefix}_",
        name=name,
        scopes=scopes,
        networks=networks,
        not_before=not_before,
        expires_at=expires_at,
        now=clock(),
    )
    await store.add_key(record)
    return Issued(key=key, record=record)


async def adopt(
    store: KeyRegistry,
    owner: Owner | str,
    secret: str,
    *,
    name: str = "",
    scopes: Iterable[str] | None = None,
    networks: Iterable[IPNetwork | str] = (),
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> KeyRecord:
    """Take a key over that exists already: one that somebody chose, or that was issued elsewhere.

    `secret` must have the form of one of the keyring's `formats`, or Keyguard's own; where its form has fewer than 112
    bits of entropy it is kept under Argon2id. The other arguments are `issue`'s.

    Raises:
        InvalidKey: if `secret` has no form that the keyring accepts.
        ConfigurationError: as `issue` does.
        NotFound: if there is no such owner.
        Conflict: if this key is in the store already.
        Overloaded: if too many slow hashes wait.
    """
    key = recognise(_bytes_of(secret), store.keyring)
    del secret  # Error reporters show what the variables of each frame hold.
    if key is None:
        raise InvalidKey("the secret has no form that the keyring accepts; name its form in Keyring(formats=...)")
    made_up = from_entropy(store.keyring.prefix, entropy(ENTROPY_BYTES))
    record = await _record(
        store.keyring,
        key,
        owner,
        id=key.id if isinstance(key, ApiKey) else made_up.id,
        prefix=f"{key.prefix}_" if isinstance(key, ApiKey) else _format_prefix(store.keyring, key),
        name=name,
        scopes=scopes,
        networks=networks,
        not_before=not_before,
        expires_at=expires_at,
        now=clock(),
    )
    # It may be there under an older pepper, or under none, where its new lookup does not collide with the old one.
    if await store.find(Digests(store.keyring).lookups(key)) is not None:
        raise Conflict("this key is in the store already")
    await store.add_key(record)
    return record


def mint(keyring: Keyring, *, entropy: Entropy = secrets.token_bytes) -> tuple[ApiKey, str]:
    """Return a new key and its digest, which is to be written down for a `StaticStore`; nothing is stored.

    Raises:
        ConfigurationError: if the keyring has a slow hasher for every key: a `StaticStore` holds fast digests.
    """
    if keyring.hasher is not None:
        raise ConfigurationError("a key that is written down has a fast digest: mint it under a Keyring without hasher")
    key = from_entropy(keyring.prefix, entropy(ENTROPY_BYTES))
    return key, Digests(keyring).lookups(key)[0]


async def get(store: KeyRegistry, key_id: str) -> KeyRecord:
    """Return a key, in whatever state. Raises `NotFound` if there is none with that id."""
    record = await store.get_key(key_id)
    if record is None:
        raise NotFound("no key has that id")  # Not quoted: a whole key may have been given in its place.
    return record


async def list_keys(store: KeyRegistry, owner: Owner | str | None = None) -> list[KeyRecord]:
    """Return an owner's keys, or all, the newest first, revoked ones included."""
    return await store.list_keys(None if owner is None else _id_of(owner))


async def rename(store: KeyRegistry, key_id: str, name: str) -> None:
    """Give a key another name. Raises `NotFound`, and `ConfigurationError` if the name is no text."""
    _check_text("name", name)
    await store.rename_key(key_id, name)


async def disable(store: KeyRegistry, key_id: str, *, clock: Clock = utc_now) -> None:
    """Refuse a key until it is enabled again. Raises `NotFound`."""
    await store.set_key_disabled(key_id, clock())


async def enable(store: KeyRegistry, key_id: str) -> None:
    """Accept a disabled key again; a revoked one stays revoked. Raises `NotFound`."""
    await store.set_key_disabled(key_id, None)


async def revoke(store: KeyRegistry, key_id: str, *, reason: str = "", clock: Clock = utc_now) -> bool:
    """Refuse a key for good; tell whether this call did it. Of a revoked key the first time and reason stay.

    Raises `NotFound` if there is no key with that id, and `ConfigurationError` if the reason is no text.
    """
    _check_text("reason", reason)
    return await store.revoke_key(key_id, clock(), reason)


async def rotate(
    store: KeyRegistry,
    key_id: str,
    *,
    grace: timedelta = timedelta(0),
    expires_at: datetime | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Issued:
    """Issue a new key in the place of an old one, which ends; both or nothing.

    The new one has an id and a secret of its own, in Keyguard's own form, and the owner, name, scopes and networks of
    the old one. It is disabled if the old one is, and not valid before the old one would have been.

    Args:
        store: where the keys are kept.
        key_id: the old one.
        grace: how long the old key is still good, beside the new one; never longer than it would have been anyway.
            Without a grace it is revoked at once, for the reason ``rotated``.
        expires_at: from when on the new key is not good any more. Without it, when the old one would have ended, where
            that is not later than the keyring's `max_lifetime` allows.
        clock: the time of the rotation.
        entropy: where the new key's randomness comes from.

    Raises:
        ConfigurationError: if the grace is negative or has no end, or `expires_at` is not as for `issue`.
        NotFound: if there is no key with that id, or no owner any more.
        Conflict: if the key is revoked or has expired, or if somebody else rotates or revokes it at this moment.
    """
    old = await get(store, key_id)
    now = clock()
    if old.revoked_at is not None:
        raise Conflict("a revoked key is not rotated: issue a new one")
    if old.expires_at is not None and old.expires_at <= now:
        raise Conflict("a key that has expired is not rotated: issue a new one")
    until = _end_of_grace(grace, old.expires_at, now)
    key = from_entropy(store.keyring.prefix, entropy(ENTROPY_BYTES))
    not_before = old.not_before if old.not_before is not None and old.not_before > now else None
    lookup, verifier = await Digests(store.keyring).make(key)
    new = replace(
        old,
        id=key.id,
        prefix=f"{key.prefix}_",
        lookup=lookup,
        verifier=verifier,
        created_at=now,
        not_before=not_before,
        expires_at=_expiry(
            store.keyring, not_before, _in_utc(expires_at) or _inherited(store.keyring, old.expires_at, now), now
        ),
    )
    if not await store.rotate_key(old, new, until=until):
        raise Conflict("the key was revoked or rotated at this moment: look at it again")
    return Issued(key=key, record=new)


async def usage(store: KeyStore, key_id: str) -> Usage:
    """Return how often a key has let a request in, and when and from where it did so last.

    What workers have counted and not written yet, about ten seconds' worth, is not in it. A key that was never used, or
    that does not exist, has `total` 0. Raises `NotSupported` if the store does not count.
    """
    return (await usages(store, [key_id]))[key_id]


async def usages(store: KeyStore, key_ids: Iterable[str]) -> dict[str, Usage]:
    """Return what `usage` does for many keys at once, by id, such as for a list of keys; every id is in it.

    Raises `NotSupported` if the store does not count, and `ConfigurationError` for a single id.
    """
    if isinstance(key_ids, str):
        raise ConfigurationError("key_ids is a list of ids, even of one; not a str")
    if not isinstance(store, UsageStore):
        raise NotSupported("this store does not count uses: it is no keyguard.ports.UsageStore")
    ids = list(key_ids)
    known = await store.get_uses(ids)
    return {key_id: known.get(key_id, Usage(total=0)) for key_id in ids}


# --- owners -----------------------------------------------------------------------------------------------------


async def add_owner(
    store: KeyRegistry,
    name: str,
    *,
    id: str | None = None,  # noqa: A002 The word that `Owner` uses.
    is_superuser: bool = False,
    password: str | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Owner:
    """Add an owner; without an `id` it gets a random UUID.

    Raises:
        ConfigurationError: if the name or the id is no text, or the name or the password is empty.
        Conflict: if the id or the name is taken.
        NotSupported: if owners live in the app's own table.
        Overloaded: if a password is given and too many slow hashes wait.
    """
    _check_text("name", name)
    if not name:
        raise ConfigurationError("an owner needs a name")
    owner_id = id if id is not None else str(uuid.UUID(bytes=entropy(16), version=4))
    _check_text("id", owner_id)
    owner = Owner(id=owner_id, name=name, is_superuser=is_superuser)
    verifier = None if password is None else await _hash(password)
    await store.add_owner(owner, created_at=clock(), password=verifier)
    return owner


async def activate(store: KeyRegistry, owner: Owner | str) -> None:
    """Accept an owner's keys again. Raises `NotFound`."""
    await store.set_owner_active(_id_of(owner), active=True)


async def deactivate(store: KeyRegistry, owner: Owner | str) -> None:
    """Refuse all of an owner's keys, from now on and until the owner is activated. Raises `NotFound`."""
    await store.set_owner_active(_id_of(owner), active=False)


async def set_superuser(store: KeyRegistry, owner: Owner | str, *, superuser: bool) -> None:
    """Give or take superuser rights; keys with the scope ``*`` follow. Raises `NotFound`."""
    await store.set_owner_superuser(_id_of(owner), superuser=superuser)


async def set_password(store: KeyRegistry, owner: Owner | str, password: str | None) -> None:
    """Set an owner's password, kept under Argon2id; None takes it away.

    Raises:
        ConfigurationError: if the password is empty.
        NotFound: if there is no such owner.
        NotSupported: if owners live in the app's own table.
        Overloaded: if too many slow hashes wait.
    """
    await store.set_password(_id_of(owner), None if password is None else await _hash(password))


async def verify_password(store: KeyRegistry, name: str, password: str) -> Owner | None:
    """Return the active owner with that name and password, else None.

    A slow hash is computed whether or not there is such an owner, so that the time taken does not tell who is one.
    Raises `Overloaded` if too many slow hashes wait.
    """
    owner = await store.find_owner(name)
    verifier = None if owner is None else await store.get_password(owner.id)
    matches = await SLOW_HASHING.run(lambda: _matches(verifier, password))
    return owner if owner is not None and owner.is_active and matches else None


# --- the parts --------------------------------------------------------------------------------------------------


async def _record(
    keyring: Keyring,
    key: Plaintext,
    owner: Owner | str,
    *,
    id: str,  # noqa: A002 The word that `KeyRecord` uses.
    prefix: str,
    name: str,
    scopes: Iterable[str] | None,
    networks: Iterable[IPNetwork | str],
    not_before: datetime | None,
    expires_at: datetime | None,
    now: datetime,
) -> KeyRecord:
    _check_text("name", name)
    granted = ALL_SCOPES if scopes is None else _scopes(scopes)
    allowed = _networks(networks)
    not_before = _in_utc(not_before)
    expires_at = _expiry(keyring, not_before, _in_utc(expires_at), now)
    lookup, verifier = await Digests(keyring).make(key)
    return KeyRecord(
        id=id,
        owner_id=_id_of(owner),
        prefix=prefix,
        name=name,
        lookup=lookup,
        verifier=verifier,
        scopes=granted,
        networks=allowed,
        created_at=now,
        not_before=not_before,
        expires_at=expires_at,
    )


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} is a text; not {type(value).__name__}")


def _id_of(owner: Owner | str) -> str:
    return owner if isinstance(owner, str) else owner.id


def _scopes(scopes: Iterable[str]) -> frozenset[str]:
    if isinstance(scopes, str):
        raise ConfigurationError("scopes is a list of names, even of one; not a str")
    return frozenset(check_scope(scope) for scope in scopes)


def _networks(networks: Iterable[IPNetwork | str]) -> tuple[IPNetwork, ...]:
    # A network is iterable as well: over each of its addresses, which may take for ever.
    if isinstance(networks, str | bytes | IPv4Network | IPv6Network):
        raise ConfigurationError(f"networks is a list, even of one; not {type(networks).__name__}")
    try:
        return tuple(ip_network(network) for network in networks)
    except ValueError as problem:
        raise ConfigurationError(f"a network is written like 192.0.2.0/24 or 2001:db8::/32: {problem}") from None


def _in_utc(time: datetime | None) -> datetime | None:
    if time is not None and time.utcoffset() is None:
        raise ConfigurationError("not_before and expires_at are aware datetimes, such as datetime.now(UTC)")
    return time and time.astimezone(UTC)


def _expiry(
    keyring: Keyring, not_before: datetime | None, expires_at: datetime | None, now: datetime
) -> datetime | None:
    """Check the window of time, and return its end."""
    latest = None if keyring.max_lifetime is None else now + keyring.max_lifetime
    expires_at = expires_at or latest
    if latest is not None and expires_at is not None and expires_at > latest:
        raise ConfigurationError(f"expires_at is at most {keyring.max_lifetime} from now: the keyring's max_lifetime")
    if expires_at is not None and expires_at <= max(now, not_before or now):
        raise ConfigurationError("expires_at lies in the future, and behind not_before")
    return expires_at


def _inherited(keyring: Keyring, expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return when a key ends that takes the place of one that would have ended at `expires_at`."""
    if expires_at is None or keyring.max_lifetime is None:
        return expires_at
    return min(expires_at, now + keyring.max_lifetime)


def _end_of_grace(grace: object, expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return when a key expires that is rotated now, None for at once."""
    if not isinstance(grace, timedelta) or grace < timedelta(0):
        raise ConfigurationError(f"grace is a timedelta, and not a negative one; not {grace!r}")
    if not grace:
        return None
    try:
        end = now + grace
    except OverflowError:
        raise ConfigurationError("grace has an end: rotating with it, the old key must expire") from None
    return end if expires_at is None else min(end, expires_at)


def _format_prefix(keyring: Keyring, key: Plaintext) -> str:
    """Return the prefix of the format that an adopted key has: all of it that may be shown."""
    return next(form.prefix for form in keyring.formats if form.matches(key.reveal()))


@cache
def _nobodys_password() -> str:
    """Return what is verified in place of a password that is missing."""
    return _PASSWORDS.hash(secrets.token_bytes(32))


def _matches(verifier: str | None, password: str) -> bool:
    return _PASSWORDS.verify(verifier or _nobodys_password(), _bytes_of(password)) and verifier is not None


async def _hash(password: str) -> str:
    if not password:
        raise ConfigurationError("a password has one character at least; None takes it away")
    return await SLOW_HASHING.run(lambda: _PASSWORDS.hash(_bytes_of(password)))


def _bytes_of(text: str) -> bytes:
    """Encode any text: JSON can bring surrogates, which no strict encoding takes."""
    return text.encode(errors="surrogatepass")
