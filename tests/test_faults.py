"""What happens while the store fails, hangs or is locked: 503 in time, never a pass, and it mends by itself."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from asgi import connect, get, live
from sqlalchemy import event

from keyguard import KeyGuard, Keyring, Policy, lifecycle
from keyguard.settings import KeyFormat
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

PATIENCE = 3.0
"""Seconds: a check is given up after two; reaching this many means that something hangs."""

POLICY = Policy(exempt=["/health"], optional=["/page"])
WAITING = 64
"""How many may wait for the store behind those that ask it."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})


def guarding(store, **options):
    return KeyGuard(app, store=store, policy=POLICY, **options)


def with_key(key, number=0):
    """A request with a key, by header or by query."""
    return {"headers": [("x-api-key", key)]} if number % 2 else {"query": f"x-api-key={key}".encode()}


def bad(key):
    return key[:-1] + ("0" if key[-1] != "0" else "1")


async def statuses(guard, key, many=1):
    """How the guard answers so many requests with one key at once."""
    return await statuses_of(guard, [key] * many)


async def statuses_of(guard, keys):
    """How the guard answers requests with these keys at once."""
    answers = await asyncio.gather(*(get(guard, **with_key(key, number)) for number, key in enumerate(keys)))
    for answer in answers:
        if answer.status == 503:
            assert answer.header("retry-after") == ["1"]
            assert answer.json["code"] == "unavailable"
    return Counter(answer.status for answer in answers)


@contextmanager
def in_time():
    """Fail if the block takes so long that something must hang."""
    before = time.monotonic()
    yield
    assert time.monotonic() - before < PATIENCE


async def issued(store, many):
    """So many new keys of one owner: who brings a key of his own shares no read with others."""
    owner = (await store.list_owners() or [await lifecycle.add_owner(store, "ada")])[0]
    return [(await lifecycle.issue(store, owner)).key.reveal() for _ in range(many)]


@asynccontextmanager
async def database(folder, **options):
    """A store in a file, with an owner and a key."""
    store = SQLStore(f"sqlite+aiosqlite:///{folder}/keys.db", **options)
    try:
        await store.create_schema()
        (key,) = await issued(store, 1)
        yield store, key
    finally:
        await store.close()


# --- locked -------------------------------------------------------------------------------------------------------

EXCLUSIVE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode=EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
"""Takes the whole database; SQLite grants that only while nobody else has it open. A plain writer hinders no reader."""

READ_MARKS = """
import fcntl, os, sys
file = os.open(sys.argv[1] + "-shm", os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_EX, 5, 123)
print("held", flush=True)
sys.stdin.read()
"""
"""Takes the five read locks of the write-ahead log (https://www.sqlite.org/walformat.html §2.3.1), so that connections
that are open already can begin no read. SQLite takes that for something that passes in a moment."""


