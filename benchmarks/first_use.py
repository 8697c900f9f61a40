"""What the first use of a key costs on SQLite, by three ways to its row: `python -m benchmarks.first_use`.

The way through the pool, whose driver has a thread for each connection; a synchronous engine of SQLAlchemy's on the
event loop; and what `SQLStore` does: a connection of its own on the loop, with the statement compiled once. A hundred
thousand keys, asked for at random, once with the file in the operating system's page cache and once without: another
process has it dropped from there before each find.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import Connection, StaticPool, create_engine, insert

from benchmarks.hashing import processor
from benchmarks.report import duration
from keyguard.model import Found, Owner
from keyguard.stores._rows import found_in, values_of
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_digest, make_record

KEYS = 100_000
ROUNDS = {"in the page cache": 3_000, "not in the page cache": 500}

Way = Callable[[Sequence[str]], Awaitable[Found | None]]

_DROPPER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.fdatasync(file)
for line in sys.stdin:
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    print(flush=True)
"""
"""In a process of its own: to close the file in this one would drop SQLite's locks."""


@asynccontextmanager
async def filled_store(path: Path, keys: int) -> AsyncIterator[SQLStore]:
    """Return an open store with so many keys of one owner's."""
    store = SQLStore(f"sqlite+aiosqlite:///{path}")

    def fill(connection: Connection) -> None:
        rows = [values_of(make_record(str(number), "ada")) | {"owner_id": "ada"} for number in range(keys)]
        connection.execute(insert(store.metadata.tables["keyguard_keys"]), rows)

    try:
        await store.create_schema()
        await store.add_owner(Owner(id="ada", name="ada"), created_at=NOON)
        await store.change_schema(fill)
        await store.close()  # Which puts all into the one file.
        await store.open()
        yield store
    finally:
        await store.close()


@contextmanager
def ways_of(store: SQLStore) -> Iterator[dict[str, Way]]:
    """Return the ways to a key's row, by name."""
    database, statement = store._database, store._keys.by_lookup  # noqa: SLF001 To compare with the ways not taken.
    file = database.file
    if file is None:
        raise AssertionError("the store is in a file")
    engine = create_engine("sqlite://", creator=file.connect, poolclass=StaticPool)

    async def through_the_pool(lookups: Sequence[str]) -> Found | None:
        rows = await database.read(statement, {"lookups": list(lookups)})
        return found_in(rows[0]) if rows else None

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        async def through_an_engine(lookups: Sequence[str]) -> Found | None:
            rows = connection.execute(statement, {"lookups": list(lookups)}).all()
            return found_in(rows[0]) if rows else None

        yield {
            "pool of aiosqlite": through_the_pool,
            "synchronous engine": through_an_engine,
            "SQLStore.find": store.find,
        }
    engine.dispose()


@contextmanager
def dropping(path: Path) -> Iterator[Callable[[], None]]:
    """Return what has another process drop the file from the page cache."""
    with subprocess.Popen(
        [sys.executable, "-c", _DROPPER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as dropper:
        if dropper.stdin is None or dropper.stdout is None:
            raise AssertionError("both are pipes")

        def drop() -> None:
            print(file=dropper.stdin)
            dropper.stdout.readline()  # type: ignore[union-attr] # It was looked at above.

        yield drop
        dropper.stdin.close()


async def measure(
    ways: dict[str, Way], keys: int, rounds: int, drop: Callable[[], None] | None
) -> dict[str, list[tuple[float, float]]]:
    """Return, for each way, the seconds that each find took, and those that the loop's thread worked for it."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, find in ways.items():
            lookup = make_digest(str(random.randrange(keys)))
            if drop is not None:
                drop()
            began, worked = time.perf_counter(), time.thread_time()
            found = await find([lookup])
            measured[name].append((time.perf_counter() - began, time.thread_time() - worked))
            if found is None or found.key.lookup != lookup:
                raise AssertionError(f"{name} found another key")
    return measured


async def main(keys: int = KEYS, rounds: dict[str, int] = ROUNDS) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.db"
        async with filled_store(path, keys) as store:
            size = os.stat(path).st_size / 1e6  # noqa: PTH116 Not opened.
            print(f"{datetime.now(UTC):%Y-%m-%d}, {processor()}; {keys} keys, {size:.0f} MB\n")
            print("| way | the file is | median | 90th percentile | 99th | the loop's thread works |")
            print("|---|---|---:|---:|---:|---:|")
            with ways_of(store) as ways, dropping(path) as drop:
                for state, count in rounds.items():
                    dropper = drop if state.startswith("not") else None
                    for name, times in (await measure(ways, keys, count, dropper)).items():
                        total, worked = [each for each, _ in times], [each for _, each in times]
                        cuts = quantiles(total, n=100)
                        columns = map(duration, (median(total), cuts[89], cuts[98], median(worked)))
                        print(f"| {name} | {state} | {' | '.join(columns)} |")


if __name__ == "__main__":
    asyncio.run(main())
