"""Reading what a client sends to the API: JSON alone, strictly, and nothing in it that the API does not know of.

A body is I-JSON (RFC 7493): UTF-8, no member twice, no surrogate, no number that is none.
"""

import json
import math
import re
from collections.abc import Iterable
from http import HTTPStatus
from itertools import chain
from typing import Any, NoReturn, cast

from starlette.requests import Request

from keyguard.admin._api.shapes import Schema, faults
from keyguard.admin._form import read_body
from keyguard.admin._problems import Problem

__all__ = ["MOST_DEPTH", "json_of", "read_json"]

MOST_DEPTH = 16
"""Lists and objects within one another; what the API reads has three of them."""

_JSON = re.compile(r'application/json[ \t]*(;[ \t]*(charset="?utf-8"?[ \t]*)?)*', re.IGNORECASE | re.ASCII)
"""JSON has no parameters (RFC 8259 §11). Clients add the one that says what is so anyway; no other is guessed at.

Each blank can be read in one way only: of two there would be 2ⁿ for n of them, all of which a wrong end has tried.
"""

_SURROGATE = re.compile(r"[\ud800-\udfff]")


async def read_json(request: Request, schema: Schema) -> dict[str, Any]:
    """Return the JSON object that a request brings, which fits `schema`; no body at all is an empty object.

    Raises `Problem`: 400 if it is no JSON, 413 if it is too large, 415 if it is said to be anything but JSON, 422 if it
    does not fit.
    """
    body = await read_body(request)
    value: object = {}
    if body:
        _check_type(request)
        value = json_of(body)
    wrong = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults(value, schema)]
    if wrong:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_body", "The body is not what this operation takes.", errors=wrong
        )
    return cast("dict[str, Any]", value)


def json_of(body: bytes) -> object:
    """Return the value that a body says. Raises `Problem` if it is no I-JSON, or nested too deeply."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
        )
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as problem:
        raise _malformed(f"at line {problem.lineno}, column {problem.colno}") from None
    _check_depth(value)
    if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise _malformed("a text has half of a surrogate pair")
    return value


def _check_type(request: Request) -> None:
    types = request.headers.getlist("content-type")
    if len(types) != 1 or not _JSON.fullmatch(types[0]):
        what = "A body must be JSON, and be called so: Content-Type: application/json."
    elif request.headers.get("content-encoding", "identity").lower() != "identity":
        what = "A body must not be compressed."
    else:
        return
    name = "Accept-Patch" if request.method == "PATCH" else "Accept"  # RFC 5789 §3.1, RFC 9110 §12.5.1
    raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", what, headers={name: "application/json"})


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members. A name that stands twice means one thing to one reader, another to the next."""
    made = dict(members)
    if len(made) < len(members):
        raise _malformed("an object has a member twice")
    return made


def _no_constant(_: str) -> NoReturn:
    raise _malformed("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _malformed("a number is too large")
    return number


def _whole(text: str) -> float:
    """Read an integer. More digits than any that are asked for would cost more than they are worth."""
    return int(text) if len(text) <= 20 else _finite(text)  # noqa: PLR2004 As many as 64 bits can have, and a sign.


def _check_depth(value: object) -> None:
    level = _many([value])
    for _ in range(MOST_DEPTH):
        level = _many(chain.from_iterable(level))
    if level:
        raise _too_deep()


def _many(values: Iterable[object]) -> list[Iterable[object]]:
    """Return what stands in those of the values that are lists or objects."""
    return [inside for value in values if (inside := _inside(value)) is not None]


def _inside(value: object) -> Iterable[object] | None:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else None


def _too_deep() -> Problem:
    return _malformed(f"lists and objects stand more than {MOST_DEPTH} within one another")


def _malformed(what: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "malformed_json", f"The body is not JSON as RFC 7493 has it: {what}.")
