"""The command `langflow-server`: what each of its commands does, and the one sentence that it ends with otherwise."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
from langflow_serving import PASSWORD, SUPERUSER, environment
from leaks import WATCH
from terminal import Person
from typer.testing import CliRunner

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore
from langflow_server.cli import main
from langflow_server.server import Server
from langflow_server.settings import load
from langflow_server.start import prepare

KEY = re.compile(r"lf_\w+\n")


class CommandLine:
    """Types commands in a folder of its own, under what the environment says there."""

    def __init__(self, directory, told):
        self.directory = directory
        self.told = told

    def types(self, *arguments, code=0, **more):
        told = environment(self.directory, **self.told, **more)
        if arguments[0] == "run" and "--port" not in arguments:  # Somebody may have taken the usual one.
            arguments = (*arguments, "--port", "0")
        unset = {name: None for name in os.environ if name.startswith("LANGFLOW_")}
        ran = CliRunner().invoke(main, arguments, env=unset | told)
        assert ran.exit_code == code, f"{ran.output}\n{ran.exception!r}"
        WATCH.see("standard error", ran.stderr)
        assert "Traceback" not in ran.output
        return ran

    def refuses(self, *arguments, **more):
        """The sentence that a command ends with, and nothing else."""
        ran = self.types(*arguments, code=1, **more)
        assert ran.stdout == ""
        return ran.stderr

    def owner_of(self, key):
        """The name of whom a key belongs to, if it is good."""

        async def found():
            async with Server(self.settings).opened() as server:
                with_id = key.strip().split("_")[1]
                record = next(each for each in await server.store.list_keys() if each.id == with_id)
                return (await server.store.get_owner(record.owner_id)).name

        return asyncio.run(found())

    def signs_in(self, name, password):
        async def verified():
            async with Server(self.settings).opened() as server:
                return await lifecycle.verify_password(server.store, name, password)

        return asyncio.run(verified())

    @property
    def settings(self):
        return load(environment(self.directory, **self.told), env_file=os.devnull)


@pytest.fixture(params=["sqlite", "postgres"])
def shell(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {}
    if request.param == "postgres":
        told["LANGFLOW_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return CommandLine(tmp_path, told)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """The same on SQLite only, for what no database has to do with."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, {})


NO_PASSWORD = {"LANGFLOW_SUPERUSER_PASSWORD": None}
AUTO_LOGIN = {"LANGFLOW_AUTO_LOGIN": "true"}

# --- api-key ------------------------------------------------------------------------------------------------------


def test_without_auto_login_a_key_needs_the_superusers_password(shell):
    """With the superuser's name and password a key is printed, alone on standard output; with others none is made."""
    ran = shell.types("api-key", "--name", "mine")
    assert KEY.fullmatch(ran.stdout)
    assert "'mine'" in ran.stderr
    assert shell.owner_of(ran.stdout) == SUPERUSER
    assert "There is no superuser 'root' with that password" in shell.refuses(
        "api-key", LANGFLOW_SUPERUSER_PASSWORD="not the password"
    )
    assert "nobody is there to be asked" in shell.refuses("api-key", **NO_PASSWORD)


def test_with_auto_login_a_key_is_made_at_once(shell):
    """With AUTO_LOGIN nothing is asked: the key is the superuser's. Where there is no superuser, none is made up."""
    shell.types("superuser")
    ran = shell.types("api-key", **NO_PASSWORD, **AUTO_LOGIN)
    assert KEY.fullmatch(ran.stdout)
    assert shell.owner_of(ran.stdout) == SUPERUSER
    said = shell.refuses("api-key", **NO_PASSWORD, **AUTO_LOGIN, LANGFLOW_SUPERUSER="somebody")
    assert "There is no superuser 'somebody'" in said


def test_skipping_authentication_does_not_excuse_the_command(alone):
    """SKIP_AUTH_AUTO_LOGIN speaks of requests; who is to have a key says who they are all the same."""
    alone.types("superuser")
    skipped = {"LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true"}
    assert "nobody is there to be asked" in alone.refuses("api-key", **NO_PASSWORD, **skipped)
    assert "with that password" in alone.refuses("api-key", LANGFLOW_SUPERUSER_PASSWORD="not the password", **skipped)


