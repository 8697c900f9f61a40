# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for what issuing and administering keys asks of a store."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.model import Found, KeyRecord, Owner
from keyguard.ports import KeyRegistry
from keyguard.settings import Keyring
from keyguard.testing._expect import opened, raises
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_record


class KeyRegistryContract(KeyStoreContract):
    """What `keyguard.ports.KeyRegistry` promises of keys, and of reading owners."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> KeyRegistry:
        """Return a new store, not open, that holds `owners` and `keys`."""
        raise NotImplementedError("the subclass makes the store")

    async def test_an_added_key_is_found(self) -> None:
        """A key that was added is found at once, as it was given."""
        ada, bob = self.owners()
        key = make_record("one", ada.id, scopes=frozenset({"flows:*"}), networks=(ip_network("192.0.2.1"),))
        async with opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_key(key)
            assert await store.find([key.lookup]) == Found(key=key, owner=ada)
            assert await store.get_key("one") == key

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

    async def test_keys_are_listed_newest_first(self) -> None:
        """Keys are listed by their age, of one owner or of all, revoked ones included."""
        ada, bob = self.owners()
        old = make_record("a", ada.id, created_at=NOON - timedelta(days=1), revoked_at=NOON)
        mid = make_record("c", bob.id, created_at=NOON)
        new = make_record("b", ada.id, created_at=NOON + timedelta(microseconds=1))
        async with opened(await self.make_store(Keyring(), [ada, bob], [mid, new, old])) as store:
            assert await store.list_keys() == [new, mid, old]
            assert await store.list_keys(ada.id) == [new, old]
            assert await store.list_keys(bob.id) == [mid]
            assert await store.list_keys("nobody") == []

    async def test_renaming_changes_the_name_alone(self) -> None:
        """A renamed key has the new name, and everything else as it was; other keys keep theirs."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id, revoked_at=NOON, revoked_reason="gone"), make_record("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            await store.rename_key("one", "a new name")
            assert await store.get_key("one") == replace(key, name="a new name")
            assert await store.get_key("two") == other

    async def test_a_key_is_disabled_and_enabled(self) -> None:
        """A disabled key says since when, until it is enabled; disabling it again keeps the first time."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            await store.set_key_disabled("one", NOON)
            await store.set_key_disabled("one", NOON + timedelta(days=1))
            assert await store.find([key.lookup]) == Found(key=replace(key, disabled_at=NOON), owner=ada)
            assert await store.get_key("two") == other
            await store.set_key_disabled("one", None)
            assert await store.get_key("one") == key

    async def test_the_first_revocation_stays(self) -> None:
        """Revoking answers True once; the first time and reason stay, whatever is done to the key after."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        revoked = replace(key, revoked_at=NOON, revoked_reason="leaked")
        async with opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            assert await store.revoke_key("one", NOON, "leaked")
            assert await store.find([key.lookup]) == Found(key=revoked, owner=ada)
            assert not await store.revoke_key("one", NOON + timedelta(days=1), "again")
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

    async def test_a_rotation_adds_one_key_and_ends_another(self) -> None:
        """A rotation adds the new key, and lets the old one expire or revokes it; nothing else of it changes."""
        ada, _ = self.owners()
        brief, dead, other = [make_record(key_id, ada.id, expires_at=NOON) for key_id in ("brief", "dead", "other")]
        later = NOON - timedelta(microseconds=1)
        new = [make_record(f"new-{number}", ada.id, created_at=NOON + timedelta(hours=1)) for number in (1, 2)]
        async with opened(await self.make_store(Keyring(), [ada], [brief, dead, other])) as store:
            assert await store.rotate_key(brief, new[0], until=later)
            assert await store.rotate_key(dead, new[1], until=None)
            assert await store.get_key("brief") == replace(brief, expires_at=later)
            assert await store.get_key("dead") == replace(
                dead, revoked_at=NOON + timedelta(hours=1), revoked_reason="rotated"
            )
            assert await store.get_key("other") == other
            assert [await store.find([key.lookup]) for key in new] == [Found(key=key, owner=ada) for key in new]

    async def test_a_key_that_has_ended_otherwise_is_not_rotated(self) -> None:
        """A key that is revoked, or whose end is not the one that was read, is not rotated, and no key is added."""
        ada, _ = self.owners()
        dead = make_record("dead", ada.id, revoked_at=NOON, revoked_reason="gone")
        brief, endless = make_record("brief", ada.id, expires_at=NOON), make_record("endless", ada.id)
        new = make_record("new", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [dead, brief, endless])) as store:
            for until in (None, NOON):
                assert not await store.rotate_key(replace(dead, revoked_at=None), new, until=until)
                assert not await store.rotate_key(replace(brief, expires_at=None), new, until=until)
                assert not await store.rotate_key(replace(endless, expires_at=NOON), new, until=until)
            assert {key.id: key for key in await store.list_keys()} == {key.id: key for key in (dead, brief, endless)}

    async def test_a_rotation_is_done_wholly_or_not_at_all(self) -> None:
        """Where the new key cannot be added, or there is no old one, neither is changed."""
        ada, bob = self.owners()
        old, other = make_record("old", ada.id), make_record("other", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [old, other])) as store:
            for until in (None, NOON):
                with raises(Conflict):
                    await store.rotate_key(old, make_record("other", ada.id, lookup=make_digest("new")), until=until)
                with raises(Conflict):
                    await store.rotate_key(old, make_record("new", ada.id, lookup=other.lookup), until=until)
                with raises(NotFound):
                    await store.rotate_key(old, make_record("new", bob.id), until=until)
                with raises(NotFound):
                    await store.rotate_key(make_record("none", ada.id), make_record("new", ada.id), until=until)
                with raises(NotFound):
                    await store.rotate_key(make_record("\0", ada.id), make_record("new", ada.id), until=until)
                with raises(ConfigurationError):
                    await store.rotate_key(old, make_record("new", ada.id, name="\0"), until=until)
            assert {key.id: key for key in await store.list_keys()} == {"old": old, "other": other}

    async def test_one_of_several_rotations_wins(self) -> None:
        """Of several calls at once that rotate a key, one does it, and adds the only new key."""
        ada, _ = self.owners()
        old = {"now": make_record("now", ada.id), "later": make_record("later", ada.id)}
        async with opened(await self.make_store(Keyring(), [ada], [*old.values()])) as store:
            winners: set[str] = set()
            for end, until in {"now": None, "later": NOON}.items():
                new = [make_record(f"{end}-{number}", ada.id) for number in range(6)]
                answers = await asyncio.gather(*[store.rotate_key(old[end], key, until=until) for key in new])
                assert sorted(answers) == [False] * 5 + [True]
                winners.add(new[answers.index(True)].id)
            assert {key.id for key in await store.list_keys()} == {"now", "later"} | winners

    async def test_a_rotation_and_a_revocation_at_once(self) -> None:
        """Rotated and revoked at once, a key ends revoked, as if the one had come after the other."""
        ada, _ = self.owners()
        old = {"now": make_record("now", ada.id), "later": make_record("later", ada.id)}
        async with opened(await self.make_store(Keyring(), [ada], [*old.values()])) as store:
            for end, until in {"now": None, "later": NOON + timedelta(hours=1)}.items():
                new = make_record(f"new {end}", ada.id, created_at=NOON + timedelta(hours=2))
                rotated, revoked = await asyncio.gather(
                    store.rotate_key(old[end], new, until=until), store.revoke_key(end, NOON, "leaked")
                )
                if revoked:  # After the rotation, which then let the key expire, or in its place.
                    expected = replace(old[end], revoked_at=NOON, revoked_reason="leaked")
                    expected = replace(expected, expires_at=until) if rotated else expected
                else:
                    assert rotated
                    expected = replace(old[end], revoked_at=new.created_at, revoked_reason="rotated")
                assert await store.get_key(end) == expected
                assert await store.get_key(new.id) == (new if rotated else None)

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
                with raises(ConfigurationError):
                    await store.add_key(make_record("two", ada.id, name=text))
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
