"""New keys: issued, taken over from elsewhere, or only made up."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, Conflict, InvalidKey
from keyguard.hashing import Digests
from keyguard.keys import ENTROPY_BYTES, ApiKey, Plaintext, from_entropy, recognise
from keyguard.lifecycle._arguments import (
    Actor,
    Entropy,
    bytes_of,
    check_text,
    expiry_of,
    id_of,
    in_utc,
    metadata_json_of,
    networks_of,
    scopes_of,
)
from keyguard.lifecycle._audit import born
from keyguard.model import ALL_SCOPES, AuditKind, IPNetwork, KeyRecord, Owner
from keyguard.ports import Clock, KeyRegistry
from keyguard.settings import Keyring

__all__ = ["Issued", "adopt", "issue", "mint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key. `key.reveal()` gives its text, to be shown this once: nobody can read it back later."""

    key: ApiKey
    record: KeyRecord


async def issue(
    store: KeyRegistry,
    owner: Owner | str,
    *,
    id: str | None = None,  # noqa: A002 The word that `KeyRecord` uses.
    name: str = "",
    scopes: Iterable[str] | None = None,
    networks: Iterable[IPNetwork | str] = (),
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Issued:
    """Issue a new key to an owner.

    Args:
        store: where the key is kept.
        owner: whom it stands for: an `Owner`, or the id of one.
        id: what it is to be called in lists and logs: 12 characters of ``0-9A-Za-z``, such as `keyguard.keys` makes of
            random bytes. Whoever asks twice by the same id, because an answer got lost, has one key. Without it the key
            gets one.
        name: for people.
        scopes: what it may do: None for all that its owner may, an empty list for nothing.
        networks: from where it may be used, such as ``192.0.2.0/24``; empty for anywhere.
        not_before: from when on it is good.
        expires_at: from when on it is not good any more. Where the keyring has a `max_lifetime`, that is the default.
        metadata: what the app notes about it: what JSON can say, at most 8 KiB of it. It is kept as it is, and shown to
            whoever may see the key.
        actor: who asks for it, for the audit log.
        clock: the time it is issued at.
        entropy: where its randomness comes from.

    Raises:
        ConfigurationError: if the id, the name, a scope, a network, a time or the metadata is not as above, or the life
            is longer than `max_lifetime`.
        NotFound: if there is no such owner.
        Conflict: if there is a key with that id.
    """
    if id is not None:
        check_text("id", id)
    key = from_entropy(store.keyring.prefix, entropy(ENTROPY_BYTES), key_id=id)
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
        metadata=metadata,
        now=clock(),
    )
    await store.add_key(record, events=[born(AuditKind.KEY_ISSUED, record, actor)])
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
    metadata: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
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
        metadata=metadata,
        now=clock(),
    )
    # It may be there under an older pepper, or under none, where its new lookup does not collide with the old one.
    if await store.find(Digests(store.keyring).lookups(key)) is not None:
        raise Conflict("this key is in the store already")
    await store.add_key(record, events=[born(AuditKind.KEY_ADOPTED, record, actor)])
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
    metadata: Mapping[str, Any] | None,
    now: datetime,
) -> KeyRecord:
    check_text("name", name)
    granted = ALL_SCOPES if scopes is None else scopes_of(scopes)
    allowed = networks_of(networks)
    not_before = in_utc("not_before", not_before)
    expires_at = expiry_of(keyring, not_before, in_utc("expires_at", expires_at), now)
    metadata_json = metadata_json_of(metadata)
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
        metadata_json=metadata_json,
    )


def _format_prefix(keyring: Keyring, key: Plaintext) -> str:
    """Return the prefix of the format that an adopted key has: all of it that may be shown."""
    return next(form.prefix for form in keyring.formats if form.matches(key.reveal()))
