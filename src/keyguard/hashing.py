"""Digests that carry their scheme, and the slow hash in a thread of its own.

A key with enough entropy is kept as a fast digest: ``sha256$<hex>``, or ``hmac-sha256$<hex>`` under a pepper. A slow
hash buys nothing there and lets anybody burn our CPU (OWASP ASVS 5.0 §6.5.2 and NIST SP 800-63B §5.1.2.2 allow a fast
one from 112 bits on). A secret that people chose is kept as Argon2id's own encoded form, ``$argon2id$…``, and found by
its ``hmac-sha256$<hex>``: so a pepper is required for it.

Schemes evolve by their tags: a verifier is always verified by the scheme that it names, and replaced when it is next
used. An owner's password may have come from a program that keeps them under bcrypt, ``$2b$…``.
"""

import asyncio
import hmac
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import sha256
from threading import BoundedSemaphore
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from keyguard.errors import ConfigurationError, Overloaded, StoreUnavailable
from keyguard.keys import Plaintext
from keyguard.settings import Hasher, Keyring

__all__ = [
    "SLOW_HASHING",
    "Argon2Hasher",
    "Digests",
    "Passwords",
    "SlowHashing",
    "hmac_digest",
    "is_bcrypt",
    "sha256_digest",
]

_Result = TypeVar("_Result")


def sha256_digest(secret: bytes) -> str:
    """Return the unpeppered digest of a secret, such as a `StaticStore` keeps."""
    return f"sha256${sha256(secret).hexdigest()}"


def hmac_digest(pepper: bytes, secret: bytes) -> str:
    """Return the digest of a secret under a pepper."""
    return f"hmac-sha256${hmac.new(pepper, secret, sha256).hexdigest()}"


class Argon2Hasher:
    """Argon2id (RFC 9106), by default with OWASP's parameters: 19 MiB, 2 passes, 1 lane.

    Args:
        memory_cost: in KiB, at least 8.
        time_cost: the number of passes, at least 1.

    There is one lane always: more lanes start threads of their own, which stall the event loop.

    Raises:
        ConfigurationError: if a cost is out of range.
    """

    def __init__(self, *, memory_cost: int = 19 * 1024, time_cost: int = 2) -> None:
        if memory_cost < 8 or time_cost < 1:  # noqa: PLR2004 RFC 9106 §3.1: 8 KiB a lane is the least.
            raise ConfigurationError("Argon2 needs a memory_cost of at least 8 (KiB) and a time_cost of at least 1")
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=1, type=Type.ID)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(memory_cost={self._hasher.memory_cost}, time_cost={self._hasher.time_cost})"

    def hash(self, secret: bytes) -> str:
        """Return a new salted verifier, ``$argon2id$…``."""
        return self._hasher.hash(secret)

    def verify(self, verifier: str, secret: bytes) -> bool:
        """Tell whether `verifier` was made from `secret`; False as well for what is no Argon2 verifier.

        Raises what argon2-cffi raises where it could not be computed, for want of memory say: that is no answer.
        """
        try:
            return self._hasher.verify(verifier, secret)
        except (VerifyMismatchError, InvalidHashError, UnicodeEncodeError):
            return False

    def needs_rehash(self, verifier: str) -> bool:
        """Tell whether `verifier` was made with other parameters, or by another scheme."""
        try:
            return self._hasher.check_needs_rehash(verifier)
        except InvalidHashError:
            return True


_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""The last character of the salt holds two bits, and bcrypt raises where others are set."""

_BCRYPT_COST = slice(4, 6)
"""Where it stands in a verifier."""

_BCRYPT_BYTES = 72
"""What bcrypt takes of a password. What stands behind that was never looked at, in whatever program: the 18 words of
Blowfish's subkeys hold no more (Provos and Mazières, "A Future-Adaptable Password Scheme", 1999)."""


def is_bcrypt(verifier: str) -> bool:
    """Tell whether a text is a verifier of bcrypt whose cost is 15 at most: seconds, where most programs have 12.

    Each step doubles the time. With 31, the highest, one attempt to sign in would keep all others waiting for a day.
    """
    return _BCRYPT.fullmatch(verifier) is not None


