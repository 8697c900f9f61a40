"""On PostgreSQL every transaction that changes what a check reads counts once, whoever makes it, and is notified of."""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, Uuid

from keyguard.errors import StoreUnavailable
from keyguard.model import Owner
from keyguard.stores._schema import Schema
from keyguard.stores._triggers import CHANNEL, REVISION_QUERY
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_record

ADA, BOB = Owner(id="ada-id", name="ada"), Owner(id="bob-id", name="bob")
KEYS = [make_record("one", ADA.id, expires_at=NOON), make_record("two", BOB.id), make_record("three", BOB.id)]


@pytest.fixture
async def store(postgres_url):
    """A store with two owners and three keys."""
    made = SQLStore(postgres_url)
    await made.create_schema()
    for owner in (ADA, BOB):
        await made.add_owner(owner, created_at=NOON)
    for key in KEYS:
        await made.add_key(key)
    yield made
    await made.close()


class Prompt:
    """A person with psql."""

    def __init__(self, server, database):
        self._server = server
        self.database = database

    def __call__(self, statements):
        return self._server.psql(statements, self.database)

    def revision(self):
        return int(self(REVISION_QUERY))

    def moves(self, statements):
        """By how much the revision moves; a semicolon ends a transaction."""
        before = self.revision()
        self(statements)
        return self.revision() - before


@pytest.fixture
def prompt(postgres, database):
    return Prompt(postgres, database)


# --- what counts ------------------------------------------------------------------------------------------------

READ = {
    "keyguard_keys": {
        "id",
        "owner_id",
        "scopes",
        "networks",
        "not_before",
        "expires_at",
        "disabled_at",
        "revoked_at",
    },
    "keyguard_owners": {"id", "name", "is_active", "is_superuser"},
}
COLUMNS = [(name, column) for name in READ for column in Schema.build(None).metadata.tables[name].columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=str)
async def test_an_update_counts_if_a_check_reads_what_it_changes(store, prompt, table, column):
    """An UPDATE of a column that a check reads counts once, however many rows differ then; of any other it does not."""
    prompt("ALTER TABLE keyguard_keys DROP CONSTRAINT fk_keyguard_keys_owner_id")
    value = {"TEXT": "'[\"' || id || '\"]'", "BOOLEAN": f"NOT {column.name}", "BIGINT": "7"}[str(column.type)]
    counts = 1 if column.name in READ[table] else 0
    assert prompt.moves(f"UPDATE {table} SET {column.name} = {value}") == counts
    assert prompt.moves(f"UPDATE {table} SET {column.name} = {column.name}") == 0
    if column.nullable:
        assert prompt.moves(f"UPDATE {table} SET {column.name} = NULL") == counts
        assert prompt.moves(f"UPDATE {table} SET {column.name} = NULL") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM keyguard_keys",
        "DELETE FROM keyguard_keys WHERE id = 'two'",
        "DELETE FROM keyguard_owners WHERE id = 'ada-id'",
        "TRUNCATE keyguard_keys",
        "TRUNCATE keyguard_owners CASCADE",
        "MERGE INTO keyguard_keys k USING keyguard_owners o ON k.owner_id = o.id WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM keyguard_keys RETURNING id) SELECT count(*) FROM gone",
        "UPDATE keyguard_owners SET id = 'new' WHERE id = 'ada-id'; DELETE FROM keyguard_keys WHERE false",
        "INSERT INTO keyguard_keys SELECT * FROM keyguard_keys ON CONFLICT (id) DO UPDATE SET disabled_at = 7",
    ],
)
async def test_however_a_row_goes_it_counts(store, prompt, statement):
    """A row that is deleted, truncated, merged, or taken along by another one, counts once for the transaction."""
    prompt(
        "ALTER TABLE keyguard_keys DROP CONSTRAINT fk_keyguard_keys_owner_id, ADD FOREIGN KEY (owner_id) "
        "REFERENCES keyguard_owners ON DELETE CASCADE ON UPDATE CASCADE"
    )
    assert prompt.moves(statement) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO keyguard_owners VALUES ('new', 'new', true, true, NULL, 7)",
        "BEGIN; UPDATE keyguard_keys SET disabled_at = 7; ROLLBACK",
        "BEGIN; SAVEPOINT a; UPDATE keyguard_keys SET disabled_at = 7; ROLLBACK TO a; COMMIT",
        "BEGIN; SAVEPOINT a; DELETE FROM keyguard_keys; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO a; COMMIT",
        "DELETE FROM keyguard_keys WHERE id = 'nobody'",
    ],
)
async def test_what_changes_nothing_counts_nothing(store, prompt, statement):
    """New rows, and what is rolled back, wholly or to a savepoint, leave the revision where it was."""
    assert prompt.moves(statement) == 0


