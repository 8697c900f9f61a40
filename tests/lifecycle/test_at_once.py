"""Two changes of one key at once end as if one had come after the other, in the keys and in the audit log alike.

What each of the two orders would give is said in `orders`, apart from the code. First every order is tried in which the
calls of a store can follow one another; then two stores over one database really run at the same time.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import combinations_with_replacement

import pytest
from lives import HOUR
from orders import BEGINNINGS, CHANGES, CONFLICT, DONE, NOT_FOUND, Key, World, orders

from keyguard import lifecycle
from keyguard.errors import Conflict, NotFound
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_record

LONG_AGO, OWN_END, GRACE = NOON - timedelta(days=9), NOON + timedelta(days=9), HOUR
PURGED = timedelta(days=7)


def at_noon():
    return NOON


CALLS = {
    "rename": lambda store, read: lifecycle.rename(store, read.id, "new name", clock=at_noon),
    "disable": lambda store, read: lifecycle.disable(store, read.id, clock=at_noon),
    "enable": lambda store, read: lifecycle.enable(store, read.id, clock=at_noon),
    "revoke": lambda store, read: lifecycle.revoke(store, read.id, reason="leaked", clock=at_noon),
    "rotate": lambda store, read: lifecycle.rotate(store, read.id, clock=at_noon),
    "rotate_with_grace": lambda store, read: lifecycle.rotate(store, read.id, grace=GRACE, clock=at_noon),
    "rotate_if_unchanged": lambda store, read: lifecycle.rotate(store, read.id, expected=read, clock=at_noon),
    "end_grace": lambda store, read: lifecycle.end_grace(store, read.id, clock=at_noon),
    "end_grace_if_unchanged": lambda store, read: lifecycle.end_grace(store, read.id, expected=read, clock=at_noon),
    "purge": lambda store, _: lifecycle.purge(store, PURGED, clock=at_noon),
}
"""Each is given the key as it was at first."""

PAIRS = [
    pair for pair in combinations_with_replacement(CALLS, 2) if not {*pair} <= {"rename", "disable", "enable", "revoke"}
]
"""The others are one call of the store each: nothing can come between."""


# --- the store's world, in the words of `orders` ----------------------------------------------------------------


async def begin(store, owner, key_id, beginning):
    """Put a key into the store that is as a world begins, and return it."""
    key = BEGINNINGS[beginning]
    record = make_record(
        key_id,
        owner.id,
        name=key.name,
        disabled_at=LONG_AGO if key.is_disabled else None,
        revoked_at=None if key.revoked is None else LONG_AGO if key.was_revoked_long_ago else NOON,
        revoked_reason=key.revoked or "",
        expires_at={"its own": OWN_END, "long ago": LONG_AGO, "the grace's": NOON + GRACE}.get(key.end),
        rotated_at=NOON if key.is_replaced else None,
    )
    await store.add_key(record)
    return record


def said_of(record):
    """A record in the words of `orders`."""
    end = {None: None, OWN_END: "its own", LONG_AGO: "long ago", NOON + GRACE: "the grace's"}[record.expires_at]
    return Key(
        name=record.name,
        is_disabled=record.disabled_at is not None,
        revoked=record.revoked_reason if record.revoked_at else None,
        was_revoked_long_ago=record.revoked_at == LONG_AGO,
        end=end,
        is_replaced=record.rotated_at is not None,
    )


async def world_of(store, key_id):
    """The world that the store shows: the key, its successor, and the trail of both."""
    record = await store.get_key(key_id)
    successors = [each for each in await store.list_keys() if each.rotated_from == key_id]
    assert len(successors) < 2, "two keys have taken one key's place"
    ids = {key_id, *(each.id for each in successors)}
    trail = [event for event in reversed(await store.list_events()) if event.key_id in ids]
    for event in trail:
        assert event.owner_id == "ada"
        if event.kind.value == "key.rotated":
            assert [event.detail["successor"]] == [each.id for each in successors]
    return World(
        key=None if record is None else said_of(record),
        successor=said_of(successors[0]) if successors else None,
        trail=tuple(event.kind.value for event in trail),
    )


async def answer_of(call):
    """What a call answers, in the words of `orders`."""
    try:
        answer = await call
    except NotFound:
        return NOT_FOUND
    except Conflict:
        return CONFLICT
    return DONE if answer is None or isinstance(answer, lifecycle.Issued) else answer


# --- every order of the store's calls ---------------------------------------------------------------------------


class Turns:
    """Lets two programs call a store in a given order: who has the next turn is read from a list of choices.

    Where that ends the first goes on; `open_choices` are the lists that lead to what was not tried.
    """

    def __init__(self, choices):
        self._choices = choices
        self._waiting = {}
        self._running = {0, 1}
        self.taken = []
        self.open_choices = []

    async def wait(self, who):
        """Return when it is one's turn."""
        turn = self._waiting[who] = asyncio.get_running_loop().create_future()
        self._choose()
        await turn

    def end(self, who):
        self._running.discard(who)
        self._choose()

    def _choose(self):
        if not self._waiting or self._waiting.keys() != self._running:
            return
        step = len(self.taken)
        chosen = self._choices[step] if step < len(self._choices) else min(self._waiting)
        if step >= len(self._choices) and len(self._waiting) > 1:
            self.open_choices.append([*self.taken, 1 - chosen])
        self.taken.append(chosen)
        self._waiting.pop(chosen).set_result(None)


