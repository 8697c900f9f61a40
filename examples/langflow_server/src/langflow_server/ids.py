"""A key's id as a UUID, which programs for Langflow expect, and back.

Keyguard's ids of keys are 12 characters of base 62, less than 72 bits. They fit into a UUID of version 8, which RFC
9562 §5.8 leaves to whoever makes it: so nothing has to be kept beside the key.
"""

from string import ascii_letters, digits
from uuid import UUID

__all__ = ["key_id_of", "uuid_of"]

_DIGITS = digits + ascii_letters
_LENGTH = 12
_TAG = int.from_bytes(b"lf key")  # 48 bits, so that a UUID of another origin is known to be none of a key.
_VERSION, _VARIANT = 8, 0b10
_LOW_BITS = 62  # What a UUID has room for behind its variant.


def uuid_of(key_id: str) -> UUID:
    """Return the UUID that stands for a key's id."""
    number = 0
    for digit in key_id:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    high, low = divmod(number, 1 << _LOW_BITS)
    return UUID(int=(_TAG << 80) | (_VERSION << 76) | (high << 64) | (_VARIANT << _LOW_BITS) | low)


def key_id_of(uuid: UUID) -> str | None:
    """Return the id that `uuid` stands for; None if it stands for none."""
    high, low = (uuid.int >> 64) & 0xFFF, uuid.int & ((1 << _LOW_BITS) - 1)
    number = (high << _LOW_BITS) | low
    found = ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        found = _DIGITS[digit] + found
    return found if uuid_of(found) == uuid else None
