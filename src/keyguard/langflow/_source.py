"""Reading a Langflow database: nothing in it is changed, and all is read as it was at one moment.

What is there is looked at table by table and row by row. Releases differ in their columns, and a database that was
upgraded has rows of all the releases that it has seen.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote

import aiosqlite
from sqlalchemy import URL, ColumnClause, Connection, column, inspect, make_url, select, table
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from keyguard.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from keyguard.langflow._rows import KEYS, USERS, VARIABLES, Rows, Source, Table
from keyguard.stores._postgres import describe

__all__ = ["read"]

_Row = TypeVar("_Row")


async def read(url: str | URL) -> Source:
    """Return what a Langflow database holds, as it is at one moment.

    Raises `ConfigurationError` if the URL is none of a file of SQLite or of PostgreSQL, `SchemaMismatch` if it leads to
    no Langflow database, and `StoreUnavailable` if that cannot be read now.
    """
    place = _place_of(url)
    return await (_read_file(place) if isinstance(place, Path) else _read_server(place))


def _place_of(url: str | URL) -> Path | URL:
    """Return the file that a URL leads to, or itself if it leads to a server."""
    with suppress(ArgumentError, ValueError):  # Their messages may quote a password.
        chosen = make_url(url.replace("postgres://", "postgresql://", 1) if isinstance(url, str) else url)
        backend, database = chosen.get_backend_name(), chosen.database or ":memory:"
        if backend == "postgresql":
            return chosen
        if backend == "sqlite" and not database.startswith((":memory:", "file:")):
            return Path(database).expanduser().resolve()
    raise ConfigurationError(
        "a Langflow database is given by its URL, such as 'sqlite:////srv/langflow/langflow.db' or "
        "'postgresql://user:password@host/langflow'"
    )


# --- SQLite -----------------------------------------------------------------------------------------------------


async def _read_file(path: Path) -> Source:
    """Read a database of SQLite, and leave neither a change nor a file behind.

    SQLite makes the files of a write-ahead log even for a connection that only reads, and such a one does not remove
    them. Where nobody has anything under way the database is read as a file that does not change, and looked at
    afterwards: if it has changed meanwhile, it is read again as one that somebody else writes to. That needs no file
    that is not there. A log that was left without its index, as by a copy, is read in a copy.
    """
    if not await asyncio.to_thread(path.is_file):
        raise StoreUnavailable(f"there is no Langflow database at {path}")
    before = _state_of(path)
    if before.is_quiet:
        source = await _read_sqlite(path, "mode=ro&immutable=1")
    elif before.has_log_alone:
        source = await _read_copy(path)
    else:
        return await _read_sqlite(path, "mode=ro")
    return source if _state_of(path) == before else await _read_sqlite(path, "mode=ro")


async def _read_copy(path: Path) -> Source:
    with TemporaryDirectory(prefix="keyguard-") as folder:  # Open to nobody else.
        for file in (path, _beside(path, "-wal")):
            await asyncio.to_thread(shutil.copyfile, file, Path(folder, file.name))
        return await _read_sqlite(Path(folder, path.name), "mode=ro")


@dataclass(frozen=True, slots=True)
class _State:
    """What tells whether a file of SQLite has changed: which file it is, its size and time, and what is beside it."""

    file: tuple[int, ...]
    log: tuple[int, ...]
    index: bool
    journal: bool

    @property
    def is_quiet(self) -> bool:
        """Tell whether all that is committed stands in the file itself, and nothing is under way."""
        return not self.journal and not any(self.log[:1])

    @property
    def has_log_alone(self) -> bool:
        """Tell whether there is a log that nobody has open."""
        return any(self.log[:1]) and not self.index


def _state_of(path: Path) -> _State:
    return _State(
        _stamp(path), _stamp(_beside(path, "-wal")), _beside(path, "-shm").exists(), _beside(path, "-journal").exists()
    )


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


async def _read_sqlite(path: Path, options: str) -> Source:
    async def connect() -> aiosqlite.Connection:
        connection = await aiosqlite.connect(
            f"file://{quote(os.fspath(path))}?{options}", uri=True, isolation_level=None, timeout=5
        )
        # What is no UTF-8 makes a row unreadable, and no error that quotes it.
        connection.text_factory = _text_of
        return connection

    engine = _silent_engine("sqlite+aiosqlite://", async_creator=connect)
    return await _in_one_transaction(engine, "BEGIN", (sqlite3.Error, OSError))


def _text_of(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


# --- PostgreSQL -------------------------------------------------------------------------------------------------


async def _read_server(url: URL) -> Source:
    from keyguard.stores._asyncpg import FAILURES  # noqa: PLC0415 It comes with an extra.

    query = dict(url.query)
    if "sslmode" in query:  # As the drivers call it that Langflow uses.
        query["ssl"] = query.pop("sslmode")
    if unknown := query.keys() - {"ssl", "host", "port"}:
        raise ConfigurationError(f"the option {min(unknown)!r} in the URL of the Langflow database is not known here")
    engine = _silent_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        isolation_level="REPEATABLE READ",
        connect_args={"timeout": 10},
    ).execution_options(postgresql_readonly=True)
    return await _in_one_transaction(engine, "", FAILURES)


# --- either -----------------------------------------------------------------------------------------------------


def _silent_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """Return an engine that logs nothing: at DEBUG it would write each row, and here rows hold keys."""
    logging.getLogger("sqlalchemy.engine.Engine.keyguard.langflow").setLevel(logging.CRITICAL)
    return create_async_engine(url, poolclass=NullPool, logging_name="keyguard.langflow", **options)


async def _in_one_transaction(engine: AsyncEngine, begin: str, failures: tuple[type[Exception], ...]) -> Source:
    try:
        async with engine.connect() as connection:
            if begin:
                await connection.exec_driver_sql(begin)
            return await connection.run_sync(_read)
    except DBAPIError as error:
        problem = describe(error.orig or error)
    except failures as error:
        problem = describe(error) or type(error).__name__
    raise StoreUnavailable(f"the Langflow database cannot be read now: {problem}")


def _read(connection: Connection) -> Source:
    there = inspect(connection)
    tables = set(there.get_table_names())
    columns = {
        each.name: {column["name"] for column in there.get_columns(each.name)}
        for each in (USERS, KEYS, VARIABLES)
        if each.name in tables
    }
    for needed in (USERS, KEYS):
        if needed.name not in columns:
            raise SchemaMismatch(f"this is no Langflow database: it has no table {needed.name!r}")
    return Source(
        users=_rows(connection, USERS, columns),
        keys=_rows(connection, KEYS, columns),
        variables=_rows(connection, VARIABLES, columns) if VARIABLES.name in columns else Rows(),
    )


def _rows(connection: Connection, wanted: Table[_Row], columns: Mapping[str, AbstractSet[str]]) -> Rows[_Row]:
    there = columns[wanted.name]
    if missing := wanted.needed - there:
        raise SchemaMismatch(f"this is no Langflow database: its table {wanted.name!r} has no column {min(missing)!r}")
    # Without types, so that each value comes as the driver gives it.
    names = sorted((wanted.needed | wanted.others) & there)
    chosen: list[ColumnClause[Any]] = [column(name) for name in names]
    rows = connection.execute(select(*chosen).select_from(table(wanted.name)))
    return wanted.read(dict(zip(names, row, strict=True)) for row in rows)
