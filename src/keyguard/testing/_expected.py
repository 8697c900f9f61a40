# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for changes of keys that are made only if a key is as the caller has read it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from keyguard.errors import Changed, ConfigurationError, NotFound
from keyguard.model import AuditEvent, AuditKind, KeyRecord
from keyguard.ports import KeyRegistry
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_event, make_record

_TICK, _DAY = timedelta(microseconds=1), timedelta(days=1)

_TIMES = ("expires_at", "disabled_at", "revoked_at", "rotated_at")

_Change = Callable[[KeyRegistry, KeyRecord, KeyRecord, Sequence[AuditEvent]], Awaitable[object]]


async def _rename(store: KeyRegistry, key: KeyRecord, expected: KeyRecord, events: Sequence[AuditEvent]) -> object:
    await store.rename_key(key.id, "renamed", expected=expected, events=events)
    return None


async def _disable(store: KeyRegistry, key: KeyRecord, expected: KeyRecord, events: Sequence[AuditEvent]) -> object:
    return await store.set_key_disabled(key.id, NOON + _DAY, expected=expected, events=events)


async def _enable(store: KeyRegistry, key: KeyRecord, expected: KeyRecord, events: Sequence[AuditEvent]) -> object:
    return await store.set_key_disabled(key.id, None, expected=expected, events=events)


async def _revoke(store: KeyRegistry, key: KeyRecord, expected: KeyRecord, events: Sequence[AuditEvent]) -> object:
    return await store.revoke_key(key.id, NOON + _DAY, "leaked", expected=expected, events=events)


_CHANGES: Mapping[_Change, tuple[Any, dict[str, Any]]] = {
    _rename: (None, {"name": "renamed"}),
    _disable: (True, {"disabled_at": NOON + _DAY}),
    _enable: (True, {"disabled_at": None}),
    _revoke: (True, {"revoked_at": NOON + _DAY, "revoked_reason": "leaked"}),
}
"""Each change, what a store answers that makes it, and what it makes of a key."""


class ExpectationContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of changes with `expected`."""

    async def test_a_key_that_is_as_expected_is_changed(self) -> None:
        """A key that is what the caller has read is changed, and what is so already is told as without it.

        What is not compared may be another by now: digests, scopes, notes, the reason.
        """
        ada, bob = self.owners()
        key = make_record("one", ada.id, expires_at=NOON, rotated_at=NOON - _TICK, metadata_json='{"a": 1}')
        read = replace(
            key,
            lookup=make_digest("former"),
            verifier=make_digest("former"),
            scopes=frozenset[str](),
            metadata_json="{}",
            revoked_reason="none",
        )
        async with opened(await self.make_store(Keyring(), [ada, bob], [key, make_record("two", ada.id)])) as store:
            for change in (_rename, _disable, _enable, _revoke):
                told, fields = _CHANGES[change]
                events = [make_event(AuditKind.KEY_RENAMED, "one", owner_id=ada.id, actor=change.__name__)]
                assert await change(store, key, read, events) is told
                key, read = replace(key, **fields), replace(read, **fields)
                assert await store.get_key("one") == key
                (event,) = await store.list_events(limit=1)
                assert event == replace(events[0], id=event.id)
                before = await store.list_events()
                assert not await change(store, key, read, events)  # It is so already.
                assert await store.get_key("one") == key
                assert await store.list_events() == before
            assert await store.get_key("two") == make_record("two", ada.id)

    async def test_a_key_that_is_not_as_expected_is_not_changed(self) -> None:
        """Whichever of the five is another, by a microsecond, `Changed` is raised: no change, no event, no exception.

        So it is where the change would change nothing.
        """
        ada, _ = self.owners()
        bare = make_record("bare", ada.id)
        full = make_record(
            "full", ada.id, expires_at=NOON, disabled_at=NOON + _DAY, revoked_at=NOON, rotated_at=NOON, name="renamed"
        )
        names = ("", "BARE", "bare ", "bar%", "bar_", *UNSTORABLE)
        stale = [
            *((bare, replace(bare, name=name)) for name in names),
            *((bare, _with(bare, field, NOON)) for field in _TIMES),
            (full, replace(full, name="Renamed")),
            *((full, _with(full, field, None)) for field in _TIMES),
            *((full, _with(full, field, getattr(full, field) + _TICK)) for field in _TIMES),
            (full, bare),
            (bare, full),
        ]
        async with opened(await self.make_store(Keyring(), [ada], [bare, full])) as store:
            events = [make_event(AuditKind.KEY_RENAMED, actor="nobody")]
            for change, (key, read) in product(_CHANGES, stale):
                with raises(Changed):
                    await change(store, key, read, events)
            assert {key.id: key for key in await store.list_keys()} == {"bare": bare, "full": full}
            assert await store.list_events() == []

    async def test_what_cannot_be_is_told_whatever_is_expected(self) -> None:
        """Of a key that is not there `NotFound` is raised, and a name or reason that cannot be stored is refused."""
        ada, _ = self.owners()
        key, nobody = make_record("one", ada.id), make_record("none", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            for change, read in product(_CHANGES, (nobody, key)):
                for missing in (nobody, *(replace(nobody, id=text) for text in UNSTORABLE)):
                    with raises(NotFound):
                        await change(store, missing, read, [make_event(AuditKind.KEY_RENAMED, "none")])
            for text in UNSTORABLE:
                events = [make_event(AuditKind.KEY_RENAMED, "one", actor=text)]
                with raises(ConfigurationError):
                    await store.rename_key("one", text, expected=key)
                with raises(ConfigurationError):
                    await store.revoke_key("one", NOON, text, expected=key)
                for change in (_rename, _disable, _revoke):
                    with raises(ConfigurationError):
                        await change(store, key, key, events)
            assert await store.list_keys() == [key]
            assert await store.list_events() == []

    async def test_one_of_several_who_read_the_same_changes_it(self) -> None:
        """Of several calls at once that expect the same, one makes its change, with its event; all others raise.

        Those that would make the same change raise, too, and a rotation that came later is not done.
        """
        ada, _ = self.owners()
        rounds: list[Sequence[_Change]] = [
            *([change] * 5 for change in (_rename, _disable, _revoke)),
            *([_rename, _disable, _revoke] for _ in range(4)),
            *([_disable, _rotate] for _ in range(3)),
            *([_rotate, _rename] for _ in range(3)),
        ]
        keys = [make_record(f"k{number}", ada.id) for number in range(len(rounds))]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            for key, changes in zip(keys, rounds, strict=True):
                kinds = [make_event(AuditKind.KEY_RENAMED, key.id, actor=f"{number}") for number in range(len(changes))]
                calls = [change(store, key, key, [event]) for change, event in zip(changes, kinds, strict=True)]
                answers = await asyncio.gather(*calls, return_exceptions=True)
                won = [number for number, told in enumerate(answers) if told is None or told is True]
                assert len(won) == 1, answers
                for change, told in zip(changes, answers, strict=True):
                    assert told in {None, True} or type(told) is Changed or (change is _rotate and told is False), told
                now = await store.get_key(key.id)
                assert now is not None
                (event,) = await store.list_events(key_id=key.id)
                assert event.actor == f"{won[0]}"
                if changes[won[0]] is not _rotate:
                    assert now == replace(key, **_CHANGES[changes[won[0]]][1])
                else:
                    assert now == replace(key, expires_at=NOON, rotated_at=NOON)


async def _rotate(store: KeyRegistry, key: KeyRecord, expected: KeyRecord, events: Sequence[AuditEvent]) -> object:
    new = make_record(f"new {key.id}", key.owner_id, rotated_from=key.id)
    return await store.rotate_key(expected, new, until=NOON, events=events)


def _with(key: KeyRecord, field: str, value: datetime | str | None) -> KeyRecord:
    changed: dict[str, Any] = {field: value}
    return replace(key, **changed)
