"""The reference of the command line says what is so, and leaves nothing out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from leaks import WATCH
from test_docs import DOCS, TABLES, blocks, cells
from typer.main import get_command

from keyguard.cli._commands import app
from keyguard.cli._failures import ExitCode
from keyguard.model import AuditKind

PAGE = DOCS / "reference" / "cli.md"
TEXT = PAGE.read_text("utf-8")
COMMANDS = TABLES.commands()
WITHOUT_A_STORE = {"check", "explain"}


def section(name):
    """What stands below a command's heading, up to the next one."""
    return re.split(r"^#+ ", TEXT.split(f"# {name}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_command_has_its_section():
    """Each command has a heading of its own, below that of its group, in the order of the help; and none is made up."""
    headings = re.findall(r"^#{2,3} ([a-z-]+(?: [a-z-]+)?)$", TEXT, re.MULTILINE)
    assert [each for each in headings if each not in {"owner", "key", "vault"}] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_its_commands_section(name):
    """Below a command's heading stands the table of all its options, or that it takes none."""
    own = [param for param in COMMANDS[name].params if param.opts[0] not in TABLES.ALWAYS]
    table = f"```{{code-table}} cli-{name.replace(' ', '-')}\n"
    assert table in section(name) if own else "It takes no arguments." in section(name)
    if own:
        _, rows = cells(TABLES.command_table(name))
        named = [name for row in rows for name in re.findall(r"`(--[a-z-]+|[A-Z:]+)", row[0])]
        assert named == [
            param.metavar if param.param_type_name == "argument" else option
            for param in own
            for option in ([""] if param.param_type_name == "argument" else [*param.opts, *param.secondary_opts])
        ]
        assert all(row[1] for row in rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options_that_all_have(name):
    """Each command takes the options of the first table; without a store, but for those that name one."""
    expected = {*TABLES.ALWAYS} - ({"--database", "--store"} if name in WITHOUT_A_STORE else set())
    assert expected == {param.opts[0] for param in COMMANDS[name].params} & {*TABLES.ALWAYS}


def test_the_options_before_a_command_are_in_the_first_table():
    """What may stand before a command is in the table of what all have."""
    _, rows = cells(TABLES.always_table())
    assert {row[0].strip("`").split()[0] for row in rows} == {param.opts[0] for param in get_command(app).params}


def test_every_exit_code_is_explained():
    """Each exit code has its row."""
    assert set(TABLES.EXIT_CODES) == set(ExitCode)


def test_every_variable_is_in_the_table():
    """Each variable that the sources of the command line and the vault read is in the table."""
    root = DOCS.parent / "src" / "keyguard"
    sources = [*(root / "cli").glob("*.py"), *(root / "vault").glob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(KEYGUARD_\w+)"', path.read_text("utf-8"))}
    _, rows = cells(TABLES.environment_table())
    assert {row[0].strip("`") for row in rows} == read | {"NO_COLOR"}


def test_every_kind_of_event_is_named():
    """The section on the audit names each kind, in order."""
    kinds = section("audit").rpartition("The kinds are ")[2]
    assert re.findall(r"`([a-z._]+)`", kinds) == [kind.value for kind in AuditKind]


def test_everything_that_doctor_looks_at_is_named():
    """The table of the doctor names each thing that the sources have a finding about."""
    sources = (DOCS.parent / "src" / "keyguard" / "cli").glob("_doctor*.py")
    abouts = {
        match
        for path in sources
        for match in re.findall(
            r'(?:about(?:, \w+)* = |(?:fine|warning|problem|unknown)\()"([a-z ]+)"', path.read_text()
        )
    }
    assert abouts == set(re.findall(r"^\| `([a-z ]+)` \|", section("doctor"), re.MULTILINE))


def test_the_commands_of_the_reference_run(terminal, tmp_path):
    """What the page says to type does what it says, typed in order."""
    shim = tmp_path / "bin" / "keyguard"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m keyguard.cli "$@"\n')
    shim.chmod(0o755)
    environment = {**os.environ, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    for info, text in blocks(PAGE):
        if info == "sh":
            ran = subprocess.run(
                ["sh", "-ec", text], env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            assert ran.returncode == 0, ran.stderr
            WATCH.see("what the reference's commands say", ran.stdout + ran.stderr)
    for name in ("key.txt", "ci.txt"):
        assert re.fullmatch(r"kg_\w{12}_\w{49}\n", Path(name).read_text())
