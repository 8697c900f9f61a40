"""What the SQL store promises beyond the ports: how it asks the database, and what it says when that goes wrong."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, Uuid, event
from sqlalchemy.dialects import registry
from sqlalchemy.types import NullType, UserDefinedType

from keyguard.errors import (
    ConfigurationError,
    Conflict,
    NotFound,
    SchemaMismatch,
    StartRefused,
    StoreUnavailable,
    WrongPepper,
)
from keyguard.model import AuditEvent, AuditKind, Credential, KeyState, Owner
from keyguard.settings import Keyring
from keyguard.stores._schema import REVISION, VERSION
from keyguard.stores._vouchers import voucher_for
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_digest, make_record

ADA = Owner(id="owner-1", name="ada")
KEY = make_record("one", ADA.id)
REVOKED = AuditEvent(at=NOON, kind=AuditKind.KEY_REVOKED, key_id="one")

LITERALLY = {"literal_binds": True}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@asynccontextmanager
async def opened(url, **arguments):
    """A store with its tables, which is closed afterwards."""
    store = SQLStore(url if "://" in str(url) else f"sqlite+aiosqlite:///{url}", **arguments)
    try:
        await store.create_schema()
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def filled(url, **arguments):
    """A store with its tables, one owner and one key."""
    async with opened(url, **arguments) as store:
        await store.add_owner(ADA, created_at=NOON)
        await store.add_key(KEY)
        yield store


def raw(path, statement, *parameters):
    """What another program does to the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


@contextmanager
def statements(store):
    """What the database is asked meanwhile."""
    seen = []

    def note(connection, cursor, statement, *rest):
        seen.append(statement)

    engine = store._database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    if reads_itself := store._reader is not None and store.is_open:
        store._reader._connection.set_trace_callback(seen.append)  # With the parameters written into them.
    yield seen
    event.remove(engine, "before_cursor_execute", note)
    if reads_itself:
        store._reader._connection.set_trace_callback(None)


# --- the URL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///keys.db",
        "sqlite://",
        "keys.db",
        "",
        "nosuch+driver://user:hunter2@host/db",
        "postgresql+asyncpg://user:hunter2@host:port/db",
        "sqlite+aiosqlite:///keys.db?timeout=soon",
    ],
)
def test_a_wrong_url_is_refused(url):
    """What is no URL of an asyncio driver is refused, with one that would do, and without quoting a password."""
    sentence = r"a database URL with an asyncio driver, such as 'sqlite\+aiosqlite:///keys\.db'"
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        SQLStore(url)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


async def test_any_asyncio_driver_will_do(path):
    """A database that the store knows nothing of is used as SQLAlchemy knows it."""
    registry.register("another.aiosqlite", "sqlalchemy.dialects.sqlite.aiosqlite", "SQLiteDialect_aiosqlite")
    async with filled(f"another+aiosqlite:///{path}") as store:
        with pytest.raises(Conflict):
            await store.add_key(KEY)
        assert (await store.find([KEY.lookup])).key == KEY
    assert raw(path, "PRAGMA journal_mode") == [("delete",)]


async def test_reads_at_once_are_as_many_as_connections(path):
    """A file is read over four connections, an in-memory database over its only one."""
    assert SQLStore(f"sqlite+aiosqlite:///{path}").concurrency == 4
    assert [SQLStore(f"sqlite+aiosqlite://{rest}").concurrency for rest in ("", "/", "/:memory:")] == [1, 1, 1]


# --- how the database is asked ----------------------------------------------------------------------------------


async def test_a_find_is_one_statement(path):
    """A find is one SELECT, whether or not there is such a key, and nothing else: no BEGIN, no write."""
    for url in (path, "sqlite+aiosqlite://"):
        async with filled(url) as store:
            for lookups in ([KEY.lookup], [make_digest("other"), KEY.lookup], [make_digest("other")], []):
                with statements(store) as seen:
                    await store.find(lookups)
                assert len(seen) == 1
                assert seen[0].startswith("SELECT ")


async def test_a_find_uses_the_indexes(path):
    """A find goes by the unique index of lookups and the owner's primary key, and scans no table."""
    async with filled(path) as store:
        with statements(store) as seen:
            await store.find([KEY.lookup])
        plan = raw(path, f"EXPLAIN QUERY PLAN {seen[0]}")
    assert [detail.split(" (")[0] for *_, detail in plan] == [
        "SEARCH keyguard_keys USING INDEX sqlite_autoindex_keyguard_keys_2",
        "SEARCH keyguard_owners USING INDEX sqlite_autoindex_keyguard_owners_1",
    ]


