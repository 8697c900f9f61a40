"""What `doctor` finds: about what, how bad it is, and what to do."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["Finding", "Verdict", "fine", "problem", "unknown", "warning"]


class Verdict(Enum):
    """How it stands with one thing."""

    FINE = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    what: str
    to_do: str = ""


def fine(about: str, what: str) -> Finding:
    """Return that all is well."""
    return Finding(about, Verdict.FINE, what)


def warning(about: str, what: str, to_do: str) -> Finding:
    """Return what need not be wrong, or is not yet."""
    return Finding(about, Verdict.WARNING, what, to_do)


def problem(about: str, what: str, to_do: str) -> Finding:
    """Return what is wrong."""
    return Finding(about, Verdict.PROBLEM, what, to_do)


def unknown(about: str, what: str, to_do: str = "") -> Finding:
    """Return what could not be seen, and why."""
    return Finding(about, Verdict.UNKNOWN, what, to_do)
