"""A guarded app whose uses are written every `INTERVAL` seconds, if that stands in the environment."""

import os

from keyguard import KeyGuard
from keyguard.stores.sql import SQLStore


async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


app = KeyGuard(answer, store=SQLStore(os.environ["DATABASE"]), query=None) if "DATABASE" in os.environ else None
if "INTERVAL" in os.environ:
    app._authenticator._reader.uses._interval = float(os.environ["INTERVAL"])
