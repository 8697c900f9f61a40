"""What requests leave to be written: noted at once, written after the interval or at the end, never twice."""

import asyncio

import pytest

from keyguard.errors import StoreUnavailable
from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, make_digest, make_record
from keyguard.usage import Upgrade, Upgrades


class Sleep:
    """Stands in for `asyncio.sleep`: lasts until it is ended, and keeps the seconds that it was asked for."""

    def __init__(self):
        self.seconds, self._end = [], asyncio.Event()

    async def __call__(self, seconds):
        self.seconds.append(seconds)
        await self._end.wait()
        self._end.clear()

    async def end(self):
        self._end.set()
        await settle()


class ObservedStore(MemoryStore):
    """Keeps which upgrades it was asked for, and may fail or wait."""

    def __init__(self, problem=None, *, waits=False):
        super().__init__()
        self.asked, self.problem = [], problem
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def upgrade(self, key_id, *, verifier, new_lookup, new_verifier):
        self.asked.append(key_id)
        await self.go_on.wait()
        if self.problem is not None:
            raise self.problem
        return await super().upgrade(key_id, verifier=verifier, new_lookup=new_lookup, new_verifier=new_verifier)


async def settle():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def upgrade(key_id, *, verifier=None):
    new = make_digest(f"new {key_id}")
    return Upgrade(key_id=key_id, verifier=verifier or make_digest(key_id), new_lookup=new, new_verifier=new)


async def fill(store, *key_ids):
    await store.add_owner(Owner(id="owner-1", name="ada"), created_at=NOON)
    for key_id in key_ids:
        await store.add_key(make_record(key_id, "owner-1"))
    return store


async def test_notes_are_written_after_the_interval():
    """An upgrade is written when the interval after the first note has passed, and those noted meanwhile with it."""
    store, sleep = await fill(ObservedStore(), "one", "two"), Sleep()
    upgrades = Upgrades(store, interval=7.5, sleep=sleep)
    upgrades.note(upgrade("one"))
    await settle()
    upgrades.note(upgrade("two"))
    await settle()
    assert (sleep.seconds, store.asked) == ([7.5], [])
    await sleep.end()
    assert store.asked == ["one", "two"]
    for key_id in store.asked:
        record = await store.get_key(key_id)
        assert record.lookup == record.verifier == make_digest(f"new {key_id}")


async def test_the_interval_is_ten_seconds():
    """Without other arguments the interval is ten seconds."""
    sleep = Sleep()
    upgrades = Upgrades(await fill(ObservedStore(), "one"), sleep=sleep)
    upgrades.note(upgrade("one"))
    await settle()
    assert sleep.seconds == [10.0]
    await upgrades.close()


async def test_each_batch_has_its_interval():
    """After a batch was written the next note begins an interval of its own; nothing runs meanwhile."""
    store, sleep = await fill(ObservedStore(), "one", "two"), Sleep()
    upgrades = Upgrades(store, interval=1, sleep=sleep)
    upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    assert sleep.seconds == [1]
    upgrades.note(upgrade("two"))
    await settle()
    await sleep.end()
    assert (sleep.seconds, store.asked) == ([1, 1], ["one", "two"])


async def test_what_is_noted_during_a_write_is_written_next():
    """A note that comes while a batch is written waits for an interval of its own, and is not forgotten."""
    store, sleep = await fill(ObservedStore(waits=True), "one", "two"), Sleep()
    upgrades = Upgrades(store, interval=1, sleep=sleep)
    upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    upgrades.note(upgrade("two"))
    store.go_on.set()
    await settle()
    assert (sleep.seconds, store.asked) == ([1, 1], ["one"])
    await sleep.end()
    assert store.asked == ["one", "two"]


async def test_a_key_is_noted_until_it_is_written():
    """A key counts as noted from its note to its write, and not after that."""
    upgrades = Upgrades(await fill(ObservedStore(), "one"))
    assert not upgrades.is_noted("one")
    upgrades.note(upgrade("one"))
    assert upgrades.is_noted("one")
    assert not upgrades.is_noted("two")
    await upgrades.close()
    assert not upgrades.is_noted("one")


