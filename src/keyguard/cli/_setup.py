"""The commands that make the tables, and bring them up to date."""

from typing import Annotated

import typer

from keyguard import lifecycle, migrations
from keyguard.cli._app import app, command
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._keys import show_new_key
from keyguard.cli._shown import name_of

__all__: list[str] = []


@command(app, "init")
async def init(
    invocation: Invocation,
    *,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Add this owner, too, and print a first key for it.")
    ] = None,
    superuser: Annotated[bool, typer.Option("--superuser", help="The owner is a superuser.")] = False,
) -> None:
    """Make the tables, where they are not there yet."""
    if superuser and owner is None:
        raise Failed("--superuser says something of --owner NAME, which is missing")
    if owner is not None:
        invocation.check_output()
    store = invocation.store(new=True)
    try:
        await store.create_schema()
        if owner is None:
            return invocation.done("The tables are there.", {"schema": "present"})
        if await store.find_owner(owner) is not None:
            raise Failed(
                f"the tables are there, and an owner {owner!r} is, too: `keyguard key issue` issues a key to it",
                ExitCode.CONFLICT,
            )
        added = await lifecycle.add_owner(store, owner, is_superuser=superuser, actor=invocation.actor)
        issued = await lifecycle.issue(store, added, name="first", actor=invocation.actor)
    finally:
        await store.close()
    show_new_key(
        invocation,
        issued,
        added,
        f"The tables are there. Added {added.name}, and issued {name_of(issued.record)} to it.",
    )
    return None


@command(app, "migrate")
async def migrate(invocation: Invocation) -> None:
    """Bring the tables up to date, from whatever version they are of."""
    store = invocation.store()
    try:
        before = await migrations.current(store)
        await migrations.upgrade(store)
        after = await migrations.current(store)
    finally:
        await store.close()
    what = f"from {before} to {after}" if before else f"to {after}, from nothing"
    sentence = f"The tables were at {after} already." if before == after else f"The tables were brought {what}."
    invocation.done(sentence, {"from": before, "to": after})
