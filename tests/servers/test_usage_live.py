"""Servers that end under load: what they have let pass is counted, and the next ones go on from there."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import pytest
from histories.client import Gone, Key, Worker, connect
from servers.harness import PATIENCE, running

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore

CLIENTS = 6
INTERVAL = 0.5
"""Seconds between two batches, where a server is killed."""
WRITING = 2.0
"""Seconds that a busy machine may take to write one."""


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/keys.db"


@pytest.fixture
def postgresql(postgres_url):
    return postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
async def store(url):
    """A store as whoever looks at the counts has it."""
    store = SQLStore(url)
    await store.create_schema()
    await lifecycle.add_owner(store, "ada", id="ada")
    yield store
    await store.close()


@pytest.fixture
async def key(store):
    issued = await lifecycle.issue(store, "ada")
    return Key(id=issued.record.id, text=issued.key.reveal(), owner="ada")


class Clients:
    """Clients that use one key all the time until the server is gone: what was sent, and when it was answered."""

    def __init__(self):
        self.sent = 0
        self.answered = []
        self.pids = set()

    @asynccontextmanager
    async def of(self, server, key):
        """Let them go on until they find nobody any more."""
        tasks = [asyncio.create_task(self._use(server, key)) for _ in range(CLIENTS)]
        yield
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)

    async def _use(self, server, key):
        while True:
            try:
                line = await connect(Worker(port=server.port, pid=0))
            except OSError:
                return
            try:
                for _ in range(20):  # So that all workers are met, which share a port.
                    self.sent += 1
                    status, body = await line.get(b"/", key)
                    assert status == 200
                    self.answered.append(time.monotonic())
                    self.pids.add(int(body))
            except Gone:
                pass
            finally:
                line.close()

    async def have(self, many, *, workers=1):
        """Return when so many further requests were answered, and by so many further workers."""
        wanted, pids = len(self.answered) + many, len(self.pids) + workers
        async with asyncio.timeout(PATIENCE):
            while len(self.answered) < wanted or len(self.pids) < pids:  # noqa: ASYNC110 No single event tells this.
                await asyncio.sleep(0.01)


@asynccontextmanager
async def served(url, folder, *, workers=1, **more):
    """A uvicorn with so many workers behind one port."""
    environment = {"DATABASE": url, "UVICORN_WORKERS": str(workers), "UVICORN_ACCESS_LOG": "0"} | more
    with running("httptools", "servers.counting:app", folder, environment=environment) as server:
        await asyncio.to_thread(server.wait_until_it_answers)
        yield server


async def total(store, key):
    uses = await store.get_uses([key.id])
    return uses[key.id].total if uses else 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_server_that_is_asked_to_end_counts_all(url, store, key, tmp_path, workers):
    """After SIGTERM under load the database has each request that was answered, once; the next servers go on there."""
    clients = Clients()
    for _ in range(2):
        async with served(url, tmp_path, workers=workers) as server, clients.of(server, key):
            await clients.have(500, workers=workers)
            assert await total(store, key) < len(clients.answered)  # The last are in memory alone.
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait_until_it_ends)
        assert await total(store, key) == len(clients.answered)
    assert len(clients.pids) == 2 * workers
    assert len(clients.answered) <= clients.sent


async def test_a_server_that_is_killed_loses_no_more_than_the_last_interval(url, store, key, tmp_path):
    """After SIGKILL under load what is missing was answered within the last interval, and nothing is counted twice."""
    clients = Clients()
    async with served(url, tmp_path, INTERVAL=str(INTERVAL)) as server, clients.of(server, key):
        await clients.have(500)
        await asyncio.sleep(WRITING + 2 * INTERVAL)
        os.kill(server.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.to_thread(server.wait_until_it_ends)
    due = sum(answered < killed - WRITING - INTERVAL for answered in clients.answered)
    assert 500 <= due <= await total(store, key) <= clients.sent
