"""What `import keyguard` gives, and what it does not ask for."""

import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.resources import files
from types import ModuleType

import pytest

import keyguard

EXTRAS = ["fastapi", "alembic"]
DRIVERS = ["sqlalchemy", "aiosqlite"]  # Needed by keyguard.stores.sql alone.
TEST_TOOLS = ["pytest", "hypothesis", "httpx2"]

# Alembic runs these itself, in a context of its own.
RUN_BY_ALEMBIC = re.compile(r"keyguard\.migrations\.(env|versions.*)")

MODULES = [
    module.name
    for module in pkgutil.walk_packages(keyguard.__path__, "keyguard.")
    if not RUN_BY_ALEMBIC.fullmatch(module.name)
]


def run(code):
    """Run `code` in an interpreter of its own; what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def without(absent, code):
    """Code that runs where the modules called `absent` cannot be imported."""
    return f"import sys; sys.modules.update(dict.fromkeys({absent!r})); {code}"


def test_all_is_what_there_is():
    """`keyguard.__all__` names what the module holds, in order: all that is no module, and `lifecycle`."""
    held = {
        name for name, value in vars(keyguard).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(keyguard.__all__) == held | {"lifecycle"}
    assert len(set(keyguard.__all__)) == len(keyguard.__all__)


def test_a_star_gives_all():
    """`from keyguard import *` gives what `__all__` names, and nothing else."""
    names = {}
    exec("from keyguard import *", names)
    assert set(names) - {"__builtins__"} == set(keyguard.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_all_exists(name):
    """What a module's `__all__` names is there, and nothing of it twice."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert [missing for missing in names if not hasattr(module, missing)] == []
    assert len(set(names)) == len(names)


def test_every_public_object_has_a_docstring():
    """Each function and class that `__all__` names says what it is."""
    public = [getattr(keyguard, name) for name in keyguard.__all__]
    assert [each for each in public if not each.__doc__] == []


def test_importing_needs_no_extra():
    """`import keyguard`, the small stores and `keyguard.testing` need no extra, no database driver and no test tool."""
    modules = "keyguard, keyguard.testing, keyguard.stores.memory, keyguard.stores.static"
    code = without([*EXTRAS, *DRIVERS, *TEST_TOOLS], f"import {modules}; print(keyguard.KeyGuard.__name__)")
    assert run(code) == "KeyGuard"


def test_the_database_needs_no_extra():
    """`keyguard.stores.sql` needs neither Alembic nor FastAPI."""
    assert run(without(EXTRAS, "from keyguard.stores.sql import SQLStore; print(SQLStore.__name__)")) == "SQLStore"


@pytest.mark.parametrize(("module", "extra"), [("fastapi", "fastapi"), ("migrations", "alembic")])
def test_an_extra_is_asked_for_by_name(module, extra):
    """Without an extra, its module fails to import, and the message names what is missing."""
    code = f"""
try:
    import keyguard.{module}
except ImportError as problem:
    print(problem)
"""
    assert extra in run(f"import sys; sys.modules[{extra!r}] = None\n{code}")


def test_importing_configures_no_logging():
    """Importing adds no handler to anybody's logger, and changes no level."""
    code = "import logging, keyguard; ours = logging.getLogger('keyguard'); print(ours.handlers, ours.level)"
    assert run(code) == "[] 0"


def test_the_version():
    """The version of the module is that of the distribution."""
    assert keyguard.__version__ == version("keyguard-asgi")


def test_the_extras_are_those_declared():
    """The distribution declares an extra for each module that needs one, and no other."""
    declared = {
        match[1] for each in requires("keyguard-asgi") if (match := re.search(r"extra == ['\"](\w+)['\"]", each))
    }
    assert declared == {"admin", "cli", "fastapi", "langflow", "postgres"}


def test_the_package_is_typed():
    """`py.typed` is in the package, so that type checkers read its annotations (PEP 561)."""
    assert (files(keyguard) / "py.typed").is_file()
