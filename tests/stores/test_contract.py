"""Every store keeps the promises of the ports: one suite, from `keyguard.testing`, over all of them."""

import sqlite3
from contextlib import closing

import pytest
from filling import KINDS, fill, store_on_users

from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import (
    AppOwnersContract,
    AuditContract,
    CredentialContract,
    FreshnessContract,
    ImportContract,
    KeyStoreContract,
    OwnerRegistryContract,
    SessionContract,
)


class WholeContract(FreshnessContract, AuditContract, CredentialContract, ImportContract):
    """What each of the library's own stores that can be written promises, wherever its owners live."""


class TestMemoryStore(WholeContract, SessionContract, OwnerRegistryContract):
    async def make_store(self, keyring, owners, keys):
        store = MemoryStore(keyring=keyring)
        for owner_id in await fill(store, owners, keys):
            del store._owners[owner_id]
        return store


class TestStaticStore(KeyStoreContract):
    owner_ids = ("ada", "bob")

    # What a file of good keys cannot say.
    test_a_key_is_found_whole = None
    test_the_verifier_does_not_find_a_key = None
    test_disabled_and_revoked_keys_are_found = None
    test_keys_of_inactive_owners_are_found = None
    test_a_key_without_its_owner_is_not_found = None

    async def make_store(self, keyring, owners, keys):
        by_id = {owner.id: owner for owner in owners}
        return StaticStore(
            {
                key.id: {
                    "digest": key.lookup,
                    "owner": by_id[key.owner_id].name,
                    "superuser": by_id[key.owner_id].is_superuser,
                    "scopes": key.scopes,
                    "expires_at": key.expires_at,
                    "not_before": key.not_before,
                }
                for key in keys
            },
            keyring=keyring,
        )


class TestSQLStore(WholeContract, SessionContract, OwnerRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.path = tmp_path / "keys.db"

    async def make_store(self, keyring, owners, keys):
        store = SQLStore(f"sqlite+aiosqlite:///{self.path}", keyring=keyring)
        await store.create_schema()
        absent = await fill(store, owners, keys)
        await store.close()
        with (
            closing(sqlite3.connect(self.path)) as connection,
            connection,
        ):  # Without foreign keys, so no key goes along.
            connection.executemany("DELETE FROM keyguard_owners WHERE id = ?", [(owner_id,) for owner_id in absent])
        return store


class TestSQLStoreInMemory(WholeContract, SessionContract, OwnerRegistryContract):
    # An in-memory database is made when it is opened, and ends when it is closed.
    test_a_closed_store_opens_again = None
    test_closing_again_does_nothing = None
    test_no_token_comes_back = None
    test_opening_again_does_nothing = None
    test_sessions_outlive_a_closing = None
    # Its foreign keys do not let such a key be made.
    test_a_key_without_its_owner_is_not_found = None
    test_a_key_without_its_owner_is_on_no_page = None

    async def make_store(self, keyring, owners, keys):
        store = SQLStore("sqlite+aiosqlite://", keyring=keyring)
        await store.create_schema()
        await fill(store, owners, keys)
        return store


class SQLStoreOnUsers(WholeContract, AppOwnersContract):
    kind = ""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.url = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"

    async def make_store(self, keyring, owners, keys):
        return await store_on_users(self.url, keyring, owners, keys, self.kind)


class TestSQLStoreOnUsersWithIntegers(SQLStoreOnUsers):
    kind = "integers"
    owner_ids = KINDS[kind][2]
    test_a_search_finds_all_that_fits_in_its_order = None  # Once is enough: they are long, and go by owners' names,
    test_a_text_is_searched_for_character_by_character = None  # which are texts whatever the ids are.


class TestSQLStoreOnUsersWithUuids(SQLStoreOnUsers):
    kind = "uuids"
    owner_ids = KINDS[kind][2]


class TestSQLStoreOnUsersWithTexts(SQLStoreOnUsers):
    kind = "texts"
    owner_ids = KINDS[kind][2]
    test_a_search_finds_all_that_fits_in_its_order = None  # Once is enough: they are long, and go by owners' names,
    test_a_text_is_searched_for_character_by_character = None  # which are texts whatever the ids are.
