# ruff: noqa: S101, S106 The asserts are what this file is for, and the passwords are nobody's.
"""The suites for owners, whom a store keeps itself or finds in the app's own table."""

import asyncio
from dataclasses import replace

from keyguard.errors import ConfigurationError, Conflict, NotFound, NotSupported
from keyguard.model import AuditKind, Found
from keyguard.ports import SessionStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_event, make_record, make_session
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
