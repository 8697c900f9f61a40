"""Requests that another site makes a browser send."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from keyguard import Access, Rule
from langflow_server.guard import SIGN_IN

__all__ = ["SameOrigin"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 §9.2.1.
_BEGIN = frozenset({SIGN_IN, "/api/v1/auto_login"})
_OWN = frozenset({"same-origin", "none"})


class SameOrigin:
    """Refuses what changes something, comes from another site's page, and has no key to vouch for it.

    A session's cookie comes along with whatever a page makes the browser send, and where no key is needed nothing has
    to come along. Every browser says where such a request comes from: by `Sec-Fetch-Site`, else by `Origin`. What says
    neither is no browser. It is what `http.CrossOriginProtection` of Go's standard library does.

    It stands inside of the guard, whose word on keys it goes by.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or refuse it."""
        if scope["type"] in ("http", "websocket") and _changes(scope) and not _has_key(scope) and _is_foreign(scope):
            answer = JSONResponse({"detail": "A page of another site must not do that."}, HTTPStatus.FORBIDDEN)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _changes(scope: Scope) -> bool:
    if scope["type"] == "websocket" or scope["method"] not in _SAFE:
        return True
    # With AUTO_LOGIN these begin a session. A page may link to them, but not fill the database by a thousand images.
    return scope["path"] in _BEGIN and Headers(scope=scope).get("sec-fetch-mode") != "navigate"


def _has_key(scope: Scope) -> bool:
    access: Access = scope["keyguard"]
    return access.rule is Rule.KEY


def _is_foreign(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in _OWN
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")
