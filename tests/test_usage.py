"""What requests leave to be written: noted at once, written after the interval or at the end, never twice."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from keyguard.errors import StoreUnavailable
from keyguard.model import Owner, Usage
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, make_digest, make_record
from keyguard.usage import Upgrade, Uses

LATER = NOON + timedelta(seconds=1)
HERE, THERE = ip_address("192.0.2.1"), ip_address("2001:db8::1")
DOWN = StoreUnavailable("the database is locked")


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
    """Keeps which upgrades and batches it was asked for, and may fail, before or after the work, or wait."""

    def __init__(self, problem=None, *, waits=False):
        super().__init__()
        self.asked, self.problem, self.lost_answer = [], problem, None
        self.batches = []
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def upgrade(self, key_id, *, verifier, new_lookup, new_verifier):
        self.asked.append(key_id)
        await self.go_on.wait()
        if self.problem is not None:
            raise self.problem
        return await super().upgrade(key_id, verifier=verifier, new_lookup=new_lookup, new_verifier=new_verifier)

    async def record_uses(self, uses, *, worker, sequence):
        self.asked.append(sequence)
        self.batches.append((worker, sequence, dict(uses)))
        await self.go_on.wait()
        if self.problem is not None:
            raise self.problem
        await super().record_uses(uses, worker=worker, sequence=sequence)
        if self.lost_answer is not None:
            raise self.lost_answer

    async def totals(self):
        return {key_id: use.total for key_id, use in (await self.get_uses(self._uses)).items()}


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


# --- uses -------------------------------------------------------------------------------------------------------


async def test_uses_are_counted():
    """Of each key the number of uses is written after the interval, and when and from where the last one came."""
    store, sleep = ObservedStore(), Sleep()
    uses = Uses(store, interval=7.5, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    uses.note("two", NOON.timestamp(), "testclient")
    uses.note("one", LATER.timestamp(), THERE)
    uses.note("three", NOON.timestamp(), HERE)
    uses.note("three", LATER.timestamp(), None)
    await settle()
    assert (sleep.seconds, store.asked) == ([7.5], [])
    await sleep.end()
    assert await store.get_uses(["one", "two", "three"]) == {
        "one": Usage(total=2, last_used_at=LATER, last_used_address="2001:db8::1"),
        "two": Usage(total=1, last_used_at=NOON, last_used_address="testclient"),
        "three": Usage(total=2, last_used_at=LATER, last_used_address=None),
    }
    assert len(store.batches) == 1


async def test_batches_are_numbered():
    """Each batch has the next number, under a name that is this object's alone; the same key is in both."""
    store, sleep = ObservedStore(), Sleep()
    uses = Uses(store, sleep=sleep)
    for _ in range(2):
        uses.note("one", NOON.timestamp(), HERE)
        await settle()
        await sleep.end()
    other = Uses(store)
    other.note("one", NOON.timestamp(), HERE)
    await other.close()
    (first, *_), (second, *_), (third, *_) = store.batches
    assert [sequence for _, sequence, _ in store.batches] == [1, 2, 1]
    assert first == second != third
    assert len(first) >= 16
    assert await store.totals() == {"one": 3}


