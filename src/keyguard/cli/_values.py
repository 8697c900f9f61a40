"""What people write for a duration, a time or a JSON object, and what it means."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import typer

__all__ = ["duration", "json_object", "time"]

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile("".join(rf"(?:(?P<{name}>\d{{1,9}}){unit})?" for unit, name in _UNITS.items()))


def duration(text: str) -> timedelta:
    """Read a duration such as ``15m``, ``24h``, ``90d`` or ``1w3d``: weeks, days, hours, minutes, seconds."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise typer.BadParameter("a duration is a number and a unit, w, d, h, m or s: 15m, 24h, 90d, 1d12h")
    return timedelta(**{name: int(number) for name, number in match.groupdict(default="0").items()})


def time(text: str) -> datetime:
    """Read a time of ISO 8601 with its zone, or a date, which is its midnight in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a time is written as ISO 8601: 2027-01-31, or 2027-01-31T18:00:00Z") from None
    if at.utcoffset() is not None:
        return at.astimezone(UTC)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return at.replace(tzinfo=UTC)
    raise typer.BadParameter("a time names its zone: 2027-01-31T18:00:00Z, or 2027-01-31T18:00:00+01:00")


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter("""a JSON object is wanted, such as '{"team": "data"}'""")
    return cast("dict[str, Any]", value)
