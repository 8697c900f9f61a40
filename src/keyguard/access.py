"""What an app learns of how a request was let in, and how an endpoint asks for more than being let in."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from keyguard.errors import ConfigurationError
from keyguard.model import Allowed, Anonymous, Facts, Need, Reason, Rule, Source, check_scope
from keyguard.policy import lacking

__all__ = ["Access", "NotPermitted", "access_of", "need_of", "refusal_of", "require"]

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Access:
    """How a request was let in: ``scope["keyguard"]``.

    `key_id` and `key_name` say by which key and `source` from where it came, all None where it was not a key; `rule` is
    the rule of the policy that decided.
    """

    rule: Rule
    key_id: str | None = None
    key_name: str | None = None
    source: Source | None = None
    sources: tuple[Source, ...] = field(repr=False)
    """Where keys were presented, whatever came of them."""
    decision: Allowed | Anonymous = field(repr=False)
    facts: Facts = field(repr=False)
    store: object = field(repr=False)
    refuse: Callable[[Reason], ASGIApp] = field(repr=False)
    """Returns the answer to this request for a right that it lacks; whoever asks has decided."""
    answers: list[ASGIApp] = field(default_factory=list[ASGIApp], repr=False)
    """What the guard answers with instead of the app: see `NotPermitted`."""


class NotPermitted(Exception):
    """Raised below a `KeyGuard`, before an answer has begun, by code that cannot return one.

    The guard answers with `answer`, whatever a framework in between makes of an exception that it does not know: an app
    that is wrapped or mounted would show its page for errors.
    """

    def __init__(self, access: Access, answer: ASGIApp) -> None:
        super().__init__("the caller lacks a right that is asked for here")
        access.answers.append(answer)


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
