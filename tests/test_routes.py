"""What `survey` says of an app: tables written by hand, and Starlette and FastAPI themselves as the referee."""

import warnings
from contextlib import asynccontextmanager
from itertools import count

import apps.litestar
import apps.plain
import apps.quart
import pytest
from asgi import connect, get
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from keyguard import KeyGuard, PathRule, Policy
from keyguard.routes import Concern, Level, RouteKind, Standing, survey
from keyguard.routes._app import App, scope_of
from keyguard.stores.memory import MemoryStore

STORE = MemoryStore()
GET_ONLY = frozenset({"GET", "HEAD"})


async def endpoint(request): ...


async def socket(websocket): ...


async def anything(scope, receive, send): ...


def guarded(app, **policy):
    """An app behind a guard: added as middleware where it can be, else wrapped around it."""
    if not hasattr(app, "add_middleware"):
        return KeyGuard(app, store=STORE, policy=Policy(**policy), query=None)
    app.add_middleware(KeyGuard, store=STORE, policy=Policy(**policy), query=None)
    return app


def lines(survey):
    """The routes of a survey, a line for each."""
    said = []
    for row in survey.routes:
        parts = [f"; {name} in part: {', '.join(getattr(row, name))}" for name in ("exempt", "optional")]
        parts = [part for part in parts if not part.endswith(": ")]
        kind = {RouteKind.HTTP: ""}.get(row.kind, f"[{row.kind.value}] ")
        said.append(f"{kind}{' '.join([*row.methods, row.host + row.path])}: {row.standing.value}{''.join(parts)}")
    return said


def concerns(survey):
    return [finding.concern for finding in survey.findings]


def messages(survey, concern):
    return [finding.message for finding in survey.findings if finding.concern is concern]


# --- the routes, and what each asks ------------------------------------------------------------------------------


def starlette_app():
    return guarded(
        Starlette(
            routes=[
                Route("/health", endpoint),
                Route("/greeting", endpoint, methods=["GET", "POST"]),
                Route("/files/{path:path}", endpoint),
                Route("/items/{id:int}", endpoint, methods=["PUT"]),
                WebSocketRoute("/ws", socket),
                WebSocketRoute("/feed/{name}", socket),
                Mount("/static", StaticFiles(directory=".")),
            ]
        ),
        exempt=[
            PathRule(path="/health", methods=GET_ONLY),
            PathRule(path="/files/public/*", methods=GET_ONLY),
            PathRule(path="/static/*", methods=GET_ONLY),
            PathRule(path="/ws", methods=frozenset(), websocket=True),
            PathRule(path="/feed/news", websocket=True),
        ],
        optional=[
            PathRule(path="/greeting", methods=frozenset({"GET"})),
            PathRule(path="/files/members/*"),
            PathRule(path="/items/7"),
        ],
    )


STARLETTE = [
    "GET HEAD /health: exempt",
    "GET /greeting: optional",
    "HEAD POST /greeting: guarded",
    "GET HEAD /files/{path:path}: guarded; exempt in part: /files/public/*; optional in part: /files/members/*",
    "PUT /items/{id:int}: guarded; optional in part: /items/7",
    "[websocket] /ws: exempt",
    "[websocket] /feed/{name}: guarded; exempt in part: /feed/news",
    "[files] GET HEAD /static/{path:path}: exempt",
]


def fastapi_app():
    app, items, deep = FastAPI(redoc_url=None), APIRouter(prefix="/items"), APIRouter()
    app.add_api_route("/health", endpoint)
    items.add_api_route("/{id}", endpoint, methods=["GET"])
    items.add_api_route("/{id}", endpoint, methods=["DELETE"])
    items.add_api_websocket_route("/{id}/feed", socket)
    items.add_route("/plain", endpoint)
    deep.include_router(items, prefix="/deep")
    app.include_router(items, prefix="/v1")
    app.include_router(deep, prefix="/v2")
    return guarded(app, exempt=["/health", "/docs", "/v1/items/*"])


FASTAPI = [
    "GET HEAD /openapi.json: guarded",
    "GET HEAD /docs: exempt",
    "GET HEAD /docs/oauth2-redirect: guarded",
    "GET /health: exempt",
    "GET /v1/items/{id}: exempt",
    "DELETE /v1/items/{id}: exempt",
    "[websocket] /v1/items/{id}/feed: guarded",
    "GET HEAD /v1/plain: guarded",
    "GET /v2/deep/items/{id}: guarded",
    "DELETE /v2/deep/items/{id}: guarded",
    "[websocket] /v2/deep/items/{id}/feed: guarded",
    "GET HEAD /v2/deep/plain: guarded",
]


def fastapi_in_starlette():
    inner = FastAPI(openapi_url=None)
    inner.add_api_route("/health", endpoint)
    inner.add_api_route("/{name}", endpoint, methods=["POST"])
    routes = [Mount("/api", inner), Mount("/{tenant}", routes=[Route("/page", endpoint)])]
    return guarded(Starlette(routes=routes), exempt=["/api/health"])


FASTAPI_IN_STARLETTE = [
    "GET /api/health: exempt",
    "POST /api/{name}: guarded; exempt in part: /api/health",
    "GET HEAD /{tenant}/page: guarded",
]


def starlette_in_fastapi():
    app = FastAPI(openapi_url=None)
    app.mount("/old", Starlette(routes=[Route("/health", endpoint), Mount("/more", Router([Route("/", endpoint)]))]))
    app.add_api_route("/", endpoint)
    return guarded(app, exempt=["/old/health"], optional=["/old/more/*"])


STARLETTE_IN_FASTAPI = ["GET HEAD /old/health: exempt", "GET HEAD /old/more/: optional", "GET /: guarded"]


def several_hosts():
    routes = [Host("{sub}.example.org", Router([Route("/health", endpoint)])), Route("/health", endpoint)]
    return guarded(Starlette(routes=routes), exempt=["/health"])


SEVERAL_HOSTS = ["GET HEAD {sub}.example.org/health: exempt", "GET HEAD /health: exempt"]


