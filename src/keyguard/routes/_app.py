"""What an app is made of: guards, routers, endpoints, and what nobody here knows; and the way of a request through it.

An app is taken apart once, from outside to inside, without starting it: no lifespan, no request. Starlette's own
routers then say which route answers a path, with the app's own routes and the scope as it arrives there; nothing of
their rules is written down a second time. A class that has overridden how it matches or answers is one of which nobody
knows: it is named, and nothing is concluded from it.

FastAPI is never imported here. What it has that Starlette has not is recognised by its attributes.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, cast

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from keyguard.middleware import KeyGuard
from keyguard.misconfigured import Misconfigured
from keyguard.model import Requirement
from keyguard.routes._template import Template
from keyguard.routes._values import Concern, Finding, RouteKind
from keyguard.settings import DEFAULT_METHODS

__all__ = ["ANY", "Answer", "App", "Guarding", "Leaf", "scope_of"]

ANY = "*"
"""In the place of a method: whatever is not named."""

_REST = Template("/{path:path}", ("/", re.compile(".*")))
_EMPTY = Template()
_FILE_METHODS = frozenset({"GET", "HEAD"})
_KNOWN = frozenset({"starlette", "fastapi", "keyguard"})


# --- the way to what answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guarding:
    """A guard on the way; `guard` is None for one that lets nothing pass, since it cannot be set up."""

    guard: KeyGuard | None
    path: Template
    sees_lifespan: bool

    def requirement(self, scope: Scope) -> Requirement:
        """Return what the guard asks, by its own rules, of a request as it arrives there."""
        if self.guard is None:
            return Requirement.REQUIRED
        return self.guard.rules.requirement(
            scope["type"], scope.get("method"), scope["path"], scope["raw_path"], scope["root_path"]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooting:
    """An app that sets the `root_path` itself: ``FastAPI(root_path=...)``."""

    root_path: str

    def change(self, scope: Scope) -> None:
        """Make of a scope what the app makes of it."""
        scope["root_path"] = self.root_path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """A route on the way, which has to match."""

    matches: Callable[[Scope], tuple[Match, Scope]]

    def change(self, scope: Scope) -> None:
        """Make of a scope what the route makes of it: below a mount, the root is another."""
        scope.update(self.matches(scope)[1])


Step = Guarding | Rooting | Matching


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaf:
    """What answers in the end."""

    kind: RouteKind
    methods: frozenset[str] | None
    """None: whatever it is asked."""
    path: Template
    host: Template
    name: str
    steps: tuple[Step, ...]
    foreign: tuple[str, ...]
    """Code of others that stands between the outermost guard, if there is one, and this."""
    unknown: Concern | None = None
    """What it is if nobody here knows what it answers."""

    @property
    def guards(self) -> tuple[Guarding, ...]:
        """The guards before it, the outermost first."""
        return tuple(step for step in self.steps if isinstance(step, Guarding))

    def asked(self, scope: Scope) -> list[tuple[Guarding, str, Requirement]]:
        """Return what the guards before this ask of a request that is to come here, each with the root that it sees."""
        asked: list[tuple[Guarding, str, Requirement]] = []
        for step in self.steps:
            if isinstance(step, Guarding):
                asked.append((step, scope["root_path"], step.requirement(scope)))
            else:
                step.change(scope)
        return asked


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Way:
    """Steps, and what they lead to: what answers, or a router that has the app's routes and leads to other ways."""

    steps: tuple[Step, ...]
    end: Leaf | Router


@dataclass(slots=True, kw_only=True)
class Answer:
    """What became of a request: the guards that were asked, and what answers; None where none of the app's code does.

    So it is with 404 and 405, and where the router redirects to the path with another slash.
    """

    asked: list[tuple[Guarding, Requirement]] = field(default_factory=list[tuple[Guarding, Requirement]])
    scopes: list[Scope] = field(default_factory=list[Scope])
    """For each of the guards, the request as it arrives there."""
    leaf: Leaf | None = None


