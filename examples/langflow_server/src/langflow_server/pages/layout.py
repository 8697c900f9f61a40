"""How a page is made, and where one leads after something was done."""

from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from keyguard import Principal, Rule
from langflow_server.guard import ASSETS
from langflow_server.problems import Problem
from langflow_server.server import server_of

__all__ = ["Said", "go", "page"]

BRAND = "Langflow-style server"


class Said(Enum):
    """What a page says of what was done just before; the address holds its name, and nothing else can be said so."""

    SIGNED_OUT = "You have signed out."
    PASSWORD_CHANGED = "Your password was changed. Sign in with the new one."  # noqa: S105 It is none.
    FLOW_ADDED = "The sample flow was added."
    FLOW_PUBLIC = "The flow is public now: MCP clients find it as a tool."
    FLOW_PRIVATE = "The flow is private again: MCP clients do not find it any more."
    VARIABLE_ADDED = "The variable was added."
    VARIABLE_CHANGED = "The variable was changed."
    VARIABLE_DELETED = "The variable was deleted."
    USER_ADDED = "The user was added."
    USER_ACTIVATED = "The user was activated: the keys work again."
    USER_DEACTIVATED = "The user was deactivated: all sessions have ended, and the keys are refused."
    USER_PROMOTED = "The user is a superuser now."
    USER_DEMOTED = "The user is no superuser any more."
    USER_PASSWORD_SET = "The new password was set: all sessions of the user have ended."  # noqa: S105 It is none.
    USER_DELETED = "The user was deleted."


def go(path: str, said: Said | None = None) -> Response:
    """Lead the browser to a page, which says what was done."""
    return RedirectResponse(path if said is None else f"{path}?said={said.name.lower()}", HTTPStatus.SEE_OTHER)


def page(
    request: Request, template: str, problem: Problem | None = None, *, status: int = HTTPStatus.OK, **more: Any
) -> Response:
    """Return a page made from a template, which has `more` and what every template has.

    That is `brand`, `user` (None for nobody), `can_sign_in` and `can_sign_out`, `asset` (the address of a file of
    ours), `section` and `place` (which entries of the bar and of the settings it belongs to), `said`, and `failed`: a
    sentence, or empty. With a `problem`, its sentence is `failed`, and the answer has its status and header fields.
    """
    user = request.scope.get("user")
    has_session = _has_session(request)
    is_automatic = server_of(request).settings.auto_login
    everywhere = {
        "brand": BRAND,
        "user": user if isinstance(user, Principal) else None,
        "can_sign_in": not has_session and not is_automatic,
        "can_sign_out": has_session and not is_automatic,
        "asset": lambda name: f"{ASSETS}/{name}",
        "section": "",
        "place": "",
        "said": _said(request),
        "failed": "" if problem is None else problem.detail,
    }
    text = _TEMPLATES.get_template(template).render({**everywhere, **more})
    return HTMLResponse(text, status) if problem is None else HTMLResponse(text, problem.status, problem.headers)


def _has_session(request: Request) -> bool:
    access = request.scope.get("keyguard")
    return access is not None and access.rule is Rule.IDENTIFIED


def _said(request: Request) -> str:
    if request.method != "GET":
        return ""
    said = Said.__members__.get(request.query_params.get("said", "").upper())
    return "" if said is None else said.value


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%d %b %Y}".removeprefix("0")


def _moment(time: datetime) -> str:
    return f"{_day(time)}, {time.astimezone(UTC):%H:%M} UTC"


_TEMPLATES = Environment(
    loader=PackageLoader("langflow_server.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update({"day": _day, "moment": _moment})
