"""How a command asks: for a yes, and for a secret, which is never an argument.

Questions go to standard error, so that standard output holds what was asked for and nothing else.
"""

import getpass
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

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
    with _interruptible():
        output.note(f"{question} [y/N]", end=" ")
        answer = sys.stdin.readline()
    if answer.strip().lower() not in {"y", "yes"}:
        raise Failed("Not confirmed. Nothing was done.")


def read_secret(what: str, *, twice: bool = False) -> str:
    """Return a secret: typed unseen at a terminal, otherwise all of standard input but its last line's end.

    `what` names it, such as ``Password``. With `twice` it is typed a second time, where it is typed.

    Raises `Failed` if it is empty or no text, or if the second time is not the first.
    """
    try:
        with _interruptible():
            secret = _typed(what, twice=twice) if _is_terminal() else _piped()
        secret.encode()  # In some locales Python reads each byte that is no text as half of a surrogate pair.
    except UnicodeError:
        raise Failed(f"{what} is a text, and what was read is none in UTF-8. Nothing was done.") from None
    if not secret:
        raise Failed(f"{what} is read from standard input, and there was none. Nothing was done.")
    return secret


def _piped() -> str:
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # Closed, it is None.
        return ""
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _typed(what: str, *, twice: bool) -> str:
    try:
        secret = getpass.getpass(f"{what}: ")
        if twice and secret != getpass.getpass(f"{what}, once more: "):
            raise Failed("Those are two different ones. Nothing was done.")
    except EOFError:  # Ctrl-D.
        return ""
    return secret


@contextmanager
def _interruptible() -> Generator[None]:
    """Let Ctrl-C end what waits for a person, as it does outside of asyncio, which would wait for the answer first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # pyright: ignore[reportUnnecessaryComparison]  # Closed, it is None.
