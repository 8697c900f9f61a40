"""`survey`: the routes of an app, what each asks, and what its owner should know of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from keyguard.model import Requirement
from keyguard.routes._app import ANY, App, Guarding, Leaf, scope_of
from keyguard.routes._template import Template, fillers
from keyguard.routes._values import (
    Concern,
    Finding,
    RouteKind,
    Standing,
    Survey,
    SurveyedGuard,
    SurveyedRoute,
)
from keyguard.settings import DEFAULT_METHODS, PathRule

__all__ = ["survey"]

_STANDINGS = {
    None: Standing.UNGUARDED,
    Requirement.REQUIRED: Standing.GUARDED,
    Requirement.OPTIONAL: Standing.OPTIONAL,
    Requirement.EXEMPT: Standing.EXEMPT,
}

_STRICTEST_FIRST = (Requirement.REQUIRED, Requirement.OPTIONAL, Requirement.EXEMPT)

_EXAMPLES = 16
"""Of each route that could answer below an entry, so many paths are tried."""


def survey(app: object) -> Survey:
    """Return the routes of an ASGI app, whether each is guarded, and what there is to warn of.

    The app may be a `KeyGuard` around anything, a Starlette or FastAPI app, a router, or other middleware around one of
    these. It is not started, and no store is asked. The server is taken to give the `root_path` that the outermost
    guard has declared.

    Raises nothing of its own: what cannot be looked into is a finding.
    """
    return _Surveyor(App(app)).survey()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry of a guard's policy, as requests bring it."""

    rule: PathRule
    opens: Requirement
    path: str
    """With the declared root, where paths begin with that."""

    @property
    def text(self) -> str:
        return f"{self.path}/*" if self.rule.is_subtree else self.path

    @property
    def methods(self) -> list[str | None]:
        """The methods that it speaks of, and None for WebSockets."""
        return [*sorted(self.rule.methods), *([None] if self.rule.websocket else [])]


