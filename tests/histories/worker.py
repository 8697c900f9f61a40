"""The app of one worker process: says who called, and how often its database was asked.

`DATABASE` in the environment is the store's URL, `MUTANT` names what is broken on purpose, if anything is, and `STRICT`
asks for ``freshness="strict"``.
"""

import json
import os
import sqlite3

from histories.mutants import MUTANTS
from sqlalchemy import event

from keyguard import KeyGuard
from keyguard.stores.sql import SQLStore


class Counts:
    """How many requests came, how many found what they needed in the cache, and what the database was asked."""

    def __init__(self):
        self.uses = 0
        self.hits = 0
        self.reads = 0
        self.statements = 0

    def statement(self, text, *_):
        self.statements += 1
        self.reads += "FROM keyguard_keys" in text

    def watch_sqlite(self):
        """See each statement of each connection that is made, whoever makes it and whatever it is for."""
        connect = sqlite3.connect

        def connecting(*arguments, **more):
            connection = connect(*arguments, **more)
            connection.set_trace_callback(self.statement)
            return connection

        sqlite3.connect = connecting

    def watch_engine(self, engine):
        """See each statement of the pool's connections."""
        event.listen(engine, "before_cursor_execute", lambda _1, _2, text, *_: self.statement(text))

    def watch_cache(self, cache):
        get = cache.get

        def getting(name):
            known = get(name)
            self.hits += known is not None
            return known

        cache.get = getting


def make(url, mutant=None, **arguments):
    """Return the guarded app."""
    counts = Counts()
    if url.startswith("sqlite"):
        counts.watch_sqlite()
    store = SQLStore(url)
    if not url.startswith("sqlite"):
        counts.watch_engine(store._database.engine.sync_engine)

    async def answer(scope, receive, send):
        if scope["type"] == "lifespan":
            for _ in range(2):
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
            return
        if scope["path"] == "/counts":
            body = json.dumps(vars(counts)).encode()
        else:
            user = scope["user"]
            body = f"{os.getpid()} {user.name} {user.is_superuser}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    guarded = KeyGuard(answer, store=store, query=None, **arguments)
    if mutant:
        MUTANTS[mutant](store, guarded)
    counts.watch_cache(guarded._authenticator._cache)

    async def app(scope, receive, send):
        counts.uses += scope.get("path") == "/who"
        await guarded(scope, receive, send)

    return app


if "DATABASE" in os.environ:
    freshness = "strict" if os.environ.get("STRICT") else "auto"
    app = make(os.environ["DATABASE"], os.environ.get("MUTANT"), freshness=freshness)
