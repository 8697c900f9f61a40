"""Reading a Langflow database: all of it, as of one moment, and without a trace."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from langflow.building import DAY, NOON, PASSWORD, Langflow, a_key, an_id
from sqlalchemy import URL

from keyguard.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from keyguard.langflow import _source
from keyguard.langflow._rows import KEYS, USERS, VARIABLES
from keyguard.langflow._source import read


def a_database():
    langflow = Langflow()
    ada = langflow.user("ada")
    langflow.key(ada, a_key("one"))
    langflow.variable(ada, "REGION", "eu", kind="Generic")
    return langflow


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def count(source):
    return len(source.users.known), len(source.keys.known), len(source.variables.known)


# --- files of SQLite --------------------------------------------------------------------------------------------


async def test_a_file_at_rest_is_left_as_it_is(file):
    """A database that nobody has open is read without a change to it, and without a file beside it."""
    url = a_database().write_file(file)
    before = contents(file.parent)
    assert [*before] == ["langflow.db"]
    assert count(await read(url)) == (1, 1, 1)
    assert contents(file.parent) == before


async def test_what_is_in_the_log_is_read(file):
    """Of a database that is in use all that is committed is read, and neither it nor its log is changed."""
    url = a_database().write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE user SET username = 'grace'")
        before = contents(file.parent)
        assert before["langflow.db-wal"]
        source = await read(url)
        after = contents(file.parent)
    assert [user.name for user in source.users.known] == ["grace"]
    assert after.keys() == before.keys()
    assert (after["langflow.db"], after["langflow.db-wal"]) == (before["langflow.db"], before["langflow.db-wal"])


async def test_what_is_not_committed_is_not_read(file):
    """What a transaction has written that has not ended is not read, and is not waited for."""
    url = a_database().write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE user SET username = 'grace'")
        source = await read(url)
    assert [user.name for user in source.users.known] == ["ada"]


@pytest.mark.parametrize("with_index", [False, True])
async def test_a_copy_with_its_log(file, with_index):
    """Of a copy that was made with its log all is read, and no file is left beside it."""
    a_database().write_file(file)
    folder = file.parent / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE user SET username = 'grace'")
        for ending in ("", "-wal", "-shm") if with_index else ("", "-wal"):
            shutil.copy(f"{file}{ending}", folder)
    before = contents(folder)
    source = await read(f"sqlite:///{folder / file.name}")
    after = contents(folder)
    assert [user.name for user in source.users.known] == ["grace"]
    if with_index:  # An index is SQLite's to write anew, whoever reads.
        assert before.pop("langflow.db-shm")
        assert after.pop("langflow.db-shm")
    assert after == before


async def test_a_database_with_a_rollback_journal(file):
    """A database without write-ahead logging is read and left as it is."""
    url = a_database().write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    before = contents(file.parent)
    assert count(await read(url)) == (1, 1, 1)
    assert contents(file.parent) == before


async def test_a_transaction_that_was_cut_off(file):
    """What a transaction has left in the file that never ended is not read: it is Langflow's to take back."""
    a_database().write_file(file)
    folder = file.parent / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE user SET username = 'grace'")
        connection.executemany("INSERT INTO variable (value) VALUES (?)", [["x" * 4000]] * 50)
        for ending in ("", "-journal"):
            shutil.copy(f"{file}{ending}", folder)
    with pytest.raises(StoreUnavailable, match="cannot be read now"):
        await read(f"sqlite:///{folder / file.name}")


async def test_a_writer_that_comes_in_between(file, monkeypatch):
    """If the file changes while it is read as one at rest, it is read again, as one that somebody writes to."""
    url = a_database().write_file(file)
    tried = []
    really = _source._read_sqlite

    async def read_sqlite(path, options):
        tried.append(options)
        source = await really(path, options)
        if len(tried) == 1:
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                connection.execute("UPDATE user SET username = 'grace'")
        return source

    monkeypatch.setattr(_source, "_read_sqlite", read_sqlite)
    source = await read(url)
    assert [user.name for user in source.users.known] == ["grace"]
    assert tried == ["mode=ro&immutable=1", "mode=ro"]


