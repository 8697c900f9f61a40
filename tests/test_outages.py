"""What happens to a guard under load while its database fails: 503, never a pass, and it mends without a lost count."""

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest
from asgi import get
from postgres import cluster
from sqlalchemy import text

from keyguard import KeyGuard, lifecycle
from keyguard.stores._asyncpg import APPLICATION
from keyguard.stores._listener import Listener, connector, seconds
from keyguard.stores.sql import SQLStore

CLIENTS = 6
KEYS = 8
PATIENCE = 30.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""

INTERVAL = 0.1
"""Seconds between two batches of uses, so that batches are written when the database goes."""


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})


class Load:
    """Clients that use good and bad keys all the time, and what they were answered."""

    def __init__(self, store, good, bad, **options):
        self.store = store
        self.good = good
        self.bad = bad
        self.answers = Counter()
        self.guard = KeyGuard(app, store=store, query=None, **options)
        self.uses = self.guard._authenticator._reader.uses
        self.uses._interval = INTERVAL
        self._is_over = False

    @asynccontextmanager
    async def going(self):
        """Let the clients go on meanwhile."""
        clients = [asyncio.create_task(self._use(random.Random(number))) for number in range(CLIENTS)]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*clients)

    async def _use(self, choose):
        while not self._is_over:
            await self.ask(choose.choice(list(self.good) if choose.random() < 0.7 else self.bad))
            await asyncio.sleep(0.002)

    async def ask(self, key):
        status = (await get(self.guard, headers=[("x-api-key", key)])).status
        self.answers[key, status] += 1
        return status

    async def all_get(self, status):
        """Return when all good keys get that."""
        with in_time() as has_time:
            while set(await asyncio.gather(*map(self.ask, self.good))) != {status}:
                assert has_time()
                await asyncio.sleep(0.02)

    async def mends(self):
        """Return when all good keys pass and something vouches for them, so that they are remembered."""
        await self.all_get(200)
        with in_time() as has_time:
            while self.store.token() is None:
                assert has_time()
                await asyncio.sleep(0.02)
        await self.all_get(200)

    def statuses(self, keys):
        return {status for key, status in self.answers if key in keys}

    @property
    def unavailable(self):
        """How many got 503."""
        return sum(times for (_, status), times in self.answers.items() if status == 503)

    @property
    def passed(self):
        """How often each key has passed, by its id."""
        return {key_id: self.answers[key, 200] for key, key_id in self.good.items()}


@contextmanager
def in_time():
    """Give a function that tells whether there is time left."""
    end = time.monotonic() + PATIENCE
    yield lambda: time.monotonic() < end


@asynccontextmanager
async def loaded(url, **options):
    """A guard under load. At its end it must have let no bad key pass, and have counted what it has let pass."""
    others = SQLStore(url)
    await others.create_schema()
    await lifecycle.add_owner(others, "ada", id="ada")
    issued = [await lifecycle.issue(others, "ada") for _ in range(KEYS + 3)]
    keys = {each.key.reveal(): each.record.id for each in issued}
    revoked, disabled, unknown = list(keys)[KEYS:]
    store = SQLStore(f"{url}?timeout=1")
    load = Load(store, {key: keys[key] for key in list(keys)[:KEYS]}, [revoked, disabled, unknown], **options)
    try:
        await lifecycle.revoke(others, keys[revoked])
        await lifecycle.disable(others, keys[disabled])
        await others.change_schema(
            lambda each: each.execute(text("DELETE FROM keyguard_keys WHERE id = :id"), {"id": keys[unknown]})
        )
        await others.close()
        await load.mends()
        async with load.going():
            yield load
        await load.guard.aclose()
        assert {key_id: use.total for key_id, use in (await others.get_uses(load.passed)).items()} == load.passed
        assert load.statuses(load.bad) in ({401}, {401, 503})
        assert load.statuses(load.good) in ({200}, {200, 503})
    finally:
        await store.close()
        await others.close()


# --- PostgreSQL goes and comes --------------------------------------------------------------------------------------


@asynccontextmanager
async def stopped(postgres):
    await asyncio.to_thread(postgres.stop)
    yield
    await asyncio.to_thread(postgres.start)


@asynccontextmanager
async def crashed(postgres):
    await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
    yield
    await asyncio.to_thread(postgres.start)


@asynccontextmanager
async def frozen(postgres):
    with postgres.frozen():
        yield


@pytest.mark.parametrize("fault", [stopped, crashed, frozen])
async def test_a_server_that_is_gone(postgres, postgres_url, fault):
    """When the lease has ended all keys get 503; when the server is back they pass, and each use was counted once."""
    async with loaded(postgres_url) as load:
        for _ in range(2):
            async with fault(postgres):
                await load.all_get(503)
                await asyncio.sleep(5 * INTERVAL)
                assert load.store.token() is None
                await load.all_get(503)
            await load.mends()


async def test_a_server_that_restarts_again_and_again(postgres, postgres_url):
    """Whatever a request or a batch was in the middle of: no bad key passes, and each use is counted once."""
    async with loaded(postgres_url, cache_size=0) as load:
        for _ in range(5):
            async with stopped(postgres):
                pass
            await load.all_get(200)


# --- some connections do not answer ---------------------------------------------------------------------------------


def pooled(postgres, database):
    """The processes behind the connections of the store's pool."""
    listening = postgres.backends(database, application=APPLICATION)
    return [pid for pid in postgres.backends(database) if pid not in listening]


