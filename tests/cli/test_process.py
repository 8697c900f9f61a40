"""The command as a process of its own: what the shell sees, and what a person at a terminal does."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import terminal
from leaks import WATCH

KEYGUARD = [sys.executable, "-m", "keyguard.cli"]
PATIENCE = 60.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""

FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def prepared(ada):
    """A database with the owner ada, in the working directory."""


def run(*arguments, **options):
    return subprocess.run(
        [*KEYGUARD, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE, **options
    )


class Person(terminal.Person):
    def __init__(self, *arguments, **environment):
        super().__init__([*KEYGUARD, *arguments], {**os.environ, **environment})


def test_only_the_key_goes_to_standard_output():
    """`keyguard key issue ada > key.txt` gives a file with the key and nothing else."""
    ran = run("key", "issue", "ada")
    WATCH.key(ran.stdout.strip())
    assert (ran.returncode, ran.stdout.count("\n"), ran.stderr.count("\n")) == (0, 1, 1)
    assert ran.stdout.startswith("kg_")
    WATCH.see("standard error", ran.stderr)


def test_no_key_is_made_where_nothing_can_be_printed(ada):
    """With standard output closed, nothing is issued."""
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *KEYGUARD, "key", "issue", "ada"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (ran.returncode, "standard output is closed" in ran.stderr) == (2, True)
    assert ada("key", "list", "--json").json["keys"] == []


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_key_that_could_not_be_printed_is_named(ada):
    """If standard output fails after the key was made, the sentence names the key that is to be revoked."""
    with FULL.open("w") as full:
        ran = subprocess.run(
            [*KEYGUARD, "key", "issue", "ada"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    (key,) = ada("key", "list", "--json").json["keys"]
    assert (ran.returncode, f"nobody has it: revoke kg_{key['id']}" in ran.stderr) == (74, True)
    assert ran.stderr.count("\n") == 1


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_what_cannot_be_printed_is_said():
    """A list that cannot be written ends with 74, and why."""
    with FULL.open("w") as full:
        ran = subprocess.run(
            [*KEYGUARD, "key", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert (ran.returncode, ran.stderr.splitlines()) == (
        74,
        ["keyguard: standard output cannot be written: No space left on device."],
    )


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["key"], ["--version"]])
def test_help_that_cannot_be_printed(arguments):
    """What is no command's own output ends with 74 and a sentence, too."""
    with FULL.open("w") as full:
        ran = subprocess.run(
            [*KEYGUARD, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE
        )
    assert (ran.returncode, ran.stderr.splitlines()) == (
        74,
        ["keyguard: standard output cannot be written: No space left on device."],
    )


@pytest.mark.parametrize(
    "where",
    ["2>&-", pytest.param("2>/dev/full", marks=pytest.mark.skipif(not FULL.exists(), reason="only Linux has it"))],
)
def test_standard_output_holds_the_key_alone_where_nothing_else_can_be_said(where):
    """Without a standard error, or with a full one, a key is issued all the same, and nothing else stands beside it."""
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", *KEYGUARD, "key", "issue", "ada"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    WATCH.key(ran.stdout.strip())
    assert (ran.returncode, ran.stdout.count("\n"), ran.stdout[:3]) == (0, 1, "kg_")


def test_a_locale_without_all_characters(ada):
    """A name that the terminal's encoding lacks is shown with escapes."""
    ada("owner", "add", "Köln")
    ran = run("owner", "list", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (ran.returncode, r"K\xf6ln" in ran.stdout, ran.stderr) == (0, True, "")


@pytest.mark.parametrize("mode", ["strict", "surrogateescape"])
def test_a_password_that_is_no_text(mode):
    """Bytes that are not UTF-8 are refused in one sentence, however much Python lets pass."""
    ran = subprocess.run(
        [*KEYGUARD, "owner", "passwd", "ada"],
        input=b"hunter2\xff\n",
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONIOENCODING": f"utf-8:{mode}"},
    )
    sentence = b"keyguard: Password is a text, and what was read is none in UTF-8. Nothing was done.\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, b"", sentence)


def test_a_password_from_nowhere():
    """With standard input closed there is no password."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *KEYGUARD, "owner", "passwd", "ada"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (ran.returncode, "there was none" in ran.stderr) == (2, True)


def test_a_reader_who_goes_away_is_no_failure():
    """`keyguard owner list | head -0` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [*KEYGUARD, "owner", "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_ctrl_c_ends_with_130():
    """An interrupt while the database is waited for ends with 130, without a word about it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        url = f"postgresql://u:hunter2@127.0.0.1:{server.getsockname()[1]}/x"
        # Where the tests run in the background interrupts are ignored, and so they would be by their children.
        heeding = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
        heeding += "runpy.run_module('keyguard.cli', run_name='__main__', alter_sys=True)"
        arguments = [sys.executable, "-c", heeding, "owner", "list", "--database", url]
        command = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        connection, _ = server.accept()
        command.send_signal(signal.SIGINT)
        _, error = command.communicate(timeout=PATIENCE)
        connection.close()
    assert (command.returncode, error) == (130, "")


@pytest.mark.parametrize(
    ("answer", "code", "state"), [("y\n", 0, "revoked"), ("\n", 2, "active"), ("\x03", 130, "active")]
)
def test_a_person_is_asked(ada, key, answer, code, state):
    """At a terminal what cannot be undone is asked for; only a yes is one, and Ctrl-C is 130."""
    person = Person("key", "revoke", key)
    person.reads(f"Revoke kg_{key} “ci” of ada? That cannot be undone. [y/N]")
    person.types(answer)
    assert person.leaves() == code
    assert ada("key", "show", key, "--json").json["key"]["state"] == state


def test_a_password_is_typed_unseen_and_twice(ada):
    """At a terminal a password is asked for twice, and does not show."""
    person = Person("owner", "passwd", "ada")
    person.reads("Password: ")
    person.types("correct horse\n")
    person.reads("Password, once more: ")
    person.types("correct horse\n")
    assert person.leaves() == 0
    assert "correct" not in person.seen
    assert "ada has a new password." in person.seen


def test_two_different_passwords_are_none():
    """If the second time is not the first, nothing is set."""
    person = Person("owner", "passwd", "ada")
    person.reads("Password: ")
    person.types("one\n")
    person.reads("once more: ")
    person.types("two\n")
    assert person.leaves() == 2
    assert "Those are two different ones." in person.seen


def test_ctrl_c_at_a_prompt_is_130():
    """Who thinks better of it at the prompt ends the command with 130."""
    person = Person("owner", "passwd", "ada")
    person.reads("Password: ")
    person.types("\x03")
    assert person.leaves() == 130


def test_ctrl_d_at_a_prompt_is_no_password():
    """The end of input at a prompt is no password."""
    person = Person("owner", "passwd", "ada")
    person.reads("Password: ")
    person.types("\x04")
    assert person.leaves() == 2


def test_a_terminal_shows_the_heads_of_tables_bold_unless_told_not_to():
    """At a terminal the head of a table is bold; NO_COLOR takes the colours, and TERM=dumb everything."""
    person = Person("owner", "list", TERM="xterm")
    assert (person.leaves(), "\x1b[1m" in person.seen) == (0, True)
    person = Person("owner", "list", TERM="dumb")
    assert (person.leaves(), "\x1b" in person.seen) == (0, False)


def test_without_the_extra_one_sentence_says_what_to_install():
    """Without Typer, Rich or Alembic there is one sentence, and 2."""
    for absent in ("typer", "rich", "alembic"):
        code = f"import sys; sys.modules[{absent!r}] = None; from keyguard.cli import main; main()"
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert 'pip install "keyguard-asgi[cli]"' in ran.stderr


def test_what_else_is_missing_is_not_taken_for_the_extra():
    """A module that is missing for another reason is no missing extra."""
    code = "import sys; sys.modules['sqlalchemy'] = None; from keyguard.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert "sqlalchemy" in ran.stderr.splitlines()[-1]
