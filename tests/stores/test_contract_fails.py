"""The suites of `keyguard.testing` notice a store that breaks its promises."""

import asyncio
import itertools
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from keyguard.errors import ConfigurationError
from keyguard.model import Found, Owner
from keyguard.stores._text import check_storable
from keyguard.stores.memory import MemoryStore
from keyguard.testing import (
    NOON,
    AppOwnersContract,
    FreshnessContract,
    FrozenClock,
    KeyRegistryContract,
    KeyStoreContract,
    OwnerRegistryContract,
    UsageContract,
)


class FindsTheRevokedOnly(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        return found if found is None or found.key.revoked_at else None


class HidesTheRevoked(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        return None if found is None or found.key.revoked_at else found


class HidesTheInactive(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        return found if found is not None and found.owner.is_active else None


class FindsOrphans(MemoryStore):
    async def find(self, lookups):
        record = next((key for key in self._keys.values() if key.lookup in lookups), None)
        return record and Found(key=record, owner=self._owners.get(record.owner_id, Owner(id="", name="")))


class LooksAtTheFirstLookupOnly(MemoryStore):
    async def find(self, lookups):
        return await super().find(lookups[:1])


class TakesAnyText(MemoryStore):
    async def rename_key(self, key_id, name):
        self._keys[key_id] = replace(self._key(key_id), name=name)

    async def add_owner(self, owner, *, created_at, password=None):
        self._owners[owner.id] = owner


class EncodesNames(MemoryStore):
    async def find_owner(self, name):
        return await super().find_owner(name.encode().decode())


class EncodesIds(MemoryStore):
    async def get_key(self, key_id):
        return await super().get_key(key_id.encode().decode())


class FoldsNames(MemoryStore):
    async def find_owner(self, name):
        return await super().find_owner(name.lower())


class UpgradesAlways(MemoryStore):
    async def upgrade(self, key_id, *, verifier, new_lookup, new_verifier):
        record = self._keys.get(key_id)
        return record is not None and await super().upgrade(
            key_id, verifier=record.verifier, new_lookup=new_lookup, new_verifier=new_verifier
        )


class UpgradesNever(MemoryStore):
    async def upgrade(self, key_id, *, verifier, new_lookup, new_verifier):
        return False


class RevokesAgain(MemoryStore):
    async def revoke_key(self, key_id, at, reason):
        self._keys[key_id] = replace(self._key(key_id), revoked_at=at, revoked_reason=reason)
        return True


class RotatesAgain(MemoryStore):
    async def rotate_key(self, old, new, *, until):
        record = self._key(old.id)
        self._keys[old.id] = replace(record, revoked_at=None, expires_at=old.expires_at)
        return await super().rotate_key(old, new, until=until)


class RotatesByHalves(MemoryStore):
    async def rotate_key(self, old, new, *, until):
        if until is None and self._key(old.id).revoked_at is None:
            await self.revoke_key(old.id, new.created_at, "rotated")
            await self.add_key(new)
            return True
        return await super().rotate_key(old, new, until=until)


class RevokesLater(MemoryStore):
    async def rotate_key(self, old, new, *, until):
        before = self._key(old.id)
        await asyncio.sleep(0)
        self._keys[old.id] = before
        return await super().rotate_key(old, new, until=until)


class KeepsTheRotated(MemoryStore):
    async def rotate_key(self, old, new, *, until):
        await self.add_key(new)
        return True


class AddsAgain(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        self._recorded.clear()
        await super().record_uses(uses, worker=worker, sequence=sequence)


class KnowsTheLastBatchOnly(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        if self._recorded.get(worker) != sequence:
            self._recorded.clear()
        await super().record_uses(uses, worker=worker, sequence=sequence)


class KnowsOneWorkerOnly(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        await super().record_uses(uses, worker="all", sequence=sequence)


class Overwrites(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        self._uses.update(uses)


class ReadsAndWritesBack(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        before = dict(self._uses)
        await asyncio.sleep(0)
        self._uses = before
        await super().record_uses(uses, worker=worker, sequence=sequence)


class ChecksBeforeItAdds(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        if sequence > self._recorded.get(worker, 0):
            await asyncio.sleep(0)
            self._recorded.pop(worker, None)
            await super().record_uses(uses, worker=worker, sequence=sequence)


class BelievesTheLastBatch(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        await super().record_uses(uses, worker=worker, sequence=sequence)
        for key_id, use in uses.items():
            self._uses[key_id] = replace(use, total=self._uses[key_id].total)


class RefusesWhatCannotBeStored(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        str(uses).encode()
        check_storable([*uses, *(use.last_used_address for use in uses.values())])
        await super().record_uses(uses, worker=worker, sequence=sequence)


class ForgetsAtTheEnd(MemoryStore):
    async def close(self):
        await super().close()
        self._recorded.clear()


class TakesAnyOwner(MemoryStore):
    async def add_key(self, record):
        self._keys[record.id] = record


class DropsMicroseconds(MemoryStore):
    async def add_key(self, record):
        await super().add_key(replace(record, created_at=record.created_at.replace(microsecond=0)))


class NeverOpen(MemoryStore):
    async def open(self):
        pass


class NeverVouches(MemoryStore):
    def token(self):
        return None


class NeverMoves(MemoryStore):
    def token(self):
        return 0


class MovesAlways(MemoryStore):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.token = itertools.count().__next__


class Waits(MemoryStore):
    def token(self):
        time.sleep(0.0011)
        return super().token()


class BeginsAgain(MemoryStore):
    async def open(self):
        await super().open()
        self._changes = 0


class SaysMaybe(MemoryStore):
    is_exact = None


@pytest.mark.parametrize(
    ("broken", "suite", "test"),
    [
        (FindsTheRevokedOnly, KeyStoreContract, "test_a_key_is_found_with_its_owner"),
        (HidesTheRevoked, KeyStoreContract, "test_disabled_and_revoked_keys_are_found"),
        (HidesTheInactive, KeyStoreContract, "test_keys_of_inactive_owners_are_found"),
        (FindsOrphans, KeyStoreContract, "test_a_key_without_its_owner_is_not_found"),
        (LooksAtTheFirstLookupOnly, KeyStoreContract, "test_a_key_is_found_among_many_lookups"),
        (FoldsNames, KeyStoreContract, "test_owners_are_found_by_their_exact_name"),
        (UpgradesAlways, KeyStoreContract, "test_an_upgrade_is_conditional"),
        (NeverOpen, KeyStoreContract, "test_opening_again_does_nothing"),
        (DropsMicroseconds, KeyStoreContract, "test_a_key_is_found_whole"),
        (UpgradesNever, KeyRegistryContract, "test_a_registry_upgrades"),
        (RevokesAgain, KeyRegistryContract, "test_the_first_revocation_stays"),
        (RevokesAgain, KeyRegistryContract, "test_one_of_several_revocations_wins"),
        (KeepsTheRotated, KeyRegistryContract, "test_a_rotation_adds_one_key_and_ends_another"),
        (RotatesAgain, KeyRegistryContract, "test_a_key_that_has_ended_otherwise_is_not_rotated"),
        (RotatesByHalves, KeyRegistryContract, "test_a_rotation_is_done_wholly_or_not_at_all"),
        (RotatesAgain, KeyRegistryContract, "test_one_of_several_rotations_wins"),
        (RevokesLater, KeyRegistryContract, "test_a_rotation_and_a_revocation_at_once"),
        (Overwrites, UsageContract, "test_totals_are_added_up"),
        (BelievesTheLastBatch, UsageContract, "test_the_last_use_never_goes_back"),
        (AddsAgain, UsageContract, "test_a_batch_is_added_once"),
        (KnowsTheLastBatchOnly, UsageContract, "test_a_batch_is_added_once"),
        (KnowsOneWorkerOnly, UsageContract, "test_a_batch_is_added_once"),
        (ChecksBeforeItAdds, UsageContract, "test_the_same_batch_at_once"),
        (ReadsAndWritesBack, UsageContract, "test_batches_at_once_are_all_added"),
        (RefusesWhatCannotBeStored, UsageContract, "test_what_cannot_be_stored_keeps_nothing_from_being_counted"),
        (Overwrites, UsageContract, "test_batches_at_once_are_all_added"),
        (ForgetsAtTheEnd, UsageContract, "test_what_was_counted_outlives_a_closing"),
        (EncodesNames, KeyStoreContract, "test_owners_are_found_by_their_exact_name"),
        (EncodesIds, KeyRegistryContract, "test_a_text_that_cannot_be_stored_is_no_id"),
        (TakesAnyText, KeyRegistryContract, "test_a_text_that_cannot_be_stored_is_refused"),
        (TakesAnyText, OwnerRegistryContract, "test_an_owner_that_cannot_be_stored_is_refused"),
        (TakesAnyOwner, KeyRegistryContract, "test_a_key_needs_an_owner"),
        (TakesAnyOwner, KeyRegistryContract, "test_ids_and_lookups_are_unique"),
        (MemoryStore, AppOwnersContract, "test_the_apps_owners_are_not_written"),
        (NeverVouches, FreshnessContract, "test_reading_moves_nothing"),
        (NeverMoves, FreshnessContract, "test_the_token_moves_with_a_keys_state"),
        (NeverMoves, FreshnessContract, "test_the_token_moves_with_an_owners_state"),
        (MovesAlways, FreshnessContract, "test_reading_moves_nothing"),
        (MovesAlways, FreshnessContract, "test_the_token_stays_with_other_changes"),
        (Waits, FreshnessContract, "test_a_token_is_there_without_waiting"),
        (BeginsAgain, FreshnessContract, "test_no_token_comes_back"),
        (SaysMaybe, FreshnessContract, "test_a_store_says_how_exact_it_is"),
    ],
)
async def test_a_broken_promise_is_noticed(broken, suite, test):
    """A store that breaks a promise fails the test of that promise; an honest one passes it."""

    def suite_over(kind):
        class Suite(suite):
            async def make_store(self, keyring, owners, keys):
                store = kind(keyring=keyring)
                known = {owner.id for owner in owners}
                for owner in [*owners, *(Owner(id=key.owner_id, name=key.owner_id) for key in keys)]:
                    store._owners.setdefault(owner.id, owner)
                for key in keys:
                    await store.add_key(key)
                store._owners = {owner_id: owner for owner_id, owner in store._owners.items() if owner_id in known}
                return store

        return Suite()

    with pytest.raises((AssertionError, UnicodeEncodeError, ConfigurationError)):
        await getattr(suite_over(broken), test)()
    if suite is not AppOwnersContract:
        await getattr(suite_over(MemoryStore), test)()


@pytest.mark.parametrize(
    ("suite", "test"),
    [
        (KeyStoreContract, "test_finding_changes_nothing"),
        (KeyRegistryContract, "test_finding_changes_nothing"),
        (UsageContract, "test_totals_are_added_up"),
        (FreshnessContract, "test_reading_moves_nothing"),
    ],
)
async def test_a_suite_asks_for_its_store(suite, test):
    """A subclass that makes no store fails at once and says why."""
    with pytest.raises(NotImplementedError, match="the subclass makes the store"):
        await getattr(suite(), test)()


def test_a_frozen_clock_stands_still():
    """A frozen clock tells the same time until it is moved on."""
    clock = FrozenClock(NOON)
    assert clock() == clock() == NOON
    clock.advance(timedelta(seconds=1))
    assert clock() == NOON + timedelta(seconds=1)