class Either(HTTPEndpoint):
    async def get(self, request): ...

    async def patch(self, request): ...


class Dispatching(Either):
    async def dispatch(self): ...


class Pages(StaticFiles):
    async def get_response(self, path, scope): ...


class OwnFiles(StaticFiles):
    async def __call__(self, scope, receive, send): ...


def any_method():
    routes = [
        Route("/class", Either),
        Route("/asgi", type("Asgi", (), {"__call__": anything})()),
        Route("/all", endpoint),
    ]
    routes[-1].methods = None
    routes += [Route("/dispatch", Dispatching), Mount("/pages", Pages(directory="."))]
    return guarded(Router(routes), exempt=["/class", PathRule(path="/asgi", methods=frozenset({"GET"}))])


ANY_METHOD = [
    "GET HEAD PATCH /class: exempt",
    "* /asgi: guarded",
    "GET /asgi: exempt",
    "* /all: guarded",
    "* /dispatch: guarded",
    "[files] * /pages/{path:path}: guarded",
]


def guard_on_a_mounted_app():
    inner = Starlette(routes=[Route("/health", endpoint), Route("/me", endpoint)])
    inner.add_middleware(KeyGuard, store=STORE, policy=Policy(exempt=["/health"]), query=None, root_path="/api")
    return Starlette(routes=[Mount("/api", inner), Route("/", endpoint)])


GUARD_ON_A_MOUNTED_APP = ["GET HEAD /api/health: exempt", "GET HEAD /api/me: guarded", "GET HEAD /: no guard"]


def guard_on_a_mount_and_on_a_route():
    guard = Middleware(KeyGuard, store=STORE, query=None)
    return Router(
        [
            Mount("/api", routes=[Route("/me", endpoint)], middleware=[guard]),
            Route("/one", endpoint, middleware=[guard]),
            Route("/other", endpoint),
        ]
    )


GUARD_ON_A_MOUNT = ["GET HEAD /api/me: guarded", "GET HEAD /one: guarded", "GET HEAD /other: no guard"]


def one_guard_in_another():
    inner = guarded(
        Router([Route("/a/b/c", endpoint), Route("/a/{x}/{y}", endpoint), Route("/a/z", endpoint)]),
        exempt=["/a/b/*"],
        optional=["/a/z"],
    )
    return guarded(inner, exempt=["/a/*"])


ONE_GUARD_IN_ANOTHER = [
    "GET HEAD /a/b/c: exempt",
    "GET HEAD /a/{x}/{y}: guarded; exempt in part: /a/b/*",
    "GET HEAD /a/z: optional",
]


def guard_in_a_router():
    guard = Middleware(KeyGuard, store=STORE, policy=Policy(exempt=["/health"]), query=None)
    return GZipMiddleware(Router([Route("/health", endpoint), Route("/me", endpoint)], middleware=[guard]))


GUARD_IN_A_ROUTER = ["GET HEAD /health: exempt", "GET HEAD /me: guarded"]


class Told:
    """An app of a kind of its own that tells its routes."""

    routes = (Route("/", endpoint, name="keys"), Route("/sign-in", endpoint, methods=["POST"]))

    async def __call__(self, scope, receive, send): ...


def tells_its_routes():
    return guarded(Starlette(routes=[Mount("/keys", Told())]), exempt=["/keys/sign-in"])


TELLS_ITS_ROUTES = ["GET HEAD /keys/: guarded", "POST /keys/sign-in: exempt"]


def rooted_by_the_server():
    router = Router([Route("/health", endpoint), Mount("/sub", routes=[Route("/me", endpoint)])])
    return KeyGuard(router, store=STORE, policy=Policy(exempt=["/health"]), query=None, root_path="/api")


ROOTED_BY_THE_SERVER = ["GET HEAD /api/health: exempt", "GET HEAD /api/sub/me: guarded"]


def rooted_out_of_the_path():
    router = Router([Route("/health", endpoint), Route("/me", endpoint)])
    policy = Policy(exempt=["/health"])
    return KeyGuard(router, store=STORE, policy=policy, query=None, root_path="/api", root_in_path=False)


def rooted_by_fastapi():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FastAPI would rather have the server set it.
        app = FastAPI(openapi_url=None, root_path="/api")
    app.add_api_route("/health", endpoint, methods=["GET", "HEAD"])
    app.add_api_route("/me", endpoint, methods=["GET", "HEAD"])
    policy = Policy(exempt=["/health"])
    app.add_middleware(KeyGuard, store=STORE, policy=policy, query=None, root_path="/api", root_in_path=False)
    return app


ROOTED_OUT_OF_THE_PATH = ["GET HEAD /health: exempt", "GET HEAD /me: guarded"]


CLEAN = {
    # The app, its routes: of none of these there is anything to warn.
    "Starlette": (starlette_app, STARLETTE),
    "FastAPI": (fastapi_app, FASTAPI),
    "Starlette in FastAPI": (starlette_in_fastapi, STARLETTE_IN_FASTAPI),
    "several hosts": (several_hosts, SEVERAL_HOSTS),
    "any method": (any_method, ANY_METHOD),
    "a guard in a router": (guard_in_a_router, GUARD_IN_A_ROUTER),
    "an app that tells": (tells_its_routes, TELLS_ITS_ROUTES),
    "rooted by the server": (rooted_by_the_server, ROOTED_BY_THE_SERVER),
    "rooted, not in the path": (rooted_out_of_the_path, ROOTED_OUT_OF_THE_PATH),
    "rooted by FastAPI": (rooted_by_fastapi, ROOTED_OUT_OF_THE_PATH),
}

