"""A store of one's own: keys and people in a JSON file, which another program writes.

It has what `keyguard.ports.KeyStore` asks for and nothing more, so that KeyGuard can check keys with it. One that
issues and revokes them too has what `keyguard.ports.KeyRegistry` asks for. `keyguard.testing` holds both to their
promises; this one's test is a class of ten lines.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from keyguard import Found, KeyRecord, Keyring, Owner, StoreUnavailable

TIMES = ("created_at", "not_before", "expires_at", "disabled_at", "revoked_at")


class JSONStore:
    """Finds keys in a file of this form, with the fields of `Owner` and `KeyRecord`, where what may be left out may.

    ::

        {
          "people": [{"id": "1", "name": "ada"}],
          "keys": [{"id": "laptop", "owner_id": "1", "prefix": "kg_", "created_at": "2026-03-01T12:00:00+00:00",
                    "lookup": "sha256$…", "verifier": "sha256$…", "scopes": ["notes:read"]}]
        }

    The file is read for each check, so that a key is revoked when the file says so, and nobody need be told.
    """

    concurrency = 4  # How many threads may read at once.

    def __init__(self, path: Path, *, keyring: Keyring) -> None:
        self.keyring = keyring
        self.is_open = False
        self._path = path

    async def open(self) -> None:
        """Look whether the file can be read."""
        await asyncio.to_thread(self._read)
        self.is_open = True

    async def close(self) -> None:
        """Note that the store is no longer in use."""
        self.is_open = False

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose `lookup` is among `lookups`, with its owner."""
        owners, keys = await asyncio.to_thread(self._read)
        key = next((key for key in keys if key.lookup in lookups and key.owner_id in owners), None)
        return None if key is None else Found(key=key, owner=owners[key.owner_id])

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`."""
        owners, _ = await asyncio.to_thread(self._read)
        return next((owner for owner in owners.values() if owner.name == name), None)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:  # noqa: ARG002 The port's.
        """Return False: this store cannot write."""
        return False

    def _read(self) -> tuple[dict[str, Owner], list[KeyRecord]]:
        try:
            document = json.loads(self._path.read_text("utf-8"))
            owners = [Owner(**entry) for entry in document["people"]]
            return {owner.id: owner for owner in owners}, [_key(entry) for entry in document["keys"]]
        except (OSError, ValueError, LookupError, TypeError) as problem:
            # Requests are answered with 503 until it can be read again; what was read before is not served.
            raise StoreUnavailable(f"{self._path} cannot be read: {problem!r}") from problem


def _key(entry: dict[str, Any]) -> KeyRecord:
    times = {name: datetime.fromisoformat(entry[name]) for name in TIMES if entry.get(name)}
    networks = tuple(ip_network(network) for network in entry.get("networks", ()))
    return KeyRecord(**entry | times | {"scopes": frozenset(entry["scopes"]), "networks": networks})
