"""What vouches for a SQLite file: every change of anybody's moves the token, and what cannot be known gives none."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing, contextmanager

import pytest
from sqlalchemy import URL

from keyguard.errors import SchemaMismatch, StoreUnavailable
from keyguard.model import Found, Owner
from keyguard.stores._sqlite_revision import SQLiteRevision
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_record

ADA = Owner(id="ada-id", name="ada")
KEY = make_record("one", ADA.id)


class Monotonic:
    """A clock that stands still until a second has passed."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def tick(self):
        self.now += 1.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@pytest.fixture
def clock():
    return Monotonic()


def store_at(path, clock, **arguments):
    store = SQLStore(f"sqlite+aiosqlite:///{path}", **arguments)
    store._voucher._monotonic = clock
    return store


@asynccontextmanager
async def filled(path, clock, *, key=KEY):
    """An open store with one key."""
    store = store_at(path, clock)
    try:
        await store.create_schema()
        await store.add_owner(ADA, created_at=NOON)
        await store.add_key(key)
        await store.open()
        yield store
    finally:
        await store.close()


def raw(path, *statements):
    """What another program does to the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


REVOKE = "UPDATE keyguard_keys SET revoked_at = coalesce(revoked_at, 0) + 1"
RENAME = "UPDATE keyguard_keys SET name = name || 'x'"


# --- what moves the token ---------------------------------------------------------------------------------------


async def test_another_connections_change_is_seen_at_once(path, clock):
    """The token moves with the commit of a change that another connection makes, and not before."""
    async with filled(path, clock) as store:
        seen = [store.token()]
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            for _ in range(20):
                other.execute("BEGIN")
                other.execute(REVOKE)
                assert store.token() == seen[-1]
                other.execute("COMMIT")
                seen.append(store.token())
                other.execute(RENAME)
                assert store.token() == seen[-1]
        assert None not in seen
        assert len(set(seen)) == 21


async def test_another_process_is_seen_at_once(path, clock):
    """The token moves with what another process has committed."""
    async with filled(path, clock) as store:
        before = store.token()
        script = f"import sqlite3; sqlite3.connect({str(path)!r}, isolation_level=None).execute({REVOKE!r})"
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], check=True, timeout=30)
        assert store.token() not in {None, before}


async def test_a_rolled_back_change_moves_nothing(path, clock):
    """The token stays where it was when a change is rolled back."""
    async with filled(path, clock) as store:
        before = store.token()
        raw(path, "BEGIN", REVOKE, "ROLLBACK")
        assert store.token() == before


async def test_a_token_is_a_number_of_its_own(path, clock):
    """A revision that is put back to an earlier number does not bring back the token that went with it."""
    async with filled(path, clock) as store:
        first = store.token()
        raw(path, REVOKE)
        second = store.token()
        raw(path, "UPDATE keyguard_revision SET n = n - 1")
        assert len({first, second, store.token()}) == 3


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM keyguard_revision", "DROP TABLE keyguard_revision", "ALTER TABLE keyguard_revision RENAME TO other"],
)
async def test_without_the_row_nothing_is_vouched_for(path, clock, damage):
    """Where there is no revision to read, there is no token."""
    async with filled(path, clock) as store:
        assert store.token() is not None
        raw(path, damage)
        assert store.token() is None


async def test_an_answer_is_fetched_to_its_end(path, clock):
    """After many tokens and looks no statement is open, which would freeze what is seen; one that is open does."""
    async with filled(path, clock) as store:
        for _ in range(20):
            before = store.token()
            clock.tick()
            raw(path, REVOKE)
            assert store.token() not in {None, before}
        before = store.token()
        left_open = store._voucher._connection.execute("SELECT n FROM keyguard_revision UNION ALL SELECT 0")
        left_open.fetchone()
        raw(path, REVOKE)
        assert store.token() == before  # So this test would notice.
        left_open.fetchall()
        assert store.token() not in {None, before}


async def test_a_token_costs_no_write_and_one_statement(path, clock):
    """A token is one SELECT of one row; once a second there are two more, and those only where the schema changed."""
    async with filled(path, clock) as store:
        store.token()
        seen = []
        store._voucher._connection.set_trace_callback(seen.append)
        store.token()
        assert seen == ["SELECT n FROM keyguard_revision WHERE id = 1"]
        clock.tick()
        store.token()
        assert seen[1:] == ["PRAGMA schema_version", "SELECT n FROM keyguard_revision WHERE id = 1"]
        store._voucher._connection.set_trace_callback(None)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            store._voucher._connection.execute(REVOKE)


async def test_threads_take_turns(path, clock):
    """Tokens that are asked for in many threads at once are all there, and never older than a change before."""
    async with filled(path, clock) as store:
        tokens = []

        def ask():
            tokens.extend(store.token() for _ in range(500))

        before = store.token()
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        raw(path, REVOKE)
        after = store.token()
        for thread in threads:
            thread.join()
        assert set(tokens) <= {before, after}
        assert after not in {None, before}


# --- triggers that go while it runs -----------------------------------------------------------------------------

DAMAGE = {
    "dropped": ["DROP TRIGGER keyguard_keys_update"],
    "changed": [
        "DROP TRIGGER keyguard_keys_update",
        "CREATE TRIGGER keyguard_keys_update AFTER UPDATE ON keyguard_keys BEGIN SELECT 1; END",
    ],
    "gone with its table": ["PRAGMA foreign_keys=OFF", "DROP TABLE keyguard_owners"],
}


@pytest.mark.parametrize("statements", DAMAGE.values(), ids=DAMAGE)
async def test_a_trigger_that_goes_is_missed_within_a_second(path, clock, caplog, statements):
    """A trigger that is dropped or changed while the store is open is noticed by the next look, and told of once."""
    async with filled(path, clock) as store:
        assert store.token() is not None
        raw(path, *statements)
        clock.tick()
        for _ in range(3):
            assert store.token() is None
            clock.tick()
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert "_update" in warning


async def test_a_trigger_that_comes_back_vouches_anew(path, clock):
    """When the trigger is there again, so is a token: another one, as nobody knows what has changed meanwhile."""
    async with filled(path, clock) as store:
        before = store.token()
        ((text,),) = sqlite_master(path, "keyguard_keys_update")
        raw(path, "DROP TRIGGER keyguard_keys_update", REVOKE, text)
        clock.tick()
        assert store.token() not in {None, before}


def sqlite_master(path, name):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [name]).fetchall()


# --- a database that is busy ------------------------------------------------------------------------------------


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


async def test_a_busy_database_vouches_for_nothing(path, clock):
    """While another process has the database to itself there is no token, at once; afterwards there is one again."""
    async with filled(path, clock) as store:
        await store.close()  # Where a connection is open, SQLite grants no exclusive lock.
        store._database.file.note()
        voucher = store._voucher
        with locked(path):
            await voucher.open([])
            assert [voucher.token() for _ in range(3)] == [None] * 3
        assert voucher.token() is not None
        await voucher.aclose()
        assert voucher.token() is None


async def test_a_database_that_becomes_busy_vouches_for_nothing(path, clock):
    """Where the one statement fails there is no token, and with the next one that succeeds there is the same again."""
    async with filled(path, clock) as store:
        before = store.token()
        store._voucher._connection.set_progress_handler(lambda: 1, 1)  # Interrupts whatever runs.
        assert store.token() is None
        store._voucher._connection.set_progress_handler(None, 1)
        assert store.token() == before


async def test_writers_are_not_waited_for(path, clock):
    """While another program is in the middle of writing there is a token, that of before."""
    async with filled(path, clock) as store:
        before = store.token()
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            writer.execute(REVOKE)
            clock.tick()
            assert store.token() == before


# --- a file that is replaced ------------------------------------------------------------------------------------


async def put_in_place(path, clock, key):
    """Put a database with another key where the store's is, and the old one's log away, as `rm` and `mv` do."""
    async with filled(path.with_name("new.db"), clock, key=key):
        pass
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    path.with_name("new.db").rename(path)


async def test_a_replaced_file_is_noticed_within_a_second(path, clock):
    """When another file stands at the path there is no token after a second, and a new one after the next read."""
    two = make_record("two", ADA.id)
    async with filled(path, clock) as store:
        before = store.token()
        await put_in_place(path, clock, two)
        clock.tick()
        assert [store.token(), store.token()] == [None, None]
        assert await store.find([two.lookup]) == Found(key=two, owner=ADA)
        assert store.token() not in {None, before}


async def test_every_read_and_write_goes_to_the_file_that_is_there(path, clock):
    """What is read or written after another file was put in place is read from that one and written into it."""
    async with filled(path, clock) as store:
        for number in range(3):
            key = make_record(f"key {number}", ADA.id)
            await put_in_place(path, clock, key)
            assert await store.find([key.lookup]) == Found(key=key, owner=ADA)
            await put_in_place(path, clock, key)
            assert await store.list_keys() == [key]
            await put_in_place(path, clock, key)
            await store.rename_key(key.id, "renamed")
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT name FROM keyguard_keys").fetchall() == [("renamed",)]


async def test_a_file_replaced_before_the_store_opens(path, clock):
    """Connections that were made while the tables were are not used for another file."""
    two = make_record("two", ADA.id)
    store = store_at(path, clock)
    await store.create_schema()
    await put_in_place(path, clock, two)
    assert await store.list_keys() == [two]
    await store.close()


async def test_a_replaced_file_must_fit_too(path, clock):
    """A file without the tables refuses every call, until one with them is there."""
    two = make_record("two", ADA.id)
    async with filled(path, clock) as store:
        raw(path.with_name("empty.db"), "CREATE TABLE other (x)")
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink()
        path.with_name("empty.db").rename(path)
        for _ in range(2):
            with pytest.raises(SchemaMismatch):
                await store.find([KEY.lookup])
            assert store.token() is None
        await put_in_place(path, clock, two)
        assert await store.find([two.lookup]) == Found(key=two, owner=ADA)
        assert store.token() is not None


async def test_a_file_beside_the_log_of_another_is_refused(path, clock):
    """A file that was put in place without removing the old one's log is not touched: SQLite would mix the two."""
    two = make_record("two", ADA.id)
    async with filled(path, clock) as store:
        async with filled(path.with_name("new.db"), clock, key=two):
            pass
        content = path.with_name("new.db").read_bytes()
        path.with_name("new.db").rename(path)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"remove .*keys\.db-wal and .*keys\.db-shm"):
                await store.find([KEY.lookup])
            assert store.token() is None
        assert path.read_bytes() == content
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink()
        assert await store.list_keys() == [two]