async def test_a_list_is_one_statement(path):
    """Keys are filtered and cut to pages by the database: one SELECT, whatever is asked for."""
    async with filled(path) as store:
        with statements(store) as seen:
            await store.list_keys(ADA.id, state=KeyState.GRACE, at=NOON, begins="kg_", after=KEY, limit=5)
    assert [statement.split(" ")[0] for statement in seen] == ["SELECT"]


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        ({}, ["SCAN keyguard_keys USING INDEX ix_keyguard_keys_created_at"]),
        ({"after": KEY}, ["SEARCH keyguard_keys USING INDEX ix_keyguard_keys_created_at"]),
        ({"state": KeyState.ACTIVE, "at": NOON}, ["SCAN keyguard_keys USING INDEX ix_keyguard_keys_created_at"]),
        (
            {"owner_id": ADA.id},
            ["SEARCH keyguard_keys USING INDEX ix_keyguard_keys_owner_id_created_at"],
        ),
    ],
    ids=["first", "next", "in a state", "of an owner"],
)
async def test_a_page_is_read_by_an_index(path, asked, plan):
    """A page of keys, of all of them or of one owner's, is read in the order of an index, and nothing is sorted."""
    async with filled(path) as store, store._database.engine.connect() as connection:
        arguments = {"owner_id": None, "state": None, "at": None, "begins": "", "after": None, "limit": 50, **asked}
        compiled = store._keys.listing(**arguments).compile(connection.sync_engine, compile_kwargs=LITERALLY)
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")).all()
    assert [detail.split(" (")[0] for *_, detail in rows] == plan


async def test_a_state_is_that_of_a_time():
    """To ask for the keys in a state without saying when is a mistake, and not an empty list."""
    async with filled("sqlite+aiosqlite://") as store:
        for each in (store, MemoryStore()):
            with pytest.raises(ConfigurationError, match="give `at` as well"):
                await each.list_keys(state=KeyState.ACTIVE)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 10**30])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_numbers_may_be_larger_than_a_database_takes(path, request, kind, number):
    """Asked for more rows, or events before a later one, than there can be, a store answers with all there are."""
    url = f"sqlite+aiosqlite:///{path}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    store = SQLStore(url)
    await store.create_schema()
    try:
        await store.add_owner(Owner(id="1", name="ada"), created_at=NOON)
        credential = Credential(
            owner_id="1", name="TOKEN", sealed="v1.x", sealed_with="old", created_at=NOON, updated_at=NOON
        )
        await store.put_credential(credential)
        await store.add_key(make_record("one", "1", expires_at=NOON), events=[REVOKED])
        assert len(await store.list_events(before=number, limit=number)) == 1
        assert len(await store.list_keys(limit=number)) == 1
        assert await store.credentials_to_reseal("new", limit=number) == [credential]
        assert await store.purge_keys(NOON + timedelta(days=1), limit=number, event=REVOKED) == 1
    finally:
        await store.close()


async def test_reading_writes_nothing(path):
    """Another connection sees no change of the database after finds and other reads."""
    async with filled(path) as store:
        with closing(sqlite3.connect(path)) as watcher:
            before = watcher.execute("PRAGMA data_version").fetchone()
            await store.find([KEY.lookup])
            await store.find_owner("ada")
            await store.list_keys()
            assert watcher.execute("PRAGMA data_version").fetchone() == before
            await store.rename_key("one", "a change, so that the test can fail")
            assert watcher.execute("PRAGMA data_version").fetchone() != before


UPDATE = (
    "UPDATE keyguard_keys SET revoked_at=?, revoked_reason=? "
    "WHERE keyguard_keys.id = ? AND keyguard_keys.revoked_at IS NULL"
)


async def test_a_write_begins_at_once(path):
    """A write begins with BEGIN IMMEDIATE and sets no column that it does not speak of."""
    async with filled(path) as store:
        with statements(store) as seen:
            await store.revoke_key("one", NOON, "leaked")
        assert seen == [
            "BEGIN IMMEDIATE",
            UPDATE,
        ]


async def test_an_event_is_written_with_its_change(path):
    """A change and its event are one transaction, in which the key's owner is read; without a change, neither is."""
    async with filled(path) as store:
        with statements(store) as seen:
            await store.revoke_key("one", NOON, "leaked", events=[REVOKED])
            await store.revoke_key("one", NOON, "leaked", events=[REVOKED])
    assert [" ".join(statement.split()[:3]) for statement in seen] == [
        "BEGIN IMMEDIATE",
        "UPDATE keyguard_keys SET",
        "SELECT keyguard_keys.id, keyguard_keys.owner_id",
        "INSERT INTO keyguard_events",
        "BEGIN IMMEDIATE",
        "UPDATE keyguard_keys SET",
        "SELECT keyguard_keys.id FROM",
    ]


