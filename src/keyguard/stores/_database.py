"""An engine, and the three ways in which the store uses it: read, change in one transaction, close."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Row, Select, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, Pool, PoolProxiedConnection

from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.loops import Places, is_under_way_here
from keyguard.stores import _sqlite

__all__ = ["Database"]

_T = TypeVar("_T")

_READERS = 4
"""Connections of one process that read, each with a thread of the driver's; a read takes a fraction of a millisecond.

One more is for writing: a database that is locked for writers would else keep readers waiting as well.
"""

_left_to_parents: list[Pool] = []
"""What was inherited by a fork. Closing a connection there would end it for the parent process, or drop its locks."""


class Database:
    """A database that is asked in whole pieces: what was begun is finished, and what fails is `StoreUnavailable`.

    What a cancelled call has begun goes on behind the scenes: a statement that runs in the driver's thread cannot be
    taken back. Cancelled in the middle of it, SQLAlchemy would throw the connection away, and with it an in-memory
    database. A change ends for its cancelled caller at once. A read ends when it has really ended, so that whoever
    counts them counts right: while the database is locked, callers that go away would pile up reads.

    Raises:
        ConfigurationError: if `url` is none, or that of a synchronous driver, or its timeout is no number.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            parsed = make_url(url)
            is_sqlite = parsed.get_backend_name() == "sqlite"
            is_one_connection = is_sqlite and _sqlite.is_in_memory(parsed)
            self.backend = parsed.get_backend_name()
            self.concurrency = 1 if is_one_connection else _READERS
            """How many may read at once."""
            self._patience = _sqlite.timeout(parsed)
            self.engine = create_async_engine(
                parsed,
                hide_parameters=True,
                poolclass=AsyncAdaptedQueuePool,
                pool_size=1 if is_one_connection else _READERS + 1,
                max_overflow=0,
                pool_timeout=self._patience,
                connect_args=_sqlite.connect_args(parsed) if is_sqlite else {},
            )
        except (ArgumentError, InvalidRequestError, ValueError):  # Their messages may quote a password.
            raise ConfigurationError(
                "the store needs a database URL with an asyncio driver, such as 'sqlite+aiosqlite:///keys.db'"
            ) from None
        self.file = _sqlite.File(self.engine.sync_engine) if is_sqlite and not is_one_connection else None
        """The file in which it lives, if it is SQLite's."""
        if is_sqlite:
            _sqlite.prepare(self.engine.sync_engine)  # Its driver's connections work in any loop.
        else:
            _keep_to_their_loops(self.engine.sync_engine)
        self._writer = self.engine.execution_options(**{_sqlite.WRITES: True})
        self._open_places()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._process = os.getpid()

    def _open_places(self) -> None:
        # There are never more inside than the pool has connections, so that nobody waits in its queue: that would
        # belong to the loop of whoever did.
        self._reading = Places(self.concurrency)
        self._writing = self._reading if self.concurrency == 1 else Places(1)

    def is_stale(self) -> bool:
        """Tell whether the connections belong to the process that this one was forked from, or to another file."""
        return self._process != os.getpid() or (self.file is not None and self.file.is_another())

    async def renew(self) -> None:
        """Leave all connections behind, so that the next ones lead to what is there now.

        A database in memory stays, unless it is the parent process's. Raises `StoreUnavailable` if the file is gone.
        """
        if self._process != os.getpid():
            _left_to_parents.append(self.engine.pool)
            await self.engine.dispose(close=False)
            self._open_places()
            self._process = os.getpid()
        if self.file is not None:
            await self._dispose()
            self.file.note()

    async def read(self, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Return the rows that one statement selects, as they are now."""
        return await self._finish(self._read(statement, parameters), stay=True)

    async def inspect(self, look: Callable[[Connection], _T]) -> _T:
        """Return what `look` returns; it reads with several statements, outside of a transaction."""
        return await self._finish(self._inspect(look), stay=True)

    async def change(self, change: Callable[[Connection], _T]) -> _T:
        """Return what `change` returns, when all that it did is durable; if it raises, nothing of it is done."""
        return await self._finish(self._change(change))

    async def close(self) -> None:
        """Close all connections, when the calls that are under way have ended."""
        await self._dispose()
        if self.file is not None:
            self.file.forget()

    async def _dispose(self) -> None:
        if here := {task for task in list(self._under_way) if is_under_way_here(task)}:
            await asyncio.wait(here)
        await self.engine.dispose()

    async def _read(self, statement: Select[Any], parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        async with self._in(self._reading), self.engine.connect() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(statement, parameters)).all()
            return rows

    async def _inspect(self, look: Callable[[Connection], _T]) -> _T:
        async with self._in(self._reading), self.engine.connect() as connection:
            return await connection.run_sync(look)

    async def _change(self, change: Callable[[Connection], _T]) -> _T:
        async with self._in(self._writing), self._writer.begin() as connection:
            return await connection.run_sync(change)

    @asynccontextmanager
    async def _in(self, places: Places) -> AsyncGenerator[None]:
        """Wait for one of `places`, no longer than for a lock."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._patience):
                    await stack.enter_async_context(places)
            except TimeoutError:
                raise StoreUnavailable("the database cannot be reached now: others use it all the time") from None
            yield

    async def _finish(self, work: Coroutine[Any, Any, _T], *, stay: bool = False) -> _T:
        """Wait for `work`, which goes on to its end even if the caller is cancelled; who is to `stay` waits on."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if stay:
                await asyncio.wait([task])
            raise
        with _failures():
            return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at, so that asyncio does not complain where the caller is gone.


def _keep_to_their_loops(engine: Engine) -> None:
    """Have a connection that was made in another event loop, where most drivers' belong, replaced by a new one."""

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 SQLAlchemy's signature.
        entry.info["loop"] = asyncio.get_running_loop()

    def checked_out(
        connection: DBAPIConnection,  # noqa: ARG001 SQLAlchemy's signature.
        entry: ConnectionPoolEntry,
        proxy: PoolProxiedConnection,  # noqa: ARG001 SQLAlchemy's signature.
    ) -> None:
        if entry.info["loop"] is not asyncio.get_running_loop():
            raise DisconnectionError

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)


@contextmanager
def _failures() -> Generator[None]:
    """Turn all ways in which a database can fail to answer into `StoreUnavailable`, which shows no parameters."""
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the database cannot answer now: {error.orig}") from None
    except (PoolTimeoutError, OSError) as error:
        raise StoreUnavailable(f"the database cannot be reached now: {error}") from None
