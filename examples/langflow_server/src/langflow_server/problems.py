"""What can go wrong on the way to an answer: each problem knows its status, and its text may be shown to the caller."""

from http import HTTPStatus

__all__ = ["BadRequest", "Forbidden", "Missing", "Problem", "ProviderFailed", "SettingsProblem"]


class SettingsProblem(Exception):
    """The settings cannot be right: the server does not start."""


class Problem(Exception):
    """The answer is an error, ``{"detail": …}``: `detail` is a sentence for whoever asked, and quotes no secret."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(Problem):
    """What was asked for cannot be done as it was asked."""

    status = HTTPStatus.BAD_REQUEST


class Forbidden(Problem):
    """Who asks may not do that."""

    status = HTTPStatus.FORBIDDEN


class Missing(Problem):
    """There is no such thing, or it is somebody else's."""

    status = HTTPStatus.NOT_FOUND


class ProviderFailed(Problem):
    """A provider of language models did not answer, or not as it should."""

    status = HTTPStatus.BAD_GATEWAY