class _Surveyor:
    def __init__(self, app: App) -> None:
        self._app = app
        self._root, self._lead = _root_of(app.guards)
        self._paths = {leaf: Template.text_of(self._lead) + leaf.path for leaf in app.leaves}
        self._entries = {guarding: list(_entries_of(guarding)) for guarding in app.guards}
        everything = [entry.path for entries in self._entries.values() for entry in entries]
        # Deeper than any route, so that what catches all the rest is reached.
        deepest = max(path.depth for path in self._paths.values()) + max(path.count("/") for path in ["", *everything])
        # And unlike any route, so that what is made up is not caught by one that is written out.
        written = [text for path in self._paths.values() for text in path.texts]
        self._fill = fillers([*everything, *written], depth=deepest + 1)
        self._hosts = list(dict.fromkeys(["", *(self._host_of(leaf) for leaf in app.leaves)]))
        self._led_to: dict[Leaf, list[str]] = {leaf: [] for leaf in app.leaves}
        """Of what is not known, which entries lead there."""

    def survey(self) -> Survey:
        rows = [row for leaf in self._app.leaves for row in self._rows_of(leaf)]
        findings = [
            *self._app.findings,
            *self._of_guards(rows),
            *(finding for guarding in self._app.guards for finding in self._of_policy(guarding)),
            *(finding for guarding in self._app.guards for finding in self._of_entries(guarding)),
        ]
        findings += [*self._of_unknown(), *self._notes()]
        return Survey(guards=tuple(map(self._guard, self._app.guards)), routes=tuple(rows), findings=tuple(findings))

    def _guard(self, guarding: Guarding) -> SurveyedGuard:
        entries = self._entries[guarding]
        return SurveyedGuard(
            path=guarding.path.text,
            root_path="" if guarding.guard is None else guarding.guard.root_path,
            exempt=tuple(entry.text for entry in entries if entry.opens is Requirement.EXEMPT),
            optional=tuple(entry.text for entry in entries if entry.opens is Requirement.OPTIONAL),
        )

    # --- what a route asks ---

    def _rows_of(self, leaf: Leaf) -> Iterator[SurveyedRoute]:
        """Give a row for those methods of a route that are treated alike."""
        alike: dict[tuple[Standing, tuple[str, ...], tuple[str, ...]], list[str | None]] = {}
        for method in _methods_of(leaf):
            alike.setdefault(self._treated(leaf, method), []).append(method)
        for (standing, exempt, optional), methods in alike.items():
            yield SurveyedRoute(
                kind=leaf.kind,
                methods=() if leaf.kind is RouteKind.WEBSOCKET else _shortened(methods),
                path=self._paths[leaf].text,
                host=leaf.host.text,
                name=leaf.name,
                standing=standing,
                exempt=exempt,
                optional=optional,
            )

    def _treated(self, leaf: Leaf, method: str | None) -> tuple[Standing, tuple[str, ...], tuple[str, ...]]:
        """Return how a route treats requests of one method, and of which paths that is not so."""
        if not leaf.guards:
            return Standing.UNGUARDED, (), ()
        path = self._example(leaf)
        if path is None:
            return Standing.UNKNOWN, (), ()
        usual = self._asked(leaf, method, path)
        otherwise: dict[Requirement, dict[str, None]] = {each: {} for each in Requirement}
        for entry in (entry for guarding in leaf.guards for entry in self._entries[guarding]):
            if method in entry.methods:
                reached = [path for path in self._examples_at(leaf, entry) if self._is_reached(leaf, method, path)]
                for asked in {self._asked(leaf, method, path) for path in reached} - {usual}:
                    otherwise[asked][entry.text] = None
        exempt, optional = (tuple(otherwise[each]) for each in (Requirement.EXEMPT, Requirement.OPTIONAL))
        return _STANDINGS[usual], exempt, optional

    def _asked(self, leaf: Leaf, method: str | None, path: str) -> Requirement:
        asked = leaf.asked(scope_of(method, path, root_path=self._root, host=self._host_of(leaf)))
        return _strictest(requirement for _, _, requirement in asked)

    def _is_reached(self, leaf: Leaf, method: str | None, path: str) -> bool:
        """Tell whether no other route stands before this one, as far as that can be told."""
        scope = scope_of(method, path, root_path=self._root, host=self._host_of(leaf))
        answering = self._app.answer(scope).leaf
        return answering is leaf or (answering is not None and answering.unknown is not None)

    def _example(self, leaf: Leaf) -> str | None:
        """Return any path of a route; None if none can be made up."""
        if leaf.unknown is Concern.UNKNOWN_ROUTE:
            return None
        return next((path for path in self._paths[leaf].examples(self._fill) if self._is_taken(leaf, path)), None)

    def _examples_at(self, leaf: Leaf, entry: _Entry) -> list[str]:
        """Return paths of a route that an entry speaks of."""
        if leaf.unknown is Concern.UNKNOWN_ROUTE:
            return []
        paths = self._paths[leaf].examples_at(entry.path, self._fill, and_below=entry.rule.is_subtree)
        return list(islice((path for path in paths if self._is_taken(leaf, path)), _EXAMPLES))

    def _is_taken(self, leaf: Leaf, path: str) -> bool:
        """Tell whether a route can make something of a path: the convertors of the app's own may raise."""
        with suppress(Exception):
            leaf.asked(scope_of("GET", path, root_path=self._root, host=self._host_of(leaf)))
            return True
        return False

    def _host_of(self, leaf: Leaf) -> str:
        return next(leaf.host.examples(self._fill), "")

    # --- what there is to say of the guards ---

    def _of_guards(self, rows: Sequence[SurveyedRoute]) -> Iterator[Finding]:
        if not self._app.guards:
            yield Finding(
                concern=Concern.NO_GUARD, message="there is no KeyGuard: whoever can reach this app can use all of it"
            )
            return
        open_rows = [row for row in rows if row.standing is Standing.UNGUARDED]
        if open_rows:
            requests = tuple(_request(row) for row in open_rows)
            yield Finding(
                concern=Concern.UNGUARDED,
                message=f"no guard stands before {_some(requests)}: no key is asked there",
                requests=requests,
            )

    def _of_policy(self, guarding: Guarding) -> Iterator[Finding]:
        guard = guarding.guard
        if guard is None:
            return
        policy, where = guard.policy, f" below {guarding.path.text}" if guarding.path.text else ""
        acts = f"acts as {policy.auto_login_user!r}, and is a superuser if the store's record of that user says so"
        if policy.skip_auth:
            yield Finding(
                concern=Concern.SKIP_AUTH,
                message=f"skip_auth is on: everyone who comes without a good key{where} {acts}",
            )
        elif policy.excuses_keyless:
            yield Finding(
                concern=Concern.AUTO_LOGIN,
                message=f"auto_login is on and needs no key: everyone who comes without a key{where} {acts}",
            )
        if seen := self._other_roots(guarding):
            yield Finding(
                concern=Concern.WRONG_ROOT,
                message=f"requests come to the guard{where} with root_path={min(seen)!r} and it is declared "
                f"{guard.root_path!r}, so that nothing is exempt or optional; declare it: KeyGuard(..., root_path=...)",
            )

    def _other_roots(self, guarding: Guarding) -> set[str]:
        """Return under which roots requests come to a guard if none of them is the declared one, and it matters."""
        entries = self._entries[guarding]
        seen: set[str] = set()
        for leaf in self._app.leaves if entries else ():
            if guarding in leaf.guards:
                paths = [self._example(leaf), *(path for entry in entries for path in self._examples_at(leaf, entry))]
                seen |= {self._root_at(guarding, leaf, path) for path in paths if path is not None}
        return set() if guarding.guard is None or guarding.guard.root_path in seen else seen

    def _root_at(self, guarding: Guarding, leaf: Leaf, path: str) -> str:
        asked = leaf.asked(scope_of("GET", path, root_path=self._root, host=self._host_of(leaf)))
        return next(root for each, root, _ in asked if each is guarding)

    # --- what there is to say of a policy's entries ---

    def _of_entries(self, guarding: Guarding) -> Iterator[Finding]:
        if self._other_roots(guarding):
            return
        for entry in self._entries[guarding]:
            touched = {
                leaf: paths
                for leaf in self._app.leaves
                if guarding in leaf.guards and (paths := self._examples_at(leaf, entry))
            }
            own = _own(entry, {leaf: self._paths[leaf] for leaf in touched})
            answering = self._answering(guarding, entry, {leaf: touched[leaf] for leaf in touched if leaf not in own})
            for leaf, requests in answering.items():
                if leaf.unknown is not None:
                    self._led_to[leaf].append(entry.text)
                elif leaf not in own:
                    yield self._answered_by_another(entry, leaf, requests, own)
            if not answering and not any(_speaks_of(entry, leaf) for leaf in own):
                yield _without_route(entry, own)

    def _answering(
        self, guarding: Guarding, entry: _Entry, others: dict[Leaf, list[str]]
    ) -> dict[Leaf, tuple[str, ...]]:
        """Return what answers the requests that an entry opens, as far as they were tried, and which these are."""
        word = self._fill[0]
        usual = [entry.path, f"{entry.path}/", f"{entry.path}/{word}", f"{entry.path}/{word}/{word}"]
        found: dict[Leaf, list[str]] = {}
        for method in entry.methods:
            more = [path for leaf, paths in others.items() if method in _methods_of(leaf) for path in paths]
            for path in dict.fromkeys([*usual, *more]):
                for host in self._hosts:
                    answer = self._app.answer(scope_of(method, path, root_path=self._root, host=host))
                    is_open = _strictest(requirement for _, requirement in answer.asked) is not Requirement.REQUIRED
                    is_ours = any(asked is guarding for asked, _ in answer.asked)
                    if answer.leaf is not None and is_open and is_ours:
                        found.setdefault(answer.leaf, []).append(f"{method or 'websocket'} {path}")
        return {leaf: tuple(dict.fromkeys(requests)) for leaf, requests in found.items()}

    def _answered_by_another(
        self, entry: _Entry, leaf: Leaf, requests: tuple[str, ...], own: Iterable[Leaf]
    ) -> Finding:
        path = self._paths[leaf].text
        meant = _some([*dict.fromkeys(self._paths[each].text for each in own)])
        instead = f"and not by {meant}" if meant else "and no route is written out for it"
        return Finding(
            concern=Concern.OTHER_ROUTE,
            message=f"{entry.opens.value} {entry.text}: {_some(requests)} is answered by {path} ({leaf.name}), "
            + instead,
            entry=entry.text,
            route=path,
            requests=requests,
        )

    # --- what cannot be told, and what is worth a note ---

    def _of_unknown(self) -> Iterator[Finding]:
        for leaf in self._app.leaves:
            path = self._paths[leaf].text
            if leaf.unknown is not None:
                led = self._led_to[leaf]
                what = (
                    f"which routes there are in {leaf.name}"
                    if leaf.unknown is Concern.UNKNOWN_APP
                    else f"what {leaf.name} answers, which matches in a way of its own"
                )
                answers = f", nor what answers {_some(led)}" if led else ""
                yield Finding(concern=leaf.unknown, message=f"cannot tell {what}, at {path}{answers}", route=path)
            elif leaf.guards and self._example(leaf) is None:
                yield Finding(
                    concern=Concern.UNKNOWN_ROUTE,
                    message=f"cannot tell what is asked at {path}: no path of it could be made up",
                    route=path,
                )

    def _notes(self) -> Iterator[Finding]:
        if self._app.outside:
            yield Finding(
                concern=Concern.FOREIGN_LAYER,
                message=f"before the guard stands {', '.join(self._app.outside)}: what it answers itself needs no key",
            )
        foreign = dict.fromkeys(name for leaf in self._app.leaves if leaf.guards for name in leaf.foreign)
        if foreign:
            yield Finding(
                concern=Concern.FOREIGN_LAYER,
                message=f"between guard and routes stands {', '.join(foreign)}: all this holds if it changes neither "
                "path nor method, and answers nothing itself",
            )
        for guarding in self._app.guards:
            where = f"the guard below {guarding.path.text}" if guarding.path.text else "the guard"
            if guarding.guard is not None and guarding.guard.sources.query is not None:
                yield Finding(
                    concern=Concern.QUERY_KEYS,
                    message=f"{where} takes keys in the query parameter {guarding.guard.sources.query!r}: proxies may "
                    "log them; query=None ends that",
                )
            if not guarding.sees_lifespan:
                yield Finding(
                    concern=Concern.NO_LIFESPAN,
                    message=f"{where} hears of no lifespan: its store is opened by the first request, and aclose() is "
                    "yours to call",
                )


