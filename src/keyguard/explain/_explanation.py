"""The steps of a check, in words, each from what was seen there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from starlette.types import Scope

from keyguard.access import Access, nowhere
from keyguard.address import client_address
from keyguard.authenticator import Judged
from keyguard.explain._judging import judge_untouched
from keyguard.extract import Extraction
from keyguard.journal import loggable_path
from keyguard.middleware import KeyGuard
from keyguard.model import (
    Allowed,
    Anonymous,
    AnonymousUser,
    Auth,
    Decision,
    Facts,
    IPAddress,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
    Scopes,
    Verdict,
)
from keyguard.policy import decide
from keyguard.refusals import Refusal, refusal_for
from keyguard.settings import PathRule, Policy, is_canonical

__all__ = ["Explanation", "Step", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a check: what was looked at, and what was found. No text holds a key."""

    what: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of a request: the steps in their order, the decision, and the answer if it is refused."""

    steps: tuple[Step, ...]
    requirement: Requirement
    decision: Decision
    refusal: Refusal | None
    """What the caller would be told; `on_refused` may write it differently."""
    handed_on: Mapping[str, Any] = field(repr=False)
    """What stands in the scope of a request that passes, as a guard further in finds it; empty for a refused one."""

    @property
    def passes(self) -> bool:
        """Tell whether the app would see the request."""
        return self.refusal is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """A request that was judged, and all that was seen on the way."""

    guard: KeyGuard
    scope: Scope
    requirement: Requirement
    presented: Extraction
    outer: Access | None
    """What a guard further out has found, where this one goes by that."""
    address: IPAddress | None
    judged: Judged
    now: datetime

    @property
    def credential(self) -> Presented | Verdict:
        return self.judged.facts.credential


async def explain(guard: KeyGuard, scope: Scope) -> Explanation:
    """Say what would become of a request whose scope a server has made, and why; `scope` is left as it is.

    For a guard further in, the scope is the one that arrives there, with what the guard before it has `handed_on`.

    The store is opened if nobody has opened it, and closed again then. Raises nothing: a store that cannot answer is a
    step, and the request refused.
    """
    presented = guard.sources.extract(list(scope["headers"]), scope.get("query_string") or b"")
    requirement = guard.rules.requirement(
        scope["type"], scope.get("method"), scope["path"], scope.get("raw_path"), scope.get("root_path") or ""
    )
    # As with a request, the app's own sign-in sees no key.
    scope = {**scope, "headers": presented.headers, "query_string": presented.query_string}
    address = client_address(scope.get("client"), presented.headers, trusted_hops=guard.trusted_hops)
    outer = guard.outer_access(scope, presented)
    judged, troubles = await judge_untouched(guard, scope, requirement, presented, address, outer=outer)
    check = _Check(
        guard=guard,
        scope=scope,
        requirement=requirement,
        presented=presented,
        outer=outer,
        address=address,
        judged=judged,
        now=guard.clock(),
    )
    decision = judged.decision
    refusal = refusal_for(decision.reason) if isinstance(decision, Refused) else None
    steps = [
        Step(what="request", found=_of_request(check)),
        Step(what="path", found=_of_path(check)),
        Step(what="where keys are looked for", found=_of_places(check)),
        *_of_key(check),
        *(Step(what="trouble", found=trouble) for trouble in troubles),
        *_of_rules(check),
        Step(what="outcome", found=_outcome(decision, refusal)),
    ]
    if refusal is None:
        steps.append(Step(what="not looked at", found="what the endpoint asks for beyond being let in"))
    return Explanation(
        steps=tuple(steps),
        requirement=requirement,
        decision=decision,
        refusal=refusal,
        handed_on={} if isinstance(decision, Refused) else _handed_on(check, decision),
    )


def _handed_on(check: _Check, decision: Allowed | Anonymous) -> Mapping[str, Any]:
    """Return what the guard leaves in a scope."""
    scope, outer = check.scope, check.outer
    principal = decision.principal if isinstance(decision, Allowed) else None
    return {
        "headers": scope["headers"],
        "query_string": scope["query_string"],
        "user": principal or AnonymousUser(),
        "auth": Auth() if principal is None else Auth.of(principal),
        "keyguard": Access(
            scope["type"],
            scope.get("method"),
            scope["path"],
            check.address,
            check.presented.sources if outer is None else outer.sources,
            check.presented.from_query,
            decision,
            check.judged.known if outer is None else outer.brought,
            check.guard,
            nowhere,
            gathered=check.judged.facts,
        ),
    }


# --- the request and its path -----------------------------------------------------------------------------------


def _of_request(check: _Check) -> str:
    scope = check.scope
    kind = "WebSocket" if scope["type"] == "websocket" else scope["method"]
    path = loggable_path(scope["path"], check.guard.store.keyring.prefixes)
    return f"{kind} {path} from {check.address or 'an address that is not known'}"


def _of_path(check: _Check) -> str:
    guard, scope = check.guard, check.scope
    roots = {guard.root_path, scope.get("root_path") or ""}
    lists = {Requirement.EXEMPT: guard.policy.exempt_rules, Requirement.OPTIONAL: guard.policy.optional_rules}
    near = [(kind, rule) for kind, rules in lists.items() for rule in rules if _is_near(rule, roots, scope["path"])]
    said: list[str] = []
    for kind, rule in near:
        hindrances = _hindrances(guard, rule, scope)
        if kind is check.requirement and not hindrances:
            return f"{kind.value}, by the entry {rule.path!r}"
        said.append(f"the {kind.value} entry {rule.path!r} does not apply, because {' and '.join(hindrances)}")
    return "; ".join(["guarded", *said]) if said else "guarded: no entry of exempt or optional speaks of it"


def _is_near(rule: PathRule, roots: Iterable[str], path: str) -> bool:
    """Tell whether a path means what an entry speaks of, or would to somebody who is careless about it."""
    asked, entry = _careless(path), _careless(rule.entry)
    tails = {asked, *(asked.removeprefix(_careless(root)) for root in roots)}
    return any(tail == entry or tail.startswith(f"{entry}/") for tail in tails)


def _careless(path: str) -> str:
    """Return a path as somebody reads it who undoes all that can be done to one."""
    for _ in range(3):
        path = unquote(path)
    segments = path.replace("\\", "/").casefold().split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment not in {"", "."}:
            kept.append(segment)
    return "/" + "/".join(kept)


def _hindrances(guard: KeyGuard, rule: PathRule, scope: Scope) -> list[str]:
    """Return why an entry does not speak of a request; nothing if it does."""
    path, raw_path, root_path = scope["path"], scope.get("raw_path"), scope.get("root_path") or ""
    base = guard.root_path if guard.rules.root_in_path else ""
    found: list[str] = []
    if scope["type"] == "websocket" and not rule.websocket:
        found.append("it does not speak of WebSockets")
    if scope["type"] == "http" and scope["method"] not in rule.methods:
        found.append(f"it speaks of {', '.join(sorted(rule.methods)) or 'WebSockets alone'}")
    if root_path != guard.root_path:
        found.append(f"the root_path is {root_path!r} and not the declared {guard.root_path!r}")
    if not is_canonical(path):
        found.append("the path is not written in the one way in which a path can be exempt")
    elif raw_path is not None and raw_path.partition(b"?")[0] != path.encode():
        found.append("the path was sent percent-encoded")
    elif guard.root_path and not base and path.startswith(guard.root_path):
        found.append("the path begins with the root_path, which it is declared to leave out")
    elif base and not path.startswith(f"{base}/"):
        found.append(f"the path does not begin with the declared root_path {base!r}, as it does with uvicorn")
    elif not (path == base + rule.entry or (rule.is_subtree and path.startswith(f"{base}{rule.entry}/"))):
        found.append("the path is another one, character for character")
    return found


# --- the key ----------------------------------------------------------------------------------------------------


def _of_places(check: _Check) -> str:
    sources, presented = check.guard.sources, check.presented
    names = {
        "the header": sources.header,
        "the query parameter": sources.query,
        "the header authorization, as": "Bearer" if sources.bearer else None,
    }
    looked = " and ".join(f"{place} {name}" for place, name in names.items() if name)
    if check.requirement is Requirement.EXEMPT:
        found = "what stands there is taken out, and not looked at"
    elif presented.is_ambiguous:
        where = " and ".join(source.value for source in presented.sources) or "query"
        found = f"more than one key, or what another program could read as one, in the {where}"
    elif presented.candidates:
        found = f"one key, in the {presented.sources[0].value}"
    elif check.outer is not None:
        found = "no key; what the guard further out has found counts here as well, for both have the same store"
    else:
        found = "no key" + (", but a bearer token that is none" if presented.foreign_token else "")
    return f"{looked}: {found}"


def _of_key(check: _Check) -> list[Step]:
    if check.requirement is Requirement.EXEMPT or check.presented.is_ambiguous:
        return []
    if check.outer is not None and check.outer.brought is not None:
        return [Step(what="store", found=_described(check.outer.brought.verdict, check))]
    if not check.presented.candidates:
        return []
    forms = ", ".join(f"{prefix}…" for prefix in check.guard.store.keyring.prefixes)
    if check.credential is Presented.MALFORMED:
        found = f"not that of a key ({forms}), or a character of it is wrong; the store is not asked"
        return [Step(what="form of the key", found=found)]
    known = check.judged.known
    if known is not None:
        found = _described(known.verdict, check)
    else:
        found = "it could not be asked" if check.judged.decision.rule is Rule.OUTAGE else "there is no such key"
    return [Step(what="form of the key", found=f"that of a key ({forms})"), Step(what="store", found=found)]


def _described(verdict: Verdict, check: _Check) -> str:
    key = verdict.key
    name = f", {key.name!r}" if key.name else ""
    said = [f"key {key.hint} (id {key.id}{name}) of {verdict.principal.name!r}: {key.state(check.now).value}"]
    if key.revoked_at is not None:
        reason = f" ({key.revoked_reason})" if key.revoked_reason else ""
        said.append(f"revoked {_time(key.revoked_at)}{reason}")
    if key.disabled_at is not None:
        said.append(f"disabled {_time(key.disabled_at)}")
    if key.not_before is not None:
        said.append(f"good from {_time(key.not_before)}")
    if key.expires_at is not None:
        said.append(f"good until {_time(key.expires_at)}")
    if verdict.standing is Reason.OWNER_INACTIVE:
        said.append("its owner is not active")
    if key.networks:
        networks = ", ".join(map(str, key.networks))
        said.append(f"only from {networks}, and this comes from {check.address or 'nobody knows where'}")
    return "; ".join(said)


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


# --- the rules --------------------------------------------------------------------------------------------------

_RULES = {
    1: ("exempt path", {Rule.EXEMPT}),
    2: ("a good key was given", {Rule.KEY}),
    3: ("the app's own sign-in knows the caller", {Rule.IDENTIFIED}),
    4: ("skip_auth", {Rule.SKIP_AUTH}),
    5: ("ambiguous credentials", {Rule.AMBIGUOUS}),
    6: ("a bad key was given", {Rule.BAD_KEY}),
    7: ("no key", {Rule.AUTO_LOGIN, Rule.OPTIONAL, Rule.NO_KEY}),
}
"""The rules as the manual numbers them, each with the answers that it gives."""


def _of_rules(check: _Check) -> list[Step]:
    """Return the rules in their order, up to the one that decides: what was decided is `decide`'s own answer."""
    decision = check.judged.decision
    if decision.rule is Rule.OUTAGE:
        return [Step(what="rules", found="cannot be asked, because not all is known: nothing passes then")]
    last = next(number for number, (_, answers) in _RULES.items() if decision.rule in answers)
    found = [f"no: {_why_not(number, check)}" for number in range(1, last)]
    found.append(f"decides: {_why(decision, check.guard.policy)}")
    return [Step(what=f"rule {number}, {_RULES[number][0]}", found=each) for number, each in enumerate(found, 1)]


