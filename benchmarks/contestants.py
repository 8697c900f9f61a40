"""Who takes part in `benchmarks.checks`: each an app that answers one guarded path, and the requests that it gets."""

import itertools
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.handwritten import HandWritten, HandWrittenFresh
from benchmarks.traffic import PATH, App, Scope, Scopes, requests_with
from keyguard import KeyGuard, Policy, lifecycle
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.model import Principal
from keyguard.ports import KeyRegistry
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

__all__ = [
    "BAD",
    "BARE",
    "GOOD",
    "Contestant",
    "Entered",
    "OpenStore",
    "always",
    "bare_app",
    "contestants",
    "guarded",
    "guarding",
    "in_turn",
    "issued_keys",
    "keyguard_on",
    "memory_store",
    "new_key",
    "postgres_store",
    "silence",
    "sqlite_store",
    "url_of",
]

BARE = "Starlette, bare"

EVERY_RULE = Policy(exempt=["/health", "/docs", "/static/*"], optional=["/search", "/feed/*"])
"""What KeyGuard is measured with: paths of every kind, and keys looked for in the header and in the query."""

GOOD, BAD = 200, 401
"""What the app answers, and what a refused key is answered with."""


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
        file = f"file:{url_of(store).database}?mode=ro"
        connection = sqlite3.connect(file, uri=True, timeout=0, isolation_level=None)
        app.add_middleware(HandWrittenFresh, users=users, connection=connection)
        yield Entered(app=app, scopes=always(key))
        connection.close()


# --- what else apps do ------------------------------------------------------------------------------------------


@asynccontextmanager
async def starlettes_own() -> AsyncIterator[Entered]:
    """Enter Starlette's AuthenticationMiddleware with a dict of keys, and an endpoint that asks for the right."""
    key = new_key()
    users = {sha256(key.encode()).digest(): SimpleUser("ada")}
    credentials = AuthCredentials(["authenticated"])

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            user = users.get(sha256(conn.headers.get("x-api-key", "").encode()).digest())
            if user is None:
                raise AuthenticationError("no key, or a wrong one")
            return credentials, user

    app = bare_app()
    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    yield Entered(app=app, scopes=always(key))


