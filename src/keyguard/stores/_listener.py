"""What vouches for a database of PostgreSQL's: a lease, kept over a connection of its own that listens.

**How it goes.** A third of a lease after the last time, the listener

1. notes the time and writes its row into `keyguard_listener`: it trusts what it has read until a lease from then on;
2. when that is committed, reads the revision, and whether all triggers are there. The token moves if the revision is
   another one. Now the lease lasts until the noted time and a lease;
3. writes the revision's number into its row, unless it stands there: that is the acknowledgement.

When it is notified it moves the token at once, and does 2 and 3 again. The number that comes with a notification is
not relied on, because whoever can connect can send any.

A writer reads which number the revision has at the end of its transaction, commits, and then waits until no row has a
smaller number, but for rows that ran out (and a margin) ago, and for a lease and the margin at most. It does so also if
it found nothing left to change: whoever has made that change may still be waiting, or may have been given up.

**Why a request sees the change** that begins after the writer's call has returned: let it find a lease that lasts. The
revision was read in step 2 of that lease either after the commit or before it. If after, the token has moved since the
commit, at the latest there. If before, step 1 was committed before as well, so the writer saw a row that had not run
out, nor had it when the call returned, since the lease lasts still. So the row had the number, or a larger one; and
that was written after the token had moved for it. In each case nothing that was read before the commit is used, because
it was read under another token. It takes no notification for that: they make it quick. And it takes no common time: a
lease is counted on the worker's own clock, from before the row was sent, and the row's end on the server's clock, from
after it arrived.

A change in SQL waits for nobody. It is seen with the notification, or else with the next reading, before the lease that
lasts has run out.
"""

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, make_url, text
from sqlalchemy import Connection as SQLConnection
from sqlalchemy.exc import ArgumentError

from keyguard.errors import ConfigurationError
from keyguard.loops import is_under_way_here
from keyguard.stores import _postgres
from keyguard.stores._database import Database
from keyguard.stores._lease import Lease
from keyguard.stores._triggers import CHANNEL, REVISION_QUERY, Triggers

__all__ = ["Listener", "PostgresRevision", "connector", "seconds"]

_T = TypeVar("_T")

_log = logging.getLogger("keyguard")

_RENEW = """
INSERT INTO keyguard_listener (id, revision, expires_at)
VALUES ($1, -1, clock_timestamp() + $2 * interval '1 second')
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
RETURNING revision
"""

_ACKNOWLEDGE = "UPDATE keyguard_listener SET revision = $2 WHERE id = $1"

_LEAVE = "DELETE FROM keyguard_listener WHERE id = $1"

_REMOVE_DEAD = "DELETE FROM keyguard_listener WHERE expires_at < clock_timestamp() - interval '60 seconds'"

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")

_PAUSES = (0.05, 1.0)
"""Seconds before a lost connection is made again: at first, and at most."""

_TIME_TO_HEAR = 5.0
"""Seconds within which a notification arrives, on the busiest machine."""

_PAUSE_OF_THE_DEAF = 30.0
"""Seconds before it is tried again whether notifications arrive."""

_left_to_parents: list[object] = []
"""Listeners that were inherited by a fork."""


class Deaf(Exception):
    """What is notified does not arrive."""


class Connection(Protocol):
    """What is used of an `asyncpg.Connection`."""

    async def execute(self, query: str, *args: object) -> str:
        """Execute a statement."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Any:  # noqa: ANN401 A record, or None.
        """Return the first row."""
        ...

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Have each notification on a channel told to `callback`: connection, process, channel, payload."""
        ...

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        """Have the end of the connection told to `callback`."""
        ...

    def terminate(self) -> None:
        """Close the connection at once, whatever it is doing."""
        ...


