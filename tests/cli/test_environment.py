"""What the command line takes from the environment and from the app's own store."""

import asyncio
import getpass
import sys

import pytest

from keyguard import Keyring
from keyguard.cli._environment import VARIABLES, keyring_of
from keyguard.cli._failures import Failed
from keyguard.cli._invocation import Invocation, Options
from keyguard.langflow import LANGFLOW_KEYS
from keyguard.stores.sql import SQLStore

ONE, TWO = "a-pepper-of-the-tests", "another pepper, with blanks"


def test_an_empty_environment_is_the_default_keyring():
    """Without any variable, or with empty ones, the keyring is the one that a store has by itself."""
    assert keyring_of({}) == keyring_of(dict.fromkeys(VARIABLES, "")) == Keyring()


def test_each_variable_is_an_argument_of_the_keyring(tmp_path):
    """Prefix, peppers, formats and the longest life are taken from the environment, peppers also from a file."""
    keyring = keyring_of(
        {
            "KEYGUARD_PREFIX": "lf_live",
            "KEYGUARD_PEPPERS": f"{ONE}\n{ONE}-2",
            "KEYGUARD_FORMATS": "langflow",
            "KEYGUARD_MAX_LIFETIME": "90d",
        }
    )
    assert (keyring.prefix, keyring.formats) == ("lf_live", (LANGFLOW_KEYS,))
    assert keyring.pepper_bytes == (ONE.encode(), f"{ONE}-2".encode())
    assert keyring.max_lifetime.days == 90
    (tmp_path / "peppers").write_text(f"{ONE}\n\n{TWO}\n")
    assert keyring_of({"KEYGUARD_PEPPERS_FILE": str(tmp_path / "peppers")}).pepper_bytes == (ONE.encode(), TWO.encode())


def test_a_setting_that_cannot_be_right(ada, tmp_path):
    """Each is refused in one sentence that names the variable, or says what is allowed, and shows no pepper."""
    (tmp_path / "latin").write_bytes(b"a-pepper-with-\xe9-in-latin-1")
    wrong = [
        ({"KEYGUARD_PEPPERS": ONE, "KEYGUARD_PEPPERS_FILE": "x"}, "which of them holds the peppers?"),
        ({"KEYGUARD_PEPPERS_FILE": "nowhere"}, "No such file"),
        ({"KEYGUARD_PEPPERS_FILE": "latin"}, "not UTF-8"),
        ({"KEYGUARD_PEPPERS": "short-pepper"}, "at least 16 bytes"),
        ({"KEYGUARD_PEPPERS": f"{ONE}\udce9"}, "KEYGUARD_PEPPERS is not UTF-8"),
        ({"KEYGUARD_MAX_LIFETIME": "long"}, "KEYGUARD_MAX_LIFETIME: a duration is"),
        ({"KEYGUARD_FORMATS": "openai"}, "KEYGUARD_FORMATS knows"),
        ({"KEYGUARD_PREFIX": "No!"}, "a key prefix is"),
    ]
    for environment, sentence in wrong:
        ran = ada("owner", "list", **environment)
        assert (ran.code, ran.err.count("\n"), sentence in ran.err) == (2, 1, True), environment
        assert ONE not in ran.err
        assert "short-pepper" not in ran.err


def test_keys_are_made_as_the_environment_says(ada):
    """A key that is issued has the prefix and the longest life, and is made under the first pepper."""
    settings = {"KEYGUARD_PREFIX": "lf_live", "KEYGUARD_PEPPERS": ONE, "KEYGUARD_MAX_LIFETIME": "1h"}
    key = ada("key", "issue", "ada", "--json", **settings).json["key"]
    assert key["prefix"] == "lf_live_"
    assert key["expires_at"] is not None
    ran = ada("key", "issue", "ada", "--lifetime", "2h", **settings)
    assert (ran.code, "max_lifetime" in ran.err) == (2, True)
    ran = ada("key", "list")
    assert (ran.code, "made under a pepper, and none was given" in ran.err) == (5, True)


def test_the_options_name_the_database_before_the_environment(ada, tmp_path):
    """`--database` is stronger than the variable, behind the command than before it."""
    for name in ("first", "second"):
        ada("init", "--database", f"sqlite:///{name}.db")
        ada("owner", "add", name, "--database", f"sqlite:///{name}.db")

    def names(*arguments):
        return [owner["name"] for owner in ada(*arguments, "--json").json["owners"]]

    assert names("owner", "list") == ["ada"]
    assert names("--database", "sqlite:///first.db", "owner", "list") == ["first"]
    assert names("--database", "sqlite:///first.db", "owner", "list", "--database", "sqlite:///second.db") == ["second"]


