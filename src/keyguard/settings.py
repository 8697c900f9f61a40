"""The two values that say how keys are made and who may pass: `Keyring` and `Policy`.

Each is frozen and checked in its own constructor, so that a mistake is reported where it was written. Nothing is read
from the environment. A third set of arguments, where to look for keys and how to answer, is `keyguard.KeyGuard`'s own.
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Protocol, TypeVar, runtime_checkable

from keyguard.errors import ConfigurationError

__all__ = [
    "DEFAULT_METHODS",
    "FAST_DIGEST_BITS",
    "MAX_KEY_BYTES",
    "Hasher",
    "KeyFormat",
    "Keyring",
    "PathRule",
    "Policy",
    "fits",
    "is_canonical",
    "require_bool",
]

MAX_KEY_BYTES = 512
"""A longer text is no key, of whatever form."""

FAST_DIGEST_BITS = 112
"""From this many bits of entropy on a fast digest is enough: NIST SP 800-63B §5.1.2.2, OWASP ASVS 5.0 §6.5.2."""

MIN_PEPPER_BYTES = 16

_LONGEST_LIFETIME = timedelta(days=36_525)
"""100 years: far from the year 9999, in which the reckoning of `datetime` ends."""

_Item = TypeVar("_Item")

DEFAULT_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that a path rule can speak of. CONNECT, TRACE and unknown ones are never exempt."""


@runtime_checkable
class Hasher(Protocol):
    """A slow hash for secrets that people chose, such as `keyguard.hashing.Argon2Hasher`.

    `hash` and `verify` may take their time: they are called in a thread of their own. A verifier carries its scheme and
    its parameters, so that old ones go on verifying when the parameters change.
    """

    def hash(self, secret: bytes) -> str:
        """Return a new verifier for `secret`, salted."""
        ...

    def verify(self, verifier: str, secret: bytes) -> bool:
        """Tell whether `verifier` was made from `secret`; False as well for a verifier of another scheme."""
        ...

    def needs_rehash(self, verifier: str) -> bool:
        """Tell whether `verifier` was made with other parameters than a new one would be; without waiting."""
        ...


# --- Keyring ----------------------------------------------------------------------------------------------------