async def test_times_are_integers_of_microseconds(path):
    """A time stands in the table as microseconds since 1970 in UTC, whatever zone it came in."""
    at = datetime(2026, 1, 1, 1, 0, 0, 7, tzinfo=UTC)
    async with filled(path) as store:
        await store.revoke_key("one", at.astimezone(), "")
        assert (await store.get_key("one")).revoked_at == at
    ((kind, value),) = raw(path, "SELECT typeof(revoked_at), revoked_at FROM keyguard_keys")
    assert (kind, value) == ("integer", int(at.timestamp()) * 1_000_000 + 7)


async def test_times_without_a_zone_are_refused(path):
    """A naive datetime is refused with a sentence, and nothing is written."""
    async with filled(path) as store:
        with pytest.raises(ConfigurationError, match="a time is an aware datetime"):
            await store.revoke_key("one", NOON.replace(tzinfo=None), "leaked")
        assert await store.get_key("one") == KEY


async def test_a_connection_is_set_up_for_safety(path):
    """The write-ahead log is on, each commit is on disk, foreign keys hold, and a lock is waited for five seconds."""
    async with opened(path) as store:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        answers = await store._database.inspect(
            lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        )
    assert answers == ["wal", 2, 1, 5000]


async def test_a_store_opens_by_itself(path):
    """Any call opens the store, once, so that scripts need not."""
    async with filled(path) as store:
        await store.close()
        assert not store.is_open
        found = await asyncio.gather(*[store.find([KEY.lookup]) for _ in range(4)])
        assert store.is_open
        assert [each.key for each in found] == [KEY] * 4
        await store.close()
        await store.rename_key("one", "renamed")
        assert store.is_open


async def test_a_change_is_seen_by_every_store(path):
    """What one store has changed, the next read of another one sees."""
    async with filled(path) as store, opened(path) as other:
        for number in range(20):
            await store.rename_key("one", str(number))
            assert (await other.find([KEY.lookup])).key.name == str(number)


async def test_what_is_in_memory_ends_with_closing():
    """An in-memory database is gone when it was closed; opening says so, and making the tables mends it."""
    async with filled("sqlite+aiosqlite://") as store:
        await store.close()
        with pytest.raises(SchemaMismatch):
            await store.find([KEY.lookup])
        await store.create_schema()
        assert await store.find([KEY.lookup]) is None


async def test_a_cancelled_call_is_finished_behind_the_scenes():
    """Callers that go away lose nothing: their connection is given back, and an in-memory database stays."""
    async with filled("sqlite+aiosqlite://") as store:
        for _ in range(20):
            calls = [asyncio.create_task(store.find([KEY.lookup])), asyncio.create_task(store.find_owner("ada"))]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            assert all(
                isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*calls, return_exceptions=True)
            )
        revoking = asyncio.create_task(store.revoke_key("one", NOON, "leaked"))
        failing = asyncio.create_task(store.rename_key("none", "x"))
        await asyncio.sleep(0)
        revoking.cancel()
        failing.cancel()
        await asyncio.wait([revoking, failing])
        assert (await store.find([KEY.lookup])).key.revoked_at == NOON


async def test_closing_waits_for_what_is_under_way(path):
    """A change whose caller went away is done when `close` returns."""
    async with filled(path) as store:
        revoking = asyncio.create_task(store.revoke_key("one", NOON, "leaked"))
        await asyncio.sleep(0)
        revoking.cancel()
        await store.close()
    assert raw(path, "SELECT revoked_reason FROM keyguard_keys") == [("leaked",)]


async def test_what_is_under_way_can_be_ended():
    """Where the loop itself ends a call, as `asyncio.run` does at its end, nothing complains."""
    async with filled("sqlite+aiosqlite://") as store:
        call = asyncio.create_task(store.find([KEY.lookup]))
        await asyncio.sleep(0)
        for task in store._database._under_way:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


# --- one event loop after another, and several at once ------------------------------------------------------------


async def find_often(store):
    """More finds at once than there are connections, and writes among them."""
    finds = [store.find([KEY.lookup]) for _ in range(20)]
    writes = [store.rename_key("one", str(number)) for number in range(4)]
    found, _ = await asyncio.gather(asyncio.gather(*finds), asyncio.gather(*writes))
    return {each.key.id for each in found}


async def fill(store):
    await store.create_schema()
    await store.add_owner(ADA, created_at=NOON)
    await store.add_key(KEY)


async def find_and_close(store):
    try:
        return await find_often(store)
    finally:
        await store.close()


@pytest.mark.parametrize(
    "url",
    ["sqlite+aiosqlite:///{path}", "sqlite+aiosqlite://", "loops+aiosqlite:///{path}"],
    ids=["file", "memory", "any"],
)
def test_a_store_outlives_its_event_loop(path, url):
    """A store goes on in the next event loop, closed before or not, with more calls at once than connections."""
    registry.register("loops.aiosqlite", "sqlalchemy.dialects.sqlite.aiosqlite", "SQLiteDialect_aiosqlite")
    store = SQLStore(url.format(path=path))
    asyncio.run(fill(store))
    assert [asyncio.run(find_often(store)) for _ in range(3)] == [{"one"}] * 3
    if url.endswith("{path}"):
        for _ in range(3):
            assert asyncio.run(find_and_close(store)) == {"one"}
    asyncio.run(store.close())


