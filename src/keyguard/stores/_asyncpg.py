"""asyncpg's connections, which come with the extra `postgres`: how they are made, and end in their own event loop."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# It has no types to speak of.

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

__all__ = ["APPLICATION", "FAILURES", "LoopConnection", "connect"]

asyncpg: Any = import_module("asyncpg")

FAILURES: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What connecting and asking can end with; a `TimeoutError` is an `OSError`.

The client's internal error comes from a connection that has read of its end, and has not been closed yet.
"""

APPLICATION = "keyguard listener"
"""What a connection that listens is called in `pg_stat_activity`."""

_OF_SQLALCHEMY = ("prepared_statement_cache_size", "prepared_statement_name_func")
"""What a URL can hold that is not for asyncpg."""


_FAREWELL = 1.0
"""Seconds that the server has for ending a session."""


class LoopConnection(asyncpg.Connection):  # type: ignore[misc] # Its types are unknown.
    """A connection that can be ended from anywhere, though it can be used in its own event loop alone.

    A connection of a loop that runs elsewhere is ended there. One of a loop that is closed is given up. One that a fork
    has inherited is left alone, because its socket is the parent's as well.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._home = asyncio.get_running_loop()
        self._process = os.getpid()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 asyncpg's signature.
        """End the session: in good order, but for a connection that SQLAlchemy throws away, with a timeout."""
        if timeout is None and self._home is _running_loop() and self._process == os.getpid():
            with suppress(*FAILURES):
                await super().close(timeout=_FAREWELL)
        else:
            self.terminate()

    def terminate(self) -> None:
        """Close the connection at once, whatever it is doing."""
        if self._process != os.getpid():
            return
        with suppress(RuntimeError):  # What a loop says that is closed.
            if self._home.is_running() and self._home is not _running_loop():
                self._home.call_soon_threadsafe(super().terminate)
            else:
                super().terminate()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def connect(arguments: Mapping[str, Any], seconds: float) -> Any:  # noqa: ANN401 An `asyncpg.Connection`.
    """Return a new connection to listen with, within so many seconds; SQLAlchemy makes the arguments of a URL."""
    chosen = {name: value for name, value in arguments.items() if name not in _OF_SQLALCHEMY}
    chosen |= {
        "timeout": seconds,
        "connection_class": LoopConnection,
        "server_settings": {"application_name": APPLICATION},
    }
    return await asyncpg.connect(**chosen)