class Seen:
    """A store as one of the two programs sees it: each call waits for its turn."""

    def __init__(self, store, turns, who):
        self._store, self._turns, self._who = store, turns, who
        self.keyring = store.keyring

    def __getattr__(self, name):
        method = getattr(self._store, name)

        async def call(*args, **kwargs):
            await self._turns.wait(self._who)
            return await method(*args, **kwargs)

        return call


async def in_every_order(store, owner, beginning, one, other):
    """What comes of two changes, for every order in which their calls of the store can follow one another."""
    left = [[]]
    while left:
        turns = Turns(left.pop())
        key_id = f"{beginning} {one} {other} {turns._choices}"
        record = await begin(store, owner, key_id, beginning)

        async def run(who, name, turns=turns, record=record):
            answer = await answer_of(CALLS[name](Seen(store, turns, who), record))
            turns.end(who)
            return answer

        first, second = await asyncio.gather(run(0, one), run(1, other))
        yield turns.taken, (first, second, await world_of(store, key_id))
        await lifecycle.purge(store, timedelta(0), clock=lambda: NOON)  # What is left, so that it is counted once.
        left += turns.open_choices


@pytest.fixture
async def opened(request):
    """Makes an open store on memory or a database, with its owner ada."""
    stores = []

    async def make(kind, cls=MemoryStore):
        if kind == "memory":
            store = cls()
        else:
            postgres = kind == "postgresql"
            url = request.getfixturevalue("postgres_url") if postgres else None
            store = SQLStore(url or f"sqlite+aiosqlite:///{request.getfixturevalue('tmp_path')}/keys.db")
            await store.create_schema() if not stores else None
        stores.append(store)
        await store.open()
        owner = await store.get_owner("ada") or await lifecycle.add_owner(store, "ada", id="ada")
        return store, owner

    yield make
    for store in stores:
        await store.close()


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
async def test_every_order_of_calls_is_one_of_the_two(opened, pair):
    """However the calls of two changes follow one another, the keys, the answers and the log fit one of two orders."""
    store, owner = await opened("memory")
    for beginning in BEGINNINGS:
        right = list(orders(beginning, *pair))
        async for taken, outcome in in_every_order(store, owner, beginning, *pair):
            assert outcome in right, f"{pair} on a key that is {beginning}, in the order {taken}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("beginning", ["good", "revoked long ago"])
