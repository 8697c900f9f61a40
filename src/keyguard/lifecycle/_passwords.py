"""Owners' passwords: set and verified, under a slow hash."""

import secrets
from functools import cache

from keyguard.errors import ConfigurationError
from keyguard.hashing import SLOW_HASHING, Argon2Hasher
from keyguard.lifecycle._arguments import bytes_of, id_of
from keyguard.model import Owner
from keyguard.ports import KeyRegistry

__all__ = ["hash_password", "set_password", "verify_password"]

_PASSWORDS = Argon2Hasher()


async def set_password(store: KeyRegistry, owner: Owner | str, password: str | None) -> None:
    """Set an owner's password, kept under Argon2id; None takes it away.

    Raises:
        ConfigurationError: if the password is empty.
        NotFound: if there is no such owner.
        NotSupported: if owners live in the app's own table.
        Overloaded: if too many slow hashes wait.
    """
    await store.set_password(id_of(owner), None if password is None else await hash_password(password))


async def verify_password(store: KeyRegistry, name: str, password: str) -> Owner | None:
    """Return the active owner with that name and password, else None.

    A slow hash is computed whether or not there is such an owner, so that the time taken does not tell who is one.
    Raises `Overloaded` if too many slow hashes wait.
    """
    owner = await store.find_owner(name)
    verifier = None if owner is None else await store.get_password(owner.id)
    matches = await SLOW_HASHING.run(lambda: _matches(verifier, password))
    return owner if owner is not None and owner.is_active and matches else None


@cache
def _nobodys_password() -> str:
    """Return what is verified in place of a password that is missing."""
    return _PASSWORDS.hash(secrets.token_bytes(32))


def _matches(verifier: str | None, password: str) -> bool:
    return _PASSWORDS.verify(verifier or _nobodys_password(), bytes_of(password)) and verifier is not None


async def hash_password(password: str) -> str:
    if not password:
        raise ConfigurationError("a password has one character at least; None takes it away")
    return await SLOW_HASHING.run(lambda: _PASSWORDS.hash(bytes_of(password)))
