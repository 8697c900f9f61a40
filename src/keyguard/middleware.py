"""`KeyGuard`, the ASGI middleware: reads a request, has it judged, and lets the app or a refusal answer.

Translation only: what a path asks is said in `keyguard.rules`, where keys are found in `keyguard.extract`, who may pass
in `keyguard.policy`, and how facts are gathered in `keyguard.authenticator`.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from keyguard.access import Access, Asked, NotPermitted, nowhere
from keyguard.address import client_address
from keyguard.answers import POLICY_VIOLATION, Answerer, OnRefused, RefusalResponse, without_referrer
from keyguard.authenticator import Authenticator
from keyguard.cache import Known
from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.extract import Extraction, Sources
from keyguard.journal import Journal, loggable_path, logger
from keyguard.lifespan import run_lifespan
from keyguard.misconfigured import ReportedAtStartup
from keyguard.model import (
    Allowed,
    AnonymousUser,
    Auth,
    Decision,
    Event,
    IPAddress,
    Presented,
    Principal,
    Refused,
    Requirement,
)
from keyguard.ports import Clock, KeyStore, Observer
from keyguard.refusals import Challenge, refusal_for
from keyguard.rules import Rules
from keyguard.settings import Policy
from keyguard.sockets import OpenSocket

__all__ = ["Identify", "KeyGuard", "answer_of"]

Identify = Callable[[Scope], Awaitable[Principal | None] | Principal | None]

_NOBODY = AnonymousUser()
_NO_RIGHTS = Auth()

_GUARDED = frozenset({"http", "websocket"})

# Its class looks its members up by a function in Python 3.11.
_EXEMPT = Requirement.EXEMPT


class KeyGuard(metaclass=ReportedAtStartup):
    """Guards an ASGI app with API keys: ``app.add_middleware(KeyGuard, store=store, policy=Policy(...))``.

    HTTP requests and WebSockets are judged by `policy`; a refused one never reaches the app. What the app finds in the
    scope of the others: `user` (a `Principal`, or `AnonymousUser`), `auth` (its scopes, so that Starlette's `@requires`
    works) and `keyguard` (an `Access`: how it was let in). Whatever the outcome, keys are taken out of the scope.

    Args:
        app: the app to guard.
        store: where keys are found; its keyring says what they look like.
        policy: who may pass.
        header: the header field that may hold a key, None to look into none.
        query: the query parameter that may hold a key, None to look into none.
        bearer: whether ``Authorization: Bearer <key>`` is looked into. A token that has none of our prefixes is left to
            `identify`.
        root_path: the `root_path` that the server or a mount gives, so that exempt paths can be found below it.
        root_in_path: whether the scope's `path` begins with `root_path` (uvicorn, mounts) or leaves it out (hypercorn,
            granian, daphne, ``FastAPI(root_path=)``).
        identify: the app's own sign-in: ``async (scope) -> Principal | None`` (or not async), asked where no key was
            presented.
        on_refused: replaces the answer to a refused request, never the decision: ``(scope, refusal) -> response``.
        observer: is told of each request that was judged.
        strip: False leaves the header's key in the scope (the query's is taken out always).
        trusted_hops: how many proxies of ours append to `X-Forwarded-For`; 0 trusts no header.
        cache_size: how many keys that were let in are remembered; 0 for none.
        freshness: ``"auto"`` uses what is remembered while the store vouches for it. ``"strict"`` does so only where it
            vouches for every change, whoever made it; else, as on PostgreSQL, each request reads its key.
        max_staleness: for how many seconds after it was read a key is let in where nothing vouches for it: behind a
            store that cannot, a revoked key passes for so long. None: each request reads its key there.
        recheck: seconds after which an open WebSocket's key is checked again even if nothing is received.
        clock: the time that keys are judged by.

    Raises:
        ConfigurationError: if an argument cannot be right. Where KeyGuard is constructed inside a running event loop,
            as Starlette does at the first event, an exception would be taken for "this app has no lifespan" and every
            request answered with 500. There, start-up fails with the same sentence instead, and every request is
            answered with 503.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: KeyStore,
        policy: Policy = Policy(),  # noqa: B008 A frozen value.
        header: str | None = "x-api-key",
        query: str | None = "x-api-key",
        bearer: bool = False,
        root_path: str = "",
        root_in_path: bool = True,
        identify: Identify | None = None,
        on_refused: OnRefused | None = None,
        observer: Observer | None = None,
        strip: bool = True,
        trusted_hops: int = 0,
        cache_size: int = 10_000,
        freshness: Literal["auto", "strict"] = "auto",
        max_staleness: float | None = None,
        recheck: float = 15,
        clock: Clock = utc_now,
    ) -> None:
        _check(policy=policy, store=store, trusted_hops=trusted_hops, clock=clock)
        _check_freshness(cache_size=cache_size, freshness=freshness, max_staleness=max_staleness, recheck=recheck)
        _check_hooks(identify=identify, on_refused=on_refused, observer=observer)
        self.app = app
        # What the guard goes by, for those who explain it; nobody changes it.
        self.store: KeyStore = store
        self.policy: Policy = policy
        self.sources: Sources = Sources(
            header=header, query=query, bearer=bearer, strip=strip, prefixes=store.keyring.prefixes
        )
        self.rules: Rules = Rules(policy, root_path=root_path, root_in_path=root_in_path)
        self.identify: Identify | None = identify
        self._observer = observer
        self.trusted_hops: int = trusted_hops
        self._journal = Journal()
        self._authenticator = Authenticator(
            store,
            policy,
            journal=self._journal,
            clock=clock,
            cache_size=cache_size,
            freshness=freshness,
            max_staleness=max_staleness,
        )
        self._recheck = recheck
        self._answerer = Answerer(Challenge(header=header, query=query, bearer=bearer), on_refused)
        self.root_path: str = root_path
        self.clock: Clock = clock
        self._warned_of_root = False
        self._announced = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one scope: a lifespan, an HTTP request or a WebSocket."""
        if scope["type"] not in _GUARDED:
            await self._let_through(scope, receive, send)
            return
        if not self._announced:
            self._announce()
        # An own list of headers first: a server may go on appending trailer fields to the one that it passed.
        query_string = scope.get("query_string") or b""
        presented = self.sources.extract(scope["headers"], query_string)
        requirement = self._requirement(scope)
        # Out of the server's own scope: its access log reads that when the answer is sent.
        scope["headers"] = presented.headers
        if presented.query_string != query_string:
            self._take_out_of_query(presented, scope)
        address = client_address(scope.get("client"), presented.headers, trusted_hops=self.trusted_hops)
        access: Access | ASGIApp | None = self._recall(scope, requirement, presented, address, send)
        if access is None:
            access = await self._judge(scope, requirement, presented, address, send)
        del presented, query_string  # No key stands in a frame while the app runs.
        if not isinstance(access, Access):
            await access(scope, receive, send)
            return
        socket = None
        try:
            if access.type == "websocket" and access.known is not None:
                socket = OpenSocket(receive, access.send, still_valid=access.still_valid, recheck=self._recheck)
                await socket.run(self.app, scope)
            else:
                await self.app(scope, receive, access.send)
        except NotPermitted:
            pass
        finally:
            access.outgoing = nowhere
            if access.answer is not None and (socket is None or not socket.is_over):
                await self._answer_instead(access, access.answer, scope, receive, send)

    async def _let_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take part in a lifespan, and let pass what asks for no path."""
        match scope["type"]:
            case "lifespan":
                await run_lifespan(self.app, scope, receive, send, enter=self._start, leave=self.aclose)
            case unknown if "path" in scope:
                logger.error("a scope of type %r asks for a path and cannot be judged; it is refused", unknown)
            case _:
                await self.app(scope, receive, send)

    async def aclose(self) -> None:
        """Close what the guard opened. Only for a guard below another app, which no lifespan reaches."""
        await self._authenticator.close()

    async def _start(self) -> None:
        self._announce()
        try:
            await self._authenticator.open()
        except StoreUnavailable as problem:
            logger.warning("the store cannot be reached; requests get 503 until it can: %s", problem)

    def _announce(self) -> None:
        """Say once, in plain words, what whoever runs the app should know."""
        if self._announced:
            return
        self._announced = True
        if self.policy.excuses_keyless:
            mode = "skip_auth" if self.policy.skip_auth else "auto_login without auto_login_needs_key"
            logger.warning(
                "%s is on: ANYONE who can reach this port acts as the user %r, without a key",
                mode,
                self.policy.auto_login_user,
            )
        if self.sources.query is not None:
            logger.warning(
                "keys are accepted in the query parameter %r; what stands in front of this server "
                "(proxies, load balancers) may log them; query=None ends that",
                self.sources.query,
            )

    async def _answer_instead(
        self, access: Access, answer: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer in the app's place, or end what it has begun."""
        if not access.has_begun:
            await answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    def _recall(
        self, scope: Scope, requirement: Requirement, presented: Extraction, address: IPAddress | None, send: Send
    ) -> Access | None:
        """Let a request in by a key that was let in before. None where more has to be known: then judge it."""
        candidates = presented.candidates
        if requirement is _EXEMPT or presented.is_ambiguous or not candidates:
            return None
        known = self._authenticator.recall(candidates[0].value, address)
        if known is None or known.allowed is None:
            return None
        scope["user"], scope["auth"] = known.verdict.principal, known.auth
        access = scope["keyguard"] = Access(
            scope["type"],
            scope.get("method"),
            scope["path"],
            address,
            (candidates[0].source,),
            presented.from_query,
            known.allowed,
            known,
            self,
            without_referrer(send) if presented.from_query else send,
        )
        if self._observer is not None:  # A good key is no news to the log.
            self._tell(access, known.allowed)
        return access

    async def _judge(
        self, scope: Scope, requirement: Requirement, presented: Extraction, address: IPAddress | None, send: Send
    ) -> Access | ASGIApp:
        """Have a request judged; return how it was let in, or the answer to it."""
        outer = self.outer_access(scope, presented)
        asked = Asked(
            scope["type"],
            scope.get("method"),
            scope["path"],
            address,
            presented.sources if outer is None else outer.sources,
            presented.from_query,
        )
        identify = self.identify
        judged = await self._authenticator.authenticate(
            requirement,
            presented,
            address,
            identify=None if identify is None else lambda: answer_of(identify, scope),
            gathered=None if outer is None else replace(outer.facts, address=address, auto_login_user=None),
        )
        decision = judged.decision
        # What the layers outside say of the caller was for `identify` alone.
        for name in ("user", "auth", "keyguard"):
            scope.pop(name, None)
        self._tell(asked, decision)
        if isinstance(decision, Refused):
            refusal = refusal_for(decision.reason)
            return partial(self._answerer.answer, refusal, query_was_used=asked.query_was_used)
        if isinstance(decision, Allowed):
            scope["user"], scope["auth"] = decision.principal, Auth.of(decision.principal)
        else:
            scope["user"], scope["auth"] = _NOBODY, _NO_RIGHTS
        access = scope["keyguard"] = Access(
            asked.type,
            asked.method,
            asked.path,
            asked.address,
            asked.sources,
            asked.query_was_used,
            decision,
            judged.known if outer is None else outer.brought,
            self,
            without_referrer(send) if asked.query_was_used else send,
            gathered=judged.facts,
        )
        return access

    def _requirement(self, scope: Scope) -> Requirement:
        root_path = scope.get("root_path") or ""
        if root_path != self.root_path and not self._warned_of_root:
            self._warned_of_root = True
            logger.warning(
                "requests come with root_path=%s, so that no path is exempt or optional; if that is right, declare it: "
                "KeyGuard(..., root_path=%s)",
                ascii(root_path),
                ascii(root_path),
            )
        return self.rules.requirement(
            scope["type"], scope.get("method"), scope["path"], scope.get("raw_path"), root_path
        )

    def _take_out_of_query(self, presented: Extraction, scope: Scope) -> None:
        scope["query_string"] = presented.query_string
        if scope.get("raw_path"):  # Some servers let the query stand in it.
            scope["raw_path"] = scope["raw_path"].partition(b"?")[0]

    def outer_access(self, scope: Scope, presented: Extraction) -> Access | None:
        """Return what a guard further out, with the very same store, made of the keys that it has taken out.

        None where there is no such guard, where it has found nothing, and where a key is presented here.
        """
        outer = scope.get("keyguard")
        if presented.candidates or presented.is_ambiguous:
            return None
        if not isinstance(outer, Access) or outer.guard.store is not self.store:
            return None
        found_nothing = outer.facts.credential is Presented.NOTHING and outer.facts.identified is None
        return None if found_nothing else outer

    # --- refusing, and telling of it: an `Access` asks for these, too ---

    def refuse(self, asked: Asked, refused: Refused) -> RefusalResponse:
        """Tell of a refusal, and return its answer."""
        self._tell(asked, refused)
        return RefusalResponse(self._answerer, refusal_for(refused.reason), query_was_used=asked.query_was_used)

    async def passes_still(self, asked: Asked, known: Known) -> bool:
        """Tell whether a key that was let in would be let in now. Raises `StoreUnavailable` if that cannot be told."""
        return await self._authenticator.passes_still(known, asked.address)

    def _tell(self, asked: Asked, decision: Decision) -> None:
        """Tell the log and the observer what was decided."""
        is_due = self._journal.is_due(decision)
        if not is_due and self._observer is None:
            return
        event = Event(
            decision=decision,
            type=asked.type,
            method=asked.method,
            path=loggable_path(asked.path, self.store.keyring.prefixes),
            address=asked.address,
            sources=asked.sources,
        )
        if is_due:
            self._journal.write(event)
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception as problem:  # noqa: BLE001 The app's code: what it raises must not change an answer.
                self._journal.trouble("the observer failed", problem, unexpected=True)


_PORT = ("keyring", "concurrency", "is_open", "open", "close", "find", "find_owner", "upgrade")


def _check(*, policy: object, store: object, trusted_hops: object, clock: object) -> None:
    # What was given is named by its type: a store's URL, for one, has a password in it.
    if not isinstance(policy, Policy):
        raise ConfigurationError(f"policy is a keyguard.Policy; not {type(policy).__name__}")
    if isinstance(store, type):
        raise ConfigurationError(f"store is a store of keys and not its class: {store.__name__}(...)")
    missing = [name for name in _PORT if not hasattr(store, name)]
    if missing:
        raise ConfigurationError(
            "store is a store of keys, such as SQLStore(...) or MemoryStore(), with all members of keyguard.ports."
            f"KeyStore; {type(store).__name__} has no {missing[0]!r}"
        )
    if isinstance(trusted_hops, bool) or not isinstance(trusted_hops, int) or trusted_hops < 0:
        raise ConfigurationError(f"trusted_hops is the number of proxies, 0 or more; not {trusted_hops!r}")
    if not callable(clock) or not isinstance(now := clock(), datetime) or now.tzinfo is None:
        raise ConfigurationError("clock is a function that returns an aware datetime, such as datetime.now(UTC)")


def _check_freshness(*, cache_size: object, freshness: object, max_staleness: object, recheck: object) -> None:
    if isinstance(cache_size, bool) or not isinstance(cache_size, int) or cache_size < 0:
        raise ConfigurationError(f"cache_size is the number of keys that are remembered, 0 or more; not {cache_size!r}")
    if freshness not in ("auto", "strict"):
        raise ConfigurationError(f"freshness is 'auto' or 'strict'; not {freshness!r}")
    if max_staleness is not None and not _is_positive(max_staleness):
        raise ConfigurationError(f"max_staleness is a number of seconds above 0, or None; not {max_staleness!r}")
    if max_staleness is not None and freshness == "strict":
        raise ConfigurationError("max_staleness lets a revoked key pass for a while, and freshness='strict' never does")
    if not _is_positive(recheck):
        raise ConfigurationError(f"recheck is a number of seconds above 0; not {recheck!r}")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _check_hooks(**hooks: object) -> None:
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise ConfigurationError(f"{name} is a function, or None; not {type(hook).__name__}")
    if inspect.iscoroutinefunction(hooks["observer"]):
        raise ConfigurationError("observer is a plain function, not an async one: nothing waits for it")


async def answer_of(identify: Identify, scope: Scope) -> Principal | None:
    """Ask the app's own sign-in, async or not."""
    answer = identify(scope)
    return await answer if inspect.isawaitable(answer) else answer
