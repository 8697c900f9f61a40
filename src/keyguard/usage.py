"""What requests leave to be written: noted in memory, written in batches, never on a request's path.

So far these are the upgrades of digests: a key that was found by an outdated digest gets a current one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from keyguard.errors import StoreUnavailable
from keyguard.journal import logger
from keyguard.loops import is_under_way_here
from keyguard.ports import KeyStore

__all__ = ["Upgrade", "Upgrades"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """New digests for a key whose verifier still is `verifier`."""

    key_id: str
    verifier: str
    new_lookup: str
    new_verifier: str


class Upgrades:
    """The upgrades that wait to be written.

    Args:
        store: where they are written.
        interval: seconds between the first note and the writing.
        most: how many may wait; more are forgotten, and noted again when their key is next used.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        interval: float = 10.0,
        most: int = 10_000,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._interval = interval
        self._most = most
        self._sleep = sleep
        self._waiting: dict[str, Upgrade] = {}
        self._timer: asyncio.Task[None] | None = None

    def is_noted(self, key_id: str) -> bool:
        """Tell whether this key's upgrade waits already, or whether there is no place for it."""
        return key_id in self._waiting or len(self._waiting) >= self._most

    def note(self, upgrade: Upgrade) -> None:
        """Note an upgrade, to be written after the interval."""
        self._waiting[upgrade.key_id] = upgrade
        if self._timer is None or not is_under_way_here(self._timer):
            self._timer = asyncio.create_task(self._write_later())

    async def flush(self) -> None:
        """Write all that waits. What cannot be written now is dropped: it is noted again at the next use."""
        waiting, self._waiting = self._waiting, {}
        try:
            for upgrade in waiting.values():
                await self._store.upgrade(
                    upgrade.key_id,
                    verifier=upgrade.verifier,
                    new_lookup=upgrade.new_lookup,
                    new_verifier=upgrade.new_verifier,
                )
        except Exception as problem:  # noqa: BLE001 Whatever a store raises: no request is concerned, and closing goes on.
            detail = problem if isinstance(problem, StoreUnavailable) else type(problem).__name__
            logger.warning("digests could not be upgraded now: %s", detail)

    async def close(self) -> None:
        """Write what waits, and stop the timer."""
        timer, self._timer = self._timer, None
        if timer is not None and is_under_way_here(timer):
            timer.cancel()
            await asyncio.wait({timer})  # It may be in the middle of a write.
        await self.flush()

    async def _write_later(self) -> None:
        while self._waiting:  # More may be noted while these are written.
            await self._sleep(self._interval)
            await self.flush()
