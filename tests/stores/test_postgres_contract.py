"""On a real PostgreSQL server the store keeps the promises of the ports: the suites of `keyguard.testing`."""

from uuid import UUID

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, Uuid, insert

from keyguard.model import Owner
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, AppOwnersContract, FreshnessContract, OwnerRegistryContract


class TestOnPostgres(FreshnessContract, OwnerRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, postgres, database):
        self.psql = lambda statements: postgres.psql(statements, database)
        self.url = postgres.url(database)

    async def make_store(self, keyring, owners, keys):
        store = SQLStore(self.url, keyring=keyring)
        await store.create_schema()
        absent = {key.owner_id for key in keys} - {owner.id for owner in owners}
        for owner in [*owners, *(Owner(id=owner_id, name=owner_id) for owner_id in absent)]:
            await store.add_owner(owner, created_at=NOON)
        for key in keys:
            await store.add_key(key)
        await store.close()
        if absent:
            self.psql(
                "ALTER TABLE keyguard_keys DROP CONSTRAINT fk_keyguard_keys_owner_id;"
                + "".join(f"DELETE FROM keyguard_owners WHERE id = '{owner_id}';" for owner_id in absent)
            )
        return store


class OnUsers(FreshnessContract, AppOwnersContract):
    id_type = None
    python_id = str

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url

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


class TestOnUsersWithIntegers(OnUsers):
    owner_ids = ("7", "12")
    id_type = Integer()
    python_id = int


class TestOnUsersWithUuids(OnUsers):
    owner_ids = ("3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11", "0d5f7a52-52c7-4d0b-b6f1-7a3c2f1e9d44")
    id_type = Uuid()
    python_id = UUID


class TestOnUsersWithTexts(OnUsers):
    id_type = Text()