# --- small questions ---------------------------------------------------------------------------------------------


def _entries_of(guarding: Guarding) -> Iterator[_Entry]:
    if guarding.guard is None:
        return
    guard, policy = guarding.guard, guarding.guard.policy
    base = guard.root_path if guard.rules.root_in_path else ""
    for opens, rules in ((Requirement.EXEMPT, policy.exempt_rules), (Requirement.OPTIONAL, policy.optional_rules)):
        for rule in rules:
            yield _Entry(rule=rule, opens=opens, path=base + rule.entry)


def _root_of(guards: Iterable[Guarding]) -> tuple[str, str]:
    """Return the `root_path` that the server is taken to give, and what a path begins with because of it."""
    for guarding in guards:
        if guarding.guard is not None and any(_entries_of(guarding)):  # For others it does not matter.
            declared, mounted = guarding.guard.root_path, guarding.path.beginning
            root = declared.removesuffix(mounted) if declared.endswith(mounted) else ""
            return root, root if guarding.guard.rules.root_in_path else ""
    return "", ""


def _strictest(requirements: Iterable[Requirement]) -> Requirement:
    """Return what a request has to meet that passes several guards."""
    return min(requirements, key=_STRICTEST_FIRST.index, default=Requirement.REQUIRED)


def _methods_of(leaf: Leaf) -> list[str | None]:
    """Return the methods that a route answers, and None for WebSockets."""
    if leaf.kind is RouteKind.WEBSOCKET:
        return [None]
    methods = sorted(leaf.methods or {*DEFAULT_METHODS, ANY})
    return [*methods, None] if leaf.kind is RouteKind.APP else [*methods]


