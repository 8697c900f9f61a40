"""A PostgreSQL server of the tests' own, which no other program uses: it may be stopped, frozen and filled at will.

`cluster()` starts one; the fixtures below share one in each process of pytest and give each test a database of its own.
Where PostgreSQL's programs are missing, the tests that need them are skipped; with the environment variable
KEYGUARD_REQUIRE_POSTGRES=1 they fail instead.
"""

import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PASSWORD = "open-sesame"
"""In every URL. The server asks for none, so that it can show only where it was passed on."""

SETTINGS = {
    "fsync": "off",  # No test cuts the power.
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_statement": "none",
    "client_min_messages": "warning",
}

PROGRAMS = ("initdb", "postgres", "psql")

_DEADLINE = 60.0
"""Seconds after which a server that neither starts nor stops is given up."""


class Missing(Exception):
    """There is no PostgreSQL here that could be started; the message says what was looked for."""


def programs():
    """Return the directory with PostgreSQL's programs: KEYGUARD_POSTGRES_BIN, or the first found. Raises `Missing`."""
    if chosen := os.environ.get("KEYGUARD_POSTGRES_BIN"):
        places = [Path(chosen)]
    else:
        places = [Path(initdb).resolve().parent] if (initdb := shutil.which("initdb")) else []
        if pg_config := shutil.which("pg_config"):
            places.append(Path(subprocess.check_output([pg_config, "--bindir"], text=True, timeout=_DEADLINE).strip()))
        places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: -float(place.parent.name))
    for place in places:
        if all((place / name).exists() for name in PROGRAMS):
            return place
    raise Missing(f"PostgreSQL's {', '.join(PROGRAMS)} are neither in PATH nor in /usr/lib/postgresql/*/bin")


def _account():
    """How a subprocess is started so that it is not root, as whom the server refuses to run."""
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _is_free(port):
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port():
    """A port below those that the system gives to clients, so that it stays free while the server is stopped."""
    return next(port for port in iter(lambda: random.randrange(15_000, 30_000), None) if _is_free(port))


class Cluster:
    """A server, with as many databases as are asked for.

    Attributes:
        port: where it listens, on 127.0.0.1; the same after each start.
        log: the file that it writes its log to.
    """

    def __init__(self, directory, **settings):
        self.directory = Path(directory)
        self.log = self.directory / "log"
        self.port = _free_port()
        self._programs = programs()
        self._settings = SETTINGS | settings
        self._data = self.directory / "data"
        self._server = None
        self._paused = set()
        self._numbers = itertools.count(1)
        if account := _account():
            os.chown(self.directory, account["user"], account["group"])
        self._call("initdb", "-D", self._data, "-U", "keyguard", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def url(self, database="postgres", driver="postgresql+asyncpg"):
        """The URL of a database, for SQLAlchemy; with ``driver="postgresql"`` for asyncpg itself and for psql."""
        return f"{driver}://keyguard:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    # --- the server ---

    @property
    def is_running(self):
        return self._server is not None and self._server.poll() is None

    def start(self):
        """Start the server, and return when it takes connections."""
        assert not self.is_running
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = [f"--{name}={value}" for name, value in (self._settings | {"port": self.port}).items()]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *settings],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_account(),
            )
        deadline = time.monotonic() + _DEADLINE
        while not self._is_ready():
            if not self.is_running or time.monotonic() > deadline:
                self.stop(signal.SIGQUIT)
                raise RuntimeError(f"PostgreSQL does not start: {self.log.read_text('utf-8')[-2000:]}")
            time.sleep(0.01)

    def _is_ready(self):
        """Tell whether the eighth line of its file says so: what pg_ctl looks at."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def stop(self, how=signal.SIGINT):
        """Stop the server: at once, but in order (SIGINT), or as if it had crashed (SIGQUIT)."""
        self.resume(*self._paused)
        if self.is_running:
            self._server.send_signal(how)
            try:
                self._server.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
                raise

    # --- its processes ---

    def backends(self, database, like="%", application="%"):
        """The process ids of a database's connections of an application, whose last statement is `like` that."""
        answer = self.psql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() "
            f"AND datname = '{database}' AND query LIKE '{like}' AND application_name LIKE '{application}' "
            "ORDER BY backend_start"
        )
        return [int(line) for line in answer.split()]

    def pause(self, *pids):
        """Stop processes where they stand: their connections stay and nothing answers."""
        for pid in pids:
            with suppress(ProcessLookupError):  # A connection may have ended since it was listed.
                os.kill(pid, signal.SIGSTOP)
                self._paused.add(pid)

    def resume(self, *pids):
        """Let paused processes go on."""
        for pid in pids:
            self._paused.discard(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def frozen(self):
        """Let nothing of the server answer for a while: no connection that is there, and no new one."""
        pids = [int(pid) for pid in self.psql("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").split()]
        pids.insert(0, self._server.pid)
        try:
            self.pause(*pids)
            yield
        finally:
            self.resume(*pids)

    # --- its databases ---

    def psql(self, statements, database="postgres"):
        """Run SQL as another program would, each statement in a transaction of its own; return its rows as text.

        Raises `subprocess.CalledProcessError` if one fails.
        """
        arguments = ("--no-psqlrc", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database, "postgresql"))
        return self._call("psql", *arguments, stdin=statements).strip()

    def create_database(self):
        """Make a new, empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.psql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name):
        """Drop a database, and end the connections to it."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _call(self, program, *arguments, stdin=""):
        return subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            timeout=_DEADLINE,
            **_account(),
        ).stdout


@contextmanager
def cluster(directory=None, **settings):
    """Start a server in `directory`, or in a temporary one, with further `settings`; stop it in the end.

    As root the directory and those above it must be open to other accounts; pytest's `tmp_path` is not. Raises
    `Missing`.
    """
    with tempfile.TemporaryDirectory(prefix="keyguard-postgres-", ignore_cleanup_errors=True) as temporary:
        server = Cluster(directory or temporary, **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()


# --- fixtures, which conftest.py makes known to all tests ---------------------------------------------------------


@pytest.fixture(scope="session")
def postgres():
    """The server that the tests of one process share. A test that stops it starts it again."""
    try:
        programs()
    except Missing as missing:
        if os.environ.get("KEYGUARD_REQUIRE_POSTGRES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with cluster() as server:
        yield server


@pytest.fixture
def database(postgres):
    """The name of an empty database on the shared server, for one test."""
    if not postgres.is_running:  # A test failed before it could start it again.
        postgres.start()
    name = postgres.create_database()
    yield name
    if postgres.is_running:
        postgres.drop_database(name)


@pytest.fixture
def postgres_url(postgres, database):
    """The URL of that database for SQLAlchemy."""
    return postgres.url(database)
