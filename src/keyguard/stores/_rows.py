"""A key as a row of a table, and a row as a key."""

import json
from functools import lru_cache
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Row

from keyguard.errors import StoreUnavailable
from keyguard.model import Found, IPNetwork, KeyRecord
from keyguard.stores._owners import owner_of, shared

__all__ = ["found_in", "record_of", "values_of"]


def values_of(record: KeyRecord) -> dict[str, Any]:
    """Return the row of a key, but for its owner."""
    return {
        "id": record.id,
        "lookup": record.lookup,
        "verifier": record.verifier,
        "prefix": record.prefix,
        "name": record.name,
        "scopes": json.dumps(sorted(record.scopes)),
        "networks": json.dumps([str(network) for network in record.networks]),
        "created_at": record.created_at,
        "not_before": record.not_before,
        "expires_at": record.expires_at,
        "disabled_at": record.disabled_at,
        "revoked_at": record.revoked_at,
        "revoked_reason": record.revoked_reason,
        "rotated_at": record.rotated_at,
        "rotated_from": record.rotated_from,
        "metadata": record.metadata_json,
    }


def record_of(row: Row[Any] | SimpleNamespace) -> KeyRecord:
    """Return the key that a row holds. Raises `StoreUnavailable` if somebody wrote into it what cannot be read."""
    try:
        scopes, networks = _scopes(row.scopes), _networks(row.networks)
    except ValueError:
        raise StoreUnavailable(f"the row of the key {row.id!r} holds no JSON lists of scopes and networks") from None
    return KeyRecord(
        id=row.id,
        owner_id=shared(str(row.owner_id)),
        prefix=shared(row.prefix),
        name=row.name,
        lookup=row.lookup,
        verifier=row.lookup if row.verifier == row.lookup else row.verifier,  # One text, where they are the same.
        scopes=scopes,
        networks=networks,
        created_at=row.created_at,
        not_before=row.not_before,
        expires_at=row.expires_at,
        disabled_at=row.disabled_at,
        revoked_at=row.revoked_at,
        revoked_reason=row.revoked_reason,
        rotated_at=row.rotated_at,
        rotated_from=row.rotated_from,
        metadata_json="{}" if row.metadata == "{}" else row.metadata,  # What most keys have stands once in memory.
    )


# Many keys have the same few scopes and networks, and to read them is a good part of the cost of a first use.


@lru_cache(maxsize=1024)
def _scopes(written: str) -> frozenset[str]:
    return frozenset(_texts(written))


@lru_cache(maxsize=1024)
def _networks(written: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in _texts(written))


def _texts(written: str) -> list[str]:
    texts = json.loads(written)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in cast("list[object]", texts)):
        raise ValueError
    return cast("list[str]", texts)


def found_in(row: Row[Any] | SimpleNamespace) -> Found:
    """Return the key and the owner that a row of both holds."""
    return Found(key=record_of(row), owner=owner_of(row))
