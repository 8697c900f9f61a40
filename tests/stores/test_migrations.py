"""The migrations make the same tables as `create_schema`, and the two get along."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing

import pytest
from alembic import config as alembic_config
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Integer, Text, Uuid, inspect

from keyguard.errors import SchemaMismatch, StoreUnavailable
from keyguard.migrations import SCRIPT_LOCATION, current, downgrade, upgrade
from keyguard.model import AuditKind, KeyQuery, KeyState, Owner
from keyguard.stores._schema import REVISION, VERSION, VERSION_TABLE
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_event, make_record, make_session

USERS = [None, *(UserTable("users", id_type=kind) for kind in (Integer(), Uuid(), Text()))]
KINDS = pytest.mark.parametrize("users", USERS, ids=["own owners", "integers", "uuids", "texts"])


@asynccontextmanager
async def at(path, users=None):
    store = SQLStore(f"sqlite+aiosqlite:///{path}", users=users)
    try:
        yield store
    finally:
        await store.close()


async def seen(store, look):
    """What `look` sees of the database."""
    found = []
    await store.change_schema(lambda connection: found.append(look(connection)))
    return found[0]


def tables(connection):
    """All that is there, as the database tells it."""
    there = inspect(connection)
    return {
        name: {
            "columns": [{**each, "type": str(each["type"])} for each in there.get_columns(name)],
            "primary key": there.get_pk_constraint(name),
            "indexes": there.get_indexes(name),
            "unique": sorted(there.get_unique_constraints(name), key=str),
            "foreign keys": there.get_foreign_keys(name),
            "rows": sorted(connection.exec_driver_sql(f"SELECT * FROM {name}").all()),
        }
        for name in there.get_table_names()
    }


def differences(store):
    """What Alembic would write into a new migration."""

    def look(connection):
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), store.metadata)

    return look


@KINDS
async def test_migrated_and_created_tables_are_the_same(tmp_path, users):
    """The migrations make what `create_schema` makes: columns, constraints, indexes, notes and version."""
    async with at(tmp_path / "created.db", users) as created, at(tmp_path / "migrated.db", users) as migrated:
        await created.create_schema()
        await upgrade(migrated)
        made = await seen(created, tables)
        assert made == await seen(migrated, tables)
        assert set(made) == {*created.metadata.tables, VERSION_TABLE}
        assert made["keyguard_meta"]["rows"] == [("pepper", ""), ("schema", VERSION)]
        assert made[VERSION_TABLE]["rows"] == [(REVISION,)]


@KINDS
async def test_alembic_finds_nothing_to_migrate(tmp_path, users):
    """Alembic finds no difference between the tables and their description, and would find one."""
    async with at(tmp_path / "keys.db", users) as store:
        await upgrade(store)
        assert await seen(store, differences(store)) == []
        dropping = "DROP INDEX ix_keyguard_keys_owner_id_created_at"
        await store.change_schema(lambda connection: connection.exec_driver_sql(dropping))
        assert [kind for kind, _ in await seen(store, differences(store))] == ["add_index"]


def test_the_store_names_the_newest_revision():
    """What `create_schema` notes is the newest of the migrations."""
    config = alembic_config.Config()
    config.set_main_option("script_location", SCRIPT_LOCATION)
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


@KINDS
async def test_migrating_what_is_up_to_date_does_nothing(tmp_path, users):
    """`upgrade` after `create_schema`, again, and `create_schema` after that change nothing."""
    async with at(tmp_path / "keys.db", users) as store:
        await store.create_schema()
        before = await seen(store, tables)
        await upgrade(store)
        await upgrade(store)
        await store.create_schema()
        assert await seen(store, tables) == before


async def test_what_is_in_the_tables_stays(tmp_path):
    """A store goes on with its keys when its tables were migrated under it."""
    key = make_record("one", "owner-1")
    async with at(tmp_path / "keys.db") as store:
        await upgrade(store)
        await store.add_owner(Owner(id="owner-1", name="ada"), created_at=NOON)
        await store.add_key(key)
        await upgrade(store)
        assert await store.get_key("one") == key


AN_OWNER = "INSERT INTO keyguard_owners VALUES ('1', 'ada', true, false, NULL, 0)"
A_KEY = (
    "INSERT INTO keyguard_keys (id, lookup, verifier, owner_id, prefix, name, scopes, networks, created_at, "
    "revoked_reason) VALUES ('k', 'l', 'v', '1', 'kg_', 'n', '[]', '[]', 0, '')"
)
KEPT = "SELECT id FROM keyguard_keys ORDER BY id"


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_keys_of_older_versions_go_on(tmp_path, revision):
    """Keys in the tables of an older version are there in those of the newest, and a downgrade keeps them."""
    async with at(tmp_path / "keys.db") as store:
        await upgrade(store, revision)
        for statement in (AN_OWNER, A_KEY):
            await store.change_schema(lambda connection, statement=statement: connection.exec_driver_sql(statement))
        await upgrade(store)
        key = (await store.find(["l"])).key
        assert (key.id, key.metadata, key.rotated_at, key.rotated_from) == ("k", {}, None, None)
        assert await store.list_keys(state=KeyState.ACTIVE, at=NOON) == [key]
        new = make_record("new", "1", created_at=NOON, rotated_from="k", metadata_json='{"a": 1}')
        assert await store.rotate_key(key, new, until=None)
        assert store.token() is not None
        await downgrade(store, revision)
        assert await seen(store, lambda connection: connection.exec_driver_sql(KEPT).all()) == [("k",), ("new",)]
        await upgrade(store)
        assert [each.id for each in await store.list_keys()] == ["new", "k"]


EVERYTHING = (
    AN_OWNER,
    A_KEY,
    "INSERT INTO keyguard_credentials VALUES ('1', 'TOKEN', 's', 'w', 0, 0, '{}')",
    "INSERT INTO keyguard_events (at, kind, actor, detail) VALUES (0, 'key.issued', '', '{}')",
    "INSERT INTO keyguard_uses VALUES ('k', 3, 0, NULL)",
)


async def test_from_version_3_to_4_and_back(tmp_path):
    """What version 3 holds goes on in version 4, which signs people in; going back drops the sessions, and they alone.

    So it does their events, of kinds that version 3 does not know. Then and again the tables are what they were.
    """
    session = make_session("one", "1")
    kinds = (AuditKind.OWNER_SIGNED_IN, AuditKind.OWNER_SIGNED_OUT)
    async with at(tmp_path / "keys.db") as store:
        await upgrade(store, "0003")
        for statement in EVERYTHING:
            await store.change_schema(lambda connection, statement=statement: connection.exec_driver_sql(statement))
        before = await seen(store, tables)
        with pytest.raises(SchemaMismatch, match="version '3'"):
            await store.open()
        await upgrade(store)
        (listed,) = (await store.search_keys(KeyQuery(text="ADA"), at=NOON, limit=9)).keys
        assert (listed.key.id, listed.owner.name, listed.usage.total) == ("k", "ada", 3)
        assert [each.name for each in await store.list_credentials()] == ["TOKEN"]
        after = await seen(store, tables)
        await store.add_session(session, events=[make_event(kind, owner_id="1") for kind in kinds])
        assert (await store.find_session(session.lookup)).session == session
        await downgrade(store, "0003")
        assert await seen(store, tables) == before
        await upgrade(store)
        assert await store.find_session(session.lookup) is None
        assert await seen(store, tables) == after


async def test_an_older_version_is_told_how_to_get_on(tmp_path):
    """On tables of an older version a store opens not, makes none, and says that a migration is due; then it opens."""
    async with at(tmp_path / "keys.db") as store:
        await upgrade(store, "0001")
        for refused in (store.open, store.create_schema):
            with pytest.raises(SchemaMismatch, match=r"version '1'.*keyguard\.migrations\.upgrade"):
                await refused()
        await upgrade(store)
        await store.open()
        assert store.token() is not None


@KINDS
async def test_going_back_to_nothing(tmp_path, users):
    """A downgrade to the base drops the tables; the store then refuses to open, until they are made again."""
    async with at(tmp_path / "keys.db", users) as store:
        await upgrade(store)
        before = await seen(store, tables)
        await downgrade(store, "base")
        assert set(await seen(store, tables)) == {VERSION_TABLE}
        with pytest.raises(SchemaMismatch):
            await store.open()
        await store.create_schema()
        assert await seen(store, tables) == before


async def test_a_url_will_do(tmp_path):
    """The database may be named by its URL, and its connections are closed afterwards."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}"
    await upgrade(url)
    async with at(tmp_path / "keys.db") as store:
        assert "keyguard_keys" in await seen(store, tables)
        await store.close()
        await downgrade(url, "base")
        assert set(await seen(store, tables)) == {VERSION_TABLE}


