"""A handful of keys without a database: a mapping, or a TOML file that is read again when it changes.

::

    [keys]
    ci = "sha256$…"                     # what `keyguard.hashing.sha256_digest` makes of the key

    [keys.deploy]
    scopes = ["flows:read"]             # without it, all that the owner may do
    networks = ["192.0.2.0/24"]         # without it, from anywhere
    not_before = 2026-01-01T00:00:00Z
    expires_at = 2027-01-01T00:00:00Z
    owner = "ada"                       # without it, the key's own name
    superuser = true                    # without it, no
    digest = "hmac-sha256$…"            # under one of the keyring's peppers; always the last

A mapping has the same form as the table `keys`, its fields in any order.

**Change the file by renaming another over it** (`mv keys.toml.new keys.toml`): who writes into it shows it half-written
for a moment. TOML has no mark for the end of a file, so a file that was cut short behind any line is a good one, and an
entry whose limits had not been written yet would be a key without limits. That is why `digest` must be the last field
of its table: what is cut short then lacks whole entries, which takes rights away, or it has one without a digest, and
is not believed.
"""

import os
import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from keyguard.address import network_of
from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.model import ALL_SCOPES, Found, KeyRecord, Owner, check_scope
from keyguard.settings import Keyring
from keyguard.stores._counting import CountsInMemory

__all__ = ["StaticStore"]

