"""What many keys cost: `python -m benchmarks.scale`.

Databases with a thousand, a hundred thousand and a million keys stand side by side: a check of keys that were seen
before and of keys that were not, issuing a key, and listing one owner's. And what one key takes in KeyGuard's cache:
`python -m benchmarks.scale memory` measures that alone, within seconds.
"""

import asyncio
import gc
import sqlite3
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from statistics import median
from typing import Any

from sqlalchemy import URL

from benchmarks.checks import measure as measure_checks
from benchmarks.contestants import (
    BARE,
    Contestant,
    Entered,
    OpenStore,
    bare,
    guarding,
    in_turn,
    new_key,
    postgres_store,
    sqlite_store,
    url_of,
)
from benchmarks.report import Section, Verdict, duration, run_alone
from benchmarks.servers import Missing, postgres_server
from benchmarks.traffic import requests_with, seconds_for
from keyguard import lifecycle
from keyguard.ports import KeyRegistry

__all__ = ["section"]

SIZES = (1_000, 100_000, 1_000_000)
PER_OWNER = 10
REAL = 500
"""How many of the keys exist as text as well, so that they can be presented; the others are rows."""

COLD_CACHE = 32
CACHED = 10_000
MOST_BYTES = 1024
TOLERANCE = 0.1


# --- filling ----------------------------------------------------------------------------------------------------

_OWNERS = ("id", "name", "is_active", "is_superuser", "created_at")
_KEYS = (
    "id",
    "lookup",
    "verifier",
    "owner_id",
    "prefix",
    "name",
    "scopes",
    "networks",
    "created_at",
    "revoked_reason",
)
_CREATED = 1_750_000_000_000_000


