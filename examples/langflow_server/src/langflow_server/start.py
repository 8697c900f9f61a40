"""What is made before the workers start, and what the commands make later.

Several processes and hosts may do this at once.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from keyguard import Conflict, Owner, lifecycle
from langflow_server import tables
from langflow_server.flows import shelf
from langflow_server.keys import LONGEST_NAME
from langflow_server.server import Server
from langflow_server.settings import Settings

__all__ = ["NotDone", "Prepared", "make_key", "prepare", "renew_superuser"]

_COMMAND = "the command line"
"""What the audit log calls whoever typed a command."""


class NotDone(Exception):
    """A command cannot do what it was asked for; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a start has found or made."""

    superuser: Owner
    is_new: bool = False
    """Whether the superuser was made just now."""
    password: str | None = field(default=None, repr=False)
    """The superuser's, if it was generated just now: it is shown this once."""
    key: str | None = field(default=None, repr=False)
    """A first key of the superuser's, which is shown this once, too."""
    sample: str | None = None
    """What the sample flow is called in a URL, where it was made just now."""


async def prepare(settings: Settings) -> Prepared:
    """Make what is not there yet; nothing that is there is changed.

    Who gives a password for the superuser deploys, and makes keys when they are needed. Who gives none tries the
    server: a password is generated, and a key to begin with.

    Raises what `SQLStore.create_schema` and `Vault.open` raise, and `OSError` if the folder cannot be made.
    """
    _make_places(settings)
    server = Server(settings)
    async with server.opened(with_schema=True):
        await _make_tables(server)
        superuser = await server.store.find_owner(settings.superuser)
        if superuser is not None:
            return Prepared(superuser=superuser)
        return await _begin(server)


def _make_places(settings: Settings) -> None:
    """Make the folder, and the file that SQLite would let every user of the machine read."""
    settings.config_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.is_untouched:
        with suppress(OSError):  # The store says what is wrong with the place.
            Path(settings.place).touch(mode=0o600)


async def _begin(server: Server) -> Prepared:
    """Make the superuser, and what goes with it where nobody has been before."""
    settings, store = server.settings, server.store
    is_first = not (await lifecycle.list_owners(store, limit=1)).total
    given = settings.superuser_password
    password = secrets.token_urlsafe(12) if given is None else given.get_secret_value()
    try:
        superuser = await lifecycle.add_owner(
            store, settings.superuser, is_superuser=True, password=password, actor=_COMMAND
        )
    except Conflict:  # Another process was faster, and tells what it has made.
        return await prepare(settings)
    sample = (await shelf.add_sample(server, superuser.id)).endpoint_name if is_first else None
    if given is not None:
        return Prepared(superuser=superuser, is_new=True, sample=sample)
    key = (await lifecycle.issue(store, superuser, name="First key", actor=_COMMAND)).key.reveal() if is_first else None
    return Prepared(superuser=superuser, is_new=True, password=password, key=key, sample=sample)


async def _make_tables(server: Server) -> None:
    """Make the server's own tables, one process after the other: to look and to make is no single step."""
    async with server.database.begin() as connection:
        alone = "BEGIN IMMEDIATE" if server.settings.is_sqlite else f"SELECT pg_advisory_xact_lock({_LOCK})"
        await connection.exec_driver_sql(alone)
        await connection.run_sync(tables.metadata.create_all)


_LOCK = int.from_bytes(b"langflow")
"""A number that others are not likely to lock in the same database."""


async def make_key(settings: Settings, *, who: str, password: str, name: str) -> str:
    """Make a key for the superuser called `who`, and return its text. With AUTO_LOGIN the password is not looked at.

    Raises `NotDone` if there is no such superuser, that is not the password, or the key's name is too long.
    """
    if len(name) > LONGEST_NAME:
        raise NotDone(f"A key's name has {LONGEST_NAME} characters at most. No key was made.")
    server = await _server_of(settings)
    async with server.opened():
        if settings.auto_login:
            owner = await server.store.find_owner(who)
        else:
            owner = await lifecycle.verify_password(server.store, who, password)
        if owner is None or not (owner.is_active and owner.is_superuser):
            hint = " with that password" if not settings.auto_login else ""
            raise NotDone(
                f"There is no superuser {who!r}{hint}. `langflow-server superuser` makes one, or sets their password. "
                "No key was made."
            )
        issued = await lifecycle.issue(server.store, owner, name=name, actor=_COMMAND)
        return issued.key.reveal()


async def _server_of(settings: Settings) -> Server:
    """Return the server whose data is there; with a superuser's password, which leaves nothing to show, make it."""
    if settings.superuser_password is not None:
        await prepare(settings)
    elif settings.is_untouched:
        raise NotDone(f"There is no {settings.place}. `langflow-server run` makes it, with the same settings.")
    return Server(settings)


async def renew_superuser(settings: Settings, password: str) -> list[str]:
    """Make the superuser, or give it this password; return what was done, in sentences."""
    name = settings.superuser
    given = settings.model_copy(update={"superuser_password": SecretStr(password)})
    prepared = await prepare(given)
    if prepared.is_new:
        return [f"The superuser {name!r} was made."]
    done: list[str] = []
    server = Server(settings)
    async with server.opened():
        store, owner = server.store, prepared.superuser
        if await lifecycle.activate(store, owner, actor=_COMMAND):
            done.append(f"{name!r} is active again.")
        if await lifecycle.set_superuser(store, owner, superuser=True, actor=_COMMAND):
            done.append(f"{name!r}, a user until now, is a superuser.")
        if await lifecycle.verify_password(store, name, password) is None:
            await lifecycle.set_password(store, owner, password, actor=_COMMAND)
            done.append(f"{name!r} has a new password, and has to sign in again. Keys go on working.")
    return done or [f"{name!r} is a superuser, and has that password already. Nothing was changed."]
