"""How soon a revocation is felt in other processes: `python -m benchmarks.effect`.

Some worker processes, each with a KeyGuard and an engine of its own on the same database, check one good key without a
pause, so that all of them have it in their caches. Then the key is revoked: by `lifecycle.revoke` in this process, or
by an UPDATE behind the library's back. Each worker says when the last request began that it let pass. All processes
read the same monotonic clock.
"""

import asyncio
import json
import logging
import math
import os
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL, make_url

from benchmarks.contestants import BAD, GOOD, bare_app
from benchmarks.report import Section, Verdict, duration, run_alone
from benchmarks.servers import ROOT, Missing, postgres_server
from benchmarks.traffic import requests_with, status_of
from keyguard import KeyGuard, lifecycle
from keyguard.ports import KeyRegistry
from keyguard.stores.sql import SQLStore

__all__ = ["section"]

WORKERS = 2
"""As many as the machine has cores: more would measure how the system shares them out."""

PATIENCE = 30.0
"""Seconds after which a worker that still lets the key pass is given up."""

_REVOKE = "UPDATE keyguard_keys SET revoked_at = 1 WHERE id = '{id}'"


# --- in a worker ------------------------------------------------------------------------------------------------


async def work(url: str) -> None:
    """Check each key that comes on standard input until it is refused, and write when that was."""
    logging.getLogger("keyguard").setLevel(logging.CRITICAL)
    os.nice(10)  # A worker that never pauses would else keep its core from the database and from whoever revokes.
    guard = KeyGuard(bare_app(), store=SQLStore(url))
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        key = line.decode().strip()
        for _ in range(20):
            if await status_of(guard, requests_with([key])[0]) != GOOD:
                raise RuntimeError("a good key was refused")
            await asyncio.sleep(0.001)
        print("ready", flush=True)
        print(json.dumps(await _last_that_passes(guard, key)), flush=True)
    await guard.aclose()


async def _last_that_passes(guard: KeyGuard, key: str) -> float:
    """Return when the last request with this key began that was let pass."""
    last = began = time.monotonic()
    given_up = began + PATIENCE
    while began < given_up:
        began = time.monotonic()
        status = await status_of(guard, requests_with([key])[0])
        if status == BAD:
            return last
        if status == GOOD:
            last = began
        await asyncio.sleep(0)  # As between two requests of a server: what else waits in the loop comes first.
    raise RuntimeError("a revoked key is let pass")


# --- in the process that revokes --------------------------------------------------------------------------------


@dataclass(slots=True)
class Felt:
    """What was measured of one way of revoking; all in seconds."""

    took: list[float] = field(default_factory=list)
    """How long the call took."""
    passed_after: list[float] = field(default_factory=list)
    """For each worker, when the last request that passed began, counted from the call's return."""


