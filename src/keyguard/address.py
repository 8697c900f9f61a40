"""Where a request came from, as far as that can be known."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from keyguard.model import IPAddress

__all__ = ["client_address"]

_LONGEST = 100
"""Bytes: an IPv6 address with brackets, a zone and a port has fewer. What was read is kept, so its size has a bound."""


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
