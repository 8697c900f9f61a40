"""A request, from what its path asks to what was decided: `Requirement`, `Facts`, a decision, the `Event` of it."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from keyguard.model._callers import Principal
from keyguard.model._stored import IPAddress, KeyRecord, Owner

__all__ = [
    "Allowed",
    "Anonymous",
    "Decision",
    "Event",
    "Facts",
    "Need",
    "Presented",
    "Reason",
    "Refused",
    "Requirement",
    "Rule",
    "Source",
    "Verdict",
    "revoked_key",
]

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
