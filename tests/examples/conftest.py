"""Starts an example as a person would, reads what it prints, and ends it with Ctrl-C."""

import argparse
import http.client
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PATIENCE = 60.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Example:
    """An example that runs: what it printed before it was ready, and when it has ended, what it wrote after that."""

    printed: str
    log: str = ""

    @property
    def calls(self):
        """The curl lines."""
        return [line.strip() for line in self.printed.splitlines() if line.lstrip().startswith("curl ")]

    @property
    def url(self):
        """Where it can be reached."""
        return re.search(r"http://127\.0\.0\.1:\d+", self.printed)[0]

    @property
    def keys(self):
        """The keys that it shows, each once, in their order."""
        return list(dict.fromkeys(re.findall(r"[a-z]+_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", self.printed)))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def start(tmp_path):
    """A context that runs an example in `tmp_path`, and in the end sees it go without complaint."""

    @contextmanager
    def start(path):
        with subprocess.Popen(
            [sys.executable, EXAMPLES / path, "--port", str(free_port())],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            late = threading.Timer(PATIENCE, process.kill)  # What is read is at its end then.
            late.start()
            try:
                example = Example("")
                for line in process.stdout:
                    example.printed += line
                    if "Uvicorn running on" in line:
                        break
                else:
                    pytest.fail(f"it did not start:\n{example.printed}")
                late.cancel()
                yield example
                process.send_signal(signal.SIGINT)  # As Ctrl-C does.
                example.log, _ = process.communicate(timeout=PATIENCE)
            finally:
                late.cancel()
                process.kill()
        assert process.returncode == 0
        assert "Application shutdown complete." in example.log
        assert "Traceback" not in example.printed + example.log

    return start


@pytest.fixture
def call(tmp_path):
    """Do what a curl line says, by curl if it is there: the status and the body of the answer."""

    def call(line):
        if shutil.which("curl") is None:
            return _without_curl(shlex.split(line)[1:], tmp_path)
        command = [*shlex.split(line), "--silent", "--write-out", "\n%{http_code}"]
        answer = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE
        ).stdout
        body, _, status = answer.rpartition("\n")
        return int(status), body

    return call


def _without_curl(arguments, folder):
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-X", default="GET")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("-b", type=folder.joinpath)
    parser.add_argument("-c", type=folder.joinpath)
    parser.add_argument("url", type=urlsplit)
    said = parser.parse_args(arguments)
    target = said.url.path + (f"?{said.url.query}" if said.url.query else "")
    headers = dict(header.split(": ") for header in said.H) | ({"cookie": said.b.read_text()} if said.b else {})
    with closing(http.client.HTTPConnection(said.url.netloc, timeout=PATIENCE)) as connection:
        connection.request("POST" if said.d else said.X, target, said.d, headers)
        answer = connection.getresponse()
        if said.c:
            said.c.write_text(answer.headers.get("set-cookie", "").partition(";")[0])
        return answer.status, answer.read().decode()


@pytest.fixture
def examples():
    """Where the examples are."""
    return EXAMPLES
