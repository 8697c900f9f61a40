"""Who takes part in `benchmarks.checks`: each an app that answers one guarded path, and the requests that it gets."""

import itertools
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.handwritten import HandWritten, HandWrittenFresh
from benchmarks.traffic import PATH, App, Scopes, requests_with
from keyguard import KeyGuard, Policy, lifecycle
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.model import Principal
from keyguard.ports import KeyRegistry
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

__all__ = ["BARE", "Contestant", "Entered", "contestants"]

BARE = "Starlette, bare"

EVERY_RULE = Policy(exempt=["/health", "/docs", "/static/*"], optional=["/search", "/feed/*"])
"""What KeyGuard is measured with: paths of every kind, and keys looked for in the header and in the query."""

GOOD, BAD = 200, 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A contestant that is ready: its app, the requests that it gets, and what it has to answer them with."""

    app: App
    scopes: Scopes
    status: int = GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A row of the table."""

    name: str
    enter: Callable[[], AbstractAsyncContextManager[Entered]]
    against: str = BARE
    """Which bare framework it is compared with."""


def bare_app() -> Starlette:
    """Return an app with one route, as short as it can be."""

    async def items(request: Request) -> PlainTextResponse:  # noqa: ARG001 Starlette's signature.
        return PlainTextResponse("ok")

    return Starlette(routes=[Route(PATH, items)])


def always(key: str) -> Scopes:
    """Return requests that all come with the same key."""
    return lambda count: requests_with([key] * count)


def in_turn(keys: list[str]) -> Scopes:
    """Return requests that come with one key after the other, and begin again with the first one."""
    endless = itertools.cycle(keys)
    return lambda count: requests_with(itertools.islice(endless, count))


def new_key(prefix: str = "kg") -> str:
    """Return a key that no store knows."""
    return from_entropy(prefix, secrets.token_bytes(ENTROPY_BYTES)).reveal()


# --- the limits -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare() -> AsyncIterator[Entered]:
    """Enter Starlette with nothing in front."""
    yield Entered(app=bare_app(), scopes=always(new_key()))


@asynccontextmanager
async def hand_written() -> AsyncIterator[Entered]:
    """Enter the least that a check could cost."""
    key, app = new_key(), bare_app()
    app.add_middleware(HandWritten, users={sha256(key.encode()).digest(): Principal(id="ada", name="ada")})
    yield Entered(app=app, scopes=always(key))


@asynccontextmanager
async def hand_written_fresh() -> AsyncIterator[Entered]:
    """Enter the least that a check could cost which also asks whether anything has changed."""
    key, app = new_key(), bare_app()
    users = {sha256(key.encode()).digest(): Principal(id="ada", name="ada")}
    async with sqlite_store() as store:
        file = store_file(store)
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=0, isolation_level=None)
        app.add_middleware(HandWrittenFresh, users=users, connection=connection)
        yield Entered(app=app, scopes=always(key))
        connection.close()


# --- KeyGuard ---------------------------------------------------------------------------------------------------

OpenStore = Callable[[], AbstractAsyncContextManager[KeyRegistry]]


@asynccontextmanager
async def memory_store() -> AsyncIterator[KeyRegistry]:
    """Open an empty store in memory."""
    yield MemoryStore()


@asynccontextmanager
async def sqlite_store() -> AsyncIterator[SQLStore]:
    """Open an empty store in an SQLite file."""
    with TemporaryDirectory() as folder:
        store = SQLStore(f"sqlite+aiosqlite:///{Path(folder, 'keys.db')}")
        await store.create_schema()
        await store.open()
        try:
            yield store
        finally:
            await store.close()


def store_file(store: SQLStore) -> str:
    """Return where an SQLite store keeps its file."""
    return str(store._database.engine.url.database)  # noqa: SLF001 The benchmark made it; nobody else has to know.


def guarded(store: KeyRegistry, **options: Any) -> Starlette:
    """Return the app with `KeyGuard` in front."""
    app = bare_app()
    app.add_middleware(KeyGuard, store=store, policy=EVERY_RULE, **options)
    return app


@asynccontextmanager
async def _guard(open_store: OpenStore, options: dict[str, Any]) -> AsyncIterator[tuple[KeyRegistry, Starlette]]:
    logger = logging.getLogger("keyguard")
    logger.handlers, logger.propagate = [logging.NullHandler()], False  # Whoever measures wants to read the table.
    async with open_store() as store:
        await lifecycle.add_owner(store, "ada", id="ada")
        app = guarded(store, **options)
        yield store, app
        layer: Any = app.middleware_stack
        while layer is not None and not isinstance(layer, KeyGuard):
            layer = getattr(layer, "app", None)
        if layer is not None:
            await layer.aclose()


def warm(open_store: OpenStore, **options: Any) -> Callable[[], AbstractAsyncContextManager[Entered]]:
    """Enter a KeyGuard that gets the same good key with each request."""

    @asynccontextmanager
    async def enter() -> AsyncIterator[Entered]:
        async with _guard(open_store, options) as (store, app):
            issued = await lifecycle.issue(store, "ada")
            yield Entered(app=app, scopes=always(issued.key.reveal()))

    return enter


def refusing_malformed(open_store: OpenStore, **options: Any) -> Callable[[], AbstractAsyncContextManager[Entered]]:
    """Enter a KeyGuard that gets a text which is no key, each time."""

    @asynccontextmanager
    async def enter() -> AsyncIterator[Entered]:
        async with _guard(open_store, options) as (_, app):
            yield Entered(app=app, scopes=always(f"{new_key()[:-1]}!"), status=BAD)

    return enter


def contestants() -> list[Contestant]:
    """Return everybody who can take part here."""
    return [
        Contestant(name=BARE, enter=bare),
        Contestant(name="HandWritten", enter=hand_written),
        Contestant(name="HandWrittenFresh", enter=hand_written_fresh),
        Contestant(name="KeyGuard, memory, warm", enter=warm(memory_store)),
        Contestant(name="KeyGuard, memory, malformed", enter=refusing_malformed(memory_store)),
        Contestant(name="KeyGuard, SQLite, warm", enter=warm(sqlite_store)),
        Contestant(name="KeyGuard, SQLite, malformed", enter=refusing_malformed(sqlite_store)),
    ]
