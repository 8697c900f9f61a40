"""What is remembered of good keys: the token rule, the bound, and one read for all who need it."""

import asyncio
import gc
import pickle
import weakref
from collections import OrderedDict
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaks import WATCH

from keyguard import lifecycle
from keyguard.authenticator import Authenticator
from keyguard.cache import Cache, Flights, Known
from keyguard.errors import StoreUnavailable
from keyguard.extract import Sources
from keyguard.journal import Journal
from keyguard.keys import from_entropy
from keyguard.model import Auth, Owner, Requirement, Rule
from keyguard.policy import judge
from keyguard.settings import Policy
from keyguard.stores.memory import MemoryStore
from keyguard.testing import make_record


def known(name, *, token=1, since=0.0):
    """What is known of a key, read under this token at this time."""
    record = make_record(name.decode(), "owner-1")
    verdict = judge(record, Owner(id="owner-1", name="ada"))
    return Known(
        name=name,
        other_lookups=(),
        verdict=verdict,
        auth=Auth.of(verdict.principal),
        token=token,
        since=since,
    )


class Remembered:
    """A cache whose token and clock stand where they are put."""

    def __init__(self, size=3, *, token=1, max_staleness=None):
        self.token, self.now = token, 0.0
        self.cache = Cache(
            size, lambda: self.token, distrust=print, max_staleness=max_staleness, clock=lambda: self.now
        )

    def put(self, *names, **fields):
        for name in names:
            self.cache.put(known(name, **{"token": self.token, "since": self.now, **fields}))

    def has(self, name):
        return self.cache.get(name) is not None

    @property
    def names(self):
        """All names that it holds, those that were used last at the end."""
        return [*self.cache._entries]


# --- the token rule ---------------------------------------------------------------------------------------------


def test_what_is_put_is_got():
    """What was read under the present token is given back, the very object."""
    remembered = Remembered()
    entry = known(b"one")
    remembered.cache.put(entry)
    assert remembered.cache.get(b"one") is entry
    assert remembered.cache.get(b"two") is None


@pytest.mark.parametrize(
    ("read", "asked", "is_used"),
    [(1, 1, True), (1, 2, False), (2, 1, False), (0, 0, True), (1, None, False), (None, 1, False), (None, None, False)],
)
@pytest.mark.parametrize("max_staleness", [None, 60])
def test_only_what_the_token_vouches_for_is_used(read, asked, is_used, max_staleness):
    """An entry is used while the token equals the one before its read, and only then; without a token never.

    How stale an entry may be that nothing vouches for says nothing of one that the token speaks against.
    """
    remembered = Remembered(token=asked, max_staleness=max_staleness)
    remembered.put(b"one", token=read)
    assert remembered.has(b"one") is (is_used or (asked is None and max_staleness is not None))


def test_a_token_that_comes_back_vouches_again():
    """A token that could not be had for a moment spoils nothing."""
    remembered = Remembered()
    remembered.put(b"one")
    remembered.token = None
    assert not remembered.has(b"one")
    remembered.token = 1
    assert remembered.has(b"one")


def test_the_token_is_asked_for_at_each_use():
    """Each use of what is remembered asks for the token, and a name that is not remembered costs none."""
    asked = []
    cache = Cache(3, lambda: asked.append(None) or 1, distrust=print)
    cache.put(known(b"one"))
    assert asked == []
    for number in (1, 2, 3):
        assert cache.get(b"one") is not None
        assert len(asked) == number
    assert cache.get(b"two") is None
    assert len(asked) == 3


def test_without_a_token_an_entry_has_its_seconds():
    """With `max_staleness` an entry that nothing vouches for is used for so many seconds after its read began."""
    remembered = Remembered(token=None, max_staleness=60)
    remembered.put(b"one", since=100.0)
    for now, is_used in [(100.0, True), (159.9, True), (160.0, False), (1000.0, False)]:
        remembered.now = now
        assert remembered.has(b"one") is is_used


def test_what_nothing_vouches_for_is_not_kept():
    """What was read without a token takes the place of nothing, unless the app has said for how long it may be used."""
    remembered = Remembered(size=1)
    remembered.put(b"one")
    remembered.put(b"two", token=None)
    assert remembered.names == [b"one"]


def test_a_newer_read_takes_the_place_of_an_older_one():
    """Of two reads of one key the one that was put last is remembered."""
    remembered = Remembered()
    remembered.put(b"one")
    remembered.token = 2
    assert not remembered.has(b"one")
    remembered.put(b"one")
    assert remembered.cache.get(b"one").token == 2
    assert remembered.names == [b"one"]