async def test_connections_of_other_drivers_stay_in_their_loop(path):
    """Where connections belong to their event loop, another loop gets new ones, and the same loop the same."""
    registry.register("loops.aiosqlite", "sqlalchemy.dialects.sqlite.aiosqlite", "SQLiteDialect_aiosqlite")
    async with filled(f"loops+aiosqlite:///{path}") as store:
        made = []
        event.listen(store._database.engine.sync_engine, "connect", lambda connection, _: made.append(connection))
        await store.find([KEY.lookup])
        await store.find([KEY.lookup])
        assert made == []
        await asyncio.to_thread(asyncio.run, store.find([KEY.lookup]))
        assert len(made) == 1


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///{path}", "sqlite+aiosqlite://"], ids=["file", "memory"])
def test_a_store_serves_several_event_loops_at_once(path, url):
    """Loops in several threads, as a test client makes them, share a store's connections and all get their answers."""
    store = SQLStore(url.format(path=path))
    asyncio.run(fill(store))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: asyncio.run(find_often(store)), range(24)))
    assert found == [{"one"}] * 24
    asyncio.run(store.close())


async def test_closing_leaves_the_calls_of_other_loops_alone(path):
    """What another loop has left behind can be waited for by nobody, and does not hold up the end."""
    async with filled(path) as store:
        loop = asyncio.new_event_loop()
        left_behind = loop.create_task(asyncio.sleep(0))
        store._database._under_way.add(left_behind)
        await store.close()
        await asyncio.to_thread(loop.run_until_complete, left_behind)
        loop.close()


# --- who waits for whom -----------------------------------------------------------------------------------------


async def test_writers_do_not_keep_readers_waiting(path):
    """However many writes wait while another program writes, as many reads at once as ever are answered."""
    async with filled(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writes = [asyncio.create_task(store.rename_key("one", str(number))) for number in range(8)]
            for _ in range(20):  # They begin.
                await asyncio.sleep(0)
            found = await asyncio.gather(*(store.find([KEY.lookup]) for _ in range(store.concurrency)))
            assert {each.key.id for each in found} == {"one"}
            assert not any(write.done() for write in writes)
            writer.execute("COMMIT")
        await asyncio.gather(*writes)
        assert (await store.get_key("one")).name == "7"


async def test_a_write_waits_for_its_turn_no_longer_than_for_a_lock(path):
    """Where the writes before it take too long, a write is unavailable, and is not done later."""
    async with filled(f"sqlite+aiosqlite:///{path}?timeout=0.05") as store:
        async with store._database._writing:
            with pytest.raises(StoreUnavailable, match="cannot be reached now: others use it all the time"):
                await store.rename_key("one", "too late")
        await store.set_key_disabled("one", NOON)
        assert (await store.get_key("one")).name == KEY.name


# --- the tables -------------------------------------------------------------------------------------------------


async def test_missing_tables_are_named_with_their_remedy(path):
    """A database without the tables, or without one of them, refuses the start and says how to make them."""
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    with pytest.raises(SchemaMismatch, match=r"`await store\.create_schema\(\)` makes them, before the server starts"):
        await store.open()
    await store.create_schema()
    await store.open()
    await store.close()
    raw(path, "DROP TABLE keyguard_keys")
    with pytest.raises(SchemaMismatch, match="not all of them"):
        await store.open()
    assert not store.is_open
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keyguard_meta SET value = '0' WHERE name = 'schema'",
        "DELETE FROM keyguard_meta WHERE name = 'schema'",
        "DELETE FROM keyguard_meta WHERE name = 'pepper'",
    ],
)
async def test_tables_of_another_version_are_refused(path, change):
    """Tables of another version, or of none, refuse the start and point to the migrations."""
    async with opened(path) as store:
        await store.close()
        raw(path, change)
        with pytest.raises(SchemaMismatch, match=r"migrations\.upgrade"):
            await store.open()


async def test_making_the_tables_leaves_other_versions_alone(path):
    """`create_schema` on tables of another version raises, and makes nothing."""
    async with opened(path) as store:
        await store.close()
        raw(path, "UPDATE keyguard_meta SET value = '0' WHERE name = 'schema'")
        raw(path, "DROP TABLE keyguard_keys")
        with pytest.raises(SchemaMismatch, match="'0'"):
            await store.create_schema()
    assert raw(path, "SELECT name FROM sqlite_master WHERE name = 'keyguard_keys'") == []


