"""Watches over the end of each test, as pytest's own watch does not, so that none can keep a run from ending.

By `faulthandler_timeout` in pyproject.toml a test that takes too long has its process ended, after it has printed where
each thread stands; pytest-xdist then names the test, and goes on with the others in a new process. But pytest gives its
watch up as soon as a test has failed, and what hangs then is the end: a server that does not stop, a thread that is
waited for.
"""

import faulthandler
import os
import sys

import pytest

_STDERR = pytest.StashKey[int]()


def pytest_configure(config):
    config.stash[_STDERR] = os.dup(sys.__stderr__.fileno())  # While a test runs, another file is in its place.


def pytest_unconfigure(config):
    os.close(config.stash[_STDERR])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """Give the end of a test as long again as all of it; pytest calls this watch off with its own."""
    if seconds := float(item.config.getini("faulthandler_timeout")):
        faulthandler.dump_traceback_later(seconds, file=item.config.stash[_STDERR], exit=True)
    return (yield)
