"""People who have signed in: sessions begun, found by what a browser holds, and ended."""

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta

from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.hashing import sha256_digest
from keyguard.keys import Plaintext
from keyguard.lifecycle._arguments import Actor, Entropy, bytes_of, id_of
from keyguard.lifecycle._audit import event, iso
from keyguard.lifecycle._passwords import owner_and_verifier
from keyguard.model import AuditKind, Owner, Session, SessionFound
from keyguard.ports import Clock, SessionStore, SignInStore

__all__ = ["SignedIn", "end_sessions", "find_session", "sign_in", "sign_out", "start_session"]

_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
"""So many random bytes in base64url, without the padding."""

_LONGEST = timedelta(days=400)
"""What browsers keep a cookie for at most (RFC 6265bis §5.5)."""

_HALF_A_DAY = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that has just begun. The `token` is for the person's browser alone: the store has only its digest."""

    token: str = field(repr=False)
    """43 characters, of which a cookie takes each as it is."""
    session: Session
    owner: Owner


async def sign_in(
    store: SignInStore,
    name: str,
    password: str,
    *,
    lifetime: timedelta = _HALF_A_DAY,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> SignedIn | None:
    """Begin a session of the active owner with that name and password; None if there is no such owner.

    Where owners live in the app's own table none has a password here: the app signs them in.

    How long that takes does not tell who is an owner, as far as `verify_password` says so. It does not limit how often
    somebody tries: `keyguard.throttle` does. Sessions that have expired are deleted on the way.

    Args:
        store: where owners and sessions are kept.
        name: the owner's.
        password: whatever somebody has typed.
        lifetime: how long the session lasts, if nobody ends it before: at most 400 days.
        clock: the time now.
        entropy: where the token's randomness comes from.

    Raises:
        ConfigurationError: if `lifetime` is not as above.
        Overloaded: if too many slow hashes wait.
    """
    _check_lifetime(lifetime)
    secret = Plaintext(password, is_strong=False)
    del password  # Error reporters show what the variables of each frame hold.
    for _ in range(2):  # Once more for an owner whose password has changed between being verified and the session.
        known = await owner_and_verifier(store, name, secret)
        if known is None:
            return None
        owner, verifier = known
        try:
            return await _begin(store, owner, lifetime, actor=owner, clock=clock, entropy=entropy, password=verifier)
        except (Conflict, NotFound):
            continue
    return None


async def start_session(
    store: SignInStore,
    owner: Owner | str,
    *,
    lifetime: timedelta = _HALF_A_DAY,
    actor: Actor | None = None,
    clock: Clock = utc_now,
    entropy: Entropy = secrets.token_bytes,
) -> SignedIn:
    """Begin a session of an owner, who has proved to the app in another way who they are.

    Args:
        store: where owners and sessions are kept.
        owner: whose: an `Owner`, or the id of one.
        lifetime: how long it lasts, if nobody ends it before: at most 400 days.
        actor: who asks for it, for the audit log; without one, the owner.
        clock: the time now.
        entropy: where the token's randomness comes from.

    Raises:
        ConfigurationError: if `lifetime` is not as above.
        NotFound: if there is no such owner.
        Conflict: if the owner is not active.
        NotSupported: if owners live in the app's own table.
    """
    _check_lifetime(lifetime)
    known = await store.get_owner(id_of(owner))
    if known is None:
        raise NotFound("there is no owner with that id")
    by = known if actor is None else actor
    return await _begin(store, known, lifetime, actor=by, clock=clock, entropy=entropy)


async def find_session(store: SessionStore, token: str, *, clock: Clock = utc_now) -> SessionFound | None:
    """Return the session that a browser holds the token of, and its owner as it is now.

    None if there is none, it has expired, or its owner is not active; no text raises.
    """
    lookup = _lookup_of(token)
    del token  # Error reporters show what the variables of each frame hold.
    found = None if lookup is None else await store.find_session(lookup)
    if found is None or found.session.expires_at <= clock() or not found.owner.is_active:
        return None
    return found


async def sign_out(store: SessionStore, token: str, *, clock: Clock = utc_now) -> bool:
    """End the session that a browser holds the token of, on every worker; tell whether this call did it.

    One that has expired had ended already; no text raises.
    """
    lookup = _lookup_of(token)
    del token  # Error reporters show what the variables of each frame hold.
    found = None if lookup is None else await store.find_session(lookup)
    now = clock()
    if found is None or found.session.expires_at <= now:
        return False
    signed_out = event(AuditKind.OWNER_SIGNED_OUT, now, found.owner, owner_id=found.owner.id)
    return await store.end_session(found.session.lookup, events=[signed_out])


async def end_sessions(
    store: SessionStore, owner: Owner | str, *, actor: Actor | None = None, clock: Clock = utc_now
) -> int:
    """End all sessions of an owner, on every worker; return how many there were.

    They have none afterwards, and can sign in again. `deactivate` and `set_password` end them as well.
    """
    now = clock()
    await store.purge_sessions(now)  # One that has expired was none any more: it is not counted, and leaves no event.
    owner_id = id_of(owner)
    ended = event(AuditKind.OWNER_SIGNED_OUT, now, actor, owner_id=owner_id, everywhere=True)
    return await store.end_sessions(owner_id, events=[ended])


async def _begin(
    store: SignInStore,
    owner: Owner,
    lifetime: timedelta,
    *,
    actor: Actor,
    clock: Clock,
    entropy: Entropy,
    password: str | None = None,
) -> SignedIn:
    now = clock()
    token = Plaintext(urlsafe_b64encode(entropy(_TOKEN_BYTES)).rstrip(b"=").decode(), is_strong=True)
    session = Session(
        lookup=sha256_digest(token.reveal().encode()), owner_id=owner.id, created_at=now, expires_at=now + lifetime
    )
    signed_in = event(AuditKind.OWNER_SIGNED_IN, now, actor, owner_id=owner.id, expires_at=iso(session.expires_at))
    await store.purge_sessions(now)
    await store.add_session(session, password=password, events=[signed_in])
    return SignedIn(token=token.reveal(), session=session, owner=owner)


def _check_lifetime(lifetime: object) -> None:
    if not isinstance(lifetime, timedelta) or not timedelta(0) < lifetime <= _LONGEST:
        raise ConfigurationError(f"lifetime is a timedelta of more than nothing and at most 400 days; not {lifetime!r}")


def _lookup_of(token: str) -> str | None:
    """Return the digest of a token, None for a text that is none of ours."""
    return sha256_digest(bytes_of(token)) if _TOKEN.fullmatch(token) else None