@asynccontextmanager
async def workers(url: str, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Start the worker processes."""
    command = (sys.executable, "-m", "benchmarks.effect", "work", url)
    pipe = asyncio.subprocess.PIPE
    started = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            _stdin(process).close()
        for process in started:
            await process.wait()


def _stdin(process: asyncio.subprocess.Process) -> asyncio.StreamWriter:
    if process.stdin is None:
        raise RuntimeError("the worker has no standard input")
    return process.stdin


async def _line(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None or not (line := await process.stdout.readline()):
        raise RuntimeError("a worker has ended")
    return line.decode()


Revoke = Callable[[str], Awaitable[None]]


async def _try(store: KeyRegistry, started: Sequence[asyncio.subprocess.Process], revoke: Revoke, felt: Felt) -> None:
    """Issue a key, have all workers use it, revoke it, and add what they felt."""
    issued = await lifecycle.issue(store, "ada")
    for process in started:
        _stdin(process).write(f"{issued.key.reveal()}\n".encode())
    for process in started:
        await _line(process)
    await asyncio.sleep(random.uniform(0.01, 0.05))
    begin = time.monotonic()
    await revoke(issued.record.id)
    end = time.monotonic()
    felt.took.append(end - begin)
    for process in started:
        felt.passed_after.append(json.loads(await _line(process)) - end)


async def _behind_the_back(url: URL, stack: AsyncExitStack) -> Revoke:
    """Return what revokes a key by SQL, on a connection that the library knows nothing of."""
    if url.get_backend_name() == "sqlite":
        connection = stack.enter_context(closing(sqlite3.connect(str(url.database), isolation_level=None)))

        async def by_sqlite(key_id: str) -> None:
            connection.execute(_REVOKE.format(id=key_id))

        return by_sqlite
    asyncpg: Any = import_module("asyncpg")
    other = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    stack.push_async_callback(other.close)

    async def by_postgres(key_id: str) -> None:
        await other.execute(_REVOKE.format(id=key_id))

    return by_postgres


async def feel(url: URL, *, times: int, count: int = WORKERS) -> tuple[Felt, Felt]:
    """Return what workers on the database at `url` felt of revocations, by the library and by SQL, in turns."""
    by_library, by_sql = Felt(), Felt()
    async with AsyncExitStack() as stack:
        store = SQLStore(url)
        await store.create_schema()
        stack.push_async_callback(store.close)
        await lifecycle.add_owner(store, "ada", id="ada")
        started = await stack.enter_async_context(workers(url.render_as_string(hide_password=False), count))

        async def revoke(key_id: str) -> None:
            await lifecycle.revoke(store, key_id)

        behind = await _behind_the_back(url, stack)
        for _ in range(times):
            await _try(store, started, revoke, by_library)
            await _try(store, started, behind, by_sql)
    return by_library, by_sql


# --- the tables -------------------------------------------------------------------------------------------------


def _percentiles(seconds: list[float]) -> list[str]:
    ordered = sorted(seconds)
    return [duration(ordered[math.ceil(share * len(ordered)) - 1]) for share in (0.5, 0.99, 1.0)]


def _rows(database: str, by_library: Felt, by_sql: Felt) -> list[list[str]]:
    rows = []
    for way, felt in (("`revoke()`", by_library), ("UPDATE by SQL", by_sql)):
        late = sum(seconds > 0 for seconds in felt.passed_after)
        rows += [
            [f"{database}, {way}: it takes", *_percentiles(felt.took), ""],
            [
                f"{database}, {way}: a worker's last request that passes, from then on",
                *_percentiles(felt.passed_after),
                f"{late} of {len(felt.passed_after)}",
            ],
        ]
    return rows


def _verdict(database: str, felt: Felt) -> Verdict:
    worst = max(felt.passed_after)
    return Verdict(
        what=f"{database}: the last request that passes begins before `revoke()` returns",
        measured=f"{duration(-worst)} before" if worst <= 0 else f"{duration(worst)} after",
        wanted="before",
        is_met=worst <= 0,
    )


async def measure(server: Any, times: int) -> Section:
    """Return what was felt on SQLite, and on a PostgreSQL server if there is one."""
    rows, verdicts = [], []
    with TemporaryDirectory() as folder:
        databases = {"SQLite": f"sqlite+aiosqlite:///{Path(folder, 'keys.db')}"}
        if server is not None:
            databases["PostgreSQL"] = server.url(server.create_database())
        for database, url in databases.items():
            by_library, by_sql = await feel(make_url(url), times=times)
            rows += _rows(database, by_library, by_sql)
            verdicts.append(_verdict(database, by_library))
    return Section(
        title="How soon a revocation is felt",
        text=(
            f"{WORKERS} worker processes check one good key without a pause, each with a cache of its own, while it is "
            f"revoked in another process; {times} keys in each way. Counted is from the moment at which the call (by "
            "SQL: the commit) has returned to the beginning of the last request that a worker lets pass: before that "
            "moment the number is negative."
        ),
        columns=["", "median", "p99", "longest", "later than that"],
        rows=rows,
        verdicts=verdicts,
    )


def section(*, quick: bool = False) -> Section:
    """Measure, and return what was found."""
    times = 5 if quick else 100
    with ExitStack() as stack:
        absent: list[str] = []
        server = None
        try:
            server = stack.enter_context(postgres_server())
        except Missing as missing:
            absent = [f"PostgreSQL: {missing}"]
        return replace(asyncio.run(measure(server, times)), absent=absent)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        asyncio.run(work(sys.argv[2]))
    else:
        run_alone("effect", __doc__, section)
