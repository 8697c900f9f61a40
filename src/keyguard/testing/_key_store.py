# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for what a check asks of a store."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import ClassVar

from keyguard.model import Found, KeyRecord, Owner
from keyguard.ports import KeyRegistry, KeyStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._made_up import NOON, UNSTORABLE, make_digest, make_record


class KeyStoreContract:
    """What `keyguard.ports.KeyStore` promises, one test for each promise.

    Inherit from it, call the class ``Test…``, and write `make_store`. A promise that your store has no use for (it
    cannot hold a revoked key, say) is left out by setting that test to None in your class.
    """

    owner_ids: ClassVar[Sequence[str]] = ("owner-1", "owner-2")
    """Two ids as the store's owners have them, in case they must be numbers, or UUIDs, or the owners' names."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> KeyStore:
        """Return a new store, not open, that holds `owners` and `keys`.

        In one test there is a key whose owner is not among `owners`; a store that cannot hold it leaves it out.
        """
        raise NotImplementedError("the subclass makes the store")

    def owners(self) -> tuple[Owner, Owner]:
        """Return the two owners that most tests work with: ada, and bob who is a superuser."""
        ada, bob = self.owner_ids
        return Owner(id=ada, name="ada"), Owner(id=bob, name="bob", is_superuser=True)

    async def test_a_store_keeps_the_keyring_that_it_was_given(self) -> None:
        """`keyring` is the one that the store was made with, and it can serve at least one read at a time."""
        keyring = Keyring(prefix="another")
        async with opened(await self.make_store(keyring, [], [])) as store:
            assert store.keyring is keyring
            assert store.concurrency >= 1

    async def test_a_key_is_found_with_its_owner(self) -> None:
        """A key is found by its lookup, with the owner whose id it has."""
        ada, bob = self.owners()
        keys = [make_record("one", ada.id), make_record("two", bob.id)]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            for key, owner in zip(keys, [ada, bob], strict=True):
                found = await store.find([key.lookup])
                assert found is not None
                assert (found.key.id, found.key.owner_id, found.key.lookup) == (key.id, owner.id, key.lookup)
                assert found.owner == owner

    async def test_a_key_is_found_whole(self) -> None:
        """Every field of a key comes back as it went in: times to the microsecond, scopes, networks, any text."""
        ada, bob = self.owners()
        key = make_record(
            "one",
            ada.id,
            prefix="lf_live_",
            name="Zoë's „quoted“ 🔑 100%",
            verifier="$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA",
            scopes=frozenset({"flows:read", "mcp:*"}),
            networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
            not_before=NOON + timedelta(microseconds=1),
            expires_at=datetime.max.replace(tzinfo=UTC),
            disabled_at=NOON + timedelta(microseconds=999_999),
            revoked_at=NOON + timedelta(days=1),
            revoked_reason="leaked\nin a log",
        )
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            assert await store.find([key.lookup]) == Found(key=key, owner=ada)

    async def test_no_scopes_are_not_all_scopes(self) -> None:
        """A key with an empty set of scopes, one with ``*`` and one with a name are told apart."""
        ada, _ = self.owners()
        cases = {"none": frozenset[str](), "all": frozenset({"*"}), "named": frozenset({"flows:read"})}
        keys = [make_record(key_id, ada.id, scopes=scopes) for key_id, scopes in cases.items()]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            for key in keys:
                found = await store.find([key.lookup])
                assert found is not None
                assert found.key.scopes == cases[key.id]

    async def test_a_key_is_found_among_many_lookups(self) -> None:
        """Of several lookups, one for each pepper, any may be the key's; the others do not matter."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        others = [make_digest(str(number)) for number in range(7)]
        async with opened(await self.make_store(Keyring(), [ada, bob], [key, make_record("two", bob.id)])) as store:
            for place in range(len(others) + 1):
                found = await store.find([*others[:place], key.lookup, *others[place:]])
                assert found is not None
                assert found.key.id == "one"

    async def test_only_the_whole_lookup_finds_a_key(self) -> None:
        """A part of a lookup, another letter case, a wildcard, a key's id: none of these finds it, nor does nothing."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        tries = [key.id, key.lookup[:-1], f"{key.lookup} ", key.lookup.upper(), "%", "_" * len(key.lookup), ""]
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert [await store.find([lookup]) for lookup in tries] == [None] * len(tries)
            assert await store.find(tries) is None
            assert await store.find([]) is None

    async def test_the_verifier_does_not_find_a_key(self) -> None:
        """A key is found by its lookup and not by its verifier, where the two differ."""
        ada, _ = self.owners()
        key = make_record("one", ada.id, verifier="$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.find([key.verifier]) is None

    async def test_keys_outside_their_window_are_found(self) -> None:
        """Expired keys and keys that are not valid yet are found: judging them is not the store's."""
        ada, _ = self.owners()
        past, future = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
        keys = [make_record("expired", ada.id, expires_at=past), make_record("early", ada.id, not_before=future)]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            expired, early = [await store.find([key.lookup]) for key in keys]
            assert expired is not None
            assert expired.key.expires_at == past
            assert early is not None
            assert early.key.not_before == future

    async def test_disabled_and_revoked_keys_are_found(self) -> None:
        """Disabled and revoked keys are found, and say so."""
        ada, _ = self.owners()
        keys = [make_record("off", ada.id, disabled_at=NOON), make_record("dead", ada.id, revoked_at=NOON)]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            assert [await store.find([key.lookup]) for key in keys] == [Found(key=key, owner=ada) for key in keys]

    async def test_keys_of_inactive_owners_are_found(self) -> None:
        """The key of an owner who is not active is found, and the owner says so, by key and by name."""
        idle = replace(self.owners()[0], is_active=False)
        key = make_record("one", idle.id)
        async with opened(await self.make_store(Keyring(), [idle], [key])) as store:
            assert await store.find([key.lookup]) == Found(key=key, owner=idle)
            assert await store.find_owner(idle.name) == idle

    async def test_a_key_without_its_owner_is_not_found(self) -> None:
        """A key whose owner does not exist is not found."""
        ada, bob = self.owners()
        orphan = make_record("one", bob.id)
        async with opened(await self.make_store(Keyring(), [ada], [orphan])) as store:
            assert await store.find([orphan.lookup]) is None

    async def test_owners_are_found_by_their_exact_name(self) -> None:
        """An owner is found by the name, character for character, and by nothing that resembles it."""
        ada, bob = self.owners()
        keys = [make_record("one", ada.id), make_record("two", bob.id)]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            assert await store.find_owner("ada") == ada
            assert await store.find_owner("bob") == bob
            for name in ("Ada", "ada ", "ad", "%", "a_a", "", "carol", *UNSTORABLE):
                assert await store.find_owner(name) is None

    async def test_finding_changes_nothing(self) -> None:
        """The same question asked again, and many at once, get the same answer."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            first = await store.find([key.lookup])
            assert first is not None
            assert await asyncio.gather(*[store.find([key.lookup]) for _ in range(20)]) == [first] * 20

    async def test_an_upgrade_is_conditional(self) -> None:
        """Digests are replaced only if the verifier is the one named; else the answer is no, and nothing changes.

        A store that cannot write says no to the right one as well.
        """
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        new = make_digest("new")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert not await store.upgrade("one", verifier=make_digest("other"), new_lookup=new, new_verifier=new)
            assert not await store.upgrade("none", verifier=key.verifier, new_lookup=new, new_verifier=new)
            assert await store.find([new]) is None
            before = await store.find([key.lookup])
            assert before is not None
            if await store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new):
                assert await store.find([key.lookup]) is None
                assert await store.find([new]) == replace(before, key=replace(before.key, lookup=new, verifier=new))
            else:
                assert await store.find([key.lookup]) == before
                assert await store.find([new]) is None

    async def test_opening_again_does_nothing(self) -> None:
        """A store is open after `open`, however often it is called, and even by several at once."""
        store = await self.make_store(Keyring(peppers=[b"a pepper of the contract"]), [], [])
        seen = [store.is_open]
        await asyncio.gather(store.open(), store.open())
        await store.open()
        seen.append(store.is_open)
        await store.close()
        assert [*seen, store.is_open] == [False, True, False]

    async def test_closing_again_does_nothing(self) -> None:
        """A store that was never opened can be closed, and one that was closed can be closed again."""
        store = await self.make_store(Keyring(), [], [])
        await store.close()
        await store.open()
        await store.close()
        await store.close()
        assert not store.is_open

    async def test_a_closed_store_opens_again(self) -> None:
        """`open` may follow `close`, and what was in the store is still there."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        store = await self.make_store(Keyring(peppers=[b"a pepper of the contract"]), [ada], [key])
        async with opened(store):
            before = await store.find([key.lookup])
        async with opened(store):
            assert store.is_open
            assert before is not None
            assert await store.find([key.lookup]) == before


class RegistrySuite(KeyStoreContract):
    """What the suites for a `keyguard.ports.KeyRegistry` are made of."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> KeyRegistry:
        """Return a new store, not open, that holds `owners` and `keys`."""
        raise NotImplementedError("the subclass makes the store")