# --- the bound --------------------------------------------------------------------------------------------------


def test_the_one_that_was_not_used_for_longest_goes():
    """There are never more than so many entries; one that is used, or put again, stays longer than one that is not."""
    remembered = Remembered(size=3)
    remembered.put(b"one", b"two", b"three")
    assert remembered.has(b"one")
    remembered.put(b"four")
    assert remembered.names == [b"three", b"one", b"four"]
    remembered.put(b"three")
    remembered.put(b"five")
    assert remembered.names == [b"four", b"three", b"five"]


def test_looking_for_what_may_not_be_used_saves_nothing():
    """An entry that may not be used is as old as before it was looked for."""
    remembered = Remembered(size=2)
    remembered.put(b"one", b"two")
    remembered.token = 2
    assert not remembered.has(b"one")
    remembered.put(b"three")
    assert remembered.names == [b"two", b"three"]


def test_a_cache_of_nothing():
    """With size 0 nothing is remembered."""
    remembered = Remembered(size=0)
    remembered.put(b"one")
    assert not remembered.has(b"one")
    assert remembered.names == []


def test_dropping_and_clearing():
    """`drop` forgets one key, whether or not it is there, and `clear` all."""
    remembered = Remembered()
    remembered.put(b"one", b"two", b"three")
    remembered.cache.drop(b"one")
    remembered.cache.drop(b"none")
    assert remembered.names == [b"two", b"three"]
    remembered.cache.clear()
    assert remembered.names == []


def test_an_entry_that_another_thread_pushes_out_meanwhile():
    """An entry that goes while it is looked at is not used: another thread has a loop of its own."""

    def token():
        cache.clear()
        return 1

    cache = Cache(3, token, distrust=print)
    cache.put(known(b"one"))
    assert cache.get(b"one") is None


@pytest.mark.parametrize("step", ["move_to_end", "popitem"])
def test_an_entry_that_another_thread_pushes_out_as_it_comes(step):
    """An entry that goes while it is put is not there, and nothing is raised."""

    class Shared(OrderedDict):
        """Another thread empties it before each step of one kind."""

        def move_to_end(self, name):
            if step == "move_to_end":
                self.clear()
            super().move_to_end(name)

        def popitem(self, last):
            if step == "popitem":
                self.clear()
            return super().popitem(last)

    cache = Cache(0, lambda: 1, distrust=print)
    cache._entries = Shared()
    cache.put(known(b"one"))
    assert not cache._entries


@given(
    size=st.integers(0, 4),
    max_staleness=st.none() | st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "drop"]), st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]))
        | st.tuples(st.just("token"), st.none() | st.integers(0, 2))
        | st.tuples(st.just("time"), st.integers(0, 3)),
        max_size=60,
    ),
)
def test_it_is_what_the_rules_say(size, max_staleness, steps):
    """Whatever happens: the latest `size` used are held, and used as the token, or else the seconds, allow."""
    remembered = Remembered(size, max_staleness=max_staleness)
    held, tokens, times = [], {}, {}  # The names, the latest last; under what and when each was read.
    for step, value in steps:
        match step:
            case "token":
                remembered.token = value
            case "time":
                remembered.now += value
            case "put" if remembered.token is None and max_staleness is None:
                remembered.put(value)
            case "put":
                remembered.put(value)
                held = ([name for name in held if name != value] + [value])[-size:] if size else []
                tokens[value], times[value] = remembered.token, remembered.now
            case "drop":
                remembered.cache.drop(value)
                held = [name for name in held if name != value]
            case "get":
                young = max_staleness is not None and remembered.now - times.get(value, 0) < max_staleness
                vouched = young if remembered.token is None else tokens.get(value) == remembered.token
                assert remembered.has(value) is (value in held and vouched)
                if value in held and vouched:
                    held = [name for name in held if name != value] + [value]
        assert remembered.names == held


# --- what it is called, and what is in it -----------------------------------------------------------------------


def test_a_key_has_one_name_in_a_process():
    """A key has the same name each time, another key another, and in another cache the same key has another."""
    one, other = Remembered().cache, Remembered().cache
    assert one.name(b"kg_key") == one.name(b"kg_key")
    assert len({one.name(b"kg_key"), one.name(b"kg_kez"), one.name(b""), other.name(b"kg_key")}) == 4
    assert len(one.name(b"kg_key")) == 16


