"""What N hosts with M workers each ask of one PostgreSQL server: `python -m benchmarks.scaling`.

`Load` has it as formulas, from the constants in the code; the manual's tables are made from them. The rest holds the
formulas to a real server: as many stores as there would be workers, each with connections of its own, listen while keys
are revoked, and the server counts the statements (with pg_stat_statements). All stores live in this one process. So the
counts are those of many hosts, and how long a revocation takes is more than it would be there, where each worker has a
processor to acknowledge with.
"""

import asyncio
import inspect
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.report import Section, Verdict, duration, run_alone
from benchmarks.servers import Missing, postgres_server
from keyguard import lifecycle
from keyguard.stores._database import _READERS
from keyguard.stores._lease import LEASE, MARGIN
from keyguard.stores._postgres import _FIRST_PAUSE, _LONGEST_PAUSE
from keyguard.stores.sql import SQLStore
from keyguard.usage import Uses

__all__ = ["SHAPES", "Counted", "Load", "counting_server", "polls_within", "section", "simulate"]

SHAPES = ((1, 4), (4, 8), (16, 16))
"""Hosts and workers of each, as the manual shows them."""

TOLERANCE = 0.1
"""By which part of itself a formula may be wrong."""

_DAY = 86_400


# --- formulas ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What so many workers ask of a server. Rates are per second, unless they say otherwise."""

    hosts: int
    workers_each: int

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.hosts} x {self.workers_each}"

    @property
    def workers(self) -> int:
        """All of them."""
        return self.hosts * self.workers_each

    @property
    def listening(self) -> int:
        """Connections that listen, past any pooler."""
        return self.workers

    @property
    def pooled(self) -> int:
        """Connections that read and write, at most: some that read and one that writes."""
        return self.workers * (_READERS + 1)

    @property
    def connections(self) -> int:
        """All of them, at most."""
        return self.listening + self.pooled

    @property
    def renewals(self) -> float:
        """Renewals of leases: each is a transaction that writes a row."""
        return self.workers * 3 / LEASE  # `Listener._keep`: when a third of a lease is over.

    @property
    def statements(self) -> float:
        """Statements for that: one writes the row, one reads the revision."""
        return 2 * self.renewals

    @property
    def transactions_a_day(self) -> float:
        """How many of PostgreSQL's transaction numbers the renewals use up in a day."""
        return self.renewals * _DAY

    @property
    def acknowledgements(self) -> int:
        """Of one change."""
        return self.workers

    @property
    def statements_of_a_change(self) -> int:
        """Of all workers, for one change, beside those of the call: one reads the revision, one acknowledges it."""
        return 2 * self.acknowledgements

    @property
    def flushes(self) -> float:
        """Transactions that write counted uses, while all workers let keys in, up to 500 keys in each."""
        interval: float = inspect.signature(Uses).parameters["interval"].default
        return self.workers / interval


ROUND_TRIPS_OF_THE_CALL = 6
"""Of a change, before it asks who has heard: BEGIN, what holds for it, UPDATE, the triggers, the number, COMMIT."""

COUNTED_OF_THE_CALL = ROUND_TRIPS_OF_THE_CALL - 3
"""Without BEGIN, SET CONSTRAINTS and COMMIT: PostgreSQL 15 does not count such a one if it was prepared before."""


def polls_within(seconds: float) -> int:
    """Return how often a writer asks, at most, whether all have heard, when that takes so many seconds."""
    asked, at, pause = 1, 0.0, _FIRST_PAUSE
    while (at := at + pause) < min(seconds, LEASE + MARGIN):
        asked += 1
        pause = min(2 * pause, _LONGEST_PAUSE)
    return asked + 1