OTHERS = {
    "FastAPI in Starlette": (fastapi_in_starlette, FASTAPI_IN_STARLETTE, {Concern.OTHER_ROUTE}),
    "a guard on a mounted app": (guard_on_a_mounted_app, GUARD_ON_A_MOUNTED_APP, {Concern.UNGUARDED}),
    "a guard on a mount": (guard_on_a_mount_and_on_a_route, GUARD_ON_A_MOUNT, {Concern.UNGUARDED}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_the_routes_of_a_clean_app(name):
    """Each route is listed with what it asks, in the order in which the app asks them, and nothing is warned of."""
    make, expected = CLEAN[name]
    found = survey(make())
    assert lines(found) == expected
    assert found.is_clear, found.findings


@pytest.mark.parametrize("name", OTHERS)
def test_the_routes_of_an_app_with_a_warning(name):
    """Each route is listed with what it asks, and the warnings are those that are due."""
    make, expected, warnings = OTHERS[name]
    found = survey(make())
    assert lines(found) == expected
    assert {finding.concern for finding in found.findings if finding.level is not Level.NOTE} == warnings


def test_guards_one_in_another():
    """A request has to meet what both guards ask, so that a path is open only where both open it."""
    found = survey(one_guard_in_another())
    assert lines(found) == ONE_GUARD_IN_ANOTHER
    assert len(found.guards) == 2


def test_what_is_made_up_is_caught_by_no_other_route():
    """That a made-up path would meet a route that is written out does not hide what other paths of an entry meet."""
    routes = [Mount("/{a}/x", routes=[Route("/in", endpoint)]), Route("/{a}/{b}/c", endpoint)]
    found = survey(guarded(Router(routes), exempt=[PathRule(path="/h/*", methods=GET_ONLY)]))
    assert lines(found) == [
        "GET HEAD /{a}/x/in: guarded; exempt in part: /h/*",
        "GET HEAD /{a}/{b}/c: guarded; exempt in part: /h/*",
    ]


def test_the_guards_are_listed():
    """A survey says where each guard stands, and what its policy opens, as requests bring it."""
    (guard,) = survey(guard_on_a_mounted_app()).guards
    assert (guard.path, guard.root_path, guard.exempt, guard.optional) == ("/api", "/api", ("/api/health",), ())
    (guard,) = survey(starlette_app()).guards
    assert (guard.path, guard.optional) == ("", ("/greeting", "/files/members/*", "/items/7"))


def test_a_built_stack_is_the_same():
    """It makes no difference whether the app has built its middleware already."""
    app = starlette_app()
    before = survey(app)
    app.middleware_stack = app.build_middleware_stack()
    assert survey(app) == before


class Untouchable:
    """A store of which only the keyring may be read."""

    keyring = STORE.keyring
    concurrency = 1
    is_open = False

    async def fail(self, *_):
        raise AssertionError

    open = close = find = find_owner = upgrade = fail


async def test_nothing_is_started():
    """Neither the lifespan nor a request nor the store is touched, and a loop that is running does not matter."""

    @asynccontextmanager
    async def life(app):
        raise AssertionError
        yield

    async def fail(request):
        raise AssertionError

    app = Starlette(routes=[Route("/health", fail)], lifespan=life)
    app.add_middleware(
        KeyGuard, store=Untouchable(), policy=Policy(exempt=[PathRule(path="/health", methods=GET_ONLY)])
    )
    assert survey(app).is_clear
    assert app.middleware_stack is None


# --- exemptions that another route answers -----------------------------------------------------------------------

READ = PathRule(path="/x", methods=GET_ONLY)
READ_ALL = PathRule(path="/x/*", methods=GET_ONLY)
SOCKET = PathRule(path="/x/*", methods=frozenset(), websocket=True)

ANSWERED = {
    # The routes, what is exempt: the route that should not answer, and the requests that it answers; None if none does.
    "a POST falls to the catch-all": (
        [Route("/x", endpoint), Route("/{path:path}", endpoint, methods=["POST"])],
        "/x",
        ("/{path:path}", ("POST /x",)),
    ),
    "a POST is not allowed": ([Route("/x", endpoint), Route("/{path:path}", endpoint)], "/x", None),
    "the catch-all stands first": (
        [Route("/{path:path}", endpoint), Route("/x", endpoint)],
        READ,
        ("/{path:path}", ("GET /x", "HEAD /x")),
    ),
    "there is the catch-all only": ([Route("/{path:path}", endpoint)], READ, ("/{path:path}", ("GET /x", "HEAD /x"))),
    "a page of any name": ([Route("/{page}", endpoint)], READ, ("/{page}", ("GET /x", "HEAD /x"))),
    "a mount of everything": (
        [Mount("/", StaticFiles(directory="."))],
        READ,
        ("/{path:path}", ("GET /x", "HEAD /x")),
    ),
    "a mount does not own its path": (
        [Mount("/x", routes=[Route("/y", endpoint)]), Route("/{path:path}", endpoint)],
        READ_ALL,
        ("/{path:path}", ("GET /x", "HEAD /x")),
    ),
    "a websocket in a mount": (
        [Mount("/x", routes=[WebSocketRoute("/{name}", socket)]), Route("/{path:path}", endpoint)],
        SOCKET,
        None,
    ),
    "a websocket catch-all": (
        [Mount("/x", StaticFiles(directory=".")), WebSocketRoute("/{path:path}", socket)],
        PathRule(path="/x/*", methods=GET_ONLY, websocket=True),
        ("/{path:path}", ("websocket /x",)),
    ),
    "no websocket is exempt": (
        [Route("/x", endpoint), WebSocketRoute("/{path:path}", socket)],
        READ,
        None,
    ),
    "a route that stands across": (
        [Route("/{tenant}/{page}/edit", endpoint), Mount("/x", StaticFiles(directory="."))],
        READ_ALL,
        ("/{tenant}/{page}/edit", ("GET /x/xx/edit", "HEAD /x/xx/edit")),
    ),
    "deeper than the routes go": (
        [*(Route(path, endpoint) for path in ("/x", "/x/", "/x/{a}", "/x/{a}/{b}")), Route("/{all:path}", endpoint)],
        READ_ALL,
        ("/{all:path}", ("GET /x/xx/xx/xx/xx/xx", "HEAD /x/xx/xx/xx/xx/xx")),
    ),
    "deeper than the routes go, across": (
        [*(Route(path, endpoint) for path in ("/x", "/x/", "/x/{a}", "/x/{a}/{b}")), Route("/{a}/{b:path}", endpoint)],
        READ_ALL,
        ("/{a}/{b:path}", ("GET /x/xx/xx/xx/xx/xx", "HEAD /x/xx/xx/xx/xx/xx")),
    ),
    "a route that names only what comes below": (
        [Route("/{tenant}/edit", endpoint)],
        READ_ALL,
        ("/{tenant}/edit", ("GET /x/edit", "HEAD /x/edit")),
    ),
    "in a mounted app": (
        [Mount("/a", routes=[Route("/x", endpoint), Route("/{path:path}", endpoint, methods=["PUT"])])],
        "/a/x",
        ("/a/{path:path}", ("PUT /a/x",)),
    ),
    "at another host": (
        [Host("b.org", Router([Route("/{path:path}", endpoint)])), Route("/x", endpoint)],
        READ,
        ("/{path:path}", ("GET /x", "HEAD /x")),
    ),
    "a default of the router's": (
        Router([Route("/y", endpoint)], default=Router([Route("/{name}", endpoint)])),
        READ,
        ("/{name}", ("GET /x", "HEAD /x")),
    ),
    "a redirect to the other slash": ([Route("/x/", endpoint)], PathRule(path="/x/*", methods=GET_ONLY), None),
    "a route that names a part": ([Route("/x/{id:int}", endpoint)], PathRule(path="/x/7", methods=GET_ONLY), None),
    "a route with parameters below": ([Route("/{a}/x/{b}", endpoint)], PathRule(path="/t/x/*", methods=GET_ONLY), None),
    "a tree in a tree": ([Route("/x/{path:path}", endpoint)], PathRule(path="/x/y/*", methods=GET_ONLY), None),
    "a file in a tree of files": (
        [Mount("/x", StaticFiles(directory="."))],
        PathRule(path="/x/robots.txt", methods=GET_ONLY),
        None,
    ),
    "a path in a tree of pages": (
        [Route("/x/{path:path}", endpoint)],
        PathRule(path="/x/y", methods=GET_ONLY),
        ("/x/{path:path}", ("GET /x/y", "HEAD /x/y")),
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_an_exemption_that_another_route_answers(name):
    """Whatever answers an exempt request, and is not the route that is meant, is warned of; and nothing else is."""
    routes, entry, expected = ANSWERED[name]
    router = routes if isinstance(routes, Router) else Router(routes)
    found = survey(guarded(router, exempt=[entry]))
    others = [finding for finding in found.findings if finding.concern is Concern.OTHER_ROUTE]
    assert [finding.route for finding in others] == ([] if expected is None else [expected[0]])
    if expected is not None and expected[1] is not None:
        assert others[0].requests == expected[1]
        assert others[0].requests[0] in others[0].message
        assert others[0].entry == (entry if isinstance(entry, str) else entry.path)
    assert found.is_clear is (expected is None)


def test_an_optional_path_that_another_route_answers():
    """What holds of exempt paths holds of optional ones."""
    router = Router([Route("/x", endpoint), Route("/{path:path}", endpoint, methods=["POST"])])
    found = survey(guarded(router, optional=["/x"]))
    assert messages(found, Concern.OTHER_ROUTE) == [
        "optional /x: POST /x is answered by /{path:path} (endpoint), and not by /x"
    ]


def test_many_requests_are_shortened_in_the_message():
    """The sentence names some of the requests, the finding has them all."""
    (finding,) = survey(
        guarded(Router([Route("/{p:path}", endpoint, methods=["GET", "PUT"])]), exempt=["/x/*"])
    ).findings
    assert len(finding.requests) > 4
    assert (
        f" and {len(finding.requests) - 3} more is answered by /{{p:path}} (endpoint), and no route is written"
        in finding.message
    )


def test_many_routes_are_shortened_in_the_message():
    """Where many routes are meant, the sentence names the first of them."""
    routes = [*(Route(f"/x/{name}", endpoint) for name in "abcde"), Route("/{path:path}", endpoint)]
    (finding,) = survey(guarded(Router(routes), exempt=[READ_ALL])).findings
    assert finding.message.endswith("by /{path:path} (endpoint), and not by /x/a, /x/b, /x/c and 2 more")


def test_another_guard_closes_what_one_opens():
    """Nothing is warned of that another guard on the way refuses."""
    router = Router([Route("/x", endpoint), Route("/{path:path}", endpoint, methods=["POST"])])
    found = survey(guarded(guarded(router, exempt=[READ]), exempt=["/x"]))
    assert found.is_clear


WITHOUT_ROUTE = {
    "/nope": "exempt /nope opens no route that is there",
    "/x/*": None,
    "/x": "exempt /x opens no route that is there",
    "/health/": "exempt /health/ opens no route that is there",
    "/Health": "exempt /Health opens no route that is there",
    "/items/z": "exempt /items/z opens no route that is there",
    "/items/7": None,
    "/items/*": None,
    "/items/7/*": None,
    "/items/7/x/*": "exempt /items/7/x/* opens no route that is there",
}


@pytest.mark.parametrize("entry", WITHOUT_ROUTE)
def test_an_entry_that_matches_no_route(entry):
    """An entry that opens nothing is warned of, be it misspelled or left over."""
    routes = [Route("/health", endpoint), Route("/x/y", endpoint), Route("/items/{id:int}", endpoint)]
    found = survey(guarded(Router(routes, redirect_slashes=False), exempt=[entry]))
    assert messages(found, Concern.NO_ROUTE) == ([WITHOUT_ROUTE[entry]] if WITHOUT_ROUTE[entry] else [])


def test_an_entry_for_other_methods():
    """An entry whose methods the route does not answer opens nothing, and it is said for which the route is there."""
    rule = PathRule(path="/x", methods=frozenset({"POST"}))
    found = survey(guarded(Router([Route("/x", endpoint)]), optional=[rule]))
    assert messages(found, Concern.NO_ROUTE) == [
        "optional /x opens no route that is there: it is there for GET, HEAD alone"
    ]


def test_an_entry_of_a_guard_further_in():
    """An entry is measured at what stands behind its own guard: a route beside that guard is none of its routes."""
    inner = KeyGuard(
        Router([Route("/me", endpoint)]), store=STORE, query=None, root_path="/api", policy=Policy(exempt=["/x"])
    )
    found = survey(Router([Route("/api/x", endpoint), Mount("/api", inner)]))
    assert messages(found, Concern.NO_ROUTE) == ["exempt /api/x opens no route that is there"]


# --- what else there is to warn of -------------------------------------------------------------------------------


def test_no_guard():
    """An app without a guard is said to be open, plainly."""
    found = survey(Starlette(routes=[Route("/", endpoint)]))
    assert lines(found) == ["GET HEAD /: no guard"]
    assert messages(found, Concern.NO_GUARD) == ["there is no KeyGuard: whoever can reach this app can use all of it"]
    assert not found.is_clear


def test_some_routes_without_a_guard():
    """Routes that no guard stands before are named."""
    (finding,) = (each for each in survey(guard_on_a_mounted_app()).findings if each.concern is Concern.UNGUARDED)
    assert finding.message == "no guard stands before GET HEAD /: no key is asked there"


SUPERUSER = "acts as 'root', and is a superuser if the store's record of that user says so"

EVERYONE = [
    ({"skip_auth": True}, f"skip_auth is on: everyone who comes without a good key {SUPERUSER}"),
    ({"skip_auth": True, "auto_login": True}, f"skip_auth is on: everyone who comes without a good key {SUPERUSER}"),
    (
        {"auto_login": True, "auto_login_needs_key": False},
        f"auto_login is on and needs no key: everyone who comes without a key {SUPERUSER}",
    ),
    ({"auto_login": True}, None),
    ({}, None),
]


@pytest.mark.parametrize(("switches", "message"), EVERYONE)
def test_everyone_acts_as_somebody(switches, message):
    """A policy that lets everybody act as one user is warned of, and which user that is."""
    found = survey(guarded(Router([Route("/", endpoint)]), auto_login_user="root", **switches))
    said = messages(found, Concern.SKIP_AUTH) + messages(found, Concern.AUTO_LOGIN)
    assert said == ([] if message is None else [message])
    assert found.is_clear is (message is None)


def test_another_root():
    """A guard that requests reach under another root than the declared one opens nothing, and it is said so once."""
    inner = guarded(Starlette(routes=[Route("/health", endpoint)]), exempt=["/health"])
    found = survey(Starlette(routes=[Mount("/api", inner)]))
    assert lines(found) == ["GET HEAD /api/health: guarded"]
    (message,) = messages(found, Concern.WRONG_ROOT)
    assert message == (
        "requests come to the guard below /api with root_path='/api' and it is declared '', so that nothing is exempt "
        "or optional; declare it: KeyGuard(..., root_path=...)"
    )
    assert Concern.NO_ROUTE not in concerns(found)


def test_a_root_with_a_parameter():
    """A guard below a mount with a parameter may declare one of its roots; there its entries are looked at."""
    inner = Router([Route("/health", endpoint), Route("/{page:path}", endpoint, methods=["PUT"])])
    guard = KeyGuard(inner, store=STORE, policy=Policy(exempt=["/health"]), query=None, root_path="/acme")
    found = survey(Router([Mount("/{tenant}", guard)]))
    assert lines(found) == [
        "GET HEAD /{tenant}/health: guarded; exempt in part: /acme/health",
        "PUT /{tenant}/{page:path}: guarded; exempt in part: /acme/health",
    ]
    assert [finding.requests for finding in found.findings] == [("PUT /acme/health",), ()]
    assert concerns(found) == [Concern.OTHER_ROUTE, Concern.NO_LIFESPAN]


def test_the_root_is_what_a_guard_with_entries_declares():
    """A guard that exempts nothing need not declare a root, so that the server's is not taken from it."""
    inner = KeyGuard(
        Router([Route("/x", endpoint)]), store=STORE, policy=Policy(exempt=[READ]), query=None, root_path="/api"
    )
    found = survey(KeyGuard(inner, store=STORE, query=None))
    assert lines(found) == ["GET HEAD /api/x: guarded"]
    assert found.is_clear


def test_another_root_does_not_matter_without_entries():
    """Under whatever root, a guard that exempts nothing guards everything."""
    found = survey(Starlette(routes=[Mount("/api", guarded(Starlette(routes=[Route("/me", endpoint)])))]))
    assert found.is_clear
    assert concerns(found) == [Concern.NO_LIFESPAN]


async def test_a_misconfigured_guard():
    """A guard that cannot be set up is reported with its sentence; its routes are closed."""
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(KeyGuard, store=STORE, header="no name")])
    found = survey(app)
    (message,) = messages(found, Concern.MISCONFIGURED)
    assert message.startswith("KeyGuard cannot be set up: header is")
    assert message.endswith("; nothing passes it")
    assert lines(found) == ["GET HEAD /: guarded"]
    wrapped = KeyGuard(app, store=STORE, header="no name")
    assert messages(survey(wrapped), Concern.MISCONFIGURED) == [message]


def test_a_misconfigured_guard_without_a_loop():
    """Where no event loop runs, a guard's mistake raises; the survey says so and goes on."""
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(KeyGuard, store=STORE, header="no name")])
    found = survey(app)
    (message,) = messages(found, Concern.MISCONFIGURED)
    assert message.startswith(
        "starlette.applications.Starlette cannot start, for its middleware raises ConfigurationError: header is"
    )
    assert lines(found) == ["GET HEAD /: guarded"]
    assert not found.is_clear


