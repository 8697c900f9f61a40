"""What requests leave to be written: noted in memory, written in batches, never on a request's path.

That is how often, when and from where each key was used, and the upgrades of digests: a key that was found by an
outdated digest gets a current one. One timer writes both.
"""

import asyncio
import math
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from operator import attrgetter
from weakref import WeakSet

from keyguard.admission import Admission
from keyguard.errors import StoreUnavailable
from keyguard.journal import logger
from keyguard.loops import is_under_way_here
from keyguard.model import IPAddress, Usage
from keyguard.ports import KeyStore, UsageStore

__all__ = ["Upgrade", "Upgrades", "Uses"]


_AT_ONCE = 500
"""Keys of one batch: to make ready as many takes the event loop two or three milliseconds."""


class _Use:
    """How a key was used since the last batch; of a use whose time is forgotten there is the number alone."""

    __slots__ = ("address", "at", "total")

    def __init__(self) -> None:
        self.total = 0
        self.at: float | None = None  # Seconds since 1970.
        self.address: IPAddress | str | None = None

    def frozen(self) -> Usage:
        at = None if self.at is None else datetime.fromtimestamp(self.at, UTC)
        address = None if self.address is None else str(self.address)
        return Usage(total=self.total, last_used_at=at, last_used_address=address)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Uses that are written together, once or never."""

    uses: Mapping[str, Usage]
    worker: str
    sequence: int


class Uses:
    """Counts how keys are used, and writes that down, with the upgrades of their digests.

    A batch that could not be written may have been written all the same: the answer was lost, or it comes too late. So
    it is tried again as it was, under the same number, by which the store knows it; what is noted meanwhile is the next
    one's. The number of uses is never dropped. Of the times and addresses, while the store takes nothing, the latest
    `most` are kept.

    A store that does not count (`keyguard.ports.UsageStore`) is not counted for.

    Args:
        store: where it is written.
        interval: seconds between a note and the writing.
        most: of how many keys time and address are kept while nothing can be written, and how many upgrades may wait.
        seconds: after how long a store that does not answer is given up, until the next time.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        interval: float = 10.0,
        most: int = 10_000,
        seconds: float = 4.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store if isinstance(store, UsageStore) else None
        self._interval = interval
        self._most = most
        self._sleep = sleep
        self._seconds = seconds
        self.upgrades: Upgrades = Upgrades(store, most=most, begin=self._begin)
        self.start_afresh()
        _EVERY.add(self)

    def start_afresh(self) -> None:
        """Count as a worker of its own, as a forked process does: what its parent noted, the parent writes."""
        self._worker = secrets.token_hex(16)
        self._sequence = 0
        self._noted: dict[str, _Use] = {}
        self._batch: _Batch | None = None
        self._timer: asyncio.Task[None] | None = None
        self._is_timed = False

    def note(self, key_id: str, at: float, address: IPAddress | str | None) -> None:
        """Note that a key was used: without waiting, in a fraction of a microsecond, within an event loop.

        `at` is in seconds since 1970: to make a datetime takes longer than all the rest.
        """
        if self._store is None:
            return
        use = self._noted.get(key_id)
        if use is None:
            use = self._noted[key_id] = _Use()
            self._begin()
        elif not self._is_timed:  # To ask for the loop costs more than all the rest, so it is done with new keys only.
            self._begin()
        use.total += 1
        use.at = at
        use.address = address

    async def flush(self) -> None:
        """Write what was noted, as far as that can be done now."""
        batches = math.ceil(len(self._noted) / _AT_ONCE)  # What is noted meanwhile is not due yet.
        while await self._write() and batches:  # The first is the one that could not be written the last time.
            self._make_batch()
            batches -= 1
        await self.upgrades.write(self._seconds)

    async def close(self) -> None:
        """Write what was noted, and stop the timer. What is noted later is written as before."""
        timer, self._timer, self._is_timed = self._timer, None, False
        if timer is not None and is_under_way_here(timer):
            timer.cancel()
            await asyncio.wait({timer})  # It may be in the middle of a write.
        await self.flush()

    def _make_batch(self) -> None:
        uses = {key_id: self._noted.pop(key_id).frozen() for key_id in list(islice(self._noted, _AT_ONCE))}
        if uses:
            self._sequence += 1
            self._batch = _Batch(uses=uses, worker=self._worker, sequence=self._sequence)

    async def _write(self) -> bool:
        """Write the batch, if there is one; tell whether there is none left."""
        batch, store = self._batch, self._store
        if batch is None or store is None:
            return True
        try:
            write = partial(store.record_uses, batch.uses, worker=batch.worker, sequence=batch.sequence)
            await _ask(self._seconds, write)
        except Exception as problem:  # noqa: BLE001 Whatever a store raises: no request is concerned, and closing goes on.
            logger.warning("uses could not be written now: %s", _detail(problem))
            self._forget_the_oldest()
            return False
        if self._batch is batch:
            self._batch = None
        return self._batch is None  # If not, another loop has written this one as well, and has made the next.

    def _forget_the_oldest(self) -> None:
        """Keep times and addresses of the keys that were used last; an outage may be long."""
        noted = list(self._noted.values())  # At one go: loops in other threads go on noting.
        timed = [use for use in noted if use.at is not None]
        timed.sort(key=attrgetter("at"))
        for use in timed[: -self._most]:
            use.at = use.address = None

    # --- the timer ---

    def _begin(self) -> None:
        """Have what is noted now written after the interval: in this loop, unless the timer of another is running."""
        if self._timer is None or self._timer.done() or not self._timer.get_loop().is_running():
            self._timer = asyncio.create_task(self._write_later())
            self._timer.add_done_callback(self._ended)
            self._is_timed = True

    async def _write_later(self) -> None:
        while self._noted or self._batch or self.upgrades:  # More may be noted while these are written.
            await self._sleep(self._interval)
            await self.flush()

    def _ended(self, timer: asyncio.Task[None]) -> None:
        if self._timer is timer:
            self._is_timed = False


