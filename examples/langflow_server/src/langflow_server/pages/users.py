"""The users, for a superuser."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from langflow_server import people
from langflow_server.pages.layout import Said, go, page
from langflow_server.pages.visitor import Manager
from langflow_server.people import Changes, Person
from langflow_server.problems import Problem
from langflow_server.server import TheServer
from langflow_server.texts import Sendable

__all__ = ["router"]

router = APIRouter(prefix="/settings/users")

_LIST = "/settings/users"
_ON_A_PAGE = 20

YesOrNo = Literal["yes", "no"]


@router.get("")
async def show_all(
    request: Request,
    server: TheServer,
    manager: Manager,
    number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> Response:
    skipped = (number - 1) * _ON_A_PAGE
    found, total = await people.list_people(server, skip=skipped, limit=_ON_A_PAGE)
    if not found and number > 1:
        return go(_LIST)
    last = skipped + len(found)
    return _page(
        request,
        "users.html",
        people=found,
        first=skipped + 1,
        last=last,
        total=total,
        before=number - 1,
        behind=number + 1 if last < total else 0,
    )


@router.get("/new")
async def new(request: Request, manager: Manager) -> Response:
    return _form(request, name="", is_active=True, is_superuser=False)


@router.post("/new")
async def add(
    request: Request,
    *,
    server: TheServer,
    manager: Manager,
    username: Annotated[Sendable, Form()],
    password: Annotated[str, Form()],
    active: Annotated[YesOrNo, Form()] = "no",
    superuser: Annotated[YesOrNo, Form()] = "no",
) -> Response:
    is_active, is_superuser = active == "yes", superuser == "yes"
    try:
        await people.add_person(
            server, username, password, is_active=is_active, is_superuser=is_superuser, actor=manager
        )
    except Problem as problem:
        return _form(request, problem, name=username, is_active=is_active, is_superuser=is_superuser)
    return go(_LIST, Said.USER_ADDED)


@router.get("/{user_id}")
async def show(request: Request, server: TheServer, manager: Manager, user_id: Sendable) -> Response:
    return _user_page(request, await people.get_person(server, user_id))


@router.post("/{user_id}/active")
async def activate(
    request: Request, server: TheServer, manager: Manager, user_id: Sendable, active: Annotated[YesOrNo, Form()]
) -> Response:
    said = Said.USER_ACTIVATED if active == "yes" else Said.USER_DEACTIVATED
    return await _change(request, server, manager, user_id, changes=Changes(is_active=active == "yes"), said=said)


@router.post("/{user_id}/superuser")
async def promote(
    request: Request, server: TheServer, manager: Manager, user_id: Sendable, superuser: Annotated[YesOrNo, Form()]
) -> Response:
    said = Said.USER_PROMOTED if superuser == "yes" else Said.USER_DEMOTED
    return await _change(request, server, manager, user_id, changes=Changes(is_superuser=superuser == "yes"), said=said)


@router.post("/{user_id}/password")
async def set_password(
    request: Request, server: TheServer, manager: Manager, user_id: Sendable, password: Annotated[str, Form()]
) -> Response:
    return await _change(
        request, server, manager, user_id, changes=Changes(password=password), said=Said.USER_PASSWORD_SET
    )


@router.get("/{user_id}/delete")
async def confirm(request: Request, server: TheServer, manager: Manager, user_id: Sendable) -> Response:
    return _confirmation(request, await people.get_person(server, user_id))


@router.post("/{user_id}/delete")
async def delete(request: Request, server: TheServer, manager: Manager, user_id: Sendable) -> Response:
    person = await people.get_person(server, user_id)
    try:
        await people.remove_person(server, user_id, actor=manager)
    except Problem as problem:
        return _user_page(request, person, problem)
    return go(_LIST, Said.USER_DELETED)


async def _change(
    request: Request, server: TheServer, manager: Manager, user_id: Sendable, *, changes: Changes, said: Said
) -> Response:
    person = await people.get_person(server, user_id)
    try:
        await people.change_person(server, user_id, changes, actor=manager)
    except Problem as problem:
        return _user_page(request, person, problem)
    return go(f"{_LIST}/{person.id}", said)


def _user_page(request: Request, person: Person, problem: Problem | None = None) -> Response:
    return _page(request, "user.html", problem, person=person)


def _form(request: Request, problem: Problem | None = None, **filled: Any) -> Response:
    return _page(request, "new_user.html", problem, filled=filled, longest_name=people.LONGEST_NAME)


def _confirmation(request: Request, person: Person) -> Response:
    return _page(
        request,
        "confirm.html",
        question=f"Delete the user “{person.name}”?",
        consequence="Their flows, variables and keys are deleted with them: programs that use one are refused at once. "
        "This cannot be undone.",
        action=f"{_LIST}/{person.id}/delete",
        button="Delete user",
        back=f"{_LIST}/{person.id}",
    )


def _page(request: Request, template: str, problem: Problem | None = None, **more: Any) -> Response:
    return page(request, template, problem, section="settings", place="users", **more)
