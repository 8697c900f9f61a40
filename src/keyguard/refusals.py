"""What a refused caller learns: one table from `Reason` to the wire.

The reasons why a key is bad share one row, so that status, headers and body are the same, byte for byte. The precise
reason goes to the log and to the observer.
"""

import json
from dataclasses import dataclass, field
from http import HTTPStatus

from keyguard.model import Reason

__all__ = ["RETRY_AFTER_SECONDS", "Challenge", "Refusal", "refusal_for"]

RETRY_AFTER_SECONDS = 1
"""What a 503 advises: a store that comes back is asked again soon, and not at once by everybody."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refusal as its caller sees it: HTTP status, stable code, a sentence.

    `error` is the error code of the challenge (RFC 6750 §3.1); None where nothing was presented (by §3 a challenge then
    carries none) and where there is no challenge.
    """

    status: int
    code: str
    detail: str
    error: str | None = None
    body: bytes = field(init=False, repr=False)
    """The problem document (RFC 9457), as JSON."""

    def __post_init__(self) -> None:
        """Write the problem document once: the same bytes for each request."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        object.__setattr__(self, "body", json.dumps(document).encode())

    def headers(self, challenge: "Challenge", *, query_was_used: bool) -> Headers:
        """Return the header fields of the answer; a 401 carries `challenge` (RFC 9110 §11.6.1).

        An answer to a request that had a key in its query asks the browser not to send that address on as a referrer.
        """
        fields = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
        ]
        if self.status == HTTPStatus.UNAUTHORIZED:
            fields += [(b"www-authenticate", value) for value in challenge.values(self.error)]
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            fields.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
        if query_was_used:
            fields.append((b"referrer-policy", b"no-referrer"))
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """How a 401 says where a key is expected.

    `ApiKey` is not a registered scheme; its parameters name the header and the query parameter. `Bearer` is RFC 6750's,
    which asks for at least one parameter: hence the realm.
    """

    header: str | None = None
    query: str | None = None
    bearer: bool = False

    def values(self, error: str | None) -> list[bytes]:
        """Return the value of each `WWW-Authenticate` field, with `error` as the error code."""
        places = {"header": self.header, "query": self.query}
        named = {place: name for place, name in places.items() if name is not None}
        problem = {} if error is None else {"error": error}
        values = [_challenge("ApiKey", {"realm": "api", **named, **problem})] if named else []
        if self.bearer:
            values.append(_challenge("Bearer", {"realm": "api", **problem}))
        return values


def _challenge(scheme: str, parameters: dict[str, str]) -> bytes:
    return f"{scheme} ".encode() + ", ".join(f'{name}="{value}"' for name, value in parameters.items()).encode()


_MISSING = Refusal(status=401, code="missing_key", detail="An API key is required.")
_INVALID = Refusal(status=401, code="invalid_key", detail="The API key is not valid.", error="invalid_token")

_REFUSALS = {
    Reason.MISSING: _MISSING,
    Reason.AMBIGUOUS: Refusal(
        status=400,
        code="ambiguous_credentials",
        detail="More than one API key was presented, or one under a name that is spelt in another way.",
    ),
    Reason.MALFORMED: _INVALID,
    Reason.UNKNOWN: _INVALID,
    Reason.NOT_YET_VALID: _INVALID,
    Reason.EXPIRED: _INVALID,
    Reason.REVOKED: _INVALID,
    Reason.DISABLED: _INVALID,
    Reason.OWNER_INACTIVE: _INVALID,
    Reason.ADDRESS_NOT_ALLOWED: _INVALID,
    Reason.UNKNOWN_TOKEN: _INVALID,
    Reason.NO_AUTO_LOGIN_USER: _MISSING,
    Reason.AUTO_LOGIN_USER_INACTIVE: _MISSING,
    Reason.KEY_REQUIRED: Refusal(
        status=401, code="key_required", detail="An API key is required here; being signed in is not enough."
    ),
    Reason.SCOPE_MISSING: Refusal(
        status=403, code="insufficient_scope", detail="The API key lacks a scope that is required here."
    ),
    Reason.SUPERUSER_REQUIRED: Refusal(
        status=403, code="superuser_required", detail="Superuser rights are required here."
    ),
    Reason.UNAVAILABLE: Refusal(
        status=503, code="unavailable", detail="API keys cannot be checked at the moment; try again."
    ),
}


def refusal_for(reason: Reason) -> Refusal:
    """Return what the caller learns of `reason`."""
    return _REFUSALS[reason]
