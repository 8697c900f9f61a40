"""Starts real servers on free ports of this machine, and stops them."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from servers.wire import Closed, Wire, request

TESTS = Path(__file__).parent.parent
PATIENCE = 30.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""


def _uvicorn(app, port, root, http):
    rooted = ["--root-path", root] if root else []
    return ["uvicorn", app, "--host", "127.0.0.1", "--port", str(port), "--http", http, *rooted]


def _httptools(app, port, root):
    return _uvicorn(app, port, root, "httptools")


def _h11(app, port, root):
    return _uvicorn(app, port, root, "h11")


def _hypercorn(app, port, root):
    rooted = ["--root-path", root] if root else []
    # Its usual format leaves the query out of the log.
    log = ["--access-logfile", "-", "--access-logformat", '%(h)s "%(R)s" %(s)s "%({x-api-key}i)s"']
    return ["hypercorn", app, "--bind", f"127.0.0.1:{port}", "--workers", "0", *log, *rooted]


def _granian(app, port, root):
    rooted = ["--url-path-prefix", root] if root else []
    log = ["--access-log", "--access-log-fmt", '%(addr)s "%(method)s %(path)s?%(query_string)s" %(status)d']
    return ["granian", app, "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), *log, *rooted]


def _workers(app, port, root):
    """Two processes that listen on one port; a connection stays with the one that took it."""
    return [*_uvicorn(app, port, root, "httptools"), "--workers", "2", "--timeout-keep-alive", "60"]


SERVERS = ("httptools", "h11", "hypercorn", "granian")
COMMANDS = dict(zip(SERVERS, (_httptools, _h11, _hypercorn, _granian), strict=True)) | {"workers": _workers}


class NotStarted(Exception):
    """The server ended before it answered."""


class Server:
    """A server in a process of its own; its output, access log included, goes into one file."""

    def __init__(self, kind, app, directory, *, root="", environment=None):
        self.kind = kind
        self._app = app
        self._root = root
        self._environment = environment or {}
        self._log = Path(directory) / f"{kind}-{os.urandom(4).hex()}.log"
        self._reserved = socket.socket()
        # Bound, and never listening: nobody else is given this port, and the server can still take it.
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        self.process = None

    @property
    def log(self):
        """All that the server has written so far."""
        return self._log.read_text(errors="replace")

    def start(self):
        """Start it, without waiting."""
        path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *COMMANDS[self.kind](self._app, self.port, self._root)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self._environment},
                cwd=self._log.parent,
            )
        return self

    def wait_until_it_answers(self):
        """Return when a request has been answered, whatever the answer was. Raises `NotStarted`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NotStarted(self.log)
            try:
                with Wire(self.port) as wire:
                    wire.send(request("/ready"))
                    wire.reply()
            except (Closed, OSError):
                time.sleep(0.02)
            else:
                return self
        raise NotStarted(f"no answer within {PATIENCE} s:\n{self.log}")

    def wait_until_it_ends(self):
        """Return its exit status."""
        return self.process.wait(PATIENCE)

    def wait_until_logged(self, text, times=1):
        """Return the lines of the log with `text` in them, when there are as many: logs are written after answers."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := [line for line in self.log.splitlines() if text in line]) < times:
            assert time.monotonic() < deadline, f"{text!r} stands {len(lines)} times, not {times}, in:\n{self.log}"
            time.sleep(0.02)
        return lines

    def stop(self):
        """Stop it, and its workers."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reserved.close()


class Fleet:
    """The servers of a test session: each is started when it is first asked for, and stopped at the end."""

    def __init__(self, directory):
        self._directory = directory
        self._running = {}

    def __call__(self, kind, app, *, root=""):
        which = (kind, app, root)
        if which not in self._running:
            self._running[which] = server = Server(kind, app, self._directory, root=root).start()
            server.wait_until_it_answers()
        return self._running[which]

    def stop(self):
        for server in self._running.values():
            server.stop()


@contextmanager
def running(kind, app, directory, **more):
    """One server for one test."""
    server = Server(kind, app, directory, **more)
    try:
        yield server.start()
    finally:
        server.stop()
