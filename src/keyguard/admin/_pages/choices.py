"""What can be chosen in the forms of new and of rotated keys, and what was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_network

from keyguard.address import network_of
from keyguard.admin._desk import LONGEST_NAME, MOST_AT_ONCE
from keyguard.admin._form import Form
from keyguard.admin._settings import Settings
from keyguard.admin._shown import amount, length, longer, until
from keyguard.errors import ConfigurationError
from keyguard.model import IPNetwork, KeyRecord

__all__ = ["GRACES", "Choice", "Filled", "Wanted", "days", "graces", "lifetimes", "name_fault", "read"]

GRACES = (
    timedelta(0),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)

_LONGEST_CUSTOM = timedelta(days=36_500)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several: what the form sends, what it is called, and what will be."""

    value: str
    label: str
    detail: str


# --- how long ---------------------------------------------------------------------------------------------------


def lifetimes(settings: Settings, now: datetime) -> list[Choice]:
    """Return how long a new key may be good."""
    default = settings.lifetime_by_default
    lives = sorted({*settings.lifetimes_on_offer, *(() if default is None else (default,))})
    choices = [
        Choice(value=_seconds(life), label=length(life), detail=f"until {longer(now + life).partition(',')[0]}")
        for life in lives
    ]
    if days(settings, now) is not None:
        choices.append(Choice(value="custom", label="Custom date", detail="choose the last day"))
    if settings.may_be_endless:
        choices.append(Choice(value="none", label="No expiry", detail="until you delete it"))
    return choices


def days(settings: Settings, now: datetime) -> tuple[date, date] | None:
    """Return the first and the last day that can be a key's last, None where it may not live to the end of today."""
    first = now.astimezone(UTC).date()
    latest = now + min(settings.store.keyring.max_lifetime or _LONGEST_CUSTOM, _LONGEST_CUSTOM)
    last = latest.astimezone(UTC).date() - _DAY
    return (first, last) if first <= last else None


def graces(key: KeyRecord, now: datetime) -> list[Choice]:
    """Return how long a key may go on working beside the one that takes its place, and what that means."""
    choices = [Choice(value="0", label="Now", detail="It is refused as soon as you have the new one.")]
    for grace in GRACES[1:]:
        end = now + grace
        if key.expires_at is not None and key.expires_at <= end:
            detail = f"Both keys work until {until(key.expires_at, now)}, when the old one expires anyway."
        else:
            detail = f"Both keys work until {until(end, now)}."
        choices.append(Choice(value=_seconds(grace), label=f"In {_hours(grace)}", detail=detail))
    return choices


def _hours(grace: timedelta) -> str:
    """Write a grace out in hours, also of a day: it may end in the middle of the next one."""
    return amount(grace // _HOUR, "hour") if grace >= _HOUR else length(grace)


def _seconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds()))


# --- what was filled in -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The form of a new key as it was filled in, right or wrong, so that nobody has to type it again."""

    name: str = ""
    lifetime: str = ""
    until: str = ""
    access: str = "all"
    scopes: Sequence[str] = ()
    networks: str = ""

    @classmethod
    def of(cls, form: Form) -> "Filled":
        """Take it from what was sent."""
        return cls(
            name=form.one("name"),
            lifetime=form.one("lifetime"),
            until=form.one("until"),
            access=form.one("access"),
            scopes=form.all("scope"),
            networks=form.one("networks"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What key is wanted, as far as that can be read; and by the name of the field a sentence on what cannot."""

    name: str = ""
    scopes: Sequence[str] | None = None
    networks: Sequence[IPNetwork] = ()
    expires_at: datetime | None = None
    errors: Mapping[str, str] = field(default_factory=dict[str, str])


def read(
    filled: Filled, settings: Settings, offered: Mapping[str, str], *, may_grant_all: bool, now: datetime
) -> Wanted:
    """Read a form; `offered` are the scopes that can be chosen."""
    errors: dict[str, str] = {}
    if fault := name_fault(filled.name):
        errors["name"] = fault
    expires_at = _end(filled, settings, now, errors)
    scopes = None if may_grant_all and not (offered and filled.access == "some") else _scopes(filled, offered, errors)
    networks = _networks(filled.networks, errors)
    name = filled.name.strip()
    return Wanted(name=name, scopes=scopes, networks=networks, expires_at=expires_at, errors=errors)


def name_fault(name: str) -> str:
    """Say what is wrong with a name; nothing if it can be one."""
    if len(name) > LONGEST_NAME:
        return f"A name has at most {LONGEST_NAME} characters; this one has {len(name)}."
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        return "The name has a character in it that cannot be kept."
    return ""


def _end(filled: Filled, settings: Settings, now: datetime, errors: dict[str, str]) -> datetime | None:
    """Return when the key ends; None for never, or for as late as the keyring allows."""
    longest = settings.store.keyring.max_lifetime
    choices = {choice.value for choice in lifetimes(settings, now)}
    if filled.lifetime not in choices:
        errors["lifetime"] = "Choose when the key expires."
    elif filled.lifetime == "custom":
        return _end_of_day(filled.until, days(settings, now), errors)
    elif filled.lifetime != "none" and (life := timedelta(seconds=int(filled.lifetime))) != longest:
        return now + life
    return None


def _end_of_day(written: str, span: tuple[date, date] | None, errors: dict[str, str]) -> datetime | None:
    try:
        day = date.fromisoformat(written)
    except ValueError:
        errors["until"] = "Give the last day as year, month and day, such as 2030-01-31."
        return None
    first, last = span or (date.max, date.min)
    if day < first:
        errors["until"] = "That day has passed: choose today or a later one."
    elif day > last:
        errors["until"] = f"The key can be valid to the end of {last.isoformat()} at most."
    else:
        return datetime.combine(day + _DAY, time(), UTC)
    return None


def _scopes(filled: Filled, offered: Mapping[str, str], errors: dict[str, str]) -> list[str]:
    if not filled.scopes:
        errors["access"] = "Choose what the key may do: one scope at least."
    elif not set(filled.scopes) <= set(offered):
        errors["access"] = "One of the scopes is not on offer any more: choose again."
    return [scope for scope in offered if scope in filled.scopes]


def _networks(written: str, errors: dict[str, str]) -> list[IPNetwork]:
    networks: list[IPNetwork] = []
    faults: list[str] = []
    lines = [(number, line.strip()) for number, line in enumerate(written.splitlines(), start=1) if line.strip()]
    for number, line in lines[: MOST_AT_ONCE + 1]:
        try:
            networks.append(network_of(line))
        except ConfigurationError:
            faults.append(_network_fault(number, line))
    if len(lines) > MOST_AT_ONCE:
        faults.insert(0, f"At most {MOST_AT_ONCE} networks can be given.")
    if faults:
        more = f" And {len(faults) - 3} more." if len(faults) > 3 else ""  # noqa: PLR2004 As many as are shown.
        errors["networks"] = " ".join(faults[:3]) + more
    return networks


def _network_fault(number: int, line: str) -> str:
    short = line if len(line) <= 50 else f"{line[:49]}…"  # noqa: PLR2004 Longer than any network.
    try:
        meant = f"did you mean {ip_network(line, strict=False)}?"
    except ValueError:
        meant = "write an address such as 203.0.113.7, or a network such as 203.0.113.0/24."
    return f"Line {number}, “\u2068{short}\u2069”, is no network: {meant}"
