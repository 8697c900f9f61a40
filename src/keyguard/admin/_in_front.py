"""What the guard in front of the page, if there is one, has made of a request."""

from starlette.types import Scope

from keyguard.access import Access
from keyguard.middleware import KeyGuard

__all__ = ["access_in_front", "guard_in_front"]


def access_in_front(scope: Scope) -> Access | None:
    """Return how the guard in front has let a request in, None where there is none."""
    access = scope.get("keyguard")
    return access if isinstance(access, Access) else None


def guard_in_front(scope: Scope) -> KeyGuard | None:
    """Return the guard in front of the page, None where there is none."""
    access = access_in_front(scope)
    return access.guard if access is not None and isinstance(access.guard, KeyGuard) else None
