"""The page's own form to sign in with, and the button to sign out."""

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from keyguard.admin._doors import form, page, public
from keyguard.admin._entrance import Entrance, way_back
from keyguard.admin._form import Form
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings
from keyguard.admin._visit import Notice, Visit

__all__ = ["routes"]


def routes(settings: Settings, entrance: Entrance) -> list[Route]:
    """Return the routes for signing in and out; where the app does that, one that leads there."""
    if not settings.has_form:
        return [public(settings, "/sign-in", lead_on)]

    async def show(visit: Visit) -> Response:
        asked_for = visit.request.query_params.get("next", "")
        if visit.visitor is not None:
            return visit.go_back(way_back(asked_for))
        return _form_page(visit, asked_for)

    async def sign_in(visit: Visit, sent: Form) -> Response:
        try:
            await entrance.sign_in(visit, sent.one("name"), sent.one("password"))
        except Problem as problem:
            return _form_page(visit, sent.one("next"), name=sent.one("name"), problem=problem)
        return visit.go_back(way_back(sent.one("next")))

    async def sign_out(visit: Visit, _: Form) -> Response:
        await entrance.sign_out(visit)
        return visit.go("/sign-in", Notice(text="You have signed out."))

    return [
        page(settings, "/sign-in", show, open_to_all=True),
        form(settings, "/sign-in", sign_in, open_to_all=True),
        form(settings, "/sign-out", sign_out),
    ]


async def lead_on(visit: Visit) -> Response:
    """Send on whoever has kept the address of a form that is not there."""
    url = visit.settings.sign_in_url
    return visit.go("/") if url is None else RedirectResponse(url, status_code=HTTPStatus.SEE_OTHER)


def _form_page(visit: Visit, asked_for: str, *, name: str = "", problem: Problem | None = None) -> Response:
    return visit.page(
        "sign_in.html",
        HTTPStatus.OK if problem is None else problem.status,
        headers=None if problem is None else problem.headers,
        next=asked_for if way_back(asked_for) == asked_for else "",
        name=name,
        error="" if problem is None else problem.detail,
    )
