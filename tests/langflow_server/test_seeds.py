"""Langflow's two documents about API keys, line by line: the older one and the newer one, as they stand in `documents`.

Their commands are taken out of the text and run. Nothing in them is another but host, flow, key and the program's name,
and what the older document lost on its way (`REPAIRS`). Each of their sentences is checked here, or names the test that
does.
"""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from langflow_flows import chat, told_in, unique
from langflow_serving import PATIENCE, Running, serving
from leaks import WATCH

HERE = Path(__file__).parent
OLDER = (HERE / "documents" / "older.txt").read_text("utf-8")
NEWER = (HERE / "documents" / "newer.txt").read_text("utf-8")

# --- what the documents say to type -------------------------------------------------------------------------------

CURLS = re.findall(r"^curl .*?^  -d [^\n]*", OLDER, re.DOTALL | re.MULTILINE)
CLIENTS = re.findall(r"^import requests$.*?^print\([^\n]*", OLDER, re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
BLOCKS = [(kind, re.sub(r"^    ", "", text, flags=re.MULTILINE)) for kind, text in FENCE.findall(NEWER)]
ENV_FILE, COMPONENT_KEYS = (text for kind, text in BLOCKS if kind == "text")
(WHOAMI,) = (text for kind, text in BLOCKS if kind == "bash")
(RESULT,) = (text for kind, text in BLOCKS if kind == "json")
API_KEY, *RUNS = (text for kind, text in BLOCKS if kind == "shell")

HINT = '# e.g {"OpenAI-XXXXX": {"model_name": "gpt-4"}}\n'
REPAIRS = [
    ("response =, json=payload", "response = requests.post(api_url, json=payload"),
    ("    Run a flow with a given", '    """Run a flow with a given'),
    (":return: The JSON response from the flow\n", ':return: The JSON response from the flow\n    """\n'),
    (HINT, f"{HINT}TWEAKS = {{}}\n"),
]
"""What the older document's clients lost when it became a text without markup, each with what stood there."""


def test_all_that_is_to_be_typed_was_found():
    """There are two `curl` lines and two programs in the older document, and four blocks with commands in the newer."""
    assert (len(CURLS), len(CLIENTS), len(BLOCKS), len(RUNS)) == (2, 2, 7, 2)


def as_written(text, **replaced):
    """A text of a document with other values in the place of the document's own, each of which stands in it."""
    for name, (old, new) in replaced.items():
        assert old in text, f"there is no {name} {old!r} in {text!r}"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Documented:
    """A server that was set up as the newer document says, and where its user types."""

    server: Running
    environment: dict[str, str]
    key: str
    flow: str

    def typed(self, command, **variables):
        """What a command prints at the terminal."""
        return _typed(self.server.directory, command, self.environment | variables).stdout

    def told(self, command, **variables):
        """What a command prints, as JSON."""
        return json.loads(self.typed(command, **variables))


def _typed(directory, command, environment):
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def documented(request, tmp_path_factory, openai):
    """The newer document's `.env`, its `--backend-only=true`, two workers, and the key that its command makes."""
    directory = tmp_path_factory.mktemp(f"documented-{request.param}")
    (directory / ".env").write_text(ENV_FILE + COMPONENT_KEYS, "utf-8")
    settings = {"LANGFLOW_SUPERUSER": None, "LANGFLOW_SUPERUSER_PASSWORD": None, "OPENAI_BASE_URL": openai.url}
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        settings["LANGFLOW_DATABASE_URL"] = postgres.url(postgres.create_database())
    with serving(directory, workers=2, arguments=["--backend-only=true"], **settings) as server:
        there = {name: value for name, value in server.environment.items() if not name.lower().endswith("_proxy")}
        there["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{there['PATH']}"
        command = as_written(API_KEY, program=("uv run langflow ", "langflow-server "))
        key = _typed(directory, command, there).stdout.strip()
        WATCH.key(key)
        with server.client(headers={"x-api-key": key}) as client:
            (flow,) = client.get("/api/v1/flows/").json()
        yield Documented(server, there, key, flow["id"])


# --- the newer document -------------------------------------------------------------------------------------------


def test_the_key_is_alone_on_standard_output(documented):
    """`KEY=$(langflow-server api-key)` has the key, and each worker of the running server takes it at once."""
    key = documented.typed("KEY=$(langflow-server api-key --name another); printf %s $KEY")
    WATCH.key(key)
    assert re.fullmatch(r"lf_\w+", key)
    with documented.server.each_worker() as workers:
        for client in workers.values():
            assert client.get("/api/v1/users/whoami", headers={"x-api-key": key}).status_code == 200
            assert client.get("/api/v1/users/whoami", headers={"x-api-key": documented.key}).status_code == 200


def test_whoami_confirms_the_superuser(documented):
    """The answer has the members of the document's own, of the same kinds, and says that this is a superuser."""
    shown = json.loads(re.sub(r",\s*}", "}", RESULT))  # The document's has a comma too many.
    told = documented.told(WHOAMI, LANGFLOW_URL=documented.server.url, LANGFLOW_API_KEY=documented.key)
    assert list(told) == list(shown)
    assert told["username"] == "administrator"
    assert told["is_superuser"] is shown["is_superuser"] is True
    assert told["is_active"] is True
    assert told["store_api_key"] is told["profile_image"] is None
    for name in ("create_at", "updated_at"):
        assert datetime.fromisoformat(told[name])


@pytest.mark.parametrize("place", ["header", "query"])
def test_a_flow_is_run_as_the_newer_document_says(documented, place):
    """Its `curl` lines run a flow, with the key in the header and in the query."""
    command = as_written(
        RUNS[("header", "query").index(place)],
        host=("LANGFLOW_SERVER_ADDRESS", f"127.0.0.1:{documented.server.port}"),
        flow=("FLOW_ID", documented.flow),
        key=("LANGFLOW_API_KEY", documented.key),
    )
    assert told_in(documented.told(command)) == 'Hello from your first flow! You wrote: ""'


def test_a_components_key_comes_from_the_env_file(documented, openai):
    """`OPENAI_API_KEY=sk-...` in `.env` is what arrives at the provider, where neither flow nor user has another."""
    text = unique()
    with documented.server.client(headers={"x-api-key": documented.key}) as client:
        graph = chat(api_key=None)
        del graph["nodes"][1]["fields"]["api_key"]
        flow = client.post("/api/v1/flows/", json={"name": unique("flow"), "data": graph}).json()
        answer = client.post(f"/api/v1/run/{flow['id']}", json={"input_value": text})
        assert told_in(answer.json()) == text
        client.delete(f"/api/v1/flows/{flow['id']}")
    assert openai.key_for(text) == "sk-..."


def test_there_are_no_pages_with_backend_only(documented):
    """With `--backend-only=true` nothing answers a browser, not even to sign in."""
    with documented.server.client(headers={"x-api-key": documented.key, "accept": "text/html"}) as client:
        for path in ("/", "/sign-in", "/flows", "/settings/api-keys/"):
            assert client.get(path).status_code == 404, path


# --- the older document -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "query"])
def test_a_flow_is_run_as_the_older_document_says(documented, place):
    """Its `curl` lines run a flow by the older call, with the key in the header and in the query."""
    command = as_written(
        CURLS[("header", "query").index(place)],
        host=("http://localhost:3000", documented.server.url),
        flow=("<your_flow_id>", documented.flow),
        key=("<your api key>" if place == "header" else "<your_api_key>", documented.key),
    )
    told = documented.told(command)
    assert told["result"] == {"text": 'Hello from your first flow! You wrote: ""'}


@pytest.mark.parametrize("tweaked", [False, True], ids=["plain", "tweaked"])
@pytest.mark.parametrize("place", ["header", "query"])
def test_the_older_documents_client_runs_a_flow(documented, place, tweaked):
    """Its program, with `requests`, prints what the flow answers, and what it answers with another field."""
    program = CLIENTS[("header", "query").index(place)]
    for lost, found in REPAIRS:
        assert lost in program
        program = program.replace(lost, found)
    if place == "query":  # The first program has this line, and what follows needs it.
        program = f"from typing import Optional\n{program}"
    program = as_written(
        program,
        host=("http://localhost:3001", documented.server.url),
        flow=("4441b773-0724-434e-9cee-19d995d8f2df", documented.flow),
        key=("<your api key>", documented.key),
    )
    if tweaked:
        program = as_written(program, tweaks=("TWEAKS = {}", 'TWEAKS = {"Prompt-1": {"template": "{message}, again"}}'))
    told = ast.literal_eval(documented.typed('python -c "$PROGRAM"', PROGRAM=program))
    assert told["result"]["text"] == (", again" if tweaked else 'Hello from your first flow! You wrote: ""')


# --- every sentence -----------------------------------------------------------------------------------------------

CHECKED = re.compile(r"^(\S.*)\n    (\S+)::(\w+)$", re.MULTILINE)
"""A sentence, and below it the test that holds us to it."""

NO_PROMISE = [
    # Headings, and what leads to the next thing. What follows "Getting Started" are the links of the older one's site.
    r"API Keys|Generating an API Key|Through Langflow UI|Using the API Key|Using the x-api-key Header",
    r"Using the Query Parameter|Security Considerations|Revoking an API Key",
    r"The following documentation outlines how to generate, use, and manage these API Keys in Langflow\.",
    r"#.*|---|title: .*|slug: .*|import .*|<.*>",
    r"Depending on your authentication settings, note the following requirements for .* the Langflow CLI:",
    r"To create an API key for a user from the CLI, do the following:",
    r"These are credentials for external services like OpenAI\.",
    r"For more information, see \[.*",
]


@pytest.mark.parametrize("document", ["older", "newer"])
def test_each_sentence_is_held(document):
    """Each sentence of a document has its test, which is there, or is a heading."""
    text = OLDER.partition("\nGetting Started\n")[0] if document == "older" else FENCE.sub("", NEWER)
    for typed in (*CURLS, *CLIENTS):
        text = text.replace(typed, "")
    left = "\n".join(re.sub(r"^\s*([•*]|\d\.)\s+", "", line).strip() for line in text.splitlines())
    checked = CHECKED.findall((HERE / "documents" / f"{document}.checked.txt").read_text("utf-8"))
    for sentence, file, test in sorted(checked, key=lambda found: -len(found[0])):
        assert sentence in left, f"the document does not say: {sentence}"
        left = left.replace(sentence, "")
        assert re.search(rf"^(async )?def {test}\(", (HERE.parent / file).read_text("utf-8"), re.MULTILINE), test
    for line in filter(None, map(str.strip, left.splitlines())):
        assert any(re.fullmatch(pattern, line) for pattern in NO_PROMISE), f"nothing is said of: {line}"
