# ruff: noqa: S101 The asserts are what this file is for.
"""For your tests: a clock that stands still, made-up keys, and the suites that hold a store to the ports' promises.

Nothing here needs pytest itself. The suites are classes of coroutines named ``test_…``, which pytest runs when they are
inherited, with pytest-asyncio in auto mode::

    class TestMyStore(KeyStoreContract):
        async def make_store(self, keyring, owners, keys):
            store = MyStore(keyring=keyring)
            ...  # put the owners and keys into it, by whatever way it is filled
            return store

Assertions explain themselves after `pytest.register_assert_rewrite("keyguard.testing")` in your conftest.py.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network
from types import NoneType
from typing import Any, ClassVar, Protocol, TypeVar

from keyguard.errors import ConfigurationError, Conflict, NotFound, NotSupported, StoreUnavailable
from keyguard.model import Found, KeyRecord, Owner, Usage
from keyguard.ports import Freshness, KeyRegistry, KeyStore, UsageStore
from keyguard.settings import Keyring

__all__ = [
    "AppOwnersContract",
    "FreshnessContract",
    "FrozenClock",
    "KeyRegistryContract",
    "KeyStoreContract",
    "OwnerRegistryContract",
    "UsageContract",
    "make_digest",
    "make_record",
]

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
"""When the made-up keys were made; with microseconds, because a store must keep them."""

UNSTORABLE = ("\ud800", "ada\udfff", "\0", "ada\0")
"""Texts that no database takes: halves of surrogate pairs, which JSON can bring, and NUL characters."""

_Store = TypeVar("_Store", bound=KeyStore)


class FrozenClock:
    """A `keyguard.ports.Clock` that stands still until it is told to go on."""

    def __init__(self, at: datetime = NOON) -> None:
        self.now: datetime = at

    def __call__(self) -> datetime:
        """Return the time at which the clock stands."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move the clock on."""
        self.now += by


# --- made-up keys -----------------------------------------------------------------------------------------------


def make_digest(of: str) -> str:
    """Return a digest of the right form, ``sha256$…``, which is that of no key."""
    return f"sha256${sha256(f'made up: {of}'.encode()).hexdigest()}"


def make_record(key_id: str, owner_id: str, **fields: Any) -> KeyRecord:
    """Return a key with made-up digests, made at noon on 1 March 2026; `fields` are those of `KeyRecord`."""
    digest = make_digest(key_id)
    record = KeyRecord(
        id=key_id, owner_id=owner_id, prefix="kg_", name=key_id, lookup=digest, verifier=digest, created_at=NOON
    )
    return replace(record, **fields)


