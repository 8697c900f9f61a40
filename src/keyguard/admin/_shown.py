"""How keys and times are shown, in words: pure functions of a moment that is given."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from urllib.parse import quote

from keyguard.model import ALL_SCOPES, KeyRecord, KeyState

__all__ = [
    "SOON",
    "Action",
    "Condition",
    "actions",
    "amount",
    "condition",
    "exact",
    "in_a_sentence",
    "key_path",
    "length",
    "listed",
    "longer",
    "plain",
    "relative",
    "scope_words",
    "state_word",
    "until",
]

SOON = timedelta(days=7)
"""An active key that ends in less than that is said to expire soon: a week has a working day in it, anywhere."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Not `strftime`'s, which are whatever language the process was told to speak."""

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

_LONGEST_QUOTE = 48
"""So much of a name stands in a sentence: notices travel in a cookie, and nobody reads more."""


class Condition(Enum):
    """What a key is, as the page says it: the library's states, and one word more."""

    ACTIVE = "active"
    EXPIRING_SOON = "expiring soon"
    GRACE = "grace"
    NOT_YET_VALID = "not yet valid"
    DISABLED = "disabled"
    EXPIRED = "expired"
    REVOKED = "revoked"

    @property
    def slug(self) -> str:
        """How a URL and a style sheet call it."""
        return self.value.replace(" ", "-")


class Action(Enum):
    """What may be done with a key on its page."""

    RENAME = "rename"
    ROTATE = "rotate"
    END_GRACE = "end grace"
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"


# --- keys -------------------------------------------------------------------------------------------------------


def condition(key: KeyRecord, now: datetime) -> Condition:
    """Return what a key is at that moment."""
    state = key.state(now)
    if state is KeyState.ACTIVE and key.expires_at is not None and key.expires_at < now + SOON:
        return Condition.EXPIRING_SOON
    return Condition(state.value)


def state_word(key: KeyRecord, now: datetime) -> str:
    """Return the one word that a badge says of a key; of a grace also how long it lasts."""
    is_ = condition(key, now)
    if is_ is Condition.GRACE and key.expires_at is not None:
        return f"grace until {until(key.expires_at, now)}"
    return is_.value


def actions(key: KeyRecord, now: datetime) -> frozenset[Action]:
    """Return what makes sense to be done with a key in its state: nothing more with one that is revoked."""
    state = key.state(now)
    if state is KeyState.REVOKED:
        return frozenset()
    possible = {Action.RENAME, Action.DELETE}
    if state is not KeyState.EXPIRED:
        possible.add(Action.ENABLE if key.disabled_at is not None else Action.DISABLE)
        possible.add(Action.ROTATE if key.rotated_at is None else Action.END_GRACE)
    return frozenset(possible)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeWord:
    """A scope of a key, and what it allows, in words; empty where the app did not say."""

    name: str
    meaning: str


def scope_words(scopes: frozenset[str], meanings: Mapping[str, str]) -> tuple[ScopeWord, ...]:
    """Return what a key may do, in order; of one that has its owner's permissions nothing, because it is all of it."""
    if scopes == ALL_SCOPES:
        return ()
    return tuple(ScopeWord(name=name, meaning=meanings.get(name, "")) for name in sorted(scopes))


def key_path(key_id: str) -> str:
    """Return the path of a key's page. An id that was brought from elsewhere may hold anything."""
    return f"/key/{quote(key_id, safe='')}"


# --- times ------------------------------------------------------------------------------------------------------


def exact(time: datetime) -> str:
    """Write a time out, to the second: ``22 Nov 2026, 15:49:50 UTC``."""
    return f"{_date(time)} {time.year}, {time:%H:%M:%S} UTC"


def longer(time: datetime) -> str:
    """Write a time out, to the minute: ``22 Nov 2026, 15:49 UTC``."""
    return f"{_date(time)} {time.year}, {time:%H:%M} UTC"


def until(time: datetime, now: datetime) -> str:
    """Write a time as short as it is clear at that moment: without the day if that is today's, nor this year's year."""
    if time.date() == now.date():
        return f"{time:%H:%M} UTC"
    year = "" if time.year == now.year else f" {time.year}"
    return f"{_date(time)}{year}, {time:%H:%M} UTC"


def relative(time: datetime, now: datetime) -> str:
    """Tell how long ago a time was, or in how long it will be: ``3 hours ago``, ``in 90 days``.

    What has passed is rounded down. What is to come is rounded to the nearest, so that a key that was made for 90 days
    is said to end in 90 days, not in 89.
    """
    if time <= now:
        passed = now - time
        return "just now" if passed < _MINUTE else f"{_past(passed)} ago"
    ahead = time - now
    return "in less than a minute" if ahead < _MINUTE else f"in {_ahead(ahead)}"


def length(duration: timedelta) -> str:
    """Write how long something takes in the largest unit that leaves nothing over: ``90 days``, ``15 minutes``."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if duration >= unit and not duration % unit:
            return amount(duration // unit, name)
    return amount(max(round(duration.total_seconds()), 1), "second")


def _past(passed: timedelta) -> str:
    if passed < _HOUR:
        return amount(passed // _MINUTE, "minute")
    if passed < _DAY:
        return amount(passed // _HOUR, "hour")
    if passed.days < 60:  # noqa: PLR2004 Up to here a number of months would say too little.
        return amount(passed.days, "day")
    return amount(passed.days // 30, "month") if passed.days < 365 else amount(passed.days // 365, "year")  # noqa: PLR2004 Days.


def _ahead(ahead: timedelta) -> str:
    for unit, name, most in ((_MINUTE, "minute", 60), (_HOUR, "hour", 24), (_DAY, "day", 365)):
        if (count := round(ahead / unit)) < most:
            return amount(count, name)
    return amount(round(ahead.days / 365), "year")


def _date(time: datetime) -> str:
    return f"{time.day} {_MONTHS[time.month - 1]}"


# --- sentences --------------------------------------------------------------------------------------------------


def amount(count: int, what: str) -> str:
    """Return so many of something: ``1 key``, ``1,200 keys``."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""The classes of the characters that turn the direction of writing, of text that stands behind them, too."""


def plain(name: str) -> str:
    """Return a name without what would change the text around it, and empty if there is nothing of it to see.

    A name is whatever its owner, or an attacker, wrote.
    """
    kept = "".join(
        " " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char
        for char in name
        if unicodedata.bidirectional(char) not in _TURNS
    ).strip()
    return kept if any(unicodedata.category(char)[0] not in "CZ" for char in kept) else ""


def in_a_sentence(name: str, hint: str) -> str:
    """Return what a key is called within a sentence: its name in quotation marks, else its hint.

    The name stands between marks that keep its direction of writing to itself: text of an attribute, of a title or of
    a cookie has no ``<bdi>``.
    """
    shown = plain(name)
    if not shown:
        return hint
    short = shown if len(shown) <= _LONGEST_QUOTE else f"{shown[: _LONGEST_QUOTE - 1]}…"
    return f"“\u2068{short}\u2069”"
