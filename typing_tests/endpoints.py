"""Endpoints that ask for rights keep their types, and dependencies have the caller's."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import Annotated, assert_type

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from keyguard import AnonymousUser, Principal, require
from keyguard.fastapi import KeySecurity


@require("flows:read")
async def flows(request: Request) -> JSONResponse:
    return JSONResponse([])


@require(superuser=True)
def admin(request: Request) -> JSONResponse:
    return JSONResponse([])


@require("flows:read", "flows:write", key=True)
async def edit(websocket: WebSocket) -> None:
    await websocket.accept()


@require("flows:read")
async def plain(scope: Scope, receive: Receive, send: Send) -> None: ...


async def call(request: Request, websocket: WebSocket, scope: Scope, receive: Receive, send: Send) -> None:
    assert_type(await flows(request), JSONResponse)
    assert_type(admin(request), JSONResponse)
    assert_type(await edit(websocket), None)
    assert_type(await plain(scope, receive, send), None)
    await flows()  # type: ignore[call-arg]  # The endpoint still takes its request.
    await flows("request")  # type: ignore[arg-type]  # And nothing else.


require(["flows:read"])  # type: ignore[arg-type]  # Scopes are given one by one.
require(flows="read")  # type: ignore[call-arg]  # There is no such right.


guarded = KeySecurity(header="x-token", query=None, bearer=True)
app = FastAPI(dependencies=[guarded.documented])

Reader = Annotated[Principal, guarded("flows:read")]


@app.get("/flows")
async def read(user: Reader) -> list[str]:
    assert_type(user, Principal)
    assert_type(user.id, str)
    assert_type(user.scopes, frozenset[str])
    return [user.name]


@app.get("/greeting")
async def greeting(user: Annotated[Principal | AnonymousUser, guarded.caller]) -> str:
    assert_type(user.name, str)
    assert_type(user.id, str | None)
    return user.display_name


guarded(["flows:read"])  # type: ignore[arg-type]  # Scopes are given one by one.
KeySecurity(header=True)  # type: ignore[arg-type]  # The name of the header.
