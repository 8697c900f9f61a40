"""What the tests of the vault share: secret keys, and a store of each kind with two owners."""

from contextlib import asynccontextmanager

from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON

OLD = "old-DZq2xKp7VwT9mYc4RsB6nHg3JfL8"
NEW = "new-Xe5Uo1NaQ7iWk9tPzM2vCbS4dGhE"
OTHER = "other-Fy6Jr0LxT8uHq3ZnVw5KmBs1Dp"

ADA = Owner(id="1", name="ada")
BOB = Owner(id="2", name="bob")


def place_of(request, kind):
    """The URL of an empty database of that kind, None for memory."""
    match kind:
        case "memory":
            return None
        case "sqlite":
            return f"sqlite+aiosqlite:///{request.getfixturevalue('tmp_path')}/keys.db"
        case _:
            return request.getfixturevalue("postgres_url")


@asynccontextmanager
async def opened(url):
    """A store there, with its tables and both owners."""
    store = MemoryStore() if url is None else SQLStore(url)
    try:
        if url is not None:
            await store.create_schema()
        for owner in (ADA, BOB):
            await store.add_owner(owner, created_at=NOON)
        yield store
    finally:
        await store.close()
