"""What a value must look like, in the part of JSON Schema that the API's bodies and parameters are described in.

The same schemas stand in the OpenAPI document: what it says of a request is what is checked.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from keyguard.address import network_of

__all__ = ["LONGEST_REPEATED", "Fault", "Schema", "faults", "moment_of"]

Schema = Mapping[str, Any]

LONGEST_REPEATED = 40
"""Characters of a member's name that an answer repeats: a whole key, which somebody took for one, has more."""

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a value: where, as a JSON Pointer (RFC 6901), and what must be."""

    pointer: str
    detail: str


def faults(value: object, schema: Schema, pointer: str = "") -> Iterator[Fault]:
    """Go through all that is wrong with a JSON value, deeper into it only where the schema goes deeper."""
    types = cast("list[str]", schema["type"] if isinstance(schema["type"], list) else [schema["type"]])
    if not any(_TYPES[name].holds(value) for name in types):
        yield Fault(pointer, f"must be {' or '.join(_TYPES[name].words for name in types)}")
        return
    match value:
        case str():
            yield from (Fault(pointer, detail) for detail in _in_text(value, schema))
        case bool() | None:
            pass
        case int() | float():
            yield from (Fault(pointer, detail) for detail in _in_number(value, schema))
        case list():
            yield from _in_list(cast("list[object]", value), schema, pointer)
        case _:
            yield from _in_object(cast("dict[str, object]", value), schema, pointer)


def moment_of(text: str) -> datetime:
    """Return the time that a text says as RFC 3339 has it. Raises `ValueError` if it says none."""
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # No such day, or one outside the years that Python reckons with.
        pass
    raise ValueError("must be a time with its offset from UTC, such as 2030-01-31T12:00:00Z")


# --- values of each kind ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Type:
    words: str
    holds: Callable[[object], bool]


def _is_whole(value: object) -> bool:
    """Tell whether a value is an integer for JSON Schema, for which 1.0 is one."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_TYPES = {
    "string": _Type("a text", lambda value: isinstance(value, str)),
    "integer": _Type("a whole number", _is_whole),
    "boolean": _Type("true or false", lambda value: isinstance(value, bool)),
    "array": _Type("a list", lambda value: isinstance(value, list)),
    "object": _Type("an object", lambda value: isinstance(value, dict)),
    "null": _Type("null", lambda value: value is None),
}

_FORMATS: dict[str, Callable[[str], object]] = {"date-time": moment_of, "network": network_of}
"""What reads a text of each format; it raises `ValueError` with a sentence."""


def _in_text(text: str, schema: Schema) -> Iterator[str]:
    if len(text) > schema.get("maxLength", len(text)):  # What is so long is not read, and not repeated.
        yield f"must have at most {schema['maxLength']} characters"
        return
    if "enum" in schema and text not in schema["enum"]:
        yield f"must be one of: {', '.join(schema['enum'])}"
    if "pattern" in schema and not re.search(schema["pattern"], text):
        yield "must have no NUL character"
    if "format" in schema:
        try:
            _FORMATS[schema["format"]](text)
        except ValueError as problem:
            yield str(problem)


def _in_number(number: float, schema: Schema) -> Iterator[str]:
    if number < schema.get("minimum", number):
        yield f"must be at least {schema['minimum']}"
    if number > schema.get("maximum", number):
        yield f"must be at most {schema['maximum']}"


def _in_list(items: list[object], schema: Schema, pointer: str) -> Iterator[Fault]:
    if len(items) < schema.get("minItems", 0):
        yield Fault(pointer, f"must have {schema['minItems']} or more items")
    if len(items) > schema.get("maxItems", len(items)):
        yield Fault(pointer, f"must have at most {schema['maxItems']} items")
        return
    for place, item in enumerate(items):
        yield from faults(item, schema["items"], f"{pointer}/{place}")


def _in_object(members: dict[str, object], schema: Schema, pointer: str) -> Iterator[Fault]:
    known: Mapping[str, Schema] = schema["properties"]
    for name in schema.get("required", ()):
        if name not in members:
            yield Fault(f"{pointer}/{name}", "is missing")
    for name, value in members.items():
        if name in known:
            yield from faults(value, known[name], f"{pointer}/{name}")
        elif len(name) <= LONGEST_REPEATED:
            yield Fault(f"{pointer}/{_escaped(name)}", "is no member that can be given here")
        else:
            yield Fault(pointer, "has a member, with a long name, that cannot be given here")
    given = len(members)
    if given < schema.get("minProperties", 0):
        yield Fault(pointer, f"must have one of: {', '.join(known)}")
    if given > schema.get("maxProperties", given):
        yield Fault(pointer, f"must have one alone of: {', '.join(known)}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
