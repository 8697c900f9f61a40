"""What can go wrong on the way to an answer: each problem knows its status, and its text may be shown to the caller."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from keyguard import Overloaded, StoreUnavailable

__all__ = [
    "OUTAGES",
    "BadRequest",
    "Busy",
    "Forbidden",
    "Missing",
    "Problem",
    "ProviderFailed",
    "ProviderSilent",
    "SettingsProblem",
    "TooMany",
    "Unavailable",
    "WrongPassword",
]


class SettingsProblem(Exception):
    """The settings cannot be right: the server does not start."""


class Problem(Exception):
    """The answer is an error, ``{"detail": …}``: `detail` is a sentence for whoever asked, and quotes no secret."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(Problem):
    """What was asked for cannot be done as it was asked."""

    status = HTTPStatus.BAD_REQUEST


class WrongPassword(Problem):
    """The name, the password or both are not those of an active user; which of it is not said."""

    status = HTTPStatus.UNAUTHORIZED
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})

    def __init__(self) -> None:
        super().__init__("The name or the password is not right.")


class TooMany(Problem):
    """Somebody tries too often; `retry_after` is in how many seconds they may try again, 1 at least."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, wait: float) -> None:
        self.retry_after = max(1, math.ceil(wait))
        self.headers = {"Retry-After": str(self.retry_after)}
        super().__init__(f"There were too many attempts. Try again in {self.retry_after} s.")


class Busy(Problem):
    """Too much is being done for the same user at this moment."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    headers = MappingProxyType({"Retry-After": "1"})


class Forbidden(Problem):
    """Who asks may not do that."""

    status = HTTPStatus.FORBIDDEN


class Missing(Problem):
    """There is no such thing, or it is somebody else's."""

    status = HTTPStatus.NOT_FOUND


class ProviderFailed(Problem):
    """A provider of language models did not answer, or not as it should."""

    status = HTTPStatus.BAD_GATEWAY


class ProviderSilent(Problem):
    """A provider of language models did not answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class Unavailable(Problem):
    """The database does not answer now. What it has said is not shown: it may quote a statement's parameters."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = MappingProxyType({"Retry-After": "1"})

    def __init__(self) -> None:
        super().__init__("The database does not answer. Try again.")


OUTAGES = (StoreUnavailable, Overloaded, DBAPIError, PoolTimeout)
"""What is raised where the answer is `Unavailable`."""
