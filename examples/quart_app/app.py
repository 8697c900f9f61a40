"""A Quart app that asks for API keys: `python app.py` starts it and prints what to try.

The keys are in SQLite, in `quart_app.db` of the folder that it is started from. Each start issues three keys, good for
a day: a reader's, a writer's, and one of the superuser `root`, who lists the keys of all.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from math import inf

import uvicorn
from quart import Quart, abort, g, request

from keyguard import KeyGuard, Policy, lifecycle
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///quart_app.db")
notes: dict[str, list[str]] = {}
written = asyncio.Condition()

app = Quart(__name__)
app.asgi_app = KeyGuard(app.asgi_app, store=store, policy=Policy(exempt=["/health"]))


@app.before_request
async def note_the_caller() -> None:
    """Let views, and templates as well, find the owner of the key where Quart's own users look: in `g`."""
    g.user = request.scope["user"]


def need(scope: str) -> None:
    """Answer 403 to a key without that scope; a superuser's has one that is called `superuser`."""
    if scope not in request.scope["auth"].scopes:
        abort(403, f"This needs the scope {scope}.")


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/")
async def home() -> dict[str, str]:
    return {"hello": g.user.name, "key": request.scope["keyguard"].key_name}


@app.get("/notes")
async def read_notes() -> list[str]:
    need("notes:read")
    return notes.get(g.user.id, [])


@app.post("/notes")
async def write_note() -> tuple[list[str], int]:
    need("notes:write")
    async with written:
        notes.setdefault(g.user.id, []).append(request.args["text"])
        written.notify_all()
    return notes[g.user.id], 201


@app.get("/notes/stream")
async def stream_notes() -> AsyncIterator[str]:
    """Stream the caller's notes as they are written, `count` of them or without end."""
    need("notes:read")
    owner, access = g.user.id, request.scope["keyguard"]
    count = request.args.get("count", inf, float)

    async def lines() -> AsyncIterator[str]:
        sent = 0
        while sent < count:
            async with written:
                while len(notes.get(owner, [])) == sent:
                    await written.wait()
            if not await access.still_valid():  # An answer that has begun goes on after its key was revoked.
                return
            yield notes[owner][sent] + "\n"
            sent += 1

    return lines()


@app.get("/keys")
async def list_keys() -> list[dict[str, str]]:
    need("superuser")
    return [{"key": key.hint, "name": key.name} for key in await lifecycle.list_keys(store)]


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
    parser = argparse.ArgumentParser(description="A Quart app that asks for API keys.")
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

    curl -i -H 'x-api-key: {reader}' {url}/
    curl -i '{url}/?x-api-key={reader}'
    curl -i -H 'x-api-key: {reader}' -X POST '{url}/notes?text=hello'
    curl -i -H 'x-api-key: {writer}' -X POST '{url}/notes?text=hello'
    curl -i -H 'x-api-key: {reader}' '{url}/notes/stream?count=1'

what only a superuser may see, what is refused for want of a key, and what is open to everybody:

    curl -i -H 'x-api-key: {writer}' {url}/keys
    curl -i -H 'x-api-key: {admin}' {url}/keys
    curl -i {url}/notes
    curl -i {url}/health

Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
