"""Where a Langflow database stands in these tests, and where its keys go: both kinds of database."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from langflow.building import NOON, a_vault

from keyguard import Keyring
from keyguard.langflow import LANGFLOW_KEYS
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import FrozenClock

PEPPER = "pepper-W8sD2kQz7LmX4vTn"


@pytest.fixture
def file():
    """A file of SQLite, alone in its folder.

    Not in `tmp_path`, where the leak watch looks into each database: this one holds keys by right.
    """
    with TemporaryDirectory(prefix="keyguard-langflow-") as folder:
        yield Path(folder, "langflow.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request):
    """Where the Langflow database is written: a file, or the URL of an empty database on PostgreSQL."""
    return request.getfixturevalue("file" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def clock():
    return FrozenClock(NOON)


@pytest.fixture
def keyring():
    return Keyring(peppers=[PEPPER], formats=[LANGFLOW_KEYS])


@pytest.fixture
def store(keyring):
    """A store in memory: what an import asks of a store is the same of each."""
    return MemoryStore(keyring=keyring)


@pytest.fixture
async def database_store(request, place, keyring, tmp_path):
    """A store in a database of the same kind as Langflow's: on PostgreSQL in the very same one."""
    url = place if isinstance(place, str) else f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}"
    store = SQLStore(url, keyring=keyring)
    await store.create_schema()
    yield store
    await store.close()


@pytest.fixture
def vault(store):
    return a_vault(store)


@pytest.fixture
async def database_store_of_file(keyring, tmp_path):
    """A store in a file of SQLite, and its vault."""
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}", keyring=keyring)
    await store.create_schema()
    yield store, a_vault(store)
    await store.close()


def pytest_make_parametrize_id(val, argname):
    """Name tests alike in every process that collects them: a token is another one each time, a set has no order."""
    if isinstance(val, set | frozenset):
        return "+".join(sorted(getattr(each, "name", str(each)) for each in val)) or "none"
    return argname if isinstance(val, str) and val.startswith("gAAAA") else None
