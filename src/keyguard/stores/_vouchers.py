"""What can vouch that a database says still what it said: one kind for each kind of database."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import URL, Connection

from keyguard.stores._database import Database
from keyguard.stores._listener import PostgresRevision, connector
from keyguard.stores._sqlite_revision import SQLiteRevision
from keyguard.stores._triggers import REVISION_QUERY, Triggers

__all__ = ["CountingVoucher", "NoVoucher", "Voucher", "voucher_for"]

_T = TypeVar("_T")


class Voucher(Protocol):
    """What `SQLStore` asks; `is_exact` and `token` are those of `keyguard.ports.Freshness`."""

    @property
    def is_exact(self) -> bool:
        """Tell whether a token vouches for everybody's changes up to the moment at which it is asked for."""
        ...

    def token(self) -> int | None:
        """Return a number that moves with every change of what a check reads, None where nothing can vouch for it."""
        ...

    async def open(self, missing: Sequence[str]) -> None:
        """Begin to vouch, for a database that was just looked at and lacks the triggers named `missing`."""
        ...

    async def change(self, change: Callable[[Connection], _T]) -> _T:
        """Make a change of what a check reads, in one transaction; return when nobody vouches for what was before it.

        Before it means before this change was made, even if somebody else has made it a moment ago.
        """
        ...

    async def aclose(self) -> None:
        """Cease to vouch until it is opened again. Calling it again, or before `open`, does nothing."""
        ...


def voucher_for(database: Database, triggers: Triggers | None, listen_url: str | URL | None) -> Voucher:
    """Return what can vouch for `database`, whose triggers are `triggers`, if Keyguard knows any for its kind."""
    if triggers is None:
        return NoVoucher(database)
    if database.backend == "postgresql":
        return PostgresRevision(database, connector(database, listen_url), triggers)
    return CountingVoucher(database) if database.file is None else SQLiteRevision(database, database.file, triggers)


class NoVoucher:
    """For databases that Keyguard knows no triggers for: each check reads its row."""

    is_exact = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def token(self) -> None:
        """Return None."""

    async def open(self, missing: Sequence[str]) -> None:
        """Do nothing."""

    async def change(self, change: Callable[[Connection], _T]) -> _T:
        """Make a change."""
        return await self._database.change(change)

    async def aclose(self) -> None:
        """Do nothing."""


class CountingVoucher:
    """For a database in memory, which nobody but its store can change: it counts the changes that the store makes.

    The database has one connection, which is either read or changed, so that nothing is read between a change and its
    commit. The revision is compared before and after a change; if the commit then fails, the token has moved in vain.
    """

    is_exact = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._token = 0
        self._vouches = False

    def token(self) -> int | None:
        """Return how many changes there were."""
        return self._token if self._vouches else None

    async def open(self, missing: Sequence[str]) -> None:
        """Begin to vouch, if there are all triggers; the database may be a new one."""
        self._token += 1
        self._vouches = not missing

    async def change(self, change: Callable[[Connection], _T]) -> _T:
        """Make a change, and count it if it moves the revision."""

        def counted(connection: Connection) -> _T:
            before = connection.exec_driver_sql(REVISION_QUERY).all()
            result = change(connection)
            if connection.exec_driver_sql(REVISION_QUERY).all() != before:
                self._token += 1
            return result

        return await self._database.change(counted)

    async def aclose(self) -> None:
        """Cease to vouch."""
        self._vouches = False
