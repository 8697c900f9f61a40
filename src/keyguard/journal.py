"""What is written to the `keyguard` logger about requests: ids and reasons, never keys or passwords."""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Literal, get_args

from keyguard.model import Allowed, Decision, Event, IPAddress, KeyRecord, Reason, Refused

__all__ = ["Journal", "TurnedAway", "loggable_path", "logger"]

TurnedAway = Literal["sign_in_failed", "sign_in_throttled", "forbidden"]
"""What the key page writes about: wrong names and passwords, too many of them, and what somebody may not do."""

logger: logging.Logger = logging.getLogger("keyguard")

_KEY_LIKE = r"[A-Za-z0-9_%-]{40,}"  # Encoded or not.
_MOST_CHARACTERS = 200

_UNAVAILABLE = Reason.UNAVAILABLE  # Its class looks its members up by a function in Python 3.11.


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

    What comes with a revoked key is written apart, so that no flood of other refusals drowns it: it has an allowance of
    its own, and of each such key there is one line in ten seconds at most.

    Args:
        burst: how many lines may come at once, and how many a second after that. What is left out is counted, and the
            count stands in the next line that is written.
        clock: seconds that only grow.
    """

    def __init__(self, *, burst: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = _Allowance(burst, clock)
        self._alarms = _Allowance(burst, clock)
        self._turns = _Turns(clock)
        self._turned_away: dict[TurnedAway, _Allowance] = {
            kind: _Allowance(burst, clock) for kind in get_args(TurnedAway)
        }

    def is_due(self, decision: Decision) -> bool:
        """Tell whether a line is to be written about a decision; if it would be one too many it is counted."""
        reason = _reason(decision)
        # Of an outage `trouble` has written already, with what was the matter.
        if reason is None or reason is _UNAVAILABLE:
            return False
        key = _key(decision)
        if key is None or key.revoked_at is None:
            return self._lines.take()
        return self._turns.has_come(key.id) and self._alarms.take()

    def record(self, event: Event) -> None:
        """Write about `event`, if there is something to write and it is not too much."""
        if self.is_due(event.decision):
            self.write(event)

    def write(self, event: Event) -> None:
        """Write about `event`: a refusal, or a bad key that was let pass."""
        decision = event.decision
        reason = _reason(decision) or _UNAVAILABLE
        key, revoked = _key(decision), event.revoked_key
        kind, outcome = (
            ("refused", "refused") if isinstance(decision, Refused) else ("let_pass", "let pass by SKIP_AUTH")
        )
        asked = ascii(loggable_path(f"{event.method or event.type} {event.path}"))
        by = f", key {key.hint}" if key is not None else ""
        if revoked is None:
            said, account = f"{outcome}: {reason.value} ({asked}{by})", self._lines.account()
        else:
            kind = "revoked_key_presented"
            said = f"a revoked key was presented: {outcome} ({asked}{by}, {_end_of(revoked)})"
            account = self._turns.take(revoked.id) + self._alarms.account()
        logger.warning(
            "%s%s",
            said,
            account,
            extra={
                "keyguard_event": kind,
                "keyguard_reason": reason.name,
                "keyguard_rule": decision.rule.name,
                "keyguard_key_id": key.id if key is not None else None,
                "keyguard_owner_id": key.owner_id if key is not None else None,
                "keyguard_revoked_at": _iso(revoked.revoked_at) if revoked is not None else None,
                "keyguard_revoked_reason": loggable_path(revoked.revoked_reason) if revoked is not None else None,
                "keyguard_revoked_by_rotation": revoked.revoked_by_rotation if revoked is not None else None,
                "keyguard_address": str(event.address) if event.address is not None else None,
                "keyguard_sources": [source.value for source in event.sources],
            },
        )

    def turned_away(
        self, kind: TurnedAway, what: str, asked: str, *, owner_id: str | None, address: IPAddress | None
    ) -> None:
        """Write that the key page has not let somebody in, or not let them do something.

        It names them by the id of an owner that there is, never by what was typed: people type their password into the
        wrong field. Each kind has an allowance of its own, so that no flood of one drowns another.

        Args:
            kind: what programs know it by.
            what: the same for people; no text of a caller's.
            asked: method and path.
            owner_id: who was signed in, or whose name was given; None for nobody that there is.
            address: where it came from, as far as that is known.
        """
        allowance = self._turned_away[kind]
        if not allowance.take():
            return
        logger.warning(
            "the key page: %s (%s%s%s)%s",
            what,
            ascii(loggable_path(asked)),
            "" if owner_id is None else f", owner {owner_id!a}",
            "" if address is None else f", from {address}",
            allowance.account(),
            extra={
                "keyguard_event": kind,
                "keyguard_owner_id": owner_id,
                "keyguard_address": str(address) if address is not None else None,
            },
        )

    def trouble(self, what: str, problem: BaseException, *, unexpected: bool = False) -> None:
        """Write that the store or the app's own sign-in failed; with a stack trace if nobody expected that."""
        if self._lines.take():
            detail = type(problem).__name__ if unexpected else problem
            account = self._lines.account()
            logger.error("%s: %s%s", what, detail, account, exc_info=problem if unexpected else None)


class _Allowance:
    """So many lines may come at once, and so many a second after that; those that are left out are counted."""

    def __init__(self, burst: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._burst = burst
        self._left = float(burst)
        self._last = clock()
        self._left_out = 0

    def take(self) -> bool:
        """Tell whether one more line may be written; if it may not, count it."""
        now = self._clock()
        self._left += (now - self._last) * self._burst
        self._last = now
        if self._left > self._burst:  # noqa: PLR1730 In half the time of `min`: a flood of junk comes by here.
            self._left = self._burst
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True

    def account(self) -> str:
        """Say how many lines were left out since this was said last."""
        left_out, self._left_out = self._left_out, 0
        return f"; {left_out} lines were left out" if left_out else ""


class _Turns:
    """Of each key one line in ten seconds; how often there would have been one in between is counted.

    The thousand keys are known that were written about last. Whoever has more of them, and uses them in turn, meets the
    allowance that they have together.
    """

    def __init__(self, clock: Callable[[], float], *, seconds: float = 10.0, most: int = 1000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._taken: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def has_come(self, key_id: str) -> bool:
        """Tell whether there may be another line about a key; if there may not, count it."""
        taken = self._taken.get(key_id)
        if taken is None or self._clock() - taken[0] >= self._seconds:
            return True
        self._taken[key_id] = (taken[0], taken[1] + 1)
        return False

    def take(self, key_id: str) -> str:
        """Note that there is a line about a key now, and say how often there was none since the one before."""
        _, times = self._taken.pop(key_id, (0.0, 0))
        self._taken[key_id] = (self._clock(), 0)
        if len(self._taken) > self._most:
            self._taken.popitem(last=False)
        return f"; {times} times more since its line before" if times else ""


def _reason(decision: Decision) -> Reason | None:
    if isinstance(decision, Refused):
        return decision.reason
    return decision.noted if isinstance(decision, Allowed) else None


def _key(decision: Decision) -> KeyRecord | None:
    """Return the genuine key that a line about a decision names."""
    if isinstance(decision, Refused):
        return decision.key
    return decision.noted_key if isinstance(decision, Allowed) else None


def _end_of(key: KeyRecord) -> str:
    """Say when and why a key was revoked."""
    reason = f": {loggable_path(key.revoked_reason)!a}" if key.revoked_reason else ""
    return f"revoked {key.revoked_at:%Y-%m-%d %H:%M:%S} UTC{reason}"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
