# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for what issuing and administering keys asks of a store."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.model import Found, OwnerPage
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._expected import ExpectationContract
from keyguard.testing._listing import ListingContract
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_record
from keyguard.testing._purge import PurgeContract
from keyguard.testing._rotation import RotationContract
from keyguard.testing._search import SearchContract


class KeyRegistryContract(ListingContract, SearchContract, ExpectationContract, RotationContract, PurgeContract):
    """What `keyguard.ports.KeyRegistry` promises of keys, and of reading owners; `AuditContract` has the events."""

    async def test_an_added_key_is_found(self) -> None:
        """A key that was added is found at once, as it was given."""
        ada, bob = self.owners()
        key = make_record(
            "one",
            ada.id,
            scopes=frozenset({"flows:*"}),
            networks=(ip_network("192.0.2.1"),),
            rotated_at=NOON + timedelta(microseconds=1),
            rotated_from="another",
        )
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_key(key)
            assert await store.find([key.lookup]) == Found(key=key, owner=ada)
            assert await store.get_key("one") == key

    async def test_metadata_come_back_as_they_were_given(self) -> None:
        """What the app notes about a key is kept as the text that it is, whatever is done to the key later."""
        ada, _ = self.owners()
        texts = [
            "{}",
            r'{"nul": "\u0000", "half": "\ud800"}',
            '{ "z": [1, 2.50, null], "a": {"Zoë": "„🔑“"}, "a": 1e2 }',
        ]
        texts.append(f'{{"long": "{"x" * 20_000}"}}')
        keys = [make_record(f"k{number}", ada.id, metadata_json=text) for number, text in enumerate(texts)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for key in keys:
                await store.add_key(key)
                assert await store.get_key(key.id) == key
                assert await store.find([key.lookup]) == Found(key=key, owner=ada)
                await store.rename_key(key.id, "renamed")
                await store.revoke_key(key.id, NOON, "gone")
            assert {key.id: key.metadata_json for key in await store.list_keys()} == {
                key.id: key.metadata_json for key in keys
            }

    async def test_a_key_needs_an_owner(self) -> None:
        """A key for an owner who does not exist is not added."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            for nobody in (bob.id, "nobody", ""):
                with raises(NotFound):
                    await store.add_key(make_record("one", nobody))
            assert await store.list_keys() == []

    async def test_ids_and_lookups_are_unique(self) -> None:
        """A key with an id or a lookup that is taken is not added, and the one that has it stays as it is."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            with raises(Conflict):
                await store.add_key(make_record("one", bob.id, lookup=make_digest("another")))
            with raises(Conflict):
                await store.add_key(make_record("two", bob.id, lookup=key.lookup))
            assert await store.list_keys() == [key]
            assert await store.find([make_digest("another")]) is None

    async def test_one_of_several_equal_keys_is_added(self) -> None:
        """Of several calls at once that add a key with the same lookup, one succeeds."""
        ada, _ = self.owners()
        keys = [make_record(f"k{number}", ada.id, lookup=make_digest("same")) for number in range(4)]
        async with opened(await self.make_store(Keyring(), [ada], [])) as store:
            answers = await asyncio.gather(*map(store.add_key, keys), return_exceptions=True)
            assert all(answer is None or type(answer) is Conflict for answer in answers)
            assert answers.count(None) == 1
            assert len(await store.list_keys()) == 1

    async def test_keys_are_got_by_id(self) -> None:
        """A key is got by its id, in whatever state; where there is none with that id the answer is None."""
        ada, _ = self.owners()
        key = make_record("one", ada.id, revoked_at=NOON, revoked_reason="gone")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.get_key("one") == key
            assert await store.get_key("On") is None
            assert await store.get_key(key.lookup) is None

    async def test_renaming_changes_the_name_alone(self) -> None:
        """A renamed key has the new name, and everything else as it was; other keys keep theirs."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id, revoked_at=NOON, revoked_reason="gone"), make_record("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            await store.rename_key("one", "a new name")
            assert await store.get_key("one") == replace(key, name="a new name")
            assert await store.get_key("two") == other

    async def test_a_key_is_disabled_and_enabled(self) -> None:
        """A disabled key says since when, until it is enabled: the first time. Who changes nothing is told so."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            for _ in range(2):
                assert await store.set_key_disabled("one", NOON) is True
                assert await store.set_key_disabled("one", NOON + timedelta(days=1)) is False
                assert await store.find([key.lookup]) == Found(key=replace(key, disabled_at=NOON), owner=ada)
                assert await store.get_key("two") == other
                assert await store.set_key_disabled("one", None) is True
                assert await store.set_key_disabled("one", None) is False
                assert await store.get_key("one") == key

    async def test_one_of_several_disablings_wins(self) -> None:
        """Of several calls at once that disable a key, or enable it, one did it, and its time is the one that stays."""
        ada, _ = self.owners()
        times = [NOON + timedelta(seconds=number) for number in range(6)]
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            answers = await asyncio.gather(*[store.set_key_disabled("one", at) for at in times])
            assert sorted(answers) == [False] * 5 + [True]
            key = await store.get_key("one")
            assert key is not None
            assert key.disabled_at == times[answers.index(True)]
            answers = await asyncio.gather(*[store.set_key_disabled("one", None) for _ in times])
            assert sorted(answers) == [False] * 5 + [True]

    async def test_the_first_revocation_stays(self) -> None:
        """Revoking answers True once; the first time and reason stay, whatever is done to the key after."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        revoked = replace(key, revoked_at=NOON, revoked_reason="leaked")
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            assert await store.revoke_key("one", NOON, "leaked") is True
            assert await store.find([key.lookup]) == Found(key=revoked, owner=ada)
            assert await store.revoke_key("one", NOON + timedelta(days=1), "again") is False
            await store.set_key_disabled("one", None)
            assert await store.get_key("one") == revoked
            assert await store.get_key("two") == other

    async def test_one_of_several_revocations_wins(self) -> None:
        """Of several calls at once that revoke a key, one answers True, and its time and reason are those that stay."""
        ada, _ = self.owners()
        times = [NOON + timedelta(seconds=number) for number in range(6)]
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            answers = await asyncio.gather(*[store.revoke_key("one", at, str(at)) for at in times])
            assert sorted(answers) == [False] * 5 + [True]
            key = await store.get_key("one")
            assert key is not None
            assert (key.revoked_at, key.revoked_reason) == (times[answers.index(True)], str(times[answers.index(True)]))

    async def test_changes_at_once_lose_nothing(self) -> None:
        """A renaming, a disabling, an upgrade and a revocation at once all stand afterwards."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        new = make_digest("new")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            await asyncio.gather(
                store.rename_key("one", "renamed"),
                store.set_key_disabled("one", NOON),
                store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new),
                store.revoke_key("one", NOON, "leaked"),
            )
            upgraded = replace(key, lookup=new, verifier=new)
            assert await store.get_key("one") == replace(
                upgraded, name="renamed", disabled_at=NOON, revoked_at=NOON, revoked_reason="leaked"
            )

    async def test_what_is_not_there_is_not_changed(self) -> None:
        """A change to a key that does not exist raises `NotFound`."""
        async with opened(await self.make_store(Keyring(), [*self.owners()], [])) as store:
            with raises(NotFound):
                await store.rename_key("none", "name")
            with raises(NotFound):
                await store.set_key_disabled("none", NOON)
            with raises(NotFound):
                await store.set_key_disabled("none", None)
            with raises(NotFound):
                await store.revoke_key("none", NOON, "reason")

    async def test_a_text_that_cannot_be_stored_is_no_id(self) -> None:
        """Asked for a NUL character or half of a surrogate pair, a store knows no such key and no such owner."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            for text in (*UNSTORABLE, "one\0"):
                assert await store.get_key(text) is None
                assert await store.get_owner(text) is None
                assert await store.get_password(text) is None
                assert await store.list_keys(text) == []
                with raises(NotFound):
                    await store.add_key(make_record("two", text))
                with raises(NotFound):
                    await store.rename_key(text, "name")
                with raises(NotFound):
                    await store.set_key_disabled(text, NOON)
                with raises(NotFound):
                    await store.revoke_key(text, NOON, "reason")

    async def test_a_text_that_cannot_be_stored_is_refused(self) -> None:
        """A NUL character or half of a surrogate pair in a key's id, name or reason raises, and nothing changes."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            for text in UNSTORABLE:
                for field in ("name", "rotated_from", "metadata_json"):
                    with raises(ConfigurationError):
                        await store.add_key(make_record("two", ada.id, **{field: text}))
                with raises(ConfigurationError):
                    await store.add_key(replace(make_record("two", ada.id), id=text))
                with raises(ConfigurationError):
                    await store.rename_key("one", text)
                with raises(ConfigurationError):
                    await store.revoke_key("one", NOON, text)
            assert await store.list_keys() == [key]

    async def test_a_registry_upgrades(self) -> None:
        """An upgrade with the right verifier is done, of the lookup and the verifier or of the verifier alone."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        new = make_digest("new")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new)
            assert await store.upgrade("one", verifier=new, new_lookup=new, new_verifier="$argon2id$")
            assert await store.find([key.lookup]) is None
            upgraded = replace(key, lookup=new, verifier="$argon2id$")
            assert await store.find([new]) == Found(key=upgraded, owner=ada)

    async def test_an_upgrade_takes_no_other_keys_lookup(self) -> None:
        """An upgrade to the lookup of another key is not done, and both keys stay as they are."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            assert not await store.upgrade(
                "one", verifier=key.verifier, new_lookup=other.lookup, new_verifier=other.lookup
            )
            assert await store.get_key("one") == key
            assert await store.get_key("two") == other

    async def test_owners_are_read(self) -> None:
        """Owners are got by id and listed by name; an id that no owner has gets None, and so does a name."""
        ada, bob = self.owners()
        async with opened(await self.make_store(Keyring(), [bob, ada], [])) as store:
            assert await store.list_owners() == [ada, bob]
            assert await store.get_owner(bob.id) == bob
            assert await store.get_owner("nobody") is None
            assert await store.get_password(bob.id) is None
            assert await store.get_password("nobody") is None

    async def test_pages_of_owners_make_up_their_list(self) -> None:
        """Pages of owners, of whatever size, make up the list by name; each says how many there are, an empty one too.

        Names are in the order of their characters' numbers, whatever a language would say.
        """
        ada, bob = (replace(owner, name=name) for owner, name in zip(self.owners(), ["bob", "Zoë"], strict=True))
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            assert await store.list_owners() == [bob, ada]
            for offset, limit, owners in [(0, 1, [bob]), (1, 1, [ada]), (0, 9, [bob, ada]), (2, 1, []), (9, 2**70, [])]:
                page = await store.page_owners(offset=offset, limit=limit)
                assert page == OwnerPage(owners=tuple(owners), total=2)
