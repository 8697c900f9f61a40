"""The commands that make the tables and bring them up to date."""

from keyguard import migrations
from keyguard.cli._app import app, command
from keyguard.cli._invocation import Invocation

__all__ = ["init", "migrate"]


@command(app, "init")
async def init(invocation: Invocation) -> None:
    """Make Keyguard's tables."""
    store = invocation.store(new=True)
    try:
        await store.create_schema()
    finally:
        await store.close()
    invocation.output.note("The tables are there.")


@command(app, "migrate")
async def migrate(invocation: Invocation) -> None:
    """Bring the tables up to date."""
    store = invocation.store()
    try:
        await migrations.upgrade(store)
    finally:
        await store.close()
    invocation.output.note("The tables are up to date.")