def scope_of(method: str | None, path: str, *, root_path: str = "", host: str = "") -> Scope:
    """Return the scope of a request for `path`; without a method it is a WebSocket's."""
    scope: dict[str, Any] = {
        "type": "websocket" if method is None else "http",
        "scheme": "ws" if method is None else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", host.encode())] if host else [],
        "server": None,
    }
    return scope if method is None else {**scope, "method": method}


# --- taking an app apart -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Where in an app we are, and what was passed on the way there."""

    path: Template = _EMPTY
    host: Template = _EMPTY
    steps: tuple[Step, ...] = ()
    since: int = 0
    """How many of the steps lie before the last router."""
    foreign: tuple[str, ...] = ()
    hears_lifespan: bool = True
    inside: frozenset[int] = frozenset()

    def leading_to(self, end: Leaf | Router) -> _Way:
        return _Way(steps=self.steps[self.since :], end=end)


_Otherwise = Callable[[_Place, object], _Way]
"""What becomes of an app of which nothing is known, and where it was found."""


_Then = Callable[[_Place], _Way]


class App:
    """An ASGI app, taken apart; `leaves` is all that can answer, in the order in which it is asked."""

    def __init__(self, app: object) -> None:
        self.leaves: list[Leaf] = []
        self.guards: list[Guarding] = []
        self.outside: dict[str, None] = {}
        """Code of others that stands before the outermost guard, in its order."""
        self.findings: list[Finding] = []
        self._way = self._open(app, _Place(), self._unknown_app)

    def answer(self, scope: Scope) -> Answer:
        """Return what would answer a request, and what the guards on its way ask. Nothing of the app's is run."""
        answer = Answer()
        way: _Way | None = self._way
        while way is not None:
            for step in way.steps:
                if isinstance(step, Guarding):
                    answer.asked.append((step, step.requirement(scope)))
                    answer.scopes.append({**scope})
                else:
                    step.change(scope)
            if isinstance(way.end, Leaf):
                is_asked = way.end.methods is None or scope.get("method", ANY) in {*way.end.methods, ANY}
                answer.leaf = way.end if is_asked else None
                return answer
            way = _taken(way.end, scope)
        return answer

    # --- what stands around a router ---

    def _open(self, app: Any, place: _Place, otherwise: _Otherwise) -> _Way:  # noqa: ANN401 Whatever is served.
        """Take `app` apart; `otherwise` says what it is if nothing is known of it."""
        if id(app) in place.inside:
            return otherwise(place, app)
        place = replace(place, inside=place.inside | {id(app)})
        match app:
            case KeyGuard() | Misconfigured():
                return self._open_guard(app, place, otherwise)
            case Starlette():
                self._check(app, "__call__")
                return self._open_starlette(app, place)
            case Router():
                return self._open_router(app, place)
            case StaticFiles() if _is_own(app, "__call__"):
                rest = replace(place, path=place.path + _REST)
                methods = _FILE_METHODS if _is_own(app, "get_response") else None
                return self._answering(rest, RouteKind.FILES, _name_of(app), methods=methods)
            case _:
                return self._open_other(app, place, otherwise)

    def _open_other(self, app: Any, place: _Place, otherwise: _Otherwise) -> _Way:  # noqa: ANN401 Likewise.
        if inspect.ismethod(app) and isinstance(app.__self__, Router) and app.__name__ == "app":
            return self._routes_of(app.__self__, place)
        if isinstance(app, type):
            return otherwise(place, app)
        inner, routes = _shown(app, "app"), _shown(app, "routes")
        if isinstance(replaced := _shown(app, "asgi_app"), KeyGuard):  # Where Quart has it.
            return self._open(replaced, place, otherwise)
        if callable(inner):
            return self._open(inner, _past(app, place), otherwise)
        if _are_routes(routes):
            return self._fork(routes, place)
        return otherwise(place, app)

    def _open_guard(self, guard: KeyGuard | Misconfigured, place: _Place, otherwise: _Otherwise) -> _Way:
        if isinstance(guard, KeyGuard):
            self._check(guard, "__call__")
            return self._open(guard.app, self._behind_guard(guard, place), otherwise)
        self._find(Concern.MISCONFIGURED, f"{guard.sentence}; nothing passes it")
        return otherwise(self._behind_guard(None, place), guard)

    def _open_starlette(self, app: Starlette, place: _Place) -> _Way:
        root_path = str(getattr(app, "root_path", "")) if _is_fastapi(app) else ""
        if root_path:
            place = replace(place, steps=(*place.steps, Rooting(root_path=root_path)))
        try:
            stack = app.middleware_stack or app.build_middleware_stack()
        except Exception as problem:  # noqa: BLE001 Whatever the constructors of an app's middleware raise.
            self._find(
                Concern.MISCONFIGURED,
                f"{_name_of(app)} cannot start, for its middleware raises {type(problem).__name__}: {problem}",
            )
            return self._open(app.router, self._behind_guard(None, place), self._unknown_app)
        return self._open(stack, place, self._unseen(app.router))

    def _open_router(self, router: Router, place: _Place) -> _Way:
        self._check(router, "__call__")
        stack: Any = getattr(router, "middleware_stack", router.app)
        return self._open(stack, place, self._unseen(router.app))

    def _behind_guard(self, guard: KeyGuard | None, place: _Place) -> _Place:
        guarding = Guarding(guard=guard, path=place.path, sees_lifespan=place.hears_lifespan)
        self.guards.append(guarding)
        if not _is_guarded(place):
            self.outside |= dict.fromkeys(place.foreign)
            place = replace(place, foreign=())
        return replace(place, steps=(*place.steps, guarding))

    def _unseen(self, router: object) -> _Otherwise:
        """Go on with `router` behind something that does not show what it stands before."""

        def go_on(place: _Place, _: object) -> _Way:
            if not any(isinstance(step, Guarding) and step.guard is None for step in place.steps):
                self._find(
                    Concern.UNKNOWN_LAYER,
                    "cannot tell what a middleware without an attribute `app` does to requests, nor whether there is a "
                    "guard behind it",
                )
            return self._open(router, place, self._unknown_app)

        return go_on

    # --- routers, and what they lead to ---

    def _routes_of(self, router: Router, place: _Place) -> _Way:
        self._check(router, "app")
        default: _Then | None = None
        if router.default != router.not_found or not _is_own(router, "not_found"):
            default = self._default(router.default)
        if frontend := list(_low_priority(router)):
            default = self._frontend(frontend, default)
        return self._fork(router.routes, place, default=default, redirect_slashes=router.redirect_slashes)

    def _default(self, app: object) -> _Then:
        return lambda place: self._open(app, place, self._unknown_app)

    def _frontend(self, routes: Sequence[BaseRoute], default: _Then | None) -> _Then:
        return lambda place: self._fork(routes, place, default=default)

    def _fork(
        self,
        routes: Iterable[Any],
        place: _Place,
        *,
        default: _Then | None = None,
        redirect_slashes: bool = False,
    ) -> _Way:
        inner = replace(place, since=len(place.steps))
        shadows = [self._branch(route, inner) for route in _flat(routes)]
        last = None if default is None else default(inner)
        return place.leading_to(Router(shadows, redirect_slashes=redirect_slashes, default=_Shadow(_everything, last)))

    def _branch(self, route: Any, place: _Place) -> "_Shadow":  # noqa: ANN401 FastAPI's contexts are no routes.
        effective = getattr(route, "starlette_route", None) or route
        original = getattr(route, "original_route", route)
        matches = route.matches if _is_known(original) else _perhaps(original)
        steps = (*place.steps, Matching(matches=matches))
        inside = replace(place, steps=steps, since=len(steps), hears_lifespan=False)
        if not _is_known(original):
            way = self._unknown_route(original, inside)
        elif isinstance(original, Mount):
            form = effective.path_format.removesuffix("/{path}")
            path = place.path + Template.read(effective.path, form, effective.param_convertors)
            way = self._open(effective.app, replace(inside, path=path), self._unknown_app)
        elif isinstance(original, Host):
            host = Template.read(effective.host, effective.host_format, effective.param_convertors)
            way = self._open(effective.app, replace(inside, host=host), self._unknown_app)
        else:
            way = self._open(effective.app, inside, self._endpoint(effective))
        return _Shadow(matches, way)

    def _endpoint(self, route: Any) -> _Otherwise:  # noqa: ANN401 Likewise.
        path = Template.read(route.path, route.path_format, route.param_convertors)
        is_websocket = not hasattr(route, "methods")
        kind = RouteKind.WEBSOCKET if is_websocket else RouteKind.HTTP
        methods = None if is_websocket else _methods_of(route.endpoint, route.methods)
        return lambda place, _: self._answering(
            replace(place, path=place.path + path), kind, str(route.name), methods=methods
        )

    def _unknown_app(self, place: _Place, app: object) -> _Way:
        rest = replace(place, path=place.path + _REST)
        return self._answering(rest, RouteKind.APP, _name_of(app), unknown=Concern.UNKNOWN_APP)

    def _unknown_route(self, route: object, place: _Place) -> _Way:
        path = replace(place.path, text=f"{place.path.text}{getattr(route, 'path', '/…')}")
        place = replace(place, path=path)
        return self._answering(place, RouteKind.APP, _name_of(route), unknown=Concern.UNKNOWN_ROUTE)

    def _answering(
        self,
        place: _Place,
        kind: RouteKind,
        name: str,
        *,
        methods: frozenset[str] | None = None,
        unknown: Concern | None = None,
    ) -> _Way:
        leaf = Leaf(
            kind=kind,
            methods=methods,
            path=place.path,
            host=place.host,
            name=name,
            steps=place.steps,
            foreign=place.foreign,
            unknown=unknown,
        )
        self.leaves.append(leaf)
        return place.leading_to(leaf)

    def _check(self, app: object, method: str) -> None:
        """Find it, if a class has its own way to answer."""
        if not _is_own(app, method):
            self._find(
                Concern.UNKNOWN_LAYER,
                f"cannot tell what {_name_of(app)} does to requests: it has a `{method}` of its own",
            )

    def _find(self, concern: Concern, message: str) -> None:
        self.findings.append(Finding(concern=concern, message=message))


