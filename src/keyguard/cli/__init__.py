"""The command line, `keyguard`. It needs the extra `cli`.

`_app` makes a function into a command, `_invocation` is what the command then has in its hand: the store that the
options and the environment name, and ways to print and to ask. The commands stand in a file for each thing that they
are about.
"""

import sys

__all__ = ["main"]

_OF_THE_EXTRA = {"typer", "rich", "alembic"}


def main() -> None:
    """Run the command that the arguments of the process name, and end the process with its exit code."""
    try:
        from keyguard.cli._commands import app  # noqa: PLC0415 What it needs comes with an extra.
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _OF_THE_EXTRA:
            raise
        print('keyguard: the command line needs more packages: pip install "keyguard-asgi[cli]"', file=sys.stderr)  # noqa: T201
        sys.exit(2)
    app(prog_name="keyguard")
