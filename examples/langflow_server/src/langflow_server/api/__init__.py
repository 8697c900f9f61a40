"""The API below ``/api/v1``, the health check, and the MCP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Response

from langflow_server.api import flows, keys, mcp, run, sign_in, status, users, variables

__all__ = ["add_to", "running"]


def add_to(app: FastAPI) -> None:
    """Add all routes to the app."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(_keep_nowhere)])
    for room in (status, sign_in, users, keys, flows, run, variables):
        router.include_router(room.router)
    app.include_router(router)
    app.add_api_route("/health", status.health, methods=["GET"])
    mcp.add_to(app)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Run what has to run while requests are answered."""
    async with mcp.running(app):
        yield


def _keep_nowhere(answer: Response) -> None:
    """Have no cache on the way keep what one caller is told: it knows nothing of `x-api-key`."""
    answer.headers["Cache-Control"] = "no-store"