_DIGEST = re.compile(r"(hmac-)?sha256\$[0-9a-f]{64}")
_FIELDS = ("digest", "owner", "superuser", "scopes", "networks", "not_before", "expires_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SETTLED = 2_000_000_000
"""Nanoseconds after which a file's time tells one version from the next: FAT counts in steps of two seconds."""


_Stamp = tuple[int, int, int, int, int]


def _stamp_of(status: os.stat_result) -> _Stamp:
    """Return what tells a file from every other, and from itself before and after a change.

    A digest keeps its length, and `cp -p` and `rsync -t` set the time of change back: only `st_ctime` tells.
    """
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    by_lookup: Mapping[str, Found]
    owners: Mapping[str, Owner]


class StaticStore(CountsInMemory):
    """A `keyguard.ports.KeyStore` over keys that are written down: nothing is issued, disabled or revoked by a call.

    A key is revoked by taking it out of the file: the file is looked at with each check. While it is missing or broken
    the store is unavailable; what it held before is not served.

    A key's id and name are the name of its entry, an owner's id is its name, and `created_at` is the epoch.

    Args:
        entries: a mapping of names to digests or to tables, or the path of a TOML file with the table `keys`.
        keyring: what the keys are checked with. A digest under a pepper needs its peppers.

    Raises:
        ConfigurationError: if the mapping, or the file as it is now, is not as described; it says what is allowed.
    """

    concurrency = 1_000_000
    """No read waits for another."""

    is_exact = True
    """The file is looked at for each token."""

    def __init__(
        self,
        entries: Mapping[str, str | Mapping[str, object]] | str | os.PathLike[str],
        *,
        keyring: Keyring = Keyring(),  # noqa: B008 A frozen value is safe to share.
    ) -> None:
        super().__init__()
        self.keyring = keyring
        self.is_open: bool = False
        self._stamp: _Stamp | None = None
        self._changes = 0
        if isinstance(entries, Mapping):
            self._path = None
            self._contents = _contents(entries, keyring)
        else:
            self._path = Path(entries)
            self._contents = _Contents(by_lookup={}, owners={})
            self._refresh(self._path)

    async def open(self) -> None:
        """Look at the file. Raises `StoreUnavailable` if it is missing or broken."""
        self._current()
        self.is_open = True

    async def close(self) -> None:
        """Note that the store is no longer in use."""
        self.is_open = False

    def token(self) -> int | None:
        """Return how often the contents have changed; None unless the file is certainly the one that was read last."""
        if self._path is None:
            return self._changes
        try:
            stamp = _stamp_of(self._path.stat())
        except OSError:
            return None
        return self._changes if stamp == self._stamp else None

    async def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose digest is among `lookups`, with its owner."""
        by_lookup = self._current().by_lookup
        return next((by_lookup[lookup] for lookup in lookups if lookup in by_lookup), None)

    async def find_owner(self, name: str) -> Owner | None:
        """Return the owner called `name`, if a key has it."""
        return self._current().owners.get(name)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:  # noqa: ARG002 The port's.
        """Return False: nothing is written here."""
        return False

    def _current(self) -> _Contents:
        if self._path is not None:
            try:
                self._refresh(self._path)
            except ConfigurationError as error:
                raise StoreUnavailable(str(error)) from None
        return self._contents

    def _refresh(self, path: Path) -> None:
        """Read the file, unless it is certainly the one that was read last."""
        try:
            status = path.stat()
            stamp = _stamp_of(status)
            if stamp == self._stamp:
                return
            self._stamp = None
            document = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigurationError(f"{path} is not a TOML file: {error}") from None
        entries = document.get("keys")
        if not isinstance(entries, dict) or len(document) > 1:
            raise ConfigurationError(f"{path} has the table [keys], and nothing beside it")
        try:
            _check_order(cast("dict[str, object]", entries))
            contents = _contents(cast("dict[str, object]", entries), self.keyring)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        if contents != self._contents:
            self._contents = contents
            self._changes += 1
        # A change within the same tick of the file system's clock would leave the stamp as it is, so a young file is
        # read again each time.
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED:
            self._stamp = stamp


def _check_order(entries: dict[str, object]) -> None:
    """Refuse an entry that could go on behind its digest; `tomllib` keeps the order of the file."""
    for name, entry in entries.items():
        fields = list(cast("dict[str, object]", entry)) if isinstance(entry, dict) else []
        if "digest" in fields[:-1]:
            raise ConfigurationError(
                f"the key {name!r}: digest is the last field of its table, so that no key of a file that was cut short "
                "lacks its limits"
            )


def _contents(entries: Mapping[str, object], keyring: Keyring) -> _Contents:
    by_lookup: dict[str, Found] = {}
    owners: dict[str, Owner] = {}
    for name, entry in entries.items():
        if not _is_text(name):
            raise ConfigurationError("a key's name is a text, and not an empty one")
        try:
            found = _found(name, entry, keyring)
            if found.key.lookup in by_lookup:
                raise ConfigurationError("another key has the same digest")  # noqa: TRY301 It gets the name below.
            if owners.setdefault(found.owner.id, found.owner) != found.owner:
                raise ConfigurationError("the same owner is a superuser in one entry and not in another")  # noqa: TRY301 Likewise.
        except ConfigurationError as error:
            raise ConfigurationError(f"the key {name!r}: {error}") from None
        by_lookup[found.key.lookup] = found
    return _Contents(by_lookup=by_lookup, owners=owners)


def _found(name: str, entry: object, keyring: Keyring) -> Found:
    fields = cast("Mapping[str, object]", entry) if isinstance(entry, Mapping) else {"digest": entry}
    if not fields.keys() <= set(_FIELDS):
        raise ConfigurationError(f"an entry has the fields {', '.join(_FIELDS)}, and no other")
    owner_name = fields.get("owner", name)
    superuser = fields.get("superuser", False)
    if not _is_text(owner_name):
        raise ConfigurationError("owner is a text, and not an empty one")
    if not isinstance(superuser, bool):
        raise ConfigurationError("superuser is true or false")
    digest = _digest(fields.get("digest"), keyring)
    owner = Owner(id=str(owner_name), name=str(owner_name), is_superuser=superuser)
    key = KeyRecord(
        id=name,
        name=name,
        owner_id=owner.id,
        prefix=f"{keyring.prefix}_",
        lookup=digest,
        verifier=digest,
        scopes=frozenset(map(check_scope, _list("scopes", fields))) if "scopes" in fields else ALL_SCOPES,
        networks=tuple(map(network_of, _list("networks", fields))) if "networks" in fields else (),
        created_at=_EPOCH,
        not_before=_time("not_before", fields),
        expires_at=_time("expires_at", fields),
    )
    return Found(key=key, owner=owner)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _digest(value: object, keyring: Keyring) -> str:
    # What stands there instead may well be a key, so the message does not quote it.
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ConfigurationError("digest is 'sha256$' or 'hmac-sha256$' and 64 hexadecimal digits in lower case")
    if value.startswith("hmac-") and not keyring.pepper_bytes:
        raise ConfigurationError("a digest under a pepper needs a keyring with peppers")
    return value


def _list(name: str, fields: Mapping[str, object]) -> Iterator[object]:
    value = fields[name]
    if not isinstance(value, list | tuple | set | frozenset):
        raise ConfigurationError(f"{name} is a list, even of one")
    return iter(cast("Sequence[object]", value))


def _time(name: str, fields: Mapping[str, object]) -> datetime | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(f"{name} is a date and time with its offset, such as 2027-01-01T00:00:00Z")
    return value.astimezone(UTC)
