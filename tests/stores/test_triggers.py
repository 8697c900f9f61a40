"""The triggers count every change of what a check reads, whoever makes it, and nothing else."""

import io
import logging
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest
from alembic import config as alembic_config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Boolean, Column, MetaData, String, Table
from sqlalchemy.dialects import registry

from keyguard.migrations import downgrade, upgrade
from keyguard.migrations.versions import v0002_revision_and_uses
from keyguard.model import Owner
from keyguard.stores._schema import Schema
from keyguard.stores._triggers import triggers_for
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_digest, make_record

ADA, BOB = Owner(id="ada-id", name="ada"), Owner(id="bob-id", name="bob")
KEYS = [make_record("one", ADA.id, expires_at=NOON), make_record("two", BOB.id)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.db"


@asynccontextmanager
async def opened(path, **arguments):
    store = SQLStore(f"sqlite+aiosqlite:///{path}", **arguments)
    try:
        await store.create_schema()
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def filled(path):
    async with opened(path) as store:
        for owner in (ADA, BOB):
            await store.add_owner(owner, created_at=NOON)
        for key in KEYS:
            await store.add_key(key)
        yield store


class Prompt:
    """A person with SQLite's command line."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys=ON")

    def __call__(self, statement, *parameters):
        return self.connection.execute(statement, parameters).fetchall()

    def moves(self, *statements):
        """By how much the revision moves."""
        before = self.revision()
        for statement in statements:
            self(statement)
        return self.revision() - before

    def revision(self):
        ((revision,),) = self("SELECT n FROM keyguard_revision")
        return revision

    def triggers(self):
        return dict(self("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))


@pytest.fixture
def prompt(path):
    made = Prompt(path)
    with closing(made.connection):
        yield made


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
COLUMNS = [(name, column.name) for name in READ for column in Schema.build(None).metadata.tables[name].columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_an_update_counts_if_a_check_reads_what_it_changes(path, prompt, table, column):
    """An UPDATE of a column that a check reads counts once for each row that differs then, and of any other never."""
    async with filled(path):
        prompt("PRAGMA foreign_keys=OFF")
        value = "id || '-new'" if column == "id" else "'[\"a\"]'" if column in {"scopes", "networks"} else "7"
        value = f"{value} || rowid" if column in {"lookup", "name"} else value
        changing = f"UPDATE {table} SET {column} = {value}"
        assert prompt.moves(changing) == (2 if column in READ[table] else 0)
        assert prompt.moves(f"UPDATE {table} SET {column} = {column}") == 0


NEW_KEY = (
    "INSERT OR {} INTO keyguard_keys (id, lookup, verifier, owner_id, prefix, name, scopes, networks, created_at, "
    "revoked_reason) SELECT 'new', 'l', 'v', owner_id, prefix, name, scopes, networks, created_at, revoked_reason "
    "FROM keyguard_keys LIMIT 1"
)

SAME = {
    "INSERT OR IGNORE of a new key": [NEW_KEY.format("IGNORE")],
    "INSERT OR REPLACE of a new key": [NEW_KEY.format("REPLACE")],
    "an UPDATE to what is there": ["UPDATE keyguard_keys SET owner_id = owner_id, scopes = scopes, expires_at = ?"],
    "a new owner": ["INSERT INTO keyguard_owners VALUES ('c', 'carol', 1, 1, NULL, 0)"],
    "a change that is rolled back": ["BEGIN", "DELETE FROM keyguard_keys", "ROLLBACK"],
    "a savepoint that is rolled back": [
        "BEGIN",
        "SAVEPOINT s",
        "UPDATE keyguard_keys SET revoked_at = 1",
        "ROLLBACK TO s",
        "COMMIT",
    ],
    "uses": ["INSERT INTO keyguard_uses VALUES ('one', 1, NULL, NULL)"],
    "an event": ["INSERT INTO keyguard_events VALUES (1, 0, 'key.revoked', '', 'one', 'ada-id', '{}')"],
    "a credential": ["INSERT INTO keyguard_credentials VALUES ('ada-id', 'A', 's', 'w', 0, 0, '{}')"],
}


@pytest.mark.parametrize("statements", SAME.values(), ids=SAME)
async def test_what_changes_nothing_that_a_check_reads_does_not_count(path, prompt, statements):
    """New rows, the same values again and whatever is rolled back leave the revision where it was."""
    async with filled(path):
        expires_at = str(prompt("SELECT expires_at FROM keyguard_keys WHERE id = 'one'")[0][0])
        prompt("UPDATE keyguard_keys SET expires_at = ?", expires_at)
        assert prompt.moves(*(each.replace("?", expires_at) for each in statements)) == 0


COLUMN_NAMES = "id, lookup, verifier, owner_id, prefix, name, scopes, networks, created_at, revoked_reason"
ROW = "'{id}', '{lookup}', 'v', 'bob-id', 'kg_', 'n', '[]', '[]', 0, ''"
REPLACE = f"INSERT OR REPLACE INTO keyguard_keys ({COLUMN_NAMES}) VALUES ({ROW})"

DIFFERENT = {
    "DELETE of a key": "DELETE FROM keyguard_keys WHERE id = 'one'",
    "DELETE of all keys": "DELETE FROM keyguard_keys",
    "DELETE of an owner, with its keys": "DELETE FROM keyguard_owners WHERE id = 'ada-id'",
    "REPLACE by the id": REPLACE.format(id="one", lookup="new"),
    "REPLACE by the lookup": REPLACE.format(id="new", lookup=KEYS[0].lookup),
    "REPLACE by the rowid": REPLACE.format(id="new", lookup="new")
    .replace("(id,", "(rowid, id,")
    .replace("VALUES (", "VALUES (1, "),
    "upsert": REPLACE.format(id="one", lookup="new").replace(" OR REPLACE", "")
    + " ON CONFLICT (id) DO UPDATE SET revoked_at = 1",
    "UPDATE OR REPLACE by the lookup": f"UPDATE OR REPLACE keyguard_keys SET lookup = '{KEYS[0].lookup}' "
    "WHERE id = 'two'",
    "UPDATE OR REPLACE by the rowid": "UPDATE OR REPLACE keyguard_keys SET oid = 1 WHERE id = 'two'",
    "REPLACE of an owner by the name": "INSERT OR REPLACE INTO keyguard_owners VALUES ('c', 'ada', 1, 1, NULL, 0)",
    "REPLACE of an owner by the id": "INSERT OR REPLACE INTO keyguard_owners VALUES ('ada-id', 'c', 1, 1, NULL, 0)",
    "UPDATE OR REPLACE of an owner by the name": "UPDATE OR REPLACE keyguard_owners SET name = 'ada' "
    "WHERE name = 'bob'",
}


@pytest.mark.parametrize("statement", DIFFERENT.values(), ids=DIFFERENT)
@pytest.mark.parametrize("foreign_keys", ["ON", "OFF"])
async def test_a_row_that_goes_counts(path, prompt, statement, foreign_keys):
    """A row that is deleted counts, and so does one that has to give way to another, by whichever unique column."""
    async with filled(path) as store:
        prompt(f"PRAGMA foreign_keys={foreign_keys}")
        assert await store.find([KEYS[0].lookup]) is not None
        assert prompt.moves(statement) > 0


async def test_an_upgrade_of_digests_does_not_count(path, prompt):
    """A key that is given a new lookup, as when its digest is upgraded, counts no change."""
    async with filled(path) as store:
        before = prompt.revision()
        digest = make_digest("new")
        assert await store.upgrade("one", verifier=KEYS[0].verifier, new_lookup=digest, new_verifier=digest)
        assert prompt.revision() == before


# --- the app's own users ----------------------------------------------------------------------------------------

ODD = Table(
    """app's "users" 100%""",
    MetaData(),
    Column("user", String(), primary_key=True),
    Column("log in", String()),
    Column("On", Boolean),
    Column("select", Boolean),
)
ODD_USERS = UserTable(ODD, id="user", name="log in", active="On", superuser="select")
ODD_NAME = '''"app's ""users"" 100%"'''
CREATE_ODD = f"""
CREATE TABLE {ODD_NAME} (
    "user" TEXT PRIMARY KEY COLLATE NOCASE, "log in" TEXT UNIQUE, "On" BOOLEAN, "select" BOOLEAN, seen INTEGER
)
"""


