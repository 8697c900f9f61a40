"""Reading the query of an API's address, strictly: a parameter that is unknown, or given twice, is a mistake."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from keyguard.admin._api.shapes import LONGEST_REPEATED, Schema, faults
from keyguard.admin._problems import Problem

__all__ = ["read_parameters"]

_MOST = 50
"""Each state that there is may be asked for, and each of all others once."""

_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
"""`int` alone reads more: ``1_000``, digits of other alphabets, blanks around."""


def read_parameters(request: Request, parameters: Sequence[Schema]) -> dict[str, Any]:
    """Return what the query says of each of `parameters`, which are OpenAPI's, or what each of them is by default.

    Raises `Problem` (422) if the query says anything else.
    """
    schemas: Mapping[str, Schema] = {parameter["name"]: parameter["schema"] for parameter in parameters}
    given: dict[str, list[str]] = {}
    for name, text in _pairs(request.scope["query_string"]):
        given.setdefault(name, []).append(text)
    wrong = list(_faults(given, schemas))
    if wrong:
        raise _invalid(wrong)
    defaults = {name: schema["default"] for name, schema in schemas.items() if "default" in schema}
    return defaults | {name: _value(texts, schemas[name]) for name, texts in given.items()}


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST)
    except ValueError:
        raise _invalid([{"detail": f"The query must be percent-encoded UTF-8, with at most {_MOST} values."}]) from None


def _faults(given: Mapping[str, list[str]], schemas: Mapping[str, Schema]) -> Iterator[dict[str, str]]:
    for name, texts in given.items():
        schema = schemas.get(name)
        if schema is None:
            yield {"parameter": name[:LONGEST_REPEATED], "detail": "is no parameter that can be given here"}
        elif schema["type"] != "array" and len(texts) > 1:
            yield {"parameter": name, "detail": "must be given once"}
        else:
            found = faults(_value(texts, schema), schema)
            yield from ({"parameter": name, "detail": fault.detail} for fault in found)


def _value(texts: list[str], schema: Schema) -> object:
    """Return what is meant by the texts of one parameter; a number that is none stays a text, which does not fit."""
    if schema["type"] == "array":
        return texts
    (text,) = texts
    return int(text) if schema["type"] == "integer" and _WHOLE.fullmatch(text) else text


def _invalid(wrong: Sequence[Mapping[str, str]]) -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_parameters",
        "The query is not what this operation takes.",
        errors=wrong,
    )
