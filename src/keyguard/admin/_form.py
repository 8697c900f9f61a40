"""What a form of the page brings."""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request

from keyguard.admin._problems import Problem

__all__ = ["MOST_BYTES", "Form", "read_body", "read_form"]

MOST_BYTES = 65_536
_MOST_FIELDS = 2_000
_MEDIA_TYPE = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form; each may stand there more than once, or not at all."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple(fields)

    def one(self, name: str) -> str:
        """Return the last value of a field, an empty text where it is missing."""
        return next((value for field, value in reversed(self._fields) if field == name), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a field, in their order."""
        return [value for field, value in self._fields if field == name]


async def read_body(request: Request) -> bytes:
    """Return a request's body. Raises `Problem` (413) if it has more than 64 KiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"At most {MOST_BYTES} bytes can be sent here."
            )
    return bytes(body)


async def read_form(request: Request) -> Form:
    """Read a form as browsers send it.

    Raises `Problem`: 415 if it is sent in another way (there are no files here), 413 if it is too large, and 400 if it
    cannot be read.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type", f"Forms are sent as {_MEDIA_TYPE} here.")
    body = await read_body(request)
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS, separator="&"
        )
    except ValueError:  # UnicodeError is one.
        raise Problem(HTTPStatus.BAD_REQUEST, "bad_form", "The form cannot be read.") from None
    return Form(fields)
