"""The same small app in six frameworks, each guarded in the framework's own way: one table holds for all of them.

The apps are in `apps/`, a file for each; how the caller is read and how an endpoint asks for more is shown there.
"""

import asyncio
import importlib
from datetime import UTC, datetime, timedelta

import pytest
from asgi import live
from starlette.testclient import TestClient, WebSocketDenialResponse

from keyguard import Policy, lifecycle
from keyguard.stores.memory import MemoryStore

FRAMEWORKS = ["plain", "starlette", "fastapi", "litestar", "quart", "django"]
POLICY = Policy(exempt=["/health"], optional=["/greeting"])

OK = {"status": "ok"}
ADA = {"id": "1", "name": "ada"}
MISSING, INVALID = {"code": "missing_key"}, {"code": "invalid_key"}
FORBIDDEN = {}  # Quart and Django answer with a page of their own.

TABLE = [
    # What is asked for, with which key: the status, and what the answer says.
    ("/health", None, 200, OK),
    ("/health", "ada", 200, OK),
    ("/health", "revoked", 200, OK),
    ("/health", "no key at all", 200, OK),
    ("/health/", None, 401, MISSING),
    ("/Health", None, 401, MISSING),
    ("/healthy", None, 401, MISSING),
    ("/health/below", None, 401, MISSING),
    ("/greeting", None, 200, {"hello": "stranger"}),
    ("/greeting", "ada", 200, {"hello": "ada"}),
    ("/greeting", "revoked", 401, INVALID),
    ("/greeting", "no key at all", 401, INVALID),
    ("/me", None, 401, MISSING),
    ("/me", "ada", 200, ADA | {"key": "ada"}),
    ("/me", "nothing", 200, ADA | {"key": "nothing"}),
    ("/me", "root", 200, {"id": "2", "name": "root", "key": "root"}),
    ("/me", "empty", 401, INVALID),
    ("/me", "no key at all", 401, INVALID),
    ("/me", "damaged", 401, INVALID),
    ("/me", "unknown", 401, INVALID),
    ("/me", "expired", 401, INVALID),
    ("/me", "disabled", 401, INVALID),
    ("/me", "revoked", 401, INVALID),
    ("/me", "idle owner's", 401, INVALID),
    ("/flows", None, 401, MISSING),
    ("/flows", "ada", 200, {"flows": []}),
    ("/flows", "flows:read", 200, {"flows": []}),
    ("/flows", "flows:*", 200, {"flows": []}),
    ("/flows", "root", 200, {"flows": []}),
    ("/flows", "mcp:*", 403, FORBIDDEN),
    ("/flows", "nothing", 403, FORBIDDEN),
    ("/flows", "revoked", 401, INVALID),
    ("/admin", None, 401, MISSING),
    ("/admin", "root", 200, {"hello": "root"}),
    ("/admin", "root, flows:*", 403, FORBIDDEN),
    ("/admin", "ada", 403, FORBIDDEN),
    ("/nowhere", None, 401, MISSING),
    ("/nowhere", "revoked", 401, INVALID),
    ("/nowhere", "ada", 404, {}),
]

HANDSHAKES = [
    # Which WebSocket, with which key: the status of the denial, None where it is let in.
    ("/ws", "ada", None),
    ("/ws", None, 401),
    ("/ws", "revoked", 401),
    ("/ws", "no key at all", 401),
    ("/health", None, 401),
]


async def make_keys(store):
    """Return what the names of keys in the tables stand for."""
    ada = await lifecycle.add_owner(store, "ada", id="1")
    root = await lifecycle.add_owner(store, "root", id="2", is_superuser=True)
    idle = await lifecycle.add_owner(store, "idle", id="3")
    then = datetime.now(UTC) - timedelta(days=1)
    issued = {
        "ada": await lifecycle.issue(store, ada, name="ada"),
        "nothing": await lifecycle.issue(store, ada, name="nothing", scopes=[]),
        "flows:read": await lifecycle.issue(store, ada, scopes=["flows:read"]),
        "flows:*": await lifecycle.issue(store, ada, scopes=["flows:*"]),
        "mcp:*": await lifecycle.issue(store, ada, scopes=["mcp:*"]),
        "root": await lifecycle.issue(store, root, name="root"),
        "root, flows:*": await lifecycle.issue(store, root, scopes=["flows:*"]),
        "expired": await lifecycle.issue(store, ada, expires_at=then + timedelta(hours=1), clock=lambda: then),
        "disabled": await lifecycle.issue(store, ada),
        "revoked": await lifecycle.issue(store, ada),
        "idle owner's": await lifecycle.issue(store, idle),
    }
    await lifecycle.disable(store, issued["disabled"].record.id)
    await lifecycle.revoke(store, issued["revoked"].record.id)
    await lifecycle.deactivate(store, idle)
    other = MemoryStore()
    await lifecycle.add_owner(other, "ada", id="1")
    issued["unknown"] = await lifecycle.issue(other, "1")
    keys = {name: each.key.reveal() for name, each in issued.items()}
    return keys | {"damaged": keys["ada"][:-1], "empty": "", "no key at all": "password"}