async def test_tables_from_the_metadata_alone_are_completed(path):
    """Tables that the app made of `metadata` lack their notes: the start says so, and `create_schema` adds them."""
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    await store.change_schema(store.metadata.create_all)
    with pytest.raises(SchemaMismatch, match=r"keyguard_meta is empty: `await store\.create_schema\(\)` fills it"):
        await store.open()
    await store.create_schema()
    await store.open()
    await store.close()
    assert raw(path, "SELECT * FROM keyguard_meta ORDER BY name") == [("pepper", ""), ("schema", VERSION)]
    assert raw(path, "SELECT * FROM keyguard_alembic_version") == [(REVISION,)]


async def test_making_the_tables_again_does_nothing(path):
    """`create_schema` where the tables are keeps what is in them."""
    async with filled(path, keyring=Keyring(peppers=[b"a pepper of sixteen"])) as store:
        await store.create_schema()
        assert await store.get_key("one") == KEY
    assert len(raw(path, "SELECT * FROM keyguard_meta")) == 2
    assert raw(path, "SELECT * FROM keyguard_alembic_version") == [(REVISION,)]


WORKER = """
import asyncio, sys, time
from datetime import UTC, datetime
from keyguard.errors import Conflict
from keyguard.model import AuditEvent, AuditKind, Credential, KeyState, Owner
from keyguard.stores.sql import SQLStore
from keyguard.testing import make_digest, make_record

async def main(path, name, begin):
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    while time.time() < float(begin):
        pass
    await store.create_schema()
    try:
        await store.add_owner(Owner(id="o", name="o"), created_at=datetime.now(UTC))
    except Conflict:
        pass
    for number in range(25):
        await store.add_key(make_record(f"{name}-{number}", "o"))
    won = [await store.revoke_key(f"{one}-{number}", datetime.now(UTC), name)
           for number in range(25) for one in ["a", "b", "c"] if await store.get_key(f"{one}-{number}")]
    await store.close()
    print(sum(won))

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_at_once_lose_nothing(path):
    """Three processes that make the tables and write at once all succeed, and each key is revoked by one of them."""
    begin = str(datetime.now(UTC).timestamp() + 1.5)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, path, name, begin], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    won = [int(worker.communicate(timeout=50)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert raw(path, "SELECT count(*) FROM keyguard_keys") == [(75,)]
    assert raw(path, "SELECT count(*) FROM keyguard_keys WHERE revoked_at IS NOT NULL") == [(sum(won),)]
    assert sum(won) >= 50


# --- the note of the pepper -------------------------------------------------------------------------------------

P, Q, R = (f"pepper {letter} of sixteen" for letter in "PQR")


@pytest.mark.parametrize(
    ("noted", "given", "then"),
    [
        ((), (), ""),
        ((), (P,), P),
        ((), (P, Q), P),
        ((P,), (P,), P),
        ((P,), (P, Q), P),
        ((P,), (Q, P), Q),
        ((P, Q), (Q, P), Q),
        ((P,), (Q,), None),
        ((P,), (Q, R), None),
        ((P,), (), None),
        ((P, Q), (Q,), None),
    ],
)
async def test_the_pepper_is_noted_and_a_wrong_one_refused(path, noted, given, then):
    """The first pepper is noted at start; where the one that is noted is not among those given, nothing changes."""
    note = "SELECT value FROM keyguard_meta WHERE name = 'pepper'"
    async with opened(path, keyring=Keyring(peppers=noted)) as store:
        await store.open()
    before = raw(path, note)
    store = SQLStore(f"sqlite+aiosqlite:///{path}", keyring=Keyring(peppers=given))
    if then is None:
        with pytest.raises(WrongPepper, match="not among those given" if given else "none was given"):
            await store.open()
        assert not store.is_open
        with pytest.raises(WrongPepper):
            await store.find([KEY.lookup])
        assert raw(path, note) == before
    else:
        await store.open()
        assert raw(path, note) == [(Keyring(peppers=[then]).pepper_checks[0] if then else "",)]
    await store.close()


async def test_of_two_first_peppers_one_is_noted(path):
    """Two processes that start at once with different peppers do not both pass."""
    async with opened(path, keyring=Keyring(peppers=[P])) as one, opened(path, keyring=Keyring(peppers=[Q])) as other:
        ends = await asyncio.gather(one.open(), other.open(), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "WrongPepper"]


# --- what goes wrong --------------------------------------------------------------------------------------------


@contextmanager
def locked(path):
    """The database, wholly in the hand of another process."""
    script = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        yield
        holder.stdin.close()


async def test_a_locked_database_is_unavailable(path):
    """While another process has the database to itself the store is unavailable; afterwards it goes on by itself."""
    async with filled(f"sqlite+aiosqlite:///{path}?timeout=0.05") as store:
        await store.close()  # Where a connection is open, SQLite grants no exclusive lock.
        with locked(path):
            for ask in (store.open(), store.find([KEY.lookup]), store.rename_key("one", "x")):
                with pytest.raises(StoreUnavailable, match="database is locked"):
                    await ask
        assert (await store.find([KEY.lookup])).key == KEY


async def test_a_writer_does_not_hold_up_readers(path):
    """While another program writes, finds are answered, and a write that waited too long is unavailable."""
    async with filled(f"sqlite+aiosqlite:///{path}?timeout=0.05") as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE keyguard_keys SET name = 'not yet'")
            assert (await store.find([KEY.lookup])).key == KEY
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await store.rename_key("one", "x")
            writer.execute("COMMIT")
        assert (await store.find([KEY.lookup])).key.name == "not yet"


async def test_a_connection_is_waited_for_no_longer_than_a_lock():
    """Where all connections are in use for too long, the store is unavailable."""
    async with filled("sqlite+aiosqlite://?timeout=0.05") as store:
        async with store._database.engine.connect():
            with pytest.raises(StoreUnavailable, match="cannot be reached now"):
                await store.find([KEY.lookup])
        assert (await store.find([KEY.lookup])).key == KEY


@pytest.mark.parametrize("content", [b"no database " * 100, None])
async def test_what_is_no_database_is_unavailable(path, content):
    """A file, or a directory, that SQLite cannot read makes the store unavailable."""
    path.mkdir() if content is None else path.write_bytes(content)
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    threads = set(threading.enumerate())
    with pytest.raises(StoreUnavailable):
        await store.open()
    for thread in set(threading.enumerate()) - threads:  # The connection's own is about to end.
        thread.join(5)
        assert not thread.is_alive()
    await store.close()


@pytest.mark.parametrize(
    "database", ["/file:{path}?vfs=unix-none&uri=true", "/file:one?mode=memory&cache=shared&uri=true"]
)
async def test_a_database_without_a_write_ahead_log_is_refused(path, database):
    """Where SQLite cannot keep a write-ahead log, the start is refused with a sentence."""
    store = SQLStore(f"sqlite+aiosqlite://{database.format(path=path)}")
    with pytest.raises(StartRefused, match="needs SQLite's write-ahead log"):
        await store.open()
    await store.close()


async def test_switching_to_the_write_ahead_log_is_tried_again(path):
    """A database that cannot be switched because somebody reads in it is unavailable, and then it is switched."""
    raw(path, "CREATE TABLE other (x)")
    store = SQLStore(f"sqlite+aiosqlite:///{path}?timeout=0.01")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM other").fetchall()
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await store.create_schema()
    await store.create_schema()
    await store.close()
    assert raw(path, "PRAGMA journal_mode") == [("wal",)]


async def test_no_parameter_shows_in_an_error(path):
    """What a statement was given shows neither in the error nor in its traceback."""
    async with filled(path) as store:
        raw(path, "DROP TABLE keyguard_keys")
        for ask in (store.find([KEY.lookup]), store.add_key(KEY), store.get_key(KEY.lookup)):
            with pytest.raises(StoreUnavailable, match="no such table") as failed:
                await ask
            assert KEY.lookup not in "".join(traceback.format_exception(failed.value))
        with pytest.raises(Conflict) as failed:
            await store.add_owner(ADA, created_at=NOON, password=make_digest("password"))
        assert make_digest("password") not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("scopes", '"flows:read"'),
        ("scopes", "[1]"),
        ("scopes", "flows"),
        ("networks", '["not a network"]'),
        ("networks", "{}"),
        ("expires_at", 10**18),
        ("expires_at", "tomorrow"),
    ],
)
async def test_a_row_that_cannot_be_read_is_no_pass(path, column, value):
    """A row into which somebody wrote nonsense makes the check fail, and never counts as a key without restrictions."""
    async with filled(path) as store:
        raw(path, f"UPDATE keyguard_keys SET {column} = ?", value)
        with pytest.raises(StoreUnavailable):
            await store.find([KEY.lookup])


async def test_a_change_whose_event_cannot_be_written_is_not_made(path):
    """Where the audit log does not take an event the change that it tells of is not made either."""
    ended = make_record("two", ADA.id, expires_at=NOON)
    async with filled(path) as store:
        await store.add_key(ended)
        raw(path, "CREATE TRIGGER full BEFORE INSERT ON keyguard_events BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(StoreUnavailable):
            await store.revoke_key("one", NOON, "leaked", events=[REVOKED])
        with pytest.raises(StoreUnavailable):
            await store.purge_keys(NOON + timedelta(1), limit=1, event=REVOKED)
        assert await store.list_keys() == [ended, KEY]


@pytest.mark.parametrize(("column", "value"), [("kind", "key.eaten"), ("detail", "{"), ("at", "yesterday")])
async def test_an_event_that_cannot_be_read_is_not_passed_over(path, column, value):
    """An event into whose row somebody wrote nonsense makes the log unreadable, rather than one event shorter."""
    async with filled(path) as store:
        await store.revoke_key("one", NOON, "leaked", events=[REVOKED])
        raw(path, f"UPDATE keyguard_events SET {column} = ?", value)
        with pytest.raises(StoreUnavailable):
            await store.list_events()


@pytest.mark.parametrize(
    "detail", [{"a": object()}, {"a": float("nan")}, {"a": b"bytes"}], ids=["object", "nan", "bytes"]
)
async def test_a_detail_is_json(detail):
    """A detail that is no JSON object keeps its change from being made, and is not quoted."""
    event = replace(REVOKED, detail=detail)
    async with filled("sqlite+aiosqlite://") as store:
        memory = MemoryStore()
        await memory.add_owner(ADA, created_at=NOON)
        await memory.add_key(KEY)
        for each in (store, memory):
            with pytest.raises(ConfigurationError, match="the detail of an event is a JSON object"):
                await each.revoke_key("one", NOON, "leaked", events=[event])
            assert await each.list_keys() == [KEY]


async def test_no_event_gets_the_number_of_another(path):
    """The numbers of events go on growing when the newest events were deleted in SQL."""
    async with filled(path) as store:
        for name in ("renamed", "renamed twice"):
            await store.rename_key("one", name, events=[REVOKED])
        (newest, _) = await store.list_events()
        raw(path, "DELETE FROM keyguard_events")
        await store.rename_key("one", "renamed", events=[REVOKED])
        (event,) = await store.list_events()
    assert event.id > newest.id


async def test_keys_and_credentials_go_with_their_owner(path):
    """An owner deleted in SQL takes keys and credentials along, where foreign keys are on; events stay."""
    async with filled(path) as store:
        credential = Credential(
            owner_id=ADA.id, name="A", sealed="s", sealed_with="w", created_at=NOON, updated_at=NOON
        )
        await store.put_credential(credential, events=[AuditEvent(at=NOON, kind=AuditKind.CREDENTIAL_STORED)])
        raw_connection = sqlite3.connect(path)
        with closing(raw_connection), raw_connection:
            raw_connection.execute("PRAGMA foreign_keys=ON")
            raw_connection.execute("DELETE FROM keyguard_owners")
    for table, count in (("keys", 0), ("credentials", 0), ("events", 1)):
        assert raw(path, f"SELECT count(*) FROM keyguard_{table}") == [(count,)]


# --- the app's own users ----------------------------------------------------------------------------------------

USERS = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, login TEXT COLLATE NOCASE, is_active BOOLEAN, is_superuser BOOLEAN)"
)
INTEGERS = UserTable("users", name="login", id_type=Integer())


@pytest.mark.parametrize(
    ("active", "superuser", "is_active", "is_superuser"),
    [
        (1, 1, True, True),
        (0, 0, False, False),
        (None, None, False, False),
        ("false", "false", False, False),
        ("true", "t", False, False),
        (2, 2, False, False),
    ],
)
async def test_only_true_is_true(path, active, superuser, is_active, is_superuser):
    """A user is active, or a superuser, only if the column says true: NULL and texts do not."""
    raw(path, USERS)
    raw(path, "INSERT INTO users VALUES (7, 'Ada', ?, ?)", active, superuser)
    async with opened(path, users=INTEGERS) as store:
        assert await store.get_owner("7") == Owner(id="7", name="Ada", is_active=is_active, is_superuser=is_superuser)


async def test_columns_may_be_left_out(path):
    """Without a column for it everybody is active and nobody a superuser, and the id is the name."""
    raw(path, "CREATE TABLE users (id TEXT PRIMARY KEY)")
    raw(path, "INSERT INTO users VALUES ('ada')")
    async with opened(path, users=UserTable("users", active=None, superuser=None)) as store:
        await store.add_key(make_record("one", "ada"))
        owner = Owner(id="ada", name="ada")
        assert await store.find_owner("ada") == owner
        assert await store.find_owner("Ada") is None
        assert await store.list_owners() == [owner]
        assert (await store.find([KEY.lookup])).owner == owner


async def test_names_are_exact_where_the_database_is_not(path):
    """A column that does not tell letter cases apart finds nobody by another case; a user without a name has none."""
    raw(path, USERS)
    raw(path, "INSERT INTO users VALUES (7, 'Ada', 1, 0), (8, 'ADA', 1, 0), (9, NULL, 1, 0)")
    async with opened(path, users=INTEGERS) as store:
        assert (await store.find_owner("Ada")).id == "7"
        assert (await store.find_owner("ADA")).id == "8"
        assert await store.find_owner("ada") is None
        assert (await store.get_owner("9")).name == ""
        assert await store.find_owner("None") is None


@pytest.mark.parametrize(
    ("id_type", "owner_id", "others"),
    [
        (Integer(), 7, ["07", " 7", "7.0", "+7", "x", "", "7" * 30, "\N{ARABIC-INDIC DIGIT SEVEN}"]),
        (
            Uuid(),
            UUID("3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11").hex,
            ["3F2B8F0E-8A53-4AD1-9D0C-0C6F5F0A2B11", "3f2b8f0e8a534ad19d0c0c6f5f0a2b11", "7", ""],
        ),
    ],
)
async def test_an_id_has_one_text(path, id_type, owner_id, others):
    """Only the very text of an id stands for it; a text that can be no id is of nobody."""
    raw(path, "CREATE TABLE users (id PRIMARY KEY, is_active, is_superuser)")
    raw(path, "INSERT INTO users VALUES (?, 1, 0)", owner_id)
    async with opened(path, users=UserTable("users", id_type=id_type)) as store:
        (owner,) = await store.list_owners()
        assert await store.get_owner(owner.id) == await store.find_owner(owner.id) == owner
        for other in others:
            assert await store.get_owner(other) is None
            assert await store.find_owner(other) is None
            assert await store.list_keys(other) == []
            with pytest.raises(NotFound):
                await store.add_key(make_record("one", other))


async def test_ids_are_kept_in_the_apps_own_type(path):
    """The keys' owner_id has the type of the users' ids, so that the join goes by the users' primary key."""
    raw(path, USERS)
    raw(path, "INSERT INTO users VALUES (7, 'Ada', 1, 0)")
    async with opened(path, users=INTEGERS) as store:
        await store.add_key(make_record("one", "7"))
        with statements(store) as seen:
            assert (await store.find([KEY.lookup])).key.owner_id == "7"
        plan = raw(path, f"EXPLAIN QUERY PLAN {seen[0]}")
        assert "SEARCH users USING INTEGER PRIMARY KEY (rowid=?)" in [detail for *_, detail in plan]
        assert "keyguard_owners" not in store.metadata.tables
    assert raw(path, "SELECT typeof(owner_id) FROM keyguard_keys") == [("integer",)]
    assert raw(path, "SELECT name FROM sqlite_master WHERE name = 'keyguard_owners'") == []


