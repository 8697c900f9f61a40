"""Who visits the page: by a session of the page's own, by the app's own sign-in, or as the auto-login user."""

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from starlette.types import Scope

from keyguard import lifecycle
from keyguard.admin._in_front import access_in_front, guard_in_front
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings
from keyguard.errors import StoreUnavailable
from keyguard.journal import Journal, logger
from keyguard.middleware import Identify, KeyGuard, answer_of
from keyguard.model import ALL_SCOPES, Allowed, Owner, Principal, Rule
from keyguard.settings import Policy

__all__ = ["Visitor", "Way", "who_visits"]

_JOURNAL = Journal()


class Way(Enum):
    """How the page knows who visits."""

    SESSION = "session"
    """By a session of its own."""
    APP = "app"
    """By the app's own sign-in."""
    AUTO_LOGIN = "auto-login"
    """Everybody is the auto-login user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who visits: an active owner."""

    owner: Owner
    is_superuser: bool
    """Whether everyone's keys are theirs to manage. By a session the owner's flag, by the app what it says."""
    way: Way
    scopes: frozenset[str] = ALL_SCOPES
    """What they may do, and so what a key of theirs may be made to do."""


async def who_visits(settings: Settings, scope: Scope, token: str | None) -> Visitor | None:
    """Return who visits, None for nobody; `token` is what stands in the page's own session cookie.

    A key is no session: whoever was let in by one is not known by it here.

    Raises:
        Problem: 403 if they are not an active owner of the store.
        StoreUnavailable: if the store, or the app's own sign-in, does not answer.
    """
    return await _by_session(settings, token) or await _by_app(settings, scope) or await _by_auto_login(settings, scope)


async def _by_session(settings: Settings, token: str | None) -> Visitor | None:
    if token is None or settings.sessions is None:
        return None
    found = await lifecycle.find_session(settings.sessions, token, clock=settings.clock)
    if found is None:
        return None
    return Visitor(owner=found.owner, is_superuser=found.owner.is_superuser, way=Way.SESSION)


async def _by_app(settings: Settings, scope: Scope) -> Visitor | None:
    principal = _known_in_front(settings, scope)
    if principal is None and settings.identify is not None and not _was_let_in_by_key(scope):
        principal = await _identified(settings.identify, scope)
    if principal is None:
        return None
    owner = await settings.store.get_owner(principal.id)
    if owner is None:
        raise _forbidden("unknown_owner", "You are signed in, but there is no owner of keys with your id here.")
    if not owner.is_active:
        raise _forbidden("inactive_owner", "Your account is deactivated, and all of its keys with it.")
    return Visitor(owner=owner, is_superuser=principal.is_superuser, way=Way.APP, scopes=principal.scopes)


async def _by_auto_login(settings: Settings, scope: Scope) -> Visitor | None:
    policy = settings.policy or _policy_in_front(settings, scope)
    if policy is None or policy.auto_login_user is None or not (policy.auto_login or policy.skip_auth):
        return None
    owner = await settings.store.find_owner(policy.auto_login_user)
    if owner is None or not owner.is_active:
        raise _forbidden("no_auto_login_user", "The user whom everybody is signed in as is not there, or deactivated.")
    if owner.name not in settings.warned_of:
        settings.warned_of.add(owner.name)
        logger.warning(
            "ANYONE who can reach the key page acts there as the user %r, and makes keys of theirs", owner.name
        )
    return Visitor(owner=owner, is_superuser=owner.is_superuser, way=Way.AUTO_LOGIN)


def _forbidden(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, code, detail)


# --- the guard in front, and the app's own sign-in ---------------------------------------------------------------


def _guard_of_same_store(settings: Settings, scope: Scope) -> KeyGuard | None:
    """Return the guard in front if it has the very same store: the ids of another mean others."""
    guard = guard_in_front(scope)
    return guard if guard is not None and guard.store is settings.store else None


def _known_in_front(settings: Settings, scope: Scope) -> Principal | None:
    access = None if _guard_of_same_store(settings, scope) is None else access_in_front(scope)
    decision = None if access is None else access.decision
    return decision.principal if isinstance(decision, Allowed) and decision.rule is Rule.IDENTIFIED else None


def _policy_in_front(settings: Settings, scope: Scope) -> Policy | None:
    guard = _guard_of_same_store(settings, scope)
    return None if guard is None else guard.policy


def _was_let_in_by_key(scope: Scope) -> bool:
    """Tell whether what stands in the scope of the caller comes from a key, of whatever store."""
    access = access_in_front(scope)
    return access is not None and access.rule is Rule.KEY


async def _identified(identify: Identify, scope: Scope) -> Principal | None:
    """Ask the app's own sign-in. An exception there must not be taken for "nobody"."""
    try:
        return _principal(await answer_of(identify, scope))
    except Exception as problem:
        _JOURNAL.trouble("identify failed", problem, unexpected=True)
        raise StoreUnavailable("identify failed") from problem


def _principal(answer: object) -> Principal | None:
    if answer is not None and not isinstance(answer, Principal):
        raise TypeError(f"identify returns a Principal or None; not {type(answer).__name__}")
    return answer
