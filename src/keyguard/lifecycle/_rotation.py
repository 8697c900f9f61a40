"""A new key in the place of an old one."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from keyguard.clock import utc_now
from keyguard.errors import Changed, ConfigurationError, Conflict
from keyguard.hashing import Digests
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.lifecycle._arguments import Actor, Entropy, check_expected, expiry_of, in_utc
from keyguard.lifecycle._audit import born, event, iso
from keyguard.lifecycle._issuing import Issued
from keyguard.lifecycle._keys import get
from keyguard.model import AuditKind, KeyRecord
from keyguard.ports import Clock, KeyRegistry
from keyguard.settings import Keyring

__all__ = ["end_grace", "rotate"]

_ATTEMPTS = 5


async def rotate(
    store: KeyRegistry,
    key_id: str,
    *,
    grace: timedelta = timedelta(0),
    expires_at: datetime | None = None,
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Issued:
    """Issue a new key in the place of an old one, which ends; both or nothing.

    The new one has an id and a secret of its own, in Keyguard's own form, and the owner, name, scopes, networks and
    metadata of the old one, which it names in `rotated_from`. It is disabled if the old one is, and not valid before
    the old one would have been.

    Args:
        store: where the keys are kept.
        key_id: the old one.
        grace: how long the old key is still good, beside the new one; never longer than it would have been anyway.
            Without a grace it is revoked at once, for the reason ``rotated``. `end_grace` ends it early.
        expires_at: from when on the new key is not good any more. Without it, when the old one would have ended, where
            that is not later than the keyring's `max_lifetime` allows.
        expected: the old key as the caller has read it: it is rotated only if it still is so, as `rename` says.
        actor: who asks for it, for the audit log.
        clock: the time of the rotation.
        entropy: where the new key's randomness comes from.

    Raises:
        ConfigurationError: if the grace is negative or has no end, `expires_at` is not as for `issue`, or `expected` is
            another key.
        NotFound: if there is no key with that id, or no owner any more.
        Conflict: if the key is revoked, has expired, or was rotated already: then its successor, which the message
            names, is the one to rotate. Also if others change it again and again at this moment.
        Changed: if the key is not as `expected`.
    """
    expires_at = in_utc("expires_at", expires_at)
    check_expected(key_id, expected)
    for _ in range(_ATTEMPTS):
        old = await get(store, key_id)
        _check_unchanged(old, expected)
        now = clock()
        await _check_state(store, old, now)
        until = _end_of_grace(grace, old.expires_at, now)
        new = await _successor(store.keyring, old, expires_at, now, entropy)
        record = new.record
        rotated = event(AuditKind.KEY_ROTATED, now, actor, key_id=old.id, successor=record.id, until=iso(until))
        issued = born(AuditKind.KEY_ISSUED, record, actor)
        if await store.rotate_key(old, record, until=until, events=[rotated, issued]):
            return new
    raise Conflict("others are changing the key at this moment: look at it again")


async def end_grace(
    store: KeyRegistry,
    key_id: str,
    *,
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> bool:
    """End the grace of a key that was rotated: revoke it, for the reason ``rotated``; tell whether this call did it.

    The key that took its place goes on. A grace that has run out by this host's clock is ended all the same, because
    another host's may be behind.

    Raises:
        NotFound: if there is no key with that id.
        Conflict: if the key was not rotated: `revoke` ends a key that nothing has taken the place of.
        ConfigurationError, Changed: with `expected`, as `rename` does.
    """
    check_expected(key_id, expected)
    record = await get(store, key_id)
    _check_unchanged(record, expected)
    if record.rotated_at is None:
        raise Conflict("the key was not rotated, so it is in no grace: revoke it, or rotate it")
    now = clock()
    ended = event(AuditKind.KEY_GRACE_ENDED, now, actor, key_id=key_id, until=iso(record.expires_at))
    return await store.revoke_key(key_id, now, "rotated", expected=expected, events=[ended])


def _check_unchanged(record: KeyRecord, expected: KeyRecord | None) -> None:
    if expected is not None and record.changeable != expected.changeable:
        raise Changed("the key is not as it was when it was read: look at it again")


async def _check_state(store: KeyRegistry, old: KeyRecord, now: datetime) -> None:
    """Raise `Conflict` if a key is in no state to be rotated."""
    if old.rotated_at is not None:
        rotations = await store.list_events(key_id=old.id, kinds={AuditKind.KEY_ROTATED}, limit=1)
        by = f" by {rotations[0].detail['successor']}" if rotations else ""
        raise Conflict(f"the key was replaced{by} at {old.rotated_at:%Y-%m-%d %H:%M:%S} UTC: rotate its successor")
    if old.revoked_at is not None:
        raise Conflict("a revoked key is not rotated: issue a new one")
    if old.expires_at is not None and old.expires_at <= now:
        raise Conflict("a key that has expired is not rotated: issue a new one")


async def _successor(
    keyring: Keyring, old: KeyRecord, expires_at: datetime | None, now: datetime, entropy: Entropy
) -> Issued:
    key = from_entropy(keyring.prefix, entropy(ENTROPY_BYTES))
    not_before = old.not_before if old.not_before is not None and old.not_before > now else None
    lookup, verifier = await Digests(keyring).make(key)
    record = replace(
        old,
        id=key.id,
        prefix=f"{key.prefix}_",
        lookup=lookup,
        verifier=verifier,
        created_at=now,
        not_before=not_before,
        expires_at=expiry_of(keyring, not_before, expires_at or _inherited(keyring, old.expires_at, now), now),
        rotated_from=old.id,
    )
    return Issued(key=key, record=record)


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
        raise ConfigurationError("grace is too long: it must end before the year 10000") from None
    return end if expires_at is None else min(end, expires_at)
