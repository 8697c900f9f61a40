"""No key shows in what Keyguard writes or passes on; and what would notice it does notice it.

`leaks` watches every test of the suite. Here its channels are tried with keys that were planted, and every outcome of a
request is gone through with a look at all that it leaves behind.
"""

import asyncio
import contextlib
import copy
import logging
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from asgi import connect, get
from leaks import WATCH
from starlette.responses import PlainTextResponse

import keyguard
from keyguard import KeyGuard, Keyring, PathRule, Policy, lifecycle
from keyguard.authenticator import Authenticator
from keyguard.errors import Conflict, InvalidKey, KeyguardError, NotFound, Overloaded
from keyguard.extract import Sources
from keyguard.hashing import SLOW_HASHING, Digests
from keyguard.journal import Journal, loggable_path
from keyguard.keys import ENTROPY_BYTES, from_entropy, parse, recognise
from keyguard.model import Found
from keyguard.settings import KeyFormat
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import NOON, FrozenClock

PEPPER = "pepper-W8sD2kQz7LmX4vTn"
CHOSEN = "team-Correct.Horse!Battery~Staple"
KEYRING = Keyring(
    peppers=[PEPPER],
    formats=[
        KeyFormat(
            prefix="team-",
            alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.!~",
            min_length=12,
            max_length=40,
        )
    ],
)
HERE = Path(__file__).parent
PACKAGE = Path(keyguard.__file__).parent


@pytest.fixture(autouse=True)
def _watch_the_pepper():
    WATCH.key(PEPPER)


def unissued():
    """A key of the right form that no store knows."""
    return from_entropy("kg", bytes(range(100, 100 + ENTROPY_BYTES))).reveal()


def planted_module(**names):
    """A namespace whose functions count as Keyguard's own."""
    namespace = {"__name__": "keyguard.planted", **names}
    source = """
def fail(key):
    raise RuntimeError("something went wrong")

class Careless:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        presented = [value for name, value in scope["headers"] if name == b"x-api-key"]
        await self.app(scope, receive, send)
        del presented
"""
    exec(compile(source, "<planted>", "exec"), namespace)
    return SimpleNamespace(**namespace)


# --- what is planted is found -----------------------------------------------------------------------------------


def log_message(key):
    logging.getLogger("keyguard").debug(f"looking for {key}")  # noqa: G004 The wrong way, for once.


def log_arguments(key):
    logging.getLogger("aiosqlite").debug("executing %s", ("SELECT ?", key))


def log_of_a_logger_by_itself(key):
    logger = logging.getLogger("uvicorn.access")
    logger.propagate, logger.level, before = False, logging.DEBUG, (logger.propagate, logger.level)
    logger.info("GET /?x-api-key=%s", key)
    logger.propagate, logger.level = before


def log_extra(key):
    logging.getLogger("keyguard").warning("refused", extra={"keyguard_presented": key})


def log_traceback(key):
    try:
        {}[key]
    except LookupError:
        logging.getLogger("sqlalchemy.pool").exception("the store failed")


def variables_in_a_logged_traceback(key):
    try:
        planted_module().fail(key)
    except RuntimeError:
        logging.getLogger("keyguard").exception("it failed")


def exception_text(key):
    WATCH.see_exception(LookupError(f"no key has the id {key!r}"))


def hidden_cause(key):
    try:
        try:
            int(key)
        except ValueError as cause:
            raise LookupError("not found") from cause
    except LookupError as problem:
        WATCH.see_exception(problem)


def object_repr(key):
    WATCH.see("repr", repr(Found(key=key, owner=None)))


def percent_encoded(key):
    WATCH.see("log", f"GET /?x-api-key={quote(key.replace('_', '%'))} HTTP/1.1")
    WATCH.see("log", "".join(f"%{byte:02X}" for byte in key.encode()))


def secret_alone(key):
    WATCH.see("log", f"…{key[-49:-20]}…")


def server_log(key):
    command = [sys.executable, "-c", "import sys; print('GET /?x-api-key=' + sys.argv[1], file=sys.stderr)", key]
    WATCH.see("server log", subprocess.run(command, stderr=subprocess.PIPE, check=True, timeout=60).stderr)


