"""Commands that try a new key out, to be pasted into a terminal."""

import shlex
from dataclasses import dataclass, field

from starlette.types import Scope

from keyguard.admin._in_front import guard_in_front
from keyguard.extract import Sources

__all__ = ["Sample", "address_of", "samples", "sources_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A command with a key in it, and the same for whoever looks over a shoulder."""

    label: str
    text: str = field(repr=False)
    masked: str


def sources_of(scope: Scope) -> Sources:
    """Return where keys are looked for: what the guard in front says, or what a guard does that is told nothing."""
    guard = guard_in_front(scope)
    return Sources() if guard is None else guard.sources


def address_of(url: str, path: str) -> str:
    """Return the address of an app's path."""
    return f"{url.rstrip('/')}/{path.removeprefix('/')}"


def samples(key: str, masked: str, address: str, sources: Sources) -> tuple[Sample, ...]:
    """Return the commands that bring a key to an address, in the ways that the app takes it."""
    ways: list[tuple[str, str, str]] = []
    if sources.header is not None:
        ways.append(("In a header", f"{sources.header}: {{}}", address))
    elif sources.bearer:
        ways.append(("As a bearer token", "Authorization: Bearer {}", address))
    if sources.query is not None:
        ways.append(("In the address", "", f"{address}{'&' if '?' in address else '?'}{sources.query}={{}}"))
    return tuple(
        Sample(label=label, text=_curl(header, where, key), masked=_curl(header, where, masked))
        for label, header, where in ways
    )


def _curl(header: str, address: str, key: str) -> str:
    words = ["curl", *(["--header", header.replace("{}", key)] if header else []), address.replace("{}", key)]
    return shlex.join(words)
