"""What is remembered of keys that were good: entries, the token rule, and single flight.

**The token rule.** What was read from a store may be used again only while the store's token is the one that was taken
*before* the read began. A change that was committed in between, or since, has moved the token; then the entry is no
good, whether the read saw the change or not. Where there is no token nothing vouches for an entry, and it is not used
(unless the app has said for how long it may be, see `Cache`).

**Single flight.** Requests that need the same key at the same time share one read. Whoever comes while a read is under
way may not have what it brings if a change could have come between its beginning and his arrival: so a read is joined
before it has begun, or while the token is still the one that it began with.
"""

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from keyguard.loops import is_under_way_here
from keyguard.model import Allowed, Auth, Facts, IPAddress, Verdict

__all__ = ["Cache", "Flight", "Flights", "Known", "Token"]

Token = Callable[[], int | None]

_NAME_BYTES = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Known:
    """A genuine key, as it was when it was read.

    `other_lookups` are the digests that it might be found by, beside the one that it was found by; so it can be looked
    up again without its text. `token` was taken before it was read, `since` is when that was, by a clock that only
    grows.

    There may be many thousands of these, so what can be made of the rest is not kept.
    """

    name: bytes
    """What it is remembered under: see `Cache.name`."""
    other_lookups: tuple[str, ...]
    verdict: Verdict
    auth: Auth
    token: int | None
    since: float
    is_timeless: bool = field(init=False)
    """Whether it has no window of time."""
    allowed: Allowed | None = None
    """The decision on a request with it, where that depends on nothing but the key and the time, and lets it pass."""

    def __post_init__(self) -> None:
        """Look at the window."""
        self.is_timeless = self.verdict.key.not_before is None and self.verdict.key.expires_at is None

    @property
    def lookups(self) -> tuple[str, ...]:
        """All digests that it may be found by."""
        return (self.verdict.key.lookup, *self.other_lookups)

    def facts(self, address: IPAddress | None) -> Facts:
        """Return what is known of a request that brings it from this address."""
        return Facts(credential=self.verdict, address=address)

    def is_within_its_time(self, now: datetime) -> bool:
        """Tell whether the key's window of time has this in it."""
        begins, ends = self.verdict.key.not_before, self.verdict.key.expires_at
        return (begins is None or begins <= now) and (ends is None or now < ends)


class Cache:
    """The latest keys that were let in: an LRU of a bounded size.

    Bad keys have no place in it. A flood of them would drive the good ones out, and remembering random ones helps
    nobody: they do not come again.

    Args:
        size: how many keys are remembered; 0 for none.
        token: the store's, see `keyguard.ports.Freshness`.
        distrust: is told of what the token raises, which vouches for nothing. (Here, because no frame below this one
            has the text of a key, which error reporters would show.)
        max_staleness: for how many seconds an entry that nothing vouches for is used; None for not at all.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        size: int,
        token: Token,
        *,
        distrust: Callable[[Exception], None],
        max_staleness: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = size
        self._token = token
        self._distrust = distrust
        self._max_staleness = max_staleness
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, Known] = OrderedDict()

    def name(self, presented: bytes) -> bytes:
        """Return what a key is remembered under: a digest under a secret of this process.

        Nothing in the cache is a key, nor can it be tried offline. 16 bytes: who does not know the secret would need
        2^128 attempts to meet a given one.
        """
        return blake2b(self._secret + presented, digest_size=_NAME_BYTES).digest()

    def recall(self, presented: bytes) -> Known | None:
        """Return what is known of the key that was presented, if it may be used now."""
        return self.get(self.name(presented))

    def get(self, name: bytes) -> Known | None:
        """Return what is known of a key, if it may be used now."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        try:
            token = self._token()
        except Exception as problem:  # noqa: BLE001 The store may be the app's own.
            self._distrust(problem)
            token = None
        if token is None:
            if self._max_staleness is None or self._clock() - entry.since >= self._max_staleness:
                return None
        elif entry.token != token:
            return None
        try:
            self._entries.move_to_end(name)
        except KeyError:  # Another thread, with a loop of its own, has just pushed it out.
            return None
        return entry

    def put(self, entry: Known) -> None:
        """Remember a key that was let in, and forget the one that was not used for longest if there are too many."""
        if entry.token is None and self._max_staleness is None:
            return
        self._entries[entry.name] = entry
        with contextlib.suppress(KeyError):  # As above: what is to go has just gone.
            self._entries.move_to_end(entry.name)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def drop(self, name: bytes) -> None:
        """Forget a key: it was found to be bad."""
        self._entries.pop(name, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


class Flight:
    """One read of a key: not begun while it waits for its place."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Known | None]
        self.passengers = 0
        self.has_begun: bool = False
        self.token: int | None = None
        self.since: float = 0.0

    def begin(self, token: int | None, now: float) -> None:
        """Note that the read begins now: what was changed later may be missing from it."""
        self.token = token
        self.since = now
        self.has_begun = True


Read = Callable[[Flight], Awaitable[Known | None]]


class Flights:
    """The reads that are under way, one for each key.

    Each is a task of its own: a client that goes away does not cancel it for the others. When the last has gone it is
    ended, and gives back what it holds.
    """

    def __init__(self, token: Token) -> None:
        self._token = token
        self._under_way: dict[bytes, Flight] = {}

    async def share(self, name: bytes, read: Read) -> Known | None:
        """Return what is known of a key: by a read that is under way, if it can be joined, else by this one.

        "There is no such key" is believed of a read only by those who were there before it began: a new key moves no
        token. Raises what the read raises.
        """
        while True:
            flight = self._under_way.get(name)
            if flight is None or not is_under_way_here(flight.task) or not self._can_be_joined(flight):
                return await _landing(self._start(name, read))
            came_late = flight.has_begun
            known = await _landing(flight)
            if known is not None or not came_late:
                return known

    def _can_be_joined(self, flight: Flight) -> bool:
        if not flight.passengers:  # All have gone, and it was ended.
            return False
        return not flight.has_begun or (flight.token is not None and flight.token == self._token())

    def _start(self, name: bytes, read: Read) -> Flight:
        flight = Flight()

        async def fly() -> Known | None:
            return await read(flight)

        def landed(task: asyncio.Task[Known | None]) -> None:
            if self._under_way.get(name) is flight:
                self._under_way.pop(name, None)  # Another thread may just have done so.
            if not task.cancelled():
                task.exception()  # Taken notice of: whoever waited for it may have gone.

        flight.task = asyncio.create_task(fly())
        self._under_way[name] = flight  # With its task: other threads look at both.
        flight.task.add_done_callback(landed)
        return flight


async def _landing(flight: Flight) -> Known | None:
    """Wait for a read; whoever is the last to go away ends it."""
    flight.passengers += 1
    try:
        return await asyncio.shield(flight.task)
    finally:
        flight.passengers -= 1
        if not flight.passengers:
            flight.task.cancel()
