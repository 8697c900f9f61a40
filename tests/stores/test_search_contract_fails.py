"""Every test of the suites for searches and for `expected` notices a store that breaks its promise."""

import asyncio
import random
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from filling import suite_over

from keyguard.errors import Changed, KeyguardError, StoreUnavailable
from keyguard.model import KeyOrder, KeyPage, KeyQuery, Owner
from keyguard.ports import UsageStore
from keyguard.stores.memory import MemoryStore
from keyguard.testing._expected import ExpectationContract
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._search import SearchContract

TICK = timedelta(microseconds=1)
ALL = {"offset": 0, "limit": 1_000_000}


# --- what fits --------------------------------------------------------------------------------------------------


class SearchesABitEarly(MemoryStore):
    async def search_keys(self, query, *, at, **page):
        return await super().search_keys(query, at=at - TICK, **page)


class SearchesOneState(MemoryStore):
    async def search_keys(self, query, **chosen):
        return await super().search_keys(replace(query, states=frozenset(list(query.states)[:1])), **chosen)


class FindsWhatExpiresThen(MemoryStore):
    async def search_keys(self, query, **chosen):
        end = query.expires_before and query.expires_before + TICK
        return await super().search_keys(replace(query, expires_before=end), **chosen)


class FindsWhatExpiresLater(MemoryStore):
    async def search_keys(self, query, **chosen):
        start = query.expires_from and query.expires_from + TICK
        return await super().search_keys(replace(query, expires_from=start), **chosen)


class Filters(MemoryStore):
    """Leaves out those of which `fits` says so."""

    async def search_keys(self, query, *, at, offset=0, limit):
        found = (await super().search_keys(self.asked(query), at=at, **ALL)).keys
        fit = tuple(each for each in found if self.fits(each, query))
        return KeyPage(keys=fit[offset : offset + limit], total=len(fit))

    def asked(self, query):
        return query


class ForgetsTheEndless(Filters):
    def fits(self, each, query):
        return query.expires_from is None or each.key.expires_at is not None


class ForgetsTheUnused(Filters):
    def fits(self, each, query):
        return each.usage.total > 0


class ForgetsTheInactive(Filters):
    def fits(self, each, query):
        return each.owner.is_active


class ForgetsUses(MemoryStore):
    async def search_keys(self, query, **chosen):
        page = await super().search_keys(query, **chosen)
        return replace(page, keys=tuple(replace(each, usage=replace(each.usage, total=0)) for each in page.keys))


# --- in which order ---------------------------------------------------------------------------------------------


class TurnsTheListAround(MemoryStore):
    async def search_keys(self, query, *, at, offset=0, limit):
        page = await super().search_keys(replace(query, descending=True), at=at, **ALL)
        keys = page.keys if query.descending else page.keys[::-1]
        return replace(page, keys=keys[offset : offset + limit])


class ListsTheSameOldestFirst(MemoryStore):
    async def search_keys(self, query, *, at, offset=0, limit):
        if query.order is KeyOrder.NAME:
            oldest = await super().search_keys(replace(query, order=KeyOrder.CREATED, descending=False), at=at, **ALL)
            keys = sorted(oldest.keys, key=lambda each: each.key.name, reverse=query.descending)
            return replace(oldest, keys=tuple(keys[offset : offset + limit]))
        return await super().search_keys(query, at=at, offset=offset, limit=limit)


class OrdersByTheOwnersId(MemoryStore):
    async def search_keys(self, query, *, at, offset=0, limit):
        page = await super().search_keys(query, at=at, **ALL)
        keys = list(page.keys)
        if query.order is KeyOrder.OWNER:
            keys.sort(key=lambda each: each.owner.id[::-1], reverse=not query.descending)
        return replace(page, keys=tuple(keys[offset : offset + limit]))


class OrdersAPageByItself(MemoryStore):
    async def search_keys(self, query, *, at, offset=0, limit):
        keys = list((await super().search_keys(query, at=at, **ALL)).keys)
        random.Random(offset).shuffle(keys)
        return KeyPage(keys=tuple(keys[offset : offset + limit]), total=len(keys))


