"""FastAPI: what endpoints depend on, and what the OpenAPI document tells of keys."""

import asyncio
from typing import Annotated

import pytest
from asgi import connect
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient, WebSocketDenialResponse

from keyguard import AnonymousUser, ConfigurationError, KeyGuard, Policy, Principal, Rule, lifecycle
from keyguard.fastapi import KeySecurity
from keyguard.stores.memory import MemoryStore

POLICY = Policy(exempt=["/exempt", "/openapi.json", "/docs"], optional=["/optional", "/optional/flows"])
guarded = KeySecurity(bearer=True)


async def make_keys(store):
    ada = await lifecycle.add_owner(store, "ada", id="1")
    root = await lifecycle.add_owner(store, "root", id="2", is_superuser=True)
    issued = {
        "nothing": await lifecycle.issue(store, ada, scopes=[]),
        "flows:*": await lifecycle.issue(store, ada, scopes=["flows:*"]),
        "flows, mcp": await lifecycle.issue(store, ada, scopes=["flows:read", "mcp:call"]),
        "ada": await lifecycle.issue(store, ada),
        "root": await lifecycle.issue(store, root),
    }
    return {name: each.key.reveal() for name, each in issued.items()}


@pytest.fixture(scope="module")
def store():
    return MemoryStore()


@pytest.fixture(scope="module")
def keys(store):
    return asyncio.run(make_keys(store))


async def name_of(user: Annotated[Principal | AnonymousUser, guarded.caller]):
    return [type(user).__name__, user.name]


def make_app():
    app = FastAPI()
    for path in ("/caller", "/exempt", "/optional"):
        app.get(path)(name_of)

    @app.get("/unguarded")
    async def unguarded():
        return "ok"

    @app.get("/flows")
    @app.get("/optional/flows")
    async def flows(user: Annotated[Principal, guarded("flows:read")]):
        return user

    @app.get("/both")
    async def both(user: Annotated[Principal, guarded("flows:read", "mcp:call")]):
        return user

    @app.get("/admin")
    async def admin(user: Annotated[Principal, guarded(superuser=True)]):
        return user

    @app.get("/key")
    async def key(user: Annotated[Principal, guarded(key=True)]):
        return user

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, user: Annotated[Principal, guarded("flows:read")]):
        await websocket.accept()
        await websocket.send_json({"name": user.name})
        await websocket.close()

    @app.websocket("/ws/caller")
    async def ws_caller(websocket: WebSocket, user: Annotated[Principal, guarded.caller]):
        await websocket.accept()
        await websocket.send_json({"name": user.name})
        await websocket.close()

    return app


def guard(app, store, **options):
    """Guard `app`, and return a client of it that has no keys of its own."""
    app.add_middleware(KeyGuard, store=store, policy=POLICY, bearer=True, **options)
    return TestClient(app)


def with_key(key):
    return {"headers": {"x-api-key": key}}


# --- dependencies -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(store):
    return guard(make_app(), store)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/flows", "flows:*", 200),
        ("/flows", "ada", 200),
        ("/flows", "nothing", 403),
        ("/both", "flows, mcp", 200),
        ("/both", "ada", 200),
        ("/both", "flows:*", 403),
        ("/admin", "root", 200),
        ("/admin", "ada", 403),
        ("/key", "nothing", 200),
        ("/optional/flows", "flows:*", 200),
        ("/optional/flows", "nothing", 403),
    ],
)
def test_rights(client, keys, path, key, status):
    """An endpoint gets the Principal of a caller who has all that it asks for; another one is answered 403."""
    answer = client.get(path, **with_key(keys[key]))
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["name"] == ("root" if key == "root" else "ada")
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == ("superuser_required" if path == "/admin" else "insufficient_scope")


@pytest.mark.parametrize("path", ["/flows", "/optional/flows"])
def test_rights_of_nobody(client, path):
    """A caller without a key is answered 401 with a challenge, on an optional path as well."""
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_key")
    assert "www-authenticate" in answer.headers


def test_rights_on_an_exempt_path(store, keys):
    """An endpoint on an exempt path that asks for a right lets nobody in: keys are not looked at there."""
    app = FastAPI()
    app.get("/exempt", dependencies=[guarded()])(lambda: "ok")
    assert guard(app, store).get("/exempt", **with_key(keys["root"])).status_code == 401


def test_a_key_is_asked_for(store, keys):
    """`key=True` refuses, with 401, whom only the app's own sign-in knows; everything else lets that caller in."""

    async def identify(scope):
        return Principal(id="7", name="signed in")

    client = guard(make_app(), store, identify=identify)
    assert client.get("/flows").json()["name"] == "signed in"
    assert client.get("/key").json()["code"] == "key_required"
    assert client.get("/key", **with_key(keys["nothing"])).json()["name"] == "ada"