async def test_a_migration_that_fails_changes_nothing(tmp_path):
    """Where a table is in the way nothing is made, not even the tables before it."""
    async with at(tmp_path / "keys.db") as store:
        await store.change_schema(lambda connection: connection.exec_driver_sql("CREATE TABLE keyguard_keys (x)"))
        with pytest.raises(StoreUnavailable, match="already exists"):
            await upgrade(store)
        assert set(await seen(store, tables)) == {"keyguard_keys"}


@pytest.fixture
def section(tmp_path):
    """An app's alembic.ini with a section for Keyguard, and how its command line is called."""
    path = tmp_path / "alembic.ini"
    path.write_text(
        f"[keyguard]\nscript_location = keyguard:migrations\nsqlalchemy.url = sqlite+aiosqlite:///{tmp_path}/keys.db\n"
    )
    return lambda *arguments: alembic_config.main(["--config", str(path), "--name", "keyguard", *arguments])


async def test_alembics_own_command_line(tmp_path, section):
    """`alembic --name keyguard` upgrades from a section of the app's alembic.ini."""
    await asyncio.to_thread(section, "upgrade", "head")  # It starts a loop of its own.
    async with at(tmp_path / "keys.db") as store:
        await store.open()
    await asyncio.to_thread(section, "downgrade", "base")
    async with at(tmp_path / "keys.db") as store:
        assert set(await seen(store, tables)) == {VERSION_TABLE}


