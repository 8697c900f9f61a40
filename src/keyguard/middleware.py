"""`KeyGuard`, the ASGI middleware: reads a request, has it judged, and lets the app or a refusal answer.

Translation only: what a path asks is said in `keyguard.rules`, where keys are found in `keyguard.extract`, who may pass
in `keyguard.policy`, and how facts are gathered in `keyguard.authenticator`.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyguard.access import Access, NotPermitted
from keyguard.address import client_address
from keyguard.answers import POLICY_VIOLATION, Answerer, OnRefused, RefusalResponse
from keyguard.authenticator import Authenticator, Judged
from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError, StoreUnavailable
from keyguard.extract import Extraction, Sources
from keyguard.journal import Journal, loggable_path, logger
from keyguard.lifespan import run_lifespan
from keyguard.misconfigured import ReportedAtStartup
from keyguard.model import (
    Allowed,
    Anonymous,
    AnonymousUser,
    Auth,
    Decision,
    Event,
    Facts,
    IPAddress,
    Presented,
    Principal,
    Refused,
    Requirement,
    Rule,
    Source,
)
from keyguard.ports import Clock, KeyStore, Observer
from keyguard.refusals import Challenge, refusal_for
from keyguard.rules import Rules
from keyguard.settings import Policy, require_bool

__all__ = ["KeyGuard"]

Identify = Callable[[Scope], Awaitable[Principal | None] | Principal | None]

_NOBODY = AnonymousUser()
_NO_RIGHTS = Auth()


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
        clock: Clock = utc_now,
    ) -> None:
        _check(policy=policy, store=store, strip=strip, trusted_hops=trusted_hops, clock=clock)
        _check_hooks(identify=identify, on_refused=on_refused, observer=observer)
        self.app = app
        self._store = store
        self._policy = policy
        self._sources = Sources(header=header, query=query, bearer=bearer, prefixes=store.keyring.prefixes)
        self._rules = Rules(policy, root_path=root_path, root_in_path=root_in_path)
        self._identify = identify
        self._observer = observer
        self._strip = strip
        self._trusted_hops = trusted_hops
        self._journal = Journal()
        self._authenticator = Authenticator(store, policy, journal=self._journal, clock=clock)
        self._answerer = Answerer(Challenge(header=header, query=query, bearer=bearer), on_refused)
        self._warned_of_root = False
        self._announced = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one scope: a lifespan, an HTTP request or a WebSocket."""
        match scope["type"]:
            case "http" | "websocket":
                await self._guard(scope, receive, send)
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
        if self._policy.excuses_keyless:
            mode = "skip_auth" if self._policy.skip_auth else "auto_login without auto_login_needs_key"
            logger.warning(
                "%s is on: ANYONE who can reach this port acts as the user %r, without a key",
                mode,
                self._policy.auto_login_user,
            )
        if self._sources.query is not None:
            logger.warning(
                "keys are accepted in the query parameter %r; what stands in front of this server "
                "(proxies, load balancers) may log them; query=None ends that",
                self._sources.query,
            )

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An own list first: a server may go on appending trailer fields to the one that it passed.
        scope["headers"] = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        request, judged = await self._judge(scope)
        decision = judged.decision
        if isinstance(decision, Refused):
            await request.refuse(decision)(scope, receive, send)
            return
        request.tell(decision)
        if isinstance(decision, Allowed):
            scope["user"], scope["auth"] = decision.principal, Auth.of(decision.principal)
        else:
            scope["user"], scope["auth"] = _NOBODY, _NO_RIGHTS
        scope["keyguard"] = access = request.access(decision, judged.facts)
        if request.query_was_used:
            send = _without_referrer(send)
        outgoing = _Outgoing(send, access.answers)
        try:
            await self.app(scope, receive, outgoing)
        except NotPermitted:
            pass
        finally:
            if access.answers and not outgoing.has_begun:
                await access.answers[0](scope, receive, send)
            elif access.answers and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    async def _judge(self, scope: Scope) -> tuple["_Request", Judged]:
        """Take the keys out of `scope` and judge it. No key is left in any frame when this returns."""
        self._announce()
        requirement = self._requirement(scope)
        presented = self._sources.extract(scope["headers"], scope.get("query_string") or b"")
        self._take_out(presented, scope)
        address = client_address(scope.get("client"), scope["headers"], trusted_hops=self._trusted_hops)
        outer = None if presented.candidates or presented.is_ambiguous else self._outer(scope)
        identify = self._identify
        judged = await self._authenticator.authenticate(
            requirement,
            presented,
            address,
            identify=None if identify is None else lambda: _answer_of(identify, scope),
            known=None if outer is None else replace(outer.facts, address=address, auto_login_user=None),
        )
        # What the layers outside say of the caller was for `identify` alone.
        for name in ("user", "auth", "keyguard"):
            scope.pop(name, None)
        request = _Request(
            scope=scope,
            address=address,
            sources=outer.sources if outer else tuple({candidate.source: None for candidate in presented.candidates}),
            query_was_used=presented.from_query,
            store=self._store,
            answerer=self._answerer,
            tell_observer=self._tell,
        )
        return request, judged

    def _requirement(self, scope: Scope) -> Requirement:
        root_path = scope.get("root_path") or ""
        if not self._rules.declares(root_path) and not self._warned_of_root:
            self._warned_of_root = True
            logger.warning(
                "requests come with root_path=%s, so that no path is exempt or optional; if that is right, declare it: "
                "KeyGuard(..., root_path=%s)",
                ascii(root_path),
                ascii(root_path),
            )
        return self._rules.requirement(
            type=scope["type"],
            method=scope.get("method"),
            path=scope["path"],
            raw_path=scope.get("raw_path"),
            root_path=root_path,
        )

    def _take_out(self, presented: Extraction, scope: Scope) -> None:
        """Take what was presented out of the server's own scope: its access log reads it when the answer is sent."""
        if self._strip:
            scope["headers"] = presented.headers
        if presented.query_string != (scope.get("query_string") or b""):
            scope["query_string"] = presented.query_string
            if scope.get("raw_path"):  # Some servers let the query stand in it.
                scope["raw_path"] = scope["raw_path"].partition(b"?")[0]

    def _outer(self, scope: Scope) -> Access | None:
        """Return what a guard further out, with the very same store, made of the keys that it has taken out."""
        outer = scope.get("keyguard")
        if not isinstance(outer, Access) or outer.store is not self._store:
            return None
        found_nothing = outer.facts.credential is Presented.NOTHING and outer.facts.identified is None
        return None if found_nothing else outer

    def _tell(self, event: Event) -> None:
        self._journal.record(event)
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception as problem:  # noqa: BLE001 The app's code: what it raises must not change an answer.
                self._journal.trouble("the observer failed", problem, unexpected=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    """What is kept of a request while the app runs: nothing of a key."""

    scope: Scope
    address: IPAddress | None
    sources: tuple[Source, ...]
    query_was_used: bool
    store: KeyStore
    answerer: Answerer
    tell_observer: Observer

    def tell(self, decision: Decision) -> None:
        """Tell the log and the observer what was decided."""
        self.tell_observer(
            Event(
                decision=decision,
                type=self.scope["type"],
                method=self.scope.get("method"),
                path=loggable_path(self.scope["path"], self.store.keyring.prefixes),
                address=self.address,
                sources=self.sources,
            )
        )

    def refuse(self, refused: Refused) -> RefusalResponse:
        """Tell of the refusal, and return its answer."""
        self.tell(refused)
        return RefusalResponse(self.answerer, refusal_for(refused.reason), query_was_used=self.query_was_used)

    def access(self, decision: Allowed | Anonymous, facts: Facts) -> Access:
        """Return what the app learns of how the request was let in."""
        key = decision.key if isinstance(decision, Allowed) else None
        return Access(
            rule=decision.rule,
            key_id=key.id if key is not None else None,
            key_name=key.name if key is not None else None,
            source=self.sources[0] if key is not None else None,
            sources=self.sources,
            decision=decision,
            facts=facts,
            store=self.store,
            refuse=lambda reason: self.refuse(Refused(rule=Rule.REQUIRE, reason=reason, key=key)),
        )


_PORT = ("keyring", "concurrency", "is_open", "open", "close", "find", "find_owner", "upgrade")


def _check(*, policy: object, store: object, strip: object, trusted_hops: object, clock: object) -> None:
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
    require_bool("strip", strip)
    if isinstance(trusted_hops, bool) or not isinstance(trusted_hops, int) or trusted_hops < 0:
        raise ConfigurationError(f"trusted_hops is the number of proxies, 0 or more; not {trusted_hops!r}")
    if not callable(clock) or not isinstance(now := clock(), datetime) or now.tzinfo is None:
        raise ConfigurationError("clock is a function that returns an aware datetime, such as datetime.now(UTC)")


def _check_hooks(**hooks: object) -> None:
    for name, hook in hooks.items():
        if hook is not None and not callable(hook):
            raise ConfigurationError(f"{name} is a function, or None; not {type(hook).__name__}")
    if inspect.iscoroutinefunction(hooks["observer"]):
        raise ConfigurationError("observer is a plain function, not an async one: nothing waits for it")


async def _answer_of(identify: Identify, scope: Scope) -> Principal | None:
    answer = identify(scope)
    return await answer if inspect.isawaitable(answer) else answer


class _Outgoing:
    """What the app sends, until there is another answer."""

    def __init__(self, send: Send, answers: list[ASGIApp]) -> None:
        self._send = send
        self._answers = answers
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        """Send, or drop what comes too late."""
        if not self._answers:
            self.has_begun = True
            await self._send(message)


def _without_referrer(send: Send) -> Send:
    """Ask the browser not to send the address on as a referrer: it holds a key."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"referrer-policy" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
        await send(message)

    return sending
