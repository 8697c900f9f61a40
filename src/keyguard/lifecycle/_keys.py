"""Keys that there are: looked at, named, switched off and on, ended, and forgotten."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, InvalidKey, NotFound, NotSupported
from keyguard.hashing import Digests
from keyguard.keys import recognise
from keyguard.lifecycle._arguments import (
    Actor,
    bytes_of,
    check_count,
    check_expected,
    check_is,
    check_text,
    id_of,
    in_utc,
)
from keyguard.lifecycle._audit import event, iso
from keyguard.model import AuditKind, KeyOrder, KeyPage, KeyQuery, KeyRecord, KeyState, Owner, Usage
from keyguard.ports import Clock, KeyRegistry, KeyStore, UsageStore

__all__ = [
    "disable",
    "enable",
    "find",
    "get",
    "list_keys",
    "purge",
    "rename",
    "revoke",
    "search_keys",
    "usage",
    "usages",
]


async def get(store: KeyRegistry, key_id: str) -> KeyRecord:
    """Return a key, in whatever state. Raises `NotFound` if there is none with that id."""
    record = await store.get_key(key_id)
    if record is None:
        raise NotFound("no key has that id")  # Not quoted: a whole key may have been given in its place.
    return record


async def find(store: KeyStore, secret: str) -> KeyRecord:
    """Return the key whose whole text is `secret`, in whatever state: which one has leaked, say. It is not a use.

    Raises:
        InvalidKey: if `secret` has no form that the keyring accepts.
        NotFound: if the store has no such key.
    """
    key = recognise(bytes_of(secret), store.keyring)
    del secret  # Error reporters show what the variables of each frame hold.
    if key is None:
        raise InvalidKey("the secret has no form that the keyring accepts; name its form in Keyring(formats=...)")
    found = await store.find(Digests(store.keyring).lookups(key))
    if found is None:
        raise NotFound("there is no such key")
    return found.key


async def list_keys(
    store: KeyRegistry,
    owner: Owner | str | None = None,
    *,
    state: KeyState | None = None,
    begins: str = "",
    after: KeyRecord | None = None,
    limit: int | None = None,
    clock: Clock = utc_now,
) -> list[KeyRecord]:
    """Return an owner's keys, or all, the newest first, revoked ones included.

    Args:
        store: where the keys are kept.
        owner: whose; None for everybody's.
        state: only those that are in that state now.
        begins: only those whose prefix and id begin so, such as ``kg_3fJ2``, as lists and logs show them.
        after: only those behind this one: the last key of the page before.
        limit: how many at most.
        clock: the time of which `state` speaks.

    Raises:
        ConfigurationError: if an argument is not as above.
    """
    check_text("begins", begins)
    if state is not None:
        check_is("state", KeyState, state)
    if after is not None:
        check_is("after", KeyRecord, after)
    if limit is not None:
        check_count("limit", limit)
    return await store.list_keys(
        None if owner is None else id_of(owner),
        state=state,
        at=None if state is None else clock(),
        begins=begins,
        after=after,
        limit=limit,
    )


async def search_keys(
    store: KeyRegistry, query: KeyQuery, *, offset: int = 0, limit: int = 50, clock: Clock = utc_now
) -> KeyPage:
    """Return a part of the keys that fit a query, with their owners and uses, and how many there are in all.

    Args:
        store: where the keys are kept.
        query: which keys, and in which order.
        offset: how many of them, from the first on, are left out.
        limit: how many at most.
        clock: the time of which the query's `states` speak.

    Raises:
        ConfigurationError: if an argument is not as above.
    """
    check_is("query", KeyQuery, query)
    check_text("text", query.text)
    if query.owner_id is not None:
        check_text("owner_id", query.owner_id)
    for state in query.states:
        check_is("each of states", KeyState, state)
    check_is("order", KeyOrder, query.order)
    check_count("offset", offset, least=0)
    check_count("limit", limit)
    searched = replace(
        query,
        expires_from=in_utc("expires_from", query.expires_from),
        expires_before=in_utc("expires_before", query.expires_before),
    )
    return await store.search_keys(searched, at=clock(), offset=offset, limit=limit)


async def rename(
    store: KeyRegistry,
    key_id: str,
    name: str,
    *,
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> None:
    """Give a key another name; the one that it has changes nothing, and leaves no event.

    With `expected`, the key as the caller has read it, it is changed only if it still is so: its name, its end, and
    when it was disabled, revoked and rotated.

    Raises:
        ConfigurationError: if the name is no text, or `expected` is not that key.
        NotFound: if there is no key with that id.
        Changed: if the key is not as `expected`.
    """
    check_text("name", name)
    check_expected(key_id, expected)
    renamed = event(AuditKind.KEY_RENAMED, clock(), actor, key_id=key_id, name=name)
    await store.rename_key(key_id, name, expected=expected, events=[renamed])


async def disable(
    store: KeyRegistry,
    key_id: str,
    *,
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> bool:
    """Refuse a key until it is enabled again; tell whether this call did it.

    Raises `NotFound`, and with `expected` as `rename` does.
    """
    check_expected(key_id, expected)
    now = clock()
    disabled = event(AuditKind.KEY_DISABLED, now, actor, key_id=key_id)
    return await store.set_key_disabled(key_id, now, expected=expected, events=[disabled])


async def enable(
    store: KeyRegistry,
    key_id: str,
    *,
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> bool:
    """Accept a disabled key again; tell whether this call did it. A revoked one stays revoked.

    Raises `NotFound`, and with `expected` as `rename` does.
    """
    check_expected(key_id, expected)
    enabled = event(AuditKind.KEY_ENABLED, clock(), actor, key_id=key_id)
    return await store.set_key_disabled(key_id, None, expected=expected, events=[enabled])


async def revoke(
    store: KeyRegistry,
    key_id: str,
    *,
    reason: str = "",
    expected: KeyRecord | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> bool:
    """Refuse a key for good; tell whether this call did it. Of a revoked key the first time and reason stay.

    Raises `NotFound` if there is no key with that id, `ConfigurationError` if the reason is no text, and with
    `expected` as `rename` does.
    """
    check_text("reason", reason)
    check_expected(key_id, expected)
    now = clock()
    revoked = event(AuditKind.KEY_REVOKED, now, actor, key_id=key_id, reason=reason)
    return await store.revoke_key(key_id, now, reason, expected=expected, events=[revoked])


async def purge(
    store: KeyRegistry,
    before: datetime | timedelta,
    *,
    actor: Actor | None = None,
    clock: Clock = utc_now,
    batch: int = 500,
) -> int:
    """Delete the keys that were revoked or have expired before a time, with their uses; return how many.

    They are deleted in batches, each a transaction of its own, the oldest first, until there are none left: what an
    interrupted call has not done the next one does. What was done to them stays in the audit log. Uses go, too, that a
    worker has written down after their key was gone.

    Args:
        store: where the keys are kept.
        before: the time, which does not lie ahead, or how long ago it was.
        actor: who asks for it, for the audit log.
        clock: the time now.
        batch: how many keys at most are deleted at once.

    Raises:
        ConfigurationError: if `before` is neither an aware datetime nor an age, or lies in the future.
    """
    check_count("batch", batch)
    now = clock()
    time = _time_of(before, now)
    purged = event(AuditKind.KEY_PURGED, now, actor, before=iso(time))
    total = 0
    while count := await store.purge_keys(time, limit=batch, event=purged):
        total += count
    return total


def _time_of(before: datetime | timedelta, now: datetime) -> datetime:
    try:
        time = now - before if isinstance(before, timedelta) else in_utc("before", before)
    except OverflowError:
        raise ConfigurationError("before is not so long ago: Python reckons from the year 1 on") from None
    if time is None or time > now:  # A key that has not expired yet would be deleted as well.
        raise ConfigurationError("before is a time that does not lie in the future, or how long ago it was")
    return time


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