async def test_alembic_writes_the_sql(tmp_path, section, capsys):
    """`alembic --sql` writes what an upgrade would do, and does nothing; SQLite's own program could then do it."""
    section("upgrade", "head", "--sql")
    written = capsys.readouterr().out
    for line in ("CREATE TABLE keyguard_keys", "VALUES ('schema', '1')", f"INSERT INTO {VERSION_TABLE}"):
        assert line in written
    assert not (tmp_path / "keys.db").exists()
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection:
        connection.executescript(written)
    async with at(tmp_path / "keys.db") as store:
        await store.open()
        assert store.token() is not None
        assert await seen(store, differences(store)) == []


def test_nothing_else_needs_alembic():
    """Without Alembic everything but the migrations can be imported and used."""
    script = """
import asyncio, sys
sys.modules["alembic"] = None
import keyguard
from keyguard.stores.sql import SQLStore

async def main():
    store = SQLStore("sqlite+aiosqlite://")
    await store.create_schema()
    await store.close()

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_the_revision_of_the_tables(tmp_path):
    """`current` says at which revision the tables are, and None where there are none; those of later ones stay."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'keys.db'}"
    assert await current(url) is None
    await upgrade(url, "0002")
    assert await current(url) == "0002"
    store = SQLStore(url)
    await store.change_schema(
        lambda connection: connection.exec_driver_sql("UPDATE keyguard_alembic_version SET version_num = '9999'")
    )
    with pytest.raises(SchemaMismatch, match="update it to the one that made them"):
        await upgrade(store)
    assert await current(store) == "9999"
    await store.close()
