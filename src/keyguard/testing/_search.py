# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for searches of keys: what fits, in which order, and page by page."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from itertools import cycle, product
from typing import Any

from keyguard.errors import NotSupported
from keyguard.model import AuditKind, KeyOrder, KeyPage, KeyQuery, KeyRecord, KeyState, ListedKey, Owner, Usage
from keyguard.ports import KeyRegistry, UsageStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._key_store import RegistrySuite
from keyguard.testing._listing import in_every_state, of_few_moments
from keyguard.testing._made_up import NOON, UNSTORABLE, make_event, make_record

_TICK = timedelta(microseconds=1)

_HUGE = 10**30
"""More than a database has numbers for."""

_NOTHING = KeyPage(keys=(), total=0)


def _in_small_letters(name: str) -> str:
    return re.sub("[A-Z]", lambda found: found[0].lower(), name)


_VALUES: Mapping[KeyOrder, Callable[[ListedKey], Any]] = {
    KeyOrder.CREATED: lambda one: one.key.created_at,
    KeyOrder.NAME: lambda one: _in_small_letters(one.key.name),
    KeyOrder.OWNER: lambda one: _in_small_letters(one.owner.name),
    KeyOrder.EXPIRES: lambda one: one.key.expires_at,
    KeyOrder.LAST_USED: lambda one: one.usage.last_used_at,
    KeyOrder.USES: lambda one: one.usage.total,
}
"""What each order goes by."""

_NAMES = (
    *("", " ", "a", "A", "aB", "ada", "ADA", "laptop", "trailing "),
    *("Laptop 100%", "100_percent", "100 percent", "1000percent", "%", "_", "\\", r"\%", r"back\slash", "back/slash"),
    *("'; --", '"', "a\nb", "*", "?", "[ab]", "^a", "a$", "{0}", ":a"),
    *("é", "É", "e\N{COMBINING ACUTE ACCENT}", "straße", "STRASSE", "\N{LATIN SMALL LETTER LONG S}", "„🔑“", "🔒"),
    *("\N{KELVIN SIGN}", "Kelvin", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "\N{LATIN SMALL LETTER DOTLESS I}"),
    *("I", "i", "Σ", "ς", "\N{LATIN SMALL LIGATURE FI}", "fi"),
)
"""What a database may take for something else: wildcards, escapes, quotes, and letters that some case rule joins."""

_IDS = ("3fJ2", "3fj2", "3FJ2", "kg_3", "3f%2", "3f_2", r"3f\2", "é1", "É1", "%", "_")

_TEXTS = (
    *_NAMES,
    *("  ", "AB", "ab", "ad", "AdA", "ap", "LAPTOP", "laptop 1", "null", "None"),
    *("0%", "00%", "0_", r"0\_", "0 p", "%%", "__", r"\\", r"\_", "l%p", "l_p", "K/", r"K\S"),
    *("'", "a'", "--", "\n", "a*", "[", "[a]", "^", "$", ".", "{", ":"),
    *("e", "ß", "ss", "SS", "s", "S", "🔑", "\U0001f500", "k", "K", "\N{GREEK SMALL LETTER SIGMA}", "FI", "G "),
    *("3f", "3fJ", "3fJ2", "3fJ2x", "3FJ2", "fJ2", "J2", "3F", "3f%", "3f_", "3f\\"),
    *("kg", "kg_", "KG_", "Kg_", "kg_3", "kg_3f", "kg_3F", "kg_3fJ2", "kg_3fJ2x", "KG_3f", "kg_kg_3", "g_3"),
    *("kg%", "kg_%", "kgx3", "kg_é", "kg_É"),
    *("ng", "NG%", "x_B", "X_b", "xab"),
)
"""What is asked for: what stands in names, ids and owners' names, and what only seems to."""

_SOME_TEXTS = ("", "a", "LONG", "% É", "0%", "kg_3f", "3f_", "KG_3", "x_b")
"""What is asked for of one owner."""


