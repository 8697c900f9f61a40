"""The app that is deployed: the quickstart's, with its keys in PostgreSQL and its secrets in files.

`store` is what the app checks keys with, and what `keyguard` works on where `KEYGUARD_STORE=app:store` names it: so
both have the same database and the same peppers.
"""

import os
from pathlib import Path

from sqlalchemy import make_url
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyguard import KeyGuard, Keyring, Policy, lifecycle, require
from keyguard.stores.sql import SQLStore


def secret(name: str) -> str:
    """Return what the file holds that the variable `name` names: who may read a file can be said, unlike a variable."""
    return Path(os.environ[name]).read_text("utf-8").strip()


store = SQLStore(
    make_url(os.environ["KEYGUARD_DATABASE_URL"]).set(password=secret("DATABASE_PASSWORD_FILE")),
    keyring=Keyring(peppers=secret("KEYGUARD_PEPPERS_FILE").split()),
)


async def home(request: Request) -> JSONResponse:
    access = request.scope["keyguard"]
    return JSONResponse({"hello": request.user.name, "key": access.key_name, "worker": os.getpid()})


@require(superuser=True)
async def admin(request: Request) -> JSONResponse:
    return JSONResponse({"keys": [key.hint for key in await lifecycle.list_keys(store)]})


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


app = Starlette(routes=[Route("/", home), Route("/admin", admin), Route("/health", health)])
app.add_middleware(
    KeyGuard,
    store=store,
    policy=Policy(exempt=["/health"]),  # It asks no database: a worker is not restarted because that is down.
    query=None,  # A key in the query would stand in the logs of whatever is in front.
    trusted_hops=1,  # The proxy, which appends the client's address. Nobody reaches the app but through it.
)
