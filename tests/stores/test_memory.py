"""A store in memory warns where other processes seem to have others in its place."""

import asyncio
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


def warned_of(connection):
    """Open a store in another process, and send back what it logged."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("keyguard").addHandler(handler)
    asyncio.run(opened_twice())
    connection.send(messages)


def test_a_process_that_another_started_is_warned(monkeypatch):
    """In a process that `multiprocessing` started, as servers start their workers, opening the store warns."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=warned_of, args=(theirs,))
    process.start()
    theirs.close()
    (message,) = ours.recv()
    process.join()
    assert SENTENCE in message
