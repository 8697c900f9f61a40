"""`keyguard check`: what it prints of an app, and with which exit code it ends."""

import re
import sys
from pathlib import Path

import pytest

from keyguard.routes import Concern, Level

HOW_TO = (Path(__file__).parents[2] / "docs" / "howto" / "check.md").read_text("utf-8")

GUARDED = """
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from keyguard import KeyGuard, PathRule, Policy
from keyguard.stores.memory import MemoryStore

print("importing")

def endpoint(request): ...

ROUTES = [
    Route("/health", endpoint),
    Route("/greeting", endpoint),
    Route("/files/{path:path}", endpoint),
    WebSocketRoute("/ws", endpoint),
]

def guarded(**policy):
    app = Starlette(routes=[*ROUTES, *policy.pop("more", [])])
    app.add_middleware(KeyGuard, store=MemoryStore(), policy=Policy(**policy), query=None)
    return app

reading = frozenset({"GET", "HEAD"})
clean = guarded(
    exempt=[PathRule(path="/health", methods=reading), PathRule(path="/files/public/*", methods=reading)],
    optional=[PathRule(path="/greeting", methods=frozenset({"GET"}))],
)
everyone = guarded(skip_auth=True, auto_login_user="root")
several = guarded(exempt=["/nope", "/health", "/x"], more=[Route("/{path:path}", endpoint, methods=["PUT"])])

async def unknown(scope, receive, send): ...

class Loud:
    def __init__(self, app):
        print("constructing")
        self.app = app

    async def __call__(self, scope, receive, send): ...

both = guarded(exempt=["/nope"])
both.add_middleware(Loud)
outside = KeyGuard(unknown, store=MemoryStore(), policy=Policy(exempt=["/health"]))
noted = KeyGuard(clean, store=MemoryStore())

def make():
    return clean

def mistaken():
    return KeyGuard(clean, store=MemoryStore(), header="no name")
"""


@pytest.fixture
def check(terminal, tmp_path, monkeypatch):
    """Runs the command on one of the apps above."""
    (tmp_path / "checked_app.py").write_text(GUARDED, "utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield lambda name, *options: terminal("check", f"checked_app:{name}", *options)
    sys.modules.pop("checked_app", None)


CLEAN = """\
asked with  path                is
GET HEAD    /health             exempt
GET         /greeting           optional
HEAD        /greeting           guarded
GET HEAD    /files/{path:path}  guarded; exempt in part: /files/public/*
websocket   /ws                 guarded

Nothing to warn of.
"""


def without_trailing_blanks(text):
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_a_clean_app(check):
    """Each route is a line of a table, and nothing is warned of; the database of the environment is not looked for."""
    for options in ([], ["--strict"]):
        ran = check("clean", *options)
        assert (ran.code, without_trailing_blanks(ran.out)) == (0, CLEAN)


def test_a_factory(check):
    """With --factory, what is named is called."""
    assert without_trailing_blanks(check("make", "--factory", "--strict").out) == CLEAN


@pytest.mark.parametrize(
    ("name", "warning", "summary"),
    [
        ("everyone", "skip_auth is on", "1 warning."),
        ("several", "exempt /health: PUT /health is answered by /{path:path}", "3 warnings."),
        ("both", "exempt /nope opens no route that is there", "1 warning."),
        ("outside", "cannot tell which routes there are in checked_app.unknown", "1 that cannot be told."),
    ],
)
def test_an_app_to_be_warned_of(check, name, warning, summary):
    """Warnings, and what cannot be told, stand below the table; they decide the exit code with --strict alone."""
    ran = check(name)
    assert ran.code == 0
    assert warning in " ".join(ran.out.split())
    assert ran.out.endswith(f"{summary}\n")
    assert max(len(line) for line in ran.out.splitlines()) <= 80
    strict = check(name, "--strict")
    assert (strict.code, strict.out) == (1, ran.out)


def test_warnings_and_what_cannot_be_told(check, tmp_path):
    """Both are counted."""
    with (tmp_path / "checked_app.py").open("a") as module:
        module.write(
            "outside = KeyGuard(unknown, store=MemoryStore(), policy=Policy(skip_auth=True, auto_login_user='a'))"
        )
    assert check("outside").out.endswith("1 warning and 1 that cannot be told.\n")


def test_a_note_is_no_warning(check):
    """What is only worth a note is printed and changes no exit code."""
    ran = check("noted", "--strict")
    assert ran.code == 0
    assert "note" in ran.out
    assert ran.out.endswith("Nothing to warn of.\n")


def test_json(check):
    """With --json the whole survey is one document."""
    ran = check("both", "--json")
    assert (ran.code, ran.err) == (0, "importing\nconstructing\n")
    assert ran.json["app"] == "checked_app:both"
    assert ran.json["is_clear"] is False
    assert ran.json["guards"] == [{"path": "", "root_path": "", "exempt": ["/nope"], "optional": []}]
    assert ran.json["routes"][0] == {
        "kind": "http",
        "methods": ["GET", "HEAD"],
        "path": "/health",
        "host": "",
        "name": "endpoint",
        "standing": "guarded",
        "exempt": [],
        "optional": [],
    }
    assert ran.json["findings"] == [
        {
            "level": "warning",
            "concern": "no-route",
            "message": "exempt /nope opens no route that is there",
            "entry": "/nope",
            "route": None,
            "requests": [],
        },
        {
            "level": "note",
            "concern": "foreign-layer",
            "message": "before the guard stands checked_app.Loud: what it answers itself needs no key",
            "entry": None,
            "route": None,
            "requests": [],
        },
    ]
    assert check("both", "--json", "--strict").code == 1


def test_a_misconfigured_guard(check):
    """A guard with a mistake in its arguments is reported with its sentence."""
    ran = check("mistaken", "--factory", "--strict")
    assert ran.code == 1
    assert "KeyGuard cannot be set up: header is" in " ".join(ran.out.split())


def test_no_app(check):
    """What is no app is one sentence on standard error, and exit code 2."""
    ran = check("nobody")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("keyguard: checked_app has no attribute nobody.\n")


def test_the_how_to_shows_what_is_printed(terminal, tmp_path, monkeypatch):
    """The manual's app gives the manual's output, and with the policy that it advises there is nothing to warn of."""
    (first, second, *_), (shown,) = (
        re.findall(rf"^```{kind}\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL) for kind in ("python", "text")
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    head, add = first.split("policy = ")
    advised = f"{head}{second}{add[add.index('app.add_middleware') :]}"
    for name, text in {"manual_app": first, "advised_app": advised}.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    assert without_trailing_blanks(terminal("check", "manual_app:app").out) == shown
    assert terminal("check", "advised_app:app", "--strict").code == 0
    for name in ("manual_app", "advised_app"):
        del sys.modules[name]


def test_the_how_to_names_every_concern():
    """The manual says of each warning what to do."""
    table = HOW_TO[HOW_TO.index("## What it warns of") :]
    named = set(re.findall(r"`([a-z-]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert named == {concern.value for concern in Concern if concern.level is not Level.NOTE}
