"""The settings: where each of them is."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from langflow_server.guard import KEY_PAGE
from langflow_server.pages.layout import page
from langflow_server.pages.visitor import Visitor

__all__ = ["router"]

router = APIRouter()

_KEYS = (f"{KEY_PAGE}/", "Langflow API Keys", "What your programs call your flows with. A key acts as you.")
_VARIABLES = ("/settings/variables", "Global Variables", "Texts and credentials that your flows refer to by name.")
_USERS = ("/settings/users", "Users", "Who may sign in, and who is a superuser.")
_PASSWORD = ("/settings/password", "Password", "What you sign in with.")


@router.get("/settings")
async def settings(request: Request, visitor: Visitor) -> Response:
    places = [_KEYS, _VARIABLES, *([_USERS] if visitor.is_superuser else []), _PASSWORD]
    return page(request, "settings.html", section="settings", places=places)
