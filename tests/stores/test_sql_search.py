"""How the SQL store searches, and keeps sessions: by indexes, in one statement, whatever the app's own table holds."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Integer, Uuid, event

from keyguard.errors import Changed, NotSupported
from keyguard.model import KeyOrder, KeyQuery, KeyState, Owner, Session
from keyguard.ports import SessionStore
from keyguard.stores import _sessions
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.stores.static import StaticStore
from keyguard.testing import NOON, make_record

ADA = Owner(id="1", name="ada")
KEY = make_record("one", ADA.id)
SESSION = Session(lookup="sha256$1", owner_id="1", created_at=NOON, expires_at=NOON + timedelta(hours=1))
LITERALLY = {"literal_binds": True}
IDS = ["3f2b8f0e-8a53-4ad1-9d0c-0c6f5f0a2b11", "0d5f7a52-52c7-4d0b-b6f1-7a3c2f1e9d44"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    return request.getfixturevalue("postgres_url")


@asynccontextmanager
async def filled(url):
    """A store with one owner and one key."""
    store = SQLStore(url)
    try:
        await store.create_schema()
        await store.add_owner(ADA, created_at=NOON)
        await store.add_key(KEY)
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def over_users(url, columns, rows, **arguments):
    """A store whose owners live in a table of the app's, with a key for each of them."""
    store = SQLStore(url, users=UserTable("users", active=None, superuser=None, **arguments))

    def make(connection):
        connection.exec_driver_sql(f"CREATE TABLE users ({columns})")
        for row in rows:
            connection.exec_driver_sql(f"INSERT INTO users VALUES ({row})")

    try:
        await store.change_schema(make)
        await store.create_schema()
        yield store
    finally:
        await store.close()


async def found(store, **query):
    """The ids of the keys that a search finds, and how many it says there are."""
    page = await store.search_keys(KeyQuery(**query), at=NOON, limit=10)
    return [each.key.id for each in page.keys], page.total


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        ({}, ["SCAN keyguard_keys USING INDEX ix_keyguard_keys_created_at"]),
        (
            {"states": frozenset({KeyState.ACTIVE})},
            ["SCAN keyguard_keys USING INDEX ix_keyguard_keys_created_at"],
        ),
        (
            {"owner_id": ADA.id},
            ["SEARCH keyguard_keys USING INDEX ix_keyguard_keys_owner_id_created_at"],
        ),
    ],
    ids=["all", "in a state", "of an owner"],
)
async def test_a_page_of_the_newest_is_read_by_an_index(tmp_path, query, plan):
    """The usual pages are read in the order of an index, each key's owner and uses by theirs: nothing is sorted."""
    async with filled(f"sqlite+aiosqlite:///{tmp_path}/keys.db") as store:
        selecting = store._search.page(KeyQuery(**query), at=NOON, offset=0, limit=25)
        async with store._database.engine.connect() as connection:
            compiled = selecting.compile(connection.sync_engine, compile_kwargs=LITERALLY)
            rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")).all()
    steps = [detail.split(" (")[0] for *_, detail in rows]
    page, rest = (part.split("|") for part in "|".join(steps).split("MATERIALIZE page|")[1].split("SCAN found|"))
    assert [step for step in page if " keyguard_keys " in step] == plan
    others = [step.split(" USING ")[0] for step in page if " keyguard_keys " not in step and step]
    assert others == ["SEARCH keyguard_owners"]
    assert [step.split(" USING ")[0] for step in rest] == [
        "SCAN page LEFT-JOIN",
        "SEARCH keyguard_uses",
        "USE TEMP B-TREE FOR ORDER BY",  # Of the rows of the page.
    ]


async def test_a_search_is_one_statement(url):
    """Keys, owners, uses and how many there are come in one SELECT, also where the page is empty."""
    seen = []
    async with filled(url) as store:
        engine = store._database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2].split(" ")[0]))
        for offset, rows in ((0, 1), (7, 0)):
            page = await store.search_keys(KeyQuery(text="ON"), at=NOON, offset=offset, limit=5)
            assert (len(page.keys), page.total) == (rows, 1)
    assert seen == ["SELECT", "SELECT"]


async def test_names_are_in_one_order_everywhere(url):
    """Names stand in the order of their characters, A to Z in either case, whatever a database's language says."""
    names = ["", "10", "9", "_", "a", "B", "b c", "ba", "Z", "é", "Ä", "ß", "\U0001f511"]
    async with filled(url) as store:
        for number, name in enumerate(names):
            await store.add_key(make_record(f"k{number}", ADA.id, name=name))
        await store.rename_key("one", "~")
        page = await store.search_keys(KeyQuery(order=KeyOrder.NAME, descending=False), at=NOON, limit=99)
    assert [each.key.name for each in page.keys] == sorted([*names, "~"], key=lambda name: name.encode().lower())


async def test_users_without_a_name(url):
    """A user whose name is NULL has none to be found by, and stands before all who have one."""
    async with over_users(
        url, "id integer, login text", ["1, NULL", "2, 'Bob'"], name="login", id_type=Integer()
    ) as store:
        for owner_id in ("1", "2"):
            await store.add_key(make_record(f"k{owner_id}", owner_id))
        assert await found(store, order=KeyOrder.OWNER, descending=False) == (["k1", "k2"], 2)
        assert await found(store, order=KeyOrder.OWNER) == (["k2", "k1"], 2)
        assert await found(store, text="OB") == (["k2"], 1)