@pytest.mark.parametrize(
    ("plant", "channels"),
    [
        (log_message, ["log record of 'keyguard'"]),
        (log_arguments, ["log record of 'aiosqlite'"]),
        (log_of_a_logger_by_itself, ["log record of 'uvicorn.access'"]),
        (log_extra, ["log record of 'keyguard'"]),
        (log_traceback, ["text of KeyError", "log record of 'sqlalchemy.pool'"]),
        (variables_in_a_logged_traceback, ["variables of fail in a traceback"]),
        (exception_text, ["text of LookupError"]),
        (hidden_cause, ["text of ValueError"]),
        (object_repr, ["repr"]),
        (percent_encoded, ["log", "log"]),
        (secret_alone, ["log"]),
        (server_log, ["server log"]),
    ],
)
def test_a_planted_key_is_found(plant, channels):
    """Each channel that is watched gives away the key that was put into it."""
    with WATCH.provoked() as leaks:
        plant(unissued())
    assert [leak.channel for leak in leaks] == channels


@pytest.mark.parametrize("place", ["body", "header", "reason"])
async def test_a_key_in_an_answer_is_found(place):
    """What an app sends is looked at: the body, the headers, a WebSocket's close reason."""
    key = unissued()

    async def app(scope, receive, send):
        if place == "reason":
            await send({"type": "websocket.close", "code": 1008, "reason": key})
            return
        headers = [(b"location", f"/?x-api-key={key}".encode())] if place == "header" else []
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": key.encode() if place == "body" else b""})

    with WATCH.provoked() as leaks:
        await (connect(app) if place == "reason" else get(app))
    assert [leak.channel for leak in leaks] == ["an answer"]


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "in the write-ahead log"])
def test_a_key_in_a_database_file_is_found(tmp_path, is_open):
    """A row that holds a key is found in the file, and in the write-ahead log beside it while the database is open."""
    key, folder = unissued(), tmp_path / "planted"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "keys.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE keys (text)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO keys VALUES (?)", [key])
        if not is_open:
            connection.close()
        with WATCH.provoked() as leaks:
            WATCH.see_databases(folder)
    shutil.rmtree(folder)
    assert [leak.channel for leak in leaks] == [f"a database file in {folder}"]


def test_other_files_are_no_databases(tmp_path):
    """A test may write a key into a file of its own."""
    (tmp_path / "client.toml").write_text(f"key = '{unissued()}'")
    with WATCH.provoked() as leaks:
        WATCH.see_databases(tmp_path)
    assert leaks == []


def test_what_may_show_is_no_leak():
    """A key's id, its hint and its digest may show; so may what a test's own client writes of its requests."""
    key = from_entropy("kg", bytes(range(7, 7 + ENTROPY_BYTES)))
    with WATCH.provoked() as leaks:
        WATCH.see("log", f"{key.id} {key.hint} {key} {Digests(KEYRING).lookups(key)}")
        logging.getLogger("httpx").info("GET /?x-api-key=%s", key.reveal())
    assert leaks == []


def test_keys_are_known_as_they_come_to_be():
    """A key is watched once it is made, read or found in a request, however bad; nothing else has to be told."""
    before = WATCH.keys
    made = from_entropy("kg", bytes(range(9, 9 + ENTROPY_BYTES))).reveal()
    recognise(CHOSEN.encode(), KEYRING)
    presented = f"{made[:-1]}{'1' if made[-1] == '0' else '0'}"
    Sources().extract([(b"x-api-key", presented.encode())], f"x-api-key=%22{presented[::-1]}".encode())
    assert all(map(WATCH.knows, [made, CHOSEN, presented, f'"{presented[::-1]}']))
    assert WATCH.keys >= before


