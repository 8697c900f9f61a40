"""The procedure of a check: gather the facts, ask the policy.

No rule stands here. What a request brought becomes one fact (nothing, ambiguous, malformed, unknown, or a genuine key
with its verdict); the app's own sign-in and the auto-login user are two more; `keyguard.policy.decide` does the rest.

A key that was let in before is recalled, without asking the store, while the store vouches that nothing has changed:
`keyguard.cache` has the rule. How a key is read stands in `keyguard.reader`.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from keyguard.cache import Cache, Known
from keyguard.clock import utc_now
from keyguard.errors import StoreUnavailable
from keyguard.extract import Extraction
from keyguard.journal import Journal
from keyguard.keys import Plaintext, recognise
from keyguard.model import (
    Allowed,
    Decision,
    Facts,
    IPAddress,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
)
from keyguard.policy import decide
from keyguard.ports import Clock, Freshness, KeyStore
from keyguard.reader import Reader
from keyguard.settings import MAX_KEY_BYTES, Policy

__all__ = ["Authenticator", "Identify", "Judged"]

Identify = Callable[[], Awaitable[Principal | None]]


_EXEMPT = Requirement.EXEMPT  # Its class looks its members up by a function in Python 3.11.
_LEFT_TO_THE_APP = {Presented.NOTHING, Presented.FOREIGN_TOKEN}


@dataclass(slots=True, eq=False)
class Judged:
    """A decision, the facts that it was made from, and the genuine key that was presented, if that was read."""

    decision: Decision
    facts: Facts
    known: Known | None = None


class Authenticator:
    """Checks requests against a store and a policy.

    Args:
        store: where keys and owners are found. It is opened at the first need, and closed again if it was opened here.
        policy: who may pass.
        journal: where troubles are written.
        clock: the time that keys are judged by.
        cache_size: how many keys are remembered.
        freshness: ``"auto"`` uses what is remembered while the store vouches for it; ``"strict"`` only where the store
            vouches for every change, whoever made it.
        max_staleness: for how many seconds what nothing vouches for is used; None for not at all.
    """

    def __init__(
        self,
        store: KeyStore,
        policy: Policy,
        *,
        journal: Journal,
        clock: Clock = utc_now,
        cache_size: int = 10_000,
        freshness: Literal["auto", "strict"] = "auto",
        max_staleness: float | None = None,
    ) -> None:
        self._keyring = store.keyring
        self._policy = policy
        self._journal = journal
        self._clock = clock
        self._freshness = store if isinstance(store, Freshness) and (freshness == "auto" or store.is_exact) else None
        token = _nobody_vouches if self._freshness is None else self._freshness.token
        self._cache = Cache(cache_size, token, distrust=self._distrust, max_staleness=max_staleness)
        self._reader = Reader(store, self._token, journal)
        self._note_use = self._reader.uses.note
        self._seconds: Callable[[], float] = time.time if clock is utc_now else lambda: clock().timestamp()
        # Without a genuine key neither time nor address matters: what a flood brings is decided once.
        self._keyless = {
            (requirement, presented): (facts, decide(requirement, facts, policy, clock()))
            for requirement in Requirement
            for presented in Presented
            for facts in [Facts(credential=presented)]
        }

    async def open(self) -> None:
        """Open the store, if nobody has yet.

        Raises `StartRefused` if the store does not belong to this program, `StoreUnavailable` if it cannot be reached
        within the deadline of a check.
        """
        await self._reader.open()

    async def close(self) -> None:
        """Write what waits to be written, and close the store if it was opened here.

        A store that hangs is left behind after 5 s, with a line in the log: it must not keep the app from ending.
        """
        self._cache.clear()
        await self._reader.close()

    def recall(self, presented: bytes, address: IPAddress | None) -> Known | None:
        """Return the one key that a request has brought to a path that is not exempt, if that is enough to let it pass.

        Then `Known.allowed` is the decision, and the use is noted, as having come from `address`. None where more has
        to be known: `authenticate` decides.
        """
        if len(presented) > MAX_KEY_BYTES:
            return None
        known = self._cache.recall(presented)
        if known is None or known.allowed is None:
            return None
        if not known.is_timeless and not known.is_within_its_time(self._clock()):
            return None
        self._note_use(known.verdict.key.id, self._seconds(), address)
        return known

    async def authenticate(
        self,
        requirement: Requirement,
        presented: Extraction,
        address: IPAddress | None,
        *,
        identify: Identify | None = None,
        gathered: Facts | None = None,
    ) -> Judged:
        """Decide on a request.

        `presented` is what was found in it, `address` where it came from; `identify` asks the app's own sign-in;
        `gathered` are facts that were gathered from the same store a moment ago. Raises nothing: a store or a sign-in
        that fails is a refusal for the reason UNAVAILABLE.
        """
        key, credential = self._read(requirement, presented)
        deadline = None if key is None else self._reader.deadline()
        facts, known = None if requirement is _EXEMPT else gathered, None
        try:
            if key is not None and deadline is not None:
                known = await self._look_up(presented.candidates[0].value, key, deadline)
                facts = None if known is None else known.facts(address)
            elif (
                facts is None and identify is not None and requirement is not _EXEMPT and credential in _LEFT_TO_THE_APP
            ):
                facts = Facts(credential=credential, identified=await self._identify(identify))
            if facts is None:
                facts, decision = self._keyless[requirement, credential]
            else:
                decision = decide(requirement, facts, self._policy, self._clock())
            if isinstance(decision, Refused) and decision.reason is Reason.NO_AUTO_LOGIN_USER:
                # The policy wants that user's record, which most requests do without.
                owner = await self._reader.find_owner(self._policy.auto_login_user or "", deadline)
                facts = replace(facts, auto_login_user=owner)
                decision = decide(requirement, facts, self._policy, self._clock())
        except StoreUnavailable:
            facts, decision = facts or Facts(), Refused(rule=Rule.OUTAGE, reason=Reason.UNAVAILABLE)
        if known is not None and self._remember(known, decision):
            self._note_use(known.verdict.key.id, self._seconds(), address)
        return Judged(decision, facts, known)

    async def passes_still(self, known: Known, address: IPAddress | None) -> bool:
        """Tell whether a key that was let in would be let in now, as the same caller and with the same rights.

        Raises `StoreUnavailable` if that cannot be told.
        """
        current = self._cache.get(known.name) or await self._reader.find_again(known)
        if current is None:
            return False
        decision = decide(Requirement.REQUIRED, current.facts(address), self._policy, self._clock())
        then, now = known.verdict, current.verdict
        return (
            self._remember(current, decision)
            and now.key.id == then.key.id
            and (now.principal.id, now.principal.is_superuser, now.principal.scopes)
            == (then.principal.id, then.principal.is_superuser, then.principal.scopes)
        )

    def _read(self, requirement: Requirement, presented: Extraction) -> tuple[Plaintext | None, Presented]:
        """Return the key that was presented, and what the request brought as long as nobody knows that key."""
        if requirement is _EXEMPT:
            return None, Presented.NOTHING
        if presented.is_ambiguous:
            return None, Presented.AMBIGUOUS
        if not presented.candidates:
            return None, Presented.FOREIGN_TOKEN if presented.foreign_token else Presented.NOTHING
        key = recognise(presented.candidates[0].value, self._keyring)
        return key, Presented.MALFORMED if key is None else Presented.UNKNOWN

    async def _look_up(self, presented: bytes, key: Plaintext, deadline: float) -> Known | None:
        name = self._cache.name(presented)
        known = self._cache.get(name) or await self._reader.find(name, key, deadline)
        if known is None:
            self._cache.drop(name)
        return known

    def _remember(self, known: Known, decision: Decision) -> bool:
        """Remember a key that lets a request pass, and forget one that is bad from anywhere; tell whether it passes."""
        if not isinstance(decision, Allowed) or decision.rule is not Rule.KEY:
            # From its own networks it may be good: who got hold of it elsewhere must not make each use of it a read.
            if known.verdict.standing is not None or not known.is_within_its_time(self._clock()):
                self._cache.drop(known.name)
            return False
        if not known.verdict.key.networks:
            known.allowed = decision  # On any path and from anywhere.
        self._cache.put(known)
        return True

    def _token(self) -> int | None:
        """Return the store's token; one that fails vouches for nothing."""
        try:
            return None if self._freshness is None else self._freshness.token()
        except Exception as problem:  # noqa: BLE001 The store may be the app's own.
            self._distrust(problem)
            return None

    def _distrust(self, problem: Exception) -> None:
        self._journal.trouble("the store could not say how fresh it is", problem, unexpected=True)

    async def _identify(self, identify: Identify) -> Principal | None:
        """Ask the app's own sign-in. An exception there must not let anybody pass, nor be taken for 'nobody'."""
        try:
            return _principal(await identify())
        except Exception as problem:
            raise self._reader.outage("identify failed", problem) from problem


def _nobody_vouches() -> None:
    """Stand in for the token of a store that has none."""


def _principal(answer: object) -> Principal | None:
    if answer is not None and not isinstance(answer, Principal):
        raise TypeError(f"identify returns a Principal or None; not {type(answer).__name__}")
    return answer