@contextmanager
def locked(script, folder):
    """Let another process hold a lock on the database."""
    command = [sys.executable, "-c", script, str(folder / "keys.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()


needs_posix_locks = pytest.mark.skipif(sys.platform == "win32", reason="the lock is taken with fcntl")


async def test_locked_at_the_start(tmp_path):
    """A database that is locked at the start does not stop it: 503 until the lock is gone, and then the key passes."""
    async with database(tmp_path) as (store, key):
        await store.close()
        guard, seen = guarding(store), []

        async def requests():
            seen.append(await statuses(guard, key, 8))
            seen.append((await get(guard, "/health", **with_key(key))).status)
            holder.__exit__(None, None, None)
            seen.append(await statuses(guard, key, 8))
            seen.append(await statuses(guard, bad(key), 8))

        holder = locked(EXCLUSIVE, tmp_path)
        holder.__enter__()
        messages = await live(guard, between=requests)
    assert [message["type"] for message in messages] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen == [{503: 8}, 200, {200: 8}, {401: 8}]


@pytest.mark.parametrize("ask", [get, connect], ids=["http", "websocket"])
async def test_locked_before_it_is_opened(tmp_path, ask):
    """While the database is locked: 503 within the deadline, exempt paths at once, and it recovers by itself."""
    async with database(tmp_path) as (store, key):
        guard = guarding(store)
        assert await statuses(guard, key) == {200: 1}
        await store.close()
        with locked(EXCLUSIVE, tmp_path):
            await assert_refused_in_time(guard, key, ask)
        assert await statuses(guard, key, 20) == {200: 20}
        await guard.aclose()


@needs_posix_locks
async def test_locked_while_it_is_open(tmp_path):
    """Where nobody can begin to read, the first request stands still for SQLite's ten seconds, and none after it.

    The others get 503 within the deadline, exempt paths pass at once, and of callers that come and go no more work is
    left behind than the store has connections. When the lock is gone the first read through the pool is all that it
    takes: keys are remembered again, and read without the pool.
    """
    async with database(tmp_path) as (store, key):
        known, unseen, *many = await issued(store, 42)
        guard = guarding(store)
        assert await statuses_of(guard, [key, known]) == {200: 2}
        with locked(READ_MARKS, tmp_path):
            before = time.monotonic()
            assert await statuses(guard, key) == {503: 1}
            assert time.monotonic() - before < 10 * PATIENCE
            assert store.token() is None
            await assert_refused_in_time(guard, key, get)
            await assert_refused_in_time(guard, unseen, connect)
            await assert_nothing_piles_up(guard, store, many)
        with in_time():
            assert await statuses(guard, key, 20) == {200: 20}
        assert store.token() is not None
        with pooled(store) as statements:
            assert await statuses_of(guard, [key, known, unseen]) == {200: 3}
            assert await statuses_of(guard, [bad(key), await unknown_key()]) == {401: 2}
        assert statements == []
        await store.close()  # Waits for the last threads to find that the lock is gone.
        await guard.aclose()
        assert_nothing_is_held(guard, store)


async def assert_refused_in_time(guard, key, ask):
    """Demand of a guard over a locked database that it keeps its deadline, and answers at once what needs no store."""
    with in_time():
        waiting = asyncio.gather(*(ask(guard, **with_key(key, number)) for number in range(20)))
        await asyncio.sleep(0)
        assert (await get(guard, "/health", **with_key(key))).status == 200
        assert (await get(guard, "/health", query=b"x-api-key=nonsense")).status == 200
        assert (await get(guard)).status == 401
        assert (await get(guard, "/page")).status == 200
        assert (await get(guard, **with_key("nonsense"))).status == 401
        assert not waiting.done()
        answers = await waiting
    assert {answer.status for answer in answers} == {503}
    assert all(answer.header("retry-after") == ["1"] for answer in answers)
    with in_time():
        assert await statuses(guard, bad(key), 4) == {401: 4}  # Its checksum is wrong: nobody asks the store.
        assert await statuses(guard, key, 4) == {503: 4}


async def assert_nothing_piles_up(guard, store, keys):
    """Let callers come and go, who bring keys that nobody has read yet, and demand that they leave no work behind."""
    most = 0
    for _ in range(25):
        requests = [asyncio.create_task(get(guard, **with_key(each))) for each in keys]
        for _ in range(5):
            await asyncio.sleep(0)
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)
        for _ in range(5):  # What they shared ends with the last of them, a few turns of the loop later.
            await asyncio.sleep(0)
        # And the uses that were counted before: they are written by one more connection.
        assert len(store._database._under_way) <= store.concurrency + 1
        assert guard._authenticator._reader._admission._present <= store.concurrency
        most = max(most, len(store._database._under_way))
    assert most >= store.concurrency


@contextmanager
def pooled(store):
    """The statements by which keys are read through the pool meanwhile."""
    statements = []

    def note(connection, cursor, statement, parameters, context, many):
        statements.extend([statement] if "FROM keyguard_keys" in statement else [])

    engine = store._database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def assert_nothing_is_held(guard, store):
    assert guard._authenticator._reader._admission._present == 0
    assert not store._database._under_way
    assert store._database.engine.pool.checkedout() == 0


# --- hanging ------------------------------------------------------------------------------------------------------


class Stuck(MemoryStore):
    """A store whose find does not return until it is released, and takes no notice of being cancelled."""

    concurrency = 2

    def __init__(self):
        super().__init__()
        self.released = asyncio.Event()
        self.stuck = self.most_stuck = self.calls = 0

    async def find(self, lookups):
        self.calls += 1
        self.stuck += 1
        self.most_stuck = max(self.most_stuck, self.stuck)
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        self.stuck -= 1
        return await super().find(lookups)


@pytest.fixture
async def stuck():
    """A store that hangs, and a key of it; whatever becomes of the test, it is released."""
    store = Stuck()
    yield store, await issued(store, 300)
    store.released.set()


async def test_a_store_that_never_returns(stuck):
    """A find that hangs for ever: 503 at the deadline, no more stuck calls than the store serves at once, recovery."""
    store, keys = stuck
    guard = guarding(store)
    for _ in range(2):
        with in_time():
            requests = [asyncio.create_task(get(guard, **with_key(key))) for key in keys]
            refused, waiting = await asyncio.wait(requests, timeout=1)
            # Beyond those that are asked or wait, everybody is turned away at once, long before the deadline.
            assert {request.result().status for request in refused} == {503}
            assert len(waiting) <= store.concurrency + WAITING
            assert (await get(guard, "/health")).status == 200
            await asyncio.wait(waiting)
        assert {request.result().status for request in requests} == {503}
        assert (store.calls, store.most_stuck) == (2, 2)
    store.released.set()
    assert await statuses_of(guard, keys[:60]) == {200: 60}
    assert store.most_stuck == 2


async def test_a_store_that_never_returns_holds_one_place_for_a_key(stuck):
    """While a find hangs, 300 requests with one key wait for it together: 503 for all at the deadline, one call."""
    store, (key, *_) = stuck
    guard = guarding(store)
    with in_time():
        assert await statuses(guard, key, 300) == {503: 300}
    assert store.calls == 1
    store.released.set()
    assert await statuses(guard, key, 300) == {200: 300}
    assert store.calls == 2


async def test_a_full_queue_is_503_at_once(stuck):
    """Those who find the queue full do not wait for the deadline; those within it pass."""
    store, keys = stuck
    guard = guarding(store)
    places = store.concurrency + WAITING
    within = [asyncio.create_task(get(guard, **with_key(key))) for key in keys[:places]]
    await asyncio.sleep(0)
    turned_away = asyncio.create_task(statuses_of(guard, keys[places : places + 100]))
    for _ in range(20):  # So many turns of the loop, and no time, are all that it takes.
        await asyncio.sleep(0)
    assert turned_away.done()
    assert turned_away.result() == {503: 100}
    store.released.set()
    assert {answer.status for answer in await asyncio.gather(*within)} == {200}


# --- missing, broken, gone ----------------------------------------------------------------------------------------


def nothing(path):
    pass


def no_folder(path):
    path.parent.rmdir()


def no_database(path):
    path.write_bytes(b"this is not a database, " * 1000)


def half_a_database(path):
    path.write_bytes(b"SQLite format 3\0" + os.urandom(4096))


def a_folder(path):
    path.mkdir()


def another_database(path):
    run("import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE users (id)')", path)


def run(script, *arguments):
    """Run a script in another process."""
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (nothing, "has no Keyguard tables"),
        (another_database, "has no Keyguard tables"),
        (no_folder, None),
        (no_database, None),
        (half_a_database, None),
        (a_folder, None),
    ],
)
async def test_no_database_is_never_a_pass(tmp_path, make, sentence, caplog):
    """Whatever stands in the place of the database: start-up is refused with a sentence, or requests get 503."""
    path = tmp_path / "folder" / "keys.db"
    path.parent.mkdir()
    make(path)
    store = SQLStore(f"sqlite+aiosqlite:///{path}")
    key = await unknown_key()
    guard = guarding(store)
    try:
        with in_time():
            assert await statuses(guard, key, 20) == {503: 20}
        assert (await get(guard, "/health", **with_key(key))).status == 200
        started, *_ = await live(guard)
        if sentence is None:
            assert started["type"] == "lifespan.startup.complete"
            assert "requests get 503 until it can" in caplog.text
        else:
            assert started["type"] == "lifespan.startup.failed"
            assert sentence in started["message"]
    finally:
        await store.close()


