"""What a cell of the comparison says, and what shows that it is so; whatever is not there any more raises."""

import re
from dataclasses import dataclass
from importlib.metadata import entry_points, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.features.probes import Probe
from benchmarks.features.subjects import Subject

__all__ = ["Cell", "Command", "Evidence", "Measured", "Missing", "Needs", "Ran", "Read", "Released", "Tested", "Typed"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell, and where one sees that it is true."""

    text: str
    shown_by: str


def _package(subject: Subject) -> Path:
    spec = find_spec(subject.module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@dataclass(frozen=True, slots=True)
class Ran:
    """What happens when it is done."""

    probe: Probe

    async def look(self, subject: Subject) -> Cell:
        """Do it."""
        return Cell(text=await self.probe(subject), shown_by="it was run")


@dataclass(frozen=True, slots=True)
class Read:
    """What a file of the package says, in a line that has this text."""

    text: str
    file: str
    line: str

    async def look(self, subject: Subject) -> Cell:
        """Find the line."""
        lines = (_package(subject) / self.file).read_text("utf-8").splitlines()
        numbers = [number for number, line in enumerate(lines, 1) if self.line in line]
        assert numbers, (subject.name, self.file, self.line)
        return Cell(text=self.text, shown_by=f"`{subject.module}/{self.file}:{numbers[0]}`")


@dataclass(frozen=True, slots=True)
class Missing:
    """What no file of the package has: a pattern that would be there if it could be done."""

    text: str
    pattern: str

    async def look(self, subject: Subject) -> Cell:
        """Look for it everywhere."""
        for file in sorted(_package(subject).rglob("*.py")):
            found = re.search(self.pattern, file.read_text("utf-8"), re.IGNORECASE)
            assert found is None, (subject.name, file, found)
        return Cell(text=self.text, shown_by=f"`{self.pattern}` is nowhere in it")


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test of Keyguard's own shows."""

    text: str
    test: str

    async def look(self, subject: Subject) -> Cell:  # noqa: ARG002 As its siblings are.
        """See that the test is there."""
        file, _, name = self.test.partition("::")
        assert re.search(rf"(def|class) {name}\(", (ROOT / file).read_text("utf-8")), self.test
        return Cell(text=self.text, shown_by=f"`{self.test}`")


@dataclass(frozen=True, slots=True)
class Command:
    """Whether a command is installed with it."""

    async def look(self, subject: Subject) -> Cell:
        """Ask the installed metadata."""
        names = [
            each.name
            for each in entry_points(group="console_scripts")
            if each.dist is not None and each.dist.name.replace("_", "-") == subject.distribution
        ]
        return Cell(
            text=f"`{names[0]}`" if names else "no", shown_by="`entry_points.txt` of the installed distribution"
        )


@dataclass(frozen=True, slots=True)
class Typed:
    """Whether type checkers may believe its annotations."""

    async def look(self, subject: Subject) -> Cell:
        """Look for the marker of PEP 561."""
        is_there = (_package(subject) / "py.typed").exists()
        return Cell(text="yes" if is_there else "no", shown_by="the file `py.typed`")


@dataclass(frozen=True, slots=True)
class Needs:
    """Which packages are installed with it, no extra being asked for, and from which Python on."""

    async def look(self, subject: Subject) -> Cell:
        """Ask the installed metadata."""
        asked = [each for each in requires(subject.distribution) or [] if "extra ==" not in each]
        names = sorted(re.split(r"[^\w.-]", each)[0].lower() for each in asked)
        found = re.search(r">=\s*(\d+\.\d+)", metadata(subject.distribution).get("Requires-Python", ""))
        assert found is not None
        return Cell(text=f"{', '.join(names) or 'nothing'}; Python {found[1]}", shown_by="`METADATA`")


@dataclass(frozen=True, slots=True)
class Released:
    """Which version was looked at, and since when it is there."""

    async def look(self, subject: Subject) -> Cell:
        """Ask the installed metadata; the day is what PyPI says, as `upload-time` in what `uv lock` writes."""
        text = f"{version(subject.distribution)}, {subject.released}"
        return Cell(text=text, shown_by="`METADATA`; `upload-time` in a `uv.lock`")


@dataclass(frozen=True, slots=True)
class Measured:
    """What `benchmarks/results.md` has in rows of its first table, each with the words that stand behind its figure."""

    rows: tuple[tuple[str, str], ...]
    adds: bool
    """Whether the microseconds beyond the bare framework are asked for, and not the ratio to it."""

    async def look(self, subject: Subject) -> Cell:  # noqa: ARG002 As its siblings are.
        """Read the table."""
        if not self.rows:
            return Cell(text="not measured", shown_by="nothing")
        times, ratios, bare = {}, {}, {}
        for name, micros, ratio, against in re.findall(
            r"^\| ([^|]+) \| ([\d.]+) µs \| ([\d.]+)(?: \(to ([^)]+)\))? \|", RESULTS.read_text("utf-8"), re.MULTILINE
        ):
            times[name], ratios[name], bare[name] = float(micros), float(ratio), against or "Starlette, bare"
        texts = []
        for name, words in self.rows:
            figure = f"{times[name] - times[bare[name]]:.0f} µs" if self.adds else f"{ratios[name]:.1f} times"
            texts.append(f"{figure} {words}".strip())
        return Cell(text=", ".join(texts), shown_by=", ".join(f"*{name}*" for name, _ in self.rows))


Evidence = Ran | Read | Missing | Tested | Command | Typed | Needs | Released | Measured
