"""An owner is renamed or removed through one worker, and the very next request meets that at another one."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from asgi import http_scope, send_scope
from starlette.responses import JSONResponse

from keyguard import KeyGuard, lifecycle
from keyguard.errors import NotFound
from keyguard.stores.sql import SQLStore


class CountingStore(SQLStore):
    """A store that counts how often it was asked for a key."""

    finds = 0

    async def find(self, lookups):
        self.finds += 1
        return await super().find(lookups)


async def who(scope, receive, send):
    """Answer by which name the caller is known."""
    await JSONResponse(scope["user"].name)(scope, receive, send)


class Worker:
    """A process's own store and guard, over the database of all."""

    def __init__(self, url):
        self.store = CountingStore(url)
        self.guard = KeyGuard(who, store=self.store)

    async def ask(self, key):
        """Send a request, and return its status and the answer."""
        answer = await send_scope(self.guard, http_scope(headers=[("x-api-key", key)]))
        return answer.status, answer.json

    async def remembers(self, key):
        """Send a request again and again until the key is let in without a look at the database."""
        async with asyncio.timeout(20):
            while True:
                before = self.store.finds
                status, name = await self.ask(key)
                assert status == 200
                if self.store.finds == before and self.store.token() is not None:
                    return name
                await asyncio.sleep(0.01)  # On PostgreSQL, until there is a lease.


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    return request.getfixturevalue("postgres_url")


@asynccontextmanager
async def workers(url):
    """Two workers over one database, each of which remembers the key of ada."""
    async with AsyncExitStack() as stack:
        both = [Worker(url) for _ in range(2)]
        for worker in both:
            stack.push_async_callback(worker.store.close)
        store = both[0].store
        await store.create_schema()
        ada = await lifecycle.add_owner(store, "ada")
        key = (await lifecycle.issue(store, ada)).key.reveal()
        for worker in both:
            assert await worker.remembers(key) == "ada"
        yield *both, ada, key


async def test_the_next_request_comes_under_the_new_name(url):
    """When a renaming has returned, the key that another worker remembers comes under the new name."""
    async with workers(url) as (one, other, ada, key):
        assert await lifecycle.rename_owner(one.store, ada, "countess")
        assert await other.ask(key) == (200, "countess")
        assert await one.ask(key) == (200, "countess")
        assert await other.remembers(key) == "countess"


async def test_the_next_request_of_a_removed_owner_is_refused(url):
    """When a removal has returned, the key that another worker remembers is refused, and uses may still come in.

    The name can be another owner's, to whom the old key does not lead.
    """
    async with workers(url) as (one, other, ada, key):
        assert await lifecycle.remove_owner(one.store, ada) == 1
        for worker in (other, one):
            status, problem = await worker.ask(key)
            assert (status, problem["code"]) == (401, "invalid_key")
        await other.guard.aclose()  # It writes the uses that it has counted.
        new = await lifecycle.add_owner(one.store, "ada")
        issued = await lifecycle.issue(one.store, new)
        assert await one.ask(key) == (401, problem)
        assert await one.ask(issued.key.reveal()) == (200, "ada")


async def test_removals_and_other_changes_of_one_owner_at_once(url):
    """Whatever else happens to an owner meanwhile is done before it, or finds nobody; nothing of the owner is left."""
    async with workers(url) as (one, other, ada, _):
        keys = [(await lifecycle.issue(one.store, ada)).record.id for _ in range(4)]
        changes = [
            lifecycle.remove_owner(one.store, ada),
            *[lifecycle.rotate(other.store, key_id) for key_id in keys],
            lifecycle.issue(one.store, ada),
            lifecycle.issue(other.store, ada),
            lifecycle.start_session(other.store, ada),
            lifecycle.rename_owner(other.store, ada, "countess"),
            lifecycle.set_superuser(one.store, ada, superuser=True),
            lifecycle.revoke(one.store, keys[0]),
        ]
        answers = await asyncio.gather(*changes, return_exceptions=True)
        unexpected = [each for each in answers if isinstance(each, Exception) and not isinstance(each, NotFound)]
        assert unexpected == []
        assert isinstance(answers[0], int)
        assert await lifecycle.list_keys(other.store) == []
        assert await lifecycle.end_sessions(other.store, ada) == 0