SUITE = """
import logging
import sqlite3
from contextlib import closing

from keyguard.keys import from_entropy


def key(number):
    return from_entropy("kg", bytes(range(number, number + 48))).reveal()


def test_innocent():
    key(0)


def test_log():
    logging.getLogger("x").debug(key(1))


def test_database(tmp_path):
    with closing(sqlite3.connect(tmp_path / "keys.db")) as connection:
        connection.execute(f"CREATE TABLE {key(2)} (x)")


def test_late(tmp_path):
    with closing(sqlite3.connect(tmp_path.parent / "late.db")) as connection:
        connection.execute(f"CREATE TABLE {key(3)} (x)")
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_suite_fails_by_its_culprits(tmp_path, options):
    """Each test that shows a key fails, and what shows when no test runs any more fails the session."""
    result = run_suite(tmp_path, SUITE, *options)
    assert "ERROR test_suite.py::test_log - Failed: a key shows in log record of 'x'" in result.stdout
    assert "ERROR test_suite.py::test_database - Failed: a key shows in a database file in" in result.stdout
    assert "leak watch: a key shows in a database file in" in result.stdout
    assert "leak watch: 4 keys looked for in" in result.stdout
    assert "4 passed, 2 errors" in result.stdout
    assert result.returncode == 1


def test_a_suite_fails_by_what_comes_at_its_end(tmp_path):
    """Where all tests have passed, what shows at the end is enough to fail the session."""
    result = run_suite(tmp_path, SUITE, "-k", "late")
    assert ("1 passed" in result.stdout, result.returncode) == (True, 1)


def test_a_suite_without_keys_fails(tmp_path):
    """A watch that knows no key can see none, so that the whole suite fails; a choice of its tests may know none."""
    suite = "def test_nothing():\n    pass\n"
    result = run_suite(tmp_path, suite)
    assert "leak watch: it knew of no key" in result.stdout
    assert ("1 passed" in result.stdout, result.returncode) == (True, 1)
    assert run_suite(tmp_path, suite, "-k", "nothing").returncode == 0


def run_suite(folder, tests, *options):
    """Run pytest on a suite of its own, with this suite's conftest.py."""
    shutil.copy(HERE / "conftest.py", folder)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {HERE} {PACKAGE.parent}\nasyncio_default_fixture_loop_scope = function\n"
    )
    (folder / "test_suite.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(folder / "tmp"), *options]
    wide = os.environ | {"COLUMNS": "300"}  # So that pytest cuts nothing off.
    return subprocess.run(command, cwd=folder, env=wide, capture_output=True, text=True, check=False, timeout=120)


# --- every outcome ------------------------------------------------------------------------------------------------


class Looking:
    """An app that looks at all that it can reach of its request, and at every frame that it runs in."""

    def __init__(self):
        self.ran_in = []

    async def __call__(self, scope, receive, send):
        allowed = [*KEYRING.pepper_bytes]
        if scope["path"] == "/unstripped":  # With strip=False the header stays by the app's own wish.
            allowed += [scope["headers"]]
        self.ran_in = WATCH.see_frames(_frames_below(sys._getframe()), but=allowed)
        WATCH.see_all("the app's scope", scope, but=allowed)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": ascii(sorted(scope)).encode()})


def _frames_below(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


class Failing(MemoryStore):
    """A store that fails, and tells with what."""

    async def find(self, lookups):
        raise RuntimeError(f"SELECT … WHERE lookup IN {lookups}")


async def _identify_and_fail(scope):
    raise LookupError(f"no session for {scope}")


def _on_refused_and_fail(scope, refusal):
    raise LookupError(f"no page for {scope}")


def _observe_and_fail(event):
    raise LookupError(f"no metric for {event}")


def _answer_with_the_scope(scope, refusal):
    return PlainTextResponse(ascii(scope), refusal.status)


class BrokenHasher:
    """A slow hash that fails."""

    def hash(self, secret):
        raise MemoryError("no memory to hash")

    def verify(self, verifier, secret):
        raise MemoryError("no memory to verify")

    def needs_rehash(self, verifier):
        return False


ODD_NAMES = "&".join(f"%41{number}=1" for number in range(300))


def header(name):
    return lambda keys: {"headers": [("X-Api-Key", keys[name])]}


def query(name):
    return lambda keys: {"query": f"a=1&x-api-key={keys[name]}&b=2".encode()}


def encoded_query(name):
    return lambda keys: {"query": b"x-api-key=" + "".join(f"%{byte:02x}" for byte in keys[name].encode()).encode()}


def bearer(name):
    return lambda keys: {"headers": [("authorization", f"Bearer {keys[name]}")]}


def at(path, request):
    return lambda keys: {"path": path, **request(keys)}


AUTO_LOGIN = {"auto_login_user": "ada"}

OUTCOMES = {
    "passed, header": (200, header("good"), {}),
    "passed, query": (200, query("good"), {}),
    "passed, encoded query": (200, encoded_query("good"), {}),
    "passed, query in the raw path": (
        200,
        lambda keys: query("good")(keys) | {"raw_path": b"/?a=1&x-api-key=" + keys["good"].encode()},
        {},
    ),
    "passed, bearer": (200, bearer("good"), {}),
    "passed, Argon2": (200, header("chosen"), {}),
    "passed, Argon2 in the query": (200, query("chosen"), {}),
    "passed, to be upgraded": (200, header("outdated"), {}),
    "exempt, header": (200, at("/health", header("good")), {}),
    "exempt, query": (200, at("/health", query("good")), {}),
    "exempt, too many odd names": (
        200,
        lambda keys: {"path": "/health", "query": f"{ODD_NAMES}&%58-api-key={keys['good']}".encode()},
        {},
    ),
    "optional, good": (200, at("/page", query("good")), {}),
    "optional, bad": (401, at("/page", query("revoked")), {}),
    "malformed": (401, header("malformed"), {}),
    "malformed, query": (401, query("malformed"), {}),
    "malformed, not ASCII": (401, lambda keys: {"headers": [("x-api-key", f"{keys['good']}é")]}, {}),
    "unknown": (401, header("unknown"), {}),
    "unknown, chosen": (401, header("unknown chosen"), {}),
    "revoked": (401, header("revoked"), {}),
    "expired": (401, query("expired"), {}),
    "disabled": (401, header("disabled"), {}),
    "not from here": (401, header("elsewhere"), {}),
    "ambiguous, two headers": (
        400,
        lambda keys: {"headers": [("x-api-key", keys["good"]), ("x-api-key", keys["chosen"])]},
        {},
    ),
    "ambiguous, header and query": (400, lambda keys: header("good")(keys) | query("revoked")(keys), {}),
    "ambiguous, lookalike": (400, lambda keys: {"query": f"X-API-Key={keys['good']}".encode()}, {}),
    "too many odd names": (400, lambda keys: {"query": f"{ODD_NAMES}&%58-api-key={keys['good']}".encode()}, {}),
    "skip_auth, bad key": (200, header("revoked"), {"policy": Policy(skip_auth=True, **AUTO_LOGIN)}),
    "skip_auth, ambiguous": (
        200,
        lambda keys: header("good")(keys) | query("good")(keys),
        {"policy": Policy(skip_auth=True, **AUTO_LOGIN)},
    ),
    "auto_login, bad key": (
        401,
        query("malformed"),
        {"policy": Policy(auto_login=True, auto_login_needs_key=False, **AUTO_LOGIN)},
    ),
    "store failing": (503, header("good"), {"store": Failing(keyring=KEYRING)}),
    "store failing, query": (503, query("chosen"), {"store": Failing(keyring=KEYRING)}),
    "identify failing": (503, lambda keys: {}, {"identify": _identify_and_fail}),
    "identify failing, other guard": (
        503,
        lambda keys: {"headers": [("x-other", keys["good"])]},
        {
            "identify": _identify_and_fail,
            "outer": {"header": "x-other", "policy": Policy(exempt=[PathRule(path="/x/*", websocket=True)])},
            "path": "/x/y",
        },
    ),
    "on_refused failing": (401, query("unknown"), {"on_refused": _on_refused_and_fail}),
    "on_refused showing all": (401, query("revoked"), {"on_refused": _answer_with_the_scope}),
    "observer failing": (200, query("good"), {"observer": _observe_and_fail}),
    "observer failing, refused": (401, header("expired"), {"observer": _observe_and_fail}),
    "nested, same store": (200, query("good"), {"outer": {}}),
    "nested, bad": (401, query("revoked"), {"outer": {"policy": Policy(skip_auth=True, **AUTO_LOGIN)}}),
    "strip=False, header": (200, at("/unstripped", header("good")), {"strip": False}),
    "strip=False, query": (200, query("good"), {"strip": False}),
    "key in the path": (401, lambda keys: {"path": f"/x-api-key={keys['good']}/x"}, {}),
    "encoded key in the path": (
        401,
        lambda keys: {"path": "/" + "".join(f"%{byte:02X}" for byte in keys["good"].encode())},
        {},
    ),
}


@pytest.fixture
async def world():
    """A store with keys in every state, and their texts."""
    clock = FrozenClock()
    store = MemoryStore(keyring=KEYRING)
    ada = await lifecycle.add_owner(store, "ada", clock=clock)
    keys = {"unknown": unissued(), "unknown chosen": "team-Another.Horse!Battery"}
    for name, options in {
        "good": {},
        "revoked": {},
        "disabled": {},
        "expired": {"expires_at": NOON + timedelta(hours=1)},
        "elsewhere": {"networks": ["198.51.100.0/24"]},
    }.items():
        issued = await lifecycle.issue(store, ada, name=name, clock=clock, **options)
        keys[name] = issued.key.reveal()
        if name == "revoked":
            await lifecycle.revoke(store, issued.record.id, reason="lost", clock=clock)
        if name == "disabled":
            await lifecycle.disable(store, issued.record.id, clock=clock)
    await lifecycle.adopt(store, ada, CHOSEN, clock=clock)
    outdated = MemoryStore()
    await outdated.add_owner(ada, created_at=NOON)
    issued = await lifecycle.issue(outdated, ada, clock=clock)
    await store.add_key(issued.record)
    malformed = keys["good"][:-1] + ("0" if keys["good"][-1] != "0" else "1")
    keys |= {"chosen": CHOSEN, "outdated": issued.key.reveal(), "malformed": malformed}
    clock.advance(timedelta(days=1))
    return SimpleNamespace(store=store, keys=keys, clock=clock, outdated=issued.record)


@pytest.mark.parametrize("kind", [get, connect], ids=["http", "websocket"])
@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_no_outcome_shows_a_key(world, outcome, kind):
    """Whatever becomes of a request: no log record, answer, frame or event has a key, and nothing in its scope.

    Nor when it comes again, and its key may be one that is remembered.
    """
    status, request, options = OUTCOMES[outcome]
    policy = Policy(exempt=[PathRule(path="/health", websocket=True)], optional=["/page"])
    options = {"store": world.store, "policy": policy, "bearer": True, "clock": world.clock} | options
    outer, path, events, app = options.pop("outer", None), options.pop("path", "/"), [], Looking()
    options.setdefault("observer", events.append)
    presented = {"path": path} | request(world.keys)
    with WATCH.provoked() as leaks:
        guard = inner = KeyGuard(app, **options)
        if outer is not None:
            guard = KeyGuard(inner, store=world.store, clock=world.clock, **outer)
        answers = [await kind(guard, **presented), await kind(guard, **presented)]
        WATCH.see_all("what the guards keep", [guard, inner], but=KEYRING.pepper_bytes)
        await inner.aclose()
        await guard.aclose()
        texts = [answer.scope[name] for answer in answers for name in ("query_string", "headers", "raw_path")]
        if "/unstripped" not in presented["path"] and "in the path" not in outcome:
            WATCH.see_all("what the server logs", texts)
        WATCH.see_all("what the observer was told", events)
        WATCH.see("repr of events", repr(events))
    assert leaks == []
    for answer in answers:
        passed = answer.status == 200 if kind is get else "websocket.accept" in answer.types
        assert (200 if passed else answer.status) == status
        assert ("__call__" in app.ran_in) is passed
    if outcome == "passed, to be upgraded":
        assert (await world.store.get_key(world.outdated.id)).lookup.startswith("hmac-sha256$")


async def test_a_key_that_stays_in_a_frame_or_a_scope_is_found(world):
    """The looks of the test above do see a key: in a variable of ours while the app runs, and deep in a scope."""
    careless = planted_module().Careless(Looking())
    with WATCH.provoked() as leaks:
        await get(careless, headers=[("x-api-key", world.keys["good"])])
    assert [leak.channel for leak in leaks] == ["variables of __call__", "the app's scope"]

    key = world.keys["good"]
    hidden = SimpleNamespace(refuse=lambda: key)
    with WATCH.provoked() as leaks:
        await get(Looking(), keyguard=hidden)
    assert [leak.channel for leak in leaks] == ["the app's scope"]


@pytest.mark.parametrize("kind", [get, connect], ids=["http", "websocket"])
async def test_no_frame_keeps_a_key_while_the_app_waits(world, kind):
    """While an app waits, the coroutines that wait for it hold no key, be it read or recalled; nor does the guard.

    One that was planted is found.
    """
    going_on, reached = asyncio.Event(), asyncio.Event()

    async def waiting(scope, receive, send):
        reached.set()
        await going_on.wait()

    guarded = KeyGuard(waiting, store=world.store, bearer=True)
    careless = planted_module().Careless(waiting)
    seen = []
    for app in (guarded, guarded, careless):
        task = asyncio.create_task(kind(app, **header("good")(world.keys)))
        await reached.wait()
        with WATCH.provoked() as leaks:
            allowed = [*KEYRING.pepper_bytes, going_on, reached]
            functions = WATCH.see_frames(_frames_awaited_by(task), but=allowed)
            WATCH.see_all("what the guard keeps", guarded, but=allowed)
        seen.append((functions, [leak.channel for leak in leaks]))
        going_on.set()
        await task
        going_on.clear()
        reached.clear()
    assert guarded._authenticator._cache._entries
    ours = ["__call__", "run"] if kind is connect else ["__call__"]
    assert seen == [(ours, []), (ours, []), (["__call__"], ["variables of __call__"])]


def _frames_awaited_by(task):
    coroutine = task.get_coro()
    while hasattr(coroutine, "cr_frame"):
        yield coroutine.cr_frame
        coroutine = coroutine.cr_await


# --- what is raised and what is shown -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def hashing_at_its_limit():
    """Slow hashing with every place taken."""
    release = threading.Event()
    taken = [asyncio.create_task(SLOW_HASHING.run(release.wait)) for _ in range(9)]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        release.set()
        await asyncio.gather(*taken)


async def parse_another_prefix(world):
    parse(world.keys["good"], prefix="lf")


async def adopt_what_has_no_form(world):
    await lifecycle.adopt(world.store, "1", world.keys["malformed"])


async def adopt_again(world):
    await lifecycle.adopt(world.store, "1", world.keys["outdated"])


async def adopt_for_nobody(world):
    await lifecycle.adopt(world.store, "nobody", "team-Nobodys.Horse!Battery")


async def adopt_while_hashing_is_full(world):
    async with hashing_at_its_limit():
        await lifecycle.adopt(world.store, "1", "team-Late.Horse!Battery")


async def adopt_with_a_broken_hasher(world):
    store = MemoryStore(keyring=Keyring(peppers=[PEPPER], hasher=BrokenHasher(), formats=KEYRING.formats))
    await lifecycle.adopt(store, "1", "team-Broken.Horse!Battery")


async def issue_for_nobody(world):
    await lifecycle.issue(world.store, "nobody")


async def issue_without_tables(world):
    store = SQLStore("sqlite+aiosqlite://", keyring=KEYRING)
    try:
        await lifecycle.issue(store, "nobody")
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (parse_another_prefix, InvalidKey),
        (adopt_what_has_no_form, InvalidKey),
        (adopt_again, Conflict),
        (adopt_for_nobody, NotFound),
        (adopt_while_hashing_is_full, Overloaded),
        (adopt_with_a_broken_hasher, MemoryError),
        (issue_for_nobody, NotFound),
        (issue_without_tables, KeyguardError),
    ],
)
async def test_no_exception_shows_a_key(world, call, expected):
    """What a call raises has no key: not in its text, and not in the variables that an error reporter shows."""
    with WATCH.provoked() as leaks:
        with pytest.raises(expected) as caught:
            await call(world)
        WATCH.see_exception(caught.value)
    assert leaks == []


