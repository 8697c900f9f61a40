"""Every test of the suite for sessions notices a store that breaks its promise."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from filling import suite_over

from keyguard.errors import Conflict, KeyguardError
from keyguard.model import Owner
from keyguard.ports import SessionStore
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, AppOwnersContract, FreshnessContract, KeyStoreContract, SessionContract

TICK = timedelta(microseconds=1)


class DropsMicroseconds(MemoryStore):
    async def add_session(self, session, **rest):
        await super().add_session(replace(session, created_at=session.created_at.replace(microsecond=0)), **rest)


class HidesTheExpired(MemoryStore):
    async def find_session(self, lookup):
        found = await super().find_session(lookup)
        return found if found is not None and found.session.expires_at > NOON else None


class FindsByPart(MemoryStore):
    async def find_session(self, lookup):
        whole = [each for each in self._sessions if lookup and each.lower().startswith(lookup.lower())]
        return await super().find_session(*whole[:1] or [lookup])


class EndsByPart(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        whole = [each for each in self._sessions if each.startswith(lookup)]
        return await super().end_session(*whole[:1] or [lookup], events=events)


class EncodesLookups(MemoryStore):
    async def find_session(self, lookup):
        return await super().find_session(lookup.encode().decode())


class RemembersOwners(MemoryStore):
    async def find_session(self, lookup):
        found = await super().find_session(lookup)
        return found and replace(found, owner=Owner(id=found.owner.id, name=found.owner.name))


class TakesAnyOwner(MemoryStore):
    async def add_session(self, session, **rest):
        if session.owner_id in self._owners:
            await super().add_session(session, **rest)


class SaysConflictOfNobody(MemoryStore):
    async def add_session(self, session, **rest):
        if session.owner_id not in self._owners:
            raise Conflict("the owner is not active")
        await super().add_session(session, **rest)


class TakesTheInactive(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        owner = self._owner(session.owner_id)
        self._owners[owner.id] = replace(owner, is_active=True)
        await super().add_session(session, password=password, events=events)
        self._owners[owner.id] = owner


class AsksForNoPassword(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        await super().add_session(session, events=events)


class LetsInWhoHasNoPassword(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        there = self._passwords.get(session.owner_id)
        await super().add_session(session, password=there and password, events=events)


class AsksAlwaysForThePassword(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        if password is None and self._passwords.get(session.owner_id) is not None:
            raise Conflict("the password is another")
        await super().add_session(session, password=password, events=events)


class EncodesPasswords(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        (password or "").encode()
        await super().add_session(session, password=password, events=events)


class TakesTheirPlace(MemoryStore):
    async def add_session(self, session, **rest):
        self._sessions.pop(session.lookup, None)
        await super().add_session(session, **rest)


class LooksBeforeItAdds(MemoryStore):
    async def add_session(self, session, **rest):
        if session.lookup in self._sessions:
            raise Conflict("the lookup is taken")
        await asyncio.sleep(0)
        self._sessions.pop(session.lookup, None)
        await super().add_session(session, **rest)


class TakesAnyLookup(MemoryStore):
    async def add_session(self, session, **rest):
        await super().add_session(replace(session, lookup="ascii"), **rest)
        self._sessions[session.lookup] = replace(self._sessions.pop("ascii"), lookup=session.lookup)


class TakesAnyActor(MemoryStore):
    async def end_sessions(self, owner_id, *, events=()):
        ended = await super().end_sessions(owner_id)
        self._note(events if ended else ())
        return ended


class EndsNothing(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        return lookup in self._sessions


class LooksBeforeItEnds(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        is_there = lookup in self._sessions
        await asyncio.sleep(0)
        await super().end_session(lookup, events=events)
        return is_there


class EndsAllForOne(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        if lookup not in self._sessions:
            return False
        await super().end_sessions(self._sessions[lookup].owner_id, events=events)
        return True


class EndsEverybodys(MemoryStore):
    async def end_sessions(self, owner_id, *, events=()):
        return sum([await super(EndsEverybodys, self).end_sessions(each, events=events) for each in self._owners])


class CountsBeforeItEnds(MemoryStore):
    async def end_sessions(self, owner_id, *, events=()):
        number = sum(session.owner_id == owner_id for session in self._sessions.values())
        await asyncio.sleep(0)
        await super().end_sessions(owner_id, events=events)
        return number


class KeepsSessionsOfTheInactive(MemoryStore):
    async def set_owner_active(self, owner_id, *, active, events=()):
        before = dict(self._sessions)
        done = await super().set_owner_active(owner_id, active=active, events=events)
        self._sessions = before
        return done


class HidesSessionsOfTheInactive(KeepsSessionsOfTheInactive):
    async def find_session(self, lookup):
        found = await super().find_session(lookup)
        return found if found is not None and found.owner.is_active else None


class EndsSessionsWithActivation(MemoryStore):
    async def set_owner_active(self, owner_id, *, active, events=()):
        await self.end_sessions(owner_id)
        return await super().set_owner_active(owner_id, active=active, events=events)


class EndsEverybodysWithOne(MemoryStore):
    async def set_owner_active(self, owner_id, *, active, events=()):
        done = await super().set_owner_active(owner_id, active=active, events=events)
        if done:
            self._sessions.clear()
        return done


class KeepsSessionsOfOldPasswords(MemoryStore):
    async def set_password(self, owner_id, password, *, events=()):
        before = dict(self._sessions)
        await super().set_password(owner_id, password, events=events)
        self._sessions = before


class KeepsSessionsWithoutPasswords(MemoryStore):
    async def set_password(self, owner_id, password, *, events=()):
        before = dict(self._sessions)
        await super().set_password(owner_id, password, events=events)
        if password is None:
            self._sessions = before


class EndsSessionsWithTheSamePassword(MemoryStore):
    async def set_password(self, owner_id, password, *, events=()):
        await super().set_password(owner_id, password, events=events)
        await self.end_sessions(owner_id)


class EndsSessionsWithUpgrades(MemoryStore):
    async def upgrade_password(self, owner_id, **passwords):
        done = await super().upgrade_password(owner_id, **passwords)
        if done:
            await self.end_sessions(owner_id)
        return done


class LooksBeforeItSignsIn(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        await super().add_session(session, password=password, events=events)
        del self._sessions[session.lookup]
        await asyncio.sleep(0)
        self._sessions[session.lookup] = session


class PurgesABitMore(MemoryStore):
    async def purge_sessions(self, before):
        return await super().purge_sessions(before + TICK)


class PurgesABitLess(MemoryStore):
    async def purge_sessions(self, before):
        return await super().purge_sessions(before - TICK)


class CountsBeforeItPurges(MemoryStore):
    async def purge_sessions(self, before):
        number = sum(session.expires_at < before for session in self._sessions.values())
        await asyncio.sleep(0)
        await super().purge_sessions(before)
        return number


class NotesWhatFails(MemoryStore):
    async def add_session(self, session, *, password=None, events=()):
        self._note(events)
        await super().add_session(session, password=password)


class NotesWhatIsOver(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        self._note(events)
        return await super().end_session(lookup)


class NotesNobodysEnd(MemoryStore):
    async def end_sessions(self, owner_id, *, events=()):
        self._note(events)
        return await super().end_sessions(owner_id)


class NotesNothing(MemoryStore):
    async def end_sessions(self, owner_id, *, events=()):
        return await super().end_sessions(owner_id)


class NotesEachSession(MemoryStore):
    async def end_session(self, lookup, *, events=()):
        return await super().end_session(lookup, events=events[:1])


class ForgetsAtTheEnd(MemoryStore):
    async def close(self):
        await super().close()
        self._sessions.clear()


SESSIONS = [
    (DropsMicroseconds, "test_a_session_comes_back_whole"),
    (HidesTheExpired, "test_a_session_comes_back_whole"),
    (FindsByPart, "test_only_the_whole_lookup_finds_a_session"),
    (EndsByPart, "test_only_the_whole_lookup_finds_a_session"),
    (EncodesLookups, "test_only_the_whole_lookup_finds_a_session"),
    (RemembersOwners, "test_a_session_shows_its_owner_as_they_are"),
    (TakesAnyOwner, "test_a_session_needs_an_active_owner"),
    (SaysConflictOfNobody, "test_a_session_needs_an_active_owner"),
    (TakesTheInactive, "test_a_session_needs_an_active_owner"),
    (AsksForNoPassword, "test_a_session_needs_the_password_of_this_moment"),
    (LetsInWhoHasNoPassword, "test_a_session_needs_the_password_of_this_moment"),
    (AsksAlwaysForThePassword, "test_a_session_needs_the_password_of_this_moment"),
    (EncodesPasswords, "test_a_session_needs_the_password_of_this_moment"),
    (TakesTheirPlace, "test_a_lookup_is_that_of_one_session"),
    (LooksBeforeItAdds, "test_a_lookup_is_that_of_one_session"),
    (TakesAnyLookup, "test_what_cannot_be_stored_is_no_session"),
    (TakesAnyActor, "test_what_cannot_be_stored_is_no_session"),
    (EndsNothing, "test_an_ended_session_is_gone"),
    (LooksBeforeItEnds, "test_an_ended_session_is_gone"),
    (EndsAllForOne, "test_an_ended_session_is_gone"),
    (EndsEverybodys, "test_all_sessions_of_an_owner_end"),
    (CountsBeforeItEnds, "test_all_sessions_of_an_owner_end"),
    (KeepsSessionsOfTheInactive, "test_sessions_end_with_their_owners_activity"),
    (HidesSessionsOfTheInactive, "test_sessions_end_with_their_owners_activity"),
    (EndsSessionsWithActivation, "test_sessions_end_with_their_owners_activity"),
    (EndsEverybodysWithOne, "test_sessions_end_with_their_owners_activity"),
    (KeepsSessionsOfOldPasswords, "test_sessions_end_with_another_password"),
    (KeepsSessionsWithoutPasswords, "test_sessions_end_with_another_password"),
    (EndsSessionsWithTheSamePassword, "test_sessions_end_with_another_password"),
    (EndsSessionsWithUpgrades, "test_sessions_end_with_another_password"),
    (LooksBeforeItSignsIn, "test_no_session_outlives_what_ended_the_others"),
    (PurgesABitMore, "test_only_sessions_that_had_expired_are_purged"),
    (PurgesABitLess, "test_only_sessions_that_had_expired_are_purged"),
    (CountsBeforeItPurges, "test_only_sessions_that_had_expired_are_purged"),
    (NotesWhatFails, "test_events_of_sessions_are_written_once_something_changed"),
    (NotesWhatIsOver, "test_events_of_sessions_are_written_once_something_changed"),
    (NotesNobodysEnd, "test_events_of_sessions_are_written_once_something_changed"),
    (NotesNothing, "test_events_of_sessions_are_written_once_something_changed"),
    (NotesEachSession, "test_events_of_sessions_are_written_once_something_changed"),
    (ForgetsAtTheEnd, "test_sessions_outlive_a_closing"),
]


@pytest.mark.parametrize(("broken", "test"), SESSIONS)
async def test_a_broken_promise_is_noticed(broken, test):
    """A store that breaks a promise fails the test of that promise."""
    with pytest.raises((AssertionError, UnicodeEncodeError, KeyguardError)):
        await getattr(suite_over(SessionContract, broken), test)()


def test_every_test_is_seen_to_fail():
    """Each test of the suite has a store above that fails it."""
    own = {name for name in dir(SessionContract) if name.startswith("test_")} - set(dir(KeyStoreContract))
    assert own == {test for _, test in SESSIONS}


async def test_a_suite_asks_for_its_store():
    """A subclass that makes no store fails at once and says why."""
    with pytest.raises(NotImplementedError, match="the subclass makes the store"):
        await SessionContract().test_a_session_comes_back_whole()


class KeepsNoSessions(MemoryStore):
    add_session = find_session = end_session = end_sessions = purge_sessions = None


@pytest.mark.parametrize(
    ("suite", "test"),
    [
        (AppOwnersContract, "test_no_sessions_of_the_apps_owners_are_kept"),
        (FreshnessContract, "test_the_token_stays_with_other_changes"),
    ],
)
async def test_a_store_that_keeps_no_sessions_is_asked_for_none(suite, test):
    """A store without `SessionStore` keeps the promises that speak of sessions by having none."""
    assert not isinstance(KeepsNoSessions(), SessionStore)
    await getattr(suite_over(suite, KeepsNoSessions), test)()
