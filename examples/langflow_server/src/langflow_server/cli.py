"""The command `langflow-server`."""

import asyncio
import os
from typing import Annotated

import typer
import uvicorn

from langflow_server.settings import PREFIX, load
from langflow_server.start import prepare

__all__ = ["main"]

main = typer.Typer(
    help="A Langflow-style server, guarded by Keyguard.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


@main.callback()
def _commands() -> None:
    """Keep `run` a command of its own, though there may be no other."""


@main.command()
def run(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 7860,
    workers: Annotated[int, typer.Option(help="How many processes answer.", min=1)] = 1,
    backend_only: Annotated[bool, typer.Option(help="Serve the API without pages.")] = False,
) -> None:
    """Start the server."""
    if backend_only:
        os.environ[f"{PREFIX}BACKEND_ONLY"] = "true"
    asyncio.run(prepare(load()))
    uvicorn.run("langflow_server.app:create_app", factory=True, host=host, port=port, workers=workers)
