"""What all requests to one worker share: the settings, and everything that is open."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, cast

from fastapi import Depends
from httpx2 import AsyncClient, Timeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.requests import HTTPConnection

from keyguard import Keyring
from keyguard.stores.sql import SQLStore
from keyguard.vault import SecretFile, SecretKeys, Vault
from langflow_server.attempts import Attempts
from langflow_server.settings import Settings

__all__ = ["SESSION_LIFETIME", "Server", "TheServer", "server_of"]

SESSION_LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Server:
    """What a worker has open. `Server(settings)` opens nothing; `opened` does."""

    settings: Settings
    store: SQLStore = field(init=False)
    vault: Vault = field(init=False)
    database: AsyncEngine = field(init=False)
    """For the tables of `langflow_server.tables`: the store has connections of its own."""
    attempts: Attempts = field(init=False)
    conversations: Counter[str] = field(init=False)
    """How many a user's flows have with providers at this moment, by the user's id."""
    http: AsyncClient = field(init=False)
    """For the providers. It follows no redirect: another host must not be sent a credential. It keeps no cookie: what a
    provider sets for one user must not be sent with the next one's request."""

    def __post_init__(self) -> None:
        """Make everything by the settings. Raises `keyguard.ConfigurationError` where they cannot be right."""
        settings = self.settings
        store = SQLStore(settings.url, keyring=Keyring(prefix="lf"))
        secret = settings.secret_key
        keys = SecretFile(settings.secret_file) if secret is None else SecretKeys([secret.get_secret_value()])
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "vault", Vault(store, keys))
        object.__setattr__(self, "database", _engine(settings))
        object.__setattr__(self, "attempts", Attempts())
        object.__setattr__(self, "conversations", Counter())
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        object.__setattr__(self, "http", AsyncClient(timeout=Timeout(60, connect=10), cookies=no_cookies))

    @asynccontextmanager
    async def opened(self, *, with_schema: bool = False) -> AsyncIterator["Server"]:
        """Open the store and the vault, and close everything in the end; `with_schema`, make the store's tables first.

        Raises what `Vault.open` raises, and `SQLStore.create_schema`.
        """
        try:
            if with_schema:
                await self.store.create_schema()
            await self.store.open()
            await self.vault.open()
            yield self
        finally:
            await self.http.aclose()
            await self.database.dispose()
            await self.store.close()


def _engine(settings: Settings) -> AsyncEngine:
    # An error shows no parameters: a flow's texts stand among them.
    waiting = {"timeout": 10} if settings.is_sqlite else {}
    return create_async_engine(settings.url, connect_args=waiting, hide_parameters=True)


def server_of(connection: HTTPConnection) -> Server:
    """Return what the worker shares that answers `connection`."""
    return cast("Server", connection.app.state.server)


TheServer = Annotated[Server, Depends(server_of)]
