"""What vouches for a SQLite file: its revision, read over a connection of its own, without a thread or a loop.

The connection only reads, waits for nothing, and is used for nothing else. A statement that is not fetched to its end
would go on seeing the database as it was when it began, so each answer is fetched whole. What cannot be read at once
vouches for nothing.

Once a second it is looked at what the revision rests on: that the file at its path still is the one that is open, and
that all triggers are there.
"""

import math
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from keyguard.stores._database import Database
from keyguard.stores._sqlite import File, leave_to_parent, on_fork
from keyguard.stores._triggers import REVISION_QUERY, Triggers, warn_of_missing

__all__ = ["SQLiteRevision"]

_T = TypeVar("_T")

_LOOK_EACH = 1.0
"""Seconds."""


class SQLiteRevision:
    """A `keyguard.stores._vouchers.Voucher` over a file of SQLite's.

    A token is a number of this process's own. It moves whenever the revision is another one than the last time, and
    with each opening and each change of the schema, so that a database that was restored or replaced never looks like
    the one before it.
    """

    is_exact = True

    def __init__(
        self, database: Database, file: File, triggers: Triggers, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._file = file
        self._triggers = triggers
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._trusted: sqlite3.Cursor | None = None
        """Over which the revision is read; None while it is worth nothing."""
        self._look_at = math.inf
        self._schema: int | None = None
        self._missing: Sequence[str] = []
        self._revision: int | None = None
        self._token = 0
        on_fork(self)

    def token(self) -> int | None:
        """Return a number that moves with every change. Takes microseconds; None where the database is busy."""
        with self._lock:
            if self._monotonic() >= self._look_at:
                self._look()
            if self._trusted is None:
                return None
            try:
                ((revision,),) = self._trusted.execute(REVISION_QUERY).fetchall()
            except ValueError:  # The row is not there.
                return None
            except sqlite3.Error as error:
                self._distrust(error)
                return None
            if revision != self._revision:
                self._revision = revision
                self._token += 1
            return self._token

    async def open(self, missing: Sequence[str]) -> None:
        """Begin to vouch for the file that the database has open."""
        with self._lock:
            self._close()
            try:
                self._connection = self._file.connect()
            except sqlite3.Error:
                return
            self._token += 1
            self._missing = missing
            self._look_at = -math.inf

    async def change(self, change: Callable[[Connection], _T]) -> _T:
        """Make a change; its commit is all that it takes for every process to see it."""
        return await self._database.change(change)

    async def aclose(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _look(self) -> None:
        """See whether the revision can be trusted; where that cannot be seen now, the next token looks again."""
        self._trusted = None
        if self._connection is None or self._file.stands_still or self._file.is_another():
            return
        cursor = self._connection.cursor()
        try:
            ((schema,),) = cursor.execute("PRAGMA schema_version").fetchall()
            if schema != self._schema:
                missing = self._triggers.missing(lambda query: cursor.execute(query).fetchall())
                if missing and missing != self._missing:
                    warn_of_missing(missing)
                self._missing, self._schema = missing, schema
                self._token += 1
        except sqlite3.Error as error:
            self._distrust(error)
            return
        self._look_at = self._monotonic() + _LOOK_EACH
        if not self._missing:
            self._trusted = cursor

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._trusted = self._schema = None
        self._look_at = math.inf

    def _distrust(self, error: sqlite3.Error) -> None:
        self._file.note_failure(error)
        self._trusted, self._look_at = None, -math.inf

    def leave_to_parent(self) -> None:
        """Let go of the connection, which was inherited by a fork."""
        leave_to_parent(self._connection)
        self._connection = None
        self._lock = threading.Lock()  # Another thread may have held it when the process was forked.
        self._close()