@asynccontextmanager
async def _opened(store: _Store) -> AsyncGenerator[_Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def _raises(expected: type[Exception]) -> Generator[None]:
    try:
        yield
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")


# --- the suites -------------------------------------------------------------------------------------------------


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
        async with _opened(await self.make_store(keyring, [], [])) as store:
            assert store.keyring is keyring
            assert store.concurrency >= 1

    async def test_a_key_is_found_with_its_owner(self) -> None:
        """A key is found by its lookup, with the owner whose id it has."""
        ada, bob = self.owners()
        keys = [make_record("one", ada.id), make_record("two", bob.id)]
        async with _opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            assert await store.find([key.lookup]) == Found(key=key, owner=ada)

    async def test_no_scopes_are_not_all_scopes(self) -> None:
        """A key with an empty set of scopes, one with ``*`` and one with a name are told apart."""
        ada, _ = self.owners()
        cases = {"none": frozenset[str](), "all": frozenset({"*"}), "named": frozenset({"flows:read"})}
        keys = [make_record(key_id, ada.id, scopes=scopes) for key_id, scopes in cases.items()]
        async with _opened(await self.make_store(Keyring(), [ada], keys)) as store:
            for key in keys:
                found = await store.find([key.lookup])
                assert found is not None
                assert found.key.scopes == cases[key.id]

    async def test_a_key_is_found_among_many_lookups(self) -> None:
        """Of several lookups, one for each pepper, any may be the key's; the others do not matter."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        others = [make_digest(str(number)) for number in range(7)]
        async with _opened(await self.make_store(Keyring(), [ada, bob], [key, make_record("two", bob.id)])) as store:
            for place in range(len(others) + 1):
                found = await store.find([*others[:place], key.lookup, *others[place:]])
                assert found is not None
                assert found.key.id == "one"

    async def test_only_the_whole_lookup_finds_a_key(self) -> None:
        """A part of a lookup, another letter case, a wildcard, a key's id: none of these finds it, nor does nothing."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        tries = [key.id, key.lookup[:-1], f"{key.lookup} ", key.lookup.upper(), "%", "_" * len(key.lookup), ""]
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert [await store.find([lookup]) for lookup in tries] == [None] * len(tries)
            assert await store.find(tries) is None
            assert await store.find([]) is None

    async def test_the_verifier_does_not_find_a_key(self) -> None:
        """A key is found by its lookup and not by its verifier, where the two differ."""
        ada, _ = self.owners()
        key = make_record("one", ada.id, verifier="$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA")
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.find([key.verifier]) is None

    async def test_keys_outside_their_window_are_found(self) -> None:
        """Expired keys and keys that are not valid yet are found: judging them is not the store's."""
        ada, _ = self.owners()
        past, future = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
        keys = [make_record("expired", ada.id, expires_at=past), make_record("early", ada.id, not_before=future)]
        async with _opened(await self.make_store(Keyring(), [ada], keys)) as store:
            expired, early = [await store.find([key.lookup]) for key in keys]
            assert expired is not None
            assert expired.key.expires_at == past
            assert early is not None
            assert early.key.not_before == future

    async def test_disabled_and_revoked_keys_are_found(self) -> None:
        """Disabled and revoked keys are found, and say so."""
        ada, _ = self.owners()
        keys = [make_record("off", ada.id, disabled_at=NOON), make_record("dead", ada.id, revoked_at=NOON)]
        async with _opened(await self.make_store(Keyring(), [ada], keys)) as store:
            assert [await store.find([key.lookup]) for key in keys] == [Found(key=key, owner=ada) for key in keys]

    async def test_keys_of_inactive_owners_are_found(self) -> None:
        """The key of an owner who is not active is found, and the owner says so, by key and by name."""
        idle = replace(self.owners()[0], is_active=False)
        key = make_record("one", idle.id)
        async with _opened(await self.make_store(Keyring(), [idle], [key])) as store:
            assert await store.find([key.lookup]) == Found(key=key, owner=idle)
            assert await store.find_owner(idle.name) == idle

    async def test_a_key_without_its_owner_is_not_found(self) -> None:
        """A key whose owner does not exist is not found."""
        ada, bob = self.owners()
        orphan = make_record("one", bob.id)
        async with _opened(await self.make_store(Keyring(), [ada], [orphan])) as store:
            assert await store.find([orphan.lookup]) is None

    async def test_owners_are_found_by_their_exact_name(self) -> None:
        """An owner is found by the name, character for character, and by nothing that resembles it."""
        ada, bob = self.owners()
        keys = [make_record("one", ada.id), make_record("two", bob.id)]
        async with _opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            assert await store.find_owner("ada") == ada
            assert await store.find_owner("bob") == bob
            for name in ("Ada", "ada ", "ad", "%", "a_a", "", "carol", *UNSTORABLE):
                assert await store.find_owner(name) is None

    async def test_finding_changes_nothing(self) -> None:
        """The same question asked again, and many at once, get the same answer."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
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
        async with _opened(store):
            before = await store.find([key.lookup])
        async with _opened(store):
            assert store.is_open
            assert before is not None
            assert await store.find([key.lookup]) == before


class KeyRegistryContract(KeyStoreContract):
    """What `keyguard.ports.KeyRegistry` promises of keys, and of reading owners."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> KeyRegistry:
        """Return a new store, not open, that holds `owners` and `keys`."""
        raise NotImplementedError("the subclass makes the store")

    async def test_an_added_key_is_found(self) -> None:
        """A key that was added is found at once, as it was given."""
        ada, bob = self.owners()
        key = make_record("one", ada.id, scopes=frozenset({"flows:*"}), networks=(ip_network("192.0.2.1"),))
        async with _opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.add_key(key)
            assert await store.find([key.lookup]) == Found(key=key, owner=ada)
            assert await store.get_key("one") == key

    async def test_a_key_needs_an_owner(self) -> None:
        """A key for an owner who does not exist is not added."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            for nobody in (bob.id, "nobody", ""):
                with _raises(NotFound):
                    await store.add_key(make_record("one", nobody))
            assert await store.list_keys() == []

    async def test_ids_and_lookups_are_unique(self) -> None:
        """A key with an id or a lookup that is taken is not added, and the one that has it stays as it is."""
        ada, bob = self.owners()
        key = make_record("one", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            with _raises(Conflict):
                await store.add_key(make_record("one", bob.id, lookup=make_digest("another")))
            with _raises(Conflict):
                await store.add_key(make_record("two", bob.id, lookup=key.lookup))
            assert await store.list_keys() == [key]
            assert await store.find([make_digest("another")]) is None

    async def test_one_of_several_equal_keys_is_added(self) -> None:
        """Of several calls at once that add a key with the same lookup, one succeeds."""
        ada, _ = self.owners()
        keys = [make_record(f"k{number}", ada.id, lookup=make_digest("same")) for number in range(4)]
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            answers = await asyncio.gather(*map(store.add_key, keys), return_exceptions=True)
            assert all(answer is None or type(answer) is Conflict for answer in answers)
            assert answers.count(None) == 1
            assert len(await store.list_keys()) == 1

    async def test_keys_are_got_by_id(self) -> None:
        """A key is got by its id, in whatever state; where there is none with that id the answer is None."""
        ada, _ = self.owners()
        key = make_record("one", ada.id, revoked_at=NOON, revoked_reason="gone")
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.get_key("one") == key
            assert await store.get_key("On") is None
            assert await store.get_key(key.lookup) is None

    async def test_keys_are_listed_newest_first(self) -> None:
        """Keys are listed by their age, of one owner or of all, revoked ones included."""
        ada, bob = self.owners()
        old = make_record("a", ada.id, created_at=NOON - timedelta(days=1), revoked_at=NOON)
        mid = make_record("c", bob.id, created_at=NOON)
        new = make_record("b", ada.id, created_at=NOON + timedelta(microseconds=1))
        async with _opened(await self.make_store(Keyring(), [ada, bob], [mid, new, old])) as store:
            assert await store.list_keys() == [new, mid, old]
            assert await store.list_keys(ada.id) == [new, old]
            assert await store.list_keys(bob.id) == [mid]
            assert await store.list_keys("nobody") == []

    async def test_renaming_changes_the_name_alone(self) -> None:
        """A renamed key has the new name, and everything else as it was; other keys keep theirs."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id, revoked_at=NOON, revoked_reason="gone"), make_record("two", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            await store.rename_key("one", "a new name")
            assert await store.get_key("one") == replace(key, name="a new name")
            assert await store.get_key("two") == other

    async def test_a_key_is_disabled_and_enabled(self) -> None:
        """A disabled key says since when, until it is enabled; disabling it again keeps the first time."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [brief, dead, other])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [dead, brief, endless])) as store:
            for until in (None, NOON):
                assert not await store.rotate_key(replace(dead, revoked_at=None), new, until=until)
                assert not await store.rotate_key(replace(brief, expires_at=None), new, until=until)
                assert not await store.rotate_key(replace(endless, expires_at=NOON), new, until=until)
            assert {key.id: key for key in await store.list_keys()} == {key.id: key for key in (dead, brief, endless)}

    async def test_a_rotation_is_done_wholly_or_not_at_all(self) -> None:
        """Where the new key cannot be added, or there is no old one, neither is changed."""
        ada, bob = self.owners()
        old, other = make_record("old", ada.id), make_record("other", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [old, other])) as store:
            for until in (None, NOON):
                with _raises(Conflict):
                    await store.rotate_key(old, make_record("other", ada.id, lookup=make_digest("new")), until=until)
                with _raises(Conflict):
                    await store.rotate_key(old, make_record("new", ada.id, lookup=other.lookup), until=until)
                with _raises(NotFound):
                    await store.rotate_key(old, make_record("new", bob.id), until=until)
                with _raises(NotFound):
                    await store.rotate_key(make_record("none", ada.id), make_record("new", ada.id), until=until)
                with _raises(NotFound):
                    await store.rotate_key(make_record("\0", ada.id), make_record("new", ada.id), until=until)
                with _raises(ConfigurationError):
                    await store.rotate_key(old, make_record("new", ada.id, name="\0"), until=until)
            assert {key.id: key for key in await store.list_keys()} == {"old": old, "other": other}

    async def test_one_of_several_rotations_wins(self) -> None:
        """Of several calls at once that rotate a key, one does it, and adds the only new key."""
        ada, _ = self.owners()
        old = {"now": make_record("now", ada.id), "later": make_record("later", ada.id)}
        async with _opened(await self.make_store(Keyring(), [ada], [*old.values()])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [*old.values()])) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
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
        async with _opened(await self.make_store(Keyring(), [*self.owners()], [])) as store:
            with _raises(NotFound):
                await store.rename_key("none", "name")
            with _raises(NotFound):
                await store.set_key_disabled("none", NOON)
            with _raises(NotFound):
                await store.set_key_disabled("none", None)
            with _raises(NotFound):
                await store.revoke_key("none", NOON, "reason")

    async def test_a_text_that_cannot_be_stored_is_no_id(self) -> None:
        """Asked for a NUL character or half of a surrogate pair, a store knows no such key and no such owner."""
        ada, _ = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            for text in (*UNSTORABLE, "one\0"):
                assert await store.get_key(text) is None
                assert await store.get_owner(text) is None
                assert await store.get_password(text) is None
                assert await store.list_keys(text) == []
                with _raises(NotFound):
                    await store.add_key(make_record("two", text))
                with _raises(NotFound):
                    await store.rename_key(text, "name")
                with _raises(NotFound):
                    await store.set_key_disabled(text, NOON)
                with _raises(NotFound):
                    await store.revoke_key(text, NOON, "reason")

    async def test_a_text_that_cannot_be_stored_is_refused(self) -> None:
        """A NUL character or half of a surrogate pair in a key's id, name or reason raises, and nothing changes."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            for text in UNSTORABLE:
                with _raises(ConfigurationError):
                    await store.add_key(make_record("two", ada.id, name=text))
                with _raises(ConfigurationError):
                    await store.add_key(replace(make_record("two", ada.id), id=text))
                with _raises(ConfigurationError):
                    await store.rename_key("one", text)
                with _raises(ConfigurationError):
                    await store.revoke_key("one", NOON, text)
            assert await store.list_keys() == [key]

    async def test_a_registry_upgrades(self) -> None:
        """An upgrade with the right verifier is done, of the lookup and the verifier or of the verifier alone."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        new = make_digest("new")
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            assert await store.upgrade("one", verifier=key.verifier, new_lookup=new, new_verifier=new)
            assert await store.upgrade("one", verifier=new, new_lookup=new, new_verifier="$argon2id$")
            assert await store.find([key.lookup]) is None
            upgraded = replace(key, lookup=new, verifier="$argon2id$")
            assert await store.find([new]) == Found(key=upgraded, owner=ada)

    async def test_an_upgrade_takes_no_other_keys_lookup(self) -> None:
        """An upgrade to the lookup of another key is not done, and both keys stay as they are."""
        ada, _ = self.owners()
        key, other = make_record("one", ada.id), make_record("two", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key, other])) as store:
            assert not await store.upgrade(
                "one", verifier=key.verifier, new_lookup=other.lookup, new_verifier=other.lookup
            )
            assert await store.get_key("one") == key
            assert await store.get_key("two") == other

    async def test_owners_are_read(self) -> None:
        """Owners are got by id and listed by name; an id that no owner has gets None, and so does a name."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [bob, ada], [])) as store:
            assert await store.list_owners() == [ada, bob]
            assert await store.get_owner(bob.id) == bob
            assert await store.get_owner("nobody") is None
            assert await store.get_password(bob.id) is None
            assert await store.get_password("nobody") is None


class OwnerRegistryContract(KeyRegistryContract):
    """What `keyguard.ports.KeyRegistry` promises of owners, where it keeps them itself."""

    async def test_an_added_owner_is_there(self) -> None:
        """An owner that was added is found by id and by name, with the password's verifier."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.add_owner(bob, created_at=NOON, password=make_digest("password"))
            assert await store.get_owner(bob.id) == bob
            assert await store.find_owner("bob") == bob
            assert await store.get_password(bob.id) == make_digest("password")

    async def test_owner_ids_and_names_are_unique(self) -> None:
        """An owner with an id or a name that is taken is not added, and the one that has it stays as it is."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            with _raises(Conflict):
                await store.add_owner(replace(bob, id=ada.id), created_at=NOON, password=make_digest("other"))
            with _raises(Conflict):
                await store.add_owner(replace(bob, name=ada.name), created_at=NOON)
            assert await store.list_owners() == [ada]
            assert await store.get_password(ada.id) == "$argon2id$1"

    async def test_an_owner_that_cannot_be_stored_is_refused(self) -> None:
        """An owner with a NUL character or half of a surrogate pair is not added, and there is none to be changed."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            for text in UNSTORABLE:
                with _raises(ConfigurationError):
                    await store.add_owner(replace(bob, id=text), created_at=NOON)
                with _raises(ConfigurationError):
                    await store.add_owner(replace(bob, name=text), created_at=NOON)
                with _raises(ConfigurationError):
                    await store.set_password(ada.id, text)
                with _raises(NotFound):
                    await store.set_owner_active(text, active=True)
                with _raises(NotFound):
                    await store.set_owner_superuser(text, superuser=True)
            assert await store.list_owners() == [ada]
            assert await store.get_password(ada.id) is None

    async def test_an_owner_is_deactivated_with_all_keys(self) -> None:
        """A deactivated owner is inactive in every answer until activated again; nothing else changes."""
        ada, bob = self.owners()
        keys = [make_record("one", bob.id), make_record("two", bob.id), make_record("three", ada.id)]
        async with _opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
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
        async with _opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            await store.set_owner_superuser(ada.id, superuser=True)
            await store.set_owner_superuser(bob.id, superuser=False)
            risen, fallen = replace(ada, is_superuser=True), replace(bob, is_superuser=False)
            assert await store.list_owners() == [risen, fallen]
            assert await store.find([key.lookup]) == Found(key=key, owner=risen)

    async def test_passwords_are_replaced(self) -> None:
        """A password's verifier is replaced and taken away, of one owner and not of the others."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada, bob], [])) as store:
            await store.set_password(ada.id, "$argon2id$1")
            await store.set_password(bob.id, "$argon2id$2")
            await store.set_password(ada.id, None)
            assert await store.get_password(ada.id) is None
            assert await store.get_password(bob.id) == "$argon2id$2"
            assert await store.list_owners() == [ada, bob]

    async def test_an_owner_who_is_not_there_is_not_changed(self) -> None:
        """A change to an owner who does not exist raises `NotFound`."""
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            with _raises(NotFound):
                await store.set_owner_active("nobody", active=True)
            with _raises(NotFound):
                await store.set_owner_superuser("nobody", superuser=True)
            with _raises(NotFound):
                await store.set_password("nobody", "$argon2id$1")


class AppOwnersContract(KeyRegistryContract):
    """What `keyguard.ports.KeyRegistry` promises of owners, where they live in the app's own table."""

    async def test_the_apps_owners_are_not_written(self) -> None:
        """Every method that writes owners raises `NotSupported`, and the owners stay as they are."""
        ada, bob = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [])) as store:
            with _raises(NotSupported):
                await store.add_owner(bob, created_at=NOON)
            with _raises(NotSupported):
                await store.set_owner_active(ada.id, active=False)
            with _raises(NotSupported):
                await store.set_owner_superuser(ada.id, superuser=True)
            with _raises(NotSupported):
                await store.set_password(ada.id, "$argon2id$1")
            assert await store.list_owners() == [ada]