# --- what cannot be told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        (apps.litestar, "litestar.app.Litestar"),
        (apps.quart, "quart.app.Quart.asgi_app"),
        (apps.plain, "apps.plain.make.<locals>.app"),
    ],
)
def test_other_frameworks(framework, name):
    """The guard of another framework's app is found; its routes are not known, which is said, with what leads there."""
    found = survey(framework.make(STORE, Policy(exempt=["/health"]), []))
    assert lines(found) == [
        "[app] * websocket /{path:path}: guarded",
        "[app] DELETE GET HEAD OPTIONS PATCH POST PUT /{path:path}: guarded; exempt in part: /health",
    ]
    assert messages(found, Concern.UNKNOWN_APP) == [
        f"cannot tell which routes there are in {name}, at /{{path:path}}, nor what answers /health"
    ]
    assert not found.is_clear


def test_an_unknown_app_in_a_mount():
    """A mounted app of another kind is unknown from there on, also where everything in it is guarded."""
    found = survey(
        guarded(
            Starlette(routes=[Mount("/metrics", anything), Route("/health", endpoint)]),
            exempt=[PathRule(path="/health", methods=GET_ONLY)],
        )
    )
    assert lines(found) == ["[app] * websocket /metrics/{path:path}: guarded", "GET HEAD /health: exempt"]
    assert messages(found, Concern.UNKNOWN_APP) == [
        f"cannot tell which routes there are in {__name__}.anything, at /metrics/{{path:path}}"
    ]


