"""The manual says what is so: its snippets run, its tables are the code's, and it leaves nothing out."""

import ast
import asyncio
import configparser
import http.client
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import get_args
from urllib.parse import urlsplit

import pytest
from asgi import get
from leaks import WATCH
from starlette.applications import Starlette

import keyguard
from keyguard import Argon2Hasher, KeyFormat, KeyGuard, Keyring, PathRule, Policy, Reason, Rule
from keyguard.clock import utc_now
from keyguard.journal import TurnedAway
from keyguard.keys import scanner_pattern
from keyguard.migrations import SCRIPT_LOCATION
from keyguard.model import Allowed, Anonymous, Event, Requirement
from keyguard.policy import decide
from keyguard.refusals import refusal_for
from keyguard.settings import DEFAULT_METHODS
from keyguard.stores.sql import UserTable

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PATIENCE = 60.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)

NOT_RUN = {
    "sh": "installs packages; the README's have tests of their own below, others in tests/cli and langflow_server",
    "sql": "is executed, as the role that it grants rights to needs them, by tests/stores/test_postgres_roles.py",
    "text": "shows a form or a picture; the tutorial's are looked for in its server's log",
    "json": "is read as JSON",
    "ini": "is read as an alembic.ini",
    "console": "only in the tutorial, whose test runs it",
    "{include}": "a directive of MyST",
    "{warning}": "prose",
    "{container}": "a frame around pictures",
    "{figure}": "a picture, which tests/browser/screenshots.py makes",
    "{image}": "likewise",
    "{toctree}": "a directive of Sphinx",
    "{eval-rst}": "directives of Sphinx",
    "{code-table}": "a table that is made when the manual is built",
}
"""What blocks there are beside Python, and why they are not run as snippets are."""

NEEDS_ITS_OWN_PROCESS = {"django-quart-litestar.md": "Django is configured once in a process"}

_BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\s`]+)[^\n]*\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """The fenced blocks of a page, in order: info string and text."""
    return [found.group("info", "text") for found in _BLOCK.finditer(page.read_text("utf-8"))]


def snippets(page):
    return [text for info, text in blocks(page) if info == "python"]


def load_tables():
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = load_tables()


# --- snippets ---------------------------------------------------------------------------------------------------


def run_snippets(page, namespace):
    """Run a page's snippets one after the other; a line that awaits is run in a loop of its own."""
    for number, text in enumerate(snippets(page), 1):
        code = compile(text, f"{page.name}, snippet {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, namespace))
        else:
            exec(code, namespace)


RUN_IN_PROCESS = [
    page
    for page in [ROOT / "README.md", *PAGES]
    if snippets(page) and page.name not in {"tutorial.md", *NEEDS_ITS_OWN_PROCESS}
]


@pytest.mark.parametrize("page", RUN_IN_PROCESS, ids=lambda page: page.stem)
def test_snippets_run(page, tmp_path, monkeypatch):
    """Every Python snippet runs as it is written, and every app that is built refuses a request without a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    module = ModuleType("snippets")  # Where Litestar looks up what the types of a handler's parameters are.
    monkeypatch.setitem(sys.modules, "snippets", module)
    namespace = vars(module)
    run_snippets(page, namespace)
    for name, app in list(namespace.items()):
        if isinstance(app, Starlette | KeyGuard):
            answer = asyncio.run(get(app, "/", headers=[("host", "localhost")]))
            assert answer.status in {401, 404}, name


def test_snippets_of_many_frameworks_run(tmp_path):
    """The apps of the page on frameworks each refuse a request without a key, in a process of their own."""
    (page,) = (page for page in PAGES if page.name in NEEDS_ITS_OWN_PROCESS)
    check = """
import asyncio, asgi
for app in (plain, readers_only, litestar_app, quart_app, django_app):
    answer = asyncio.run(asgi.get(app, "/", headers=[("host", "localhost")]))
    print(answer.status, answer.json["code"])
"""
    script = tmp_path / "page.py"
    script.write_text("".join([*snippets(page), check]), "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=False, timeout=PATIENCE
    )
    assert done.stdout.split("\n")[:-1] == ["401 missing_key"] * 5, done.stderr


@pytest.mark.parametrize("suite", ["TestExportStore", "TestMemoryStore"])
def test_the_stores_of_the_how_to_keep_the_promises(tmp_path, monkeypatch, suite):
    """The stores that the manual makes pass every test of the suites that the manual inherits from."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "snippets"}
    run_snippets(DOCS / "howto" / "write-a-store.md", namespace)
    tests = namespace[suite]()
    promises = [name for name in dir(tests) if name.startswith("test_") and getattr(tests, name) is not None]
    assert len(promises) > 10
    for name in promises:
        asyncio.run(getattr(tests, name)())


def test_every_other_block_has_a_reason():
    """A block that is not Python is of a kind that is listed here with the reason why it is not run."""
    for page in [ROOT / "README.md", *PAGES]:
        for info, text in blocks(page):
            assert info == "python" or info in NOT_RUN, (page, text)
            if info == "console":
                assert page.name == "tutorial.md"
            if info == "ini":
                section = configparser.ConfigParser()
                section.read_string(text)
                assert section["keyguard"]["script_location"] == SCRIPT_LOCATION
            if info == "json":
                assert ast.literal_eval(text)["code"] in {refusal_for(reason).code for reason in Reason}


# --- the tutorial -----------------------------------------------------------------------------------------------


class Reader:
    """Does what the tutorial says: writes its files, types its commands, and compares what it sees."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = dict(os.environ)
        self.server = None
        self.port = 0
        self.log = folder / "server.log"

    def read(self, page):
        for info, text in blocks(page):
            if info == "python":
                name = re.match(r"# (\w+\.py)\n", text)[1]
                (self.folder / name).write_text(text, "utf-8")
            elif info == "console":
                for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                    self.compare(self.type(command, expected), expected)
            elif info == "text":
                self.compare(self.log.read_text("utf-8"), f"…{text}…")

    def type(self, command, expected):
        match shlex.split(command):
            case ["export", *_]:
                return self.export(command)
            case ["keyguard" | "echo", *_]:
                return self.shell(command).stdout
            case ["uvicorn", *arguments]:
                return self.serve(arguments, stays="startup complete" in expected)
            case ["curl", *arguments]:
                return self.curl(arguments)
        raise AssertionError(f"the tutorial's reader does not know what to type for {command!r}")

    def export(self, command):
        """Return what the terminal shows; what a command prints on standard output goes into the variable."""
        setting, _, value = command.removeprefix("export ").partition("=")
        if not value.startswith("$("):
            self.environment[setting] = value
            return ""
        done = self.shell(value.removeprefix("$(").removesuffix(")"), stderr=subprocess.PIPE)
        self.environment[setting] = done.stdout.strip()
        WATCH.key(self.environment[setting])
        return done.stderr

    def shell(self, command, *, stderr=subprocess.STDOUT):
        done = subprocess.run(
            ["bash", "-c", f'keyguard() {{ "{sys.executable}" -m keyguard.cli "$@"; }}; {command}'],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done

    def serve(self, arguments, *, stays):
        self.stop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with self.log.open("w") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *arguments, "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        if stays:
            deadline = time.monotonic() + PATIENCE
            while "Uvicorn running on" not in self.log.read_text("utf-8"):  # Only now it listens.
                assert self.server.poll() is None, self.log.read_text("utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.02)
        else:
            assert self.server.wait(PATIENCE) != 0
        return self.log.read_text("utf-8")

    def stop(self):
        if self.server is not None:
            self.server.terminate()
            self.server.wait(PATIENCE)
            WATCH.see("the log of the tutorial's server", self.log.read_text("utf-8"))

    def curl(self, arguments):
        method, headers, shows_head, url = "GET", {}, False, ""
        given = iter(arguments)
        for argument in given:
            match argument:
                case "-X":
                    method = next(given)
                case "-H":
                    name, _, value = next(given).partition(": ")
                    headers[name] = self.filled_in(value)
                case "-i":
                    shows_head = True
                case _:
                    url = urlsplit(self.filled_in(argument))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, f"{url.path}?{url.query}" if url.query else url.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        if not shows_head:
            return body
        head = [
            f"HTTP/1.1 {answer.status} {answer.reason}",
            *(f"{name}: {value}" for name, value in answer.getheaders()),
        ]
        return "\n".join([*head, "", body])

    def filled_in(self, text):
        return re.sub(r"\$([A-Z_]+)", lambda match: self.environment[match[1]], text)

    @staticmethod
    def compare(seen, expected):
        """An … stands for anything, or for nothing on a line of its own."""
        pattern = ".*".join(map(re.escape, expected.strip("\n").replace("…\n", "…").replace("\n…", "…").split("…")))
        assert re.fullmatch(pattern, seen.strip("\n"), re.DOTALL), f"{seen}\nis not\n{expected}"


def test_the_tutorial_works_as_it_is_written(tmp_path):
    """Whoever writes the tutorial's files and types its commands, in order, sees what it shows."""
    reader = Reader(tmp_path)
    try:
        reader.read(DOCS / "tutorial.md")
    finally:
        reader.stop()


# --- the README -------------------------------------------------------------------------------------------------


def command_below(marker):
    return re.search(rf"<!-- {marker} -->\n```sh\n(.*)\n```", (ROOT / "README.md").read_text("utf-8"))[1]


def test_the_readmes_test_command_is_what_ci_runs():
    """CI takes the README's test command out of the README, by its marker, and runs that."""
    assert "nox -s tests" in command_below("the test command")
    assert "<!-- the test command -->" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_readmes_server_command_starts_the_example_server():
    """The server command installs the package and the example server from the checkout, and starts that server."""
    install, _, start = command_below("the server command").rpartition(" && ")
    installed = re.search(r"pip install -q \. \./(\S+)", install)[1]
    described = tomllib.loads((ROOT / installed / "pyproject.toml").read_text("utf-8"))
    *_, program, command = start.split()
    assert Path(program).name in described["project"]["scripts"]
    assert command == "run"


def test_the_readme_guards_an_app_in_ten_lines():
    """The README's app is guarded by ten lines of code at most."""
    (snippet,) = snippets(ROOT / "README.md")
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md"], ids=lambda page: page.stem)
def test_the_other_keyguard_is_named(page):
    """Readme and manual say that the two distributions of a module `keyguard` cannot live in one environment."""
    assert "cannot live in one environment" in page.read_text("utf-8")


# --- the reference leaves nothing out ---------------------------------------------------------------------------


def argument_tables(page):
    """The tables of a page whose head is `argument` and `default`: a mapping of names to defaults for each."""
    tables, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if line.startswith("| argument | default |"):
            tables.append({})
            inside = True
        elif inside and line.startswith("| `"):
            tables[-1][cells[0].strip("` ")] = cells[1].strip("` ") if cells[1].strip() else None
        elif not line.startswith("|"):
            inside = False
    return tables


