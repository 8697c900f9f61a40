"""What is SQLite's own: how a connection is prepared, and how a transaction begins.

The driver begins no transaction by itself: a read is one statement, which sees all that was committed before it and
holds nothing afterwards; a write begins with ``BEGIN IMMEDIATE``, so that it waits for its turn at the start and is not
turned away in the middle.

The database file is never opened by hand: closing it would drop the locks that SQLite holds for this process
(https://www.sqlite.org/howtocorrupt.html §2.2).
"""

import os
import sqlite3
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

from keyguard.errors import StartRefused, StoreUnavailable

__all__ = [
    "BUSY_TIMEOUT",
    "WRITES",
    "File",
    "connect_args",
    "is_in_memory",
    "leave_to_parent",
    "on_fork",
    "prepare",
    "timeout",
]

BUSY_TIMEOUT = 5.0
"""Seconds that are waited for a lock or a connection, unless the URL says otherwise (``?timeout=``)."""

WRITES = "keyguard_writes"
"""The execution option of a connection whose transactions write."""


_Identity = tuple[int, int]


def _identity(path: str) -> _Identity | None:
    """Return the device and the inode of the file at `path`, None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 With each read, and in a third of the time.
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Inheritor(Protocol):
    """What a fork hands on to a child, where it can only be left alone."""

    def leave_to_parent(self) -> None:
        """Let go of what is the parent's."""
        ...


_inheritors: WeakSet[Inheritor] = WeakSet()
_left_to_parents: list[sqlite3.Connection | None] = []


def on_fork(inheritor: Inheritor) -> None:
    """Have a child that is forked let go of its parent's connection."""
    _inheritors.add(inheritor)


def leave_to_parent(connection: sqlite3.Connection | None) -> None:
    """Drop a connection that was inherited by a fork, without closing it: that would drop the parent's locks."""
    _left_to_parents.append(connection)


def _forked() -> None:
    for inheritor in list(_inheritors):
        inheritor.leave_to_parent()


with suppress(AttributeError):  # On Windows, where nothing forks.
    os.register_at_fork(after_in_child=_forked)


class File:
    """The file of a database, which another one may take the place of.

    As long as a connection holds a file open no other file gets its device and inode. What stands at the path is noted
    before the first connection is made: if that leads to another file already, the difference shows.

    SQLite takes whatever log stands beside a file for that file's, and would mix the two. So the log is noted too.

    A connection that waits for nothing has one case in which SQLite waits all the same: while others hold every place
    among the readers, which they do for microseconds, it tries again for some ten seconds and gives up with
    SQLITE_PROTOCOL. Where that happened on an event loop, it must not happen again: `stands_still` is set, and nothing
    is read on a loop until the pool, in a thread, has read something.
    """

    def __init__(self, engine: Engine) -> None:
        (self._name,), arguments = engine.dialect.create_connect_args(engine.url)
        self._is_uri = bool(arguments.get("uri"))
        self._path = unquote(urlsplit(self._name).path) if self._is_uri else self._name
        self._log = f"{self._path}-wal"
        self._noted: _Identity | None = None
        self._noted_log: _Identity | None = None
        self.stands_still: bool = False

    def note_failure(self, error: sqlite3.Error) -> None:
        """Take notice of what a read on an event loop has raised."""
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_PROTOCOL:
            self.stands_still = True

    def note(self) -> None:
        """Note which file is there now, before it is connected to.

        Raises `StoreUnavailable` if one was noted, and none is there any more, or another one beside the old one's log.
        """
        now = _identity(self._path)
        if self._noted is not None and now is None:
            raise StoreUnavailable("the database's file is not there any more")
        if self._noted is not None and now != self._noted and self._noted_log == _identity(self._log) is not None:
            raise StoreUnavailable(
                "another file was put in the place of the database, beside the write-ahead log of the old one, which "
                f"SQLite would take for its own: remove {self._log} and {self._path}-shm"
            )
        self._noted = now

    def note_log(self) -> None:
        """Note which log there is, after it was connected to: it stays as long as there are connections."""
        self._noted_log = _identity(self._log)

    def forget(self) -> None:
        """Note nothing."""
        self._noted = self._noted_log = None

    def is_another(self) -> bool:
        """Tell whether another file is there than the one that was noted, or none."""
        return _identity(self._path) != self._noted

    def connect(self) -> sqlite3.Connection:
        """Return a connection, for any thread, that only reads and waits for nothing. Raises `sqlite3.Error`."""
        return sqlite3.connect(self._uri(), uri=True, timeout=0, isolation_level=None, check_same_thread=False)

    def _uri(self) -> str:
        if not self._is_uri:
            authority = "//" if self._path.startswith("//") else ""  # An empty one, before which none is taken from it.
            return f"file:{authority}{quote(self._path)}?mode=ro"
        place, _, query = self._name.partition("#")[0].partition("?")
        others = [each for each in query.split("&") if each and not each.startswith("mode=")]
        return f"{place}?{'&'.join([*others, 'mode=ro'])}"


def is_in_memory(url: URL) -> bool:
    """Tell whether the database lives in its one connection, and ends with it."""
    return url.database in {None, "", ":memory:"}


def connect_args(url: URL) -> dict[str, Any]:
    """Return what the driver is told of each connection."""
    return {"isolation_level": None, "timeout": timeout(url)}


def timeout(url: URL) -> float:
    """Return how many seconds a statement waits for a lock, and a call for a connection."""
    return float(str(url.query.get("timeout", BUSY_TIMEOUT)))


def prepare(engine: Engine) -> None:
    """Have each of the engine's connections set up when it is made, and its writing transactions begun at once."""

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 SQLAlchemy's signature.
        try:
            cursor = connection.cursor()
            if not is_in_memory(engine.url):
                _require_wal(cursor, engine.dialect.loaded_dbapi.OperationalError)
            cursor.execute("PRAGMA synchronous=FULL")  # A revocation that a power cut undoes was none.
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()
        except BaseException:
            connection.close()  # SQLAlchemy 2.0 would leave it, and its thread, behind.
            raise

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin)


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _require_wal(cursor: DBAPICursor, error: type[Exception]) -> None:
    """Have write-ahead logging, in which readers and the one writer do not wait for each other."""
    mode = _ask(cursor, "PRAGMA journal_mode")
    if mode != "wal" and (mode := _switch_to_wal(cursor, error)) != "wal":
        raise StartRefused(
            f"Keyguard needs SQLite's write-ahead log, and this database stays in the journal mode {mode!r}: keep it "
            "in a file on a local disk (sqlite+aiosqlite:///path), or wholly in memory (sqlite+aiosqlite://)"
        )


def _switch_to_wal(cursor: DBAPICursor, error: type[Exception], attempts: int = 3) -> str:
    """Return the journal mode after the switch.

    Of several processes that switch at once SQLite turns all but one away without letting them wait. To begin a
    transaction does wait until the one is done.
    """
    try:
        return _ask(cursor, "PRAGMA journal_mode=WAL")
    except error:
        if attempts == 1:
            raise
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
        return _switch_to_wal(cursor, error, attempts - 1)


def _ask(cursor: DBAPICursor, pragma: str) -> str:
    cursor.execute(pragma)
    (answer,) = cursor.fetchall()
    return str(answer[0])