class Passwords(Argon2Hasher):
    """Owners' passwords: new ones under Argon2id, and those that another program has kept under bcrypt as well."""

    _bcrypt_cost = 0
    """The highest that was met so far."""

    @cached_property
    def _nobodys(self) -> str:
        """What is verified in place of a password that is missing."""
        return self.hash(secrets.token_bytes(32))

    def verify_evenly(self, verifier: str | None, secret: bytes) -> bool:
        """Tell what `verify` tells, in a time that does not depend on how a password is kept, or whether there is one.

        Once a verifier of bcrypt was met a hash of either scheme is computed each time, that of bcrypt at the highest
        cost so far. Until then it is Argon2id alone: most stores have no other, and bcrypt takes ten times as long.
        """
        nobodys = self._nobodys  # Made at the first attempt of all, whoever is asked for.
        matches = self.verify(verifier or nobodys, secret)
        cost = int(verifier[_BCRYPT_COST]) if verifier is not None and is_bcrypt(verifier) else 0
        highest = self._bcrypt_cost = max(self._bcrypt_cost, cost)
        if cost:
            self.verify(nobodys, secret)
        # Each step doubles the time: one at 10 takes, with others at 10 and 11, as long as one at 12.
        for missing in range(cost, highest) if cost else filter(None, [highest]):
            self.verify(f"$2b${missing:02}${'.' * 53}", secret)
        return matches and verifier is not None

    def verify(self, verifier: str, secret: bytes) -> bool:
        """Tell whether `verifier` was made from `secret`; False as well for what is a verifier of neither scheme.

        Raises `StoreUnavailable` for a bcrypt verifier where the package that computes it is not installed.
        """
        if is_bcrypt(verifier):
            return _matches_bcrypt(verifier, secret)
        return super().verify(verifier, secret)

    def renewed(self, verifier: str, secret: bytes) -> str | None:
        """Return a new verifier for a secret that `verifier` has verified, None if that one is as good.

        It is also None for a long password under bcrypt: the end of it was not compared, and may be a slip of the pen.
        """
        if not self.needs_rehash(verifier) or (is_bcrypt(verifier) and len(secret) > _BCRYPT_BYTES):
            return None
        return self.hash(secret)


def _matches_bcrypt(verifier: str, secret: bytes) -> bool:
    """Verify as the programs did that made such verifiers, which are passlib 1.7.4 over bcrypt 4.0.1 in most.

    They cut a password at 72 bytes, and refused one with a NUL byte, at which bcrypt's first implementations, in C,
    took the text to end.
    """
    try:
        import bcrypt  # noqa: PLC0415 An extra: for those who have such verifiers.
    except ImportError:
        raise StoreUnavailable(
            "this password is kept under bcrypt, and the package that verifies it is missing: "
            "install keyguard-asgi[langflow]"
        ) from None
    return bcrypt.checkpw(secret[:_BCRYPT_BYTES], verifier.encode()) and b"\0" not in secret


_ARGON2 = Argon2Hasher()
"""Verifies any Argon2 verifier: the parameters stand in it."""


