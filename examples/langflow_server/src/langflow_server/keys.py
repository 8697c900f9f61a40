"""A user's own keys, in the members that the API has for them.

A superuser's list, too, is of their own keys. A key that was deleted is not in it, though the store keeps it for the
audit log: to the API it is as unknown as one that never was, or another user's.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from keyguard import Conflict, KeyRecord, KeyState, NotFound, Principal, lifecycle
from keyguard.lifecycle import Issued
from keyguard.model import KeyQuery, Usage
from langflow_server.ids import key_id_of, uuid_of
from langflow_server.problems import BadRequest, Missing
from langflow_server.server import Server

__all__ = ["LONGEST_GRACE", "LONGEST_NAME", "MOST_LISTED", "Key", "add_key", "list_keys", "remove_key", "rotate_key"]

LONGEST_NAME = 200
LONGEST_GRACE = timedelta(days=366)
MOST_LISTED = 1000

_LISTED = frozenset(KeyState) - {KeyState.REVOKED}
_GOOD = {KeyState.ACTIVE, KeyState.GRACE}
_NEVER = Usage(total=0)


class Key(BaseModel):
    """A key of a user's."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str | None
    api_key: str = Field(
        repr=False, description="The key itself in the answer that made it, and never again: then its beginning."
    )
    user_id: str
    created_at: datetime
    last_used_at: datetime | None = Field(description="What was counted in the last ten seconds may be missing.")
    total_uses: int
    is_active: bool = Field(description="Whether it is good now: not expired, not disabled, and not for later only.")
    expires_at: datetime | None


async def list_keys(server: Server, user_id: str) -> tuple[list[Key], int]:
    """Return the newest 1000 of a user's keys, the newest first, and how many there are in all."""
    query = KeyQuery(owner_id=user_id, states=_LISTED)
    page = await lifecycle.search_keys(server.store, query, limit=MOST_LISTED)
    return [_key(listed.key, listed.key.hint, listed.usage) for listed in page.keys], page.total


async def add_key(server: Server, user: Principal, *, name: str = "", expires_at: datetime | None = None) -> Key:
    """Make a key that may do what its user may. A time without a zone is in UTC.

    Raises `BadRequest` if the name is too long or the time has passed, and `Missing` if the user is not there any more.
    """
    if len(name) > LONGEST_NAME:
        raise BadRequest(f"A key's name has {LONGEST_NAME} characters at most.")
    end = _in_utc(expires_at)
    if end is not None and end <= datetime.now(UTC):
        raise BadRequest("expires_at must lie in the future.")
    try:
        issued = await lifecycle.issue(server.store, user.id, name=name, expires_at=end, actor=user)
    except NotFound:
        raise Missing("There is no such user.") from None
    return _whole(issued)


async def remove_key(server: Server, user: Principal, key_id: UUID) -> None:
    """Refuse a key for good, in every worker when this returns. Raises `BadRequest` if the user has no such key."""
    record = await _own(server, user, key_id)
    if not await lifecycle.revoke(server.store, record.id, reason="deleted", actor=user):
        raise _unknown()  # Somebody was faster.


async def rotate_key(server: Server, user: Principal, key_id: UUID, *, grace: timedelta = timedelta(0)) -> Key:
    """Make a key in the place of another one, which is good for `grace` longer, and not at all without.

    The new one has the old one's name and end. Raises `BadRequest` if the user has no such key, or if it has expired or
    was rotated already.
    """
    record = await _own(server, user, key_id)
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise BadRequest(f"A key is good for {LONGEST_GRACE.days} days more at most after it was rotated.")
    if record.rotated_at is not None:
        raise BadRequest("The key was rotated already: rotate the one that took its place.")
    if record.state(datetime.now(UTC)) is KeyState.EXPIRED:
        raise BadRequest("The key has expired: make a new one.")
    try:
        return _whole(await lifecycle.rotate(server.store, record.id, grace=grace, actor=user))
    except Conflict:
        raise BadRequest("Somebody else is changing the key at this moment: look at it again.") from None
    except NotFound:
        raise _unknown() from None


async def _own(server: Server, user: Principal, uuid: UUID) -> KeyRecord:
    key_id = key_id_of(uuid)
    record = None if key_id is None else await server.store.get_key(key_id)
    if record is None or record.owner_id != user.id or record.revoked_at is not None:
        raise _unknown()
    return record


def _unknown() -> BadRequest:
    """Return the one answer for what is not there, what was deleted, and what is another user's."""
    return BadRequest("You have no such key.")


def _whole(issued: Issued) -> Key:
    return _key(issued.record, issued.key.reveal(), _NEVER)


def _key(record: KeyRecord, shown: str, usage: Usage) -> Key:
    return Key(
        id=uuid_of(record.id),
        name=record.name or None,
        api_key=shown,
        user_id=record.owner_id,
        created_at=record.created_at,
        last_used_at=usage.last_used_at,
        total_uses=usage.total,
        is_active=record.state(datetime.now(UTC)) in _GOOD,
        expires_at=record.expires_at,
    )


def _in_utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    try:
        return time.replace(tzinfo=UTC) if time.utcoffset() is None else time.astimezone(UTC)
    except OverflowError:
        raise BadRequest("A key ends after the year 1 and before the year 10000.") from None