@pytest.mark.parametrize(
    ("statement", "moves"),
    [
        ("INSERT INTO {} VALUES ('c', 'carol', 1, 0, 0)", 1),
        ("INSERT OR REPLACE INTO {} VALUES ('c', 'ada', 1, 0, 0)", 1),
        ("UPDATE {} SET seen = 1", 0),
        ('UPDATE {} SET "On" = 1', 0),
        ('UPDATE {} SET "On" = 0', 2),
        ('UPDATE {} SET "On" = NULL WHERE "user" = \'a\'', 1),
        ('UPDATE {} SET "select" = 1', 2),
        ("UPDATE {} SET \"user\" = 'A' WHERE \"user\" = 'a'", 1),
        ("UPDATE OR REPLACE {} SET \"log in\" = 'ada' WHERE \"user\" = 'b'", 1),
        ("DELETE FROM {}", 2),
    ],
)
async def test_the_apps_users_count(path, prompt, statement, moves):
    """Each new, changed or deleted user counts, whatever the table and its columns are called and compare."""
    prompt(CREATE_ODD)
    async with opened(path, users=ODD_USERS):
        prompt(f"INSERT INTO {ODD_NAME} VALUES ('a', 'ada', 1, 0, 0), ('b', 'bob', 1, 0, 0)")
        assert prompt.moves(statement.format(ODD_NAME)) == moves


