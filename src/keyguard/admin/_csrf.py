"""What a form proves: that this page has made it, for this visitor, in this browser.

Everything here is signed with a secret that only the browser and we know: the text of the visitor's session or, where
there is none of ours, that of a random cookie. So there is no key to configure, every worker can read what another one
has signed, and what was signed in a session is worth nothing after it.
"""

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import Request

from keyguard.ports import Clock

__all__ = ["Seal", "comes_from_here"]

_PORTS = {"http": ":80", "https": ":443"}


class Seal:
    """Signs what a browser is to bring back, and reads it.

    Args:
        secret: what it is signed with.
        who: whom it is signed for: what another visitor's browser brings is not read.
        clock: the time it is signed at.
    """

    def __init__(self, secret: str, who: str, clock: Clock) -> None:
        self._secret = secret
        self._who = who
        self._clock = clock

    def sign(self, purpose: str, value: Any) -> str:  # noqa: ANN401 What JSON can say.
        """Return `value`, signed for one purpose: a text for forms and cookies. It can be read by whoever has it."""
        # The random part makes each one another text: what is the same in many compressed answers can be guessed.
        return self._serializer(purpose).dumps([value, self._clock().timestamp(), secrets.token_urlsafe(6)])

    def read(self, purpose: str, text: str, *, within: timedelta | None = None) -> Any:  # noqa: ANN401 Likewise.
        """Return what was signed for that purpose; None if `text` was not, or longer ago than `within`."""
        try:
            value, signed_at, _ = self._serializer(purpose).loads(text)
        except (BadData, UnicodeError):
            return None
        age = self._clock().timestamp() - signed_at
        return value if within is None or age <= within.total_seconds() else None

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._secret,
            salt=f"keyguard.admin {purpose} {self._who}".encode(errors="surrogatepass"),
            signer_kwargs={"key_derivation": "hmac", "digest_method": sha256},
        )


def comes_from_here(request: Request, trusted: frozenset[str]) -> bool:
    """Tell whether a request was made by a page of this host's, or of one of the `trusted` origins.

    Browsers say so in `Origin`, and where they leave that out in `Referer`; ``null`` and nothing are no answer. That
    the page is encrypted is asked only where we know that this request is: behind a proxy, we may not.
    """
    headers = request.headers
    said = headers.get("origin") or headers.get("referer") or ""
    try:
        parts = urlsplit(said)
        netloc = parts.netloc.lower()
    except ValueError:
        return False
    if f"{parts.scheme}://{netloc}" in trusted:
        return True
    host = headers.get("host", "").lower()
    default_port = _PORTS.get(parts.scheme)
    if (
        not host
        or not netloc
        or default_port is None
        or (request.scope.get("scheme") == "https" and parts.scheme != "https")
    ):
        return False
    return netloc.removesuffix(default_port) == host.removesuffix(default_port)
