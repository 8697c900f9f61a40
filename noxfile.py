"""Everything that is run on Keyguard: `nox -l` lists it, `nox -s tests` is where to begin."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False  # A Python that is not there is skipped, and nox says so.
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def group(name: str) -> list[str]:
    """What one dependency group of pyproject.toml asks for."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


EXAMPLE = ("-e", "examples/langflow_server")
"""A package of its own, with dependencies of its own: the tests start it as its users do."""

PYTEST = ("pytest", "-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
"""With a process more than there are cores: most of the time is spent waiting for servers, locks and leases.

A process that has run out of tests takes over some of one that has not, so that none waits for a slow one at the end.
"""


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that runs nox."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *EXAMPLE, *group("test"))
    session.run(*PYTEST, *session.posargs)


@nox.session(python=["3.12", "3.13"])
def tests_on(session: nox.Session) -> None:
    """Run the tests on another Python, against the package as it installs."""
    session.install(".[admin,cli,fastapi,langflow,postgres]", *EXAMPLE, *group("test"))
    session.run(*PYTEST, *session.posargs)


@nox.session
@nox.parametrize("version", ["2.0", "2.1"])
def sqlalchemy(session: nox.Session, version: str) -> None:
    """Run the tests of the stores against each supported line of SQLAlchemy."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *group("test"), f"sqlalchemy[asyncio]=={version}.*")
    session.run(*PYTEST, *(session.posargs or ["tests/stores"]))


@nox.session
def cover(session: nox.Session) -> None:
    """Run the tests and demand that every line and every branch of the package was taken."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *EXAMPLE, *group("test"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", *PYTEST, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy and pyright, and that every public name has one."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *EXAMPLE, *group("test"), *group("typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "keyguard")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the format, and that imports point down."""
    session.install(*group("lint"))
    session.install("--no-deps", "-e", ".")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the manual; a warning is an error."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, the wheel from it, and run tests on that wheel."""
    dist = Path(session.create_tmp()) / "dist"
    for old in dist.glob("*"):
        old.unlink()
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    session.install(f"{wheel}[admin,cli,fastapi,langflow,postgres]", *group("test"))
    session.install("--no-deps", "--force-reinstall", str(wheel))  # Its version may be one that is there already.
    usual = ["tests/test_surface.py", "tests/stores/test_migrations.py", "tests/admin/test_pages.py"]
    session.run(*PYTEST, *(session.posargs or usual))


@nox.session(default=False)
def histories(session: nox.Session) -> None:
    """Judge 100,000 operations over several processes, on SQLite and on PostgreSQL; run the state machines for long."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *group("test"))
    arguments = session.posargs or ["tests/histories/test_histories.py", "tests/histories/test_state_machine.py"]
    patience = "faulthandler_timeout=7200"  # These take long by right, which no other test does.
    session.run("pytest", "-o", patience, *arguments, env={"KEYGUARD_HISTORIES": "100000"})


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure what Keyguard costs, beside others, and write the manual's tables; `-- --quick` takes a minute."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Run and read the libraries that Keyguard is compared with, and write the manual's tables."""
    session.install("-e", ".", *group("compare"))
    session.run("python", "-m", "benchmarks.features", *session.posargs)


@nox.session(default=False)
def screenshots(session: nox.Session) -> None:
    """Photograph the pages for the manual, in the Chromium that is there; `-- folder --all` takes every state."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *EXAMPLE, *group("test"), *group("screenshots"))
    for pages in ("browser.screenshots", "browser.langflow.screenshots"):
        session.run("python", "-m", pages, *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change the pure files in every small way and demand that a test notices each change."""
    session.install("-e", ".[admin,cli,fastapi,langflow,postgres]", *group("test"), *group("mutants"))
    session.run("mutmut", "run", *session.posargs)
    survivors = session.run("mutmut", "results", silent=True)
    if survivors and survivors.strip():
        session.error(f"No test noticed these changes; `mutmut show <name>` prints one:\n{survivors}")
