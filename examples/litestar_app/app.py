"""A Litestar app with scopes, a superuser and a docs page: `python app.py` starts it and prints what to try.

The keys are in SQLite, in `litestar_app.db` of the folder that it is started from. Each start issues three keys, good
for a day: a reader's, a writer's, and one of the superuser `root`, who lists the keys of all.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

import uvicorn
from litestar import Controller, Litestar, Request, get, post
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from keyguard import Auth, KeyGuard, Policy, Principal, lifecycle, require
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///litestar_app.db")
notes: dict[str, list[str]] = {}

ByKey = Request[Principal, Auth, State]
"""What a handler is given: `request.user` is the owner of the key, `request.auth` says what the key may do."""


class Notes(Controller):
    """The caller's own notes: what a key reaches is what its owner owns."""

    path = "/notes"

    @get(middleware=[require("notes:read")])
    async def read(self, request: ByKey) -> list[str]:
        """Return the caller's notes."""
        return notes.get(request.user.id, [])

    @post(middleware=[require("notes:write")])
    async def write(self, request: ByKey, text: str) -> list[str]:
        """Add a note to the caller's."""
        notes.setdefault(request.user.id, []).append(text)
        return notes[request.user.id]


@get("/me")
async def me(request: ByKey) -> dict[str, str | list[str]]:
    return {"hello": request.user.name, "scopes": list(request.auth.scopes)}


@get("/keys", middleware=[require(superuser=True)])
async def keys() -> list[dict[str, str]]:
    return [{"key": key.hint, "name": key.name} for key in await lifecycle.list_keys(store)]


@get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


# What the docs page at /schema tells of keys. KeyGuard does not need it: it guards all routes that are not exempt.
documented = OpenAPIConfig(
    title="Notes",
    version="1.0",
    components=Components(
        security_schemes={"key": SecurityScheme(type="apiKey", security_scheme_in="header", name="x-api-key")}
    ),
    security=[{"key": []}],
)

# Around the app, not in `Litestar(middleware=[...])`: there it would stand behind the router, and not be asked about
# paths that have no route.
app = KeyGuard(
    Litestar([Notes, me, keys, health], openapi_config=documented),
    store=store,
    policy=Policy(exempt=["/health", "/schema/*"]),
)


async def new_keys() -> list[str]:
    """Make sure that there are tables and owners, and return three new keys: to read, to write, to administer."""
    await store.create_schema()
    ada = await store.find_owner("ada") or await lifecycle.add_owner(store, "ada")
    root = await store.find_owner("root") or await lifecycle.add_owner(store, "root", is_superuser=True)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    issued = [
        await lifecycle.issue(store, ada, name="reader", scopes=["notes:read"], expires_at=tomorrow),
        await lifecycle.issue(store, ada, name="writer", scopes=["notes:*"], expires_at=tomorrow),
        await lifecycle.issue(store, root, name="admin", expires_at=tomorrow),
    ]
    await store.close()  # The server runs in an event loop of its own.
    return [each.key.reveal() for each in issued]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Litestar app with scopes, a superuser and a docs page.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    url, (reader, writer, admin) = f"http://127.0.0.1:{port}", asyncio.run(new_keys())
    print(
        f"""
This app asks for API keys. Here are two of ada's and one of root's, shown this once:

    reader  {reader}
    writer  {writer}
    admin   {admin}

In another terminal, try the reader's key, by header and by query; it may not write (403), the writer's may,

    curl -i -H 'x-api-key: {reader}' {url}/me
    curl -i '{url}/notes?x-api-key={reader}'
    curl -i -H 'x-api-key: {reader}' -X POST '{url}/notes?text=hello'
    curl -i -H 'x-api-key: {writer}' -X POST '{url}/notes?text=hello'

what only a superuser may see, what is refused for want of a key, a route or none, and what is open to everybody:

    curl -i -H 'x-api-key: {writer}' {url}/keys
    curl -i -H 'x-api-key: {admin}' {url}/keys
    curl -i {url}/notes
    curl -i {url}/nowhere
    curl -i {url}/health

or open {url}/schema in a browser. Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
