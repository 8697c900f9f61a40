"""One app in many shapes, each guarded: a request says in `X-Shape` which of them it is meant for.

Each endpoint reports its name and what it saw. Names that begin with "open" may answer without a key, those that begin
with "guarded" never. Beside each open path stands something guarded that a careless rule would open with it.

Each entry of the policy has an owner among the routes: a tree of static files does not own the path it is mounted at,
nor does a route for GET own POST, so that a catch-all would answer there.
"""

import asyncio
import json
import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from hashlib import shake_256
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from keyguard import KeyGuard, PathRule, Policy, Principal, lifecycle, require
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.stores.memory import MemoryStore

PUBLIC = Path(__file__).parent / "tree" / "public"
ROOT = "/api"

POLICY = Policy(
    exempt=[
        "/health",
        PathRule(path="/login", methods=frozenset({"GET"})),
        "/tree/*",
        PathRule(path="/static/*", methods=frozenset({"GET", "HEAD"})),
        "/docs/",
        PathRule(path="/live/*", websocket=True),
    ],
    optional=["/feed"],
)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

# --- the keys -----------------------------------------------------------------------------------------------------


def key_of(name):
    """The text of a key: the same in the server's process and in the test's."""
    return from_entropy("kg", _entropy(name)(ENTROPY_BYTES)).reveal()


def _entropy(name):
    return lambda size: shake_256(name.encode()).digest(size)


BAD_KEYS = ("unknown", "future", "expired", "revoked", "disabled", "orphan", "elsewhere")


async def _fill(store):
    ada = await lifecycle.add_owner(store, "ada", id="1")
    bob = await lifecycle.add_owner(store, "bob", id="2")
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    issued = {
        "good": {},
        "other": {},
        "logged": {},
        "limited": {"scopes": []},
        "future": {"not_before": future},
        "expired": {"expires_at": datetime(2020, 2, 1, tzinfo=UTC), "clock": lambda: past},
        "revoked": {},
        "disabled": {},
        "orphan": {},
        "elsewhere": {"networks": ["192.0.2.0/24"]},
    }
    made = {
        name: await lifecycle.issue(
            store, bob if name == "orphan" else ada, name=name, entropy=_entropy(name), **arguments
        )
        for name, arguments in issued.items()
    }
    await lifecycle.revoke(store, made["revoked"].record.id)
    await lifecycle.disable(store, made["disabled"].record.id)
    await lifecycle.deactivate(store, bob)
    return store


@cache
def store():
    # In a loop of its own: a server may import this module within its loop, or outside of any.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _fill(MemoryStore())).result()


# --- what the endpoints tell --------------------------------------------------------------------------------------


def report(endpoint, scope):
    access = scope.get("keyguard")
    return {
        "endpoint": endpoint,
        "pid": os.getpid(),
        "type": scope["type"],
        "method": scope.get("method"),
        "path": scope["path"],
        "raw_path": _text(scope.get("raw_path")),
        "root_path": scope.get("root_path", ""),
        "query": _text(scope["query_string"]),
        "headers": [[_text(name), _text(value)] for name, value in scope["headers"]],
        "user": getattr(scope.get("user"), "name", repr(scope.get("user"))),
        "auth": type(scope.get("auth")).__name__,
        "rule": getattr(getattr(access, "rule", None), "name", repr(access)),
        "source": getattr(getattr(access, "source", None), "name", None),
        "key": getattr(access, "key_name", None),
    }


def _text(value):
    return None if value is None else value.decode("latin-1")


# --- Starlette, and plain ASGI ------------------------------------------------------------------------------------


class Endpoint:
    """An ASGI app that answers any method, HTTP and WebSocket."""

    def __init__(self, name):
        self.name = name

    async def __call__(self, scope, receive, send):
        told = json.dumps(report(self.name, scope))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": told})
            await send({"type": "websocket.close"})
        else:
            await JSONResponse(json.loads(told))(scope, receive, send)


class Late:
    """Answers at once, receives the whole body, and only then looks at the headers."""

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
        while (await receive()).get("more_body"):
            pass
        told = json.dumps(report("guarded late", scope))
        await send({"type": "http.response.body", "body": told.encode()})


def starlette_routes():
    return [
        Route("/health", Endpoint("open health")),
        Route("/health/{rest:path}", Endpoint("guarded below health")),
        Route("/login", Endpoint("open login"), methods=["GET"]),
        Route("/tree", Endpoint("open tree")),
        Mount("/tree", Endpoint("open tree")),
        Route("/static", Endpoint("open static")),
        Mount("/static", StaticFiles(directory=PUBLIC)),
        Mount("/files", StaticFiles(directory=PUBLIC.parent)),
        Route("/docs/", Endpoint("open docs")),
        Route("/feed", Endpoint("open feed")),
        Route("/late", Late()),
        Route("/flows", require("flows:read")(Endpoint("guarded flows"))),
        WebSocketRoute("/flows", require("flows:read")(Endpoint("guarded flows"))),
        WebSocketRoute("/feed", Endpoint("guarded feed")),
        Mount("/live", Endpoint("open live")),
        WebSocketRoute("/{rest:path}", Endpoint("guarded socket")),
        Route("/{rest:path}", Endpoint("guarded anything")),
    ]


