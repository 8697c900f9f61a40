"""The page's cookies: for its own paths alone, out of scripts' reach, and never sent along from other sites' forms."""

import re
import secrets
from collections import Counter
from datetime import timedelta
from hashlib import sha256
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["SAFE", "Cookies", "path_of"]

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 random bytes as base64url: a session's text, and our own random cookie."""

SAFE = "/:@!$&'()*+,=~"
"""What stands in a path as it is (RFC 3986 §3.3), but for the ``;`` that ends a cookie's attribute."""


def path_of(root_path: str) -> str:
    """Return where the page is mounted as a browser writes it, without a slash at its end.

    One slash stands before it: two would make of every link one that leads to another host.
    """
    root = quote(root_path.strip("/"), safe=SAFE, errors="replace")
    return f"/{root}" if root else ""


class Cookies:
    """What a browser has brought, and what it is to keep.

    Each name ends in a digest of where the page is mounted: of two pages in one app, the one below the other is sent
    the cookies of both. One that is for HTTPS begins with what has browsers take it from nobody else (RFC 6265bis
    §4.1.3); with ``__Host-`` not from a neighbour's host either, but that has to be for all paths of ours.
    """

    def __init__(self, request: Request, *, secure: bool | None) -> None:
        self._root = path_of(request.scope.get("root_path") or "")
        self._suffix = sha256(self._root.encode()).hexdigest()[:8]
        self._brought = _brought_once(request)
        self._secure = request.scope.get("scheme") == "https" if secure is None else secure
        self._set: dict[str, tuple[str, timedelta | None]] = {}

    @property
    def session(self) -> str | None:
        """The text of a session, if what was brought can be one."""
        return self._secret("session")

    @property
    def browser(self) -> str:
        """A random text that this browser keeps, a new one if it brought none."""
        known = self._secret("browser")
        if known is None:
            known = secrets.token_urlsafe(32)
            self.keep("browser", known)
        return known

    def brought(self, name: str) -> str | None:
        """Return a cookie of ours as the browser brought it, or as it was set a moment ago."""
        if name in self._set:
            return self._set[name][0] or None
        return self._brought.get(self.name_of(name))

    def keep(self, name: str, value: str, lifetime: timedelta | None = None) -> None:
        """Have the browser keep a cookie, for as long as it runs if nothing else is said."""
        self._set[name] = value, lifetime

    def drop(self, name: str) -> None:
        """Have the browser forget a cookie."""
        self._set[name] = "", timedelta(0)

    def write(self, response: Response) -> None:
        """Write what is to be kept and forgotten into an answer."""
        for name, (value, lifetime) in self._set.items():
            response.set_cookie(
                self.name_of(name),
                value,
                max_age=None if lifetime is None else int(lifetime.total_seconds()),
                path=self._root or "/",
                secure=self._secure,
                httponly=True,
                samesite="lax",
            )

    def _secret(self, name: str) -> str | None:
        value = self.brought(name)
        return value if value is not None and _SECRET.fullmatch(value) else None

    def name_of(self, name: str) -> str:
        """Return what a cookie of ours is called."""
        prefix = "" if not self._secure else "__Secure-" if self._root else "__Host-"
        return f"{prefix}keyguard_{name}_{self._suffix}"


def _brought_once(request: Request) -> dict[str, str]:
    """Return the cookies of a request whose name does not stand there twice.

    A host of the same domain can plant one beside ours, and which of the two comes first is for it to choose.
    """
    pairs = ";".join(request.headers.getlist("cookie")).split(";")
    times = Counter(pair.partition("=")[0].strip() for pair in pairs)
    return {name: value for name, value in request.cookies.items() if times[name] == 1}