def _why(decision: Decision, policy: Policy) -> str:
    if isinstance(decision, Refused):
        signed_in = policy.auto_login and decision.reason is Reason.MISSING
        but = "; auto_login signs people in, and excuses no request from its key" if signed_in else ""
        return f"refused, because {decision.reason.value}{but}"
    if isinstance(decision, Anonymous):
        return "the path is optional, so it passes as nobody" if decision.rule is Rule.OPTIONAL else "passes as nobody"
    if decision.rule in {Rule.SKIP_AUTH, Rule.AUTO_LOGIN}:
        although = f", although {decision.noted.value}" if decision.noted else ""
        return f"passes as the auto-login user{although}"
    return "passes"


def _why_not(number: int, check: _Check) -> str:
    guard = check.guard
    is_keyless = check.credential in {Presented.NOTHING, Presented.FOREIGN_TOKEN}
    is_known = "it knows nobody here" if guard.identify else "the guard was given no identify"
    return {
        1: f"the path is {'optional' if check.requirement is Requirement.OPTIONAL else 'guarded'}",
        2: "there is none" if is_keyless else _flaw(check),
        3: is_known if is_keyless else "it is not asked where a key was presented",
        4: "it is off",
        5: "there is one at most",
        6: "there is none",
    }[number]


def _flaw(check: _Check) -> str:
    """Return what is wrong with what was presented: why it would be refused if it had nothing else to pass by."""
    alone = Facts(credential=check.credential, address=check.address)
    decision = decide(Requirement.REQUIRED, alone, Policy(), check.now)
    return decision.reason.value if isinstance(decision, Refused) else "its time has come meanwhile"


# --- the outcome ------------------------------------------------------------------------------------------------


def _outcome(decision: Decision, refusal: Refusal | None) -> str:
    if isinstance(decision, Refused) and refusal is not None:
        told = f"REFUSED with {refusal.status} {refusal.code}: the caller reads {refusal.detail!r}"
        return f"{told}; only the log says that {decision.reason.value}"
    if isinstance(decision, Allowed):
        return f"PASSES as {_named(decision.principal)}"
    return "PASSES as nobody: request.user is not authenticated"


def _named(principal: Principal) -> str:
    scopes = ", ".join(Scopes(principal.scopes)) or "none"
    rights = "with superuser rights" if principal.is_superuser else "without superuser rights"
    return f"{principal.name!r} (id {principal.id}), {rights}, scopes: {scopes}"
