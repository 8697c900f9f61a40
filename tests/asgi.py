"""Talks to an ASGI app without a server: one request, one WebSocket handshake, one lifespan."""

import asyncio
import json
from dataclasses import dataclass, field

from leaks import WATCH


@dataclass
class Answer:
    """What an app sent in answer to a request or a handshake."""

    messages: list[dict] = field(default_factory=list)
    scope: dict = field(default_factory=dict)

    @property
    def status(self):
        return next((m["status"] for m in self.messages if m["type"].endswith("http.response.start")), None)

    @property
    def headers(self):
        start = next(m for m in self.messages if m["type"].endswith("http.response.start"))
        return [(name.decode(), value.decode()) for name, value in start["headers"]]

    def header(self, wanted):
        return [value for name, value in self.headers if name == wanted]

    @property
    def body(self):
        return b"".join(m.get("body", b"") for m in self.messages if m["type"].endswith("http.response.body"))

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def types(self):
        return [m["type"] for m in self.messages]


def http_scope(path="/", *, method="GET", query=b"", headers=(), **more):
    """The scope of a request, as uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.7", 50000),
        "server": ("127.0.0.1", 8000),
        **more,
    }


def websocket_scope(path="/", *, query=b"", headers=(), denial=True, **more):
    """The scope of a WebSocket handshake; it has no method."""
    scope = http_scope(path, query=query, headers=headers, type="websocket", scheme="ws", subprotocols=[], **more)
    del scope["method"]
    scope["extensions"] = {"websocket.http.response": {}} if denial else {}
    return scope


async def send_scope(app, scope, *messages):
    """Run `app` on `scope`; it receives `messages`, and then that the client has gone."""
    answer = Answer(scope=scope)
    waiting = [*messages]
    gone = {"type": "websocket.disconnect" if scope["type"] == "websocket" else "http.disconnect"}

    async def receive():
        await asyncio.sleep(0)
        return waiting.pop(0) if waiting else gone

    async def send(message):
        WATCH.see("an answer", repr(message))
        answer.messages.append(message)

    await app(scope, receive, send)
    return answer


async def get(app, path="/", **options):
    """One HTTP request without a body."""
    return await send_scope(app, http_scope(path, **options), {"type": "http.request", "body": b""})


async def connect(app, path="/", **options):
    """One WebSocket handshake."""
    return await send_scope(app, websocket_scope(path, **options), {"type": "websocket.connect"})


async def live(app, *, between=None):
    """One lifespan: start the app, do something, shut it down; the types of what the app sent."""
    sent, started, stopping = [], asyncio.Event(), asyncio.Event()
    messages = [{"type": "lifespan.startup"}]

    async def receive():
        if messages:
            return messages.pop(0)
        await stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message):
        sent.append(message)
        started.set()

    task = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    waiting = asyncio.ensure_future(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if between is not None and not task.done():
        await between()
    stopping.set()
    try:
        await task
    except Exception:
        # An app that could not start says so and raises; the server heard why.
        if [message["type"] for message in sent] != ["lifespan.startup.failed"]:
            raise
    return sent
