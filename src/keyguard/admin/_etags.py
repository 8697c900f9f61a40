"""What a key was when it was read: its entity tag, and the preconditions of a change (RFC 9110 §13.1.1)."""

import re
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus

from keyguard.admin._problems import Problem
from keyguard.model import KeyRecord

__all__ = ["changed", "etag_of", "read_if_match"]

_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
"""An entity tag (RFC 9110 §8.8.3), as header fields are decoded here: from latin-1."""

_LIST = re.compile(rf"[ \t,]*{_TAG.pattern}([ \t]*,[ \t,]*{_TAG.pattern})*[ \t,]*")
"""One entity tag or several; a recipient reads over empty members of a list (RFC 9110 §5.6.1.2)."""


def etag_of(key: KeyRecord) -> str:
    """Return the tag of what of a key can change by somebody's doing: the same that stores compare with `expected`."""
    name, *times = key.changeable
    text = "\0".join([key.id, *("" if time is None else time.isoformat() for time in times), name])
    return f'"{sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]}"'


def read_if_match(fields: Sequence[str], key: KeyRecord) -> KeyRecord | None:
    """Return what a change expects the key to be, by the request's `If-Match`: `key`, or None for whatever it is.

    ``*`` speaks of whatever it is. A weak tag speaks of nothing here: tags are compared strongly.

    Raises `Problem`: 428 if there is no such field, 400 if it is no list of tags, 412 if none of them is the key's.
    """
    if not fields:
        raise Problem(
            HTTPStatus.PRECONDITION_REQUIRED,
            "if_match_required",
            "A change says what it is a change of: send the key's ETag as If-Match.",
        )
    written = ", ".join(fields)
    if written.strip(" \t") == "*":
        return None
    if not _LIST.fullmatch(written):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "malformed_if_match",
            "If-Match is * or a list of entity tags, each in double quotes as it came.",
        )
    if etag_of(key) not in [tag.group() for tag in _TAG.finditer(written)]:
        raise changed()
    return key


def changed() -> Problem:
    """Return what somebody learns who would change a key that is not as they have read it."""
    return Problem(
        HTTPStatus.PRECONDITION_FAILED,
        "changed",
        "The key is not as it was when it was read: read it again. Nothing was done.",
    )
