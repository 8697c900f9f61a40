"""On a real PostgreSQL server the store keeps the promises of the ports: the suites of `keyguard.testing`."""

import pytest
from filling import KINDS, fill, store_on_users

from keyguard.stores.sql import SQLStore
from keyguard.testing import (
    AppOwnersContract,
    AuditContract,
    CredentialContract,
    FreshnessContract,
    ImportContract,
    OwnerRegistryContract,
    SessionContract,
)


class WholeContract(FreshnessContract, AuditContract, CredentialContract, ImportContract):
    """What the store promises, wherever its owners live."""


class TestOnPostgres(WholeContract, SessionContract, OwnerRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, postgres, database):
        self.psql = lambda statements: postgres.psql(statements, database)
        self.url = postgres.url(database)

    async def make_store(self, keyring, owners, keys):
        store = SQLStore(self.url, keyring=keyring)
        await store.create_schema()
        absent = await fill(store, owners, keys)
        await store.close()
        if absent:
            self.psql(
                "ALTER TABLE keyguard_keys DROP CONSTRAINT fk_keyguard_keys_owner_id;"
                + "".join(f"DELETE FROM keyguard_owners WHERE id = '{owner_id}';" for owner_id in absent)
            )
        return store


class OnUsers(WholeContract, AppOwnersContract):
    kind = ""

    @pytest.fixture(autouse=True)
    def place(self, postgres_url):
        self.url = postgres_url

    async def make_store(self, keyring, owners, keys):
        return await store_on_users(self.url, keyring, owners, keys, self.kind)


class TestOnUsersWithIntegers(OnUsers):
    kind = "integers"
    owner_ids = KINDS[kind][2]
    test_a_search_finds_all_that_fits_in_its_order = None  # Once is enough: they are long, and go by owners' names,
    test_a_text_is_searched_for_character_by_character = None  # which are texts whatever the ids are.


class TestOnUsersWithUuids(OnUsers):
    kind = "uuids"
    owner_ids = KINDS[kind][2]


class TestOnUsersWithTexts(OnUsers):
    kind = "texts"
    owner_ids = KINDS[kind][2]
    test_a_search_finds_all_that_fits_in_its_order = None  # Once is enough: they are long, and go by owners' names,
    test_a_text_is_searched_for_character_by_character = None  # which are texts whatever the ids are.


async def test_no_language_changes_what_a_search_finds(postgres):
    """Where the database's language is Turkish, in which I and i are two letters, texts are found as anywhere else."""
    postgres.psql("CREATE DATABASE turkish TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'tr' LOCALE 'C.UTF-8'")
    assert postgres.psql("SELECT lower('I')", "turkish") == "\N{LATIN SMALL LETTER DOTLESS I}"

    class InTurkish(OwnerRegistryContract):
        async def make_store(self, keyring, owners, keys):
            store = SQLStore(postgres.url("turkish"), keyring=keyring)
            await store.create_schema()
            await fill(store, owners, keys)
            await store.close()
            return store

    try:
        await InTurkish().test_a_text_is_searched_for_character_by_character()
    finally:
        postgres.drop_database("turkish")
