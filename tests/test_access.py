"""Asking for more than being let in: on plain ASGI apps, Starlette's endpoints, and as a middleware."""

import asyncio
import functools
import inspect

import pytest
from asgi import connect, get, http_scope, send_scope
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse

from keyguard import lifecycle
from keyguard.access import Access, NotPermitted, access_of, need_of, refusal_of, require
from keyguard.errors import ConfigurationError
from keyguard.middleware import KeyGuard
from keyguard.model import Need, Principal, Rule, Source
from keyguard.settings import Policy
from keyguard.stores.memory import MemoryStore

RAN = "it ran"
SIGNED_IN = Principal(id="session-1", name="grace", is_superuser=True)


# --- what is decorated ------------------------------------------------------------------------------------------


async def plain(scope, receive, send):
    await PlainTextResponse(RAN)(scope, receive, send)


class Instance:
    """An ASGI app that is an object."""

    async def __call__(self, scope, receive, send):
        await plain(scope, receive, send)


def endpoints(require_):
    """Every shape of endpoint that `require` knows, behind a path of its own."""

    @require_
    async def on_request(request):
        """Say that it ran."""
        return PlainTextResponse(RAN)

    @require_
    def in_thread(request):
        return PlainTextResponse(RAN)

    @require_
    async def by_name(*, request):
        return PlainTextResponse(RAN)

    @require_
    class Whole(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse(RAN)

    class Methods(HTTPEndpoint):
        @require_
        async def get(self, request):
            return PlainTextResponse(RAN)

        @require_
        def head(self, request):
            return PlainTextResponse(RAN)

        async def post(self, request):
            return PlainTextResponse("open")

    async def bare(request):
        return PlainTextResponse(RAN)

    async def calls_by_name(request):
        return await by_name(request=request)

    return [
        Route("/async", on_request),
        Route("/sync", in_thread),
        Route("/by-name", calls_by_name),
        Route("/class", Whole),
        Route("/methods", Methods),
        Route("/plain", require_(plain)),
        Route("/instance", require_(Instance())),
        Route("/partial", require_(functools.partial(_partial, "first"))),
        Route("/middleware", bare, middleware=[Middleware(require_)]),
        Mount("/mount", require_(plain)),
    ]


async def _partial(first, request):
    assert first == "first"
    return PlainTextResponse(RAN)


PATHS = ["async", "sync", "by-name", "class", "methods", "plain", "instance", "partial", "middleware", "mount/x"]


class World:
    """A store with the keys that the tests ask with."""

    def __init__(self, store, keys):
        self.store, self.keys = store, keys

    def headers(self, name):
        return {} if name is None else {"x-api-key": self.keys[name]}

    def client(self, *routes, policy=Policy(optional=["/open/*"]), **options):  # noqa: B008 A frozen value.
        app = Starlette(routes=[*routes, Mount("/open", routes=routes)])
        app.add_middleware(KeyGuard, store=self.store, policy=policy, **options)
        return TestClient(app)


@pytest.fixture(scope="module")
def world():
    return asyncio.run(make_world())


async def make_world():
    store = MemoryStore()
    root = await lifecycle.add_owner(store, "root", is_superuser=True)
    ada = await lifecycle.add_owner(store, "ada")
    kinds = {
        "root": (root, None),
        "root, restricted": (root, ["flows:read"]),
        "ada": (ada, None),
        "reader": (ada, ["flows:read"]),
        "all flows": (ada, ["flows:*"]),
        "writer": (ada, ["flows:write"]),
        "nothing": (ada, []),
    }
    keys = {}
    for name, (owner, scopes) in kinds.items():
        keys[name] = (await lifecycle.issue(store, owner, name=name, scopes=scopes)).key.reveal()
    return World(store, keys)


# --- who gets through -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [
        ("reader", 200, None),
        ("all flows", 200, None),
        ("ada", 200, None),
        ("root", 200, None),
        ("writer", 403, "insufficient_scope"),
        ("nothing", 403, "insufficient_scope"),
        (None, 401, "missing_key"),
    ],
)
def test_a_scope_is_asked_for(world, path, caller, status, code):
    """An endpoint of any shape runs for a key with the scope; without it 403, and without any key 401."""
    client = world.client(*endpoints(require("flows:read")))
    answer = client.get(f"/open/{path}", headers=world.headers(caller))
    assert answer.status_code == status
    if code is None:
        assert answer.text == RAN
    else:
        assert answer.json()["code"] == code
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert ("www-authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [
        ("root", 200, None),
        ("root, restricted", 403, "superuser_required"),
        ("ada", 403, "superuser_required"),
        (None, 401, "missing_key"),
    ],
)
def test_superuser_rights_are_asked_for(world, path, caller, status, code):
    """Superuser rights need the owner's and the whole of the key's; which of the two is missing is not told."""
    client = world.client(*endpoints(require(superuser=True)))
    answer = client.get(f"/open/{path}", headers=world.headers(caller))
    assert (answer.status_code, None if code is None else answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("needs", "caller", "status"),
    [
        ((), "nothing", 200),
        ((), None, 401),
        (("flows:read", "flows:write"), "all flows", 200),
        (("flows:read", "flows:write"), "reader", 403),
        (("flows:read", "flows:write"), "writer", 403),
        (("flows:*",), "all flows", 200),
        (("flows:*",), "reader", 403),
        (("other",), "all flows", 403),
    ],
)
def test_all_scopes_are_needed(world, needs, caller, status):
    """Of several scopes all are needed; without any, nothing but a caller who is known."""
    client = world.client(Route("/x", require(*needs)(plain)))
    assert client.get("/open/x", headers=world.headers(caller)).status_code == status


