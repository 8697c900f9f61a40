"""The pages, for people with a browser.

They are rendered here and work without scripts, but for the buttons that copy. People are known by their session; a key
opens no page. Forms are safe from other sites by `langflow_server.origin` and the cookie's ``SameSite``.
"""

from importlib.resources import files

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from keyguard.admin import KeyAdmin, Theme
from langflow_server.guard import ASSETS, KEY_PAGE, SIGN_IN
from langflow_server.pages import flows, password, settings, sign_in, users, variables
from langflow_server.pages.front import Front
from langflow_server.server import Server

__all__ = ["add_to", "stand_in_front"]

_THEME = Theme(accent="#6d28d9", on_accent="#ffffff", dark_accent="#c4b5fd", dark_on_accent="#1e1038")
"""The accents of static/colours.css."""


def add_to(app: FastAPI) -> None:
    """Add the pages to the app."""
    server: Server = app.state.server
    for room in (sign_in, flows, settings, variables, users, password):
        app.include_router(room.router, include_in_schema=False)
    app.mount(ASSETS, StaticFiles(directory=str(files("langflow_server.pages") / "static")))
    app.mount(
        KEY_PAGE,
        KeyAdmin(
            server.store,
            sign_in_url=f"{SIGN_IN}?next={KEY_PAGE}/",
            sample_path="/api/v1/users/whoami",
            title="Langflow API Keys",
            links=[("Flows", "/flows"), ("Settings", "/settings")],
            theme=_THEME,
        ),
    )


def stand_in_front(app: FastAPI) -> None:
    """Put in front of the app what all pages need. To be called when everything but the host check is there."""
    app.add_middleware(Front)
