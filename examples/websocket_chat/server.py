"""A chat over WebSockets: `python server.py` starts it and prints what to try; `client.py` takes part in it.

Who speaks is the owner of the key, and whose key is revoked is shown out: their socket is closed with code 1008. The
keys are in SQLite, in `websocket_chat.db` of the folder that it is started from. Each start issues a new key, good for
a day, to ada, to grace, and to the superuser root.

A page in a browser cannot set a header for a WebSocket, so that its key has to stand in the query, where proxies may
write it down. Hence the key for that is another one, which lives for an hour and can do nothing but join the chat::

    const answer = await fetch("/chat/key", {method: "POST", headers: {"x-api-key": key}});
    const socket = new WebSocket(`wss://${location.host}/chat?x-api-key=${(await answer.json()).key}`);

When it expires, the socket is closed as well: the page asks for another key and connects again.
"""

import argparse
import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from keyguard import KeyGuard, KeyState, lifecycle, require
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///websocket_chat.db")
present: set[WebSocket] = set()


@require("chat:keys")
async def chat_key(request: Request) -> JSONResponse:
    """Issue a key that may stand in a query: it is short-lived, and can do little."""
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    issued = await lifecycle.issue(store, request.user.id, name="chat", scopes=["chat:join"], expires_at=in_an_hour)
    told = {"key": issued.key.reveal(), "expires_at": in_an_hour.isoformat()}
    return JSONResponse(told, status_code=201, headers={"cache-control": "no-store"})


@require("chat:join")
async def chat(websocket: WebSocket) -> None:
    """Pass on what somebody says until they go, or are shown out: to the app that is the same."""
    await websocket.accept()
    present.add(websocket)
    try:
        await tell(f"{websocket.user.name} joined")
        async for text in websocket.iter_text():
            await tell(f"{websocket.user.name}: {text}")
    finally:
        present.discard(websocket)
        await tell(f"{websocket.user.name} left")


async def tell(line: str) -> None:
    """Send a line to all who are present, and to nobody whose key was revoked a moment ago.

    One after the other, so that a slow reader delays the rest: in a large chat each would have a queue.
    """
    for websocket in [*present]:
        with suppress(WebSocketDisconnect):
            if await websocket.scope["keyguard"].still_valid():
                await websocket.send_text(line)


@require(superuser=True)
async def show_out(request: Request) -> JSONResponse:
    """Revoke the keys that somebody is in the chat by; the sockets close by themselves.

    Their own key gets them another: `lifecycle.deactivate` would refuse all that they have.
    """
    owner = await store.find_owner(request.path_params["name"])
    found = [] if owner is None else await lifecycle.list_keys(store, owner, state=KeyState.ACTIVE)
    keys = [key.id for key in found if key.name == "chat"]
    for key_id in keys:
        await lifecycle.revoke(store, key_id, reason=f"shown out by {request.user.name}")
    return JSONResponse({"revoked": len(keys)})


app = Starlette(
    routes=[
        Route("/chat/key", chat_key, methods=["POST"]),
        Route("/chat/{name}", show_out, methods=["DELETE"]),
        WebSocketRoute("/chat", chat),
    ]
)
# A socket whose key was revoked is closed with its next message, and within a second without one.
app.add_middleware(KeyGuard, store=store, recheck=1)


async def new_keys() -> list[str]:
    """Make sure that there are tables and owners, and return a new key for each of the three."""
    await store.create_schema()
    await lifecycle.purge(store, timedelta(days=1))  # Short-lived keys add up.
    keys: list[str] = []
    for name in ("ada", "grace", "root"):
        owner = await store.find_owner(name) or await lifecycle.add_owner(store, name, is_superuser=name == "root")
        issued = await lifecycle.issue(store, owner, name="day", expires_at=datetime.now(UTC) + timedelta(days=1))
        keys.append(issued.key.reveal())
    await store.close()  # The server runs in an event loop of its own.
    return keys


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat over WebSockets.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    url, (ada, grace, root) = f"http://127.0.0.1:{port}", asyncio.run(new_keys())
    print(
        f"""
This chat asks for API keys. Here is one each, shown this once:

    ada    {ada}
    grace  {grace}
    root   {root}

In two other terminals, in the folder of this file, let ada and grace take part, and type what they say:

    CHAT_KEY={ada} python client.py {url}
    CHAT_KEY={grace} python client.py {url}

Then show grace out. Only a superuser may (403), and without a key (401) nobody gets one that joins the chat:

    curl -i -H 'x-api-key: {ada}' -X POST {url}/chat/key
    curl -i -X POST {url}/chat/key
    curl -i -H 'x-api-key: {ada}' -X DELETE {url}/chat/grace
    curl -i -H 'x-api-key: {root}' -X DELETE {url}/chat/grace

Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
