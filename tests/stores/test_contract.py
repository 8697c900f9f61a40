"""Every store keeps the promises of the ports: one suite, from `keyguard.testing`, over all of them."""

import sqlite3
from contextlib import closing
from uuid import UUID

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, Uuid, insert

from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.stores.static import StaticStore
from keyguard.testing import NOON, AppOwnersContract, FreshnessContract, KeyStoreContract, OwnerRegistryContract


async def fill(store, owners, keys):
    """Put owners and keys into a store; return the ids of the owners that it must have for that and is not to keep."""
    absent = {key.owner_id for key in keys} - {owner.id for owner in owners}
    for owner in [*owners, *(Owner(id=owner_id, name=owner_id) for owner_id in absent)]:
        await store.add_owner(owner, created_at=NOON)
    for key in keys:
        await store.add_key(key)
    return absent


class TestMemoryStore(FreshnessContract, OwnerRegistryContract):
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


class TestSQLStore(FreshnessContract, OwnerRegistryContract):
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


class TestSQLStoreInMemory(FreshnessContract, OwnerRegistryContract):
    # An in-memory database is made when it is opened, and ends when it is closed.
    test_a_closed_store_opens_again = None
    test_closing_again_does_nothing = None
    test_no_token_comes_back = None
    test_opening_again_does_nothing = None
    test_a_key_without_its_owner_is_not_found = None  # Its foreign keys do not let one be made.

    async def make_store(self, keyring, owners, keys):
        store = SQLStore("sqlite+aiosqlite://", keyring=keyring)
        await store.create_schema()
        await fill(store, owners, keys)
        return store


class SQLStoreOnUsers(FreshnessContract, AppOwnersContract):
    id_type = None
    python_id = str

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.url = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"

    async def make_store(self, keyring, owners, keys):
        users = Table(
            "app users",
            MetaData(),
            Column("user", self.id_type, primary_key=True),
            Column("login", Text),
            Column("enabled", Boolean),
            Column("root", Boolean),
        )
        store = SQLStore(
            self.url,
            keyring=keyring,
            users=UserTable(users, id="user", name="login", active="enabled", superuser="root"),
        )
        absent = {key.owner_id for key in keys} - {owner.id for owner in owners}
        rows = [
            {
                "user": self.python_id(owner.id),
                "login": owner.name,
                "enabled": owner.is_active,
                "root": owner.is_superuser,
            }
            for owner in [*owners, *(Owner(id=owner_id, name=owner_id) for owner_id in absent)]
        ]

        def change(connection):
            users.create(connection)
            if rows:
                connection.execute(insert(users), rows)

        await store.change_schema(change)
        await store.create_schema()
        for key in keys:
            await store.add_key(key)
        for owner_id in absent:
            gone = users.delete().where(users.c.user == self.python_id(owner_id))
            await store.change_schema(lambda connection, gone=gone: connection.execute(gone))
        await store.close()
        return store


class TestSQLStoreOnUsersWithIntegers(SQLStoreOnUsers):
    owner_ids = ("7", "12")
    id_type = Integer()
    python_id = int


class TestSQLStoreOnUsersWithUuids(SQLStoreOnUsers):
    owner_ids = ("3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11", "0d5f7a52-52c7-4d0b-b6f1-7a3c2f1e9d44")
    id_type = Uuid()
    python_id = UUID


class TestSQLStoreOnUsersWithTexts(SQLStoreOnUsers):
    id_type = Text()
