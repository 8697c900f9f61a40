"""What outlives an event loop: an app is started more than once in a process, and a test client may run many loops."""

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Any

__all__ = ["Places", "is_under_way_here"]


class Places:
    """So many may be inside at once, wherever they come from; the others wait for their turn, in order.

    `asyncio.Semaphore` belongs to the first loop in which somebody had to wait for it, and fails in every other one.
    This one belongs to none. Loops may follow one another, or run in several threads at once.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(turn)
            else:  # The turn had come already.
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                try:
                    turn.get_loop().call_soon_threadsafe(self._come, turn)
                except RuntimeError:
                    continue  # Its loop is closed, and nobody waits there any more.
                return
            self._free += 1

    def _come(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():  # Between two steps of its loop.
            self._leave()
        else:
            turn.set_result(None)

    def _forget(self, turn: asyncio.Future[None]) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)


def is_under_way_here(task: asyncio.Task[Any]) -> bool:
    """Tell whether `task` has not ended, and belongs to this loop: one of another can be neither awaited nor ended."""
    return not task.done() and task.get_loop() is asyncio.get_running_loop()
