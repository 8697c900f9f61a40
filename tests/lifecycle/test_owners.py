"""Owners come, get rights, and go."""

from dataclasses import replace

import pytest
from lives import ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.model import Owner


async def test_an_owner_is_added(store):
    """An owner has the id and the rights that were asked for, is active, and is kept so."""
    owner = await lifecycle.add_owner(store, "root", id="owner-9", is_superuser=True)
    assert owner == Owner(id="owner-9", name="root", is_active=True, is_superuser=True)
    assert await store.get_owner("owner-9") == owner
    assert await store.get_password("owner-9") is None


async def test_an_owner_gets_an_id(store):
    """Without an id an owner gets a random UUID, and no rights beyond its own."""
    owner = await lifecycle.add_owner(store, "ada", entropy=lambda size: b"\xff" * size)
    assert owner == Owner(id="ffffffff-ffff-4fff-bfff-ffffffffffff", name="ada")
    other = await lifecycle.add_owner(store, "bob")
    assert (len(other.id), other.id[14]) == (36, "4")


@pytest.mark.parametrize(("name", "owner_id"), [("ada", "owner-2"), ("bob", "owner-1")])
async def test_names_and_ids_are_unique(store, name, owner_id):
    """A name or an id that is taken makes no second owner."""
    await ada(store)
    with pytest.raises(Conflict):
        await lifecycle.add_owner(store, name, id=owner_id)
    assert [owner.name for owner in await store.list_owners()] == ["ada"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": ""}, "an owner needs a name"),
        ({"name": "ada", "id": ""}, "an owner needs an id"),
        ({"name": None}, "name is a text; not NoneType"),
        ({"name": 7}, "name is a text; not int"),
        ({"name": "ada", "id": 7}, "id is a text; not int"),
        ({"name": "ada", "password": ""}, "a password has one character at least"),
    ],
    ids=["empty name", "empty id", "no name", "number for a name", "number for an id", "password"],
)
async def test_an_owner_has_a_name_and_no_empty_password(store, arguments, sentence):
    """Name and id are texts, and neither the name nor a password may be empty; there is no owner then."""
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.add_owner(store, **arguments)
    assert await store.list_owners() == []


async def test_owners_come_and_go(store):
    """Owners are deactivated and activated, and superuser rights are given and taken, each by itself."""
    owner = await ada(store)
    await lifecycle.deactivate(store, owner)
    assert await store.get_owner(owner.id) == replace(owner, is_active=False)
    await lifecycle.set_superuser(store, owner, superuser=True)
    assert await store.get_owner(owner.id) == replace(owner, is_active=False, is_superuser=True)
    await lifecycle.activate(store, owner.id)
    await lifecycle.set_superuser(store, owner.id, superuser=False)
    assert await store.get_owner(owner.id) == owner


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "an owner needs a name"), (None, "name is a text; not NoneType"), ("\0", "NUL")]
)
async def test_a_new_name_is_a_name(store, name, sentence):
    """What is no name for a new owner is none for an owner that there is, who keeps the old one."""
    owner = await ada(store)
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.rename_owner(store, owner, name)
    assert await store.get_owner(owner.id) == owner


async def test_an_owner_is_renamed(store):
    """An owner has the new name, by which it is found; the old one is free, and one that is taken is refused."""
    owner = await ada(store)
    assert await lifecycle.rename_owner(store, owner, "countess")
    assert not await lifecycle.rename_owner(store, owner.id, "countess")
    assert await store.find_owner("countess") == replace(owner, name="countess")
    await lifecycle.add_owner(store, "ada")
    with pytest.raises(Conflict):
        await lifecycle.rename_owner(store, owner, "ada")


async def test_an_owner_is_removed(store, clock):
    """An owner goes with all keys, whatever their state, and they are counted; the name is free again."""
    owner = await ada(store)
    for _ in range(3):
        last = await lifecycle.issue(store, owner)
    await lifecycle.revoke(store, last.record.id)
    assert await lifecycle.remove_owner(store, owner, clock=clock) == 3
    assert await lifecycle.list_keys(store) == []
    assert await lifecycle.add_owner(store, "ada") in await store.list_owners()
    with pytest.raises(NotFound):
        await lifecycle.remove_owner(store, owner.id)


async def test_owners_are_listed_by_page(store):
    """A page has the owners by name, from the offset on and no more than the limit, and says how many there are."""
    for name in ("cid", "ada", "bob"):
        await lifecycle.add_owner(store, name)
    page = await lifecycle.list_owners(store, offset=1, limit=1)
    assert ([owner.name for owner in page.owners], page.total) == (["bob"], 3)
    assert [owner.name for owner in (await lifecycle.list_owners(store)).owners] == ["ada", "bob", "cid"]
    for wrong in ({"offset": -1}, {"limit": 0}, {"limit": True}, {"offset": "1"}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            await lifecycle.list_owners(store, **wrong)