@pytest.mark.parametrize(("asked", "status"), [({}, 200), ({"key": True}, 401), ({"superuser": True}, 200)])
def test_a_key_is_asked_for(world, asked, status):
    """Whom the app's own sign-in knows passes by rights, but not where a key is asked for."""

    async def identify(scope):
        return SIGNED_IN

    client = world.client(Route("/x", require(**asked)(plain)), identify=identify)
    answer = client.get("/x")
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == "key_required"
    assert client.get("/x", headers=world.headers("root")).status_code == 200


@pytest.mark.parametrize(
    "policy",
    [
        Policy(skip_auth=True, auto_login_user="root"),
        Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="root"),
    ],
    ids=["skip_auth", "auto_login"],
)
def test_the_auto_login_user_is_as_good_as_a_key(world, policy):
    """Where the policy excuses requests from their key, the auto-login user satisfies every need by its rights."""
    client = world.client(Route("/x", require("flows:read", superuser=True, key=True)(plain)), policy=policy)
    assert client.get("/x").status_code == 200


def test_an_exempt_path_is_nobodys(world):
    """On an exempt path a key is not looked at, so that what asks for a right answers 401 to everybody."""
    client = world.client(Route("/x", require()(plain)), policy=Policy(exempt=["/x"]))
    assert client.get("/x", headers=world.headers("root")).status_code == 401


def test_methods_are_guarded_one_by_one(world):
    """A method of an endpoint class that is not decorated asks for nothing more; the others do, sync and async."""
    client = world.client(*endpoints(require("flows:read")))
    headers = world.headers("writer")
    assert client.post("/methods", headers=headers).text == "open"
    assert client.get("/methods", headers=headers).status_code == 403
    assert client.head("/methods", headers=headers).status_code == 403
    assert client.head("/methods", headers=world.headers("reader")).status_code == 200


def test_who_was_refused_is_told_to_the_observer(world):
    """A refusal further in is an event of its own, with the key that lacks the right and the rule that asked."""
    events = []
    client = world.client(Route("/x", require("flows:read")(plain)), observer=events.append)
    client.get("/x", headers=world.headers("writer"))
    assert [event.decision.rule for event in events] == [Rule.KEY, Rule.REQUIRE]
    assert events[1].decision.key.name == "writer"


# --- WebSockets -------------------------------------------------------------------------------------------------


async def accept(websocket):
    await websocket.accept()
    await websocket.send_text(RAN)
    await websocket.close()


class Greeter(WebSocketEndpoint):
    @require("flows:read")
    async def on_connect(self, websocket):
        await accept(websocket)


SOCKETS = {
    "/function": require("flows:read")(accept),
    "/app": require("flows:read")(WebSocketRoute("/app", accept).app),
    "/method": Greeter,
    "/class": require("flows:read")(type("Whole", (WebSocketEndpoint,), {"on_connect": lambda _, ws: accept(ws)})),
}


@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_is_asked_too(world, path):
    """A WebSocket endpoint of any shape runs for a key with the scope, and is denied before it was accepted else."""
    client = world.client(*[WebSocketRoute(path, endpoint) for path, endpoint in SOCKETS.items()])
    with client.websocket_connect(path, headers=world.headers("reader")) as websocket:
        assert websocket.receive_text() == RAN
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(path, headers=world.headers("writer")),
    ):
        pass
    assert (caught.value.status_code, caught.value.json()["code"]) == (403, "insufficient_scope")


async def test_a_websocket_is_closed_where_it_cannot_be_denied(world):
    """Where the server cannot deny a WebSocket it is closed before it was accepted."""
    app = KeyGuard(Starlette(routes=[WebSocketRoute("/x", SOCKETS["/function"])]), store=world.store)
    headers = [*world.headers("writer").items()]
    answer = await connect(app, "/x", headers=headers, denial=False)
    assert answer.messages == [{"type": "websocket.close", "code": 1008, "reason": "insufficient_scope"}]


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_without_a_guard_nothing_runs(path):
    """Where no guard stands in front, an endpoint that asks for a right fails loudly instead of running."""
    client = TestClient(Starlette(routes=endpoints(require("flows:read"))))
    with pytest.raises(RuntimeError, match="no KeyGuard has judged this request: add it with"):
        client.get(f"/{path}")


