"""Signing in with a name and a password, and out again: one procedure for the form and for the API."""

import math
import re
import time
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network

from keyguard import lifecycle
from keyguard.admin._problems import Problem
from keyguard.admin._settings import Settings
from keyguard.admin._visit import Visit
from keyguard.admin._visitor import Visitor, Way
from keyguard.clock import utc_now
from keyguard.lifecycle import SignedIn
from keyguard.model import IPAddress
from keyguard.throttle import Throttle

__all__ = ["Entrance", "way_back"]

_PLACE = re.compile(r"/(?:[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)?(?:\?[!$&-;=?@A-Z_a-z~%]*)?")
"""A path of the page's: no dot, escape or second slash that could lead out of the mount or to another host."""


def way_back(asked_for: str) -> str:
    """Return where to go after signing in: to what was asked for, if it is one of the page's own, else to its front."""
    is_ours = _PLACE.fullmatch(asked_for) is not None
    return asked_for if is_ours and not asked_for.startswith(("/sign-", "/api/", "/assets/")) else "/"


class Entrance:
    """Signs people in and out; it counts who tries too often, for one process.

    Five attempts a minute are let through for one name from one address. A name may be tried twenty times a minute from
    anywhere, and an address may try twenty times a minute whatever names.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The wall's clock may be set back; another one is a test's.
        clock = time.monotonic if settings.clock is utc_now else lambda: settings.clock().timestamp()
        per = timedelta(minutes=1)
        self._pairs = Throttle(5, per, clock=clock)
        self._names = Throttle(20, per, clock=clock)
        self._addresses = Throttle(20, per, clock=clock)

    async def sign_in(self, visit: Visit, name: str, password: str) -> None:
        """Sign a visitor in: `visit` has them, and a new session, afterwards.

        Raises:
            Problem: 404 if people do not sign in here, 429 if too many have tried, and 401 if name and password are not
                those of an active owner.
            StoreUnavailable: if the store does not answer.
        """
        store = self._settings.sessions
        if store is None:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "People do not sign in here, but to the app.")
        self._begin(visit, name)
        signing_in = lifecycle.sign_in(
            store, name, password, lifetime=self._settings.session_lifetime, clock=self._settings.clock
        )
        del password  # Error reporters show what the variables of each frame hold.
        signed_in = await signing_in
        if signed_in is None:
            # Asked of everybody, and after the answer is known: it takes as long for a name that nobody has.
            tried = await store.find_owner(name)
            what = "name or password is not right"
            visit.note("sign_in_failed", what, owner_id=None if tried is None else tried.id)
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "wrong_password",
                "The name or the password is not right.",
                headers={"www-authenticate": 'Session realm="keys"'},
            )
        self._take_back(visit, name)
        await self._end(visit)
        self._welcome(visit, signed_in)

    async def sign_out(self, visit: Visit) -> bool:
        """End the visitor's session, on every worker; tell whether there was one. Raises `StoreUnavailable`."""
        ended = await self._end(visit)
        visit.cookies.drop("session")
        visit.cookies.drop("browser")
        visit.visitor = None
        return ended

    def _welcome(self, visit: Visit, signed_in: SignedIn) -> None:
        visit.cookies.keep("session", signed_in.token, self._settings.session_lifetime)
        visit.cookies.drop("browser")
        owner = signed_in.owner
        visit.visitor = Visitor(owner=owner, is_superuser=owner.is_superuser, way=Way.SESSION)

    async def _end(self, visit: Visit) -> bool:
        token, store = visit.cookies.session, self._settings.sessions
        if token is None or store is None:
            return False
        return await lifecycle.sign_out(store, token, clock=self._settings.clock)

    # --- who tries too often ---

    def _begin(self, visit: Visit, name: str) -> None:
        """Count an attempt. Raises `Problem` (429) if there are too many."""
        begun: list[tuple[Throttle, str]] = []
        for throttle, counted in self._counted(visit, name):
            wait = throttle.attempt(counted)
            if wait:
                for each, counted_before in begun:
                    each.succeeded(counted_before)
                visit.note("sign_in_throttled", "too many attempts to sign in", owner_id=None)
                raise Problem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too_many_attempts",
                    "There were too many attempts to sign in. Wait a moment, and try again.",
                    headers={"retry-after": str(math.ceil(wait))},
                )
            begun.append((throttle, counted))

    def _take_back(self, visit: Visit, name: str) -> None:
        for throttle, counted in self._counted(visit, name):
            throttle.succeeded(counted)

    def _counted(self, visit: Visit, name: str) -> list[tuple[Throttle, str]]:
        address = _who_calls(visit.address)
        return [(self._pairs, f"{address} {name}"), (self._names, name), (self._addresses, address)]


def _who_calls(address: IPAddress | None) -> str:
    """Return what an address is counted as: of IPv6 its /64, which is one customer's (RFC 6177).

    Where a socket takes both, an IPv4 address comes mapped into IPv6 (RFC 4291 §2.5.5.2): all of them in one /64.
    """
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
