"""The pure floors have no clock, no randomness, no input or output of their own: all of it is handed to them."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "keyguard"

FORBIDDEN = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "uuid.uuid1",
    "uuid.uuid4",
    "input",
    "open",
    "print",
}


def pure_files():
    """The files from the floor of the ports down, as the import contract lists the floors."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = " | ".join(floors[floors.index("ports") :]).split(" | ")
    return [path for name in names for path in ([*(PACKAGE / name).glob("*.py")] or [PACKAGE / f"{name}.py"])]


def dotted(node: ast.expr, imported: dict[str, str]) -> str:
    """The full name an expression stands for, such as `datetime.datetime.now`; empty where it is no plain name."""
    match node:
        case ast.Name(id=name):
            return imported.get(name, name if name in FORBIDDEN & {"input", "open", "print"} else "")
        case ast.Attribute(value=value, attr=attr):
            base = dotted(value, imported)
            return f"{base}.{attr}" if base else ""
        case _:
            return ""


def impurities(source: str) -> Iterator[str]:
    """Each forbidden name that a module imports or uses, and each package it imports from outside."""
    nodes = list(ast.walk(ast.parse(source)))
    imported: dict[str, str] = {}
    modules: set[str] = set()
    for node in nodes:
        match node:
            case ast.Import(names=names):
                modules |= {alias.name for alias in names}
                imported |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in names}
            case ast.ImportFrom(module=module, names=names):
                modules |= {f"{module}.{alias.name}" for alias in names}
                imported |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    used = {dotted(node, imported) for node in nodes if isinstance(node, ast.expr)}
    for name in sorted(modules | used - {""}):
        if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN):
            yield name
    for name in sorted(modules):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"keyguard"}:
            yield name


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_files_take_what_they_need_as_arguments(path):
    """A file on a pure floor imports the standard library only, and no clock, randomness, log or I/O of it."""
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("import time", "time"),
        ("from time import monotonic", "time.monotonic"),
        ("import os\nos.urandom(32)", "os.urandom"),
        ("import secrets as s\ns.token_bytes()", "secrets.token_bytes"),
        ("from random import Random", "random.Random"),
        ("def f():\n    import logging", "logging"),
        ("import asyncio", "asyncio"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as d\nfield(default_factory=d.utcnow)", "datetime.datetime.utcnow"),
        ("import datetime\ndatetime.date.today()", "datetime.date.today"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4"),
        ("open('keys.db')", "open"),
        ("import starlette.requests", "starlette.requests"),
    ],
)
def test_an_impurity_is_found(planted, found):
    """The search above finds each kind of impurity where one is planted."""
    assert found in list(impurities(planted))


def test_innocent_code_is_not_accused():
    """Values of time and arguments that are called like a clock are no impurity."""
    source = "from datetime import UTC, datetime\ndef f(now: datetime, time: int, random: bytes): return now, time.real"
    assert list(impurities(source)) == []
