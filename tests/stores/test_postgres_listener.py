"""On PostgreSQL a change has been heard of by every worker when its call returns, whatever goes wrong in between.

The mutants below break one rule of the protocol each. Each is put before the test of that rule, which must fail.
"""

import asyncio
import gc
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy.dialects import registry

from keyguard.errors import ConfigurationError
from keyguard.model import AuditKind, Owner
from keyguard.stores import _listener
from keyguard.stores._asyncpg import APPLICATION
from keyguard.stores._listener import Listener, seconds
from keyguard.stores._triggers import REVISION_QUERY
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_event, make_record

DEADLINE = 20.0
"""Seconds after which a state is given up that is waited for."""


async def until(state):
    """Wait until `state` returns something true, and return that."""
    async with asyncio.timeout(DEADLINE):
        while not (seen := state()):  # noqa: ASYNC110 Most states are the database's, or another process's.
            await asyncio.sleep(0.002)
        return seen


async def token_of(store, but=None):
    """The store's token, as soon as it has one that is not `but`."""
    await until(lambda: store.token() not in {None, but})
    return store.token()


def revision(psql):
    return int(psql(REVISION_QUERY))


@pytest.fixture
def psql(postgres, database):
    return lambda statements: postgres.psql(statements, database)


@pytest.fixture
async def make_store(postgres_url):
    """Makes stores over one database, with its tables, an owner and some keys; closes them in the end."""
    stores = []

    async def make(**arguments):
        store = SQLStore(postgres_url, **arguments)
        stores.append(store)
        if len(stores) == 1:
            await store.create_schema()
            await store.add_owner(Owner(id="owner-1", name="ada"), created_at=NOON)
            for number in range(10):
                await store.add_key(make_record(str(number), "owner-1"))
        await store.open()
        return store

    yield make
    for store in stores:
        await store.close()


# --- what a call changes ----------------------------------------------------------------------------------------


