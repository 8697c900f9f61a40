"""An app whose keys are in a store of its own: `python server.py` starts it and prints what to try.

The store is `JSONStore` of `json_store.py`. Its file is `people.json` of the folder that this is started from; each
start writes it with a new key.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from json_store import JSONStore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyguard import ApiKey, KeyGuard, Keyring, lifecycle

FILE = Path("people.json")

keyring = Keyring(prefix="notes")


async def home(request: Request) -> JSONResponse:
    return JSONResponse({"hello": request.user.name, "scopes": list(request.auth.scopes)})


app = Starlette(routes=[Route("/", home)])
app.add_middleware(KeyGuard, store=JSONStore(FILE, keyring=keyring))


def write_file() -> ApiKey:
    """Do what another program would: write down who there is, and a digest of the key that each one has."""
    key, digest = lifecycle.mint(keyring)
    entry = {
        "id": key.id,
        "owner_id": "1",
        "prefix": "notes_",
        "created_at": datetime.now(UTC).isoformat(),
        "lookup": digest,
        "verifier": digest,
        "scopes": ["notes:read"],
    }
    FILE.write_text(json.dumps({"people": [{"id": "1", "name": "ada"}], "keys": [entry]}, indent=2), "utf-8")
    return key


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An app whose keys are in a store of its own.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    url, key = f"http://127.0.0.1:{port}", write_file().reveal()
    print(
        f"""
This app asks for API keys, and finds them in {FILE}. Here is one for ada, shown this once:

    {key}

In another terminal, try what is let in, by header and by query, and what is refused for want of a key (401):

    curl -H 'x-api-key: {key}' {url}/
    curl '{url}/?x-api-key={key}'
    curl -i {url}/

Then take the key out of {FILE}, or set its "disabled_at": the next request with it is refused.
Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
