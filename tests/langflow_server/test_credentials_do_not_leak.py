"""A credential's value goes to its provider, and shows nowhere else.

A canary stands in each place that a credential can come from. Then each of them is used while the provider does
whatever it can do wrong, every endpoint is called by every kind of caller, and all that came of it is searched.
"""

import base64
import json
import re
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import websockets.sync.client
from langflow_accounts import API, add_key, add_user, as_cookie, by_key, superuser
from langflow_provider import providing
from langflow_serving import PATIENCE, serving

from keyguard.routes import RouteKind, survey
from langflow_server.app import create_app
from langflow_server.settings import Settings

PLACES = ("flow", "tweak", "variable", "environment", "env_file")
FAILING = (
    "refuses",
    "fails",
    "not-json",
    "no-text",
    "redirects",
    "zipped",
    "endless",
    "stops",
    "breaks",
    "error-inside",
    "no-such-model",
)
HANGING = ("hangs", "hangs-inside", "dribbles")
SHOWN = "this Generic value is shown"


class Seen:
    """What has come out of a server, and whether a text stands in it."""

    def __init__(self):
        self.texts = []

    def add(self, where, content):
        self.texts.append((where, content if isinstance(content, bytes) else content.encode()))

    def answer(self, answer):
        """Note all of an answer: its status line, its headers, and its body."""
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
        self.add(
            f"{answer.request.method} {answer.request.url.path}",
            f"{answer.reason_phrase}\n{headers}\n\n".encode() + answer.content,
        )
        return answer

    def places_of(self, text):
        """Where it stands, as it is, in hexadecimal, or in any of the three ways that base64 can begin."""
        needles = [text.encode(), text.encode().hex().encode()]
        for skipped in range(3):
            coded = base64.b64encode(b"\0" * skipped + text.encode())
            needles.append(coded[4 if skipped else 0 : -4])
        return {where for where, content in self.texts if any(needle in content for needle in needles)}


@pytest.fixture(scope="module")
def provider():
    with providing() as elsewhere, providing(elsewhere.url) as running:
        running.other = elsewhere
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def leaky(request, provider, tmp_path_factory):
    """A server with canaries in its environment and in its `.env`, its canaries, and how to read its database."""
    canaries = {place: f"sk-{place}-{secrets.token_hex(12)}" for place in PLACES}
    directory = tmp_path_factory.mktemp(f"langflow-leaky-{request.param}")
    (directory / ".env").write_text(f"ANTHROPIC_API_KEY={canaries['env_file']}\n")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    settings = {
        "OPENAI_API_KEY": canaries["environment"],
        "OPENAI_BASE_URL": provider.url,
        "ANTHROPIC_BASE_URL": provider.url,
        "GROQ_BASE_URL": provider.url,
        "GOOGLE_BASE_URL": nobody,
        "LANGFLOW_PROVIDER_TIMEOUT": "2",
    }
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        name = postgres.create_database()
        settings["LANGFLOW_DATABASE_URL"] = postgres.url(name)

        def database():
            tables = postgres.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name).split()
            return "\n".join(postgres.psql(f'TABLE "{table}"', name) for table in tables)
    else:

        def database():
            return b"\n".join(path.read_bytes() for path in (directory / "config").glob("langflow.db*"))

    with serving(directory, **settings) as running:
        yield running, canaries, database


class Owner:
    """A user in whose flows the canaries stand."""

    def __init__(self, server, canaries, client, seen):
        self.server, self.canaries, self.client, self.seen = server, canaries, client, seen
        self.user = add_user(server)
        self.key = by_key(add_key(server, self.user))
        self.variable = self.call(
            "POST", "/variables/", json={"name": "GROQ_API_KEY", "value": canaries["variable"], "type": "Credential"}
        ).json()
        self.call("POST", "/variables/", json={"name": "GREETING", "value": SHOWN, "type": "Generic"})

    def call(self, method, path, **more):
        return self.seen.answer(self.client.request(method, f"{API}{path}", headers=self.key, **more))

    def flow(self, place, model, **more):
        """Add a flow that asks a model with the credential from one place; return it and the tweaks to run it with."""
        provider = {"environment": "OpenAI", "env_file": "Anthropic", "variable": "Groq", "nobody": "Google"}.get(
            place, "OpenAI"
        )
        fields = {"provider": provider, "model": model} | more
        if place in ("flow", "nobody"):
            fields["api_key"] = self.canaries["flow"]
        data = {
            "nodes": [
                {"id": "ChatInput-1", "type": "ChatInput", "fields": {}},
                {"id": "Model-1", "type": "LanguageModel", "fields": fields},
                {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}},
            ],
            "edges": [
                {"source": "ChatInput-1", "target": "Model-1", "field": "prompt"},
                {"source": "Model-1", "target": "ChatOutput-1", "field": "text"},
            ],
        }
        body = {"name": secrets.token_hex(8), "data": data, "access_type": "PUBLIC"}
        added = self.call("POST", "/flows/", json=body)
        assert added.status_code == 201, added.text
        return added.json(), {"Model-1": {"api_key": self.canaries["tweak"]}} if place == "tweak" else {}


