"""How servers start with a guard that was set up wrongly, or whose store is not as it should be.

A store that is not ready is one of two things: it does not belong to this program, and then nothing starts; or it
cannot be reached, and then all starts and requests get 503 until it can.
"""

import asyncio
import sqlite3

import pytest
from asgi import live
from servers import starting
from servers.harness import NotStarted, running
from servers.wire import ask

from keyguard import Keyring, lifecycle
from keyguard.stores.sql import SQLStore

APP = "servers.starting:app"
STARTERS = ("httptools", "hypercorn", "granian")
"""One of each: uvicorn starts in the same way whatever parses its requests."""


def ends(kind, tmp_path, **environment):
    """Start a server that ends by itself; return its exit status and all that it wrote."""
    with running(kind, APP, tmp_path, environment=environment) as server:
        with pytest.raises(NotStarted):
            server.wait_until_it_answers()
        return server.wait_until_it_ends(), server.log


def url_of(path):
    return f"sqlite+aiosqlite:///{path}"


async def make_database(path, *peppers):
    """Make a database with one owner and one key; return the key."""
    store = SQLStore(url_of(path), keyring=Keyring(peppers=peppers))
    await store.create_schema()
    owner = await lifecycle.add_owner(store, "ada")
    issued = await lifecycle.issue(store, owner)
    await store.close()
    return issued.key.reveal()


@pytest.fixture
def database(tmp_path):
    return tmp_path / "keys.db"


@pytest.mark.parametrize("case", ["unknown keyword", "nothing", "a bad header", "a text for a switch"])
def test_a_wrong_argument_ends_uvicorn_with_its_sentence(tmp_path, case):
    """Starlette builds its middleware at the first event, and uvicorn takes an exception there for "no lifespan"."""
    _, sentence = starting.WRONG[case]
    status, log = ends("httptools", tmp_path, CASE=case)
    assert status != 0
    assert f"KeyGuard cannot be set up: {sentence}" in log
    assert "lifespan has begun" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("case", starting.WRONG)
async def test_each_wrong_argument_fails_the_start_with_its_sentence(case):
    """What is said of one of them to a real server holds for all."""
    (said,) = await live(starting.chosen(case))
    assert said["type"] == "lifespan.startup.failed"
    assert said["message"].startswith(f"KeyGuard cannot be set up: {starting.WRONG[case][1]}")


@pytest.mark.parametrize("kind", ["hypercorn", "granian"])
def test_a_wrong_argument_ends_the_other_servers_too(tmp_path, kind):
    """Hypercorn and granian end when a lifespan cannot be started."""
    status, log = ends(kind, tmp_path, CASE="a bad header")
    assert status != 0
    assert f"KeyGuard cannot be set up: {starting.WRONG['a bad header'][1]}" in log


@pytest.mark.parametrize("kind", STARTERS)
def test_a_wrong_pepper_ends_a_server(tmp_path, database, kind):
    """Every key would be dead, so nothing starts; the sentence names no pepper."""
    asyncio.run(make_database(database, starting.PEPPER))
    status, log = ends(kind, tmp_path, CASE="guarded", DATABASE=url_of(database), PEPPERS=f"{starting.OTHER_PEPPER}|")
    assert status != 0
    assert "the keys in this database were made under a pepper that is not among those given" in log
    assert starting.PEPPER not in log
    assert starting.OTHER_PEPPER not in log
    assert "lifespan has begun" not in log


def test_a_missing_pepper_ends_a_server(tmp_path, database):
    """As a wrong one does."""
    asyncio.run(make_database(database, starting.PEPPER))
    status, log = ends("httptools", tmp_path, CASE="guarded", DATABASE=url_of(database))
    assert status != 0
    assert "were made under a pepper, and none was given" in log


def test_a_missing_schema_ends_a_server(tmp_path, database):
    """A database without our tables is not the right one; nothing is made behind anybody's back."""
    status, log = ends("h11", tmp_path, CASE="guarded", DATABASE=url_of(database))
    assert status != 0
    assert "the database has no Keyguard tables, or not all of them" in log


