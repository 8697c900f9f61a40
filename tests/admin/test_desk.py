"""The desk: what is left to it where no page and no operation of the API asks in a wrong way."""

import asyncio

import pytest

from keyguard import ConfigurationError, NotFound, StoreUnavailable, lifecycle
from keyguard.admin._admin import KeyAdmin
from keyguard.admin._desk import Desk
from keyguard.admin._opening import Opening
from keyguard.admin._problems import Problem
from keyguard.admin._visitor import Visitor, Way
from keyguard.model import KeyQuery
from keyguard.stores.memory import MemoryStore


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def desk_of(store, people, clock):
    """The desk of an owner, on a page with two scopes."""
    settings = KeyAdmin(store, scopes=["flows:read", "flows:write"], clock=clock).settings

    def make(name, **more):
        owner = getattr(people, name)
        visitor = Visitor(owner=owner, is_superuser=owner.is_superuser, way=Way.SESSION, **more)
        return Desk(settings, visitor)

    return make


async def test_whose_keys_a_query_speaks_of(desk_of, store, people):
    """Of the visitor's own, whatever it says; a superuser's of everyone's, or of the one that it names."""
    for owner in (people.ada, people.bob):
        await lifecycle.issue(store, owner, name=owner.name)

    async def found(name, **more):
        page = await desk_of(name).search(KeyQuery(**more))
        return {listed.key.name for listed in page.keys}

    assert await found("ada") == {"ada"}
    assert await found("ada", owner_id=people.bob.id) == {"ada"}
    assert await found("root") == {"ada", "bob"}
    assert await found("root", owner_id=people.bob.id) == {"bob"}


@pytest.mark.parametrize("call", ["look", "key_events", "disable", "enable", "rotate", "end_grace", "delete"])
async def test_another_owners_key_is_not_found(desk_of, store, people, call):
    """Whatever is to be done with it, with the words that one gets which does not exist."""
    key = (await lifecycle.issue(store, people.ada)).record
    with pytest.raises(NotFound) as anothers:
        await getattr(desk_of("bob"), call)(key.id)
    with pytest.raises(NotFound) as unknown:
        await getattr(desk_of("bob"), call)("zzzzzzzzzzzz")
    assert str(anothers.value) == str(unknown.value)
    assert await lifecycle.get(store, key.id) == key


async def test_a_key_whose_owner_has_gone_is_not_there(desk_of, store, people):
    """An app that deletes a user leaves keys of nobody."""
    key = (await lifecycle.issue(store, people.ada)).record
    del store._owners[people.ada.id]
    with pytest.raises(NotFound):
        await desk_of("root").look(key.id)


async def test_only_scopes_on_offer_are_given(desk_of, store, people):
    """Any other is refused, and so is what the visitor may not do; nothing is issued."""
    for scopes in (["flows:run"], ["*"], ["flows:*"]):
        with pytest.raises(ConfigurationError, match="one of those on offer"):
            await desk_of("ada").issue(scopes=scopes)
    reader = desk_of("ada", scopes=frozenset({"flows:read"}))
    assert list(reader.scopes_on_offer) == ["flows:read"]
    assert not reader.may_grant_all
    with pytest.raises(Problem) as refused:
        await reader.issue()
    assert refused.value.code == "insufficient_scope"
    assert await lifecycle.list_keys(store) == []
    assert (await desk_of("ada").issue(scopes=[])).record.scopes == frozenset()


async def test_owners_are_for_superusers(desk_of, people):
    """Others see themselves, and learn of nobody else."""
    assert await desk_of("root").owners() == [people.ada, people.bob, people.root]
    assert await desk_of("root").owner(people.bob.id) == people.bob
    assert await desk_of("bob").owner(people.bob.id) == people.bob
    with pytest.raises(Problem, match="Superuser rights"):
        await desk_of("bob").owners()
    for owner_id in (people.ada.id, "zz", ""):
        with pytest.raises(Problem, match="There is no such owner here"):
            await desk_of("bob").owner(owner_id)


async def test_what_is_done_is_done_by_the_visitor(desk_of, store, people):
    """The audit log names who asked, not whose key it is."""
    key = (await lifecycle.issue(store, people.ada)).record
    assert await desk_of("root").delete(key.id)
    (event, _) = await lifecycle.events(store, key=key)
    assert (event.actor, event.owner_id, event.detail["reason"]) == (people.root.id, people.ada.id, "deleted")


# --- the store, opened once --------------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts how often it was opened, and takes a moment."""

    opened = 0
    fails = False

    async def open(self):
        self.opened += 1
        await asyncio.sleep(0)
        if self.fails:
            raise StoreUnavailable("not now")
        await super().open()


async def test_all_who_come_at_once_wait_for_one_opening():
    """The store is opened by the first; one that failed is tried again by the next."""
    store = Counting()
    opening = Opening(store)
    await asyncio.gather(*(opening.open() for _ in range(5)))
    assert store.opened == 1
    await opening.close()
    assert not store.is_open
    store.fails = True
    with pytest.raises(StoreUnavailable):
        await opening.open()
    store.fails = False
    await opening.open()
    assert store.is_open
