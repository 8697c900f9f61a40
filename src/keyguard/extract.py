"""Where in a request a key may stand: all that was presented, and the request without it. Nothing is judged here.

Parsers differ: of two headers of one name, one takes the first and another joins both; of two query parameters one
takes the first and another the last; some decode names before they compare them, or ignore their case. Where one key is
checked and another acted on, the check can be talked round. So whatever could be taken for another key is ambiguous.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from keyguard.errors import ConfigurationError
from keyguard.model import Source
from keyguard.settings import MAX_KEY_BYTES, fits, require_bool

__all__ = ["MAX_ODD_NAMES", "Candidate", "Extraction", "Sources"]

MAX_ODD_NAMES = 256
"""With more names in a query that must be decoded to be compared, it is not read: decoding is what costs time."""

_LONGEST_VALUE = 3 * MAX_KEY_BYTES  # Each byte is written as %XX.
_SPELLING = dict.fromkeys("0123456789abcdefghijklmnopqrstuvwxyz._~-", 3) | {"k": 9, "s": 6, "f": 6}
"""How many bytes a character of a name can take: 3 as %XX, more where something beyond ASCII folds to it. U+212A KELVIN
SIGN, three bytes of UTF-8, is a k, U+017F LONG S, two bytes, an s; and the ligatures of f and st are three bytes."""

# Their class looks its members up by a function in Python 3.11.
_HEADER, _QUERY, _BEARER = Source.HEADER, Source.QUERY, Source.BEARER

_SEPARATORS = frozenset(b"&=")
_ODD = frozenset({*b"%+", *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *range(128, 256)})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_QUERY_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Headers = list[tuple[bytes, bytes]]


# The two values below are made for each request: a frozen dataclass would take four times as long.


@dataclass(slots=True)
class Candidate:
    """One thing that was presented as a key; it may be empty. Its value does not show itself."""

    source: Source
    value: bytes = field(repr=False)
    """In ASCII, decoded, without blanks around it. Empty where it cannot be decoded or is not ASCII, so that it is no
    key; and of several in one query each is empty, because none of them is used."""


@dataclass
class Extraction:
    """What was presented, and the headers and the query string without it, all other bytes as they were."""

    candidates: tuple[Candidate, ...]
    """In the order of the headers, the query's last."""
    headers: Headers = field(repr=False)
    """A list of our own, the names in lower case."""
    query_string: bytes = field(repr=False)
    is_ambiguous: bool = field(default=False, init=False)
    """More than one key was presented, or something that another parser could take for one."""
    foreign_token: bool = field(default=False, init=False)
    """A bearer token that has none of the prefixes. It stays in the headers."""
    from_query: bool = field(default=False, init=False)
    """Something was presented in the query, if only ambiguously."""
    too_many: bool = field(default=False, init=False)
    """The query has more odd names than are decoded. Nothing of it is given back."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where something was presented, each place once."""
        if len(self.candidates) == 1:
            return (self.candidates[0].source,)
        return tuple({candidate.source: None for candidate in self.candidates})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where keys are looked for.

    - `header`: the name of a header, in any letter case, or None.
    - `query`: the name of a query parameter, which keeps its letter case, or None.
    - `strip`: whether the entries of the headers that hold keys are left out of what is given back.
    - `bearer`: whether ``Authorization: Bearer`` is read as well. Only tokens that begin with one of `prefixes` are
      keys; an empty prefix makes every token one.

    Raises `ConfigurationError` if `header` is not a token of RFC 9110 §5.6.2 or is ``authorization``, if `query` is
    empty or has characters other than ``A-Za-z0-9._~-``, if `bearer` or `strip` is not a bool, if `bearer` stands
    without `prefixes`, if `prefixes` is not a tuple of texts, or if nothing is looked for.
    """

    header: str | None = "x-api-key"
    query: str | None = "x-api-key"
    bearer: bool = False
    prefixes: tuple[str, ...] = ()
    strip: bool = True
    _header: bytes | None = field(init=False, repr=False, compare=False)
    _parameter: "_Parameter | None" = field(init=False, repr=False, compare=False)
    _prefixes: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values."""
        if self.header is not None and not fits(_TOKEN, self.header):
            raise ConfigurationError(
                f"header is the name of a header, such as 'x-api-key', or None; not {self.header!r}"
            )
        header = None if self.header is None else self.header.lower()
        if header == "authorization":
            raise ConfigurationError("header cannot be 'authorization': bearer=True reads keys from there")
        if self.query is not None and not fits(_QUERY_NAME, self.query):
            raise ConfigurationError(
                "query is the name of a query parameter, of A-Z, a-z, 0-9 and ._~- such as 'x-api-key', or None; "
                f"not {self.query!r}"
            )
        require_bool("bearer", self.bearer)
        require_bool("strip", self.strip)
        if not _are_texts(self.prefixes):
            raise ConfigurationError(f"prefixes is a tuple of texts; not {self.prefixes!r}")
        if self.bearer and not self.prefixes:
            raise ConfigurationError("bearer=True needs prefixes: a token that has none of them is left to the app")
        if header is None and self.query is None and not self.bearer:
            raise ConfigurationError("keys are looked for in at least one of header, query and bearer")
        object.__setattr__(self, "header", header)
        object.__setattr__(self, "_header", None if header is None else header.encode())
        object.__setattr__(self, "_parameter", None if self.query is None else _Parameter(self.query))
        object.__setattr__(self, "_prefixes", tuple(prefix.encode() for prefix in self.prefixes))

    def extract(self, headers: Iterable[tuple[bytes, bytes]], query_string: bytes) -> Extraction:
        """Return all that is presented in `headers` and in the raw `query_string`.

        It takes about as long as reading the bytes once, whatever they are.
        """
        header, bearer, strip = self._header, self.bearer, self.strip
        candidates: list[Candidate] = []
        kept: Headers = []
        foreign_token = False
        # The ASGI specification lets a server pass any iterable on. Hardly one passes anything but a list of tuples of
        # bytes, and then its entries are all alike.
        if not isinstance(headers, list) or (
            headers and (type(headers[0]) is not tuple or type(headers[0][1]) is not bytes)
        ):
            headers = [(bytes(name), bytes(value)) for name, value in headers]
        for entry in headers:
            name, value = entry
            if not name.islower():
                name = name.lower()
                entry = (name, value)  # noqa: PLW2901 The same entry, as it should have come.
            if name == header:
                value = value.strip(b" \t")
                candidates.append(Candidate(_HEADER, value if value.isascii() else b""))
                if strip:
                    continue
            elif bearer and name == b"authorization" and (token := _bearer_token(value)) is not None:
                if not token.startswith(self._prefixes):
                    foreign_token = True
                else:
                    candidates.append(Candidate(_BEARER, _if_ascii(token)))
                    if strip:
                        continue
            kept.append(entry)
        extraction = Extraction(tuple(candidates), kept, query_string)
        extraction.is_ambiguous = len(candidates) > 1
        extraction.foreign_token = foreign_token
        if query_string and self._parameter is not None:
            self._parameter.take_out(query_string).add_to(extraction)
        return extraction


