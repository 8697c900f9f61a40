"""How often somebody may try a password, as each worker counts it for itself."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address

from keyguard import Overloaded, StoreUnavailable
from keyguard.throttle import Throttle
from langflow_server.problems import TooMany

__all__ = ["Attempts"]

_MINUTE = timedelta(minutes=1)


class Attempts:
    """Five a minute for one name from one address; twenty for a name from anywhere, and for an address in all.

    By the name alone anybody could keep its owner out, and by the address alone a whole office would be one: so each
    has more room than both together.
    """

    def __init__(self) -> None:
        self._pairs = Throttle(5, _MINUTE)
        self._wide = Throttle(20, _MINUTE)

    @contextmanager
    def one(self, name: str, address: str) -> Generator[None]:
        """Count what is done in this context as an attempt; only one that ends without an exception does not count.

        Raises `TooMany`, and nothing is to be verified then. An attempt at which nothing was verified, because the
        database did not answer or too much was to be computed, does not count either.
        """
        who = _network_of(address)
        pair, wide = f"{who} {name}", (f"name {name}", f"address {who}")
        if wait := self._pairs.attempt(pair):
            raise TooMany(wait)
        if wait := self._wide.attempt(*wide):
            self._pairs.succeeded(pair)
            raise TooMany(wait)
        counts = True
        try:
            yield
            counts = False
        except (StoreUnavailable, Overloaded):
            counts = False
            raise
        finally:
            if not counts:
                self._pairs.succeeded(pair)
                self._wide.succeeded(*wide)


def _network_of(address: str) -> str:
    """Return what an address is counted as: of IPv6 its /64, which is one customer's (RFC 6177)."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or IPv6Network((known, 64), strict=False))
    return str(known)
