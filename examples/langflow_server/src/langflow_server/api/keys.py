"""A user's own keys."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from langflow_server import keys
from langflow_server.api.answers import Detail, errors
from langflow_server.guard import User
from langflow_server.keys import Key
from langflow_server.server import TheServer
from langflow_server.texts import Sendable

__all__ = ["router"]

router = APIRouter(prefix="/api_key", tags=["keys"], responses=errors(HTTPStatus.FORBIDDEN))

_BAD = errors(HTTPStatus.BAD_REQUEST)


class KeyList(BaseModel):
    total_count: int = Field(description="How many keys there are in all, those that are not listed included.")
    user_id: str
    api_keys: list[Key]


class NewKey(BaseModel):
    """What is to be said of a new key. Whatever else is sent has no effect: it is the caller's, and was never used."""

    name: Annotated[Sendable, Field(max_length=keys.LONGEST_NAME)] | None = None
    expires_at: datetime | None = Field(default=None, description="In UTC, if it has no zone.")


class Rotation(BaseModel):
    grace_seconds: int = Field(
        default=0,
        ge=0,
        le=int(keys.LONGEST_GRACE.total_seconds()),
        description="How long the old key is still good, beside the new one.",
    )


@router.get("/")
async def list_keys(user: User, server: TheServer) -> KeyList:
    """List one's own keys, the newest first; a superuser's, too, are their own. Deleted keys are not listed.

    Of more than 1000 those are left out that were made first.
    """
    found, total = await keys.list_keys(server, user.id)
    return KeyList(total_count=total, user_id=user.id, api_keys=found)


@router.post("/", responses=_BAD)
async def add_key(user: User, server: TheServer, new: NewKey | None = None) -> Key:
    """Make a key that may do what one may do oneself. It is shown in this answer, and never again."""
    wanted = new or NewKey()
    return await keys.add_key(server, user, name=wanted.name or "", expires_at=wanted.expires_at)


@router.delete("/{key_id}", responses=_BAD)
async def remove_key(key_id: UUID, user: User, server: TheServer) -> Detail:
    """Delete a key of one's own: it is refused from now on, by every worker."""
    await keys.remove_key(server, user, key_id)
    return Detail(detail="The key was deleted.")


@router.post("/{key_id}/rotate", responses=_BAD)
async def rotate_key(key_id: UUID, user: User, server: TheServer, rotation: Rotation | None = None) -> Key:
    """Make a key in the place of another of one's own, which is good for the grace still, or not at all.

    The new key has the old one's name and end, and is shown in this answer, and never again.
    """
    grace = timedelta(seconds=(rotation or Rotation()).grace_seconds)
    return await keys.rotate_key(server, user, key_id, grace=grace)
