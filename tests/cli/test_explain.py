"""`keyguard explain`: what a person reads, what a program reads, and what is refused."""

import sys

import pytest
from leaks import WATCH

APP = """
import logging
from keyguard import KeyGuard, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, WebSocketRoute

store = SQLStore("sqlite+aiosqlite:///keys.db")
policy = Policy(exempt=["/health"])


async def home(request): ...


def guard(**arguments):
    return Middleware(KeyGuard, **({"store": store} | arguments))


routes = [Route("/", home), Route("/health", home), WebSocketRoute("/ws", home)]
app = Starlette(routes=routes, middleware=[guard(policy=policy)])
bare = Starlette(routes=routes)
inner = Starlette(routes=[Route("/flows", home)], middleware=[guard()])
elsewhere = Starlette(routes=[Route("/flows", home)], middleware=[guard(store=MemoryStore())])
policy = Policy(exempt=["/same/*"])
passing = Starlette(routes=[Mount("/same", inner)], middleware=[guard(policy=policy)])
nested = Starlette(routes=[Mount("/same", inner), Mount("/other", elsewhere)], middleware=[guard()])


def make():
    return app


def broken():
    return Starlette(routes=routes, middleware=[guard(query="not a name")])
"""


@pytest.fixture
def at(ada, tmp_path, monkeypatch):
    """Ada's terminal, in a directory with an app; and her key."""
    (tmp_path / "explained.py").write_text(APP, "utf-8")
    monkeypatch.delitem(sys.modules, "explained", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    key = ada("key", "issue", "ada", "--name", "ci").out.strip()
    WATCH.key(key)

    def explain(*arguments, app="explained:app", stdin=""):
        return ada("explain", *arguments, "--app", app, stdin=stdin)

    explain.key = key
    explain.terminal = ada
    yield explain
    sys.modules.pop("explained", None)


def test_a_good_key_is_explained(at):
    """Each step stands on a line of its own, with what was found below it."""
    ran = at("get", "/?page=2", "--key", "-", stdin=f"{at.key}\n")
    assert (ran.code, ran.err) == (0, "")
    key_id = at.key.split("_")[1]
    lines = ran.out.splitlines()
    assert lines[:2] == ["request", "    GET / from 127.0.0.1"]
    assert f"    key kg_{key_id[:4]}… (id {key_id}, 'ci') of 'ada': active" in lines
    assert lines[lines.index("outcome") + 1].startswith("    PASSES as 'ada'")


def test_a_refusal_is_explained_as_json(at):
    """As JSON there is one document: for each guard that is met the outcome in words for programs, and the steps."""
    (guard,) = at("GET", "/", "--json").json["guards"]
    steps = guard.pop("steps")
    assert guard == {
        "passes": False,
        "requirement": "required",
        "rule": "NO_KEY",
        "reason": "MISSING",
        "status": 401,
        "code": "missing_key",
        "user": None,
        "key_id": None,
    }
    assert steps[0] == {"what": "request", "found": "GET / from 127.0.0.1"}
    (guard,) = at("GET", "/", "--json", "--key", "-", "--in", "query", stdin=at.key).json["guards"]
    assert (guard["rule"], guard["key_id"]) == ("KEY", at.key.split("_")[1])
    assert (guard["user"]["name"], guard["user"]["scopes"]) == ("ada", ["*"])


def test_headers_client_root_and_kind_are_sent(at):
    """Headers, a part of the query, the client's address, the root path and WebSockets are what was asked for."""
    arguments = ("--header", "Accept: text/html", "--query", "a=1", "--client", "192.0.2.7", "--root-path", "/api")
    out = at("GET", "/api/health", *arguments).out
    assert "GET /api/health from 192.0.2.7" in out
    assert "the root_path is '/api' and not the declared ''" in " ".join(out.split())
    assert "WebSocket /ws from 127.0.0.1" in at("GET", "/ws", "--websocket").out
    assert "exempt, by the entry '/health'" in at("GET", "/health", "--factory", app="explained:make").out


def test_a_key_in_two_places_is_ambiguous(at):
    """A key can be put in two places, to see what becomes of that."""
    ran = at("GET", "/", "--key", "-", "--in", "header", "--in", "query", "--json", stdin=at.key)
    assert ran.json["guards"][0]["reason"] == "AMBIGUOUS"


def test_a_key_is_no_argument(at):
    """A key is taken from standard input alone: as an argument, among headers or in a query it is refused, unechoed."""
    hint = "Say `--key -`, and type it or pipe it in"
    for arguments in (
        ("--key", "a-text-that-may-be-a-secret"),
        ("--header", "X-API-Key: a-text-that-may-be-a-secret"),
        ("--query", "x-api-key=a-text-that-may-be-a-secret"),
        ("--query", "X-%41pi-key=a-text-that-may-be-a-secret"),
    ):
        ran = at("GET", "/", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert hint.lower() in ran.err.lower()
        assert "may-be-a-secret" not in ran.err
    ran = at("GET", "/", "--header", f"x-api-key: {at.key}")
    assert (ran.code, ran.out) == (2, "")
    assert "a whole key stands on the command line" in ran.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("GET", "health"), "begins with a slash"),
        (("GET", "/", "--header", "no colon"), "a header is written as 'Name: value'"),
        (("GET", "/", "--header", ": value"), "a header is written as 'Name: value'"),
        (("GET", "/", "--key", "-"), "there was none"),
        (("GET", "/", "--in", "cookie"), "cookie"),
    ],
)
def test_what_cannot_be_asked(at, arguments, sentence):
    """What cannot be sent is refused with a sentence, as any wrong command line."""
    ran = at(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_an_app_without_a_guard_is_told(at):
    """Where no guard is met it is said that everybody may call, and the exit code is 1."""
    ran = at("GET", "/", app="explained:bare")
    assert ran.code == 1
    assert "everybody may call it" in ran.err


def test_a_guard_that_cannot_be_set_up_is_told(at):
    """Where a guard cannot be set up nothing passes, and nothing is explained."""
    ran = at("GET", "/", "--factory", app="explained:broken")
    assert ran.code == 2
    assert "cannot be set up, so that nothing passes it" in ran.err


def test_every_guard_on_the_way_is_explained(at):
    """A request that passes one guard comes to the next: with the same store it goes by the same key."""
    ran = at("GET", "/same/flows", "--key", "-", "--json", app="explained:nested", stdin=at.key)
    assert [guard["rule"] for guard in ran.json["guards"]] == ["KEY", "KEY"]
    ran = at("GET", "/other/flows", "--key", "-", "--json", app="explained:nested", stdin=at.key)
    assert [guard["rule"] for guard in ran.json["guards"]] == ["KEY", "NO_KEY"]
    ran = at("GET", "/same/flows", "--json", app="explained:nested")
    assert [guard["rule"] for guard in ran.json["guards"]] == ["NO_KEY"]
    # An exempt path takes a key out without a look at it, so that the next guard finds none.
    ran = at("GET", "/same/flows", "--key", "-", "--json", app="explained:passing", stdin=at.key)
    assert [guard["rule"] for guard in ran.json["guards"]] == ["EXEMPT", "NO_KEY"]
    out = at("GET", "/same/flows", "--key", "-", app="explained:nested", stdin=at.key).out
    assert "\n\nIt comes to another guard, further in.\nrequest\n" in out


def test_an_outage_is_explained_and_told(at, tmp_path):
    """A database that cannot be asked is explained as what a request would meet, and the exit code is that of it."""
    (tmp_path / "keys.db").unlink()
    ran = at("GET", "/", "--key", "-", stdin=at.key)
    assert ran.code == 6
    assert "REFUSED with 503" in ran.out