@dataclass(frozen=True, slots=True)
class _Query:
    rest: bytes
    candidates: tuple[Candidate, ...] = ()
    has_lookalikes: bool = False  # Or may have, if there are too many odd names to know.
    too_many: bool = False

    def add_to(self, extraction: Extraction) -> None:
        extraction.candidates += self.candidates
        extraction.query_string = self.rest
        extraction.is_ambiguous = len(extraction.candidates) > 1 or self.has_lookalikes
        extraction.from_query = self.has_lookalikes or len(self.candidates) > 0
        extraction.too_many = self.too_many


class _Parameter:
    """A query parameter's name, ready to be looked for in 64 KiB of anything in about a millisecond.

    C code goes through the bytes; Python looks at no part by itself but those with odd names, of which it takes at most
    `MAX_ODD_NAMES`. A name is odd if it is not the parameter's and has ``%``, ``+``, a byte beyond ASCII or a letter in
    another case. Only such a name can be a lookalike: one that equals the parameter's when it is decoded and its case
    is folded.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._folded = name.casefold()
        self._longest = sum(_SPELLING[letter] for letter in self._folded)
        self._parts = re.compile(rb"&%b(?:=([^&]*))?(?![^&])" % re.escape(self._name))
        odd = _ODD.union(filter(_is_letter, self._name.swapcase()))
        self._classes = bytes(ord("%") if byte in odd else byte for byte in range(256))
        self._plain = bytes({*range(256)} - odd - _SEPARATORS)

    def take_out(self, query_string: bytes) -> _Query:
        """Return what stands in `query_string` under the name, and the rest of it."""
        rest = b"&" + query_string  # Now each part begins with one.
        candidates: tuple[Candidate, ...] = ()
        if self._name in rest:
            pieces = self._parts.split(rest)
            rest, values = b"".join(pieces[::2]), pieces[1::2]
            candidates = (Candidate(_QUERY, b""),) * len(values)
            if len(values) == 1:
                candidates = (Candidate(_QUERY, _decoded(values[0] or b"")),)
        # What is neither a separator nor odd is left out, what is odd becomes a %: "&%" is a part with an odd name.
        skeleton = rest.translate(self._classes, self._plain)
        odd_names = skeleton.count(b"&%")
        if odd_names > MAX_ODD_NAMES:
            return _Query(b"", candidates, has_lookalikes=True, too_many=True)
        if odd_names:
            kept = self._without_lookalikes(rest.split(b"&"), skeleton)
            if kept:
                return _Query(b"&".join(kept)[1:], candidates, has_lookalikes=True)
        return _Query(rest[1:], candidates)

    def _without_lookalikes(self, parts: list[bytes], skeleton: bytes) -> list[bytes]:
        """Return the `parts` without the lookalikes, nothing if none is; `parts[0]` is before the first ``&``."""
        kept: list[bytes] = []
        start = index = 0
        for between in skeleton.split(b"&%")[:-1]:
            index += between.count(b"&") + 1
            if self._is_lookalike(parts[index].partition(b"=")[0]):
                kept += parts[start:index]
                start = index + 1
        return kept + parts[start:] if kept else kept

    def _is_lookalike(self, name: bytes) -> bool:
        if len(name) > self._longest:
            return False
        # Whether a + is a blank or itself makes no difference: the parameter's name has neither.
        return unquote_to_bytes(name).decode(errors="replace").casefold() == self._folded


def _bearer_token(authorization: bytes) -> bytes | None:
    """Return what follows the scheme `Bearer`, or None if the scheme is another."""
    scheme, *token = authorization.strip(b" \t").replace(b"\t", b" ").split(b" ", 1)
    if scheme.lower() != b"bearer":
        return None
    return token[0].lstrip(b" ") if token else b""


def _decoded(value: bytes) -> bytes:
    if len(value) > _LONGEST_VALUE or _BROKEN_ESCAPE.search(value):
        return b""
    return _if_ascii(unquote_to_bytes(value))  # A + stays one: it is no blank in a key.


def _if_ascii(value: bytes) -> bytes:
    return value if value.isascii() else b""


def _is_letter(byte: int) -> bool:
    return chr(byte).isalpha()


def _are_texts(values: Iterable[object]) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)
