"""Who a caller is, and what they may do: `request.user` and `request.auth` in the app."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from keyguard.errors import ConfigurationError

__all__ = ["ALL_SCOPES", "AnonymousUser", "Auth", "Principal", "Scopes", "check_scope"]

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
