"""How a command speaks: what was asked for goes to standard output, everything else to standard error.

Tables have no lines, and nothing is said by colour alone: they read the same in a pipe, on paper and aloud. What comes
from the database is shown as it is but for control characters, which a terminal would obey.
"""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyguard.cli._failures import NotPrinted, masked

__all__ = ["Output", "drop", "instant", "is_closed", "printable", "say", "write"]

_WIDTH = 80
"""Of what is no terminal, and so has no width: the same as that of the narrowest common one."""


def printable(value: object) -> str:
    """Return the text of a value, with an escape in the place of each character that cannot be seen."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))


def instant(at: datetime | None, *, otherwise: str = "") -> str:
    """Return a time for people, in UTC and to the second; `otherwise` where there is none."""
    return otherwise if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


class Output:
    """Standard output and standard error of one command."""

    def __init__(self) -> None:
        self._is_terminal = not is_closed() and sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns if self._is_terminal else _WIDTH

    def json(self, document: object) -> None:
        """Print the one JSON document of a command. Times are ISO 8601, what JSON does not know is a text."""
        write(json.dumps(document, indent=2, default=_plain))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]], *, whole: Collection[str] = ()) -> None:
        """Print a table. Cells that are too wide go on below, but for those of the columns that are to stay `whole`."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in head:
            table.add_column(Text(title), overflow="fold", no_wrap=title in whole)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._print(table)

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print what there is to say of one thing, a line for each."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(Text(name), Text(printable(value)))
        self._print(table)

    def item(self, line: str, more: str = "") -> None:
        """Print a line of a list, and below it, indented, what more there is to say."""
        indent = " " * 4
        wrapped = textwrap.wrap(
            printable(more), self._width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        write("\n".join([printable(line), *wrapped]))

    def line(self, sentence: str) -> None:
        """Print a line of what was asked for."""
        write(printable(sentence))

    def secret(self, text: str) -> None:
        """Print a secret, as it is and alone on its line."""
        write(text)

    def note(self, sentence: str, *, end: str = "\n") -> None:
        """Say something beside, on standard error."""
        say(sentence, end=end)

    def _print(self, table: Table) -> None:
        # Rich itself looks for NO_COLOR, and for terminals that are too simple for bold letters.
        text = StringIO()
        Console(file=text, force_terminal=self._is_terminal, width=self._width).print(table)
        write("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def say(sentence: str, *, end: str = "\n") -> None:
    """Say something on standard error; that this cannot be written is no failure of what was asked for."""
    try:
        print(printable(masked(sentence)), end=end, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO) -> None:
    """Let what is left to write go nowhere: Python would try again at its end, and complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_closed() -> bool:
    """Tell whether the process was started without a standard output."""
    return sys.stdout is None  # pyright: ignore[reportUnnecessaryComparison]  # That is what Python makes of it.


def write(text: str) -> None:
    """Write a text to standard output. Raises `NotPrinted` if it takes nothing any more."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)  # A name can have what a locale has not.
    try:
        print(text, flush=True)  # noqa: T201
    except OSError as error:
        raise NotPrinted(error) from None


def _plain(value: Any) -> str:  # noqa: ANN401 Whatever json does not know.
    return value.isoformat() if isinstance(value, datetime) else str(value)
