"""A FastAPI app with scopes, a superuser and a docs page: `python app.py` starts it and prints what to try.

The keys are in SQLite, in `fastapi_app.db` of the folder that it is started from. Each start issues three keys, good
for a day: a reader's, a writer's, and one of the superuser `root`, who lists and revokes the keys of all.
"""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException

from keyguard import KeyGuard, NotFound, Policy, Principal, lifecycle
from keyguard.fastapi import KeySecurity
from keyguard.stores.sql import SQLStore

store = SQLStore("sqlite+aiosqlite:///fastapi_app.db")
guarded = KeySecurity()

Reader = Annotated[Principal, guarded("notes:read")]
Writer = Annotated[Principal, guarded("notes:write")]
Superuser = Annotated[Principal, guarded(superuser=True)]

app = FastAPI(title="Notes")
app.add_middleware(KeyGuard, store=store, policy=Policy(exempt=["/health", "/docs", "/openapi.json"]))

notes: dict[str, list[str]] = {}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/notes")
async def read_notes(user: Reader) -> list[str]:
    """Return the caller's notes: what a key reaches is what its owner owns."""
    return notes.get(user.id, [])


@app.post("/notes", status_code=201)
async def write_note(user: Writer, text: str) -> list[str]:
    """Add a note to the caller's."""
    notes.setdefault(user.id, []).append(text)
    return notes[user.id]


@app.get("/keys")
async def list_keys(user: Superuser) -> list[dict[str, str | bool]]:
    """Return all keys: as much of each as may be shown."""
    keys = await lifecycle.list_keys(store)
    return [{"id": key.id, "key": key.hint, "name": key.name, "revoked": key.revoked_at is not None} for key in keys]


@app.delete("/keys/{key_id}", status_code=204)
async def revoke_key(key_id: str, user: Superuser) -> None:
    """Revoke a key: from then on it is refused."""
    try:
        await lifecycle.revoke(store, key_id, reason=f"revoked by {user.name}")
    except NotFound:
        raise HTTPException(404, "There is no key with that id.") from None


async def new_keys() -> list[lifecycle.Issued]:
    """Make sure that there are tables and owners, and return three new keys: to read, to write, to administer."""
    await store.create_schema()
    ada = await store.find_owner("ada") or await lifecycle.add_owner(store, "ada")
    root = await store.find_owner("root") or await lifecycle.add_owner(store, "root", is_superuser=True)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    keys = [
        await lifecycle.issue(store, ada, name="reader", scopes=["notes:read"], expires_at=tomorrow),
        await lifecycle.issue(store, ada, name="writer", scopes=["notes:*"], expires_at=tomorrow),
        await lifecycle.issue(store, root, name="admin", expires_at=tomorrow),
    ]
    await store.close()  # The server runs in an event loop of its own.
    return keys


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A FastAPI app with scopes, a superuser and a docs page.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    issued = asyncio.run(new_keys())
    url, (reader, writer, admin) = f"http://127.0.0.1:{port}", [each.key.reveal() for each in issued]
    print(
        f"""
This app asks for API keys. Here are two of ada's and one of root's, shown this once:

    reader  {reader}
    writer  {writer}
    admin   {admin}

In another terminal, try the reader's key, by header and by query; it may not write (403), the writer's may,

    curl -i -H 'x-api-key: {reader}' {url}/notes
    curl -i '{url}/notes?x-api-key={reader}'
    curl -i -H 'x-api-key: {reader}' -X POST '{url}/notes?text=hello'
    curl -i -H 'x-api-key: {writer}' -X POST '{url}/notes?text=hello'

what only a superuser may do: list the keys, and revoke the reader's, which is refused from then on (401),

    curl -i -H 'x-api-key: {admin}' {url}/keys
    curl -i -H 'x-api-key: {admin}' -X DELETE {url}/keys/{issued[0].record.id}
    curl -i -H 'x-api-key: {reader}' {url}/notes

or open {url}/docs in a browser, and give a key to Authorize. Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