@pytest.mark.parametrize(
    ("path", "key", "said"),
    [
        ("/caller", "ada", ["Principal", "ada"]),
        ("/optional", "ada", ["Principal", "ada"]),
        ("/optional", None, ["AnonymousUser", ""]),
        ("/exempt", "ada", ["AnonymousUser", ""]),
        ("/exempt", None, ["AnonymousUser", ""]),
    ],
)
def test_the_caller(client, keys, path, key, said):
    """`caller` is the Principal of the key, and an AnonymousUser where the path asks for none and there is none."""
    assert client.get(path, **(with_key(keys[key]) if key else {})).json() == said


def test_the_caller_of_a_guarded_path(client):
    """A path that depends on `caller` is not open by that: without a key it is refused like any other."""
    assert client.get("/caller").status_code == 401


def test_on_a_router(store, keys):
    """A router may ask for a right for all of its routes, whose endpoints know nothing of it."""
    app, router = FastAPI(), APIRouter(dependencies=[guarded("flows:read")])
    router.get("/flows")(lambda: "ok")
    app.include_router(router)
    client = guard(app, store)
    assert client.get("/flows", **with_key(keys["ada"])).status_code == 200
    assert client.get("/flows", **with_key(keys["nothing"])).status_code == 403


def test_nothing_runs_for_a_refused_caller(store, keys):
    """The endpoint does not run for a caller who lacks a right; log and observer are told of it."""
    app, events = FastAPI(), []

    @app.post("/flows")
    async def flows(user: Annotated[Principal, guarded("flows:write")]):
        raise AssertionError

    answer = guard(app, store, observer=events.append).post("/flows", **with_key(keys["nothing"]))
    assert answer.status_code == 403
    assert [event.decision.rule for event in events] == [Rule.KEY, Rule.REQUIRE]


def refuse_politely(scope, refusal):
    return PlainTextResponse(f"Sorry: {refusal.code}", refusal.status)


def test_on_refused(store, keys):
    """What a dependency refuses is answered by the guard's `on_refused`, 401 and 403, HTTP and WebSocket."""
    client = guard(make_app(), store, on_refused=refuse_politely)
    assert client.get("/optional/flows").text == "Sorry: missing_key"
    assert client.get("/flows", **with_key(keys["nothing"])).text == "Sorry: insufficient_scope"
    with pytest.raises(WebSocketDenialResponse) as denial, client.websocket_connect("/ws", **with_key(keys["nothing"])):
        pass
    assert (denial.value.status_code, denial.value.text) == (403, "Sorry: insufficient_scope")


def wrapped(app, **options):
    return KeyGuard(app, **options)


def mounted(app, **options):
    outer = FastAPI()
    outer.mount("/below", app)
    outer.add_middleware(KeyGuard, **options)
    return outer


@pytest.mark.parametrize(("put", "prefix"), [(wrapped, ""), (mounted, "/below")])
def test_wrapped_and_mounted_apps(store, keys, put, prefix):
    """Dependencies answer in the same way where the guard stands around the app, or around one that it is mounted in.

    The app's own page for errors stands further in than the guard then.
    """
    app = make_app()
    app.exception_handler(Exception)(lambda request, problem: PlainTextResponse("something went wrong", 500))
    client = TestClient(put(app, store=store))
    assert client.get(f"{prefix}/flows", **with_key(keys["ada"])).status_code == 200
    answer = client.get(f"{prefix}/flows", **with_key(keys["nothing"]))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


# --- WebSockets -------------------------------------------------------------------------------------------------


def test_websockets(client, keys):
    """A WebSocket endpoint depends on rights and on the caller as others do."""
    for path, key in [("/ws", "flows:*"), ("/ws/caller", "nothing")]:
        with client.websocket_connect(path, **with_key(keys[key])) as websocket:
            assert websocket.receive_json() == {"name": "ada"}


def test_denied_websockets(client, keys):
    """A WebSocket whose caller lacks a right is denied before it was accepted."""
    with pytest.raises(WebSocketDenialResponse) as denial, client.websocket_connect("/ws", **with_key(keys["nothing"])):
        pass
    assert denial.value.status_code == 403


async def test_denied_websockets_without_denial(store, keys):
    """Where the server cannot send a denial, the handshake is closed with 1008, the policy violation of RFC 6455."""
    app = make_app()
    guard(app, store)
    answer = await connect(app, "/ws", headers=[("x-api-key", keys["nothing"])], denial=False)
    assert answer.messages == [{"type": "websocket.close", "code": 1008, "reason": "insufficient_scope"}]


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/caller", "/flows"])
def test_without_a_guard(path):
    """A dependency fails, and the endpoint does not run, in an app that has no KeyGuard."""
    with pytest.raises(RuntimeError, match="no KeyGuard has judged this request"):
        TestClient(make_app()).get(path)


@pytest.mark.parametrize("scope", ["Flows", "superuser", ""])
def test_wrong_scopes(scope):
    """A scope that no key can carry is refused where it is written."""
    with pytest.raises(ConfigurationError, match="scope"):
        guarded("flows:read", scope)


