# ruff: noqa: S101 The asserts are what this file is for.
"""The suites for owners, whom a store keeps itself or finds in the app's own table."""

from dataclasses import replace

from keyguard.errors import ConfigurationError, Conflict, NotFound, NotSupported
from keyguard.model import Found
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_record
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
            await store.set_owner_active(bob.id, active=False)
            idle = replace(bob, is_active=False)
            assert [await store.find([key.lookup]) for key in keys] == [
                Found(key=key, owner=owner) for key, owner in zip(keys, [idle, idle, ada], strict=True)
            ]
            assert await store.list_owners() == [ada, idle]
            await store.set_owner_active(bob.id, active=True)
            assert await store.get_owner(bob.id) == bob

    async def test_superuser_rights_are_given_and_taken(self) -> None:
        """Superuser rights are seen in every answer once they are given or taken; nothing else changes."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            await store.set_owner_superuser(ada.id, superuser=True)
            await store.set_owner_superuser(bob.id, superuser=False)
            risen, fallen = replace(ada, is_superuser=True), replace(bob, is_superuser=False)
            assert await store.list_owners() == [risen, fallen]
            assert await store.find([key.lookup]) == Found(key=key, owner=risen)

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

    async def test_an_owner_who_is_not_there_is_not_changed(self) -> None:
        """A change to an owner who does not exist raises `NotFound`."""
        async with opened(await self.make_store(Keyring(), [], [])) as store:
            with raises(NotFound):
                await store.set_owner_active("nobody", active=True)
            with raises(NotFound):
                await store.set_owner_superuser("nobody", superuser=True)
            with raises(NotFound):
                await store.set_password("nobody", "$argon2id$1")


class AppOwnersContract(KeyRegistryContract):
    """What `keyguard.ports.KeyRegistry` promises of owners, where they live in the app's own table."""

    async def test_the_apps_owners_are_not_written(self) -> None:
        """Every method that writes owners raises `NotSupported`, and the owners stay as they are."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            with raises(NotSupported):
                await store.add_owner(bob, created_at=NOON)
            with raises(NotSupported):
                await store.set_owner_active(ada.id, active=False)
            with raises(NotSupported):
                await store.set_owner_superuser(ada.id, superuser=True)
            with raises(NotSupported):
                await store.set_password(ada.id, "$argon2id$1")
            assert await store.list_owners() == [ada]