@pytest.mark.parametrize("kind", STARTERS)
def test_a_database_that_cannot_be_reached_stops_no_start(tmp_path, kind):
    """Requests get 503 and exempt paths go on, until it can be reached; then keys are good without a restart."""
    folder = tmp_path / "not there yet"
    database = folder / "keys.db"
    with running(kind, APP, tmp_path, environment={"CASE": "guarded", "DATABASE": url_of(database)}) as server:
        server.wait_until_it_answers()
        assert "requests get 503 until it can" in server.log
        assert "lifespan has begun" in server.log
        for fields in (("X-API-Key: kg_1",), ()):
            assert ask(server.port, "/who", *fields).status == 401  # No store is asked for these.
        elsewhere = tmp_path / "elsewhere.db"
        key = asyncio.run(make_database(elsewhere))
        unavailable = ask(server.port, "/who", f"X-API-Key: {key}")
        assert (unavailable.status, unavailable.code) == (503, "unavailable")
        assert unavailable.header("retry-after") == ["1"]
        assert unavailable.header("cache-control") == ["no-store"]
        assert ask(server.port, "/health").status == 200
        folder.mkdir()
        elsewhere.rename(database)
        assert ask(server.port, "/who", f"X-API-Key: {key}").body.startswith(b"ada of ")
        assert "Traceback" not in server.log


def test_a_locked_database_stops_no_start(tmp_path, database):
    """A lock that readers feel: an exclusive one, held by somebody else."""
    key = asyncio.run(make_database(database))
    locking = sqlite3.connect(database, isolation_level=None)
    locking.execute("PRAGMA locking_mode=EXCLUSIVE")
    locking.execute("BEGIN EXCLUSIVE")
    try:
        url = f"{url_of(database)}?timeout=0.2"
        with running("httptools", APP, tmp_path, environment={"CASE": "guarded", "DATABASE": url}) as server:
            server.wait_until_it_answers()
            assert ask(server.port, "/who", f"X-API-Key: {key}").status == 503
            assert ask(server.port, "/health").status == 200
            locking.close()
            assert ask(server.port, "/who", f"X-API-Key: {key}").status == 200
    finally:
        locking.close()


def test_below_another_app_it_opens_at_the_first_request(tmp_path, database):
    """No lifespan reaches it there."""
    key = asyncio.run(make_database(database))
    with running("httptools", APP, tmp_path, environment={"CASE": "mounted", "DATABASE": url_of(database)}) as server:
        server.wait_until_it_answers()
        assert ask(server.port, "/below/health").status == 200
        assert ask(server.port, "/below/who").status == 401
        assert ask(server.port, "/below/who", f"X-API-Key: {key}").status == 200


def test_below_another_app_a_store_that_does_not_belong_is_an_outage(tmp_path, database):
    """There is no start that it could stop: requests get 503, and the log says why."""
    asyncio.run(make_database(database, starting.PEPPER))
    wrong = asyncio.run(make_database(tmp_path / "other.db"))
    with running("h11", APP, tmp_path, environment={"CASE": "mounted", "DATABASE": url_of(database)}) as server:
        server.wait_until_it_answers()
        assert ask(server.port, "/below/who", f"X-API-Key: {wrong}").status == 503
        assert ask(server.port, "/below/health").status == 200
        server.wait_until_logged("were made under a pepper, and none was given")


def test_a_lifespan_that_was_begun_is_ended(tmp_path, database):
    """The app's own lifespan runs within the guard's."""
    asyncio.run(make_database(database))
    with running("httptools", APP, tmp_path, environment={"CASE": "guarded", "DATABASE": url_of(database)}) as server:
        server.wait_until_it_answers()
        server.stop()
        assert server.log.count("lifespan has begun") == server.log.count("lifespan has ended") == 1
        assert "Traceback" not in server.log
