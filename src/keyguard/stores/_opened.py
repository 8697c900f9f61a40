"""A store's database, opened at the first need: how it is made ready, asked, changed and closed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, MetaData, Row, Select

from keyguard.errors import StoreUnavailable
from keyguard.loops import Places
from keyguard.model import AuditEvent
from keyguard.settings import Keyring
from keyguard.stores._audit import Audit
from keyguard.stores._changes import Change
from keyguard.stores._database import Database
from keyguard.stores._keys import Keys
from keyguard.stores._owners import OWN_OWNERS, Owners, UserTable
from keyguard.stores._schema import Schema
from keyguard.stores._sqlite_reader import KeyReader
from keyguard.stores._tables import Tables
from keyguard.stores._triggers import triggers_for, warn_of_missing
from keyguard.stores._vouchers import voucher_for

__all__ = ["OpenedDatabase"]

_T = TypeVar("_T")


class OpenedDatabase:
    """The part of a store that opens its database; its arguments are those of `keyguard.stores.sql.SQLStore`."""

    def __init__(
        self,
        url: str | URL,
        *,
        keyring: Keyring = Keyring(),  # noqa: B008 A frozen value is safe to share.
        users: UserTable | None = None,
        listen_url: str | URL | None = None,
    ) -> None:
        self.keyring = keyring
        self.users = users
        self.listen_url = listen_url
        self.is_open: bool = False
        self._database = Database(url)
        self.concurrency: int = self._database.concurrency
        self._alone = Places(1)
        self._schema = Schema.build(users.key_type if users else None)
        self._owners = Owners(users or OWN_OWNERS)
        self._keys = Keys(self._schema, self._owners)
        self._audit = Audit(self._schema)
        self._triggers = triggers_for(self._database.backend, users)
        self._tables = Tables(
            self._schema,
            users=users,
            owners=self._owners,
            triggers=self._triggers,
            pepper_checks=keyring.pepper_checks,
        )
        self._voucher = voucher_for(self._database, self._triggers, listen_url)
        file, dialect = self._database.file, self._database.engine.dialect
        self._reader = KeyReader(file, self._keys.by_lookup, dialect) if file is not None else None

    @property
    def url(self) -> URL:
        """Where it leads to; made a text, a URL of SQLAlchemy's does not show its password."""
        return self._database.url

    @property
    def metadata(self) -> MetaData:
        """The tables that this store needs, as SQLAlchemy describes them: for an app's own migrations."""
        return self._schema.metadata

    def trigger_statements(self, dialect_name: str) -> list[str]:
        """Return the SQL that makes the triggers, or makes them anew: for an app's own migrations.

        To be executed one after the other, when the tables are there. `dialect_name` is SQLAlchemy's, as in
        ``op.get_context().dialect.name``; for one that Keyguard knows no triggers for the list is empty.
        """
        triggers = triggers_for(dialect_name, self.users)
        return triggers.statements() if triggers else []

    # --- opening and closing ---

    async def open(self) -> None:
        """Make sure that the database can be reached, has the right tables, and knows one of the peppers.

        Warns, in the log, where triggers are missing. Raises `SchemaMismatch`, `WrongPepper` or `StoreUnavailable`.
        """
        async with self._alone:
            if self.is_open and not self._database.is_stale():
                return
            await self._begin_anew()
            seen = await self._database.inspect(self._tables.look)
            if self._tables.pepper_to_note(seen.pepper) != seen.pepper:
                await self._database.change(self._tables.note_pepper)
            if seen.missing_triggers:
                warn_of_missing(seen.missing_triggers)
            await self._voucher.open(seen.missing_triggers)
            if self._database.file is not None:
                self._database.file.note_log()
            if self._reader is not None:
                self._reader.open()
            self.is_open = True

    async def close(self) -> None:
        """Close all connections, when the calls that are under way have ended."""
        async with self._alone:
            await self._let_go()
            await self._database.close()

    async def create_schema(self) -> None:
        """Make the tables and triggers, where they are not there yet. Several processes may do this at once.

        Triggers of another text are replaced; those on the app's own user table wait until that is there. Raises
        `SchemaMismatch`, and changes nothing, if there are tables of another version.
        """
        await self.change_schema(self._tables.create)

    async def change_schema(self, change: Callable[[Connection], None]) -> None:
        """Call `change` in one transaction on a database in whatever state, as migrations do.

        What is there afterwards is looked at again before anything else is done.
        """
        async with self._alone:
            await self._begin_anew()
            await self._database.change(change, alone=True)

    async def _begin_anew(self) -> None:
        await self._let_go()
        await self._database.renew()

    async def _let_go(self) -> None:
        self.is_open = False
        await self._voucher.aclose()
        if self._reader is not None:
            self._reader.close()

    # --- how fresh it is ---

    @property
    def is_exact(self) -> bool:
        """Tell whether a token vouches for everybody's changes: on SQLite."""
        return self._voucher.is_exact

    def token(self) -> int | None:
        """Return a number that moves with every change of what a check reads; None while nothing vouches for that."""
        return self._voucher.token()

    # --- asking and changing it ---

    async def _read(self, statement: Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        await self._ready()
        return await self._database.read(statement, parameters)

    async def _write_and_tell(self, change: Change[_T], events: Sequence[AuditEvent] = ()) -> _T:
        """Change what a check reads; return when every check sees it, also if somebody else has just done the same."""
        return await self._written(self._audit.telling(change, events), self._voucher.change)

    async def _write(self, change: Change[_T], events: Sequence[AuditEvent] = ()) -> _T:
        """Change what nobody who remembers a key has to hear of: new rows, names, digests, passwords, counts."""
        return await self._written(self._audit.telling(change, events), self._database.change)

    async def _written(self, change: Change[_T], make: Callable[[Change[_T]], Awaitable[_T]]) -> _T:
        await self._ready()
        result = await make(change)
        if self._database.is_stale():
            raise StoreUnavailable("another file took the database's place meanwhile: the change may be lost")
        return result

    async def _ready(self) -> None:
        if not self.is_open or self._database.is_stale():
            await self.open()
