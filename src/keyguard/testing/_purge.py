# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for keys that are deleted long after their end."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from keyguard.model import AuditKind, KeyRecord, Usage
from keyguard.ports import KeyRegistry, UsageStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, make_event, make_record

_TICK, _HOUR = timedelta(microseconds=1), timedelta(hours=1)
_PURGED = make_event(AuditKind.KEY_PURGED, detail={"before": "noon"})


class PurgeContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of deleting keys."""

    async def test_only_keys_that_had_ended_are_purged(self) -> None:
        """Revoked and expired keys are gone if they ended before that time, to the microsecond; all others stay."""
        ada, bob = self.owners()
        gone = [
            make_record("revoked", ada.id, revoked_at=NOON - _TICK),
            make_record("expired", bob.id, expires_at=NOON - _TICK),
            make_record("both", ada.id, revoked_at=NOON - _TICK, expires_at=NOON - _TICK),
            make_record("revoked early", ada.id, revoked_at=NOON - _TICK, expires_at=NOON + _TICK),
            make_record("revoked late", ada.id, revoked_at=NOON + _TICK, expires_at=NOON - _TICK),
            make_record("after its grace", ada.id, rotated_at=NOON - 2 * _TICK, expires_at=NOON - _TICK),
        ]
        kept = [
            make_record("good", ada.id),
            make_record("revoked now", ada.id, revoked_at=NOON),
            make_record("expires now", ada.id, expires_at=NOON),
            make_record("expires later", ada.id, expires_at=NOON + _TICK),
            make_record("disabled", ada.id, disabled_at=NOON - _TICK),
            make_record("early", ada.id, not_before=NOON + _TICK),
            make_record("in its grace", bob.id, rotated_at=NOON - _TICK, expires_at=NOON + _TICK),
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], gone + kept)) as store:
            assert await store.purge_keys(NOON, limit=100, event=_PURGED) == len(gone)
            assert await _by_id(store) == {key.id: key for key in kept}
            for key in gone:
                assert await store.find([key.lookup]) is None
                assert await store.get_key(key.id) is None
            for key in kept:
                found = await store.find([key.lookup])
                assert found is not None
                assert found.key == key

    async def test_the_oldest_keys_are_purged_first(self) -> None:
        """At most `limit` keys are deleted by one call, the oldest first, until none is left."""
        ada, _ = self.owners()
        keys = [
            make_record(
                f"k{age}", ada.id, created_at=NOON - timedelta(days=age), revoked_at=NOON - timedelta(hours=age)
            )
            for age in (3, 1, 5, 2, 4)
        ]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            left: list[tuple[int, set[str]]] = []
            for limit in (0, 2, 2, 2, 2):
                done = await store.purge_keys(NOON, limit=limit, event=_PURGED)
                left.append((done, {key.id for key in await store.list_keys()}))
            every = {key.id for key in keys}
            assert left == [(0, every), (2, {"k1", "k2", "k3"}), (2, {"k1"}), (1, set()), (0, set())]

    async def test_each_purged_key_has_its_event(self) -> None:
        """For each key that is deleted the event is written, with its id and its owner's, and for no other key."""
        ada, bob = self.owners()
        ended = [
            make_record("one", ada.id, revoked_at=NOON - _TICK),
            make_record("two", bob.id, expires_at=NOON - _TICK),
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], [*ended, make_record("good", ada.id)])) as store:
            before = await store.list_events()
            assert await store.purge_keys(NOON - _TICK, limit=100, event=_PURGED) == 0
            assert await store.list_events() == before
            assert await store.purge_keys(NOON, limit=100, event=_PURGED) == len(ended)
            events = await store.list_events(kinds=[AuditKind.KEY_PURGED])
            assert sorted((event.key_id, event.owner_id) for event in events) == [("one", ada.id), ("two", bob.id)]
            for event in events:
                assert event == replace(_PURGED, key_id=event.key_id, owner_id=event.owner_id, id=event.id)
            assert await store.purge_keys(NOON, limit=100, event=_PURGED) == 0
            assert await store.list_events(kinds=[AuditKind.KEY_PURGED]) == events

    async def test_the_uses_of_a_purged_key_are_gone(self) -> None:
        """With a key its uses are deleted, and those of the others stay; a store that counts none is asked nothing."""
        ada, _ = self.owners()
        ended, good = make_record("ended", ada.id, revoked_at=NOON - _TICK), make_record("good", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [ended, good])) as store:
            if isinstance(store, UsageStore):
                uses = {"ended": Usage(total=3, last_used_at=NOON), "good": Usage(total=5, last_used_at=NOON)}
                await store.record_uses(uses, worker="w", sequence=1)
                assert await store.purge_keys(NOON, limit=1, event=_PURGED) == 1
                assert await store.get_uses(["ended", "good"]) == {"good": uses["good"]}
            assert await store.get_key("good") == good

    async def test_uses_that_come_late_go_with_the_next_purge(self) -> None:
        """Uses that were written down after their key was deleted are deleted when there is no key left to purge."""
        ada, _ = self.owners()
        keys = [make_record(f"k{number}", ada.id, revoked_at=NOON - _TICK) for number in range(3)]
        good = make_record("good", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [*keys, good])) as store:
            if isinstance(store, UsageStore):
                assert await store.purge_keys(NOON, limit=len(keys), event=_PURGED) == len(keys)
                uses = {key.id: Usage(total=1) for key in (*keys, good)}
                await store.record_uses(uses, worker="w", sequence=1)
                assert await store.purge_keys(NOON, limit=1, event=_PURGED) == 0
                assert await store.get_uses(list(uses)) == {"good": uses["good"]}

    async def test_a_purged_keys_id_and_lookup_are_free(self) -> None:
        """After a key is gone, another may have its id and its lookup."""
        ada, bob = self.owners()
        ended = make_record("one", ada.id, revoked_at=NOON - _TICK)
        again = make_record("one", bob.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [ended])) as store:
            assert await store.purge_keys(NOON, limit=1, event=_PURGED) == 1
            await store.add_key(again)
            assert await store.get_key("one") == again

    async def test_purges_at_once_count_each_key_once(self) -> None:
        """Several calls at once delete each key once, and the numbers that they return add up."""
        ada, _ = self.owners()
        keys = [make_record(f"k{number}", ada.id, revoked_at=NOON - _TICK) for number in range(12)]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            total = 0
            for _ in keys:  # Each round deletes at least one.
                calls = [store.purge_keys(NOON, limit=3, event=_PURGED) for _ in range(3)]
                total += sum(await asyncio.gather(*calls))
            assert total == len(keys)
            assert await store.list_keys() == []
            events = await store.list_events(kinds=[AuditKind.KEY_PURGED])
            assert sorted(str(event.key_id) for event in events) == sorted(key.id for key in keys)


async def _by_id(store: KeyRegistry) -> dict[str, KeyRecord]:
    return {key.id: key for key in await store.list_keys()}
