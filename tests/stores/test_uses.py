"""Every store that counts keeps the promises of its port; and what the database adds up, whoever writes at once."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

from keyguard.clock import utc_now
from keyguard.errors import StoreUnavailable
from keyguard.model import Owner, Usage
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import NOON, UsageContract, make_digest, make_record
from keyguard.usage import Uses

ONCE = {"one": Usage(total=1, last_used_at=NOON, last_used_address="192.0.2.1")}


class TestMemoryStore(UsageContract):
    async def make_store(self, keyring, owners, keys):
        return MemoryStore(keyring=keyring)


class TestStaticStore(UsageContract):
    async def make_store(self, keyring, owners, keys):
        return StaticStore({}, keyring=keyring)


class TestSQLStore(UsageContract):
    dialect = "sqlite"

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.path = tmp_path / "keys.db"

    async def make_store(self, keyring, owners, keys):
        store = SQLStore(f"{self.dialect}+aiosqlite:///{self.path}", keyring=keyring)
        await store.create_schema()
        await store.close()
        return store


class AnotherDialect(SQLiteDialect_aiosqlite):
    """A database that the store knows nothing of."""

    name = "another"
    supports_statement_cache = True


class TestSQLStoreOnAnotherDatabase(TestSQLStore):
    dialect = "unknown"

    @pytest.fixture(autouse=True)
    def dialect_is_known(self, monkeypatch):
        monkeypatch.setitem(registry.impls, "unknown.aiosqlite", lambda: AnotherDialect)


class TestSQLStoreInMemory(UsageContract):
    test_what_was_counted_outlives_a_closing = None  # An in-memory database ends when it is closed.

    async def make_store(self, keyring, owners, keys):
        store = SQLStore("sqlite+aiosqlite://", keyring=keyring)
        await store.create_schema()
        return store


class TestOnPostgres(UsageContract):
    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url

    async def make_store(self, keyring, owners, keys):
        store = SQLStore(self.url, keyring=keyring)
        await store.create_schema()
        await store.close()
        return store


# --- how the database is asked ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@asynccontextmanager
async def opened(path):
    """A store with its tables, which is closed afterwards."""
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    try:
        await store.create_schema()
        yield store
    finally:
        await store.close()


def raw(path, statement, *parameters):
    """What another program does to the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


@contextmanager
def executions(store):
    """What the database is asked meanwhile: statements with their parameters."""
    seen = []

    def note(connection, cursor, statement, parameters, context, many):
        seen.append((statement, parameters))

    engine = store._database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_keys_are_locked_in_the_order_of_their_ids(path):
    """The rows of a batch are written in the order of their ids, so that no two workers wait for each other."""
    async with opened(path) as store:
        with executions(store) as seen:
            uses = {key_id: Usage(total=1) for key_id in ("b", "c", "a")}
            await store.record_uses(uses, worker="w", sequence=1)
        (rows,) = [parameters for statement, parameters in seen if "keyguard_uses" in statement]
    assert [row[0] for row in rows] == ["a", "b", "c"]


async def test_a_statement_asks_for_no_more_than_a_database_takes(path):
    """The uses of many keys are read by several statements, with fewer than a thousand parameters each."""
    async with opened(path) as store:
        with executions(store) as seen:
            await store.get_uses([f"key {number}" for number in range(2_500)])
    asked = [len(parameters) for statement, parameters in seen if "keyguard_uses" in statement]
    assert asked == [900, 900, 700]


async def test_a_batch_is_added_wholly_or_not_at_all(path):
    """Where a part of a batch cannot be written, nothing of it is, and it is not taken for one that was."""
    async with opened(path) as store:
        raw(
            path,
            "CREATE TRIGGER no_more BEFORE INSERT ON keyguard_uses WHEN NEW.key_id = 'two' "
            "BEGIN SELECT RAISE(ABORT, 'no more'); END",
        )
        with pytest.raises(StoreUnavailable, match="no more"):
            await store.record_uses({"one": Usage(total=1), "two": Usage(total=1)}, worker="w", sequence=1)
        assert await store.get_uses(["one", "two"]) == {}
        assert raw(path, "SELECT * FROM keyguard_flushes") == []
        raw(path, "DROP TRIGGER no_more")
        await store.record_uses({"one": Usage(total=1), "two": Usage(total=1)}, worker="w", sequence=1)
        assert await store.get_uses(["one", "two"]) == {"one": Usage(total=1), "two": Usage(total=1)}


async def test_workers_that_are_gone_are_forgotten(path):
    """A new worker's first batch drops the notes of batches that are older than seven days, and no other."""
    async with opened(path) as store:
        for worker in ("old", "recent", "own"):
            await store.record_uses(ONCE, worker=worker, sequence=1)
        ages = {"old": timedelta(days=7, minutes=1), "recent": timedelta(days=7) - timedelta(minutes=1)}
        for worker, age in ages.items():
            written_at = int((utc_now() - age).timestamp() * 1_000_000)
            raw(path, "UPDATE keyguard_flushes SET written_at = ? WHERE worker = ?", written_at, worker)
        await store.record_uses(ONCE, worker="own", sequence=2)
        assert len(raw(path, "SELECT worker FROM keyguard_flushes")) == 3
        await store.record_uses(ONCE, worker="new", sequence=1)
        workers = raw(path, "SELECT worker, sequence FROM keyguard_flushes ORDER BY worker")
        assert workers == [("new", 1), ("own", 2), ("recent", 1)]
        assert (await store.get_uses(["one"]))["one"].total == 5


