"""Looks at the libraries that are compared, and writes `benchmarks/features.md`: `nox -s compare`.

Each is looked at in a process of its own. What is not installed is left out, and then nothing is written.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.features.evidence import Cell
from benchmarks.features.probes import check_itself, found_in
from benchmarks.features.rows import PARTS, ROWS
from benchmarks.features.subjects import SUBJECTS, Subject

PAGE = Path(__file__).parents[1] / "features.md"
BY_NAME = {subject.name: subject for subject in SUBJECTS}


async def examine(subject: type[Subject], folder: Path) -> dict[str, Cell]:
    """Return the column of a subject: its cells by the titles of their rows."""
    there = subject(folder)
    await there.start()
    await check_itself(there)
    cells = {row.title: await row.evidence(subject).look(there) for row in ROWS}
    await there.stop()
    return cells


async def revoke(subject: type[Subject], folder: Path, key: str) -> None:
    """Revoke a key that another process has issued."""
    there = subject(folder)
    await there.revoke(key)
    await there.stop()


def as_markdown(columns: dict[str, dict[str, Cell]]) -> str:
    """Return the tables for the manual, and what shows each cell."""
    now = datetime.now(UTC)
    parts = [f"Looked at on {now.day} {now:%B %Y}."]
    for title, rows in PARTS.items():
        lines = [["", *columns], ["---"] * (len(columns) + 1)]
        lines += [[row.title, *(column[row.title].text for column in columns.values())] for row in rows]
        parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts.append("## How each cell was found")
    for row in ROWS:
        shown = {name: column[row.title].shown_by for name, column in columns.items()}
        if len(set(shown.values())) == 1:
            parts.append(f"**{row.title}**: {row.how} For all: {next(iter(shown.values()))}.")
        else:
            by = "\n".join(f"- {name}: {where}" for name, where in shown.items())
            parts.append(f"**{row.title}**: {row.how}\n\n{by}")
    return "\n\n".join(parts) + "\n"


def _look_at(name: str) -> dict[str, Cell]:
    command = [sys.executable, "-m", "benchmarks.features", "examine", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {title: Cell(**cell) for title, cell in json.loads(done.stdout.splitlines()[-1]).items()}


def main() -> None:
    """Do what the command line asks for."""
    match sys.argv[1:]:
        case ["examine", name]:
            with TemporaryDirectory() as folder:
                cells = asyncio.run(examine(BY_NAME[name], Path(folder)))
            print(json.dumps({title: {"text": cell.text, "shown_by": cell.shown_by} for title, cell in cells.items()}))
        case ["revoke", name, folder]:
            asyncio.run(revoke(BY_NAME[name], Path(folder), sys.stdin.read()))
        case ["find", _, folder]:
            print(found_in(Path(folder), sys.stdin.read()))
        case arguments:
            look(arguments)


def look(arguments: list[str]) -> None:
    """Look at those that are named, or at all, and write the page if it was all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", choices=[[], *BY_NAME], help="which; all if none")
    wanted = parser.parse_args(arguments).names or list(BY_NAME)
    there = [name for name in wanted if find_spec(BY_NAME[name].module) is not None]
    columns = {}
    for name in there:
        columns[name] = _look_at(name)
        print(f"\n{name}")
        for title, cell in columns[name].items():
            print(f"  {title}: {cell.text}  ({cell.shown_by})", flush=True)
    for name in set(wanted) - {*there}:
        print(f"\n{name} is not installed")
    if there == list(BY_NAME):
        PAGE.write_text(as_markdown(columns), "utf-8")
        print(f"\nwritten to {PAGE}")


if __name__ == "__main__":
    main()
