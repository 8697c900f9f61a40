"""Who has signed in, in memory."""

from collections.abc import Callable, Sequence
from datetime import datetime

from keyguard.errors import Conflict, NotFound
from keyguard.model import AuditEvent, Owner, Session, SessionFound
from keyguard.stores._noting import NotesInMemory, check_events
from keyguard.stores._text import check_storable

__all__ = ["SessionsInMemory"]


class SessionsInMemory(NotesInMemory):
    """The part of a store that makes it a `keyguard.ports.SessionStore`; it knows the owners, whose they are."""

    def __init__(self) -> None:
        super().__init__()
        self._owners: dict[str, Owner] = {}
        self._passwords: dict[str, str | None] = {}
        self._sessions: dict[str, Session] = {}

    async def add_session(
        self, session: Session, *, password: str | None = None, events: Sequence[AuditEvent] = ()
    ) -> None:
        """Keep a session of an active owner; with `password`, of one whose password verifier that is at this moment."""
        check_storable([session.lookup])
        check_events(events)
        owner = self._owner(session.owner_id)
        if not owner.is_active:
            raise Conflict("the owner is not active")
        if password is not None and self._passwords[owner.id] != password:
            raise Conflict("the owner's password has been changed meanwhile")
        if session.lookup in self._sessions:
            raise Conflict("there is a session with that lookup already")
        self._sessions[session.lookup] = session
        self._note(events)

    async def find_session(self, lookup: str) -> SessionFound | None:
        """Return the session with that lookup and its owner, as they are at this moment."""
        session = self._sessions.get(lookup)
        if session is None or session.owner_id not in self._owners:
            return None
        return SessionFound(session=session, owner=self._owners[session.owner_id])

    async def end_session(self, lookup: str, *, events: Sequence[AuditEvent] = ()) -> bool:
        """End a session; tell whether there was one."""
        check_events(events)
        return self._end(lambda session: session.lookup == lookup, events) == 1

    async def end_sessions(self, owner_id: str, *, events: Sequence[AuditEvent] = ()) -> int:
        """End all sessions of an owner; return how many there were."""
        check_events(events)
        return self._end_all(owner_id, events)

    async def purge_sessions(self, before: datetime) -> int:
        """Delete the sessions that have expired before that time; return how many there were."""
        return self._end(lambda session: session.expires_at < before)

    def _end_all(self, owner_id: str, events: Sequence[AuditEvent] = ()) -> int:
        return self._end(lambda session: session.owner_id == owner_id, events)

    def _end(self, is_meant: Callable[[Session], bool], events: Sequence[AuditEvent] = ()) -> int:
        ended = [session.lookup for session in self._sessions.values() if is_meant(session)]
        for lookup in ended:
            del self._sessions[lookup]
        if ended:
            self._note(events)
        return len(ended)

    def _owner(self, owner_id: str) -> Owner:
        if owner_id not in self._owners:
            raise NotFound("there is no owner with that id")
        return self._owners[owner_id]
