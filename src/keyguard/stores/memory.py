"""Keys and owners in dictionaries: for tests and demos, and the reference of what a store does."""

import logging
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from keyguard.errors import Changed, ConfigurationError, Conflict, KeyguardError, NotFound
from keyguard.model import (
    AuditEvent,
    Credential,
    Found,
    KeyPage,
    KeyQuery,
    KeyRecord,
    KeyState,
    ListedKey,
    NewOwner,
    Usage,
)
from keyguard.settings import Keyring
from keyguard.stores._counting import CountsInMemory
from keyguard.stores._finding import page_of
from keyguard.stores._keeping import OwnersInMemory
from keyguard.stores._noting import check_events
from keyguard.stores._text import check_storable

__all__ = ["MemoryStore"]

_TEXTS = (
    "id",
    "prefix",
    "name",
    "lookup",
    "verifier",
    "revoked_reason",
    "rotated_from",
    "metadata_json",
)
"""What a key's texts are called, but for its owner, who is there or not."""

_CONTENTS = ("_owners", "_passwords", "_credentials", "_keys", "_by_lookup")
"""What holds that which an import adds."""

_AGE = attrgetter("created_at", "id")

_CARRIED_OVER = attrgetter("name", "expires_at", "disabled_at")
"""What of a key can change, and makes a difference to the one that takes its place."""

_logger = logging.getLogger("keyguard")


def _is_one_of_several() -> bool:
    """Tell whether this process seems to be one of several workers, as far as that can be told from inside."""
    workers = os.environ.get("WEB_CONCURRENCY", "")  # What uvicorn, gunicorn and most platforms go by.
    return (workers.isdecimal() and int(workers) > 1) or multiprocessing.parent_process() is not None


