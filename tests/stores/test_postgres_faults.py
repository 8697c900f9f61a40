"""A PostgreSQL server stops, freezes or loses connections: what fails is unavailable, and no longer than it must be."""

import asyncio
import gc
import logging
import os
import re
import subprocess
import sys
import threading
import traceback
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import pytest
from postgres import PASSWORD
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from keyguard.errors import StoreUnavailable
from keyguard.model import Owner
from keyguard.stores._asyncpg import connect
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_record

ADA = Owner(id="owner-1", name="ada")
KEY = make_record("one", ADA.id)

IMPATIENT = "?timeout=0.5"


async def fill(store):
    await store.create_schema()
    await store.add_owner(ADA, created_at=NOON)
    await store.add_key(KEY)


@asynccontextmanager
async def filled(url):
    store = SQLStore(url)
    try:
        await fill(store)
        yield store
    finally:
        await store.close()


async def is_found_soon(store):
    """As `is_found`; a store that is as impatient as here may have to be asked again on a busy machine."""
    for _ in range(20):
        with suppress(StoreUnavailable):
            return await is_found(store)
    return False


async def is_found(store):
    return (await store.find([KEY.lookup])).key.id == KEY.id


def is_silent(error):
    """Tell whether an error, with all that led to it, keeps the password to itself."""
    return PASSWORD not in "".join(traceback.format_exception(error))


# --- the server goes and comes ----------------------------------------------------------------------------------


async def test_a_stopped_server_is_unavailable_until_it_is_back(postgres, postgres_url):
    """While the server is stopped every call is unavailable; when it runs again the first call succeeds."""
    async with filled(postgres_url) as store:
        postgres.stop()
        for call in (store.find([KEY.lookup]), store.rename_key("one", "new"), store.list_keys()):
            with pytest.raises(StoreUnavailable, match="cannot be reached") as unavailable:
                await call
            assert is_silent(unavailable.value)
        postgres.start()
        await store.rename_key("one", "after")
        assert (await store.get_key("one")).name == "after"


async def test_a_server_that_was_restarted_is_not_noticed(postgres, postgres_url):
    """A restart between two calls, which ends all connections, makes neither a read nor a write fail."""
    async with filled(postgres_url) as store:
        await asyncio.gather(*(store.find([KEY.lookup]) for _ in range(8)))
        postgres.stop()
        postgres.start()
        assert await is_found(store)
        postgres.stop()
        postgres.start()
        await store.rename_key("one", "renamed")
        assert (await store.get_key("one")).name == "renamed"


async def test_a_connection_that_is_lost_in_the_middle_changes_nothing(postgres, database, postgres_url):
    """Where the connection goes while a change is under way the change is unavailable, undone, and not tried again."""
    async with filled(postgres_url) as store:
        attempts = []

        def change(connection):
            attempts.append(connection.exec_driver_sql("UPDATE keyguard_keys SET name = 'half'").rowcount)
            (pid,) = connection.exec_driver_sql("SELECT pg_backend_pid()").one()
            postgres.psql(f"SELECT pg_terminate_backend({pid})")
            connection.exec_driver_sql("SELECT 1")

        with pytest.raises(StoreUnavailable):
            await store._database.change(change)
        assert attempts == [1]
        assert (await store.get_key("one")).name == KEY.name


async def test_a_database_that_is_not_there_is_unavailable(postgres):
    """A database, or an account, that does not exist is unavailable, and the password is not told."""
    for url in (postgres.url("nosuch"), postgres.url().replace("keyguard:", "nobody:")):
        store = SQLStore(url)
        with pytest.raises(StoreUnavailable, match="does not exist") as unavailable:
            await store.open()
        assert is_silent(unavailable.value)
        await store.close()


# --- the server does not answer ---------------------------------------------------------------------------------


async def test_a_frozen_connection_is_given_up(postgres, database, postgres_url):
    """A connection that does not answer is given up in time, by reads and writes; the next call gets another one."""
    async with filled(postgres_url + IMPATIENT) as store:
        for call in (lambda: store.find([KEY.lookup]), lambda: store.rename_key("one", "new")):
            await asyncio.gather(*(store.find([KEY.lookup]) for _ in range(4)))
            pids = postgres.backends(database)
            assert pids
            postgres.pause(*pids)
            try:
                with pytest.raises(StoreUnavailable):
                    await asyncio.wait_for(call(), 10)
                assert await asyncio.wait_for(is_found(store), 10)
            finally:
                postgres.resume(*pids)
        assert (await store.get_key("one")).name == KEY.name


async def test_a_frozen_server_holds_nobody(postgres, postgres_url):
    """While nothing of the server answers every call ends in time, also those that need a new connection."""
    async with filled(postgres_url + IMPATIENT) as store:
        with postgres.frozen():
            calls = [store.find([KEY.lookup]) for _ in range(8)] + [store.rename_key("one", "new")]
            outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert await is_found(store)