async def one_of(store):
    """The process behind some connection of the store's pool."""
    async with store._database.engine.connect() as connection:
        return [(await connection.execute(text("SELECT pg_backend_pid()"))).scalar()]


@pytest.mark.parametrize("is_one", [True, False], ids=["one", "all"])
async def test_frozen_backends(postgres, database, postgres_url, is_one):
    """Who meets a frozen connection gets 503; others take its place, so that it mends while they stay frozen."""
    async with loaded(postgres_url, cache_size=0) as load:
        if is_one:
            load.uses._interval = 2 * PATIENCE  # Else it may be a batch of uses that meets the only one.
        for _ in range(2):
            pids = await one_of(load.store) if is_one else pooled(postgres, database)
            before = load.unavailable
            postgres.pause(*pids)
            try:
                with in_time() as has_time:
                    while load.unavailable == before:
                        assert has_time()
                        await asyncio.sleep(0.02)
                await load.all_get(200)
            finally:
                postgres.resume(*pids)
        await load.all_get(200)


async def test_frozen_backends_are_not_missed_by_what_is_remembered(postgres, database, postgres_url):
    """Keys that are remembered pass while all connections but the listening one are frozen."""
    async with loaded(postgres_url) as load:
        pids = pooled(postgres, database)
        postgres.pause(*pids)
        try:
            for _ in range(100):
                assert {await load.ask(key) for key in load.good} == {200}
                await asyncio.sleep(INTERVAL / 5)
        finally:
            postgres.resume(*pids)


# --- no connection is to be had -------------------------------------------------------------------------------------


async def test_somebody_holds_the_whole_pool(postgres_url):
    """While all connections of the store are taken its reads are 503; when they come back keys pass at once."""
    async with loaded(postgres_url, cache_size=0) as load:
        engine = load.store._database.engine
        for _ in range(2):
            holding = [await engine.connect() for _ in range(engine.pool.size())]
            await load.all_get(503)
            for connection in holding:
                await connection.close()
            await load.all_get(200)


async def test_somebody_holds_the_whole_pool_of_a_file(tmp_path):
    """Over a SQLite file keys are not read through the pool, and pass meanwhile; their uses are written afterwards."""
    async with loaded(f"sqlite+aiosqlite:///{tmp_path}/keys.db", cache_size=0) as load:
        engine = load.store._database.engine
        holding = [await engine.connect() for _ in range(engine.pool.size())]
        before = load.answers.total()
        await asyncio.sleep(10 * INTERVAL)
        assert load.answers.total() - before > 100
        for connection in holding:
            await connection.close()
    assert 503 not in load.statuses(load.good)


@pytest.fixture
def small_postgres(postgres):
    """A server of its own that has few places for connections."""
    with cluster(max_connections="12", superuser_reserved_connections="1") as server:
        yield server


@asynccontextmanager
async def all_places_taken(server):
    """Drive everybody off a server, and take each place for a connection there is."""
    url = server.url(driver="postgresql")
    holding = [await asyncpg.connect(url)]
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid "
    with in_time() as has_time:
        while len(holding) < 12:
            assert has_time()
            try:
                holding.append(await asyncpg.connect(url))
            except asyncpg.TooManyConnectionsError:
                await holding[0].fetch(f"{others} <> ALL($1)", [each.get_server_pid() for each in holding])
    yield
    for connection in holding:
        await connection.close()


async def test_a_server_that_has_no_place_left(small_postgres):
    """Where others have all connections that the server grants: 503; when they go keys pass again."""
    async with loaded(small_postgres.url(small_postgres.create_database())) as load:
        for _ in range(2):
            async with all_places_taken(small_postgres):
                await load.all_get(503)
                await asyncio.sleep(5 * INTERVAL)
                await load.all_get(503)
            await load.mends()


async def test_a_listener_that_is_lost_while_it_is_tried(postgres, database, postgres_url):
    """A connection that ends while it is seen whether it hears is made again at once: nothing keeps it from hearing."""
    store = SQLStore(postgres_url)
    await store.create_schema()
    notified = []

    async def notify(payload):
        notified.append(payload)
        if len(notified) == 1:
            (pid,) = await asyncio.to_thread(postgres.backends, database, application=APPLICATION)
            payload = f"SELECT pg_terminate_backend({pid})"
        else:
            payload = f"NOTIFY keyguard, '{payload}'"
        await asyncio.to_thread(postgres.psql, payload, database)

    listener = Listener(connector(store._database, None), notify, store._triggers)
    listening = asyncio.create_task(listener.run())
    with in_time() as has_time:
        while listener.lease.token(seconds()) is None:
            assert has_time()
            await asyncio.sleep(0.02)
    listening.cancel()
    await asyncio.wait([listening])
    await store.close()


# --- uses cannot be written -----------------------------------------------------------------------------------------


FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON keyguard_uses FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""
"""The error that PostgreSQL raises when it cannot make a table's file larger."""


async def test_a_disk_that_is_full(postgres, database, postgres_url, caplog):
    """Keys pass while no uses can be written; when there is room again all are, once."""
    async with loaded(postgres_url) as load:
        await asyncio.to_thread(postgres.psql, FULL, database)
        while not any("No space left on device" in record.getMessage() for record in caplog.records):  # noqa: ASYNC110
            await asyncio.sleep(INTERVAL)
        await asyncio.sleep(5 * INTERVAL)
        await asyncio.to_thread(postgres.psql, "DROP TRIGGER refuse ON keyguard_uses", database)
    assert 503 not in load.statuses(load.good)
