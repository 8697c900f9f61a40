"""That the benchmarks run: each with the smallest sizes. What they measure is not asserted."""

import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

import pytest
from benchmarks import __main__ as command_line
from benchmarks import checks, effect, scale, served, stalls
from benchmarks.contestants import Contestant, contestants, keyguard_on, postgres_store
from benchmarks.peers import absent_peers, peers
from benchmarks.report import Section, Verdict, as_markdown, as_text, duration
from benchmarks.servers import Missing, version_of_postgres

STATES = ("warm", "cold", "malformed", "unknown", "revoked")


async def test_checks():
    """Everybody who takes part answers as he should, and stands in the table."""
    run = await checks.measure([*contestants(), *peers()], seconds=0, rounds=2, requests=3)
    section = checks.as_section(run, {"somebody": "not installed"})
    names = [row[0] for row in section.rows]
    assert {"Starlette, bare", "HandWritten", "HandWrittenFresh", "one select a request"} < {*names}
    assert {f"KeyGuard, {store}, {state}" for store in ("memory", "SQLite") for state in STATES} < {*names}
    assert not {*names} & absent_peers().keys()
    assert section.absent == ["somebody: not installed"]
    assert {verdict.wanted for verdict in section.verdicts} >= {"≤ 1.4", "≤ 1.6", "≤ 1.3", "≤ 2.1"}


async def test_checks_on_postgres(postgres):
    """KeyGuard takes part on PostgreSQL as well."""
    run = await checks.measure(keyguard_on("PostgreSQL", postgres_store(postgres)), seconds=0, rounds=1, requests=2)
    assert set(run.seconds) == {f"KeyGuard, PostgreSQL, {state}" for state in STATES}


async def test_checks_notice_a_wrong_answer():
    """Nobody is measured who answers otherwise than he should."""
    entering = next(each.enter for each in contestants() if each.name == "HandWritten")

    @asynccontextmanager
    async def expecting_a_refusal():
        async with entering() as ready:
            yield replace(ready, status=401)

    with pytest.raises(RuntimeError, match="somebody answers 200 instead of 401"):
        await checks.measure([Contestant(name="somebody", enter=expecting_a_refusal)], seconds=0, rounds=1)


async def test_scale():
    """Stores with more and with fewer keys are compared, and the size of a cached key is measured."""
    section = await scale.measure(None, sizes=(20, 40), seconds=0.1, times=1, cached=30)
    assert [row[0] for row in section.rows] == ["SQLite, 20 keys", "SQLite, 40 keys"]
    assert len(section.verdicts) == 2


async def test_scale_on_postgres(postgres):
    """Stores on PostgreSQL are filled as well."""
    async with scale.filled(postgres_store(postgres), 30) as there:
        assert len(await there.store.list_keys()) == 30
        assert len(await there.store.list_keys("1")) == scale.PER_OWNER


async def test_stalls():
    """The loop's stall under slow hashes stands beside the one without."""
    section = await stalls.measure(1)
    assert [row[0] for row in section.rows] == ["8 Argon2 checks at once", "nothing, for as long"]


async def test_effect():
    """Workers notice what is revoked by the library and by SQL."""
    section = await effect.measure(None, 1)
    assert len(section.rows) == 4
    assert [row[-1] for row in section.rows[1::2]] == ["0 of 2", "0 of 2"]


async def test_effect_on_postgres(postgres):
    """Workers on PostgreSQL notice what the library revokes before the call returns."""
    section = await effect.measure(postgres, 1)
    assert section.rows[5][-1] == "0 of 2"


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk, the load generator, is not in PATH")
def test_served():
    """Each app is loaded through a server of its own."""
    section = served.measure(shutil.which("wrk"), None, rounds=1, seconds=1)
    assert len(section.rows) == 4


