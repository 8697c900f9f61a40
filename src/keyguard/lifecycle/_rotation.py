"""A new key in the place of an old one."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, Conflict
from keyguard.hashing import Digests
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.lifecycle._arguments import Entropy, expiry_of, in_utc
from keyguard.lifecycle._keys import Issued, get
from keyguard.ports import Clock, KeyRegistry
from keyguard.settings import Keyring

__all__ = ["rotate"]


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
        expires_at=expiry_of(
            store.keyring, not_before, in_utc(expires_at) or _inherited(store.keyring, old.expires_at, now), now
        ),
    )
    if not await store.rotate_key(old, new, until=until):
        raise Conflict("the key was revoked or rotated at this moment: look at it again")
    return Issued(key=key, record=new)


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
