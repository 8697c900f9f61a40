"""No test can keep a run from ending: where one hangs it is named, and the others run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

HANGING = """
import asyncio, threading
import pytest

def test_hangs():
    threading.Event().wait()

async def test_hangs_in_a_loop():
    await asyncio.Event().wait()

@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

def test_hangs_at_its_end(stuck):
    pass

def test_fails_and_hangs_at_its_end(stuck):
    raise AssertionError

@pytest.mark.parametrize("number", range(20))
def test_another(number):
    pass
"""


def test_a_test_that_hangs_is_named_and_the_others_run(tmp_path):
    """Wherever it hangs, its process tells where it stood and ends, and another one runs what is left."""
    path = tmp_path / "test_hanging.py"
    path.write_text(HANGING)
    options = ["-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-o", "faulthandler_timeout=1"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "-p", "hangs", "-n", "2", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 1, ran.stdout
    for name in ("hangs", "hangs_in_a_loop", "hangs_at_its_end", "fails_and_hangs_at_its_end"):
        assert f"crashed while running 'test_hanging.py::test_{name}'" in ran.stdout
    assert "21 passed" in ran.stdout  # One of them has passed before its end hung.
    assert ran.stderr.count("Timeout (0:00:01)!") == 4
    assert ran.stderr.count("test_hanging.py") == 3  # In the loop no thread stands in it.
