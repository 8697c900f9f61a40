"""The commands on owners: those whom keys stand for."""

from typing import Annotated

import typer

from keyguard import lifecycle
from keyguard.cli._app import command, group
from keyguard.cli._arguments import OwnerName, Yes
from keyguard.cli._failures import Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._named import owner_named
from keyguard.cli._shown import amount_of, owner_document
from keyguard.clock import utc_now
from keyguard.model import KeyState, Owner
from keyguard.stores.sql import SQLStore

__all__: list[str] = []

owners = group("owner", "Add, list, switch off and remove the owners of keys.")


@command(owners, "add")
async def add(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the owner is called.")],
    *,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id; a random UUID without it.")] = None,
    superuser: Annotated[bool, typer.Option("--superuser", help="It is a superuser.")] = False,
    password: Annotated[
        bool, typer.Option("--password", help="Read a password for it, from a prompt or standard input.")
    ] = False,
) -> None:
    """Add an owner."""
    secret = invocation.read_secret("Password", twice=True) if password else None
    async with invocation.opened() as store:
        owner = await lifecycle.add_owner(
            store, name, id=id_, is_superuser=superuser, password=secret, actor=invocation.actor
        )
    invocation.done(f"Added {owner.name}, with the id {owner.id}.", {"owner": owner_document(owner)})


@command(owners, "list")
async def list_(invocation: Invocation) -> None:
    """List all owners."""
    async with invocation.opened() as store:
        found = await store.list_owners()
    if invocation.as_json:
        return invocation.output.json({"owners": [owner_document(owner) for owner in found]})
    invocation.output.table(
        ["name", "id", "active", "superuser"],
        [[owner.name, owner.id, _word(owner.is_active), _word(owner.is_superuser)] for owner in found],
    )
    if not found:
        invocation.output.note("There is no owner yet: `keyguard owner add NAME` adds one.")
    return None


@command(owners, "rename")
async def rename(
    invocation: Invocation,
    owner: OwnerName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called from now on.")],
) -> None:
    """Give an owner another name."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        changed = await lifecycle.rename_owner(store, found, name, actor=invocation.actor)
        sentence = f"{found.name} is called {name} now." if changed else f"{name} is the name already."
        await _report(invocation, store, found, sentence, changed=changed)


@command(owners, "activate")
async def activate(invocation: Invocation, owner: OwnerName) -> None:
    """Accept an owner's keys again."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        changed = await lifecycle.activate(store, found, actor=invocation.actor)
        await _report(
            invocation,
            store,
            found,
            f"Activated {found.name}." if changed else f"{found.name} is active already.",
            changed=changed,
        )


@command(owners, "deactivate")
async def deactivate(invocation: Invocation, owner: OwnerName, *, yes: Yes = False) -> None:
    """Refuse all of an owner's keys, until it is activated again."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        good = await _good_keys(store, found)
        invocation.confirm(
            f"Deactivate {found.name}? All its keys are refused at once, of which {good} are good now.", yes=yes
        )
        changed = await lifecycle.deactivate(store, found, actor=invocation.actor)
        await _report(
            invocation,
            store,
            found,
            f"Deactivated {found.name}." if changed else f"{found.name} is not active already.",
            changed=changed,
        )


@command(owners, "remove")
async def remove(invocation: Invocation, owner: OwnerName, *, yes: Yes = False) -> None:
    """Delete an owner with all its keys, their uses, its sessions and its credentials, for good."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        good = await _good_keys(store, found)
        invocation.confirm(
            f"Remove {found.name}, with all its keys, of which {good} are good now, and its credentials? "
            "That cannot be undone.",
            yes=yes,
        )
        keys = await lifecycle.remove_owner(store, found, actor=invocation.actor)
    invocation.done(
        f"Removed {found.name}, who had the id {found.id} and {amount_of(keys, 'key')}.",
        {"owner": owner_document(found), "keys": keys},
    )


@command(owners, "superuser")
async def superuser(
    invocation: Invocation,
    owner: OwnerName,
    *,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Give superuser rights, or take them.")] = None,
) -> None:
    """Give superuser rights, or take them; keys with the scope * follow."""
    if on is None:
        raise Failed("say --on or --off")
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        changed = await lifecycle.set_superuser(store, found, superuser=on, actor=invocation.actor)
        what = "a superuser" if on else "no superuser"
        await _report(
            invocation,
            store,
            found,
            f"{found.name} is {what} now." if changed else f"{found.name} is {what} already.",
            changed=changed,
        )


@command(owners, "passwd")
async def passwd(
    invocation: Invocation,
    owner: OwnerName,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the password away.")] = False,
    yes: Yes = False,
) -> None:
    """Set an owner's password, read from a prompt or standard input."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        if remove:
            invocation.confirm(f"Take away the password of {found.name}? That cannot be undone.", yes=yes)
        secret = None if remove else invocation.read_secret("Password", twice=True)
        await lifecycle.set_password(store, found, secret, actor=invocation.actor)
        what = "has no password now" if remove else "has a new password"
        await _report(invocation, store, found, f"{found.name} {what}.", changed=True)


@command(owners, "sign-out")
async def sign_out(invocation: Invocation, owner: OwnerName) -> None:
    """End all sessions of an owner, who can sign in again."""
    async with invocation.opened() as store:
        found = await owner_named(store, owner)
        ended = await lifecycle.end_sessions(store, found, actor=invocation.actor)
        sentence = f"Signed {found.name} out: {_counted(ended)} ended." if ended else f"{found.name} has no session."
        await _report(invocation, store, found, sentence, changed=ended > 0)


async def _report(invocation: Invocation, store: SQLStore, owner: Owner, sentence: str, *, changed: bool) -> None:
    """Say what was done, and in JSON what the owner is now."""
    owner = await store.get_owner(owner.id) or owner
    invocation.done(sentence, {"changed": changed, "owner": owner_document(owner)})


async def _good_keys(store: SQLStore, owner: Owner) -> int:
    states = (KeyState.ACTIVE, KeyState.GRACE)
    return sum([len(await store.list_keys(owner.id, state=state, at=utc_now())) for state in states])


def _counted(sessions: int) -> str:
    return "one session has" if sessions == 1 else f"{sessions} sessions have"


def _word(value: bool) -> str:  # noqa: FBT001 It is what the value says.
    return "yes" if value else "no"
