"""What is answered in the place of a page: one table from what was raised to status, code and sentence."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from keyguard.errors import (
    Changed,
    ConfigurationError,
    Conflict,
    KeyguardError,
    NotFound,
    NotSupported,
    StartRefused,
    StoreUnavailable,
)
from keyguard.refusals import RETRY_AFTER_SECONDS

__all__ = ["Problem", "problem_of"]


class Problem(Exception):
    """Raised by whatever cannot go on: it becomes a page, or a problem document where the API was asked.

    Args:
        status: the HTTP status.
        code: a stable word for programs.
        detail: a sentence for people; what they sent may stand in it, never a secret.
        headers: what the answer has besides.
        errors: what is wrong with a body or a query, each for itself.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.errors = [dict(error) for error in errors]


def problem_of(error: Exception) -> Problem | None:  # noqa: PLR0911 A kind of error a line.
    """Return what a visitor learns of `error`; None if nobody expected it, and nothing is to be learnt."""
    match error:
        case Problem():
            return error
        case NotFound():
            return Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such key here.")
        case Changed():
            return Problem(
                HTTPStatus.CONFLICT,
                "changed",
                "The key has changed in the meantime: look at it again. Nothing was done.",
            )
        case Conflict():
            return Problem(HTTPStatus.CONFLICT, "conflict", _sentence(error))
        case ConfigurationError():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", _sentence(error))
        case NotSupported():
            return Problem(HTTPStatus.NOT_IMPLEMENTED, "not_supported", _sentence(error))
        case StoreUnavailable() | StartRefused():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "The keys cannot be reached at the moment; try again.",
                headers={"retry-after": str(RETRY_AFTER_SECONDS)},
            )
        case _:
            return None


def _sentence(error: KeyguardError) -> str:
    """Return an error's message as a sentence for people."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
