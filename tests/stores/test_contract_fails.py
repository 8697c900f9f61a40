"""The suites of `keyguard.testing` notice a store that breaks its promises."""

import asyncio
import itertools
import json
import re
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from filling import suite_over

from keyguard.errors import Conflict, KeyguardError, StoreUnavailable
from keyguard.model import Found, Owner, OwnerPage
from keyguard.ports import CredentialStore, SessionStore, UsageStore
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
from keyguard.testing._expected import ExpectationContract
from keyguard.testing._search import SearchContract

TICK = timedelta(microseconds=1)


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
    async def rename_key(self, key_id, name, *, events=()):
        self._keys[key_id] = replace(self._key(key_id), name=name)

    async def add_owner(self, owner, *, created_at, password=None, events=()):
        self._owners[owner.id] = owner


class ForgetsItsKeyring(MemoryStore):
    def __init__(self, *, keyring):
        super().__init__()


class FindsByPart(MemoryStore):
    async def find(self, lookups):
        whole = [key.lookup for key in self._keys.values() if any(map(key.lookup.startswith, lookups))]
        return await super().find(whole)


class FindsByVerifier(MemoryStore):
    async def find(self, lookups):
        return await super().find(
            [key.lookup for key in self._keys.values() if {key.verifier, key.lookup} & {*lookups}]
        )