async def test_a_table_may_stand_in_a_schema(path):
    """A `Table` says in which schema it stands and of which type its ids are."""
    raw(path, USERS)
    raw(path, "INSERT INTO users VALUES (7, 'Ada', 1, 0)")
    columns = [Column("id", Integer, primary_key=True), Column("is_active", Integer), Column("is_superuser", Integer)]
    async with opened(path, users=UserTable(Table("users", MetaData(), *columns, schema="main"))) as store:
        assert await store.get_owner("7") == Owner(id="7", name="7")


@pytest.mark.parametrize(
    ("create", "sentence"),
    [("CREATE TABLE other (id)", "no table 'users'"), ("CREATE TABLE users (id, login)", "no column 'is_active'")],
)
async def test_the_users_are_looked_for_at_start(path, create, sentence):
    """A user table, or a column of it, that is not there refuses the start."""
    raw(path, create)
    async with opened(path, users=INTEGERS) as store:
        with pytest.raises(SchemaMismatch, match=sentence):
            await store.open()


class OfNoType(UserDefinedType):
    @property
    def python_type(self):
        raise NotImplementedError  # As SQLAlchemy's own did before 2.1.


def test_a_wrong_user_table_is_refused():
    """A `Table` without the column, and a type that has no Python value, are refused where they are written."""
    users = Table("users", MetaData(), Column("id", Text), Column("is_active", Text))
    with pytest.raises(ConfigurationError, match="the table 'users' has no column 'is_superuser'"):
        UserTable(users)
    for id_type in (NullType(), OfNoType()):
        with pytest.raises(ConfigurationError, match="id_type is String"):
            UserTable("users", id_type=id_type)
    with pytest.raises(ConfigurationError, match="id_type is String"):
        UserTable("users", id_type=LargeBinary())


async def test_the_time_may_be_any(path):
    """The first and the last time that Python knows survive."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    async with filled(path) as store:
        await store.add_key(
            make_record("two", ADA.id, not_before=first, expires_at=last, created_at=last - timedelta(1))
        )
        key = await store.get_key("two")
    assert (key.not_before, key.expires_at) == (first, last)


async def test_where_nothing_can_vouch_changes_are_made_all_the_same(path):
    """A database that Keyguard knows no triggers for has no token, and takes changes as any other."""
    async with filled(path) as store:
        store._voucher = voucher_for(store._database, None, None)
        assert not store.is_exact
        assert await store.revoke_key("one", NOON, "leaked")
        assert store.token() is None
        assert (await store.get_key("one")).revoked_at == NOON
