"""The command that looks whether all is as it should be."""

import asyncio
import os
import sqlite3
import stat
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import make_url

from keyguard import migrations
from keyguard.cli._doctor_postgres import listener_finding, server_finding
from keyguard.cli._doctor_sqlite import file_system_finding
from keyguard.cli._doctor_tables import clock_finding
from keyguard.cli._findings import Verdict
from keyguard.stores._schema import REVISION, VERSION
from keyguard.stores.sql import SQLStore

PEPPERS = [f"a-pepper-for-the-tests-{number}" for number in range(3)]
SECRETS = [f"a-secret-key-that-nobody-uses-{letter * 8}" for letter in "abc"]


def verdicts(ran):
    """What was found, by what it is about: the worst of each."""
    order = [each.value for each in Verdict]
    found = {}
    for each in ran.json["findings"]:
        found[each["about"]] = max(found.get(each["about"], "ok"), each["verdict"], key=order.index)
    return found


def said(ran, about):
    return " ".join(f"{each['what']} {each['to_do']}" for each in ran.json["findings"] if each["about"] == about)


def sql(*statements):
    """Change the database behind Keyguard's back."""
    with closing(sqlite3.connect("keys.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def mine(ada, tmp_path):
    """A terminal at a database that nobody else can read."""
    (tmp_path / "keys.db").chmod(0o600)
    return ada


def test_a_healthy_database(mine, key, tmp_path):
    """Where all is well each line says so, the exit code is 0, and no file is left that was not there."""
    before = {path.name for path in tmp_path.iterdir()}
    ran = mine("doctor", "--json")
    assert (ran.code, set(verdicts(ran).values()), ran.json["problems"]) == (0, {"ok"}, 0)
    abouts = {"file", "file system", "journal", "schema", "pepper", "triggers", "secret key", "times"}
    assert verdicts(ran).keys() == abouts
    assert {path.name for path in tmp_path.iterdir()} == before
    text = mine("doctor").out
    assert text.splitlines()[-1] == "0 problems, 0 warnings."
    assert max(map(len, text.splitlines())) <= 80


def test_it_changes_nothing(mine, key):
    """Not a byte of the tables is another one afterwards, nor is a pepper noted that is seen for the first time."""

    def dump():
        with closing(sqlite3.connect("keys.db")) as connection:
            return list(connection.iterdump())

    before = dump()
    ran = mine("doctor", "--json", KEYGUARD_PEPPERS=PEPPERS[0])
    assert "next start notes the first" in said(ran, "pepper")
    assert dump() == before


# --- the tables -------------------------------------------------------------------------------------------------

TABLES_THAT_DIFFER = {
    "older": (["UPDATE keyguard_meta SET value = '2' WHERE name = 'schema'"], "problem", "`keyguard migrate`"),
    "later": (
        [f"UPDATE keyguard_meta SET value = '{int(VERSION) + 1}' WHERE name = 'schema'"],
        "problem",
        "Update Keyguard",
    ),
    "strange": (["UPDATE keyguard_meta SET value = 'x' WHERE name = 'schema'"], "problem", "`keyguard migrate`"),
    "none": (["DROP TABLE keyguard_meta"], "problem", "Is it the right database?"),
    "empty": (["DELETE FROM keyguard_meta"], "problem", "keyguard_meta is empty"),
    "missing": (["DROP TABLE keyguard_uses"], "problem", "There is no table keyguard_uses."),
    "noted": (["UPDATE keyguard_alembic_version SET version_num = '0002'"], "warning", f"says 0002, not {REVISION}"),
    "unnoted": (["DROP TABLE keyguard_alembic_version"], "warning", "says None"),
}


@pytest.mark.parametrize("case", TABLES_THAT_DIFFER)
def test_tables_that_differ(mine, case):
    """Tables of another version are named with what to do, and what cannot be seen then is not called well."""
    statements, verdict, sentence = TABLES_THAT_DIFFER[case]
    sql(*statements)
    ran = mine("doctor", "--json")
    assert (ran.code, verdicts(ran)["schema"]) == (int(verdict == "problem"), verdict)
    assert sentence in said(ran, "schema")
    assert verdicts(ran)["triggers"] == ("cannot tell" if verdict == "problem" else "ok")
    assert verdicts(ran)["pepper"] == ("cannot tell" if case in {"none", "empty"} else "ok")


def test_a_missing_trigger(mine):
    """A trigger that is missing is named, with what it means."""
    sql("DROP TRIGGER keyguard_keys_update")
    ran = mine("doctor", "--json")
    assert (ran.code, verdicts(ran)["triggers"]) == (1, "problem")
    assert "keyguard_keys_update" in said(ran, "triggers")


APP = """
from sqlalchemy import Integer
from keyguard import Keyring
from keyguard.stores.sql import SQLStore, UserTable

store = SQLStore("sqlite+aiosqlite:///keys.db", users=UserTable("people", id_type=Integer(), superuser=None))
memory = SQLStore("sqlite+aiosqlite://")
uri = SQLStore("sqlite+aiosqlite:///file:keys.db?uri=true")
nothing = SQLStore("sqlite+aiosqlite:///nothing.db")
peppered = SQLStore("sqlite+aiosqlite:///keys.db", keyring=Keyring(peppers=["a-pepper-of-the-app-itself"]))
"""


@pytest.fixture
def shop(terminal, tmp_path, monkeypatch, request):
    """A terminal beside an app whose module has stores of its own."""
    name = f"shop_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.syspath_prepend(tmp_path)

    def run(store, *arguments):
        return terminal(*arguments, "--store", f"{name}:{store}")

    yield run
    sys.modules.pop(name, None)


def test_an_apps_own_user_table(shop):
    """With `--store` the app's user table is looked at: whether it is there, has its columns, and has triggers."""
    assert shop("store", "init").code == 0
    ran = shop("store", "doctor", "--json")
    assert "There is no table people" in said(ran, "schema")
    sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")
    assert "has no column is_active" in said(shop("store", "doctor", "--json"), "schema")
    sql("ALTER TABLE people ADD COLUMN is_active BOOLEAN")
    assert verdicts(shop("store", "doctor", "--json"))["triggers"] == "problem"
    assert shop("store", "init").code == 0
    assert verdicts(shop("store", "doctor", "--json"))["triggers"] == "ok"


@pytest.mark.parametrize(("store", "code"), [("memory", 2), ("uri", 2), ("nothing", 6)])
def test_a_store_with_nothing_to_see(shop, store, code):
    """A store in memory, behind a URI, or whose file is not there is none that could be looked at."""
    assert shop(store, "doctor").code == code


# --- peppers and secret keys ------------------------------------------------------------------------------------


def test_peppers(mine):
    """The noted pepper must be among those given; each more than two is one too many."""
    assert verdicts(mine("doctor", "--json"))["pepper"] == "ok"
    mine("key", "issue", "ada", KEYGUARD_PEPPERS=PEPPERS[0])
    expected = [([0], "ok", "the first is"), ([1, 0], "ok", "next start"), ([0, 1, 2], "warning", "3 peppers")]
    expected += [([], "problem", "which there are 0"), ([1], "problem", "which there are 1")]
    for numbers, verdict, sentence in expected:
        ran = mine("doctor", "--json", KEYGUARD_PEPPERS=" ".join(PEPPERS[number] for number in numbers))
        assert (verdicts(ran)["pepper"], sentence in said(ran, "pepper")) == (verdict, True), numbers
        assert not any(pepper in ran.out for pepper in PEPPERS)


def test_secret_keys(mine, tmp_path):
    """The secret keys are compared with what sealed the credentials, and no file is made for one."""

    def found(*numbers, **environment):
        keys = {"KEYGUARD_SECRET_KEY": " ".join(SECRETS[number] for number in numbers)} if numbers else {}
        ran = mine("doctor", "--json", **keys, **environment)
        assert not any(secret in ran.out for secret in SECRETS)
        return verdicts(ran)["secret key"], said(ran, "secret key")

    file = str(tmp_path / "secret.key")
    assert found()[0] == "ok"
    assert found(KEYGUARD_SECRET_KEY_FILE=file)[0] == "ok"
    mine("vault", "put", "ada", "A", stdin="x", KEYGUARD_SECRET_KEY=SECRETS[0])
    assert found()[0] == "cannot tell"
    assert found(0) == ("ok", "1 credential sealed with the first of 1 secret key. ")
    assert found(1, 0)[0] == "warning"
    assert found(1)[0] == "problem"
    assert found(KEYGUARD_SECRET_KEY_FILE=file)[0] == "problem"
    assert found(KEYGUARD_SECRET_KEY="short")[0] == "problem"
    assert not Path(file).exists()


# --- times ------------------------------------------------------------------------------------------------------


def test_what_lies_in_the_future(mine, key):
    """An event that is of tomorrow says that a clock was wrong."""
    sql("UPDATE keyguard_events SET at = at + 86400000000")
    ran = mine("doctor", "--json")
    assert (ran.code, verdicts(ran)["times"]) == (0, "warning")
    assert "The newest event is of a time that is 86" in said(ran, "times")


@pytest.mark.parametrize(
    ("seconds", "verdict", "sentence"),
    [(0, "ok", "agree"), (-6, "warning", "6 s behind"), (6, "warning", "6 s ahead of"), (61, "problem", "61 s")],
)
def test_clocks_that_differ(seconds, verdict, sentence):
    """A server's clock that differs by more than five seconds is told of, and by more than a minute is bad."""
    finding = clock_finding(timedelta(seconds=seconds))
    assert (finding.verdict.value, sentence in finding.what) == (verdict, True)


# --- SQLite's file ----------------------------------------------------------------------------------------------


def test_a_file_that_others_can_read_or_write(ada, tmp_path):
    """Who else can get to the file is told, and what to do; a directory that keeps others out is enough."""
    file = tmp_path / "keys.db"
    parents = [path for path in file.parents if path.stat().st_uid == os.getuid()]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in parents}
    try:
        for path, mode in modes.items():
            path.chmod(mode | 0o005)
        for mode, verdict in ((0o600, "ok"), (0o644, "warning"), (0o646, "problem")):
            file.chmod(mode)
            assert verdicts(ada("doctor", "--json"))["file"] == verdict
        tmp_path.chmod(0o777)
        assert "another file" in said(ada("doctor", "--json"), "file")
        tmp_path.chmod(0o700)
        assert verdicts(ada("doctor", "--json"))["file"] == "ok"
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_another_journal(mine):
    """A database without the write-ahead log is told of; looking at it does not switch it on."""
    sql("PRAGMA journal_mode=DELETE")
    assert verdicts(mine("doctor", "--json"))["journal"] == "warning"
    assert verdicts(mine("doctor", "--json"))["journal"] == "warning"


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /srv/with\\040blank rw shared:2 - nfs4 host:/share rw
41 40 0:41 / /srv/with\\040blank/local rw - tmpfs tmpfs rw
42 22 0:42 / /mnt/ssh rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("file", "kind", "verdict"),
    [
        ("/var/keys.db", "ext4", "ok"),
        ("/srv/with blank/keys.db", "nfs4", "problem"),
        ("/srv/with blank/local/keys.db", "tmpfs", "ok"),
        ("/mnt/ssh/deep/keys.db", "fuse.sshfs", "problem"),
    ],
)
def test_on_what_the_file_lies(tmp_path, file, kind, verdict):
    """A file on a network file system is a problem, whatever the directories below are called."""
    (tmp_path / "mounts").write_text(MOUNTS)
    finding = file_system_finding(Path(file), tmp_path / "mounts")
    assert (finding.verdict.value, kind in finding.what) == (verdict, True)


