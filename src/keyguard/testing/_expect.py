"""What the suites need of a test framework, so that any will do."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from keyguard.ports import KeyStore

_Store = TypeVar("_Store", bound=KeyStore)


@asynccontextmanager
async def opened(store: _Store) -> AsyncGenerator[_Store]:
    """Open the store, and close it in the end."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def raises(expected: type[Exception] | tuple[type[Exception], ...]) -> Generator[None]:
    """Demand that the block raises `expected`."""
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected} was not raised")
