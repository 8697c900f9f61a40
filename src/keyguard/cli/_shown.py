"""How keys and owners are shown: as JSON, and in a few words."""

from datetime import datetime
from typing import Any

from keyguard.cli._output import instant
from keyguard.clock import utc_now
from keyguard.model import ALL_SCOPES, KeyRecord, Owner, Usage

__all__ = ["amount_of", "called", "key_document", "last_use", "name_of", "owner_document", "owner_word", "scopes_word"]


def owner_document(owner: Owner) -> dict[str, Any]:
    """Return an owner as JSON shows it."""
    return {"id": owner.id, "name": owner.name, "is_active": owner.is_active, "is_superuser": owner.is_superuser}


def key_document(
    record: KeyRecord, owner: Owner | None, uses: Usage | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Return a key as JSON shows it: everything but its digests."""
    document = {
        "id": record.id,
        "prefix": record.prefix,
        "name": record.name,
        "state": record.state(now or utc_now()).value,
        "owner": {
            "id": record.owner_id,
            "name": owner.name if owner else None,
            "is_active": owner.is_active if owner else None,
        },
        "scopes": sorted(record.scopes),
        "networks": [str(network) for network in record.networks],
        "created_at": record.created_at,
        "not_before": record.not_before,
        "expires_at": record.expires_at,
        "disabled_at": record.disabled_at,
        "revoked_at": record.revoked_at,
        "revoked_reason": record.revoked_reason,
        "rotated_at": record.rotated_at,
        "rotated_from": record.rotated_from,
        "metadata": record.metadata,
    }
    if uses is not None:
        document["uses"] = {
            "total": uses.total,
            "last_used_at": uses.last_used_at,
            "last_used_address": uses.last_used_address,
        }
    return document


def name_of(record: KeyRecord) -> str:
    """Return what names a key everywhere: its prefix and its id, and nothing of its secret."""
    return f"{record.prefix}{record.id}"


def called(record: KeyRecord, owner: Owner | None) -> str:
    """Return what a person knows a key by."""
    name = f" “{record.name}”" if record.name else ""
    return f"{name_of(record)}{name} of {owner_word(record, owner)}"


def owner_word(record: KeyRecord, owner: Owner | None) -> str:
    """Return whose key it is, and whether that keeps it from being good."""
    if owner is None:
        return f"{record.owner_id} (gone)"
    return owner.name if owner.is_active else f"{owner.name} (off)"


def scopes_word(record: KeyRecord) -> str:
    """Return what a key may do."""
    if record.scopes == ALL_SCOPES:
        return "all"
    return ", ".join(sorted(record.scopes)) or "none"


def last_use(uses: Usage) -> str:
    """Return when and from where a key was used last."""
    if uses.last_used_at is None:
        return "never"
    place = f" from {uses.last_used_address}" if uses.last_used_address else ""
    return f"{instant(uses.last_used_at)}{place}"


def amount_of(count: int, what: str) -> str:
    """Return so many of something in words: ``1 key``, ``2 keys``."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
