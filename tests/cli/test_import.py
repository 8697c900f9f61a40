"""The command that takes users, keys and variables over from Langflow."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from langflow.building import DAY, NOON, SHORT_SECRET, Langflow, a_key, hash_of, seal

from keyguard.vault import SecretKeys, Vault

SECRET_KEY = "not-the-one-that-anybody-uses-5hT2"


@pytest.fixture
def url():
    """The URL of a Langflow database, outside of where the leak watch looks into databases."""
    db = Langflow()
    ada = db.user("ada", is_superuser=True)
    db.key(ada, seal(a_key("of ada"), SHORT_SECRET), api_key_hash=hash_of(a_key("of ada")))
    db.key(ada, a_key("off"), is_active=False, expires_at=NOON - DAY)
    db.key(ada, "no key")
    db.variable(ada, "TOKEN", seal("a token", SHORT_SECRET))
    with TemporaryDirectory(prefix="keyguard-langflow-") as folder:
        yield db.write_file(Path(folder, "langflow.db"))


@pytest.fixture
def langflow(terminal, url, monkeypatch):
    """Types `keyguard import langflow` at a database with tables, a vault, and the keyring that is due."""
    assert terminal("init").code == 0
    monkeypatch.setenv("KEYGUARD_FORMATS", "langflow")
    monkeypatch.setenv("KEYGUARD_SECRET_KEY", SECRET_KEY)
    monkeypatch.delenv("LANGFLOW_SECRET_KEY", raising=False)
    monkeypatch.delenv("LANGFLOW_DATABASE_URL", raising=False)
    return lambda *arguments, **more: terminal("import", "langflow", "--from", url, *arguments, **more)


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret_key"
    path.write_text(f"{SHORT_SECRET}\n", "utf-8")
    return path


def keys(terminal):
    return terminal("key", "list", "--json").json["keys"]


def test_a_plan_writes_nothing(langflow, terminal, secret_file):
    """With `--plan` it is said what would be taken over, and nothing is."""
    ran = langflow("--plan", "--secret-key-file", secret_file)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Would take over 4 rows. Nothing was written.\nusers: 1\n  1 new: taken over\n")
    assert (keys(terminal), terminal("owner", "list", "--json").json["owners"]) == ([], [])


def test_what_is_taken_over(langflow, terminal, secret_file):
    """Users, keys and variables are there after it, with who did it, and a second time there is nothing new."""
    ran = langflow("--secret-key-file", secret_file)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Took over 4 rows.\nusers: 1\n")
    assert "  1 left out\n" in ran.out
    assert sorted(key["state"] for key in keys(terminal)) == ["active", "expired"]

    async def get(store):
        return await Vault(store, SecretKeys([SECRET_KEY])).get(await store.find_owner("ada"), "TOKEN")

    assert terminal.app(get) == "a token"
    events = terminal("audit", "--json").json["events"]
    assert {event["kind"] for event in events} == {"owner.imported", "key.imported", "credential.imported"}
    assert all(event["actor"].startswith("cli:") for event in events)
    again = langflow("--secret-key-file", secret_file)
    assert again.out.startswith("There is nothing new to take over. Nothing was written.\n")
    assert len(terminal("audit", "--json").json["events"]) == len(events)


def test_as_json(langflow, secret_file):
    """As JSON there are all counts, and each row that somebody has to look at by its id."""
    ran = langflow("--json", "--plan", "--secret-key-file", secret_file)
    assert (ran.json["is_plan"], ran.json["new"], ran.json["warnings"]) == (True, 4, [])
    assert ran.json["users"] == {"rows": 1, "outcomes": {"new": 1}, "notes": {"superuser": 1, "bcrypt": 1}}
    assert ran.json["keys"]["outcomes"] == {"new": 2, "left_out": 1}
    (item,) = ran.json["to_look_at"]
    assert (item["kind"], item["outcome"], item["notes"]) == ("keys", "left_out", ["unknown_form"])
    assert len(item["id"]) == 36


@pytest.mark.parametrize("how", ["environment", "standard input", "prompt"])
def test_where_the_secret_comes_from(langflow, monkeypatch, how):
    """The secret comes from Langflow's own variable, from standard input or from a prompt."""
    match how:
        case "environment":
            ran = langflow("--json", LANGFLOW_SECRET_KEY=SHORT_SECRET)
        case "standard input":
            ran = langflow("--json", "--secret-key-file", "-", stdin=f"{SHORT_SECRET}\n")
        case "prompt":
            monkeypatch.setattr("keyguard.cli._asking._is_terminal", lambda: True)
            monkeypatch.setattr("getpass.getpass", lambda prompt: SHORT_SECRET)
            ran = langflow("--json", "--secret-key-file", "-")
    assert (ran.code, ran.json["new"], ran.json["warnings"]) == (0, 4, [])


