"""An open WebSocket is closed when its key is revoked, by real servers, whichever process has it open."""

import asyncio
from contextlib import AsyncExitStack, ExitStack

import pytest
from leaks import WATCH
from servers.harness import PATIENCE, running
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore

OFTEN, NEVER = 0.2, 3600.0
"""Seconds after which a key is checked again, if nothing is received."""


async def _made(url):
    store = SQLStore(url)
    await store.create_schema()
    await store.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("sockets") / "keys.db"
    asyncio.run(_made(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def start(database):
    """Starts servers of one kind, each once, and gives those that run."""
    started = {}
    with ExitStack() as stack:

        def start(kind, recheck, processes=1):
            environment = {
                "CASE": "sockets",
                "DATABASE": f"sqlite+aiosqlite:///{database}",
                "RECHECK": str(recheck),
            }
            servers = started.setdefault((kind, recheck), [])
            while len(servers) < processes:
                server = running(kind, "servers.starting:app", database.parent, environment=environment)
                servers.append(stack.enter_context(server))
            return [server.wait_until_it_answers() for server in servers]

        yield start


@pytest.fixture
async def store(database):
    store = SQLStore(f"sqlite+aiosqlite:///{database}")
    yield store
    await store.close()


@pytest.fixture
async def issued(store, request):
    owner = await lifecycle.add_owner(store, f"ada of {request.node.name}")
    return await lifecycle.issue(store, owner)


def opened(server, path, issued):
    headers = {"X-API-Key": issued.key.reveal()}
    return connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers, proxy=None)


async def close_code(client):
    """The code with which the server closes, whatever it sends until then."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                await client.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code


async def test_the_next_message_after_a_revocation_closes_it_in_every_process(start, store, issued):
    """Two processes have a connection open; once revoking has returned, neither answers another message."""
    servers = start("httptools", NEVER, processes=2)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(opened(server, "/echo", issued)) for server in servers]
        answers = []
        for client in clients:
            await client.send("one")
            answers.append(await client.recv())
        assert answers == [f"one of {server.process.pid}" for server in servers]
        assert len(set(answers)) == 2
        await lifecycle.revoke(store, issued.record.id)
        for client in clients:
            await client.send("two")
        assert [await close_code(client) for client in clients] == [1008, 1008]
    for server in servers:
        assert server.wait_until_logged("echo ends with 1008")
        WATCH.see("a server's log", server.log)


@pytest.mark.parametrize("kind", ["httptools", "hypercorn", "granian"])
@pytest.mark.parametrize("path", ["/echo", "/ticks/"])
async def test_without_a_message_it_is_closed_in_time(start, store, issued, kind, path):
    """Whether the app waits for messages or only sends, the client sees 1008, and no server writes a stack trace."""
    (server,) = start(kind, OFTEN)
    async with opened(server, path, issued) as client:
        if path == "/ticks/":
            assert "tick" in await client.recv()
        await lifecycle.revoke(store, issued.record.id)
        assert await close_code(client) == 1008
    assert "Traceback" not in server.log
    WATCH.see("a server's log", server.log)


async def test_a_good_key_stays(start, store, issued):
    """A connection whose key is good goes on, over many checks, while others are closed."""
    (server,) = start("httptools", OFTEN)
    another = await lifecycle.issue(store, issued.record.owner_id)
    async with opened(server, "/echo", issued) as client, opened(server, "/echo", another) as other:
        await lifecycle.revoke(store, another.record.id)
        assert await close_code(other) == 1008
        await client.send("one")
        assert await client.recv() == f"one of {server.process.pid}"
