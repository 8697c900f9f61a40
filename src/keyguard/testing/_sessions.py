# ruff: noqa: S101, S105, S106 The asserts are what this file is for, and the passwords are nobody's.
"""The suite for stores that keep who has signed in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from keyguard.errors import ConfigurationError, Conflict, KeyguardError, NotFound
from keyguard.model import AuditEvent, AuditKind, KeyRecord, Owner, Session, SessionFound
from keyguard.ports import KeyRegistry, SessionStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, UNSTORABLE, make_event, make_record, make_session

_TICK, _HOUR = timedelta(microseconds=1), timedelta(hours=1)

_PASSWORD = "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"


class _SessionKeepingStore(KeyRegistry, SessionStore, Protocol):
    """A store that keeps owners, and who of them has signed in."""


class SessionContract(RegistrySuite):
    """What `keyguard.ports.SessionStore` promises, of a store that keeps owners itself.

    Of one whose owners live in the app's own table `AppOwnersContract` asks that it keeps no sessions.
    """

    async def make_store(
        self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]
    ) -> _SessionKeepingStore:
        """Return a new store, not open, that holds `owners` and `keys`, and no session."""
        raise NotImplementedError("the subclass makes the store")

    async def test_a_session_comes_back_whole(self) -> None:
        """A session is found by its lookup, with its owner: times to the microsecond, and also one that has expired."""
        ada, bob = self.owners()
        sessions = [
            make_session("one", ada.id, created_at=NOON + _TICK, expires_at=datetime.max.replace(tzinfo=UTC)),
            make_session("two", bob.id, expires_at=NOON - timedelta(days=9999)),
            make_session("three", ada.id, lookup="Zoë's „quoted“ 🔑 100%", expires_at=NOON),
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for session in sessions:
                await store.add_session(session)
            for session, owner in zip(sessions, [ada, bob, ada], strict=True):
                assert await store.find_session(session.lookup) == SessionFound(session=session, owner=owner)

    async def test_only_the_whole_lookup_finds_a_session(self) -> None:
        """A part of a lookup, another letter case, a wildcard, an owner's or a key's lookup: none finds or ends one."""
        ada, _ = self.owners()
        session, key = make_session("one", ada.id), make_record("key", ada.id)
        tries = [session.lookup[:-1], f"{session.lookup} ", session.lookup.upper(), "%", "", ada.id, key.lookup]
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            await store.add_session(session)
            for lookup in (*tries, *UNSTORABLE, f"{session.lookup}\0"):
                assert await store.find_session(lookup) is None
                assert await store.end_session(lookup) is False
            assert await store.find([session.lookup]) is None
            assert await _left(store, [session]) == [session]

    async def test_a_session_shows_its_owner_as_they_are(self) -> None:
        """What has changed of an owner since they signed in shows in the next answer."""
        ada, bob = self.owners()
        session = make_session("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_session(session)
            for wanted in (True, False):
                assert await store.set_owner_superuser(ada.id, superuser=wanted)
                expected = SessionFound(session=session, owner=replace(ada, is_superuser=wanted))
                assert await store.find_session(session.lookup) == expected

    async def test_a_session_needs_an_active_owner(self) -> None:
        """Of an owner who does not exist, or is not active, no session is kept, with the right password or without."""
        ada, bob = self.owners()
        sessions = [make_session(f"{number}", ada.id) for number in range(2)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for nobody in (bob.id, "nobody", "", *UNSTORABLE):
                for password in (None, _PASSWORD):
                    with raises(NotFound):
                        await store.add_session(make_session("one", nobody), password=password)
            await store.set_password(ada.id, _PASSWORD)
            assert await store.set_owner_active(ada.id, active=False)
            for session, password in zip(sessions, (None, _PASSWORD), strict=True):
                with raises(Conflict):
                    await store.add_session(session, password=password)
            assert await store.set_owner_active(ada.id, active=True)
            assert await _left(store, [make_session("one", bob.id), *sessions]) == []

    async def test_a_session_needs_the_password_of_this_moment(self) -> None:
        """With a verifier that is not the owner's, or not any more, no session is kept; without one it is not asked."""
        ada, bob = self.owners()
        session = make_session("one", ada.id)
        wrong = (_PASSWORD.upper(), _PASSWORD[:-1], "%", "", "None", *UNSTORABLE)
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.set_password(bob.id, "$argon2id$bob")
            for password in (_PASSWORD, "$argon2id$bob", *wrong):  # Ada has none yet.
                with raises(Conflict):
                    await store.add_session(session, password=password)
            await store.set_password(ada.id, _PASSWORD)
            for password in ("$argon2id$bob", *wrong):
                with raises(Conflict):
                    await store.add_session(session, password=password)
            assert await _left(store, [session]) == []
            await store.add_session(session, password=_PASSWORD)
            assert await store.upgrade_password(ada.id, password=_PASSWORD, new_password="upgraded")
            with raises(Conflict):
                await store.add_session(make_session("two", ada.id), password=_PASSWORD)
            kept = [session, make_session("three", ada.id), make_session("four", ada.id)]
            await store.add_session(kept[1], password="upgraded")
            await store.add_session(kept[2])
            assert await _left(store, [*kept, make_session("two", ada.id)]) == kept

    async def test_a_lookup_is_that_of_one_session(self) -> None:
        """A session whose lookup is taken is not kept, the one that has it stays, and of several at once one is."""
        ada, bob = self.owners()
        session = make_session("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_session(session)
            for other in (session, replace(session, owner_id=bob.id), replace(session, expires_at=NOON)):
                with raises(Conflict):
                    await store.add_session(other)
            assert await _left(store, [session]) == [session]
            several = [make_session("same", ada.id, created_at=NOON + number * _TICK) for number in range(5)]
            answers = await asyncio.gather(*map(store.add_session, several), return_exceptions=True)
            assert all(answer is None or type(answer) is Conflict for answer in answers), answers
            assert answers.count(None) == 1
            assert await _left(store, several[:1]) == [several[answers.index(None)]]

    async def test_what_cannot_be_stored_is_no_session(self) -> None:
        """A lookup with a NUL character or half of a surrogate pair is refused, and so is such an actor of an event."""
        ada, _ = self.owners()
        session, other = make_session("one", ada.id), make_session("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_session(session)
            for text in UNSTORABLE:
                events = [make_event(AuditKind.OWNER_SIGNED_IN, owner_id=ada.id, actor=text)]
                with raises(ConfigurationError):
                    await store.add_session(replace(other, lookup=text))
                with raises(ConfigurationError):
                    await store.add_session(other, events=events)
                with raises(ConfigurationError):
                    await store.end_session(session.lookup, events=events)
                with raises(ConfigurationError):
                    await store.end_sessions(ada.id, events=events)
                assert await store.end_sessions(text) == 0
            assert await _left(store, [session, other]) == [session]
            assert await store.list_events() == []

    async def test_an_ended_session_is_gone(self) -> None:
        """A session ends once, and no other with it; its lookup is free then. Of several calls at once one ended it."""
        ada, _ = self.owners()
        sessions = [make_session(f"{number}", ada.id) for number in range(3)]
        again = replace(sessions[0], expires_at=NOON + 2 * _HOUR)
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for session in sessions:
                await store.add_session(session)
            assert await store.end_session(sessions[0].lookup) is True
            assert await store.end_session(sessions[0].lookup) is False
            assert await _left(store, sessions) == sessions[1:]
            await store.add_session(again)
            assert await _left(store, sessions) == [again, *sessions[1:]]
            answers = await asyncio.gather(*[store.end_session(again.lookup) for _ in range(5)])
            assert sorted(answers) == [False] * 4 + [True]
            assert await _left(store, sessions) == sessions[1:]

    async def test_all_sessions_of_an_owner_end(self) -> None:
        """All of one owner's sessions end at once, nobody else's with them, and their number is told, by one call."""
        ada, bob = self.owners()
        hers = [make_session(f"{number}", ada.id) for number in range(7)]
        his = [make_session(f"b{number}", bob.id) for number in range(2)]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for session in (*hers, *his):
                await store.add_session(session)
            assert await store.end_sessions("nobody") == 0
            assert sorted(await asyncio.gather(*[store.end_sessions(ada.id) for _ in range(3)])) == [0, 0, len(hers)]
            assert await _left(store, [*hers, *his]) == his
            assert await store.end_sessions(ada.id) == 0
            assert await store.end_sessions(bob.id) == len(his)
            assert await _left(store, his) == []

    async def test_sessions_end_with_their_owners_activity(self) -> None:
        """Who is deactivated has no session any more, also when active again; nothing else of an owner ends one."""
        ada, bob = self.owners()
        hers, his = [make_session(f"{number}", ada.id) for number in range(2)], [make_session("bob", bob.id)]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for session in (*hers, *his):
                await store.add_session(session)
            assert not await store.set_owner_active(ada.id, active=True)
            assert await store.set_owner_superuser(ada.id, superuser=True)
            assert await store.set_owner_superuser(ada.id, superuser=False)
            assert await _left(store, [*hers, *his]) == [*hers, *his]
            assert await store.set_owner_active(ada.id, active=False)
            assert await _left(store, [*hers, *his]) == his
            assert await store.set_owner_active(ada.id, active=True)
            assert await _left(store, [*hers, *his]) == his
            assert await store.end_sessions(ada.id) == 0

    async def test_sessions_end_with_another_password(self) -> None:
        """A password that is set, replaced or taken away ends its owner's sessions; the same, or its upgrade, does not.

        The sessions of others stay.
        """
        ada, bob = self.owners()
        hers, his = make_session("ada", ada.id), make_session("bob", bob.id)
        steps: list[tuple[str | None, bool]] = [
            (None, True),
            (_PASSWORD, False),
            (_PASSWORD, True),
            ("another", False),
            (None, False),
            (None, True),
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_session(his)
            for password, stays in steps:
                await store.end_sessions(ada.id)
                await store.add_session(hers)
                await store.set_password(ada.id, password)
                assert await _left(store, [hers, his]) == ([hers, his] if stays else [his]), password
            await store.set_password(ada.id, "old")
            await store.add_session(replace(hers, expires_at=NOON), password="old")
            assert not await store.upgrade_password(ada.id, password="other", new_password="new")
            assert await store.upgrade_password(ada.id, password="old", new_password="new")
            assert await _left(store, [hers, his]) == [replace(hers, expires_at=NOON), his]

    async def test_no_session_outlives_what_ended_the_others(self) -> None:
        """Who is deactivated, or gets another password, while signing in has no session afterwards."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for number in range(8):
                password = f"password {number}"
                await store.set_password(ada.id, password)
                sessions = [make_session(f"{number} {each}", ada.id) for each in range(4)]
                signing_in = [store.add_session(session, password=password) for session in sessions]
                ending: Awaitable[object]
                if number % 2:
                    ending = store.set_owner_active(ada.id, active=False)
                else:
                    ending = store.set_password(ada.id, "another")
                answers = await asyncio.gather(*signing_in[:2], ending, *signing_in[2:], return_exceptions=True)
                assert all(answer in {None, True} or type(answer) is Conflict for answer in answers), answers
                assert await _left(store, sessions) == []
                await store.set_owner_active(ada.id, active=True)
                assert await store.end_sessions(ada.id) == 0

    async def test_only_sessions_that_had_expired_are_purged(self) -> None:
        """Sessions are gone if they expired before that time, to the microsecond; of several calls one counts each."""
        ada, bob = self.owners()
        ends = [NOON - timedelta(days=99), NOON - _TICK, NOON, NOON + _TICK, NOON + _HOUR]
        sessions = [make_session(f"{owner.id} {end}", owner.id, expires_at=end) for owner in (ada, bob) for end in ends]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for session in sessions:
                await store.add_session(session)
            assert await store.purge_sessions(NOON - timedelta(days=99)) == 0
            assert sum(await asyncio.gather(*[store.purge_sessions(NOON) for _ in range(3)])) == len((ada, bob)) * 2
            kept = [session for session in sessions if session.expires_at >= NOON]
            assert await _left(store, sessions) == kept
            assert await store.purge_sessions(NOON) == 0
            assert await store.purge_sessions(NOON + 2 * _HOUR) == len(kept)
            assert await _left(store, sessions) == []

    async def test_events_of_sessions_are_written_once_something_changed(self) -> None:
        """Events are written with the session that came or went, and not where none did, or the call raised."""
        ada, bob = self.owners()
        session, told = make_session("one", ada.id), AuditKind.OWNER_SIGNED_IN
        event = make_event(told, owner_id=ada.id, detail={"address": "192.0.2.1"})
        calls: list[tuple[Callable[[Sequence[AuditEvent]], Awaitable[object]], bool | type[KeyguardError]]]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            calls = [
                (lambda events: store.end_session(session.lookup, events=events), False),
                (lambda events: store.end_sessions(ada.id, events=events), False),
                (lambda events: store.add_session(session, events=events), True),
                (lambda events: store.add_session(session, events=events), Conflict),
                (lambda events: store.add_session(make_session("two", bob.id), events=events), NotFound),
                (lambda events: store.add_session(make_session("two", ada.id), password="x", events=events), Conflict),
                (lambda events: store.end_session("sha256$", events=events), False),
                (lambda events: store.end_session(session.lookup, events=events), True),
                (lambda events: store.end_session(session.lookup, events=events), False),
                (lambda events: store.add_session(session, events=events), True),
                (lambda events: store.end_sessions("nobody", events=events), False),
                (lambda events: store.end_sessions(ada.id, events=events), True),
                (lambda events: store.end_sessions(ada.id, events=events), False),
            ]
            expected: list[AuditEvent] = []
            for number, (call, outcome) in enumerate(calls):
                events = [replace(event, actor=f"{number} {part}") for part in (1, 2)]
                if isinstance(outcome, bool):
                    await call(events)
                    expected += events * outcome
                else:
                    with raises(outcome):
                        await call(events)
                stored = [replace(each, id=0) for each in reversed(await store.list_events())]
                assert stored == expected, number

    async def test_sessions_outlive_a_closing(self) -> None:
        """After `close` and `open` who had signed in still has."""
        ada, _ = self.owners()
        session = make_session("one", ada.id)
        store = await self.make_store(Keyring(), [ada], [])
        async with opened(store):
            await store.add_session(session)
        async with opened(store):
            assert await _left(store, [session]) == [session]


async def _left(store: SessionStore, sessions: Sequence[Session]) -> list[Session]:
    """Return those sessions that are found by the lookups of these."""
    found = [await store.find_session(session.lookup) for session in sessions]
    return [each.session for each in found if each is not None]