async def test_a_file_that_is_gone_is_not_made_anew(path, clock):
    """While no file is there the store is unavailable and makes none; when there is one again it goes on."""
    async with filled(path, clock) as store:
        before = store.token()
        path.rename(path.with_name("away.db"))
        clock.tick()
        for _ in range(2):
            assert store.token() is None
            with pytest.raises(StoreUnavailable, match="the database's file is not there any more"):
                await store.find([KEY.lookup])
            assert not path.exists()
        path.with_name("away.db").rename(path)
        assert (await store.find([KEY.lookup])).key == KEY
        assert store.token() not in {None, before}


async def test_a_change_to_a_file_that_is_being_replaced_is_not_believed(path, clock):
    """A change that was made in a file which has lost its place meanwhile raises: nobody will see it."""
    async with filled(path, clock) as store:
        change = store._voucher.change

        async def slow_change(*arguments):
            await put_in_place(path, clock, KEY)
            return await change(*arguments)

        store._voucher.change = slow_change
        with pytest.raises(StoreUnavailable, match="the change may be lost"):
            await store.revoke_key("one", NOON, "leaked")
        del store._voucher.change
        assert await store.revoke_key("one", NOON, "leaked")


async def test_a_link_may_be_changed(tmp_path, clock):
    """Where the path is a symbolic link, a link to another file is another file."""
    two = make_record("two", ADA.id)
    for name, key in {"one": KEY, "two": two}.items():
        async with filled(tmp_path / name, clock, key=key):
            pass
    link = tmp_path / "link"
    link.symlink_to("one")
    store = store_at(link, clock)
    assert await store.list_keys() == [KEY]
    (tmp_path / "other").symlink_to("two")
    (tmp_path / "other").rename(link)
    assert await store.list_keys() == [two]
    await store.close()