def arguments(kind):
    """The arguments of a class: a mapping of names to defaults, `MISSING` where there is none."""
    if is_dataclass(kind):
        taken = [field for field in fields(kind) if field.init]
        return {field.name: field.default for field in taken}
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {
        each.name: MISSING if each.default is each.empty else each.default for each in parameters if each.name != "self"
    }


def shown(table):
    known = {"Policy": Policy, "DEFAULT_METHODS": DEFAULT_METHODS, "utc_now": utc_now}
    return {name: MISSING if default is None else eval(default, known) for name, default in table.items()}


def test_every_argument_is_in_the_reference():
    """The reference names each argument of the settings with its default, in order, and none that is not there."""
    documented = [KeyGuard, Policy, PathRule, Keyring, KeyFormat, Argon2Hasher]
    tables = argument_tables(DOCS / "reference" / "settings.md")
    assert len(tables) == len(documented)
    for kind, table in zip(documented, tables, strict=True):
        assert list(shown(table).items()) == list(arguments(kind).items()), kind


def test_every_argument_of_a_user_table_is_in_its_how_to():
    """The how-to names each argument of `UserTable` with its default."""
    (table,) = argument_tables(DOCS / "howto" / "own-user-table.md")
    assert shown(table) == {name: default for name, default in arguments(UserTable).items() if name != "_"}


