"""Reads from the store what a check needs: opened once, within a deadline, each key by one read for all who need it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from keyguard.admission import Admission
from keyguard.cache import Flight, Flights, Known, Token
from keyguard.errors import Overloaded, StartRefused, StoreUnavailable
from keyguard.hashing import Digests
from keyguard.journal import Journal
from keyguard.keys import Plaintext
from keyguard.loops import is_under_way_here
from keyguard.model import Auth, Found, KeyRecord, Owner
from keyguard.policy import judge
from keyguard.ports import KeyStore
from keyguard.usage import Upgrade, Uses

__all__ = ["Reader"]

_Answer = TypeVar("_Answer")


class Reader:
    """What goes wrong in the store is `StoreUnavailable` here, and a line in the log.

    Args:
        store: it is opened at the first need, and closed again if it was opened here.
        token: the store's, see `keyguard.ports.Freshness`.
        journal: where troubles are written.
    """

    def __init__(self, store: KeyStore, token: Token, journal: Journal) -> None:
        self._store = store
        self._token = token
        self._journal = journal
        self._digests = Digests(store.keyring)
        self._admission = Admission(at_once=store.concurrency)
        self._flights = Flights(token)
        self._opening_seconds = 60.0  # After that an opening that hangs is given up, and tried again.
        self.uses: Uses = Uses(store)
        self._closing_seconds = 5.0
        self._opening: asyncio.Task[None] | None = None
        self._joined = 0
        self._opened_here = False

    # --- opening and closing ---

    async def open(self) -> None:
        """Open the store, if nobody has yet.

        Raises `StartRefused` if the store does not belong to this program, `StoreUnavailable` if it cannot be reached
        within the deadline of a check.
        """
        await self._admission.run(self._open_once)

    async def _open_once(self) -> None:
        """Open the store in one task that all who need it wait for; it goes on when they give up, for the next ones."""
        if self._store.is_open:
            return
        opening = self._opening
        if opening is None or not is_under_way_here(opening):
            door = Admission(at_once=1, seconds=self._opening_seconds)
            opening = self._opening = asyncio.create_task(door.run(self._open_store))
            opening.add_done_callback(self._note_opening)
        self._joined += 1
        try:
            await asyncio.shield(opening)
        finally:
            self._joined -= 1

    async def _open_store(self) -> None:
        await self._store.open()
        self._opened_here = True

    def _note_opening(self, opening: asyncio.Task[None]) -> None:
        """Write why the store could not be opened, if nobody has waited so long as to be told."""
        problem = None if opening.cancelled() else opening.exception()
        if problem is not None and not self._joined:
            self._trouble("the store could not be opened", problem)

    async def close(self) -> None:
        """Write what waits to be written, and close the store if it was opened here.

        A store that hangs is left behind after 5 s, with a line in the log: it must not keep the app from ending.
        """
        try:
            await Admission(at_once=1, seconds=self._closing_seconds).run(self._close)
        except StoreUnavailable as problem:
            self._trouble("the store could not be closed", problem)

    async def _close(self) -> None:
        if self._opening is not None and is_under_way_here(self._opening):
            self._opening.cancel()
            await asyncio.wait({self._opening})
        was_open = self._store.is_open
        await self.uses.close()
        if self._opened_here or (self._store.is_open and not was_open):  # By the writing, that is.
            self._opened_here = False
            await self._store.close()

    # --- reading ---

    def deadline(self) -> float:
        """Return until when a request that comes now may take, all its reads together, by the running loop's clock."""
        return self._admission.deadline()

    async def find_owner(self, name: str, deadline: float | None = None) -> Owner | None:
        """Return the owner called `name`. Raises `StoreUnavailable`.

        `deadline` is that of a request which has read something already; without it, it begins now.
        """
        return await self._ask(lambda: self._store.find_owner(name), deadline or self.deadline())

    async def find(self, name: bytes, key: Plaintext, deadline: float) -> Known | None:
        """Return what is known of a key, None if no row of the store verifies it. Raises `StoreUnavailable`.

        `name` is what the cache calls it. Where somebody else reads this key at the same time, one read does, within
        the deadline of whoever came first: all others have longer.
        """
        return await self._flights.share(name, lambda flight: self._read(flight, name, key, deadline))

    async def find_again(self, known: Known) -> Known | None:
        """Return what is known now of a key that was found before; its text is not needed. Raises `StoreUnavailable`.

        Whether it is genuine was seen then: what is found by a digest of its whole text is the same key.
        """
        deadline = self.deadline()
        return await self._flights.share(
            b"again" + known.name, lambda flight: self._read_again(flight, known, deadline)
        )

    async def _read(self, flight: Flight, name: bytes, key: Plaintext, deadline: float) -> Known | None:
        lookups = tuple(self._digests.lookups(key))
        found = await self._find(flight, lookups, deadline)
        if found is None or not await self._is_genuine(key, found.key, deadline):
            return None
        known = _known(name, lookups, found, flight)
        if known.verdict.standing is None:
            await self._note_upgrade(key, found.key, deadline)
        return known

    async def _read_again(self, flight: Flight, known: Known, deadline: float) -> Known | None:
        found = await self._find(flight, known.lookups, deadline)
        return None if found is None else _known(known.name, known.lookups, found, flight)

    async def _find(self, flight: Flight, lookups: tuple[str, ...], deadline: float) -> Found | None:
        def find() -> Awaitable[Found | None]:
            # The token first: what is changed from now on may be missing from the answer.
            flight.begin(self._token(), time.monotonic())
            return self._store.find(lookups)

        return await self._ask(find, deadline)

    async def _is_genuine(self, key: Plaintext, record: KeyRecord, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._digests.verify(key, record.verifier)
        except TimeoutError:
            raise self.outage("a key could not be verified", StoreUnavailable("its slow hash took too long")) from None
        except Exception as problem:
            raise self.outage("a key could not be verified", problem) from problem

    async def _note_upgrade(self, key: Plaintext, record: KeyRecord, deadline: float) -> None:
        """Note an upgrade if one is due. The key is good: nothing that goes wrong here refuses the request."""
        try:
            is_current = self._digests.are_current(key, lookup=record.lookup, verifier=record.verifier)
            if is_current or self.uses.upgrades.is_noted(record.id):
                return
            async with asyncio.timeout_at(deadline):
                lookup, verifier = await self._digests.make(key)
        except (Overloaded, TimeoutError):
            return  # It can wait for the next use.
        except Exception as problem:  # noqa: BLE001 As the docstring says; a hasher may be the app's own.
            self._journal.trouble("a digest could not be upgraded", problem, unexpected=True)
            return
        self.uses.upgrades.note(
            Upgrade(key_id=record.id, verifier=record.verifier, new_lookup=lookup, new_verifier=verifier)
        )

    async def _ask(self, question: Callable[[], Awaitable[_Answer]], deadline: float) -> _Answer:
        """Ask the store. Whatever goes wrong there is `StoreUnavailable` here, and in the log."""

        async def ask() -> _Answer:
            if not self._store.is_open:
                await self._open_once()
            return await question()

        try:
            return await self._admission.run(ask, until=deadline)
        except Exception as problem:
            raise self.outage("the store is not available", problem) from problem

    # --- troubles ---

    def outage(self, what: str, problem: Exception) -> StoreUnavailable:
        """Write that `problem` keeps a request from being judged, and return what refuses it."""
        self._trouble(what, problem)
        return StoreUnavailable(what)

    def _trouble(self, what: str, problem: BaseException) -> None:
        self._journal.trouble(what, problem, unexpected=not isinstance(problem, StoreUnavailable | StartRefused))


def _known(name: bytes, lookups: tuple[str, ...], found: Found, flight: Flight) -> Known:
    verdict = judge(found.key, found.owner)
    return Known(
        name=name,
        other_lookups=tuple(lookup for lookup in lookups if lookup != found.key.lookup),
        verdict=verdict,
        auth=Auth.of(verdict.principal),
        token=flight.token,
        since=flight.since,
    )
