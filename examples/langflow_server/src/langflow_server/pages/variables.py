"""A user's global variables. A Credential's value goes one way: in."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from langflow_server import variables
from langflow_server.flows.providers import PROVIDERS
from langflow_server.pages.layout import Said, go, page
from langflow_server.pages.visitor import Visitor
from langflow_server.problems import Problem
from langflow_server.server import TheServer
from langflow_server.texts import Sendable
from langflow_server.variables import Variable, VariableType

__all__ = ["router"]

router = APIRouter(prefix="/settings/variables")

_LIST = "/settings/variables"

Fields = Annotated[list[Sendable], Form()]


@router.get("")
async def show_all(request: Request, server: TheServer, visitor: Visitor) -> Response:
    found = await variables.list_variables(server, visitor.id)
    return _page(request, "variables.html", variables=found)


@router.get("/new")
async def new(request: Request, visitor: Visitor) -> Response:
    return _form(request, None, name="", value="", type=VariableType.CREDENTIAL, default_fields=())


@router.post("/new")
async def add(
    request: Request,
    *,
    server: TheServer,
    visitor: Visitor,
    name: Annotated[Sendable, Form()],
    value: Annotated[Sendable, Form()],
    type: Annotated[VariableType, Form()],  # noqa: A002 Langflow's word.
    default_fields: Fields = [],  # noqa: B006 FastAPI copies it.
) -> Response:
    try:
        await variables.add_variable(
            server, visitor.id, name, _pasted(value, type), type=type, default_fields=default_fields
        )
    except Problem as problem:
        return _form(request, None, problem, name=name, value="", type=type, default_fields=default_fields)
    return go(_LIST, Said.VARIABLE_ADDED)


@router.get("/{variable_id}")
async def show(request: Request, server: TheServer, visitor: Visitor, variable_id: UUID) -> Response:
    variable = await variables.get_variable(server, visitor.id, str(variable_id))
    return _form(
        request,
        variable,
        name=variable.name,
        value=variable.value or "",
        type=variable.type,
        default_fields=variable.default_fields,
    )


@router.post("/{variable_id}")
async def change(
    request: Request,
    *,
    server: TheServer,
    visitor: Visitor,
    variable_id: UUID,
    name: Annotated[Sendable, Form()],
    value: Annotated[Sendable, Form()] = "",
    default_fields: Fields = [],  # noqa: B006 FastAPI copies it.
) -> Response:
    variable = await variables.get_variable(server, visitor.id, str(variable_id))
    is_secret = variable.type is VariableType.CREDENTIAL
    given = _pasted(value, variable.type)
    try:
        await variables.change_variable(
            server,
            visitor.id,
            variable.id,
            name=name,
            value=None if is_secret and not given else given,
            default_fields=default_fields,
        )
    except Problem as problem:
        value = "" if is_secret else value
        return _form(
            request, variable, problem, name=name, value=value, type=variable.type, default_fields=default_fields
        )
    return go(_LIST, Said.VARIABLE_CHANGED)


@router.get("/{variable_id}/delete")
async def confirm(request: Request, server: TheServer, visitor: Visitor, variable_id: UUID) -> Response:
    variable = await variables.get_variable(server, visitor.id, str(variable_id))
    return _page(
        request,
        "confirm.html",
        question=f"Delete the variable “{variable.name}”?",
        consequence="Flows that refer to it fail from then on. This cannot be undone.",
        action=f"{_LIST}/{variable.id}/delete",
        button="Delete variable",
        back=f"{_LIST}/{variable.id}",
    )


@router.post("/{variable_id}/delete")
async def delete(server: TheServer, visitor: Visitor, variable_id: UUID) -> Response:
    await variables.remove_variable(server, visitor.id, str(variable_id))
    return go(_LIST, Said.VARIABLE_DELETED)


def _pasted(value: str, type_: VariableType) -> str:
    """Return what was typed, as a browser's form brings it; no credential has a space or a line's end around it."""
    return value.strip() if type_ is VariableType.CREDENTIAL else value.replace("\r\n", "\n")


def _form(
    request: Request,
    variable: Variable | None,
    problem: Problem | None = None,
    *,
    name: str,
    value: str,
    type: VariableType,  # noqa: A002 Langflow's word.
    default_fields: Sequence[str],
) -> Response:
    return _page(
        request,
        "variable.html",
        problem,
        variable=variable,
        is_secret=type is VariableType.CREDENTIAL,
        fields=[provider.field for provider in PROVIDERS.values()],
        filled={"name": name, "value": value, "type": type.value, "default_fields": default_fields},
    )


def _page(request: Request, template: str, problem: Problem | None = None, **more: Any) -> Response:
    return page(request, template, problem, section="settings", place="variables", **more)
