"""Alembic's migrations of Keyguard's tables, with a version table of their own: `keyguard_alembic_version`.

They need the extra `cli`; nothing else in Keyguard does. From Python, in a script or at a release::

    await keyguard.migrations.upgrade(store)

From Alembic's command line, beside the app's own migrations: a section of its alembic.ini, which
``alembic --name keyguard upgrade head`` reads::

    [keyguard]
    script_location = keyguard:migrations
    sqlalchemy.url = sqlite+aiosqlite:///keys.db

Where owners live in the app's own user table only the first way will do: the store knows that table, the section does
not.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Connection

from keyguard.errors import SchemaMismatch
from keyguard.stores._schema import VERSION_TABLE
from keyguard.stores.sql import SQLStore

__all__ = ["SCRIPT_LOCATION", "current", "downgrade", "upgrade"]

SCRIPT_LOCATION = "keyguard:migrations"
"""Where Alembic finds them."""


async def upgrade(store: SQLStore | str | URL, revision: str = "head") -> None:
    """Bring the tables of a store, or of the database at a URL, up to date, or to a revision. Makes them if need be.

    Raises `StoreUnavailable` if the database cannot be reached, or if a migration fails; nothing is changed then.
    `SchemaMismatch` if the tables are at a revision that this library does not know, because a later one made them.
    """
    try:
        await _migrate(store, lambda config: command.upgrade(config, revision))
    except CommandError:
        raise SchemaMismatch(
            "the tables are of a revision that this library does not know: update it to the one that made them"
        ) from None


async def current(store: SQLStore | str | URL) -> str | None:
    """Return the revision that the tables of a store, or of the database at a URL, are at; None where there are none.

    Raises `StoreUnavailable` if the database cannot be reached.
    """
    found: list[str | None] = []

    def look(connection: Connection) -> None:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found.append(context.get_current_revision())

    async with _opened(store) as looked_at:
        await looked_at.change_schema(look)
    return found[0]


async def downgrade(store: SQLStore | str | URL, revision: str) -> None:
    """Take the tables back to a revision; ``base`` drops them, with all that is in them.

    Raises `StoreUnavailable` as `upgrade` does.
    """
    await _migrate(store, lambda config: command.downgrade(config, revision))


async def _migrate(store: SQLStore | str | URL, migrate: Callable[[Config], None]) -> None:
    async with _opened(store) as migrated:

        def change(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", SCRIPT_LOCATION)
            config.attributes.update(store=migrated, connection=connection)
            migrate(config)

        await migrated.change_schema(change)


@asynccontextmanager
async def _opened(store: SQLStore | str | URL) -> AsyncGenerator[SQLStore]:
    """Give the store, or one for the URL, which is closed in the end."""
    if isinstance(store, SQLStore):
        yield store
        return
    own = SQLStore(store)
    try:
        yield own
    finally:
        await own.close()
