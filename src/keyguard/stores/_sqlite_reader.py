"""How a key is read from a SQLite file: on the event loop itself, over a connection of its own.

That takes a small part of what the way through a driver's thread takes (``docs/decisions/0014``). The connection only
reads, and waits for nothing; where it cannot answer at once, the pool is asked instead. Its one statement is fetched to
its end: otherwise it would go on seeing the database as it was when it began.
"""

import sqlite3
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Dialect, Select

from keyguard.model import Found
from keyguard.stores._rows import found_in
from keyguard.stores._sqlite import File, leave_to_parent, on_fork

__all__ = ["Busy", "KeyReader"]


class Busy(Exception):
    """The answer cannot be had at once."""


class KeyReader:
    """Executes `statement`, which selects a key with its owner by the parameter ``lookups``."""

    def __init__(self, file: File, statement: Select[Any], dialect: Dialect) -> None:
        self._file = file
        self._statement = statement
        self._dialect = dialect
        columns = list(statement.selected_columns)
        self._names = [column.name for column in columns]
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._processors = [(place, process) for place, process in enumerate(processors) if process is not None]
        self._texts: dict[int, str] = {}
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        on_fork(self)

    def find(self, lookups: Sequence[str]) -> Found | None:
        """Return the key whose lookup is among `lookups`. Raises `Busy`."""
        if self._file.stands_still or not self._lock.acquire(blocking=False):  # Another loop's thread has it.
            raise Busy
        try:
            if self._connection is None:
                raise Busy
            rows = self._connection.execute(self._text(len(lookups)), lookups).fetchall()
        except sqlite3.Error as error:
            self._file.note_failure(error)
            raise Busy from None
        finally:
            self._lock.release()
        if not rows:
            return None
        values = list(rows[0])
        for place, process in self._processors:
            values[place] = process(values[place])
        return found_in(SimpleNamespace(**dict(zip(self._names, values, strict=True))))

    def open(self) -> None:
        """Connect to the file; where that cannot be, everything is `Busy`."""
        try:
            self._connection = self._file.connect()
        except sqlite3.Error:
            self._connection = None

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def leave_to_parent(self) -> None:
        """Let go of the connection, which was inherited by a fork."""
        leave_to_parent(self._connection)
        self._connection = None
        self._lock = threading.Lock()  # Another thread may have held it when the process was forked.

    def _text(self, count: int) -> str:
        """Return the statement for so many lookups, of which there are never more than a few."""
        if count not in self._texts:
            statement = self._statement.params(lookups=[""] * count)
            compiled = statement.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
            self._texts[count] = str(compiled)
        return self._texts[count]