@pytest.fixture
def owner(leaky):
    server, canaries, _ = leaky
    with server.client() as client:
        yield Owner(server, canaries, client, Seen())


def assert_nothing_shows(owner, database):
    """Search all that was seen, the log and the database; the search must find what is shown by right."""
    owner.call("GET", "/variables/")
    owner.seen.add("log", owner.server.log)
    owner.seen.add("database", database())
    assert {"database", f"GET {API}/variables/"} <= owner.seen.places_of(SHOWN)
    assert owner.seen.places_of(owner.user.name)
    for place, canary in owner.canaries.items():
        assert owner.seen.places_of(canary) == set(), place


def test_the_search_finds_what_is_there():
    """A canary is found as it is, in hexadecimal and in base64 wherever it begins; otherwise the rest shows nothing."""
    canary = f"sk-{secrets.token_hex(12)}"
    for hidden in (
        f"… {canary} …".encode(),
        canary.encode().hex().encode(),
        *(base64.b64encode(b"x" * before + canary.encode() + b"after") for before in range(4)),
    ):
        seen = Seen()
        seen.add("here", hidden)
        assert seen.places_of(canary) == {"here"}
        assert seen.places_of("another") == set()


def test_nothing_shows_of_a_provider_that_fails(leaky, owner, provider):
    """However it fails, with a credential from each place: at once, streamed, by MCP, over a WebSocket, in the page."""
    server, canaries, database = leaky
    for place in PLACES:
        for model in FAILING:
            flow, tweaks = owner.flow(place, model)
            path, text = f"/run/{flow['id']}", f"{place} {model} {flow['id']}"
            body = {"input_value": text, "tweaks": tweaks}
            whole = owner.call("POST", path, json=body)
            streamed = owner.call("POST", f"{path}?stream=true", json=body)
            assert whole.status_code == 502, whole.text
            assert "OpenAI" in streamed.text or "Anthropic" in streamed.text or "Groq" in streamed.text
            assert {asked.authorization for asked in provider.of(text)} == {f"Bearer {canaries[place]}"}
        owner.call("POST", f"/process/{flow['id']}", json={"inputs": {"text": "x"}, "tweaks": tweaks})
        owner.seen.add("websocket", over_a_websocket(server, owner, flow, {"input_value": "x", "tweaks": tweaks}))
        tool = {"name": f"{flow['name']}_{flow['id'].replace('-', '')}", "arguments": {"input_value": "x"}}
        called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
        accept = {"accept": "application/json, text/event-stream"}
        assert (
            "could not be run" in owner.seen.answer(owner.client.post("/api/v1/mcp", json=called, headers=accept)).text
        )
        cookie, asked = as_cookie(owner.user.session), {"text": f"page {text}"}
        page = owner.client.post(f"/flows/{flow['id']}/run", data=asked, headers=cookie)
        assert owner.seen.answer(page).status_code == 502
        assert len(provider.of(f"page {text}")) == 1
    assert provider.other.asked == []
    assert_nothing_shows(owner, database)


def over_a_websocket(server, owner, flow, body):
    """What a run over a WebSocket has said."""
    url = f"ws://127.0.0.1:{server.port}{API}/run/{flow['id']}"
    with websockets.sync.client.connect(
        url, additional_headers=owner.key, open_timeout=PATIENCE, proxy=None
    ) as connection:
        connection.send(json.dumps(body))
        return connection.recv(timeout=PATIENCE)