class SlowHashing:
    """Where slow hashes run: one thread of their own, with a short queue.

    Never on the event loop, and never in the threads that the app's own sync endpoints run in. Each running hash holds
    its memory (19 MiB by default), so that one thread also bounds that.

    Args:
        waiting: how many may wait behind the one that runs; one more is turned away with `Overloaded`.
    """

    def __init__(self, *, waiting: int = 8) -> None:
        self._most = 1 + waiting
        self._process: int | None = None

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Return what `call` returns, in the thread.

        It takes no arguments: error reporters show what the variables of each frame hold, and a closure shows nothing.

        Raises `Overloaded` at once if too many wait. A caller that is cancelled gives its place back: at once if its
        call has not begun, else when it ends.
        """
        if self._process != os.getpid():  # A fork takes no threads along, as where a server loads the app beforehand.
            self._begin()
        places = self._places
        if not places.acquire(blocking=False):
            raise Overloaded("too many slow hashes wait to be computed")
        future = self._executor.submit(call)
        future.add_done_callback(lambda _: places.release())
        return await asyncio.wrap_future(future)

    def _begin(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keyguard-hashing")
        self._places = BoundedSemaphore(self._most)
        self._process = os.getpid()


SLOW_HASHING = SlowHashing()
"""The one of this process."""


class Digests:
    """The digests of one keyring: what a key is found by, what it is verified against, and what a new one gets.

    A plain digest is accepted for strong keys under any keyring, also where there are peppers: keys that were issued
    before the pepper came go on, and get a peppered digest when they are next used. A weak secret is never found by a
    plain one.
    """

    def __init__(self, keyring: Keyring, *, slow: SlowHashing = SLOW_HASHING) -> None:
        self._peppers = keyring.pepper_bytes
        self._hash_all = keyring.hasher is not None
        self._hasher: Hasher = keyring.hasher or Argon2Hasher()
        self._slow = slow
        self._verified = _Verified()

    def lookups(self, key: Plaintext) -> list[str]:
        """Return all digests that a key may be found by; the first is the one that a new key gets."""
        secret = _secret_of(key)
        peppered = [hmac_digest(pepper, secret) for pepper in self._peppers]
        return [*peppered, sha256_digest(secret)] if key.is_strong else peppered

    async def make(self, key: Plaintext) -> tuple[str, str]:
        """Return the lookup and the verifier that a new key gets.

        Raises `Overloaded` where a slow hash is due and too many wait.
        """
        lookup = self.lookups(key)[0]
        if not self._is_slow(key):
            return lookup, lookup
        return lookup, await self._slow.run(lambda: self._hasher.hash(_secret_of(key)))

    async def verify(self, key: Plaintext, verifier: str) -> bool:
        """Tell whether `verifier` was made from `key`, by the scheme that it names.

        A slow hash is computed once: the answer "yes" is remembered for this key with this very verifier.

        Raises `Overloaded` where a slow hash is due and too many wait.
        """
        if _is_fast(verifier):
            return any(hmac.compare_digest(lookup.encode(), verifier.encode()) for lookup in self.lookups(key))
        if self._verified.holds(key, verifier):
            return True
        hasher = _ARGON2 if verifier.startswith("$argon2") else self._hasher
        genuine = await self._slow.run(lambda: hasher.verify(verifier, _secret_of(key)))
        if genuine:
            self._verified.add(key, verifier)
        return genuine

    def are_current(self, key: Plaintext, *, lookup: str, verifier: str) -> bool:
        """Tell whether a key's digests are of the kind that a new key would get."""
        if lookup != self.lookups(key)[0]:
            return False
        if not self._is_slow(key):
            return verifier == lookup
        return not _is_fast(verifier) and not self._hasher.needs_rehash(verifier)

    def _is_slow(self, key: Plaintext) -> bool:
        return self._hash_all or not key.is_strong


def _secret_of(key: Plaintext) -> bytes:
    return key.reveal().encode()


def _is_fast(verifier: str) -> bool:
    return verifier.startswith(("sha256$", "hmac-sha256$"))


class _Verified:
    """Which keys were verified against which verifiers: only those that were genuine, the latest 10,000.

    It is keyed by a digest under a secret of this process, so that nothing in it is a key or can be tried offline.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, None] = OrderedDict()

    def _entry(self, key: Plaintext, verifier: str) -> bytes:
        return hmac.digest(self._secret, verifier.encode() + b"\0" + _secret_of(key), "sha256")

    def holds(self, key: Plaintext, verifier: str) -> bool:
        entry = self._entry(key, verifier)
        if entry not in self._entries:
            return False
        self._entries.move_to_end(entry)
        return True

    def add(self, key: Plaintext, verifier: str) -> None:
        self._entries[self._entry(key, verifier)] = None
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