@pytest.mark.parametrize(
    "statements",
    [
        "UPDATE keyguard_keys SET disabled_at = 7; UPDATE keyguard_owners SET id = id; DELETE FROM keyguard_keys",
        "TRUNCATE keyguard_keys; UPDATE keyguard_owners SET is_active = false",
        "SAVEPOINT a; UPDATE keyguard_keys SET disabled_at = 7; RELEASE a; UPDATE keyguard_keys SET disabled_at = 8",
        "SAVEPOINT a; DELETE FROM keyguard_keys; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO a; TRUNCATE keyguard_keys",
        "SET CONSTRAINTS ALL IMMEDIATE; UPDATE keyguard_keys SET disabled_at = 7; DELETE FROM keyguard_keys",
    ],
)
async def test_a_transaction_counts_once(store, prompt, statements):
    """However much a transaction changes, it counts once, and the next one counts again."""
    prompt("CREATE TABLE kept AS SELECT * FROM keyguard_owners")
    assert prompt.moves(f"BEGIN; {statements}; COMMIT") == 1
    prompt("INSERT INTO keyguard_owners SELECT * FROM kept ON CONFLICT DO NOTHING")
    assert prompt.moves("DELETE FROM keyguard_owners; SELECT 1") == 1


async def test_a_trigger_fires_for_everybody(store, prompt):
    """A replication, which other triggers do not see, counts; so does a role that may not touch Keyguard's tables."""
    assert prompt.moves("SET session_replication_role = replica; UPDATE keyguard_keys SET disabled_at = 7") == 1
    clerk = f"clerk_{prompt.database}"
    prompt(f"CREATE ROLE {clerk}; GRANT SELECT, UPDATE ON keyguard_owners TO {clerk}")
    prompt(f"CREATE SCHEMA {clerk} AUTHORIZATION {clerk}")
    prompt(f"CREATE TABLE {clerk}.keyguard_revision AS SELECT 1 AS id, 0 AS n")  # Not what the trigger writes to.
    try:
        as_clerk = f"SET ROLE {clerk}; SET search_path = {clerk}, public"
        assert prompt.moves(f"{as_clerk}; UPDATE keyguard_owners SET is_active = NOT is_active") == 1
    finally:
        prompt(f"DROP OWNED BY {clerk} CASCADE; DROP ROLE {clerk}")


async def test_a_copy_counts_what_it_must(postgres, store, prompt):
    """COPY of new keys counts nothing: nobody knows them. Into the app's users it counts."""
    path = postgres.directory / f"{prompt.database}.copy"
    prompt(f"COPY (SELECT * FROM keyguard_keys WHERE id = 'three') TO '{path}'")
    prompt("DELETE FROM keyguard_keys WHERE id = 'three'")
    assert prompt.moves(f"COPY keyguard_keys FROM '{path}'") == 0
    assert (await store.get_key("three")) == KEYS[2]


# --- notifications ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def heard(postgres, prompt):
    """What is notified of meanwhile."""
    connection = await asyncpg.connect(postgres.url(prompt.database, "postgresql"))
    payloads = asyncio.Queue()
    await connection.add_listener(CHANNEL, lambda *arguments: payloads.put_nowait(arguments[-1]))
    try:
        yield payloads
    finally:
        await connection.close()


async def test_a_transaction_notifies_once(postgres, store, prompt):
    """Listeners are notified once of each transaction that counts, with its number, when it is committed."""
    async with heard(postgres, prompt) as payloads:
        before = prompt.revision()
        prompt("BEGIN; UPDATE keyguard_keys SET disabled_at = 7; DELETE FROM keyguard_keys; ROLLBACK")
        prompt("UPDATE keyguard_keys SET name = 'new'")
        prompt("BEGIN; UPDATE keyguard_keys SET disabled_at = 7; DELETE FROM keyguard_owners; COMMIT")
        prompt("INSERT INTO keyguard_owners VALUES ('new', 'new', true, true, NULL, 7)")
        prompt("UPDATE keyguard_owners SET is_active = false")
        prompt(f"NOTIFY {CHANNEL}, 'end'")
        seen = [await payloads.get() for _ in range(3)]
    assert seen == [str(before + 1), str(before + 2), "end"]


