"""The people who sign in: an owner of Keyguard's each, and what a profile says beside that.

Who may do what to whom stands here, for the API and for the pages:

- A superuser adds, changes and removes users. Everybody else changes their own name and image.
- Nobody switches off, removes, or takes superuser rights from themselves: whoever does that is still there to undo it.
- The user whom ``LANGFLOW_SUPERUSER`` names keeps that name, is active and a superuser. A start would make another one.
- One's own password is changed by who knows it; a superuser sets those of others.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from keyguard import AuditKind, Conflict, NotFound, Owner, Principal, lifecycle
from keyguard.lifecycle import SignedIn
from langflow_server import tables
from langflow_server.problems import BadRequest, Forbidden, Missing, WrongPassword
from langflow_server.server import SESSION_LIFETIME, Server

__all__ = [
    "LONGEST_IMAGE",
    "LONGEST_NAME",
    "LONGEST_PASSWORD",
    "Changes",
    "Person",
    "add_person",
    "auto_login",
    "change_password",
    "change_person",
    "get_person",
    "list_people",
    "remove_person",
    "sign_in",
]

LONGEST_NAME = 150
LONGEST_PASSWORD = 1000
LONGEST_IMAGE = 1000

_LOG = logging.getLogger("langflow_server")

_profiles = tables.profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user, as the API and the pages show one. All times are in UTC."""

    id: str
    name: str
    is_active: bool
    is_superuser: bool
    profile_image: str | None
    """What Langflow's pages call their pictures by; nothing here opens it."""
    created_at: datetime
    updated_at: datetime
    """When the name, the password, a right or the image was changed last through this server."""
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What of a user is to be changed: what is not None."""

    name: str | None = None
    password: str | None = field(default=None, repr=False)
    is_active: bool | None = None
    is_superuser: bool | None = None
    profile_image: str | None = None
    """Empty takes the image away."""

    def of(self, person: Person) -> "Changes":
        """Leave out what a user is already."""
        return Changes(
            name=None if self.name == person.name else self.name,
            password=self.password,
            is_active=None if self.is_active is person.is_active else self.is_active,
            is_superuser=None if self.is_superuser is person.is_superuser else self.is_superuser,
            profile_image=None if self.profile_image == (person.profile_image or "") else self.profile_image,
        )

    def check(self) -> None:
        """Raise `BadRequest` if a text is not as `add_person` says."""
        if self.name is not None:
            _check_name(self.name)
        if self.password is not None:
            _check_password(self.password)
        if self.profile_image is not None:
            _check_image(self.profile_image)


# --- signing in ---------------------------------------------------------------------------------------------------


async def sign_in(server: Server, name: str, password: str, *, address: str) -> SignedIn:
    """Begin a session of the active user with that name and password; `address` is where the request came from.

    Raises `WrongPassword` if there is no such user, and `TooMany` if it was tried too often.
    """
    with server.attempts.one(name, address):
        signed_in = await lifecycle.sign_in(server.store, name, password, lifetime=SESSION_LIFETIME)
        if signed_in is None:
            # Asked of everybody: the time taken is the same for a name that nobody has. What was typed may be a
            # password, so only the id of a user is written down.
            tried = await server.store.find_owner(name)
            _LOG.warning("sign-in failed: user %s, from %r", "unknown" if tried is None else tried.id, address)
            raise WrongPassword
    await _write(server, signed_in.owner.id, last_login_at=datetime.now(UTC))
    return signed_in


async def auto_login(server: Server) -> SignedIn:
    """Begin a session of the superuser for whoever asks, where ``AUTO_LOGIN`` says so.

    Raises `BadRequest` where it does not, or if the superuser is not there or not active.
    """
    settings = server.settings
    if not settings.auto_login:
        raise BadRequest("AUTO_LOGIN is off: sign in with a name and a password.")
    owner = await server.store.find_owner(settings.superuser)
    try:
        signed_in = await lifecycle.start_session(
            server.store, "" if owner is None else owner.id, lifetime=SESSION_LIFETIME
        )
    except (Conflict, NotFound):
        raise BadRequest("The user whom everybody is signed in as is not there, or not active.") from None
    await _write(server, signed_in.owner.id, last_login_at=datetime.now(UTC))
    return signed_in


async def change_password(server: Server, user_id: str, *, current: str, new: str) -> Person:
    """Change a user's own password. All of their sessions end; their keys go on.

    Raises `BadRequest` if `current` is not the password or `new` cannot be one, `TooMany` if it was tried too often,
    and `Missing` if there is no such user.
    """
    _check_password(new)
    person = await get_person(server, user_id)
    with server.attempts.one(person.name, user_id):
        verified = await lifecycle.verify_password(server.store, person.name, current)
        if verified is None or verified.id != user_id:  # Somebody else may have that name by now.
            raise BadRequest("The current password is not right.")
    if new == current:
        raise BadRequest("The new password is the current one.")
    with _explained():
        await lifecycle.set_password(server.store, user_id, new, actor=user_id)
    await _write(server, user_id, updated_at=datetime.now(UTC))
    return await get_person(server, user_id)


# --- seeing -------------------------------------------------------------------------------------------------------


async def get_person(server: Server, user_id: str) -> Person:
    """Return a user. Raises `Missing` if there is none with that id."""
    owner = await server.store.get_owner(user_id)
    if owner is None:
        raise _missing()
    return await _person(server, owner, (await _profiles_of(server, [user_id])).get(user_id))


async def list_people(server: Server, *, skip: int = 0, limit: int = 10) -> tuple[list[Person], int]:
    """Return a part of the users, by name, and how many there are in all."""
    page = await lifecycle.list_owners(server.store, offset=skip, limit=limit)
    profiles = await _profiles_of(server, [owner.id for owner in page.owners])
    return [await _person(server, owner, profiles.get(owner.id)) for owner in page.owners], page.total


# --- changing -----------------------------------------------------------------------------------------------------


async def add_person(
    server: Server,
    name: str,
    password: str,
    *,
    is_active: bool = True,
    is_superuser: bool = False,
    profile_image: str = "",
    actor: Principal,
) -> Person:
    """Add a user.

    Raises `Forbidden` if `actor` is no superuser, and `BadRequest` if the name is taken, or one of the texts is not as
    this says: a name has 1 to 150 printable characters and no space at its ends, a password 1 to 1000 characters.
    """
    _check_superuser(actor)
    _check_name(name)
    _check_password(password)
    _check_image(profile_image)
    with _explained():
        owner = await lifecycle.add_owner(server.store, name, is_superuser=is_superuser, password=password, actor=actor)
        if not is_active:
            await lifecycle.deactivate(server.store, owner, actor=actor)
    await _write(server, owner.id, profile_image=profile_image or None)
    return await get_person(server, owner.id)


async def change_person(server: Server, user_id: str, changes: Changes, *, actor: Principal) -> Person:
    """Change a user, and return what they are then.

    Who is switched off or gets another password has no session any more; the keys of who is switched off are refused.

    Raises:
        Forbidden: if `actor` may not change that.
        Missing: if there is no such user, which only superusers learn.
        BadRequest: if the name is taken, a text is not as `add_person` says, or somebody would lose what they keep.
    """
    if user_id != actor.id:
        _check_superuser(actor)
    person = await get_person(server, user_id)
    changes = changes.of(person)
    _check_may(server, person, changes, actor)
    changes.check()
    if changes == Changes():
        return person
    with _explained():
        await _apply(server, user_id, changes, actor)
    image = {} if changes.profile_image is None else {"profile_image": changes.profile_image or None}
    await _write(server, user_id, updated_at=datetime.now(UTC), **image)
    return await get_person(server, user_id)


async def _apply(server: Server, user_id: str, changes: Changes, actor: Principal) -> None:
    store = server.store
    if changes.name is not None:  # First: it may be taken, and then nothing is changed.
        await lifecycle.rename_owner(store, user_id, changes.name, actor=actor)
    if changes.password is not None:
        await lifecycle.set_password(store, user_id, changes.password, actor=actor)
    if changes.is_superuser is not None:
        await lifecycle.set_superuser(store, user_id, superuser=changes.is_superuser, actor=actor)
    if changes.is_active is not None:
        switch = lifecycle.activate if changes.is_active else lifecycle.deactivate
        await switch(store, user_id, actor=actor)


async def remove_person(server: Server, user_id: str, *, actor: Principal) -> None:
    """Remove a user for good, with all that is theirs: keys, sessions, credentials, flows and variables.

    If the database fails on the way, the user is there still and deactivated: then it is to be called once more.

    Raises `Forbidden` if `actor` is no superuser, `BadRequest` if it is themselves or the user whom
    ``LANGFLOW_SUPERUSER`` names, and `Missing` if there is no such user.
    """
    _check_superuser(actor)
    if user_id == actor.id:
        raise BadRequest("You cannot delete yourself.")
    _check_is_not_named(server, await get_person(server, user_id))
    with _explained():
        # So that nothing is added any more to what is deleted: of an owner who is gone it could not be deleted again.
        await lifecycle.deactivate(server.store, user_id, actor=actor)
        async with server.database.begin() as connection:
            for table in (tables.flows, tables.variables, _profiles):
                await connection.execute(delete(table).where(table.c.user_id == user_id))
        await lifecycle.remove_owner(server.store, user_id, actor=actor)


# --- the rules ----------------------------------------------------------------------------------------------------


def _check_superuser(actor: Principal) -> None:
    if not actor.is_superuser:
        raise Forbidden("Only a superuser may do that.")


def _check_may(server: Server, person: Person, changes: Changes, actor: Principal) -> None:
    is_oneself = person.id == actor.id
    if not actor.is_superuser and (changes.is_active is not None or changes.is_superuser is not None):
        raise Forbidden("Only a superuser may change is_active and is_superuser.")
    if is_oneself and changes.password is not None:
        raise BadRequest("Your own password is changed by reset-password, which asks for the current one.")
    loses = changes.is_active is False or changes.is_superuser is False
    if is_oneself and loses:
        raise BadRequest("You cannot deactivate yourself or take superuser rights from yourself.")
    if loses or changes.name is not None:
        _check_is_not_named(server, person)


def _check_is_not_named(server: Server, person: Person) -> None:
    if person.name == server.settings.superuser:
        raise BadRequest(
            "LANGFLOW_SUPERUSER names this user, who keeps that name, stays active and a superuser. Change the setting "
            "first."
        )


def _check_name(name: str) -> None:
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise BadRequest(f"A name has 1 to {LONGEST_NAME} printable characters, and no space at its ends.")


def _check_password(password: str) -> None:
    if not 0 < len(password) <= LONGEST_PASSWORD:
        raise BadRequest(f"A password has 1 to {LONGEST_PASSWORD} characters.")


def _check_image(image: str) -> None:
    if len(image) > LONGEST_IMAGE or not image.isprintable():
        raise BadRequest(f"A profile image is named by {LONGEST_IMAGE} printable characters at most.")


@contextmanager
def _explained() -> Generator[None]:
    """Say what went wrong as an answer does."""
    try:
        yield
    except Conflict:
        raise BadRequest("There is another user with that name.") from None
    except NotFound:
        raise _missing() from None


def _missing() -> Missing:
    return Missing("There is no such user.")


# --- profiles -----------------------------------------------------------------------------------------------------


async def _person(server: Server, owner: Owner, profile: Row[Any] | None) -> Person:
    added_at = await _added_at(server, owner.id) if profile is None else profile.created_at
    return Person(
        id=owner.id,
        name=owner.name,
        is_active=owner.is_active,
        is_superuser=owner.is_superuser,
        profile_image=None if profile is None else profile.profile_image,
        created_at=added_at,
        updated_at=added_at if profile is None else profile.updated_at,
        last_login_at=None if profile is None else profile.last_login_at,
    )


async def _profiles_of(server: Server, user_ids: Sequence[str]) -> Mapping[str, Row[Any]]:
    async with server.database.connect() as connection:
        rows = await connection.execute(select(_profiles).where(_profiles.c.user_id.in_(user_ids)))
        return {row.user_id: row for row in rows}


async def _added_at(server: Server, user_id: str) -> datetime:
    """Return when a user without a profile was added, such as by a command: the audit log knows it."""
    kinds = {AuditKind.OWNER_ADDED, AuditKind.OWNER_IMPORTED}
    added = await lifecycle.events(server.store, owner=user_id, kinds=kinds, limit=1)
    return added[0].at if added else datetime.now(UTC)


async def _write(server: Server, user_id: str, **values: object) -> None:
    """Write into a user's profile, which is made if there is none yet."""
    change = update(_profiles).where(_profiles.c.user_id == user_id).values(values)
    async with server.database.begin() as connection:
        if (await connection.execute(change)).rowcount:
            return
    added_at = await _added_at(server, user_id)
    profile = {"user_id": user_id, "created_at": added_at, "updated_at": added_at, **values}
    try:
        async with server.database.begin() as connection:
            await connection.execute(insert(_profiles).values(profile))
    except IntegrityError:  # Somebody was faster.
        async with server.database.begin() as connection:
            await connection.execute(change)