def bare_starlette(**arguments):
    # The Mount of /tree would answer WebSockets as well, as an endpoint that nobody has opened for them.
    routes = [WebSocketRoute("/tree/{rest:path}", Endpoint("guarded socket")), *starlette_routes()]
    return Starlette(routes=routes, **arguments)


def starlette(**arguments):
    app = bare_starlette()
    app.add_middleware(KeyGuard, **guarding(**arguments))
    return app


def _route(path, scope):
    """Route as a careful app does: by the exact path."""
    if scope["type"] == "websocket":
        return "open live" if path.startswith("/live/") else "guarded socket"
    if path == "/login" and scope["method"] == "GET":
        return "open login"
    if path in {"/health", "/docs/", "/tree", "/static", "/feed", "/live"}:
        return f"open {path.strip('/')}"
    for open_tree in ("/tree/", "/static/", "/live/"):
        if path.startswith(open_tree):
            return f"open {open_tree.strip('/')}"
    return "guarded anything"


async def bare_plain(scope, receive, send):
    await Endpoint(_route(scope["path"], scope))(scope, receive, send)


async def bare_raw(scope, receive, send):
    """Route by the path as it was sent, to which an encoded letter is another letter."""
    await Endpoint(_route(scope["raw_path"].decode("latin-1"), scope))(scope, receive, send)


async def bare_lenient(scope, receive, send):
    """Route as a careless app does, which undoes whatever somebody may have done to a path."""
    path = posixpath.normpath("/" + unquote(scope["path"]).split(";")[0].replace("\\", "/").lower().strip("/"))
    await Endpoint(_route(path + "/" * (path == "/docs"), scope))(scope, receive, send)


# --- other frameworks ---------------------------------------------------------------------------------------------


def bare_fastapi(**arguments):
    from fastapi import FastAPI, Request, WebSocket

    app = FastAPI(openapi_url=None, **arguments)

    def add(path, name, methods=METHODS):
        @app.api_route(path, methods=methods)
        async def endpoint(request: Request):
            return report(name, request.scope)

    def add_socket(path, name):
        @app.websocket(path)
        async def endpoint(websocket: WebSocket):
            await websocket.accept()
            await websocket.send_json(report(name, websocket.scope))
            await websocket.close()

    add("/static", "open static")
    app.mount("/static", StaticFiles(directory=PUBLIC))
    add("/health", "open health")
    add("/health/{rest:path}", "guarded below health")
    add("/login", "open login", ["GET"])
    add("/tree", "open tree")
    add("/tree/{rest:path}", "open tree")
    add("/docs/", "open docs")
    add("/feed", "open feed")
    add("/live/{rest:path}", "open live")
    add("/live", "open live")
    add("/{rest:path}", "guarded anything")
    add_socket("/live/{rest:path}", "open live")
    add_socket("/{rest:path}", "guarded socket")
    return app


def fastapi(**arguments):
    app = bare_fastapi()
    app.add_middleware(KeyGuard, **guarding(**arguments))
    return app


def fastapi_rooted(**arguments):
    """FastAPI puts its root into the scope before its middleware sees it, and the path stays without."""
    app = bare_fastapi(root_path=ROOT)
    app.add_middleware(KeyGuard, **guarding(root_path=ROOT, root_in_path=False, **arguments))
    return app