async def test_every_order_of_transactions_is_one_of_the_two(opened, kind, beginning):
    """In a database it is the same, where the calls are transactions that follow one another."""
    store, owner = await opened(kind)
    for pair in PAIRS:
        right = list(orders(beginning, *pair))
        async for taken, outcome in in_every_order(store, owner, beginning, *pair):
            assert outcome in right, f"{pair} on a key that is {beginning}, in the order {taken}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_two_at_the_same_time_come_one_after_the_other(opened, kind):
    """Two programs that change one key at the same time, over one database, leave what one of the two orders does."""
    (store, owner), (other_store, _) = await opened(kind), await opened(kind)
    seen = set()
    for beginning in ("good", "disabled", "in its grace", "revoked long ago"):
        for pair in PAIRS:
            right = list(orders(beginning, *pair))
            key_id = f"{beginning} {pair}"
            record = await begin(store, owner, key_id, beginning)
            calls = [CALLS[name](each, record) for name, each in zip(pair, (store, other_store), strict=True)]
            answers = await asyncio.gather(*map(answer_of, calls))
            outcome = *answers, await world_of(store, key_id)
            assert outcome in right, f"{pair} on a key that is {beginning}"
            seen.add((right[0] == right[1], right.index(outcome)))
            await lifecycle.purge(store, timedelta(0), clock=lambda: NOON)
    assert (False, 0) in seen


# --- the statement can tell wrong from right --------------------------------------------------------------------


class Forgetful(MemoryStore):
    """Rotates a key whatever has become of its name and of its being disabled since it was read."""

    async def rotate_key(self, old, new, **more):
        current = await self.get_key(old.id)
        return await super().rotate_key(replace(old, name=current.name, disabled_at=current.disabled_at), new, **more)


class Generous(MemoryStore):
    """Lets a key have as many successors as are asked for."""

    async def rotate_key(self, old, new, **more):
        self._keys[old.id] = replace(self._keys[old.id], rotated_at=None, revoked_at=None, expires_at=old.expires_at)
        return await super().rotate_key(old, new, **more)


class Talkative(MemoryStore):
    """Notes what was asked for, whether or not it was done."""

    async def revoke_key(self, key_id, at, reason, *, events=(), **more):
        self._note(events)
        return await super().revoke_key(key_id, at, reason, **more)


class Heedless(MemoryStore):
    """Changes a key whatever the caller has read."""

    async def revoke_key(self, key_id, at, reason, *, expected=None, **more):
        return await super().revoke_key(key_id, at, reason, **more)


@pytest.mark.parametrize(
    ("cls", "pair"),
    [
        (Forgetful, ("disable", "rotate")),
        (Forgetful, ("rename", "rotate_with_grace")),
        (Generous, ("rotate", "rotate")),
        (Generous, ("revoke", "rotate_with_grace")),
        (Talkative, ("revoke", "end_grace")),
        (Heedless, ("rename", "end_grace_if_unchanged")),
    ],
    ids=str,
)
async def test_what_no_order_explains_is_seen(opened, cls, pair):
    """A store that lets two changes get in one another's way is found out."""
    store, owner = await opened("memory", cls)
    wrong = 0
    for beginning in BEGINNINGS:
        right = list(orders(beginning, *pair))
        try:
            async for _, outcome in in_every_order(store, owner, beginning, *pair):
                wrong += outcome not in right
        except AssertionError:
            wrong += 1
    assert wrong


def test_the_statement_speaks_of_all_changes():
    """What is said in `orders` and what is called here are the same changes, and both orders differ in some cases."""
    assert CHANGES.keys() == CALLS.keys()
    differing = {pair for pair in PAIRS for beginning in BEGINNINGS if len({*orders(beginning, *pair)}) > 1}
    assert ("revoke", "rotate") in differing
    assert ("disable", "rotate") in differing