async def memory():
    store = MemoryStore()
    return store, await lifecycle.add_owner(store, "ada")


async def unknown_key():
    """A key of the right form, which another store has issued."""
    return (await lifecycle.issue(*await memory())).key.reveal()


async def test_a_missing_database_that_comes(tmp_path):
    """When the tables are made at last, the guard that has answered 503 goes on without a restart."""
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db")
    guard = guarding(store)
    known = await unknown_key()
    try:
        assert await statuses(guard, known) == {503: 1}
        async with database(tmp_path) as (_, key):
            assert await statuses(guard, key) == {200: 1}
            assert await statuses(guard, known) == {401: 1}
    finally:
        await store.close()


@pytest.fixture
def folder_of_somebody_else():
    """A folder that this process may look into and not write into, also where it is root's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(sys.platform == "win32", reason="folders have other permissions there")
async def test_a_folder_that_cannot_be_written(folder_of_somebody_else):
    """To read by its write-ahead log SQLite must write beside the database; where it may not: 503, later a pass."""
    folder = folder_of_somebody_else
    async with database(folder) as (store, key):
        guard = guarding(store)
        await store.close()
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # Nobody: root may write everywhere.
        try:
            with in_time():
                assert await statuses(guard, key, 4) == {503: 4}
            assert (await get(guard, "/health")).status == 200
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)
        assert await statuses(guard, key, 4) == {200: 4}


SPOIL = """
import glob, os, sqlite3, sys
path, how = sys.argv[1:]
connection = sqlite3.connect(path)
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # Else SQLite would mend the file from its log.
connection.close()
if how == "overwritten":
    with open(path, "r+b") as file:
        file.write(os.urandom(os.path.getsize(path)))