class MemoryStore(OwnersInMemory, CountsInMemory):
    """A `keyguard.ports.ImportStore` that forgets everything when the process ends, and that no other process sees.

    It is a `SessionStore`, too.

    Each worker of a server has a store of its own, where a key that another worker revoked goes on working. So opening
    it warns, in the log, where this process looks like one of several: if ``WEB_CONCURRENCY`` asks for more than one,
    or if `multiprocessing` started it.

    Its pepper cannot be a wrong one: what was made under another is gone.

    Args:
        keyring: what the keys are made and checked with.
    """

    concurrency = 1_000_000
    """No read waits for another."""

    is_exact = True
    """Nobody else can change what is in it."""

    def __init__(self, *, keyring: Keyring = Keyring()) -> None:  # noqa: B008 A frozen value is safe to share.
        super().__init__()
        self.keyring = keyring
        self.is_open: bool = False
        self._by_lookup: dict[str, str] = {}

    async def open(self) -> None:
        """Note that the store is in use. Warns where other processes seem to have others in its place."""
        if not self.is_open and _is_one_of_several():
            _logger.warning(
                "a MemoryStore is open in what may be one of several worker processes: what one of them issues or "
                "revokes, the others do not see; a SQLStore is shared by all"
            )
        self.is_open = True

    async def close(self) -> None:
        """Note that the store is no longer in use; what is in it stays."""
        self.is_open = False

    def token(self) -> int:
        """Return how many changes there were of what a check reads."""
        return self._changes

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose `lookup` is among `lookups`, with its owner."""
        for lookup in lookups:
            record = self._keys.get(self._by_lookup.get(lookup, ""))
            if record is not None and record.owner_id in self._owners:
                return Found(key=record, owner=self._owners[record.owner_id])
        return None

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        """Replace a key's digests, if its verifier still is `verifier`; tell whether that was done."""
        record = self._keys.get(key_id)
        if record is None or record.verifier != verifier or self._by_lookup.get(new_lookup, key_id) != key_id:
            return False
        self._keys[key_id] = replace(record, lookup=new_lookup, verifier=new_verifier)
        del self._by_lookup[record.lookup]
        self._by_lookup[new_lookup] = key_id
        return True

    async def add_key(self, record: KeyRecord, *, events: Sequence[AuditEvent] = ()) -> None:
        """Add a key. Raises `NotFound` if there is no such owner and `Conflict` if the id or the lookup is taken."""
        check_storable(getattr(record, name) for name in _TEXTS)
        check_events(events)
        self._owner(record.owner_id)
        if record.id in self._keys or record.lookup in self._by_lookup:
            raise Conflict("there is a key with that id or lookup already")
        self._keys[record.id] = record
        self._by_lookup[record.lookup] = record.id
        self._note(events)

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """Return the key with that id, in whatever state."""
        return self._keys.get(key_id)

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
        """Return the keys that fit all that is given, the newest first, revoked ones included."""
        if state is not None and at is None:
            raise ConfigurationError("a key is in a state at a time: give `at` as well")
        records = [
            record
            for record in self._keys.values()
            if owner_id in {None, record.owner_id}
            and (at is None or state in {None, record.state(at)})
            and f"{record.prefix}{record.id}".startswith(begins)
            and (after is None or _AGE(record) < _AGE(after))
        ]
        return sorted(records, key=_AGE, reverse=True)[:limit]

    async def search_keys(self, query: KeyQuery, *, at: datetime, offset: int = 0, limit: int) -> KeyPage:
        """Return the keys that fit `query` at the time `at`: at most `limit` of them, behind the first `offset`."""
        listed = (
            ListedKey(key=record, owner=self._owners[record.owner_id], usage=self._uses.get(record.id, Usage(total=0)))
            for record in self._keys.values()
            if record.owner_id in self._owners
        )
        return page_of(listed, query, at=at, offset=offset, limit=limit)

    async def rename_key(
        self, key_id: str, name: str, *, expected: KeyRecord | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Change a key's name."""
        record = self._key(key_id)
        check_storable([name])
        check_events(events)
        _check_unchanged(record, expected)
        if name != record.name:
            self._keys[key_id] = replace(record, name=name)
            self._note(events)

    async def set_key_disabled(
        self,
        key_id: str,
        at: datetime | None,
        *,
        expected: KeyRecord | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> bool:
        """Disable a key as of `at`, or enable it with None; tell whether this call did it."""
        check_events(events)
        record = self._key(key_id)
        _check_unchanged(record, expected)
        if (at is None) == (record.disabled_at is None):
            return False
        self._change_key(replace(record, disabled_at=at), events)
        return True

    async def revoke_key(
        self,
        key_id: str,
        at: datetime,
        reason: str,
        *,
        expected: KeyRecord | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> bool:
        """Revoke a key for good; tell whether this call did it."""
        check_storable([reason])
        check_events(events)
        record = self._key(key_id)
        _check_unchanged(record, expected)
        if record.revoked_at is not None:
            return False
        self._change_key(replace(record, revoked_at=at, revoked_reason=reason), events)
        return True

    async def rotate_key(
        self, old: KeyRecord, new: KeyRecord, *, until: datetime | None, events: Sequence[AuditEvent] = ()
    ) -> bool:
        """Add `new` and end `old`, both or nothing; tell whether it was done."""
        check_events(events)
        record = self._key(old.id)
        is_first = record.revoked_at is None and record.rotated_at is None
        if not is_first or _CARRIED_OVER(record) != _CARRIED_OVER(old):
            return False
        await self.add_key(new)
        now = new.created_at
        ended = (
            replace(record, expires_at=until) if until else replace(record, revoked_at=now, revoked_reason="rotated")
        )
        self._change_key(replace(ended, rotated_at=now), events)
        return True

    async def purge_keys(self, before: datetime, *, limit: int, event: AuditEvent) -> int:
        """Delete keys that were revoked or have expired before that time, with their uses; return how many."""
        check_events([event])
        ended = [
            record
            for record in sorted(self._keys.values(), key=_AGE)
            if any(end is not None and end < before for end in (record.revoked_at, record.expires_at))
        ][:limit]
        for record in ended:
            self._forget(record)
        if len(ended) < limit:
            self._uses = {key_id: uses for key_id, uses in self._uses.items() if key_id in self._keys}
        self._note([replace(event, key_id=record.id, owner_id=record.owner_id) for record in ended])
        self._changes += bool(ended)
        return len(ended)

    async def remove_owner(self, owner_id: str, *, event: AuditEvent) -> int:
        """Delete an owner with its keys, their uses, its sessions and its credentials; return how many keys it had."""
        owner = self._owner(owner_id)
        check_events([event])
        keys = [record for record in self._keys.values() if record.owner_id == owner_id]
        for record in keys:
            self._forget(record)
        for place in [place for place in self._credentials if place[0] == owner_id]:
            del self._credentials[place]
        self._end_all(owner_id)
        del self._owners[owner_id], self._passwords[owner_id]
        self._note([replace(event, detail={**event.detail, "name": owner.name, "keys": len(keys)})])
        self._changes += 1
        return len(keys)

    async def add_all(
        self,
        *,
        owners: Sequence[NewOwner] = (),
        keys: Sequence[KeyRecord] = (),
        credentials: Sequence[Credential] = (),
        uses: Mapping[str, Usage] | None = None,
        events: Sequence[AuditEvent] = (),
    ) -> None:
        """Add all of these, or nothing. Nobody who shares the event loop sees it half done."""
        check_events(events)
        before = {name: copy(getattr(self, name)) for name in _CONTENTS}
        try:
            for new in owners:
                await self.add_owner(new.owner, created_at=new.created_at, password=new.password)
            for record in keys:
                await self.add_key(record)
            for credential in credentials:
                self._add_credential(credential)
        except KeyguardError:
            for name, contents in before.items():
                setattr(self, name, contents)
            raise
        self._add_up(uses or {})
        self._note(events)

    def _change_key(self, record: KeyRecord, events: Sequence[AuditEvent]) -> None:
        self._keys[record.id] = record
        self._note(events)
        self._changes += 1  # Afterwards: who has the new token has read nothing that is older.

    def _forget(self, record: KeyRecord) -> None:
        del self._keys[record.id]
        del self._by_lookup[record.lookup]
        self._uses.pop(record.id, None)

    def _key(self, key_id: str) -> KeyRecord:
        if key_id not in self._keys:
            raise NotFound("there is no key with that id")
        return self._keys[key_id]


def _check_unchanged(record: KeyRecord, expected: KeyRecord | None) -> None:
    """Raise `Changed` if a key is not as somebody has read it."""
    if expected is not None and record.changeable != expected.changeable:
        raise Changed("the key is not as it was when it was read: somebody has changed it meanwhile")