@pytest.mark.parametrize("database", ["file:{path}?uri=true", "file:{path}?mode=rwc&uri=true&timeout=1"])
async def test_a_uri_leads_to_the_same_file(tmp_path, clock, database):
    """A database that is named by a URI, with characters that are written otherwise there, is vouched for as well."""
    path = tmp_path / "my 100% keys.db"
    async with filled(path, clock):
        pass
    escaped = str(path).replace("%", "%25").replace(" ", "%20")
    store = SQLStore(f"sqlite+aiosqlite:///{database.format(path=escaped)}")
    await store.create_schema()
    await store.open()
    before = store.token()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE keyguard_revision SET n = n + 1")
    assert store.token() not in {None, before}
    assert not store._database.is_stale()
    await store.close()


@pytest.mark.parametrize(
    "database", ["file:keys.db?uri=true", "/{folder}/keys.db", "keys#1?.db"], ids=["relative URI", "slashes", "odd"]
)
async def test_whatever_the_path_it_is_vouched_for(tmp_path, monkeypatch, database):
    """A path that a URI would understand otherwise, and a URI of a relative path, lead to the same file as well."""
    monkeypatch.chdir(tmp_path)
    url = database.format(folder=tmp_path)
    store = SQLStore(f"sqlite+aiosqlite:///{url}" if "uri" in url else URL.create("sqlite+aiosqlite", database=url))
    await store.create_schema()
    await store.open()
    assert store.token() is not None
    assert await store.find(["none"]) is None
    (file,) = tmp_path.glob("*.db")
    before = store.token()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("UPDATE keyguard_revision SET n = n + 1")
    assert store.token() not in {None, before}
    await store.close()


