"""Owners' passwords: set and verified, under a slow hash."""

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, NotFound, StoreUnavailable
from keyguard.hashing import SLOW_HASHING, Passwords
from keyguard.journal import logger
from keyguard.keys import Plaintext
from keyguard.lifecycle._arguments import Actor, bytes_of, id_of
from keyguard.lifecycle._audit import event
from keyguard.model import AuditKind, Owner
from keyguard.ports import Clock, KeyRegistry

__all__ = ["hash_password", "owner_and_verifier", "set_password", "verify_password"]

_PASSWORDS = Passwords()


async def set_password(
    store: KeyRegistry,
    owner: Owner | str,
    password: str | None,
    *,
    actor: Actor | None = None,
    clock: Clock = utc_now,
) -> None:
    """Set an owner's password, kept under Argon2id; None takes it away, and leaves no event where there is none.

    Raises:
        ConfigurationError: if the password is empty.
        NotFound: if there is no such owner.
        NotSupported: if owners live in the app's own table.
        Overloaded: if too many slow hashes wait.
    """
    owner_id = id_of(owner)
    verifier = None if password is None else await hash_password(password)
    kind = AuditKind.OWNER_PASSWORD_REMOVED if verifier is None else AuditKind.OWNER_PASSWORD_SET
    changed = event(kind, clock(), actor, owner_id=owner_id)
    await store.set_password(owner_id, verifier, events=[changed])


async def verify_password(store: KeyRegistry, name: str, password: str) -> Owner | None:
    """Return the active owner with that name and password, else None.

    The same is read and computed whether or not there is such an owner, so that the time taken does not tell who is
    one. It does, for one name in the life of a process, where passwords were brought from another program: Keyguard
    learns how slow their bcrypt is by the first that it verifies. It also does for a password whose Argon2id has other
    costs than a new one's. Such verifiers, of either kind, are replaced when the password was right.

    Raises `Overloaded` if too many slow hashes wait, and `StoreUnavailable` also if a password is kept under bcrypt and
    the package that computes that is not installed.
    """
    secret = Plaintext(password, is_strong=False)
    del password  # Error reporters show what the variables of each frame hold.
    known = await owner_and_verifier(store, name, secret)
    return None if known is None else known[0]


async def owner_and_verifier(store: KeyRegistry, name: str, password: Plaintext) -> tuple[Owner, str] | None:
    """Do what `verify_password` does, and return the verifier too that the password has now."""
    owner = await store.find_owner(name)
    # Of nobody, too: one statement less could be measured.
    verifier = await store.get_password("" if owner is None else owner.id)
    matches, new = await SLOW_HASHING.run(lambda: _verify(verifier, password))
    if owner is None or verifier is None or not owner.is_active or not matches:
        return None
    if new is not None:
        try:
            if await store.upgrade_password(owner.id, password=verifier, new_password=new):
                verifier = new
        except NotFound:  # Somebody has deleted the owner in the meantime.
            return None
        except StoreUnavailable as problem:  # The password is right: the next sign-in may do it.
            logger.warning("a password's verifier could not be replaced: %s", problem)
    return owner, verifier


def _verify(verifier: str | None, password: Plaintext) -> tuple[bool, str | None]:
    """Tell whether a password is right, and return the verifier that is to take the old one's place."""
    secret = bytes_of(password.reveal())
    if not _PASSWORDS.verify_evenly(verifier, secret) or verifier is None:
        return False, None
    return True, _PASSWORDS.renewed(verifier, secret)


async def hash_password(password: str) -> str:
    """Return a new verifier."""
    if not password:
        raise ConfigurationError("a password has one character at least; None takes it away")
    return await SLOW_HASHING.run(lambda: _PASSWORDS.hash(bytes_of(password)))
