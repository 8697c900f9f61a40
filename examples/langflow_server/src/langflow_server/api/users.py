"""Users: who one is, and what superusers do with others."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, SecretStr

from langflow_server import people, sessions
from langflow_server.api.answers import Detail, errors
from langflow_server.guard import SignedIn, Superuser, User
from langflow_server.people import Changes, Person
from langflow_server.problems import Forbidden
from langflow_server.server import TheServer

__all__ = ["router"]

router = APIRouter(prefix="/users", tags=["users"], responses=errors(HTTPStatus.FORBIDDEN))

Name = Annotated[str, Field(min_length=1, max_length=people.LONGEST_NAME)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=people.LONGEST_PASSWORD)]
Image = Annotated[str, Field(max_length=people.LONGEST_IMAGE)]


class UserOut(BaseModel):
    """A user, in Langflow's members."""

    id: str
    username: str
    profile_image: str | None
    store_api_key: None = Field(default=None, description="Always null: there is no Langflow Store here.")
    is_active: bool
    is_superuser: bool
    create_at: datetime = Field(description="Spelled as Langflow spells it.")
    updated_at: datetime
    last_login_at: datetime | None

    @classmethod
    def of(cls, person: Person) -> "UserOut":
        """Return what is shown of a user."""
        return cls(
            id=person.id,
            username=person.name,
            profile_image=person.profile_image,
            is_active=person.is_active,
            is_superuser=person.is_superuser,
            create_at=person.created_at,
            updated_at=person.updated_at,
            last_login_at=person.last_login_at,
        )


class UserPage(BaseModel):
    total_count: int = Field(description="How many users there are in all.")
    users: list[UserOut]


class NewUser(BaseModel):
    username: Name
    password: Password
    is_active: bool = True
    is_superuser: bool = False
    profile_image: Image | None = None


class UserChanges(BaseModel):
    """What is to be changed: what is there, and not null."""

    username: Name | None = None
    password: Password | None = Field(default=None, description="Of another user; for one's own see reset-password.")
    is_active: bool | None = None
    is_superuser: bool | None = None
    profile_image: Image | None = Field(default=None, description="Empty takes the image away.")


class NewPassword(BaseModel):
    password: Password
    current_password: Password


@router.get("/whoami")
async def whoami(user: User, server: TheServer) -> UserOut:
    """Say whose session or key this is."""
    return UserOut.of(await people.get_person(server, user.id))


@router.get("/")
async def list_users(
    _superuser: Superuser,
    server: TheServer,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> UserPage:
    """List the users, by name."""
    found, total = await people.list_people(server, skip=skip, limit=limit)
    return UserPage(total_count=total, users=[UserOut.of(person) for person in found])


@router.post("/", status_code=HTTPStatus.CREATED, responses=errors(HTTPStatus.BAD_REQUEST))
async def add_user(new: NewUser, superuser: Superuser, server: TheServer) -> UserOut:
    """Add a user."""
    person = await people.add_person(
        server,
        new.username,
        new.password.get_secret_value(),
        is_active=new.is_active,
        is_superuser=new.is_superuser,
        profile_image=new.profile_image or "",
        actor=superuser,
    )
    return UserOut.of(person)


@router.patch("/{user_id}", responses=errors(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND))
async def change_user(user_id: str, wanted: UserChanges, user: User, server: TheServer) -> UserOut:
    """Change a user: oneself, but for the members that begin with `is_`, or as a superuser anybody.

    A superuser cannot deactivate themselves, nor take superuser rights from themselves.
    """
    changes = Changes(
        name=wanted.username,
        password=None if wanted.password is None else wanted.password.get_secret_value(),
        is_active=wanted.is_active,
        is_superuser=wanted.is_superuser,
        profile_image=wanted.profile_image,
    )
    return UserOut.of(await people.change_person(server, user_id, changes, actor=user))


@router.patch("/{user_id}/reset-password", responses=errors(HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS))
async def reset_password(
    *, user_id: str, wanted: NewPassword, user: SignedIn, request: Request, answer: Response, server: TheServer
) -> UserOut:
    """Change one's own password, in a session. All of one's sessions end; a new one comes along as a cookie."""
    if user_id != user.id:
        raise Forbidden("Only your own password is changed here.")
    current, new = wanted.current_password.get_secret_value(), wanted.password.get_secret_value()
    person = await people.change_password(server, user.id, current=current, new=new)
    sessions.begin(answer, await sessions.start(server, user), request)
    return UserOut.of(person)


@router.delete("/{user_id}", responses=errors(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND))
async def remove_user(user_id: str, superuser: Superuser, server: TheServer) -> Detail:
    """Remove a user for good, with their keys, flows, variables and sessions. The keys are refused from now on."""
    await people.remove_person(server, user_id, actor=superuser)
    return Detail(detail="The user was deleted.")
