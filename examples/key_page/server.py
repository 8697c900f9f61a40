"""An app with the page where people manage their own keys: `python server.py` starts it and prints how to sign in.

Owners and keys are in SQLite, in `key_page.db` of the folder that it is started from. Each start gives ada, an ordinary
owner, and root, a superuser, a new password, which ends the sessions that they had.
"""

import argparse
import asyncio
import secrets

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from keyguard import KeyGuard, Policy, lifecycle
from keyguard.admin import KeyAdmin, with_key_page
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///key_page.db")
key_page = KeyAdmin(
    store,
    title="Keys of the example",
    scopes={"notes:read": "Read notes", "notes:write": "Write and delete notes"},
)


async def home(request: Request) -> JSONResponse:
    access = request.scope["keyguard"]
    return JSONResponse({"hello": request.user.name, "key": access.key_name, "scopes": sorted(request.auth.scopes)})


app = Starlette(routes=[Route("/", home), Mount("/keys", key_page)])
app.add_middleware(KeyGuard, store=store, policy=with_key_page(Policy(), "/keys"))


async def passwords() -> dict[str, str]:
    """Make sure that there are tables and the two owners, and give each a new password."""
    await store.create_schema()
    given: dict[str, str] = {}
    for name, is_superuser in (("ada", False), ("root", True)):
        owner = await store.find_owner(name) or await lifecycle.add_owner(store, name, is_superuser=is_superuser)
        given[name] = secrets.token_urlsafe(9)
        await lifecycle.set_password(store, owner, given[name])
    await store.close()  # The server runs in an event loop of its own.
    return given


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An app with the page where people manage their own keys.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    url, given = f"http://127.0.0.1:{port}", asyncio.run(passwords())
    print(
        f"""
Open {url}/keys in a browser, and sign in

    as ada, with the password {given["ada"]}
    as root, who sees everyone's keys, with the password {given["root"]}

Make a key there, copy it, and try one of the lines that are shown with it. Without a key the app answers 401, and
without a session the page answers with its form:

    curl -i {url}/
    curl -i {url}/keys/sign-in

Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
