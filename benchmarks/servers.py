"""The databases that are measured: SQLite files, and a PostgreSQL server of our own."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ROOT", "Missing", "postgres_server", "version_of_postgres"]


ROOT = Path(__file__).parents[1]
"""Where `python -m benchmarks` is at home."""


class Missing(Exception):
    """There is something that cannot be measured here; the message says why."""


def _tests_module(name: str) -> ModuleType:
    """Return a module that stands beside the tests, which are no package."""
    path = ROOT / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"keyguard_tests_{name}", path)
    if spec is None or spec.loader is None:
        raise Missing(f"{path} is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def postgres_server(**more: str) -> Iterator[Any]:
    """Start a PostgreSQL server that writes to the disk as one in use does, with `more` settings.

    Raises `Missing` if there is none here.
    """
    postgres = _tests_module("postgres")
    settings = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"} | more
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres.cluster(**settings))
        except postgres.Missing as missing:
            raise Missing(str(missing)) from None
        yield server


def version_of_postgres() -> str | None:
    """Return the name and version of the PostgreSQL server that `postgres_server` starts, None if there is none."""
    postgres = _tests_module("postgres")
    try:
        command = [postgres.programs() / "postgres", "--version"]
    except postgres.Missing:
        return None
    return f"PostgreSQL {subprocess.check_output(command, text=True).split()[2]}"