CHANGES = {
    "revoke": lambda store: store.revoke_key("1", NOON, "leaked"),
    "disable": lambda store: store.set_key_disabled("1", NOON),
    "deactivate": lambda store: store.set_owner_active("owner-1", active=False),
    "promote": lambda store: store.set_owner_superuser("owner-1", superuser=True),
    "name the owner": lambda store: store.rename_owner("owner-1", "eve", event=make_event(AuditKind.OWNER_RENAMED)),
    "remove the owner": lambda store: store.remove_owner("owner-1", event=make_event(AuditKind.OWNER_REMOVED)),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_has_moved_every_token_when_its_call_returns(make_store, change):
    """When the call of one store returns the tokens of all stores have moved, that of its own as well."""
    stores = [await make_store() for _ in range(3)]
    before = [await token_of(store) for store in stores]
    await CHANGES[change](stores[0])
    assert all(store.token() != token for store, token in zip(stores, before, strict=True))


async def test_many_changes_at_once(make_store):
    """However many calls change something at once, when one returns no token is the one from before it."""
    writer, reader = await make_store(), await make_store()
    await token_of(reader)

    async def disable(number, at):
        before = reader.token()
        await writer.set_key_disabled(str(number), at)
        return before is not None and reader.token() == before

    for at in (NOON, None, NOON, None):
        assert not any(await asyncio.gather(*(disable(number, at) for number in range(10))))


AGAIN = {
    "revoke": (CHANGES["revoke"], "SELECT count(revoked_at) FROM keyguard_keys"),
    "disable": (CHANGES["disable"], "SELECT count(disabled_at) FROM keyguard_keys"),
    "deactivate": (CHANGES["deactivate"], "SELECT count(*) FROM keyguard_owners WHERE NOT is_active"),
    "promote": (CHANGES["promote"], "SELECT count(*) FROM keyguard_owners WHERE is_superuser"),
}


@pytest.mark.parametrize("change", AGAIN)
async def test_who_comes_second_waits_as_well(make_store, psql, change):
    """A call that finds its change made already, by one that still waits, returns no sooner than everybody has heard.

    So does a call that is tried again, because the first one was cancelled or its answer was lost.
    """
    make, is_made = AGAIN[change]
    first, second = await make_store(), await make_store()
    psql("INSERT INTO keyguard_listener VALUES ('slow', 0, now() + interval '1 hour')")
    call = asyncio.create_task(make(first))
    await until(lambda: psql(is_made) == "1")
    call.cancel()
    again = asyncio.create_task(make(second))
    done, _ = await asyncio.wait([again], timeout=0.3)
    assert not done
    psql(f"UPDATE keyguard_listener SET revision = {revision(psql)}")
    await again


async def test_what_no_check_reads_moves_nothing(make_store, psql):
    """A new key, a new name and other digests move no token, and wait for nobody."""
    store = await make_store()
    before = await token_of(store), revision(psql)
    psql("INSERT INTO keyguard_listener VALUES ('deaf', -1, now() + interval '1 hour')")
    await store.rename_key("1", "another")
    await store.add_key(make_record("new", "owner-1"))
    assert await store.upgrade("new", verifier=make_record("new", "").verifier, new_lookup="a", new_verifier="b")
    await store.set_password("owner-1", "another")
    assert await store.revoke_key("1", NOON, "") is True  # This one waits, until the time is over.
    assert revision(psql) == before[1] + 1


async def test_a_change_in_sql_is_heard_of(make_store, psql):
    """What another program changes moves the token soon."""
    store = await make_store()
    token = await token_of(store)
    psql("UPDATE keyguard_keys SET disabled_at = 1 WHERE id = '3'")
    await token_of(store, but=token)


async def test_tables_that_are_made_anew_move_the_token(make_store, psql):
    """A revision that was put back, as by a backup, moves the token like any other."""
    store = await make_store()
    token = await token_of(store)
    psql("UPDATE keyguard_revision SET n = 0")
    await token_of(store, but=token)


async def test_a_number_that_comes_again_moves_the_token(make_store, psql):
    """Set back, and counted up to the same number at once, the revision has moved all the same."""
    store = await make_store()
    await token_of(store)
    await store.set_owner_superuser("owner-1", superuser=True)
    token = await token_of(store)
    psql("BEGIN; UPDATE keyguard_revision SET n = n - 1; UPDATE keyguard_keys SET disabled_at = 1; COMMIT")
    await token_of(store, but=token)


# --- when nobody listens ----------------------------------------------------------------------------------------


async def test_who_asks_for_no_token_does_not_listen(make_store, postgres, database, psql):
    """A script that only writes has no row and no connection that listens; nor has a store that was closed."""
    store = await make_store()
    await store.revoke_key("1", NOON, "")
    assert psql("SELECT count(*) FROM keyguard_listener") == "0"
    assert postgres.backends(database, application=APPLICATION) == []
    await token_of(store)
    assert psql("SELECT count(*) FROM keyguard_listener") == "1"
    await store.close()
    assert psql("SELECT count(*) FROM keyguard_listener") == "0"
    assert store.token() is None
    await until(lambda: postgres.backends(database) == [])


async def test_a_store_that_opens_again_goes_on_with_its_tokens(make_store):
    """Closed and opened again, a store gives no token that it has given before."""
    store = await make_store()
    before = await token_of(store)
    await store.close()
    await store.open()
    assert await token_of(store) > before


def test_a_store_listens_in_the_loop_that_there_is(postgres_url, psql):
    """Outside of an event loop there is no token; each loop after another has one, and leaves no row behind."""
    store = SQLStore(postgres_url)
    asyncio.run(store.create_schema())

    async def opened():
        await store.open()
        return await token_of(store)

    tokens = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # The loops end before the store is closed.
        for _ in range(3):
            tokens.append(asyncio.run(opened()))
            assert psql("SELECT count(*) FROM keyguard_listener") == "0"
            assert store.token() is None
        asyncio.run(store.close())
        gc.collect()
    assert tokens == sorted(set(tokens))


async def test_several_loops_share_one_listener(make_store, psql):
    """A loop in another thread has the token of the one that listens already; when that one has ended, it listens."""
    store = await make_store()
    token = await token_of(store)
    assert await asyncio.to_thread(asyncio.run, token_of(store)) == token
    assert psql("SELECT count(*) FROM keyguard_listener") == "1"
    await asyncio.to_thread(asyncio.run, store.close())
    await until(lambda: psql("SELECT count(*) FROM keyguard_listener") == "0")
    assert store.token() is None


async def test_another_driver_has_no_token(postgres_url, make_store):
    """Over a driver that cannot listen there is no token, and changes are heard of by those that do listen."""
    registry.register("postgresql.another", "sqlalchemy.dialects.postgresql.asyncpg", "PGDialect_asyncpg")
    listening = await make_store()
    store = SQLStore(postgres_url.replace("asyncpg", "another"))
    token = await token_of(listening)
    await store.revoke_key("1", NOON, "")
    assert listening.token() != token
    assert store.token() is None
    await store.close()


# --- one rule after another, and what breaks it -----------------------------------------------------------------


class Watched:
    """A connection of asyncpg's that calls `before` with each statement before it passes it on."""

    def __init__(self, connection, before):
        self._connection = connection
        self._before = before

    def __getattr__(self, name):
        return getattr(self._connection, name)

    async def execute(self, query, *arguments):
        await self._before(query)
        return await self._connection.execute(query, *arguments)

    async def fetchrow(self, query, *arguments):
        await self._before(query)
        return await self._connection.fetchrow(query, *arguments)


def watch(store, before):
    """Have `before` called with each statement of the connection that listens."""
    connect = store._voucher._connect

    async def watched():
        return Watched(await connect(), before)

    store._voucher._connect = watched


class Hears(Listener):
    """The listener as it is."""


class DoesNotHear(Listener):
    """Its notifications get lost, but for that by which it tries whether they come."""

    def _notified(self, connection, process, channel, payload):
        if payload == self.id:
            super()._notified(connection, process, channel, payload)


class ReadsOnce(DoesNotHear):
    """Nor does it read the revision again with each lease."""

    async def _renew(self, connection):
        before = self.lease
        sent = await super()._renew(connection)
        if before.revision is not None:
            self.lease = replace(before, until=self.lease.until)
        return sent


class AcknowledgesFirst(Listener):
    """It acknowledges a revision before its token has moved for it."""

    def _notified(self, connection, process, channel, payload):
        moved = self.lease
        super()._notified(connection, process, channel, payload)
        self.lease = moved

    async def _read(self, connection):
        row = await connection.fetchrow(REVISION_QUERY)
        await connection.execute(_listener._ACKNOWLEDGE, self.id, row["n"])
        await connection.fetchrow("SELECT 'time goes by'")
        self.lease = self.lease.read(row["n"])


class CountsFromTheAnswer(Listener):
    """It counts its lease from when the answer has come."""

    async def _renew(self, connection):
        sent = await super()._renew(connection)
        if self.lease.revision is not None:
            self.lease = self.lease.granted(self._clock(), self.lease.revision)
        return sent


class ReadsFirst(DoesNotHear):
    """It reads the revision before its row tells writers to wait."""

    async def _renew(self, connection):
        sent = self._clock()
        row = await connection.fetchrow(self._look)
        await connection.execute(_listener._RENEW, self.id, self.lease.seconds)
        self.lease = self.lease.granted(sent, row["n"])
        await self._acknowledge(connection)
        return sent


async def assert_that_acknowledging_comes_last(writer, reader, psql, monkeypatch):
    """When the row has the number of a revision the token has moved."""
    seen = []

    async def note(query):
        if query == _listener._ACKNOWLEDGE:
            seen.append(reader.token())
        if "time goes by" in query:
            await until(lambda: "done" in seen)

    watch(reader, note)
    before = await token_of(reader)
    seen.clear()

    async def revoke():
        await writer.revoke_key("1", NOON, "")
        token = reader.token()
        seen.append("done")
        return token

    after = await revoke()
    assert after != before
    assert before not in seen


async def assert_that_a_lease_is_counted_from_its_sending(writer, reader, psql, monkeypatch):
    """Where an answer takes longer than a lease there is none."""
    now, tokens = [seconds()], []

    async def take_long(query):
        tokens.append(reader.token())
        if query == _listener._RENEW:
            now[0] += 10

    watch(reader, take_long)
    reader._voucher._clock = lambda: now[0]
    reader.token()
    await until(lambda: len(tokens) > 20)
    assert set(tokens) == {None}


async def assert_that_the_row_comes_first(writer, reader, psql, monkeypatch):
    """Where a lease had run out and is renewed, and a change comes in between, writer or reader notice."""
    changing, renewing, now = [], [], [seconds()]

    async def change_in_between(query):
        if now[0] > later and len(renewing) < 2:
            renewing.append(query)
            if len(renewing) == 2:
                number = revision(psql)
                changing.append(asyncio.create_task(writer.revoke_key("1", NOON, "")))
                await until(lambda: revision(psql) > number)
                await asyncio.wait(changing, timeout=0.1)

    watch(reader, change_in_between)
    reader._voucher._clock = lambda: now[0]
    later = now[0] + 1
    before = await token_of(reader)
    now[0] += 3600  # The worker has slept for an hour, and so its row has run out.
    psql("UPDATE keyguard_listener SET expires_at = now() - interval '1 hour'")
    assert reader.token() is None
    await until(lambda: changing)
    await asyncio.wait(changing)
    assert await token_of(reader) != before


async def assert_that_a_change_is_seen_without_a_notification(writer, reader, psql, monkeypatch):
    """A call's change has moved the token when it returns, and one in SQL moves it soon."""
    before = await token_of(reader)
    await writer.revoke_key("1", NOON, "")
    assert reader.token() != before
    before = await token_of(reader)
    monkeypatch.setattr(sys.modules[__name__], "DEADLINE", 5.0)
    psql("UPDATE keyguard_keys SET disabled_at = 1 WHERE id = '2'")
    await token_of(reader, but=before)


RULES = {
    assert_that_acknowledging_comes_last: (Hears, AcknowledgesFirst),
    assert_that_a_lease_is_counted_from_its_sending: (Hears, CountsFromTheAnswer),
    assert_that_the_row_comes_first: (DoesNotHear, ReadsFirst),
    assert_that_a_change_is_seen_without_a_notification: (DoesNotHear, ReadsOnce),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_the_protocol_holds(make_store, psql, monkeypatch, rule):
    """The listener keeps each rule of the protocol, and what breaks a rule fails its test."""
    for listener in RULES[rule]:
        monkeypatch.setattr(_listener, "Listener", listener)
        writer, reader = await make_store(), await make_store()
        if listener is RULES[rule][0]:
            await rule(writer, reader, psql, monkeypatch)
        else:
            psql("UPDATE keyguard_keys SET revoked_at = NULL, disabled_at = NULL")
            with pytest.raises((AssertionError, TimeoutError)):
                await rule(writer, reader, psql, monkeypatch)
        await reader.close()


# --- what can go wrong ------------------------------------------------------------------------------------------


async def test_a_listener_that_is_killed_comes_back(make_store, postgres, database, psql, caplog):
    """A connection that is terminated is made again; until then no token vouches, and it has moved afterwards."""
    writer, reader = await make_store(), await make_store()
    for number in range(3):
        token = await token_of(reader)
        (pid,) = postgres.backends(database, application=APPLICATION)
        psql(f"SELECT pg_terminate_backend({pid})")
        await writer.revoke_key(str(number), NOON, "")
        assert reader.token() != token
        assert await token_of(reader) != token
        await until(lambda pid=pid: postgres.backends(database, application=APPLICATION) not in ([pid], []))
    assert {"the connection that listens is lost" in record.getMessage() for record in caplog.records} == {True}


async def test_a_server_that_restarts_is_listened_to_again(make_store, postgres, caplog):
    """While the server is stopped there is no token; when it is back there is another one; what fails is said once."""
    store = await make_store()
    token = await token_of(store)
    postgres.stop()
    await until(lambda: store.token() is None)
    await until(lambda: any("Connect call failed" in record.getMessage() for record in caplog.records))
    postgres.start()
    assert await token_of(store) != token
    sentences = [record.getMessage() for record in caplog.records]
    assert all(one != other for one, other in pairwise(sentences))


async def test_a_listener_whose_connection_freezes_loses_its_lease(make_store, postgres, database):
    """Where the server does not answer the listener its lease ends, and a change by others has been seen."""
    writer, reader = await make_store(), await make_store()
    token = await token_of(reader)
    (pid,) = postgres.backends(database, application=APPLICATION)
    postgres.pause(pid)
    try:
        await writer.revoke_key("1", NOON, "")
        assert reader.token() != token
        assert await token_of(reader) != token
    finally:
        postgres.resume(pid)


async def test_an_emptied_table_of_listeners_is_filled_again(make_store, psql):
    """Where somebody empties the table the listener writes its row and its number again; writers wait for it again."""
    writer, reader = await make_store(), await make_store()
    await token_of(reader)
    # In a thread: the listener may be between two steps of a statement, and hold a lock until it goes on.
    await asyncio.to_thread(psql, "TRUNCATE keyguard_listener")
    await until(lambda: psql("SELECT revision FROM keyguard_listener") == str(revision(psql)))
    before = await token_of(reader)
    await writer.revoke_key("1", NOON, "")
    assert reader.token() != before


async def test_rows_of_the_dead_are_removed(make_store, psql):
    """Who begins to listen removes the rows that ran out more than a minute ago, and no others."""
    store = await make_store()
    psql(
        "INSERT INTO keyguard_listener VALUES ('old', 1, now() - interval '61 s'), ('new', 1, now() - interval '50 s')"
    )
    await token_of(store)
    assert psql("SELECT id FROM keyguard_listener WHERE length(id) = 3") == "new"


async def test_notifications_of_others_do_no_harm(make_store, psql):
    """Numbers that somebody else notifies of are not believed, and texts are not listened to."""
    writer, reader = await make_store(), await make_store()
    token = await token_of(reader)
    psql("NOTIFY keyguard, 'nonsense'; NOTIFY keyguard; NOTIFY keyguard, '-1'")
    assert await token_of(reader) == token
    psql(f"NOTIFY keyguard, '{revision(psql) + 1}'; NOTIFY keyguard, '999999999999999999999999999999'")
    token = await token_of(reader, but=token)
    await writer.revoke_key("1", NOON, "")
    assert reader.token() != token


async def test_who_cannot_hear_has_no_lease(postgres, make_store, monkeypatch, caplog):
    """Where notifications do not arrive, as through a pooler or from another database, no lease is ever granted."""
    monkeypatch.setattr(_listener, "_TIME_TO_HEAR", 0.1)
    monkeypatch.setattr(_listener, "_PAUSE_OF_THE_DEAF", 0.01)
    await make_store()
    elsewhere = postgres.create_database()
    there = SQLStore(postgres.url(elsewhere))
    await there.create_schema()
    await there.close()
    store = await make_store(listen_url=postgres.url(elsewhere, "postgresql"))
    attempts, connect = [], store._voucher._connect

    async def counted():
        attempts.append(store.token())
        return await connect()

    store._voucher._connect = counted
    assert store.token() is None
    await until(lambda: len(attempts) == 4)
    assert set(attempts) == {None}
    assert ["give SQLStore a listen_url" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+asyncpg", "postgres"])
async def test_a_listener_has_a_url_of_its_own(postgres, database, make_store, driver):
    """`listen_url` is a URL of the same database, as SQLAlchemy or any other program writes it."""
    store = await make_store(listen_url=postgres.url(database, driver) + "?prepared_statement_cache_size=0")
    assert await token_of(store) is not None


@pytest.mark.parametrize("url", ["nonsense", "postgresql://host:port/x", "sqlite:///x.db"])
def test_a_wrong_url_to_listen_at_is_refused(url):
    """What is no URL of PostgreSQL's is refused where it is written."""
    with pytest.raises(ConfigurationError, match="listen_url"):
        SQLStore("postgresql+asyncpg://user@host/db", listen_url=url)


@pytest.mark.parametrize(
    ("harm", "remedy"),
    [
        ("ALTER TABLE keyguard_keys DISABLE TRIGGER {name}", "ALTER TABLE keyguard_keys ENABLE ALWAYS TRIGGER {name}"),
        ("ALTER TABLE keyguard_keys ENABLE TRIGGER {name}", "ALTER TABLE keyguard_keys ENABLE ALWAYS TRIGGER {name}"),
        ("DROP TRIGGER {name} ON keyguard_keys", None),
        ("DELETE FROM keyguard_revision; NOTIFY keyguard, '1'", "INSERT INTO keyguard_revision VALUES (1, 1)"),
    ],
    ids=["disabled", "not always", "dropped", "no revision"],
)
async def test_without_triggers_there_is_no_lease(make_store, psql, caplog, harm, remedy):
    """Where a trigger is missing or disabled no lease is renewed, which is said once; mended, the token has moved."""
    store = await make_store()
    name = psql("SELECT max(tgname) FROM pg_trigger WHERE tgname LIKE 'keyguard_keys%'")
    token = await token_of(store)
    await asyncio.to_thread(psql, harm.format(name=name))
    await until(lambda: store.token() is None)
    await until(lambda: caplog.records)
    if remedy is None:
        await (await make_store()).create_schema()
    else:
        await asyncio.to_thread(psql, remedy.format(name=name))
    assert await token_of(store) != token
    said = [record.getMessage() for record in caplog.records if "each check reads its row" in record.getMessage()]
    assert len(said) == 1


async def test_a_caller_that_goes_away_has_changed_something(make_store, psql):
    """A call that is cancelled while it waits for the others to hear of it has done its change."""
    writer = await make_store()
    psql("INSERT INTO keyguard_listener VALUES ('deaf', -1, now() + interval '1 hour')")
    before = revision(psql)
    call = asyncio.create_task(writer.revoke_key("1", NOON, ""))
    await until(lambda: revision(psql) > before)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await writer.get_key("1")).revoked_at == NOON


# --- other processes --------------------------------------------------------------------------------------------

WORKER = """
import asyncio, sys, threading
from keyguard.stores.sql import SQLStore

async def main():
    store = SQLStore(sys.argv[1])
    await store.open()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def answer():
        # In a thread, so that it comes before all that waits in the event loop.
        for line in sys.stdin:
            print(store.token(), flush=True)
        loop.call_soon_threadsafe(ended.set)

    while store.token() is None:
        await asyncio.sleep(0.01)
    threading.Thread(target=answer).start()
    await ended.wait()
    await store.close()

asyncio.run(main())
"""


async def test_a_frozen_worker_does_not_trust_what_it_knew(make_store, postgres_url):
    """A revocation returns though a worker is frozen; the worker, when it goes on, has no token or another one."""
    writer = await make_store()
    worker = subprocess.Popen(  # noqa: ASYNC220 It is stopped and continued, which asyncio's would not outlive.
        [sys.executable, "-c", WORKER, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask():
        worker.stdin.write("?\n")
        worker.stdin.flush()

    try:
        ask()
        before = await asyncio.to_thread(worker.stdout.readline)
        assert before.strip().isdecimal()
        for number in range(3):
            worker.send_signal(signal.SIGSTOP)
            await writer.revoke_key(str(number), NOON, "")
            ask()
            worker.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(worker.stdout.readline) != before
            before = "None\n"
            while before == "None\n":
                ask()
                before = await asyncio.to_thread(worker.stdout.readline)
    finally:
        worker.send_signal(signal.SIGCONT)
        worker.stdin.close()
        await asyncio.to_thread(worker.wait, 20)
        worker.stdout.close()
    assert worker.returncode == 0


FORKS = """
import asyncio, os, sys
from keyguard.stores.sql import SQLStore

store = SQLStore(sys.argv[1])

async def token():
    while store.token() is None:
        await asyncio.sleep(0.01)
    return store.token()

async def of_the_child(inherited):
    assert store.token() is None  # What the parent hears its child does not.
    assert await token() != inherited
    await store.close()

async def main():
    await store.open()
    inherited = await token()
    child = os.fork()
    if not child:
        try:
            asyncio.run(of_the_child(inherited))
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    listener = store._voucher._listener
    until = listener.lease.until
    while listener.lease.until == until:
        await asyncio.sleep(0.01)
    assert await token() == inherited  # The parent's connection is as it was.
    child = os.fork()
    if not child:
        os._exit(0 if asyncio.run(store.close()) is None and store.token() is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert await token() == inherited
    await store.close()

asyncio.run(main())
"""


async def test_what_another_process_has_begun_is_left_alone(make_store):
    """In a process that was forked off the listener of the parent is neither used nor ended."""
    store = await make_store()
    revision = store._voucher
    left = []
    for call in (token_of, SQLStore.close):
        token = await token_of(store)
        left.append(revision._task)
        revision._process = -1  # As the child finds it.
        if call is token_of:
            assert store.token() is None
            assert await token_of(store) != token
        else:
            await store.close()
    assert [task.done() for task in left] == [False, False]
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    silent = await make_store()  # Nobody asked it for a token.
    silent._voucher._process = -1
    await silent.close()


async def test_a_fork_listens_for_itself(make_store, postgres_url, psql):
    """A process that was forked off does not trust its parent's lease, and leaves the parent's connection alone."""
    await make_store()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore", "-c", FORKS, postgres_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert psql("SELECT count(*) FROM keyguard_listener") == "0"
