"""The small app in Litestar: `request.user`, and `require` as a route's middleware.

KeyGuard is wrapped around the app. In ``Litestar(middleware=[...])`` it would run behind the router: paths without a
route would be answered unguarded, and it would get no lifespan.
"""

from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, WebSocket, get, websocket

from keyguard import KeyGuard, require


@get("/health")
async def health() -> dict[str, Any]:
    return {"status": "ok"}


@get("/greeting")
async def greeting(request: Request) -> dict[str, Any]:
    return {"hello": request.user.display_name or "stranger"}


@get("/me")
async def me(request: Request) -> dict[str, Any]:
    access = request.scope["keyguard"]
    return {"id": request.user.id, "name": request.user.name, "key": access.key_name}


@get("/flows", middleware=[require("flows:read")])
async def flows() -> dict[str, Any]:
    return {"flows": []}


@get("/admin", middleware=[require(superuser=True)])
async def admin(request: Request) -> dict[str, Any]:
    return {"hello": request.user.name}


@get("/echo")
async def echo(request: Request) -> dict[str, Any]:
    return {"query": request.url.query, "headers": [[*pair] for pair in request.headers.items()]}


@websocket("/ws")
async def ws(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({"name": socket.user.name})
    await socket.close()


def make(store, policy, log):
    @asynccontextmanager
    async def life(app):
        log.append("app started")
        yield
        log.append("app stopped")

    app = Litestar([health, greeting, me, flows, admin, echo, ws], lifespan=[life])
    return KeyGuard(app, store=store, policy=policy)