def _parsed(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername.startswith("postgres"):
            return parsed.set(drivername="postgresql+asyncpg")
    except (ArgumentError, ValueError):  # Their messages may quote a password.
        pass
    raise ConfigurationError("listen_url is the URL of a PostgreSQL database")


Connect = Callable[[], Awaitable[Connection]]
"""Makes a connection that listens."""


def connector(database: Database, url: str | URL | None) -> Connect | None:
    """Return what connects to `url`, or else where the database is; None if its driver is not asyncpg.

    Raises `ConfigurationError` if `url` is no URL of PostgreSQL's.
    """
    listened = database.url if url is None else _parsed(url)
    if database.driver != "asyncpg":
        return None
    from keyguard.stores._asyncpg import connect  # noqa: PLC0415 It comes with an extra.

    _, arguments = database.engine.dialect.create_connect_args(listened)
    return lambda: connect(arguments, database.patience)


seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""A time that only grows, on Linux also while the machine sleeps: after a long sleep no lease must be trusted."""


class Listener:
    """Keeps a lease, for as long as `run` is run.

    Args:
        connect: makes a connection to the database that is listened to.
        notify: has the database notify of a text, over another connection: that of those who write.
        triggers: those that must be there.
        lease: what the token goes on from.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        connect: Connect,
        notify: Callable[[str], Awaitable[object]],
        triggers: Triggers,
        *,
        lease: Lease = Lease(),  # noqa: B008 A frozen value is safe to share.
        clock: Callable[[], float] = seconds,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.lease = lease
        self._connect = connect
        self._notify = notify
        self._look = f"SELECT n, {triggers.all_there} AS counts FROM keyguard_revision WHERE id = 1"  # noqa: S608 Our own.
        self._clock = clock
        self._acknowledged: int | None = None
        self._stirred = asyncio.Event()
        self._hears = asyncio.Event()
        self._warned = ""

    async def run(self) -> None:
        """Keep the lease until the task is cancelled; whatever fails ends the lease, and is tried again."""
        first, longest = _PAUSES
        pause = first
        while True:
            before = self.lease
            try:
                await self._listen()
            except Deaf:
                self._warn(
                    "what the store notifies of does not reach the connection that listens: give SQLStore a listen_url "
                    "that leads to the same database directly, past any pooler"
                )
                pause = _PAUSE_OF_THE_DEAF
            except Exception as error:  # noqa: BLE001 Whatever it is, the next attempt may do without it.
                self._warn(f"the connection that listens is lost: {_postgres.describe(error) or type(error).__name__}")
                pause = first if self.lease.moves != before.moves else min(2 * pause, longest)
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        connection = await self._connect()
        try:
            connection.add_termination_listener(self._ended)
            await self._in_time(connection.add_listener(CHANNEL, self._notified))
            await self._try_to_hear()
            await self._in_time(connection.execute(_REMOVE_DEAD))
            while True:
                await self._keep(connection)
        except asyncio.CancelledError:
            self.lease = self.lease.ended()
            with suppress(Exception):  # Where the row cannot be removed it runs out.
                await self._in_time(connection.execute(_LEAVE, self.id))
            raise
        finally:
            self.lease = self.lease.ended()
            connection.terminate()

    async def _try_to_hear(self) -> None:
        """See whether what writers notify of arrives. Raises `Deaf`."""
        self._hears.clear()
        await self._notify(self.id)
        try:
            async with asyncio.timeout(_TIME_TO_HEAR):
                await self._hears.wait()
        except TimeoutError:
            raise Deaf from None

    async def _keep(self, connection: Connection) -> None:
        """Renew the lease, and acknowledge what comes until a third of it is over."""
        sent = await self._renew(connection)
        while (left := sent + self.lease.seconds / 3 - self._clock()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._stirred.wait()
            except TimeoutError:
                return
            self._stirred.clear()
            await self._read(connection)

    async def _renew(self, connection: Connection) -> float:
        """Renew the lease; return when that was."""
        sent = self._clock()
        row = await self._in_time(connection.fetchrow(_RENEW, self.id, self.lease.seconds))
        self._acknowledged = row["revision"]
        row = await self._in_time(connection.fetchrow(self._look))
        if row is None or not row["counts"]:
            self.lease = self.lease.ended()
            self._warn("triggers of Keyguard's are missing or disabled in the database: each check reads its row")
            return sent
        self.lease = self.lease.granted(sent, row["n"])
        self._warned = ""
        await self._acknowledge(connection)
        return sent

    async def _read(self, connection: Connection) -> None:
        """See what the revision is now."""
        row = await self._in_time(connection.fetchrow(REVISION_QUERY))
        if row is not None:
            self.lease = self.lease.read(row["n"])
            await self._acknowledge(connection)

    async def _acknowledge(self, connection: Connection) -> None:
        """Tell the writers for which revision the token has moved."""
        revision = self.lease.revision
        if revision != self._acknowledged:
            await self._in_time(connection.execute(_ACKNOWLEDGE, self.id, revision))
            self._acknowledged = revision

    def _notified(self, connection: object, process: int, channel: str, payload: str) -> None:  # noqa: ARG002 asyncpg's signature.
        if payload == self.id:
            self._hears.set()
        elif payload.isdecimal():
            # A number that is known already may be another one: the revision was set back, and has come there again.
            self.lease = self.lease.stirred()
            self._stirred.set()

    def _ended(self, connection: object) -> None:  # noqa: ARG002 asyncpg's signature.
        self.lease = self.lease.ended()
        # Nobody waits for it any longer: to ask over a connection that has ended fails at once.
        self._stirred.set()
        self._hears.set()

    async def _in_time(self, answer: Awaitable[_T]) -> _T:
        """Wait for an answer no longer than for a lease: later it would be worth nothing."""
        async with asyncio.timeout(self.lease.seconds):
            return await answer

    def _warn(self, sentence: str) -> None:
        """Say something once, until a lease was granted again."""
        if sentence != self._warned:
            self._warned = sentence
            _log.warning("%s", sentence)


class PostgresRevision:
    """A `keyguard.stores._vouchers.Voucher` over a database of PostgreSQL's.

    Only who asks for a token listens: from the first one on, in the event loop where it is asked for. When that loop
    does not run any more, the next token begins anew in the loop that there is then.

    Args:
        database: the one that is written to.
        connect: makes a connection that listens; None where there is no driver for it.
        triggers: those that must be there.
        clock: seconds that only grow.
    """

    is_exact = False

    def __init__(
        self,
        database: Database,
        connect: Connect | None,
        triggers: Triggers,
        *,
        clock: Callable[[], float] = seconds,
    ) -> None:
        self._database = database
        self._connect = connect
        self._triggers = triggers
        self._clock = clock
        self._is_open = False
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None

    def token(self) -> int | None:
        """Return a number that moves with every change, while the lease lasts; without one, begin to listen."""
        if not self._is_open:
            return None
        if self._process != os.getpid():
            self._leave_to_parent()
        listener = self._listener
        token = None if listener is None else listener.lease.token(self._clock())
        if token is None:
            self._listen()
        return token

    async def open(self, missing: Sequence[str]) -> None:  # noqa: ARG002 It sees for itself, again and again.
        """Let the next token begin to listen."""
        self._is_open = True

    async def change(self, change: Callable[[SQLConnection], _T]) -> _T:
        """Make a change; return when everybody has heard of it who trusts what was read before.

        That goes for a change that turns out to have been made already, too: nobody need have heard of it yet.
        """

        def numbered(connection: SQLConnection) -> tuple[_T, int | None]:
            return change(connection), _postgres.present_revision(connection)

        result, revision = await self._database.change(numbered)
        if revision is not None:
            await _postgres.wait_until_heard(self._database.read, revision)
        return result

    async def aclose(self) -> None:
        """End the lease, remove its row, and close the connection."""
        self._is_open = False
        if self._process != os.getpid():
            self._leave_to_parent()
        task, self._task = self._task, None
        if task is None:
            return
        if is_under_way_here(task):
            task.cancel()
            await asyncio.wait([task])
        else:
            _cancel(task)

    def _listen(self) -> None:
        """Begin to listen in this event loop, unless somebody does so in one that runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        with self._lock:
            task, before = self._task, self._listener
            if self._connect is None or (task is not None and not task.done() and task.get_loop().is_running()):
                return
            if task is not None:
                _cancel(task)
            lease = Lease() if before is None else before.lease.ended()
            self._listener = Listener(self._connect, self._notify, self._triggers, lease=lease, clock=self._clock)
            self._task = loop.create_task(self._listener.run())

    def _leave_to_parent(self) -> None:
        """After a fork: listen anew, with tokens that go on, because what is remembered was inherited as well."""
        _left_to_parents.append((self._listener, self._task))
        if self._listener is not None:
            self._listener.lease = self._listener.lease.ended()
        self._process = os.getpid()
        self._lock = threading.Lock()  # Another thread may have held it when the process was forked.
        self._task = None

    async def _notify(self, payload: str) -> None:
        await self._database.read(_NOTIFY, {"channel": CHANNEL, "payload": payload})


def _cancel(task: asyncio.Task[None]) -> None:
    """End a task of another loop, if that still runs or will run again."""
    with suppress(RuntimeError):  # It is closed.
        task.get_loop().call_soon_threadsafe(task.cancel)