def _shortened(methods: Iterable[str | None]) -> tuple[str, ...]:
    names = ["websocket" if method is None else method for method in methods]
    return tuple(name for name in names if ANY not in names or name in {ANY, "websocket"})


def _speaks_of(entry: _Entry, leaf: Leaf) -> bool:
    return not set(entry.methods).isdisjoint(_methods_of(leaf))


def _own(entry: _Entry, paths: dict[Leaf, Template]) -> list[Leaf]:
    """Return the routes that are meant by an entry: those written out for it, else those that name a part of it."""
    below = entry.rule.is_subtree
    written = [leaf for leaf, path in paths.items() if path.is_at(entry.path, and_below=below)]
    return written or [
        leaf
        for leaf, path in paths.items()
        if path.names(entry.path, catches_all=below or leaf.kind is RouteKind.FILES)
    ]


def _without_route(entry: _Entry, own: Iterable[Leaf]) -> Finding:
    there = sorted({method or "websocket" for leaf in own for method in _methods_of(leaf)})
    but = f": it is there for {', '.join(there)} alone" if there else ""
    return Finding(
        concern=Concern.NO_ROUTE,
        message=f"{entry.opens.value} {entry.text} opens no route that is there{but}",
        entry=entry.text,
    )


def _request(row: SurveyedRoute) -> str:
    methods = " ".join(row.methods) or "websocket"
    return f"{methods} {row.host}{row.path}"


def _some(requests: Sequence[str]) -> str:
    shown = 3
    more = len(requests) - shown
    return ", ".join(requests[:shown]) + (f" and {more} more" if more > 0 else "")