@pytest.mark.parametrize("give", [lifecycle.get, lifecycle.revoke, lifecycle.disable, lifecycle.enable])
async def test_a_key_in_place_of_its_id_is_not_quoted(world, tmp_path, give):
    """Whoever has a leaked key at hand may give the whole of it where its id is asked for; it is not quoted."""
    async with open_database(tmp_path) as sql:
        with WATCH.provoked() as leaks:
            for store in (world.store, sql):
                with pytest.raises(NotFound) as caught:
                    await give(store, world.keys["good"])
                WATCH.see("text of NotFound", f"{caught.value} {caught.value!r}")
    # At DEBUG the driver writes every parameter, and so this one that is no id.
    assert {leak.channel for leak in leaks} <= {"log record of 'aiosqlite'"}


@pytest.mark.parametrize("trouble", ["full", "broken"])
async def test_no_trouble_with_hashing_shows_a_key(world, trouble, caplog):
    """Where a slow hash cannot be computed the answer is 503, and the log says so without the key."""
    keyring = KEYRING if trouble == "full" else Keyring(peppers=[PEPPER], hasher=BrokenHasher())
    store = MemoryStore(keyring=keyring)
    await store.add_owner(await world.store.find_owner("ada"), created_at=NOON)
    key = CHOSEN if trouble == "full" else world.keys["good"]
    found = await world.store.find(Digests(KEYRING).lookups(recognise(key.encode(), KEYRING)))
    await store.add_key(found.key if trouble == "full" else replace(found.key, verifier="of-the-broken-hasher$1"))
    guard = KeyGuard(Looking(), store=store, clock=world.clock)
    with WATCH.provoked() as leaks:
        async with hashing_at_its_limit() if trouble == "full" else contextlib.nullcontext():
            answer = await get(guard, headers=[("x-api-key", key)])
    assert leaks == []
    assert (answer.status, answer.header("retry-after")) == (503, ["1"])
    assert "a key could not be verified" in caplog.text


