"""A clock that stands still, and keys that nobody was given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from keyguard.model import AuditEvent, AuditKind, Credential, KeyRecord, Session

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
"""When the made-up keys were made; with microseconds, because a store must keep them."""

UNSTORABLE = ("\ud800", "ada\udfff", "\0", "ada\0")
"""Texts that no database takes: halves of surrogate pairs, which JSON can bring, and NUL characters."""


class FrozenClock:
    """A `keyguard.ports.Clock` that stands still until it is told to go on."""

    def __init__(self, at: datetime = NOON) -> None:
        self.now: datetime = at

    def __call__(self) -> datetime:
        """Return the time at which the clock stands."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move the clock on."""
        self.now += by


def make_digest(of: str) -> str:
    """Return a digest of the right form, ``sha256$…``, which is that of no key."""
    return f"sha256${sha256(f'made up: {of}'.encode(errors='surrogatepass')).hexdigest()}"


def make_record(key_id: str, owner_id: str, **fields: Any) -> KeyRecord:
    """Return a key with made-up digests, made at noon on 1 March 2026; `fields` are those of `KeyRecord`."""
    digest = make_digest(key_id)
    record = KeyRecord(
        id=key_id, owner_id=owner_id, prefix="kg_", name=key_id, lookup=digest, verifier=digest, created_at=NOON
    )
    return replace(record, **fields)


def make_event(kind: AuditKind, key_id: str | None = None, **fields: Any) -> AuditEvent:
    """Return an audit event of noon on 1 March 2026; `fields` are those of `AuditEvent`."""
    event = AuditEvent(at=NOON, kind=kind, actor="test", key_id=key_id)
    return replace(event, **fields)


def make_credential(owner_id: str, name: str, **fields: Any) -> Credential:
    """Return a credential that nobody can open, made at noon on 1 March 2026; `fields` are those of `Credential`."""
    credential = Credential(
        owner_id=owner_id,
        name=name,
        sealed=f"v1.{make_digest(name)}",
        sealed_with="check-1",
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(credential, **fields)


def make_session(of: str, owner_id: str, **fields: Any) -> Session:
    """Return a session with a made-up lookup, begun at noon on 1 March 2026 for an hour; `fields` are `Session`'s."""
    session = Session(lookup=make_digest(of), owner_id=owner_id, created_at=NOON, expires_at=NOON + timedelta(hours=1))
    return replace(session, **fields)
