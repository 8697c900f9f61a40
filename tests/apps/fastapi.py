"""The small app in FastAPI: `request.user` as in Starlette, and dependencies that ask for more."""

from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Request, WebSocket

from keyguard import KeyGuard, Principal
from keyguard.fastapi import KeySecurity

guarded = KeySecurity()
router = APIRouter()


@router.get("/health")
async def health():
    return {"status": "ok"}


@router.get("/greeting")
async def greeting(request: Request):
    return {"hello": request.user.display_name or "stranger"}


@router.get("/me")
async def me(request: Request):
    access = request.scope["keyguard"]
    return {"id": request.user.id, "name": request.user.name, "key": access.key_name}


@router.get("/flows", dependencies=[guarded("flows:read")])
async def flows():
    return {"flows": []}


@router.get("/admin")
async def admin(user: Annotated[Principal, guarded(superuser=True)]):
    return {"hello": user.name}


@router.get("/echo")
async def echo(request: Request):
    return {"query": request.url.query, "headers": [[*pair] for pair in request.headers.items()]}


@router.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({"name": websocket.user.name})
    await websocket.close()


def make(store, policy, log):
    @asynccontextmanager
    async def life(app):
        log.append("app started")
        yield
        log.append("app stopped")

    app = FastAPI(lifespan=life)
    app.include_router(router)
    app.add_middleware(KeyGuard, store=store, policy=policy)
    return app
