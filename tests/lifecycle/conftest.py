"""The stores that the life of keys and owners is tried over, and a clock that stands still."""

import pytest

from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import FrozenClock


@pytest.fixture(params=["memory", "sqlite"])
async def make_store(request, tmp_path):
    """Makes stores with a keyring; those of one test share what they hold, as processes with one database do."""
    stores = []

    async def make(keyring=Keyring()):  # noqa: B008 A frozen value.
        if request.param == "memory":
            store = MemoryStore(keyring=keyring)
            if stores:
                for name in ("_owners", "_passwords", "_sessions", "_keys", "_by_lookup", "_events"):
                    setattr(store, name, getattr(stores[0], name))
        else:
            store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db", keyring=keyring)
            if not stores:
                await store.create_schema()
        stores.append(store)
        await store.open()
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def store(make_store):
    return await make_store()


@pytest.fixture
def clock():
    return FrozenClock()