# --- how many ---------------------------------------------------------------------------------------------------


class CountsThePage(MemoryStore):
    async def search_keys(self, query, **chosen):
        page = await super().search_keys(query, **chosen)
        return replace(page, total=len(page.keys))


class CountsNothingBeyondTheEnd(MemoryStore):
    async def search_keys(self, query, **chosen):
        page = await super().search_keys(query, **chosen)
        return replace(page, total=page.total if page.keys else 0)


class TakesNoHugeNumbers(MemoryStore):
    async def search_keys(self, query, *, at, offset=0, limit):
        if max(offset, limit) >= 2**63:
            raise StoreUnavailable("the number is too large")
        return await super().search_keys(query, at=at, offset=offset, limit=limit)


# --- texts ------------------------------------------------------------------------------------------------------


class Reads(Filters):
    """Looks for the text in ways of its own."""

    def asked(self, query):
        return replace(query, text="")

    def fits(self, each, query):
        names = [each.key.name] if query.owner_id is not None else [each.key.name, each.owner.name]
        begins = (each.key.id, f"{each.key.prefix}{each.key.id}")
        return any(self.is_in(query.text, name) for name in names) or any(
            self.begins(query.text, id_) for id_ in begins
        )

    def is_in(self, text, name):
        return re.search(re.escape(text), name, re.ASCII | re.IGNORECASE)

    def begins(self, text, whole):
        return whole.startswith(text)


class FoldsNothing(Reads):
    def is_in(self, text, name):
        return text in name


class FoldsAllLetters(Reads):
    def is_in(self, text, name):
        return text.casefold() in name.casefold()


class FindsWholeNames(Reads):
    def is_in(self, text, name):
        return text.lower() == name.lower()


class TakesWildcards(Reads):
    def is_in(self, text, name):
        like = "".join({"_": ".", "%": ".*"}.get(each, re.escape(each)) for each in text)
        return re.search(like, name, re.ASCII | re.IGNORECASE | re.DOTALL)


class FoldsIds(Reads):
    def begins(self, text, whole):
        return whole.lower().startswith(text.lower())


class FindsIdsAnywhere(Reads):
    def begins(self, text, whole):
        return text in whole


class KnowsNoPrefixes(Reads):
    def fits(self, each, query):
        return super().fits(replace(each, key=replace(each.key, prefix="")), query)


class FindsOwnersAlways(Reads):
    def fits(self, each, query):
        return super().fits(each, query) or self.is_in(query.text, each.owner.name)


class RefusesLongTexts(MemoryStore):
    async def search_keys(self, query, **chosen):
        if len(query.text) > 50_000:
            raise StoreUnavailable("LIKE or GLOB pattern too complex")
        return await super().search_keys(query, **chosen)


class EncodesTexts(MemoryStore):
    async def search_keys(self, query, **chosen):
        query.text.encode()
        return await super().search_keys(query, **chosen)


class StripsTexts(MemoryStore):
    async def search_keys(self, query, **chosen):
        return await super().search_keys(replace(query, text=query.text.strip("\0")), **chosen)


# --- whose ------------------------------------------------------------------------------------------------------


class RemembersSearches(MemoryStore):
    async def search_keys(self, query, **chosen):
        seen = self.__dict__.setdefault("seen", {})
        if query not in seen:
            seen[query] = await super().search_keys(query, **chosen)
        return seen[query]


class ListsOrphans(MemoryStore):
    async def search_keys(self, query, **chosen):
        owners, nobodys = self._owners, {key.owner_id for key in self._keys.values()}
        self._owners = {**{owner_id: Owner(id=owner_id, name="") for owner_id in nobodys}, **owners}
        page = await super().search_keys(query, **chosen)
        self._owners = owners
        return page