@pytest.mark.parametrize("access", [None, {}, "allowed", Rule.KEY])
def test_what_is_no_access(access):
    """Only what the guard itself has put into the scope counts."""
    with pytest.raises(RuntimeError, match="no KeyGuard has judged"):
        access_of({"type": "http", "keyguard": access})


async def _nothing_to_ask():
    """An endpoint that takes nothing."""


@pytest.mark.parametrize(
    "endpoint",
    [_nothing_to_ask, lambda scope, receive: None, lambda a, b, c, d: None, lambda req: None],
    ids=["no parameters", "two", "four", "another name"],
)
def test_what_cannot_be_decorated(endpoint):
    """What is neither an ASGI app nor an endpoint with a known parameter is refused where it is decorated."""
    with pytest.raises(
        ConfigurationError, match="require decorates an ASGI app, or an endpoint with a parameter called"
    ):
        require("flows:read")(endpoint)


@pytest.mark.parametrize(
    "scopes",
    [("Flows",), ("flows:read", ""), ("superuser",), (_nothing_to_ask,), (["flows"],)],
    ids=["upper case", "empty", "reserved", "a function", "a list"],
)
def test_what_cannot_be_asked_for(scopes):
    """A scope that no key can have is a mistake where it is written, and so is a forgotten pair of parentheses."""
    with pytest.raises(ConfigurationError, match="scope"):
        require(*scopes)


# --- what stays as it was ---------------------------------------------------------------------------------------


class Shelf:
    """An endpoint that is an object."""

    async def __call__(self, request):
        return PlainTextResponse(RAN)


async def test_an_object_is_an_endpoint_too(world):
    """An object that is called with a request, and is async, is guarded like a function."""
    app = Starlette(routes=[Route("/x", require("flows:read")(Shelf()))])
    for name, status in {"reader": 200, "writer": 403}.items():
        answer = await get(KeyGuard(app, store=world.store), "/x", headers=[*world.headers(name).items()])
        assert answer.status == status


def test_an_endpoint_keeps_its_name():
    """A decorated endpoint keeps name, docstring and signature, for routers and documentation."""
    route = endpoints(require("flows:read"))[0]
    assert (route.name, route.endpoint.__doc__) == ("on_request", "Say that it ran.")
    assert list(inspect.signature(route.endpoint).parameters) == ["request"]


@pytest.mark.parametrize("kind", ["lifespan", "something else"])
async def test_other_scopes_pass(kind):
    """A decorated app still has its lifespan, and whatever else is no request."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await require("flows:read")(app)({"type": kind}, None, None)
    assert seen == [kind]


# --- what an app learns -----------------------------------------------------------------------------------------


async def test_an_app_learns_how_a_request_was_let_in(world):
    """The scope says by which rule, by which key and from where; its repr says no more than that."""
    seen = []

    async def app(scope, receive, send):
        seen.append(access_of(scope))

    guarded = KeyGuard(app, store=world.store, policy=Policy(optional=["/open"]))
    await get(guarded, "/x", headers=[*world.headers("reader").items()])
    await get(guarded, "/open")
    by_key, anonymous = seen
    assert isinstance(by_key, Access)
    assert (by_key.rule, by_key.key_name, by_key.source) == (Rule.KEY, "reader", Source.HEADER)
    assert by_key.key_id in world.keys["reader"]
    assert (anonymous.rule, anonymous.key_id, anonymous.key_name, anonymous.source) == (Rule.OPTIONAL, None, None, None)
    assert (
        repr(anonymous)
        == "Access(rule=<Rule.OPTIONAL: 'no key, on an optional path'>, key_id=None, key_name=None, source=None)"
    )


async def test_a_need_can_be_asked_about(world):
    """What an endpoint needs is a value, and for a scope there is an answer to send or nothing lacking."""
    need = need_of(("flows:read",), superuser=False, key=True)
    assert need == Need(scopes=("flows:read",), superuser=False, key=True)
    lacking = {}

    async def app(scope, receive, send):
        lacking[scope["keyguard"].key_name] = refusal_of(need, scope)

    for name in ("reader", "writer"):
        await get(KeyGuard(app, store=world.store), "/x", headers=[*world.headers(name).items()])
    assert lacking["reader"] is None
    assert (await send_scope(lacking["writer"], http_scope("/x"))).status == 403


async def test_code_that_cannot_answer_raises(world):
    """`NotPermitted` leaves its answer with the guard, which gives it, and says nothing of the caller."""
    raised = []

    async def app(scope, receive, send):
        raised.append(NotPermitted(access_of(scope), PlainTextResponse("not you", 403)))
        raise raised[0]

    answer = await get(KeyGuard(app, store=world.store), headers=[*world.headers("reader").items()])
    assert (answer.status, answer.body) == (403, b"not you")
    assert str(raised[0]) == "the caller lacks a right that is asked for here"
