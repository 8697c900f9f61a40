"""What the first start makes, what later ones leave alone, and what a person reads at the terminal."""

import asyncio
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from langflow_flows import told_in
from langflow_serving import PATIENCE, environment, serving
from leaks import WATCH

from keyguard import lifecycle
from langflow_server.flows import shelf
from langflow_server.server import Server
from langflow_server.settings import load
from langflow_server.start import prepare
from langflow_server.welcome import warnings, welcome

URL = "http://127.0.0.1:7860"
GENERATED = {"LANGFLOW_SUPERUSER": None, "LANGFLOW_SUPERUSER_PASSWORD": None}


@pytest.fixture(params=["sqlite", "postgres"])
def told(request, tmp_path):
    """What a new server is told: a folder, a database, and no password."""
    said = {"LANGFLOW_CONFIG_DIR": str(tmp_path / "config")}
    if request.param == "postgres":
        said["LANGFLOW_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return said


def settings_of(told, **more):
    return load(told | {f"LANGFLOW_{name}": value for name, value in more.items()}, env_file=os.devnull)


async def test_the_first_start_makes_all_that_is_needed(told):
    """There is a superuser with the password that is shown, a key that is good, and a flow called sample."""
    settings = settings_of(told)
    made = await prepare(settings)
    assert (made.is_new, made.superuser.name, made.superuser.is_superuser, made.sample) == (
        True,
        "langflow",
        True,
        "sample",
    )
    async with Server(settings).opened() as server:
        assert await lifecycle.verify_password(server.store, "langflow", made.password) == made.superuser
        assert made.key.startswith("lf_")
        (flow,) = await shelf.list_flows(server, made.superuser.id)
        assert flow.endpoint_name == made.sample
    assert stat.S_IMODE(settings.config_dir.stat().st_mode) == 0o700
    if settings.is_sqlite:
        assert stat.S_IMODE((settings.config_dir / "langflow.db").stat().st_mode) == 0o600


async def test_a_later_start_changes_nothing(told):
    """It finds the superuser and makes nothing: no password, key or flow, even where another password is given."""
    settings = settings_of(told)
    first = await prepare(settings)
    second = await prepare(settings_of(told, SUPERUSER_PASSWORD="another password"))
    assert (second.superuser, second.is_new) == (first.superuser, False)
    assert (second.password, second.key, second.sample) == (None, None, None)
    async with Server(settings).opened() as server:
        assert await lifecycle.verify_password(server.store, "langflow", first.password) is not None
        assert len(await shelf.list_flows(server, first.superuser.id)) == 1
        assert len(await server.store.list_keys(first.superuser.id)) == 1


async def test_a_password_that_is_given_is_used(told):
    """Whoever gives a password is deploying: it is the superuser's, nothing is generated, and no key is made."""
    settings = settings_of(told, SUPERUSER="administrator", SUPERUSER_PASSWORD="securepassword")
    made = await prepare(settings)
    assert (made.superuser.name, made.password, made.key, made.sample) == ("administrator", None, None, "sample")
    async with Server(settings).opened() as server:
        assert await lifecycle.verify_password(server.store, "administrator", "securepassword") is not None
        assert await server.store.list_keys(made.superuser.id) == []


async def test_another_superuser_gets_a_password_of_their_own(told):
    """Where LANGFLOW_SUPERUSER names somebody new they are made; what a first start makes beside is not made again."""
    await prepare(settings_of(told))
    made = await prepare(settings_of(told, SUPERUSER="second"))
    assert (made.superuser.name, made.key, made.sample) == ("second", None, None)
    assert made.password


async def test_first_starts_at_once_make_one_server(told, tmp_path):
    """Of several processes or hosts that start at once, each goes on, and one makes the superuser, key and flow."""
    postgres = "LANGFLOW_DATABASE_URL" in told
    hosts = [
        told | ({"LANGFLOW_CONFIG_DIR": str(tmp_path / f"host-{number}")} if postgres else {}) for number in range(4)
    ]
    made = await asyncio.gather(*(prepare(settings_of(host)) for host in hosts))
    assert len({each.superuser.id for each in made}) == 1
    (first,) = [each for each in made if each.is_new]
    assert first.password
    assert first.key
    assert all(each.password is each.key is None for each in made if each is not first)
    async with Server(settings_of(hosts[0])).opened() as server:
        assert (await lifecycle.list_owners(server.store)).total == 1
        assert len(await shelf.list_flows(server, first.superuser.id)) == 1


# --- what a person reads ------------------------------------------------------------------------------------------


def read(output):
    """What the first start has shown, by its label."""
    return dict(re.findall(r"^  (superuser|password|API key) +(\S+)$", output, re.MULTILINE))


def test_what_the_first_start_prints_can_be_pasted(tmp_path):
    """Its `curl` lines run the sample flow as they are, its name and password sign in; the next start shows none."""
    with serving(tmp_path, **GENERATED) as server:
        first = server.log
        shown = read(first)
        WATCH.key(shown["API key"])
        calls = re.findall(r"^  curl .*?'$", first, re.DOTALL | re.MULTILINE)
        assert len(calls) == 2
        assert [server.url in call for call in calls] == [True, True]
        assert ["x-api-key: lf_" in calls[0], "?x-api-key=lf_" in calls[1]] == [True, True]
        for call in calls:
            assert 'You wrote: "Ada"' in run(call, tmp_path)
        with server.client() as client:
            form = {"username": shown["superuser"], "password": shown["password"]}
            assert client.post("/api/v1/login", data=form).status_code == 200
        assert f"Open {server.url} in a browser" in first
        assert str(tmp_path / "config" / "langflow.db") in first
        assert str(tmp_path / "config" / "secret_key") in first
        assert "WARNING:  keys are accepted in the query parameter" in first
        server.lines[:] = [line for line in server.lines if shown["API key"] not in line]  # Shown there by right.
    with serving(tmp_path, **GENERATED) as server:
        assert read(server.log) == {}
        command = re.search(r"^Another key +(.*)$", server.log, re.MULTILINE)[1]
        another = run(f"LANGFLOW_AUTO_LOGIN=true {command}", tmp_path).strip()
        WATCH.key(another)
        for key in (shown["API key"], another):
            with server.client(headers={"x-api-key": key}) as client:
                assert told_in(client.post("/api/v1/run/sample", json={"input_value": "again"}).json())


def run(command, directory):
    ran = subprocess.run(
        ["bash", "-c", command], cwd=directory, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return ran.stdout.replace('\\"', '"')


def test_what_is_logged_has_no_secret(tmp_path):
    """Password and key stand on standard output alone, which nobody logs."""
    command = [sys.executable, "-c", "from langflow_server.cli import main; main(['run', '--port', '0'])"]
    told = environment(tmp_path, **GENERATED)
    # Without its workers: what is made and shown comes before them.
    command[2] = f"import uvicorn; uvicorn.run = lambda *_, **__: None; {command[2]}"
    ran = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=True, timeout=PATIENCE)
    shown = read(ran.stdout)
    assert len(shown) == 3
    assert shown["password"] not in ran.stderr
    assert shown["API key"] not in ran.stderr
    for file in Path(tmp_path, "config").iterdir():
        assert shown["password"].encode() not in file.read_bytes()
        assert shown["API key"].encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, []),
        ({"AUTO_LOGIN": "true"}, ["NOBODY IS ASKED FOR A PASSWORD"]),
        ({"AUTO_LOGIN": "true", "BACKEND_ONLY": "true"}, ["NOBODY IS ASKED FOR A PASSWORD"]),
        ({"API_VERSION": "1.4"}, []),
        ({"AUTO_LOGIN": "true", "API_VERSION": "1.4"}, ["A REQUEST WITHOUT A KEY PASSES", "NOBODY IS ASKED"]),
        ({"SKIP_AUTH_AUTO_LOGIN": "true"}, ["NO REQUEST NEEDS A KEY"]),
        ({"SKIP_AUTH_AUTO_LOGIN": "true", "AUTO_LOGIN": "true"}, ["NO REQUEST NEEDS A KEY", "NOBODY IS ASKED"]),
    ],
)
async def test_what_lets_everybody_in_is_said_loudly(tmp_path, told, said):
    """Each setting that excuses from password or key has a warning that names it and the superuser."""
    settings = settings_of({"LANGFLOW_CONFIG_DIR": str(tmp_path)}, **told)
    found = warnings(settings, await prepare(settings))
    assert len(found) == len(said)
    for warning, words in zip(found, said, strict=True):
        assert words in warning
        assert "LANGFLOW_" in warning
        assert "'langflow'" in warning


