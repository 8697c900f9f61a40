"""What is made before the workers start: tables, the secret key, the superuser, and at first a flow and a key."""

import secrets
from dataclasses import dataclass, field

from keyguard import Owner, lifecycle
from langflow_server import tables
from langflow_server.server import Server
from langflow_server.settings import Settings

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a start has found or made."""

    superuser: Owner
    password: str | None = field(default=None, repr=False)
    """The superuser's password, if it was generated just now: it is shown this once."""


async def prepare(settings: Settings) -> Prepared:
    """Make what is not there yet. Nothing that is there is changed."""
    settings.config_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Server(settings)
    await server.store.create_schema()
    async with server.opened():
        async with server.database.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        superuser = await server.store.find_owner(settings.superuser)
        if superuser is not None:
            return Prepared(superuser=superuser)
        given = settings.superuser_password
        password = secrets.token_urlsafe(12) if given is None else given.get_secret_value()
        superuser = await lifecycle.add_owner(server.store, settings.superuser, is_superuser=True, password=password)
        return Prepared(superuser=superuser, password=password if given is None else None)
