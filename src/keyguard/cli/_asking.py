"""How a command asks: for a yes, and for a secret, which is never an argument.

Questions go to standard error, so that standard output holds what was asked for and nothing else.
"""

import getpass
import sys

from keyguard.cli._failures import Failed
from keyguard.cli._output import Output

__all__ = ["confirm", "read_secret"]


def confirm(output: Output, question: str, *, yes: bool) -> None:
    """Ask for a yes, unless it was given as ``--yes``; `question` names what will be hit.

    Raises `Failed` if the answer is another one, or if there is nobody to ask.
    """
    if yes:
        return
    if not _is_terminal():
        raise Failed(f"{question} Nobody is there to confirm it: say --yes if that is what you want. Nothing was done.")
    output.note(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failed("Not confirmed. Nothing was done.")


def read_secret(what: str, *, twice: bool = False) -> str:
    """Return a secret: typed unseen at a terminal, otherwise all of standard input but its last line's end.

    `what` names it, such as ``Password``. With `twice` it is typed a second time, where it is typed.

    Raises `Failed` if it is empty, or if the second time is not the first.
    """
    if not _is_terminal():
        secret = sys.stdin.read()
        secret = secret.removesuffix("\n").removesuffix("\r")
    else:
        secret = getpass.getpass(f"{what}: ")
        if twice and secret != getpass.getpass(f"{what}, once more: "):
            raise Failed("Those are two different ones. Nothing was done.")
    if not secret:
        raise Failed(f"{what} is read from standard input, and there was none. Nothing was done.")
    return secret


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # pyright: ignore[reportUnnecessaryComparison]  # Closed, it is None.