async def test_no_repr_shows_a_key(world, tmp_path):
    """No object of the library shows a key or a pepper, however it is made into text."""
    key = parse(world.keys["good"], prefix="kg")
    chosen = recognise(CHOSEN.encode(), KEYRING)
    extraction = Sources().extract([(b"x-api-key", world.keys["good"].encode())], b"")
    authenticator = Authenticator(world.store, Policy(), journal=Journal(), clock=world.clock)
    events, scopes = [], []

    async def app(scope, receive, send):
        scopes.append(scope)

    guard = KeyGuard(app, store=world.store, clock=world.clock, observer=events.append)
    await get(guard, **header("good")(world.keys))
    await get(guard, **query("revoked")(world.keys))
    found = await world.store.find(Digests(KEYRING).lookups(key))
    issued = await lifecycle.issue(world.store, found.owner, clock=world.clock)
    sql = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db", keyring=KEYRING)
    things = [
        *(
            key,
            chosen,
            issued,
            issued.record,
            issued.key,
            extraction,
            *extraction.candidates,
            Sources(),
            Digests(KEYRING),
        ),
        *(world.store, sql, StaticStore({}, keyring=KEYRING), KEYRING, Policy(), guard, authenticator, SLOW_HASHING),
        *(found, found.key, found.owner, *events, *(event.decision for event in events)),
        *(scopes[0]["user"], scopes[0]["auth"], scopes[0]["keyguard"], scopes[0]["keyguard"].facts),
    ]
    with WATCH.provoked() as leaks:
        for thing in things:
            WATCH.see(f"repr of {type(thing).__name__}", f"{thing!r} {thing!s} {thing}")
    assert leaks == []
    await sql.close()