async def test_uses_and_upgrades_are_written_together():
    """One timer writes both, uses first, and a note of either kind begins it."""
    store, sleep = await fill(ObservedStore(), "one"), Sleep()
    uses = Uses(store, sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    assert (len(sleep.seconds), store.asked) == (1, [1, "one"])
    uses.note("one", NOON.timestamp(), HERE)
    uses.upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    assert (len(sleep.seconds), store.asked) == (2, [1, "one", 2, "one"])


async def test_uses_are_noted_where_upgrades_fail():
    """A store that takes no uses is still asked for the upgrades, and the other way round."""
    store = await fill(ObservedStore(DOWN), "one")
    uses = Uses(store)
    uses.note("one", NOON.timestamp(), HERE)
    uses.upgrades.note(upgrade("one"))
    await uses.flush()
    assert store.asked == [1, "one"]
    await uses.close()


async def test_what_could_not_be_written_is_tried_again(caplog):
    """A batch that failed is written again, the same under the same number; what is noted meanwhile is in the next."""
    store, sleep = ObservedStore(DOWN), Sleep()
    uses = Uses(store, interval=1, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    for _ in range(2):
        await sleep.end()
        uses.note("one", LATER.timestamp(), THERE)
    store.problem = None
    await sleep.end()
    assert sleep.seconds == [1, 1, 1]
    first, second, third, fourth = store.batches
    assert first == second == third
    assert first[1:] == (1, {"one": Usage(total=1, last_used_at=NOON, last_used_address="192.0.2.1")})
    assert fourth[1:] == (2, {"one": Usage(total=2, last_used_at=LATER, last_used_address="2001:db8::1")})
    assert await store.totals() == {"one": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "uses could not be written now: the database is locked"
    ] * 2


async def test_it_is_tried_again_without_another_use():
    """A batch that failed is written again after the next interval, whether or not a key is used meanwhile."""
    store, sleep = ObservedStore(DOWN), Sleep()
    uses = Uses(store, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    store.problem = None
    await sleep.end()
    assert await store.totals() == {"one": 1}
    assert len(sleep.seconds) == 2


async def test_an_answer_that_got_lost_counts_nothing_twice():
    """A batch that was added although its writing failed is not added again."""
    store = ObservedStore()
    store.lost_answer = DOWN
    uses = Uses(store)
    uses.note("one", NOON.timestamp(), HERE)
    await uses.flush()
    uses.note("one", NOON.timestamp(), HERE)
    store.lost_answer = None
    await uses.close()
    assert [sequence for _, sequence, _ in store.batches] == [1, 1, 2]
    assert await store.totals() == {"one": 2}


async def test_what_a_store_raises_is_not_shown(caplog):
    """Of an exception that is not meant for people the log has the kind alone."""
    uses = Uses(ObservedStore(OSError("who knows what")))
    uses.note("one", NOON.timestamp(), HERE)
    await uses.flush()
    assert [record.getMessage() for record in caplog.records] == ["uses could not be written now: OSError"]
    await uses.close()


async def test_a_store_that_hangs_is_given_up(caplog):
    """A write that takes too long counts as failed; added or not, the batch is tried again and counted once."""
    store = ObservedStore(waits=True)
    uses = Uses(store, seconds=0.01)
    uses.note("one", NOON.timestamp(), HERE)
    await uses.close()
    assert [record.getMessage() for record in caplog.records] == [
        "uses could not be written now: the store did not answer within 0.01 s"
    ]
    store.go_on.set()
    await uses.close()
    assert [sequence for _, sequence, _ in store.batches] == [1, 1]
    assert await store.totals() == {"one": 1}


async def test_four_seconds_are_enough():
    """Without other arguments a write may take four seconds, less than an app has for its end."""
    assert Uses(ObservedStore())._seconds == 4.0


async def test_closing_in_the_middle_of_a_write():
    """A write that the end cuts off is tried again, as it was, before `close` returns."""
    store, sleep, before = ObservedStore(waits=True), Sleep(), asyncio.all_tasks()
    uses = Uses(store, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    uses.note("two", NOON.timestamp(), HERE)
    store.go_on.set()
    await uses.close()
    assert [sequence for _, sequence, _ in store.batches] == [1, 1, 2]
    assert await store.totals() == {"one": 1, "two": 1}
    assert asyncio.all_tasks() == before


async def test_what_a_failed_close_left_is_written_later():
    """Where the store took nothing at the end, the next use of a key begins an interval, after which all is written."""
    store, sleep = ObservedStore(DOWN), Sleep()
    uses = Uses(store, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    uses.note("one", NOON.timestamp(), HERE)
    await uses.close()
    store.problem = None
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    assert await store.totals() == {"one": 3}


async def test_a_close_that_is_cancelled_loses_nothing():
    """Where the end itself is cut off, what was noted waits for the next one."""
    store = ObservedStore(waits=True)
    uses = Uses(store)
    uses.note("one", NOON.timestamp(), HERE)
    closing = asyncio.create_task(uses.close())
    await settle()
    closing.cancel()
    await settle()
    assert closing.cancelled()
    store.go_on.set()
    await uses.close()
    assert await store.totals() == {"one": 1}


async def test_an_outage_loses_no_count():
    """While nothing can be written every use is counted; times and addresses are kept of the latest keys."""
    store = ObservedStore(DOWN)
    uses = Uses(store, most=2)
    uses.note("before", NOON.timestamp(), HERE)
    await uses.flush()
    for number, key_id in enumerate(["one", "two", "three", "one", "four"]):
        uses.note(key_id, (NOON + timedelta(seconds=number)).timestamp(), HERE)
    await uses.flush()
    store.problem = None
    await uses.flush()
    at = {number: NOON + timedelta(seconds=number) for number in range(5)}
    assert store.batches[-1][1:] == (
        2,
        {
            "one": Usage(total=2, last_used_at=at[3], last_used_address="192.0.2.1"),
            "two": Usage(total=1),
            "three": Usage(total=1),
            "four": Usage(total=1, last_used_at=at[4], last_used_address="192.0.2.1"),
        },
    )


async def test_a_key_whose_time_was_forgotten_gets_another():
    """A key that is used again, after its time was forgotten, has the time and the address of that use."""
    store = ObservedStore(DOWN)
    uses = Uses(store, most=1)
    uses.note("before", NOON.timestamp(), HERE)
    await uses.flush()
    uses.note("one", NOON.timestamp(), HERE)
    uses.note("two", LATER.timestamp(), HERE)
    await uses.flush()
    uses.note("one", LATER.timestamp(), THERE)
    store.problem = None
    await uses.close()
    assert (await store.get_uses(["one"]))["one"] == Usage(total=2, last_used_at=LATER, last_used_address="2001:db8::1")


async def test_another_thread_may_go_on_noting_in_an_outage():
    """While times are forgotten, a loop in another thread may note a key that was not noted before."""

    class Looked:
        """What was noted of a key; the other thread comes when it is looked at."""

        @property
        def at(self):
            uses.note("another", NOON.timestamp(), HERE)

    store = ObservedStore(DOWN)
    uses = Uses(store)
    uses.note("before", NOON.timestamp(), HERE)
    await uses.flush()
    uses._noted = {"one": Looked(), "two": Looked()}
    await uses.flush()
    assert [*uses._noted] == ["one", "two", "another"]


async def test_without_an_outage_every_time_is_kept():
    """However many keys are used within an interval, their times are written."""
    store = ObservedStore()
    uses = Uses(store, most=1)
    for key_id in ("one", "two", "three"):
        uses.note(key_id, NOON.timestamp(), HERE)
    await uses.close()
    assert {use.last_used_at for use in (await store.get_uses(["one", "two", "three"])).values()} == {NOON}


async def test_times_of_ten_thousand_keys_are_kept():
    """Without other arguments an outage leaves the times of ten thousand keys."""
    store = ObservedStore(DOWN)
    uses = Uses(store)
    uses.note("before", NOON.timestamp(), HERE)
    await uses.flush()
    for number in range(10_001):
        uses.note(f"key {number}", (NOON + timedelta(seconds=number)).timestamp(), HERE)
    await uses.flush()
    assert [key_id for key_id, use in uses._noted.items() if use.at is None] == ["key 0"]


async def test_many_keys_are_written_in_several_batches():
    """A batch has 500 keys at most, so that none takes the event loop long; the first that failed ends the attempt."""
    store = ObservedStore()
    uses = Uses(store)
    for number in range(1_001):
        uses.note(f"key {number}", NOON.timestamp(), HERE)
    await uses.flush()
    assert [(sequence, len(noted)) for _, sequence, noted in store.batches] == [(1, 500), (2, 500), (3, 1)]
    store.problem = DOWN
    for number in range(501):
        uses.note(f"key {number}", NOON.timestamp(), HERE)
    await uses.flush()
    assert store.asked == [1, 2, 3, 4]
    store.problem = None
    await uses.close()
    assert store.asked == [1, 2, 3, 4, 4, 5]
    totals = await store.totals()
    assert totals == {f"key {number}": 2 if number < 501 else 1 for number in range(1_001)}


async def test_what_is_noted_during_a_write_is_counted_next():
    """Uses that are noted while a batch is written are not due yet: nothing writes without end."""
    store, sleep = ObservedStore(waits=True), Sleep()
    uses = Uses(store, sleep=sleep)
    uses.note("one", NOON.timestamp(), HERE)
    await settle()
    await sleep.end()
    uses.note("one", LATER.timestamp(), HERE)
    uses.note("two", LATER.timestamp(), HERE)
    store.go_on.set()
    await settle()
    assert (store.asked, len(sleep.seconds)) == ([1], 2)
    await sleep.end()
    assert store.asked == [1, 2]
    assert await store.totals() == {"one": 2, "two": 1}


class GatedStore(ObservedStore):
    """Lets each batch in when the test says so."""

    def __init__(self):
        super().__init__()
        self.gates = []

    async def record_uses(self, uses, *, worker, sequence):
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        await super().record_uses(uses, worker=worker, sequence=sequence)


async def test_two_that_write_at_once():
    """Where two loops write the same batch, one of them goes on with the next, and none takes another's place."""
    store = GatedStore()
    uses = Uses(store, seconds=0.01)
    uses.note("one", NOON.timestamp(), HERE)
    await uses.flush()
    uses._seconds = 10
    uses.note("two", NOON.timestamp(), HERE)
    slow, quick = [asyncio.create_task(uses.flush()) for _ in range(2)]
    await settle()
    _, gate_of_slow, gate_of_quick = store.gates
    gate_of_quick.set()
    await settle()
    uses.note("three", NOON.timestamp(), HERE)
    gate_of_slow.set()
    await slow
    store.problem = DOWN
    store.gates[3].set()
    await quick
    store.problem = None
    closing = asyncio.create_task(uses.close())
    while not closing.done():
        store.gates[-1].set()
        await settle()
    assert [sequence for _, sequence, _ in store.batches] == [1, 1, 2, 2, 3]
    assert await store.totals() == {"one": 1, "two": 1, "three": 1}


async def test_who_comes_late_finds_nothing_left():
    """Where another loop has written everything meanwhile, a loop that was slow ends without a batch of its own."""
    store = GatedStore()
    uses = Uses(store, seconds=0.01)
    uses.note("one", NOON.timestamp(), HERE)
    await uses.flush()
    uses._seconds = 10
    uses.note("two", NOON.timestamp(), HERE)
    slow, quick = [asyncio.create_task(uses.flush()) for _ in range(2)]
    for number in (2, 3, 1):
        await settle()
        store.gates[number].set()
    await asyncio.gather(slow, quick)
    assert [sequence for _, sequence, _ in store.batches] == [1, 2, 1]
    assert await store.totals() == {"one": 1, "two": 1}


class Uncounted(MemoryStore):
    """A store of the first step, which counts nothing."""

    record_uses = None
    get_uses = None


async def test_a_store_that_does_not_count():
    """Where the store counts no uses none are noted, and nothing runs for them; upgrades are written as ever."""
    store, before = await fill(Uncounted(), "one"), asyncio.all_tasks()
    uses = Uses(store)
    uses.note("one", NOON.timestamp(), HERE)
    assert asyncio.all_tasks() == before
    uses.upgrades.note(upgrade("one"))
    await uses.close()
    assert (await store.get_key("one")).lookup == make_digest("new one")


def test_loops_that_follow_one_another():
    """What was noted in a loop that has ended is written by the next one in which that key or another is used."""
    store = ObservedStore()
    uses = Uses(store)

    async def note(key_id):
        uses.note(key_id, NOON.timestamp(), HERE)
        await settle()

    async def note_and_wait(key_id):
        sleep = uses._sleep = Sleep()
        await note(key_id)
        await sleep.end()

    asyncio.run(note("one"))
    asyncio.run(note_and_wait("one"))
    assert store.batches[0][2]["one"].total == 2
    asyncio.run(note("two"))
    asyncio.run(note_and_wait("three"))
    assert {key_id: use.total for key_id, use in store.batches[1][2].items()} == {"two": 1, "three": 1}


def test_loops_at_the_same_time():
    """While the timer of one loop is running no other loop begins one, and the uses of both are written."""
    store = ObservedStore()
    uses = Uses(store, interval=0)
    ready, noted = threading.Event(), threading.Event()

    async def wait():
        uses._sleep = sleep = Sleep()
        uses.note("one", NOON.timestamp(), HERE)
        await settle()
        ready.set()
        await asyncio.to_thread(noted.wait, 10)
        await sleep.end()

    async def note():
        before = asyncio.all_tasks()
        for _ in range(3):
            uses.note("one", NOON.timestamp(), HERE)
            uses.note("two", NOON.timestamp(), HERE)
        assert asyncio.all_tasks() == before

    thread = threading.Thread(target=asyncio.run, args=(wait(),))
    thread.start()
    ready.wait(10)
    asyncio.run(note())
    noted.set()
    thread.join(20)
    assert asyncio.run(store.totals()) == {"one": 4, "two": 3}


FORKING = """
import asyncio, os, sys
sys.path.insert(0, {tests!r})
from test_usage import DOWN, HERE, NOON, ObservedStore, Uses

store = ObservedStore(DOWN)
uses = Uses(store)

async def note():
    uses.note("failed", NOON.timestamp(), HERE)
    await uses.flush()
    uses.note("one", NOON.timestamp(), HERE)
    await asyncio.sleep(0)

async def note_in_the_child():
    await uses.flush()
    assert store.batches == []
    uses.note("one", NOON.timestamp(), HERE)
    assert uses._timer in asyncio.all_tasks()
    await uses.close()
    assert await store.totals() == {{"one": 1}}

loop = asyncio.new_event_loop()
loop.run_until_complete(note())
store.problem, parents = None, list(store.batches)
store.batches.clear()
child = os.fork()
if child == 0:
    asyncio.run(note_in_the_child())
    [(worker, sequence, _)] = store.batches
    assert sequence == 1 and worker != parents[0][0]
    sys.exit()  # In the ordinary way, so that what is measured of it is written.
assert os.waitpid(child, 0)[1] == 0
loop.run_until_complete(uses.close())
assert loop.run_until_complete(store.totals()) == {{"failed": 1, "one": 1}}
assert [worker for worker, _, _ in store.batches] == [parents[0][0]] * 2
loop.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_counts_its_own():
    """A forked process counts as a worker of its own, and leaves to its parent what that has noted."""
    script = FORKING.format(tests=str(Path(__file__).parent))
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", script], check=True, timeout=30)


# --- upgrades ---------------------------------------------------------------------------------------------------


async def test_notes_are_written_after_the_interval():
    """An upgrade is written when the interval after the first note has passed, and those noted meanwhile with it."""
    store, sleep = await fill(ObservedStore(), "one", "two"), Sleep()
    uses = Uses(store, interval=7.5, sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    await settle()
    uses.upgrades.note(upgrade("two"))
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
    uses = Uses(await fill(ObservedStore(), "one"), sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    await settle()
    assert sleep.seconds == [10.0]
    await uses.close()


async def test_each_batch_has_its_interval():
    """After a batch was written the next note begins an interval of its own; nothing runs meanwhile."""
    store, sleep = await fill(ObservedStore(), "one", "two"), Sleep()
    uses = Uses(store, interval=1, sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    assert sleep.seconds == [1]
    uses.upgrades.note(upgrade("two"))
    await settle()
    await sleep.end()
    assert (sleep.seconds, store.asked) == ([1, 1], ["one", "two"])


async def test_what_is_noted_during_a_write_is_written_next():
    """A note that comes while a batch is written waits for an interval of its own, and is not forgotten."""
    store, sleep = await fill(ObservedStore(waits=True), "one", "two"), Sleep()
    uses = Uses(store, interval=1, sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    uses.upgrades.note(upgrade("two"))
    store.go_on.set()
    await settle()
    assert (sleep.seconds, store.asked) == ([1, 1], ["one"])
    await sleep.end()
    assert store.asked == ["one", "two"]


async def test_a_key_is_noted_until_it_is_written():
    """A key counts as noted from its note to its write, and not after that."""
    uses = Uses(await fill(ObservedStore(), "one"))
    assert not uses.upgrades.is_noted("one")
    uses.upgrades.note(upgrade("one"))
    assert uses.upgrades.is_noted("one")
    assert not uses.upgrades.is_noted("two")
    await uses.close()
    assert not uses.upgrades.is_noted("one")


async def test_closing_writes_what_waits():
    """What waits is written at the end, without waiting for the interval, and nothing is left running."""
    store, before = await fill(ObservedStore(), "one"), asyncio.all_tasks()
    uses = Uses(store)
    uses.upgrades.note(upgrade("one"))
    await uses.close()
    assert store.asked == ["one"]
    assert asyncio.all_tasks() == before


async def test_closing_waits_for_a_write_that_is_going_on():
    """A write that is going on when the end comes has ended when `close` returns."""
    store, sleep = await fill(ObservedStore(waits=True), "one"), Sleep()
    before = asyncio.all_tasks()
    uses = Uses(store, sleep=sleep)
    uses.upgrades.note(upgrade("one"))
    await settle()
    await sleep.end()
    assert store.asked == ["one"]
    await uses.close()
    assert asyncio.all_tasks() == before


async def test_closing_without_notes_does_nothing():
    """Where nothing was noted there is nothing to end, and closing twice is the same as once."""
    store = ObservedStore()
    uses = Uses(store)
    await uses.close()
    await uses.close()
    assert store.asked == []


async def test_notes_after_closing_are_written_too():
    """Closing is no end for good: what is noted later is written after an interval, or at the next close."""
    store = await fill(ObservedStore(), "one")
    uses = Uses(store)
    await uses.close()
    uses.upgrades.note(upgrade("one"))
    await uses.close()
    assert store.asked == ["one"]


@pytest.mark.parametrize("ends", [True, False], ids=["ended with its loop", "left behind"])
def test_a_timer_of_another_loop(ends):
    """Notes from a loop that is gone are written with those of the next one, after its interval or at its end."""
    store = asyncio.run(fill(ObservedStore(), "one", "two", "three"))
    uses = Uses(store)

    async def note(key_id):
        uses.upgrades.note(upgrade(key_id))
        await settle()

    async def close():
        await uses.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(note("one"))
    timer = uses._timer
    if ends:
        timer.cancel()
        loop.run_until_complete(settle())
        loop.close()
    asyncio.run(close())
    assert store.asked == ["one"]
    uses._timer = timer

    async def note_and_wait():
        sleep = uses._sleep = Sleep()
        await note("two")
        await sleep.end()
        assert store.asked == ["one", "two"]
        await note("three")
        await uses.close()

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
    uses = Uses(store)
    uses.upgrades.note(upgrade("one"))
    uses.upgrades.note(upgrade("two"))
    await uses.flush()
    assert [record.getMessage() for record in caplog.records] == [f"digests could not be upgraded now: {line}"]
    assert not uses.upgrades.is_noted("one")
    store.problem = None
    uses.upgrades.note(upgrade("one"))
    await uses.close()
    assert (await store.get_key("one")).lookup == make_digest("new one")


async def test_a_key_that_has_changed_meanwhile_is_left_alone():
    """An upgrade is written only if the key's verifier still is the one that it was noted with."""
    store = await fill(ObservedStore(), "one")
    uses = Uses(store)
    uses.upgrades.note(upgrade("one", verifier=make_digest("an older one")))
    await uses.close()
    assert await store.get_key("one") == make_record("one", "owner-1")


async def test_notes_are_bounded():
    """Where as many wait as may, every further key counts as noted, so that nobody makes digests for it."""
    uses = Uses(await fill(ObservedStore(), "one", "two"), most=2)
    uses.upgrades.note(upgrade("one"))
    assert not uses.upgrades.is_noted("three")
    uses.upgrades.note(upgrade("two"))
    assert uses.upgrades.is_noted("three")
    await uses.close()
    assert not uses.upgrades.is_noted("three")


async def test_ten_thousand_may_wait():
    """Without other arguments ten thousand may wait."""
    uses = Uses(ObservedStore())
    for number in range(9_999):
        uses.upgrades.note(upgrade(str(number)))
    assert not uses.upgrades.is_noted("another")
    uses.upgrades.note(upgrade("the last"))
    assert uses.upgrades.is_noted("another")
    await uses.close()