class SelectEachTime:
    """A check as it is often written: one select through the app's SQLAlchemy engine with each request."""

    def __init__(self, app: App, engine: AsyncEngine) -> None:
        self.app, self.engine = app, engine
        self.statement = text("SELECT owner_id FROM keyguard_keys WHERE lookup = :lookup AND revoked_at IS NULL")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Ask the database who it is; answer for the app if it is nobody."""
        if scope["type"] == "http":
            key = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
            async with self.engine.connect() as connection:
                lookup = f"sha256${sha256(key).hexdigest()}"
                row = (await connection.execute(self.statement, {"lookup": lookup})).first()
            if row is None:
                await PlainTextResponse("Unauthorized", BAD)(scope, receive, send)
                return
            scope["user"] = row.owner_id
        await self.app(scope, receive, send)


@asynccontextmanager
async def select_each_time() -> AsyncIterator[Entered]:
    """Enter an app that asks an SQLite file with each request."""
    async with sqlite_store() as store:
        await lifecycle.add_owner(store, "ada", id="ada")
        issued = await lifecycle.issue(store, "ada")
        engine = create_async_engine(url_of(store))
        app = bare_app()
        app.add_middleware(SelectEachTime, engine=engine)
        yield Entered(app=app, scopes=always(issued.key.reveal()))
        await engine.dispose()


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
        async with _opened(SQLStore(f"sqlite+aiosqlite:///{Path(folder, 'keys.db')}")) as store:
            yield store


def postgres_store(server: Any) -> OpenStore:
    """Return what opens an empty store in a new database of a PostgreSQL server."""

    @asynccontextmanager
    async def opening() -> AsyncIterator[KeyRegistry]:
        async with _opened(SQLStore(server.url(server.create_database()))) as store:
            yield store

    return opening


@asynccontextmanager
async def _opened(store: SQLStore) -> AsyncIterator[SQLStore]:
    await store.create_schema()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def url_of(store: KeyRegistry) -> URL:
    """Return where one of these stores keeps its keys."""
    url: URL = cast("SQLStore", store)._database.engine.url  # noqa: SLF001 The benchmark made the store: it may look.
    return url


@contextmanager
def silence() -> Iterator[None]:
    """Let the `keyguard` logger write nothing: whoever measures wants to read the table."""
    logger = logging.getLogger("keyguard")
    before = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before


@asynccontextmanager
async def guarding(store: KeyRegistry, **options: Any) -> AsyncIterator[Starlette]:
    """Return the app with `KeyGuard` in front."""
    app = bare_app()
    guards: list[KeyGuard] = []

    def guard(inner: App) -> KeyGuard:
        guards.append(KeyGuard(inner, store=store, policy=EVERY_RULE, **options))
        return guards[-1]

    app.add_middleware(guard)
    with silence():
        yield app
        for each in guards:
            await each.aclose()


@asynccontextmanager
async def guarded(open_store: OpenStore, **options: Any) -> AsyncIterator[tuple[KeyRegistry, Starlette]]:
    """Open a store with one owner, ada, and the app with `KeyGuard` in front."""
    async with open_store() as store:
        await lifecycle.add_owner(store, "ada", id="ada")
        async with guarding(store, **options) as app:
            yield store, app


async def issued_keys(store: KeyRegistry, count: int) -> list[str]:
    """Issue keys to ada."""
    return [(await lifecycle.issue(store, "ada")).key.reveal() for _ in range(count)]


def _entering(
    open_store: OpenStore, prepare: Callable[[KeyRegistry], Awaitable[Scopes]], status: int = GOOD, **options: Any
) -> Callable[[], AbstractAsyncContextManager[Entered]]:
    @asynccontextmanager
    async def enter() -> AsyncIterator[Entered]:
        async with guarded(open_store, **options) as (store, app):
            yield Entered(app=app, scopes=await prepare(store), status=status)

    return enter


async def _one_key(store: KeyRegistry) -> Scopes:
    (key,) = await issued_keys(store, 1)
    return always(key)


async def _many_keys(store: KeyRegistry) -> Scopes:
    return in_turn(await issued_keys(store, 4 * COLD_CACHE))


async def _revoked_key(store: KeyRegistry) -> Scopes:
    issued = await lifecycle.issue(store, "ada")
    await lifecycle.revoke(store, issued.record.id)
    return always(issued.key.reveal())


async def _no_key(store: KeyRegistry) -> Scopes:  # noqa: ARG001 Like its siblings.
    return always(f"{new_key()[:-1]}!")


async def _unknown_keys(store: KeyRegistry) -> Scopes:  # noqa: ARG001 Like its siblings.
    return in_turn([new_key() for _ in range(4 * COLD_CACHE)])


COLD_CACHE = 8
"""A cache so small that each of the keys that come in turn has been forgotten when it comes again."""


def keyguard_on(name: str, open_store: OpenStore) -> list[Contestant]:
    """Return KeyGuard on one kind of store, in each state that a key can be in."""
    prefix = f"KeyGuard, {name}"
    return [
        Contestant(name=f"{prefix}, warm", enter=_entering(open_store, _one_key)),
        Contestant(name=f"{prefix}, cold", enter=_entering(open_store, _many_keys, cache_size=COLD_CACHE)),
        Contestant(name=f"{prefix}, malformed", enter=_entering(open_store, _no_key, BAD)),
        Contestant(name=f"{prefix}, unknown", enter=_entering(open_store, _unknown_keys, BAD)),
        Contestant(name=f"{prefix}, revoked", enter=_entering(open_store, _revoked_key, BAD)),
    ]


def contestants() -> list[Contestant]:
    """Return everybody who needs nothing but this package."""
    return [
        Contestant(name=BARE, enter=bare),
        Contestant(name="HandWritten", enter=hand_written),
        Contestant(name="HandWrittenFresh", enter=hand_written_fresh),
        Contestant(name="AuthenticationMiddleware", enter=starlettes_own),
        Contestant(name="one select a request", enter=select_each_time),
        *keyguard_on("memory", memory_store),
        *keyguard_on("SQLite", sqlite_store),
    ]
