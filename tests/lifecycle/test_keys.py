"""Keys that there are: named, switched off and on, revoked, listed, purged, counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from lives import HOUR, ada

from keyguard import lifecycle
from keyguard.errors import Changed, ConfigurationError, NotFound, NotSupported
from keyguard.model import AuditKind, KeyOrder, KeyPage, KeyQuery, KeyState, ListedKey, Owner, Usage
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON


async def test_a_key_is_revoked_once(store, clock):
    """Revoking tells whether it did it, and what the first one said stays."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    assert await lifecycle.revoke(store, key_id, reason="leaked", clock=clock)
    clock.advance(HOUR)
    assert not await lifecycle.revoke(store, key_id, reason="again", clock=clock)
    record = await lifecycle.get(store, key_id)
    assert (record.revoked_at, record.revoked_reason) == (NOON, "leaked")


async def test_a_key_is_disabled_and_enabled(store, clock):
    """A disabled key has the time of the first call, and none any more when it is enabled; each tells if it did it."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    assert await lifecycle.disable(store, key_id, clock=clock)
    clock.advance(HOUR)
    assert not await lifecycle.disable(store, key_id, clock=clock)
    assert (await lifecycle.get(store, key_id)).disabled_at == NOON
    assert await lifecycle.enable(store, key_id)
    assert not await lifecycle.enable(store, key_id)
    assert (await lifecycle.get(store, key_id)).disabled_at is None


async def test_enabling_does_not_undo_a_revocation(store, clock):
    """A revoked key stays revoked, whether it is enabled or disabled."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    await lifecycle.revoke(store, key_id, clock=clock)
    await lifecycle.disable(store, key_id)
    await lifecycle.enable(store, key_id)
    assert (await lifecycle.get(store, key_id)).revoked_at == NOON


async def test_now_is_when_it_happens(store):
    """Without a clock a key is disabled and revoked now."""
    key_id = (await lifecycle.issue(store, await ada(store))).record.id
    before = datetime.now(UTC)
    await lifecycle.disable(store, key_id)
    await lifecycle.revoke(store, key_id)
    record = await lifecycle.get(store, key_id)
    assert timedelta(0) <= record.disabled_at - before < HOUR
    assert timedelta(0) <= record.revoked_at - before < HOUR
    assert record.revoked_reason == ""


async def test_a_key_gets_another_name(store):
    """Renaming changes the name and nothing else."""
    before = (await lifecycle.issue(store, await ada(store), name="old")).record
    await lifecycle.rename(store, before.id, "Zoë's „new“ one")
    assert await lifecycle.get(store, before.id) == replace(before, name="Zoë's „new“ one")


async def test_a_name_and_a_reason_are_texts(store):
    """What is no text is neither a key's name nor the reason of its end, and the key stays as it is."""
    before = (await lifecycle.issue(store, await ada(store), name="old")).record
    with pytest.raises(ConfigurationError, match="name is a text; not NoneType"):
        await lifecycle.rename(store, before.id, None)
    with pytest.raises(ConfigurationError, match="reason is a text; not NoneType"):
        await lifecycle.revoke(store, before.id, reason=None)
    assert await lifecycle.get(store, before.id) == before


# --- what was read ----------------------------------------------------------------------------------------------

CHANGES = {
    "rename": lambda store, key_id, **more: lifecycle.rename(store, key_id, "new", **more),
    "disable": lifecycle.disable,
    "enable": lifecycle.enable,
    "revoke": lifecycle.revoke,
}

