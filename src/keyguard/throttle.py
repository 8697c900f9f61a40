"""Slows down whoever tries too often, such as to guess a password."""

import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import blake2b
from heapq import nlargest
from threading import Lock

from keyguard.errors import ConfigurationError

__all__ = ["Throttle"]

_LEAST = 1e-5
"""Seconds. A wait that is shorter is none: times are added up as floats, and a sum of them may be too large by some."""


class Throttle:
    """Counts attempts by whatever names them: an account's name, an address, both together.

    Each name has `limit` attempts at once, and gets them back one by one, all of them within `per`::

        names = (f"owner {name}", f"address {address}")
        if seconds := throttle.attempt(*names):
            ...  # Too many: say when to come back, and verify nothing.
        elif await lifecycle.sign_in(store, name, password):
            throttle.succeeded(*names)

    An attempt counts from its beginning on, so that of a thousand at the same moment no more are let through than one
    after the other. One that succeeded does not count; those before it, which failed, still do: who has a password of
    their own must not get more guesses at others' by it.

    It counts what this process sees: four workers let through four times as much, and a restart forgets. A proxy can
    limit what all of them get.

    It keeps 16 bytes and a number for each name, whatever its length, and at most `size` of them. When there are more
    it forgets those first that were tried least, so that nobody gets another guess at one by making others up: for each
    that is forgotten at its limit, almost `size` others must have been tried as often within `per`.

    Args:
        limit: how many attempts there may be at once, at least 1.
        per: in what time as many are given back.
        size: how many names are remembered, at least 1.
        clock: seconds that only grow.

    Raises:
        ConfigurationError: if an argument is not as above.
    """

    def __init__(
        self,
        limit: int = 5,
        per: timedelta = timedelta(minutes=1),
        *,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_count("limit", limit)
        _check_count("size", size)
        _check_duration("per", per)
        self._each = per.total_seconds() / limit
        self._most = per.total_seconds() - self._each
        self._size = size
        self._clock = clock
        self._lock = Lock()  # An app may have an event loop in each of several threads.
        self._until: dict[bytes, float] = {}
        """When all attempts by a name will have been given back: each moves that on (the GCRA of ATM networks)."""

    def attempt(self, *names: str) -> float:
        """Begin an attempt and return 0, or return in how many seconds it may be begun: then it does not count.

        It is begun if none of the names has reached its limit, and counts for each of them.
        """
        keys = _keys_of(names)
        with self._lock:
            now = self._clock()
            untils = {key: max(self._until.get(key, now), now) for key in keys}
            wait = max((until - now - self._most for until in untils.values()), default=0.0)
            if wait > _LEAST:
                return wait
            self._until |= {key: until + self._each for key, until in untils.items()}
            if len(self._until) > self._size:
                self._forget(now)
            return 0.0

    def succeeded(self, *names: str) -> None:
        """Take back an attempt that was begun with these names: it was right, or came to nothing."""
        with self._lock:
            for key in _keys_of(names):
                if key in self._until:
                    self._until[key] -= self._each

    def _forget(self, now: float) -> None:
        """Forget the names that have all their attempts, and if that is not enough those that have the most."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        if len(self._until) > self._size:
            # A tenth of the room is made at once: a name that is new has the time to be tried again.
            kept = max(1, self._size - self._size // 10)
            self._until = dict(nlargest(kept, self._until.items(), key=lambda entry: entry[1]))


def _keys_of(names: tuple[str, ...]) -> set[bytes]:
    """Return what names are remembered as: of one length, and without what somebody typed into the wrong field."""
    return {blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest() for name in names}


def _check_count(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{what} is a whole number from 1 on; not {value!r}")


def _check_duration(what: str, value: object) -> None:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{what} is a timedelta of more than nothing; not {value!r}")
