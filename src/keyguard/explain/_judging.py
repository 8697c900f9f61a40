"""Having a request judged as a guard has it done, and leaving nothing behind."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from starlette.types import Scope

from keyguard.access import Access
from keyguard.authenticator import Authenticator, Judged
from keyguard.extract import Extraction
from keyguard.journal import Journal
from keyguard.middleware import KeyGuard, answer_of
from keyguard.model import (
    Found,
    IPAddress,
    Owner,
    Requirement,
)
from keyguard.ports import KeyStore
from keyguard.settings import Keyring

__all__ = ["judge_untouched"]


async def judge_untouched(
    guard: KeyGuard,
    scope: Scope,
    requirement: Requirement,
    presented: Extraction,
    address: IPAddress | None,
    *,
    outer: Access | None,
) -> tuple[Judged, list[str]]:
    """Have a request judged as a guard has it done, but for what that leaves behind; return what went wrong, too."""
    troubles = _Troubles()
    store = _Untouched(guard.store)
    authenticator = Authenticator(store, guard.policy, journal=troubles, clock=guard.clock, cache_size=0)
    identify, was_open = guard.identify, guard.store.is_open
    try:
        judged = await authenticator.authenticate(
            requirement,
            presented,
            address,
            identify=None if identify is None else lambda: answer_of(identify, scope),
            gathered=None if outer is None else replace(outer.facts, address=address, auto_login_user=None),
        )
    finally:
        await authenticator.close()
        if not was_open:  # One that could not be opened may hold a connection all the same.
            with suppress(Exception):  # Of the app's own store anything; the answer is there all the same.
                await guard.store.close()
    return judged, troubles.heard


class _Untouched:
    """A store that is read and nothing else: it counts no use, vouches for nothing and upgrades no digest."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self.keyring: Keyring = store.keyring
        self.concurrency: int = store.concurrency

    @property
    def is_open(self) -> bool:
        return self._store.is_open

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def find(self, lookups: Sequence[str]) -> Found | None:
        return await self._store.find(lookups)

    async def find_owner(self, name: str) -> Owner | None:
        return await self._store.find_owner(name)

    async def upgrade(self, key_id: str, *, verifier: str, new_lookup: str, new_verifier: str) -> bool:  # noqa: ARG002 The port's signature.
        return False


class _Troubles(Journal):
    """Hears what else would be written to the log: here it is a part of the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def trouble(self, what: str, problem: BaseException, *, unexpected: bool = False) -> None:
        self.heard.append(f"{what}: {type(problem).__name__ if unexpected else problem}")