OTHERS = {
    "renamed": lambda store, key_id: lifecycle.rename(store, key_id, "other"),
    "disabled": lifecycle.disable,
    "revoked": lifecycle.revoke,
    "rotated": lambda store, key_id: lifecycle.rotate(store, key_id, grace=HOUR),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_read_is_changed(store, clock, change):
    """A change that says what the caller has read is made where the key still is so."""
    key_id = (await lifecycle.issue(store, await ada(store), name="old", clock=clock)).record.id
    if change is lifecycle.enable:
        await lifecycle.disable(store, key_id)
    read = await lifecycle.get(store, key_id)
    assert await change(store, key_id, expected=read) in {None, True}
    assert await lifecycle.get(store, key_id) != read


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_somebody_else_has_changed_is_not(store, clock, change):
    """A change that says what the caller has read is not made where somebody was faster, and leaves no event."""
    owner = await ada(store)
    for what, other in OTHERS.items():
        read = (await lifecycle.issue(store, owner, name="old", clock=clock)).record
        await other(store, read.id)
        before, events = await lifecycle.get(store, read.id), await lifecycle.events(store)
        with pytest.raises(Changed):
            await change(store, read.id, expected=read)
        assert await lifecycle.get(store, read.id) == before, what
        assert await lifecycle.events(store) == events, what


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_another_key_was_not_read(change):
    """What is expected is the key that is to be changed, and neither another one nor its id."""
    store = MemoryStore()
    owner = await ada(store)
    one, other = [(await lifecycle.issue(store, owner)).record for _ in range(2)]
    with pytest.raises(ConfigurationError, match="expected is the key itself, as it was read; not another one"):
        await change(store, one.id, expected=other)
    with pytest.raises(ConfigurationError, match="expected is of type KeyRecord; not str"):
        await change(store, one.id, expected=one.id)
    assert await lifecycle.get(store, one.id) == one


# --- lists ------------------------------------------------------------------------------------------------------


async def test_keys_are_searched(store, clock):
    """A search gives a part of what fits, with the owner and the uses of each key, and how many there are in all."""
    owner = await ada(store)
    keys = [(await lifecycle.issue(store, owner, name=f"laptop {n}", clock=clock)).record for n in range(3)]
    await lifecycle.issue(store, owner, name="phone", clock=clock)
    await store.record_uses({keys[1].id: Usage(total=7)}, worker="w", sequence=1)
    query = KeyQuery(owner_id=owner.id, text="laptop", order=KeyOrder.NAME, descending=False)
    page = await lifecycle.search_keys(store, query, offset=1, limit=1)
    assert page == KeyPage(keys=(ListedKey(key=keys[1], owner=owner, usage=Usage(total=7)),), total=3)
    assert [each.key for each in (await lifecycle.search_keys(store, query)).keys] == keys


async def test_keys_are_searched_by_what_they_are_now(store, clock):
    """The states of a search are those at the time of the clock, and its times are of any zone."""
    owner = await ada(store)
    brief = (await lifecycle.issue(store, owner, expires_at=NOON + HOUR, clock=clock)).record
    expired = KeyQuery(states=frozenset({KeyState.EXPIRED}))
    assert (await lifecycle.search_keys(store, expired, clock=clock)).total == 0
    clock.advance(HOUR)
    (listed,) = (await lifecycle.search_keys(store, expired, clock=clock)).keys
    assert listed.key == brief
    elsewhere = (NOON + HOUR).astimezone(timezone(timedelta(hours=9)))
    assert (await lifecycle.search_keys(store, KeyQuery(expires_from=elsewhere), clock=clock)).total == 1
    assert (await lifecycle.search_keys(store, KeyQuery(expires_before=elsewhere), clock=clock)).total == 0


NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001 The mistake.


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"query": "laptop"}, "query is of type KeyQuery; not str"),
        ({"query": KeyQuery(text=None)}, "text is a text; not NoneType"),
        ({"query": KeyQuery(owner_id=7)}, "owner_id is a text; not int"),
        ({"query": KeyQuery(states=frozenset({"revoked"}))}, "each of states is of type KeyState; not str"),
        ({"query": KeyQuery(order="name")}, "order is of type KeyOrder; not str"),
        ({"query": KeyQuery(expires_from=NAIVE)}, "expires_from is an aware datetime"),
        ({"query": KeyQuery(expires_before=NAIVE)}, "expires_before is an aware datetime"),
        ({"offset": -1}, "offset is a whole number from 0 on; not -1"),
        ({"limit": 0}, "limit is a whole number from 1 on; not 0"),
    ],
    ids=str,
)
async def test_mistakes_find_nothing(mistake, sentence):
    """A search that cannot be meant is a mistake, and not an empty page."""
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.search_keys(MemoryStore(), **{"query": KeyQuery()} | mistake)