class Odd(Route):
    def matches(self, scope):
        raise AssertionError


class OddSocket(WebSocketRoute):
    def matches(self, scope):
        raise AssertionError


class OddHandler(Route):
    async def handle(self, scope, receive, send):
        raise AssertionError


def patched():
    route = Route("/odd", endpoint)
    route.handle = anything
    return route


class OddAPIRoute(APIRoute):
    def matches(self, scope):
        raise AssertionError


class OddMount(Mount):
    async def handle(self, scope, receive, send):
        raise AssertionError


def odd_include(name):
    """A FastAPI app with a router of a class that has something of its own."""
    router = type("OddRouter", (APIRouter,), {name: lambda self, *_: None})()
    router.add_api_route("/a", endpoint)
    outer = APIRouter()
    outer.include_router(router, prefix="/b")
    app = FastAPI(openapi_url=None)
    app.include_router(outer, prefix="/c")
    return app


def odd_route_included():
    app, router = FastAPI(openapi_url=None), APIRouter(route_class=OddAPIRoute)
    router.add_api_route("/odd", endpoint)
    app.include_router(router)
    return app


ODD = {
    "a route": (lambda: Router([Odd("/odd", endpoint)]), "[app] * websocket /odd: cannot tell"),
    "a websocket": (lambda: Router([OddSocket("/odd", socket)]), "[app] * websocket /odd: cannot tell"),
    "a mount": (lambda: Router([OddMount("/odd", routes=[])]), "[app] * websocket /odd: cannot tell"),
    "a route that takes every method": (
        lambda: Router([OddHandler("/odd", endpoint)]),
        "[app] * websocket /odd: cannot tell",
    ),
    "a route that was changed": (lambda: Router([patched()]), "[app] * websocket /odd: cannot tell"),
    "an API route": (odd_route_included, "[app] * websocket /odd: cannot tell"),
    "a router that FastAPI includes": (lambda: odd_include("matches"), "[app] * websocket /…: cannot tell"),
    "one that FastAPI includes, and handles": (lambda: odd_include("handle"), "[app] * websocket /…: cannot tell"),
}


