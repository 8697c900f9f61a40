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

from collections.abc import Callable

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection

from keyguard.stores.sql import SQLStore

__all__ = ["SCRIPT_LOCATION", "downgrade", "upgrade"]

SCRIPT_LOCATION = "keyguard:migrations"
"""Where Alembic finds them."""


async def upgrade(store: SQLStore | str | URL, revision: str = "head") -> None:
    """Bring the tables of a store, or of the database at a URL, up to date, or to a revision. Makes them if need be.

    Raises `StoreUnavailable` if the database cannot be reached, or if a migration fails; nothing is changed then.
    """
    await _migrate(store, lambda config: command.upgrade(config, revision))


async def downgrade(store: SQLStore | str | URL, revision: str) -> None:
    """Take the tables back to a revision; ``base`` drops them, with all that is in them.

    Raises `StoreUnavailable` as `upgrade` does.
    """
    await _migrate(store, lambda config: command.downgrade(config, revision))


async def _migrate(store: SQLStore | str | URL, migrate: Callable[[Config], None]) -> None:
    if not isinstance(store, SQLStore):
        own = SQLStore(store)
        try:
            return await _migrate(own, migrate)
        finally:
            await own.close()

    def change(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", SCRIPT_LOCATION)
        config.attributes.update(store=store, connection=connection)
        migrate(config)

    return await store.change_schema(change)