async def test_counting_is_no_change(path):
    """Neither uses nor new digests move the revision, so that nothing is read again for them."""
    async with opened(path) as store:
        await store.add_owner(Owner(id="owner-1", name="ada"), created_at=NOON)
        key = make_record("one", "owner-1")
        await store.add_key(key)
        before = store.token(), raw(path, "SELECT n FROM keyguard_revision")
        assert before[0] is not None
        await store.record_uses(ONCE, worker="w", sequence=1)
        new = make_digest("new")
        assert await store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new)
        assert (store.token(), raw(path, "SELECT n FROM keyguard_revision")) == before


async def test_nobody_is_waited_for(postgres_url):
    """On PostgreSQL uses and new digests are written without a look at who has heard of it; a revocation takes one."""
    store = SQLStore(postgres_url)
    await store.create_schema()
    await store.add_owner(Owner(id="owner-1", name="ada"), created_at=NOON)
    key = make_record("one", "owner-1")
    await store.add_key(key)
    new = make_digest("new")
    with executions(store) as seen:
        await store.record_uses(ONCE, worker="w", sequence=1)
        assert await store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new)
        assert not [statement for statement, _ in seen if "keyguard_listener" in statement]
        await store.revoke_key("one", NOON, "leaked")
        assert [statement for statement, _ in seen if "keyguard_listener" in statement]
    await store.close()


# --- several that write at once ---------------------------------------------------------------------------------


async def count(stores, *, tasks=8, times=30):
    """So many tasks that use keys, as workers with a store between them."""

    async def use(number):
        uses = Uses(stores[number % len(stores)])
        for time in range(times):
            uses.note("all", NOON.timestamp() + time, f"192.0.2.{time}")
            uses.note(f"task {number}", NOON.timestamp(), None)
            await uses.flush()
        await uses.close()

    await asyncio.gather(*map(use, range(tasks)))


async def test_tasks_lose_no_count(path):
    """Eight tasks that count over several stores of one file lose nothing, and the latest use is the last."""
    async with opened(path) as one, opened(path) as two, opened(path) as three:
        await count([one, two, three])
        uses = await one.get_uses(["all", *(f"task {number}" for number in range(8))])
    last = Usage(total=240, last_used_at=NOON + timedelta(seconds=29), last_used_address="192.0.2.29")
    assert uses.pop("all") == last
    assert {use.total for use in uses.values()} == {30}
    assert len(uses) == 8


COUNTING = """
import asyncio, sys
sys.path.insert(0, {folder!r})
from test_uses import count, opened

async def main():
    async with opened({path!r}) as store:
        await count([store], tasks=4)

asyncio.run(main())
"""


async def test_processes_lose_no_count(path):
    """Two processes that count in the same file at the same time lose nothing."""
    async with opened(path) as store:
        script = COUNTING.format(folder=str(Path(__file__).parent), path=str(path))
        processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", script) for _ in range(2)]
        assert [await process.wait() for process in processes] == [0, 0]
        uses = await store.get_uses(["all", "task 0", "task 3"])
    assert [use.total for use in uses.values()] == [240, 60, 60]


# --- when it cannot be written ----------------------------------------------------------------------------------


@contextmanager
def full_disk(store):
    """Let the database grow no more meanwhile, as on a full disk: SQLite's own limit, with the error of a full disk."""
    limits = [1]

    def limit(connection, entry, proxy):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {limits[-1]}")  # No less than it has.
        cursor.close()

    event.listen(store._database.engine.sync_engine, "checkout", limit)
    yield
    limits.append(1_000_000)


async def test_a_full_disk_loses_no_count(path, caplog):
    """A batch for which there is no place fails whole; when there is, all is written, and once."""
    async with opened(path) as store:
        uses = Uses(store)
        ids = [f"key {number} {'x' * 200}" for number in range(1_200)]
        with full_disk(store):
            for _ in range(3):
                for key_id in ids:
                    uses.note(key_id, NOON.timestamp(), "192.0.2.1")
                await uses.flush()
            assert await store.get_uses(ids) == {}
        lines = [record.getMessage() for record in caplog.records]
        assert lines == ["uses could not be written now: the database cannot answer now: database or disk is full"] * 3
        await uses.close()
        found = await store.get_uses(ids)
    assert found == {key_id: Usage(total=3, last_used_at=NOON, last_used_address="192.0.2.1") for key_id in ids}


async def test_a_locked_database_loses_no_count(path):
    """While another process keeps the database locked a batch waits, and it is written once when it is unlocked."""
    async with opened(path) as store:
        uses = Uses(store, seconds=0.1)
        uses.note("one", NOON.timestamp(), "192.0.2.1")
        locking = (
            "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "connection.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read()"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", locking, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await process.stdout.readline()
        await uses.flush()
        uses.note("one", NOON.timestamp(), "192.0.2.1")
        await uses.flush()
        process.stdin.close()
        await process.wait()
        uses._seconds = 10
        await uses.close()
        assert await store.get_uses(["one"]) == {
            "one": Usage(total=2, last_used_at=NOON, last_used_address="192.0.2.1")
        }