NEWER_FASTAPI = pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="older ones copy what they include")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEWER_FASTAPI) if "FastAPI" in name else name for name in ODD]
)
def test_routes_that_match_in_their_own_way(name):
    """Of a route whose class matches in a way of its own nobody can tell what it answers, and it is never asked."""
    make, line = ODD[name]
    found = survey(guarded(make(), exempt=["/x"]))
    assert lines(found) == [line]
    (message,) = messages(found, Concern.UNKNOWN_ROUTE)
    assert message.startswith("cannot tell what ")
    assert not found.is_clear


def test_an_unknown_route_before_the_one_meant():
    """What a route may answer that nobody can tell of is said of it; what stands before it is known."""
    routes = [Route("/first", endpoint), Odd("/{a}", endpoint), Route("/last", endpoint)]
    found = survey(
        guarded(Router(routes), exempt=[PathRule(path=f"/{name}", methods=GET_ONLY) for name in ("first", "last")])
    )
    assert lines(found) == [
        "GET HEAD /first: exempt",
        "[app] * websocket /{a}: cannot tell",
        "GET HEAD /last: exempt",
    ]
    assert messages(found, Concern.UNKNOWN_ROUTE) == [
        f"cannot tell what {__name__}.Odd answers, which matches in a way of its own, at /{{a}}, nor what answers /last"
    ]


class Even(Convertor):
    regex = "[02468]{3}"

    def convert(self, value):
        return int(value)

    def to_string(self, value):
        return str(value)


register_url_convertor("even", Even())


def test_a_parameter_that_nobody_can_make_up():
    """Where no path of a route can be made up, it cannot be told what it asks."""
    found = survey(guarded(Router([Route("/{number:even}", endpoint)]), exempt=["/222"]))
    assert lines(found) == ["GET HEAD /{number:even}: cannot tell"]
    assert messages(found, Concern.UNKNOWN_ROUTE) == [
        "cannot tell what is asked at /{number:even}: no path of it could be made up"
    ]


class Strict(Convertor):
    regex = "[^/]+"

    def convert(self, value):
        if value != "in":
            raise ValueError
        return value

    def to_string(self, value):
        return value


register_url_convertor("strict", Strict())


def test_a_convertor_that_raises():
    """Where a convertor of the app's own takes none of the paths that are made up, it cannot be told what is asked."""
    routes = [Route("/a/{word:strict}", endpoint), Route("/a/{rest:path}", endpoint), Route("/b", endpoint)]
    found = survey(guarded(Router(routes), exempt=["/a/*"]))
    assert lines(found)[0] == "GET HEAD /a/{word:strict}: cannot tell"
    assert lines(found)[2] == "GET HEAD /b: guarded"
    assert Concern.UNKNOWN_ROUTE in concerns(found)


class Unready:
    """An app that says nothing of itself before it has started."""

    def __getattr__(self, name):
        raise RuntimeError

    async def __call__(self, scope, receive, send): ...