async def test_columns_that_are_left_out_are_not_watched(path, prompt):
    """Where everybody is active and nobody a superuser, only the id counts."""
    prompt("CREATE TABLE users (id TEXT PRIMARY KEY, is_active BOOLEAN)")
    async with opened(path, users=UserTable("users", active=None, superuser=None)):
        prompt("INSERT INTO users VALUES ('ada', 1)")
        assert prompt.moves("UPDATE users SET is_active = 0") == 0
        assert prompt.moves("UPDATE users SET id = 'bob'") == 1


# --- whether they are there -------------------------------------------------------------------------------------


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_users_that_come_later_are_watched_later(path, prompt, caplog):
    """Without the users' table its triggers are missing, and nothing fails; made again with the table, they are there.

    Until then the store has no token, and says so once in the log.
    """
    async with opened(path, users=ODD_USERS) as store:
        assert not any("users" in name for name in prompt.triggers())
        prompt(CREATE_ODD)
        await store.open()
        assert (store.token(), store.is_exact) == (None, True)
        (warning,) = warnings(caplog)
        for text in ("keyguard_users_update, keyguard_users_delete, keyguard_users_insert", "store.create_schema()"):
            assert text in warning
        before = prompt.revision()
        await store.create_schema()
        assert prompt.revision() == before + 1  # Nobody knows what had changed.
        await store.open()
        assert store.token() is not None
        assert len(warnings(caplog)) == 1


async def test_a_view_of_users_is_not_watched(path, prompt, caplog):
    """Where the users are a view, which no trigger can watch, the store works without a token."""
    prompt("CREATE TABLE people (id TEXT)")
    prompt("CREATE VIEW Users AS SELECT id, 1 AS is_active, 0 AS is_superuser FROM people")
    prompt("INSERT INTO people VALUES ('ada')")
    async with opened(path, users=UserTable("users")) as store:
        await store.add_key(make_record("one", "ada"))
        assert await store.find([KEYS[0].lookup]) is not None
        assert store.token() is None
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_trigger_of_another_text_is_replaced(tmp_path, caplog, in_memory):
    """A store on which a trigger is another one has no token; `create_schema` puts the right one in its place."""
    store = SQLStore("sqlite+aiosqlite://" if in_memory else f"sqlite+aiosqlite:///{tmp_path}/keys.db")

    def change(connection):
        connection.exec_driver_sql("DROP TRIGGER keyguard_keys_delete")
        connection.exec_driver_sql(
            "CREATE TRIGGER keyguard_keys_delete AFTER DELETE ON keyguard_keys BEGIN SELECT 1; END"
        )

    try:
        await store.create_schema()
        await store.open()
        assert store.token() is not None
        await store.change_schema(change)
        assert store.token() is None
        await store.open()
        assert store.token() is None
        (warning,) = warnings(caplog)
        assert "the triggers keyguard_keys_delete, or" in warning
        await store.create_schema()
        await store.open()
        assert store.token() is not None
    finally:
        await store.close()