def test_a_system_that_does_not_say_on_what_a_file_lies(tmp_path):
    """Where the system does not say, nor does doctor."""
    assert file_system_finding(tmp_path / "keys.db", tmp_path / "none").verdict is Verdict.UNKNOWN


def test_what_is_no_database(terminal, tmp_path):
    """A file that SQLite cannot read is one sentence, and 6."""
    (tmp_path / "keys.db").write_text("This is no database, but a letter to nobody in particular. " * 20)
    ran = terminal("doctor")
    assert (ran.code, ran.out, "file is not a database" in ran.err) == (6, "", True)


def test_another_kind_of_database(ada, monkeypatch):
    """Of other kinds of database doctor knows nothing."""
    monkeypatch.setattr(SQLStore, "url", make_url("mysql://127.0.0.1/x"))
    ran = ada("doctor")
    assert (ran.code, "nothing of mysql" in ran.err) == (2, True)


# --- PostgreSQL -------------------------------------------------------------------------------------------------


@pytest.fixture
def served(terminal, postgres_url, monkeypatch):
    """A terminal at a database of PostgreSQL's with all tables."""
    monkeypatch.setenv("KEYGUARD_DATABASE_URL", postgres_url.replace("+asyncpg", ""))
    assert terminal("init", "--owner", "ada").code == 0
    return terminal


