"""Every change leaves its event, in the same transaction: who asked, what was done, to which key of whom."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from lives import ADOPTING, HOUR, STRONG, WEAK, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, KeyguardError, NotFound
from keyguard.model import AuditEvent, AuditKind, Owner, Principal
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON

ISO = "2026-03-01T12:00:00.123456+00:00"
LATER = "2026-03-01T13:00:00.123456+00:00"


async def noted(store, since=0):
    """The events after the first so many, the oldest first, in short."""
    events = (await lifecycle.events(store, limit=None))[::-1][since:]
    return [(event.kind.value, event.key_id, event.owner_id, dict(event.detail)) for event in events]


async def test_a_new_key_is_noted_with_all_that_it_may_do(make_store, clock):
    """The event of a new key names it, and all that a check of it goes by."""
    store = await make_store(ADOPTING)
    owner = await ada(store)
    traits = {
        "name": "laptop",
        "scopes": ["flows:read", "mcp:*"],
        "networks": ["192.0.2.0/24", "::ffff:198.51.100.0/120"],
        "not_before": NOON,
        "expires_at": NOON + HOUR,
        "metadata": {"ticket": 7},
    }
    issued = (await lifecycle.issue(store, owner, **traits, clock=clock)).record
    adopted = await lifecycle.adopt(store, owner, WEAK, **traits, clock=clock)
    said = {
        "name": "laptop",
        "scopes": ["flows:read", "mcp:*"],
        "networks": ["192.0.2.0/24", "198.51.100.0/24"],
        "not_before": ISO,
        "expires_at": LATER,
        "disabled_at": None,
        "rotated_from": None,
    }
    assert await noted(store, 1) == [
        ("key.issued", issued.id, "owner-1", {"prefix": "kg_", **said}),
        ("key.adopted", adopted.id, "owner-1", {"prefix": "my-", **said}),
    ]


@pytest.mark.parametrize(("grace", "until"), [(timedelta(0), None), (HOUR, LATER)], ids=["at once", "with a grace"])
async def test_a_rotation_is_two_events(store, clock, grace, until):
    """The old key's event names its successor and the end of its grace, the new key's what it came from."""
    owner = await ada(store)
    old = (await lifecycle.issue(store, owner, name="laptop", clock=clock)).record
    await lifecycle.disable(store, old.id, clock=clock)
    new = (await lifecycle.rotate(store, old.id, grace=grace, actor="ada", clock=clock)).record
    said = {"prefix": "kg_", "name": "laptop", "scopes": ["*"], "networks": [], "not_before": None, "expires_at": None}
    assert await noted(store, 3) == [
        ("key.rotated", old.id, "owner-1", {"successor": new.id, "until": until}),
        ("key.issued", new.id, "owner-1", {**said, "disabled_at": ISO, "rotated_from": old.id}),
    ]


async def test_each_change_of_a_key_is_noted(store, clock):
    """What happens to a key is an event each, with what is to be known of it beside."""
    owner = await ada(store)
    key_id = (await lifecycle.issue(store, owner, clock=clock)).record.id
    await lifecycle.rename(store, key_id, "laptop", clock=clock)
    assert await lifecycle.disable(store, key_id, clock=clock)
    assert await lifecycle.enable(store, key_id, clock=clock)
    await lifecycle.rotate(store, key_id, grace=HOUR, clock=clock)
    assert await lifecycle.end_grace(store, key_id, clock=clock)
    other = (await lifecycle.issue(store, owner, clock=clock)).record.id
    assert await lifecycle.revoke(store, other, reason="leaked", clock=clock)
    clock.advance(HOUR)
    assert await lifecycle.purge(store, timedelta(0), clock=clock) == 2
    said = {kind: (key, whose, detail) for kind, key, whose, detail in await noted(store, 2) if kind != "key.issued"}
    rotated = said.pop("key.rotated")
    assert rotated[0] == key_id
    purged = said.pop("key.purged")
    assert purged[1:] == ("owner-1", {"before": LATER})
    assert said == {
        "key.renamed": (key_id, "owner-1", {"name": "laptop"}),
        "key.disabled": (key_id, "owner-1", {}),
        "key.enabled": (key_id, "owner-1", {}),
        "key.grace_ended": (key_id, "owner-1", {"until": LATER}),
        "key.revoked": (other, "owner-1", {"reason": "leaked"}),
    }
    gone = await lifecycle.events(store, kinds=[AuditKind.KEY_PURGED])
    assert {event.key_id for event in gone} == {key_id, other}


async def test_each_change_of_an_owner_is_noted(store, clock):
    """What happens to an owner is an event each, with the name and the rights of a new one."""
    owner = await lifecycle.add_owner(store, "root", id="9", is_superuser=True, password="first", clock=clock)
    assert await lifecycle.deactivate(store, owner, clock=clock)
    assert await lifecycle.activate(store, owner, clock=clock)
    assert await lifecycle.set_superuser(store, owner, superuser=False, clock=clock)
    assert await lifecycle.set_superuser(store, owner, superuser=True, clock=clock)
    await lifecycle.set_password(store, owner, "second", clock=clock)
    await lifecycle.set_password(store, owner, None, clock=clock)
    assert await lifecycle.rename_owner(store, owner, "admin", clock=clock)
    await lifecycle.remove_owner(store, owner, clock=clock)
    assert await noted(store) == [
        ("owner.added", None, "9", {"name": "root", "is_superuser": True, "has_password": True}),
        ("owner.deactivated", None, "9", {}),
        ("owner.activated", None, "9", {}),
        ("owner.made_ordinary", None, "9", {}),
        ("owner.made_superuser", None, "9", {}),
        ("owner.password_set", None, "9", {}),
        ("owner.password_removed", None, "9", {}),
        ("owner.renamed", None, "9", {"name": "admin", "old_name": "root"}),
        ("owner.removed", None, "9", {"name": "admin", "keys": 0}),
    ]
    assert {event.at for event in await lifecycle.events(store)} == {NOON}


async def test_what_was_so_already_is_no_event(store, clock):
    """A call that finds things as they should be says so, and leaves no event."""
    owner = await ada(store)
    key_id = (await lifecycle.issue(store, owner, clock=clock)).record.id
    other = (await lifecycle.issue(store, owner, clock=clock)).record.id
    assert not await lifecycle.enable(store, key_id)
    assert not await lifecycle.activate(store, owner)
    assert not await lifecycle.set_superuser(store, owner, superuser=False)
    assert not await lifecycle.rename_owner(store, owner, owner.name)
    await lifecycle.disable(store, key_id)
    await lifecycle.deactivate(store, owner)
    await lifecycle.revoke(store, key_id)
    await lifecycle.rotate(store, other, clock=clock)
    before = await noted(store)
    assert not await lifecycle.disable(store, key_id)
    assert not await lifecycle.deactivate(store, owner)
    assert not await lifecycle.revoke(store, key_id, reason="again")
    assert not await lifecycle.end_grace(store, other)
    assert await lifecycle.purge(store, timedelta(days=1), clock=clock) == 0
    assert await noted(store) == before


async def test_what_fails_is_no_event(store):
    """A change that is refused leaves no event."""
    owner = await ada(store)
    key_id = (await lifecycle.issue(store, owner)).record.id
    before = await noted(store)
    for call in (
        lambda: lifecycle.add_owner(store, "ada"),
        lambda: lifecycle.issue(store, "nobody"),
        lambda: lifecycle.issue(store, owner, scopes="all"),
        lambda: lifecycle.rename(store, "nothing", "x"),
        lambda: lifecycle.rename(store, key_id, "\0"),
        lambda: lifecycle.revoke(store, "nothing"),
        lambda: lifecycle.end_grace(store, key_id),
        lambda: lifecycle.rotate(store, "nothing"),
        lambda: lifecycle.deactivate(store, "nobody"),
        lambda: lifecycle.set_password(store, "nobody", "x"),
        lambda: lifecycle.rename_owner(store, "nobody", "x"),
        lambda: lifecycle.rename_owner(store, owner, "\0"),
        lambda: lifecycle.remove_owner(store, "nobody"),
    ):
        with pytest.raises(KeyguardError):
            await call()
    assert await noted(store) == before


@pytest.mark.parametrize(
    ("actor", "named"),
    [
        (None, ""),
        ("", ""),
        ("cli:root", "cli:root"),
        (Owner(id="7", name="bob"), "7"),
        (Principal(id="8", name="eve"), "8"),
    ],
    ids=repr,
)
async def test_whoever_asked_is_named(clock, actor, named):
    """The actor is an owner or `request.user`, by id, or a text; and nobody where nobody said. In every function."""
    store = MemoryStore(keyring=ADOPTING)
    owner = await lifecycle.add_owner(store, "ada", actor=actor)
    key_id = (await lifecycle.issue(store, owner, actor=actor, clock=clock)).record.id
    await lifecycle.adopt(store, owner, STRONG, actor=actor)
    await lifecycle.rename(store, key_id, "x", actor=actor)
    await lifecycle.disable(store, key_id, actor=actor)
    await lifecycle.enable(store, key_id, actor=actor)
    new = await lifecycle.rotate(store, key_id, grace=HOUR, actor=actor, clock=clock)
    await lifecycle.end_grace(store, key_id, actor=actor, clock=clock)
    await lifecycle.revoke(store, new.record.id, actor=actor, clock=clock)
    await lifecycle.purge(store, timedelta(0), actor=actor)
    await lifecycle.deactivate(store, owner, actor=actor)
    await lifecycle.activate(store, owner, actor=actor)
    await lifecycle.set_superuser(store, owner, superuser=True, actor=actor)
    await lifecycle.set_superuser(store, owner, superuser=False, actor=actor)
    await lifecycle.set_password(store, owner, "x", actor=actor)
    await lifecycle.set_password(store, owner, None, actor=actor)
    await lifecycle.start_session(store, owner, actor=actor or "")  # Where nobody is said it is the owner.
    await lifecycle.end_sessions(store, owner, actor=actor)
    await lifecycle.rename_owner(store, owner, "eve", actor=actor)
    await lifecycle.remove_owner(store, owner, actor=actor)
    events = await lifecycle.events(store)
    assert {event.actor for event in events} == {named}
    elsewhere = {kind for kind in AuditKind if kind.value.startswith("credential") or kind.value.endswith("imported")}
    assert {event.kind for event in events} == {*AuditKind} - elsewhere


@pytest.mark.parametrize("actor", [7, b"root", object()], ids=["number", "bytes", "object"])
async def test_whoever_cannot_be_named(store, actor):
    """An actor that is neither is a mistake, and nothing is done."""
    with pytest.raises(ConfigurationError, match="actor is an Owner, a Principal or a text, or None; not "):
        await lifecycle.add_owner(store, "ada", actor=actor)
    assert await store.list_owners() == []


@pytest.mark.parametrize("actor", ["\0", "\ud800"], ids=["NUL", "surrogate"])
async def test_an_actor_is_a_text_that_can_be_stored(store, actor):
    """An actor whom no database could name changes nothing."""
    owner = await ada(store)
    with pytest.raises(ConfigurationError, match="no NUL character and no half of a surrogate pair"):
        await lifecycle.issue(store, owner, actor=actor)
    with pytest.raises(ConfigurationError, match="no NUL character and no half of a surrogate pair"):
        await lifecycle.deactivate(store, owner, actor=actor)
    assert await lifecycle.list_keys(store) == []
    assert await store.get_owner(owner.id) == owner


async def test_no_event_holds_a_secret(make_store):
    """Neither a key nor a digest, nor a password nor its verifier, nor metadata, stands in any event."""
    store = await make_store(ADOPTING)
    owner = await lifecycle.add_owner(store, "ada", password="correct horse")
    issued = await lifecycle.issue(store, owner, metadata={"note": "battery staple"})
    adopted = await lifecycle.adopt(store, owner, WEAK)
    rotated = await lifecycle.rotate(store, issued.record.id)
    await lifecycle.set_password(store, owner, "hunter2")
    secrets = [WEAK, "correct horse", "hunter2", "battery staple", await store.get_password(owner.id)]
    for each in (issued, rotated):
        secrets += [each.key.reveal(), each.key.reveal()[-49:], each.record.lookup]
    secrets += [adopted.lookup, adopted.verifier]
    events = await lifecycle.events(store)
    text = json.dumps([[event.actor, event.key_id, event.owner_id, dict(event.detail)] for event in events])
    assert len(events) == 6
    assert not [secret for secret in secrets if secret in text]


# --- reading ----------------------------------------------------------------------------------------------------


async def test_events_are_read_by_what_they_are_about(store, clock):
    """Events are chosen by key, owner, kind and time, given as records or ids; they outlive what they are about."""
    owners = [await lifecycle.add_owner(store, name, id=name, clock=clock) for name in ("ada", "bob")]
    keys = [(await lifecycle.issue(store, owner, clock=clock)).record for owner in owners]
    clock.advance(HOUR)
    for key in keys:
        await lifecycle.revoke(store, key.id, clock=clock)
    clock.advance(HOUR)
    await lifecycle.purge(store, timedelta(0), clock=clock)

    async def kinds(**chosen):
        return [event.kind.value for event in await lifecycle.events(store, **chosen)]

    assert len(await kinds()) == 8
    life = ["key.purged", "key.revoked", "key.issued"]
    assert await kinds(key=keys[0]) == await kinds(key=keys[0].id) == life
    assert await kinds(owner=owners[1]) == await kinds(owner="bob") == [*life, "owner.added"]
    assert await kinds(key=keys[0], owner="bob") == []
    assert await kinds(kinds=[AuditKind.OWNER_ADDED]) == ["owner.added"] * 2
    assert await kinds(kinds=iter([AuditKind.KEY_PURGED, AuditKind.KEY_REVOKED]), owner="ada") == life[:2]
    assert await kinds(kinds=[]) == []
    zone = timezone(timedelta(hours=-5))
    assert await kinds(since=(NOON + HOUR).astimezone(zone), owner="ada") == life[:2]
    assert await kinds(since=NOON + 3 * HOUR) == []


async def test_events_are_read_page_by_page(store):
    """A page has a hundred events at most, and the next one begins behind its last."""
    owner = await ada(store)
    for number in range(120):
        await lifecycle.set_superuser(store, owner, superuser=number % 2 == 0)
    first = await lifecycle.events(store)
    second = await lifecycle.events(store, before=first[-1])
    assert (len(first), len(second)) == (100, 21)
    assert await lifecycle.events(store, limit=None) == first + second
    assert await lifecycle.events(store, before=first[-1].id, limit=1) == second[:1]
    assert [event.id for event in first + second] == sorted({event.id for event in first + second}, reverse=True)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"limit": 0}, "limit is a whole number from 1 on; not 0"),
        ({"limit": True}, "limit is a whole number from 1 on; not True"),
        ({"limit": "all"}, "limit is a whole number from 1 on; not 'all'"),
        ({"kinds": ["key.issued"]}, "each of kinds is of type AuditKind; not str"),
        ({"since": datetime(2026, 3, 1)}, "since is an aware datetime"),  # noqa: DTZ001 The mistake.
        ({"since": "2026-03-01"}, "since is an aware datetime"),
        ({"key": 5}, "key is a text; not int"),
        ({"owner": 5}, "owner is a text; not int"),
        ({"before": "x"}, "before is of type int; not str"),
    ],
)
async def test_mistakes_in_what_is_asked_for(store, mistake, sentence):
    """What cannot be right is a mistake, and not an empty answer."""
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.events(store, **mistake)


async def test_an_event_of_another_store_is_none(store):
    """Whatever is not there has no events: no key, no owner, no text that could be stored."""
    assert await lifecycle.events(store, key="\0") == []
    assert await lifecycle.events(store, owner="\ud800") == []
    assert await lifecycle.events(store, before=AuditEvent(at=NOON, kind=AuditKind.KEY_ISSUED)) == []


async def test_now_is_when_it_was_done(store):
    """Without a clock an event has the time of the call, in UTC."""
    before = datetime.now(UTC)
    owner = await ada(store)
    await lifecycle.deactivate(store, owner)
    for event in await lifecycle.events(store):
        assert timedelta(0) <= event.at - before < HOUR
        assert event.at.tzinfo is UTC
    with pytest.raises((NotFound, Conflict)):
        await lifecycle.rotate(store, "nothing")