class GivesAllScopesForNone(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        return found and replace(found, key=replace(found.key, scopes=found.key.scopes or frozenset({"*"})))


class HidesTheExpired(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        return None if found is None or found.key.expires_at else found


class ForgetsWhatItHasFound(MemoryStore):
    async def find(self, lookups):
        found = await super().find(lookups)
        if found is not None:
            del self._keys[found.key.id]
        return found


class ClosesOnce(MemoryStore):
    async def close(self):
        if not self.is_open:
            raise StoreUnavailable("it is closed already")
        await super().close()


class ForgetsKeysAtTheEnd(MemoryStore):
    async def close(self):
        await super().close()
        self._keys.clear()


class LooksBeforeItAdds(MemoryStore):
    async def add_key(self, record, *, events=()):
        if record.lookup in self._by_lookup:
            raise Conflict("that lookup is taken")
        await asyncio.sleep(0)
        self._by_lookup.pop(record.lookup, None)
        await super().add_key(record, events=events)


class GetsByPart(MemoryStore):
    async def get_key(self, key_id):
        return next((key for key in self._keys.values() if key.id.lower().startswith(key_id.lower())), None)


class RenamesAll(MemoryStore):
    async def rename_key(self, key_id, name, *, events=()):
        self._keys = {key.id: replace(key, name=name) for key in self._keys.values()}


class WritesBackWhatItRead(MemoryStore):
    async def rename_key(self, key_id, name, *, events=()):
        record = self._key(key_id)
        await asyncio.sleep(0)
        self._keys[key_id] = replace(record, name=name)


class ChangesNothingInSilence(MemoryStore):
    async def revoke_key(self, key_id, at, reason, *, events=()):
        return key_id in self._keys and await super().revoke_key(key_id, at, reason, events=events)


class TakesOthersLookups(MemoryStore):
    async def upgrade(self, key_id, *, verifier, new_lookup, new_verifier):
        self._by_lookup.pop(new_lookup, None)
        return await super().upgrade(key_id, verifier=verifier, new_lookup=new_lookup, new_verifier=new_verifier)


class ListsOwnersAsTheyCame(MemoryStore):
    async def list_owners(self):
        return [*self._owners.values()]


class ForgetsPasswords(MemoryStore):
    async def add_owner(self, owner, *, created_at, password=None, events=()):
        await super().add_owner(owner, created_at=created_at, events=events)


class TakesAnOwnersPlace(MemoryStore):
    async def add_owner(self, owner, *, created_at, password=None, events=()):
        self._owners.pop(owner.id, None)
        await super().add_owner(owner, created_at=created_at, password=password, events=events)


class SetsEverybodysPassword(MemoryStore):
    async def set_password(self, owner_id, password, *, events=()):
        self._passwords = dict.fromkeys(self._passwords, password)


class RecordsAThousand(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        await super().record_uses(dict(list(uses.items())[:1_000]), worker=worker, sequence=sequence)


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
    async def revoke_key(self, key_id, at, reason, *, events=()):
        self._keys[key_id] = replace(self._key(key_id), revoked_at=at, revoked_reason=reason)
        return True


class ForgetsTheLineage(MemoryStore):
    async def add_key(self, record, *, events=()):
        await super().add_key(replace(record, rotated_from=None), events=events)


class ReadsMetadata(MemoryStore):
    async def add_key(self, record, *, events=()):
        await super().add_key(replace(record, metadata_json=json.dumps(record.metadata)), events=events)


class DisablesAgain(MemoryStore):
    async def set_key_disabled(self, key_id, at, *, events=()):
        await super().set_key_disabled(key_id, None)
        await super().set_key_disabled(key_id, at, events=events)
        return True


class LooksBeforeItDisables(MemoryStore):
    async def set_key_disabled(self, key_id, at, *, events=()):
        is_needed = (at is None) != (self._key(key_id).disabled_at is None)
        await asyncio.sleep(0)
        self._keys[key_id] = replace(self._keys[key_id], disabled_at=at)
        return is_needed


# --- lists ---


class ListsTheOldestFirst(MemoryStore):
    async def list_keys(self, owner_id=None, **chosen):
        return (await super().list_keys(owner_id, **chosen))[::-1]


class ListsABitLate(MemoryStore):
    async def list_keys(self, owner_id=None, *, at=None, **chosen):
        return await super().list_keys(owner_id, at=at and at - TICK, **chosen)


class FoldsBeginnings(MemoryStore):
    async def list_keys(self, owner_id=None, *, begins="", **chosen):
        return [
            key
            for key in await super().list_keys(owner_id, **chosen)
            if f"{key.prefix}{key.id}".lower().startswith(begins.lower())
        ]


class TakesWildcards(MemoryStore):
    async def list_keys(self, owner_id=None, *, begins="", **chosen):
        like = re.compile("".join({"_": ".", "%": ".*"}.get(each, re.escape(each)) for each in begins))
        return [key for key in await super().list_keys(owner_id, **chosen) if like.match(f"{key.prefix}{key.id}")]


class EncodesBeginnings(MemoryStore):
    async def list_keys(self, owner_id=None, *, begins="", **chosen):
        return await super().list_keys(owner_id, begins=begins.encode().decode(), **chosen)


class PagesByTime(MemoryStore):
    async def list_keys(self, owner_id=None, *, after=None, limit=None, **chosen):
        keys = await super().list_keys(owner_id, **chosen)
        return [key for key in keys if after is None or key.created_at < after.created_at][:limit]


class CutsBeforeItChooses(MemoryStore):
    async def list_keys(self, owner_id=None, *, state=None, at=None, **chosen):
        keys = await super().list_keys(owner_id, **chosen)
        return [key for key in keys if state is None or key.state(at) is state]


class PagesFromWhatIsThere(MemoryStore):
    async def list_keys(self, owner_id=None, *, after=None, **chosen):
        if after is not None and after.id not in self._keys:
            return []
        return await super().list_keys(owner_id, after=after, **chosen)


# --- rotations ---


class RotatesAgain(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        record = self._key(old.id)
        self._keys[old.id] = replace(record, revoked_at=None, rotated_at=None, expires_at=old.expires_at)
        return await super().rotate_key(old, new, until=until, events=events)


class RotatesTheRotated(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        self._keys[old.id] = replace(self._key(old.id), rotated_at=None)
        return await super().rotate_key(old, new, until=until, events=events)


class RotatesWhateverItIs(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        return await super().rotate_key(self._key(old.id), new, until=until, events=events)


class RotatesOnlyTheSame(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        return self._key(old.id) == old and await super().rotate_key(old, new, until=until, events=events)


class RotatesByHalves(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        if until is None and self._key(old.id).revoked_at is None:
            await self.revoke_key(old.id, new.created_at, "rotated")
            await self.add_key(new)
            return True
        return await super().rotate_key(old, new, until=until, events=events)


class RevokesLater(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        before = self._key(old.id)
        await asyncio.sleep(0)
        self._keys[old.id] = before
        return await super().rotate_key(old, new, until=until, events=events)


class KeepsTheRotated(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        await self.add_key(new)
        return True


class ForgetsThatItRotated(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        done = await super().rotate_key(old, new, until=until, events=events)
        self._keys[old.id] = replace(self._key(old.id), rotated_at=None)
        return done


# --- purges ---


class PurgesTheDisabled(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        for key in self._keys.values():
            if key.disabled_at is not None:
                self._keys[key.id] = replace(key, revoked_at=key.disabled_at)
        return await super().purge_keys(before, limit=limit, event=event)


class PurgesABitMore(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        return await super().purge_keys(before + TICK, limit=limit, event=event)


class PurgesTheRevokedOnly(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        expired = {key.id: key for key in self._keys.values() if key.revoked_at is None}
        for key_id in expired:
            del self._keys[key_id]
        done = await super().purge_keys(before, limit=limit, event=event)
        self._keys.update(expired)
        return done


class PurgesAtOnce(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        return await super().purge_keys(before, limit=1_000, event=event)


class PurgesInAnyOrder(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        self._keys = {key.id: replace(key, created_at=NOON) for key in self._keys.values()}
        return await super().purge_keys(before, limit=limit, event=event)


class PurgesInNobodysName(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        noted = list(self._events)
        done = await super().purge_keys(before, limit=limit, event=event)
        self._events = noted
        self._note([event] * done)
        return done


class KeepsTheUses(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        uses = dict(self._uses)
        done = await super().purge_keys(before, limit=limit, event=event)
        self._uses = uses
        return done


class KeepsLateUses(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        uses = {key_id: uses for key_id, uses in self._uses.items() if key_id not in self._keys}
        done = await super().purge_keys(before, limit=limit, event=event)
        self._uses |= uses
        return done


class KeepsTheLookups(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        lookups = dict(self._by_lookup)
        done = await super().purge_keys(before, limit=limit, event=event)
        self._by_lookup = lookups
        return done


class CountsBeforeItPurges(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        ended = [key for key in self._keys.values() if key.revoked_at is not None and key.revoked_at < before]
        await asyncio.sleep(0)
        await super().purge_keys(before, limit=limit, event=event)
        return min(limit, len(ended))


# --- owners ---


class ChangesAlways(MemoryStore):
    async def set_owner_active(self, owner_id, *, active, events=()):
        await super().set_owner_active(owner_id, active=active, events=events)
        return True

    async def set_owner_superuser(self, owner_id, *, superuser, events=()):
        await super().set_owner_superuser(owner_id, superuser=superuser, events=events)
        return True


class PagesOwnersAsTheyCame(MemoryStore):
    async def page_owners(self, *, offset=0, limit):
        owners = [*self._owners.values()]
        return OwnerPage(owners=tuple(owners[offset : offset + limit]), total=len(owners))


class CountsThePage(MemoryStore):
    async def page_owners(self, *, offset=0, limit):
        page = await super().page_owners(offset=offset, limit=limit)
        return replace(page, total=len(page.owners))


class RenamesNobody(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        return name != self._owner(owner_id).name


class RenamesAgain(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        await super().rename_owner(owner_id, name, event=event)
        return True


class ForgetsTheOldName(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        return self._change_owner(replace(self._owner(owner_id), name=name), [event])


class GivesAnothersName(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        taken = {other.id: other for other in self._owners.values() if other.name == name}
        for other in taken:
            del self._owners[other]
        done = await super().rename_owner(owner_id, name, event=event)
        self._owners.update(taken)
        return done


class LooksBeforeItRenames(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        old_name = self._owner(owner_id).name
        await asyncio.sleep(0)
        done = await super().rename_owner(owner_id, name, event=event)
        self._events[-1].detail["old_name"] = old_name
        return done


class KeepsTheKeysOfNobody(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        keys, lookups = dict(self._keys), dict(self._by_lookup)
        done = await super().remove_owner(owner_id, event=event)
        self._keys, self._by_lookup = keys, lookups
        return done


class RemovesEverybodysKeys(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        done = await super().remove_owner(owner_id, event=event)
        self._keys.clear()
        return done


class CountsTheGoodKeys(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        good = [key for key in self._keys.values() if key.owner_id == owner_id and key.revoked_at is None]
        await super().remove_owner(owner_id, event=event)
        return len(good)


class KeepsTheCredentials(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        credentials = dict(self._credentials)
        done = await super().remove_owner(owner_id, event=event)
        self._credentials = credentials
        return done


class KeepsTheSessions(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        sessions = dict(self._sessions)
        done = await super().remove_owner(owner_id, event=event)
        self._sessions = sessions
        return done


class KeepsTheUsesOfNobody(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        uses = dict(self._uses)
        done = await super().remove_owner(owner_id, event=event)
        self._uses = uses
        return done


class CountsTheUsesOfKeysAlone(MemoryStore):
    async def record_uses(self, uses, *, worker, sequence):
        for key_id in uses:
            self._key(key_id)
        await super().record_uses(uses, worker=worker, sequence=sequence)


class CountsBeforeItRemoves(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        keys = await self.list_keys(owner_id)
        self._owner(owner_id)
        await asyncio.sleep(0)
        if owner_id in self._owners:
            await super().remove_owner(owner_id, event=event)
        return len(keys)


class RemovesNobody(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        return await super().remove_owner(owner_id, event=event) if owner_id in self._owners else 0


class UpgradesAnyPassword(MemoryStore):
    async def upgrade_password(self, owner_id, *, password, new_password):
        return await super().upgrade_password(
            owner_id, password=self._passwords[owner_id] or password, new_password=new_password
        )


class LooksBeforeItUpgrades(MemoryStore):
    async def upgrade_password(self, owner_id, *, password, new_password):
        is_the_one = self._passwords[owner_id] == password
        await asyncio.sleep(0)
        if is_the_one:
            self._passwords[owner_id] = new_password
        return is_the_one


class UpgradesNobodysPassword(MemoryStore):
    async def upgrade_password(self, owner_id, *, password, new_password):
        return owner_id in self._owners and await super().upgrade_password(
            owner_id, password=password, new_password=new_password
        )


# --- uses ---


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
    async def add_key(self, record, *, events=()):
        self._keys[record.id] = record


class DropsMicroseconds(MemoryStore):
    async def add_key(self, record, *, events=()):
        await super().add_key(replace(record, created_at=record.created_at.replace(microsecond=0)))


# --- tokens ---


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


class MovesWithSessions(MemoryStore):
    async def add_session(self, session, **rest):
        await super().add_session(session, **rest)
        self._changes += 1


class RenamesUnseen(MemoryStore):
    async def rename_owner(self, owner_id, name, *, event):
        before_it = self._changes
        done = await super().rename_owner(owner_id, name, event=event)
        self._changes = before_it
        return done


class RemovesUnseen(MemoryStore):
    async def remove_owner(self, owner_id, *, event):
        before_it = self._changes
        done = await super().remove_owner(owner_id, event=event)
        self._changes = before_it
        return done


class PurgesUnseen(MemoryStore):
    async def purge_keys(self, before, *, limit, event):
        before_it = self._changes
        done = await super().purge_keys(before, limit=limit, event=event)
        self._changes = before_it
        return done


BROKEN = [
    (ForgetsItsKeyring, KeyStoreContract, "test_a_store_keeps_the_keyring_that_it_was_given"),
    (FindsByPart, KeyStoreContract, "test_only_the_whole_lookup_finds_a_key"),
    (FindsByVerifier, KeyStoreContract, "test_the_verifier_does_not_find_a_key"),
    (GivesAllScopesForNone, KeyStoreContract, "test_no_scopes_are_not_all_scopes"),
    (HidesTheExpired, KeyStoreContract, "test_keys_outside_their_window_are_found"),
    (ForgetsWhatItHasFound, KeyStoreContract, "test_finding_changes_nothing"),
    (ClosesOnce, KeyStoreContract, "test_closing_again_does_nothing"),
    (ForgetsKeysAtTheEnd, KeyStoreContract, "test_a_closed_store_opens_again"),
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
    (LooksBeforeItAdds, KeyRegistryContract, "test_one_of_several_equal_keys_is_added"),
    (GetsByPart, KeyRegistryContract, "test_keys_are_got_by_id"),
    (RenamesAll, KeyRegistryContract, "test_renaming_changes_the_name_alone"),
    (WritesBackWhatItRead, KeyRegistryContract, "test_changes_at_once_lose_nothing"),
    (ChangesNothingInSilence, KeyRegistryContract, "test_what_is_not_there_is_not_changed"),
    (TakesOthersLookups, KeyRegistryContract, "test_an_upgrade_takes_no_other_keys_lookup"),
    (ListsOwnersAsTheyCame, KeyRegistryContract, "test_owners_are_read"),
    (PagesOwnersAsTheyCame, KeyRegistryContract, "test_pages_of_owners_make_up_their_list"),
    (CountsThePage, KeyRegistryContract, "test_pages_of_owners_make_up_their_list"),
    (ForgetsPasswords, OwnerRegistryContract, "test_an_added_owner_is_there"),
    (TakesAnOwnersPlace, OwnerRegistryContract, "test_owner_ids_and_names_are_unique"),
    (SetsEverybodysPassword, OwnerRegistryContract, "test_passwords_are_replaced"),
    (RecordsAThousand, UsageContract, "test_many_are_recorded_and_read_at_once"),
    (ForgetsTheLineage, KeyRegistryContract, "test_an_added_key_is_found"),
    (ReadsMetadata, KeyRegistryContract, "test_metadata_come_back_as_they_were_given"),
    (DisablesAgain, KeyRegistryContract, "test_a_key_is_disabled_and_enabled"),
    (LooksBeforeItDisables, KeyRegistryContract, "test_one_of_several_disablings_wins"),
    (RevokesAgain, KeyRegistryContract, "test_the_first_revocation_stays"),
    (RevokesAgain, KeyRegistryContract, "test_one_of_several_revocations_wins"),
    (ListsTheOldestFirst, KeyRegistryContract, "test_keys_are_listed_newest_first"),
    (ListsABitLate, KeyRegistryContract, "test_keys_are_listed_by_their_state"),
    (FoldsBeginnings, KeyRegistryContract, "test_keys_are_listed_by_what_they_begin_with"),
    (TakesWildcards, KeyRegistryContract, "test_keys_are_listed_by_what_they_begin_with"),
    (EncodesBeginnings, KeyRegistryContract, "test_a_text_that_cannot_be_stored_begins_no_key"),
    (PagesByTime, KeyRegistryContract, "test_pages_make_up_the_list"),
    (CutsBeforeItChooses, KeyRegistryContract, "test_filters_work_together"),
    (PagesFromWhatIsThere, KeyRegistryContract, "test_pages_outlast_changes_between_them"),
    (KeepsTheRotated, KeyRegistryContract, "test_a_rotation_adds_one_key_and_ends_another"),
    (ForgetsThatItRotated, KeyRegistryContract, "test_a_rotation_adds_one_key_and_ends_another"),
    (ForgetsThatItRotated, KeyRegistryContract, "test_a_key_in_its_grace_is_told_from_others"),
    (RotatesTheRotated, KeyRegistryContract, "test_a_key_is_rotated_once"),
    (RotatesAgain, KeyRegistryContract, "test_a_key_that_is_another_by_now_is_not_rotated"),
    (RotatesWhateverItIs, KeyRegistryContract, "test_a_key_that_is_another_by_now_is_not_rotated"),
    (
        RotatesOnlyTheSame,
        KeyRegistryContract,
        "test_digests_that_are_others_by_now_keep_no_key_from_being_rotated",
    ),
    (RotatesByHalves, KeyRegistryContract, "test_a_rotation_is_done_wholly_or_not_at_all"),
    (RotatesAgain, KeyRegistryContract, "test_one_of_several_rotations_wins"),
    (RotatesTheRotated, KeyRegistryContract, "test_one_of_several_rotations_wins"),
    (RevokesLater, KeyRegistryContract, "test_a_rotation_and_a_revocation_at_once"),
    (PurgesTheDisabled, KeyRegistryContract, "test_only_keys_that_had_ended_are_purged"),
    (PurgesABitMore, KeyRegistryContract, "test_only_keys_that_had_ended_are_purged"),
    (PurgesTheRevokedOnly, KeyRegistryContract, "test_only_keys_that_had_ended_are_purged"),
    (PurgesAtOnce, KeyRegistryContract, "test_the_oldest_keys_are_purged_first"),
    (PurgesInAnyOrder, KeyRegistryContract, "test_the_oldest_keys_are_purged_first"),
    (PurgesInNobodysName, KeyRegistryContract, "test_each_purged_key_has_its_event"),
    (KeepsTheUses, KeyRegistryContract, "test_the_uses_of_a_purged_key_are_gone"),
    (KeepsLateUses, KeyRegistryContract, "test_uses_that_come_late_go_with_the_next_purge"),
    (KeepsTheLookups, KeyRegistryContract, "test_a_purged_keys_id_and_lookup_are_free"),
    (CountsBeforeItPurges, KeyRegistryContract, "test_purges_at_once_count_each_key_once"),
    (ChangesAlways, OwnerRegistryContract, "test_an_owner_is_deactivated_with_all_keys"),
    (ChangesAlways, OwnerRegistryContract, "test_superuser_rights_are_given_and_taken"),
    (ChangesAlways, OwnerRegistryContract, "test_one_of_several_changes_of_an_owner_wins"),
    (RenamesNobody, OwnerRegistryContract, "test_an_owner_is_renamed"),
    (RenamesAgain, OwnerRegistryContract, "test_an_owner_is_renamed"),
    (ForgetsTheOldName, OwnerRegistryContract, "test_an_owner_is_renamed"),
    (GivesAnothersName, OwnerRegistryContract, "test_no_two_owners_have_one_name"),
    (LooksBeforeItRenames, OwnerRegistryContract, "test_no_two_owners_have_one_name"),
    (KeepsTheKeysOfNobody, OwnerRegistryContract, "test_a_removed_owner_is_gone_with_all_keys"),
    (RemovesEverybodysKeys, OwnerRegistryContract, "test_a_removed_owner_is_gone_with_all_keys"),
    (CountsTheGoodKeys, OwnerRegistryContract, "test_a_removed_owner_is_gone_with_all_keys"),
    (KeepsTheCredentials, OwnerRegistryContract, "test_what_a_removed_owner_had_is_free"),
    (KeepsTheSessions, OwnerRegistryContract, "test_what_a_removed_owner_had_is_free"),
    (KeepsTheUsesOfNobody, OwnerRegistryContract, "test_what_a_removed_owner_had_is_free"),
    (CountsTheUsesOfKeysAlone, OwnerRegistryContract, "test_uses_that_come_late_do_no_harm"),
    (CountsBeforeItRemoves, OwnerRegistryContract, "test_one_of_several_removals_did_it"),
    (RemovesNobody, OwnerRegistryContract, "test_an_owner_who_is_not_there_is_not_changed"),
    (UpgradesAnyPassword, OwnerRegistryContract, "test_a_password_is_upgraded_if_it_is_the_one"),
    (LooksBeforeItUpgrades, OwnerRegistryContract, "test_an_upgrade_overwrites_no_new_password"),
    (UpgradesNobodysPassword, OwnerRegistryContract, "test_an_owner_who_is_not_there_is_not_changed"),
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
    (MemoryStore, AppOwnersContract, "test_no_sessions_of_the_apps_owners_are_kept"),
    (NeverVouches, FreshnessContract, "test_reading_moves_nothing"),
    (NeverMoves, FreshnessContract, "test_the_token_moves_with_a_keys_state"),
    (NeverMoves, FreshnessContract, "test_the_token_moves_with_an_owners_state"),
    (MovesAlways, FreshnessContract, "test_reading_moves_nothing"),
    (MovesAlways, FreshnessContract, "test_the_token_stays_with_other_changes"),
    (MovesWithSessions, FreshnessContract, "test_the_token_stays_with_other_changes"),
    (Waits, FreshnessContract, "test_a_token_is_there_without_waiting"),
    (BeginsAgain, FreshnessContract, "test_no_token_comes_back"),
    (SaysMaybe, FreshnessContract, "test_a_store_says_how_exact_it_is"),
    (RenamesUnseen, FreshnessContract, "test_the_token_moves_with_an_owners_state"),
    (RemovesUnseen, FreshnessContract, "test_the_token_moves_with_an_owners_state"),
    (PurgesUnseen, FreshnessContract, "test_the_token_moves_with_a_keys_state"),
]


@pytest.mark.parametrize(("broken", "suite", "test"), BROKEN)
async def test_a_broken_promise_is_noticed(broken, suite, test):
    """A store that breaks a promise fails the test of that promise; an honest one passes it."""
    with pytest.raises((AssertionError, UnicodeEncodeError, KeyguardError)):
        await getattr(suite_over(suite, broken), test)()
    if suite is not AppOwnersContract:
        await getattr(suite_over(suite, MemoryStore), test)()


@pytest.mark.parametrize("suite", [OwnerRegistryContract, AppOwnersContract, UsageContract, FreshnessContract])
def test_every_test_is_seen_to_fail(suite):
    """Each test of these suites has a store above that fails it, or beside the suite that it comes from."""
    elsewhere = {*dir(SearchContract), *dir(ExpectationContract)} - {*dir(KeyStoreContract)}
    ours = {name for name in dir(suite) if name.startswith("test_")} - elsewhere
    assert ours <= {test for _, _, test in BROKEN}


class KeepsOwnersAndKeysAlone(MemoryStore):
    record_uses = get_uses = add_session = put_credential = None


@pytest.mark.parametrize(
    "test",
    [
        "test_what_a_removed_owner_had_is_free",
        "test_uses_that_come_late_do_no_harm",
        "test_uses_that_come_late_go_with_the_next_purge",
    ],
)
async def test_a_store_of_owners_and_keys_alone_is_asked_for_nothing_else(test):
    """A store without uses, sessions and credentials keeps the promises that speak of them by having none."""
    store = KeepsOwnersAndKeysAlone()
    assert not any(isinstance(store, port) for port in (UsageStore, SessionStore, CredentialStore))
    await getattr(suite_over(OwnerRegistryContract, KeepsOwnersAndKeysAlone), test)()


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