elif how == "cut off":
    os.truncate(path, 0)
elif how == "removed":
    for each in glob.glob(path + "*"):
        os.remove(each)
elif how == "replaced":
    with open(path + ".new", "wb") as file:
        file.write(os.urandom(65536))
    os.replace(path + ".new", path)
"""
"""Another process does it: to open and close the file in this one would drop SQLite's locks."""


@pytest.mark.parametrize("how", ["overwritten", "cut off", "removed", "replaced"])
async def test_a_database_that_goes_while_it_is_open(tmp_path, how):
    """A file that is spoilt under the open store makes no bad key pass and nothing fail but with 503.

    A good key may pass as long as SQLite answers from the pages and the file that it has open; whoever opens the store
    anew gets 503.
    """
    async with database(tmp_path) as (store, key):
        unknown = await unknown_key()
        guard = guarding(store)
        assert await statuses(guard, key, 8) == {200: 8}
        await asyncio.to_thread(run, SPOIL, tmp_path / "keys.db", how)
        with in_time():
            assert set(await statuses(guard, key, 20)) <= {200, 503}
            assert set(await statuses(guard, unknown, 20)) <= {401, 503}
            assert await statuses(guard, bad(key), 20) == {401: 20}
        await store.close()
        with in_time():
            assert await statuses(guard, key, 8) == {503: 8}
            assert await statuses(guard, unknown, 8) == {503: 8}


# --- many at once -------------------------------------------------------------------------------------------------


async def test_five_hundred_at_once(tmp_path):
    """Of 500 clients at once all good keys pass and no bad one; who is turned away for the moment asks again."""
    async with database(tmp_path) as (store, key):
        unknown = await unknown_key()
        guard = guarding(store)

        waiting, ends = [key, unknown] * 250, Counter()
        while waiting:
            answers = await asyncio.gather(*(get(guard, **with_key(each, n)) for n, each in enumerate(waiting)))
            told = [(each, answer.status) for each, answer in zip(waiting, answers, strict=True)]
            waiting = [each for each, status in told if status == 503]
            ends += Counter((each, status) for each, status in told if status != 503)
        assert ends == {(key, 200): 250, (unknown, 401): 250}
        assert_nothing_is_held(guard, store)


async def test_as_many_as_may_wait_all_pass(tmp_path):
    """Of requests that come at once, as many as the store serves and as may wait get their answer, and the rest 503."""
    async with database(tmp_path) as (store, _):
        places = store.concurrency + WAITING
        keys = await issued(store, 200)
        for _ in range(10):
            assert await statuses_of(guarding(store), keys[:places]) == {200: places}  # By a guard that knows none.
        guard = guarding(store)
        assert await statuses_of(guard, keys) == {200: places, 503: 200 - places}
        assert_nothing_is_held(guard, store)


async def test_with_one_key_all_pass(tmp_path):
    """Requests with one key share one read: however many come at once, nobody has to wait for a place."""
    async with database(tmp_path) as (store, key):
        guard = guarding(store)
        assert await statuses(guard, key, 500) == {200: 500}
        assert_nothing_is_held(guard, store)


async def test_five_hundred_at_once_in_memory():
    """A store that serves any number at once turns nobody away."""
    store, owner = await memory()
    key = (await lifecycle.issue(store, owner)).key.reveal()
    guard = guarding(store)
    assert await statuses(guard, key, 500) == {200: 500}
    assert await statuses(guard, bad(key), 500) == {401: 500}