def bare_litestar():
    from litestar import Litestar, Request, WebSocket, route, websocket
    from litestar.static_files import create_static_files_router

    def add(path, name, methods=METHODS):
        async def endpoint(request: Request) -> dict:
            return report(name, request.scope)

        return route(path, http_method=[method for method in methods if method != "OPTIONS"])(endpoint)

    def add_socket(path, name):
        async def endpoint(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_json(report(name, socket.scope))
            await socket.close()

        return websocket(path)(endpoint)

    return Litestar(
        openapi_config=None,
        route_handlers=[
            create_static_files_router("/static", [PUBLIC]),
            add("/static", "open static"),
            add("/health", "open health"),
            add("/health/{rest:path}", "guarded below health"),
            add("/login", "open login", ["GET"]),
            add("/login", "guarded login", ["POST", "PUT", "PATCH", "DELETE"]),
            add(["/tree", "/tree/{rest:path}"], "open tree"),
            add("/docs/", "open docs"),
            add("/feed", "open feed"),
            add(["/live", "/live/{rest:path}"], "open live"),
            add(["/", "/{rest:path}"], "guarded anything"),
            add_socket("/live/{rest:path}", "open live"),
            add_socket("/{rest:path}", "guarded socket"),
        ],
    )


def bare_quart():
    from quart import Quart, request, websocket

    app = Quart("guarded", static_folder=str(PUBLIC), static_url_path="/static")

    def add(path, name, methods=METHODS):
        async def endpoint(rest=""):
            return report(name, request.scope)

        app.add_url_rule(path, f"{path} {methods}", endpoint, methods=methods)

    def add_socket(path, name):
        async def endpoint(rest=""):
            await websocket.accept()
            await websocket.send_json(report(name, websocket.scope))

        app.add_websocket(path, f"socket {path}", endpoint)

    add("/health", "open health")
    add("/health/<path:rest>", "guarded below health")
    add("/login", "open login", ["GET"])
    add("/login", "guarded login", ["POST", "PUT", "PATCH", "DELETE"])
    add("/static", "open static")
    add("/static/", "open static")
    add("/tree", "open tree")
    add("/tree/", "open tree")
    add("/tree/<path:rest>", "open tree")
    add("/docs/", "open docs")
    add("/feed", "open feed")
    add("/live/<path:rest>", "open live")
    add("/<path:rest>", "guarded anything")
    add_socket("/live/<path:rest>", "open live")
    add_socket("/<path:rest>", "guarded socket")
    return app


# --- the shapes ---------------------------------------------------------------------------------------------------


def guarding(**arguments):
    return {"store": store(), "policy": POLICY, **arguments}


def wrapped(app, **arguments):
    return KeyGuard(app, **guarding(**arguments))


def mounted():
    """Guarded itself, and mounted below another app: no lifespan reaches it."""
    return Starlette(
        routes=[
            Mount(ROOT, app=wrapped(bare_starlette(), root_path=ROOT)),
            Route("/{rest:path}", Endpoint("open outer")),
        ]
    )


def cors():
    app = starlette()
    app.add_middleware(
        CORSMiddleware, allow_origins=["https://app.example"], allow_methods=["POST"], allow_headers=["x-api-key"]
    )
    return app


async def known_by_session(scope):
    """The app's own sign-in: it knows who the layers outside say it is."""
    if dict(scope["headers"]).get(b"authorization") == b"Bearer session-of-eve":
        return Principal(id="3", name="eve")
    return scope.get("user")


def signed_in():
    """Below something that puts an identity of its own into the scope."""
    guarded = wrapped(bare_starlette(), bearer=True, identify=known_by_session)

    async def outer(scope, receive, send):
        name = dict(scope["headers"]).get(b"x-signed-in")
        scope["user"] = Principal(id="4", name=name.decode()) if name else None
        scope["auth"], scope["keyguard"] = "forged", "forged"
        await guarded(scope, receive, send)

    return outer


def forged():
    """Below something that puts an identity into the scope, where nobody asks for it."""
    guarded = wrapped(bare_starlette())

    async def outer(scope, receive, send):
        scope["user"] = Principal(id="4", name="mallory", is_superuser=True)
        scope["auth"], scope["keyguard"] = "forged", "forged"
        await guarded(scope, receive, send)

    return outer


def slashes():
    """With nothing that takes all paths, Starlette redirects to the path with a slash."""
    return wrapped(Starlette(routes=[Route("/slash/", Endpoint("guarded slash"))]))


def rooted_out():
    """With an entry that a path could only equal by bringing the root along."""
    policy = Policy(exempt=[*POLICY.exempt, f"{ROOT}/open"])
    return starlette(policy=policy, root_path=ROOT, root_in_path=False)


def without_denial():
    """As under a server that cannot answer a handshake with a response."""
    guarded = wrapped(bare_starlette())

    async def outer(scope, receive, send):
        scope["extensions"] = {}
        await guarded(scope, receive, send)

    return outer


def twice():
    """Guarded twice, with the same store."""
    return wrapped(wrapped(bare_starlette()))


SHAPES = {
    "starlette": starlette,
    "plain": lambda: wrapped(bare_plain),
    "raw": lambda: wrapped(bare_raw),
    "lenient": lambda: wrapped(bare_lenient),
    "fastapi": fastapi,
    "fastapi-rooted": fastapi_rooted,
    "litestar": lambda: wrapped(bare_litestar()),
    "quart": lambda: wrapped(bare_quart()),
    "mounted": mounted,
    "cors": cors,
    "signed-in": signed_in,
    "forged": forged,
    "twice": twice,
    "slashes": slashes,
    "without-denial": without_denial,
    "unstripped": lambda: starlette(strip=False),
    "bearer": lambda: starlette(bearer=True),
    "no-query": lambda: starlette(query=None),
    "rooted-in": lambda: starlette(root_path=ROOT),
    "rooted-out": rooted_out,
    "rooted-wrong": lambda: starlette(root_path="/other"),
    "bare": bare_starlette,
}
app_of = cache(lambda shape: SHAPES[shape]())


async def app(scope, receive, send):
    """Pass a request on to the shape it is meant for, with the very scope that the server made."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
        return
    shape = dict(scope["headers"]).get(b"x-shape", b"starlette").decode()
    await app_of(shape)(scope, receive, send)
