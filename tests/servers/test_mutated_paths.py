"""No changed path is taken for an open one: hundreds of thousands of targets, in process and over sockets.

A request that comes without a key and is answered by an endpoint whose name begins with "guarded" is a violation.
What a rule judges exempt or optional goes to every shape of an app. Of what needs a key by that rule, which the guard
refuses before any app is asked, a seeded choice goes there too. The same search over two wrong rules must find some.
"""

import json
import posixpath
import random
from functools import cache

import pytest
from asgi import connect, get
from servers import guarded
from servers.guarded import ROOT, key_of
from servers.mutations import BASES, MAPPINGS, SEED, SUFFIXES, mutants, scopes
from servers.wire import Closed, Wire, request, shake_hands

import keyguard.middleware
from keyguard.model import Requirement
from keyguard.rules import Rules

SHAPES = {
    # The root that stands in the scope, and whether it is in the path.
    **dict.fromkeys(("starlette", "plain", "raw", "lenient", "fastapi", "litestar", "quart"), ("", True)),
    "mounted": (ROOT, True),
    "fastapi-rooted": (ROOT, False),
}
KINDS = [("http", "GET"), ("http", "POST"), ("websocket", None)]
REFUSED_SAMPLE = 200
WRONG_SAMPLE = 500
SOCKET_SAMPLE = 400

# FastAPI would have the server say its root, and Quart leaves a file open when nobody waits for it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class SegmentPrefix(Rules):
    """A wrong rule: whatever begins with an entry and then ends or goes on with a slash is open."""

    def requirement(self, type, method, path, raw_path, root_path):  # noqa: A002 The scope's own word.
        entries = [rule.entry.rstrip("/") for rule in guarded.POLICY.exempt_rules]
        path = path.removeprefix(self._root)
        is_open = any(path == entry or path.startswith(f"{entry}/") for entry in entries)
        return Requirement.EXEMPT if is_open else Requirement.REQUIRED


class NormaliseThenMatch(Rules):
    """A wrong rule: a path is tidied up first, and then the right rule is asked."""

    def requirement(self, type, method, path, raw_path, root_path):  # noqa: A002 The scope's own word.
        path = posixpath.normpath(path.split(";")[0])
        return super().requirement(type=type, method=method, path=path, raw_path=None, root_path=root_path)


@cache
def judged_open(rule, root, is_in_path, kind):
    """Return the scopes that `rule` takes for open, and a seeded choice of the others."""
    rules = rule(guarded.POLICY, root_path=root, root_in_path=is_in_path)
    type_, method = kind
    opened, refused = [], []
    for pair in scopes():
        path, raw_path = (root + pair[0], root.encode() + pair[1]) if is_in_path else pair
        need = rules.requirement(type=type_, method=method, path=path, raw_path=raw_path, root_path=root)
        (refused if need is Requirement.REQUIRED else opened).append(pair)
    return opened, random.Random(SEED).sample(refused, REFUSED_SAMPLE)


async def violations(app, pairs, kind, shape):
    """Return those of `pairs` at which, without a key, a guarded endpoint of `app` answers."""
    found = []
    prefix = ROOT if shape == "mounted" else ""  # The servers themselves add nothing; the mount's path does.
    for path, raw_path in pairs:
        ask = {"raw_path": prefix.encode() + raw_path}
        if kind[0] == "websocket":
            answer = await connect(app, prefix + path, **ask)
            told = next((m["text"] for m in answer.messages if m["type"] == "websocket.send"), "{}")
        else:
            answer = await get(app, prefix + path, method=kind[1], **ask)
            told = answer.body
        if endpoint_of(told).startswith("guarded"):
            found.append((path, raw_path))
    return found


def endpoint_of(told):
    try:
        return json.loads(told).get("endpoint", "")
    except (ValueError, AttributeError):
        return ""  # A file, a redirection, a page of the framework's own.


def test_the_generator_makes_all_that_it_says():
    """Each byte, raw and encoded, before and in place of each byte of each base, at its end too, with each suffix."""
    targets = set(mutants())
    assert len(mutants()) == len(targets) == 267_639
    assert len(scopes()) > 0.9 * len(targets)
    for base in BASES:
        for position in range(len(base)):
            for spelling in (b"\x00", b"%00", b"/", b"%2f", b".", b"%2e", b"\xff", b"%ff", b"A", b"%41"):
                for suffix in SUFFIXES:
                    assert base[:position] + spelling + base[position:] + suffix in targets
                    assert base[:position] + spelling + base[position + 1 :] + suffix in targets


