"""The deployment's files are as they should be, and their commands make workers that share the keys of one database."""

import http.client
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from leaks import WATCH
from sqlalchemy import make_url

DEPLOYMENT = Path(__file__).parents[2] / "examples" / "deployment"
COMPOSE = yaml.safe_load((DEPLOYMENT / "compose.yaml").read_text("utf-8"))
UNIT = DEPLOYMENT / "keyguard-example.service"
DIRECTIVES = re.findall(r"^(\w+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
BIN = Path(sys.executable).parent
PATIENCE = 120.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""


def directive(name):
    """All values of a directive of the unit's."""
    return [value for each, value in DIRECTIVES if each == name]


# --- the files ---


def test_the_compose_file_is_one():
    """The Compose file is as the schema of the Compose specification demands."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, DEPLOYMENT / "compose.yaml"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_containers_wait_for_one_another():
    """The tables are brought up to date when the database is healthy, before the app starts; the proxy is last."""
    awaited = {
        name: {other: said["condition"] for other, said in service.get("depends_on", {}).items()}
        for name, service in COMPOSE["services"].items()
    }
    assert awaited == {
        "db": {},
        "migrate": {"db": "service_healthy"},
        "app": {"db": "service_healthy", "migrate": "service_completed_successfully"},
        "proxy": {"app": "service_healthy"},
    }
    assert all("healthcheck" in COMPOSE["services"][name] for name in ("db", "app"))


def test_only_the_proxy_can_be_reached():
    """Of the containers the proxy alone has ports that are published, and the database's network leads nowhere else."""
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert [name for name, service in services.items() if service["networks"] != ["inside"]] == ["proxy"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_no_secret_stands_in_a_file():
    """Secrets are files that neither git nor the image takes in, and no variable holds one."""
    files = [each["file"] for each in COMPOSE["secrets"].values()]
    assert files == ["secrets/database_password", "secrets/peppers"]
    assert "secrets/" in (DEPLOYMENT / ".gitignore").read_text().splitlines()
    assert (DEPLOYMENT / "Dockerfile.dockerignore").read_text().splitlines()[1] == "*"
    variables = [
        *(item for service in COMPOSE["services"].values() for item in service.get("environment", {}).items()),
        *(value.split("=", 1) for value in directive("Environment")),
    ]
    telling = re.compile("PASSWORD|PEPPER|SECRET")
    assert [name for name, value in variables if telling.search(name) and not name.endswith("_FILE")] == []
    assert {make_url(value).password for name, value in variables if name.endswith("_URL")} == {None}


def test_the_image_is_built_from_what_is_there():
    """What the Dockerfile copies is in the checkout and is let through to the builder, and the app is not root."""
    lines = (DEPLOYMENT / "Dockerfile").read_text().splitlines()
    passed = (DEPLOYMENT / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [path for line in lines if re.match("COPY (?!--from)", line) for path in line.split()[1:-1]]
    assert copied
    root = (DEPLOYMENT / COMPOSE["services"]["app"]["build"]["context"]).resolve()
    assert [path for path in copied if not (root / path).exists() or f"!{path}" not in passed] == []
    assert lines[-1] == "USER app"


def test_the_unit_is_one(tmp_path):
    """The unit is one to systemd, which finds little that the service could do beside its work."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    said = subprocess.check_output(["systemd-analyze", "--version"], text=True, timeout=PATIENCE)
    if int(said.split()[1]) < 250:
        pytest.skip("this systemd is older than what the unit asks for")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/keyguard-example/venv/bin", str(BIN)))
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        done = subprocess.run(
            ["systemd-analyze", *command, unit], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert unit.stem not in done.stderr


def test_the_unit_gives_the_app_no_more_than_it_needs():
    """The service brings the tables up to date, is nobody in particular, writes nowhere, and has root's secrets."""
    assert directive("ExecStartPre") == ["/opt/keyguard-example/venv/bin/keyguard migrate"]
    assert (directive("DynamicUser"), directive("ProtectSystem"), directive("CapabilityBoundingSet")) == (
        ["yes"],
        ["strict"],
        [""],
    )
    assert directive("LoadCredential") == [
        f"{name}:/etc/keyguard-example/{name}" for name in ("database_password", "peppers")
    ]


# --- what they start ---


class Host:
    """A machine on which one of the two ways was gone: the environment that programs have, and what they write."""

    def __init__(self, variables, folder, database_url):
        self.folder = folder
        self.log = folder / "log"
        self.port = free_port()
        shutil.copy(DEPLOYMENT / "app.py", folder)
        url = make_url(variables["KEYGUARD_DATABASE_URL"])
        there = make_url(database_url)
        url = url.set(host=there.host, port=there.port, database=there.database)
        others = {name: value for name, value in os.environ.items() if not name.startswith("KEYGUARD_")}
        self._environment = others | {
            **variables,
            "KEYGUARD_DATABASE_URL": url.render_as_string(hide_password=False),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *command):
        """Run a command to its end, and return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        WATCH.see("what a command says", done.stderr)
        return done.stdout

    @contextmanager
    def running(self, *command):
        """Run the app by a command, which is told another address, and see it end in order."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--host=127.0.0.1", f"--port={self.port}"],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, self.log.read_text()
        finally:
            process.kill()
        assert "Traceback" not in self.log.read_text()

    def workers(self, key, at_least):
        """A connection to each worker, by its process id, over which it has let the key in."""
        found = {}
        deadline = time.monotonic() + PATIENCE
        while len(found) < at_least:
            assert time.monotonic() < deadline, f"{len(found)} workers answer: {self.log.read_text()}"
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                status, answer = ask(connection, key)
            except ConnectionRefusedError:
                time.sleep(0.02)  # It is not there yet.
                continue
            assert (status, answer["hello"]) == (200, "root")
            if found.setdefault(answer["worker"], connection) is not connection:
                connection.close()
        return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def ask(connection, key):
    connection.request("GET", "/", headers={"x-api-key": key})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def readmes_commands():
    """What the README has typed into the app's container."""
    return re.findall(r"exec -T app (keyguard [^>)\n]*\w)", (DEPLOYMENT / "README.md").read_text("utf-8"))


def test_every_worker_of_every_host_refuses_a_revoked_key(postgres_url, tmp_path):
    """Two hosts, by Compose's commands and by the unit's, have let a key in, and refuse it once it is revoked."""
    kept = {"database_password": secrets.token_hex(), "peppers": secrets.token_hex()}
    for name, value in kept.items():
        (tmp_path / name).write_text(f"{value}\n")
    migrate, app = (COMPOSE["services"][name] for name in ("migrate", "app"))
    inside = {name: value.replace("/run/secrets", str(tmp_path)) for name, value in app["environment"].items()}
    outside = dict(value.replace("%d", str(tmp_path)).split("=", 1) for value in directive("Environment"))
    folders = [tmp_path / "inside", tmp_path / "outside"]
    for folder in folders:
        folder.mkdir()
    container, machine = (
        Host(variables, folder, postgres_url) for variables, folder in zip((inside, outside), folders, strict=True)
    )
    (start,) = directive("ExecStart")
    issue, _, revoke = readmes_commands()

    upgrade = [argument.replace("$$", "$") for argument in migrate["command"]]
    assert "from nothing" in container.run(*upgrade)
    assert "already" in container.run(*upgrade)  # The next `up` finds all of it there, the owner, too.
    key = container.run(*shlex.split(issue)).strip()
    WATCH.key(key)
    with ExitStack() as stack:
        stack.enter_context(container.running(*app["command"]))
        stack.enter_context(machine.running(*shlex.split(start.replace("/opt/keyguard-example/venv/bin", str(BIN)))))
        workers = container.workers(key, at_least=2) | machine.workers(key, at_least=2)
        assert len(workers) == 4
        container.run(*shlex.split(revoke.replace("kg_3fJ2", key[:7])))
        answers = [ask(connection, key) for connection in workers.values()]
        assert [(status, answer["code"]) for status, answer in answers] == [(401, "invalid_key")] * 4
        for connection in workers.values():
            connection.close()
    for host in (container, machine):
        written = host.log.read_text()
        assert [name for name, value in kept.items() if value in written] == []
        WATCH.see("the log of the workers", written)
