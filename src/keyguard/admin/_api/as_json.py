"""How the API shows keys, events, owners, and whoever calls: as JSON."""

from datetime import datetime, timedelta
from typing import Any

from keyguard.admin._desk import Desk
from keyguard.admin._etags import etag_of
from keyguard.admin._settings import Settings
from keyguard.admin._shown import Condition, condition
from keyguard.admin._visitor import Visitor
from keyguard.model import ALL_SCOPES, AuditEvent, ListedKey, Owner

__all__ = ["choices_json", "event_json", "key_json", "owner_json", "visitor_json"]

Json = dict[str, Any]


def key_json(listed: ListedKey, now: datetime) -> Json:
    """Show a key: all but its digests, and what the app notes about it."""
    key = listed.key
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "prefix": key.prefix,
        "state": _word(key.state(now).value),
        "expiring_soon": condition(key, now) is Condition.EXPIRING_SOON,
        "owner": {"id": listed.owner.id, "name": listed.owner.name},
        "created_at": _time(key.created_at),
        "not_before": _time(key.not_before),
        "expires_at": _time(key.expires_at),
        "disabled_at": _time(key.disabled_at),
        "revoked_at": _time(key.revoked_at),
        "revoked_reason": key.revoked_reason,
        "rotated_at": _time(key.rotated_at),
        "rotated_from": key.rotated_from,
        "scopes": None if key.scopes == ALL_SCOPES else sorted(key.scopes),
        "networks": [str(network) for network in key.networks],
        "last_used_at": _time(listed.usage.last_used_at),
        "total_uses": listed.usage.total,
        "etag": etag_of(key),
    }


def event_json(event: AuditEvent) -> Json:
    """Show what was done."""
    return {
        "id": event.id,
        "at": _time(event.at),
        "kind": event.kind.value,
        "actor": event.actor,
        "key_id": event.key_id,
        "owner_id": event.owner_id,
        "detail": dict(event.detail),
    }


def owner_json(owner: Owner) -> Json:
    """Show an owner, to a superuser."""
    return {"id": owner.id, "name": owner.name, "is_active": owner.is_active, "is_superuser": owner.is_superuser}


def visitor_json(visitor: Visitor) -> Json:
    """Show a caller who they are, and what they may do here."""
    owner = visitor.owner
    return {
        "owner": {"id": owner.id, "name": owner.name, "is_superuser": visitor.is_superuser},
        "way": _word(visitor.way.value),
    }


def choices_json(settings: Settings, desk: Desk) -> Json:
    """Show what can be chosen for a new key."""
    return {
        "scopes": [{"name": name, "description": words} for name, words in desk.scopes_on_offer.items()],
        "may_grant_all": desk.may_grant_all,
        "lifetimes_seconds": [_seconds(lifetime) for lifetime in settings.lifetimes_on_offer],
        "default_lifetime_seconds": _seconds(settings.lifetime_by_default),
        "max_lifetime_seconds": _seconds(settings.store.keyring.max_lifetime),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _seconds(lifetime: timedelta | None) -> int | None:
    return None if lifetime is None else int(lifetime.total_seconds())


def _word(value: str) -> str:
    return value.replace(" ", "_").replace("-", "_")
