"""What was done, in plain words: audit events as sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from keyguard.admin._shown import amount, longer, plain
from keyguard.model import AuditEvent, AuditKind

__all__ = ["PLAIN_REASONS", "Told", "told"]

PLAIN_REASONS = frozenset({"", "deleted", "rotated"})
"""The reasons that Keyguard itself gives when a key is revoked; the page says them in other words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event in words: ``<who> <did> <to whom or what> <then> <name or key_id>``, and `detail` below.

    Each is empty where there is nothing to say. `name` and `detail` may hold what an attacker wrote.
    """

    did: str
    """What was done, without what it was done to: ``disabled``."""
    to: Literal["key", "account", ""] = "key"
    """What it was done to: the event's key, or its owner's account."""
    then: str = ""
    """What stands behind that: ``to``."""
    name: str = ""
    """A name that stands behind that."""
    key_id: str = ""
    """Another key that stands behind that."""
    detail: tuple[str, ...] = ()
    """What else there is to know, each for itself."""


_SIMPLE = {
    AuditKind.KEY_DISABLED: Told(did="disabled"),
    AuditKind.KEY_ENABLED: Told(did="enabled"),
    AuditKind.KEY_GRACE_ENDED: Told(did="ended the grace of"),
    AuditKind.KEY_PURGED: Told(did="removed from the records"),
    AuditKind.OWNER_ADDED: Told(did="added", to="account"),
    AuditKind.OWNER_IMPORTED: Told(did="imported", to="account"),
    AuditKind.OWNER_REMOVED: Told(did="removed", to="account"),
    AuditKind.OWNER_ACTIVATED: Told(did="activated", to="account"),
    AuditKind.OWNER_DEACTIVATED: Told(did="deactivated", to="account", detail=("All of its keys stopped working",)),
    AuditKind.OWNER_MADE_SUPERUSER: Told(did="gave the rights of a superuser to", to="account"),
    AuditKind.OWNER_MADE_ORDINARY: Told(did="took the rights of a superuser from", to="account"),
    AuditKind.OWNER_PASSWORD_SET: Told(did="set the password of", to="account"),
    AuditKind.OWNER_PASSWORD_REMOVED: Told(did="removed the password of", to="account"),
    AuditKind.OWNER_SIGNED_IN: Told(did="signed in", to=""),
    AuditKind.OWNER_SIGNED_OUT: Told(did="signed out", to=""),
    AuditKind.CREDENTIALS_RESEALED: Told(did="sealed credentials anew", to=""),
}
"""What is said of those events of which the kind says it all."""

_CREDENTIALS = {
    AuditKind.CREDENTIAL_STORED: "stored the credential",
    AuditKind.CREDENTIAL_IMPORTED: "imported the credential",
    AuditKind.CREDENTIAL_REMOVED: "removed the credential",
}


def told(event: AuditEvent) -> Told:  # noqa: PLR0911 A kind of event a line.
    """Say in words what an event says; of one whose detail is not what it should be, only its kind."""
    said = event.detail
    match event.kind:
        case AuditKind.KEY_ISSUED:
            of = _text(said, "rotated_from")
            return Told(did="created", then="in place of" if of else "", key_id=of, detail=_born(said))
        case AuditKind.KEY_ADOPTED:
            return Told(did="took over", detail=_born(said))
        case AuditKind.KEY_IMPORTED:
            return Told(did="imported", detail=_born(said))
        case AuditKind.KEY_RENAMED:
            name = _text(said, "name")
            return Told(did="renamed", then="to" if plain(name) else "to no name", name=name)
        case AuditKind.OWNER_RENAMED:
            return Told(did="renamed", to="account", then="to", name=_text(said, "name"))
        case AuditKind.KEY_REVOKED:
            return Told(did="deleted", detail=_reason(said))
        case AuditKind.KEY_ROTATED:
            end = _time(said, "until")
            last = "The old key stopped working at once" if end is None else f"The old key works until {longer(end)}"
            return Told(did="rotated", then="into", key_id=_text(said, "successor"), detail=(last,))
        case AuditKind.CREDENTIAL_STORED | AuditKind.CREDENTIAL_IMPORTED | AuditKind.CREDENTIAL_REMOVED:
            return Told(did=_CREDENTIALS[event.kind], to="", name=_text(said, "name"))
        case kind:
            return _SIMPLE[kind]


def _text(said: Mapping[str, Any], what: str) -> str:
    value = said.get(what)
    return value if isinstance(value, str) else ""


def _time(said: Mapping[str, Any], what: str) -> datetime | None:
    try:
        return datetime.fromisoformat(_text(said, what))
    except ValueError:
        return None


def _born(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what a new key may do, from where, and how long."""
    networks, end = _texts(said, "networks"), _time(said, "expires_at")
    return (
        _rights(_texts(said, "scopes")),
        *((f"From {amount(len(networks), 'network')} only",) if networks else ()),
        "Never expires" if end is None else f"Expires {longer(end)}",
    )


def _texts(said: Mapping[str, Any], what: str) -> list[str]:
    value = said.get(what)
    return [str(each) for each in cast("list[object]", value)] if isinstance(value, list) else []


def _rights(scopes: list[str]) -> str:
    if scopes == ["*"]:
        return "Full access"
    return f"Scopes {', '.join(scopes)}" if scopes else "No scopes"


def _reason(said: Mapping[str, Any]) -> tuple[str, ...]:
    reason = _text(said, "reason")
    return (f"Reason: {reason}",) if reason not in PLAIN_REASONS else ()
