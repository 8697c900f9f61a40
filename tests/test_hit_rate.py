"""How often a remembered key is read again while an app goes on writing into the same SQLite file: hardly ever."""

import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from asgi import get
from sqlalchemy import event

from keyguard import KeyGuard, lifecycle
from keyguard.stores.sql import SQLStore

KEYS = 50
"""With each change that counts they would all be read again."""

SECONDS = 2.0
RATE = 200

WRITING = """
import itertools, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, text TEXT)")
print("begun", flush=True)
begun = time.monotonic()
for written in itertools.count():
    due = written / float(sys.argv[3])
    if due >= float(sys.argv[2]):
        break
    time.sleep(max(0.0, begun + due - time.monotonic()))
    connection.execute("INSERT INTO readings (text) VALUES (?)", ["x" * 6000])
print(written, flush=True)
"""
"""Writes rows at a steady pace for some seconds, each in a transaction; so large that SQLite empties its log often."""


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})


class Guarded:
    """A guard over a file, keys that it remembers, and how often it was used and keys were read."""

    def __init__(self, store, keys):
        self.store = store
        self.keys = keys
        self.requests = self.reads = 0
        self._guard = KeyGuard(app, store=store, query=None)

    def watch(self):
        """Count the reads of keys over each connection of the open store."""
        self.store._reader._connection.set_trace_callback(self._note)
        engine = self.store._database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda _1, _2, text, *_: self._note(text))

    def _note(self, text):
        self.reads += "FROM keyguard_keys" in text

    async def use(self, *keys):
        """Use these keys, or all, one after the other; demand that they pass, and return how often keys were read."""
        before = self.reads
        for key in keys or self.keys:
            self.requests += 1
            assert (await get(self._guard, headers=[("x-api-key", key)])).status == 200
        return self.reads - before

    async def use_until(self, done):
        """Use all keys over and over, and return which part of the requests needed no read."""
        requests, reads = self.requests, self.reads
        while not done.done():
            await self.use()
            await asyncio.sleep(0.001)  # A remembered key lets a request pass without a turn of the loop.
        assert self.requests - requests >= 20 * KEYS
        return 1 - (self.reads - reads) / (self.requests - requests)

    async def close(self):
        await self._guard.aclose()
        await self.store.close()


@pytest.fixture
def url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/keys.db"


@pytest.fixture
async def others(url):
    """A store as another worker has it, by which keys are issued and revoked."""
    store = SQLStore(url)
    await store.create_schema()
    await lifecycle.add_owner(store, "ada", id="ada")
    yield store
    await store.close()


async def issue(store, many):
    """Issue so many keys, and return them as texts and as records."""
    issued = [await lifecycle.issue(store, "ada") for _ in range(many)]
    return [each.key.reveal() for each in issued], [each.record for each in issued]


@pytest.fixture
async def guarded(url, others):
    """A guard that remembers its keys."""
    keys, _ = await issue(others, KEYS)
    guarded = Guarded(SQLStore(url), keys)
    await guarded.store.open()
    guarded.watch()
    assert await guarded.use() == KEYS
    assert await guarded.use() == 0
    yield guarded
    await guarded.close()


@asynccontextmanager
async def writing(tmp_path):
    """Let another process write into the database; it tells at last how many rows it has written."""
    arguments = ["-c", WRITING, str(tmp_path / "keys.db"), str(SECONDS), str(RATE)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"begun\n"
    yield process
    async with asyncio.timeout(60):
        assert await process.wait() == 0


async def test_rows_of_the_app_cost_no_reads(tmp_path, guarded):
    """While another process writes 200 rows a second into the file, at least 99 of 100 requests need no read."""
    async with writing(tmp_path) as process:
        written = asyncio.create_task(process.stdout.readline())
        hit_rate = await guarded.use_until(written)
    assert int(await written) >= 300
    assert hit_rate >= 0.99


async def test_new_keys_cost_no_reads_of_others(guarded, others):
    """While 200 keys are issued no remembered one is read again; of the new ones, each is read once."""
    issuing = asyncio.create_task(issue(others, 200))
    assert await guarded.use_until(issuing) == 1
    new, _ = await issuing
    assert await guarded.use(*new) == 200
    assert await guarded.use(*new, *guarded.keys) == 0


async def test_a_revocation_costs_each_key_one_read(guarded, others):
    """When a key is revoked that has nothing to do with them, each remembered one is read once more."""
    _, (unrelated, *_) = await issue(others, 1)
    await lifecycle.revoke(others, unrelated.id)
    reads = Counter({key: await guarded.use(key) for key in guarded.keys})
    assert reads == dict.fromkeys(guarded.keys, 1)
    assert await guarded.use() == 0
