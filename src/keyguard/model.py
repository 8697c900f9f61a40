"""The nouns: what a key, an owner, a request's facts and a decision are.

Frozen values of the standard library, without clock, randomness or I/O. They are read in the order in which a
request meets them: a `Requirement` (what the path asks), `Facts` (what is known of the caller), a decision
(`Allowed`, `Anonymous` or `Refused`), and what the app then finds in its scope (`Principal`, `Auth`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any, cast

from keyguard.errors import ConfigurationError

__all__ = [
    "ALL_SCOPES",
    "Allowed",
    "Anonymous",
    "AnonymousUser",
    "AuditEvent",
    "AuditKind",
    "Auth",
    "Credential",
    "Decision",
    "Event",
    "Facts",
    "Found",
    "IPAddress",
    "IPNetwork",
    "KeyOrder",
    "KeyPage",
    "KeyQuery",
    "KeyRecord",
    "KeyState",
    "ListedKey",
    "Need",
    "NewOwner",
    "Owner",
    "Presented",
    "Principal",
    "Reason",
    "Refused",
    "Requirement",
    "Rule",
    "Scopes",
    "Session",
    "SessionFound",
    "Source",
    "Usage",
    "Verdict",
    "check_scope",
    "revoked_key",
]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

ALL_SCOPES = frozenset({"*"})
"""What a key has that was issued without naming scopes: its owner's permissions."""

RESERVED_SCOPES = frozenset({"authenticated", "superuser"})
"""Granted by KeyGuard itself, never by a key: a row that carries them is read as if it did not."""

_SCOPE = re.compile(r"\*|[a-z0-9_.-]+(:[a-z0-9_.*-]+)*")


def check_scope(name: object) -> str:
    """Return `name` if a key may carry it as a scope.

    Raises `ConfigurationError` if it is not ``*`` or a name such as ``flows``, ``flows:read`` or ``flows:*``, or if it
    is one of the two that only KeyGuard grants.
    """
    if not isinstance(name, str) or not _SCOPE.fullmatch(name):
        raise ConfigurationError(
            f"a scope is '*' or lower-case words joined by colons, such as 'flows:read' or 'flows:*'; not {name!r}"
        )
    if name in RESERVED_SCOPES:
        raise ConfigurationError(f"the scope {name!r} is granted by KeyGuard itself and cannot be given to a key")
    return name


# --- what stands in a store -------------------------------------------------------------------------------------


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
    OWNER = "owner"
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


# --- who a caller is --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a request acts as: `request.user` in the app, with the members of Starlette's `BaseUser`.

    `is_superuser` is what the request may use: for a key it needs a superuser as owner *and* the scope ``*``.
    """

    id: str
    name: str
    is_superuser: bool = False
    scopes: frozenset[str] = ALL_SCOPES

    @property
    def is_authenticated(self) -> bool:
        """Always true."""
        return True

    @property
    def display_name(self) -> str:
        """The owner's name."""
        return self.name

    @property
    def identity(self) -> str:
        """The owner's id."""
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class AnonymousUser:
    """`request.user` where nobody is signed in: the shape of Starlette's `UnauthenticatedUser`, and a `Principal`'s."""

    id: None = None
    name: str = ""
    is_superuser: bool = False
    is_authenticated: bool = False
    display_name: str = ""
    identity: str = ""


@lru_cache(maxsize=1024)
def _pattern(scope: str) -> re.Pattern[str]:
    """Compile a scope with wildcards: ``*`` stands for characters of one word; as the last word, for one or more."""
    *words, last = scope.split(":")
    return re.compile(":".join([*map(_word, words), ".+" if last == "*" else _word(last)]))


def _word(word: str) -> str:
    """Write one word of a scope as a pattern.

    All stars but the last take as little as they can and give nothing back, so that no scope, with however many stars,
    makes the search long: people may name the scopes of their own keys.
    """
    first, *rest = map(re.escape, word.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^:]*?{part})" for part in middle) + "[^:]*" + last


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a caller may do: `in` answers by pattern, so that ``"flows:read" in Scopes({"flows:*"})``.

    `authenticated` and `superuser` are in it only if `built_in` says so, whatever `granted` holds.
    """

    granted: frozenset[str] = frozenset()
    built_in: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        """Tell whether the right called `name` is among those granted."""
        if not isinstance(name, str):
            return False
        if name in RESERVED_SCOPES:
            return name in self.built_in
        if name in self.granted or "*" in self.granted:
            return True
        return any("*" in scope and _pattern(scope).fullmatch(name) for scope in self.granted)

    def __iter__(self) -> Iterator[str]:
        """Go through the names as they were granted, in alphabetical order."""
        return iter(sorted((self.granted - RESERVED_SCOPES) | self.built_in))

    def __len__(self) -> int:
        """Count the names as they were granted."""
        return len((self.granted - RESERVED_SCOPES) | self.built_in)


@dataclass(frozen=True, slots=True)
class Auth:
    """`request.auth` in the app: what Starlette's `@requires` looks into.

    Starlette's own `AuthCredentials` copies its scopes into a list, which would lose the patterns.
    """

    scopes: Scopes = field(default_factory=Scopes)

    @classmethod
    def of(cls, principal: Principal) -> "Auth":
        """Return what `principal` may do."""
        return _auth(principal.scopes, principal.is_superuser)


@lru_cache(maxsize=1024)
def _auth(scopes: frozenset[str], is_superuser: bool) -> Auth:  # noqa: FBT001 By place, as a cache wants it.
    """Return the same one for the same rights: most keys have all that their owner may do."""
    built_in = {"authenticated", "superuser"} if is_superuser else {"authenticated"}
    return Auth(Scopes(scopes, frozenset(built_in)))


# --- what a request asks, and what is known of it ---------------------------------------------------------------


class _Looked(Enum):
    """What is looked up with each request: by identity, because `Enum` computes the hash of a name."""

    if not TYPE_CHECKING:  # Which would find `object`'s too general.
        __hash__ = object.__hash__


class Requirement(_Looked):
    """What a path asks of a request."""

    EXEMPT = "exempt"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Source(Enum):
    """Where in a request a key stood."""

    HEADER = "header"
    QUERY = "query"
    BEARER = "bearer"


class Presented(_Looked):
    """What a request brought, where that is not a genuine key."""

    NOTHING = "nothing"
    FOREIGN_TOKEN = "foreign token"
    """A bearer token that has none of our prefixes: for the app's own sign-in, which did or did not know it."""
    AMBIGUOUS = "ambiguous"
    """More than one key, or something that another parser would take for one."""
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """Well-formed, but no row of the store verifies it."""


