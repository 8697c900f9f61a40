"""What anybody may know: that the server runs, and which it is."""

from importlib.metadata import version as version_of

from fastapi import APIRouter

from langflow_server.server import TheServer

__all__ = ["health", "router"]

router = APIRouter(tags=["status"])


async def health() -> dict[str, str]:
    """Say that the server answers. The database is not asked."""
    return {"status": "ok"}


@router.get("/version")
async def version() -> dict[str, str]:
    """Say which release of which package this is."""
    return {
        "version": version_of("langflow-server"),
        "main_version": version_of("langflow-server"),
        "package": "langflow-server",
    }


@router.get("/config")
async def config(server: TheServer) -> dict[str, object]:
    """Say what a front end has to know before anybody is signed in."""
    settings = server.settings
    return {
        "auto_login": settings.auto_login,
        "api_version": settings.api_version,
        "frontend": not settings.backend_only,
    }