def test_an_app_that_is_not_ready():
    """What raises when it is looked at is an app of which nothing is known."""
    found = survey(guarded(Router([Mount("/x", Unready())])))
    assert lines(found) == ["[app] * websocket /x/{path:path}: guarded"]
    assert concerns(found) == [Concern.UNKNOWN_APP]


class Own(Starlette):
    async def __call__(self, scope, receive, send):
        raise AssertionError


class OwnRouter(Router):
    async def app(self, scope, receive, send):
        raise AssertionError


class OwnGuard(KeyGuard):
    async def __call__(self, scope, receive, send):
        raise AssertionError


@pytest.mark.parametrize(
    ("app", "method"),
    [
        (guarded(Own(routes=[Route("/", endpoint)])), "Own has another `__call__`"),
        (guarded(OwnRouter([Route("/", endpoint)])), "OwnRouter has another `app`"),
        (OwnGuard(Router([Route("/", endpoint)]), store=STORE), "OwnGuard has another `__call__`"),
    ],
)
def test_classes_that_answer_in_their_own_way(app, method):
    """An app whose class has overridden how it answers is looked into, and it is said that this may not be all."""
    name, _, what = method.partition(" has another ")
    found = survey(app)
    assert lines(found) == ["GET HEAD /: guarded"]
    assert messages(found, Concern.UNKNOWN_LAYER) == [
        f"cannot tell what {__name__}.{name} does to requests: it has a {what} of its own"
    ]
    assert not found.is_clear


def closed(app):
    async def layer(scope, receive, send): ...

    return layer


def test_a_layer_that_does_not_show_what_is_behind_it():
    """Behind a function in the middleware a guard may stand, or not; the routes are found all the same."""
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(closed)])
    found = survey(app)
    assert lines(found) == ["GET HEAD /: no guard"]
    assert concerns(found) == [Concern.UNKNOWN_LAYER, Concern.NO_GUARD]


def test_an_app_inside_itself():
    """An app that leads to itself is taken apart once."""

    class Loop:
        async def __call__(self, scope, receive, send): ...

    loop = Loop()
    loop.app = loop
    assert lines(survey(loop)) == ["[app] * websocket /{path:path}: no guard"]


def test_no_app_at_all():
    """Whatever it is given, the survey answers."""
    for thing in (anything, Told, object(), None, OwnFiles(directory=".")):
        assert lines(survey(thing)) == ["[app] * websocket /{path:path}: no guard"]


# --- notes -------------------------------------------------------------------------------------------------------


class Rewriting:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send): ...


class Timing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next): ...


async def dispatching(request, call_next): ...


def test_code_between_guard_and_routes():
    """What stands between guard and routes is named: it could change what is asked for."""
    layers = [Rewriting, KeyGuard, GZipMiddleware, Rewriting, Timing, BaseHTTPMiddleware]
    options = {KeyGuard: {"store": STORE, "query": None}, BaseHTTPMiddleware: {"dispatch": dispatching}}
    middleware = [Middleware(layer, **options.get(layer, {})) for layer in layers]
    found = survey(Starlette(routes=[Route("/", endpoint)], middleware=middleware))
    _, message = messages(found, Concern.FOREIGN_LAYER)
    assert message == (
        f"between guard and routes stands {__name__}.Rewriting, {__name__}.Timing, {__name__}.dispatching: all this "
        "holds if it changes neither path nor method, and answers nothing itself"
    )
    assert found.is_clear


def test_code_before_the_guard():
    """What stands before the guard is named, for it may answer by itself; before no guard it needs no mention."""
    app = Starlette(routes=[Mount("/a", guarded(Starlette(routes=[Route("/", endpoint)])))])
    app.add_middleware(GZipMiddleware)
    app.add_middleware(Timing)
    app.add_middleware(Rewriting)
    assert messages(survey(app), Concern.FOREIGN_LAYER) == [
        f"before the guard stands {__name__}.Rewriting, {__name__}.Timing: what it answers itself needs no key"
    ]
    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Rewriting)])
    assert concerns(survey(app)) == [Concern.NO_GUARD]


def test_keys_in_the_query():
    """That keys are taken in the query is worth a note, and no warning."""
    found = survey(KeyGuard(Router([Route("/", endpoint)]), store=STORE, query="key"))
    assert messages(found, Concern.QUERY_KEYS) == [
        "the guard takes keys in the query parameter 'key': proxies may log them; query=None ends that"
    ]
    assert found.is_clear


@NEWER_FASTAPI
def test_fastapi_frontend():
    """FastAPI's front end answers after all routes, the deeper one first, for what no other route answers."""
    app, included = FastAPI(openapi_url=None), APIRouter()
    app.add_api_route("/ui/health", endpoint)
    app.frontend("/", directory=".")
    included.frontend("/", directory=".")
    app.include_router(included, prefix="/ui")
    found = survey(
        guarded(app, exempt=[PathRule(path="/ui/*", methods=GET_ONLY), PathRule(path="/x", methods=GET_ONLY)])
    )
    assert lines(found) == [
        "GET /ui/health: exempt",
        "GET HEAD /ui: exempt",
        "GET HEAD /ui/{path:path}: exempt",
        "GET HEAD /{path:path}: guarded; exempt in part: /x",
    ]
    assert [finding.requests for finding in found.findings] == [("GET /x", "HEAD /x")]


# --- the referee -------------------------------------------------------------------------------------------------