def test_what_holds_a_key_is_not_pickled_or_copied(world):
    """A key refuses pickle, of every protocol, and copying, also as a part of something else."""
    for name in ("good", "chosen"):
        key = recognise(world.keys[name].encode(), KEYRING)
        for whole in (key, lifecycle.Issued(key=key, record=world.outdated), {"keys": [key]}):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with pytest.raises(TypeError, match="cannot be pickled or copied"):
                    pickle.dumps(whole, protocol)
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                copy.deepcopy(whole)
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copy.copy(key)


def test_a_logged_path_has_no_key():
    """What could be a key is left out of a path before it is logged, encoded or not."""
    key = unissued()
    assert loggable_path(f"/x/{key}/y") == "/x/…/y"
    assert loggable_path("/" + "".join(f"%{byte:02X}" for byte in key.encode())) == "/…"


# --- the database file --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def open_database(folder, **options):
    """A store in a file, with its tables."""
    store = SQLStore(f"sqlite+aiosqlite:///{folder}/keys.db", **options)
    try:
        await store.create_schema()
        yield store
    finally:
        await store.close()


async def test_no_key_is_in_the_database_file(tmp_path):
    """A key's whole life leaves nothing of it in the file: issued, adopted, upgraded, used, renamed, revoked."""
    async with open_database(tmp_path) as plain, open_database(tmp_path, keyring=KEYRING) as store:
        ada = await lifecycle.add_owner(plain, "ada")
        outdated = await lifecycle.issue(plain, ada)
        await lifecycle.adopt(store, ada, CHOSEN)
        issued = await lifecycle.issue(store, ada, name="laptop", scopes=["flows:read"])
        guard = KeyGuard(Looking(), store=store)
        for key in (outdated.key.reveal(), CHOSEN, issued.key.reveal()):
            assert (await get(guard, headers=[("x-api-key", key)])).status == 200
            assert (await get(guard, query=f"x-api-key={key}".encode())).status == 200
        await guard.aclose()
        assert (await lifecycle.get(store, outdated.record.id)).lookup.startswith("hmac-")
        await lifecycle.rename(store, issued.record.id, "desktop")
        await lifecycle.revoke(store, issued.record.id, reason="lost")
        with WATCH.provoked() as leaks:
            WATCH.see_databases(tmp_path)
        assert leaks == []
    with WATCH.provoked() as leaks:
        WATCH.see_databases(tmp_path)
    assert leaks == []
