"""A new key takes the place of an old one: both are done or nothing is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lives import ADOPTING, HOUR, WEAK, WINDOW, A, ada

from keyguard import lifecycle
from keyguard.errors import Changed, ConfigurationError, Conflict
from keyguard.hashing import hmac_digest, sha256_digest
from keyguard.keys import from_entropy
from keyguard.model import KeyState
from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, make_record


async def test_a_rotated_key_is_replaced_at_once(store, clock):
    """Without a grace the old key is revoked, and a new one has owner, name, scopes and networks of the old one."""
    old = await lifecycle.issue(
        store,
        await ada(store),
        name="laptop",
        scopes=["flows:read"],
        networks=["192.0.2.0/24"],
        not_before=NOON + HOUR,
        expires_at=NOON + 9 * HOUR,
        clock=clock,
    )
    clock.advance(2 * HOUR)
    new = await lifecycle.rotate(store, old.record.id, clock=clock, entropy=bytes)
    assert new.key == from_entropy("kg", bytes(48))
    digest = sha256_digest(new.key.reveal().encode())
    assert new.record == replace(
        old.record,
        id=new.key.id,
        lookup=digest,
        verifier=digest,
        created_at=NOON + 2 * HOUR,
        not_before=None,
        expires_at=NOON + 9 * HOUR,
        rotated_from=old.record.id,
    )
    assert await lifecycle.get(store, new.record.id) == new.record
    assert await lifecycle.get(store, old.record.id) == replace(
        old.record, revoked_at=NOON + 2 * HOUR, revoked_reason="rotated", rotated_at=NOON + 2 * HOUR
    )


@pytest.mark.parametrize(
    ("grace", "expires_at", "end"),
    [
        (HOUR, None, NOON + HOUR),
        (HOUR, NOON + 2 * HOUR, NOON + HOUR),
        (2 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
        (3 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
    ],
)
async def test_a_rotated_key_is_good_for_its_grace(store, clock, grace, expires_at, end):
    """The old key expires after the grace, and never later than it would have; the new one as the old one would."""
    old = (await lifecycle.issue(store, await ada(store), expires_at=expires_at, clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=grace, clock=clock)).record
    assert await lifecycle.get(store, old.id) == replace(old, expires_at=end, rotated_at=NOON)
    assert new.expires_at == expires_at


async def test_a_key_in_its_grace_is_revoked_as_any_other(store, clock):
    """A key within its grace can be revoked, for the reason that is given; its successor goes on."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=HOUR, clock=clock)).record
    assert await lifecycle.revoke(store, old.id, reason="leaked", clock=clock)
    record = await lifecycle.get(store, old.id)
    assert (record.revoked_reason, record.revoked_by_rotation) == ("leaked", False)
    assert await lifecycle.get(store, new.id) == new


@pytest.mark.parametrize("state", ["in its grace", "disabled", "after its grace"])
async def test_a_grace_is_ended_early(store, clock, state):
    """Ending the grace revokes the old key for having been rotated, once, whatever else it is; its successor goes on.

    Also when the grace has run out: another host's clock may be behind.
    """
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=HOUR, clock=clock)).record
    if state == "disabled":
        await lifecycle.disable(store, old.id, clock=clock)
    clock.advance(2 * HOUR if state == "after its grace" else HOUR / 2)
    before = await lifecycle.get(store, old.id)
    assert await lifecycle.end_grace(store, old.id, clock=clock)
    after = await lifecycle.get(store, old.id)
    assert after == replace(before, revoked_at=clock.now, revoked_reason="rotated")
    assert after.revoked_by_rotation
    assert not await lifecycle.end_grace(store, old.id, clock=clock)
    assert await lifecycle.get(store, new.id) == new


async def test_a_grace_that_is_over_is_not_ended_again(store, clock):
    """A key that was revoked after it was rotated, or by that, is left as it is."""
    owner = await ada(store)
    leaked, replaced = [(await lifecycle.issue(store, owner, clock=clock)).record for _ in range(2)]
    await lifecycle.rotate(store, leaked.id, grace=HOUR, clock=clock)
    await lifecycle.revoke(store, leaked.id, reason="leaked", clock=clock)
    await lifecycle.rotate(store, replaced.id, clock=clock)
    before = await lifecycle.list_keys(store)
    assert [await lifecycle.end_grace(store, each.id, clock=clock) for each in (leaked, replaced)] == [False, False]
    assert await lifecycle.list_keys(store) == before