def named(name):
    """Endpoints that answer with their name: for HTTP and for WebSockets, and an app for both."""

    async def http(request: Request):
        return PlainTextResponse(name)

    async def websocket(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(name)
        await websocket.close()

    async def both(scope, receive, send):
        if scope["type"] == "http":
            await PlainTextResponse(name)(scope, receive, send)
        else:
            await websocket(WebSocket(scope, receive, send))

    both.__module__, both.__qualname__ = "", name
    return http, websocket, both


SEGMENTS = st.sampled_from(["/a", "/b", "/{p%d}", "/{p%d:int}", "/a{p%d}", "/1"])
METHODS = st.sampled_from([["GET"], ["POST"], ["GET", "POST"]])
HOSTS = ["a.org", "b.org"]
APPS_TAKE_TIME = [HealthCheck.too_slow]  # FastAPI's take their time to be built, more so on a busy machine.


@st.composite
def templates(draw, numbers, *, least=0, deep=True):
    text = "".join(draw(st.lists(SEGMENTS, min_size=least, max_size=2)))
    text += draw(st.sampled_from(["", "", "/", "/{p%d:path}"])) if deep else ""
    while "%d" in text:
        text = text.replace("%d", str(next(numbers)), 1)
    return text


def add_named(draw, app, numbers, paths):
    http, websocket, _ = named(name := f"n{next(numbers)}")
    kind = draw(st.sampled_from(["http", "websocket"]))
    path = draw(paths) or "/"
    if isinstance(app, FastAPI | APIRouter):
        if kind == "http":
            app.add_api_route(path, http, methods=draw(METHODS), name=name)
        else:
            app.add_api_websocket_route(path, websocket, name=name)
    elif kind == "http":
        app.routes.append(Route(path, http, methods=draw(METHODS), name=name))
    else:
        app.routes.append(WebSocketRoute(path, websocket, name=name))


@st.composite
def made_apps(draw, numbers, depth=2):
    """An app of Starlette or FastAPI, with others mounted and included, whose endpoints answer with their names."""
    slashes = draw(st.booleans())
    kind = draw(st.sampled_from(["router", "default", "starlette", "fastapi"]))
    if kind == "fastapi":
        app = FastAPI(openapi_url=None, redirect_slashes=slashes)
    elif kind == "starlette":
        app = Starlette()
        app.router.redirect_slashes = slashes
    else:
        default = named(f"n{next(numbers)}")[2] if kind == "default" else None
        app = Router(redirect_slashes=slashes, default=default)
    for _ in range(draw(st.integers(1, 4))):
        below = draw(st.sampled_from(["route", "route", "mount", "host", "include", "unknown"])) if depth else "route"
        match below:
            case "mount":
                inner = draw(made_apps(numbers, depth - 1))
                app.routes.append(Mount(draw(templates(numbers, deep=False)), inner))
            case "unknown":
                app.routes.append(Mount(draw(templates(numbers, deep=False)), named(f"n{next(numbers)}")[2]))
            case "host":
                app.routes.append(Host(draw(st.sampled_from(HOSTS)), draw(made_apps(numbers, depth - 1))))
            case "include" if kind == "fastapi":
                router = APIRouter(prefix=draw(templates(numbers, deep=False)))
                for _ in range(draw(st.integers(1, 3))):
                    add_named(draw, router, numbers, templates(numbers, least=1))
                if draw(st.booleans()):
                    router.mount(draw(templates(numbers, least=1, deep=False)), draw(made_apps(numbers, depth - 1)))
                app.include_router(router, prefix=draw(templates(numbers, deep=False)))
            case _:
                add_named(draw, app, numbers, templates(numbers))
    return app


@st.composite
def named_apps(draw):
    return draw(made_apps(count()))


REQUESTS = st.tuples(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", None]),
    st.lists(st.sampled_from(["a", "b", "1", "ab", "c"]), max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", *HOSTS]),
).map(lambda drawn: (drawn[0], drawn[1].rstrip("/") + drawn[2] or "/", drawn[3]))


async def really(app, method, path, host):
    """The name of the endpoint that answers a request; None if none of the app's does."""
    headers = [("host", host)] if host else []
    if method is None:
        answer = await connect(app, path, headers=headers)
        return next((each["text"] for each in answer.messages if each["type"] == "websocket.send"), None)
    answer = await get(app, path, method=method, headers=headers)
    return answer.body.decode() if answer.status == 200 else None


@settings(deadline=None, suppress_health_check=APPS_TAKE_TIME)
@given(named_apps(), st.lists(REQUESTS, min_size=10, max_size=30))
async def test_who_answers(app, requests):
    """For any app and any request, the survey finds the very endpoint that answers when the request is sent."""
    taken_apart = App(app)
    for method, path, host in requests:
        leaf = taken_apart.answer(scope_of(method, path, host=host)).leaf
        found = None if leaf is None else leaf.name.removeprefix(".")
        assert found == await really(app, method, path, host), (method, path, host)


ENTRIES = st.builds(
    PathRule,
    path=st.lists(st.sampled_from(["a", "b", "1", "ab"]), min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from(["/" + "/".join(parts), "/" + "/".join(parts) + "/*"])
    ),
    methods=st.sampled_from(
        [frozenset({"GET"}), frozenset({"GET", "POST"}), frozenset({"GET", "HEAD", "POST", "PUT"})]
    ),
    websocket=st.booleans(),
)


def opens(row, method, path):
    """Tell whether a row of a survey says that a request for one of its paths passes without a key."""
    in_part = any(
        path == part.removesuffix("/*") or (part.endswith("/*") and path.startswith(part[:-1]))
        for part in (*row.exempt, *row.optional)
    )
    return in_part or row.standing in {Standing.EXEMPT, Standing.OPTIONAL}


@settings(deadline=None, suppress_health_check=APPS_TAKE_TIME)
@given(
    named_apps(),
    st.lists(ENTRIES, min_size=1, max_size=3, unique_by=lambda rule: rule.path),
    st.lists(REQUESTS, min_size=10, max_size=30),
    st.booleans(),
)
async def test_what_passes_is_listed_as_open(app, entries, requests, is_optional):
    """Whatever passes without a key when it is really sent, the survey lists as open, at the route that answers."""
    policy = Policy(optional=entries) if is_optional else Policy(exempt=entries)
    guard = KeyGuard(app, store=STORE, policy=policy)
    rows = survey(guard).routes
    for method, path, host in requests:
        name = await really(guard, method, path, host)
        if name is not None:
            of_it = [row for row in rows if row.name.removeprefix(".") == name]
            spoken = [row for row in of_it if not row.methods or (method or "websocket") in row.methods]
            row = (spoken or [row for row in of_it if "*" in row.methods])[0]
            assert opens(row, method, path), (method, path, host, row)
