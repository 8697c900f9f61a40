"""Talks to an ASGI app as a server would: requests and WebSockets."""

import asyncio
import contextlib
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.traffic import App, Scope

__all__ = ["Answer", "Socket", "ask", "reached"]

Message = MutableMapping[str, Any]

PATIENCE = 10.0
"""Seconds that an app may take for anything."""


async def reached(scope: Scope, receive: Any, send: Any) -> None:
    """Answer every request with 200, and every message of a WebSocket with the same message: the app to be guarded."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request, and what its query has become: a server's access log writes that."""

    status: int
    query: bytes

    @property
    def is_let_in(self) -> bool:
        """Whether the app has answered."""
        return self.status == 200  # noqa: PLR2004 What `reached` answers.


async def ask(app: App, path: str = "/items", *, fields: Sequence[tuple[str, str]] = (), query: str = "") -> Answer:
    """Send one request. An app that raises is answered for with 500, as servers do."""
    scope = _scope("http", path, fields=fields, query=query) | {"method": "GET"}
    statuses: list[int] = []
    body: asyncio.Queue[Message] = asyncio.Queue()
    body.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    with contextlib.suppress(Exception):
        async with asyncio.timeout(PATIENCE):
            await app(scope, body.get, send)
    return Answer(status=statuses[0] if statuses else 500, query=scope["query_string"])


class Socket:
    """One WebSocket to an app."""

    def __init__(self, app: App, *, fields: Sequence[tuple[str, str]] = ()) -> None:
        scope = _scope("websocket", "/ws", fields=fields) | {"subprotocols": [], "scheme": "ws"}
        scope["extensions"] = {"websocket.http.response": {}}
        self._there: asyncio.Queue[Message] = asyncio.Queue()
        self._back: asyncio.Queue[Message] = asyncio.Queue()
        self._app = asyncio.ensure_future(app(scope, self._there.get, self._back.put))

    async def _next(self) -> str:
        """Return the type of the next message that the app sends; nothing if it ends or raises instead."""
        answer = asyncio.ensure_future(self._back.get())
        await asyncio.wait({answer, self._app}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return str(answer.result()["type"])
        answer.cancel()
        return ""

    async def is_accepted(self) -> bool:
        """Begin, and return whether the app took it."""
        await self._there.put({"type": "websocket.connect"})
        return await self._next() == "websocket.accept"

    async def is_answered(self) -> bool:
        """Send a message, and return whether the app answered it."""
        await self._there.put({"type": "websocket.receive", "text": "hello"})
        return await self._next() == "websocket.send"

    async def close(self) -> None:
        """Go away."""
        await self._there.put({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait({self._app}, timeout=PATIENCE)
        self._app.cancel()
        with contextlib.suppress(BaseException):
            await self._app


def _scope(kind: str, path: str, *, fields: Sequence[tuple[str, str]], query: str = "") -> Scope:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.7", 50000),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in fields)],
        "state": {},
    }
