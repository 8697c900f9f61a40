"""What people write for a duration, a time or a JSON object, and what it means."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import typer

from keyguard.cli._failures import Failed
from keyguard.clock import utc_now

__all__ = ["ago", "duration", "expiry_of", "json_object", "time", "time_or_age"]

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile("".join(rf"(?:(?P<{name}>\d{{1,9}}){unit})?" for unit, name in _UNITS.items()))


def duration(text: str) -> timedelta:
    """Read a duration such as ``15m``, ``24h``, ``90d`` or ``1w3d``: weeks, days, hours, minutes, seconds."""
    match = _DURATION.fullmatch(text)
    try:
        if text and match is not None:
            return timedelta(**{name: int(number) for name, number in match.groupdict(default="0").items()})
    except OverflowError:
        raise typer.BadParameter("a duration of more days than are reckoned with") from None
    raise typer.BadParameter("a duration is a number and a unit, w, d, h, m or s: 15m, 24h, 90d, 1d12h")


def time(text: str) -> datetime:
    """Read a time of ISO 8601 with its zone, or a date, which is its midnight in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a time is written as ISO 8601: 2027-01-31, or 2027-01-31T18:00:00Z") from None
    if at.utcoffset() is not None:
        try:
            return at.astimezone(UTC)
        except OverflowError:
            raise typer.BadParameter("in UTC that time is before the year 1, or after the year 9999") from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return at.replace(tzinfo=UTC)
    raise typer.BadParameter("a time names its zone: 2027-01-31T18:00:00Z, or 2027-01-31T18:00:00+01:00")


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # The second is of what is nested too deeply.
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter("""a JSON object is wanted, such as '{"team": "data"}'""")
    return cast("dict[str, Any]", value)


def expiry_of(expires: datetime | None, lifetime: timedelta | None) -> datetime | None:
    """Return when a key expires that is to expire at one time, or after another. Raises `Failed` if both are given."""
    if expires is not None and lifetime is not None:
        raise Failed("say --expires or --lifetime, and not both")
    if lifetime is None:
        return expires
    try:
        return utc_now() + lifetime
    except OverflowError:
        raise Failed("that is longer than time is reckoned: a key without --lifetime does not expire") from None


def ago(age: timedelta) -> datetime:
    """Return the time so long ago. Raises `Failed` if there was none."""
    try:
        return utc_now() - age
    except OverflowError:
        raise Failed("that is longer ago than time is reckoned") from None


def time_or_age(text: str) -> datetime:
    """Read a time, or how long ago it was."""
    return ago(duration(text)) if text and _DURATION.fullmatch(text) else time(text)
