"""Which texts a store can hold: the same in each, so that what is kept in one can be kept in another."""

import re
from collections.abc import Iterable

from keyguard.errors import ConfigurationError

__all__ = ["check_storable", "is_storable"]

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL does not take, and surrogates, which JSON can bring and UTF-8 has no bytes for."""


def is_storable(text: str) -> bool:
    """Tell whether `text` can be stored; what cannot is no id and no name of anything."""
    return _UNSTORABLE.search(text) is None


def check_storable(values: Iterable[object]) -> None:
    """Raise `ConfigurationError` if one of `values` is a text that cannot be stored."""
    if not all(is_storable(value) for value in values if isinstance(value, str)):
        raise ConfigurationError("a text that is stored has no NUL character and no half of a surrogate pair")
