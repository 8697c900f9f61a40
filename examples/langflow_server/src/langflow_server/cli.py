"""The command `langflow-server`."""

import asyncio
import errno
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvicorn
from sqlalchemy.exc import DBAPIError
from typer.core import TyperCommand
from uvicorn.config import LOGGING_CONFIG

from keyguard import ConfigurationError, SchemaMismatch, StoreUnavailable, WrongSecret
from langflow_server.problems import SettingsProblem
from langflow_server.settings import NAMES, PREFIX, Settings, load
from langflow_server.start import NotDone, make_key, prepare, renew_superuser
from langflow_server.welcome import warnings, welcome

__all__ = ["main"]

main = typer.Typer(
    help="A Langflow-style server, guarded by Keyguard. Settings come from the environment and from .env.",
    epilog=f"Settings: {', '.join(NAMES)}.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_LOGGING = {**LOGGING_CONFIG, "root": {"handlers": ["default"], "level": "WARNING"}}
"""Uvicorn's own, for whatever else is logged, too: each line says how much it matters."""

_SWITCHES = {"--backend-only=true": "--backend-only", "--backend-only=false": "--no-backend-only"}


class _Run(TyperCommand):
    """Takes ``--backend-only=true``, as Langflow does; otherwise a switch has no value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 Click's, or that of Typer's copy.
        """Parse them with the switch as it is known here."""
        return super().parse_args(ctx, [_SWITCHES.get(each.lower(), each) for each in args])


@main.command(cls=_Run, short_help="Start the server.")
def run(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for one that is free.", min=0, max=65535)] = 7860,
    workers: Annotated[int, typer.Option(help="How many processes answer.", min=1)] = 1,
    backend_only: Annotated[bool | None, typer.Option(help="Serve the API without pages.")] = None,
) -> None:
    """Start the server; at the first start, make its data and show how to begin."""
    if backend_only is not None:
        os.environ[f"{PREFIX}BACKEND_ONLY"] = str(backend_only)  # Where the workers look.
    settings = _settings()
    with _explaining(settings), _bound(host, port) as held:
        prepared = asyncio.run(prepare(settings))
        port = held.getsockname()[1]
    for warning in warnings(settings, prepared):
        _note(f"WARNING: {warning}")
    typer.echo(welcome(settings, prepared, _url(host, port), program=_program()))
    uvicorn.run(
        "langflow_server.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        # A worker that says nothing for so many seconds is killed: with the five that are usual, each one on a busy
        # machine that takes longer to start, again and again.
        timeout_worker_healthcheck=60,
        log_config=_LOGGING,
    )


@main.command(short_help="Make the superuser, or set their password.")
def superuser() -> None:
    """Make the superuser that the settings name, or give it a new password.

    The password is LANGFLOW_SUPERUSER_PASSWORD, or is asked for.
    """
    settings = _settings()
    given = settings.superuser_password
    with _explaining(settings):
        if given is None:
            password = _ask_unseen(f"New password of {settings.superuser}", twice=True)
        else:
            password = given.get_secret_value()
        for sentence in asyncio.run(renew_superuser(settings, password)):
            typer.echo(sentence)


@main.command("api-key", short_help="Make a key for the superuser, and print it.")
def api_key(*, name: Annotated[str, typer.Option(help="What the key is called in lists.")] = "Command line") -> None:
    """Make a key for the superuser, and print it: this once, and alone on standard output.

    With LANGFLOW_AUTO_LOGIN that is all. Otherwise the superuser's name and password are LANGFLOW_SUPERUSER and
    LANGFLOW_SUPERUSER_PASSWORD, or are asked for.
    """
    settings = _settings()
    who, given = settings.superuser, settings.superuser_password
    with _explaining(settings):
        if given is not None or settings.auto_login:
            password = "" if given is None else given.get_secret_value()
        else:
            who = _ask("Superuser", default=who)
            password = _ask_unseen("Password")
        key = asyncio.run(make_key(settings, who=who, password=password, name=name))
    _note(f"A key of the superuser {who!r}, called {name!r}. It is shown this once:")
    typer.echo(key)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket with the port that the server is to take: so nothing is made for one that could not start."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind)
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(address)
        except OSError:
            held.close()
            raise
    except OSError as problem:
        advice = " Choose another one with --port." if problem.errno == errno.EADDRINUSE else ""
        raise NotDone(f"The server cannot listen on {host}, port {port}: {problem.strerror}.{advice}") from None
    return held


def _url(host: str, port: int) -> str:
    """Return where a browser on this machine finds what listens there."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 Every address of the machine; this one is easiest to type.
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _program() -> str:
    """Return how this program was called, with the folder that the environment names: what is printed can be pasted."""
    if sys.argv[0].endswith("__main__.py"):
        called = f"{shlex.quote(sys.executable)} -m langflow_server"
    elif sys.argv[0] == shutil.which("langflow-server"):
        called = "langflow-server"
    else:
        called = shlex.quote(sys.argv[0])
    folder = os.environ.get(f"{PREFIX}CONFIG_DIR")
    return called if folder is None else f"{PREFIX}CONFIG_DIR={shlex.quote(folder)} {called}"


def _ask(what: str, *, default: str) -> str:
    """Ask at the terminal. The question stands on standard error: standard output is for the key."""
    _check_terminal()
    typer.echo(f"{what} [{default}]: ", err=True, nl=False)
    return sys.stdin.readline().strip() or default


def _ask_unseen(what: str, *, twice: bool = False) -> str:
    """Ask for a password, which is typed unseen."""
    _check_terminal()
    try:
        password = getpass(f"{what}: ")
        if twice and password != getpass(f"{what}, once more: "):
            raise NotDone("Those are two different ones. Nothing was done.")
    except EOFError:  # Ctrl-D.
        password = ""
    if not password:
        raise NotDone("A password has one character at least. Nothing was done.")
    return password


def _check_terminal() -> None:
    if not sys.stdin.isatty():
        raise NotDone(
            f"The superuser's password is needed, and nobody is there to be asked: set {PREFIX}SUPERUSER_PASSWORD, or "
            "type this at a terminal."
        )


# --- what goes wrong ----------------------------------------------------------------------------------------------


def _settings() -> Settings:
    try:
        return load()
    except SettingsProblem as problem:
        _end(str(problem))


@contextmanager
def _explaining(settings: Settings) -> Generator[None]:
    """End with a sentence on standard error, and nothing else, where settings, database and files do not fit."""
    try:
        yield
    except (NotDone, ConfigurationError) as problem:
        _end(str(problem))
    except WrongSecret:
        _end(_wrong_secret(settings))
    except SchemaMismatch as problem:
        _end(f"{settings.place}: {_as_commands(str(problem), settings)}. Nothing was changed.")
    except StoreUnavailable as problem:
        _end(f"{settings.place}: {problem}.")
    except DBAPIError:
        _end(f"{settings.place}: the database cannot answer now.")
    except OSError as problem:
        _end(f"{problem.filename}: {problem.strerror}.")


def _wrong_secret(settings: Settings) -> str:
    if settings.secret_key is None:
        what = f"{settings.secret_file} does not hold the secret key"
        advice = f"Put it back there, or give it as {PREFIX}SECRET_KEY."
    else:
        what = f"{PREFIX}SECRET_KEY is not the secret key"
        is_there = settings.secret_file.exists()
        advice = f"Give that one{f'; perhaps it is the one in {settings.secret_file}' if is_there else ''}."
    return f"{what} that credentials in {settings.place} were sealed with. {advice} Nothing was changed."


def _as_commands(sentence: str, settings: Settings) -> str:
    """Return what the library advises, in the words of this program."""
    sentence = sentence.replace(
        "`await store.create_schema()` makes them, before the server starts", "`langflow-server run` makes them"
    )
    keyguard = shlex.quote(str(Path(sys.executable).with_name("keyguard")))
    url = f"sqlite:///{settings.place}" if settings.is_sqlite else settings.place
    migrate = f"`{keyguard} migrate --database {shlex.quote(url)}`"
    return sentence.replace("`await keyguard.migrations.upgrade(store)`", migrate)


def _note(sentence: str) -> None:
    """Say it on standard error, with the commands in it as they are to be typed here."""
    typer.echo(sentence.replace("`langflow-server ", f"`{_program()} "), err=True)


def _end(sentence: str) -> NoReturn:
    _note(f"langflow-server: {sentence}")
    raise typer.Exit(1)
