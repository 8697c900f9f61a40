"""Owners come, get rights, and go."""

from dataclasses import replace

import pytest
from lives import ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict
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