@given(st.binary(max_size=600))
def test_a_name_tells_nothing_of_the_key(presented):
    """The name of a text has none of its bytes in order, and is no digest that whoever has the text could make."""
    name = Remembered().cache.name(presented)
    assert len(name) == 16
    assert name != blake2b(presented, digest_size=16).digest()
    assert not any(presented[start : start + 8] in name for start in range(len(presented) - 7))


async def test_no_key_stands_in_the_cache():
    """Neither what the cache leads to, nor a repr or a pickle of an entry, has a key in it."""
    guarded = Checked()
    key = await guarded.issue()
    assert await guarded.passes(key)
    (entry,) = guarded.cache._entries.values()
    assert WATCH.knows(key)
    WATCH.see_all("the cache", guarded.cache)
    WATCH.see("an entry's repr", repr(entry))
    WATCH.see("a pickled entry", pickle.dumps(entry))
    assert WATCH.judge() == []
    with WATCH.provoked() as leaks:  # So that a cache with the key in it would have been seen.
        entry.name = key.encode()
        WATCH.see_all("the cache", guarded.cache)
    assert leaks


# --- bad keys have no place in it -------------------------------------------------------------------------------


class CountingStore(MemoryStore):
    """A `MemoryStore` that counts its reads."""

    reads = 0

    async def find(self, lookups):
        self.reads += 1
        return await super().find(lookups)


class Checked:
    """An authenticator that remembers few keys."""

    def __init__(self, cache_size=3):
        self.store = CountingStore()
        self.authenticator = Authenticator(self.store, Policy(), journal=Journal(burst=1), cache_size=cache_size)
        self.cache = self.authenticator._cache

    async def issue(self):
        owners = await self.store.list_owners()
        owner = owners[0] if owners else await lifecycle.add_owner(self.store, "ada")
        return (await lifecycle.issue(self.store, owner)).key.reveal()

    async def passes(self, key):
        presented = Sources(prefixes=("kg_",)).extract([(b"x-api-key", key.encode())], b"")
        judged = await self.authenticator.authenticate(Requirement.REQUIRED, presented, None)
        return judged.decision.rule is Rule.KEY


def unknown(number):
    """A key of the right form that was never issued."""
    return from_entropy("kg", number.to_bytes(48)).reveal()


async def test_a_flood_of_bad_keys_leaves_the_good_ones_in():
    """Unknown, malformed and revoked keys are never remembered, so that no number of them drives a good one out."""
    checked = Checked()
    good = [await checked.issue() for _ in range(3)]
    revoked = [await checked.issue() for _ in range(20)]
    for record in (await checked.store.list_keys())[:20]:
        await lifecycle.revoke(checked.store, record.id)
    assert [await checked.passes(key) for key in good] == [True] * 3
    names = set(checked.cache._entries)
    for number, key in enumerate(revoked):
        for bad in (key, unknown(number), key[:-1], "x" * 5000, ""):
            assert not await checked.passes(bad)
    assert set(checked.cache._entries) == names
    reads = checked.store.reads
    assert [await checked.passes(key) for key in good] == [True] * 3
    assert checked.store.reads == reads


async def test_a_key_that_turns_bad_is_forgotten():
    """A key that is found to be revoked or gone has its entry taken out, and stands in no good one's way."""
    checked = Checked()
    revoked, gone = await checked.issue(), await checked.issue()
    assert await checked.passes(revoked)
    assert await checked.passes(gone)
    of_gone, of_revoked = await checked.store.list_keys()
    if of_gone.lookup not in [entry.verdict.key.lookup for entry in [*checked.cache._entries.values()][1:]]:
        of_gone, of_revoked = of_revoked, of_gone  # They were issued in the same microsecond.
    await lifecycle.revoke(checked.store, of_revoked.id)
    del checked.store._keys[of_gone.id]
    assert len(checked.cache._entries) == 2
    for key in (revoked, gone):
        assert not await checked.passes(key)
    assert len(checked.cache._entries) == 0


# --- single flight ----------------------------------------------------------------------------------------------


async def settle():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Read:
    """One read: it waits until it may begin, and then for its answer."""

    def __init__(self):
        self.may_begin = asyncio.Event()
        self.answer = asyncio.get_running_loop().create_future()
        self.is_over = False


