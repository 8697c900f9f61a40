"""An open WebSocket that a key has let in: checked again, and closed when the key is no longer good."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyguard.answers import POLICY_VIOLATION
from keyguard.errors import StoreUnavailable
from keyguard.journal import logger

__all__ = ["TRY_AGAIN_LATER", "ConnectionRevoked", "OpenSocket"]

TRY_AGAIN_LATER = 1013
"""The close code, of IANA's registry, for a connection whose key cannot be checked at the moment."""

_ENDS = {"websocket.close", "websocket.http.response.start"}


class ConnectionRevoked(OSError):
    """Raised where an app sends into a connection that was closed because its key is no longer good.

    The ASGI specification asks for an `OSError` where a connection is gone; frameworks turn it into their own word for
    that, Starlette into `WebSocketDisconnect`.
    """


class OpenSocket:
    """Stands between a server and an app, for one connection.

    Args:
        receive: the server's.
        send: the server's.
        still_valid: tells whether the key is still good; may raise `StoreUnavailable`.
        recheck: seconds after which it is asked, whatever the connection does.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        still_valid: Callable[[], Awaitable[bool]],
        recheck: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._receive = receive
        self._send = send
        self._still_valid = still_valid
        self._recheck = recheck
        self._sleep = sleep
        self.is_over: bool = False
        """Whether it was closed, from whichever side, or denied."""
        self._code: int | None = None
        self._waiting: asyncio.Future[Message] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Run the app over the connection."""
        watch = asyncio.create_task(self._watch())
        try:
            await app(scope, self.receive, self.send)
        except ConnectionRevoked:
            pass  # As servers do with their own word for a connection that is gone: it is no failure of the app.
        finally:
            watch.cancel()
            if self._waiting is not None:
                self._waiting.cancel()
            await asyncio.wait({watch} if self._closing is None else {watch, self._closing})

    async def receive(self) -> Message:
        """Return the next message, a disconnect if the key is no longer good.

        The message stays until it is handed on: an app that gives up waiting, after some seconds say, must not lose it,
        and of two parts of an app that wait at the same time only one has it.
        """
        while self._code is None:
            if self._waiting is None:
                self._waiting = asyncio.ensure_future(self._receive())
            waiting = self._waiting
            await asyncio.wait({waiting})
            if waiting.cancelled():
                break
            message = waiting.result()
            if message["type"] == "websocket.receive" and not await self._is_good():
                break
            if waiting is self._waiting:
                self._waiting = None
                if message["type"] == "websocket.disconnect":
                    self.is_over = True
                return message
        return {"type": "websocket.disconnect", "code": self._code or POLICY_VIOLATION, "reason": ""}

    async def send(self, message: Message) -> None:
        """Send a message. Raises `ConnectionRevoked` if the key is no longer good."""
        if self._code is not None:
            raise ConnectionRevoked("the key that has opened this connection is no longer good")
        if message["type"] in _ENDS:
            self.is_over = True
        await self._send(message)

    async def _watch(self) -> None:
        while not self.is_over:
            await self._sleep(self._recheck)
            await self._is_good()

    async def _is_good(self) -> bool:
        """Ask whether the key is still good; close the connection if it is not."""
        if self.is_over:
            return self._code is None
        code = POLICY_VIOLATION
        try:
            if await self._still_valid():
                return self._code is None  # Another check, that began later, may have ended earlier.
        except StoreUnavailable:
            code = TRY_AGAIN_LATER
        except Exception:  # noqa: BLE001 The store or the clock may be the app's own, and nobody else would look.
            logger.exception("the key of an open WebSocket could not be checked; the connection is closed")
            code = TRY_AGAIN_LATER
        if not self.is_over:
            await self._close(code)
        return False

    async def _close(self, code: int) -> None:
        self.is_over = True
        self._code = code
        if self._waiting is not None:
            self._waiting.cancel()
        # A task of its own: it is not cut off when the app ends, or gives up waiting.
        self._closing = asyncio.create_task(self._send_close(code))
        await asyncio.shield(self._closing)

    async def _send_close(self, code: int) -> None:
        with contextlib.suppress(Exception):  # Where that fails the connection is gone already.
            await self._send({"type": "websocket.close", "code": code, "reason": ""})
