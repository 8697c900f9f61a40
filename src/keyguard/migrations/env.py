"""What Alembic runs, from `keyguard.migrations.upgrade` or from its own command line."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from keyguard.stores._schema import VERSION_TABLE
from keyguard.stores.sql import SQLStore


def migrate(store: SQLStore, connection: Connection | None) -> None:
    """Migrate over a connection, in the transaction that it is in; without one, write the SQL that would do it."""
    context.configure(
        connection=connection,
        url=context.config.get_main_option("sqlalchemy.url"),
        literal_binds=connection is None,
        target_metadata=store.metadata,
        version_table=VERSION_TABLE,
        app_owner_id=store.users.key_type if store.users is not None else None,
        users=store.users,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_at(url: str) -> None:
    """Migrate the database at a URL."""
    store = SQLStore(url)
    try:
        await store.change_schema(lambda connection: migrate(store, connection))
    finally:
        await store.close()


if "connection" in context.config.attributes:
    migrate(context.config.attributes["store"], context.config.attributes["connection"])
elif context.is_offline_mode():
    migrate(SQLStore(context.config.get_main_option("sqlalchemy.url", "")), None)
else:
    asyncio.run(migrate_at(context.config.get_main_option("sqlalchemy.url", "")))