_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9_]{0,14}[a-z0-9])?")
_PRINTABLE = re.compile(r"[!-~]+")
_RANGE = re.compile(r"[A-Za-z0-9]-[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFormat:
    """A form of key that a `Keyring` accepts beside Keyguard's own: keys brought from elsewhere, or chosen by people.

    Such a key is `prefix`, then `min_length` to `max_length` characters of `alphabet`, which is written out
    (``string.ascii_letters + string.digits``) and knows no ranges. `entropy` is what an attacker has to guess, in bits:
    below 112, or where nobody knows (0), the keys are kept under Argon2id and found by a peppered digest.

    Raises `ConfigurationError` if the prefix or the alphabet hold anything but printable ASCII without blanks, if a
    character stands twice in the alphabet or a ``-`` between two letters or digits, if the lengths are not
    1 ≤ min ≤ max with at most 512 bytes in all, or if the entropy is not a whole number of bits.
    """

    prefix: str = ""
    alphabet: str
    min_length: int
    max_length: int
    entropy: int = 0
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values and compile the pattern."""
        if not fits(_PRINTABLE, self.alphabet) or not (self.prefix == "" or fits(_PRINTABLE, self.prefix)):
            raise ConfigurationError("a key format's prefix and alphabet are printable ASCII characters without blanks")
        if len(set(self.alphabet)) < len(self.alphabet) or _RANGE.search(self.alphabet):
            raise ConfigurationError(
                "a key format's alphabet has no ranges: write the characters out, each once, and '-' anywhere but "
                f"between two letters or digits; not {self.alphabet!r}"
            )
        lengths = (self.min_length, self.max_length)
        if not (
            all(_is_a(int, length) for length in lengths)
            and 1 <= self.min_length <= self.max_length <= MAX_KEY_BYTES - len(self.prefix)
        ):
            raise ConfigurationError(
                f"a key format needs 1 <= min_length <= max_length, and at most {MAX_KEY_BYTES} bytes with its prefix; "
                f"not {self.min_length!r} and {self.max_length!r}"
            )
        if not _is_a(int, self.entropy) or self.entropy < 0:
            raise ConfigurationError(f"a key format's entropy is a whole number of bits, or 0; not {self.entropy!r}")
        pattern = f"{re.escape(self.prefix)}[{re.escape(self.alphabet)}]{{{self.min_length},{self.max_length}}}"
        object.__setattr__(self, "_pattern", re.compile(pattern))

    @property
    def is_strong(self) -> bool:
        """Tell whether a fast digest is enough for such keys."""
        return self.entropy >= FAST_DIGEST_BITS

    def matches(self, text: str) -> bool:
        """Tell whether the whole of `text` has this form."""
        return self._pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """What issuing and checking must agree on. It is given to the store; everything else takes it from there.

    - `prefix`: what new keys begin with, 1 to 16 of ``a-z0-9`` with underscores inside (``kg``, ``lf_live``).
    - `peppers`: secrets of at least 16 bytes that stand beside the database and not in it. The first makes digests, all
      verify: to change the pepper without killing keys, add the new one behind, and once every worker has it, move it
      to the front; take the old one out when no key needs it any more.
    - `hasher`: a slow hash for *every* key. Without it generated keys have a fast digest and chosen ones Argon2id.
    - `formats`: forms of key that are accepted beside Keyguard's own.
    - `max_lifetime`: the longest life that a new key may have, at most 100 years; without an expiry of its own a key
      gets this one.

    Raises `ConfigurationError` if a value is not as above, or if a hasher or a format of fewer than 112 bits stands
    without a pepper: what a slow hash protects must not be found by a fast one.
    """

    prefix: str = "kg"
    peppers: Sequence[bytes | str] = field(default=(), repr=False)
    hasher: Hasher | None = None
    formats: Sequence[KeyFormat] = ()
    max_lifetime: timedelta | None = None
    pepper_bytes: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values."""
        if not fits(_PREFIX, self.prefix):
            raise ConfigurationError(
                "a key prefix is 1 to 16 characters of a-z and 0-9, with underscores only inside (such as 'kg' or "
                f"'lf_live'); not {self.prefix!r}"
            )
        peppers = tuple(
            pepper.encode() if isinstance(pepper, str) else pepper for pepper in _items("peppers", self.peppers)
        )
        if not all(_is_pepper(pepper) for pepper in peppers):
            raise ConfigurationError(f"each pepper is bytes or a str of at least {MIN_PEPPER_BYTES} bytes")
        if len(set(peppers)) != len(peppers):
            raise ConfigurationError("the same pepper stands twice among peppers")
        formats = _items("formats", self.formats)
        if not all(_is_a(KeyFormat, form) for form in formats):
            raise ConfigurationError("formats is a list of KeyFormat values")
        if self.hasher is not None and not _is_a(Hasher, self.hasher):
            raise ConfigurationError(f"hasher is a Hasher such as Argon2Hasher(), or None; not {self.hasher!r}")
        if not peppers and (self.hasher is not None or not all(form.is_strong for form in formats)):
            raise ConfigurationError(
                f"a hasher, or a key format of fewer than {FAST_DIGEST_BITS} bits of entropy, needs peppers: "
                "such keys are found by their digest under the pepper"
            )
        lifetime = self.max_lifetime
        if lifetime is not None and not (_is_a(timedelta, lifetime) and timedelta(0) < lifetime <= _LONGEST_LIFETIME):
            raise ConfigurationError(
                f"max_lifetime is a positive timedelta of at most 100 years, or None; not {lifetime!r}"
            )
        object.__setattr__(self, "peppers", peppers)
        object.__setattr__(self, "formats", formats)
        object.__setattr__(self, "pepper_bytes", peppers)

    @property
    def pepper_checks(self) -> tuple[str, ...]:
        """What a store keeps of each pepper, in order, so that a wrong one is noticed at start and not by dead keys."""
        return tuple(hmac.new(pepper, b"keyguard pepper check 1", sha256).hexdigest() for pepper in self.pepper_bytes)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What this keyring's keys begin with, separator included: how a bearer token is known to be one of ours."""
        return (f"{self.prefix}_", *(form.prefix for form in self.formats))


# --- Policy -----------------------------------------------------------------------------------------------------

_SEGMENTS = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")
_NAME = re.compile(r".+", re.DOTALL)
MAX_PATH = 2048


def is_canonical(path: str) -> bool:
    """Tell whether `path` is written in the only way in which a path can be exempt.

    One leading slash, no empty, ``.`` or ``..`` segment, at most one trailing slash, in each segment only characters
    that need no encoding, at most 2,048 characters.
    """
    return (
        len(path) <= MAX_PATH
        and _SEGMENTS.fullmatch(path) is not None
        and ("." not in path or not any(segment in {".", ".."} for segment in path.split("/")))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """A path of `Policy.exempt` or `Policy.optional`, where the path alone does not say enough.

    ``/x`` is that path alone, ``/x/*`` is ``/x`` and all below it. The rule speaks of HTTP requests with one of
    `methods`, and of WebSockets only with ``websocket=True``.

    Raises `ConfigurationError` if the path is not canonical or is ``/`` alone, if ``*`` stands anywhere but as the last
    segment, if a method is not among GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or if it speaks of no request.
    """

    path: str
    methods: AbstractSet[str] = DEFAULT_METHODS
    websocket: bool = False

    def __post_init__(self) -> None:
        """Check the path and the methods."""
        if not fits(_SEGMENTS, self.path) or not is_canonical(self.path) or self.path == "/*" or "*" in self.entry:
            raise ConfigurationError(
                "a path begins with one slash, is not '/' alone, and has no empty, '.' or '..' segment and no "
                "character that needs encoding; only its last segment may be '*', for all that is below; "
                f"not {self.path!r}"
            )
        methods = _items("methods", self.methods)
        if not all(_is_a(str, method) and method in DEFAULT_METHODS for method in methods):
            raise ConfigurationError(
                f"methods is a set of {', '.join(sorted(DEFAULT_METHODS))}; not {sorted(map(str, methods))}"
            )
        require_bool("websocket", self.websocket)
        if not methods and not self.websocket:
            raise ConfigurationError("a path rule has one method at least, or websocket=True, or it speaks of nothing")
        object.__setattr__(self, "methods", frozenset(methods))

    @property
    def is_subtree(self) -> bool:
        """Tell whether the rule speaks of all that is below its path, too."""
        return self.path.endswith("/*")

    @property
    def entry(self) -> str:
        """The path without the ``/*`` of a subtree."""
        return self.path.removesuffix("/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may pass. Everything is guarded unless a field says otherwise; the rules stand in `keyguard.policy.decide`.

    - `exempt`: paths that pass without a key; the store is never asked about them. Texts, or `PathRule` values.
    - `optional`: paths where a key may be given: none is anonymous, a good one is attached, a bad one is refused.
    - `auto_login`: people are signed in as the auto-login user without a password (for the app's pages to read; by
      itself it does not excuse a request from its key).
    - `auto_login_needs_key`: False gives the behaviour of Langflow before 1.5: with `auto_login` a request without a
      key passes as the auto-login user.
    - `skip_auth`: no request needs a key, whatever `auto_login` says; it passes as the auto-login user.
    - `auto_login_user`: the name of that owner; required by `auto_login` and by `skip_auth`.

    Raises `ConfigurationError` if a path is not as `PathRule` says or stands twice, a text stands where a list is
    expected, a switch is not a bool, `auto_login_user` is missing, or `auto_login_needs_key=False` without
    `auto_login`.
    """

    exempt: Sequence[str | PathRule] = ()
    optional: Sequence[str | PathRule] = ()
    auto_login: bool = False
    auto_login_needs_key: bool = True
    skip_auth: bool = False
    auto_login_user: str | None = None
    exempt_rules: tuple[PathRule, ...] = field(init=False, repr=False, compare=False)
    optional_rules: tuple[PathRule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the fields, each by itself and then together."""
        for name in ("auto_login", "auto_login_needs_key", "skip_auth"):
            require_bool(name, getattr(self, name))
        if self.auto_login_user is not None and not fits(_NAME, self.auto_login_user):
            raise ConfigurationError("auto_login_user is the name of an owner, or None")
        if (self.auto_login or self.skip_auth) and self.auto_login_user is None:
            raise ConfigurationError("auto_login and skip_auth need auto_login_user, the name of the owner to act as")
        if not self.auto_login_needs_key and not self.auto_login:
            raise ConfigurationError("auto_login_needs_key=False says something only together with auto_login=True")
        exempt, optional = (_path_rules(name, getattr(self, name)) for name in ("exempt", "optional"))
        _refuse_duplicates([*exempt, *optional])
        object.__setattr__(self, "exempt", exempt)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "exempt_rules", exempt)
        object.__setattr__(self, "optional_rules", optional)

    @property
    def excuses_keyless(self) -> bool:
        """Tell whether a request without a key can pass as the auto-login user."""
        return self.skip_auth or (self.auto_login and not self.auto_login_needs_key)


def _path_rules(name: str, entries: Sequence[str | PathRule]) -> tuple[PathRule, ...]:
    return tuple(entry if isinstance(entry, PathRule) else PathRule(path=entry) for entry in _items(name, entries))


def _refuse_duplicates(rules: list[PathRule]) -> None:
    for index, rule in enumerate(rules):
        for other in rules[:index]:
            if rule.path == other.path and (rule.methods & other.methods or (rule.websocket and other.websocket)):
                raise ConfigurationError(f"the path {rule.path!r} stands twice among exempt and optional")


def _items(name: str, values: Iterable[_Item]) -> tuple[_Item, ...]:
    """Return `values` as a tuple; a text is iterable as well, and never what was meant."""
    if _is_a((str, bytes), values) or not _is_a(Iterable, values):
        raise ConfigurationError(f"{name} is a list, even of one; not {type(values).__name__}")
    return tuple(values)


def _is_a(kind: type | tuple[type, ...], value: object) -> bool:
    """Tell what a value is even where its annotation says so: not everybody runs a type checker."""
    return isinstance(value, kind)


def fits(pattern: re.Pattern[str], value: object) -> bool:
    """Tell whether `value` is a text, and matches `pattern` as a whole."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_pepper(value: object) -> bool:
    return isinstance(value, bytes) and len(value) >= MIN_PEPPER_BYTES


def require_bool(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value`, given as the argument `name`, is True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is True or False; not {value!r}")
