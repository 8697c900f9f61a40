# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for how keys are used."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from keyguard.errors import StoreUnavailable
from keyguard.model import KeyRecord, Owner, Usage
from keyguard.ports import KeyStore, UsageStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._made_up import NOON, UNSTORABLE


class _CountingStore(KeyStore, UsageStore, Protocol):
    """A store that counts."""


class UsageContract:
    """What `keyguard.ports.UsageStore` promises. The store needs no owners and no keys for it."""

    async def make_store(self, keyring: Keyring, owners: Sequence[Owner], keys: Sequence[KeyRecord]) -> _CountingStore:
        """Return a new store, not open."""
        raise NotImplementedError("the subclass makes the store")

    async def test_totals_are_added_up(self) -> None:
        """Of each key the uses of all batches are added up; one that was never used is left out."""
        async with opened(await self.make_store(Keyring(), [], [])) as store:
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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
            for worker, sequence in [("v", 1), ("v", 1), ("v", 2), ("v", 1), ("v", 2), ("w", 1), ("w", 1), ("v", 4)]:
                await store.record_uses(uses, worker=worker, sequence=sequence)
            assert await store.get_uses(["one"]) == {"one": replace(uses["one"], total=4)}

    async def test_the_same_batch_at_once(self) -> None:
        """A batch that comes several times at once is added once; who is told otherwise is told that it failed."""
        uses = {"one": Usage(total=1)}
        async with opened(await self.make_store(Keyring(), [], [])) as store:
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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
            await store.record_uses(uses, worker="w", sequence=1)
            await store.record_uses({}, worker="w", sequence=2)
            assert await store.get_uses(list(uses)) == uses

    async def test_what_was_counted_outlives_a_closing(self) -> None:
        """After `close` and `open` the uses are there, and so is what tells a batch that was added."""
        store = await self.make_store(Keyring(), [], [])
        for _ in range(2):
            async with opened(store):
                await store.record_uses({"one": Usage(total=1)}, worker="w", sequence=1)
                assert await store.get_uses(["one"]) == {"one": Usage(total=1)}