async def test_keys_are_listed(store, clock):
    """Keys are listed for one owner or for all, the newest first, revoked ones included."""
    owners = [await ada(store), await lifecycle.add_owner(store, "bob", id="owner-2")]
    ids = []
    for number in range(4):
        ids.append((await lifecycle.issue(store, owners[number % 2], clock=clock)).record.id)
        clock.advance(HOUR)
    await lifecycle.revoke(store, ids[0])
    assert [record.id for record in await lifecycle.list_keys(store)] == ids[::-1]
    assert [record.id for record in await lifecycle.list_keys(store, owners[0])] == [ids[2], ids[0]]
    assert [record.id for record in await lifecycle.list_keys(store, "owner-2")] == [ids[3], ids[1]]
    assert await lifecycle.list_keys(store, "nobody") == []


async def one_in_each_state(store, clock):
    """A key of ada's in each state at the clock's time, by state; and one of bob's."""
    owner = await ada(store)

    async def new(state, **arguments):
        record = (await lifecycle.issue(store, owner, name=state.value, clock=clock, **arguments)).record
        clock.advance(timedelta(minutes=1))
        return record.id

    revoked = await new(KeyState.REVOKED, expires_at=NOON + HOUR)
    await lifecycle.disable(store, revoked)
    await lifecycle.revoke(store, revoked)
    expired = await new(KeyState.EXPIRED, expires_at=NOON + HOUR)
    await lifecycle.disable(store, expired)
    disabled = await new(KeyState.DISABLED, not_before=NOON + 9 * HOUR)
    await lifecycle.disable(store, disabled)
    early = await new(KeyState.NOT_YET_VALID, not_before=NOON + 9 * HOUR)
    grace = await new(KeyState.GRACE)
    clock.advance(HOUR)
    active = (await lifecycle.rotate(store, grace, grace=HOUR, clock=clock)).record.id
    ids = [revoked, expired, disabled, early, grace, active]
    bob = await lifecycle.add_owner(store, "bob", id="owner-2")
    other = (await lifecycle.issue(store, bob, clock=clock)).record.id
    return dict(zip(KeyState, ids, strict=True)), other


async def test_keys_are_listed_by_state(store, clock):
    """Each key is in one state at a time, the first that applies, and is listed under that."""
    ids, other = await one_in_each_state(store, clock)
    for state, key_id in ids.items():
        found = {record.id for record in await lifecycle.list_keys(store, state=state, clock=clock)}
        assert found == {key_id} | ({other} if state is KeyState.ACTIVE else set()), state
        assert [record.id for record in await lifecycle.list_keys(store, "owner-1", state=state, clock=clock)] == [
            key_id
        ]
        assert (await lifecycle.get(store, key_id)).state(clock.now) is state
    clock.advance(9 * HOUR)
    assert [record.id for record in await lifecycle.list_keys(store, state=KeyState.NOT_YET_VALID, clock=clock)] == []
    assert ids[KeyState.GRACE] in {
        record.id for record in await lifecycle.list_keys(store, state=KeyState.EXPIRED, clock=clock)
    }


async def test_keys_are_found_by_how_they_begin(store, clock):
    """What a list or a log shows of a key finds it: prefix and the beginning of the id, letter case and all."""
    owner = await ada(store)
    record = (await lifecycle.issue(store, owner, clock=clock, entropy=lambda size: b"\x07" * size)).record
    await lifecycle.issue(store, owner, clock=clock, entropy=lambda size: b"\x42" * size)
    shown = record.hint.removesuffix("…")
    assert shown == f"kg_{record.id[:4]}"
    for begins in (shown, f"kg_{record.id}"):
        assert await lifecycle.list_keys(store, begins=begins) == [record]
    assert len(await lifecycle.list_keys(store, begins="kg_")) == len(await lifecycle.list_keys(store, begins="")) == 2
    for begins in (record.id, shown.swapcase(), f"kg_{record.id}x", "kg%", "\0"):
        assert await lifecycle.list_keys(store, begins=begins) == []


