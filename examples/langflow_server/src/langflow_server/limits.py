"""How much a request may bring, and what would keep a worker busy."""

import re
from http import HTTPStatus

from pydantic import BeforeValidator
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MAX_BODY_BYTES", "BodyLimit", "at_most"]

MAX_BODY_BYTES = 1024 * 1024
"""Ten times the longest text of a flow."""

_TOO_LARGE = f"This is too large: {MAX_BODY_BYTES} bytes are the most."

# A form in parts may name any of Python's codecs, and Starlette decodes by it: of "punycode", a megabyte takes minutes,
# in which the worker answers nobody.
_USUAL = re.compile(r';\s*charset="?(?:utf-8|us-ascii)"?\s*(?=;|$)')
_NOT_USUAL = "A form is sent in UTF-8, and names no other charset."


def at_most(number: int) -> BeforeValidator:
    """Refuse a list or an object with more in it, before what is in it is looked at.

    Pydantic counts an object's members when it has validated each of them. A hundred thousand wrong ones take ten
    seconds.
    """

    def counted(value: object) -> object:
        if isinstance(value, (list, dict)) and len(value) > number:
            raise ValueError(f"there are more than {number}")
        return value

    return BeforeValidator(counted)


class BodyLimit:
    """Refuses bodies that are longer than `MAX_BODY_BYTES`, before there is more of them in memory.

    Refuses forms of an unusual charset, too: to decode a short one can take longer than to read a long one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _has_unusual_charset(headers):
            answer = JSONResponse({"detail": _NOT_USUAL}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            await answer(scope, receive, send)
            return
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
            answer = JSONResponse({"detail": _TOO_LARGE}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            return message

        await self.app(scope, counted, send)


def _has_unusual_charset(headers: Headers) -> bool:
    kinds = [kind.lower() for kind in headers.getlist("content-type")]
    return any("multipart/" in kind and "charset" in _USUAL.sub("", kind) for kind in kinds)
