"""What holds for every command: the way in, the exit codes, and what is not repeated."""

import logging
import sys

import pytest

import keyguard
from keyguard import errors
from keyguard.cli._failures import failure_of, masked
from keyguard.errors import KeyguardError
from keyguard.stores.sql import SQLStore

WRONG = {
    "no such command": (["inti"], 2, "No such command 'inti'."),
    "no such value": (["key", "list", "--state", "hunter2-hunter2-hunter2-hunter2"], 2, "'hunt…'"),
    "no such option": (["init", "--foo"], 2, "No such option"),
    "one argument too many": (["init", "hunter2"], 2, "a secret is never an argument"),
    "no database": (["migrate", "--database", ""], 2, "KEYGUARD_DATABASE_URL"),
    "an empty option": (["--database", "", "init"], 2, "which database?"),
    "an empty store": (["init", "--store", ""], 2, "module:attribute"),
    "a page before the first": (["audit", "--before", "-99999999999999999999"], 2, "greater than or equal to 1"),
    "what asyncpg cannot be told": (
        ["init", "--database", "postgresql://u:hunter2@127.0.0.1:1/x?connect_timeout=3"],
        2,
        "asyncpg does not know what the URL says with connect_timeout",
    ),
    "too long a duration": (["key", "issue", "ada", "--lifetime", "999999999w"], 2, "more days than"),
    "a time before all others": (["key", "issue", "ada", "--expires", "0001-01-01T00:00+01:00"], 2, "the year 1"),
    "too deep an object": (["key", "issue", "ada", "--metadata", '{"hunter2":' * 9999], 2, "a JSON object"),
    "no URL": (["migrate", "--database", "keys.db"], 2, "no URL of a database"),
    "in memory": (["init", "--database", "sqlite://"], 2, "would end with this command"),
    "no such file": (["migrate"], 6, "there is no database keys.db"),
    "no such directory": (["init", "--database", "sqlite:///no/keys.db"], 6, "there is no directory no"),
    "no server": (["init", "--database", "postgresql://u:hunter2@127.0.0.1:1/x"], 6, "cannot be reached"),
    "no driver": (["init", "--database", "mysql://u:hunter2@127.0.0.1:1/x"], 2, "needs the module"),
    "a key": (["init", f"--database=kg_3fJ2x0Qm7LpZ_{'a1B2c3D' * 7}"], 2, "keyguard key revoke 3fJ2x0Qm7LpZ"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_sentence(terminal, wrong):
    """What cannot be done ends with its exit code and a sentence on standard error, and repeats no secret."""
    arguments, code, sentence = WRONG[wrong]
    ran = terminal(*arguments, **({"KEYGUARD_DATABASE_URL": ""} if wrong == "no database" else {}))
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert sentence in ran.err
    assert "hunter2" not in ran.err.removesuffix("hunt…")
    assert "Traceback" not in ran.err


def test_a_database_that_does_not_belong_to_this_program(ada, tmp_path, monkeypatch):
    """A missing schema, a wrong pepper, a file that is none of SQLite's and a missing driver are one sentence each."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("This is no database, but a letter to nobody in particular. " * 20)
    ada("key", "issue", "ada", KEYGUARD_PEPPERS="the-pepper-that-made-the-keys")
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    cases = [
        ({"KEYGUARD_DATABASE_URL": "sqlite:///empty.db"}, 5, "`keyguard init` makes them"),
        ({"KEYGUARD_PEPPERS": "another-pepper-than-that-one"}, 5, "a pepper that is not among those given"),
        ({"KEYGUARD_DATABASE_URL": "sqlite:///text.db"}, 6, "file is not a database"),
        ({"KEYGUARD_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, 2, 'pip install "keyguard-asgi[postgres]"'),
    ]
    for environment, code, sentence in cases:
        ran = ada("owner", "list", **environment)
        assert (ran.code, ran.out, ran.err.count("\n"), sentence in ran.err) == (code, "", 1, True), ran
        assert not any(secret in ran.err for secret in ("hunter2", *environment.values()))


def test_the_help_of_everything_is_on_standard_output(terminal):
    """Alone, `keyguard` and each of its groups show their commands, in 80 columns."""
    for arguments in ([], ["owner"], ["key"], ["vault"], ["import"], ["key", "list", "--help"]):
        ran = terminal(*arguments)
        assert (ran.code, ran.err, ran.out.startswith("Usage: keyguard")) == (0, "", True)
        assert max(map(len, ran.out.splitlines())) <= 80


def test_the_version_is_said(terminal):
    """`--version` is that of the package."""
    assert terminal("--version").out == f"keyguard {keyguard.__version__}\n"


def test_a_mistake_of_our_own_quotes_nothing(ada, monkeypatch):
    """What nobody expected ends with 70 and its kind; `--verbose` says where, and neither says what the error says."""

    async def broken(*_, **__):
        raise RuntimeError("hunter" + str(2))  # Not as a literal: the line itself is shown.

    monkeypatch.setattr(SQLStore, "list_owners", broken)
    ran = ada("owner", "list")
    assert (ran.code, ran.out, ran.err.count("\n")) == (70, "", 1)
    loud = ada("owner", "list", "--verbose")
    assert (loud.code, "in broken" in loud.err) == (70, True)
    assert "RuntimeError" in ran.err
    assert "hunter2" not in ran.err + loud.err


def test_the_log_is_shown_and_left_as_it_was(ada):
    """Warnings of the library's go to standard error, once; afterwards its logger is as it was before."""
    log = logging.getLogger("keyguard")
    before = [*log.handlers], log.propagate, log.level
    ada.app(
        lambda store: store.change_schema(
            lambda connection: connection.exec_driver_sql("DROP TRIGGER keyguard_keys_update")
        )
    )
    ran = ada("owner", "list")
    assert (ran.code, ran.err.count("\n"), ran.err.startswith("Warning: the database lacks")) == (0, 1, True)
    assert ([*log.handlers], log.propagate, log.level) == before


def test_passwords_and_keys_in_sentences_are_masked():
    """Whatever a sentence quotes, neither the password of a URL nor a key is shown."""
    key = f"kg_3fJ2x0Qm7LpZ_{'a1B2c3D' * 7}"
    text = f"postgresql://u:hunter2@h/x and {key} and sk-{'a1B2c3D' * 6} and kg_3fJ2x0Qm7LpZ"
    assert masked(text) == "postgresql://u:…@h/x and kg_3fJ2… and sk-… and kg_3fJ2x0Qm7LpZ"


def test_an_exception_that_has_no_code_yet_is_our_mistake():
    """Each exception of the library has its exit code; one that is added without one shows as a mistake of ours."""
    assert failure_of(KeyguardError("new")).code == 70
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)} - {KeyguardError}
    assert [kind for kind in kinds if failure_of(kind("x")).code == 70] == []
