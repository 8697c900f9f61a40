"""How many may ask the store at once, how many may wait, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from keyguard.errors import Overloaded, StoreUnavailable
from keyguard.loops import Places

__all__ = ["Admission"]

_Result = TypeVar("_Result")


class Admission:
    """A door in front of the store: a bounded number inside, a bounded queue, and a deadline for each.

    Args:
        at_once: how many calls run at the same time; not more than the store can serve.
        waiting: how many may wait for a place; one more is turned away with `Overloaded`.
        seconds: after how long a call, its waiting included, is given up with `StoreUnavailable`.

    A call that is given up keeps its place until it has really ended: a frozen database is not sent more work.
    """

    def __init__(self, *, at_once: int, waiting: int = 64, seconds: float = 2.0) -> None:
        self._places = Places(at_once)
        self._most = at_once + waiting
        self._seconds = seconds
        self._present = 0

    def deadline(self) -> float:
        """Return until when a request that comes now may take, all its calls together, by the running loop's clock."""
        return asyncio.get_running_loop().time() + self._seconds

    async def run(self, call: Callable[[], Awaitable[_Result]], *, until: float | None = None) -> _Result:
        """Return what `call` returns, or raise what it raises; `until` is the deadline of a request with several."""
        if self._present >= self._most:
            raise Overloaded("too many checks wait for the store")
        self._present += 1
        until = self.deadline() if until is None else until
        task = asyncio.ensure_future(self._inside(call))
        task.add_done_callback(self._leave)
        try:
            # Not `wait_for`: it waits for the cancelled call to end, which a frozen database may not let it do.
            await asyncio.wait({task}, timeout=until - asyncio.get_running_loop().time())
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise StoreUnavailable(f"the store did not answer within {self._seconds:g} s")
        if task.cancelled():
            # By the store itself: let through, it would look as if this request had been cancelled.
            raise StoreUnavailable("the store gave up")
        return task.result()

    async def _inside(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        async with self._places:
            return await call()

    def _leave(self, task: "asyncio.Task[_Result]") -> None:
        self._present -= 1
        if not task.cancelled():
            task.exception()  # Taken notice of: whoever waited for it may have gone.
