"""Where a request came from, as far as that can be known, and the networks that a key may be bound to."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from keyguard.errors import ConfigurationError
from keyguard.model import IPAddress, IPNetwork

__all__ = ["client_address", "network_of", "unmapped"]

_LONGEST = 100
"""Bytes: an IPv6 address with brackets, a zone and a port has fewer. What was read is kept, so its size has a bound."""

_EXAMPLES = "'192.0.2.0/24' or '2001:db8::/32', without host bits"

_MAPPED_BITS = 96
"""What IPv4 addresses that are mapped into IPv6 begin with."""


def client_address(
    client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]], *, trusted_hops: int
) -> IPAddress | None:
    """Return the address of the client, None where it is not known (a Unix socket, a field that is no address).

    With `trusted_hops` 0 it is the connection's other end, whatever the headers say. With n it is the n-th entry of
    `X-Forwarded-For` from the right: each of n proxies that we run has appended the address that it was called from,
    and what stands further left was written by the caller. With fewer entries than that, a proxy was gone round: not
    known.
    """
    if trusted_hops == 0:
        return _parse(client[0]) if client and client[0] else None
    fields = [value for name, value in headers if name == b"x-forwarded-for"]
    hops = b",".join(fields).split(b",")
    if len(hops) < trusted_hops or len(hops[-trusted_hops]) > _LONGEST:
        return None
    return _parse(hops[-trusted_hops].decode("latin-1"))


@lru_cache(maxsize=4096)  # To read one takes longer than a whole check does otherwise.
def _parse(text: str) -> IPAddress | None:
    """Read an address, also in brackets and with a port behind it, as some proxies write it.

    The zone of an IPv6 address (RFC 4007 §11) is left out: it can be any text, and what is read here is logged.
    """
    text = text.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def network_of(written: object) -> IPNetwork:
    """Return the network that is meant by a text such as ``192.0.2.0/24`` or ``2001:db8::/32``, or by a network.

    It is `unmapped`. Raises `ConfigurationError` if it is no network, has host bits, or has a zone, which a caller's
    address has not.
    """
    if not isinstance(written, str | IPv4Network | IPv6Network):
        raise ConfigurationError(f"a network is written like {_EXAMPLES}; not {written!r}")
    try:
        network = ip_network(written)
    except ValueError:
        raise ConfigurationError(f"a network is written like {_EXAMPLES}; not {written!r}{_hint(written)}") from None
    if isinstance(network, IPv6Network) and network.network_address.scope_id is not None:
        raise ConfigurationError(f"a network has no zone, as a caller's address has none; not {str(written)!r}")
    return unmapped(network)


def unmapped(network: IPNetwork) -> IPNetwork:
    """Return a network of IPv4 addresses mapped into IPv6 (RFC 4291 §2.5.5.2) as that of the IPv4 addresses.

    So ``::ffff:192.0.2.0/120`` is ``192.0.2.0/24``: a caller with an IPv4 address is judged as such, however the
    server's socket writes it. A larger IPv6 network, such as ``::/0``, is left as it is: it speaks of IPv6 alone.
    """
    address = network.network_address
    bits = network.prefixlen - _MAPPED_BITS
    if isinstance(address, IPv4Address) or address.ipv4_mapped is None or bits < 0:
        return network
    return IPv4Network((address.ipv4_mapped, bits))


def _hint(written: IPNetwork | str) -> str:
    """Say which network it is that a host's address with a prefix length lies in."""
    try:
        return f", which has host bits: {ip_network(written, strict=False)} has none"
    except ValueError:
        return ""