def documented_names():
    """What the API reference documents, by full name; a module stands for its `__all__` where it lists no members."""
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    module, names = "", set()
    for directive, name, options in re.findall(r"^\.\. (\w+):: (\S+)\n((?:   .*\n)*)", text, re.MULTILINE):
        members = re.search(r":members:(.*)", options)
        if directive == "currentmodule":
            module = name
        elif directive == "automodule":
            listed = members[1].split(",") if members else []
            chosen = [each.strip() for each in listed if each.strip()] or (
                importlib.import_module(name).__all__ if members else []
            )
            names |= {name, *(f"{name}.{each}" for each in chosen)}
        elif directive.startswith("auto"):
            names.add(name if name.startswith("keyguard.") else f"{module}.{name}")
    return names


@pytest.mark.parametrize(
    "module",
    [
        "keyguard",
        "keyguard.lifecycle",
        "keyguard.vault",
        "keyguard.langflow",
        "keyguard.explain",
        "keyguard.routes",
        "keyguard.stores.memory",
        "keyguard.stores.static",
        "keyguard.stores.sql",
        "keyguard.fastapi",
        "keyguard.migrations",
        "keyguard.testing",
        "keyguard.ports",
    ],
)
def test_every_public_name_is_in_the_reference(module):
    """The API reference documents all that a public module's `__all__` names."""
    public = {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    assert public <= documented_names()


def test_every_documented_name_is_there():
    """The API reference names nothing that cannot be imported."""
    for name in documented_names():
        owner, _, last = name.rpartition(".")
        assert name.startswith("keyguard")
        assert not owner or hasattr(importlib.import_module(owner), last), name


def test_every_exception_is_in_the_reference():
    """Each exception of `keyguard.errors` is public and documented."""
    errors = {name for name, value in vars(keyguard.errors).items() if inspect.isclass(value)}
    assert {f"keyguard.{name}" for name in errors} <= documented_names()


def test_every_rule_and_field_is_in_the_logging_reference():
    """The page on logging names every rule, every field of a record and of an event, and no other rule or field."""
    text = (DOCS / "reference" / "logging.md").read_text("utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", text[text.index("## Rules by name") :], re.MULTILINE) == [
        *Rule.__members__
    ]
    journal = (ROOT / "src" / "keyguard" / "journal.py").read_text("utf-8")
    written = re.findall(r'"(keyguard_\w+)":', journal)  # Some in records of several kinds.
    assert re.findall(r"^\| `(keyguard_\w+)`", text, re.MULTILINE) == list(dict.fromkeys(written))
    kinds = re.search(r"^\| `keyguard_event` \|.*$", text, re.MULTILINE)[0]
    assert all(f"`{kind}`" in kinds for kind in get_args(TurnedAway))
    observer = text[text.index("| field of `Event`") : text.index("## Rules by name")]
    assert re.findall(r"^\| `(\w+)`", observer, re.MULTILINE) == [field.name for field in fields(Event)]


def test_every_extra_is_named():
    """Readme and manual say how to install each extra, and name none that there is not."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    for page in (ROOT / "README.md", DOCS / "index.md"):
        assert set(re.findall(r"keyguard-asgi\[(\w+)\]", page.read_text("utf-8"))) == extras


def test_the_floors_are_those_that_hold():
    """The picture of the floors shows the layers that import-linter holds the package to, in their order."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    picture = next(text for _, text in blocks(DOCS / "explanation" / "architecture.md") if "middleware  " in text)
    left = " ".join(line[:35] for line in picture.splitlines())
    assert left.replace("·", " ").split() == " ".join(contract["layers"]).replace("|", " ").split()


def test_the_scanners_pattern_is_the_codes():
    """The pattern for secret scanners stands in the manual as the code gives it."""
    assert scanner_pattern("kg") in (DOCS / "reference" / "key-format.md").read_text("utf-8")


# --- tables that are made from the code -------------------------------------------------------------------------


def cells(table):
    head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table.strip().splitlines())
    return head, rows


