# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for sealed credentials."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Protocol

from keyguard.errors import ConfigurationError, NotFound
from keyguard.model import AuditEvent, AuditKind, Credential, KeyRecord, Owner
from keyguard.ports import CredentialStore, KeyRegistry
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._made_up import NOON, UNSTORABLE, make_credential, make_event

_LATER = NOON + timedelta(days=1, microseconds=1)


class _KeepingStore(KeyRegistry, CredentialStore, Protocol):
    """A store of keys that keeps credentials, too."""


class CredentialContract(KeyStoreContract):
    """What `keyguard.ports.CredentialStore` promises, of a store that is a `keyguard.ports.KeyRegistry` too."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> _KeepingStore:
        """Return a new store, not open, that holds `owners` and `keys`, and no credential."""
        raise NotImplementedError("the subclass makes the store")

    async def test_a_credential_comes_back_whole(self) -> None:
        """Every field of a credential comes back as it went in: times to the microsecond, any name, any metadata."""
        ada, _ = self.owners()
        credentials = [
            make_credential(ada.id, "Zoë's „key“ 🔑 100%", sealed="v1." + "x" * 20_000, updated_at=_LATER),
            make_credential(
                ada.id, "", sealed="", sealed_with="", metadata_json=r'{ "nul": "\u0000", "a": 1.50, "a": [] }'
            ),
        ]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for credential in credentials:
                await store.put_credential(credential)
            for credential in credentials:
                assert await store.get_credential(ada.id, credential.name) == credential
                assert credential in await store.list_credentials()

    async def test_a_credential_takes_the_place_of_another(self) -> None:
        """What is put under a name that there is replaces all but when it was first put there; no other changes."""
        ada, bob = self.owners()
        first = make_credential(ada.id, "OPENAI_API_KEY", metadata_json='{"a": 1}')
        others = [make_credential(bob.id, "OPENAI_API_KEY"), make_credential(ada.id, "openai_api_key")]
        second = replace(
            first,
            sealed="v1.new",
            sealed_with="check-2",
            created_at=_LATER,
            updated_at=_LATER,
            metadata_json='{"b": 2}',
        )
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for credential in (first, *others, second):
                await store.put_credential(credential)
            assert await store.get_credential(ada.id, first.name) == replace(second, created_at=NOON)
            assert [await store.get_credential(other.owner_id, other.name) for other in others] == others
            assert {one.name for one in await store.list_credentials(ada.id)} == {first.name, "openai_api_key"}
            assert await store.list_credentials(bob.id) == others[:1]

    async def test_only_the_exact_owner_and_name_get_a_credential(self) -> None:
        """Another letter case, a part, a wildcard, another owner: none of these gets it, or removes it."""
        ada, bob = self.owners()
        credential = make_credential(ada.id, "Key")
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.put_credential(credential)
            tries = [(ada.id, name) for name in ("key", "KEY", "Ke", "Key ", "%", "___", "", *UNSTORABLE, "Key\0")]
            tries += [(owner_id, "Key") for owner_id in (bob.id, "nobody", "", "%", *UNSTORABLE, f"{ada.id}\0")]
            for owner_id, name in tries:
                assert await store.get_credential(owner_id, name) is None
                assert await store.remove_credential(owner_id, name) is False
            assert await store.list_credentials() == [credential]

    async def test_credentials_are_listed_by_owner_and_name(self) -> None:
        """Credentials are listed in the order of their names, of one owner or of all, one owner after the other."""
        ada, bob = self.owners()
        credentials = [make_credential(owner.id, name) for name in ("c", "a", "d", "b") for owner in (bob, ada)]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            assert await store.list_credentials() == []
            for credential in credentials:
                await store.put_credential(credential)
            by_owner = {
                owner.id: sorted((one for one in credentials if one.owner_id == owner.id), key=lambda one: one.name)
                for owner in (ada, bob)
            }
            for owner_id, expected in by_owner.items():
                assert await store.list_credentials(owner_id) == expected
            listed = [
                (key, list(group)) for key, group in groupby(await store.list_credentials(), lambda c: c.owner_id)
            ]
            assert len(listed) == len(by_owner)
            assert dict(listed) == by_owner
            for owner_id in ("nobody", *UNSTORABLE):
                assert await store.list_credentials(owner_id) == []

    async def test_a_credential_needs_an_owner(self) -> None:
        """A credential for an owner who does not exist is not kept."""
        ada, bob = self.owners()
        event = make_event(AuditKind.CREDENTIAL_STORED)
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for nobody in (bob.id, "nobody", "", *UNSTORABLE):
                with raises(NotFound):
                    await store.put_credential(make_credential(nobody, "name"), events=[event])
            assert await store.list_credentials() == []
            assert await store.list_events() == []

    async def test_a_credential_that_cannot_be_stored_is_refused(self) -> None:
        """A NUL character or half of a surrogate pair in what is put, or in its event's actor, changes nothing."""
        ada, _ = self.owners()
        credential = make_credential(ada.id, "name")
        event = make_event(AuditKind.CREDENTIAL_STORED, owner_id=ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.put_credential(credential)
            for text in UNSTORABLE:
                for field in ("name", "sealed", "sealed_with", "metadata_json"):
                    with raises(ConfigurationError):
                        await store.put_credential(
                            make_credential(ada.id, **({"name": "name"} | {field: text})), events=[event]
                        )
                with raises(ConfigurationError):
                    await store.put_credential(replace(credential, sealed="v1.n"), events=[replace(event, actor=text)])
                with raises(ConfigurationError):
                    await store.remove_credential(ada.id, "name", events=[replace(event, actor=text)])
                for field in ("sealed", "sealed_with"):
                    with raises(ConfigurationError):
                        await store.reseal_credentials(
                            [(credential, make_credential(ada.id, "name", **{field: text}))], events=[event]
                        )
            assert await store.list_credentials() == [credential]
            assert await store.list_events() == []

    async def test_a_removed_credential_is_gone(self) -> None:
        """Removing says whether there was one; the same name of another owner, and other names, stay."""
        ada, bob = self.owners()
        one, another, bobs = (
            make_credential(ada.id, "one"),
            make_credential(ada.id, "two"),
            make_credential(bob.id, "one"),
        )
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for credential in (one, another, bobs):
                await store.put_credential(credential)
            assert await store.remove_credential(ada.id, "one") is True
            assert await store.remove_credential(ada.id, "one") is False
            assert await store.get_credential(ada.id, "one") is None
            assert await store.list_credentials(ada.id) == [another]
            assert await store.list_credentials(bob.id) == [bobs]
            await store.put_credential(replace(one, created_at=_LATER))
            assert await store.get_credential(ada.id, "one") == replace(one, created_at=_LATER)

    async def test_changes_of_credentials_are_written_once_they_are_made(self) -> None:
        """Putting, removing and resealing write their events with the change; what changes nothing writes none."""
        ada, _ = self.owners()
        credential = make_credential(ada.id, "name")
        resealed = replace(credential, sealed="v1.re", sealed_with="check-2")

        def told(actor: str) -> list[AuditEvent]:
            kinds = (AuditKind.CREDENTIAL_STORED, AuditKind.CREDENTIAL_REMOVED)
            return [make_event(kind, owner_id=ada.id, actor=actor) for kind in kinds]

        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            assert await store.remove_credential(ada.id, "name", events=told("nothing")) is False
            await store.put_credential(credential, events=told("put"))
            await store.put_credential(credential, events=told("again"))
            assert await store.reseal_credentials([(resealed, credential)], events=told("nothing")) == 0
            assert await store.reseal_credentials([], events=told("nothing")) == 0
            assert await store.reseal_credentials([(credential, resealed)], events=told("resealed")) == 1
            assert await store.reseal_credentials([(credential, resealed)], events=told("nothing")) == 0
            assert await store.remove_credential(ada.id, "name", events=told("removed")) is True
            stored = [replace(event, id=0) for event in reversed(await store.list_events())]
            assert stored == [*told("put"), *told("again"), *told("resealed"), *told("removed")]

    async def test_a_store_knows_what_its_credentials_are_sealed_with(self) -> None:
        """`sealed_with` names each check value once, as long as a credential has it."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            assert await store.sealed_with() == frozenset()
            for owner, name, check in ((ada, "a", "1"), (ada, "b", "2"), (bob, "a", "2")):
                await store.put_credential(make_credential(owner.id, name, sealed_with=check))
            assert await store.sealed_with() == frozenset({"1", "2"})
            assert await store.remove_credential(ada.id, "b")
            assert await store.sealed_with() == frozenset({"1", "2"})
            assert await store.remove_credential(bob.id, "a")
            assert await store.sealed_with() == frozenset({"1"})
            await store.put_credential(make_credential(ada.id, "a", sealed_with="3"))
            assert await store.sealed_with() == frozenset({"3"})

    async def test_credentials_are_resealed_in_batches(self) -> None:
        """Batch after batch all that is sealed otherwise is found and resealed, and changed in nothing else."""
        ada, bob = self.owners()
        credentials = [
            make_credential(owner.id, f"n{number}", sealed_with=f"old-{number % 2}", metadata_json='{"a": 1}')
            for owner in (ada, bob)
            for number in range(4)
        ]
        new = make_credential(ada.id, "new", sealed_with="new")
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for credential in (*credentials, new):
                await store.put_credential(credential)
            assert await store.credentials_to_reseal("new", limit=0) == []
            others = await store.credentials_to_reseal("old-0", limit=100)
            assert {one.name for one in others} == {"n1", "n3", "new"}
            batches: list[list[Credential]] = []
            for size in (3, 3, 2, 0):
                batch = await store.credentials_to_reseal("new", limit=3)
                assert len(batch) == size
                assert await store.reseal_credentials([(one, _resealed(one)) for one in batch]) == size
                batches.append(batch)
            by_place = {(one.owner_id, one.name): one for batch in batches for one in batch}
            assert by_place == {(one.owner_id, one.name): one for one in credentials}
            for one in credentials:
                expected = replace(one, sealed=f"v1.again {one.name}", sealed_with="new")
                assert await store.get_credential(one.owner_id, one.name) == expected
            assert await store.get_credential(ada.id, "new") == new
            assert await store.sealed_with() == frozenset({"new"})

    async def test_what_has_changed_is_not_resealed(self) -> None:
        """Of a batch, those that were put anew or removed meanwhile are left as they are, and not counted."""
        ada, bob = self.owners()
        names = ("stays", "put anew", "removed", "moved", "marked")
        before = {name: make_credential(ada.id, name) for name in names}
        events = [make_event(AuditKind.CREDENTIALS_RESEALED)]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            for credential in before.values():
                await store.put_credential(credential)
            anew = replace(before["put anew"], sealed="v1.anew", updated_at=_LATER)
            marked = replace(before["marked"], metadata_json='{"marked": true}', updated_at=_LATER)
            moved = replace(before["moved"], owner_id=bob.id)
            for credential in (anew, marked, moved):
                await store.put_credential(credential)
            for name in ("removed", "moved"):
                assert await store.remove_credential(ada.id, name)
            pairs = [(credential, _resealed(credential)) for credential in before.values()]
            assert await store.reseal_credentials(pairs, events=events) == len(("stays", "marked"))
            stays = replace(before["stays"], sealed="v1.again stays", sealed_with="new")
            marked = replace(marked, sealed="v1.again marked", sealed_with="new")
            assert await store.list_credentials(ada.id) == [marked, anew, stays]
            assert await store.list_credentials(bob.id) == [moved]
            assert len(await store.list_events()) == 1

    async def test_a_credential_put_at_the_same_time_is_not_lost(self) -> None:
        """What is put while the name's last credential is being resealed stands afterwards."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for number in range(6):
                before = make_credential(ada.id, "name", sealed=f"v1.before {number}")
                after = make_credential(ada.id, "name", sealed=f"v1.after {number}")
                await store.put_credential(before)
                await asyncio.gather(
                    store.reseal_credentials([(before, _resealed(before))]), store.put_credential(after)
                )
                assert await store.list_credentials() == [after]

    async def test_several_put_the_first_of_a_name_at_once(self) -> None:
        """Of several credentials put at once under a new name, one stands, and none of the calls fails."""
        ada, _ = self.owners()
        credentials = [make_credential(ada.id, "name", sealed=f"v1.{number}") for number in range(6)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await asyncio.gather(*map(store.put_credential, credentials))
            (stored,) = await store.list_credentials()
            assert stored in credentials

    async def test_one_of_several_removals_did_it(self) -> None:
        """Of several calls at once that remove a credential, one is told that there was one, and writes its event."""
        ada, _ = self.owners()
        events = [make_event(AuditKind.CREDENTIAL_REMOVED, owner_id=ada.id)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.put_credential(make_credential(ada.id, "name"))
            answers = await asyncio.gather(*[store.remove_credential(ada.id, "name", events=events) for _ in range(5)])
            assert sorted(answers) == [False] * 4 + [True]
            assert len(await store.list_events()) == 1


def _resealed(credential: Credential) -> Credential:
    """Return it as the vault would seal it again, with other fields that a store must not take over."""
    return replace(
        credential,
        sealed=f"v1.again {credential.name}",
        sealed_with="new",
        created_at=_LATER,
        updated_at=_LATER,
        metadata_json='{"taken": "over"}',
    )
