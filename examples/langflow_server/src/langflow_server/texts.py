"""Texts that clients send, as every database keeps them and every answer can show them."""

from typing import Annotated

from pydantic import AfterValidator

__all__ = ["Sendable", "is_sendable"]


def _checked(text: str) -> str:
    """Refuse what JSON can write and UTF-8 cannot (half of a surrogate pair), and what PostgreSQL cannot keep."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("this is not a text: half of a surrogate pair stands in it") from None
    if "\0" in text:
        raise ValueError("a text must not have the character U+0000 in it")
    return text


is_sendable = AfterValidator(_checked)
"""For a text that has to be something else, too: ``Annotated[str, StringConstraints(…), is_sendable]``."""

Sendable = Annotated[str, is_sendable]
"""A text without U+0000 and without half surrogate pairs."""