@pytest.mark.parametrize("kind", KINDS, ids=["GET", "POST", "websocket"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_no_mutant_opens_a_guarded_endpoint(shape, kind):
    """In no shape of an app does a request without a key reach what is guarded."""
    opened, refused = judged_open(Rules, *SHAPES[shape], kind)
    assert await violations(guarded.SHAPES[shape](), [*opened, *refused], kind, shape) == []
    if kind == ("http", "GET"):
        assert len(opened) > 1_000  # Below an open tree, many are right to be open.


CAUGHT = [(shape, rule) for shape in SHAPES for rule in (SegmentPrefix, NormaliseThenMatch)]
CAUGHT.remove(("lenient", NormaliseThenMatch))  # That app tidies up in the same way, and so agrees with the rule.


@pytest.mark.parametrize(("shape", "rule"), CAUGHT)
async def test_the_search_catches_a_wrong_rule(shape, rule, monkeypatch):
    """The same search, with a careless rule in the guard, finds guarded endpoints that answer."""
    monkeypatch.setattr(keyguard.middleware, "Rules", rule)
    opened, refused = judged_open(rule, *SHAPES[shape], ("http", "GET"))
    opened = random.Random(SEED).sample(opened, WRONG_SAMPLE)
    found = await violations(guarded.SHAPES[shape](), [*opened, *refused], ("http", "GET"), shape)
    assert len(found) > 0


# --- over sockets -------------------------------------------------------------------------------------------------


def chosen(server, number):
    """A seeded choice of the mutants, another one for each server: of all, of what is nearly open, of what is open."""
    chance = random.Random(f"{SEED} {server.kind}")
    near, is_open = (
        sorted(raw_path for _, raw_path in judged_open(rule, "", True, ("http", "GET"))[0])
        for rule in (SegmentPrefix, Rules)
    )
    return [target for targets in (mutants(), near, is_open) for target in chance.sample(targets, number // 3)]


def below_root(shape, target):
    return ROOT.encode() + target if shape == "mounted" else target


def exchange(port, raw):
    """Return the answer, None where the server hangs up or says that this is no request."""
    try:
        with Wire(port) as wire:
            wire.send(raw)
            return wire.reply()
    except (Closed, OSError):
        return None


def test_a_server_reads_a_target_as_the_search_does(server):
    """What each server makes of a target is what the search in process took for it."""
    agreed = 0
    for target in chosen(server, SOCKET_SAMPLE):
        reply = exchange(server.port, request(target, f"X-API-Key: {key_of('good')}", shape="plain"))
        told = reply.report if reply is not None else {}
        if told:
            raw_path = told["raw_path"].encode("latin-1")
            assert (told["path"], raw_path) == MAPPINGS[server.kind](target), target
            agreed += 1
    assert agreed > SOCKET_SAMPLE // 4


def test_no_mutant_opens_a_guarded_endpoint_of_a_server(server):
    """The same search over sockets: a seeded choice of targets, each sent to one of the shapes."""
    answered = {}
    for number, target in enumerate(chosen(server, SOCKET_SAMPLE)):
        shape = list(SHAPES)[number % len(SHAPES)]
        reply = exchange(server.port, request(below_root(shape, target), shape=shape))
        if reply is not None:
            answered[reply.status] = answered.get(reply.status, 0) + 1
            assert reply.status < 500, (shape, target)
            assert not (reply.endpoint or "").startswith("guarded"), (shape, target)
    assert answered[401] > SOCKET_SAMPLE // 4
    assert answered[200] > SOCKET_SAMPLE // 8


def test_no_mutant_opens_a_guarded_socket_of_a_server(server):
    """And with handshakes."""
    for number, target in enumerate(chosen(server, SOCKET_SAMPLE // 4)):
        shape = list(SHAPES)[number % len(SHAPES)]
        try:
            reply = shake_hands(server.port, below_root(shape, target.replace(b"/tree/", b"/live/")), shape=shape)
        except (Closed, OSError):
            continue
        assert not (reply.endpoint or "").startswith("guarded"), (shape, target)