async def test_a_frozen_server_cannot_keep_a_new_store(postgres, postgres_url):
    """A store whose first connection freezes right after it was made gives it up as well, and opens later."""
    async with filled(postgres_url):
        store = SQLStore(postgres_url + IMPATIENT)
        paused = []

        def freeze(connection, entry):
            if not paused:
                paused.append(connection.driver_connection.get_server_pid())
                postgres.pause(*paused)

        event.listen(store._database.engine.sync_engine, "connect", freeze, insert=True)
        try:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(store.open(), 10)
        finally:
            postgres.resume(*paused)
        assert await is_found_soon(store)
        await store.close()


async def test_a_lock_is_waited_for_no_longer_than_a_connection(postgres, database, postgres_url):
    """A row that another program has locked makes a change unavailable, and leaves the connection as it was."""
    async with filled(postgres_url + IMPATIENT) as store:
        async with filled_lock(postgres, database):
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                await store.revoke_key("one", NOON, "leaked")
            assert await is_found(store)
        assert await store.revoke_key("one", NOON, "leaked")


@asynccontextmanager
async def filled_lock(postgres, database):
    """Another program that has changed the key, and does not commit yet."""
    import asyncpg

    other = await asyncpg.connect(postgres.url(database, "postgresql"))
    transaction = other.transaction()
    await transaction.start()
    await other.execute("UPDATE keyguard_keys SET name = 'other'")
    try:
        yield other
    finally:
        await transaction.rollback()
        await other.close()


async def test_a_migration_may_take_its_time(postgres, database, postgres_url):
    """What changes the tables has no deadline: it waits for a lock, and works, for as long as that takes."""
    async with filled(postgres_url + "?timeout=0.2") as store:
        async with filled_lock(postgres, database):
            change = asyncio.create_task(
                store.change_schema(lambda each: each.exec_driver_sql("UPDATE keyguard_keys SET name = 'migrated'"))
            )
            while postgres.psql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0":  # noqa: ASYNC110 No event.
                await asyncio.sleep(0.01)
            with pytest.raises(StoreUnavailable):  # After the time that others have.
                await store._database.change(
                    lambda each: each.exec_driver_sql("UPDATE keyguard_keys SET name = 'impatient'")
                )
            assert not change.done()
        await change
        assert (await store.get_key("one")).name == "migrated"


# --- what is promised of a transaction ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "held"), [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_a_confirmed_change_is_on_disk(postgres, database, postgres_url, given, held):
    """Whatever the database is set to, a change is confirmed when it is durable, and later where so is wished."""
    postgres.psql(f"ALTER DATABASE {database} SET synchronous_commit = '{given}'")
    postgres.psql(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")
    async with filled(postgres_url) as store:
        shown = await store._database.change(
            lambda each: [
                each.exec_driver_sql(f"SHOW {name}").scalar()
                for name in ("synchronous_commit", "transaction_isolation")
            ]
        )
    assert shown == [held, "read committed"]


async def test_a_find_is_one_statement(postgres, database, postgres_url):
    """All that the server is asked by a find is one statement: no transaction around it, and nothing before it."""
    async with filled(postgres_url) as store:
        await store.close()
        postgres.psql(f"ALTER DATABASE {database} SET log_statement = 'all'")
        for _ in range(2):
            before = len(postgres.log.read_text("utf-8"))
            assert await is_found(store)
        statements = re.findall(r"LOG:  (?:statement|execute [^:]*): (\w+)", postgres.log.read_text("utf-8")[before:])
    assert statements == ["SELECT"]


async def test_a_cancelled_call_is_finished_behind_the_scenes(postgres_url):
    """Callers that go away lose nothing: what they began is done, and their connections go on."""
    async with filled(postgres_url) as store:
        made = []
        event.listen(store._database.engine.sync_engine, "connect", lambda connection, _: made.append(connection))
        for number in range(20):
            call = asyncio.create_task(store.rename_key("one", str(number)))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await store.close()
        assert (await store.get_key("one")).name == "19"
    assert len(made) <= 6


@pytest.mark.parametrize("text", ["SELECT 'sesame'::int", "SELECT 1/0 AS sesame", "INSERT INTO t VALUES ('sesame')"])
async def test_no_parameter_shows_in_an_error(postgres, database, postgres_url, text):
    """What a statement was given, or a row holds, shows neither in the error nor in what led to it."""
    postgres.psql("CREATE TABLE t (x text UNIQUE); INSERT INTO t VALUES ('sesame')", database)
    store = SQLStore(postgres_url)
    with pytest.raises(StoreUnavailable) as unavailable:
        await store._database.change(lambda each: each.exec_driver_sql(text))
    assert "sesame" not in str(unavailable.value)
    with pytest.raises(StoreUnavailable) as unavailable:
        await store._database.change(lambda each: each.exec_driver_sql("SELECT $1::int", ("sesame",)))
    assert "sesame" not in str(unavailable.value)
    with pytest.raises(StoreUnavailable, match='relation "nosuch" does not exist'):
        await store._database.change(lambda each: each.exec_driver_sql("SELECT * FROM nosuch"))
    await store.close()


async def test_a_table_that_was_changed_is_read_again(postgres, database, postgres_url):
    """A read whose prepared statement a migration has outdated is prepared anew, unseen by the caller."""
    async with filled(postgres_url) as store:
        await asyncio.gather(*(store.find([KEY.lookup]) for _ in range(8)))
        postgres.psql("ALTER TABLE keyguard_keys ALTER COLUMN name TYPE varchar(200)", database)
        assert await is_found(store)


# --- event loops, threads and processes --------------------------------------------------------------------------


async def find_often(store):
    finds = [store.find([KEY.lookup]) for _ in range(20)]
    writes = [store.rename_key("one", str(number)) for number in range(4)]
    found, _ = await asyncio.gather(asyncio.gather(*finds), asyncio.gather(*writes))
    return {each.key.id for each in found}


async def find_and_close(store):
    try:
        return await find_often(store)
    finally:
        await store.close()


def test_a_store_outlives_its_event_loop(postgres_url, caplog):
    """A store goes on in the next event loop, closed before or not; nothing is said but that sockets were left open."""
    store = SQLStore(postgres_url)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(fill(store))
        assert [asyncio.run(find_often(store)) for _ in range(3)] == [{"one"}] * 3
        for _ in range(3):
            assert asyncio.run(find_and_close(store)) == {"one"}
        asyncio.run(store.close())
        gc.collect()
    assert caplog.records == []


def test_a_store_serves_several_event_loops_at_once(postgres_url, caplog):
    """Loops in several threads share a store's connections, and all get their answers."""
    store = SQLStore(postgres_url)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(fill(store))
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: asyncio.run(find_often(store)), range(12)))
        asyncio.run(store.close())
        gc.collect()
    assert found == [{"one"}] * 12
    assert caplog.records == []