def test_every_table_is_shown():
    """Each table that is made from the code stands on one page, and no page asks for one that there is not."""
    asked = [
        name for page in PAGES for name in re.findall(r"^```\{code-table\} (\S+)$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(asked) == sorted(TABLES.TABLES)


@pytest.mark.parametrize("requirement", Requirement)
def test_the_policys_table_is_the_policy(requirement):
    """Whatever is presented in whatever mode, its cell in the manual's table says what `decide` decides."""
    head, rows = cells(TABLES.policy_table(requirement))
    columns = [TABLES.MODES if title == "in every mode" else title.split(", or ") for title in head[1:]]
    seen = set()
    for label, *texts in rows:
        for credential in TABLES.CREDENTIALS if label == "anything" else label.replace("• ", "").split("<br>"):
            for modes, text in zip(columns, texts, strict=True):
                for mode in modes:
                    seen.add((credential, mode))
                    match decide(requirement, TABLES.CREDENTIALS[credential], TABLES.MODES[mode], TABLES.NOON):
                        case Anonymous():
                            assert text.startswith("passes, anonymous")
                        case Allowed(principal=principal, noted=noted):
                            assert text.startswith(f"passes as {TABLES.WHO[principal.id]}")
                            assert ("note in the log" in text) == (noted is not None)
                        case refused:
                            refusal = refusal_for(refused.reason)
                            assert text.startswith(f"**{refusal.status}** `{refusal.code}`")
    assert seen == {(credential, mode) for credential in TABLES.CREDENTIALS for mode in TABLES.MODES}


def test_the_policys_table_on_a_guarded_path_reads_as_a_person_expects():
    """A few cells, written by hand, so that the table is more than what the code happens to give."""
    head, rows = cells(TABLES.policy_table(Requirement.REQUIRED))
    assert head[1:] == [
        "neither, or `auto_login`",
        "`auto_login` without `auto_login_needs_key`",
        "`skip_auth`, or `skip_auth` and `auto_login`",
    ]
    by_label = {label: texts for label, *texts in rows}
    assert by_label["no key"] == [
        "**401** `missing_key` (rule 7)",
        "passes as the auto-login user (rule 7)",
        "passes as the auto-login user (rule 4)",
    ]
    assert by_label["a good key"] == ["passes as the key's owner (rule 2)"] * 3
    (bad,) = (texts for label, texts in by_label.items() if "a revoked key" in label)
    assert bad[:2] == ["**401** `invalid_key` (rule 6)"] * 2


def test_the_policys_tables_show_every_reason_that_decide_has():
    """What is presented in the tables gives every reason for which `decide` refuses."""
    given = {
        decide(requirement, facts, policy, TABLES.NOON)
        for requirement in Requirement
        for facts in TABLES.CREDENTIALS.values()
        for policy in TABLES.MODES.values()
    }
    later = {Reason.KEY_REQUIRED, Reason.SCOPE_MISSING, Reason.SUPERUSER_REQUIRED}  # Asked for by `require`.
    shown_below = {Reason.NO_AUTO_LOGIN_USER, Reason.AUTO_LOGIN_USER_INACTIVE}  # In a table of their own.
    reasons = {decision.reason for decision in given if hasattr(decision, "reason")}
    assert reasons == {*Reason} - later - shown_below - {Reason.UNAVAILABLE}


def test_the_table_of_refusals_has_every_reason():
    """Each reason has its row, in order, with its status and its code."""
    _, rows = cells(TABLES.refusals_table())
    assert [(reason, status, code) for reason, _, status, code, *_ in rows] == [
        (f"`{reason.name}`", str(refusal_for(reason).status), f"`{refusal_for(reason).code}`") for reason in Reason
    ]


def test_the_table_of_answers_has_every_code():
    """Each code has its row, with the sentence that callers read."""
    _, rows = cells(TABLES.answers_table())
    assert {(code, detail) for code, _, detail in rows} == {
        (f"`{refusal_for(reason).code}`", refusal_for(reason).detail) for reason in Reason
    }


def test_every_column_has_a_row():
    """The tables of the schema name every column of every table that a store has, and say nothing of any other."""
    metadata = TABLES.SQLStore("sqlite+aiosqlite://").metadata
    assert set(TABLES.MEANINGS) == set(metadata.tables)
    for name, table in metadata.tables.items():
        _, rows = cells(TABLES.schema_table(name))
        assert [row[0] for row in rows] == [f"`{column.name}`" for column in table.columns]
        assert set(TABLES.MEANINGS[name]) == {column.name for column in table.columns}