# --- a real server ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a server has counted while so many workers listened and some keys were revoked."""

    load: Load
    seconds: float
    """How long it took, less the time by which who sleeps for a third of a lease is woken late."""
    renewals: int
    acknowledgements: int
    polls: int
    statements: int
    """All of them, but for those that begin and end transactions."""
    listening: int
    connections: int
    """All of them, when each worker read and wrote as much at once as it can."""
    took: Sequence[float]
    """How long each revocation took, in seconds."""

    def checks(self) -> Iterator[tuple[str, float, float]]:
        """Return what was counted and what the formulas say, by name."""
        load, changes = self.load, len(self.took)
        renewals, acknowledgements = load.renewals * self.seconds, load.acknowledgements * changes
        yield "renewals of leases", self.renewals, renewals
        yield "acknowledgements", self.acknowledgements, acknowledgements
        yield (
            "all statements",
            self.statements - self.polls,
            load.statements * self.seconds + (load.statements_of_a_change + COUNTED_OF_THE_CALL) * changes,
        )
        yield "connections that listen", self.listening, load.listening
        yield "connections, at most", self.connections, load.connections

    def verdicts(self) -> list[Verdict]:
        """Return whether the formulas hold."""
        most = sum(map(polls_within, self.took))
        return [
            Verdict(
                what=f"{self.load.name}: {what}",
                measured=f"{counted:.0f}",
                wanted=f"{formula:.0f} ± {TOLERANCE:.0%}",
                is_met=abs(counted - formula) <= TOLERANCE * formula,
            )
            for what, counted, formula in self.checks()
        ] + [
            Verdict(
                what=f"{self.load.name}: asking whether all have heard",
                measured=str(self.polls),
                wanted=f"≤ {most}",
                is_met=self.polls <= most,
            )
        ]


@contextmanager
def counting_server() -> Iterator[Any]:
    """Start a PostgreSQL server that counts statements. Raises `Missing` if that cannot be."""
    with postgres_server(shared_preload_libraries="pg_stat_statements", max_connections="300") as server:
        yield server


_KINDS = {
    "renewals": "INSERT INTO keyguard_listener",
    "acknowledgements": "UPDATE keyguard_listener",
    "polls": "SELECT id FROM keyguard_listener",
}
"""How a statement begins that is counted for itself."""


async def _ask_all_at_once(store: SQLStore, key_id: str) -> None:
    """Have a store use all of its connections: more reads than it can do at once, and a change."""
    reads = [store.get_key(key_id) for _ in range(2 * _READERS)]
    await asyncio.gather(*reads, lifecycle.rename(store, key_id, "still the same"))


@asynccontextmanager
async def _listening(url: str, load: Load) -> AsyncIterator[list[SQLStore]]:
    """Return as many stores as there are workers, all with a lease."""
    async with AsyncExitStack() as stack:
        stores = [SQLStore(url) for _ in range(load.workers)]
        for store in stores:
            stack.push_async_callback(store.close)
            await store.open()
            store.token()
            await asyncio.sleep(random.uniform(0, 2 * LEASE / 3 / load.workers))  # Workers renew at different times.
        while any(store.token() is None for store in stores):  # noqa: ASYNC110 A lease tells nobody that it begins.
            await asyncio.sleep(0.01)
        yield stores


