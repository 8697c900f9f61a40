"""What an app learns of how a request was let in, and how an endpoint asks for more than being let in."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from keyguard.cache import Known
from keyguard.errors import ConfigurationError
from keyguard.model import (
    Allowed,
    Anonymous,
    Facts,
    IPAddress,
    KeyRecord,
    Need,
    Reason,
    Refused,
    Rule,
    Source,
    check_scope,
)
from keyguard.policy import lacking

__all__ = ["Access", "Asked", "Guard", "NotPermitted", "access_of", "need_of", "nowhere", "refusal_of", "require"]

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(slots=True, eq=False)
class Asked:
    """What is kept of a request while the app runs: nothing of a key, and not the scope, in which this may stand."""

    type: str
    method: str | None
    path: str
    address: IPAddress | None
    sources: tuple[Source, ...]
    """Where keys were presented, whatever came of them."""
    query_was_used: bool


class Guard(Protocol):
    """What an `Access` asks of the guard that has made it."""

    @property
    def store(self) -> object:
        """The store that it has asked."""
        ...

    def refuse(self, asked: Asked, refused: Refused) -> ASGIApp:
        """Tell of a refusal, and return its answer."""
        ...

    async def passes_still(self, asked: Asked, known: Known) -> bool:
        """Tell whether a key would be let in now."""
        ...


@dataclass(slots=True, eq=False, repr=False)
class Access(Asked):
    """How a request was let in: ``scope["keyguard"]``."""

    decision: Allowed | Anonymous
    brought: Known | None
    """The genuine key that was presented, whether the request was let in by it or not."""
    guard: Guard
    outgoing: Send
    """Where the app's answer goes; `nowhere` when the app has ended: a server's `send` may lead to the scope."""
    answer: ASGIApp | None = None
    """What the guard answers with instead of the app: see `NotPermitted`."""
    has_begun: bool = False
    """Whether the app's own answer has begun."""
    gathered: Facts | None = None
    """What the decision was made from, where that is not `brought` alone."""

    @property
    def facts(self) -> Facts:
        """What the decision was made from."""
        return self.gathered or (Facts() if self.brought is None else self.brought.facts(self.address))

    @property
    def known(self) -> Known | None:
        """The key that it was let in by."""
        return self.brought if self.decision.rule is Rule.KEY else None

    @property
    def rule(self) -> Rule:
        """The rule of the policy that decided."""
        return self.decision.rule

    @property
    def key_id(self) -> str | None:
        """The id of the key that it was let in by; None if it was none."""
        return None if self._key is None else self._key.id

    @property
    def key_name(self) -> str | None:
        """The name of that key, as it was when the key was last read."""
        return None if self._key is None else self._key.name

    @property
    def source(self) -> Source | None:
        """Where that key stood."""
        return None if self._key is None else self.sources[0]

    @property
    def _key(self) -> KeyRecord | None:
        return self.decision.key if isinstance(self.decision, Allowed) else None

    async def still_valid(self) -> bool:
        """Tell whether the request would be let in now: for streams, and answers that take long.

        False when its key is no longer good, or no longer gives the same rights to the same caller. True for a request
        that was let in without a key. Raises `StoreUnavailable` if nobody can tell.
        """
        known = self.known
        return known is None or await self.guard.passes_still(self, known)

    def refuse(self, reason: Reason) -> ASGIApp:
        """Return the answer to this request for a right that it lacks; whoever asks has decided."""
        return self.guard.refuse(self, Refused(rule=Rule.REQUIRE, reason=reason, key=self._key))

    def send(self, message: Message) -> Awaitable[None]:
        """Send what the app sends; drop it once the guard has another answer.

        No coroutine itself: it hands the server's on.
        """
        if self.answer is not None:
            return nowhere(message)
        self.has_begun = True
        return self.outgoing(message)

    def __repr__(self) -> str:
        said = {"rule": self.rule, "key_id": self.key_id, "key_name": self.key_name, "source": self.source}
        return f"Access({', '.join(f'{name}={value!r}' for name, value in said.items())})"


async def nowhere(message: Message) -> None:
    """Send nothing: what came too late."""


class NotPermitted(Exception):
    """Raised below a `KeyGuard`, before an answer has begun, by code that cannot return one.

    The guard answers with `answer`, whatever a framework in between makes of an exception that it does not know: an app
    that is wrapped or mounted would show its page for errors.
    """

    def __init__(self, access: Access, answer: ASGIApp) -> None:
        super().__init__("the caller lacks a right that is asked for here")
        access.answer = access.answer or answer