async def test_triggers_that_are_there_are_left_alone(path, prompt):
    """`create_schema` touches nothing, and counts nothing, where all triggers are as they should be."""
    async with opened(path) as store:
        before = prompt.revision(), prompt("PRAGMA schema_version")
        await store.create_schema()
        assert (prompt.revision(), prompt("PRAGMA schema_version")) == before


async def test_an_app_makes_them_itself(path, prompt):
    """The statements of `trigger_statements` make all triggers, one by one, and make them anew when run again."""
    async with opened(path) as store:
        triggers = prompt.triggers()
        for _ in range(2):
            for name in list(triggers)[::2]:
                prompt(f"DROP TRIGGER IF EXISTS {name}")
            for statement in store.trigger_statements("sqlite"):
                prompt(statement)
            assert prompt.triggers() == triggers
        assert len(triggers) == 8
        assert store.trigger_statements("mysql") == []


async def test_a_database_that_we_know_no_triggers_for_has_no_token(path, prompt, caplog):
    """On another database there are no triggers, no token and no warning, and a change is a change."""
    registry.register("untriggered.aiosqlite", "sqlalchemy.dialects.sqlite.aiosqlite", "SQLiteDialect_aiosqlite")
    store = SQLStore(f"untriggered+aiosqlite:///{path}")
    await store.create_schema()
    await store.open()
    await store.add_owner(ADA, created_at=NOON)
    assert (store.token(), store.is_exact) == (None, False)
    assert prompt.triggers() == {}
    await store.close()
    assert warnings(caplog) == []


# --- migrations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [None, ODD_USERS], ids=["own owners", "users"])
async def test_a_migration_makes_the_same_triggers(tmp_path, users):
    """A migrated database has the triggers of a created one, and none of them after the way back."""
    found = []
    for name in ("created", "migrated"):
        with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as connection:
            connection.execute(CREATE_ODD)
        async with opened_at(tmp_path / name, users=users) as store:
            await (store.create_schema() if name == "created" else upgrade(store))
            with closing(Prompt(tmp_path / name).connection) as connection:
                found.append(dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")))
            await store.open()
            assert store.token() is not None
            await downgrade(store, "0001")
            with closing(Prompt(tmp_path / name).connection) as connection:
                assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall() == []
                connection.execute("DELETE FROM keyguard_keys")
    assert found[0] == found[1]
    assert len(found[0]) == (8 if users is None else 7)


@asynccontextmanager
async def opened_at(path, **arguments):
    store = SQLStore(f"sqlite+aiosqlite:///{path}", **arguments)
    try:
        yield store
    finally:
        await store.close()


def test_another_database_is_migrated_without_triggers():
    """The migration makes and drops no triggers where Keyguard knows none."""
    written = io.StringIO()
    options = {"as_sql": True, "output_buffer": written, "users": None, "app_owner_id": None}
    with Operations.context(MigrationContext.configure(dialect_name="mysql", opts=options)):
        v0002_revision_and_uses.upgrade()
        v0002_revision_and_uses.downgrade()
    assert "CREATE TABLE keyguard_revision" in written.getvalue()
    assert "TRIGGER" not in written.getvalue()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_sql_of_a_migration_has_the_triggers(tmp_path, capsys, kind):
    """`alembic --sql` writes the triggers too, and for SQLite what it writes makes them."""
    path = tmp_path / "alembic.ini"
    url = {"sqlite": "sqlite+aiosqlite:///keys.db", "postgresql": "postgresql+asyncpg://host/name"}[kind]
    path.write_text(f"[keyguard]\nscript_location = keyguard:migrations\nsqlalchemy.url = {url}\n")
    alembic_config.main(["--config", str(path), "--name", "keyguard", "upgrade", "head", "--sql"])
    written = capsys.readouterr().out
    statements = triggers_for(kind, None).statements()
    for statement in statements:
        assert f"{statement};" in written
    if kind == "sqlite":
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(written)
            made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        assert set(made.values()) == {text for text in statements if text.startswith("CREATE")}
