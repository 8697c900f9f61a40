"""What a survey says: guards, routes and findings, as plain values."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["Concern", "Finding", "Level", "RouteKind", "Standing", "Survey", "SurveyedGuard", "SurveyedRoute"]


class RouteKind(Enum):
    """What answers."""

    HTTP = "http"
    WEBSOCKET = "websocket"
    FILES = "files"
    """Starlette's `StaticFiles`."""
    APP = "app"
    """An ASGI app, or a route, of which nobody here knows what it answers."""


class Standing(Enum):
    """What a route asks of a request."""

    GUARDED = "guarded"
    OPTIONAL = "optional"
    EXEMPT = "exempt"
    UNGUARDED = "no guard"
    """No guard stands before it."""
    UNKNOWN = "cannot tell"


class Level(Enum):
    """How much a finding matters."""

    WARNING = "warning"
    CANNOT_TELL = "cannot tell"
    NOTE = "note"


class Concern(Enum):
    """What a finding is about."""

    NO_GUARD = "no-guard"
    UNGUARDED = "unguarded"
    MISCONFIGURED = "misconfigured"
    OTHER_ROUTE = "other-route"
    """A path that is exempt or optional is answered by another route than the one meant."""
    NO_ROUTE = "no-route"
    """An entry of the policy opens nothing that is there."""
    WRONG_ROOT = "wrong-root"
    """Requests come with another `root_path` than the declared one."""
    SKIP_AUTH = "skip-auth"
    AUTO_LOGIN = "auto-login"
    """`auto_login` without `auto_login_needs_key`."""
    UNKNOWN_APP = "unknown-app"
    UNKNOWN_ROUTE = "unknown-route"
    UNKNOWN_LAYER = "unknown-layer"
    FOREIGN_LAYER = "foreign-layer"
    """Other code stands before a guard, or between it and routes."""
    QUERY_KEYS = "query-keys"
    NO_LIFESPAN = "no-lifespan"

    @property
    def level(self) -> Level:
        """How much it matters."""
        return _LEVELS.get(self, Level.WARNING)


_LEVELS = {
    Concern.UNKNOWN_APP: Level.CANNOT_TELL,
    Concern.UNKNOWN_ROUTE: Level.CANNOT_TELL,
    Concern.UNKNOWN_LAYER: Level.CANNOT_TELL,
    Concern.FOREIGN_LAYER: Level.NOTE,
    Concern.QUERY_KEYS: Level.NOTE,
    Concern.NO_LIFESPAN: Level.NOTE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedGuard:
    """A guard of an app, and what its policy opens."""

    path: str
    """Below which path it stands; empty for one that stands before the whole app."""
    root_path: str
    exempt: tuple[str, ...]
    optional: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedRoute:
    """A route, or those methods of it that are treated alike.

    `standing` is that of all its paths but the ones in `exempt` and `optional`, which are for a route with parameters:
    entries of the policy that open some of its paths. A path is open only if it is written in the one canonical way.
    """

    kind: RouteKind
    methods: tuple[str, ...]
    """Empty for WebSockets; ``*`` is every method that is not in another row of this route."""
    path: str
    """As a request brings it."""
    host: str
    """Empty if it answers whatever the host is called."""
    name: str
    standing: Standing
    exempt: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that whoever runs the app should know, as one sentence."""

    concern: Concern
    message: str
    entry: str | None = None
    """The entry of the policy that it is about."""
    route: str | None = None
    """The path of the route that it is about."""
    requests: tuple[str, ...] = ()
    """Requests that show it."""

    @property
    def level(self) -> Level:
        """How much it matters."""
        return self.concern.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What an app answers, and to whom."""

    guards: tuple[SurveyedGuard, ...]
    routes: tuple[SurveyedRoute, ...]
    findings: tuple[Finding, ...]

    @property
    def is_clear(self) -> bool:
        """Tell whether there is nothing to warn of, and nothing that cannot be told."""
        return all(finding.level is Level.NOTE for finding in self.findings)
