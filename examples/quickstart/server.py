"""A Starlette app that asks for API keys: `python server.py` starts it and prints what to try.

The keys are in SQLite, in `quickstart.db` of the folder that it is started from. Each start issues a new key for the
owner `ada`, good for a day: a key is shown once, and nobody can read it back.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyguard import KeyGuard, Policy, lifecycle, require
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///quickstart.db")


async def home(request: Request) -> JSONResponse:
    access = request.scope["keyguard"]
    return JSONResponse({"hello": request.user.name, "key": access.key_name, "came by": access.source.value})


@require(superuser=True)
async def admin(request: Request) -> JSONResponse:
    return JSONResponse({"keys": [key.hint for key in await lifecycle.list_keys(store)]})


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


app = Starlette(routes=[Route("/", home), Route("/admin", admin), Route("/health", health)])
app.add_middleware(KeyGuard, store=store, policy=Policy(exempt=["/health"]))


async def first_key() -> str:
    """Make sure that there are tables and an owner, and return a new key."""
    await store.create_schema()
    ada = await store.find_owner("ada") or await lifecycle.add_owner(store, "ada")
    issued = await lifecycle.issue(store, ada, name="quickstart", expires_at=datetime.now(UTC) + timedelta(days=1))
    await store.close()  # The server runs in an event loop of its own.
    return issued.key.reveal()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An app that asks for API keys.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    url, key = f"http://127.0.0.1:{port}", asyncio.run(first_key())
    print(
        f"""
This app asks for API keys. Here is one for ada, shown this once:

    {key}

In another terminal, try what is let in, by header and by query,

    curl -H 'x-api-key: {key}' {url}/
    curl '{url}/?x-api-key={key}'

what is refused, with 401 for want of a key and with 403 for want of superuser rights,

    curl -i {url}/
    curl -i -H 'x-api-key: {key}' {url}/admin

and what is open to everybody:

    curl {url}/health

Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
