"""How a function becomes a command.

A command is a coroutine function that takes an `Invocation` first. `command` gives it the options that all commands
have, runs it, and turns whatever it raises into one sentence and an exit code. ::

    @command(keys, "show")
    async def show(invocation: Invocation, key: Annotated[str, typer.Argument(help="Which key.")]) -> None:
        \"\"\"Show a key.\"\"\"
        async with invocation.opened() as store:
            ...
"""

import asyncio
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec

import typer
from typer.core import TyperGroup

from keyguard import __version__
from keyguard.cli._failures import ExitCode, Failed, NotPrinted, failure_of, masked
from keyguard.cli._invocation import Invocation, Options
from keyguard.cli._output import drop, printable, say, write
from keyguard.errors import KeyguardError

__all__ = ["app", "command", "group", "run"]

_P = ParamSpec("_P")
_Command = Callable[Concatenate[Invocation, _P], Coroutine[Any, Any, None]]

Database = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The database, such as sqlite:///keys.db. Else KEYGUARD_DATABASE_URL names it."),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="The app's own SQLStore, with its keyring and its user table, instead of --database.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Say more, on standard error. No secret is among it.")]

_UsageError: Any = typer.BadParameter.__mro__[1]
"""Click's, or that of Typer's own copy of Click, depending on its version."""

_WHOLE_KEY = re.compile(r"[a-z0-9][a-z0-9_]{0,15}_([0-9A-Za-z]{12})_[0-9A-Za-z]{40,}|sk-[0-9A-Za-z_-]{40,}")


_ORDER = ("init", "migrate", "owner", "key", "vault", "import", "audit", "doctor", "check", "explain")
"""In which the help lists the commands: as somebody meets them who begins."""


class Root(TyperGroup):
    """All of `keyguard`: what is typed goes in, and the process ends with one sentence at most and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 Click's context, or that of Typer's copy of it.
        """Return the names of the commands, in the order of the help."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def main(  # type: ignore[override]  # All but `args` is passed on as it is.
        self, args: Sequence[str] | None = None, **options: Any
    ) -> NoReturn:
        """Run the command that `args` name, which are those of the process unless given."""
        arguments = list(sys.argv[1:] if args is None else args)
        if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]  # Closed, it is None.
            # Python would print to standard output what is to be said there, and give its number to a database's file.
            sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 It stays open to the end.
        try:
            _refuse_whole_keys(arguments)
            options["standalone_mode"] = False
            code = super().main(args=arguments, **options)
        except NotPrinted as failure:
            code = _not_printed(failure)
        except OSError as error:  # Of `--help`, which Typer prints: all that a command raises has become a `Failed`.
            code = _not_printed(NotPrinted(error))
        except Failed as failure:
            if failure.code is ExitCode.NOT_PRINTED:  # What was left in the buffer would fail again at the very end.
                drop(sys.stdout)
            code = _say(failure)
        except _UsageError as error:
            what = _ended(_without(arguments, error.format_message()))
            code = _say(Failed(f"{what} See `{error.ctx.command_path} --help`."))
        sys.exit(code or 0)


def _refuse_whole_keys(arguments: Sequence[str]) -> None:
    """Raise `Failed` if a key stands among the arguments: it must not be printed, nor taken for something else."""
    for argument in arguments:
        if match := _WHOLE_KEY.search(argument):
            what_to_do = f"revoke it: `keyguard key revoke {match[1]}`" if match[1] else "have it replaced"
            raise Failed(
                "a whole key stands on the command line. It is in the shell's history now, and was in the list of "
                f"processes: take it for leaked, and {what_to_do}. To name a key, give its id. Nothing was done."
            )


def _without(arguments: Sequence[str], message: str) -> str:
    """Return what Typer says of the arguments, without those that may be secrets."""
    longest = 24
    for argument in arguments:
        _, _, value = argument.rpartition("=")
        if len(value) > longest:
            message = message.replace(value, f"{value[:4]}…")
    return message.replace("Value error, ", "")  # What Typer's own library puts before some sentences.


def _not_printed(failure: NotPrinted) -> ExitCode:
    """Say so, unless nobody reads any more, and return the exit code."""
    drop(sys.stdout)
    return ExitCode.DONE if failure.reader_is_gone else _say(failure)


