# ruff: noqa: S101 The asserts are what this file is for.
"""The suite for stores that vouch for what was read from them before."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import timedelta
from types import NoneType
from typing import Protocol

from keyguard.errors import NotSupported
from keyguard.model import AuditKind, KeyQuery, KeyRecord, Owner
from keyguard.ports import Freshness, KeyRegistry, SessionStore
from keyguard.settings import Keyring
from keyguard.testing._expect import opened
from keyguard.testing._key_store import KeyStoreContract
from keyguard.testing._made_up import NOON, make_digest, make_event, make_record, make_session


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
        async with opened(await self.make_store(Keyring(), [], [])) as store:
            assert type(store.is_exact) is bool

    async def test_a_token_is_there_without_waiting(self) -> None:
        """A thousand tokens take less than a second, and the event loop does nothing else meanwhile."""
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
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
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            before = await self.token(store)
            await store.find([key.lookup])
            await store.find_owner(ada.name)
            await store.get_key("one")
            await store.list_keys()
            await store.search_keys(KeyQuery(text="one"), at=NOON, limit=1)
            await store.list_events()
            await store.list_owners()
            await store.page_owners(limit=1)
            await store.get_password(ada.id)
            assert await self.token(store) == before

    async def test_the_token_moves_with_a_keys_state(self) -> None:
        """When a call that disables, enables, rotates, revokes or purges a key has returned, the token is another."""
        ada, _ = self.owners()
        keys = {key_id: make_record(key_id, ada.id) for key_id in ("one", "two", "three", "four")}
        new = [make_record(f"new-{number}", ada.id) for number in (1, 2)]
        async with opened(await self.make_store(Keyring(), [ada], [*keys.values()])) as store:
            await self._moves(store, store.set_key_disabled("one", NOON))
            await self._moves(store, store.set_key_disabled("one", None))
            await self._moves(store, store.revoke_key("two", NOON, "leaked"))
            await self._moves(store, store.rotate_key(keys["three"], new[0], until=NOON))
            await self._moves(store, store.rotate_key(keys["four"], new[1], until=None))
            event = make_event(AuditKind.KEY_PURGED)
            await self._moves(store, store.purge_keys(NOON + timedelta(days=1), limit=1, event=event))

    async def test_the_token_moves_with_an_owners_state(self) -> None:
        """When a call that changes an owner's name or flags, or removes the owner, has returned, the token is another.

        Where owners live in the app's own table, nothing is asked here.
        """
        ada, _ = self.owners()
        async with opened(await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])) as store:
            with suppress(NotSupported):
                await self._moves(store, store.set_owner_active(ada.id, active=False))
                await self._moves(store, store.set_owner_active(ada.id, active=True))
                await self._moves(store, store.set_owner_superuser(ada.id, superuser=True))
                await self._moves(store, store.set_owner_superuser(ada.id, superuser=False))
                event = make_event(AuditKind.OWNER_RENAMED, owner_id=ada.id)
                await self._moves(store, store.rename_owner(ada.id, "a new name", event=event))
                await self._moves(store, store.remove_owner(ada.id, event=event))

    async def test_the_token_stays_with_other_changes(self) -> None:
        """The token stays the same when a key is added, renamed or upgraded, a password set, or somebody signs in."""
        ada, _ = self.owners()
        key = make_record("one", ada.id)
        digest = make_digest("new")
        async with opened(await self.make_store(Keyring(), [ada], [key])) as store:
            before = await self.token(store)
            await store.add_key(make_record("two", ada.id))
            await store.rename_key("one", "a new name")
            assert await store.upgrade("one", verifier=key.verifier, new_lookup=digest, new_verifier=digest)
            with suppress(NotSupported):
                await store.set_password(ada.id, "$argon2id$1")
                if isinstance(store, SessionStore):
                    await store.add_session(make_session("one", ada.id))
                    assert await store.end_sessions(ada.id) == 1
            assert await self.token(store) == before

    async def test_no_token_comes_back(self) -> None:
        """A token that was given up is never given again by the same store, closed and opened meanwhile or not."""
        ada, _ = self.owners()
        store = await self.make_store(Keyring(), [ada], [make_record("one", ada.id)])
        seen: list[int] = []
        for _ in range(3):
            async with opened(store):
                for at in (NOON, None):
                    await store.set_key_disabled("one", at)
                    seen.append(await self.token(store))
        assert len(set(seen)) == len(seen)

    async def _moves(self, store: _VouchingStore, change: Awaitable[object]) -> None:
        before = await self.token(store)
        await change
        assert store.token() != before