async def test_clients_that_go_away(tmp_path):
    """Requests that are cancelled at any point of their check give back all that they held."""
    async with database(tmp_path) as (store, key):
        guard = guarding(store)
        for turns in range(40):
            requests = [asyncio.create_task(get(guard, **with_key(key))) for _ in range(store.concurrency + WAITING)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for request in requests:
                request.cancel()
            await asyncio.wait(requests)
        if store._database._under_way:  # What was begun comes to its end.
            await asyncio.wait(store._database._under_way)
        assert await statuses(guard, key, 60) == {200: 60}
        assert_nothing_is_held(guard, store)


async def test_one_that_goes_away_takes_nobody_with_it(tmp_path):
    """While some requests of a crowd are cancelled, the others get their answers."""
    async with database(tmp_path) as (store, key):
        guard = guarding(store)
        requests = [asyncio.create_task(get(guard, **with_key(key))) for _ in range(60)]
        for _ in range(3):
            await asyncio.sleep(0)
        for request in requests[::2]:
            request.cancel()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert {answer.status for answer in answers[1::2]} == {200}


# --- slow hashes --------------------------------------------------------------------------------------------------


class CountingHasher:
    """A slow hash that takes until it is released, and counts."""

    def __init__(self):
        self.released = threading.Event()
        self.released.set()
        self.verified = 0

    def hash(self, secret):
        return f"counted${secret.hex()}"

    def verify(self, verifier, secret):
        self.verified += 1
        assert self.released.wait(60)
        return verifier == self.hash(secret)

    def needs_rehash(self, verifier):
        return False


@pytest.fixture
async def chosen():
    """A store with a key that somebody chose, under a slow hash that counts."""
    hasher = CountingHasher()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    form = KeyFormat(prefix="team-", alphabet=letters, min_length=12, max_length=40)
    store = MemoryStore(keyring=Keyring(peppers=["a pepper of enough bytes"], hasher=hasher, formats=[form]))
    owner = await lifecycle.add_owner(store, "ada")
    await lifecycle.adopt(store, owner, "team-CorrectHorseBattery")
    yield store, hasher
    hasher.released.set()


async def test_made_up_secrets_cost_no_hash(chosen):
    """60 made-up secrets of the right form are refused without one slow hash: nothing is found by their digest."""
    store, hasher = chosen
    guard = guarding(store)
    secrets = [f"team-BogusHorseBattery{chr(65 + number % 26)}{chr(65 + number // 26)}" for number in range(60)]
    answers = await asyncio.gather(*(get(guard, **with_key(secret, n)) for n, secret in enumerate(secrets)))
    assert {answer.status for answer in answers} == {401}
    assert hasher.verified == 0


async def test_slow_hashes_are_few_and_beside_the_loop(chosen):
    """60 first uses of 60 keys at once: nine hash or wait, the rest get 503 at once, and the loop goes on meanwhile."""
    store, hasher = chosen
    (owner,) = await store.list_owners()
    keys = [f"team-CorrectHorseBattery{chr(65 + number % 26)}{chr(65 + number // 26)}" for number in range(60)]
    for key in keys:
        await lifecycle.adopt(store, owner, key)
    guard = guarding(store)
    hasher.released.clear()
    requests = [asyncio.create_task(get(guard, **with_key(key))) for key in keys]
    turned_away, waiting = await asyncio.wait(requests, timeout=0.5)
    assert Counter(request.result().status for request in turned_away) == {503: 51}
    assert len(waiting) == 9
    assert (await get(guard, "/health")).status == 200
    assert (await get(guard, **with_key("team-BogusHorseBattery"))).status == 401
    assert hasher.verified == 1  # One thread: the other eight have not begun.
    hasher.released.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert hasher.verified == 9

    passed = [key for key, request in zip(keys, requests, strict=True) if request in waiting]
    assert await statuses_of(guard, passed * 10) == {200: 90}
    assert hasher.verified == 9  # What was verified once is remembered.


async def test_one_slow_hash_for_all_who_bring_the_key(chosen):
    """60 first uses of one key at once cost one slow hash, and all pass."""
    store, hasher = chosen
    guard, key = guarding(store), "team-CorrectHorseBattery"
    hasher.released.clear()
    requests = [asyncio.create_task(get(guard, **with_key(key, number))) for number in range(60)]
    answered, _ = await asyncio.wait(requests, timeout=0.2)
    assert not answered
    hasher.released.set()
    assert {answer.status for answer in await asyncio.gather(*requests)} == {200}
    assert hasher.verified == 1


async def test_callers_that_go_away_leave_no_hashes_behind(chosen):
    """Requests that are cancelled while they wait for a slow hash give their place back, and it is not computed."""
    store, hasher = chosen
    guard, key = guarding(store), "team-CorrectHorseBattery"
    hasher.released.clear()
    for _ in range(10):
        requests = [asyncio.create_task(get(guard, **with_key(key))) for _ in range(9)]
        await asyncio.wait(requests, timeout=0.05)
        for request in requests:
            request.cancel()
        await asyncio.wait(requests)
    hasher.released.set()
    # One that had begun may still be running for nobody, and 8 may wait behind it.
    assert await statuses(guard, key, 8) == {200: 8}
    assert hasher.verified <= 10