class _CountingStore(KeyStore, UsageStore, Protocol):
    """A store that counts."""


class UsageContract:
    """What `keyguard.ports.UsageStore` promises. The store needs no owners and no keys for it."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> _CountingStore:
        """Return a new store, not open."""
        raise NotImplementedError("the subclass makes the store")

    async def test_totals_are_added_up(self) -> None:
        """Of each key the uses of all batches are added up; one that was never used is left out."""
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            await store.record_uses({"one": Usage(total=2), "two": Usage(total=5)}, worker="w", sequence=1)
            await store.record_uses({"one": Usage(total=3)}, worker="w", sequence=2)
            assert await store.get_uses(["one", "none", "two"]) == {"one": Usage(total=5), "two": Usage(total=5)}
            assert await store.get_uses({"two"}) == {"two": Usage(total=5)}
            assert await store.get_uses([]) == {}

    async def test_the_last_use_never_goes_back(self) -> None:
        """Time and address of the latest use stay, to the microsecond, in whatever order the batches come."""
        tick = timedelta(microseconds=1)
        first = Usage(total=1, last_used_at=NOON, last_used_address="192.0.2.1")
        second = Usage(total=1, last_used_at=NOON + tick, last_used_address="2001:db8::1")
        third = Usage(total=1, last_used_at=NOON + 2 * tick, last_used_address=None)
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            cases = [
                ({"never": Usage(total=1), "one": second}, {"never": Usage(total=1), "one": second}),
                ({"never": first, "one": first}, {"never": replace(first, total=2), "one": replace(second, total=2)}),
                ({"one": Usage(total=1)}, {"one": replace(second, total=3)}),
                ({"one": replace(second, last_used_address="192.0.2.9")}, {"one": replace(second, total=4)}),
                ({"one": third}, {"one": replace(third, total=5)}),
            ]
            for sequence, (uses, known) in enumerate(cases, 1):
                await store.record_uses(uses, worker="w", sequence=sequence)
                assert await store.get_uses(list(known)) == known

    async def test_a_batch_is_added_once(self) -> None:
        """A batch that was added is not added again, also not after later ones; each worker has numbers of its own."""
        uses = {"one": Usage(total=1, last_used_at=NOON, last_used_address="192.0.2.1")}
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            for worker, sequence in [("v", 1), ("v", 1), ("v", 2), ("v", 1), ("v", 2), ("w", 1), ("w", 1), ("v", 4)]:
                await store.record_uses(uses, worker=worker, sequence=sequence)
            assert await store.get_uses(["one"]) == {"one": replace(uses["one"], total=4)}

    async def test_the_same_batch_at_once(self) -> None:
        """A batch that comes several times at once is added once; who is told otherwise is told that it failed."""
        uses = {"one": Usage(total=1)}
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            for sequence in (1, 2, 3):
                answers = await asyncio.gather(
                    *[store.record_uses(uses, worker="w", sequence=sequence) for _ in range(6)], return_exceptions=True
                )
                assert None in answers
                assert all(answer is None or isinstance(answer, StoreUnavailable) for answer in answers)
                assert await store.get_uses(["one"]) == {"one": Usage(total=sequence)}

    async def test_batches_at_once_are_all_added(self) -> None:
        """Batches of several workers at once, for the same keys in whatever order, lose nothing."""
        ids = [f"key {number}" for number in range(20)]
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            await asyncio.gather(
                *[
                    store.record_uses(
                        {key_id: Usage(total=1) for key_id in (ids if number % 2 else reversed(ids))},
                        worker=f"w{number}",
                        sequence=1,
                    )
                    for number in range(8)
                ]
            )
            assert await store.get_uses(ids) == {key_id: Usage(total=8) for key_id in ids}

    async def test_what_cannot_be_stored_keeps_nothing_from_being_counted(self) -> None:
        """Ids and addresses with a NUL character or half of a surrogate pair are left out; all others are counted."""
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            uses = {text: Usage(total=1) for text in UNSTORABLE}
            for number, text in enumerate(UNSTORABLE):
                uses[f"key {number}"] = Usage(total=1, last_used_at=NOON, last_used_address=text)
            await store.record_uses(uses, worker="w", sequence=1)
            assert await store.get_uses(list(uses)) == {
                f"key {number}": Usage(total=1, last_used_at=NOON) for number in range(len(UNSTORABLE))
            }

    async def test_many_are_recorded_and_read_at_once(self) -> None:
        """Thousands of keys are recorded and read in one call; an empty batch is one, too."""
        uses = {f"key {number}": Usage(total=number, last_used_at=NOON) for number in range(1, 3_000)}
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            await store.record_uses(uses, worker="w", sequence=1)
            await store.record_uses({}, worker="w", sequence=2)
            assert await store.get_uses(list(uses)) == uses

    async def test_what_was_counted_outlives_a_closing(self) -> None:
        """After `close` and `open` the uses are there, and so is what tells a batch that was added."""
        store = await self.make_store(Keyring(), [], [])
        for _ in range(2):
            async with _opened(store):
                await store.record_uses({"one": Usage(total=1)}, worker="w", sequence=1)
                assert await store.get_uses(["one"]) == {"one": Usage(total=1)}


class _VouchingStore(KeyRegistry, Freshness, Protocol):
    """A store whose keys can be changed, and that vouches for what was read before."""


class FreshnessContract(KeyStoreContract):
    """What `keyguard.ports.Freshness` promises, of a store that is a `keyguard.ports.KeyRegistry` too.

    A token may come a moment after it was first asked for, where a store must begin to listen; the suite waits for it.
    A store whose token moves with more than what a check reads sets `test_the_token_stays_with_other_changes` to None:
    what is remembered is then read again more often than need be, and nothing worse.
    """

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> _VouchingStore:
        """Return a new store, not open, that holds `owners` and `keys`."""
        raise NotImplementedError("the subclass makes the store")

    async def token(self, store: Freshness) -> int:
        """Return the store's token, as soon as there is one."""
        for _ in range(500):
            token = store.token()
            if token is not None:
                return token
            await asyncio.sleep(0.01)
        raise AssertionError("the store vouches for nothing")

    async def test_a_store_says_how_exact_it_is(self) -> None:
        """`is_exact` is True or False."""
        async with _opened(await self.make_store(Keyring(), [], [])) as store:
            assert type(store.is_exact) is bool

    async def test_a_token_is_there_without_waiting(self) -> None:
        """A thousand tokens take less than a second, and the event loop does nothing else meanwhile."""
        ada, _ = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            await self.token(store)
            others: list[None] = []
            asyncio.get_running_loop().call_soon(others.append, None)
            began = time.perf_counter()
            tokens = [store.token() for _ in range(1000)]
            assert time.perf_counter() - began < 1
            assert others == []
            assert {type(token) for token in tokens} <= {int, NoneType}

    async def test_reading_moves_nothing(self) -> None:
        """The token stays the same with everything that is read."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            before = await self.token(store)
            await store.find([key.lookup])
            await store.find_owner(ada.name)
            await store.get_key("one")
            await store.list_keys()
            await store.list_owners()
            await store.get_password(ada.id)
            assert await self.token(store) == before

    async def test_the_token_moves_with_a_keys_state(self) -> None:
        """When a call that disables, enables, rotates or revokes a key has returned, the token is another one."""
        ada, _ = self.owners()
        keys = {key_id: make_record(key_id, ada.id) for key_id in ("one", "two", "three", "four")}
        new = [make_record(f"new-{number}", ada.id) for number in (1, 2)]
        async with _opened(await self.make_store(Keyring(), [ada], [*keys.values()])) as store:
            await self._moves(store, store.set_key_disabled("one", NOON))
            await self._moves(store, store.set_key_disabled("one", None))
            await self._moves(store, store.revoke_key("two", NOON, "leaked"))
            await self._moves(store, store.rotate_key(keys["three"], new[0], until=NOON))
            await self._moves(store, store.rotate_key(keys["four"], new[1], until=None))

    async def test_the_token_moves_with_an_owners_state(self) -> None:
        """When a call that changes whether an owner is active, or a superuser, has returned, the token is another one.

        Where owners live in the app's own table, nothing is asked here.
        """
        ada, _ = self.owners()
        async with _opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            with suppress(NotSupported):
                await self._moves(store, store.set_owner_active(ada.id, active=False))
                await self._moves(store, store.set_owner_active(ada.id, active=True))
                await self._moves(store, store.set_owner_superuser(ada.id, superuser=True))
                await self._moves(store, store.set_owner_superuser(ada.id, superuser=False))

    async def test_the_token_stays_with_other_changes(self) -> None:
        """The token stays the same when a key is added, renamed or upgraded, or a password changed."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        digest = make_digest("new")
        async with _opened(await self.make_store(Keyring(), [ada], [key])) as store:
            before = await self.token(store)
            await store.add_key(make_record("two", ada.id))
            await store.rename_key("one", "a new name")
            assert await store.upgrade("one", verifier=key.verifier, new_lookup=digest, new_verifier=digest)
            with suppress(NotSupported):
                await store.set_password(ada.id, "$argon2id$1")
            assert await self.token(store) == before

    async def test_no_token_comes_back(self) -> None:
        """A token that was given up is never given again by the same store, closed and opened meanwhile or not."""
        ada, _ = self.owners()
        store = await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])
        seen: list[int] = []
        for _ in range(3):
            async with _opened(store):
                for at in (NOON, None):
                    await store.set_key_disabled("one", at)
                    seen.append(await self.token(store))
        assert len(set(seen)) == len(seen)

    async def _moves(self, store: _VouchingStore, change: Awaitable[object]) -> None:
        before = await self.token(store)
        await change
        assert store.token() != before