def _say(failure: Failed) -> ExitCode:
    """Say why a command has failed, and return its exit code."""
    say(f"keyguard: {_ended(failure.sentence)}")
    return failure.code


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


def group(name: str, about: str) -> typer.Typer:
    """Return a group of commands, which `command` then fills; alone on the line it shows its help."""
    members = typer.Typer(help=about, rich_markup_mode=None)
    app.add_typer(members, name=name)

    @members.callback(invoke_without_command=True)
    def _(context: typer.Context) -> None:
        _show_help(context)

    return members


def command(
    members: typer.Typer, name: str, *, needs_store: bool = True
) -> Callable[[_Command[_P]], Callable[..., None]]:
    """Make a coroutine function the command `name`, whose docstring is its help.

    One that does not need a store has no options to name one.
    """

    def register(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @wraps(function)
        def start(*, context: typer.Context, **given: Any) -> None:
            if context.args:
                raise Failed(
                    f"`{context.command_path}` takes no more arguments than `--help` shows. What was too much is not "
                    "repeated here: a secret is never an argument, it is typed at a prompt or comes from standard input"
                )
            own = Options(
                database=given.pop("database", None),
                store=given.pop("store", None),
                as_json=given.pop("as_json"),
                verbose=given.pop("verbose"),
            )
            options = own.over(context.find_object(Options) or Options())
            run(function(Invocation(options), **given), verbose=options.verbose)

        _sign(start, function, needs_store=needs_store)
        settings = {"allow_extra_args": True}
        return members.command(name, context_settings=settings)(start)

    return register


def _sign(start: Callable[..., None], function: Callable[..., object], *, needs_store: bool) -> None:
    """Give `start` the parameters by which Typer knows which options and arguments there are."""
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    kind = inspect.Parameter.KEYWORD_ONLY
    common: dict[str, tuple[Any, Any]] = {"as_json": (AsJson, False), "verbose": (Verbose, False)}
    if needs_store:
        common = {"database": (Database, None), "store": (Store, None), **common}
    parameters = [
        inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(each.replace(kind=kind) for each in own),
        *(inspect.Parameter(name, kind, default=rest[1], annotation=rest[0]) for name, rest in common.items()),
    ]
    start.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    start.__annotations__ = {each.name: each.annotation for each in parameters}


def run(work: Coroutine[Any, Any, None], *, verbose: bool = False) -> None:
    """Run a command's coroutine to its end.

    Raises `Failed` in the place of whatever an exception of the library's, or one that nobody expected, would be here.
    """
    try:
        with _log_shown(verbose=verbose):
            asyncio.run(work)
    except KeyguardError as error:
        raise failure_of(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (Failed, typer.Exit):
        raise
    except Exception as error:  # noqa: BLE001 Whatever it is, its text may hold what must not be shown.
        if verbose:  # Where it happened, and no message: that may quote anything.
            traceback.print_tb(error.__traceback__)
        hint = "the lines above say where" if verbose else "--verbose says where"
        raise Failed(
            f"this is a mistake in Keyguard itself, {type(error).__name__}; {hint}. Please report it",
            ExitCode.UNEXPECTED,
        ) from None


class _Sentences(logging.Formatter):
    """Writes a record of the log like everything else that a command says."""

    def format(self, record: logging.LogRecord) -> str:
        return _ended(printable(masked(f"{record.levelname.capitalize()}: {record.getMessage()}")))


@contextmanager
def _log_shown(*, verbose: bool) -> Generator[None]:
    """Have the library's log shown on standard error: its warnings, or all of it."""
    log = logging.getLogger("keyguard")
    before = log.handlers, log.propagate, log.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Sentences())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        yield
    finally:
        log.handlers, log.propagate = before[:2]
        log.setLevel(before[2])


def _show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        write(context.get_help())


app = typer.Typer(
    name="keyguard",
    cls=Root,
    help="Issue, rotate and revoke API keys, and look after what guards an app with them.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _(
    context: typer.Context,
    *,
    database: Database = None,
    store: Store = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if version:
        write(f"keyguard {__version__}")
        raise typer.Exit
    context.obj = Options(database=database, store=store, as_json=as_json, verbose=verbose)
    _show_help(context)