class Sky:
    """Flights over a token that stands where it is put, and the reads that were begun."""

    def __init__(self):
        self.token = 1
        self.flights = Flights(lambda: self.token)
        self.reads = []

    async def come(self, name=b"key"):
        """Somebody needs a key; what becomes of that."""
        coming = asyncio.create_task(self.flights.share(name, self._read))
        await settle()
        return coming

    async def _read(self, flight):
        read = Read()
        self.reads.append(read)
        try:
            await read.may_begin.wait()
            flight.begin(self.token, 0.0)
            return await read.answer
        finally:
            read.is_over = True

    async def begin(self, number=0):
        self.reads[number].may_begin.set()
        await settle()

    async def land(self, answer, number=0):
        self.reads[number].may_begin.set()
        await settle()
        if isinstance(answer, Exception):
            self.reads[number].answer.set_exception(answer)
        else:
            self.reads[number].answer.set_result(answer)
        await settle()

    @property
    def is_empty(self):
        return not self.flights._under_way


async def test_one_read_for_all_who_come_before_it_begins():
    """Whoever comes before a read has begun shares it, whatever the tokens, and whatever it finds."""
    for answer in (known(b"key"), None):
        sky = Sky()
        coming = []
        for token in (1, 2, None):
            sky.token = token
            coming.append(await sky.come())
        await sky.land(answer)
        assert [task.result() for task in coming] == [answer] * 3
        assert len(sky.reads) == 1
        assert sky.is_empty


async def test_a_read_that_has_begun_is_shared_while_the_token_stands():
    """Whoever comes later shares the read while the token is the one that it began with."""
    sky = Sky()
    first = await sky.come()
    await sky.begin()
    second = await sky.come()
    await sky.land(known(b"key"))
    assert first.result() is second.result() is not None
    assert len(sky.reads) == 1
    assert sky.is_empty


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (1, None), (None, 1), (None, None)])
async def test_a_read_that_may_have_missed_a_change_is_not_shared(before, after):
    """Whoever comes after the token has moved, or where there is none, reads anew: a change may have come between."""
    sky = Sky()
    sky.token = before
    first = await sky.come()
    await sky.begin()
    sky.token = after
    second = await sky.come()
    assert len(sky.reads) == 2
    old, new = known(b"old"), known(b"new")
    await sky.land(old, 0)
    await sky.land(new, 1)
    assert (first.result(), second.result()) == (old, new)
    assert sky.is_empty


async def test_the_newer_read_is_the_one_that_is_shared():
    """Of two reads that are under way the later is joined, and stays in the table when the earlier one ends."""
    sky = Sky()
    coming = [await sky.come()]
    await sky.begin(0)
    sky.token = 2
    coming.append(await sky.come())
    await sky.land(known(b"old"), 0)
    assert not sky.is_empty
    coming.append(await sky.come())
    new = known(b"new")
    await sky.land(new, 1)
    assert [task.result() for task in coming[1:]] == [new, new]
    assert len(sky.reads) == 2
    assert sky.is_empty


async def test_different_keys_share_nothing():
    """Reads of different keys are apart."""
    sky = Sky()
    one, two = await sky.come(b"one"), await sky.come(b"two")
    await sky.land(known(b"two"), 1)
    assert (one.done(), two.result().name) == (False, b"two")
    await sky.land(known(b"one"), 0)
    assert one.result().name == b"one"
    assert sky.is_empty


async def test_who_comes_late_does_not_believe_that_there_is_no_such_key():
    """For those who came after a read had begun, and found no key, one more read is made: a new key moves no token."""
    sky = Sky()
    early = [await sky.come(), await sky.come()]
    await sky.begin()
    late = [await sky.come(), await sky.come(), await sky.come()]
    await sky.land(None)
    assert [task.result() for task in early] == [None, None]
    assert not any(task.done() for task in late)
    assert len(sky.reads) == 2
    new = known(b"key")
    await sky.land(new, 1)
    assert [task.result() for task in late] == [new] * 3
    assert len(sky.reads) == 2
    assert sky.is_empty


async def test_who_came_late_believes_the_read_that_he_waited_for():
    """A key that a second read does not find either does not exist."""
    sky = Sky()
    await sky.come()
    await sky.begin()
    late = await sky.come()
    await sky.land(None)
    await sky.land(None, 1)
    assert late.result() is None
    assert len(sky.reads) == 2
    assert sky.is_empty