def test_a_name_that_no_list_could_show_is_refused(alone):
    """A key's name is as long as the API allows it to be, and no longer."""
    assert "200 characters at most" in alone.refuses("api-key", "--name", "x" * 201)
    assert KEY.fullmatch(alone.types("api-key", "--name", "x" * 200).stdout)


def test_a_user_makes_no_key_at_the_command_line(shell):
    """The name and the password of a user who is no superuser, or not active, make no key."""
    shell.types("superuser")

    async def add(name, *, active):
        async with Server(shell.settings).opened() as server:
            owner = await lifecycle.add_owner(server.store, name, is_superuser=not active, password=PASSWORD)
            if not active:
                await lifecycle.deactivate(server.store, owner)

    asyncio.run(add("ada", active=True))
    asyncio.run(add("eve", active=False))
    for name in ("ada", "eve"):
        for more in ({}, AUTO_LOGIN):
            said = shell.refuses("api-key", LANGFLOW_SUPERUSER=name, **more)
            assert f"There is no superuser '{name}'" in said


def test_other_keys_are_not_touched(shell):
    """Each call adds a key; the others stay as they are."""
    first = shell.types("api-key").stdout
    second = shell.types("api-key").stdout

    async def kept():
        async with Server(shell.settings).opened() as server:
            return await server.store.list_keys()

    records = asyncio.run(kept())
    assert {record.id for record in records} == {first.split("_")[1], second.split("_")[1]}
    assert all(record.revoked_at is record.disabled_at is None for record in records)


def test_before_the_first_start_there_is_no_superuser(alone):
    """Without a password nothing is generated that nobody would see: the sentence says what makes the data."""
    said = alone.refuses("api-key", **NO_PASSWORD, **AUTO_LOGIN)
    assert "langflow.db" in said
    assert " run` makes it" in said
    assert not (alone.directory / "config").exists()


def test_a_person_types_name_and_password(tmp_path):
    """At a terminal both are asked for, the password is not shown, and the key is all that standard output gets."""
    told = environment(tmp_path, LANGFLOW_SUPERUSER=None)
    asyncio.run(prepare(load(told | {"LANGFLOW_SUPERUSER": "ada"}, env_file=os.devnull)))
    shell = f"cd {tmp_path}; {sys.executable} -m langflow_server api-key > key.txt"
    person = Person(["/bin/bash", "-c", shell], {**told, "LANGFLOW_SUPERUSER_PASSWORD": ""})
    person.reads("Superuser [langflow]: ")
    person.types("ada\n")
    person.reads("Password: ")
    person.types(f"{PASSWORD}\n")
    assert person.leaves() == 0, person.seen
    assert PASSWORD not in person.seen
    assert "A key of the superuser 'ada'" in person.seen
    key = (tmp_path / "key.txt").read_text()
    assert KEY.fullmatch(key)
    assert key.strip() not in person.seen


# --- superuser ----------------------------------------------------------------------------------------------------


def test_the_superuser_is_made(shell):
    """Before the first start the command makes all that a start makes, and says whom."""
    assert shell.types("superuser").stdout == "The superuser 'root' was made.\n"
    assert shell.signs_in(SUPERUSER, PASSWORD).is_superuser


def test_the_superuser_gets_a_new_password(shell):
    """The password is another one afterwards, and the command says so. With the same one, nothing is changed."""
    shell.types("superuser")
    assert "Nothing was changed" in shell.types("superuser").stdout
    said = shell.types("superuser", LANGFLOW_SUPERUSER_PASSWORD="another password").stdout
    assert "'root' has a new password" in said
    assert shell.signs_in(SUPERUSER, PASSWORD) is None
    assert shell.signs_in(SUPERUSER, "another password")


def test_whom_the_settings_name_is_a_superuser_afterwards(shell):
    """An owner of that name who has no rights, or is not active, gets both, and the command says so."""
    shell.types("superuser")

    async def demote():
        async with Server(shell.settings).opened() as server:
            owner = await server.store.find_owner(SUPERUSER)
            await lifecycle.set_superuser(server.store, owner, superuser=False)
            await lifecycle.deactivate(server.store, owner)

    asyncio.run(demote())
    said = shell.types("superuser").stdout
    assert "is active again" in said
    assert "is a superuser" in said
    assert shell.signs_in(SUPERUSER, PASSWORD).is_superuser