# --- before, after, and in another process ----------------------------------------------------------------------


async def test_only_an_open_store_vouches(path, clock):
    """Before it is opened, while its schema is changed and after it is closed, a store has no token."""
    async with filled(path, clock) as store:
        seen = [store.token()]
        await store.change_schema(lambda connection: seen.append(store.token()))
        seen.append(store.token())
        await store.open()
        seen.append(store.token())
        await store.close()
        seen.append(store.token())
        assert [token is None for token in seen] == [False, True, True, False, True]
        assert seen[0] != seen[3]


async def test_closing_leaves_no_write_ahead_log_behind(path, clock):
    """When the store is closed all is in the one file, as the last of its connections is one that writes."""
    async with filled(path, clock) as store:
        store.token()
        await store.find([KEY.lookup])
    assert [each.name for each in path.parent.iterdir()] == ["keys.db"]


async def test_a_file_that_cannot_be_read_vouches_for_nothing(path, clock):
    """Where SQLite cannot open the file there is no token, and closing is no mistake."""
    async with filled(path, clock) as store:
        other = SQLiteRevision(store._database, store._database.file, store._triggers)
        path.rename(path.with_name("away.db"))
        await other.open([])
        assert other.token() is None
        await other.aclose()
        path.with_name("away.db").rename(path)


FORKING = """
import asyncio, os, sqlite3, sys
from keyguard.stores.sql import SQLStore
from keyguard.testing import make_digest

store = SQLStore(sys.argv[1])
lookup = make_digest("one")

def revoke():
    connection = sqlite3.connect(sys.argv[2], isolation_level=None)
    connection.execute("UPDATE keyguard_keys SET revoked_at = coalesce(revoked_at, 0) + 1")
    connection.close()

async def find():
    assert (await store.find([lookup])).key.id == "one"
    before = store.token()
    assert before is not None
    revoke()
    assert store.token() not in {None, before}
    await store.rename_key("one", "renamed")
    assert len(await store.list_keys()) == 1

asyncio.run(find())
before = store.token()
child = os.fork()
if child == 0:
    if sys.argv[3] == "close":
        assert store.token() is None
    asyncio.run(find())
    if sys.argv[3] == "close":
        asyncio.run(store.close())
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert store.token() not in {None, before}
asyncio.run(find())
asyncio.run(store.close())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("end", ["close", "leave"])
async def test_a_fork_has_connections_of_its_own(path, clock, end):
    """A process that was forked from one with an open store opens all anew, and takes nothing from its parent."""
    async with filled(path, clock):
        pass
    arguments = [f"sqlite+aiosqlite:///{path}", str(path), end]
    script = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, *arguments]
    await asyncio.to_thread(subprocess.run, script, check=True, timeout=60)
    assert [each.name for each in path.parent.iterdir()] == ["keys.db"]