def access_of(scope: Scope) -> Access:
    """Return how a request was let in.

    Raises `RuntimeError` if no `KeyGuard` stands in front: an endpoint that asks for a right must not run without one.
    """
    access = scope.get("keyguard")
    if not isinstance(access, Access):
        raise RuntimeError('no KeyGuard has judged this request: add it with "app.add_middleware(KeyGuard, ...)"')
    return access


def refusal_of(need: Need, scope: Scope) -> ASGIApp | None:
    """Return the answer to a request that lacks what `need` asks for, None if it lacks nothing."""
    access = access_of(scope)
    reason = lacking(need, access.decision)
    return None if reason is None else access.refuse(reason)


def require(*scopes: str, superuser: bool = False, key: bool = False) -> Callable[[_Endpoint], _Endpoint]:
    """Ask for more than being let in: return a decorator for ASGI apps and for Starlette's endpoints.

    An anonymous caller is answered 401; one without one of `scopes`, or without superuser rights where `superuser` asks
    for them, 403; with `key`, one whom only the app's own sign-in knows 401 (the auto-login user of a policy that
    excuses requests from their key is as good as one). The endpoint does not run then.

    What is decorated is an ASGI app (a function, an instance or Starlette's endpoint classes: anything that takes
    scope, receive and send), or an endpoint that has a parameter called `request` or `websocket`. The decorator is also
    a middleware: ``Route("/x", endpoint, middleware=[Middleware(require("flows:read"))])`` in Starlette,
    ``get("/x", middleware=[require("flows:read")])`` in Litestar.

    Raises:
        ConfigurationError: if a scope is not a name as `keyguard.model.check_scope` says, or what is decorated is
            neither an ASGI app nor such an endpoint.
    """
    need = need_of(scopes, superuser=superuser, key=key)

    def decorate(app: _Endpoint) -> _Endpoint:  # Litestar gives a middleware its app under this name.
        parameters = list(inspect.signature(app).parameters)
        for name in ("request", "websocket"):
            if name in parameters:
                return cast("_Endpoint", _guard_endpoint(need, app, name, parameters.index(name)))
        if len(parameters) != len(("scope", "receive", "send")):
            raise ConfigurationError(
                "require decorates an ASGI app, or an endpoint with a parameter called 'request' or 'websocket'; "
                f"not {app!r}"
            )
        return cast("_Endpoint", _GuardedApp(need, app))

    return decorate


def need_of(scopes: tuple[str, ...], *, superuser: bool, key: bool) -> Need:
    """Return what an endpoint asks for, checked."""
    return Need(scopes=tuple(check_scope(scope) for scope in scopes), superuser=superuser, key=key)


@dataclass(frozen=True, slots=True)
class _GuardedApp:
    need: Need
    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = refusal_of(self.need, scope) if scope["type"] in {"http", "websocket"} else None
        await (answer or self.app)(scope, receive, send)


def _guard_endpoint(need: Need, endpoint: Callable[..., Any], name: str, index: int) -> Callable[..., Any]:
    def connection(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection:
        found: HTTPConnection = kwargs[name] if name in kwargs else args[index]
        return found

    if name == "websocket":

        @functools.wraps(endpoint)
        async def on_websocket(*args: Any, **kwargs: Any) -> Any:
            websocket = cast("WebSocket", connection(args, kwargs))
            answer = refusal_of(need, websocket.scope)
            if answer is not None:
                return await answer(websocket.scope, websocket.receive, websocket.send)
            return await endpoint(*args, **kwargs)

        return on_websocket

    if inspect.iscoroutinefunction(endpoint) or inspect.iscoroutinefunction(type(endpoint).__call__):

        @functools.wraps(endpoint)
        async def on_request(*args: Any, **kwargs: Any) -> Any:
            answer = refusal_of(need, connection(args, kwargs).scope)
            return await endpoint(*args, **kwargs) if answer is None else answer

        return on_request

    @functools.wraps(endpoint)
    def on_request_in_thread(*args: Any, **kwargs: Any) -> Any:
        answer = refusal_of(need, connection(args, kwargs).scope)
        return endpoint(*args, **kwargs) if answer is None else answer

    return on_request_in_thread
