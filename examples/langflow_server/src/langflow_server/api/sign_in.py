"""Signing in and out."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Form, HTTPException, Request, Response
from pydantic import BaseModel, Field, SecretStr

from langflow_server import people, sessions
from langflow_server.api.answers import Detail, errors
from langflow_server.guard import SignedIn
from langflow_server.problems import BadRequest
from langflow_server.server import TheServer

__all__ = ["router"]

router = APIRouter(tags=["sign-in"])


class Token(BaseModel):
    """A session. It is set as a cookie, too, which scripts cannot read."""

    access_token: str = Field(description="To be sent as `Authorization: Bearer …`.")
    refresh_token: str = Field(description="The same: a session has one token.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 The name of a scheme.


class NoAutoLogin(BaseModel):
    """Why nobody is signed in without a password."""

    message: str
    auto_login: Literal[False] = False


class NoAutoLoginDetail(BaseModel):
    detail: NoAutoLogin


@router.post("/login", responses=errors(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS))
async def login(
    username: Annotated[str, Form(max_length=people.LONGEST_PASSWORD)],
    password: Annotated[SecretStr, Form(max_length=people.LONGEST_PASSWORD)],
    request: Request,
    answer: Response,
    server: TheServer,
) -> Token:
    """Sign in with a name and a password.

    The answer is 401 whatever is not right: name, password, or a user who is not active. After five failures within a
    minute it is 429, and says in `Retry-After` when to come back.
    """
    address = sessions.address_of(request)
    signed_in = await people.sign_in(server, username, password.get_secret_value(), address=address)
    sessions.begin(answer, signed_in, request)
    return _token(signed_in.token)


@router.get("/auto_login", responses={HTTPStatus.BAD_REQUEST: {"model": NoAutoLoginDetail}})
async def auto_login(request: Request, answer: Response, server: TheServer) -> Token:
    """Sign in as the superuser without a password, where `LANGFLOW_AUTO_LOGIN` allows that."""
    try:
        signed_in = await people.auto_login(server)
    except BadRequest as problem:
        raise HTTPException(problem.status, NoAutoLogin(message=problem.detail).model_dump()) from None
    sessions.begin(answer, signed_in, request)
    return _token(signed_in.token)


@router.post("/refresh", responses=errors(HTTPStatus.FORBIDDEN))
async def refresh(user: SignedIn, request: Request, answer: Response, server: TheServer) -> Token:
    """Begin a new session in the place of this one, which ends."""
    signed_in = await sessions.renew(server, user, request)
    sessions.begin(answer, signed_in, request)
    return _token(signed_in.token)


@router.post("/logout", responses=errors(HTTPStatus.FORBIDDEN))
async def logout(_user: SignedIn, request: Request, answer: Response, server: TheServer) -> Detail:
    """End the session, in every worker: nobody gets in with its token any more."""
    await sessions.sign_out(server, request)
    sessions.end(answer)
    return Detail(detail="Signed out.")


def _token(token: str) -> Token:
    return Token(access_token=token, refresh_token=token)