async def test_keys_are_listed_page_by_page(store, clock):
    """Each page goes on behind the last key of the one before, whatever has become of that."""
    owner = await ada(store)
    for number in range(7):
        await lifecycle.issue(store, owner, name=str(number // 2), clock=clock)
        clock.advance(HOUR * (number % 2))
    every = await lifecycle.list_keys(store)
    pages, last = [], None
    while page := await lifecycle.list_keys(store, owner, after=last, limit=3, clock=clock):
        pages.append(page)
        last = page[-1]
        await lifecycle.revoke(store, last.id, clock=clock)
        await lifecycle.purge(store, timedelta(0), clock=lambda: clock.now + HOUR)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [record for page in pages for record in page] == every


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"limit": 0}, "limit is a whole number from 1 on; not 0"),
        ({"limit": 1.5}, "limit is a whole number from 1 on; not 1.5"),
        ({"begins": None}, "begins is a text; not NoneType"),
        ({"state": "revoked"}, "state is of type KeyState; not str"),
        ({"after": "3fJ2x0Qm7LpZ"}, "after is of type KeyRecord; not str"),
    ],
)
async def test_mistakes_list_nothing(mistake, sentence):
    """An argument that cannot be right is a mistake, and not an empty list."""
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.list_keys(MemoryStore(), **mistake)


# --- purging ----------------------------------------------------------------------------------------------------


async def test_what_ended_long_ago_is_purged(store, clock):
    """Keys that were revoked or have expired before a time are deleted; all others stay, as does what was noted."""
    owner = await ada(store)
    ends = {"expires": {"expires_at": NOON + HOUR}, "expires later": {"expires_at": NOON + 5 * HOUR}, "stays": {}}
    ids = {name: (await lifecycle.issue(store, owner, clock=clock, **end)).record.id for name, end in ends.items()}
    for name, at in (("revoked", NOON + HOUR), ("revoked later", NOON + 5 * HOUR)):
        ids[name] = (await lifecycle.issue(store, owner, clock=clock)).record.id
        await lifecycle.revoke(store, ids[name], clock=lambda at=at: at)
    disabled = ids["disabled"] = (await lifecycle.issue(store, owner, clock=clock)).record.id
    await lifecycle.disable(store, disabled, clock=clock)
    clock.advance(6 * HOUR)
    left = {"expires later", "revoked later", "stays", "disabled"}

    async def names():
        return {name for name, key_id in ids.items() if key_id in {key.id for key in await lifecycle.list_keys(store)}}

    assert await lifecycle.purge(store, NOON + HOUR, clock=clock) == 0  # At that very time is not before it.
    assert await lifecycle.purge(store, NOON + HOUR + timedelta(microseconds=1), clock=clock) == 2
    assert await names() == left
    assert await lifecycle.purge(store, timedelta(hours=2), clock=clock) == 0
    assert await lifecycle.purge(store, timedelta(minutes=30), clock=clock) == 2
    assert await names() == {"stays", "disabled"}
    assert [event.kind for event in await lifecycle.events(store, key=ids["revoked"])] == [
        AuditKind.KEY_PURGED,
        AuditKind.KEY_REVOKED,
        AuditKind.KEY_ISSUED,
    ]


@pytest.mark.parametrize(("batch", "calls"), [(1, [1] * 5 + [0]), (2, [2, 2, 1, 0]), (5, [5, 0]), (500, [5, 0])])
async def test_keys_are_purged_in_batches(store, clock, batch, calls):
    """A purge goes on until there is none left to delete, so many at once, the oldest first."""
    owner = await ada(store)
    ids = []
    for _ in range(5):
        ids.append((await lifecycle.issue(store, owner, clock=clock)).record.id)
        clock.advance(HOUR)
        await lifecycle.revoke(store, ids[-1], clock=clock)
    purge, counts = store.purge_keys, []

    async def counted(*args, **kwargs):
        counts.append(await purge(*args, **kwargs))
        return counts[-1]

    store.purge_keys = counted
    clock.advance(HOUR)
    assert await lifecycle.purge(store, timedelta(0), clock=clock, batch=batch) == 5
    assert counts == calls
    purged = await lifecycle.events(store, kinds=[AuditKind.KEY_PURGED])
    assert {event.key_id for event in purged} == {*ids}
    if batch == 1:
        assert [event.key_id for event in reversed(purged)] == ids


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (NOON + timedelta(microseconds=1), "before is a time that does not lie in the future"),
        (-HOUR, "before is a time that does not lie in the future"),
        (None, "before is a time that does not lie in the future"),
        (datetime(2026, 1, 1), "before is an aware datetime"),  # noqa: DTZ001 The mistake.
        (90, "before is an aware datetime"),
        (timedelta.max, "before is not so long ago"),
    ],
    ids=str,
)
async def test_what_has_not_ended_is_never_purged(store, clock, before, sentence):
    """A time that lies ahead would delete keys that are good: it is a mistake, like what is no time at all."""
    key = (
        await lifecycle.issue(store, await ada(store), expires_at=NOON + timedelta(microseconds=1), clock=clock)
    ).record
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.purge(store, before, clock=clock)
    with pytest.raises(ConfigurationError, match="batch is a whole number from 1 on; not 0"):
        await lifecycle.purge(store, HOUR, clock=clock, batch=0)
    assert await lifecycle.list_keys(store) == [key]