async def test_without_a_rotation_there_is_no_grace(store, clock):
    """A key that nothing has taken the place of is in no grace: whoever wants it gone says so."""
    owner = await ada(store)
    key = (await lifecycle.issue(store, owner, clock=clock)).record
    revoked = (await lifecycle.issue(store, owner, clock=clock)).record
    await lifecycle.revoke(store, revoked.id, reason="rotated", clock=clock)
    for each in (key, revoked):
        with pytest.raises(Conflict, match="the key was not rotated, so it is in no grace"):
            await lifecycle.end_grace(store, each.id)
    assert await lifecycle.get(store, key.id) == key
    assert not (await lifecycle.get(store, revoked.id)).revoked_by_rotation


async def test_the_lineage_is_kept(store, clock):
    """Each key names the one whose place it has taken, and each that was replaced when that was."""
    first = (await lifecycle.issue(store, await ada(store), metadata={"team": "one"}, clock=clock)).record
    clock.advance(HOUR)
    second = (await lifecycle.rotate(store, first.id, grace=3 * HOUR, clock=clock)).record
    clock.advance(HOUR)
    third = (await lifecycle.rotate(store, second.id, clock=clock)).record
    records = {record.id: record for record in await lifecycle.list_keys(store)}
    assert [(each.rotated_from, each.rotated_at) for each in (records[key.id] for key in (first, second, third))] == [
        (None, NOON + HOUR),
        (first.id, NOON + 2 * HOUR),
        (second.id, None),
    ]
    assert [records[key.id].state(clock.now) for key in (first, second, third)] == [
        KeyState.GRACE,
        KeyState.REVOKED,
        KeyState.ACTIVE,
    ]
    assert third.metadata == {"team": "one"}


@pytest.mark.parametrize("grace", [timedelta(0), HOUR], ids=["at once", "with a grace"])
async def test_a_key_has_one_successor(store, clock, grace):
    """A key that was rotated is not rotated again, and the message says which key has taken its place."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=grace, clock=clock)).record
    said = f"the key was replaced by {new.id} at 2026-03-01 12:00:00 UTC: rotate its successor"
    with pytest.raises(Conflict, match=said):
        await lifecycle.rotate(store, old.id, clock=clock)
    assert len(await lifecycle.list_keys(store)) == 2


async def test_a_successor_that_the_log_does_not_name(clock):
    """Where the audit log knows nothing of a rotation, a key is not rotated again all the same."""
    store = MemoryStore()
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await lifecycle.rotate(store, old.id, clock=clock)
    store._events.clear()
    with pytest.raises(Conflict, match="the key was replaced at 2026"):
        await lifecycle.rotate(store, old.id, clock=clock)


@pytest.mark.parametrize(
    ("old_end", "asked", "new_end"),
    [
        (None, None, NOON + 25 * HOUR),
        (NOON + 24 * HOUR, None, NOON + 24 * HOUR),
        (NOON + 24 * HOUR, NOON + 25 * HOUR, NOON + 25 * HOUR),
        (NOON + 30 * HOUR, None, NOON + 25 * HOUR),
        (NOON + 30 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
    ],
)
async def test_a_new_key_lives_no_longer_than_allowed(make_store, clock, old_end, asked, new_end):
    """A new key ends as the old one would have, or as was asked for, and within the keyring's longest life."""
    old = (
        await lifecycle.issue(await make_store(), await ada(await make_store()), expires_at=old_end, clock=clock)
    ).record
    store = await make_store(Keyring(max_lifetime=24 * HOUR))
    clock.advance(HOUR)
    assert (await lifecycle.rotate(store, old.id, expires_at=asked, clock=clock)).record.expires_at == new_end


async def test_a_key_that_is_not_valid_yet_gives_none_that_is(store, clock):
    """A key that is rotated before it is valid is replaced by one that is not valid before that either."""
    old = (await lifecycle.issue(store, await ada(store), not_before=NOON + HOUR, clock=clock)).record
    assert (await lifecycle.rotate(store, old.id, clock=clock)).record.not_before == NOON + HOUR


