"""The small app in Starlette: `request.user`, `request.auth`, and `@require` on endpoints."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from keyguard import KeyGuard, require


async def health(request):
    return JSONResponse({"status": "ok"})


async def greeting(request):
    return JSONResponse({"hello": request.user.display_name or "stranger"})


async def me(request):
    access = request.scope["keyguard"]
    return JSONResponse({"id": request.user.id, "name": request.user.name, "key": access.key_name})


@require("flows:read")
async def flows(request):
    return JSONResponse({"flows": []})


@require(superuser=True)
async def admin(request):
    return JSONResponse({"hello": request.user.name})


async def echo(request):
    return JSONResponse({"query": request.url.query, "headers": [[*pair] for pair in request.headers.items()]})


async def ws(websocket):
    await websocket.accept()
    await websocket.send_json({"name": websocket.user.name})
    await websocket.close()


ROUTES = [
    Route("/health", health),
    Route("/greeting", greeting),
    Route("/me", me),
    Route("/flows", flows),
    Route("/admin", admin),
    Route("/echo", echo),
    WebSocketRoute("/ws", ws),
]


def make(store, policy, log):
    @asynccontextmanager
    async def life(app):
        log.append("app started")
        yield
        log.append("app stopped")

    app = Starlette(routes=ROUTES, lifespan=life)
    app.add_middleware(KeyGuard, store=store, policy=policy)
    return app
