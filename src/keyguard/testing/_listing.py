# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for lists of keys: what is left out, in which order, and page by page."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle, product

from keyguard.model import AuditKind, KeyRecord, KeyState, Owner
from keyguard.ports import KeyRegistry
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._made_up import NOON, UNSTORABLE, make_event, make_record

_TICK = timedelta(microseconds=1)


class ListingContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of lists of keys."""

    async def test_keys_are_listed_newest_first(self) -> None:
        """Keys are listed by their age, of one owner or of all, revoked ones included."""
        ada, bob = self.owners()
        old = make_record("a", ada.id, created_at=NOON - timedelta(days=1), revoked_at=NOON)
        mid = make_record("c", bob.id, created_at=NOON)
        new = make_record("b", ada.id, created_at=NOON + _TICK)
        async with opened(await self.make_store(Keyring(), [ada, bob], [mid, new, old])) as store:
            assert await store.list_keys() == [new, mid, old]
            assert await store.list_keys(ada.id) == [new, old]
            assert await store.list_keys(bob.id) == [mid]
            assert await store.list_keys("nobody") == []

    async def test_keys_are_listed_by_their_state(self) -> None:
        """Each state's list holds the keys of which `KeyRecord.state` says so, to the microsecond of each boundary."""
        ada, _ = self.owners()
        keys = in_every_state(ada)
        assert {key.state(NOON) for key in keys} == set(KeyState)
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            for at, state in product((NOON - _TICK, NOON, NOON + _TICK), KeyState):
                listed = {key.id for key in await store.list_keys(state=state, at=at)}
                assert listed == {key.id for key in keys if key.state(at) is state}, (state, at)

    async def test_keys_are_listed_by_what_they_begin_with(self) -> None:
        """Prefix and id are compared as one text, character for character: letter case counts, and no wildcard does."""
        ada, _ = self.owners()
        texts = ["kg_|3fJ2", "kg_|3fj2", "kg_|3f", "KG_|3fJ4", "kgx|3fJ5", "kg|_3fJ3", "k%|_x", r"k\|x", "é|É", "é|e"]
        keys = [
            make_record(key_id, ada.id, prefix=prefix) for prefix, _, key_id in (text.partition("|") for text in texts)
        ]
        begins = ["", "k", "K", "kg", "kg_", "kg_3", "kg_3f", "kg_3fJ", "kg_3fJ2", "kg_3fJ2x", "kg_3F", "3f"]
        begins += [
            "k%",
            "k_",
            "%",
            "_",
            "k\\",
            "\\",
            "*",
            "k?",
            "[k]",
            "é",
            "éÉ",
            "É",
            "kg_*",
            " ",
            "kg_3fJ\N{KELVIN SIGN}",
        ]
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            for text in begins:
                listed = {key.id for key in await store.list_keys(begins=text)}
                assert listed == {key.id for key in keys if f"{key.prefix}{key.id}".startswith(text)}, text

    async def test_a_text_that_cannot_be_stored_begins_no_key(self) -> None:
        """With a NUL character or half of a surrogate pair no key begins."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            for text in (*UNSTORABLE, "kg_one\0"):
                assert await store.list_keys(begins=text) == []
                assert await store.list_keys(text) == []

    async def test_pages_make_up_the_list(self) -> None:
        """Page after page, of whatever length, the keys come as in one list, those of the same moment too."""
        ada, bob = self.owners()
        keys = of_few_moments([ada, bob])
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            whole = await store.list_keys()
            assert {key.id for key in whole} == {key.id for key in keys}
            moments = [key.created_at for key in whole]
            assert moments == sorted(moments, reverse=True)
            assert await store.list_keys() == whole
            for limit in (1, 2, 3, 7, len(keys), len(keys) + 1):
                assert await _pages(store, limit) == whole
            assert await store.list_keys(limit=0) == []
            assert await store.list_keys(after=whole[-1]) == []

    async def test_filters_work_together(self) -> None:
        """Owner, state, beginning, page and limit together leave the keys that fit all of them, in the same order."""
        ada, bob = self.owners()
        keys = [replace(key, owner_id=owner.id) for key, owner in zip(in_every_state(ada), cycle([ada, bob]))]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            whole = await store.list_keys()
            places = (None, whole[0], whole[len(whole) // 2])
            for owner_id, begins, after in product((None, ada.id, bob.id), ("", "kg_1"), places):
                rest = whole if after is None else whole[whole.index(after) + 1 :]
                some = [key for key in rest if f"{key.prefix}{key.id}".startswith(begins)]
                some = [key for key in some if owner_id in {None, key.owner_id}]
                assert await store.list_keys(owner_id, begins=begins, after=after) == some
                for state in (KeyState.ACTIVE, KeyState.GRACE, KeyState.EXPIRED):
                    fit = [key for key in some if key.state(NOON) is state]
                    assert (
                        await store.list_keys(owner_id, state=state, at=NOON, begins=begins, after=after, limit=3)
                        == fit[:3]
                    )

    async def test_pages_outlast_changes_between_them(self) -> None:
        """Keys that come, go and change between two pages neither repeat another key nor leave one out."""
        ada, _ = self.owners()
        keys = [
            make_record(f"k{number}", ada.id, created_at=NOON + timedelta(hours=number), revoked_at=NOON)
            for number in range(6)
        ]
        newer = make_record("newer", ada.id, created_at=NOON + timedelta(days=1))
        older = make_record("older", ada.id, created_at=NOON + timedelta(hours=1, minutes=30))
        async with opened(await self.make_store(Keyring(), [ada], keys)) as store:
            first = await store.list_keys(limit=2)
            assert first == [keys[5], keys[4]]
            await store.add_key(newer)
            await store.add_key(older)
            await store.rename_key("k4", "another")
            assert await store.list_keys(after=first[-1], limit=2) == [keys[3], keys[2]]
            event = make_event(AuditKind.KEY_PURGED)
            assert await store.purge_keys(NOON + _TICK, limit=10, event=event) == len(keys)
            assert await store.list_keys(after=first[-1]) == [older]
            assert await store.list_keys(after=keys[2]) == [older]
            assert await store.list_keys(after=keys[1]) == []
            assert await store.list_keys() == [newer, older]


def in_every_state(owner: Owner) -> list[KeyRecord]:
    """Return keys with every combination of what makes a state, at the boundaries of noon."""
    ends: tuple[datetime | None, ...] = (None, NOON - _TICK, NOON, NOON + _TICK)
    marks = (None, NOON + _TICK)  # Whether a key is revoked, say, is no question of when.
    combinations = product(ends, ends, marks, marks, marks)
    return [
        make_record(
            f"{number}",
            owner.id,
            created_at=NOON - timedelta(days=1, seconds=number),
            not_before=not_before,
            expires_at=expires_at,
            disabled_at=disabled_at,
            revoked_at=revoked_at,
            rotated_at=rotated_at,
        )
        for number, (not_before, expires_at, disabled_at, revoked_at, rotated_at) in enumerate(combinations)
    ]


def of_few_moments(owners: list[Owner]) -> list[KeyRecord]:
    """Return keys of which many were made at the same moment, in no order."""
    ids = ["b", "B", "a", "ab", "1", "10", "2", "é", "_", "zz", "Za", "c-1", "c_1", "c1", "ß"]
    return [
        make_record(key_id, owners[number % len(owners)].id, created_at=NOON + number % 4 // 2 * _TICK)
        for number, key_id in enumerate(ids)
    ]


async def _pages(store: KeyRegistry, limit: int) -> list[KeyRecord]:
    """Read the whole list in pages."""
    keys = page = await store.list_keys(limit=limit)
    while page:
        page = await store.list_keys(after=page[-1], limit=limit)
        assert len(page) <= limit
        assert not {key.id for key in page} & {key.id for key in keys}
        keys = keys + page
    return keys