class CountsOrphans(MemoryStore):
    async def search_keys(self, query, **chosen):
        page = await super().search_keys(query, **chosen)
        return page if query != KeyQuery() else replace(page, total=len(self._keys))


SEARCHES = [
    *(
        (broken, "test_a_search_finds_all_that_fits_in_its_order")
        for broken in (
            SearchesABitEarly,
            SearchesOneState,
            FindsWhatExpiresThen,
            FindsWhatExpiresLater,
            ForgetsTheEndless,
            ForgetsTheUnused,
            ForgetsTheInactive,
            ForgetsUses,
            TurnsTheListAround,
            ListsTheSameOldestFirst,
            OrdersByTheOwnersId,
            CountsThePage,
            CountsNothingBeyondTheEnd,
            TakesNoHugeNumbers,
        )
    ),
    *(
        (broken, "test_a_text_is_searched_for_character_by_character")
        for broken in (
            FoldsNothing,
            FoldsAllLetters,
            FindsWholeNames,
            TakesWildcards,
            FoldsIds,
            FindsIdsAnywhere,
            KnowsNoPrefixes,
            FindsOwnersAlways,
            RefusesLongTexts,
        )
    ),
    (EncodesTexts, "test_a_text_that_cannot_be_stored_finds_no_key"),
    (StripsTexts, "test_a_text_that_cannot_be_stored_finds_no_key"),
    (OrdersAPageByItself, "test_pages_make_up_a_search"),
    (CountsThePage, "test_pages_make_up_a_search"),
    (RemembersSearches, "test_a_search_shows_keys_as_they_are"),
    (ListsOrphans, "test_a_key_without_its_owner_is_on_no_page"),
    (CountsOrphans, "test_a_key_without_its_owner_is_on_no_page"),
]


# --- what was expected ------------------------------------------------------------------------------------------


class Expects(MemoryStore):
    """Asks `expect` before each change of a key that expects something, and lets nobody else ask."""

    async def expect(self, record, expected, events):
        raise NotImplementedError

    async def rename_key(self, key_id, name, *, expected=None, events=()):
        expected = expected and await self.expect(self._key(key_id), expected, events)
        return await super().rename_key(key_id, name, expected=expected, events=events)

    async def set_key_disabled(self, key_id, at, *, expected=None, events=()):
        expected = expected and await self.expect(self._key(key_id), expected, events)
        return await super().set_key_disabled(key_id, at, expected=expected, events=events)

    async def revoke_key(self, key_id, at, reason, *, expected=None, events=()):
        expected = expected and await self.expect(self._key(key_id), expected, events)
        return await super().revoke_key(key_id, at, reason, expected=expected, events=events)


class ExpectsNothing(Expects):
    async def expect(self, record, expected, events):
        return None


class ExpectsAllOfIt(Expects):
    async def expect(self, record, expected, events):
        if record != expected:
            raise Changed("the key is another")
        return expected


class ExpectsBeforeItChanges(Expects):
    async def expect(self, record, expected, events):
        if (record.name, record.disabled_at, record.revoked_at) != (
            expected.name,
            expected.disabled_at,
            expected.revoked_at,
        ):
            raise Changed("the key is another")
        await asyncio.sleep(0)


class NotesWhatWasNotExpected(Expects):
    async def expect(self, record, expected, events):
        if record.name != expected.name:
            self._note(events)
        return expected


class ExpectsAboutTheTime(Expects):
    async def expect(self, record, expected, events):
        end = record.expires_at
        is_near = end and expected.expires_at and abs(end - expected.expires_at) < timedelta(seconds=1)
        return replace(expected, expires_at=end) if is_near else expected


class ExpectsNamesInEitherCase(Expects):
    async def expect(self, record, expected, events):
        is_it = record.name.lower() == expected.name.lower()
        return replace(expected, name=record.name) if is_it else expected


class EncodesWhatItExpects(Expects):
    async def expect(self, record, expected, events):
        expected.name.encode()
        return expected