def test_no_source_at_all():
    """A security that knows of no place for a key is refused."""
    with pytest.raises(ConfigurationError, match="name the header, the query parameter or bearer=True"):
        KeySecurity(header=None, query=None)


# --- the OpenAPI document ---------------------------------------------------------------------------------------

HEADER = {"type": "apiKey", "in": "header", "name": "x-api-key"}
QUERY = {"type": "apiKey", "in": "query", "name": "x-api-key"}
BEARER = {"type": "http", "scheme": "bearer"}
IN_ONE_PLACE = {"description": "Give the key in one place only: a request with two is refused."}


@pytest.mark.parametrize(
    ("security", "schemes"),
    [
        (KeySecurity(), {"ApiKeyHeader": HEADER, "ApiKeyQuery": QUERY}),
        (KeySecurity(bearer=True), {"ApiKeyHeader": HEADER, "ApiKeyQuery": QUERY, "ApiKeyBearer": BEARER}),
        (KeySecurity(query=None), {"ApiKeyHeader": HEADER}),
        (KeySecurity(header=None), {"ApiKeyQuery": QUERY}),
        (KeySecurity(header=None, query=None, bearer=True), {"ApiKeyBearer": BEARER}),
        (
            KeySecurity(header="x-token", query="key"),
            {"ApiKeyHeader": HEADER | {"name": "x-token"}, "ApiKeyQuery": QUERY | {"name": "key"}},
        ),
    ],
)
def test_schemes(security, schemes):
    """Each place for keys is a scheme of the document, and they are alternatives: one of them is enough."""
    app = FastAPI()
    app.get("/", dependencies=[security()])(lambda: "ok")
    document = app.openapi()
    assert document["components"]["securitySchemes"] == {
        name: scheme | IN_ONE_PLACE for name, scheme in schemes.items()
    }
    assert document["paths"]["/"]["get"]["security"] == [{name: []} for name in schemes]


def test_what_is_documented():
    """A route is documented as asking for a key if it depends on a right or on the caller, and else is not."""
    paths = make_app().openapi()["paths"]
    assert {path for path, operations in paths.items() if "security" in operations["get"]} == set(paths) - {
        "/unguarded"
    }


def test_documenting_all_routes(store, keys):
    """`documented` writes the schemes into every route of an app, once, and changes nothing else."""
    app = FastAPI(dependencies=[guarded.documented])
    app.get("/plain")(lambda: "ok")
    app.get("/flows", dependencies=[guarded("flows:read")])(lambda: "ok")

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.close()

    operations = [path["get"] for path in app.openapi()["paths"].values()]
    assert [list(map(list, each["security"])) for each in operations] == [
        [["ApiKeyHeader"], ["ApiKeyQuery"], ["ApiKeyBearer"]]
    ] * 2
    client = guard(app, store)
    assert client.get("/plain").status_code == 401
    assert client.get("/plain", **with_key(keys["nothing"])).status_code == 200
    with client.websocket_connect("/ws", **with_key(keys["nothing"])):
        pass


def authorize(document, path, filled_in):
    """Send what the docs page sends after *Authorize*, where `filled_in` holds what was typed under each scheme.

    Swagger UI goes through the alternatives of the operation and applies each scheme that was filled in (swagger-js,
    `src/execute/oas3/build-request.js`, `applySecurities`).
    """
    sent = {"headers": {}, "params": {}}
    for alternative in document["paths"][path]["get"]["security"]:
        for name in alternative:
            if name not in filled_in:
                continue
            match document["components"]["securitySchemes"][name]:
                case {"type": "apiKey", "in": "header", "name": field}:
                    sent["headers"][field] = filled_in[name]
                case {"type": "apiKey", "in": "query", "name": field}:
                    sent["params"][field] = filled_in[name]
                case {"type": "http", "scheme": "bearer"}:
                    sent["headers"]["Authorization"] = f"Bearer {filled_in[name]}"
    return sent


@pytest.mark.parametrize("scheme", ["ApiKeyHeader", "ApiKeyQuery", "ApiKeyBearer"])
def test_authorizing(client, keys, scheme):
    """The docs page is open, and a key that is filled in under any one of its fields lets its requests pass."""
    assert client.get("/docs").status_code == 200
    document = client.get("/openapi.json").json()
    assert client.get("/flows", **authorize(document, "/flows", {})).status_code == 401
    assert client.get("/flows", **authorize(document, "/flows", {scheme: keys["flows:*"]})).status_code == 200
    assert client.get("/flows", **authorize(document, "/flows", {scheme: keys["nothing"]})).status_code == 403


def test_authorizing_twice(client, keys):
    """A key that is filled in twice is refused, as the document says."""
    filled_in = {"ApiKeyHeader": keys["ada"], "ApiKeyQuery": keys["ada"]}
    answer = client.get("/flows", **authorize(client.get("/openapi.json").json(), "/flows", filled_in))
    assert (answer.status_code, answer.json()["code"]) == (400, "ambiguous_credentials")