def test_a_person_types_the_new_password_twice(tmp_path):
    """At a terminal a password that is not given is asked for twice, and never shown."""
    told = {**environment(tmp_path), "LANGFLOW_SUPERUSER_PASSWORD": ""}
    person = Person(["/bin/bash", "-c", f"cd {tmp_path}; {sys.executable} -m langflow_server superuser"], told)
    person.reads("New password of root: ")
    person.types("correct horse\n")
    person.reads("New password of root, once more: ")
    person.types("correct horse\n")
    assert person.leaves() == 0, person.seen
    assert "The superuser 'root' was made." in person.seen
    assert "correct horse" not in person.seen
    assert CommandLine(tmp_path, {}).signs_in(SUPERUSER, "correct horse")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["correct horse\n", "correct house\n"], "two different"),
        (["\n", "\n"], "one character"),
        (["\x04"], "one character"),
    ],
)
def test_a_password_that_is_mistyped_is_not_set(tmp_path, typed, said):
    """Two different ones, or none, end the command with a sentence, and nothing is made."""
    told = {**environment(tmp_path), "LANGFLOW_SUPERUSER_PASSWORD": ""}
    person = Person(["/bin/bash", "-c", f"cd {tmp_path}; {sys.executable} -m langflow_server superuser"], told)
    for question, answer in zip(["New password of root: ", "New password of root, once more: "], typed, strict=False):
        person.reads(question)
        person.types(answer)
    assert person.leaves() == 1, person.seen
    assert said in person.seen
    assert not (tmp_path / "config").exists()


def test_without_a_password_the_superuser_stays(alone):
    """Where none is given and nobody can be asked, the command says so, and does nothing."""
    assert "nobody is there to be asked" in alone.refuses("superuser", **NO_PASSWORD)
    assert not (alone.directory / "config").exists()


# --- run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch):
    """What uvicorn is called with, instead of a server that runs."""
    calls = []
    monkeypatch.setattr(uvicorn, "run", lambda *arguments, **options: calls.append((arguments, options)))
    return calls


@pytest.mark.parametrize(
    ("arguments", "before", "after"),
    [
        ([], None, False),
        ([], "true", True),
        (["--backend-only"], None, True),
        (["--backend-only=true"], None, True),
        (["--backend-only=True"], "false", True),
        (["--backend-only=false"], "true", False),
        (["--no-backend-only"], "true", False),
    ],
)
def test_pages_are_left_out_in_each_way(alone, started, arguments, before, after):
    """`--backend-only`, with a value or without, and LANGFLOW_BACKEND_ONLY say it; the command line goes first."""
    ran = alone.types("run", *arguments, LANGFLOW_BACKEND_ONLY=before)
    assert len(started) == 1
    assert ("There are no pages here" in ran.stdout) is after
    assert ("in a browser" in ran.stdout) is not after


def test_the_address_is_the_one_that_is_listened_on(alone, started):
    """With port 0 the address that is shown has the port that the server gets; a host of all addresses is localhost."""
    ran = alone.types("run", "--port", "0", "--workers", "3")
    ((_, options),) = started
    assert options["port"] > 0
    assert (options["host"], options["workers"]) == ("127.0.0.1", 3)
    assert f"http://127.0.0.1:{options['port']}\n" in ran.stdout
    ran = alone.types("run", "--port", "0", "--host", "0.0.0.0")
    assert f"http://localhost:{started[1][1]['port']}\n" in ran.stdout


