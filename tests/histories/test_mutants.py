"""What is broken on purpose shows in a history: the checker finds each fault, and finds nothing without it."""

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest
from histories.checker import Change, Field
from histories.driver import make_history, system

ENOUGH = {"operations": 500, "changes": 60, "workers": 1, "clients": 4, "elsewhere": False, "hot": 6}

SOON_SEEN = [
    "trusts_for_a_while",
    "stale_without_token",
    "token_in_a_transaction",
    "token_by_an_open_statement",
]


async def history(folder, mutant="", **more):
    return await make_history(f"sqlite+aiosqlite:///{folder}/keys.db", folder, mutant=mutant, **ENOUGH | more)


@pytest.mark.parametrize("mutant", SOON_SEEN)
async def test_a_fault_is_found(tmp_path, mutant):
    """With this one thing broken, some answers are explained by no order of events."""
    outcome = await history(tmp_path, mutant)
    assert len(outcome.bad()) >= 3


async def test_to_vouch_for_nothing_at_times_is_no_fault(tmp_path):
    """What only makes room for a fault, so that it shows, is not found guilty: a token that is None now and then."""
    assert (await history(tmp_path, "slow_tokens")).bad() == []


async def overlapping(folder, mutant):
    """Let a read begin, change what it read before it ends, and use the key behind the change."""
    url = f"sqlite+aiosqlite:///{folder}/keys.db"
    async with system(url, folder, workers=1, mutant=mutant, pause=0.3) as run, run.changers(2) as (one, other):
        for meanwhile in (True, False):
            for key, kind in zip(run.keys[:3], ["revoke", "disable", "deactivate"], strict=True):
                reading = asyncio.create_task(one.probe(key))
                await asyncio.sleep(0.1)  # In which the row is read.
                await other.call(kind, key)
                if meanwhile:
                    await other.probe(key)
                await reading
                await other.probe(key)
            del run.keys[:3]
        return run.outcome.bad()


@pytest.mark.parametrize("mutant", ["token_after_row", "row_in_an_older_transaction", "joins_any_read"])
async def test_a_fault_is_found_where_reads_overlap(tmp_path, mutant):
    """A change comes between the reading of a row and its end: what was read is used for a request behind it."""
    assert len(await overlapping(tmp_path, mutant)) >= 3


async def test_slow_reads_are_no_fault(tmp_path):
    """The same where reads only take their time."""
    assert await overlapping(tmp_path, "slow_reads") == []


TRIGGERS = {
    # What is changed in SQL, and how often, for the trigger to matter.
    "keyguard_keys_update": {},
    "keyguard_owners_update": {"raws": 50, "only": ["SQL deactivates", "SQL activates", "SQL promotes", "SQL demotes"]},
    "keyguard_keys_delete": {"raws": 15, "only": ["SQL deletes"]},
    "keyguard_keys_insert": {"raws": 50, "only": ["SQL replaces it by a revoked one", "SQL replaces it by a good one"]},
}


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_a_missing_trigger_is_found(tmp_path, trigger):
    """Where one trigger is missing and nobody looks for it, changes that it should count are not seen."""
    drop = dropping(tmp_path, trigger)
    outcome = await history(tmp_path, "does_not_look_for_triggers", prepare=drop, **TRIGGERS[trigger])
    assert outcome.bad()


async def test_without_a_trigger_nothing_is_remembered(tmp_path):
    """Where one is missing, each check reads its row, and every answer is right."""
    outcome = await history(tmp_path, prepare=dropping(tmp_path, "keyguard_owners_update"))
    assert outcome.bad() == []
    assert outcome.hit_rate == 0


def dropping(folder, trigger):
    async def drop():
        with sqlite3.connect(folder / "keys.db") as connection:
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.close()

    return drop


async def restored(folder, mutant=""):
    """Put an older copy of the file in the place of the one that is in use, under clients that go on."""
    path = folder / "keys.db"
    async with system(f"sqlite+aiosqlite:///{path}", folder, mutant=mutant) as run, run.changers(1) as (changer,):
        good, revoked = run.keys[:4], run.keys[4:8]
        for key in revoked:
            await changer.call("revoke", key)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(folder / "copy.db")) as copy:
            source.backup(copy)
        for key in revoked:
            await changer.change_in_sql("SQL takes it back", key)
        await changer.probe(*revoked, *good)
        start = time.monotonic_ns()
        for rest in ("-wal", "-shm"):
            path.with_name(f"{path.name}{rest}").unlink()
        (folder / "copy.db").replace(path)
        # Within a second it is seen that there is another file.
        end = time.monotonic_ns() + 1_000_000_000
        sets = {(key.id, Field.REVOKED): True for key in revoked}
        run.outcome.tell(Change(kind="restored", sets=sets, start=start, end=end))
        while time.monotonic_ns() < end + 500_000_000:
            await changer.probe(*revoked, *good)
        await run.count()
        return run.outcome


async def test_a_restored_file_is_seen(tmp_path):
    """Keys that are revoked in the file that was put back are refused within a second, and the others go on."""
    outcome = await restored(tmp_path)
    assert outcome.bad() == []
    assert outcome.hit_rate > 50


async def test_not_to_look_at_the_file_is_found(tmp_path):
    """A worker that does not look goes on to read the file that is gone."""
    assert (await restored(tmp_path, "does_not_look_at_the_file")).bad()
