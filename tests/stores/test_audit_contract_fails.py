"""Every test of the suites for events, credentials and imports notices a store that breaks its promise."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from filling import suite_over

from keyguard.errors import Conflict, KeyguardError, NotSupported
from keyguard.model import AuditKind
from keyguard.ports import UsageStore
from keyguard.stores.memory import MemoryStore
from keyguard.testing import (
    AuditContract,
    CredentialContract,
    ImportContract,
    KeyRegistryContract,
    KeyStoreContract,
    make_event,
)

TICK = timedelta(microseconds=1)


# --- events -----------------------------------------------------------------------------------------------------


class NotesNoDetail(MemoryStore):
    def _note(self, events):
        super()._note([replace(event, detail={}) for event in events])


class KeepsTheNumbersGiven(MemoryStore):
    def _note(self, events):
        first = len(self._events)
        super()._note(events)
        self._events[first:] = [
            replace(there, id=event.id or there.id) for there, event in zip(self._events[first:], events, strict=True)
        ]


class KnowsFewKinds(MemoryStore):
    def _note(self, events):
        super()._note([event for event in events if event.kind.value.startswith("key.")])


class NotesWhatIsSoAlready(MemoryStore):
    async def revoke_key(self, key_id, at, reason, *, events=()):
        done = await super().revoke_key(key_id, at, reason)
        self._note(events)
        return done

    async def set_owner_active(self, owner_id, *, active, events=()):
        done = await super().set_owner_active(owner_id, active=active)
        self._note(events)
        return done


class NotesNoRenaming(MemoryStore):
    async def rename_key(self, key_id, name, *, events=()):
        await super().rename_key(key_id, name)


class NotesNoPassword(MemoryStore):
    async def set_password(self, owner_id, password, *, events=()):
        await super().set_password(owner_id, password)


class NotesTheFirstOnly(MemoryStore):
    def _note(self, events):
        super()._note(events[:1])


class NotesFirst(MemoryStore):
    async def add_key(self, record, *, events=()):
        self._note(events)
        await super().add_key(record)

    async def add_owner(self, owner, *, created_at, password=None, events=()):
        self._note(events)
        await super().add_owner(owner, created_at=created_at, password=password)


class NotesARotationByHalves(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        self._note(events[:1])
        return await super().rotate_key(old, new, until=until, events=events[1:])


class TakesAnyActor(MemoryStore):
    async def revoke_key(self, key_id, at, reason, *, events=()):
        done = await super().revoke_key(key_id, at, reason)
        self._note(events if done else ())
        return done


class ChangesBeforeItLooksAtTheActor(MemoryStore):
    async def rename_key(self, key_id, name, *, events=()):
        await super().rename_key(key_id, name)
        await super().rename_key(key_id, name, events=events)


class EncodesDetails(MemoryStore):
    def _note(self, events):
        for event in events:
            json.dumps(event.detail, ensure_ascii=False).encode()
        super()._note(events)


class LeavesOwnersOut(MemoryStore):
    def _note(self, events):
        keys, self._keys = self._keys, {}
        super()._note(events)
        self._keys = keys


class NotesOneOwnerForAll(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        events = [replace(event, owner_id=event.owner_id or old.owner_id) for event in events]
        return await super().rotate_key(old, new, until=until, events=events)


class OverwritesOwners(MemoryStore):
    def _note(self, events):
        super()._note([replace(event, owner_id=None) if event.key_id else event for event in events])


class ListsByTime(MemoryStore):
    async def list_events(self, **chosen):
        return sorted(await super().list_events(**chosen), key=lambda event: event.at, reverse=True)


class ListsTheOldestEventsFirst(MemoryStore):
    async def list_events(self, **chosen):
        return (await super().list_events(**chosen))[::-1]


class BeginsLater(MemoryStore):
    async def list_events(self, *, since=None, **chosen):
        return await super().list_events(since=since and since + TICK, **chosen)


class TakesNoKindsForAll(MemoryStore):
    async def list_events(self, *, kinds=None, **chosen):
        return await super().list_events(kinds=kinds or None, **chosen)


class ForgetsOwnersInFilters(MemoryStore):
    async def list_events(self, *, key_id=None, owner_id=None, **chosen):
        return await super().list_events(key_id=key_id, owner_id=None if key_id else owner_id, **chosen)


class PagesWithTheLast(MemoryStore):
    async def list_events(self, *, before=None, **chosen):
        return await super().list_events(before=before and before + 1, **chosen)


class CutsBeforeItFilters(MemoryStore):
    async def list_events(self, *, owner_id=None, **chosen):
        events = await super().list_events(**chosen)
        return [event for event in events if owner_id in {None, event.owner_id}]


class EncodesIdsOfEvents(MemoryStore):
    async def list_events(self, *, key_id=None, **chosen):
        return await super().list_events(key_id=key_id and key_id.encode().decode(), **chosen)


class ForgetsThePurged(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        done = await super().purge_keys(before, limit=limit, event=event)
        self._events = [each for each in self._events if each.key_id in {None, *self._keys}]
        return done


class LooksOwnersUpWhenItReads(MemoryStore):
    async def list_events(self, *, owner_id=None, **chosen):
        events = [
            replace(event, owner_id=self._keys[event.key_id].owner_id) if event.key_id in self._keys else event
            for event in await super().list_events(**chosen)
        ]
        return [event for event in events if owner_id in {None, event.owner_id}]


class NotesUpgrades(MemoryStore):
    async def upgrade(self, key_id, **digests):
        self._note([make_event(AuditKind.KEY_RENAMED, key_id)])
        return await super().upgrade(key_id, **digests)


class NotesWhoCameLater(MemoryStore):
    async def revoke_key(self, key_id, at, reason, *, events=()):
        is_needed = self._key(key_id).revoked_at is None
        await asyncio.sleep(0)
        done = await super().revoke_key(key_id, at, reason)
        self._note(events if is_needed else ())
        return done


class NotesLater(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        done = await super().rotate_key(old, new, until=until)
        await asyncio.sleep(0)
        self._note(events if done else ())
        return done


AUDIT = [
    (NotesNoDetail, "test_an_event_comes_back_whole"),
    (KeepsTheNumbersGiven, "test_an_event_comes_back_whole"),
    (KnowsFewKinds, "test_every_kind_is_stored"),
    (NotesWhatIsSoAlready, "test_a_change_of_a_key_is_written_once_it_is_made"),
    (NotesNoRenaming, "test_a_change_of_a_key_is_written_once_it_is_made"),
    (NotesTheFirstOnly, "test_a_change_of_a_key_is_written_once_it_is_made"),
    (NotesWhatIsSoAlready, "test_a_change_of_an_owner_is_written_once_it_is_made"),
    (NotesNoPassword, "test_a_change_of_an_owner_is_written_once_it_is_made"),
    (NotesFirst, "test_what_fails_writes_nothing"),
    (NotesARotationByHalves, "test_what_fails_writes_nothing"),
    (NotesFirst, "test_what_fails_for_an_owner_writes_nothing"),
    (TakesAnyActor, "test_an_event_that_cannot_be_stored_keeps_its_change_from_being_made"),
    (ChangesBeforeItLooksAtTheActor, "test_an_event_that_cannot_be_stored_keeps_its_change_from_being_made"),
    (EncodesDetails, "test_an_event_that_cannot_be_stored_keeps_its_change_from_being_made"),
    (LeavesOwnersOut, "test_the_owner_of_an_events_key_is_filled_in"),
    (NotesOneOwnerForAll, "test_the_owner_of_an_events_key_is_filled_in"),
    (OverwritesOwners, "test_the_owner_of_an_events_key_is_filled_in"),
    (ListsByTime, "test_the_newest_events_come_first"),
    (ListsTheOldestEventsFirst, "test_the_newest_events_come_first"),
    (BeginsLater, "test_events_are_filtered"),
    (TakesNoKindsForAll, "test_events_are_filtered"),
    (ForgetsOwnersInFilters, "test_events_are_filtered"),
    (PagesWithTheLast, "test_pages_of_events_make_up_the_log"),
    (CutsBeforeItFilters, "test_pages_of_events_make_up_the_log"),
    (EncodesIdsOfEvents, "test_a_text_that_cannot_be_stored_is_in_no_event"),
    (ForgetsThePurged, "test_events_stay_when_their_key_is_gone"),
    (LooksOwnersUpWhenItReads, "test_events_stay_when_their_key_is_gone"),
    (NotesUpgrades, "test_what_is_not_audited_writes_no_event"),
    (NotesWhoCameLater, "test_one_of_several_changes_writes_its_events"),
    (NotesLater, "test_events_of_a_rotation_and_a_revocation_at_once_tell_what_happened"),
]


# --- credentials ------------------------------------------------------------------------------------------------


class ReadsMetadata(MemoryStore):
    async def put_credential(self, credential, *, events=()):
        text = json.dumps(credential.metadata)
        await super().put_credential(replace(credential, metadata_json=text), events=events)


class MakesItAnew(MemoryStore):
    async def put_credential(self, credential, *, events=()):
        self._credentials.pop((credential.owner_id, credential.name), None)
        await super().put_credential(credential, events=events)


class KeepsTheOldMetadata(MemoryStore):
    async def put_credential(self, credential, *, events=()):
        there = self._credentials.get((credential.owner_id, credential.name), credential)
        await super().put_credential(replace(credential, metadata_json=there.metadata_json), events=events)


class FoldsCredentials(MemoryStore):
    async def get_credential(self, owner_id, name):
        for credential in await self.list_credentials(owner_id):
            if credential.name.lower() == name.lower():
                return credential
        return None


class RemovesByNameAlone(MemoryStore):
    async def remove_credential(self, owner_id, name, *, events=()):
        for place in [place for place in self._credentials if place[1] == name]:
            owner_id, name = place
        return await super().remove_credential(owner_id, name, events=events)


class ListsAsTheyCame(MemoryStore):
    async def list_credentials(self, owner_id=None):
        return [each for each in self._credentials.values() if owner_id in {None, each.owner_id}]


class ListsByNameAlone(MemoryStore):
    async def list_credentials(self, owner_id=None):
        return sorted(await super().list_credentials(owner_id), key=lambda credential: credential.name)


class TakesAnyCredential(MemoryStore):
    async def put_credential(self, credential, *, events=()):
        self._credentials[credential.owner_id, credential.name] = credential
        self._note(events)


class RemovesNothing(MemoryStore):
    async def remove_credential(self, owner_id, name, *, events=()):
        return (owner_id, name) in self._credentials


class NotesWhatWasNotRemoved(MemoryStore):
    async def remove_credential(self, owner_id, name, *, events=()):
        self._note(events)
        return await super().remove_credential(owner_id, name)


class NotesWhatWasNotResealed(MemoryStore):
    async def reseal_credentials(self, resealed, *, events=()):
        self._note(events)
        return await super().reseal_credentials(resealed)


class RemembersSeals(MemoryStore):
    async def sealed_with(self):
        self._seals = (await super().sealed_with()) | getattr(self, "_seals", frozenset())
        return self._seals


class GivesAllToReseal(MemoryStore):
    async def credentials_to_reseal(self, sealed_with, *, limit):
        return await super().credentials_to_reseal(sealed_with, limit=1_000)


class TakesAllOfTheSecond(MemoryStore):
    async def reseal_credentials(self, resealed, *, events=()):
        for _, new in resealed:
            self._credentials[new.owner_id, new.name] = new
        return len(resealed)


class ResealsWhatHasChanged(MemoryStore):
    async def reseal_credentials(self, resealed, *, events=()):
        now = [(self._credentials.get((old.owner_id, old.name), old), new) for old, new in resealed]
        return await super().reseal_credentials(now, events=events)


class WantsAllAsItWas(MemoryStore):
    async def reseal_credentials(self, resealed, *, events=()):
        same = [pair for pair in resealed if self._credentials.get((pair[0].owner_id, pair[0].name)) == pair[0]]
        return await super().reseal_credentials(same, events=events)


class LooksBeforeItReseals(MemoryStore):
    async def reseal_credentials(self, resealed, *, events=()):
        before = dict(self._credentials)
        await asyncio.sleep(0)
        self._credentials = before
        return await super().reseal_credentials(resealed, events=events)


class LooksBeforeItPuts(MemoryStore):
    async def put_credential(self, credential, *, events=()):
        place = (credential.owner_id, credential.name)
        is_new = place not in self._credentials
        await asyncio.sleep(0)
        if is_new and place in self._credentials:
            raise Conflict("somebody was faster")
        await super().put_credential(credential, events=events)


class LooksBeforeItRemoves(MemoryStore):
    async def remove_credential(self, owner_id, name, *, events=()):
        is_there = (owner_id, name) in self._credentials
        await asyncio.sleep(0)
        return await super().remove_credential(owner_id, name, events=events) or is_there


CREDENTIALS = [
    (ReadsMetadata, "test_a_credential_comes_back_whole"),
    (MakesItAnew, "test_a_credential_takes_the_place_of_another"),
    (KeepsTheOldMetadata, "test_a_credential_takes_the_place_of_another"),
    (FoldsCredentials, "test_only_the_exact_owner_and_name_get_a_credential"),
    (RemovesByNameAlone, "test_only_the_exact_owner_and_name_get_a_credential"),
    (ListsAsTheyCame, "test_credentials_are_listed_by_owner_and_name"),
    (ListsByNameAlone, "test_credentials_are_listed_by_owner_and_name"),
    (TakesAnyCredential, "test_a_credential_needs_an_owner"),
    (TakesAnyCredential, "test_a_credential_that_cannot_be_stored_is_refused"),
    (TakesAllOfTheSecond, "test_a_credential_that_cannot_be_stored_is_refused"),
    (RemovesNothing, "test_a_removed_credential_is_gone"),
    (NotesWhatWasNotRemoved, "test_changes_of_credentials_are_written_once_they_are_made"),
    (NotesWhatWasNotResealed, "test_changes_of_credentials_are_written_once_they_are_made"),
    (RemembersSeals, "test_a_store_knows_what_its_credentials_are_sealed_with"),
    (GivesAllToReseal, "test_credentials_are_resealed_in_batches"),
    (TakesAllOfTheSecond, "test_credentials_are_resealed_in_batches"),
    (ResealsWhatHasChanged, "test_what_has_changed_is_not_resealed"),
    (WantsAllAsItWas, "test_what_has_changed_is_not_resealed"),
    (LooksBeforeItReseals, "test_a_credential_put_at_the_same_time_is_not_lost"),
    (LooksBeforeItPuts, "test_several_put_the_first_of_a_name_at_once"),
    (LooksBeforeItRemoves, "test_one_of_several_removals_did_it"),
]


# --- imports ----------------------------------------------------------------------------------------------------


class ForgetsTheUses(MemoryStore):
    async def add_all(self, *, uses=None, **rest):
        await super().add_all(**rest)


class NotesNoImport(MemoryStore):
    async def add_all(self, *, events=(), **rest):
        await super().add_all(**rest)


class CountsFromNothing(MemoryStore):
    async def add_all(self, *, uses=None, **rest):
        await super().add_all(uses=uses, **rest)
        self._imported = uses or {}

    async def record_uses(self, uses, *, worker, sequence):
        for key_id in self._imported:
            self._uses.pop(key_id, None)
        await super().record_uses(uses, worker=worker, sequence=sequence)


class ForgetsThePasswords(MemoryStore):
    async def add_all(self, *, owners=(), **rest):
        await super().add_all(owners=[replace(new, password=None) for new in owners], **rest)


class RefusesOwnersTooLate(MemoryStore):
    async def add_all(self, *, owners=(), keys=(), **rest):
        for key in keys:
            self._keys[key.id] = key
        if owners:
            raise NotSupported("the owners live elsewhere")


class AddsOneByOne(MemoryStore):
    async def add_all(self, *, owners=(), keys=(), credentials=(), uses=None, events=()):
        for new in owners:
            await self.add_owner(new.owner, created_at=new.created_at, password=new.password)
        for key in keys:
            await asyncio.sleep(0)
            await self.add_key(key)
        for credential in credentials:
            self._add_credential(credential)
        await super().add_all(uses=uses, events=events)


class AddsKeysApart(MemoryStore):
    async def add_all(self, *, keys=(), **rest):
        await super().add_all(keys=keys)
        await super().add_all(**rest)


class CountsBeforeItAdds(MemoryStore):
    async def add_all(self, *, uses=None, **rest):
        self._add_up(uses or {})
        await super().add_all(**rest)


class PutsCredentials(MemoryStore):
    async def add_all(self, *, credentials=(), **rest):
        await super().add_all(**rest)
        for credential in credentials:
            await self.put_credential(credential)


class TakesAThousand(MemoryStore):
    async def add_all(self, *, keys=(), **rest):
        await super().add_all(keys=keys[:1_000], **rest)


class NotesEveryImport(MemoryStore):
    async def add_all(self, *, events=(), **rest):
        await super().add_all(events=[*events, make_event(AuditKind.KEY_IMPORTED)], **rest)


IMPORTS = [
    (ForgetsTheUses, "test_keys_and_credentials_are_taken_over"),
    (NotesNoImport, "test_keys_and_credentials_are_taken_over"),
    (CountsFromNothing, "test_uses_that_were_taken_over_are_added_to"),
    (ForgetsThePasswords, "test_owners_are_taken_over_or_not_supported"),
    (RefusesOwnersTooLate, "test_owners_are_taken_over_or_not_supported"),
    (AddsOneByOne, "test_owners_that_conflict_let_nothing_in"),
    (AddsOneByOne, "test_one_that_cannot_be_taken_over_keeps_out_all"),
    (AddsKeysApart, "test_one_that_cannot_be_taken_over_keeps_out_all"),
    (CountsBeforeItAdds, "test_one_that_cannot_be_taken_over_keeps_out_all"),
    (PutsCredentials, "test_one_that_cannot_be_taken_over_keeps_out_all"),
    (AddsOneByOne, "test_one_of_several_imports_at_once_is_made"),
    (TakesAThousand, "test_thousands_are_taken_over_at_once"),
    (NotesEveryImport, "test_nothing_is_taken_over_from_nothing"),
]

ALL = {AuditContract: AUDIT, CredentialContract: CREDENTIALS, ImportContract: IMPORTS}


@pytest.mark.parametrize(
    ("suite", "broken", "test"),
    [(suite, *row) for suite, rows in ALL.items() for row in rows],
)
async def test_a_broken_promise_is_noticed(suite, broken, test):
    """A store that breaks a promise fails the test of that promise."""
    with pytest.raises((AssertionError, UnicodeEncodeError, KeyguardError)):
        await getattr(suite_over(suite, broken), test)()


class CountsNothing(MemoryStore):
    record_uses = get_uses = None


@pytest.mark.parametrize(
    ("suite", "test"),
    [
        (ImportContract, "test_keys_and_credentials_are_taken_over"),
        (ImportContract, "test_uses_that_were_taken_over_are_added_to"),
        (ImportContract, "test_one_that_cannot_be_taken_over_keeps_out_all"),
        (KeyRegistryContract, "test_the_uses_of_a_purged_key_are_gone"),
    ],
)
async def test_a_store_that_counts_nothing_is_asked_for_no_uses(suite, test):
    """A store without `UsageStore` keeps the promises that speak of uses by having none."""
    assert not isinstance(CountsNothing(), UsageStore)
    await getattr(suite_over(suite, CountsNothing), test)()


@pytest.mark.parametrize("suite", ALL)
def test_every_test_is_seen_to_fail(suite):
    """Each test of these suites has a store above that fails it."""
    own = {name for name in dir(suite) if name.startswith("test_")} - set(dir(KeyStoreContract))
    assert own == {test for _, test in ALL[suite]}


@pytest.mark.parametrize("suite", ALL)
async def test_a_suite_asks_for_its_store(suite):
    """A subclass that makes no store fails at once and says why."""
    with pytest.raises(NotImplementedError, match="the subclass makes the store"):
        await suite().test_finding_changes_nothing()