def test_a_port_that_is_taken_is_a_sentence(alone, started):
    """It is said before anything is made, so that no password is shown for a server that does not start."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = alone.refuses("run", "--port", str(other.getsockname()[1]), **NO_PASSWORD)
    assert "Address already in use. Choose another one with --port." in said
    assert not (alone.directory / "config").exists()
    assert started == []


def test_an_address_of_another_machine_is_a_sentence(alone, started):
    """A host that is not here cannot be listened on."""
    assert "cannot listen on 192.0.2.1, port 7" in alone.refuses("run", "--host", "192.0.2.1", "--port", "7")
    assert started == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"LANGFLOW_AUTO_LOGIN": "perhaps"}, "LANGFLOW_AUTO_LOGIN: "),
        ({"LANGFLOW_SECRET_KEY": "hunter2"}, "LANGFLOW_SECRET_KEY: a secret key is at least 32"),
        ({"LANGFLOW_DATABASE_URL": "mysql://ada:hunter2@host/db"}, "LANGFLOW_DATABASE_URL: "),
        ({"LANGFLOW_DATABASE_URL": "postgresql://ada:hunter2@127.0.0.1:1/db"}, "the database cannot be reached now"),
        ({"LANGFLOW_DATABASE_URL": "sqlite:////nowhere/at/all/langflow.db"}, "unable to open database file"),
        ({"LANGFLOW_CONFIG_DIR": "/dev/null/config"}, "/dev/null/config: Not a directory."),
    ],
)
def test_what_keeps_it_from_starting_is_a_sentence(alone, started, told, said):
    """Wrong settings, and a database or a folder that cannot be had, end each command with a sentence and no secret."""
    for command in ("run", "superuser", "api-key"):
        message = alone.refuses(command, **told)
        assert message.startswith("langflow-server: ")
        assert said in message
        assert "hunter2" not in message
    assert started == []


@pytest.mark.parametrize("command", ["run", "superuser", "api-key"])
def test_a_database_of_another_schema_is_left_alone(shell, started, command):
    """Tables of another version end each command with a sentence, and are as they were."""
    asyncio.run(prepare(shell.settings))

    def version(change=None):
        async def look():
            store = SQLStore(shell.settings.url)
            found = []

            def execute(connection):
                if change is not None:
                    connection.exec_driver_sql(f"UPDATE keyguard_meta SET value = '{change}' WHERE name = 'schema'")
                found.extend(connection.exec_driver_sql("SELECT name, value FROM keyguard_meta ORDER BY name").all())

            await store.change_schema(execute)
            await store.close()
            return found

        return asyncio.run(look())

    before = version("999")
    said = shell.refuses(command)
    assert "version '999'" in said
    assert "keyguard migrate --database" in said
    assert "Nothing was changed" in said
    assert version() == before
    assert started == []


def test_what_it_advises_can_be_typed(tmp_path):
    """The command in a sentence is called as this one was, with the folder that it was given, and does what it says."""
    (tmp_path / "my bin").mkdir()
    program = tmp_path / "my bin" / "langflow-server"
    program.symlink_to(Path(sys.executable).with_name("langflow-server"))
    told = environment(tmp_path, LANGFLOW_CONFIG_DIR="my data")

    def typed(line):
        return subprocess.run(["bash", "-c", line], cwd=tmp_path, env=told, capture_output=True, text=True, check=False)

    assert typed("my\\ bin/langflow-server superuser").returncode == 0
    refused = typed("LANGFLOW_SUPERUSER_PASSWORD=another my\\ bin/langflow-server api-key")
    assert refused.returncode == 1
    advice = re.search("`(.+)` makes one, or sets their password", refused.stderr)[1]
    assert advice == "LANGFLOW_CONFIG_DIR='my data' 'my bin/langflow-server' superuser"
    told = {**told, "LANGFLOW_CONFIG_DIR": "elsewhere", "LANGFLOW_SUPERUSER_PASSWORD": "another"}
    assert "new password" in typed(advice).stdout
    assert not (tmp_path / "elsewhere").exists()


def test_it_says_what_can_be_set(alone):
    """The help names each setting, and has a whole sentence for each command."""
    shown = alone.types("--help").stdout
    assert "LANGFLOW_CONFIG_DIR" in shown
    assert "LANGFLOW_SECRET_KEY" in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_it_is_a_command_of_its_own(tmp_path):
    """`langflow-server` and `python -m langflow_server` are the same, and list what there is."""
    for command in ([Path(sys.executable).with_name("langflow-server")], [sys.executable, "-m", "langflow_server"]):
        ran = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
        for name in ("run", "superuser", "api-key"):
            assert f"  {name} " in ran.stdout
