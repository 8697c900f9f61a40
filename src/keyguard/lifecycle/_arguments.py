"""What the functions here are given, checked: each mistake is a sentence that says what is allowed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from keyguard.errors import ConfigurationError
from keyguard.model import IPNetwork, Owner, check_scope
from keyguard.settings import Keyring

__all__ = ["Entropy", "bytes_of", "check_text", "expiry_of", "id_of", "in_utc", "networks_of", "scopes_of"]

Entropy = Callable[[int], bytes]
"""Returns so many random bytes."""


def check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} is a text; not {type(value).__name__}")


def id_of(owner: Owner | str) -> str:
    return owner if isinstance(owner, str) else owner.id


def scopes_of(scopes: Iterable[str]) -> frozenset[str]:
    if isinstance(scopes, str):
        raise ConfigurationError("scopes is a list of names, even of one; not a str")
    return frozenset(check_scope(scope) for scope in scopes)


def networks_of(networks: Iterable[IPNetwork | str]) -> tuple[IPNetwork, ...]:
    # A network is iterable as well: over each of its addresses, which may take for ever.
    if isinstance(networks, str | bytes | IPv4Network | IPv6Network):
        raise ConfigurationError(f"networks is a list, even of one; not {type(networks).__name__}")
    try:
        return tuple(ip_network(network) for network in networks)
    except ValueError as problem:
        raise ConfigurationError(f"a network is written like 192.0.2.0/24 or 2001:db8::/32: {problem}") from None


def in_utc(time: datetime | None) -> datetime | None:
    if time is not None and time.utcoffset() is None:
        raise ConfigurationError("not_before and expires_at are aware datetimes, such as datetime.now(UTC)")
    return time and time.astimezone(UTC)


def expiry_of(
    keyring: Keyring, not_before: datetime | None, expires_at: datetime | None, now: datetime
) -> datetime | None:
    """Check the window of time, and return its end."""
    latest = None if keyring.max_lifetime is None else now + keyring.max_lifetime
    expires_at = expires_at or latest
    if latest is not None and expires_at is not None and expires_at > latest:
        raise ConfigurationError(f"expires_at is at most {keyring.max_lifetime} from now: the keyring's max_lifetime")
    if expires_at is not None and expires_at <= max(now, not_before or now):
        raise ConfigurationError("expires_at lies in the future, and behind not_before")
    return expires_at


def bytes_of(text: str) -> bytes:
    """Encode any text: JSON can bring surrogates, which no strict encoding takes."""
    return text.encode(errors="surrogatepass")
