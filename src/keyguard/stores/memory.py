"""Keys and owners in dictionaries: for tests and demos, and the reference of what a store does."""

import logging
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from keyguard.errors import Conflict, NotFound
from keyguard.model import Found, KeyRecord, Owner
from keyguard.settings import Keyring
from keyguard.stores._counting import CountsInMemory
from keyguard.stores._text import check_storable

__all__ = ["MemoryStore"]

_logger = logging.getLogger("keyguard")


def _is_one_of_several() -> bool:
    """Tell whether this process seems to be one of several workers, as far as that can be told from inside."""
    workers = os.environ.get("WEB_CONCURRENCY", "")  # What uvicorn, gunicorn and most platforms go by.
    return (workers.isdecimal() and int(workers) > 1) or multiprocessing.parent_process() is not None


class MemoryStore(CountsInMemory):
    """A `keyguard.ports.KeyRegistry` that forgets everything when the process ends, and that no other process sees.

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
        self._owners: dict[str, Owner] = {}
        self._passwords: dict[str, str | None] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._by_lookup: dict[str, str] = {}
        self._changes = 0

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

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`."""
        return next((owner for owner in self._owners.values() if owner.name == name), None)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:
        """Replace a key's digests, if its verifier still is `verifier`; tell whether that was done."""
        record = self._keys.get(key_id)
        if record is None or record.verifier != verifier or self._by_lookup.get(new_lookup, key_id) != key_id:
            return False
        self._keys[key_id] = replace(record, lookup=new_lookup, verifier=new_verifier)
        del self._by_lookup[record.lookup]
        self._by_lookup[new_lookup] = key_id
        return True

    async def add_owner(self, owner: Owner, *, created_at: datetime, password: str | None = None) -> None:  # noqa: ARG002 Nothing in the port reads created_at.
        """Add an owner. Raises `Conflict` if the id or the name is taken."""
        check_storable([owner.id, owner.name, password])
        if any(owner.id == other.id or owner.name == other.name for other in self._owners.values()):
            raise Conflict("there is an owner with that id or name already")
        self._owners[owner.id] = owner
        self._passwords[owner.id] = password

    async def get_owner(self, owner_id: str) -> Owner | None:
        """Return the owner with that id."""
        return self._owners.get(owner_id)

    async def list_owners(self) -> list[Owner]:
        """Return all owners, by name."""
        return sorted(self._owners.values(), key=attrgetter("name"))

    async def set_owner_active(self, owner_id: str, *, active: bool) -> None:
        """Activate or deactivate an owner."""
        self._change_owner(replace(self._owner(owner_id), is_active=active))

    async def set_owner_superuser(self, owner_id: str, *, superuser: bool) -> None:
        """Give or take superuser rights."""
        self._change_owner(replace(self._owner(owner_id), is_superuser=superuser))

    async def get_password(self, owner_id: str) -> str | None:
        """Return the owner's password verifier."""
        return self._passwords.get(owner_id)

    async def set_password(self, owner_id: str, password: str | None) -> None:
        """Replace the owner's password verifier; None takes it away."""
        check_storable([password])
        self._passwords[self._owner(owner_id).id] = password

    async def add_key(self, record: KeyRecord) -> None:
        """Add a key. Raises `NotFound` if there is no such owner and `Conflict` if the id or the lookup is taken."""
        check_storable([record.id, record.prefix, record.name, record.lookup, record.verifier, record.revoked_reason])
        self._owner(record.owner_id)
        if record.id in self._keys or record.lookup in self._by_lookup:
            raise Conflict("there is a key with that id or lookup already")
        self._keys[record.id] = record
        self._by_lookup[record.lookup] = record.id

    async def get_key(self, key_id: str) -> KeyRecord | None:
        """Return the key with that id, in whatever state."""
        return self._keys.get(key_id)

    async def list_keys(self, owner_id: str | None = None) -> list[KeyRecord]:
        """Return the keys of one owner or of all, the newest first."""
        records = [record for record in self._keys.values() if owner_id in (None, record.owner_id)]
        return sorted(records, key=attrgetter("created_at", "id"), reverse=True)

    async def rename_key(self, key_id: str, name: str) -> None:
        """Change a key's name."""
        check_storable([name])
        self._keys[key_id] = replace(self._key(key_id), name=name)

    async def set_key_disabled(self, key_id: str, at: datetime | None) -> None:
        """Disable a key as of `at`, or enable it with None. Of a disabled key the first time stays."""
        record = self._key(key_id)
        if at is None or record.disabled_at is None:
            self._change_key(replace(record, disabled_at=at))

    async def revoke_key(self, key_id: str, at: datetime, reason: str) -> bool:
        """Revoke a key for good; tell whether this call did it."""
        check_storable([reason])
        record = self._key(key_id)
        if record.revoked_at is not None:
            return False
        self._change_key(replace(record, revoked_at=at, revoked_reason=reason))
        return True

    async def rotate_key(self, old: KeyRecord, new: KeyRecord, *, until: datetime | None) -> bool:
        """Add `new` and end `old`, both or nothing; tell whether it was done."""
        record = self._key(old.id)
        if record.revoked_at is not None or record.expires_at != old.expires_at:
            return False
        await self.add_key(new)
        if until is None:
            return await self.revoke_key(old.id, new.created_at, "rotated")
        self._change_key(replace(record, expires_at=until))
        return True

    def _change_owner(self, owner: Owner) -> None:
        self._owners[owner.id] = owner
        self._changes += 1  # Afterwards: who has the new token has read nothing that is older.

    def _change_key(self, record: KeyRecord) -> None:
        self._keys[record.id] = record
        self._changes += 1  # Likewise.

    def _owner(self, owner_id: str) -> Owner:
        if owner_id not in self._owners:
            raise NotFound("there is no owner with that id")
        return self._owners[owner_id]

    def _key(self, key_id: str) -> KeyRecord:
        if key_id not in self._keys:
            raise NotFound("there is no key with that id")
        return self._keys[key_id]
