"""What is written to the `keyguard` logger about requests: ids and reasons, never keys."""

import logging
import re
import time
from collections.abc import Callable
from functools import lru_cache

from keyguard.model import Allowed, Decision, Event, KeyRecord, Reason, Refused

__all__ = ["Journal", "loggable_path", "logger"]

logger: logging.Logger = logging.getLogger("keyguard")

_KEY_LIKE = r"[A-Za-z0-9_%-]{40,}"  # Encoded or not.
_MOST_CHARACTERS = 200


@lru_cache
def _key_like(prefixes: tuple[str, ...]) -> re.Pattern[str]:
    prefixed = [rf"(?<![A-Za-z0-9]){re.escape(prefix)}[^/]+" for prefix in prefixes if prefix]
    return re.compile("|".join([*prefixed, _KEY_LIKE]))


def loggable_path(path: str, prefixes: tuple[str, ...] = ()) -> str:
    """Return a request's path as it may be logged.

    It is shortened to 200 characters, and what could be a key is left out: what begins with one of `prefixes`, to the
    end of its segment, and a run of 40 characters or more. A client that puts its key into the path, or encodes the
    question mark of its query, must not find it in our log.
    """
    return _key_like(prefixes).sub("…", path)[:_MOST_CHARACTERS]


class Journal:
    """Writes a line for each refusal, and for each key that was bad and let pass, but not more than some a second.

    Args:
        burst: how many lines may come at once, and how many a second after that. What is left out is counted, and the
            count stands in the next line that is written.
        clock: seconds that only grow.
    """

    def __init__(self, *, burst: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._burst = burst
        self._allowance = float(burst)
        self._last = clock()
        self._left_out = 0

    def is_due(self, decision: Decision) -> bool:
        """Tell whether a line is to be written about a decision; if it would be one too many it is counted."""
        reason = _reason(decision)
        # Of an outage `trouble` has written already, with what was the matter.
        return reason is not None and reason is not Reason.UNAVAILABLE and self._may_write()

    def record(self, event: Event) -> None:
        """Write about `event`, if there is something to write and it is not too much."""
        if self.is_due(event.decision):
            self.write(event)

    def write(self, event: Event) -> None:
        """Write about `event`: a refusal, or a bad key that was let pass."""
        decision = event.decision
        reason = _reason(decision) or Reason.UNAVAILABLE
        key = _key(decision)
        logger.warning(
            "%s: %s (%s%s)%s",
            "refused" if isinstance(decision, Refused) else "let pass by SKIP_AUTH",
            reason.value,
            ascii(loggable_path(f"{event.method or event.type} {event.path}")),
            f", key {key.hint}" if key is not None else "",
            self._account(),
            extra={
                "keyguard_reason": reason.name,
                "keyguard_rule": decision.rule.name,
                "keyguard_key_id": key.id if key is not None else None,
                "keyguard_owner_id": key.owner_id if key is not None else None,
                "keyguard_address": str(event.address) if event.address is not None else None,
                "keyguard_sources": [source.value for source in event.sources],
            },
        )

    def trouble(self, what: str, problem: BaseException, *, unexpected: bool = False) -> None:
        """Write that the store or the app's own sign-in failed; with a stack trace if nobody expected that."""
        if self._may_write():
            detail = type(problem).__name__ if unexpected else problem
            logger.error("%s: %s%s", what, detail, self._account(), exc_info=problem if unexpected else None)

    def _account(self) -> str:
        left_out, self._left_out = self._left_out, 0
        return f"; {left_out} lines were left out" if left_out else ""

    def _may_write(self) -> bool:
        now = self._clock()
        self._allowance += (now - self._last) * self._burst
        self._last = now
        if self._allowance > self._burst:  # noqa: PLR1730 In half the time of `min`: a flood of junk comes by here.
            self._allowance = self._burst
        if self._allowance < 1:
            self._left_out += 1
            return False
        self._allowance -= 1
        return True


def _reason(decision: Decision) -> Reason | None:
    if isinstance(decision, Refused):
        return decision.reason
    return decision.noted if isinstance(decision, Allowed) else None


def _key(decision: Decision) -> KeyRecord | None:
    return decision.key if isinstance(decision, Allowed | Refused) else None