def test_nothing_shows_of_a_provider_that_says_nothing(leaky, owner, provider):
    """One that hangs, before an answer or inside of it, or only sends blanks is 504; one that is not there is 502."""
    server, canaries, database = leaky
    silent, streamed = [owner.flow("environment", model)[0] for model in HANGING], owner.flow("flow", "hangs-inside")[0]

    def run(flow, stream=False):
        with server.client(headers=owner.key) as client:
            return client.post(f"{API}/run/{flow['id']}", params={"stream": stream}, json={"input_value": flow["id"]})

    with ThreadPoolExecutor(4) as threads:  # All of them hang at once.
        answers = [threads.submit(run, flow) for flow in silent]
        late = threads.submit(run, streamed, stream=True)
    for flow, answer in zip(silent, answers, strict=True):
        assert owner.seen.answer(answer.result()).status_code == 504
        assert provider.key_for(flow["id"]) == canaries["environment"]
    assert "has said nothing for 2 seconds" in owner.seen.answer(late.result()).text
    assert owner.seen.answer(run(owner.flow("nobody", "says")[0])).status_code == 502
    assert_nothing_shows(owner, database)


def test_nothing_shows_to_anybody_anywhere(leaky, owner, provider, tmp_path):
    """Every endpoint, page and method, called by every kind of caller with the ids of what holds the canaries."""
    server, canaries, database = leaky
    flow, _ = owner.flow("flow", "says")
    for place in PLACES:
        used, tweaks = owner.flow(place, "says")
        assert (
            owner.call("POST", f"/run/{used['id']}", json={"input_value": place, "tweaks": tweaks}).status_code == 200
        )
    ids = {
        "flow_id": flow["id"],
        "flow_id_or_name": flow["id"],
        "variable_id": owner.variable["id"],
        "user_id": owner.user.id,
        "key_id": owner.key["x-api-key"].split("_")[1],
        "rest:path": "x",
        "path:path": "x",
        "name": "x",
    }
    routes = sorted(
        {
            (method, re.sub(r"\{([^}]+)\}", lambda found: ids[found[1]], route.path))
            for route in survey(create_app(Settings(config_dir=tmp_path))).routes
            if route.kind is not RouteKind.WEBSOCKET
            for method in route.methods
        },
        key=lambda each: (["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"].index(each[0]), each[1]),
    )
    assert len(routes) > 80
    other = add_user(server)
    root = superuser(server)
    kinds = {
        "nobody": {},
        "a bad key": {"x-api-key": "lf_bad"},
        "another's session": other.session,
        "another's key": by_key(add_key(server, other)),
        "a superuser's session": root,
        "a superuser's cookie": as_cookie(root),
        "the owner's session": owner.user.session,
        "the owner's cookie": as_cookie(owner.user.session),
        "the owner's key": owner.key,
    }
    ends = re.compile(r"logout|sign-out|refresh|password|/active$|/superuser$|/users/.*delete$|login|sign-in")
    for kind, headers in kinds.items():
        for method, path in routes:
            mighty = kind.startswith(("a superuser", "the owner"))
            if mighty and (
                method == "DELETE" or (method == "POST" and (ends.search(path) or path.endswith("/delete")))
            ):
                continue  # What is gone can show nothing.
            more = {} if method in ("GET", "HEAD", "DELETE") else {"json": {}}
            owner.seen.answer(owner.client.request(method, path, headers=headers, **more))
    assert owner.call("GET", f"/flows/{flow['id']}").status_code == 200
    assert owner.call("GET", "/variables/").json()[1]["id"] == owner.variable["id"]
    assert {asked.authorization for asked in provider.asked} >= {f"Bearer {canary}" for canary in canaries.values()}
    assert_nothing_shows(owner, database)


def test_what_is_wrongly_sent_is_not_given_back(leaky, owner):
    """A body that does not validate, with a credential where it belongs or where it does not, is not quoted."""
    server, _, database = leaky
    canary = owner.canaries["flow"]
    wrong = [
        ("POST", "/variables/", {"value": canary}),
        ("POST", "/variables/", {"name": "N", "value": canary, "type": canary}),
        ("POST", "/variables/", {"name": "N", "value": [canary]}),
        ("PATCH", f"/variables/{owner.variable['id']}", {"value": {"x": canary}}),
        (
            "POST",
            "/flows/",
            {"data": {"nodes": [{"id": "M", "type": "LanguageModel", "fields": {"api_key": [canary]}}]}},
        ),
        (
            "POST",
            "/flows/",
            {"name": "n", "data": {"nodes": [{"id": "M", "type": "LanguageModel", "fields": {"api_key": canary}}]}},
        ),
        ("POST", "/run/sample", {"tweaks": {"M": {"api_key": [canary]}}}),
        ("POST", "/run/sample", {"tweaks": {"M": canary}}),
    ]
    for method, path, body in wrong:
        assert owner.call(method, path, json=body).status_code in (400, 404, 422)
    owner.seen.answer(owner.client.post(f"{API}/variables/", content=f'{{"value": "{canary}"', headers=owner.key))
    del server
    assert_nothing_shows(owner, database)
