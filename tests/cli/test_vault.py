"""The commands on the vault."""

import stat

import pytest

from keyguard.vault import SecretKeys, Vault

SECRET_KEY = "not-the-one-that-anybody-uses-5hT2"
NEW_KEY = "another-one-that-nobody-uses-9xQ4zz"


@pytest.fixture
def vault(ada, monkeypatch):
    """A terminal whose environment has a secret key."""
    monkeypatch.setenv("KEYGUARD_SECRET_KEY", SECRET_KEY)
    return ada


def value(terminal, name, key=SECRET_KEY):
    async def get(store):
        return await Vault(store, SecretKeys([key])).get(await store.find_owner("ada"), name)

    return terminal.app(get)


def test_a_credential_comes_from_standard_input(vault):
    """`put` keeps all that it reads but for the last line's end, and `list` shows that there is one, and not what."""
    ran = vault("vault", "put", "ada", "PEM", "--metadata", '{"from": "ops"}', stdin="line one\nline two\n")
    assert (ran.code, ran.out) == (0, "Keeps PEM for ada.\n")
    assert value(vault, "PEM") == "line one\nline two"
    listed = vault("vault", "list", "--owner", "ada", "--json").json["credentials"]
    assert [(each["owner"]["name"], each["name"], each["metadata"]) for each in listed] == [
        ("ada", "PEM", {"from": "ops"})
    ]
    assert vault("vault", "list").out.splitlines()[1].split()[:2] == ["ada", "PEM"]
    assert "line one" not in vault("vault", "list", "--json").out


def test_a_value_is_never_an_argument(vault):
    """A third argument is refused, and not repeated: it is now in the shell's history, and need not be in a log."""
    ran = vault("vault", "put", "ada", "OPENAI_API_KEY", "hunter2")
    assert (ran.code, "hunter2" in ran.err) == (2, False)
    assert vault("vault", "list").err == "There is no such credential.\n"


def test_a_credential_is_not_replaced_unasked(vault):
    """`put` asks before it takes the place of another value, which nothing brings back."""
    vault("vault", "put", "ada", "A", stdin="one")
    ran = vault("vault", "put", "ada", "A", stdin="two")
    assert (ran.code, "Replace A of ada?" in ran.err, value(vault, "A", SECRET_KEY)) == (2, True, "one")
    assert vault("vault", "put", "ada", "A", "--yes", stdin="two").code == 0
    assert value(vault, "A", SECRET_KEY) == "two"


def test_a_credential_is_removed(vault):
    """`remove` asks first, and says if there is none."""
    vault("vault", "put", "ada", "A", stdin="x")
    assert "Remove A of ada?" in vault("vault", "remove", "ada", "A").err
    assert vault("vault", "remove", "ada", "A", "--yes").out == "Removed A of ada.\n"
    assert vault("vault", "remove", "ada", "A", "--yes").code == 3


def test_what_nobody_can_open_can_be_removed(ada):
    """Where the secret key is lost, `remove` still works: it takes none."""
    ada("vault", "put", "ada", "A", stdin="x", KEYGUARD_SECRET_KEY=SECRET_KEY)
    assert ada("vault", "remove", "ada", "A", "--yes").code == 0


def test_a_credential_that_somebody_else_removes_meanwhile(vault, monkeypatch):
    """Who comes too late is told that there is none."""
    vault("vault", "put", "ada", "A", stdin="x")

    async def too_late(*_, **__):
        return False

    monkeypatch.setattr(Vault, "remove", too_late)
    assert vault("vault", "remove", "ada", "A", "--yes").code == 3


def test_the_secret_key_is_changed(vault):
    """With a new key before the old one, `rotate` seals all again, so that the old one can go."""
    vault("vault", "put", "ada", "A", stdin="x")
    ran = vault("vault", "rotate", KEYGUARD_SECRET_KEY=f"{NEW_KEY} {SECRET_KEY}")
    assert ran.out == "Sealed 1 credential with the first secret key.\n"
    assert vault("vault", "rotate", "--json", KEYGUARD_SECRET_KEY=NEW_KEY).json == {"resealed": 0}
    assert value(vault, "A", NEW_KEY) == "x"


def test_the_vault_needs_its_secret_key(ada):
    """Without a secret key nothing is sealed; with another one than before the vault does not open."""
    ran = ada("vault", "put", "ada", "A", stdin="hunter2")
    assert (ran.code, "KEYGUARD_SECRET_KEY" in ran.err) == (2, True)
    assert ada("vault", "put", "ada", "A", stdin="x", KEYGUARD_SECRET_KEY=SECRET_KEY).code == 0
    ran = ada("vault", "put", "ada", "B", stdin="x", KEYGUARD_SECRET_KEY=NEW_KEY)
    assert (ran.code, NEW_KEY in ran.err) == (5, False)


def test_a_file_for_the_secret_key_is_made(ada, tmp_path):
    """Where KEYGUARD_SECRET_KEY_FILE names no file yet, one is made for its owner alone, and that is said."""
    ran = ada("vault", "put", "ada", "A", stdin="x", KEYGUARD_SECRET_KEY_FILE=str(tmp_path / "secret.key"))
    assert ran.code == 0
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert "secret.key" in ran.err
    assert (tmp_path / "secret.key").read_text().strip() not in ran.err