def test_a_healthy_server(served, postgres, database):
    """A lease is really granted, a notification really arrives, and of the row that this takes nothing is left."""
    ran = served("doctor", "--json")
    assert ran.code == 0
    assert verdicts(ran) == {
        "server": "warning",  # The tests' server runs with fsync = off.
        "clock": "ok",
        "schema": "ok",
        "pepper": "ok",
        "triggers": "ok",
        "secret key": "ok",
        "times": "ok",
        "workers": "ok",
        "listener": "ok",
    }
    assert postgres.psql("SELECT count(*) FROM keyguard_listener", database) == "0"


def test_workers_are_counted(served, postgres, database):
    """Leases that last are counted."""
    postgres.psql(
        "INSERT INTO keyguard_listener VALUES ('a', 1, now() + interval '1 hour'), ('b', 1, now() - interval '1 s')",
        database,
    )
    assert "1 lease held" in said(served("doctor", "--json"), "workers")


def test_notifications_that_do_not_arrive(served, postgres):
    """If what is notified does not reach `listen_url`, here another database, that is a problem."""
    other = postgres.create_database()
    ran = served("doctor", "--json", KEYGUARD_LISTEN_URL=postgres.url(other))
    postgres.drop_database(other)
    assert (ran.code, verdicts(ran)["listener"]) == (1, "problem")
    assert "KEYGUARD_LISTEN_URL" in said(ran, "listener")
    assert ran.err == ""


