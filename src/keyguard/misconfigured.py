"""What becomes of a guard whose arguments cannot be right, so that the mistake is seen and nothing passes."""

import asyncio
import inspect
from typing import Any, TypeVar, cast

from starlette.types import Receive, Scope, Send

from keyguard.answers import Answerer
from keyguard.journal import logger
from keyguard.model import Reason
from keyguard.refusals import Challenge, refusal_for

__all__ = ["Misconfigured", "ReportedAtStartup"]

_Guard = TypeVar("_Guard")


class Misconfigured:
    """Stands where a `KeyGuard` with a mistake in its arguments would: nothing starts, nothing passes."""

    def __init__(self, mistake: Exception) -> None:
        self._mistake = mistake
        self.sentence: str = f"KeyGuard cannot be set up: {mistake}"
        self._answerer = Answerer(Challenge(), None)
        logger.critical("%s", self.sentence)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fail the lifespan with the mistake's sentence, and every request with 503.

        Raises the mistake behind `lifespan.startup.failed`, as Starlette does: a test client waits for that.
        """
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": self.sentence})
            raise self._mistake
        if scope["type"] in {"http", "websocket"}:
            # Nobody knows where this request has its key, if it has one: an access log must not find it.
            scope["headers"], scope["query_string"] = [], b""
            unavailable = refusal_for(Reason.UNAVAILABLE)
            await self._answerer.answer(unavailable, scope, receive, send, query_was_used=False)


class ReportedAtStartup(type):
    """Lets a mistake in `KeyGuard`'s arguments fail the start-up, where raising it would hide it."""

    def __call__(cls: type[_Guard], *args: Any, **kwargs: Any) -> _Guard:
        """Construct a guard, or what stands in its place."""
        # With any other return type, pyright would take whatever is given for right.
        try:
            guard: _Guard = type.__call__(cls, *args, **kwargs)
        except Exception as mistake:
            if not _in_event_loop():
                raise
            return cast("_Guard", Misconfigured(mistake))
        return guard

    @property
    def __signature__(cls) -> inspect.Signature:
        """What `help` and `inspect` show: the arguments of the constructor, not of the call above."""
        own = inspect.signature(cls.__init__)  # type: ignore[misc]  # Only shown, never called.
        return own.replace(parameters=list(own.parameters.values())[1:], return_annotation=cls)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
