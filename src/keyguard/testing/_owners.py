# ruff: noqa: S101, S106 The asserts are what this file is for, and the passwords are nobody's.
"""The suites for owners, whom a store keeps itself or finds in the app's own table."""

import asyncio
from dataclasses import replace

from keyguard.errors import ConfigurationError, Conflict, NotFound, NotSupported
from keyguard.model import AuditEvent, AuditKind, Found, KeyQuery, Owner, Usage
from keyguard.ports import CredentialStore, SessionStore, UsageStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._made_up import (
    NOON,
    UNSTORABLE,
    make_credential,
    make_digest,
    make_event,
    make_record,
    make_session,
)
from keyguard.testing._registry import KeyRegistryContract


class OwnerRegistryContract(KeyRegistryContract):
    """What `keyguard.ports.KeyRegistry` promises of owners, where it keeps them itself."""

    async def test_an_added_owner_is_there(self) -> None:
        """An owner that was added is found by id and by name, with the password's verifier."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_owner(bob, created_at=NOON, password=make_digest("password"))
            assert await store.get_owner(bob.id) == bob
            assert await store.find_owner("bob") == bob
            assert await store.get_password(bob.id) == make_digest("password")

    async def test_owner_ids_and_names_are_unique(self) -> None:
        """An owner with an id or a name that is taken is not added, and the one that has it stays as it is."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            with raises(Conflict):
                await store.add_owner(replace(bob, id=ada.id), created_at=NOON, password=make_digest("other"))
            with raises(Conflict):
                await store.add_owner(replace(bob, name=ada.name), created_at=NOON)
            assert await store.list_owners() == [ada]
            assert await store.get_password(ada.id) == "$argon2id$1"

    async def test_an_owner_that_cannot_be_stored_is_refused(self) -> None:
        """An owner with a NUL character or half of a surrogate pair is not added, and there is none to be changed."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for text in UNSTORABLE:
                with raises(ConfigurationError):
                    await store.add_owner(replace(bob, id=text), created_at=NOON)
                with raises(ConfigurationError):
                    await store.add_owner(replace(bob, name=text), created_at=NOON)
                with raises(ConfigurationError):
                    await store.set_password(ada.id, text)
                with raises(NotFound):
                    await store.set_owner_active(text, active=True)
                with raises(NotFound):
                    await store.set_owner_superuser(text, superuser=True)
            assert await store.list_owners() == [ada]
            assert await store.get_password(ada.id) is None

    async def test_an_owner_is_deactivated_with_all_keys(self) -> None:
        """A deactivated owner is inactive in every answer until activated again; nothing else changes."""
        ada, bob = self.owners()
        keys = [make_record("one", bob.id), make_record("two", bob.id), make_record("three", ada.id)]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            assert await store.set_owner_active(bob.id, active=False) is True
            assert await store.set_owner_active(bob.id, active=False) is False
            idle = replace(bob, is_active=False)
            assert [await store.find([key.lookup]) for key in keys] == [
                Found(key=key, owner=owner) for key, owner in zip(keys, [idle, idle, ada], strict=True)
            ]
            assert await store.list_owners() == [ada, idle]
            assert await store.set_owner_active(bob.id, active=True) is True
            assert await store.set_owner_active(bob.id, active=True) is False
            assert await store.get_owner(bob.id) == bob

    async def test_superuser_rights_are_given_and_taken(self) -> None:
        """Superuser rights are seen in every answer once they are given or taken; nothing else changes."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            for changed in (True, False):
                assert await store.set_owner_superuser(ada.id, superuser=True) is changed
                assert await store.set_owner_superuser(bob.id, superuser=False) is changed
            risen, fallen = replace(ada, is_superuser=True), replace(bob, is_superuser=False)
            assert await store.list_owners() == [risen, fallen]
            assert await store.find([key.lookup]) == Found(key=key, owner=risen)

    async def test_an_owner_is_renamed(self) -> None:
        """An owner has the new name in every answer, and the old one is nobody's; nothing else changes.

        The event has the old name in its detail. An owner who has that name already is not renamed, and there is no
        event.
        """
        ada, bob = self.owners()
        ada = replace(ada, is_superuser=True)
        key = make_record("one", ada.id)
        event = _renamed(ada, name="countess")
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            assert await store.rename_owner(ada.id, "countess", event=event) is True
            assert await store.rename_owner(ada.id, "countess", event=event) is False
            renamed = replace(ada, name="countess")
            assert await store.find([key.lookup]) == Found(key=key, owner=renamed)
            assert await store.find_owner("countess") == renamed
            assert await store.find_owner(ada.name) is None
            assert await store.list_owners() == [bob, renamed]
            assert await store.get_password(ada.id) == "$argon2id$1"
            (written,) = await store.list_events()
            detail = {"name": "countess", "old_name": ada.name}
            assert written == replace(event, id=written.id, detail=detail)

    async def test_no_two_owners_have_one_name(self) -> None:
        """A name that is taken, or that cannot be stored, is not given to another owner, and no event is written."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            with raises(Conflict):
                await store.rename_owner(ada.id, bob.name, event=_renamed(ada))
            for text in UNSTORABLE:
                with raises(ConfigurationError):
                    await store.rename_owner(ada.id, text, event=_renamed(ada))
                with raises(ConfigurationError):
                    await store.rename_owner(ada.id, "countess", event=replace(_renamed(ada), actor=text))
                with raises(NotFound):
                    await store.rename_owner(text, "countess", event=_renamed(ada))
            assert await store.list_owners() == [ada, bob]
            assert await store.list_events() == []
            names = [f"name {number}" for number in range(4)]
            renamed = await asyncio.gather(*[store.rename_owner(ada.id, name, event=_renamed(ada)) for name in names])
            assert renamed == [True] * len(names)
            told = [event.detail["old_name"] for event in await store.list_events()]
            last = await store.get_owner(ada.id)
            assert last is not None
            assert sorted([*told, last.name]) == sorted([*names, ada.name])

    async def test_a_removed_owner_is_gone_with_all_keys(self) -> None:
        """A removed owner is in no answer, nor is a key of its, in whatever state; all that others have stays.

        The event has the name and the number of the keys in its detail. The events before it stay.
        """
        ada, bob = self.owners()
        mine = [make_record("one", ada.id), make_record("two", ada.id, revoked_at=NOON)]
        other = make_record("three", bob.id)
        before, event = make_event(AuditKind.KEY_RENAMED, "one"), make_event(AuditKind.OWNER_REMOVED, owner_id=ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [*mine, other])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            await store.rename_key("one", "a new name", events=[before])
            for text in UNSTORABLE:
                with raises(ConfigurationError):
                    await store.remove_owner(ada.id, event=replace(event, actor=text))
            assert await store.get_owner(ada.id) == ada
            assert await store.remove_owner(ada.id, event=event) == len(mine)
            for key in mine:
                assert await store.find([key.lookup]) is None
                assert await store.get_key(key.id) is None
            assert await store.list_keys() == [other]
            assert await store.list_keys(ada.id) == []
            assert (await store.search_keys(KeyQuery(), at=NOON, limit=9)).total == 1
            assert await store.find([other.lookup]) == Found(key=other, owner=bob)
            assert await store.list_owners() == [bob]
            assert (await store.get_owner(ada.id), await store.find_owner(ada.name)) == (None, None)
            assert await store.get_password(ada.id) is None
            written, earlier = await store.list_events(owner_id=ada.id)
            assert written == replace(event, id=written.id, detail={"name": ada.name, "keys": len(mine)})
            assert earlier == replace(before, id=earlier.id, owner_id=ada.id)

    async def test_what_a_removed_owner_had_is_free(self) -> None:
        """Name, id, key ids and lookups of a removed owner can be another one's, who has nothing of what there was."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        event = make_event(AuditKind.OWNER_REMOVED, owner_id=ada.id)
        used = {key.id: Usage(total=3, last_used_at=NOON, last_used_address="192.0.2.1")}
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            if isinstance(store, UsageStore):
                await store.record_uses(used, worker="w", sequence=1)
            if isinstance(store, SessionStore):
                await store.add_session(make_session("hers", ada.id))
                await store.add_session(make_session("his", bob.id))
            if isinstance(store, CredentialStore):
                await store.put_credential(make_credential(ada.id, "TOKEN"))
                await store.put_credential(make_credential(bob.id, "TOKEN"))
            await store.remove_owner(ada.id, event=event)
            await store.add_owner(ada, created_at=NOON)
            assert await store.get_password(ada.id) is None
            await store.add_key(key)
            if isinstance(store, UsageStore):
                assert await store.get_uses([key.id]) == {}
            if isinstance(store, SessionStore):
                assert await store.find_session(make_session("hers", ada.id).lookup) is None
                assert await store.find_session(make_session("his", bob.id).lookup) is not None
            if isinstance(store, CredentialStore):
                assert await store.list_credentials() == [make_credential(bob.id, "TOKEN")]

    async def test_uses_that_come_late_do_no_harm(self) -> None:
        """A batch with uses of a removed owner's key is recorded, with all that others have in it."""
        ada, bob = self.owners()
        keys = [make_record("one", ada.id), make_record("two", bob.id)]
        event = make_event(AuditKind.OWNER_REMOVED, owner_id=ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            await store.remove_owner(ada.id, event=event)
            if isinstance(store, UsageStore):
                await store.record_uses({key.id: Usage(total=1) for key in keys}, worker="w", sequence=1)
                assert (await store.get_uses(["two"]))["two"] == Usage(total=1)

    async def test_one_of_several_removals_did_it(self) -> None:
        """Of several calls at once that remove an owner, one counts the keys; the others find nobody.

        Whoever adds a key meanwhile is counted, or finds nobody, too.
        """
        ada, _ = self.owners()
        event = make_event(AuditKind.OWNER_REMOVED, owner_id=ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            *removed, added = await asyncio.gather(
                *[store.remove_owner(ada.id, event=event) for _ in range(4)],
                store.add_key(make_record("two", ada.id)),
                return_exceptions=True,
            )
            counts = [answer for answer in removed if not isinstance(answer, NotFound)]
            assert counts == [1 if isinstance(added, NotFound) else 2]
            assert await store.list_keys() == []
            assert [each.detail["keys"] for each in await store.list_events()] == counts

    async def test_one_of_several_changes_of_an_owner_wins(self) -> None:
        """Of several calls at once that make the same change of an owner, one is told that it did it."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for wanted in (False, True):
                answers = await asyncio.gather(*[store.set_owner_active(ada.id, active=wanted) for _ in range(5)])
                assert sorted(answers) == [False] * 4 + [True]
            for wanted in (True, False):
                answers = await asyncio.gather(*[store.set_owner_superuser(ada.id, superuser=wanted) for _ in range(5)])
                assert sorted(answers) == [False] * 4 + [True]
            assert await store.get_owner(ada.id) == ada

    async def test_passwords_are_replaced(self) -> None:
        """A password's verifier is replaced and taken away, of one owner and not of the others."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            await store.set_password(bob.id, "$argon2id$2")
            await store.set_password(ada.id, None)
            assert await store.get_password(ada.id) is None
            assert await store.get_password(bob.id) == "$argon2id$2"
            assert await store.list_owners() == [ada, bob]

    async def test_a_password_is_upgraded_if_it_is_the_one(self) -> None:
        """A password's verifier is upgraded only if it still is the one that is named; else nothing changes."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.set_password(ada.id, "$2b$old")
            for password in ("$2b$OLD", "$2b$", "", "%"):
                assert await store.upgrade_password(ada.id, password=password, new_password="new") is False
            assert await store.upgrade_password(bob.id, password="$2b$old", new_password="new") is False
            assert await store.get_password(ada.id) == "$2b$old"
            assert await store.get_password(bob.id) is None
            assert await store.upgrade_password(ada.id, password="$2b$old", new_password="new") is True
            assert await store.upgrade_password(ada.id, password="$2b$old", new_password="newer") is False
            assert await store.get_password(ada.id) == "new"
            for text in UNSTORABLE:
                assert await store.upgrade_password(ada.id, password=text, new_password="newer") is False
                with raises(ConfigurationError):
                    await store.upgrade_password(ada.id, password="new", new_password=text)
            assert await store.get_password(ada.id) == "new"
            assert await store.list_owners() == [ada, bob]

    async def test_an_upgrade_overwrites_no_new_password(self) -> None:
        """A password that is set at the same time as another one's upgrade is the one that stays."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for number in range(5):
                await store.set_password(ada.id, "old")
                await asyncio.gather(
                    store.upgrade_password(ada.id, password="old", new_password="upgraded"),
                    store.set_password(ada.id, f"chosen {number}"),
                )
                assert await store.get_password(ada.id) == f"chosen {number}"

    async def test_an_owner_who_is_not_there_is_not_changed(self) -> None:
        """A change to an owner who does not exist raises `NotFound`."""
        async with opened(await self.make_store(Keyring(), [], [])) as store:
            with raises(NotFound):
                await store.set_owner_active("nobody", active=True)
            with raises(NotFound):
                await store.set_owner_superuser("nobody", superuser=True)
            with raises(NotFound):
                await store.set_password("nobody", "$argon2id$1")
            with raises(NotFound):
                await store.upgrade_password("nobody", password="old", new_password="new")
            with raises(NotFound):
                await store.rename_owner("nobody", "somebody", event=make_event(AuditKind.OWNER_RENAMED))
            for nobody in ("nobody", *UNSTORABLE):
                with raises(NotFound):
                    await store.remove_owner(nobody, event=make_event(AuditKind.OWNER_REMOVED))
            assert await store.list_events() == []


def _renamed(owner: Owner, **detail: str) -> AuditEvent:
    return make_event(AuditKind.OWNER_RENAMED, owner_id=owner.id, detail=detail)


class AppOwnersContract(KeyRegistryContract):
    """What `keyguard.ports.KeyRegistry` promises of owners, where they live in the app's own table."""

    async def test_the_apps_owners_are_not_written(self) -> None:
        """Every method that writes owners raises `NotSupported`; nothing changes, and no event is written."""
        ada, bob = self.owners()
        events = [make_event(AuditKind.OWNER_ADDED, owner_id=ada.id)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            with raises(NotSupported):
                await store.add_owner(bob, created_at=NOON, events=events)
            with raises(NotSupported):
                await store.set_owner_active(ada.id, active=False, events=events)
            with raises(NotSupported):
                await store.set_owner_superuser(ada.id, superuser=True, events=events)
            with raises(NotSupported):
                await store.set_password(ada.id, "$argon2id$1", events=events)
            with raises(NotSupported):
                await store.upgrade_password(ada.id, password="old", new_password="new")
            with raises(NotSupported):
                await store.rename_owner(ada.id, "countess", event=events[0])
            with raises(NotSupported):
                await store.remove_owner(ada.id, event=events[0])
            assert await store.list_owners() == [ada]
            assert await store.list_events() == []

    async def test_no_sessions_of_the_apps_owners_are_kept(self) -> None:
        """Every method of sessions raises `NotSupported`, and no event is written; a store without them has none."""
        ada, _ = self.owners()
        session = make_session("one", ada.id)
        events = [make_event(AuditKind.OWNER_SIGNED_IN, owner_id=ada.id)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            if isinstance(store, SessionStore):
                with raises(NotSupported):
                    await store.add_session(session, events=events)
                with raises(NotSupported):
                    await store.find_session(session.lookup)
                with raises(NotSupported):
                    await store.end_session(session.lookup, events=events)
                with raises(NotSupported):
                    await store.end_sessions(ada.id, events=events)
                with raises(NotSupported):
                    await store.purge_sessions(NOON)
            assert await store.list_events() == []
