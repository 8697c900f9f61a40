"""What is said of Keyguard beside others is what was found, and of Keyguard it is found again with each run."""

import re
from pathlib import Path

import pytest
from benchmarks.features.__main__ import PAGE, as_markdown
from benchmarks.features.evidence import Cell
from benchmarks.features.probes import LIKE_HEALTH, check_itself, exempt, two_keys, websocket
from benchmarks.features.rows import ROWS
from benchmarks.features.subjects import SUBJECTS, KeyguardItself, Subject
from benchmarks.features.wire import reached

ROOT = Path(__file__).parent.parent
STALE = "`nox -s compare` looks at it anew; what the README has of it is then copied from benchmarks/features.md"

WAITS = "expires"
"""The row that would take seconds, because a key has to expire: other tests have it, with a clock that is given."""


def columns_of(text):
    """The tables of a text: a mapping of columns to their cells by the titles of the rows."""
    columns, head = {}, []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        if line.startswith("|  |"):
            head = cells[1:]
        elif line.startswith("| ---"):
            pass
        elif line.startswith("| ") and head:
            for name, cell in zip(head, cells[1:], strict=True):
                columns.setdefault(name, {})[cells[0]] = cell
        else:
            head = []
    return columns


FOUND = columns_of(PAGE.read_text("utf-8"))


async def test_keyguards_column_is_so(tmp_path):
    """Each cell of Keyguard's is what is found when it is looked at now, and so is what shows it."""
    subject = KeyguardItself(tmp_path)
    await subject.start()
    await check_itself(subject)
    cells = {row.title: await row.evidence(KeyguardItself).look(subject) for row in ROWS if row.title != WAITS}
    await subject.stop()
    found = {title: text for title, text in FOUND["Keyguard"].items() if title != WAITS}
    assert {title: cell.text for title, cell in cells.items()} == found, STALE
    page = PAGE.read_text("utf-8")
    assert [cell.shown_by for cell in cells.values() if cell.shown_by not in page] == [], STALE


def test_the_page_has_every_cell():
    """The page has a column for each library and a cell for each row, and no other."""
    assert list(FOUND) == [subject.name for subject in SUBJECTS]
    for name, cells in FOUND.items():
        assert list(cells) == [row.title for row in ROWS], name
        assert all(cells.values())


def test_the_page_is_written_as_it_is_read():
    """What is found of a library stands in its column, and what shows it below the tables."""
    columns = {name: {row.title: Cell(text=f"{name}, {row.title}", shown_by=name) for row in ROWS} for name in FOUND}
    text = as_markdown(columns)
    assert columns_of(text) == {
        name: {title: cell.text for title, cell in column.items()} for name, column in columns.items()
    }
    assert text.count("- keyshield: keyshield") == len(ROWS)


def test_the_readmes_table_is_the_pages():
    """Each cell of the README's comparison is the page's, in rows and columns of the same titles."""
    text = (ROOT / "README.md").read_text("utf-8")
    shorter = columns_of(text[text.index("## Beside others") : text.index("## What a check costs")])
    assert next(iter(shorter)) == "Keyguard"
    assert len(shorter) >= 5
    for name, cells in shorter.items():
        assert cells.items() <= FOUND[name].items(), STALE


def test_the_readmes_figures_are_those_that_were_measured():
    """Each figure of the README's table of costs stands in the benchmark's results."""
    text = (ROOT / "README.md").read_text("utf-8")
    results = (ROOT / "benchmarks" / "results.md").read_text("utf-8")
    rows = re.findall(r"^\| .* µs \| [\d.]+ \|$", text, re.MULTILINE)
    assert len(rows) >= 5
    for row in rows:
        assert f"\n{row}" in results


class Open(Subject):
    """Lets everything in."""

    name = "open"

    async def issue(self, *, expires_at=None):
        return "key"

    async def revoke(self, key):
        pass

    def app(self, *, source="header", cached=False):
        return reached


async def test_a_probe_finds_what_is_open(tmp_path):
    """The probes are no formality: of an app without a guard they say that it has none."""
    assert await websocket(Open(tmp_path)) == "**open to anybody** behind its middleware"
    assert await exempt(Open(tmp_path)) == ", ".join(f"`{path}`" for path in LIKE_HEALTH) + " too"
    assert await two_keys(Open(tmp_path)) == "header and query: either will do"
    with pytest.raises(AssertionError):
        await check_itself(Open(tmp_path))
