"""What a command has in its hand: what the options say, the store that they name, and ways to print and to ask."""

import getpass
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from keyguard.cli import _asking
from keyguard.cli._environment import keyring_of
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._loading import load
from keyguard.cli._output import Output, is_closed
from keyguard.stores.sql import SQLStore

__all__ = ["Invocation", "Options"]

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that every command knows, or that stand before it."""

    database: str | None = None
    store: str | None = None
    as_json: bool = False
    verbose: bool = False

    def over(self, others: "Options") -> "Options":
        """Return these options, and of `others` what these do not say."""
        return Options(
            database=others.database if self.database is None else self.database,
            store=others.store if self.store is None else self.store,
            as_json=self.as_json or others.as_json,
            verbose=self.verbose or others.verbose,
        )


class Invocation:
    """One run of one command."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.as_json = options.as_json
        """Print one JSON document, and no table."""
        self.output = Output()

    @property
    def actor(self) -> str:
        """Who is asking, as the audit log names them: the user of this machine."""
        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, ImportError, OSError):  # In a container a user need not have a name.
            return f"cli:{os.getuid()}"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[SQLStore]:
        """Give the store, open, and close it in the end."""
        store = self.store()
        try:
            await store.open()
            yield store
        finally:
            await store.close()

    def store(self, *, new: bool = False) -> SQLStore:
        """Return the store that options and environment name, not open yet.

        Raises `Failed` if they name none, and if its file is not there, unless it is to be a `new` one.
        """
        # An empty option is not one that is left out: who says `--database "$TYPO"` does not mean the environment's.
        database, named = self.options.database, self.options.store
        if named is None and database is None:
            named = os.environ.get("KEYGUARD_STORE") or None
        if named is not None:
            return _apps_store(named, database=database)
        url = self._url()
        if url.get_backend_name() == "sqlite":
            _check_file(url, new=new)
        keyring = keyring_of(os.environ)
        try:
            return SQLStore(url, keyring=keyring, listen_url=os.environ.get("KEYGUARD_LISTEN_URL") or None)
        except ModuleNotFoundError as error:
            how = 'pip install "keyguard-asgi[postgres]"' if error.name == "asyncpg" else "install it"
            raise Failed(f"this database needs the module {error.name}, which is not there: {how}") from None

    def done(self, sentence: str, document: object) -> None:
        """Print what was done: the sentence for people, the document as JSON."""
        if self.as_json:
            self.output.json(document)
        else:
            self.output.line(sentence)

    def check_output(self) -> None:
        """Raise `Failed` if there is nowhere to print to: before a key is made that nobody would see."""
        if is_closed():
            raise Failed("standard output is closed, and the key would be printed there. Nothing was done.")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask for a yes, unless it was given as ``--yes``; `question` names what will be hit.

        Raises `Failed` if the answer is another one, or if there is nobody to ask.
        """
        _asking.confirm(self.output, question, yes=yes)

    def read_secret(self, what: str, *, twice: bool = False) -> str:
        """Return a secret: typed unseen at a terminal, otherwise all of standard input but its last line's end."""
        return _asking.read_secret(what, twice=twice)

    def _url(self) -> URL:
        given = self.options.database
        text = os.environ.get("KEYGUARD_DATABASE_URL") if given is None else given
        if not text:
            raise Failed(
                "which database? Say --database URL or set KEYGUARD_DATABASE_URL, for instance to sqlite:///keys.db"
            )
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):  # Their messages may quote a password.
            raise Failed("that is no URL of a database; one looks like sqlite:///keys.db or postgresql://…") from None
        if url.drivername not in _DRIVERS:
            return url
        known = url if url.drivername == "sqlite" else _as_libpq_means(url)
        return known.set(drivername=_DRIVERS[url.drivername])


_OF_ASYNCPG = {"gsslib", "host", "krbsrvname", "passfile", "port", "prepared_statement_cache_size", "ssl", "sslmode"}
"""What URLs of PostgreSQL's may say besides, and SQLAlchemy can hand on to asyncpg."""


def _as_libpq_means(url: URL) -> URL:
    """Return a URL with what asyncpg calls otherwise: as everybody else writes it, it is ``?sslmode=require``.

    Raises `Failed` if it says more than asyncpg can be told in a URL.
    """
    if beyond := url.query.keys() - _OF_ASYNCPG:
        raise Failed(f"asyncpg does not know what the URL says with {min(beyond)}: take that out, or name a --store")
    mode = url.query.get("sslmode")
    return url if mode is None else url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def _apps_store(target: str, *, database: str | None) -> SQLStore:
    if database is not None:
        raise Failed("--store and --database both name a database: say one of them")
    store = load(target, "a store is named as module:attribute, such as main:store")
    if not isinstance(store, SQLStore):
        raise Failed(f"{target} is no SQLStore: it is of type {type(store).__name__}")
    return store


def _check_file(url: URL, *, new: bool) -> None:
    if url.database in {None, "", ":memory:"}:
        raise Failed("a database in memory would end with this command: name a file, such as sqlite:///keys.db")
    if url.query.get("uri"):
        return
    path = Path(str(url.database))
    if not path.parent.is_dir():
        raise Failed(f"there is no directory {path.parent}", ExitCode.UNREACHABLE)
    if not (new or path.exists()):
        raise Failed(
            f"there is no database {path}: `keyguard init` makes it, if that is the right place", ExitCode.UNREACHABLE
        )