async def test_a_long_transaction_keeps_nobody_waiting(postgres, store, prompt):
    """A transaction that has changed something and stays open does not keep others from changing something else."""
    connection = await asyncpg.connect(postgres.url(prompt.database, "postgresql"))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE keyguard_keys SET disabled_at = 7 WHERE id = 'one'")
    before = prompt.revision()
    assert await store.revoke_key("two", NOON, "leaked")
    assert prompt.moves("UPDATE keyguard_owners SET is_active = false") == 1
    await transaction.commit()
    await connection.close()
    assert prompt.revision() == before + 3


@asynccontextmanager
async def in_two_schemas(postgres, database, **arguments):
    """Two stores that have tables of their own, in schemas of one database."""
    names = [f"{each}_{database}" for each in ("left", "right")]
    stores = []
    for name in names:
        path = f"ALTER ROLE {name} SET search_path = {name}, public"
        postgres.psql(f"CREATE SCHEMA {name}; CREATE ROLE {name} LOGIN SUPERUSER; {path}", database)
        store = SQLStore(postgres.url(database).replace("keyguard:", f"{name}:"), **arguments)
        stores.append(store)
        await store.create_schema()
    yield zip(names, stores, strict=True)
    for name, store in zip(names, stores, strict=True):
        await store.close()
        postgres.psql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}", database)


async def test_a_transaction_counts_in_each_schema(postgres, database, prompt):
    """A transaction that changes the tables of two schemas counts once in each of them, in whatever order."""
    async with in_two_schemas(postgres, database) as both:
        (left, one), (right, other) = both
        for store in (one, other):
            for owner in (ADA, BOB):
                await store.add_owner(owner, created_at=NOON)
        revisions = f"SELECT n FROM {left}.keyguard_revision; SELECT n FROM {right}.keyguard_revision"
        before = [int(each) for each in prompt(revisions).split()]
        change = "UPDATE {}.keyguard_owners SET is_active = false;"
        prompt(f"BEGIN; {change.format(left)} {change.format(right)} COMMIT")
        assert [int(each) for each in prompt(revisions).split()] == [each + 1 for each in before]


async def test_a_change_that_cannot_be_counted_is_not_made(postgres, postgres_url, store, prompt):
    """Where somebody keeps the revision's row locked a change is unavailable, and nothing of it is done."""
    connection = await asyncpg.connect(postgres.url(prompt.database, "postgresql"))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT n FROM keyguard_revision FOR UPDATE")
    impatient = SQLStore(f"{postgres_url}?timeout=2")
    with pytest.raises(StoreUnavailable):
        await impatient.revoke_key("two", NOON, "leaked")
    await transaction.rollback()
    await connection.close()
    assert (await impatient.get_key("two")).revoked_at is None
    await impatient.close()


async def test_without_the_revisions_row_nobody_is_waited_for(store, prompt):
    """Where somebody has removed the revision nobody holds a lease, and a change is made without waiting."""
    prompt("DELETE FROM keyguard_revision")
    assert await store.revoke_key("two", NOON, "leaked")
    assert (await store.get_key("two")).revoked_at == NOON