def make_app(framework, store, log):
    return importlib.import_module(f"apps.{framework}").make(store, POLICY, log)


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


@pytest.fixture(scope="module")
def keys(store):
    return asyncio.run(make_keys(store))


@pytest.fixture(scope="module", params=FRAMEWORKS)
def client(request, store, keys):
    with TestClient(make_app(request.param, store, [])) as client:
        yield client


@pytest.fixture(params=["headers", "params"], ids=["header", "query"])
def place(request):
    """Where the key stands: the name of the client's argument."""
    return request.param


def asked(table):
    """The rows of a table, each with a name."""
    return [pytest.param(*row, id=f"{row[0]}, {row[1] or 'no'} key") for row in table]


@pytest.mark.parametrize(("path", "key", "status", "said"), asked(TABLE))
def test_the_table(client, keys, place, path, key, status, said):
    """Each framework's app answers as the table says, whether the key comes in the header or in the query."""
    answer = client.get(path, **({} if key is None else {place: {"x-api-key": keys[key]}}))
    assert answer.status_code == status
    assert not said or answer.json() == answer.json() | said


@pytest.mark.parametrize(("path", "key", "status"), asked(HANDSHAKES))
def test_websockets(client, keys, place, path, key, status):
    """A WebSocket knows its caller, and is denied before it was accepted where a request would be refused."""
    handshake = client.websocket_connect(path, **({} if key is None else {place: {"x-api-key": keys[key]}}))
    if status is None:
        with handshake as websocket:
            assert websocket.receive_json() == {"name": key}
    else:
        with pytest.raises(WebSocketDenialResponse) as denial, handshake:
            pass
        assert denial.value.status_code == status


@pytest.mark.parametrize("key", ["ada", "root"])
def test_the_app_never_sees_the_key(client, keys, key):
    """Neither in the query nor in a header that the app reads is the key left; all else is there as it was sent."""
    by_query = client.get(f"/echo?a=%20b&x-api-key={keys[key]}&c=", headers={"x-other": "kept"})
    by_header = client.get("/echo?a=%20b&c=", headers={"x-other": "kept", "X-API-Key": keys[key]})
    for answer in (by_query, by_header):
        assert answer.status_code == 200
        assert answer.json()["query"] == "a=%20b&c="
        assert ["x-other", "kept"] in answer.json()["headers"]
        assert "x-api-key" not in answer.text.lower()
        assert keys[key] not in answer.text


def test_two_keys_are_none(client, keys):
    """A key in the header and one in the query, even the same one, are refused in each framework."""
    both = {"x-api-key": keys["ada"]}
    answer = client.get("/me", headers=both, params=both)
    assert (answer.status_code, answer.json()["code"]) == (400, "ambiguous_credentials")


def test_a_key_is_dead_from_its_revocation_on(client, store, keys):
    """A key that was let in is refused by the very next request after it was revoked."""
    issued = asyncio.run(lifecycle.issue(store, "1"))
    headers = {"x-api-key": issued.key.reveal()}
    assert client.get("/me", headers=headers).status_code == 200
    asyncio.run(lifecycle.revoke(store, issued.record.id))
    assert client.get("/me", headers=headers).status_code == 401


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_the_lifespan_runs_through(framework):
    """The store is opened before the app starts and closed after it has stopped; for Django KeyGuard answers itself."""
    store, log = MemoryStore(), []

    async def between():
        log.append("store open" if store.is_open else "store closed")

    sent = await live(make_app(framework, store, log), between=between)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
    assert log == (["store open"] if framework == "django" else ["app started", "store open", "app stopped"])
    assert not store.is_open