_EVERY: WeakSet[Uses] = WeakSet()


def _start_afresh() -> None:
    for uses in _EVERY:
        uses.start_afresh()


with suppress(AttributeError):  # On Windows, where nothing forks.
    os.register_at_fork(after_in_child=_start_afresh)


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
        most: how many may wait; more are forgotten, and noted again when their key is next used.
        begin: has them written after the interval.
    """

    def __init__(self, store: KeyStore, *, most: int, begin: Callable[[], None]) -> None:
        self._store = store
        self._most = most
        self._begin = begin
        self._waiting: dict[str, Upgrade] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def is_noted(self, key_id: str) -> bool:
        """Tell whether this key's upgrade waits already, or whether there is no place for it."""
        return key_id in self._waiting or len(self._waiting) >= self._most

    def note(self, upgrade: Upgrade) -> None:
        """Note an upgrade, to be written after the interval."""
        self._waiting[upgrade.key_id] = upgrade
        self._begin()

    async def write(self, seconds: float) -> None:
        """Write all that waits. What cannot be written now is dropped: it is noted again at the next use."""
        waiting, self._waiting = self._waiting, {}
        try:
            for each in waiting.values():
                await _ask(seconds, partial(self._write_one, each))
        except Exception as problem:  # noqa: BLE001 As above.
            logger.warning("digests could not be upgraded now: %s", _detail(problem))

    async def _write_one(self, upgrade: Upgrade) -> None:
        await self._store.upgrade(
            upgrade.key_id,
            verifier=upgrade.verifier,
            new_lookup=upgrade.new_lookup,
            new_verifier=upgrade.new_verifier,
        )


async def _ask(seconds: float, call: Callable[[], Awaitable[object]]) -> None:
    """Wait for a call of the store, and give it up after so many seconds."""
    await Admission(at_once=1, seconds=seconds).run(call)


def _detail(problem: Exception) -> str:
    return str(problem) if isinstance(problem, StoreUnavailable) else type(problem).__name__
