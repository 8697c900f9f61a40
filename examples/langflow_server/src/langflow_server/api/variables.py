"""A user's global variables."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from langflow_server import variables
from langflow_server.api.answers import errors
from langflow_server.guard import User
from langflow_server.limits import at_most
from langflow_server.server import TheServer
from langflow_server.texts import Sendable
from langflow_server.variables import Variable, VariableType

__all__ = ["router"]

router = APIRouter(
    prefix="/variables", tags=["variables"], responses=errors(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
)

Type = Literal["Credential", "Generic"]
Fields = Annotated[list[Sendable], at_most(variables.MAX_DEFAULT_FIELDS)]


class VariableOut(BaseModel):
    """What is told of a variable. A Credential's `value` is null: it is never given back."""

    id: UUID
    name: str
    type: Type
    value: str | None
    default_fields: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class NewVariable(BaseModel):
    """A variable that is to be added."""

    name: Sendable
    value: Annotated[Sendable, Field(repr=False)]
    type: Type = "Generic"
    default_fields: Fields = []


class ChangedVariable(BaseModel):
    """What is to be another; what is not there, or null, stays."""

    name: Sendable | None = None
    value: Annotated[Sendable | None, Field(repr=False)] = None
    type: Type | None = None
    default_fields: Fields | None = None


@router.get("/")
async def list_(server: TheServer, user: User) -> list[VariableOut]:
    """List one's own variables, by name."""
    return [_out(each) for each in await variables.list_variables(server, user.id)]


@router.post("/", status_code=HTTPStatus.CREATED)
async def add(server: TheServer, user: User, new: NewVariable) -> VariableOut:
    """Add a variable."""
    kind = VariableType(new.type)
    added = await variables.add_variable(
        server, user.id, new.name, new.value, type=kind, default_fields=new.default_fields
    )
    return _out(added)


@router.patch("/{variable_id}")
async def change(server: TheServer, user: User, variable_id: UUID, changes: ChangedVariable) -> VariableOut:
    """Change what is given of a variable."""
    changed = await variables.change_variable(
        server,
        user.id,
        str(variable_id),
        name=changes.name,
        value=changes.value,
        type=None if changes.type is None else VariableType(changes.type),
        default_fields=changes.default_fields,
    )
    return _out(changed)


@router.delete("/{variable_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove(server: TheServer, user: User, variable_id: UUID) -> None:
    """Remove a variable, for good."""
    await variables.remove_variable(server, user.id, str(variable_id))


def _out(variable: Variable) -> VariableOut:
    return VariableOut(
        id=UUID(variable.id),
        name=variable.name,
        type=variable.type.value,
        value=variable.value,
        default_fields=variable.default_fields,
        created_at=variable.created_at,
        updated_at=variable.updated_at,
    )
