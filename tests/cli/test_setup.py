"""`init` and `migrate`: the tables, and a first key for those who begin."""

import asyncio

from leaks import WATCH

from keyguard import migrations
from keyguard.keys import parse
from keyguard.stores.sql import SQLStore


def test_init_makes_a_database_that_is_up_to_date(terminal, tmp_path):
    """`init` makes the file and the tables, as often as it is called, and `migrate` then has nothing to do."""
    assert [terminal("init").code, terminal("init").code] == [0, 0]
    assert (tmp_path / "keys.db").exists()
    ran = terminal("migrate")
    assert (ran.code, ran.out) == (0, "The tables were at 0004 already.\n")


def test_init_says_what_it_did_as_json(terminal):
    """With `--json` there is one document, also where there is little to say."""
    assert terminal("init", "--json").json == {"schema": "present"}


def test_a_newcomer_gets_an_owner_and_a_key(terminal):
    """`init --owner` prints a key that is good, and nothing else on standard output."""
    ran = terminal("init", "--owner", "ada", "--superuser")
    key = parse(ran.out.removesuffix("\n"), prefix="kg")
    assert ran.code == 0
    assert f"issued kg_{key.id} to it. It is shown this once." in ran.err
    (owner,) = terminal("owner", "list", "--json").json["owners"]
    assert (owner["name"], owner["is_superuser"]) == ("ada", True)
    assert WATCH.knows(key.reveal())


def test_init_adds_no_owner_twice(terminal):
    """A second `init --owner` of one name is a conflict, which says how to go on."""
    terminal("init", "--owner", "ada")
    ran = terminal("init", "--owner", "ada")
    assert (ran.code, ran.out) == (4, "")
    assert "keyguard key issue" in ran.err


def test_a_superuser_needs_a_name(terminal, tmp_path):
    """`init --superuser` without `--owner` says nothing that could be done, so nothing is."""
    assert terminal("init", "--superuser").code == 2
    assert not (tmp_path / "keys.db").exists()


def on_revision(url, revision):
    asyncio.run(migrations.upgrade(url, revision))


def test_migrate_says_from_where_to_where(terminal):
    """`migrate` brings older tables up to date, and until then every other command names it."""
    on_revision("sqlite+aiosqlite:///keys.db", "0001")
    ran = terminal("owner", "list")
    assert (ran.code, "`keyguard migrate`" in ran.err) == (5, True)
    assert terminal("migrate").out == "The tables were brought from 0001 to 0004.\n"
    assert terminal("owner", "list").code == 0


def test_migrate_fills_an_empty_database(terminal, tmp_path):
    """`migrate` makes the tables in a database that has none."""
    (tmp_path / "keys.db").touch()
    assert terminal("migrate", "--json").json == {"from": None, "to": "0004"}


def test_migrate_knows_what_it_does_not_know(terminal):
    """Tables of a later Keyguard are left alone, and the sentence says what to update."""
    terminal("init")

    async def make_later():
        store = SQLStore("sqlite+aiosqlite:///keys.db")
        await store.change_schema(
            lambda connection: connection.exec_driver_sql("UPDATE keyguard_alembic_version SET version_num = '9999'")
        )
        await store.close()

    asyncio.run(make_later())
    ran = terminal("migrate")
    assert (ran.code, "does not know: update it" in ran.err) == (5, True)


def test_the_whole_life_on_postgresql(terminal, postgres_url, monkeypatch):
    """Tables, an owner and a key's life, at a URL as everybody writes it, without a driver."""
    monkeypatch.setenv("KEYGUARD_DATABASE_URL", postgres_url.replace("postgresql+asyncpg", "postgresql"))
    on_revision(postgres_url, "0002")
    assert terminal("key", "list").code == 5
    assert terminal("migrate", "--json").json == {"from": "0002", "to": "0004"}
    terminal("init", "--owner", "ada")
    (first,) = terminal("key", "list", "--json").json["keys"]
    new = terminal("key", "rotate", first["id"], "--grace", "1h", "--json").json
    assert (new["old"]["id"], new["old"]["state"], new["key"]["state"]) == (first["id"], "grace", "active")
    assert terminal("key", "end-grace", first["id"], "--yes").code == 0
    assert terminal("key", "revoke", new["key"]["id"], "--yes", "--json").json["key"]["state"] == "revoked"
    assert terminal("audit", "--limit", "1", "--json").json["events"][0]["kind"] == "key.revoked"
