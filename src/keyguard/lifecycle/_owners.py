"""Owners: added, activated and deactivated, given rights."""

import secrets
import uuid

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError
from keyguard.lifecycle._arguments import Entropy, check_text, id_of
from keyguard.lifecycle._passwords import hash_password
from keyguard.model import Owner
from keyguard.ports import Clock, KeyRegistry

__all__ = ["activate", "add_owner", "deactivate", "set_superuser"]


async def add_owner(
    store: KeyRegistry,
    name: str,
    *,
    id: str | None = None,  # noqa: A002 The word that `Owner` uses.
    is_superuser: bool = False,
    password: str | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Owner:
    """Add an owner; without an `id` it gets a random UUID.

    Raises:
        ConfigurationError: if the name or the id is no text, or the name or the password is empty.
        Conflict: if the id or the name is taken.
        NotSupported: if owners live in the app's own table.
        Overloaded: if a password is given and too many slow hashes wait.
    """
    check_text("name", name)
    if not name:
        raise ConfigurationError("an owner needs a name")
    owner_id = id if id is not None else str(uuid.UUID(bytes=entropy(16), version=4))
    check_text("id", owner_id)
    owner = Owner(id=owner_id, name=name, is_superuser=is_superuser)
    verifier = None if password is None else await hash_password(password)
    await store.add_owner(owner, created_at=clock(), password=verifier)
    return owner


async def activate(store: KeyRegistry, owner: Owner | str) -> None:
    """Accept an owner's keys again. Raises `NotFound`."""
    await store.set_owner_active(id_of(owner), active=True)


async def deactivate(store: KeyRegistry, owner: Owner | str) -> None:
    """Refuse all of an owner's keys, from now on and until the owner is activated. Raises `NotFound`."""
    await store.set_owner_active(id_of(owner), active=False)


async def set_superuser(store: KeyRegistry, owner: Owner | str, *, superuser: bool) -> None:
    """Give or take superuser rights; keys with the scope ``*`` follow. Raises `NotFound`."""
    await store.set_owner_superuser(id_of(owner), superuser=superuser)