async def test_a_purged_key_is_not_there(store, clock):
    """Of a key that was purged there is no record, and nothing more can be done with it."""
    key = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await store.record_uses({key.id: Usage(total=3)}, worker="w", sequence=1)
    await lifecycle.revoke(store, key.id, clock=clock)
    clock.advance(HOUR)
    assert await lifecycle.purge(store, timedelta(0), clock=clock) == 1
    assert await lifecycle.usage(store, key.id) == Usage(total=0)
    assert await store.find([key.lookup]) is None
    for call in (lifecycle.get, lifecycle.disable, lifecycle.enable, lifecycle.revoke, lifecycle.rotate):
        with pytest.raises(NotFound):
            await call(store, key.id)


# --- what is not there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda store: lifecycle.get(store, "nothing"),
        lambda store: lifecycle.rename(store, "nothing", "x"),
        lambda store: lifecycle.disable(store, "nothing"),
        lambda store: lifecycle.enable(store, "nothing"),
        lambda store: lifecycle.revoke(store, "nothing"),
        lambda store: lifecycle.rotate(store, "nothing"),
        lambda store: lifecycle.end_grace(store, "nothing"),
        lambda store: lifecycle.activate(store, "nobody"),
        lambda store: lifecycle.deactivate(store, Owner(id="nobody", name="ada")),
        lambda store: lifecycle.set_superuser(store, "nobody", superuser=True),
        lambda store: lifecycle.set_password(store, "nobody", "x"),
        lambda store: lifecycle.set_password(store, "nobody", None),
        lambda store: lifecycle.issue(store, "nobody"),
    ],
    ids=[
        "get",
        "rename",
        "disable",
        "enable",
        "revoke",
        "rotate",
        "end_grace",
        "activate",
        "deactivate",
        "set_superuser",
        "set_password",
        "take the password away",
        "issue",
    ],
)
async def test_what_does_not_exist_cannot_be_changed(store, call):
    """A change to a key or an owner that does not exist raises `NotFound`, which does not quote what may be a key."""
    await ada(store)
    with pytest.raises(NotFound) as caught:
        await call(store)
    assert "nothing" not in str(caught.value)
    assert "nobody" not in str(caught.value)


# --- uses -------------------------------------------------------------------------------------------------------


async def test_uses_are_read(store):
    """The uses of a key are those that the store has; of many at once they come by id, and every id is there."""
    used = Usage(total=3, last_used_at=NOON, last_used_address="192.0.2.1")
    await store.record_uses({"one": used, "two": Usage(total=1)}, worker="w", sequence=1)
    assert await lifecycle.usage(store, "one") == used
    assert await lifecycle.usage(store, "none") == Usage(total=0)
    assert await lifecycle.usages(store, iter(["two", "none", "one"])) == {
        "two": Usage(total=1),
        "none": Usage(total=0),
        "one": used,
    }
    assert await lifecycle.usages(store, []) == {}


class Uncounted(MemoryStore):
    """A store that counts nothing."""

    record_uses = None
    get_uses = None


async def test_uses_are_not_read_where_there_are_none():
    """A store that does not count says so, and a single id is no list of ids."""
    with pytest.raises(ConfigurationError, match="key_ids is a list of ids, even of one; not a str"):
        await lifecycle.usages(MemoryStore(), "one")
    with pytest.raises(NotSupported, match="this store does not count uses"):
        await lifecycle.usage(Uncounted(), "one")
