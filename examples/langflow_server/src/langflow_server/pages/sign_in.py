"""Signing in and out. With AUTO_LOGIN nobody is asked: whoever comes is the superuser."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from langflow_server import people, sessions
from langflow_server.guard import SIGN_IN, by_session
from langflow_server.pages.layout import Said, go, page
from langflow_server.pages.visitor import Visitor
from langflow_server.problems import Problem
from langflow_server.server import TheServer
from langflow_server.texts import Sendable

__all__ = ["router"]

router = APIRouter()

_PLACE = re.compile(r"/(?!/)[A-Za-z0-9_/-]*")
"""A path of our own: no second slash at its beginning, and no escape or backslash that could lead to another host."""


def _way_back(asked_for: str) -> str:
    return asked_for if _PLACE.fullmatch(asked_for) else "/"


@router.get(SIGN_IN)
async def show(request: Request, server: TheServer, next: str = "/") -> Response:  # noqa: A002 As addresses have it.
    if await by_session(server.store, request.scope) is not None:
        return go(_way_back(next))
    if server.settings.auto_login:
        signed_in = await people.auto_login(server)
        answer = go(_way_back(next))
        sessions.begin(answer, signed_in, request)
        return answer
    return page(request, "sign_in.html", name="", next=_way_back(next))


@router.post(SIGN_IN)
async def sign_in(
    request: Request,
    server: TheServer,
    username: Annotated[Sendable, Form(max_length=people.LONGEST_PASSWORD)],
    password: Annotated[str, Form(max_length=people.LONGEST_PASSWORD)],
    next: Annotated[str, Form()] = "/",  # noqa: A002 Likewise.
) -> Response:
    try:
        signed_in = await people.sign_in(server, username, password, address=sessions.address_of(request))
    except Problem as problem:
        return page(request, "sign_in.html", problem, name=username, next=_way_back(next))
    await sessions.sign_out(server, request)
    answer = go(_way_back(next))
    sessions.begin(answer, signed_in, request)
    return answer


@router.post("/sign-out")
async def sign_out(_visitor: Visitor, request: Request, server: TheServer) -> Response:
    await sessions.sign_out(server, request)
    answer = go(SIGN_IN, Said.SIGNED_OUT)
    sessions.end(answer)
    return answer
