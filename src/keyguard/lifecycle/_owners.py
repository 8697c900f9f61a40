"""Owners: added, listed, named, activated and deactivated, given rights, and removed."""

import secrets
import uuid

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError
from keyguard.lifecycle._arguments import Actor, Entropy, check_count, check_text, id_of
from keyguard.lifecycle._audit import event
from keyguard.lifecycle._passwords import hash_password
from keyguard.model import AuditKind, Owner, OwnerPage
from keyguard.ports import Clock, KeyRegistry

__all__ = ["activate", "add_owner", "deactivate", "list_owners", "remove_owner", "rename_owner", "set_superuser"]


async def add_owner(
    store: KeyRegistry,
    name: str,
    *,
    id: str | None = None,  # noqa: A002 The word that `Owner` uses.
    is_superuser: bool = False,
    password: str | None = None,
    actor: Actor | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> Owner:
    """Add an owner; without an `id` it gets a random UUID.

    Raises:
        ConfigurationError: if the name or the id is no text, or the name, the id or the password is empty.
        Conflict: if the id or the name is taken.
        NotSupported: if owners live in the app's own table.
        Overloaded: if a password is given and too many slow hashes wait.
    """
    _check_name(name)
    owner_id = id if id is not None else str(uuid.UUID(bytes=entropy(16), version=4))
    check_text("id", owner_id)
    if not owner_id:
        raise ConfigurationError("an owner needs an id that is not empty")
    owner = Owner(id=owner_id, name=name, is_superuser=is_superuser)
    verifier = None if password is None else await hash_password(password)
    now = clock()
    added = event(
        AuditKind.OWNER_ADDED,
        now,
        actor,
        owner_id=owner_id,
        name=name,
        is_superuser=is_superuser,
        has_password=password is not None,
    )
    await store.add_owner(owner, created_at=now, password=verifier, events=[added])
    return owner


async def list_owners(store: KeyRegistry, *, offset: int = 0, limit: int = 50) -> OwnerPage:
    """Return a part of the owners, by name, and how many there are in all.

    Args:
        store: where the owners are.
        offset: how many of them, from the first on, are left out.
        limit: how many at most.

    Raises:
        ConfigurationError: if `offset` or `limit` is no such number.
    """
    check_count("offset", offset, least=0)
    check_count("limit", limit)
    return await store.page_owners(offset=offset, limit=limit)


async def rename_owner(
    store: KeyRegistry, owner: Owner | str, name: str, *, actor: Actor | None = None, clock: Clock = utc_now
) -> bool:
    """Give an owner another name; tell whether this call did it. Requests with its keys come under it from now on.

    Raises:
        ConfigurationError: if the name is no text, or empty.
        Conflict: if another owner has the name.
        NotFound: if there is no such owner.
        NotSupported: if owners live in the app's own table.
    """
    _check_name(name)
    owner_id = id_of(owner)
    renamed = event(AuditKind.OWNER_RENAMED, clock(), actor, owner_id=owner_id, name=name)
    return await store.rename_owner(owner_id, name, event=renamed)


async def remove_owner(
    store: KeyRegistry, owner: Owner | str, *, actor: Actor | None = None, clock: Clock = utc_now
) -> int:
    """Delete an owner, for good, with its keys and their uses, its sessions and its credentials.

    The keys are refused from now on, and the name is free again. What was done stays in the audit log, with the names
    that were given. `deactivate` refuses the keys, too, and can be undone.

    Returns:
        How many keys the owner had, in whatever state.

    Raises:
        NotFound: if there is no such owner.
        NotSupported: if owners live in the app's own table.
    """
    owner_id = id_of(owner)
    removed = event(AuditKind.OWNER_REMOVED, clock(), actor, owner_id=owner_id)
    return await store.remove_owner(owner_id, event=removed)


async def activate(
    store: KeyRegistry, owner: Owner | str, *, actor: Actor | None = None, clock: Clock = utc_now
) -> bool:
    """Accept an owner's keys again; tell whether this call did it. Raises `NotFound`."""
    owner_id = id_of(owner)
    activated = event(AuditKind.OWNER_ACTIVATED, clock(), actor, owner_id=owner_id)
    return await store.set_owner_active(owner_id, active=True, events=[activated])


async def deactivate(
    store: KeyRegistry, owner: Owner | str, *, actor: Actor | None = None, clock: Clock = utc_now
) -> bool:
    """Refuse all of an owner's keys, from now on and until the owner is activated; tell whether this call did it.

    Raises `NotFound`.
    """
    owner_id = id_of(owner)
    deactivated = event(AuditKind.OWNER_DEACTIVATED, clock(), actor, owner_id=owner_id)
    return await store.set_owner_active(owner_id, active=False, events=[deactivated])


async def set_superuser(
    store: KeyRegistry,
    owner: Owner | str,
    *,
    superuser: bool,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> bool:
    """Give or take superuser rights; tell whether this call did it. Keys with the scope ``*`` follow.

    Raises `NotFound`.
    """
    owner_id = id_of(owner)
    kind = AuditKind.OWNER_MADE_SUPERUSER if superuser else AuditKind.OWNER_MADE_ORDINARY
    changed = event(kind, clock(), actor, owner_id=owner_id)
    return await store.set_owner_superuser(owner_id, superuser=superuser, events=[changed])


def _check_name(name: object) -> None:
    check_text("name", name)
    if not name:
        raise ConfigurationError("an owner needs a name")
