"""The small app in plain ASGI: one function, which reads the caller from the scope."""

import json
from contextlib import asynccontextmanager

from keyguard import KeyGuard, require


async def answer(send, content, status=200):
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


async def health(scope, receive, send):
    await answer(send, {"status": "ok"})


async def greeting(scope, receive, send):
    await answer(send, {"hello": scope["user"].display_name or "stranger"})


async def me(scope, receive, send):
    access = scope["keyguard"]
    await answer(send, {"id": scope["user"].id, "name": scope["user"].name, "key": access.key_name})


@require("flows:read")
async def flows(scope, receive, send):
    await answer(send, {"flows": []})


@require(superuser=True)
async def admin(scope, receive, send):
    await answer(send, {"hello": scope["user"].name})


async def echo(scope, receive, send):
    headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    await answer(send, {"query": scope["query_string"].decode(), "headers": headers})


async def ws(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps({"name": scope["user"].name})})
    await send({"type": "websocket.close", "code": 1000})


async def nowhere(scope, receive, send):
    await answer(send, {}, status=404)


ROUTES = {
    "/health": health,
    "/greeting": greeting,
    "/me": me,
    "/flows": flows,
    "/admin": admin,
    "/echo": echo,
    "/ws": ws,
}


def make(store, policy, log):
    @asynccontextmanager
    async def life():
        log.append("app started")
        yield
        log.append("app stopped")

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            async with life():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await ROUTES.get(scope["path"], nowhere)(scope, receive, send)

    return KeyGuard(app, store=store, policy=policy)
