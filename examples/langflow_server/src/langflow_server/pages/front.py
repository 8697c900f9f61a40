"""What stands in front of all pages: their header fields, and errors that are shown as pages."""

import json
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyguard import Principal
from langflow_server.guard import ASSETS, MCP_PATHS, SIGN_IN
from langflow_server.pages.layout import page

__all__ = ["Front"]

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # With less, browsers would send forms with the origin `null`.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_ASSET_HEADERS = {
    **_HEADERS,
    "cache-control": "no-cache",
}  # Kept, and asked for anew each time: a release changes them.

_FOR_PROGRAMS = ("/api/", "/health", *MCP_PATHS)


class Front:
    """Gives every page the header fields that keep it safe, and shows what went wrong as a page to a browser.

    Whatever refuses or fails, here and in what stands behind, answers ``{"detail": …}``. A browser that asks for a page
    gets one that says the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(_FOR_PROGRAMS):
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            await answer.fail()
            raise  # For the server's log.


class _Answer:
    """One answer on its way: an error is held back until all of it is there."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._fields = _ASSET_HEADERS if scope["path"].startswith(f"{ASSETS}/") else _HEADERS
        self._has_begun = False
        self._held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in self._fields.items():
                headers.setdefault(name, value)
            if self._is_error_for_people(message["status"], headers):
                self._held = message
                return
        elif self._held is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._show(self._held)
            return
        await self._send(message)

    async def fail(self) -> None:
        """Answer, where nothing has been answered yet, that something went wrong; what it was is for the log alone."""
        if not self._has_begun:
            answer = JSONResponse({"detail": "Something went wrong here."}, HTTPStatus.INTERNAL_SERVER_ERROR)
            await answer(self._scope, self._receive, self.send)

    def _is_error_for_people(self, status: int, headers: Headers) -> bool:
        wants_page = "text/html" in Headers(scope=self._scope).get("accept", "")
        is_json = headers.get("content-type", "").partition(";")[0] == "application/json"
        return status >= HTTPStatus.BAD_REQUEST and wants_page and is_json and self._scope["method"] != "HEAD"

    async def _show(self, held: Message) -> None:
        status = HTTPStatus(held["status"])
        is_somebody = isinstance(self._scope.get("user"), Principal)
        answer = page(
            Request(self._scope),
            "message.html",
            status=status,
            heading=status.phrase,
            sentence=self._sentence(status, json.loads(self._body)),
            link="/flows" if is_somebody else SIGN_IN,
            link_word="Back to the flows" if is_somebody else "Sign in",
        )
        for name, value in Headers(scope=held).items():
            if name not in {"content-type", "content-length"}:
                answer.headers[name] = value
        await answer(self._scope, self._receive, self._send)

    def _sentence(self, status: HTTPStatus, said: dict[str, Any]) -> str:
        """Return what is told: mostly what a program would be told, too."""
        detail = said.get("detail")
        if status is HTTPStatus.FORBIDDEN and "keyguard" not in self._scope and self._scope["method"] == "POST":
            return "You are not signed in any more. Nothing was done."  # The guard asks a program for a key.
        if isinstance(detail, str) and detail != status.phrase:
            return detail
        if self._scope["method"] == "GET":
            return "There is nothing at this address."
        return _SENTENCES.get(status, "This did not work.")


_SENTENCES = {
    HTTPStatus.METHOD_NOT_ALLOWED: "This cannot be done at this address.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something is missing in what was sent, or is not as it should be.",
}
