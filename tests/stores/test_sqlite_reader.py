"""Keys are read from a SQLite file on the event loop itself; where that cannot be at once, through the pool."""

import sqlite3
import threading
from contextlib import asynccontextmanager, closing
from ipaddress import ip_network
from uuid import UUID

import pytest
from sqlalchemy import Integer, Uuid, event

from keyguard.model import Found, Owner
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_digest, make_record

ADA = Owner(id="ada-id", name="ada", is_superuser=True)
KEY = make_record(
    "one",
    ADA.id,
    scopes=frozenset({"flows:read"}),
    networks=(ip_network("192.0.2.0/24"),),
    not_before=NOON,
    expires_at=NOON,
    disabled_at=NOON,
    revoked_at=NOON,
    revoked_reason="leaked",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@asynccontextmanager
async def filled(path):
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    try:
        await store.create_schema()
        await store.add_owner(ADA, created_at=NOON)
        await store.add_key(KEY)
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.fixture
def pooled():
    """Counts the statements that go through a store's pool."""

    def count(store):
        seen = []
        event.listen(store._database.engine.sync_engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
        return seen

    return count


async def test_both_ways_find_the_same(path, pooled):
    """A key is found whole without the pool, and the very same where the pool has to be asked."""
    async with filled(path) as store:
        seen = pooled(store)
        for lookups in ([KEY.lookup], [make_digest("other"), KEY.lookup], (KEY.lookup,)):
            assert await store.find(lookups) == Found(key=KEY, owner=ADA)
        for lookups in ([make_digest("other")], []):
            assert await store.find(lookups) is None
        assert seen == []
        store._reader.close()
        assert await store.find([KEY.lookup]) == Found(key=KEY, owner=ADA)
        assert await store.find([]) is None
        assert len(seen) == 2


@pytest.mark.parametrize(("kind", "value"), [(Integer(), 7), (Uuid(), UUID("3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11"))])
async def test_ids_of_the_apps_own_type_are_read(path, pooled, kind, value):
    """Where owners' ids are integers or UUIDs in the app's table, a key is found without the pool too."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (id PRIMARY KEY, is_active BOOLEAN, is_superuser BOOLEAN)")
        connection.execute("INSERT INTO users VALUES (?, 1, NULL)", [value.hex if isinstance(value, UUID) else value])
    store = SQLStore(f"sqlite+aiosqlite:///{path}", users=UserTable("users", id_type=kind))
    await store.create_schema()
    key = make_record("one", str(value))
    await store.add_key(key)
    seen = pooled(store)
    assert await store.find([key.lookup]) == Found(key=key, owner=Owner(id=str(value), name=str(value)))
    assert seen == []
    await store.close()


async def test_every_find_sees_what_was_committed_before(path):
    """A change by another connection is in the next answer; no statement is left open in between."""
    async with filled(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            for number in range(20):
                other.execute("UPDATE keyguard_keys SET name = ?", [str(number)])
                assert (await store.find([KEY.lookup])).key.name == str(number)
            left_open = store._reader._connection.execute("SELECT id FROM keyguard_keys UNION ALL SELECT 'x'")
            left_open.fetchone()
            other.execute("UPDATE keyguard_keys SET name = 'new'")
            assert (await store.find([KEY.lookup])).key.name == "19"  # So this test would notice.


async def test_whatever_fails_is_asked_again_through_the_pool(path, pooled):
    """Where the connection fails, as with a busy database, the pool is asked, and the next find needs it no more."""
    async with filled(path) as store:
        seen = pooled(store)
        store._reader._connection.set_progress_handler(lambda: 1, 1)  # Interrupts whatever runs.
        assert await store.find([KEY.lookup]) == Found(key=KEY, owner=ADA)
        assert len(seen) == 1
        store._reader._connection.set_progress_handler(None, 1)
        assert await store.find([KEY.lookup]) == Found(key=KEY, owner=ADA)
        assert len(seen) == 1


async def test_a_connection_that_another_thread_has_is_not_waited_for(path, pooled):
    """While another loop's thread uses the connection, the pool is asked."""
    async with filled(path) as store:
        seen = pooled(store)
        with store._reader._lock:
            assert await store.find([KEY.lookup]) == Found(key=KEY, owner=ADA)
        assert len(seen) == 1


async def test_it_only_reads(path):
    """The connection cannot write."""
    async with filled(path) as store:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            store._reader._connection.execute("DELETE FROM keyguard_keys")


async def test_a_file_that_cannot_be_read_is_asked_through_the_pool(path):
    """Where the connection cannot be made, every find says that it is busy."""
    async with filled(path) as store:
        store._reader.close()
        path.rename(path.with_name("away.db"))
        store._reader.open()
        assert store._reader._connection is None
        path.with_name("away.db").rename(path)
        assert await store.find([KEY.lookup]) == Found(key=KEY, owner=ADA)


async def test_it_runs_in_the_loops_own_thread(path):
    """A find starts no thread and waits for none."""
    async with filled(path) as store:
        before = threading.active_count()
        finding = store.find([KEY.lookup])
        with pytest.raises(StopIteration) as done:
            finding.send(None)  # One step is the whole way.
        assert done.value.value == Found(key=KEY, owner=ADA)
        assert threading.active_count() == before


async def test_an_in_memory_database_has_none():
    """A database in memory is read through its one connection."""
    store = SQLStore("sqlite+aiosqlite://")
    assert store._reader is None
    await store.close()