# --- the app's own user table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id_type", "ids"),
    [
        (Integer(), ("7", "12")),
        (Uuid(), ("'3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11'", "'0d5f7a52-52c7-4d0b-b6f1-7a3c2f1e9d44'")),
        (Text(), ("'ada'", "'ADA'")),
    ],
    ids=["integers", "uuids", "texts"],
)
@pytest.mark.parametrize("schema", [None, "App %s"])
async def test_every_user_counts(postgres, postgres_url, prompt, id_type, ids, schema):
    """Each new, changed or deleted user counts, whatever the table, its schema and its columns are called."""
    users = Table(
        'the "users" : %d',
        MetaData(),
        Column("User", id_type, primary_key=True),
        Column("login", Text),
        Column("en'abled", Boolean),
        Column("root", Boolean),
        schema=schema,
    )
    arguments = {"id": "User", "name": "login", "active": "en'abled", "superuser": "root"}
    store = SQLStore(postgres_url, users=UserTable(users, **arguments))
    if schema:
        prompt(f'CREATE SCHEMA "{schema}"')
    await store.create_schema()
    await store.change_schema(users.create)
    await store.create_schema()  # The triggers on the users, now that they are there.
    name = ('"App %s".' if schema else "") + '"the ""users"" : %d"'
    first, second = ids
    assert prompt.moves(f"INSERT INTO {name} VALUES ({first}, 'ada', true, false)") == 1
    for column, value in [("login", "'new'"), ("en'abled", "NULL"), ("root", "true"), ("User", second)]:
        assert prompt.moves(f'UPDATE {name} SET "{column}" = {value}') == 1
        assert prompt.moves(f'UPDATE {name} SET "{column}" = {value}') == 0
    path = postgres.directory / f"{prompt.database}.copy"
    prompt(f"COPY {name} TO '{path}'")
    assert prompt.moves(f"DELETE FROM {name}") == 1
    assert prompt.moves(f"COPY {name} FROM '{path}'") == 1
    assert prompt.moves(f"TRUNCATE {name}") == 1
    await store.open()
    store.token()
    async with asyncio.timeout(20):
        while store.token() is None:  # noqa: ASYNC110 The lease is the database's affair.
            await asyncio.sleep(0.01)
    await store.close()


@pytest.mark.parametrize(
    ("kind", "part"),
    [("PARTITION BY LIST (id)", "PARTITION OF users DEFAULT"), ("", "() INHERITS (users)")],
    ids=["partitioned", "inherited"],
)
async def test_users_in_parts_are_not_watched(postgres_url, prompt, caplog, kind, part):
    """Where users stand in partitions, or in heirs of their table, triggers do not see all that happens to them."""
    prompt(f"CREATE TABLE users (id integer, is_active boolean, is_superuser boolean) {kind}")
    prompt(f"CREATE TABLE some_users {part}")
    store = SQLStore(postgres_url, users=UserTable("users", id_type=Integer()))
    await store.create_schema()
    await store.create_schema()
    await store.open()
    await store.close()
    assert "keyguard_users_truncate" in caplog.text


async def test_a_table_that_gets_a_part_is_watched_no_more(postgres_url, prompt, caplog):
    """A table of users that another one comes to inherit from has its triggers still, and they are not enough."""
    prompt("CREATE TABLE users (id integer, is_active boolean, is_superuser boolean)")
    store = SQLStore(postgres_url, users=UserTable("users", id_type=Integer()))
    await store.create_schema()
    await store.open()
    assert not caplog.text
    await store.close()
    prompt("CREATE TABLE some_users () INHERITS (users)")
    await store.open()
    await store.close()
    assert "keyguard_users_update" in caplog.text


async def test_a_column_that_takes_the_name_of_another_one_is_watched(postgres_url, prompt, caplog):
    """The triggers follow a column that is renamed; where another one has its name, they are made anew for that."""
    prompt("CREATE TABLE users (id integer, is_active boolean, is_superuser boolean)")
    prompt("INSERT INTO users VALUES (1, true, false)")
    store = SQLStore(postgres_url, users=UserTable("users", id_type=Integer()))
    await store.create_schema()
    prompt("ALTER TABLE users RENAME is_active TO was_active; ALTER TABLE users ADD is_active boolean")
    await store.open()
    assert "lacks the triggers keyguard_users_update, or" in caplog.text
    await store.create_schema()
    await store.close()
    assert prompt.moves("UPDATE users SET is_active = true") == 1
    assert prompt.moves("UPDATE users SET was_active = false") == 0


async def test_users_are_counted_for_one_schema(postgres, database, prompt, caplog):
    """Of two stores in two schemas, with the same users, the one that was made later has the triggers on them."""
    prompt("CREATE TABLE users (id integer, is_active boolean, is_superuser boolean)")
    async with in_two_schemas(postgres, database, users=UserTable("users", id_type=Integer())) as both:
        (_, one), (right, other) = both
        await other.open()
        assert not caplog.text
        await one.open()
        assert "keyguard_users_update" in caplog.text
        before = int(prompt(f"SELECT n FROM {right}.keyguard_revision"))
        prompt("INSERT INTO users VALUES (1, true, false)")
        assert int(prompt(f"SELECT n FROM {right}.keyguard_revision")) == before + 1
