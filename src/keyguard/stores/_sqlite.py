"""What is SQLite's own: how a connection is prepared, and how a transaction begins.

The driver begins no transaction by itself: a read is one statement, which sees all that was committed before it and
holds nothing afterwards; a write begins with ``BEGIN IMMEDIATE``, so that it waits for its turn at the start and is not
turned away in the middle.

The database file is never opened by hand: closing it would drop the locks that SQLite holds for this process
(https://www.sqlite.org/howtocorrupt.html §2.2).
"""

from typing import Any

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

from keyguard.errors import StartRefused

__all__ = ["BUSY_TIMEOUT", "WRITES", "connect_args", "is_in_memory", "prepare", "timeout"]

BUSY_TIMEOUT = 5.0
"""Seconds that are waited for a lock or a connection, unless the URL says otherwise (``?timeout=``)."""

WRITES = "keyguard_writes"
"""The execution option of a connection whose transactions write."""


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
