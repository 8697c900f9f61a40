"""Answering a refused request over ASGI, HTTP and WebSocket alike."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import cast

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyguard.journal import logger
from keyguard.refusals import Challenge, Headers, Refusal

__all__ = ["POLICY_VIOLATION", "Answerer", "OnRefused", "RefusalResponse", "without_referrer"]

OnRefused = Callable[[Scope, Refusal], "ASGIApp | Awaitable[ASGIApp | None] | None"]

POLICY_VIOLATION = 1008
"""The WebSocket close code of RFC 6455 §7.4.1 for a message, here the handshake, that violates a policy."""


class Answerer:
    """Answers refusals: with a problem document, or with what the app's `on_refused` returns instead.

    Args:
        challenge: where a 401 says that a key is expected.
        on_refused: given the scope and the `Refusal`, returns an ASGI app (any Starlette response) that answers, or
            None for the usual answer. It may be async. If it raises or returns anything else, or its app raises before
            it has sent anything, that is logged and the usual answer is given. Header fields that every refusal has
            (`Cache-Control`, for a 401 the challenge …) are added where its answer lacks them.
    """

    def __init__(self, challenge: Challenge, on_refused: OnRefused | None) -> None:
        self._challenge = challenge
        self._on_refused = on_refused
        self._headers: dict[tuple[str, bool], Headers] = {}

    async def answer(
        self, refusal: Refusal, scope: Scope, receive: Receive, send: Send, *, query_was_used: bool
    ) -> None:
        """Answer `scope` with `refusal`. A WebSocket is denied before it was accepted."""
        headers = self._headers_of(refusal, query_was_used=query_was_used)
        if scope["type"] == "websocket":
            if (await receive())["type"] != "websocket.connect":
                return
            if "websocket.http.response" not in (scope.get("extensions") or {}):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.code})
                return
            send = _as_denial(send)
        if self._on_refused is not None:
            replacement = await self._replacement(self._on_refused, refusal, scope)
            if replacement is not None and await _run(replacement, scope, receive, _Completing(send, headers)):
                return
        body = b"" if scope.get("method") == "HEAD" else refusal.body
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _headers_of(self, refusal: Refusal, *, query_was_used: bool) -> Headers:
        """Return the header fields, which are put together once for each code."""
        which = (refusal.code, query_was_used)
        headers = self._headers.get(which)
        if headers is None:
            headers = self._headers[which] = refusal.headers(self._challenge, query_was_used=query_was_used)
        return headers.copy()

    async def _replacement(self, on_refused: OnRefused, refusal: Refusal, scope: Scope) -> ASGIApp | None:
        try:
            answer = on_refused(scope, refusal)
            return _app(await answer if inspect.isawaitable(answer) else answer)
        except Exception:  # noqa: BLE001 The app's code: a refusal stays one, whatever it raises.
            logger.exception("on_refused failed; the usual answer is given")
            return None


class RefusalResponse(Response):
    """A refusal as a Starlette response, for what returns or runs one: answers as an `Answerer` does."""

    def __init__(self, answerer: Answerer, refusal: Refusal, *, query_was_used: bool) -> None:
        super().__init__(refusal.body, refusal.status)
        self._answerer = answerer
        self._refusal = refusal
        self._query_was_used = query_was_used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._answerer.answer(self._refusal, scope, receive, send, query_was_used=self._query_was_used)


def _app(answer: object) -> ASGIApp | None:
    if answer is not None and not callable(answer):
        raise TypeError(f"on_refused returns an ASGI app or None; not {type(answer).__name__}")
    return cast("ASGIApp | None", answer)


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: "_Completing") -> bool:
    """Let the app's answer be sent; tell whether it was, at least in part. What it raises before that is logged."""
    try:
        await app(scope, receive, send)
    except Exception:
        if send.has_begun:
            raise
        logger.exception("the answer of on_refused failed; the usual one is given")
    return send.has_begun


class _Completing:
    """Adds to an answer what it lacks of `fields`: not what describes a body, and a challenge only to a 401."""

    def __init__(self, send: Send, fields: Headers) -> None:
        self._send = send
        self._fields = fields
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        self.has_begun = True
        if message["type"].endswith("http.response.start"):
            headers = list(message.get("headers", ()))
            unwanted = {b"content-type", b"content-length", *(name.lower() for name, _ in headers)}
            if message["status"] != HTTPStatus.UNAUTHORIZED:
                unwanted.add(b"www-authenticate")
            message = {**message, "headers": headers + [field for field in self._fields if field[0] not in unwanted]}
        await self._send(message)


def _as_denial(send: Send) -> Send:
    """Send what is meant for HTTP as the WebSocket Denial Response of the ASGI specification."""

    async def denying(message: Message) -> None:
        if message["type"].endswith("http.response.start"):
            message = {**message, "headers": _with_one_challenge(message.get("headers", ()))}
        if message["type"].startswith("http.response."):
            message = {**message, "type": f"websocket.{message['type']}"}
        await send(message)

    return denying


def _with_one_challenge(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Write all challenges into one field, which means the same (RFC 9110 §5.3).

    A denial with two fields of one name ends granian's worker (seen with 2.8.7), and whoever knocks could bring that
    about.
    """
    fields = list(headers)
    challenges = [value for name, value in fields if name.lower() == b"www-authenticate"]
    others = [(name, value) for name, value in fields if name.lower() != b"www-authenticate"]
    return [*others, (b"www-authenticate", b", ".join(challenges))] if challenges else others


def without_referrer(send: Send) -> Send:
    """Ask the browser not to send the address on as a referrer: it holds a key."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"referrer-policy" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
        await send(message)

    return sending