async def test_a_disabled_key_gives_a_disabled_one(store, clock):
    """Rotating enables nothing: of a disabled key the new one is disabled as well, until it is enabled."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await lifecycle.disable(store, old.id, clock=clock)
    new = (await lifecycle.rotate(store, old.id, clock=clock)).record
    assert new.disabled_at == NOON
    await lifecycle.enable(store, new.id)
    assert (await lifecycle.get(store, new.id)).disabled_at is None
    assert (await lifecycle.get(store, old.id)).disabled_at == NOON


async def test_an_adopted_key_gets_a_successor_of_our_own_form(make_store):
    """What takes the place of a key from elsewhere has Keyguard's own form, and a fast digest."""
    store = await make_store(ADOPTING)
    old = await lifecycle.adopt(store, await ada(store), WEAK, name="old one")
    new = await lifecycle.rotate(store, old.id)
    assert (new.record.prefix, new.record.name) == ("kg_", "old one")
    assert new.record.lookup == new.record.verifier == hmac_digest(A, new.key.reveal().encode())


async def test_the_clock_and_the_entropy_of_a_rotation(store):
    """Without a clock a key is rotated now, and without entropy its successor has a secret of its own."""
    before = datetime.now(UTC)
    old = await lifecycle.issue(store, await ada(store))
    new = await lifecycle.rotate(store, old.record.id)
    assert timedelta(0) <= new.record.created_at - before < HOUR
    assert new.key != old.key


async def test_a_key_that_has_ended_is_not_rotated(store, clock):
    """A key that is revoked or has expired gets no successor; the moment of its end is its end."""
    owner = await ada(store)
    dead = (await lifecycle.issue(store, owner, clock=clock)).record
    brief = (await lifecycle.issue(store, owner, expires_at=NOON + HOUR, clock=clock)).record
    await lifecycle.revoke(store, dead.id, clock=clock)
    clock.advance(HOUR)
    before = await lifecycle.list_keys(store)
    with pytest.raises(Conflict, match="a revoked key is not rotated: issue a new one"):
        await lifecycle.rotate(store, dead.id, clock=clock)
    with pytest.raises(Conflict, match="a key that has expired is not rotated: issue a new one"):
        await lifecycle.rotate(store, brief.id, grace=HOUR, clock=clock)
    assert await lifecycle.list_keys(store) == before


def between(store, change):
    """Let a rotation look at a key, and `change` it before the rotation goes on."""
    look = store.get_key

    async def look_then_change(key_id):
        seen = await look(key_id)
        store.get_key = look
        await change(key_id)
        return seen

    store.get_key = look_then_change


@pytest.mark.parametrize("grace", [timedelta(0), HOUR], ids=["at once", "with a grace"])
async def test_whoever_is_later_is_told(store, clock, grace):
    """Where a key is revoked or rotated between a rotation's look at it and its writing, there is no new key."""
    owner = await ada(store)
    for meanwhile, said in (
        (lambda key_id: lifecycle.revoke(store, key_id), "a revoked key is not rotated: issue a new one"),
        (lambda key_id: lifecycle.rotate(store, key_id, grace=HOUR, clock=clock), "the key was replaced by"),
        (lambda key_id: lifecycle.rotate(store, key_id, clock=clock), "the key was replaced by"),
    ):
        old = (await lifecycle.issue(store, owner, clock=clock)).record
        between(store, meanwhile)
        with pytest.raises(Conflict, match=said):
            await lifecycle.rotate(store, old.id, grace=grace, clock=clock)
        assert sum(each.rotated_from == old.id for each in await lifecycle.list_keys(store)) == (
            said == "the key was replaced by"
        )


async def test_what_changes_meanwhile_is_carried_over(store, clock):
    """Where a key is renamed, disabled or enabled between a rotation's look and its writing, the new one is like it."""
    owner = await ada(store)
    renamed, disabled, enabled = [(await lifecycle.issue(store, owner, name="old", clock=clock)).record for _ in "abc"]
    await lifecycle.disable(store, enabled.id, clock=clock)
    between(store, lambda key_id: lifecycle.rename(store, key_id, "new"))
    assert (await lifecycle.rotate(store, renamed.id, clock=clock)).record.name == "new"
    between(store, lambda key_id: lifecycle.disable(store, key_id, clock=clock))
    assert (await lifecycle.rotate(store, disabled.id, clock=clock)).record.disabled_at == NOON
    between(store, lambda key_id: lifecycle.enable(store, key_id, clock=clock))
    assert (await lifecycle.rotate(store, enabled.id, clock=clock)).record.disabled_at is None