# --- who answers, by Starlette's own routers ---------------------------------------------------------------------

_TAKEN = "keyguard.routes.taken"


class _Shadow(BaseRoute):
    """Stands in a router in the place of a route: matches as it does, and only notes that it was taken."""

    def __init__(self, matches: Callable[[Scope], tuple[Match, Scope]], way: _Way | None) -> None:
        self._matches = matches
        self._way = way

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return self._matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 Starlette's signature.
        scope[_TAKEN] = self._way


def _taken(router: Router, scope: Scope) -> _Way | None:
    """Return where a router leads to; None if it answers itself."""

    async def nothing(*_: object) -> Any:  # noqa: ANN401 Both what is received and what is sent.
        return {}

    # It waits for nothing that could suspend it, so that no event loop is needed. What else is raised comes from a
    # convertor of the app's own, and no route answers then.
    with suppress(Exception):
        router.app(scope, nothing, nothing).send(None)
    way: _Way | None = scope.pop(_TAKEN, None)
    return way


def _everything(scope: Scope) -> tuple[Match, Scope]:  # noqa: ARG001 A route's signature.
    return Match.FULL, {}


def _perhaps(route: object) -> Callable[[Scope], tuple[Match, Scope]]:
    """Match whatever a route of an unknown class could match."""
    types = {"http"} if isinstance(route, Route) else {"websocket"} if isinstance(route, WebSocketRoute) else None
    return lambda scope: (Match.FULL if types is None or scope["type"] in types else Match.NONE, {})


