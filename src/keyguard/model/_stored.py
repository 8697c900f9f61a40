"""What stands in a store: owners, keys, sessions, credentials, and who changed what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, cast

from keyguard.model._callers import ALL_SCOPES

__all__ = [
    "AuditEvent",
    "AuditKind",
    "Credential",
    "Found",
    "IPAddress",
    "IPNetwork",
    "KeyOrder",
    "KeyPage",
    "KeyQuery",
    "KeyRecord",
    "KeyState",
    "ListedKey",
    "NewOwner",
    "Owner",
    "Session",
    "SessionFound",
    "Usage",
]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who keys belong to, as the store knows them."""

    id: str
    name: str
    is_active: bool = True
    is_superuser: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOwner:
    """An owner who is to be added; `password` is a verifier, not a password."""

    owner: Owner
    created_at: datetime
    password: str | None = field(default=None, repr=False)


class KeyState(Enum):
    """What a key is at a moment, in one word. The first that applies, from the top, is the one."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    DISABLED = "disabled"
    NOT_YET_VALID = "not yet valid"
    GRACE = "grace"
    """Another key has taken its place, and it is still good, until it expires."""
    ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as the store keeps it: everything but the secret.

    All times are aware datetimes in UTC. `scopes` is ``{"*"}`` for a key that has its owner's permissions; an empty set
    means none. No `networks` means that the key may be used from anywhere.
    """

    id: str
    owner_id: str
    prefix: str
    """What the key begins with, separator included, such as ``kg_``."""
    name: str = ""
    lookup: str = field(repr=False)
    """The digest that the key is found by, with its scheme; unique."""
    verifier: str = field(repr=False)
    """What the key is verified against, with its scheme: the same as `lookup` but for Argon2id."""
    scopes: frozenset[str] = ALL_SCOPES
    networks: tuple[IPNetwork, ...] = ()
    created_at: datetime
    not_before: datetime | None = None
    expires_at: datetime | None = None
    disabled_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_reason: str = ""
    rotated_at: datetime | None = None
    """When another key took its place: it has no second successor."""
    rotated_from: str | None = None
    """The id of the key whose place this one took."""
    metadata_json: str = "{}"
    """What the app notes about the key, as it is stored: a text, because records are shared and never change."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What the app notes about the key: a JSON object, and a copy that is the caller's."""
        return cast("dict[str, Any]", json.loads(self.metadata_json))

    def state(self, now: datetime) -> KeyState:
        """Return what the key is at that moment; whether its owner is active is not asked."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        if self.disabled_at is not None:
            return KeyState.DISABLED
        if self.not_before is not None and now < self.not_before:
            return KeyState.NOT_YET_VALID
        return KeyState.ACTIVE if self.rotated_at is None else KeyState.GRACE

    @property
    def revoked_by_rotation(self) -> bool:
        """Tell whether it was revoked because another key has taken its place, and for no other reason."""
        return self.revoked_at is not None and self.rotated_at is not None and self.revoked_reason == "rotated"

    @property
    def changeable(self) -> tuple[str, *tuple[datetime | None, ...]]:
        """What of the key people change when it is there: what is compared with an `expected` one."""
        return self.name, self.expires_at, self.disabled_at, self.revoked_at, self.rotated_at

    @property
    def hint(self) -> str:
        """How people tell their keys apart, such as ``kg_3fJ2…``: prefix and id, no character of the secret."""
        return f"{self.prefix}{self.id[:4]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One answer of a store: a key and its owner, read in one statement."""

    key: KeyRecord
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How often a key was used, and where it was used last: in all, or since it was last written down.

    `last_used_address` is as the request came from it; None where that is not known.
    """

    total: int
    last_used_at: datetime | None = None
    last_used_address: str | None = None


class KeyOrder(Enum):
    """What a list of keys is ordered by. Where it is the same, or is not known of any, the newest come first."""

    CREATED = "created"
    NAME = "name"
    """By code points, the letters A to Z as a to z: the same in every database, whatever its locale."""
    OWNER = "owner"
    """By the owner's name, ordered as names are."""
    EXPIRES = "expires"
    """Those that never expire stand behind all others, in either direction."""
    LAST_USED = "last used"
    """Those that were never used stand behind all others, in either direction."""
    USES = "uses"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyQuery:
    """Which keys are looked for: those that fit all of it, and in which order they are listed."""

    owner_id: str | None = None
    text: str = ""
    """What stands anywhere in the name or, where `owner_id` is None, in the owner's name (the letters A to Z in either
    case), or is the beginning of the id, or of prefix and id one behind the other, as lists and logs show it."""
    states: frozenset[KeyState] = frozenset()
    """The states of which it is in one; none for whatever state."""
    expires_from: datetime | None = None
    """Only those that expire at that time, later, or never."""
    expires_before: datetime | None = None
    """Only those that expire before that time."""
    order: KeyOrder = KeyOrder.CREATED
    descending: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey:
    """A key as a list shows it: with its owner, and how it was used."""

    key: KeyRecord
    owner: Owner
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """A part of a list of keys, and how many there are in all."""

    keys: tuple[ListedKey, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerPage:
    """A part of the owners, by name, and how many there are in all."""

    owners: tuple[Owner, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A person who has signed in, until they sign out: a row, so that every worker knows when it has ended."""

    lookup: str = field(repr=False)
    """The digest of the text that the person's browser holds, with its scheme; unique."""
    owner_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFound:
    """One answer of a store: a session and its owner, read in one statement."""

    session: Session
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A third party's credential that the app keeps for an owner, sealed: `keyguard.vault` opens it."""

    owner_id: str
    name: str
    """What the app looks it up by, such as ``OPENAI_API_KEY``: one of that name for each owner."""
    sealed: str = field(repr=False)
    sealed_with: str = field(repr=False)
    """The check value of the secret key that sealed it, which says nothing about that key."""
    created_at: datetime
    updated_at: datetime
    metadata_json: str = "{}"

    @property
    def metadata(self) -> dict[str, Any]:
        """What the app notes about it, in plain text: a JSON object, and a copy that is the caller's."""
        return cast("dict[str, Any]", json.loads(self.metadata_json))


class AuditKind(Enum):
    """What was done: the kind of an audit event."""

    KEY_ISSUED = "key.issued"
    KEY_ADOPTED = "key.adopted"
    KEY_IMPORTED = "key.imported"
    KEY_RENAMED = "key.renamed"
    KEY_DISABLED = "key.disabled"
    KEY_ENABLED = "key.enabled"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATED = "key.rotated"
    KEY_GRACE_ENDED = "key.grace_ended"
    KEY_PURGED = "key.purged"
    OWNER_ADDED = "owner.added"
    OWNER_IMPORTED = "owner.imported"
    OWNER_RENAMED = "owner.renamed"
    OWNER_REMOVED = "owner.removed"
    OWNER_ACTIVATED = "owner.activated"
    OWNER_DEACTIVATED = "owner.deactivated"
    OWNER_MADE_SUPERUSER = "owner.made_superuser"
    OWNER_MADE_ORDINARY = "owner.made_ordinary"
    OWNER_PASSWORD_SET = "owner.password_set"
    OWNER_PASSWORD_REMOVED = "owner.password_removed"
    OWNER_SIGNED_IN = "owner.signed_in"
    OWNER_SIGNED_OUT = "owner.signed_out"
    CREDENTIAL_STORED = "credential.stored"
    CREDENTIAL_IMPORTED = "credential.imported"
    CREDENTIAL_REMOVED = "credential.removed"
    CREDENTIALS_RESEALED = "credential.resealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change of a key, an owner or a credential, as it stands in the audit log: who did what, to what, and when.

    `actor` is whoever asked for it, as the app names them (an owner's id, ``cli:root``), empty where nobody said.
    `detail` is a JSON object of texts, numbers and lists; there is never a secret in it. `id` grows with each event of
    a store; it is 0 until the event is stored.
    """

    at: datetime
    kind: AuditKind
    actor: str = ""
    key_id: str | None = None
    owner_id: str | None = None
    """Whose key, or which owner. Where it is left out for a key, the store fills it in."""
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    id: int = 0
