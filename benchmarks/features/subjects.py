# ruff: noqa: PLC0415 Each is imported only where it is looked at: none of them is needed for the others.
# ruff: noqa: ARG002, D102 What a subject is asked for is said once, above, and not every one of them can do all of it.
"""The libraries that are compared, each set up as its own manual shows it, with its keys in a database where it can."""

import os
import secrets
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.features.wire import reached
from benchmarks.traffic import App

__all__ = ["SUBJECTS", "KeyguardItself", "Subject"]

SOURCES = ("header", "query", "bearer")


async def echo(socket: Any) -> None:
    """Accept a WebSocket of Starlette's or of Litestar's, and answer each message with the same."""
    await socket.accept()
    while True:
        await socket.send_text(str(await socket.receive_text()))


class Subject(ABC):
    """One library, with its keys in `folder`; another process that is given the same folder has the same keys."""

    name: ClassVar[str]
    distribution: ClassVar[str]
    module: ClassVar[str]
    released: ClassVar[str]
    """The day on which PyPI was given the version that was looked at."""
    revokes: ClassVar[bool] = True
    is_middleware: ClassVar[bool] = True
    """Whether it stands in front of an app, and not of single routes."""
    header: ClassVar[str] = "x-api-key"
    parameter: ClassVar[str] = "x-api-key"
    query_is_off: ClassVar[bool] = False
    """Whether it looks for keys in the query only where that is asked for."""
    cache: ClassVar[float | None] = None
    """After how many seconds its own cache forgets, as it comes; None if it has none that is switched on apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self) -> None:  # noqa: B027 Not everyone has something to make.
        """Make what there has to be before the first key."""

    @abstractmethod
    def app(self, *, source: str = "header", cached: bool = False) -> App | None:
        """Return a guarded app that looks for keys there; None if that cannot be had."""

    @abstractmethod
    async def issue(self, *, expires_at: datetime | None = None) -> str:
        """Make a key and return it."""

    @abstractmethod
    async def revoke(self, key: str) -> None:
        """End a key."""

    async def is_active(self, key: str) -> bool:
        """Return whether the database says that a revoked key is good."""
        return False

    async def stop(self) -> None:  # noqa: B027 Not everyone has something to close.
        """Close what was opened."""

    def pepper(self) -> bytes:
        """Return a secret that belongs to the folder."""
        file = self.folder / "pepper.txt"
        if not file.exists():
            file.write_text(secrets.token_hex(16), "ascii")
        return file.read_bytes()


class KeyguardItself(Subject):
    """Keyguard, on SQLite."""

    name = "Keyguard"
    distribution = "keyguard-asgi"
    module = "keyguard"
    released = "not yet"

    def __init__(self, folder: Path) -> None:
        from keyguard.stores.sql import SQLStore

        super().__init__(folder)
        self.store = SQLStore(f"sqlite+aiosqlite:///{folder}/keys.db")
        self._opened: list[Any] = []

    async def start(self) -> None:
        from keyguard import lifecycle

        await self.store.create_schema()
        await lifecycle.add_owner(self.store, "ada", id="ada")

    def app(self, *, source: str = "header", cached: bool = False) -> App:
        from keyguard import KeyGuard, Policy

        app = KeyGuard(reached, store=self.store, policy=Policy(exempt=["/health"]), bearer=True)
        self._opened.append(app)
        return app

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        from keyguard import lifecycle

        return (await lifecycle.issue(self.store, "ada", expires_at=expires_at)).key.reveal()

    async def revoke(self, key: str) -> None:
        from keyguard import lifecycle

        await lifecycle.revoke(self.store, (await lifecycle.find(self.store, key)).id)

    async def stop(self) -> None:
        for app in self._opened:
            await app.aclose()
        await self.store.close()


class SafeApiKeys(Subject):
    """safe-api-keys: its Starlette middleware over its SQLAlchemy store."""

    name = "safe-api-keys"
    distribution = "safe-api-keys"
    module = "safe_api_keys"
    released = "2026-10-05"
    query_is_off = True
    cache = 5.0

    def _manager(self, *, cached: bool) -> Any:
        from safe_api_keys import AsyncKeyManager, VerifyCache
        from safe_api_keys.stores.sqlalchemy import AsyncSQLAlchemyStore
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        self.engine = create_async_engine(f"sqlite+aiosqlite:///{self.folder}/keys.db")
        self.store = AsyncSQLAlchemyStore(async_sessionmaker(self.engine))
        return AsyncKeyManager(
            self.store, prefix="sk_live", pepper=self.pepper(), cache=VerifyCache() if cached else None
        )

    async def start(self) -> None:
        self._manager(cached=False)
        await self.store.create_table(self.engine)

    def app(self, *, source: str = "header", cached: bool = False) -> App:
        from safe_api_keys.contrib.starlette import APIKeyMiddleware
        from safe_api_keys.extract import ExtractConfig

        return APIKeyMiddleware(
            reached,
            self._manager(cached=cached),
            protect=("/",),
            exempt=("/health",),
            extract=ExtractConfig(query_param=self.parameter),
        )

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        return str((await self._manager(cached=False).issue("ada", expires_at=expires_at)).raw_key)

    async def revoke(self, key: str) -> None:
        await self._manager(cached=False).revoke(key)


class Keyshield(Subject):
    """keyshield: its FastAPI dependency over its SQLAlchemy repository, without the pause at each check."""

    name = "keyshield"
    distribution = "keyshield"
    module = "keyshield"
    released = "2026-09-07"
    is_middleware = False
    cache = 300.0

    def __init__(self, folder: Path) -> None:
        from keyshield.hasher.argon2 import Argon2ApiKeyHasher
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        super().__init__(folder)
        # In autocommit: the session that its README injects would hold SQLite's lock while a WebSocket is open.
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/keys.db", isolation_level="AUTOCOMMIT")
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self.hasher = Argon2ApiKeyHasher(pepper=self.pepper().decode())

    def _service(self, session: Any) -> Any:
        from keyshield import ApiKeyService
        from keyshield.repositories.sql import SqlAlchemyApiKeyRepository

        return ApiKeyService(SqlAlchemyApiKeyRepository(session), self.hasher, min_delay=0, max_delay=0)

    async def start(self) -> None:
        from keyshield.repositories.sql import SqlAlchemyApiKeyRepository

        await SqlAlchemyApiKeyRepository(self.sessions()).ensure_table(self.engine)

    def app(self, *, source: str = "header", cached: bool = False) -> App | None:
        import warnings

        from aiocache import SimpleMemoryCache
        from fastapi import Depends, FastAPI, WebSocket
        from fastapi.responses import PlainTextResponse
        from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer
        from keyshield.api import create_depends_api_key
        from keyshield.repositories.sql import SqlAlchemyApiKeyRepository
        from keyshield.services.cached import CachedApiKeyService

        cache = SimpleMemoryCache()

        async def get_service() -> Any:
            async with self.sessions() as session, session.begin():
                if cached:
                    repository = SqlAlchemyApiKeyRepository(session)
                    yield CachedApiKeyService(repository, self.hasher, cache, min_delay=0, max_delay=0)
                else:
                    yield self._service(session)

        kinds: dict[str, Any] = {
            "header": APIKeyHeader(name=self.header, auto_error=False),
            "query": APIKeyQuery(name=self.parameter, auto_error=False),
            "bearer": HTTPBearer(auto_error=False),
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # It says that a header of one's own is no longer standard.
                guard = create_depends_api_key(get_service, kinds[source])
        except ValueError:
            return None
        app = FastAPI()

        @app.get("/items", dependencies=[Depends(guard)])
        async def items() -> PlainTextResponse:
            return PlainTextResponse("ok")

        @app.websocket("/ws", dependencies=[Depends(guard)])
        async def socket(socket: WebSocket) -> None:
            await echo(socket)

        return app

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        async with self.sessions() as session, session.begin():
            _, key = await self._service(session).create(name="ada", expires_at=expires_at)
            return str(key)

    async def _record(self, session: Any, key: str) -> Any:
        return await self._service(session).get_by_key_id(key.split("-")[1])

    async def revoke(self, key: str) -> None:
        async with self.sessions() as session, session.begin():
            record = await self._record(session, key)
            record.disable()
            await self._service(session).update(record)

    async def is_active(self, key: str) -> bool:
        async with self.sessions() as session:
            return bool((await self._record(session, key)).is_active)


class LitestarApiAuth(Subject):
    """litestar-api-auth: its plugin over its SQLAlchemy backend."""

    name = "litestar-api-auth"
    distribution = "litestar-api-auth"
    module = "litestar_api_auth"
    released = "2026-10-11"
    is_middleware = False

    def __init__(self, folder: Path) -> None:
        from litestar_api_auth.backends.sqlalchemy import SQLAlchemyBackend, SQLAlchemyConfig
        from sqlalchemy.ext.asyncio import create_async_engine

        super().__init__(folder)
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/keys.db")
        self.backend = SQLAlchemyBackend(SQLAlchemyConfig(engine=engine, create_tables=True))

    async def start(self) -> None:
        await self.backend.startup()

    def app(self, *, source: str = "header", cached: bool = False) -> App | None:
        from litestar import Litestar, MediaType, WebSocket, get, websocket
        from litestar_api_auth import APIAuthConfig, APIAuthPlugin, require_api_key

        if source == "query":
            return None  # Its configuration has no such thing.
        fields: Any = {"header_name": "Authorization", "auth_scheme": "Bearer"} if source == "bearer" else {}

        @get("/items", media_type=MediaType.TEXT, guards=[require_api_key])
        async def items() -> str:
            return "ok"

        @websocket("/ws", guards=[require_api_key])
        async def socket(socket: WebSocket[Any, Any, Any]) -> None:
            await echo(socket)

        config = APIAuthConfig(backend=self.backend, auto_routes=False, **fields)
        return Litestar([items, socket], plugins=[APIAuthPlugin(config=config)])

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        from litestar_api_auth import mint_api_key

        key, _ = await mint_api_key(self.backend, name="ada", scopes=[], prefix="kg_", expires_at=expires_at)
        return key

    async def revoke(self, key: str) -> None:
        from litestar_api_auth.service import hash_api_key

        await self.backend.revoke(hash_api_key(key))


class FastapiKeyAuth(Subject):
    """fastapi-key-auth: its middleware, which compares with environment variables."""

    name = "fastapi-key-auth"
    distribution = "fastapi-key-auth"
    module = "fastapi_key_auth"
    released = "2025-05-17"
    revokes = False

    def app(self, *, source: str = "header", cached: bool = False) -> App:
        from fastapi_key_auth import AuthorizerMiddleware

        return AuthorizerMiddleware(reached, public_paths=["/health"])

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        key = secrets.token_urlsafe(32)
        os.environ[f"API_KEY_{secrets.token_hex(4)}"] = key
        return key

    async def revoke(self, key: str) -> None:
        for name in [name for name, value in os.environ.items() if value == key]:
            del os.environ[name]  # Of this process: no other one has it changed.


class FastapiSimpleSecurity(Subject):
    """fastapi-simple-security: its FastAPI dependency, over its SQLite database."""

    name = "fastapi-simple-security"
    distribution = "fastapi-simple-security"
    module = "fastapi_simple_security"
    released = "2023-07-18"
    is_middleware = False
    header = parameter = "api-key"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ["FASTAPI_SIMPLE_SECURITY_DB_LOCATION"] = f"{folder}/keys.db"
        from fastapi_simple_security._sqlite_access import sqlite_access

        self.database = sqlite_access

    def app(self, *, source: str = "header", cached: bool = False) -> App:
        from fastapi import Depends, FastAPI, WebSocket
        from fastapi.responses import PlainTextResponse
        from fastapi_simple_security import api_key_security

        app = FastAPI()

        @app.get("/items", dependencies=[Depends(api_key_security)])
        async def items() -> PlainTextResponse:
            return PlainTextResponse("ok")

        @app.websocket("/ws", dependencies=[Depends(api_key_security)])
        async def socket(socket: WebSocket) -> None:
            await echo(socket)

        return app

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        key = str(self.database.create_key("ada", expires_at is None))
        if expires_at is not None:
            self.database.renew_key(key, expires_at.replace(tzinfo=None).isoformat())
        return key

    async def revoke(self, key: str) -> None:
        self.database.revoke_key(key)


class RestFrameworkApiKey(Subject):
    """djangorestframework-api-key: its permission, under Django's ASGI handler."""

    name = "djangorestframework-api-key"
    distribution = "djangorestframework-api-key"
    module = "rest_framework_api_key"
    released = "2025-04-04"
    is_middleware = False

    def __init__(self, folder: Path) -> None:
        import django
        from django.conf import settings

        super().__init__(folder)
        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "keys.db")}},
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework_api_key"],
            LOGGING_CONFIG=None,
            REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": []},
            ROOT_URLCONF="benchmarks.features.subjects",
            SECRET_KEY=secrets.token_hex(16),
            USE_TZ=True,
        )
        django.setup()
        self._set_up_routes()

    @staticmethod
    def _set_up_routes() -> None:
        from django.urls import path
        from rest_framework.request import Request
        from rest_framework.response import Response
        from rest_framework.views import APIView
        from rest_framework_api_key.permissions import HasAPIKey, KeyParser

        class Bearer(KeyParser):  # As its manual has it.
            keyword = "Bearer"

        class HasBearer(HasAPIKey):
            key_parser = Bearer()

        class Items(APIView):
            permission_classes = (HasAPIKey,)

            def get(self, request: Request) -> Response:
                return Response("ok")

        class BearerItems(Items):
            permission_classes = (HasBearer,)

        globals()["urlpatterns"] = [path("items", Items.as_view()), path("bearer/items", BearerItems.as_view())]

    async def start(self) -> None:
        from asgiref.sync import sync_to_async
        from django.core.management import call_command

        await sync_to_async(call_command)("migrate", verbosity=0)

    def app(self, *, source: str = "header", cached: bool = False) -> App | None:
        from django.conf import settings
        from django.core.asgi import get_asgi_application

        if source == "query":
            return None  # Its key parsers read headers.
        handler = get_asgi_application()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            settings.API_KEY_CUSTOM_HEADER = None if source == "bearer" else "HTTP_X_API_KEY"
            await handler({**scope, "path": f"/bearer{scope['path']}"} if source == "bearer" else scope, receive, send)

        return app

    async def issue(self, *, expires_at: datetime | None = None) -> str:
        from asgiref.sync import sync_to_async
        from rest_framework_api_key.models import APIKey

        _, key = await sync_to_async(APIKey.objects.create_key)(name="ada", expiry_date=expires_at)
        return str(key)

    async def revoke(self, key: str) -> None:
        from asgiref.sync import sync_to_async
        from rest_framework_api_key.models import APIKey

        record = await sync_to_async(APIKey.objects.get_from_key)(key)
        record.revoked = True
        await sync_to_async(record.save)()


SUBJECTS: tuple[type[Subject], ...] = (
    KeyguardItself,
    SafeApiKeys,
    Keyshield,
    LitestarApiAuth,
    RestFrameworkApiKey,
    FastapiSimpleSecurity,
    FastapiKeyAuth,
)
