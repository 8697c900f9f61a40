"""An engine, and the three ways in which the store uses it: read, change in one transaction, close."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Executable, Row, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, Pool, PoolProxiedConnection

from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.loops import Places, is_under_way_here
from keyguard.stores import _postgres, _sqlite

__all__ = ["Database"]

_T = TypeVar("_T")

_READERS = 4
"""Connections of one process that read; a read takes a fraction of a millisecond.

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
        self._failures: tuple[type[Exception], ...] = (PoolTimeoutError, OSError)
        try:
            self.url = make_url(url)
            self.backend = self.url.get_backend_name()
            """The kind of database, in SQLAlchemy's words."""
            self.driver = self.url.get_driver_name()
            is_sqlite = self.backend == "sqlite"
            is_one_connection = is_sqlite and _sqlite.is_in_memory(self.url)
            self.concurrency = 1 if is_one_connection else _READERS
            """How many may read at once."""
            self.patience = _sqlite.timeout(self.url)
            """Seconds that are waited for a lock and for a connection, and on PostgreSQL for an answer."""
            self.engine = create_async_engine(
                self.url,
                hide_parameters=True,
                poolclass=AsyncAdaptedQueuePool,
                pool_size=1 if is_one_connection else _READERS + 1,
                max_overflow=0,
                pool_timeout=self.patience,
                connect_args=self._connect_args(),
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
        self._reader, self._writer = self.engine, self.engine.execution_options(**{_sqlite.WRITES: True})
        if self.backend == "postgresql":
            self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._writer = self.engine.execution_options(isolation_level="READ COMMITTED")
        if self.driver == "asyncpg":
            _postgres.give_up_in_time(self.engine.sync_engine, self.patience)
        self._open_places()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._process = os.getpid()

    def _connect_args(self) -> dict[str, Any]:
        """Return what the driver is told of each connection."""
        if self.backend == "sqlite":
            return _sqlite.connect_args(self.url)
        if self.driver == "asyncpg":
            from keyguard.stores._asyncpg import FAILURES, LoopConnection  # noqa: PLC0415 It comes with an extra.

            self._failures += FAILURES  # SQLAlchemy 2.0 passes them on as they are, where a connection cannot be made.
            return {"timeout": self.patience, "connection_class": LoopConnection}
        return {}

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

    async def read(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Return the rows that one statement selects, as they are now."""
        rows = await self._finish(self._read(statement, parameters), stay=True)
        if self.file is not None:
            self.file.stands_still = False
        return rows

    async def inspect(self, look: Callable[[Connection], _T]) -> _T:
        """Return what `look` returns; it reads with several statements, outside of a transaction."""
        return await self._finish(self._inspect(look), stay=True)

    async def change(self, change: Callable[[Connection], _T], *, alone: bool = False) -> _T:
        """Return what `change` returns, when all that it did is durable; if it raises, nothing of it is done.

        A change of the tables is made `alone`: while no other one is under way, in whatever process; and on PostgreSQL
        it may take any time.
        """
        return await self._finish(self._change(change, alone=alone))

    async def close(self) -> None:
        """Close all connections, when the calls that are under way have ended."""
        await self._dispose()
        if self.file is not None:
            self.file.forget()

    async def _dispose(self) -> None:
        if here := {task for task in list(self._under_way) if is_under_way_here(task)}:
            await asyncio.wait(here)
        await self.engine.dispose()

    async def _read(self, statement: Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
        async def attempt() -> Sequence[Row[Any]]:
            async with self._reader.connect() as connection:
                rows: Sequence[Row[Any]] = (await connection.execute(statement, parameters)).all()
                return rows

        async with self._in(self._reading):
            return await self._twice(attempt)

    async def _inspect(self, look: Callable[[Connection], _T]) -> _T:
        async def attempt() -> _T:
            async with self._reader.connect() as connection:
                return await connection.run_sync(look)

        async with self._in(self._reading):
            return await self._twice(attempt)

    async def _change(self, change: Callable[[Connection], _T], *, alone: bool) -> _T:
        async def attempt() -> tuple[AsyncExitStack, AsyncConnection]:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self._writer.begin())
                if self.backend == "postgresql":
                    await connection.run_sync(_postgres.begin, None if alone else self.patience)
                return stack.pop_all(), connection

        async with self._in(self._writing):
            stack, connection = await self._twice(attempt)
            async with stack:
                return await connection.run_sync(change)

    async def _twice(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Try again what has changed nothing, if its connection turns out to have been lost while it was not used.

        A server that was started anew has ended them all, and SQLAlchemy replaces them all then. One that does not
        answer has been waited for long enough.
        """
        began = asyncio.get_running_loop().time()
        try:
            return await attempt()
        except DBAPIError as error:
            was_at_once = asyncio.get_running_loop().time() - began < self.patience
            if not (was_at_once and _postgres.is_worth_another_try(error)):
                raise
        return await attempt()

    @asynccontextmanager
    async def _in(self, places: Places) -> AsyncGenerator[None]:
        """Wait for one of `places`, no longer than for a lock."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.patience):
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
        with _failures(self._failures):
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
def _failures(unreachable: tuple[type[Exception], ...]) -> Generator[None]:
    """Turn all ways in which a database can fail to answer into `StoreUnavailable`, which shows no parameters."""
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the database cannot answer now: {_postgres.describe(error.orig or error)}") from None
    except unreachable as error:
        what = _postgres.describe(error) or type(error).__name__
        raise StoreUnavailable(f"the database cannot be reached now: {what}") from None
