"""The MCP server: its tools are the flows that their owners have made public."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from langflow_server.server import Server

__all__ = ["add_to", "running"]


def add_to(app: FastAPI) -> None:
    """Add the MCP server to the app, at each of its paths."""


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[None]:
    """Run the MCP server's sessions."""
    yield
