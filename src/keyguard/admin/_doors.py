"""The doors of the page: what happens before an endpoint runs, and what becomes of what it raises.

There are two kinds. `page` and `form` are for browsers: nobody is sent to sign in, and what goes wrong is a page. `api`
is for programs, which are told in problem documents. Whoever asks for a change has to prove at either that it is a page
of ours that asks.
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from keyguard.admin._answers import problem_document
from keyguard.admin._csrf import comes_from_here
from keyguard.admin._form import Form, read_form
from keyguard.admin._problems import Problem, problem_of
from keyguard.admin._searched import holds_key
from keyguard.admin._settings import Settings
from keyguard.admin._visit import Notice, Visit, not_signed_in
from keyguard.admin._visitor import Way
from keyguard.errors import StartRefused, StoreUnavailable
from keyguard.journal import Journal

__all__ = ["Endpoint", "FormEndpoint", "answer_instead", "api", "error_page", "form", "page", "public"]

Endpoint = Callable[[Visit], Awaitable[Response]]
FormEndpoint = Callable[[Visit, Form], Awaitable[Response]]
OnError = Callable[[Visit, Problem], Response]
Answering = Callable[[Request], Awaitable[Response]]

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_JOURNAL = Journal()


# --- for browsers ------------------------------------------------------------------------------------------------


def page(settings: Settings, path: str, endpoint: Endpoint, *, open_to_all: bool = False) -> Route:
    """Return the route of a page: GET and HEAD."""

    async def run(visit: Visit) -> Response:
        if visit.visitor is None and not open_to_all:
            return _sign_in_first(visit)
        return await endpoint(visit)

    return _route(settings, path, ["GET"], endpoint.__name__, run, on_error=error_page)


def public(settings: Settings, path: str, endpoint: Endpoint) -> Route:
    """Return the route of what nobody is asked who they are for, not even by their cookies: GET and HEAD."""
    return _route(settings, path, ["GET"], endpoint.__name__, endpoint, on_error=error_page, asks_who=False)


def form(settings: Settings, path: str, endpoint: FormEndpoint, *, open_to_all: bool = False) -> Route:
    """Return the route that a form is sent to: POST. The endpoint is given what was sent, when the check is done."""

    async def run(visit: Visit) -> Response:
        if visit.visitor is None and not open_to_all:
            return _sign_in_first(visit)
        sent = await read_form(visit.request)
        if not await visit.stays():
            return _sign_in_first(visit)
        visit.check_change(sent.one("csrf"))
        return await endpoint(visit, sent)

    return _route(settings, path, ["POST"], endpoint.__name__, run, on_error=error_page)


def error_page(visit: Visit, problem: Problem) -> Response:
    """Return a page that says what went wrong."""
    return visit.page(
        "message.html",
        problem.status,
        headers=problem.headers,
        heading=problem.status.phrase,
        sentence=problem.detail,
        link=None if visit.visitor is None else visit.url("/"),
        link_word="Back to the keys",
    )


def _sign_in_first(visit: Visit) -> Response:
    """Send nobody to where people sign in, and from there back to here."""
    settings, request = visit.settings, visit.request
    if settings.sign_in_url is not None and request.method in _SAFE_METHODS:
        return RedirectResponse(settings.sign_in_url, status_code=HTTPStatus.SEE_OTHER)
    if settings.sign_in_url is not None:
        # Browsers let no form lead to another host (`form-action`), as an app's sign-in may: nothing would happen.
        return visit.page(
            "message.html",
            HTTPStatus.UNAUTHORIZED,
            headers=not_signed_in().headers,
            heading="Sign in first",
            sentence="You are not signed in any more. Nothing was done.",
            link=settings.sign_in_url,
            link_word="Sign in",
        )
    if not settings.has_form:
        raise not_signed_in()
    if request.method not in _SAFE_METHODS:
        return visit.go("/sign-in", Notice(kind="failed", text="Sign in first. Nothing was done."))
    has_key = holds_key(visit.here, settings.store.keyring)  # Whoever wrote that address: it is not repeated.
    return visit.go("/sign-in", next=None if visit.here == "/" or has_key else visit.here)


# --- for programs ------------------------------------------------------------------------------------------------


def api(
    settings: Settings, path: str, endpoint: Endpoint, *methods: str, name: str, open_to_all: bool = False
) -> Route:
    """Return the route of an operation of the JSON API, and of what it is called."""

    async def run(visit: Visit) -> Response:
        if visit.visitor is None and not open_to_all:
            raise not_signed_in()
        if visit.request.method not in _SAFE_METHODS and _is_by_browser(visit):
            visit.check_change(visit.request.headers.get("x-csrf-token"))
        return await endpoint(visit)

    return _route(settings, path, methods, name, run, on_error=_document)


def _is_by_browser(visit: Visit) -> bool:
    """Tell whether a browser could have made a request by itself, which is all that another site can have it do.

    It adds cookies, passwords (Basic), certificates and its address; it never adds a bearer token. Another site's
    script can, where the app lets it by CORS: then the browser says whose it is.
    """
    headers = visit.request.headers
    by_token = visit.visitor is not None and visit.visitor.way is Way.APP
    by_token = by_token and headers.get("authorization", "").lower().startswith("bearer ")
    is_foreign = "origin" in headers and not comes_from_here(visit.request, visit.settings.trusted_origins)
    return "cookie" in headers or is_foreign or not by_token


# --- for both ----------------------------------------------------------------------------------------------------


def answer_instead(settings: Settings, path: str, problem: Problem) -> Answering:
    """Return what answers with `problem` where there is no endpoint: as a page, or as below the API."""

    async def raise_it(_: Visit) -> Response:
        raise problem

    is_api = path == "/api" or path.startswith("/api/")
    return _answering(settings, raise_it, on_error=_document if is_api else error_page)


def _route(
    settings: Settings,
    path: str,
    methods: Sequence[str],
    name: str,
    run: Endpoint,
    *,
    on_error: OnError,
    asks_who: bool = True,
) -> Route:
    answer = _answering(settings, run, on_error=on_error, asks_who=asks_who)
    return Route(path, answer, methods=list(methods), name=name)


def _answering(settings: Settings, run: Endpoint, *, on_error: OnError, asks_who: bool = True) -> Answering:
    async def answer(request: Request) -> Response:
        visit = Visit(settings, request)
        try:
            if asks_who:
                await visit.arrive()
            response = await run(visit)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # Nobody is there to read it.
        except Exception as error:  # noqa: BLE001 Whatever it is, the visitor sees nothing of it.
            response = _failed(visit, error, on_error)
        visit.cookies.write(response)
        return response

    return answer


def _failed(visit: Visit, error: Exception, on_error: OnError) -> Response:
    if isinstance(error, StoreUnavailable | StartRefused):
        _JOURNAL.trouble("the key page cannot do without the store", error)
    try:
        problem = problem_of(error) or _unexpected(error)
        if problem.status is HTTPStatus.FORBIDDEN:
            visitor = visit.visitor
            visit.note("forbidden", problem.code, owner_id=None if visitor is None else visitor.owner.id)
        return on_error(visit, problem)
    except Exception as another:  # noqa: BLE001 The page that says so fails as well.
        return problem_document(_unexpected(another))


def _document(_: Visit, problem: Problem) -> Response:
    return problem_document(problem)


def _unexpected(error: Exception) -> Problem:
    """Write that something failed, and tell nothing of it."""
    _JOURNAL.trouble("the key page failed", error, unexpected=True)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "failed",
        "Something went wrong here. It was written down for whoever runs this.",
    )
