"""The app: who stands in front of it, and the rooms that answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse

from keyguard import KeyGuard
from langflow_server import api, pages
from langflow_server.guard import guarded_by
from langflow_server.limits import BodyLimit
from langflow_server.origin import SameOrigin
from langflow_server.problems import OUTAGES, Problem, Unavailable
from langflow_server.server import Server
from langflow_server.settings import Settings, load

__all__ = ["create_app"]

_MOST_SAID = 20
"""What is wrong with a body is told up to here: a long one can be wrong in many thousands of places."""

_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app; without `settings`, those of the environment. Nothing is opened before it starts."""
    server = Server(load() if settings is None else settings)
    settings = server.settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with server.opened(), api.running(app):
            yield

    app = FastAPI(title="Langflow-style server", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.server = server
    api.add_to(app)
    if not settings.backend_only:
        pages.add_to(app)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _unavailable)
    app.add_exception_handler(Problem, _explained)
    app.add_exception_handler(RequestValidationError, _invalid)

    # What was added last stands in front.
    app.add_middleware(BodyLimit)
    app.add_middleware(SameOrigin)
    app.add_middleware(KeyGuard, **guarded_by(server.store, settings))
    if not settings.backend_only:
        pages.stand_in_front(app)
    hosts = [host.strip() for host in settings.allowed_hosts.split(",") if host.strip()]
    if hosts or settings.lets_in:
        # Otherwise any site could have a name of its own lead here, and its pages would be signed in (DNS rebinding).
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts or list(_LOCAL), www_redirect=False)
    return app


async def _explained(_: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, Problem)  # noqa: S101 What it was registered for.
    return JSONResponse({"detail": problem.detail}, problem.status, headers=problem.headers)


async def _invalid(_: Request, problem: Exception) -> JSONResponse:
    """Answer as FastAPI does, but for what was sent: it may be a password, and need not be a text that can be sent."""
    assert isinstance(problem, RequestValidationError)  # noqa: S101 What it was registered for.
    said = [{name: error[name] for name in ("type", "loc", "msg")} for error in problem.errors()[:_MOST_SAID]]
    return JSONResponse({"detail": said}, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _unavailable(request: Request, _: Exception) -> JSONResponse:
    return await _explained(request, Unavailable())
