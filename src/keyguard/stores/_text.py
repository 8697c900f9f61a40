"""Which texts a store can hold: the same in each, so that what is kept in one can be kept in another."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from keyguard.errors import ConfigurationError

__all__ = ["check_storable", "folded", "is_storable", "json_of"]

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL does not take, and surrogates, which JSON can bring and UTF-8 has no bytes for."""


def is_storable(text: str) -> bool:
    """Tell whether `text` can be stored; what cannot is no id and no name of anything."""
    return _UNSTORABLE.search(text) is None


def check_storable(values: Iterable[object]) -> None:
    """Raise `ConfigurationError` if one of `values` is a text that cannot be stored."""
    if not all(is_storable(value) for value in values if isinstance(value, str)):
        raise ConfigurationError("a text that is stored has no NUL character and no half of a surrogate pair")


def folded(text: str) -> str:
    """Return a text that can be stored with A to Z in lower case, and all other letters as they are.

    Databases do not agree on those, nor on which of them are the same letter.
    """
    return text.encode().lower().decode()


def json_of(detail: Mapping[str, Any]) -> str:
    """Return the text of a JSON object. Raises `ConfigurationError` if it is none."""
    try:
        return json.dumps(dict(detail), allow_nan=False)
    except (TypeError, ValueError):  # Not quoted: nobody knows what it holds.
        raise ConfigurationError(
            "the detail of an event is a JSON object: texts, numbers, lists and the like"
        ) from None
