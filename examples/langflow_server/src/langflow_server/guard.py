"""Who is let in: the policy as the settings say it, who is signed in, and how a refusal is answered.

All of it in one place: whatever stands in `api` and `pages` asks with `User`, `KeyUser`, `Superuser` or `SignedIn`.
"""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from keyguard import Access, PathRule, Policy, Principal, Refusal, Rule, lifecycle
from keyguard.admin import with_key_page
from keyguard.fastapi import KeySecurity
from keyguard.stores.sql import SQLStore
from langflow_server.problems import Forbidden
from langflow_server.settings import Settings

__all__ = [
    "ASSETS",
    "KEY_PAGE",
    "MCP_PATHS",
    "RUN",
    "SESSION_COOKIE",
    "SIGN_IN",
    "KeyUser",
    "SignedIn",
    "Superuser",
    "User",
    "answer_refusal",
    "by_session",
    "guarded_by",
    "policy_of",
    "session_token",
]

SESSION_COOKIE = "access_token_lf"
"""The name that Langflow's own cookie has."""
SIGN_IN = "/sign-in"
KEY_PAGE = "/settings/api-keys"
ASSETS = "/assets"

MCP_PATHS = tuple(f"{api}{path}" for api in ("/api", "") for path in ("/v1/mcp", "/v1/mcp-projects", "/v2/mcp"))
"""Open in every setting, with `/api` in front and without: the MCP server below them knows no caller."""


def policy_of(settings: Settings) -> Policy:
    """Return who may pass: what Langflow's documents say, as a table."""
    policy = Policy(
        exempt=[
            "/health",
            "/api/v1/version",
            "/api/v1/config",
            PathRule(path="/api/v1/login", methods={"POST"}),
            PathRule(path="/api/v1/auto_login", methods={"GET"}),
            *(PathRule(path=f"{path}/*", methods={"GET", "POST", "DELETE"}) for path in MCP_PATHS),
            *([] if settings.backend_only else [SIGN_IN, f"{ASSETS}/*"]),
        ],
        auto_login=settings.auto_login,
        auto_login_needs_key=not (settings.auto_login and settings.api_version == "1.4"),
        skip_auth=settings.skip_auth_auto_login,
        auto_login_user=settings.superuser,
    )
    return policy if settings.backend_only else with_key_page(policy, KEY_PAGE)


def session_token(connection: HTTPConnection) -> str:
    """Return the token of a session, as a bearer token or else as a cookie; empty where there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else connection.cookies.get(SESSION_COOKIE, "")


async def by_session(store: SQLStore, scope: Scope) -> Principal | None:
    """Return who is signed in. A text that is no session's is nobody's."""
    found = await lifecycle.find_session(store, session_token(HTTPConnection(scope)))
    if found is None:
        return None
    return Principal(id=found.owner.id, name=found.owner.name, is_superuser=found.owner.is_superuser)


def answer_refusal(scope: Scope, refusal: Refusal) -> Response:
    """Answer as Langflow does: 403 where HTTP would say 401, and ``{"detail": …}``. A browser is led to sign in."""
    if refusal.status == HTTPStatus.UNAUTHORIZED and _is_page(scope):
        return RedirectResponse(f"{SIGN_IN}?next={quote(scope['path'])}", HTTPStatus.SEE_OTHER)
    status = HTTPStatus.FORBIDDEN if refusal.status == HTTPStatus.UNAUTHORIZED else refusal.status
    return JSONResponse({"detail": refusal.detail}, status)


def _is_page(scope: Scope) -> bool:
    """Tell whether a browser asks for one of the pages."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and not scope["path"].startswith("/api/")
        and not scope["app"].state.server.settings.backend_only
        and "text/html" in HTTPConnection(scope).headers.get("accept", "")
    )


# --- what an endpoint asks for ------------------------------------------------------------------------------------

# Langflow's keys may do all that their users may, and so do those that this server makes. One that was issued with
# scopes, by the library or its command, does no more than they say: it runs flows with the scope of that, with tweaks
# that may name its user's Generic variables, and nothing else. So it makes no key that could do more than itself.
RUN = "flows:run"
"""The scope that a key needs to run its user's flows, if it has not got all."""

security = KeySecurity()


class _Session(SecurityBase):
    """A session, in the OpenAPI document. The guard has judged the request."""

    scheme_name = "Session"
    model = OAuth2(
        flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="/api/v1/login")),
        description="What `POST /api/v1/login` answers, as a bearer token or as the cookie that it sets.",
    )

    async def __call__(self) -> None:
        """Do nothing."""


_documented = Depends(_Session())


def _user(user: Annotated[Principal, security("*")], _session: Annotated[None, _documented]) -> Principal:
    return user


User = Annotated[Principal, Depends(_user)]
"""Whoever is let in: by a session, by a key that may do all that its user may, or as the settings have it."""
KeyUser = Annotated[Principal, security(RUN, key=True)]
"""Who came with a key that may run flows; a session is not enough."""


def _superuser(
    user: Annotated[Principal, security(superuser=True)], _session: Annotated[None, _documented]
) -> Principal:
    return user


Superuser = Annotated[Principal, Depends(_superuser)]
"""A superuser, by a session or by a key that may do all that its user may."""


def _signed_in(connection: HTTPConnection, _session: Annotated[None, _documented]) -> Principal:
    access: Access = connection.scope["keyguard"]
    if access.rule is not Rule.IDENTIFIED:
        raise Forbidden("This needs a session: sign in with a name and a password. A key is not enough.")
    user: Principal = connection.scope["user"]
    return user


SignedIn = Annotated[Principal, Depends(_signed_in)]
"""Who is signed in, and did not come with a key."""


def guarded_by(store: SQLStore, settings: Settings) -> dict[str, Any]:
    """Return the arguments of `keyguard.KeyGuard`."""
    return {
        "store": store,
        "policy": policy_of(settings),
        "identify": lambda scope: by_session(store, scope),
        "on_refused": answer_refusal,
    }