async def test_a_writer_that_comes_while_a_copy_is_made(file, monkeypatch):
    """If somebody opens a copy and its log while they are copied they are read again, where they are."""
    a_database().write_file(file)
    folder = file.parent / "copy"
    folder.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE user SET username = 'grace'")
        for ending in ("", "-wal"):
            shutil.copy(f"{file}{ending}", folder)
    really = _source._read_copy

    async def read_copy(path):
        await really(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE user SET username = 'hedy'")

    monkeypatch.setattr(_source, "_read_copy", read_copy)
    source = await read(f"sqlite:///{folder / file.name}")
    assert [user.name for user in source.users.known] == ["hedy"]


async def test_all_tables_are_read_as_of_one_moment(file, monkeypatch):
    """What is committed while the tables are read one after the other is in none of them."""
    url = a_database().write_file(file)
    really = _source._rows

    def rows(connection, wanted, columns):
        found = really(connection, wanted, columns)
        writer.execute("DELETE FROM apikey")
        return found

    monkeypatch.setattr(_source, "_rows", rows)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("UPDATE user SET username = 'grace'")
        assert count(await read(url)) == (1, 1, 1)
        assert writer.execute("SELECT count(*) FROM apikey").fetchone() == (0,)


async def test_odd_names_of_files(file):
    """A path is taken as it is, whatever characters it has; a URL object says it without any doubt."""
    odd = file.with_name("what? 100%25 #1 ü.db")
    a_database().write_file(odd)
    assert count(await read(URL.create("sqlite", database=str(odd)))) == (1, 1, 1)


async def test_an_old_database_without_variables(file):
    """Where there is no table of variables there are none."""
    url = a_database().write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TABLE variable")
    assert count(await read(url)) == (1, 1, 0)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DROP TABLE apikey", "no table 'apikey'"),
        ('DROP TABLE "user"', "no table 'user'"),
        ("ALTER TABLE apikey DROP COLUMN api_key", "its table 'apikey' has no column 'api_key'"),
    ],
)
async def test_what_is_no_langflow_database(file, statement, sentence):
    """A database without Langflow's tables is refused by what it lacks."""
    url = a_database().write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(SchemaMismatch, match=f"this is no Langflow database: .*{sentence}"):
        await read(url)


async def test_a_file_that_is_not_there(file):
    """A path without a file is said to be one, and nothing is made there."""
    with pytest.raises(StoreUnavailable, match="there is no Langflow database at"):
        await read(f"sqlite:///{file}")
    assert contents(file.parent) == {}


async def test_a_file_that_is_no_database(file):
    """A file of another kind is said to be none, in one sentence."""
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable, match="cannot be read now: file is not a database"):
        await read(f"sqlite:///{file}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "langflow.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:langflow.db?uri=true",
        "mysql://ada:open-sesame@localhost/langflow",
        "postgresql://ada:open-sesame@localhost:port/langflow",
    ],
)
async def test_what_is_no_url_of_a_langflow_database(url):
    """What is no URL of a file of SQLite or of PostgreSQL is refused, and not quoted."""
    with pytest.raises(ConfigurationError, match="a Langflow database is given by its URL") as raised:
        await read(url)
    assert "sesame" not in str(raised.value)


# --- PostgreSQL -------------------------------------------------------------------------------------------------


async def test_a_server_is_asked_in_one_transaction_that_only_reads(postgres, database, postgres_url):
    """On PostgreSQL all is read in one transaction that can write nothing and sees one moment."""
    url = await a_database().write_server(postgres_url)
    postgres.psql(f"ALTER DATABASE {database} SET log_statement = 'all'")
    begin = postgres.log.stat().st_size
    assert count(await read(url)) == (1, 1, 1)
    log = postgres.log.read_text("utf-8")[begin:]
    assert log.count("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") == 1
    assert log.index("BEGIN ISOLATION LEVEL") < log.index("SELECT api_key")
    assert "COMMIT" not in log


