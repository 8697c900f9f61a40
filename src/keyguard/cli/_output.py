"""How a command speaks: what was asked for goes to standard output, everything else to standard error.

Tables have no lines, and nothing is said by colour alone: they read the same in a pipe, on paper and aloud. What comes
from the database is shown as it is but for control characters, which a terminal would obey.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyguard.cli._failures import masked

__all__ = ["Output", "instant", "printable"]


def printable(value: object) -> str:
    """Return the text of a value, with an escape in the place of each character that cannot be seen."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))


def instant(at: datetime | None, *, otherwise: str = "") -> str:
    """Return a time for people, in UTC and to the second; `otherwise` where there is none."""
    return otherwise if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


class Output:
    """Standard output and standard error of one command."""

    def __init__(self) -> None:
        self._console = _console(sys.stdout)

    def json(self, document: object) -> None:
        """Print the one JSON document of a command. Times are ISO 8601, what JSON does not know is a text."""
        self._write(json.dumps(document, indent=2, default=_plain))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table; cells that are too wide for the terminal go on below."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in head:
            table.add_column(Text(title), overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._console.print(table)

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print what there is to say of one thing, a line for each."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(Text(name), Text(printable(value)))
        self._console.print(table)

    def line(self, sentence: str) -> None:
        """Print a line of what was asked for."""
        self._write(printable(sentence))

    def secret(self, text: str) -> None:
        """Print a secret, as it is and alone on its line."""
        self._write(text)

    def note(self, sentence: str) -> None:
        """Say something beside, on standard error."""
        print(printable(masked(sentence)), file=sys.stderr, flush=True)  # noqa: T201

    def _write(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201


def _console(file: IO[str]) -> Console:
    # What is no terminal has no width: tables are as wide there as on the narrowest common one.
    width = None if file.isatty() or "COLUMNS" in os.environ else 80
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def _plain(value: Any) -> str:  # noqa: ANN401 Whatever json does not know.
    return value.isoformat() if isinstance(value, datetime) else str(value)
