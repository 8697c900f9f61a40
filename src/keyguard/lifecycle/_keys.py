"""Keys: issued, taken over, looked at and ended."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, Conflict, InvalidKey, NotFound, NotSupported
from keyguard.hashing import Digests
from keyguard.keys import ENTROPY_BYTES, ApiKey, Plaintext, from_entropy, recognise
from keyguard.lifecycle._arguments import (
    Entropy,
    bytes_of,
    check_text,
    expiry_of,
    id_of,
    in_utc,
    networks_of,
    scopes_of,
)
from keyguard.model import ALL_SCOPES, IPNetwork, KeyRecord, Owner, Usage
from keyguard.ports import Clock, KeyRegistry, KeyStore, UsageStore
from keyguard.settings import Keyring

__all__ = [
    "Issued",
    "adopt",
    "disable",
    "enable",
    "get",
    "issue",
    "list_keys",
    "mint",
    "rename",
    "revoke",
    "usage",
    "usages",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key. `key.reveal()` gives its text, to be shown this once: nobody can read it back later."""

    key: ApiKey
    record: KeyRecord


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
    key = recognise(bytes_of(secret), store.keyring)
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
    return await store.list_keys(None if owner is None else id_of(owner))


async def rename(store: KeyRegistry, key_id: str, name: str) -> None:
    """Give a key another name. Raises `NotFound`, and `ConfigurationError` if the name is no text."""
    check_text("name", name)
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
    check_text("reason", reason)
    return await store.revoke_key(key_id, clock(), reason)


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
    check_text("name", name)
    granted = ALL_SCOPES if scopes is None else scopes_of(scopes)
    allowed = networks_of(networks)
    not_before = in_utc(not_before)
    expires_at = expiry_of(keyring, not_before, in_utc(expires_at), now)
    lookup, verifier = await Digests(keyring).make(key)
    return KeyRecord(
        id=id,
        owner_id=id_of(owner),
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


def _format_prefix(keyring: Keyring, key: Plaintext) -> str:
    """Return the prefix of the format that an adopted key has: all of it that may be shown."""
    return next(form.prefix for form in keyring.formats if form.matches(key.reveal()))
