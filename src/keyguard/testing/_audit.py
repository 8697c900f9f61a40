# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for audit events: who changed what, and when."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

from keyguard.errors import ConfigurationError, Conflict, KeyguardError, NotFound, NotSupported
from keyguard.model import AuditEvent, AuditKind, Owner
from keyguard.ports import AuditLog, KeyRegistry
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_event, make_record

_TICK = timedelta(microseconds=1)


class AuditContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of audit events, and `keyguard.ports.AuditLog` of reading them.

    What it asks of changes to owners is left out where they live in the app's own table.
    """

    async def test_an_event_comes_back_whole(self) -> None:
        """Every field of an event comes back as it went in, with the owner of its key, and a number of its own."""
        ada, bob = self.owners()
        detail: dict[str, Any] = {
            "until": None,
            "scopes": ["flows:*", "é"],
            "count": 3,
            "share": 0.5,
            "deep": {"a": [1, {}]},
            "": "🔑\n",
        }
        given = 12_345
        events = [
            make_event(AuditKind.KEY_ISSUED, "one", at=NOON + _TICK, actor="Zoë „cli“ %", detail=detail),
            make_event(AuditKind.OWNER_IMPORTED, actor="", owner_id=bob.id),
            make_event(AuditKind.CREDENTIALS_RESEALED, detail={"credentials": 2}, id=given),
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_key(make_record("one", ada.id), events=events)
            stored = await store.list_events()
            assert stored == _as_stored([replace(events[0], owner_id=ada.id), *events[1:]], stored)
            assert [dict(event.detail) for event in reversed(stored)] == [detail, {}, {"credentials": 2}]
            assert given not in {event.id for event in stored}

    async def test_every_kind_is_stored(self) -> None:
        """Every `AuditKind` can be written and is read as what it is."""
        ada, _ = self.owners()
        events = [make_event(kind, owner_id=ada.id) for kind in AuditKind]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_key(make_record("one", ada.id), events=events)
            assert [event.kind for event in reversed(await store.list_events())] == list(AuditKind)
            for kind in AuditKind:
                assert [event.kind for event in await store.list_events(kinds={kind})] == [kind]

    async def test_a_change_of_a_key_is_written_once_it_is_made(self) -> None:
        """Each method that changes a key writes its events with the change, those of what is so already not at all."""
        ada, _ = self.owners()
        key, new = make_record("one", ada.id), make_record("new", ada.id)
        renamed = replace(key, name="another")
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            calls: list[tuple[Callable[[Sequence[AuditEvent]], Awaitable[object]], bool]] = [
                (lambda events: store.add_key(key, events=events), True),
                (lambda events: store.rename_key("one", "another", events=events), True),
                (lambda events: store.rename_key("one", "another", events=events), False),
                (lambda events: store.set_key_disabled("one", None, events=events), False),
                (lambda events: store.set_key_disabled("one", NOON, events=events), True),
                (lambda events: store.set_key_disabled("one", NOON + _TICK, events=events), False),
                (lambda events: store.set_key_disabled("one", None, events=events), True),
                (
                    lambda events: store.rotate_key(replace(renamed, expires_at=NOON), new, until=None, events=events),
                    False,
                ),
                (lambda events: store.rotate_key(renamed, new, until=NOON + _TICK, events=events), True),
                (lambda events: store.rotate_key(renamed, new, until=None, events=events), False),
                (lambda events: store.revoke_key("one", NOON, "gone", events=events), True),
                (lambda events: store.revoke_key("one", NOON, "again", events=events), False),
            ]
            await _writes(store, calls, make_event(AuditKind.KEY_RENAMED, "one"), ada)

    async def test_a_change_of_an_owner_is_written_once_it_is_made(self) -> None:
        """Each method that changes an owner writes its events with the change, those of what is so already not at all.

        Where owners live in the app's own table, nothing is asked here.
        """
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            calls: list[tuple[Callable[[Sequence[AuditEvent]], Awaitable[object]], bool]] = [
                (lambda events: store.add_owner(bob, created_at=NOON, events=events), True),
                (lambda events: store.set_owner_active(ada.id, active=True, events=events), False),
                (lambda events: store.set_owner_active(ada.id, active=False, events=events), True),
                (lambda events: store.set_owner_active(ada.id, active=False, events=events), False),
                (lambda events: store.set_owner_superuser(ada.id, superuser=False, events=events), False),
                (lambda events: store.set_owner_superuser(ada.id, superuser=True, events=events), True),
                (lambda events: store.set_password(ada.id, "$argon2id$1", events=events), True),
                (lambda events: store.set_password(ada.id, None, events=events), True),
                (lambda events: store.set_password(ada.id, None, events=events), False),
            ]
            with suppress(NotSupported):
                await _writes(store, calls, make_event(AuditKind.OWNER_ADDED, owner_id=ada.id), ada)

    async def test_what_fails_writes_nothing(self) -> None:
        """A change that raises, whatever it raises, leaves no event."""
        ada, bob = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        new, orphan, taken = make_record("new", ada.id), make_record("new", bob.id), make_record("two", ada.id)
        events = [make_event(AuditKind.KEY_ISSUED, "one"), make_event(AuditKind.KEY_ROTATED, "two")]
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            failing: list[tuple[type[KeyguardError], Callable[[], Awaitable[object]]]] = [
                (Conflict, lambda: store.add_key(taken, events=events)),
                (Conflict, lambda: store.add_key(replace(new, lookup=key.lookup), events=events)),
                (NotFound, lambda: store.add_key(orphan, events=events)),
                (ConfigurationError, lambda: store.add_key(replace(new, name="\0"), events=events)),
                (NotFound, lambda: store.rename_key("none", "name", events=events)),
                (ConfigurationError, lambda: store.rename_key("one", "\0", events=events)),
                (NotFound, lambda: store.set_key_disabled("none", NOON, events=events)),
                (NotFound, lambda: store.revoke_key("none", NOON, "gone", events=events)),
                (ConfigurationError, lambda: store.revoke_key("one", NOON, "\0", events=events)),
            ]
            rotations = [(Conflict, key, taken), (NotFound, key, orphan), (NotFound, new, new)]
            for until, (expected, old, successor) in product((None, NOON), rotations):
                failing.append((expected, partial(store.rotate_key, old, successor, until=until, events=events)))
            for expected, call in failing:
                with raises(expected):
                    await call()
                assert await store.list_events() == []
            assert {key.id: key for key in await store.list_keys()} == {"one": key, "two": other}

    async def test_what_fails_for_an_owner_writes_nothing(self) -> None:
        """A change of an owner that raises leaves no event: the owner is not there, or another has the id or name."""
        ada, bob = self.owners()
        events = [make_event(AuditKind.OWNER_ADDED, owner_id=ada.id)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            failing: list[Callable[[], Awaitable[object]]] = [
                lambda: store.add_owner(replace(bob, name=ada.name), created_at=NOON, events=events),
                lambda: store.add_owner(replace(bob, id=ada.id), created_at=NOON, events=events),
                lambda: store.set_owner_active(bob.id, active=True, events=events),
                lambda: store.set_owner_superuser(bob.id, superuser=True, events=events),
                lambda: store.set_password(bob.id, "$argon2id$1", events=events),
            ]
            for call in failing:
                with suppress(Conflict, NotFound, NotSupported):
                    await call()
                assert await store.list_events() == []

    async def test_an_event_that_cannot_be_stored_keeps_its_change_from_being_made(self) -> None:
        """With an actor that cannot be stored the change raises, and nothing changes; a detail is stored as it is."""
        ada, _ = self.owners()
        key, ended = make_record("one", ada.id), make_record("ended", ada.id, expires_at=NOON - _TICK)
        async with opened(await self.make_store(Keyring(), [ada], [key, ended])) as store:
            for text in UNSTORABLE:
                events = [make_event(AuditKind.KEY_ISSUED, "one"), make_event(AuditKind.KEY_REVOKED, "one", actor=text)]
                with raises(ConfigurationError):
                    await store.add_key(make_record("two", ada.id), events=events)
                with raises(ConfigurationError):
                    await store.rename_key("one", "name", events=events)
                with raises(ConfigurationError):
                    await store.set_key_disabled("one", NOON, events=events)
                with raises(ConfigurationError):
                    await store.revoke_key("one", NOON, "gone", events=events)
                for until in (None, NOON):
                    with raises(ConfigurationError):
                        await store.rotate_key(key, make_record("two", ada.id), until=until, events=events)
                with raises(ConfigurationError):
                    await store.purge_keys(NOON, limit=1, event=events[1])
                assert await store.list_events() == []
                assert {key.id: key for key in await store.list_keys()} == {"one": key, "ended": ended}
            for number, text in enumerate(UNSTORABLE):
                event = make_event(AuditKind.KEY_RENAMED, "one", detail={"name": text, text: [text]})
                await store.rename_key("one", f"name {number}", events=[event])
                (stored,) = await store.list_events(limit=1)
                assert stored == replace(event, owner_id=ada.id, id=stored.id)

    async def test_the_owner_of_an_events_key_is_filled_in(self) -> None:
        """An event of a key gets the owner of its own key, where it names none; one that names an owner keeps it."""
        ada, bob = self.owners()
        old, new = make_record("old", ada.id), make_record("new", bob.id, rotated_from="old")
        events = [
            make_event(AuditKind.KEY_ROTATED, "old", detail={"successor": "new"}),
            make_event(AuditKind.KEY_ISSUED, "new", detail={"rotated_from": "old"}),
            make_event(AuditKind.KEY_ISSUED, "new", owner_id="somebody"),
            make_event(AuditKind.CREDENTIAL_STORED),
        ]
        owners = [ada.id, bob.id, "somebody", None]
        async with opened(await self.make_store(Keyring(), [ada, bob], [old])) as store:
            assert await store.rotate_key(old, new, until=None, events=events)
            stored = await store.list_events()
            full = [replace(event, owner_id=owner_id) for event, owner_id in zip(events, owners, strict=True)]
            assert stored == _as_stored(full, stored)
            assert [event.key_id for event in await store.list_events(owner_id=bob.id)] == ["new"]

    async def test_the_newest_events_come_first(self) -> None:
        """Events are listed in the order in which they were written, the last first, whatever time they bear."""
        ada, _ = self.owners()
        times = [NOON, NOON + timedelta(days=1), NOON - timedelta(days=1), NOON]
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            for number, at in enumerate(times):
                events = [
                    make_event(AuditKind.KEY_RENAMED, "one", at=at, detail={"n": [number, part]}) for part in (0, 1)
                ]
                await store.rename_key("one", f"name {number}", events=events)
            stored = await store.list_events()
            order = [list(event.detail["n"]) for event in reversed(stored)]
            assert order == [[number, part] for number in range(len(times)) for part in (0, 1)]
            ids = [event.id for event in stored]
            assert ids == sorted(set(ids), reverse=True)
            assert min(ids) > 0

    async def test_events_are_filtered(self) -> None:
        """Key, owner, kinds and the earliest time leave the events that fit all that is given, in the same order."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            whole = await _fill(store, [ada, bob])
            kinds = (AuditKind.KEY_ISSUED, AuditKind.KEY_REVOKED)
            choices = product(
                (None, "k1", "K0"),
                (None, bob.id, "nobody"),
                (None, [], kinds, set(kinds[:1]), [AuditKind.OWNER_ADDED]),
                (None, NOON - _TICK, NOON, NOON + _TICK),
            )
            for key_id, owner_id, some, since in choices:
                answer = await store.list_events(key_id=key_id, owner_id=owner_id, kinds=some, since=since)
                assert answer == [
                    event
                    for event in whole
                    if key_id in {None, event.key_id}
                    and owner_id in {None, event.owner_id}
                    and (some is None or event.kind in some)
                    and (since is None or event.at >= since)
                ]

    async def test_pages_of_events_make_up_the_log(self) -> None:
        """Page after page, of whatever length, filtered or not, events come as in one list; new ones change no page."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            whole = await _fill(store, [ada, bob])
            for limit in (1, 2, 5, len(whole), len(whole) + 1):
                assert await _pages(store, limit, owner_id=None) == whole
                assert await _pages(store, limit, owner_id=bob.id) == [e for e in whole if e.owner_id == bob.id]
            assert await store.list_events(limit=0) == []
            first = await store.list_events(limit=3)
            await store.rename_key("k0", "again", events=[make_event(AuditKind.KEY_RENAMED, "k0")])
            assert await store.list_events(before=first[-1].id, limit=3) == whole[3:6]
            assert await store.list_events(before=whole[-1].id) == []
            assert len(await store.list_events()) == len(whole) + 1

    async def test_a_text_that_cannot_be_stored_is_in_no_event(self) -> None:
        """Asked for a NUL character or half of a surrogate pair, the log has no such key and no such owner."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_key(make_record("one", ada.id), events=[make_event(AuditKind.KEY_ISSUED, "one")])
            for text in (*UNSTORABLE, "one\0"):
                assert await store.list_events(key_id=text) == []
                assert await store.list_events(owner_id=text) == []

    async def test_events_stay_when_their_key_is_gone(self) -> None:
        """The events of a key that was purged are there as before, and those of another with its id come on top."""
        ada, bob = self.owners()
        key = make_record("one", ada.id, expires_at=NOON - _TICK)
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_key(key, events=[make_event(AuditKind.KEY_ISSUED, "one")])
            before = await store.list_events()
            assert await store.purge_keys(NOON, limit=1, event=make_event(AuditKind.KEY_PURGED)) == 1
            assert (await store.list_events(key_id="one"))[1:] == before
            await store.add_key(make_record("one", bob.id), events=[make_event(AuditKind.KEY_ISSUED, "one")])
            assert [event.owner_id for event in await store.list_events(key_id="one")] == [bob.id, ada.id, ada.id]
            assert (await store.list_events(owner_id=ada.id))[1:] == before

    async def test_what_is_not_audited_writes_no_event(self) -> None:
        """Reading, an upgrade of digests and a change that is given no events leave none."""
        ada, _ = self.owners()
        key, digest = make_record("one", ada.id), make_digest("new")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            await store.find([key.lookup])
            await store.list_keys()
            await store.rename_key("one", "another")
            assert await store.upgrade("one", verifier=key.verifier, new_lookup=digest, new_verifier=digest)
            assert await store.revoke_key("one", NOON, "gone")
            assert await store.list_events() == []

    async def test_one_of_several_changes_writes_its_events(self) -> None:
        """Of several calls at once that make the same change, only the one that did it writes its events."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        others = [make_record(f"new-{number}", ada.id, rotated_from="one") for number in range(5)]
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:

            def told(kind: AuditKind, number: int) -> list[AuditEvent]:
                return [make_event(kind, "one", actor=str(number))]

            rounds: list[tuple[AuditKind, Callable[[int, list[AuditEvent]], Awaitable[bool]]]] = [
                (AuditKind.KEY_DISABLED, lambda _, events: store.set_key_disabled("one", NOON, events=events)),
                (AuditKind.KEY_ENABLED, lambda _, events: store.set_key_disabled("one", None, events=events)),
                (
                    AuditKind.KEY_ROTATED,
                    lambda number, events: store.rotate_key(key, others[number], until=NOON, events=events),
                ),
                (AuditKind.KEY_REVOKED, lambda _, events: store.revoke_key("one", NOON, "gone", events=events)),
            ]
            for kind, change in rounds:
                answers = await asyncio.gather(*[change(number, told(kind, number)) for number in range(5)])
                assert sorted(answers) == [False] * 4 + [True]
                assert [event.actor for event in await store.list_events(kinds=[kind])] == [str(answers.index(True))]

    async def test_events_of_a_rotation_and_a_revocation_at_once_tell_what_happened(self) -> None:
        """Rotated and revoked at once, a key's events tell of one order of the two, and it ends as they say."""
        ada, _ = self.owners()
        olds = [make_record(f"old-{number}", ada.id) for number in range(8)]
        async with opened(await self.make_store(Keyring(), [ada], olds)) as store:
            for number, old in enumerate(olds):
                until = None if number % 2 else NOON + timedelta(hours=1)
                new = make_record(f"new-{number}", ada.id, created_at=NOON + _TICK, rotated_from=old.id)
                rotation = store.rotate_key(
                    old,
                    new,
                    until=until,
                    events=[make_event(AuditKind.KEY_ROTATED, old.id), make_event(AuditKind.KEY_ISSUED, new.id)],
                )
                revocation = store.revoke_key(
                    old.id, NOON, "leaked", events=[make_event(AuditKind.KEY_REVOKED, old.id)]
                )
                calls: list[Awaitable[bool]] = (
                    [rotation, revocation] if number in {0, 1, 4, 5} else [revocation, rotation]
                )
                await asyncio.gather(*calls)
                ends = [event.kind for event in reversed(await store.list_events(key_id=old.id))]
                begins = [event.kind for event in await store.list_events(key_id=new.id)]
                rotated = replace(old, expires_at=until, rotated_at=new.created_at)
                match ends:
                    case [AuditKind.KEY_REVOKED]:
                        expected = replace(old, revoked_at=NOON, revoked_reason="leaked")
                    case [AuditKind.KEY_ROTATED]:
                        assert until is None
                        expected = replace(rotated, revoked_at=new.created_at, revoked_reason="rotated")
                    case _:
                        assert ends == [AuditKind.KEY_ROTATED, AuditKind.KEY_REVOKED]
                        assert until is not None
                        expected = replace(rotated, revoked_at=NOON, revoked_reason="leaked")
                assert await store.get_key(old.id) == expected
                assert begins == ([AuditKind.KEY_ISSUED] if AuditKind.KEY_ROTATED in ends else [])
                assert await store.get_key(new.id) == (new if begins else None)