def test_a_server_with_older_tables(terminal, postgres_url, monkeypatch):
    """With tables of another version nobody is asked to listen."""
    monkeypatch.setenv("KEYGUARD_DATABASE_URL", postgres_url)
    asyncio.run(migrations.upgrade(postgres_url, "0002"))
    ran = terminal("doctor", "--json")
    assert (ran.code, verdicts(ran)["schema"], "listener" in verdicts(ran)) == (1, "problem", False)


def test_another_driver():
    """A driver that cannot listen is told of."""
    finding = asyncio.run(listener_finding(SimpleNamespace(driver="psycopg"), SQLStore("sqlite+aiosqlite://")))
    assert (finding.verdict, "psycopg" in finding.what) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    ("is_standby", "fsync", "verdict"), [(True, "on", "problem"), (False, "off", "warning"), (False, "on", "ok")]
)
def test_servers(is_standby, fsync, verdict):
    """A standby is the wrong server, and one without fsync a careless one."""
    assert server_finding(is_standby=is_standby, fsync=fsync).verdict.value == verdict


def test_a_server_that_is_not_there(terminal):
    """A server that cannot be reached leaves nothing to look at: one sentence, and 6."""
    ran = terminal("doctor", "--database", "postgresql://u:hunter2@127.0.0.1:1/x")
    assert (ran.code, ran.out, "hunter2" in ran.err) == (6, "", False)
