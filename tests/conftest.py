"""Runs the leak watch of `leaks` over every test, and reports of it; and lets `hangs` watch over its end."""

import hangs
import hypothesis
import pytest
from leaks import WATCH, install, make_loud
from postgres import database, postgres, postgres_url

__all__ = ["database", "postgres", "postgres_url"]  # Fixtures, made known to all tests from here.

pytest.register_assert_rewrite("keyguard.testing")

# How long an example takes depends on what else the machine does: that is for the benchmarks to measure.
hypothesis.settings.register_profile("keyguard", deadline=None)
hypothesis.settings.load_profile("keyguard")

_REPORT = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[_REPORT] = {"keys": 0, "texts": 0, "leaks": []}
    install()
    config.pluginmanager.register(hangs)
    # The watch sees all; what pytest shows of a failed test, and gives to caplog, begins where it always does.
    config.option.log_level = config.option.log_level or "WARNING"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol():
    """Let every logger write before pytest notes the levels that it goes back to."""
    make_loud()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """Judge a test when its fixtures are gone, and with them its connections."""
    result = yield
    if "tmp_path" in item.funcargs:
        WATCH.see_databases(item.funcargs["tmp_path"])
    leaks = WATCH.judge()
    if leaks:
        pytest.fail("a key shows in " + "\nand in ".join(map(str, leaks[:20])), pytrace=False)
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take in what a worker of pytest-xdist has found."""
    report = node.config.stash[_REPORT]
    for name, value in getattr(node, "workeroutput", {}).get("leak_watch", {}).items():
        report[name] += value


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """Judge what was left to the end, and let the session fail for it, or if nothing was watched."""
    report = session.config.stash[_REPORT]
    basetemp = session.config._tmp_path_factory._basetemp
    if basetemp is not None:
        WATCH.see_databases(basetemp)
    report["leaks"] += map(str, WATCH.judge())
    report["keys"] += WATCH.keys
    report["texts"] += WATCH.texts
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leak_watch"] = report
    elif report["leaks"] or (_is_whole(session.config) and not report["keys"]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    report = config.stash[_REPORT]
    for leak in report["leaks"]:
        terminalreporter.write_line(f"leak watch: a key shows in {leak}", red=True)
    if _is_whole(config) and not report["keys"]:
        terminalreporter.write_line("leak watch: it knew of no key, so that it could see none", red=True)
    terminalreporter.write_line(f"leak watch: {report['keys']} keys looked for in {report['texts']} texts")


def _is_whole(config):
    """Tell whether all tests are run, and not a choice of them that may know no keys."""
    option = config.option
    chosen = option.keyword or option.markexpr or option.collectonly or getattr(option, "lf", False)
    return config.args_source is not config.ArgsSource.ARGS and not chosen
