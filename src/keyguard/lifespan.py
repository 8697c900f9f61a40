"""The lifespan of an app, with something of ours opened before it starts and closed after it has ended."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyguard.errors import KeyguardError
from keyguard.journal import logger

__all__ = ["run_lifespan"]

_LAST_MESSAGES = {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}

Step = Callable[[], Awaitable[None]]


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, enter: Step, leave: Step) -> None:
    """Run `app`'s lifespan between `enter` and `leave`.

    If `enter` raises, the server is told that start-up has failed: with the message of a `KeyguardError`, or the name
    of anything else. (If it were only raised, a server would take it for "this app has no lifespan", and start without
    the app's own.) Then it is raised, as Starlette does: a test client waits for that. An app that refuses lifespan, as
    Django does, is answered for. `leave` runs before the server is told that all has ended.
    """
    startup = await receive()
    try:
        await enter()
    except Exception as problem:
        is_ours = isinstance(problem, KeyguardError)
        message = str(problem) if is_ours else f"start-up failed: {type(problem).__name__}"
        logger.critical("%s", message, exc_info=None if is_ours else problem)
        await send({"type": "lifespan.startup.failed", "message": message})
        raise
    guest = _Guest(startup, receive, send, leave)
    try:
        await app(scope, guest.receive, guest.send)
    except Exception:
        if guest.takes_part:
            raise
    finally:
        if guest.takes_part:
            await guest.leave_once()
    if not guest.takes_part:
        await _live_alone(receive, send, leave)


class _Guest:
    """The app's side of a lifespan that we have opened."""

    def __init__(self, startup: Message, receive: Receive, send: Send, leave: Step) -> None:
        self._startup = startup
        self._receive = receive
        self._send = send
        self._leave: Step | None = leave
        self.takes_part = False

    async def receive(self) -> Message:
        """Give the app the first message, which we have received already, and then the server's own."""
        if self.takes_part:
            return await self._receive()
        self.takes_part = True
        return self._startup

    async def send(self, message: Message) -> None:
        """Pass the app's messages on, the last one after we have left."""
        if message["type"] in _LAST_MESSAGES:
            await self.leave_once()
        await self._send(message)

    async def leave_once(self) -> None:
        """Leave, if we have not yet."""
        leave, self._leave = self._leave, None
        if leave is not None:
            await leave()


async def _live_alone(receive: Receive, send: Send, leave: Step) -> None:
    await send({"type": "lifespan.startup.complete"})
    try:
        await receive()
    finally:
        await leave()
    await send({"type": "lifespan.shutdown.complete"})
