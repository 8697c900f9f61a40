"""How results are written down: the same sections for the terminal and, as Markdown, for the manual."""

import argparse
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from benchmarks.hashing import processor

__all__ = ["Section", "Verdict", "as_markdown", "as_text", "duration", "run_alone"]

PACKAGES = (
    "keyguard-asgi",
    "starlette",
    "sqlalchemy",
    "aiosqlite",
    "asyncpg",
    "argon2-cffi",
    "uvicorn",
    "httptools",
    "fastapi",
    "litestar",
    "safe-api-keys",
    "keyshield",
    "aiocache",
    "litestar-api-auth",
    "fastapi-key-auth",
)
"""Whose version stands above the tables, where they are installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was to be reached, and whether it was."""

    what: str
    measured: str
    wanted: str
    is_met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The outcome of one benchmark: a table, what it shows, and how it stands to the targets."""

    title: str
    text: str
    """How it was measured, for the manual."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdicts: Sequence[Verdict] = ()
    absent: Sequence[str] = ()
    """What could not be measured, each with its reason."""


def run_alone(name: str, description: str | None, section: Callable[..., Section]) -> None:
    """Run one benchmark as the command line asks, and print it."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and less exact")
    print(as_text(section(quick=parser.parse_args().quick)))


def duration(seconds: float) -> str:
    """Write a duration for people, with three figures."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def as_text(section: Section) -> str:
    """Return a section for the terminal."""
    table = [section.columns, *section.rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(section.columns))]
    lines = ["", section.title, "-" * len(section.title)]
    lines += ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
    lines += [
        f"{'ok' if verdict.is_met else 'MISSED':<7}{verdict.what}: {verdict.measured}, wanted {verdict.wanted}"
        for verdict in section.verdicts
    ]
    lines += [f"absent {absent}" for absent in section.absent]
    return "\n".join(lines)


def as_markdown(sections: Iterable[Section], *, servers: Iterable[str] = (), note: str = "") -> str:
    """Return all sections for the manual, below a line that says when and on what they were measured.

    `servers` are programs that are no Python packages, each with its version; `note` is what else is to be known.
    """
    now = datetime.now(UTC)
    parts = [f"Measured on {now.day} {now:%B %Y}: {_setting(servers)}. {note}".strip()]
    for section in sections:
        parts.append(f"## {section.title}\n\n{section.text}")
        parts.append(_table(section.columns, section.rows))
        if section.verdicts:
            rows = [
                [verdict.what, verdict.measured, verdict.wanted, "ok" if verdict.is_met else "missed"]
                for verdict in section.verdicts
            ]
            parts.append(_table(["target", "measured", "wanted", ""], rows))
        parts += [f"Not measured: {absent}." for absent in section.absent]
    return "\n\n".join(parts) + "\n"


def _setting(servers: Iterable[str]) -> str:
    packages = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    python = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
    return ", ".join([processor(), python, *packages, f"SQLite {sqlite3.sqlite_version}", *servers])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