async def test_a_key_that_never_stands_still(store, clock):
    """Where others change a key again and again, a rotation gives up, and nothing is done."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    look, looks = store.get_key, []

    async def look_then_rename(key_id):
        seen = await look(key_id)
        looks.append(seen)
        await lifecycle.rename(store, key_id, str(len(looks)))
        return seen

    store.get_key = look_then_rename
    with pytest.raises(Conflict, match="others are changing the key at this moment: look at it again"):
        await lifecycle.rotate(store, old.id, clock=clock)
    assert await lifecycle.list_keys(store) == [replace(old, name=str(len(looks)))]


async def test_a_key_is_rotated_as_it_was_read(store, clock):
    """With what the caller has read a key is rotated that still is so."""
    read = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    new = (await lifecycle.rotate(store, read.id, expected=read, grace=HOUR, clock=clock)).record
    assert new.rotated_from == read.id
    read = await lifecycle.get(store, read.id)
    assert await lifecycle.end_grace(store, read.id, expected=read, clock=clock)


@pytest.mark.parametrize("call", [lifecycle.rotate, lifecycle.end_grace], ids=["rotate", "end_grace"])
async def test_a_key_that_is_not_as_it_was_read(store, clock, call):
    """A key that is not as the caller has read it is not rotated, and its grace does not end."""
    read = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await lifecycle.rename(store, read.id, "new")
    before = await lifecycle.list_keys(store), await lifecycle.events(store)
    with pytest.raises(Changed, match="the key is not as it was when it was read: look at it again"):
        await call(store, read.id, expected=read, clock=clock)
    assert (await lifecycle.list_keys(store), await lifecycle.events(store)) == before


async def test_what_changes_meanwhile_is_not_carried_over(store, clock):
    """With what the caller has read a key that changes between a rotation's look and its writing is not rotated."""
    read = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    between(store, lambda key_id: lifecycle.rename(store, key_id, "new"))
    with pytest.raises(Changed):
        await lifecycle.rotate(store, read.id, expected=read, clock=clock)
    assert await lifecycle.list_keys(store) == [replace(read, name="new")]


async def test_a_grace_that_somebody_else_ends_meanwhile(store, clock):
    """With what the caller has read the grace of a key that is revoked meanwhile is not ended as well."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await lifecycle.rotate(store, old.id, grace=HOUR, clock=clock)
    read = await lifecycle.get(store, old.id)
    between(store, lambda key_id: lifecycle.revoke(store, key_id, reason="leaked", clock=clock))
    with pytest.raises(Changed):
        await lifecycle.end_grace(store, old.id, expected=read, clock=clock)
    assert (await lifecycle.get(store, old.id)).revoked_reason == "leaked"


async def test_a_new_key_is_made_of_what_is_stored(store, clock):
    """What may be done by the new key is said by the store, and not by the record that a caller brings."""
    read = (await lifecycle.issue(store, await ada(store), scopes=["flows:read"], clock=clock)).record
    brought = replace(read, scopes=frozenset({"*"}), owner_id="somebody else")
    assert (await lifecycle.rotate(store, read.id, expected=brought, clock=clock)).record.scopes == {"flows:read"}


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"expected": "3fJ2x0Qm7LpZ"}, "expected is of type KeyRecord; not str"),
        ({"expected": make_record("another", "owner-1")}, "expected is the key itself, as it was read"),
        ({"grace": -HOUR}, "grace is a timedelta, and not a negative one"),
        ({"grace": 3600}, "grace is a timedelta, and not a negative one; not 3600"),
        ({"grace": timedelta.max}, "grace is too long"),
        ({"expires_at": NOON}, WINDOW),
        ({"expires_at": datetime(2027, 3, 1)}, "expires_at is an aware datetime"),  # noqa: DTZ001 The mistake.
        ({"entropy": lambda size: bytes(size - 1)}, "exactly 48 random bytes; not 47"),
    ],
)
async def test_mistakes_rotate_nothing(store, clock, mistake, sentence):
    """An argument that cannot be right raises, says what is allowed, and leaves the old key alone as it is."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.rotate(store, old.id, **{"clock": clock} | mistake)
    assert await lifecycle.list_keys(store) == [old]