class _Metronomes:
    """As many sleepers as there are workers, who see by how much a busy machine wakes them late, all in all."""

    def __init__(self, count: int) -> None:
        self._late = 0.0
        self._tasks = [asyncio.create_task(self._beat()) for _ in range(count)]

    async def _beat(self) -> None:
        await asyncio.sleep(random.uniform(0, LEASE / 3))
        while True:
            due = time.monotonic() + LEASE / 3
            await asyncio.sleep(LEASE / 3)
            self._late += time.monotonic() - due

    async def stop(self) -> float:
        """Return by how many seconds each of them was late, in the mean."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        return self._late / len(self._tasks)


async def simulate(server: Any, load: Load, *, seconds: float, changes: int) -> Counted:
    """Revoke `changes` keys, spread over so many seconds, while `load.workers` stores listen."""
    asyncpg: Any = import_module("asyncpg")
    database = server.create_database()
    store = SQLStore(server.url(database))
    took = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await store.create_schema()
        await lifecycle.add_owner(store, "ada", id="ada")
        ids = [(await lifecycle.issue(store, "ada")).record.id for _ in range(changes + 1)]
        watcher = await asyncpg.connect(server.url(database, "postgresql"))
        stack.push_async_callback(watcher.close)
        await watcher.execute("CREATE EXTENSION pg_stat_statements")
        workers = await stack.enter_async_context(_listening(server.url(database), load))
        await watcher.execute("SELECT pg_stat_statements_reset()")
        metronomes, began = _Metronomes(load.workers), time.monotonic()
        for number, key_id in enumerate(ids[:changes], 1):
            due = began + (number - random.random()) * seconds / changes
            await asyncio.sleep(max(0, due - time.monotonic()))
            sent = time.monotonic()
            await lifecycle.revoke(store, key_id)
            took.append(time.monotonic() - sent)
        await asyncio.sleep(max(0, began + seconds - time.monotonic()))
        rows = await watcher.fetch(
            "SELECT query, calls FROM pg_stat_statements JOIN pg_database ON oid = dbid "
            "WHERE datname = current_database() AND query !~ '^(BEGIN|SET|COMMIT)|pg_stat'"
        )
        elapsed = time.monotonic() - began - await metronomes.stop()
        counts = {
            kind: sum(row["calls"] for row in rows if row["query"].strip().startswith(begin))
            for kind, begin in _KINDS.items()
        }
        await store.close()  # Who revokes is none of the workers.
        await asyncio.gather(*(_ask_all_at_once(worker, ids[-1]) for worker in workers))
        own = await watcher.fetchrow(
            "SELECT count(*) FILTER (WHERE application_name = 'keyguard listener') AS listening, count(*) AS all "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    server.drop_database(database)
    return Counted(
        load=load,
        seconds=elapsed,
        listening=own["listening"],
        connections=own["all"],
        took=took,
        statements=sum(row["calls"] for row in rows),
        **counts,
    )


# --- the table --------------------------------------------------------------------------------------------------


def _row(counted: Counted) -> list[str]:
    cells = [f"{float(value):.4g} ({formula:.4g})" for _, value, formula in counted.checks()]
    took = sorted(counted.took)
    return [counted.load.name, *cells, duration(statistics.median(took)), duration(took[-1])]


def _verdict(counted: Counted) -> Verdict:
    """Return all verdicts in one: those that are missed by name."""
    missed = [verdict.what for verdict in counted.verdicts() if not verdict.is_met]
    worst = max(abs(value - formula) / formula for _, value, formula in counted.checks())
    return Verdict(
        what=f"{counted.load.name}: what was counted differs from the formulas by",
        measured="; ".join([f"{worst:.1%} at most", *missed]),
        wanted=f"≤ {TOLERANCE:.0%}",
        is_met=not missed,
    )


async def measure(server: Any, loads: Sequence[Load], *, seconds: float, changes: int) -> Section:
    """Return what a server has counted of each load."""
    counted = [await simulate(server, load, seconds=seconds, changes=changes) for load in loads]
    names = [name for name, *_ in counted[0].checks()]
    return Section(
        title="How the load on PostgreSQL grows",
        text=(
            f"As many stores as there would be workers listen for {seconds:g} seconds, while {changes} keys are "
            "revoked one after the other. In brackets stands what the formulas say, from which the tables of "
            "[Scaling](scaling.md) are made. All stores live in one process, so that the acknowledgements have to wait "
            "for each other: with many workers a revocation takes more here than where each has a processor."
        ),
        columns=["hosts x workers", *names, "`revoke()`, median", "longest"],
        rows=[_row(each) for each in counted],
        verdicts=[_verdict(each) for each in counted],
    )


def section(*, quick: bool = False) -> Section:
    """Measure, and return what was found. Raises `Missing` where there is no PostgreSQL that counts statements."""
    shapes = [(1, 4), (2, 8)] if quick else [(1, 1), (1, 4), (2, 8), (4, 8)]
    loads = [Load(hosts=hosts, workers_each=workers) for hosts, workers in shapes]
    try:
        with counting_server() as server:
            return asyncio.run(measure(server, loads, seconds=4 if quick else 15, changes=8 if quick else 50))
    except RuntimeError as problem:
        if "pg_stat_statements" in str(problem):
            raise Missing("PostgreSQL's pg_stat_statements, which counts statements, is not installed") from None
        raise


if __name__ == "__main__":
    run_alone("scaling", __doc__, section)
