"""A store in memory warns where other processes seem to have others in its place."""

import logging
import multiprocessing

import pytest

from keyguard.stores.memory import MemoryStore

SENTENCE = "one of several worker processes"


async def opened_twice():
    store = MemoryStore()
    await store.open()
    await store.open()


@pytest.mark.parametrize(("workers", "warnings"), [("2", 1), ("16", 1), ("1", 0), ("0", 0), ("", 0), ("auto", 0)])
async def test_several_workers_are_warned_of(monkeypatch, caplog, workers, warnings):
    """Where WEB_CONCURRENCY asks for several workers, opening the store says once that they share nothing."""
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    with caplog.at_level(logging.WARNING, "keyguard"):
        await opened_twice()
    assert [SENTENCE in record.getMessage() for record in caplog.records] == [True] * warnings


async def test_a_process_by_itself_is_not_warned(monkeypatch, caplog):
    """A process that nothing marks as a worker opens the store without a word."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    with caplog.at_level(logging.WARNING, "keyguard"):
        await opened_twice()
    assert caplog.records == []


WORKER = """
import asyncio, logging
from keyguard.stores.memory import MemoryStore

logging.basicConfig(filename={log!r})
asyncio.run(MemoryStore().open())
"""


def test_a_process_that_another_started_is_warned(monkeypatch, tmp_path):
    """In a process that `multiprocessing` started, as servers start their workers, opening the store warns."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    log = tmp_path / "worker.log"
    process = multiprocessing.get_context("spawn").Process(target=exec, args=(WORKER.format(log=str(log)),))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert log.read_text().count(SENTENCE) == 1