class SearchContract(RegistrySuite):
    """What `keyguard.ports.KeyRegistry` promises of searches.

    In which order a database puts texts that differ in more than small letters is its own matter: nothing is asked here
    of how `Zoë` and `zebra` stand to each other.
    """

    async def test_a_search_finds_all_that_fits_in_its_order(self) -> None:
        """Each search answers as plain Python does, in every order, of every page, at the boundaries of all times."""
        ada, bob = self.owners()
        bob = replace(bob, is_active=False)
        keys = _of_every_kind([ada, bob])
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            listed = _listed(keys, [ada, bob], await _use(store, keys))
            for query, at, offset, limit in _searches([ada.id, bob.id, "nobody"]):
                found = await store.search_keys(query, at=at, offset=offset, limit=limit)
                assert found == answer(listed, query, at=at, offset=offset, limit=limit), (query, at, offset, limit)
            assert await store.search_keys(KeyQuery(), at=NOON, limit=3) == answer(
                listed, KeyQuery(), at=NOON, offset=0, limit=3
            )

    async def test_a_text_is_searched_for_character_by_character(self) -> None:
        """A text is found in names, and in owners' unless one is chosen, A to Z in either case, and no wildcard is one.

        Of the id, and of prefix and id, it is the beginning, letter case and all.
        """
        ada, bob = self.owners()
        ada, bob = replace(ada, name="Long % é"), replace(bob, name="x_b")
        prefixes, owners = cycle(["kg_", "KG_", "", "kgx"]), cycle([ada, bob, bob])
        ids = [*_IDS, *(f"n{number}" for number in range(len(_NAMES)))]
        names = ["of an id"] * len(_IDS) + [*_NAMES]
        keys = [
            make_record(key_id, owner.id, name=name, prefix=prefix)
            for key_id, name, prefix, owner in zip(ids, names, prefixes, owners, strict=False)
        ]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            listed = _listed(keys, [ada, bob], {})
            searches = [*((text, None) for text in (*_TEXTS, "x" * 50_001)), *((text, ada.id) for text in _SOME_TEXTS)]
            for text, owner_id in searches:
                query = KeyQuery(text=text, owner_id=owner_id)
                found = await store.search_keys(query, at=NOON, limit=len(keys))
                expected = answer(listed, query, at=NOON, offset=0, limit=len(keys))
                assert _ids(found) == _ids(expected), (text[:20], owner_id)
                assert found.total == expected.total

    async def test_a_text_that_cannot_be_stored_finds_no_key(self) -> None:
        """With a NUL character or half of a surrogate pair, in the text or in the owner's id, no key is found."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            for text in (*UNSTORABLE, "one\0", "\0one", "\ud800one"):
                for query in (
                    KeyQuery(text=text),
                    KeyQuery(text=text, owner_id=ada.id),
                    KeyQuery(owner_id=text),
                    KeyQuery(owner_id=text, text="one"),
                ):
                    assert await store.search_keys(query, at=NOON, limit=10) == _NOTHING

    async def test_pages_make_up_a_search(self) -> None:
        """Page after page the keys come as in one list, also those that nothing tells apart in what they go by."""
        ada, bob = self.owners()
        keys = [replace(key, name="same", expires_at=NOON) for key in of_few_moments([ada, bob])]
        async with opened(await self.make_store(Keyring(), [ada, bob], keys)) as store:
            for order, descending in product(KeyOrder, (True, False)):
                query = KeyQuery(order=order, descending=descending)
                whole = await store.search_keys(query, at=NOON, limit=100)
                assert _ids(whole) == {key.id for key in keys}
                paged: list[ListedKey] = []
                for offset in range(0, len(keys) + 4, 4):
                    page = await store.search_keys(query, at=NOON, offset=offset, limit=4)
                    assert page.total == len(keys)
                    paged += page.keys
                assert paged == [*whole.keys], order

    async def test_a_search_shows_keys_as_they_are(self) -> None:
        """What was changed of a key, of its owner or of its uses shows in the next search, whole."""
        ada, bob = self.owners()
        key = make_record(
            "one",
            ada.id,
            name="Zoë's „quoted“ 🔑 100%",
            verifier="$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA",
            scopes=frozenset({"flows:*"}),
            networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
            not_before=NOON + _TICK,
            expires_at=NOON + timedelta(days=1),
            metadata_json='{ "z": 1 }',
        )
        new = make_record("two", ada.id, rotated_from="one", created_at=NOON + _TICK)
        async with opened(await self.make_store(Keyring(), [ada, bob], [key])) as store:
            await _shows(store, [key], ada)
            assert await store.set_key_disabled("one", NOON)
            key = replace(key, disabled_at=NOON)
            await _shows(store, [key], ada)
            await store.rename_key("one", "another")
            key = replace(key, name="another")
            await _shows(store, [key], ada)
            assert await store.rotate_key(key, new, until=NOON)
            key = replace(key, expires_at=NOON, rotated_at=new.created_at)
            await _shows(store, [new, key], ada)
            uses = await _use(store, [new], Usage(total=3, last_used_at=NOON, last_used_address="2001:db8::1"))
            await _shows(store, [new, key], ada, uses)
            assert await store.revoke_key("two", NOON, "leaked")
            new = replace(new, revoked_at=NOON, revoked_reason="leaked")
            with suppress(NotSupported):
                assert await store.set_owner_active(ada.id, active=False)
                ada = replace(ada, is_active=False)
            await _shows(store, [new, key], ada, uses)
            assert await store.purge_keys(NOON + _TICK, limit=1, event=make_event(AuditKind.KEY_PURGED)) == 1
            await _shows(store, [new], ada, uses)

    async def test_a_key_without_its_owner_is_on_no_page(self) -> None:
        """A key whose owner does not exist is neither listed nor counted."""
        ada, bob = self.owners()
        key, orphan = make_record("one", ada.id), make_record("two", bob.id)
        async with opened(await self.make_store(Keyring(), [ada], [key, orphan])) as store:
            await _shows(store, [key], ada)
            for query in (KeyQuery(owner_id=bob.id), KeyQuery(text="two")):
                assert await store.search_keys(query, at=NOON, limit=10) == _NOTHING


def answer(listed: Sequence[ListedKey], query: KeyQuery, *, at: datetime, offset: int, limit: int) -> KeyPage:
    """Return what a store that holds the `listed` keys must answer: said once more, in another form than stores do it.

    Of keys that are equal in what they are ordered by, and of the same age, the order is that of `listed`.
    """
    fit = [one for one in listed if _fits(one, query, at)]
    fit.sort(key=lambda one: one.key.created_at, reverse=True)  # A sort leaves equal ones in their order, reversed too.
    value = _VALUES[query.order]
    known = [one for one in fit if value(one) is not None]
    known.sort(key=value, reverse=query.descending)
    known += [one for one in fit if value(one) is None]
    return KeyPage(keys=tuple(known[offset : offset + limit]), total=len(known))


def _fits(one: ListedKey, query: KeyQuery, at: datetime) -> bool:
    key, owner = one.key, one.owner
    if query.owner_id not in {None, key.owner_id} or (query.states and key.state(at) not in query.states):
        return False
    if query.expires_from is not None and key.expires_at is not None and key.expires_at < query.expires_from:
        return False
    if query.expires_before is not None and (key.expires_at is None or key.expires_at >= query.expires_before):
        return False
    anywhere = re.compile(re.escape(query.text), re.ASCII | re.IGNORECASE)
    names = [key.name] if query.owner_id else [key.name, owner.name]
    begins = [key.id[: len(query.text)], f"{key.prefix}{key.id}"[: len(query.text)]]
    return any(map(anywhere.search, names)) or query.text in begins


def _of_every_kind(owners: Sequence[Owner]) -> list[KeyRecord]:
    """Return keys in every state, of several owners and names, and no two of the same age."""
    keys = random.Random(0).sample(in_every_state(owners[0]), 40)  # noqa: S311 No secret: the same keys each time.
    names = cycle(["b", "ab", "a", "", "abc", "b", "z"])
    return [replace(key, owner_id=owner.id, name=name) for key, owner, name in zip(keys, cycle(owners), names)]


def _searches(owner_ids: Sequence[str]) -> list[tuple[KeyQuery, datetime, int, int]]:
    """Return queries with a time, an offset and a limit: each part of a query alone, and many of them at once."""
    moments = (NOON - _TICK, NOON, NOON + _TICK)
    times = (None, *moments)
    ordered = product(KeyOrder, (True, False))
    queries = [
        *(KeyQuery(order=order, descending=descending) for order, descending in ordered),
        *(KeyQuery(owner_id=owner_id) for owner_id in owner_ids),
        *(KeyQuery(expires_from=start, expires_before=end) for start, end in product(times, times)),
    ]
    in_states = [KeyQuery(states=frozenset({state})) for state in KeyState]
    pages = [(0, 1), (1, 1), (3, 0), (39, 5), (40, 5), (10**6, 5), (38, 2**31), (2**31, 1), (2**63, 2**63)]
    searches = [
        *((query, NOON, 0, 100) for query in queries),
        *((query, at, 0, 100) for query, at in product(in_states, moments)),
        *((KeyQuery(), NOON, offset, limit) for offset, limit in [*pages, (38, _HUGE), (_HUGE, _HUGE)]),
    ]
    draw = random.Random(1)  # noqa: S311 No secret: the same searches each time.
    for _ in range(60):
        query = KeyQuery(
            owner_id=draw.choice([None, None, *owner_ids]),
            text=draw.choice(["", "", "", "a", "B", "AB", "d", "kg_1", "1", "KG_", "x"]),
            states=frozenset(draw.sample([*KeyState], draw.choice([0, 0, 1, 2, 3, 6]))),
            expires_from=draw.choice([None, *times]),
            expires_before=draw.choice([None, None, None, *times]),
            order=draw.choice([*KeyOrder]),
            descending=draw.choice([True, False]),
        )
        searches.append((query, draw.choice(moments), draw.choice([0, 0, 1, 5, 20]), draw.choice([1, 3, 50])))
    return searches


async def _use(store: KeyRegistry, keys: Sequence[KeyRecord], usage: Usage | None = None) -> Mapping[str, Usage]:
    """Let a store that counts count uses of the keys, `usage` of each, or some, of some; return what it must know."""
    if not isinstance(store, UsageStore):
        return {}
    some = cycle([None, *(Usage(total=total) for total in (5, 2)), *_used_at_different_times()])
    uses = {key.id: one for key, one in zip(keys, some, strict=False) if one is not None}
    if usage is not None:
        uses = {key.id: usage for key in keys}
    await store.record_uses(uses, worker="w", sequence=1)
    return uses


def _used_at_different_times() -> list[Usage]:
    moments = (NOON, NOON - _TICK, NOON + timedelta(days=400), NOON, NOON - timedelta(days=1))
    return [
        Usage(total=total, last_used_at=at, last_used_address=address)
        for total, at, address in zip((1, 2, 10, 1_000, 9), moments, cycle(["192.0.2.1", None]))
    ]


def _listed(keys: Sequence[KeyRecord], owners: Sequence[Owner], uses: Mapping[str, Usage]) -> list[ListedKey]:
    by_id = {owner.id: owner for owner in owners}
    return [ListedKey(key=key, owner=by_id[key.owner_id], usage=uses.get(key.id, Usage(total=0))) for key in keys]


def _ids(page: KeyPage) -> set[str]:
    ids = [one.key.id for one in page.keys]
    assert len(ids) == len({*ids})
    return {*ids}


async def _shows(
    store: KeyRegistry, keys: Sequence[KeyRecord], owner: Owner, uses: Mapping[str, Usage] | None = None
) -> None:
    """Demand that these are the keys that a search for all finds, in that order."""
    found = await store.search_keys(KeyQuery(), at=NOON, limit=10)
    assert found == KeyPage(keys=tuple(_listed(keys, [owner], uses or {})), total=len(keys))