def url_of(text):
    return Invocation(Options(database=text)).store(new=True).url


def test_urls_as_everybody_writes_them():
    """The driver is added, and `sslmode` is what asyncpg calls `ssl`; a URL that names its driver is left as it is."""
    assert url_of("sqlite:///keys.db").drivername == "sqlite+aiosqlite"
    for scheme in ("postgres", "postgresql"):
        url = url_of(f"{scheme}://u:p@host/x?sslmode=require")
        assert (url.drivername, dict(url.query)) == ("postgresql+asyncpg", {"ssl": "require"})
    assert dict(url_of("postgresql+asyncpg://u:p@host/x?ssl=require").query) == {"ssl": "require"}
    with pytest.raises(Failed, match="channel_binding"):
        url_of("postgresql://u:p@host/x?sslmode=require&channel_binding=require")


def test_a_file_that_sqlite_is_told_of_by_uri(terminal, tmp_path):
    """A file that is named as SQLite's own URI is not looked for beforehand."""
    url = f"sqlite:///file:{tmp_path}/keys.db?uri=true"
    assert terminal("init", "--database", url).code == 0
    assert (tmp_path / "keys.db").exists()


def test_an_unnamed_user(monkeypatch):
    """Where the machine's user has no name, as in many containers, the actor has its number."""

    def nobody():
        raise OSError("no name")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Invocation(Options()).actor.startswith("cli:")


APP = """
from sqlalchemy import Integer
from keyguard.stores.sql import SQLStore, UserTable

print("hello from the app")
people = UserTable("people", id_type=Integer(), superuser=None, name="nick")
store = SQLStore("sqlite+aiosqlite:///shop.db", users=people)
other = object()
"""


@pytest.fixture
def shop(terminal, tmp_path, monkeypatch):
    """A terminal beside an app that has its users in a table of its own."""
    (tmp_path / "shop_with_users.py").write_text(APP)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda *arguments, **environment: terminal(*arguments, "--store", "shop_with_users:store", **environment)
    sys.modules.pop("shop_with_users", None)


def change(statement):
    async def done():
        store = SQLStore("sqlite+aiosqlite:///shop.db")
        await store.change_schema(lambda connection: connection.exec_driver_sql(statement))
        await store.close()

    asyncio.run(done())


def test_the_apps_own_store(shop, terminal):
    """With `--store`, or KEYGUARD_STORE, owners are the app's users; what the app prints stays outside."""
    assert shop("init").code == 0
    change("CREATE TABLE people (id INTEGER PRIMARY KEY, nick TEXT, is_active BOOLEAN)")
    change("INSERT INTO people VALUES (7, 'ada', true)")
    document = shop("key", "issue", "ada", "--json").json
    assert document["key"]["owner"] == {"id": "7", "name": "ada", "is_active": True}
    ran = shop("owner", "add", "bob")
    assert (ran.code, "app's own table 'people'" in ran.err) == (4, True)
    listed = terminal("key", "list", "--json", KEYGUARD_STORE="shop_with_users:store").json["keys"]
    assert [key["id"] for key in listed] == [document["key"]["id"]]


def test_a_key_whose_owner_is_gone(shop):
    """A key of a user who was deleted says so, and can be revoked."""
    shop("init")
    change("CREATE TABLE people (id INTEGER PRIMARY KEY, nick TEXT, is_active BOOLEAN)")
    change("INSERT INTO people VALUES (7, 'ada', true)")
    key = shop("key", "issue", "ada", "--json").json["key"]["id"]
    change("DELETE FROM people")
    assert "7 (gone)" in shop("key", "show", key).out
    assert shop("key", "show", key, "--json").json["key"]["owner"] == {"id": "7", "name": None, "is_active": None}
    assert shop("key", "revoke", key, "--yes").code == 0
    assert "of owner 7" in shop("audit").out


def test_a_store_that_is_none(shop, terminal):
    """What `--store` names must be a store, and the only one that is named."""
    for target in ("shop_with_users:other", "shop_with_users:nothing", "shop_with_users", "no_such_module:store"):
        ran = terminal("owner", "list", "--store", target)
        assert (ran.code, ran.out, "Traceback" in ran.err) == (2, "", False), target
    ran = shop("owner", "list", "--database", "sqlite:///keys.db")
    assert (ran.code, "say one of them" in ran.err) == (2, True)