async def test_closing_writes_what_waits():
    """What waits is written at the end, without waiting for the interval, and nothing is left running."""
    store, before = await fill(ObservedStore(), "one"), asyncio.all_tasks()
    upgrades = Upgrades(store)
    upgrades.note(upgrade("one"))
    await upgrades.close()
    assert store.asked == ["one"]
    assert asyncio.all_tasks() == before


async def test_closing_waits_for_a_write_that_is_going_on():
    """A write that is going on when the end comes has ended when `close` returns."""
    store, sleep = await fill(ObservedStore(waits=True), "one"), Sleep()
    before = asyncio.all_tasks()
    upgrades = Upgrades(store, sleep=sleep)
    upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    assert store.asked == ["one"]
    await upgrades.close()
    assert asyncio.all_tasks() == before


async def test_closing_without_notes_does_nothing():
    """Where nothing was noted there is nothing to end, and closing twice is the same as once."""
    store = ObservedStore()
    upgrades = Upgrades(store)
    await upgrades.close()
    await upgrades.close()
    assert store.asked == []


async def test_notes_after_closing_are_written_too():
    """Closing is no end for good: what is noted later is written after an interval, or at the next close."""
    store = await fill(ObservedStore(), "one")
    upgrades = Upgrades(store)
    await upgrades.close()
    upgrades.note(upgrade("one"))
    await upgrades.close()
    assert store.asked == ["one"]


@pytest.mark.parametrize("ends", [True, False], ids=["ended with its loop", "left behind"])
def test_a_timer_of_another_loop(ends):
    """Notes from a loop that is gone are written with those of the next one, after its interval or at its end."""
    store = asyncio.run(fill(ObservedStore(), "one", "two", "three"))
    upgrades = Upgrades(store)

    async def note(key_id):
        upgrades.note(upgrade(key_id))
        await settle()

    async def close():
        await upgrades.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(note("one"))
    timer = upgrades._timer
    if ends:
        timer.cancel()
        loop.run_until_complete(settle())
        loop.close()
    asyncio.run(close())
    assert store.asked == ["one"]
    upgrades._timer = timer

    async def note_and_wait():
        sleep = upgrades._sleep = Sleep()
        await note("two")
        await sleep.end()
        assert store.asked == ["one", "two"]
        await note("three")
        await upgrades.close()

    asyncio.run(note_and_wait())
    assert store.asked == ["one", "two", "three"]
    if not ends:
        timer.cancel()
        loop.run_until_complete(settle())
        loop.close()


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (StoreUnavailable("the database is locked"), "the database is locked"),
        (OSError("sha256$0123 and the like"), "OSError"),
    ],
)
async def test_a_store_that_fails(caplog, problem, line):
    """What cannot be written is dropped with one line in the log, and may be noted again."""
    store = await fill(ObservedStore(problem), "one", "two")
    upgrades = Upgrades(store)
    upgrades.note(upgrade("one"))
    upgrades.note(upgrade("two"))
    await upgrades.flush()
    assert [record.getMessage() for record in caplog.records] == [f"digests could not be upgraded now: {line}"]
    assert not upgrades.is_noted("one")
    store.problem = None
    upgrades.note(upgrade("one"))
    await upgrades.close()
    assert (await store.get_key("one")).lookup == make_digest("new one")


async def test_a_key_that_has_changed_meanwhile_is_left_alone():
    """An upgrade is written only if the key's verifier still is the one that it was noted with."""
    store = await fill(ObservedStore(), "one")
    upgrades = Upgrades(store)
    upgrades.note(upgrade("one", verifier=make_digest("an older one")))
    await upgrades.close()
    assert await store.get_key("one") == make_record("one", "owner-1")


async def test_notes_are_bounded():
    """Where as many wait as may, every further key counts as noted, so that nobody makes digests for it."""
    upgrades = Upgrades(await fill(ObservedStore(), "one", "two"), most=2)
    upgrades.note(upgrade("one"))
    assert not upgrades.is_noted("three")
    upgrades.note(upgrade("two"))
    assert upgrades.is_noted("three")
    await upgrades.close()
    assert not upgrades.is_noted("three")


async def test_ten_thousand_may_wait():
    """Without other arguments ten thousand may wait."""
    upgrades = Upgrades(ObservedStore())
    for number in range(9_999):
        upgrades.note(upgrade(str(number)))
    assert not upgrades.is_noted("another")
    upgrades.note(upgrade("the last"))
    assert upgrades.is_noted("another")
    await upgrades.close()