# --- what classes say of themselves ------------------------------------------------------------------------------


def _past(layer: object, place: _Place) -> _Place:
    """Note a layer whose code is none of Starlette's or ours."""
    if type(layer) is BaseHTTPMiddleware:
        name = _name_of(layer.dispatch_func)
    elif isinstance(layer, BaseHTTPMiddleware) or not _is_own(layer, "__call__"):
        name = _name_of(layer)
    else:
        return place
    return replace(place, foreign=(*place.foreign, name))


def _is_guarded(place: _Place) -> bool:
    return any(isinstance(step, Guarding) for step in place.steps)


def _is_known(route: object) -> bool:
    """Tell whether a route is of a kind that is known, and matches and answers as that kind does."""
    kinds = Mount | Host | Route | WebSocketRoute
    return isinstance(route, kinds) and _is_own(route, "matches") and _is_own(route, "handle")


def _is_fastapi(app: object) -> bool:
    return any(each.__module__.startswith("fastapi.") for each in type(app).__mro__)


def _is_own(thing: object, method: str) -> bool:
    """Tell whether something has a method as Starlette, FastAPI or Keyguard has written it."""
    return _has_own(type(thing), method) and method not in getattr(thing, "__dict__", {})


def _has_own(kind: type, method: str) -> bool:
    module = str(getattr(getattr(kind, method, None), "__module__", ""))
    return module.partition(".")[0] in _KNOWN


