"""The server is an app like any other: it uses what the library promises, and nothing else."""

import ast
import importlib
from pathlib import Path

import pytest

import langflow_server

SOURCES = sorted(Path(langflow_server.__file__).parent.rglob("*.py"))
REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text("utf-8")


def imported(source):
    """What a file imports of Keyguard: modules, each with a name of it or None."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((each.name, None) for each in node.names if each.name.partition(".")[0] == "keyguard")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "keyguard":
            yield from ((node.module, each.name) for each in node.names)


def test_it_uses_the_library():
    """The test below has something to look at."""
    assert sum(1 for source in SOURCES for _ in imported(source)) > 20


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: "/".join(source.parts[-2:]))
def test_only_public_names_are_used(source):
    """Each name that a file imports of Keyguard is one of its module's `__all__`, and the manual has the module."""
    for module, name in imported(source):
        assert f"keyguard.{name}" in REFERENCE or module in REFERENCE, f"{module} is in no page of the manual"
        assert not any(part.startswith("_") for part in module.split(".")), module
        there = importlib.import_module(module)
        assert name is None or name in there.__all__ or f"## {module}.{name}" in REFERENCE, f"{module}.{name}"