def _owner_rows(size: int) -> Iterator[tuple[Any, ...]]:
    for number in range(-(-size // PER_OWNER)):
        yield str(number), f"owner {number}", True, False, _CREATED


def _key_rows(keys: list[str], size: int) -> Iterator[tuple[Any, ...]]:
    """Return the rows of `size` keys; those in `keys` come at even distances."""
    every = max(size // len(keys), 1)
    for number in range(size):
        index, rest = divmod(number, every)
        text = keys[index] if rest == 0 and index < len(keys) else f"made up: {number}"
        digest = f"sha256${sha256(text.encode()).hexdigest()}"
        owner = str(number // PER_OWNER)
        yield f"{number:012}", digest, digest, owner, "kg_", f"key {number}", '["*"]', "[]", _CREATED + number, ""


async def fill(url: URL, keys: list[str], size: int) -> None:
    """Put so many keys into an empty store, as quickly as its database can take them."""
    tables = (
        ("keyguard_owners", _OWNERS, _owner_rows(size)),
        ("keyguard_keys", _KEYS, _key_rows(keys, size)),
    )
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database))) as connection, connection:
            for table, columns, rows in tables:
                places = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
        return
    asyncpg: Any = import_module("asyncpg")
    connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        for table, columns, rows in tables:
            await connection.copy_records_to_table(table, records=rows, columns=columns)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A store with so many keys, and the texts of some of them."""

    size: int
    store: KeyRegistry
    keys: list[str]


@asynccontextmanager
async def filled(open_store: OpenStore, size: int, *, real: int = REAL) -> AsyncIterator[Filled]:
    """Open a store with `size` keys, of which `real` have a text."""
    async with open_store() as store:
        keys = [new_key() for _ in range(min(real, size))]
        await fill(url_of(store), keys, size)
        await lifecycle.add_owner(store, "ada", id="ada")
        yield Filled(size=size, store=store, keys=keys)


# --- checks -----------------------------------------------------------------------------------------------------


def _name(size: int, state: str) -> str:
    return f"{size:,} keys, {state}"


def _checked(there: Filled, state: str, **options: Any) -> Contestant:
    @asynccontextmanager
    async def enter() -> AsyncIterator[Entered]:
        async with guarding(there.store, **options) as app:
            await seconds_for(app, requests_with(there.keys))
            yield Entered(app=app, scopes=in_turn(there.keys))

    return Contestant(name=_name(there.size, state), enter=enter)


async def _median_seconds(calls: dict[int, Callable[[], Awaitable[object]]], times: int) -> dict[int, float]:
    """Return what the calls took, made in turns."""
    seconds: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(times):
        for size, call in calls.items():
            begin = time.perf_counter()
            await call()
            seconds[size].append(time.perf_counter() - begin)
    return {size: median(each) for size, each in seconds.items()}


def _issue(store: KeyRegistry) -> Callable[[], Awaitable[object]]:
    return lambda: lifecycle.issue(store, "ada")


def _list(there: Filled) -> Callable[[], Awaitable[object]]:
    owner = str(there.size // PER_OWNER // 2)
    return lambda: lifecycle.list_keys(there.store, owner)


async def compare(
    database: str, open_store: OpenStore, sizes: tuple[int, ...], *, seconds: float, times: int
) -> tuple[list[list[str]], Verdict]:
    """Return the rows of one database, and whether a warm check costs the same in the largest as in the smallest."""
    async with AsyncExitStack() as stack:
        stores = {size: await stack.enter_async_context(filled(open_store, size)) for size in sizes}
        run = await measure_checks(
            [
                Contestant(name=BARE, enter=bare),
                *(_checked(there, "warm") for there in stores.values()),
                *(_checked(there, "cold", cache_size=COLD_CACHE) for there in stores.values()),
            ],
            seconds=seconds,
        )
        figures = {figure.name: figure.microseconds / 1e6 for figure in run.figures()}
        issuing = await _median_seconds({size: _issue(there.store) for size, there in stores.items()}, times)
        listing = await _median_seconds({size: _list(there) for size, there in stores.items()}, times)
    rows = [
        [
            f"{database}, {size:,} keys",
            *map(duration, (figures[_name(size, "warm")], figures[_name(size, "cold")], issuing[size], listing[size])),
        ]
        for size in sizes
    ]
    ratio = median(run.ratios(_name(sizes[-1], "warm"), _name(sizes[0], "warm")))
    return rows, Verdict(
        what=f"{database}: a warm check with {sizes[-1]:,} keys, as a ratio to {sizes[0]:,}",
        measured=f"{ratio:.2f}",
        wanted=f"{1 - TOLERANCE:.1f} to {1 + TOLERANCE:.1f}",
        is_met=abs(ratio - 1) <= TOLERANCE,
    )


# --- memory -----------------------------------------------------------------------------------------------------


async def bytes_kept(there: Filled, **options: Any) -> int:
    """Return by how much the memory has grown when a KeyGuard has checked each of a store's keys once."""
    async with guarding(there.store, **options) as app:
        await seconds_for(app, requests_with(there.keys[:1]))
        gc.collect()
        tracemalloc.start()
        try:
            for key in there.keys[1:]:
                await seconds_for(app, requests_with([key]))
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return kept


async def bytes_per_cached_key(keys: int) -> float:
    """Return what a key takes in the cache: the growth with a cache that holds all, less that without a cache."""
    async with filled(sqlite_store, keys, real=keys) as there:
        with_cache = await bytes_kept(there, cache_size=keys)
        without = await bytes_kept(there, cache_size=0)
    return (with_cache - without) / (keys - 1)


# --- the tables -------------------------------------------------------------------------------------------------


async def measure(server: Any, *, sizes: tuple[int, ...], seconds: float, times: int, cached: int) -> Section:
    """Return how the costs grow with the number of keys, on SQLite and on a PostgreSQL server if there is one."""
    databases: dict[str, OpenStore] = {"SQLite": sqlite_store}
    if server is not None:
        databases["PostgreSQL"] = postgres_store(server)
    rows, verdicts = [], []
    for database, open_store in databases.items():
        some, verdict = await compare(database, open_store, sizes, seconds=seconds, times=times)
        rows += some
        verdicts.append(verdict)
    kept = await bytes_per_cached_key(cached)
    verdicts.append(
        Verdict(
            what=f"bytes for one key in KeyGuard's cache, of {cached:,}",
            measured=f"{kept:,.0f}",
            wanted=f"< {MOST_BYTES:,}",
            is_met=kept < MOST_BYTES,
        )
    )
    return Section(
        title="Many keys",
        text=(
            f"Stores with as many keys, {PER_OWNER} to an owner. {REAL} of them are presented in turn: warm, with all "
            "of them in the cache, and cold, with a cache so small that each has been forgotten when it comes again. "
            "Issuing and listing one owner's keys are calls of `keyguard.lifecycle`. Medians, the app included."
        ),
        columns=["", "warm check", "first check", "issue", "list an owner's"],
        rows=rows,
        verdicts=verdicts,
    )


def section(*, quick: bool = False) -> Section:
    """Measure, and return what was found."""
    sizes = (1_000, 10_000) if quick else SIZES
    seconds, times, cached = (2, 5, 500) if quick else (20, 50, CACHED)
    with ExitStack() as stack:
        absent: list[str] = []
        server = None
        try:
            server = stack.enter_context(postgres_server())
        except Missing as missing:
            absent = [f"PostgreSQL: {missing}"]
        found = asyncio.run(measure(server, sizes=sizes, seconds=seconds, times=times, cached=cached))
        return replace(found, absent=absent)


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        print(f"{asyncio.run(bytes_per_cached_key(2_000)):,.0f} bytes for one key in the cache, of 2,000")
    else:
        run_alone("scale", __doc__, section)
