"""The text of a key: how one is made, read, and kept from showing itself.

::

    kg_3fJ2x0Qm7LpZ_<43 characters><6 characters>
    │  │             │              └ checksum: CRC-32 of all that stands before it
    │  │             └ secret: 256 bits
    │  └ id: for people and logs; a key is found by the digest of the whole of it
    └ prefix: 1 to 16 of a-z and 0-9, with underscores inside

Id, secret and checksum are numbers in base 62, digits ``0-9A-Za-z``, the most significant first, padded with zeros. A
double click selects the whole, because an underscore is part of a word.

The lengths are the version of this format: another one has another length, so that no text can be read as both.
"""

import hmac
import re
import zlib
from typing import ClassVar, NoReturn

from keyguard.errors import ConfigurationError, InvalidKey
from keyguard.settings import MAX_KEY_BYTES, Keyring

__all__ = [
    "ENTROPY_BYTES",
    "ID_ENTROPY_BYTES",
    "ApiKey",
    "Plaintext",
    "from_entropy",
    "id_from_entropy",
    "parse",
    "recognise",
    "scanner_pattern",
]

ID_ENTROPY_BYTES = 16
"""What `id_from_entropy` takes: more than an id's 71.5 bits, so that the remainder favours none by more than 2^-56."""

ENTROPY_BYTES = ID_ENTROPY_BYTES + 32
"""What `from_entropy` takes: 16 bytes for the id and 32, which are 256 bits, for the secret."""

_ID_DIGITS = 12
_SECRET_DIGITS = 43  # The fewest that hold 256 bits.
_CHECKSUM_DIGITS = 6  # The fewest that hold 32 bits.

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT = "[0-9A-Za-z]"
_ID = re.compile(f"{_DIGIT}{{{_ID_DIGITS}}}")
_BEHIND_PREFIX = re.compile(f"_({_DIGIT}{{{_ID_DIGITS}}})_({_DIGIT}{{{_SECRET_DIGITS}}}){_DIGIT}{{{_CHECKSUM_DIGITS}}}")


class Plaintext:
    """The whole text of a key, of any form, that does not show itself.

    Only `reveal` gives the text. `repr`, `str` and formatting mask it; pickling and copying raise `TypeError`;
    comparing takes the same time wherever two texts differ; there is no hash, so that none becomes the key of a cache.
    """

    __slots__ = ("_is_strong", "_text")

    def __init__(self, text: str, *, is_strong: bool) -> None:
        self._text = text
        self._is_strong = is_strong

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    @property
    def is_strong(self) -> bool:
        """Tell whether it has at least 112 bits of entropy, so that a fast digest is enough."""
        return self._is_strong

    def __repr__(self) -> str:
        return "<Plaintext …>"

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plaintext):
            return NotImplemented
        return hmac.compare_digest(*(key.reveal().encode(errors="surrogatepass") for key in (self, other)))

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # What Python itself does beside __eq__, said aloud.

    def __getstate__(self) -> NoReturn:
        """Refuse: pickle, copy and deepcopy all begin here."""
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied: it would leave the text of a key behind")


class ApiKey(Plaintext):
    """A key of Keyguard's own form. `from_entropy` and `parse` make them; the parts are taken as they are."""

    __slots__ = ("_id", "_prefix")

    def __init__(self, prefix: str, key_id: str, secret: str) -> None:
        body = f"{prefix}_{key_id}_{secret}"
        super().__init__(body + _base62(zlib.crc32(body.encode()), _CHECKSUM_DIGITS), is_strong=True)
        self._prefix = prefix
        self._id = key_id

    @property
    def prefix(self) -> str:
        """What stands before the id, without the underscore between them."""
        return self._prefix

    @property
    def id(self) -> str:
        """The id: 12 characters that may be shown."""
        return self._id

    @property
    def hint(self) -> str:
        """How people tell their keys apart, such as ``kg_3fJ2…``: no character of the secret."""
        return f"{self._prefix}_{self._id[:4]}…"

    def __repr__(self) -> str:
        return f"<ApiKey {self.hint}>"


def from_entropy(prefix: str, entropy: bytes, *, key_id: str | None = None) -> ApiKey:
    """Return the key that `ENTROPY_BYTES` random bytes stand for; the same bytes give the same key.

    `prefix` is a `Keyring`'s. The first 16 bytes give the id, where no `key_id` is given, the other 32 the secret, each
    as a big-endian number.

    Raises `ConfigurationError` if `entropy` has another length, or `key_id` is no id.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ConfigurationError(f"a key is made from exactly {ENTROPY_BYTES} random bytes; not {len(entropy)}")
    if key_id is None:
        key_id = id_from_entropy(entropy[:ID_ENTROPY_BYTES])
    elif not _ID.fullmatch(key_id):  # Not quoted: a whole key may have been given in its place.
        raise ConfigurationError(f"a key's id has exactly {_ID_DIGITS} characters, of 0-9, A-Z and a-z")
    return ApiKey(prefix, key_id, _base62(int.from_bytes(entropy[ID_ENTROPY_BYTES:]), _SECRET_DIGITS))


def id_from_entropy(entropy: bytes) -> str:
    """Return the id of a key that `ID_ENTROPY_BYTES` random bytes stand for.

    Raises `ConfigurationError` if `entropy` has another length.
    """
    if len(entropy) != ID_ENTROPY_BYTES:
        raise ConfigurationError(f"an id is made from exactly {ID_ENTROPY_BYTES} random bytes; not {len(entropy)}")
    return _base62(int.from_bytes(entropy) % 62**_ID_DIGITS, _ID_DIGITS)


def parse(text: str, *, prefix: str) -> ApiKey:
    """Return the key that `text` is, exactly: nothing around it, the prefix, the lengths, the characters, the checksum.

    No change of a single character passes: none inserted, left out, replaced or swapped with its neighbour.

    Raises `InvalidKey` if it is not one; the message does not quote it.
    """
    key = _read(text, prefix)
    if key is None:
        del text  # Error reporters show what the variables of each frame hold.
        raise InvalidKey(f"this is not a key of the form {prefix}_…, or it is damaged") from None
    return key


def recognise(value: bytes, keyring: Keyring) -> Plaintext | None:
    """Return what was presented, if it has a form that `keyring` accepts, else None.

    Keyguard's own form with the keyring's prefix comes first, then the keyring's formats in their order. No store is
    asked, and no bytes raise.
    """
    if len(value) > MAX_KEY_BYTES or not value.isascii():
        return None
    text = value.decode()
    key = _read(text, keyring.prefix)
    if key is not None:
        return key
    for form in keyring.formats:
        if form.matches(text):
            return Plaintext(text, is_strong=form.is_strong)
    return None


def scanner_pattern(prefix: str) -> str:
    r"""Return the regular expression by which secret scanners find keys with that prefix in text of any kind.

    Every common dialect understands it, RE2 included. It asks for no boundary on either side: in source code and logs a
    key often stands right behind a letter (``%3Dkg_…``, ``\nkg_…``). What it finds is a key if `parse` says so.
    """
    return f"{prefix}_{_DIGIT}{{{_ID_DIGITS}}}_{_DIGIT}{{{_SECRET_DIGITS + _CHECKSUM_DIGITS}}}"


def _read(text: str, prefix: str) -> ApiKey | None:
    # The prefix may hold underscores, so the text is read from behind it, where all lengths are known.
    match = _BEHIND_PREFIX.fullmatch(text, len(prefix))
    if match is None:
        return None
    key = ApiKey(prefix, *match.groups())
    return key if key.reveal() == text else None  # Prefix and checksum are compared here.


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
