"""Telling what comes bit by bit: as an answer that is a stream of events, and over a WebSocket.

An event has a name and data. A stream is server-sent events
(https://html.spec.whatwg.org/multipage/server-sent-events.html). Who accepts JSON and no event streams gets a line for
each, as Langflow sends them: ``{"event": "token", "data": {"chunk": "Hel"}}``. So are the messages of a WebSocket.

Whoever leaves ends what is done for them. So does the loss of a stream's key.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from fastapi import WebSocket, WebSocketDisconnect
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from keyguard import Access
from langflow_server.limits import MAX_BODY_BYTES
from langflow_server.problems import OUTAGES, BadRequest, Forbidden, Problem, Unavailable

__all__ = ["Event", "EventStream", "converse", "unless_left"]

CHECK_EVERY = 1.0
"""Seconds between two looks at a stream's key, each a short query. So long a revoked key's stream may go on."""

MAX_WAITING = 8
"""Messages of one WebSocket that wait to be answered; the next are read when there is room."""

T = TypeVar("T")


class Event(NamedTuple):
    """Something to tell. `data` is an object of JSON."""

    name: str
    data: dict[str, Any]

    @property
    def line(self) -> str:
        """As Langflow writes it, with an empty line behind it in a stream."""
        return json.dumps({"event": self.name, "data": self.data})

    @property
    def block(self) -> str:
        """As a server-sent event. JSON has no line breaks."""
        return f"event: {self.name}\ndata: {json.dumps(self.data)}\n\n"


Events = AsyncGenerator[Event]


class EventStream(StreamingResponse):
    """An answer that tells events as they come.

    It begins with the first event: what goes wrong before is an answer of its own, with its status, and what goes wrong
    later is an event `error`.
    """

    def __init__(self, events: Events, accepted: Headers) -> None:
        self._as_lines = _wants_lines(accepted)
        super().__init__(
            (),
            media_type="application/x-ndjson" if self._as_lines else "text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},  # Nginx would wait for more.
        )
        self._events = events
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the events until there are no more, nobody listens, or the key is no longer good."""
        try:
            ended = await _first_of(self._tell_all(send), _left(receive), _lost(scope["keyguard"]))
            ended.result()
        except _EXPECTED as problem:
            if not self._has_begun:
                raise
            await self._tell(_error(problem), send)
        if self._has_begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell_all(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                await self._tell(event, send)

    async def _tell(self, event: Event, send: Send) -> None:
        if not self._has_begun:
            self._has_begun = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        text = f"{event.line}\n\n" if self._as_lines else event.block
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def converse(websocket: WebSocket, answer: Callable[[str], Events]) -> None:
    """Answer each message of a WebSocket by events, one message after the other, until it is closed.

    Its key is the guard's to watch: it closes the connection.
    """
    messages: asyncio.Queue[str | Problem] = asyncio.Queue(MAX_WAITING)
    ended = await _first_of(_listen(websocket, messages), _answer_all(websocket, messages, answer))
    ended.result()


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work comes to. None, and no more is done, if nobody waits for it any longer."""
    ended: asyncio.Task[T | None] = await _first_of(work, _left(receive))
    return ended.result()


# --- the parts ----------------------------------------------------------------------------------------------------

_EXPECTED = (Problem, *OUTAGES)


def _error(problem: Exception) -> Event:
    """Say what went wrong, one of `_EXPECTED`."""
    told = problem if isinstance(problem, Problem) else Unavailable()
    return Event("error", {"error": told.detail})


def _wants_lines(headers: Headers) -> bool:
    accepted = headers.get("accept", "")
    return "application/json" in accepted and "text/event-stream" not in accepted


async def _first_of(*works: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run them until one has ended, or raised. The others are ended before this returns."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _left(receive: Receive) -> None:
    """Wait until whoever asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lost(access: Access) -> None:
    """Wait until the key is no longer good; then raise `Forbidden`."""
    while True:
        await asyncio.sleep(CHECK_EVERY)
        if not await access.still_valid():
            raise Forbidden("The key is no longer good.")


async def _listen(websocket: WebSocket, messages: asyncio.Queue[str | Problem]) -> None:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await messages.put(BadRequest("Send text, not bytes."))
        elif len(text) > MAX_BODY_BYTES:
            await messages.put(BadRequest(f"This is too large: {MAX_BODY_BYTES} characters are the most."))
        else:
            await messages.put(text)


async def _answer_all(
    websocket: WebSocket, messages: asyncio.Queue[str | Problem], answer: Callable[[str], Events]
) -> None:
    try:
        while True:
            message = await messages.get()
            try:
                if isinstance(message, Problem):
                    raise message
                async with aclosing(answer(message)) as events:
                    async for event in events:
                        await websocket.send_text(event.line)
            except _EXPECTED as problem:
                await websocket.send_text(_error(problem).line)
    except WebSocketDisconnect:
        pass
