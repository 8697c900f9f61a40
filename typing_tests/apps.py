"""Guarding an app: KeyGuard's arguments are checked, given to it or through `add_middleware`."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from keyguard import KeyGuard, Keyring, PathRule, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore

store = SQLStore("sqlite+aiosqlite:///keys.db", keyring=Keyring(prefix="lf_live", peppers=[b"sixteen bytes or more"]))
policy = Policy(exempt=["/health", PathRule(path="/static/*", methods=frozenset({"GET"}))], optional=("/greeting",))

starlette_app = Starlette(middleware=[Middleware(KeyGuard, store=store, policy=policy)])
starlette_app.add_middleware(KeyGuard, store=MemoryStore())
starlette_app.add_middleware(KeyGuard, store=StaticStore({"ci": "sha256$…"}), header="x-token", query=None, bearer=True)

fastapi_app = FastAPI()
fastapi_app.add_middleware(KeyGuard, store=store, policy=policy, root_path="/api", root_in_path=False, trusted_hops=1)

wrapped = KeyGuard(fastapi_app, store=store, policy=policy, strip=False)
assert_type(wrapped, KeyGuard)
app: ASGIApp = wrapped


async def close() -> None:
    await wrapped.aclose()


# Each of these is a mistake, and a type checker says so: an ignore that is not needed is an error itself.
starlette_app.add_middleware(KeyGuard, store=store, exempt=["/health"])  # type: ignore[call-arg]  # The policy's.
fastapi_app.add_middleware(KeyGuard, store=store, exempt=["/health"])  # type: ignore[call-arg]  # Likewise.
starlette_app.add_middleware(KeyGuard)  # type: ignore[call-arg]  # The store is missing.
starlette_app.add_middleware(KeyGuard, store="sqlite:///keys.db")  # type: ignore[arg-type]  # A URL is no store.
starlette_app.add_middleware(KeyGuard, store=store, policy=["/health"])  # type: ignore[arg-type]  # No Policy.
KeyGuard(fastapi_app, store=store, exempt=["/health"])  # type: ignore[call-arg]  # The policy's.
KeyGuard(fastapi_app, store)  # type: ignore[call-arg]  # All but the app is given by name.
Policy(["/health"])  # type: ignore[call-arg]  # By name, too.
Policy(exempt=[b"/health"])  # type: ignore[list-item]  # A path is a text.