def test_served_without_wrk(monkeypatch):
    """Without a load generator it is said why nothing is measured through a server."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match="wrk"):
        served.section()


SECTION = Section(
    title="A title",
    text="How.",
    columns=["", "time"],
    rows=[["one", "1 µs"], ["another", "20 µs"]],
    verdicts=[
        Verdict(what="one", measured="1", wanted="≤ 2", is_met=True),
        Verdict(what="another", measured="20", wanted="≤ 2", is_met=False),
    ],
    absent=["a third: not installed"],
)


def test_text():
    """On the terminal the columns stand below each other, with the verdicts and what is absent below."""
    assert as_text(SECTION).splitlines()[3:] == [
        "          time",
        "one       1 µs",
        "another  20 µs",
        "ok     one: 1, wanted ≤ 2",
        "MISSED another: 20, wanted ≤ 2",
        "absent a third: not installed",
    ]


def test_markdown():
    """The manual's page names the machine and all versions, and has the tables."""
    page = as_markdown([SECTION], servers=["PostgreSQL 15.1"], note="It was busy.")
    first, *rest = page.splitlines()
    assert first.startswith("Measured on ")
    assert first.endswith(". It was busy.")
    versions = [
        f"{package} {version(package)}" for package in ("keyguard-asgi", "starlette", "sqlalchemy", "aiosqlite")
    ]
    for name in ("Python 3.", "SQLite 3.", "PostgreSQL 15.1", *versions):
        assert name in first
    assert "| another | 20 µs |" in rest
    assert "| another | 20 | ≤ 2 | missed |" in rest
    assert "Not measured: a third: not installed." in rest


@pytest.mark.parametrize(
    ("seconds", "written"), [(1.5, "1.5 s"), (0.0123, "12.3 ms"), (-0.002, "-2 ms"), (0.0000041, "4.1 µs"), (0, "0 µs")]
)
def test_duration(seconds, written):
    """A duration is written in the unit that people would choose."""
    assert duration(seconds) == written


def test_command_line_knows_its_benchmarks(monkeypatch, capsys):
    """A name that is no benchmark's is refused, and those that are ones are named."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nonsense"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "checks, served, effect, scale, stalls" in capsys.readouterr().err


def test_command_line_runs_what_is_asked_for(monkeypatch, capsys, tmp_path):
    """A benchmark that is named is run and printed, and the manual's page is not written."""
    page = tmp_path / "results.md"
    monkeypatch.setattr(command_line, "RESULTS", page)
    monkeypatch.setattr(command_line, "BENCHMARKS", {"one": lambda quick: SECTION, "other": pytest.fail})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "one"])
    command_line.main()
    assert "another  20 µs" in capsys.readouterr().out
    assert not page.exists()


def test_command_line_writes_the_manuals_page(monkeypatch, capsys, tmp_path):
    """When all are run, and not in haste, the manual's page is written; what cannot be measured is left out."""
    page = _all_at_load(0.1, monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick"])
    command_line.main()
    assert not page.exists()
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    command_line.main()
    assert "two is left out: it needs a program" in capsys.readouterr().out
    assert "## A title" in page.read_text("utf-8")


def test_command_line_writes_nothing_on_a_busy_machine(monkeypatch, capsys, tmp_path):
    """What was measured beside other work is shown, and not written."""
    page = _all_at_load(2.0, monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    command_line.main()
    said = capsys.readouterr().out
    assert "another  20 µs" in said
    assert "not written: the load average was 2.0" in said
    assert not page.exists()


def _all_at_load(load, monkeypatch, directory):
    def without_its_program(*, quick):
        raise Missing("it needs a program")

    page = directory / "results.md"
    monkeypatch.setattr(command_line, "RESULTS", page)
    monkeypatch.setattr(command_line, "BENCHMARKS", {"one": lambda quick: SECTION, "two": without_its_program})
    monkeypatch.setattr(command_line, "load_average", lambda: load)
    return page


def test_version_of_postgres(postgres):
    """The server's version is known to whoever writes it down."""
    assert version_of_postgres().startswith("PostgreSQL 1")