@pytest.mark.parametrize(
    ("told", "is_said"),
    [
        ({}, False),
        ({"AUTO_LOGIN": "true"}, True),
        ({"SKIP_AUTH_AUTO_LOGIN": "true"}, True),
        ({"AUTO_LOGIN": "true", "ALLOWED_HOSTS": "flows.example.org"}, False),
    ],
)
async def test_where_other_host_names_are_named_is_said(tmp_path, told, is_said):
    """Where the server answers to this machine's names only, a start says which setting names others."""
    settings = settings_of({"LANGFLOW_CONFIG_DIR": str(tmp_path)}, **told)
    assert ("LANGFLOW_ALLOWED_HOSTS" in welcome(settings, await prepare(settings), URL)) is is_said


async def test_a_superuser_who_is_none_is_told(tmp_path):
    """Where somebody has taken rights or activity from whom LANGFLOW_SUPERUSER names, each start says so."""
    settings = settings_of({"LANGFLOW_CONFIG_DIR": str(tmp_path)})
    owner = (await prepare(settings)).superuser
    async with Server(settings).opened() as server:
        await lifecycle.deactivate(server.store, owner)
        assert "is not active" in "".join(warnings(settings, await prepare(settings)))
        await lifecycle.set_superuser(server.store, owner, superuser=False)
        assert "is no superuser" in "".join(warnings(settings, await prepare(settings)))


async def test_whoever_deploys_reads_how_to_call_the_sample(tmp_path):
    """Where a password was given no key is made: the first start shows a call to put one into, and a later one none."""
    settings = settings_of({"LANGFLOW_CONFIG_DIR": str(tmp_path)}, SUPERUSER_PASSWORD="securepassword")
    said = welcome(settings, await prepare(settings), URL)
    assert f'curl "{URL}/api/v1/run/sample" -H "x-api-key: LANGFLOW_API_KEY"' in said
    assert "securepassword" not in said
    assert "curl" not in welcome(settings, await prepare(settings), URL)


async def test_without_pages_no_page_is_named(tmp_path):
    """With BACKEND_ONLY nobody is sent to a browser."""
    settings = settings_of({"LANGFLOW_CONFIG_DIR": str(tmp_path)}, BACKEND_ONLY="true")
    said = welcome(settings, await prepare(settings), URL)
    assert "browser" not in said
    assert "Settings" not in said
    assert f"{URL}/api/v1/login" in said