def test_without_a_secret(langflow):
    """Without the secret what needs it is left out, and a warning says so."""
    ran = langflow()
    assert ran.code == 0
    assert ran.err == "Warning: 2 rows are encrypted, and no secret was given to open them.\n"
    assert ran.out.startswith("Took over 3 rows.")  # One of the keys by its hash.


def test_without_a_vault_and_the_keyring(langflow, monkeypatch, secret_file):
    """Without a secret key of the vault's variables are left out; a keyring that refuses the keys is warned of."""
    monkeypatch.delenv("KEYGUARD_SECRET_KEY")
    monkeypatch.delenv("KEYGUARD_FORMATS")
    ran = langflow("--json", "--secret-key-file", secret_file)
    assert ran.json["variables"]["notes"]["no_vault"] == 1
    assert ["Keyring(formats=[LANGFLOW_KEYS])" in warning for warning in ran.json["warnings"]] == [True]


def test_where_the_database_comes_from(terminal, url, secret_file):
    """The database may be named as Langflow has it, in its own variable."""
    terminal("init")
    assert "--from" in terminal("import", "langflow").err
    ran = terminal("import", "langflow", "--secret-key-file", secret_file, LANGFLOW_DATABASE_URL=url)
    assert (ran.code, ran.out.startswith("Took over 3 rows.")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--from", "langflow.db"], 2, "a Langflow database is given by its URL"),
        (["--from", "sqlite:///missing.db"], 6, "there is no Langflow database at"),
        (["--from", "sqlite:///keys.db"], 5, "this is no Langflow database: it has no table 'user'"),
        (["--secret-key-file", "missing"], 2, "cannot be read: No such file or directory"),
        (["--secret-key-file", sys.executable], 2, "cannot be read: it is not UTF-8"),
        (["--secret-key-file", "wrong"], 2, "this cannot be Langflow's secret"),
        (["--secret-key-file", "-"], 2, "Langflow's secret key is read from standard input, and there was none"),
    ],
)
def test_what_goes_wrong(langflow, arguments, code, sentence):
    """What cannot be done is one sentence, with the exit code of its kind."""
    Path("wrong").write_text("x" * 33, "utf-8")
    ran = langflow(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert sentence in ran.err
    assert "xxx" not in ran.err


def test_the_vaults_secret_key_is_another_one(langflow, secret_file, terminal):
    """A vault that was sealed with another secret key ends it before anything is written."""
    assert terminal("owner", "add", "bob").code == 0
    assert terminal("vault", "put", "bob", "A", stdin="x").code == 0
    ran = langflow("--secret-key-file", secret_file, KEYGUARD_SECRET_KEY="another-one-that-nobody-uses-9xQ4zz")
    assert (ran.code, keys(terminal)) == (5, [])


def test_an_unknown_format(terminal):
    """A form of key that the command line does not know is refused by its name."""
    terminal("init")
    ran = terminal("key", "list", KEYGUARD_FORMATS="langflow openai")
    assert (ran.code, "KEYGUARD_FORMATS knows 'langflow'; not 'openai'" in ran.err) == (2, True)


def test_an_imported_key_is_named_whole(langflow, terminal):
    """The name of an imported key, which is its prefix and its id, is not taken for a key and masked."""
    langflow()
    for key in keys(terminal):
        ran = terminal("key", "revoke", key["id"])
        assert (ran.code, f"sk-{key['id']}" in ran.err) == (2, True)
