# ruff: noqa: PLC0415 Each is imported only where it takes part: none of them is needed for the others.
"""Other libraries that check API keys, each as its own README shows it, with the fastest of what it ships.

Every one of them verifies the key; none of them sees at once what another process has revoked:

- safe-api-keys 0.4: its Starlette middleware over the asynchronous manager, a memory store and its `VerifyCache`.
- keyshield 2.0: its FastAPI dependency over the caching service and a memory repository. As it comes it also sleeps
  for 0.1 to 0.3 seconds at each check, which its two arguments for that turn off here.
- litestar-api-auth 0.1: its Litestar plugin over a memory backend, without usage tracking.
- fastapi-key-auth 0.15: its middleware, which compares with the environment variables; nothing can be revoked.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from benchmarks.contestants import Contestant, Entered, always, bare_app
from benchmarks.traffic import PATH, Scope, requests_with

__all__ = ["FASTAPI", "LITESTAR", "absent_peers", "peers"]

FASTAPI = "FastAPI, bare"
LITESTAR = "Litestar, bare"


@asynccontextmanager
async def bare_fastapi() -> AsyncIterator[Entered]:
    """Enter FastAPI with nothing in front."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI()

    @app.get(PATH)
    async def items() -> PlainTextResponse:
        return PlainTextResponse("ok")

    yield Entered(app=app, scopes=always("no key at all"))


@asynccontextmanager
async def bare_litestar() -> AsyncIterator[Entered]:
    """Enter Litestar with nothing in front."""
    from litestar import Litestar, MediaType, get

    @get(PATH, media_type=MediaType.TEXT)
    async def items() -> str:
        return "ok"

    yield Entered(app=Litestar([items], openapi_config=None), scopes=always("no key at all"))


@asynccontextmanager
async def safe_api_keys() -> AsyncIterator[Entered]:
    """Enter safe-api-keys."""
    from safe_api_keys import AsyncKeyManager, VerifyCache
    from safe_api_keys.contrib.starlette import APIKeyMiddleware
    from safe_api_keys.stores import AsyncMemoryStore

    manager = AsyncKeyManager(
        AsyncMemoryStore(), prefix="sk_live", pepper=secrets.token_bytes(32), cache=VerifyCache(ttl=5.0)
    )
    app = bare_app()
    app.add_middleware(APIKeyMiddleware, km=manager, protect=("/",), exempt=())
    issued = await manager.issue("ada")
    yield Entered(app=app, scopes=always(issued.raw_key))


@asynccontextmanager
async def keyshield() -> AsyncIterator[Entered]:
    """Enter keyshield."""
    from fastapi import Depends, FastAPI
    from fastapi.responses import PlainTextResponse
    from keyshield.api import create_depends_api_key
    from keyshield.hasher.argon2 import Argon2ApiKeyHasher
    from keyshield.repositories.in_memory import InMemoryApiKeyRepository
    from keyshield.services.cached import CachedApiKeyService

    hasher = Argon2ApiKeyHasher(pepper=secrets.token_hex(32))
    service = CachedApiKeyService(InMemoryApiKeyRepository(), hasher, min_delay=0, max_delay=0)
    _, key = await service.create(name="ada")

    async def get_service() -> CachedApiKeyService:
        return service

    app = FastAPI()

    @app.get(PATH, dependencies=[Depends(create_depends_api_key(get_service))])
    async def items() -> PlainTextResponse:
        return PlainTextResponse("ok")

    def scopes(count: int) -> list[Scope]:
        return requests_with([f"Bearer {key}"] * count, header="authorization")

    yield Entered(app=app, scopes=scopes)


@asynccontextmanager
async def litestar_api_auth() -> AsyncIterator[Entered]:
    """Enter litestar-api-auth."""
    from litestar import Litestar, MediaType, get
    from litestar_api_auth import APIAuthConfig, APIAuthPlugin, mint_api_key, require_api_key
    from litestar_api_auth.backends.memory import MemoryBackend

    backend = MemoryBackend()
    config = APIAuthConfig(
        backend=backend, key_prefix="bench_", auto_routes=False, enable_openapi=False, track_usage=False
    )

    @get(PATH, media_type=MediaType.TEXT, guards=[require_api_key])
    async def items() -> str:
        return "ok"

    app = Litestar([items], plugins=[APIAuthPlugin(config=config)], openapi_config=None)
    key, _ = await mint_api_key(backend, name="ada", scopes=[], prefix="bench_")
    yield Entered(app=app, scopes=always(key))


@asynccontextmanager
async def fastapi_key_auth() -> AsyncIterator[Entered]:
    """Enter fastapi-key-auth."""
    from fastapi_key_auth import AuthorizerMiddleware

    key = secrets.token_urlsafe(32)
    os.environ["API_KEY_BENCHMARK"] = key
    app = bare_app()
    app.add_middleware(AuthorizerMiddleware)
    yield Entered(app=app, scopes=always(key))
    del os.environ["API_KEY_BENCHMARK"]


_NEEDED = {
    FASTAPI: ("fastapi",),
    LITESTAR: ("litestar",),
    "safe-api-keys": ("safe_api_keys",),
    "keyshield": ("fastapi", "keyshield", "aiocache", "argon2"),
    "litestar-api-auth": ("litestar", "litestar_api_auth"),
    "fastapi-key-auth": ("fastapi_key_auth",),
}

_ALL = [
    Contestant(name=FASTAPI, enter=bare_fastapi, against=FASTAPI),
    Contestant(name=LITESTAR, enter=bare_litestar, against=LITESTAR),
    Contestant(name="safe-api-keys", enter=safe_api_keys),
    Contestant(name="keyshield", enter=keyshield, against=FASTAPI),
    Contestant(name="litestar-api-auth", enter=litestar_api_auth, against=LITESTAR),
    Contestant(name="fastapi-key-auth", enter=fastapi_key_auth),
]


def _missing(name: str) -> list[str]:
    return [module for module in _NEEDED[name] if find_spec(module) is None]


def peers() -> list[Contestant]:
    """Return those that are installed here, with the bare frameworks that they are compared with."""
    return [each for each in _ALL if not _missing(each.name)]


def absent_peers() -> dict[str, str]:
    """Return those that are not, with the reason."""
    return {each.name: f"not installed: {', '.join(gone)}" for each in _ALL if (gone := _missing(each.name))}
