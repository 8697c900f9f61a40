"""Langflow's cipher: the Fernet keys that it makes of its secret.

A secret of 43 or 44 characters is a Fernet key itself, with or without the ``=`` that fills it up. Of a shorter one,
below 32 characters, Langflow makes a key: from 1.10.1 on the SHA-256 digest of it, before that 32 draws from a random
number generator that it seeds with it. What was sealed with the older key stays so, in a database of whatever release.
So each row is tried with all of them, and the first that authenticates wins.
"""

from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from random import Random
from typing import NoReturn

from cryptography.fernet import Fernet, InvalidToken

from keyguard.errors import ConfigurationError

__all__ = ["LangflowSecret", "fernet_keys"]

_SHORT = 32
"""Below so many characters Langflow makes a key of a secret; from there on it takes the secret for one."""

_FERNET_LENGTHS = {43, 44}
"""32 bytes as base64, without and with its ``=``. Langflow itself does not start with another long secret."""


class LangflowSecret:
    """What opens the values that a Langflow has sealed. Nothing shows the secret.

    Raises `ConfigurationError` if the text cannot have been a Langflow's secret.
    """

    __slots__ = ("_fernets",)

    def __init__(self, secret: str) -> None:
        try:
            fernets = [Fernet(key) for key in fernet_keys(secret)]
        except ValueError:  # `ConfigurationError` is one, and so is what base64 and Fernet say.
            fernets = []
        del secret  # Error reporters show what the variables of each frame hold.
        if not fernets:
            raise ConfigurationError(
                "this cannot be Langflow's secret: it has fewer than 32 characters, or it is a Fernet key, of 43 "
                "characters and a '='"
            )
        self._fernets = fernets

    def open(self, token: str) -> str | None:
        """Return what was sealed, None if none of the keys authenticates it."""
        if token.isascii():
            for fernet in self._fernets:
                with suppress(InvalidToken, UnicodeDecodeError):
                    return fernet.decrypt(token).decode()
        return None

    def __repr__(self) -> str:
        return "<LangflowSecret …>"

    def __getstate__(self) -> NoReturn:
        """Refuse: pickle, copy and deepcopy all begin here."""
        raise TypeError("LangflowSecret cannot be pickled or copied: that would leave the secret behind")


def fernet_keys(secret: str) -> list[bytes]:
    """Return the Fernet keys that Langflow may have made of its secret, in the order in which they are tried.

    Langflow takes a secret from a file as it stands there, with the line break at its end. Of a short one that makes
    another key, which comes last. None, if it cannot be Langflow's.
    """
    text = secret.strip()
    if len(text) in _FERNET_LENGTHS:
        return [text.encode() + b"=" * (-len(text) % 4)]
    forms = dict.fromkeys(form for form in (text, secret) if text and len(form) < _SHORT)
    return [make(form) for form in forms for make in (_by_sha256, _by_mersenne_twister)]


def _by_sha256(secret: str) -> bytes:
    return urlsafe_b64encode(sha256(secret.encode()).digest())


def _by_mersenne_twister(secret: str) -> bytes:
    generator = Random(secret)  # noqa: S311 No secret is made here: it is how Langflow made the key that has to be found.
    return urlsafe_b64encode(bytes(generator.getrandbits(8) for _ in range(32)))
