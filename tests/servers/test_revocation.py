"""Revoked means revoked: two server processes over one database refuse a key from the moment that revoking returns."""

import asyncio
import sqlite3
from contextlib import ExitStack

import pytest
from servers.harness import running
from servers.wire import ask

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore

ROUNDS = 5


async def _made(url):
    store = SQLStore(url)
    await store.create_schema()
    await store.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("revocation") / "keys.db"
    asyncio.run(_made(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="module")
def workers(database):
    """Two processes, both started before any key was issued, and a third, this one, that changes keys."""
    environment = {"CASE": "guarded", "DATABASE": f"sqlite+aiosqlite:///{database}"}
    with ExitStack() as stack:
        started = [
            stack.enter_context(running("httptools", "servers.starting:app", database.parent, environment=environment))
            for _ in range(2)
        ]
        yield [server.wait_until_it_answers() for server in started]


@pytest.fixture
async def store(database):
    store = SQLStore(f"sqlite+aiosqlite:///{database}")
    yield store
    await store.close()


def answers(workers, key):
    """Ask each worker some times; return the pids that let the key pass, and all statuses."""
    replies = [ask(worker.port, "/who", f"X-API-Key: {key}") for _ in range(ROUNDS) for worker in workers]
    pids = {int(reply.body.split(b" of ")[1]) for reply in replies if reply.status == 200}
    return pids, {reply.status for reply in replies}


async def revoke(store, record):
    await lifecycle.revoke(store, record.id)


async def disable(store, record):
    await lifecycle.disable(store, record.id)


async def deactivate(store, record):
    await lifecycle.deactivate(store, record.owner_id)


def in_sql(statement):
    async def change(store, record):
        """Behind the library's back, as somebody with a shell does."""
        connection = sqlite3.connect(store._database.engine.url.database)
        with connection:
            assert connection.execute(statement, {"key": record.id, "owner": record.owner_id}).rowcount == 1
        connection.close()

    return change


CHANGES = {
    "revoke": revoke,
    "disable": disable,
    "deactivate the owner": deactivate,
    "SQL revokes": in_sql("UPDATE keyguard_keys SET revoked_at = 1 WHERE id = :key"),
    "SQL lets it expire": in_sql("UPDATE keyguard_keys SET expires_at = 1 WHERE id = :key"),
    "SQL deletes the key": in_sql("DELETE FROM keyguard_keys WHERE id = :key"),
    "SQL deactivates the owner": in_sql("UPDATE keyguard_owners SET is_active = 0 WHERE id = :owner"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_after_a_change_has_returned_no_worker_lets_the_key_pass(workers, store, change):
    """Both processes answer 200 with it before, and both refuse it from then on, with no time between."""
    owner = await lifecycle.add_owner(store, f"ada, to whom it happens to {change}")
    issued = await lifecycle.issue(store, owner)
    key = issued.key.reveal()
    pids, statuses = answers(workers, key)
    assert (len(pids), statuses) == (2, {200})
    assert pids == {worker.process.pid for worker in workers}
    await CHANGES[change](store, issued.record)
    assert answers(workers, key) == (set(), {401})


@pytest.mark.parametrize(
    ("off", "on"),
    [
        (lambda store, record: lifecycle.disable(store, record.id), lambda s, record: lifecycle.enable(s, record.id)),
        (
            lambda store, record: lifecycle.deactivate(store, record.owner_id),
            lambda store, record: lifecycle.activate(store, record.owner_id),
        ),
    ],
    ids=["a key", "an owner"],
)
async def test_what_is_switched_on_again_passes_at_once(workers, store, off, on, request):
    """The other way round it is as exact, over and over."""
    owner = await lifecycle.add_owner(store, f"bob: {request.node.callspec.id}")
    issued = await lifecycle.issue(store, owner)
    for _ in range(5):
        assert answers(workers, issued.key.reveal())[1] == {200}
        await off(store, issued.record)
        assert answers(workers, issued.key.reveal())[1] == {401}
        await on(store, issued.record)


async def test_a_key_is_good_at_once_and_revoking_it_harms_no_other(workers, store):
    """A key that was issued a moment ago passes everywhere, and goes on to when its sister is revoked."""
    owner = await lifecycle.add_owner(store, "carol")
    first, second = [await lifecycle.issue(store, owner) for _ in range(2)]
    await lifecycle.revoke(store, first.record.id)
    assert answers(workers, first.key.reveal())[1] == {401}
    assert answers(workers, second.key.reveal())[1] == {200}
