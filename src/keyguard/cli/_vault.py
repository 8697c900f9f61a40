"""The commands on the vault: third parties' credentials that the app keeps for its owners.

There is none that prints a value: an app gets it from the vault when it needs it, and a person who has to see one has
it where it was issued. What a terminal has shown stays in its memory, and in that of whoever looks over a shoulder.
"""

import os
from typing import Annotated, Any

import typer

from keyguard.cli._app import command, group
from keyguard.cli._arguments import OwnerFilter, OwnerName, Yes
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._named import owner_named
from keyguard.cli._output import instant
from keyguard.cli._shown import amount_of
from keyguard.cli._values import json_object
from keyguard.model import Credential, Owner
from keyguard.stores.sql import SQLStore
from keyguard.vault import SecretFile, SecretKeys, Vault

__all__ = ["vault_of"]

vault = group("vault", "Keep third parties' credentials for owners, sealed.")

CredentialName = Annotated[
    str, typer.Argument(metavar="NAME", help="What the app looks it up by, such as OPENAI_API_KEY.")
]


def vault_of(store: SQLStore) -> Vault:
    """Return the vault over a store, with the secret keys that the environment names."""
    return Vault(store, SecretKeys.from_environment(os.environ))


@command(vault, "put")
async def put(
    invocation: Invocation,
    owner: OwnerName,
    name: CredentialName,
    *,
    metadata: Annotated[
        dict[str, Any] | None, typer.Option(parser=json_object, metavar="JSON", help="A note on it, in plain text.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Keep a credential, read from a prompt or standard input, in the place of what has that name."""
    async with invocation.opened() as store:
        keeper = vault_of(store)
        found = await owner_named(store, owner)
        await keeper.open()
        if await store.get_credential(found.id, name) is not None:
            invocation.confirm(f"Replace {name} of {found.name}? What it was until now is lost.", yes=yes)
        value = invocation.read_secret("Value")
        await keeper.put(found, name, value, metadata=metadata, actor=invocation.actor)
    invocation.done(f"Keeps {name} for {found.name}.", {"owner": found.id, "name": name})


@command(vault, "list")
async def list_(invocation: Invocation, *, owner: OwnerFilter = None) -> None:
    """List whose credentials there are, by name; not what they are."""
    async with invocation.opened() as store:
        found = None if owner is None else (await owner_named(store, owner)).id
        credentials = await store.list_credentials(found)
        names = {each.id: each.name for each in await store.list_owners()}
    if invocation.as_json:
        documents = [_document(each, names.get(each.owner_id)) for each in credentials]
        return invocation.output.json({"credentials": documents})
    invocation.output.table(
        ["owner", "name", "stored", "changed"],
        [
            [names.get(each.owner_id, each.owner_id), each.name, instant(each.created_at), instant(each.updated_at)]
            for each in credentials
        ],
    )
    if not credentials:
        invocation.output.note("There is no such credential.")
    return None


@command(vault, "remove")
async def remove(invocation: Invocation, owner: OwnerName, name: CredentialName, *, yes: Yes = False) -> None:
    """Remove a credential."""
    async with invocation.opened() as store:
        keeper = Vault(store, SecretFile(os.devnull))  # Which is not read: a credential whose key is lost can go.
        found = await owner_named(store, owner)
        if await store.get_credential(found.id, name) is None:
            raise _missing(found)
        invocation.confirm(f"Remove {name} of {found.name}? That cannot be undone.", yes=yes)
        removed = await keeper.remove(found, name, actor=invocation.actor)
    if not removed:  # Somebody else was faster.
        raise _missing(found)
    invocation.done(f"Removed {name} of {found.name}.", {"owner": found.id, "name": name})


@command(vault, "rotate")
async def rotate(invocation: Invocation) -> None:
    """Seal all credentials with the first of the secret keys, that are sealed with another.

    It may be interrupted, and run again.
    """
    async with invocation.opened() as store:
        count = await vault_of(store).rotate(actor=invocation.actor)
    invocation.done(f"Sealed {amount_of(count, 'credential')} with the first secret key.", {"resealed": count})


def _missing(owner: Owner) -> Failed:
    return Failed(f"{owner.name} has no credential by that name", ExitCode.NOT_FOUND)


def _document(credential: Credential, owner: str | None) -> dict[str, object]:
    return {
        "owner": {"id": credential.owner_id, "name": owner},
        "name": credential.name,
        "created_at": credential.created_at,
        "updated_at": credential.updated_at,
        "metadata": credential.metadata,
    }