@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("who", [0, 1])
async def test_one_that_goes_away_takes_nobody_with_it(who, has_begun):
    """A client that goes away, be it the one for whom the read was begun, does not end it for the others."""
    sky = Sky()
    coming = [await sky.come(), await sky.come(), await sky.come()]
    if has_begun:
        await sky.begin()
    coming[who].cancel()
    await settle()
    assert coming[who].cancelled()
    coming.append(await sky.come())
    await sky.land(known(b"key"))
    assert [task.result().name for task in coming if task is not coming[who]] == [b"key"] * 3
    assert len(sky.reads) == 1
    assert sky.is_empty


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_read_that_nobody_waits_for_any_more_is_ended(has_begun):
    """When all have gone the read is ended, and gives back what it holds; whoever comes then begins another."""
    sky = Sky()
    coming = [await sky.come(), await sky.come()]
    if has_begun:
        await sky.begin()
    for task in coming:
        task.cancel()
    next_one = asyncio.create_task(sky.flights.share(b"key", sky._read))  # Comes before the read has ended.
    await settle()
    assert all(task.cancelled() for task in coming)
    assert [read.is_over for read in sky.reads] == [True, False]
    await sky.land(known(b"key"), 1)
    assert next_one.result().name == b"key"
    assert sky.is_empty


async def test_a_read_that_is_slow_to_end_is_not_joined():
    """A read that was given up, and takes its time to end, is not joined."""
    sky, gone = Sky(), asyncio.Event()

    async def stubborn(flight):
        flight.begin(1, 0.0)
        try:
            await asyncio.Event().wait()
        finally:
            await gone.wait()

    first = asyncio.create_task(sky.flights.share(b"key", stubborn))
    await settle()
    first.cancel()
    await settle()
    second = await sky.come()
    assert len(sky.reads) == 1
    gone.set()
    await settle()
    assert not second.done()
    await sky.land(known(b"key"))
    assert second.result().name == b"key"
    assert sky.is_empty


async def test_all_who_share_a_read_hear_why_it_failed():
    """What a read raises reaches all who shared it, and the next one reads again."""
    sky = Sky()
    coming = [await sky.come(), await sky.come()]
    await sky.begin()
    coming.append(await sky.come())
    problem = StoreUnavailable("down")
    await sky.land(problem)
    assert [task.exception() for task in coming] == [problem] * 3
    assert sky.is_empty
    again = await sky.come()
    await sky.land(known(b"key"), 1)
    assert again.result().name == b"key"


async def test_a_read_that_fails_for_nobody_is_taken_notice_of(caplog):
    """A read that fails when all who waited for it have gone leaves no complaint of asyncio behind."""
    sky = Sky()

    async def fail(flight):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailable("down") from None

    coming = asyncio.create_task(sky.flights.share(b"key", fail))
    await settle()
    coming.cancel()
    await settle()
    del coming
    gc.collect()
    assert caplog.records == []
    assert sky.is_empty


async def test_a_read_is_seen_with_its_task():
    """Loops in other threads, which look for a read under way at any moment, find none that has no task yet."""

    class Watched(dict):
        """Another thread looks at each flight at once."""

        def __setitem__(self, name, flight):
            seen.append(flight.task)
            super().__setitem__(name, flight)

    seen = []
    sky = Sky()
    sky.flights._under_way = Watched()
    coming = await sky.come()
    await sky.land(known(b"key"))
    assert coming.result() is not None
    assert len(seen) == 1


async def test_a_read_that_another_thread_takes_out_as_it_ends(caplog):
    """A read whose place is taken by that of another thread's loop, as it ends, ends without a word."""

    class Shared(dict):
        """Another thread empties it after each look."""

        def get(self, name):
            found = super().get(name)
            self.clear()
            return found

    sky = Sky()
    sky.flights._under_way = Shared()
    coming = await sky.come()
    await sky.land(known(b"key"))
    assert coming.result() is not None
    assert sky.is_empty
    assert caplog.records == []


def test_loops_share_no_read():
    """A read that is under way in another loop is not joined: it could not be awaited here."""
    sky = Sky()
    other = asyncio.new_event_loop()
    there = other.run_until_complete(sky.come())

    async def here():
        coming = await sky.come()
        await sky.land(known(b"here"), 1)
        return coming.result()

    assert asyncio.run(here()).name == b"here"
    assert len(sky.reads) == 2
    other.run_until_complete(sky.land(known(b"there"), 0))
    assert there.result().name == b"there"
    other.close()
    assert sky.is_empty


async def test_nothing_is_left_of_a_read():
    """When a read has ended nothing holds what it was begun with: that is a key."""

    class Key:
        """Stands for what a read needs."""

    sky = Sky()
    key = Key()
    held = weakref.ref(key)

    async def read(flight, key=key):
        flight.begin(1, 0.0)
        await asyncio.sleep(0)
        return None if key is None else known(b"key")

    assert await sky.flights.share(b"key", read) is not None
    await settle()
    gc.disable()
    try:
        del read, key
        assert held() is None
    finally:
        gc.enable()
