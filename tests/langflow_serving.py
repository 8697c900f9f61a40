"""Runs the Langflow-style server as a process of its own, and finds out which of its workers answers."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import pytest
from leaks import WATCH

PATIENCE = 60.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""

SUPERUSER = "root"
PASSWORD = "the superuser's own password"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What each client is given: otherwise it would read the certificates of all authorities, which takes 30 ms."""

ONE_DATABASE = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
"""For what is decided before a database is asked, or apart from it: over another one the test would prove no more."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def environment(directory, **settings):
    """What a server is told: nothing of what the tests are told, but where its own things are."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    kept = {name: value for name, value in kept.items() if not name.startswith(("LANGFLOW_", "KEYGUARD_"))}
    own = {
        "LANGFLOW_CONFIG_DIR": str(directory / "config"),
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": PASSWORD,
        "PYTHONUNBUFFERED": "1",
    }
    return {name: value for name, value in {**kept, **own, **settings}.items() if value is not None}


@dataclass
class Running:
    """A server that runs, and what it has written so far."""

    port: int
    directory: Path
    process: subprocess.Popen
    environment: dict[str, str] = field(repr=False)
    lines: list[str] = field(default_factory=list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        return "".join(self.lines)

    def client(self, **more):
        """A client with one connection, which stays with the worker that has taken it."""
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
        return httpx2.Client(base_url=self.url, limits=limits, timeout=PATIENCE, trust_env=False, verify=NO_TLS, **more)

    @contextmanager
    def each_worker(self, workers=2):
        """A client for each worker, by the process id, which the system knows and no answer says."""
        deadline = time.monotonic() + PATIENCE
        with ExitStack() as stack:
            found = {}
            while len(found) < workers:
                assert time.monotonic() < deadline, f"only {len(found)} of {workers} workers take connections"
                client = stack.enter_context(self.client())  # Kept open: a busy worker takes fewer.
                found.setdefault(self.worker_of(client), client)
            yield found

    def worker_of(self, client):
        """The process id of the worker that a client of this server is connected to."""
        with client.stream("GET", "/health") as answer:
            _, port = answer.extensions["network_stream"].get_extra_info("client_addr")
            answer.read()
        server = psutil.Process(self.process.pid)
        for process in [server, *server.children(recursive=True)]:
            if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp4")):
                return process.pid
        raise AssertionError("nobody has that connection")


@contextmanager
def serving(directory, *, workers=1, arguments=(), **settings):
    """Run `langflow-server run` in `directory` until it has started, and see it end well."""
    port = free_port()
    told = environment(directory, **settings)
    command = [sys.executable, "-m", "langflow_server", "run", "--port", str(port), "--workers", str(workers)]
    with subprocess.Popen(
        [*command, *arguments],
        cwd=directory,
        env=told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        running = Running(port, directory, process, told)
        ready = threading.Semaphore(0)
        reader = threading.Thread(target=_read, args=(running, ready), daemon=True)
        reader.start()
        try:
            for _ in range(workers + 1):  # One worker alone listens only when it has started.
                assert ready.acquire(timeout=PATIENCE), f"it does not start:\n{running.log}"
                assert process.poll() is None, f"it did not start:\n{running.log}"
            yield running
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        finally:
            for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                each.kill()
            process.kill()
            reader.join(PATIENCE)
    WATCH.see("the log of a Langflow-style server", running.log)
    assert "Traceback" not in running.log, running.log


def _read(running, ready):
    for line in running.process.stdout:
        running.lines.append(line)
        if "Application startup complete" in line or "Uvicorn running on" in line:
            ready.release()
    for _ in range(64):  # It has ended: whoever waits for it need not wait any longer.
        ready.release()
