"""One's own password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from langflow_server import people, sessions
from langflow_server.guard import SIGN_IN, SignedIn
from langflow_server.pages.layout import Said, go, page
from langflow_server.problems import BadRequest, Problem
from langflow_server.server import TheServer

__all__ = ["router"]

router = APIRouter()

_PATH = "/settings/password"


@router.get(_PATH)
async def show(request: Request, user: SignedIn) -> Response:
    return _form(request)


@router.post(_PATH)
async def change(
    request: Request,
    *,
    server: TheServer,
    user: SignedIn,
    current: Annotated[str, Form()],
    new: Annotated[str, Form()],
    again: Annotated[str, Form()],
) -> Response:
    try:
        if new != again:
            raise BadRequest("The two new passwords are not the same.")
        await people.change_password(server, user.id, current=current, new=new)
    except Problem as problem:
        return _form(request, problem)
    answer = go(SIGN_IN, Said.PASSWORD_CHANGED)
    sessions.end(answer)
    return answer


def _form(request: Request, problem: Problem | None = None) -> Response:
    return page(request, "password.html", problem, section="settings", place="password")