class Reason(_Looked):
    """Why a request was refused: for the log and the observer. What the caller learns stands in `keyguard.refusals`."""

    MISSING = "no key was presented"
    AMBIGUOUS = "more than one key was presented, or something that could be read as another"
    MALFORMED = "what was presented is not a key"
    UNKNOWN = "no such key"
    NOT_YET_VALID = "the key is not valid yet"
    EXPIRED = "the key has expired"
    REVOKED = "the key was revoked"
    DISABLED = "the key is disabled"
    OWNER_INACTIVE = "the key's owner is not active"
    ADDRESS_NOT_ALLOWED = "the key may not be used from this address"
    UNKNOWN_TOKEN = "a bearer token that is no key, and that the app's own sign-in did not know"
    NO_AUTO_LOGIN_USER = "the auto-login user does not exist"
    AUTO_LOGIN_USER_INACTIVE = "the auto-login user is not active"
    KEY_REQUIRED = "signed in, but a key is asked for here"
    SCOPE_MISSING = "the key lacks a scope that is asked for here"
    SUPERUSER_REQUIRED = "superuser rights are asked for here"
    UNAVAILABLE = "the store, or the app's own sign-in, could not answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of a genuine key until its record or its owner changes.

    `standing` is the reason to refuse it at any time and from anywhere, or None; its window of time and its networks
    stand in `key` and are judged with each request. `principal` is whom it stands for when it passes.
    """

    key: KeyRecord
    principal: Principal
    standing: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known of a request when `keyguard.policy.decide` is asked.

    `address` is where a key came from, `identified` whom the app's own sign-in knows (asked only where no key was
    presented), `auto_login_user` the record of the policy's auto-login user (read only where the policy can make use of
    it).
    """

    credential: Presented | Verdict = Presented.NOTHING
    address: IPAddress | None = None
    identified: Principal | None = None
    auto_login_user: Owner | None = None


# --- what was decided -------------------------------------------------------------------------------------------


class Rule(Enum):
    """Which rule decided, in the order in which they are tried."""

    EXEMPT = "exempt path"
    KEY = "a good key was given"
    IDENTIFIED = "the app's own sign-in knows the caller"
    SKIP_AUTH = "SKIP_AUTH"
    AMBIGUOUS = "ambiguous credentials"
    BAD_KEY = "a bad key was given"
    AUTO_LOGIN = "AUTO_LOGIN without a key"
    OPTIONAL = "no key, on an optional path"
    NO_KEY = "no key"
    OUTAGE = "the rules could not be asked"
    REQUIRE = "a right that the endpoint asks for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request passes, as somebody.

    `key` is the key that it passes by, None under any other rule; `noted` what was wrong with a key that it passes
    without, and `noted_key` that key, if it is a genuine one.
    """

    rule: Rule
    principal: Principal
    key: KeyRecord | None = None
    noted: Reason | None = None
    noted_key: KeyRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """The request passes, as nobody."""

    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request does not pass. `key` is the genuine key that came with it, None where there was none."""

    rule: Rule
    reason: Reason
    key: KeyRecord | None = None


Decision = Allowed | Anonymous | Refused


def revoked_key(decision: Decision) -> KeyRecord | None:
    """Return the key that a request brought after it had been revoked, None of any other request."""
    if isinstance(decision, Anonymous):
        return None
    key = decision.key if isinstance(decision, Refused) else decision.noted_key
    return key if key is not None and key.revoked_at is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What an endpoint asks beyond being let in: scopes, superuser rights, or that it be a key."""

    scopes: tuple[str, ...] = ()
    superuser: bool = False
    key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an observer is told of a request: who was let in or refused, by which rule, and precisely why.

    `path` is shortened, and what could be a key in it is left out. `sources` lists where keys were presented.
    """

    decision: Decision
    type: str
    method: str | None
    path: str
    address: IPAddress | None
    sources: tuple[Source, ...]

    @property
    def revoked_key(self) -> KeyRecord | None:
        """The key that was presented after it had been revoked, None of any other request: to build an alarm on.

        Whether the request was refused, as it is unless SKIP_AUTH lets everybody pass, makes no difference.
        """
        return revoked_key(self.decision)
