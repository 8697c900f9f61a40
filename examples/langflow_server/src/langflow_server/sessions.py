"""Sessions: a row of Keyguard's each, and what the browser and the program hold of it.

A session has one token. `POST /login` gives it as `access_token` and as `refresh_token`, and sets it as a cookie.
"""

from starlette.requests import HTTPConnection
from starlette.responses import Response

from keyguard import Conflict, NotFound, Principal, lifecycle
from keyguard.lifecycle import SignedIn
from langflow_server.guard import SESSION_COOKIE, session_token
from langflow_server.problems import Forbidden
from langflow_server.server import SESSION_LIFETIME, Server

__all__ = ["address_of", "begin", "end", "renew", "sign_out", "start"]


def address_of(connection: HTTPConnection) -> str:
    """Return where a request comes from. Behind a proxy uvicorn is to be told which one it may believe."""
    return "" if connection.client is None else connection.client.host


def begin(answer: Response, signed_in: SignedIn, request: HTTPConnection) -> None:
    """Have the browser keep the session: out of scripts' reach, and not sent along from other sites' forms."""
    answer.set_cookie(
        SESSION_COOKIE,
        signed_in.token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    answer.headers["Cache-Control"] = "no-store"


def end(answer: Response) -> None:
    """Have the browser forget the session."""
    answer.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")


async def start(server: Server, user: Principal) -> SignedIn:
    """Begin a session of a user who is known already. Raises `Forbidden` if they are not active any more."""
    try:
        return await lifecycle.start_session(server.store, user.id, lifetime=SESSION_LIFETIME)
    except (Conflict, NotFound):
        raise Forbidden("The user is not active any more.") from None


async def renew(server: Server, user: Principal, request: HTTPConnection) -> SignedIn:
    """End the session that a request came with, and begin another in its place; of two at the same moment one does it.

    The old one ends last: if it has ended otherwise in the meantime, because the password was changed, say, then the
    new one must not outlive that. Raises `Forbidden` if the old one has ended.
    """
    new = await start(server, user)
    if not await sign_out(server, request):
        await lifecycle.sign_out(server.store, new.token)
        raise Forbidden("The session has ended: sign in again.")
    return new


async def sign_out(server: Server, request: HTTPConnection) -> bool:
    """End the session that a request came with, in every worker; tell whether this call did it."""
    return await lifecycle.sign_out(server.store, session_token(request))