@pytest.mark.parametrize("begins", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"])
async def test_the_urls_that_langflow_takes(postgres_url, begins):
    """A URL of PostgreSQL is taken for whatever driver it was written."""
    url = await a_database().write_server(postgres_url)
    assert count(await read(f"{url.replace('postgresql', begins, 1)}?sslmode=disable")) == (1, 1, 1)


async def test_an_option_that_the_driver_does_not_know(postgres_url):
    """An option in the URL that would be passed over or fail later is named at once."""
    with pytest.raises(ConfigurationError, match="the option 'connect_timeout' in the URL"):
        await read(f"{postgres_url}?connect_timeout=3&sslmode=disable")


async def test_ids_as_texts_on_a_server(postgres, database, postgres_url):
    """Ids may be texts on PostgreSQL, with dashes or without."""
    url = await a_database().write_server(postgres_url)
    postgres.psql(
        'ALTER TABLE "user" ALTER id TYPE text; '
        "ALTER TABLE apikey ALTER user_id TYPE text USING replace(user_id::text, '-', '')",
        database,
    )
    source = await read(url)
    assert [user.id for user in source.users.known] == [key.user_id for key in source.keys.known] == [str(an_id("ada"))]


async def test_a_server_that_is_not_there(postgres):
    """A server that does not answer is said to be one, without the password."""
    url = postgres.url(driver="postgresql").replace(str(postgres.port), "1")
    with pytest.raises(StoreUnavailable, match="the Langflow database cannot be read now") as raised:
        await read(url)
    assert "sesame" not in str(raised.value)


async def test_a_server_without_that_database(postgres):
    """A database that the server has not is said to be missing."""
    with pytest.raises(StoreUnavailable, match='database "nowhere" does not exist'):
        await read(postgres.url("nowhere", driver="postgresql"))


# --- rows -------------------------------------------------------------------------------------------------------

ID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"


def user(**values):
    return USERS.read([{"id": ID, "username": "ada"} | values])


def key(**values):
    return KEYS.read([{"id": ID, "user_id": ID, "api_key": "sk-"} | values])


def variable(**values):
    return VARIABLES.read([{"id": ID, "user_id": ID, "name": "REGION", "value": "eu"} | values])


@pytest.mark.parametrize("written", [ID, ID.upper(), DASHED, UUID(DASHED)])
def test_ids(written):
    """An id is read in each way in which it is written."""
    assert [each.id for each in user(id=written).known] == [DASHED]
    assert [each.user_id for each in key(user_id=written).known] == [DASHED]


@pytest.mark.parametrize("written", [None, "", "seven", 7])
def test_what_is_no_id(written):
    """A row whose own id is none cannot be read; one that refers to none belongs to nobody."""
    assert user(id=written).unreadable == key(id=written).unreadable == variable(id=written).unreadable == 1
    assert [each.user_id for each in key(user_id=written).known] == [""]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-03-01 12:00:00.000000", NOON),
        ("2026-03-01 12:00:00", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01 14:00:00+02:00", NOON),
        (NOON.replace(tzinfo=None), NOON),
        (datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        (None, None),
        ("", None),
    ],
)
def test_times(written, time):
    """A time is read in each way in which it is written; without a zone it is in UTC."""
    (row,) = key(created_at=written, expires_at=written, last_used_at=written).known
    assert (row.created_at, row.expires_at, row.last_used_at) == (time, time, time)
    assert user(create_at=written).known[0].created_at == user(created_at=written).known[0].created_at == time
    assert all(each.tzinfo is UTC for each in (row.created_at, row.expires_at) if each is not None)


@pytest.mark.parametrize("written", ["tomorrow", 1772366400, b"2026-03-01", "0001-01-01 00:00:00+02:00"])
def test_what_is_no_time(written):
    """A key whose expiry cannot be read is not taken for one without."""
    assert key(expires_at=written).unreadable == 1


@pytest.mark.parametrize(
    ("written", "flag"),
    [
        *((written, True) for written in (1, True, "1", "t", "true", "TRUE")),
        *((written, False) for written in (0, False, "0", "f", "false", "FALSE", None, "")),
    ],
    ids=repr,
)
def test_flags(written, flag):
    """What is true or false is read in each way in which it is written, and NULL is false."""
    (row,) = user(is_active=written, is_superuser=written).known
    assert (row.is_active, row.is_superuser) == (flag, flag)
    assert key(is_active=written).known[0].is_active == flag


@pytest.mark.parametrize("written", [2, -1, "yes", b"1"], ids=repr)
def test_what_is_no_flag(written):
    """What is neither true nor false makes nobody a superuser."""
    assert user(is_superuser=written).unreadable == 1


def test_a_release_without_columns():
    """What a release has no column for is not there: a key is active, never expires and was never used."""
    (row,) = key().known
    assert (row.is_active, row.expires_at, row.api_key_hash, row.total_uses, row.name) == (True, None, "", 0, "")
    assert (user().known[0].is_active, variable().known[0].default_fields) == (False, [])


@pytest.mark.parametrize(
    ("written", "uses"), [(7, 7), ("8", 8), (None, 0), (-7, 0), (2**63 - 1, 10**15), ("9" * 30, 10**15)]
)
def test_how_often_a_key_was_used(written, uses):
    """Uses are counted from 0 on, and so far that a database can go on counting."""
    assert key(total_uses=written).known[0].total_uses == uses


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ('["api_key", 7]', ["api_key"]),
        (["api_key"], ["api_key"]),
        ("{}", []),
        ("no JSON", []),
        ("[" * 100_000, []),
        (None, []),
    ],
    ids=lambda value: str(value)[:20],
)
def test_default_fields(written, fields):
    """The fields that a variable fills are a list of texts, and nothing where they are anything else."""
    assert variable(default_fields=written).known[0].default_fields == fields