def _as_stored(events: Sequence[AuditEvent], stored: Sequence[AuditEvent]) -> list[AuditEvent]:
    """Return `events`, the newest first, with the numbers that they got."""
    return [replace(event, id=there.id) for event, there in zip(reversed(events), stored, strict=True)]


async def _writes(
    store: KeyRegistry,
    calls: Sequence[tuple[Callable[[Sequence[AuditEvent]], Awaitable[object]], bool]],
    event: AuditEvent,
    owner: Owner,
) -> None:
    """Make the calls one after the other, each with two events, and see which write them."""
    expected: list[tuple[str, str | None]] = []
    for number, (call, writes) in enumerate(calls):
        events = [replace(event, actor=f"{number} {part}") for part in ("first", "second")]
        await call(events)
        if writes:
            expected += [(event.actor, owner.id) for event in events]
        assert [(event.actor, event.owner_id) for event in reversed(await store.list_events())] == expected


async def _fill(store: KeyRegistry, owners: Sequence[Owner]) -> list[AuditEvent]:
    """Write events of several keys, kinds and times; return them as they are listed."""
    for number in range(4):
        owner = owners[number % len(owners)]
        issued = make_event(AuditKind.KEY_ISSUED, f"k{number}", at=NOON - _TICK)
        renamed = [make_event(AuditKind.KEY_RENAMED, f"k{number}", at=NOON + part * _TICK) for part in (-1, 0, 1)]
        await store.add_key(make_record(f"k{number}", owner.id), events=[issued])
        await store.rename_key(f"k{number}", "renamed", events=renamed)
    await store.revoke_key("k1", NOON, "gone", events=[make_event(AuditKind.KEY_REVOKED, "k1", at=NOON)])
    return await store.list_events()


async def _pages(log: AuditLog, limit: int, owner_id: str | None) -> list[AuditEvent]:
    """Read the log in pages."""
    events = page = await log.list_events(owner_id=owner_id, limit=limit)
    while page:
        page = await log.list_events(owner_id=owner_id, before=page[-1].id, limit=limit)
        assert len(page) <= limit
        assert not page or page[0].id < events[-1].id
        events = events + page
    return events