def test_a_connection_is_ended_from_anywhere(postgres, database, postgres_url):
    """A connection can be ended where no loop runs, or another one; a process that inherited it leaves it alone."""
    arguments = {"dsn": postgres.url(database, "postgresql")}
    with asyncio.Runner() as runner:
        for inherited in (True, False):
            connection = runner.run(connect(arguments, 10))
            if inherited:
                connection._process = -1
            connection.terminate()
            runner.run(asyncio.sleep(0))
            assert connection.is_closed() is not inherited
            connection._process = os.getpid()
            runner.run(connection.close())
    made, ended = Future(), threading.Event()

    async def hold():
        made.set_result(await connect(arguments, 10))
        while not made.result().is_closed():  # noqa: ASYNC110 Ended from another thread.
            await asyncio.sleep(0.001)
        ended.set()

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    made.result(20).terminate()
    thread.join(20)
    assert ended.is_set()


FORKS = """
import asyncio, os, sys
from keyguard.stores.sql import SQLStore

store = SQLStore(sys.argv[1])

async def found():
    return [(await store.get_key("one")) is not None for _ in range(5)] == [True] * 5

async def main():
    assert await found()
    child = os.fork()
    if not child:
        os._exit(0 if asyncio.run(found()) else 1)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        assert await found()
        await asyncio.sleep(0.01)
    before = store._database.engine.sync_engine.pool.checkedin()
    assert await found()
    assert before == store._database.engine.sync_engine.pool.checkedin() > 0
    await store.close()

asyncio.run(main())
"""


async def test_a_fork_leaves_the_parents_connections_alone(postgres_url):
    """A process that was forked off has connections of its own, and its parent goes on with its."""
    async with filled(postgres_url):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "ignore", "-c", FORKS, postgres_url],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


async def test_an_import_may_take_any_time(postgres_url):
    """An import waits for whom it must, and works for as long as it takes, where another change has given up."""
    async with filled(f"{postgres_url}{IMPATIENT}") as store:
        patient = create_async_engine(postgres_url)
        async with patient.begin() as connection:
            await connection.exec_driver_sql("LOCK TABLE keyguard_keys IN EXCLUSIVE MODE")
            importing = asyncio.create_task(store.add_all(keys=[make_record("two", ADA.id)]))
            for _ in range(20):  # It begins.
                await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):  # When its half second is over, which begins behind the import's.
                await store.rename_key("one", "renamed")
            assert not importing.done()
        await patient.dispose()
        await importing
        assert [key.id for key in await store.list_keys()] == ["two", "one"]
