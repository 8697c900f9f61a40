"""On PostgreSQL the migrations make the same tables and triggers as `create_schema`, whoever does so at once."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, Uuid, inspect

from keyguard.errors import SchemaMismatch, StoreUnavailable
from keyguard.migrations import downgrade, upgrade
from keyguard.model import AuditEvent, AuditKind, Owner
from keyguard.stores._schema import REVISION, VERSION, VERSION_TABLE
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.testing import NOON, make_record, make_session


def user_table(kind):
    columns = Column("id", kind, primary_key=True), Column("is_active", Boolean), Column("is_superuser", Boolean)
    return UserTable(Table("users", MetaData(), *columns))


USERS = [None, *map(user_table, (Integer(), Uuid(), Text()))]
KINDS = pytest.mark.parametrize("users", USERS, ids=["own owners", "integers", "uuids", "texts"])


@asynccontextmanager
async def at(url, users=None):
    """A store over a database, in which the app's users are already."""
    store = SQLStore(url, users=users)
    if users is not None:
        await store.change_schema(lambda connection: users.table.create(connection, checkfirst=True))
    try:
        yield store
    finally:
        await store.close()


async def seen(store, look):
    """What `look` sees of the database."""
    found = []
    await store.change_schema(lambda connection: found.append(look(connection)))
    return found[0]


def everything(connection):
    """All that is there, as the database tells it."""
    there = inspect(connection)
    tables = {
        name: {
            "columns": [{**each, "type": str(each["type"])} for each in there.get_columns(name)],
            "primary key": there.get_pk_constraint(name),
            "indexes": sorted(there.get_indexes(name), key=str),
            "unique": sorted(there.get_unique_constraints(name), key=str),
            "foreign keys": there.get_foreign_keys(name),
            "rows": sorted(connection.exec_driver_sql(f"SELECT * FROM {name} WHERE '{name}' <> 'keyguard_revision'")),
        }
        for name in there.get_table_names()
    }
    triggers = "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    function = "SELECT prosrc, prosecdef, proconfig FROM pg_proc WHERE proname LIKE 'keyguard%%'"
    return tables, connection.exec_driver_sql(triggers).all(), connection.exec_driver_sql(function).all()


def differences(store):
    """What Alembic would write into a new migration."""

    def look(connection):
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, parents: (kind, name) != ("table", "users"),
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), store.metadata)

    return look


@KINDS
async def test_migrated_and_created_tables_are_the_same(postgres, users):
    """The migrations make what `create_schema` makes: columns, constraints, indexes, notes, version and triggers."""
    made = []
    for make in (SQLStore.create_schema, upgrade):
        async with at(postgres.url(postgres.create_database()), users) as store:
            await make(store)
            made.append(await seen(store, everything))
            assert await seen(store, differences(store)) == []
    (tables, triggers, functions), migrated = made
    assert (tables, triggers, functions) == migrated
    assert set(tables) == {*store.metadata.tables, VERSION_TABLE} | ({"users"} if users else set())
    assert tables["keyguard_meta"]["rows"] == [("pepper", ""), ("schema", VERSION)]
    assert tables[VERSION_TABLE]["rows"] == [(REVISION,)]
    assert len(triggers) == (7 if users else 6)
    assert {enabled for _, enabled in triggers} == {b"A"}
    assert len(functions) == 1


@KINDS
async def test_there_and_back_again(postgres_url, users):
    """A downgrade to the base leaves nothing but the app's users and Alembic's note; then all is made again."""
    async with at(postgres_url, users) as store:
        await upgrade(store)
        before = await seen(store, everything)
        for revision in ("0003", "0002", "0001"):
            await downgrade(store, revision)
            with pytest.raises(SchemaMismatch):
                await store.open()
        await upgrade(store)
        await downgrade(store, "base")
        tables, triggers, functions = await seen(store, everything)
        assert (set(tables) - {"users"}, triggers, functions) == ({VERSION_TABLE}, [], [])
        await store.create_schema()
        assert await seen(store, everything) == before


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_keys_survive_a_migration(postgres_url, revision):
    """What is in the tables of an older revision is there in those of the newest, and after a downgrade."""
    async with at(postgres_url) as store:
        await upgrade(store, revision)
        await store.change_schema(
            lambda connection: (
                connection.exec_driver_sql("INSERT INTO keyguard_owners VALUES ('1', 'ada', true, false, NULL, 0)"),
                connection.exec_driver_sql(
                    "INSERT INTO keyguard_keys (id, lookup, verifier, owner_id, prefix, name, scopes, networks, "
                    "created_at, revoked_reason) VALUES ('k', 'l', 'v', '1', 'kg_', 'n', '[]', '[]', 0, '')"
                ),
            )
        )
        await upgrade(store)
        key = (await store.find(["l"])).key
        assert (key.id, key.metadata, key.rotated_at, key.rotated_from) == ("k", {}, None, None)
        await store.rename_key("k", "renamed", events=[AuditEvent(at=NOON, kind=AuditKind.KEY_RENAMED, key_id="k")])
        assert [event.owner_id for event in await store.list_events()] == ["1"]
        await downgrade(store, revision)
        await upgrade(store)
        assert [each.name for each in await store.list_keys()] == ["renamed"]
        assert await store.list_events() == []


