"""The procedure of a check: gather the facts, ask the policy.

No rule stands here. What a request brought becomes one fact (nothing, ambiguous, malformed, unknown, or a genuine key
with its verdict); the app's own sign-in and the auto-login user are two more; `keyguard.policy.decide` does the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from keyguard.admission import Admission
from keyguard.clock import utc_now
from keyguard.errors import Overloaded, StartRefused, StoreUnavailable
from keyguard.extract import Extraction
from keyguard.hashing import Digests
from keyguard.journal import Journal
from keyguard.keys import Plaintext, recognise
from keyguard.loops import is_under_way_here
from keyguard.model import (
    Decision,
    Facts,
    IPAddress,
    KeyRecord,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
    Verdict,
)
from keyguard.policy import decide, judge
from keyguard.ports import Clock, KeyStore
from keyguard.settings import Policy
from keyguard.usage import Upgrade, Upgrades

__all__ = ["Authenticator", "Identify", "Judged"]

_Answer = TypeVar("_Answer")

Identify = Callable[[], Awaitable[Principal | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A decision, and the facts that it was made from."""

    decision: Decision
    facts: Facts


class Authenticator:
    """Checks requests against a store and a policy.

    Args:
        store: where keys and owners are found. It is opened at the first need, and closed again if it was opened here.
        policy: who may pass.
        journal: where troubles are written.
        clock: the time that keys are judged by.
    """

    def __init__(self, store: KeyStore, policy: Policy, *, journal: Journal, clock: Clock = utc_now) -> None:
        self._store = store
        self._policy = policy
        self._journal = journal
        self._clock = clock
        self._digests = Digests(store.keyring)
        self._admission = Admission(at_once=store.concurrency)
        self._opening_seconds = 60.0  # After that an opening that hangs is given up, and tried again.
        self._upgrades = Upgrades(store)
        self._closing_seconds = 5.0
        self._opening: asyncio.Task[None] | None = None
        self._joined = 0
        self._opened_here = False

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
        await self._upgrades.close()
        if self._opened_here:
            self._opened_here = False
            await self._store.close()

    async def authenticate(
        self,
        requirement: Requirement,
        presented: Extraction,
        address: IPAddress | None,
        *,
        identify: Identify | None = None,
        known: Facts | None = None,
    ) -> Judged:
        """Decide on a request.

        `presented` is what was found in it, `address` where it came from; `identify` asks the app's own sign-in;
        `known` are facts that were gathered from the same store a moment ago. Raises nothing: a store or a sign-in that
        fails is a refusal for the reason UNAVAILABLE.
        """
        facts = Facts(address=address)
        deadline = self._admission.deadline()
        try:
            if requirement is not Requirement.EXEMPT:
                facts = known or await self._gather(presented, address, identify, deadline)
            decision = decide(requirement, facts, self._policy, self._clock())
            if isinstance(decision, Refused) and decision.reason is Reason.NO_AUTO_LOGIN_USER:
                # The policy wants that user's record, which most requests do without. The time that the app's own
                # sign-in took, where there was no key, is not counted.
                until = deadline if presented.candidates else self._admission.deadline()
                owner = await self._ask(lambda: self._store.find_owner(self._policy.auto_login_user or ""), until)
                facts = replace(facts, auto_login_user=owner)
                decision = decide(requirement, facts, self._policy, self._clock())
        except StoreUnavailable:
            decision = Refused(rule=Rule.OUTAGE, reason=Reason.UNAVAILABLE)
        return Judged(decision=decision, facts=facts)

    async def _gather(
        self, presented: Extraction, address: IPAddress | None, identify: Identify | None, deadline: float
    ) -> Facts:
        if presented.is_ambiguous:
            return Facts(credential=Presented.AMBIGUOUS, address=address)
        if presented.candidates:
            key = recognise(presented.candidates[0].value, self._store.keyring)
            credential = Presented.MALFORMED if key is None else await self._look_up(key, deadline)
            return Facts(credential=credential, address=address)
        return Facts(
            credential=Presented.FOREIGN_TOKEN if presented.foreign_token else Presented.NOTHING,
            address=address,
            identified=await self._identify(identify) if identify is not None else None,
        )

    async def _look_up(self, key: Plaintext, deadline: float) -> Presented | Verdict:
        lookups = self._digests.lookups(key)
        found = await self._ask(lambda: self._store.find(lookups), deadline)
        if found is None or not await self._is_genuine(key, found.key, deadline):
            return Presented.UNKNOWN
        verdict = judge(found.key, found.owner)
        if verdict.standing is None:
            await self._note_upgrade(key, found.key, deadline)
        return verdict

    async def _is_genuine(self, key: Plaintext, record: KeyRecord, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._digests.verify(key, record.verifier)
        except TimeoutError:
            raise self._outage("a key could not be verified", StoreUnavailable("its slow hash took too long")) from None
        except Exception as problem:
            raise self._outage("a key could not be verified", problem) from problem

    async def _note_upgrade(self, key: Plaintext, record: KeyRecord, deadline: float) -> None:
        """Note an upgrade if one is due. The key is good: nothing that goes wrong here refuses the request."""
        try:
            is_current = self._digests.are_current(key, lookup=record.lookup, verifier=record.verifier)
            if is_current or self._upgrades.is_noted(record.id):
                return
            async with asyncio.timeout_at(deadline):
                lookup, verifier = await self._digests.make(key)
        except (Overloaded, TimeoutError):
            return  # It can wait for the next use.
        except Exception as problem:  # noqa: BLE001 As the docstring says; a hasher may be the app's own.
            self._journal.trouble("a digest could not be upgraded", problem, unexpected=True)
            return
        self._upgrades.note(
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
            raise self._outage("the store is not available", problem) from problem

    async def _identify(self, identify: Identify) -> Principal | None:
        """Ask the app's own sign-in. An exception there must not let anybody pass, nor be taken for 'nobody'."""
        try:
            return _principal(await identify())
        except Exception as problem:
            raise self._outage("identify failed", problem) from problem

    def _outage(self, what: str, problem: Exception) -> StoreUnavailable:
        """Write that `problem` keeps a request from being judged, and return what refuses it."""
        self._trouble(what, problem)
        return StoreUnavailable(what)

    def _trouble(self, what: str, problem: BaseException) -> None:
        self._journal.trouble(what, problem, unexpected=not isinstance(problem, StoreUnavailable | StartRefused))


def _principal(answer: object) -> Principal | None:
    if answer is not None and not isinstance(answer, Principal):
        raise TypeError(f"identify returns a Principal or None; not {type(answer).__name__}")
    return answer
