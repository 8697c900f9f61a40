# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for taking over owners, keys and credentials from elsewhere, all at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from keyguard.errors import ConfigurationError, Conflict, KeyguardError, NotFound, NotSupported
from keyguard.model import AuditEvent, AuditKind, Credential, Found, KeyRecord, NewOwner, Owner, Usage
from keyguard.ports import ImportStore, UsageStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._made_up import NOON, UNSTORABLE, make_credential, make_digest, make_event, make_record


class ImportContract(KeyStoreContract):
    """What `keyguard.ports.ImportStore` promises.

    Where owners live in the app's own table, owners are refused, and keys and credentials are taken over for those who
    are there.
    """

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> ImportStore:
        """Return a new store, not open, that holds `owners` and `keys`, and nothing else."""
        raise NotImplementedError("the subclass makes the store")

    async def test_keys_and_credentials_are_taken_over(self) -> None:
        """Keys, their uses, credentials and events are there at once, as they were given, beside what was there."""
        ada, bob = self.owners()
        there = make_record("there", ada.id)
        keys = [
            make_record("one", ada.id, verifier="$argon2id$1", metadata_json='{"a": 1}', revoked_at=NOON),
            make_record("two", bob.id, scopes=frozenset[str](), expires_at=NOON),
            make_record("three", bob.id),
        ]
        credentials = [make_credential(ada.id, "a"), make_credential(bob.id, "a", sealed_with="check-2")]
        uses = {"one": Usage(total=7, last_used_at=NOON, last_used_address="192.0.2.1"), "two": Usage(total=1)}
        events = [make_event(AuditKind.KEY_IMPORTED, key.id) for key in keys]
        async with opened(await self.make_store(Keyring(), [ada, bob], [there])) as store:
            await store.add_all(keys=keys, credentials=credentials, uses=uses, events=events)
            assert await _keys(store) == {key.id: key for key in [there, *keys]}
            for key, owner in zip(keys, [ada, bob, bob], strict=True):
                assert await store.find([key.lookup]) == Found(key=key, owner=owner)
            assert await _credentials(store) == {(one.owner_id, one.name): one for one in credentials}
            if isinstance(store, UsageStore):
                assert await store.get_uses([key.id for key in keys]) == uses
            stored = [(event.key_id, event.owner_id) for event in reversed(await store.list_events())]
            assert stored == [(key.id, key.owner_id) for key in keys]

    async def test_uses_that_were_taken_over_are_added_to(self) -> None:
        """What is counted after an import comes on top of it; a store that counts none is asked nothing."""
        ada, _ = self.owners()
        uses = {"one": Usage(total=7, last_used_at=NOON, last_used_address="192.0.2.1")}
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_all(keys=[key], uses=uses)
            if isinstance(store, UsageStore):
                later = Usage(total=2, last_used_at=NOON + timedelta(days=1))
                await store.record_uses({"one": later}, worker="w", sequence=1)
                assert await store.get_uses(["one"]) == {"one": replace(later, total=9)}
            assert await store.list_keys() == [key]

    async def test_owners_are_taken_over_or_not_supported(self) -> None:
        """Owners come with their passwords, and what is theirs in the same call.

        Where owners live in the app's own table, owners raise `NotSupported`, and nothing of the call is taken over.
        """
        ada, bob = self.owners()
        new = NewOwner(owner=bob, created_at=NOON, password=make_digest("password"))
        key, credential = make_record("one", bob.id), make_credential(bob.id, "name")
        event = make_event(AuditKind.KEY_IMPORTED, "one")
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            try:
                await store.add_all(owners=[new], keys=[key], credentials=[credential], events=[event])
            except NotSupported:
                with raises(NotSupported):
                    await store.add_all(owners=[new], keys=[make_record("two", ada.id)], events=[event])
                assert await _everything(store) == ([ada], {}, {}, [], {})
            else:
                assert await store.list_owners() == [ada, bob]
                assert await store.get_password(bob.id) == new.password
                assert await store.find([key.lookup]) == Found(key=key, owner=bob)
                assert await store.list_credentials() == [credential]
                assert [event.owner_id for event in await store.list_events()] == [bob.id]

    async def test_owners_that_conflict_let_nothing_in(self) -> None:
        """An owner whose id or name is taken, by one who is there or in the same call, keeps all else out."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        event = make_event(AuditKind.KEY_IMPORTED, "one")
        lists = [
            (Conflict, [replace(bob, id=ada.id)]),
            (Conflict, [replace(bob, name=ada.name)]),
            (Conflict, [bob, bob]),
            (Conflict, [bob, replace(bob, name="another")]),
            (Conflict, [bob, replace(bob, id=bob.id[:-1] + "3")]),
            *((ConfigurationError, [replace(bob, name=text)]) for text in UNSTORABLE),
            *((ConfigurationError, [replace(bob, id=text)]) for text in UNSTORABLE),
        ]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            before = await _everything(store)
            for expected, owners in lists:
                new = [NewOwner(owner=owner, created_at=NOON) for owner in owners]
                with raises((expected, NotSupported)):
                    await store.add_all(owners=new, keys=[key], events=[event])
                assert await _everything(store) == before

    async def test_one_that_cannot_be_taken_over_keeps_out_all(self) -> None:
        """Whatever of a call cannot be added, nothing is: no key, no use, no credential and no event."""
        ada, bob = self.owners()
        there, kept = make_record("there", ada.id), make_credential(ada.id, "kept")
        key, credential = make_record("one", ada.id), make_credential(ada.id, "name")
        event = make_event(AuditKind.KEY_IMPORTED, "one")
        async with opened(await self.make_store(Keyring(), [ada], [there])) as store:
            await store.put_credential(kept)
            before = await _everything(store)
            for expected, changed in _broken(key, credential, event, there, kept, nobody=bob.id):
                whole: dict[str, Any] = {
                    "keys": [key],
                    "credentials": [credential],
                    "uses": {"one": Usage(total=7)},
                    "events": [event],
                }
                with raises(expected):
                    await store.add_all(**(whole | changed))
                assert await _everything(store) == before, changed
            await store.add_all(keys=[key], credentials=[credential], uses={"one": Usage(total=7)}, events=[event])
            assert await _keys(store) == {"there": there, "one": key}

    async def test_one_of_several_imports_at_once_is_made(self) -> None:
        """Of several calls at once that bring the same key, one is made, and of the others there is nothing."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            answers = await asyncio.gather(
                *[
                    store.add_all(
                        keys=[
                            make_record(f"own-{number}", ada.id),
                            make_record(f"same-{number}", ada.id, lookup=make_digest("same")),
                        ],
                        credentials=[make_credential(ada.id, f"own-{number}")],
                        events=[make_event(AuditKind.KEY_IMPORTED, f"own-{number}")],
                    )
                    for number in range(4)
                ],
                return_exceptions=True,
            )
            winner = answers.index(None)
            assert {type(answer) for answer in answers[:winner] + answers[winner + 1 :]} == {Conflict}
            assert set(await _keys(store)) == {f"own-{winner}", f"same-{winner}"}
            assert set(await _credentials(store)) == {(ada.id, f"own-{winner}")}
            assert [event.key_id for event in await store.list_events()] == [f"own-{winner}"]

    async def test_thousands_are_taken_over_at_once(self) -> None:
        """Thousands of keys, credentials and events are taken over in one call."""
        ada, bob = self.owners()
        keys = [make_record(f"k{number}", (ada, bob)[number % 2].id) for number in range(2_500)]
        credentials = [make_credential(key.owner_id, f"name of {key.id}") for key in keys]
        uses = {key.id: Usage(total=1) for key in keys}
        events = [make_event(AuditKind.KEY_IMPORTED, key.id) for key in keys]
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_all(keys=keys, credentials=credentials, uses=uses, events=events)
            assert len(await store.list_keys(bob.id)) == len(keys) // 2
            assert len(await store.list_credentials()) == len(credentials)
            stored = await store.list_events()
            assert [(event.key_id, event.owner_id) for event in stored] == [(k.id, k.owner_id) for k in reversed(keys)]

    async def test_nothing_is_taken_over_from_nothing(self) -> None:
        """A call that is given nothing changes nothing."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            before = await _everything(store)
            await store.add_all()
            await store.add_all(owners=[], keys=[], credentials=[], uses={}, events=[])
            assert await _everything(store) == before


def _broken(
    key: KeyRecord, credential: Credential, event: AuditEvent, there: KeyRecord, kept: Credential, *, nobody: str
) -> list[tuple[type[KeyguardError], dict[str, Any]]]:
    """Return what is wrong with an import, one thing at a time: the error, and the arguments in which it is."""
    broken: list[tuple[type[KeyguardError], dict[str, Any]]] = [
        (Conflict, {"keys": [key, replace(key, id=there.id)]}),
        (Conflict, {"keys": [key, make_record("two", key.owner_id, lookup=there.lookup)]}),
        (Conflict, {"keys": [key, replace(key, lookup=make_digest("another"))]}),
        (Conflict, {"keys": [key, replace(key, id="two")]}),
        (NotFound, {"keys": [key, make_record("two", nobody)]}),
        (NotFound, {"keys": [key, make_record("two", "nobody")]}),
        (Conflict, {"credentials": [credential, replace(kept, sealed="v1.another")]}),
        (Conflict, {"credentials": [credential, credential]}),
        (NotFound, {"credentials": [credential, make_credential(nobody, "name")]}),
        (NotFound, {"credentials": [credential, make_credential("nobody", "name")]}),
    ]
    for text in UNSTORABLE:
        bad_keys = [
            make_record(**({"key_id": "two", "owner_id": key.owner_id} | {field: text}))
            for field in ("key_id", "name", "rotated_from", "metadata_json")
        ]
        bad_credentials = [
            make_credential(**({"owner_id": key.owner_id, "name": "two"} | {field: text}))
            for field in ("name", "sealed", "sealed_with", "metadata_json")
        ]
        broken += [
            *((ConfigurationError, {"keys": [key, bad]}) for bad in bad_keys),
            *((ConfigurationError, {"credentials": [credential, bad]}) for bad in bad_credentials),
            (NotFound, {"keys": [key, make_record("two", text)]}),
            (NotFound, {"credentials": [credential, make_credential(text, "two")]}),
            (ConfigurationError, {"events": [event, replace(event, actor=text)]}),
        ]
    return broken


async def _keys(store: ImportStore) -> dict[str, KeyRecord]:
    return {key.id: key for key in await store.list_keys()}


async def _credentials(store: ImportStore) -> dict[tuple[str, str], Credential]:
    return {(one.owner_id, one.name): one for one in await store.list_credentials()}


async def _everything(
    store: ImportStore,
) -> tuple[list[Owner], dict[str, KeyRecord], dict[tuple[str, str], Credential], list[AuditEvent], dict[str, Usage]]:
    """Read all that an import could have added."""
    uses = dict(await store.get_uses(["one", "two"])) if isinstance(store, UsageStore) else {}
    return await store.list_owners(), await _keys(store), await _credentials(store), await store.list_events(), uses