async def test_users_who_are_called_by_their_ids(url):
    """Where ids are the names, a part of one finds the user's keys: of a number, and of a UUID, hyphens included."""
    is_sqlite = url.startswith("sqlite")
    rows = [f"'{UUID(text).hex if is_sqlite else text}'" for text in IDS]
    async with over_users(url, f"id {'text' if is_sqlite else 'uuid'}", rows, id_type=Uuid()) as store:
        for number, owner_id in enumerate(IDS):
            await store.add_key(make_record(f"k{number}", owner_id))
        for text in (IDS[1], IDS[1].upper(), "0d5f7a52-52C7", "7a3c2f"):
            assert await found(store, text=text) == (["k1"], 1)
        assert await found(store, order=KeyOrder.OWNER, descending=False) == (["k1", "k0"], 2)


async def test_numbers_as_names(url):
    """Where ids are numbers and the names, they are found and ordered as texts."""
    async with over_users(url, "id integer", ["9", "10"], id_type=Integer()) as store:
        for owner_id in ("9", "10"):
            await store.add_key(make_record(f"k-{owner_id}", owner_id))
        assert await found(store, text="0") == (["k-10"], 1)
        assert await found(store, order=KeyOrder.OWNER, descending=False) == (["k-10", "k-9"], 2)


# --- sessions ---------------------------------------------------------------------------------------------------


def test_which_stores_keep_sessions():
    """A store can be asked whether it knows sessions: the one of written-down keys does not."""
    assert isinstance(MemoryStore(), SessionStore)
    assert isinstance(SQLStore("sqlite+aiosqlite://"), SessionStore)
    assert not isinstance(StaticStore({}), SessionStore)


async def test_the_apps_own_users_have_no_sessions_here(url):
    """Where owners live in the app's table there is no table of sessions, and each method says who keeps them."""
    async with over_users(url, "id integer", ["1"], id_type=Integer()) as store:
        assert "keyguard_sessions" not in store.metadata.tables
        for call in (
            store.add_session(SESSION),
            store.find_session("sha256$1"),
            store.end_session("sha256$1"),
            store.end_sessions("1"),
            store.purge_sessions(NOON),
        ):
            with pytest.raises(NotSupported, match="'users': whoever signs them in keeps sessions"):
                await call


async def test_where_nothing_has_expired_nothing_is_locked(url):
    """To purge sessions of which none has expired waits for nobody who writes; where one has, it is deleted."""
    async with filled(url) as store:
        await store.add_session(SESSION)
        async with store._database._in(store._database._writing):
            async with asyncio.timeout(store._database.patience / 2):
                assert await store.purge_sessions(SESSION.expires_at) == 0
        assert await store.purge_sessions(SESSION.expires_at + timedelta(microseconds=1)) == 1
        assert await store.find_session(SESSION.lookup) is None


async def test_many_sessions_are_purged_in_parts(url, monkeypatch):
    """However many have expired, they are deleted in transactions of a bounded length, and all are counted."""
    monkeypatch.setattr(_sessions, "_PURGED_AT_ONCE", 3)
    done = []
    async with filled(url) as store:
        for number in range(7):
            await store.add_session(replace(SESSION, lookup=f"sha256${number}"))
        engine = store._database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *arguments: done.append(arguments[2].split(" ")[0]))
        event.listen(engine, "commit", lambda connection: done.append("COMMIT"))
        assert await store.purge_sessions(SESSION.expires_at + timedelta(days=1)) == 7
        assert await store.end_sessions(ADA.id) == 0
    assert [step for step in done if step in {"DELETE", "COMMIT"}][:6] == ["DELETE", "COMMIT"] * 3


async def test_with_an_owner_their_sessions_go(url):
    """An owner whose row is deleted has no session any more, nor the next one with that id."""
    async with filled(url) as store:
        await store.add_session(SESSION)
        await store.change_schema(lambda connection: connection.exec_driver_sql("DELETE FROM keyguard_owners"))
        await store.add_owner(ADA, created_at=NOON)
        assert await store.find_session(SESSION.lookup) is None


async def test_who_was_deactivated_by_others_is_signed_out_when_active_again(url):
    """Sessions of an owner whom somebody deactivates with SQL are none, and do not come back with the owner."""
    async with filled(url) as store:
        await store.add_session(SESSION)
        deactivating = "UPDATE keyguard_owners SET is_active = false"
        await store.change_schema(lambda connection: connection.exec_driver_sql(deactivating))
        assert await store.set_owner_active(ADA.id, active=True)
        assert await store.find_session(SESSION.lookup) is None


# --- changes of what was read -----------------------------------------------------------------------------------


async def test_a_key_that_is_put_back_meanwhile_has_changed(url):
    """Who changes a key that was another one for a moment is told so, not that there was nothing to do."""
    async with filled(url) as store:
        change = store._keys.revoking("one", NOON, "leaked", KEY)

        def put_back(connection, cursor, statement, *rest):
            if statement.startswith("SELECT") and "name" not in statement:
                connection.exec_driver_sql("UPDATE keyguard_keys SET name = 'one' WHERE name = 'another'")

        def at_once(connection):
            connection.exec_driver_sql("UPDATE keyguard_keys SET name = 'another'")
            event.listen(connection, "before_cursor_execute", put_back)
            return change(connection)

        with pytest.raises(Changed):
            await store._database.change(at_once)
        assert await store.get_key("one") == KEY