def _shown(app: object, name: str) -> Any:  # noqa: ANN401 Whatever an app keeps there.
    """Return what an app has by that name; None where it has nothing, or cannot say so before it has started."""
    with suppress(Exception):
        return getattr(app, name, None)
    return None


def _are_routes(value: object) -> TypeGuard[Sequence[BaseRoute]]:
    if not isinstance(value, list | tuple):
        return False
    items = cast("Sequence[object]", value)
    return bool(items) and all(isinstance(item, BaseRoute) for item in items)


def _name_of(thing: object) -> str:
    """Return what a person would call an app, a middleware or a route."""
    named = type(thing) if _shown(thing, "__qualname__") is None else thing
    return f"{named.__module__}.{getattr(named, '__qualname__', '')}"


def _methods_of(endpoint: object, methods: Iterable[str] | None) -> frozenset[str] | None:
    if methods:
        return frozenset(methods)
    if isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint) and _has_own(endpoint, "dispatch"):
        there = {method for method in DEFAULT_METHODS if hasattr(endpoint, method.lower())}
        return frozenset(there | {"HEAD"} if "GET" in there else there)
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Give the routes of a router, and for a router that FastAPI has included what that one adds, in their order."""
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is not None and _includes_known(route):
            yield from contexts()
        else:
            yield route


def _includes_known(included: Any) -> bool:  # noqa: ANN401 FastAPI's, and private to it.
    router = included.original_router
    return (
        _is_own(router, "matches")
        and _is_own(router, "handle")
        and all(_includes_known(route) for route in router.routes if hasattr(route, "effective_route_contexts"))
    )


def _low_priority(router: Any) -> Iterator[Route]:  # noqa: ANN401 Likewise.
    """Give what FastAPI's `frontend` answers, as routes: it comes after all others, the longest path first."""
    found: list[str] = []
    for candidate in getattr(router, "_iter_low_priority_routes", tuple)():
        group = getattr(candidate, "original_route", candidate)
        prefix = getattr(candidate, "frontend_prefix", "")
        found += [(prefix + route.path).rstrip("/") for route in group.routes]
    for path in sorted(found, key=len, reverse=True):
        for text in (path, f"{path}/{{path:path}}") if path else ("/{path:path}",):
            yield Route(text, _frontend, methods=["GET"], name="frontend")


async def _frontend() -> None:
    """Stand for FastAPI's own endpoint."""
