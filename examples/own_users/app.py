"""An app with users of its own, who have keys: `python app.py` starts it and prints what to try.

The users are rows of the app's own table, signed in by the app's own session; Keyguard reads them together with their
keys, and writes nothing there. Both are in SQLite, in `own_users.db` of the folder that it is started from. Each start
gives ada and root a new password and a new key, good for a day.
"""

import argparse
import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import uvicorn
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Scope

from keyguard import KeyGuard, Policy, Principal, lifecycle, require
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.throttle import Throttle

DATABASE = "sqlite+aiosqlite:///own_users.db"


# --- the app's users, as they were before there were keys ---


class Base(DeclarativeBase):
    """The app's tables."""


class User(Base):
    """Somebody who may sign in."""

    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)  # No id is used again: the keys of a deleted user would live on.

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str]
    password_hash: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)
    is_admin: Mapped[bool] = mapped_column(default=False)


engine = create_async_engine(DATABASE)
database = async_sessionmaker(engine, expire_on_commit=False)
passwords = PasswordHasher()
NOBODYS = passwords.hash(secrets.token_hex())
"""What the password of nobody is compared with, so that it takes as long as somebody's."""
throttle = Throttle(limit=5)


async def sign_in(request: Request) -> JSONResponse:
    given = await request.json()
    counted = f"{given['email']} from {request.client.host}"
    if throttle.attempt(counted):
        return JSONResponse({"detail": "Too many attempts: wait a minute."}, status_code=429)
    async with database() as session:
        user = await session.scalar(select(User).where(User.email == given["email"]))
    try:
        await asyncio.to_thread(passwords.verify, user.password_hash if user else NOBODYS, given["password"])
    except VerifyMismatchError:
        user = None
    if user is None:
        return JSONResponse({"detail": "The address or the password is not right."}, status_code=401)
    throttle.succeeded(counted)
    request.session["user"] = user.id
    return JSONResponse({"hello": user.full_name})


# --- what is new with keys ---

store = SQLStore(DATABASE, users=UserTable(User.__table__, name="email", superuser="is_admin"))


async def by_session(scope: Scope) -> Principal | None:
    """Return who is signed in: asked where a request brings no key."""
    async with database() as session:
        user = await session.get(User, scope["session"].get("user", 0))
    if user is None or not user.is_active:
        return None
    return Principal(id=str(user.id), name=user.email, is_superuser=user.is_admin)


async def me(request: Request) -> JSONResponse:
    """Greet the caller, whether by key or by session: an id is a text there, and the row is the app's own."""
    async with database() as session:
        user = await session.get_one(User, int(request.user.id))
    return JSONResponse({"hello": user.full_name, "key": request.scope["keyguard"].key_name})


async def new_key(request: Request) -> JSONResponse:
    """Issue a key to whoever has signed in. The session's cookie is not sent along from other sites: it is `lax`."""
    if request.scope["keyguard"].key_id is not None:
        return JSONResponse({"detail": "Sign in to make a key: a key makes no others."}, status_code=403)
    issued = await lifecycle.issue(store, request.user.id, name=request.query_params["name"])
    return JSONResponse({"key": issued.key.reveal()}, status_code=201, headers={"cache-control": "no-store"})


@require(superuser=True)
async def switch_off(request: Request) -> JSONResponse:
    """Switch a user off, as the app always did. Nothing tells Keyguard: triggers on the table do."""
    async with database.begin() as session:
        user = await session.get_one(User, request.path_params["id"])
        user.is_active = False
    return JSONResponse({"switched off": user.email})


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Close the app's own connections at the end. Keyguard closes those of its store."""
    yield
    await engine.dispose()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/me", me),
        Route("/keys", new_key, methods=["POST"]),
        Route("/users/{id:int}", switch_off, methods=["DELETE"]),
    ],
    middleware=[
        # Outside the guard, so that `by_session` finds the session. With a new secret all are signed out; behind TLS,
        # `https_only=True` belongs here, too.
        Middleware(SessionMiddleware, secret_key=secrets.token_hex()),
        Middleware(KeyGuard, store=store, policy=Policy(exempt=["/sign-in"]), identify=by_session),
    ],
)


async def create_tables() -> None:
    """Make the app's tables, and Keyguard's beside them.

    `create_schema` also puts the triggers on the table of users, hence the order. An app whose migrations make its
    tables anew executes `store.trigger_statements(dialect)` after that.
    """
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await store.create_schema()


async def new_people(people: dict[str, str]) -> list[tuple[str, str]]:
    """Make sure that there are tables and the two users; give each a new password and a new key, and return these."""
    await create_tables()
    given: list[tuple[str, str]] = []
    for email, full_name in people.items():
        password = secrets.token_urlsafe(9)
        async with database.begin() as session:
            user = await session.scalar(select(User).where(User.email == email)) or User(email=email)
            user.full_name, user.password_hash, user.is_active = full_name, passwords.hash(password), True
            user.is_admin = email.startswith("root")
            session.add(user)
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        issued = await lifecycle.issue(store, str(user.id), name="first", expires_at=tomorrow)
        given.append((password, issued.key.reveal()))
    await store.close()  # The server runs in an event loop of its own.
    await engine.dispose()
    return given


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An app with users of its own, who have keys.")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    people = {"ada@example.org": "Ada Lovelace", "root@example.org": "Root"}
    url, ((password, ada), (_, root)) = f"http://127.0.0.1:{port}", asyncio.run(new_people(people))
    print(
        f"""
This app has users of its own. Here is a key for ada and one for root, shown this once:

    ada   {ada}
    root  {root}

In another terminal, sign in as ada, be known without a key, and make another one:

    curl -i -c cookies.txt -d '{{"email": "ada@example.org", "password": "{password}"}}' {url}/sign-in
    curl -i -b cookies.txt {url}/me
    curl -i -b cookies.txt -X POST '{url}/keys?name=laptop'

Ada's key finds the same user; without key and session nobody is let in (401), and a key makes no keys (403):

    curl -i -H 'x-api-key: {ada}' {url}/me
    curl -i '{url}/me?x-api-key={ada}'
    curl -i {url}/me
    curl -i -H 'x-api-key: {ada}' -X POST '{url}/keys?name=another'

Let root switch ada off, in the app's own table: her keys are refused at once (401), and her session, too:

    curl -i -H 'x-api-key: {root}' -X DELETE {url}/users/1
    curl -i -H 'x-api-key: {ada}' {url}/me
    curl -i -b cookies.txt {url}/me

Ctrl-C ends the server.
""",
        flush=True,
    )
    uvicorn.run(app, port=port)
