"""What the functions here are given, checked: each mistake is a sentence that says what is allowed."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any, cast

from keyguard.address import network_of
from keyguard.errors import ConfigurationError
from keyguard.model import IPNetwork, KeyRecord, Owner, Principal, check_scope
from keyguard.settings import Keyring
from keyguard.stores._text import check_storable

__all__ = [
    "Actor",
    "Entropy",
    "actor_of",
    "bytes_of",
    "check_count",
    "check_expected",
    "check_is",
    "check_text",
    "expiry_of",
    "id_of",
    "in_utc",
    "metadata_json_of",
    "networks_of",
    "scopes_of",
]

Actor = Owner | Principal | str
"""Who asks for a change: an owner, `request.user`, or what the app calls whoever it was (``cli:root``)."""

Entropy = Callable[[int], bytes]
"""Returns so many random bytes."""

_MOST_METADATA_BYTES = 8192
"""As JSON, in UTF-8: what the app notes about a key is read along with it."""


def check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} is a text; not {type(value).__name__}")


def check_is(what: str, kind: type, value: object) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{what} is of type {kind.__name__}; not {type(value).__name__}")


def check_count(what: str, value: object, *, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{what} is a whole number from {least} on; not {value!r}")


def check_expected(key_id: str, expected: KeyRecord | None) -> None:
    """Check that a key that somebody has read is the one that is to be changed."""
    if expected is None:
        return
    check_is("expected", KeyRecord, expected)
    if expected.id != key_id:
        raise ConfigurationError("expected is the key itself, as it was read; not another one")


def id_of(owner: Owner | str) -> str:
    return owner if isinstance(owner, str) else owner.id


def actor_of(actor: Actor | None) -> str:
    """Return how the audit log names whoever asked for a change."""
    match actor:
        case None:
            return ""
        case str():
            return actor
        case Owner() | Principal():
            return actor.id
    raise ConfigurationError(f"actor is an Owner, a Principal or a text, or None; not {type(actor).__name__}")


def scopes_of(scopes: Iterable[str]) -> frozenset[str]:
    if isinstance(scopes, str):
        raise ConfigurationError("scopes is a list of names, even of one; not a str")
    return frozenset(check_scope(scope) for scope in scopes)


def networks_of(networks: Iterable[IPNetwork | str]) -> tuple[IPNetwork, ...]:
    """Return the networks in the order in which they were given, each once."""
    # A network is iterable as well: over each of its addresses, which may take for ever.
    if isinstance(networks, str | bytes | IPv4Network | IPv6Network):
        raise ConfigurationError(f"networks is a list, even of one; not {type(networks).__name__}")
    return tuple(dict.fromkeys(map(network_of, networks)))


def in_utc(what: str, time: object) -> datetime | None:
    if time is None:
        return None
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise ConfigurationError(f"{what} is an aware datetime, such as datetime.now(UTC); not {time!r}")
    return time.astimezone(UTC)


def expiry_of(
    keyring: Keyring, not_before: datetime | None, expires_at: datetime | None, now: datetime
) -> datetime | None:
    """Check the window of time, and return its end.

    The longest life is reckoned from now on, also that of a key that is not valid before later.
    """
    latest = None if keyring.max_lifetime is None else now + keyring.max_lifetime
    expires_at = expires_at or latest
    if latest is not None and expires_at is not None and expires_at > latest:
        raise ConfigurationError(f"expires_at is at most {keyring.max_lifetime} from now: the keyring's max_lifetime")
    if expires_at is not None and expires_at <= max(now, not_before or now):
        raise ConfigurationError("expires_at must lie in the future, and behind not_before")
    return expires_at


def metadata_json_of(metadata: Mapping[str, Any] | None) -> str:
    """Return what an app notes about a key as it is stored, if what is read back is what was given.

    A tuple, or a number as a name, is a mistake: JSON would make something else of it.
    """
    if metadata is None:
        return "{}"
    if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] Not everybody checks types.
        raise ConfigurationError(f"metadata is a JSON object, such as a dict; not {type(metadata).__name__}")
    given = dict(metadata)
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        is_kept = json.loads(text) == given
    except (TypeError, ValueError, RecursionError):
        is_kept, text = False, ""
    if not is_kept:
        raise ConfigurationError(
            "metadata is what JSON can say and gives back as it was: texts, finite numbers, True, False, None, lists, "
            "and dicts with texts as names"
        )
    if len(bytes_of(text)) > _MOST_METADATA_BYTES:
        raise ConfigurationError(f"metadata has at most {_MOST_METADATA_BYTES} bytes as JSON")
    check_storable(_texts_in(given))
    return text


def _texts_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, each in cast("dict[str, object]", value).items():
                yield name
                yield from _texts_in(each)
        case list():
            for each in cast("list[object]", value):
                yield from _texts_in(each)
        case _:
            pass


def bytes_of(text: str) -> bytes:
    """Encode any text: JSON can bring surrogates, which no strict encoding takes."""
    return text.encode(errors="surrogatepass")