async def test_from_version_3_to_4_and_back(postgres_url):
    """A key of version 3 goes on in version 4, which signs people in; going back drops the sessions, and they alone."""
    session = make_session("one", "1")
    async with at(postgres_url) as store:
        await upgrade(store)
        await store.add_owner(Owner(id="1", name="ada"), created_at=NOON)
        await store.add_key(make_record("k", "1"))
        await downgrade(store, "0003")
        before = await seen(store, everything)
        await upgrade(store)
        await store.add_session(session)
        assert [each.id for each in await store.list_keys("1")] == ["k"]
        await downgrade(store, "0003")
        assert await seen(store, everything) == before
        await upgrade(store)
        assert await store.find_session(session.lookup) is None


async def test_a_migration_that_fails_changes_nothing(postgres_url):
    """Where a table is in the way nothing is made, not even the tables before it."""
    async with at(postgres_url) as store:
        await store.change_schema(lambda connection: connection.exec_driver_sql("CREATE TABLE keyguard_keys (x int)"))
        with pytest.raises(StoreUnavailable, match="already exists"):
            await upgrade(store)
        tables, triggers, functions = await seen(store, everything)
        assert (set(tables), triggers, functions) == ({"keyguard_keys"}, [], [])


AT_ONCE = """
import asyncio, sys
from keyguard.migrations import upgrade
from keyguard.stores.sql import SQLStore

async def main():
    store = SQLStore(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    await (upgrade(store) if sys.argv[1] == "upgrade" else store.create_schema())
    await store.open()
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("calls", [("upgrade", "upgrade"), ("create", "create"), ("create", "upgrade")], ids="-".join)
async def test_two_processes_make_the_tables_at_once(postgres_url, calls):
    """Two workers that start at once, each of which makes or migrates the tables, both succeed."""

    def run():
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", AT_ONCE, call, postgres_url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for call in calls
        ]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate(timeout=60)
        return [worker.returncode for worker in workers]

    assert await asyncio.to_thread(run) == [0, 0]
    async with at(postgres_url) as store:
        await store.add_owner(Owner(id="1", name="ada"), created_at=NOON)
        await store.add_key(make_record("k", "1"))
        assert await seen(store, differences(store)) == []


async def test_many_stores_make_the_tables_at_once(postgres_url):
    """However many connections make or migrate the tables at once, none fails, and all is made once."""
    stores = [SQLStore(postgres_url) for _ in range(6)]
    await asyncio.gather(*map(upgrade, stores[:3]), *(store.create_schema() for store in stores[3:]))
    for store in stores:
        await store.open()
        await store.close()


def test_alembic_writes_the_sql(postgres, database, tmp_path, capsys):
    """What `alembic --sql` writes makes the tables and the triggers, when another program executes it."""
    from alembic import config

    path = tmp_path / "alembic.ini"
    url = postgres.url(database)
    path.write_text(f"[keyguard]\nscript_location = keyguard:migrations\nsqlalchemy.url = {url}\n")
    config.main(["--config", str(path), "--name", "keyguard", "upgrade", "head", "--sql"])
    postgres.psql(capsys.readouterr().out, database)

    async def opens():
        async with at(url) as store:
            await store.open()
            return await seen(store, differences(store))

    assert asyncio.run(opens()) == []
    assert postgres.psql("SELECT count(*) FROM pg_trigger WHERE tgenabled = 'A'", database) == "6"