def test_texts_that_cannot_be_kept():
    """A row with a text that no store takes cannot be read."""
    assert user(username="a\0b").unreadable == 1
    assert key(name="\udcff").unreadable == 1
    assert key(api_key=b"sk-").unreadable == 1
    assert variable(value="\udcff").unreadable == 1


async def test_what_is_no_utf8(file):
    """A text of other bytes makes its row unreadable, and no error that quotes it."""
    langflow = a_database()
    langflow.key(langflow.users[0]["id"], a_key("two"))
    url = langflow.write_file(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE apikey SET name = CAST(x'ff' AS TEXT) WHERE api_key = ?", [a_key("two")])
    source = await read(url)
    assert (len(source.keys.known), source.keys.unreadable) == (1, 1)


async def test_the_rows(place):
    """All that an import needs is read, from either kind of database, in the same form."""
    langflow = Langflow("1.13")
    ada = langflow.user("ada", is_superuser=True)
    langflow.key(
        ada,
        a_key("one"),
        api_key_hash="0" * 64,
        is_active=False,
        total_uses=3,
        last_used_at=NOON - DAY,
        expires_at=NOON + DAY,
    )
    langflow.variable(ada, "REGION", "eu", kind="Generic", fields=["region"])
    source = await read(await langflow.write(place))
    (user,), (key,), (variable,) = source.users.known, source.keys.known, source.variables.known
    assert (user.id, user.name, user.password) == (str(ada), "ada", PASSWORD)
    assert (user.is_active, user.is_superuser, user.created_at) == (True, True, NOON - 30 * DAY)
    assert (key.id, key.user_id, key.name, key.api_key) == (str(an_id("key 0")), str(ada), "laptop", a_key("one"))
    assert (key.api_key_hash, key.is_active, key.total_uses) == ("0" * 64, False, 3)
    assert (key.created_at, key.last_used_at, key.expires_at) == (NOON - 20 * DAY, NOON - DAY, NOON + DAY)
    assert (variable.user_id, variable.name, variable.value, variable.type) == (str(ada), "REGION", "eu", "Generic")
    assert (variable.default_fields, variable.updated_at) == (["region"], NOON - 5 * DAY)
