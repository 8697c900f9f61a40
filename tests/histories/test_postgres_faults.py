"""On PostgreSQL: what is broken on purpose shows in a history, and what fails by itself does not."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest
from histories.checker import Change, Field
from histories.driver import OWNERS, make_history, system
from postgres import Cluster

from keyguard.stores._lease import LEASE, MARGIN

ENOUGH = {"operations": 300, "changes": 40, "clients": 4, "elsewhere": False, "hot": 6}
LEASE_NS = int(LEASE * 1e9)
SLACK = 2.0
"""Seconds by which a busy machine may be late."""


@asynccontextmanager
async def connected(url):
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


def executing(url, *statements):
    async def execute():
        async with connected(url) as connection:
            for statement in statements:
                await connection.execute(statement)

    return execute


async def history(url, folder, mutant="", **more):
    return await make_history(url, folder, mutant=mutant, **ENOUGH | more)


def slowest(outcome):
    """How many seconds the longest call of the library took."""
    return (
        max(change.end - change.start for change in outcome.history.changes if change.worker and not change.raw) / 1e9
    )


# --- what is told ---------------------------------------------------------------------------------------------------


async def test_lost_notifications_are_healed(postgres_url, tmp_path):
    """Where no notification arrives library calls are as exact as ever: writers wait for the next renewal."""
    outcome = await history(postgres_url, tmp_path, "hears_nothing", changes=20)
    assert outcome.bad(LEASE_NS) == []
    assert outcome.hit_rate > 5
    assert LEASE / 10 < slowest(outcome) < LEASE + MARGIN + SLACK


async def test_acknowledging_first_is_found(postgres_url, tmp_path):
    """A worker that acknowledges a change before its token has moved lets revoked keys pass."""
    outcome = await history(postgres_url, tmp_path, "acknowledges_first", pause=0.2)
    assert len(outcome.bad(LEASE_NS)) >= 3


# --- how long it is trusted -----------------------------------------------------------------------------------------


async def used_once_behind_a_change(url, folder, mutant):
    """Use keys all the time; deactivate their owners; from then on use each key once, one after the other."""
    async with system(url, folder, workers=1, mutant=mutant, pause=LEASE + MARGIN + 0.5) as run:
        async with run.changers(1) as (changer,):
            for _ in range(2):
                until = time.monotonic() + 2 * LEASE + MARGIN
                while time.monotonic() < until:  # In which each is remembered.
                    await changer.probe(*run.keys)
                    await asyncio.sleep(0.05)
                await asyncio.gather(*(changer.call("deactivate", key) for key in run.keys[:OWNERS]))
                for key in run.keys:
                    await changer.probe(key)
                    await asyncio.sleep((LEASE + MARGIN) / len(run.keys))
                await asyncio.gather(*(changer.call("activate", key) for key in run.keys[:OWNERS]))
        return run.outcome


async def test_a_lease_that_lasts_from_the_answer_on_is_found(postgres_url, tmp_path):
    """A worker whose lease begins with the answer trusts its memory when the writer does not wait for it any more."""
    outcome = await used_once_behind_a_change(postgres_url, tmp_path, "lease_from_the_answer")
    assert outcome.bad(LEASE_NS)


async def test_late_answers_are_no_fault(postgres_url, tmp_path):
    """The same late answers do no harm where the lease is counted from the sending."""
    outcome = await used_once_behind_a_change(postgres_url, tmp_path, "slow_renewals")
    assert outcome.bad(LEASE_NS) == []
    assert slowest(outcome) < LEASE + MARGIN + SLACK


async def stopped_while_revoking(url, folder, mutant=""):
    """Stop one of two workers, revoke, ask both, and let it go on."""
    async with system(url, folder, mutant=mutant) as run, run.changers(1) as (changer,):
        stopped = run.places[0].pid
        for key, kind in zip(run.keys[:3], ["revoke", "disable", "deactivate"], strict=True):
            for _ in range(20):  # Until it is remembered.
                await changer.probe(key)
                await asyncio.sleep(0.02)
            os.kill(stopped, signal.SIGSTOP)
            try:
                await changer.call(kind, key)
                asking = asyncio.create_task(changer.probe(key))
                await asyncio.sleep(0.1)  # In which the request arrives at the worker that stands still.
            finally:
                os.kill(stopped, signal.SIGCONT)
            await asking
            await changer.probe(key)
        return run.outcome


async def test_a_stopped_worker_does_not_trust_its_memory_when_it_goes_on(postgres_url, tmp_path):
    """A worker stands still while keys are revoked: calls return in time, and it lets none of them pass afterwards."""
    outcome = await stopped_while_revoking(postgres_url, tmp_path)
    assert outcome.bad(LEASE_NS) == []
    assert slowest(outcome) < LEASE + MARGIN + SLACK


async def test_a_lease_without_an_end_is_found(postgres_url, tmp_path):
    """The same worker lets them pass if its lease does not run out."""
    outcome = await stopped_while_revoking(postgres_url, tmp_path, "lease_without_end")
    assert outcome.bad(LEASE_NS)


async def test_workers_that_stop_and_go_on_under_load(postgres_url, tmp_path):
    """Workers are stopped and go on while everything is changed: each answer is explained."""
    async with system(postgres_url, tmp_path) as run:
        going = asyncio.create_task(run.go(**ENOUGH))
        for number in range(4):
            await asyncio.sleep(0.5)
            pid = run.places[number % 2].pid
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep((0.3, LEASE + MARGIN)[number // 2])
            os.kill(pid, signal.SIGCONT)
        await going
    assert run.outcome.bad(LEASE_NS) == []


# --- what fails by itself -------------------------------------------------------------------------------------------


async def under_load(url, folder, fault, **more):
    """Let `fault` happen again and again while keys are changed and used; return the outcome."""
    async with system(url, folder) as run:
        going = asyncio.create_task(run.go(**ENOUGH | more))
        async with connected(url) as connection:
            while not going.done():
                await fault(connection)
                await asyncio.wait([going], timeout=0.5)
        await going
        await run.count()
    return run.outcome


async def test_listeners_that_are_killed(postgres_url, tmp_path):
    """Listening connections are terminated twice a second: each answer is explained, and none is missing."""
    killed = []

    async def kill(connection):
        rows = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() AND query LIKE '%keyguard_listener%' AND query NOT LIKE '%LIMIT 1%'"
        )
        killed.extend(rows)

    outcome = await under_load(postgres_url, tmp_path, kill)
    assert len(killed) > 1
    assert outcome.bad(LEASE_NS) == []


async def test_all_connections_are_killed(postgres_url, tmp_path):
    """All connections are terminated twice a second: some changes have an unknown outcome, each answer is explained."""

    async def kill(connection):
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )

    outcome = await under_load(postgres_url, tmp_path, kill)
    assert outcome.bad(LEASE_NS) == []


async def test_a_pool_that_is_exhausted(postgres_url, tmp_path):
    """The table of keys is locked for longer than a request may take: 503s, and no answer that is not explained."""

    async def lock(connection):
        async with connection.transaction():
            await connection.execute("LOCK TABLE keyguard_keys IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(2.5)

    outcome = await under_load(postgres_url, tmp_path, lock, changes=10)
    assert outcome.unavailable
    assert outcome.bad(LEASE_NS) == []


async def while_it_is_away(postgres, url, folder, away):
    """Let the database be away for a while, twice, under load; return the outcome."""
    async with system(url, folder) as run:
        going = asyncio.create_task(run.go(**ENOUGH))
        for _ in range(2):
            await asyncio.wait([going], timeout=0.7)
            with away(postgres):
                await asyncio.sleep(2.5)  # Longer than a request waits.
        await going
        return run.outcome


@contextmanager
def stopped(postgres):
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@pytest.mark.parametrize("away", [stopped, Cluster.frozen])
async def test_a_database_that_is_away(postgres, postgres_url, tmp_path, away):
    """PostgreSQL is stopped and started, or stands still: what was changed is unknown then, and no answer is wrong."""
    outcome = await while_it_is_away(postgres, postgres_url, tmp_path, away)
    assert outcome.unavailable
    assert outcome.bad(LEASE_NS) == []


async def test_strict_workers_are_exact(postgres_url, tmp_path):
    """They see what is changed in SQL at once, too, and all processes the same: there is one order for them all."""
    outcome = await history(postgres_url, tmp_path, strict=True)
    assert outcome.bad() == []


# --- triggers -------------------------------------------------------------------------------------------------------


async def changed_in_sql(url, folder, kinds, **more):
    """Make one change in SQL after the other, each on a key that is remembered, and none besides for a lease."""
    async with system(url, folder, **more) as run, run.changers(1) as (changer,):
        for key, kind in zip(run.keys, kinds, strict=False):
            for _ in range(20):
                await changer.probe(key)
                await asyncio.sleep(0.02)
            await changer.change_in_sql(kind, key)
            until = time.monotonic() + LEASE * 1.2
            while time.monotonic() < until:
                await changer.probe(key)
        return run.outcome


async def test_each_change_in_sql_is_seen_by_itself(postgres_url, tmp_path):
    """Within the lease, though nothing else is changed."""
    kinds = ["SQL revokes", "SQL disables", "SQL lets it expire", "SQL replaces it by a revoked one"]
    outcome = await changed_in_sql(postgres_url, tmp_path, [*kinds, "SQL deletes", "SQL deactivates"])
    assert outcome.bad(LEASE_NS) == []


TRIGGERS = {
    "keyguard_keys_update": ("keyguard_keys", "SQL revokes"),
    "keyguard_keys_delete": ("keyguard_keys", "SQL deletes"),
    "keyguard_owners_update": ("keyguard_owners", "SQL deactivates"),
}


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_a_disabled_trigger_is_found(postgres_url, tmp_path, trigger):
    """Where one trigger is disabled and nobody looks for it, a change that it should count is not seen in time."""
    table, kind = TRIGGERS[trigger]
    disable = executing(postgres_url, f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    mutant = "does_not_look_for_triggers_there"
    outcome = await changed_in_sql(postgres_url, tmp_path, [kind], mutant=mutant, prepare=disable)
    assert outcome.bad(LEASE_NS)


async def test_with_a_disabled_trigger_nothing_is_remembered(postgres_url, tmp_path):
    """Where one is disabled, each check reads its row, and every answer is right."""
    disable = executing(postgres_url, "ALTER TABLE keyguard_owners DISABLE TRIGGER keyguard_owners_truncate")
    outcome = await history(postgres_url, tmp_path, prepare=disable)
    assert outcome.bad(LEASE_NS) == []
    assert outcome.hit_rate == 0


async def emptied_and_filled(url, folder, mutant="", prepare=None):
    """Use keys while their table is emptied by TRUNCATE, and filled again by COPY."""
    async with system(url, folder, mutant=mutant, prepare=prepare) as run:
        await run.go(**ENOUGH)
        async with connected(url) as connection, run.changers(1) as (changer,):
            rows = await connection.fetch("SELECT * FROM keyguard_keys")
            there = {row["id"] for row in rows} & {key.id for key in run.outcome.keys}
            for _ in range(2):
                for statement, exists in (("TRUNCATE keyguard_keys CASCADE", False), (None, True)):
                    start = time.monotonic_ns()
                    if statement:
                        await connection.execute(statement)
                    else:
                        await connection.copy_records_to_table("keyguard_keys", records=rows, columns=[*rows[0].keys()])
                    end = time.monotonic_ns()
                    sets = {(key, Field.EXISTS): exists for key in there}
                    run.outcome.tell(Change(kind="all", sets=sets, start=start, end=end, raw=True))
                    until = time.monotonic() + LEASE * 1.5
                    while time.monotonic() < until:
                        await changer.probe(*run.outcome.keys[-12:])
        return run.outcome


async def test_truncate_and_copy(postgres_url, tmp_path):
    """All keys are gone, and there again: workers see that within the lease."""
    outcome = await emptied_and_filled(postgres_url, tmp_path)
    assert outcome.bad(LEASE_NS) == []


async def test_a_truncate_that_nobody_counts_is_found(postgres_url, tmp_path):
    """Without its trigger, keys that are gone go on to pass."""
    disable = executing(postgres_url, "ALTER TABLE keyguard_keys DISABLE TRIGGER keyguard_keys_truncate")
    outcome = await emptied_and_filled(postgres_url, tmp_path, "does_not_look_for_triggers_there", disable)
    assert outcome.bad(LEASE_NS)
