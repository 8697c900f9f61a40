"""What outlives an event loop: places that are bounded over all loops, and tasks that belong to one."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from keyguard import KeyGuard, lifecycle
from keyguard.loops import Places, is_under_way_here
from keyguard.stores.sql import SQLStore


async def settle():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Guest:
    """Goes in, and stays until it is let go."""

    def __init__(self, places):
        self.is_inside, self.go = False, asyncio.Event()
        self.task = asyncio.create_task(self._stay(places))

    async def _stay(self, places):
        async with places:
            self.is_inside = True
            await self.go.wait()
            self.is_inside = False

    async def leave(self):
        self.go.set()
        await settle()


async def come(places, number):
    """So many guests, one after the other."""
    guests = [Guest(places) for _ in range(number)]
    await settle()
    return guests


def inside(guests):
    return [guest.is_inside for guest in guests]


async def test_so_many_go_in_and_the_others_follow_in_order():
    """No more are inside than there are places; who leaves lets in who has waited longest."""
    guests = await come(Places(2), 4)
    assert inside(guests) == [True, True, False, False]
    await guests[1].leave()
    assert inside(guests) == [True, False, True, False]
    for guest in guests:
        await guest.leave()
    assert inside(guests) == [False] * 4
    await asyncio.gather(*(guest.task for guest in guests))


async def test_a_place_is_given_back_by_whoever_fails_inside():
    """An exception inside goes through, and leaves the place free."""
    places = Places(1)
    for _ in range(2):
        with pytest.raises(LookupError):
            async with places:
                raise LookupError


async def test_who_goes_away_waits_no_more():
    """A cancelled guest leaves the queue at once, and no place is lost for it."""
    places = Places(1)
    first, second, third = guests = await come(places, 3)
    second.task.cancel()
    await settle()
    assert len(places._waiting) == 1
    await first.leave()
    assert inside(guests) == [False, False, True]
    await third.leave()
    (last,) = await come(places, 1)
    assert last.is_inside
    await last.leave()


@pytest.mark.parametrize("turns", [0, 1], ids=["before it hears", "after it has heard"])
async def test_who_goes_away_when_the_turn_has_come_lets_the_next_in(turns):
    """A guest that is cancelled just when it gets its place hands it on."""
    places = Places(1)
    await places.__aenter__()
    second, third = await come(places, 2)
    await places.__aexit__(None, None, None)
    for _ in range(turns):
        await asyncio.sleep(0)
    second.task.cancel()
    await settle()
    assert inside([second, third]) == [False, True]
    await third.leave()


async def crowd(places):
    """Many who wait for one another."""

    async def pass_through():
        async with places:
            await asyncio.sleep(0)

    await asyncio.gather(*(pass_through() for _ in range(20)))


def test_places_outlive_a_loop():
    """Who waits in a second loop gets a place as in the first."""
    places = Places(1)
    for _ in range(3):
        asyncio.run(crowd(places))


def test_who_waits_in_a_closed_loop_is_passed_over():
    """Where a loop was closed with somebody waiting, the place goes to the next one who can take it."""
    places = Places(1)
    asyncio.run(places.__aenter__())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(come(places, 1))
    tasks = asyncio.all_tasks(loop)
    loop.close()
    asyncio.run(places.__aexit__(None, None, None))
    asyncio.run(crowd(places))
    for task in tasks:
        task._log_destroy_pending = False


def test_places_are_bounded_over_all_loops():
    """Loops that run in several threads at once share the places, and each guest gets one."""
    places, lock = Places(2), threading.Lock()
    now = most = passed = 0
    start = threading.Barrier(6)

    async def pass_through():
        nonlocal now, most, passed
        async with places:
            with lock:
                now += 1
                most = max(most, now)
            await asyncio.sleep(0)
            with lock:
                now -= 1
                passed += 1

    async def come_in_numbers():
        await asyncio.gather(*(pass_through() for _ in range(50)))

    def run(_):
        start.wait(10)
        asyncio.run(asyncio.wait_for(come_in_numbers(), 10))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(run, range(6)))
    assert (now, most, passed) == (0, 2, 300)


async def test_a_task_is_under_way_until_it_ends():
    """A task of the running loop is under way here until it has ended."""
    task = asyncio.create_task(asyncio.sleep(0))
    assert is_under_way_here(task)
    await task
    assert not is_under_way_here(task)


def test_a_task_of_another_loop_is_not_under_way_here():
    """A task that another loop has left behind is nothing to wait for."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(0))

    async def ask():
        return is_under_way_here(task)

    assert not asyncio.run(ask())
    loop.run_until_complete(task)
    loop.close()


# --- an app that is started more than once ------------------------------------------------------------------------


@pytest.fixture(params=["{path}/keys.db", ""], ids=["file", "memory"])
def client(request, tmp_path):
    """A client of an app that is guarded with a store in SQL, with a good key."""
    store = SQLStore(f"sqlite+aiosqlite:///{request.param.format(path=tmp_path)}".removesuffix("/"))

    async def make():
        await store.create_schema()
        return (await lifecycle.issue(store, await lifecycle.add_owner(store, "ada"))).key.reveal()

    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse(request.user.name))])
    app.add_middleware(KeyGuard, store=store)
    yield TestClient(app, headers={"x-api-key": asyncio.run(make())})
    asyncio.run(store.close())


def statuses(client, threads):
    """How many requests from so many threads at once are answered."""
    with ThreadPoolExecutor(threads) as pool:
        return set(pool.map(lambda _: client.get("/").status_code, range(40)))


def test_an_app_that_is_started_again_and_again(client):
    """Each lifespan of the same app serves many requests at once as the first does."""
    for _ in range(3):
        with client:
            assert statuses(client, 16) == {200}


def test_requests_that_each_have_a_loop_of_their_own(client):
    """Requests of a client that starts no lifespan come from several threads, each in its own loop, and all pass."""
    assert statuses(client, 8) == {200}