def forgets(field):
    class Forgets(Expects):
        async def expect(self, record, expected, events):
            return replace(expected, **{field: getattr(record, field)})

    Forgets.__name__ = f"Forgets_{field}"
    return Forgets


class SaysNoToTheLater(MemoryStore):
    async def revoke_key(self, key_id, at, reason, *, expected=None, events=()):
        try:
            return await super().revoke_key(key_id, at, reason, expected=expected, events=events)
        except Changed:
            return False


class ExpectsOnlyOfWhatItChanges(MemoryStore):
    async def rename_key(self, key_id, name, *, expected=None, events=()):
        if self._key(key_id).name != name:
            await super().rename_key(key_id, name, expected=expected, events=events)


class TakesTheMissingForChanged(MemoryStore):
    async def rename_key(self, key_id, name, *, expected=None, events=()):
        if key_id not in self._keys and expected is not None:
            raise Changed("the key is another")
        await super().rename_key(key_id, name, expected=expected, events=events)


class RotatesWhateverItIs(MemoryStore):
    async def rotate_key(self, old, new, *, until, events=()):
        return await super().rotate_key(self._key(old.id), new, until=until, events=events)


EXPECTATIONS = [
    (ExpectsAllOfIt, "test_a_key_that_is_as_expected_is_changed"),
    *(
        (broken, "test_a_key_that_is_not_as_expected_is_not_changed")
        for broken in (
            *map(forgets, ("name", "expires_at", "disabled_at", "revoked_at", "rotated_at")),
            ExpectsNothing,
            NotesWhatWasNotExpected,
            ExpectsAboutTheTime,
            ExpectsNamesInEitherCase,
            EncodesWhatItExpects,
            SaysNoToTheLater,
            ExpectsOnlyOfWhatItChanges,
        )
    ),
    (TakesTheMissingForChanged, "test_what_cannot_be_is_told_whatever_is_expected"),
    *(
        (broken, "test_one_of_several_who_read_the_same_changes_it")
        for broken in (ExpectsNothing, ExpectsBeforeItChanges, SaysNoToTheLater, RotatesWhateverItIs)
    ),
]

SUITES = {SearchContract: SEARCHES, ExpectationContract: EXPECTATIONS}


@pytest.mark.parametrize(("suite", "broken", "test"), [(suite, *row) for suite, rows in SUITES.items() for row in rows])
async def test_a_broken_promise_is_noticed(suite, broken, test):
    """A store that breaks a promise fails the test of that promise."""
    with pytest.raises((AssertionError, UnicodeEncodeError, KeyguardError)):
        await getattr(suite_over(suite, broken), test)()


@pytest.mark.parametrize("suite", SUITES)
def test_every_test_is_seen_to_fail(suite):
    """Each test of these suites has a store above that fails it."""
    own = {name for name in dir(suite) if name.startswith("test_")} - set(dir(KeyStoreContract))
    assert own == {test for _, test in SUITES[suite]}


class ReadsRightly(Reads, Expects):
    async def expect(self, record, expected, events):
        return expected


@pytest.mark.parametrize(
    ("suite", "test"), [(suite, test) for suite, rows in SUITES.items() for test in sorted({test for _, test in rows})]
)
async def test_what_the_broken_ones_are_made_of_keeps_the_promises(suite, test):
    """A store that searches and expects like those above, but in nothing wrongly, passes each of the tests."""
    await getattr(suite_over(suite, ReadsRightly), test)()


class CountsNothing(MemoryStore):
    record_uses = get_uses = None


@pytest.mark.parametrize(
    "test", ["test_a_search_finds_all_that_fits_in_its_order", "test_a_search_shows_keys_as_they_are"]
)
async def test_a_store_that_counts_nothing_is_asked_for_no_uses(test):
    """A store without `UsageStore` keeps the promises of searches by saying 0 of each key."""
    assert not isinstance(CountsNothing(), UsageStore)
    await getattr(suite_over(SearchContract, CountsNothing), test)()
