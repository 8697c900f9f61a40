"""The HTTP API as one table: what each request is answered, by who asks.

Ada's things are asked for by the superuser, by Ada, by Eve, who is another user, and by those who must stay outside:
without a key, with a bad one, with one that was revoked, and with that of a user who is not active. Keys come in the
header and in the query, sessions as a bearer token and as a cookie, in turn to each of two workers.
"""

import os
import re
import secrets
from dataclasses import dataclass
from itertools import cycle
from uuid import uuid4

import pytest
from langflow_serving import PASSWORD, SUPERUSER
from leaks import WATCH

from langflow_server.app import create_app
from langflow_server.settings import load

VERSION = ["version", "main_version", "package"]
CONFIG = ["auto_login", "api_version", "frontend"]
USER = [
    "id",
    "username",
    "profile_image",
    "store_api_key",
    "is_active",
    "is_superuser",
    "create_at",
    "updated_at",
    "last_login_at",
]
USERS = {"total_count": None, "users": [USER]}
KEY = ["id", "name", "api_key", "user_id", "created_at", "last_used_at", "total_uses", "is_active", "expires_at"]
KEYS = {"total_count": None, "user_id": None, "api_keys": [KEY]}
FLOW = ["id", "name", "description", "data", "endpoint_name", "access_type", "user_id", "created_at", "updated_at"]
VARIABLE = ["id", "name", "type", "value", "default_fields", "created_at", "updated_at"]
TOKEN = ["access_token", "refresh_token", "token_type"]
RUN = {"session_id": None, "outputs": [{"inputs": None, "outputs": None}]}
ANSWER = ["jsonrpc", "id", "result"]
PROCESS = ["result", "status", "task", "session_id", "backend"]

EVENTS = "an event `end` at the last"

LOGIN = {"form": {"username": "{ada_name}", "password": "{ada_password}"}}
WRONG = {
    "form": {"username": "{new_name}", "password": "not the password"},
    "headers": {"x-forwarded-for": "{address}"},  # So many from one address would have to wait.
}
NEW_USER = {"json": {"username": "{new_name}", "password": "a new password"}}
TAKEN_USER = {"json": {"username": "{ada_name}", "password": "a new password"}}
TAKEN_NAME = {"json": {"username": "{eve_name}"}}
SUPERUSER_OF_IT = {"json": {"is_superuser": True}}
INACTIVE = {"json": {"is_active": False}}
RESET = {"json": {"current_password": "{ada_password}", "password": "{ada_password}!"}}
MISTYPED = {"json": {"current_password": "not the password", "password": "another one"}}
GRAPH = {
    "nodes": [
        {"id": "in", "type": "ChatInput"},
        {"id": "text", "type": "Prompt", "fields": {"template": "Hello, {name}"}},
        {"id": "out", "type": "ChatOutput"},
    ],
    "edges": [
        {"source": "in", "target": "text", "field": "name"},
        {"source": "text", "target": "out", "field": "text"},
    ],
}
NEW_FLOW = {"json": {"name": "{new_name}", "data": GRAPH}}
SEEDS_BODY = {"json": {"inputs": {"text": ""}, "tweaks": {}}}
NEW_VARIABLE = {"json": {"name": "{new_name}", "value": "x" * 20, "type": "Credential", "default_fields": []}}
INITIALIZE = {
    "json": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    },
    "headers": {"accept": "application/json, text/event-stream"},
}

V1 = "/api/v1"

# What is in braces is made for the request: {flow}, {endpoint}, {variable} and {key} are Ada's, {ada} is her id, {self}
# the caller's, {new} that of a user who was just made, {nothing} a UUID of nothing. Names in lower case come with a
# key, names in upper case with a session, and `out` are all who must stay outside.
#
#    method    path                              body              root ada  eve  ROOT ADA  out   members of the 2xx
TABLE = [
    ("GET",    "/health",                        None,            "200  200  200  200  200  200", ["status"]),
    ("GET",    "/api/v1/version",                None,            "200  200  200  200  200  200", VERSION),
    ("GET",    "/api/v1/config",                 None,            "200  200  200  200  200  200", CONFIG),
    # Signing in and out
    ("POST",   "/api/v1/login",                  LOGIN,           "200  200  200  200  200  200", TOKEN),
    ("POST",   "/api/v1/login",                  WRONG,           "401  401  401  401  401  401", None),
    ("GET",    "/api/v1/auto_login",             None,            "400  400  400  400  400  400", None),
    ("POST",   "/api/v1/refresh",                None,            "403  403  403  200  200  403", TOKEN),
    ("POST",   "/api/v1/logout",                 None,            "403  403  403  200  200  403", ["detail"]),
    # Users
    ("GET",    "/api/v1/users/whoami",           None,            "200  200  200  200  200  403", USER),
    ("GET",    "/api/v1/users/?skip=0&limit=10", None,            "200  403  403  200  403  403", USERS),
    ("GET",    "/api/v1/users/?limit=none",      None,            "422  403  403  422  403  403", None),
    ("POST",   "/api/v1/users/",                 NEW_USER,        "201  403  403  201  403  403", USER),
    ("POST",   "/api/v1/users/",                 TAKEN_USER,      "400  403  403  400  403  403", None),
    ("PATCH",  "/api/v1/users/{ada}",            {"json": {}},    "200  200  403  200  200  403", USER),
    ("PATCH",  "/api/v1/users/{new}",            NEW_USER,        "200  403  403  200  403  403", USER),
    ("PATCH",  "/api/v1/users/{ada}",            TAKEN_NAME,      "400  400  403  400  400  403", None),
    ("PATCH",  "/api/v1/users/{new}",            SUPERUSER_OF_IT, "200  403  403  200  403  403", USER),
    ("PATCH",  "/api/v1/users/{self}",           SUPERUSER_OF_IT, "200  403  403  200  403  403", USER),
    ("PATCH",  "/api/v1/users/{self}",           INACTIVE,        "400  403  403  400  403  403", None),
    ("PATCH",  "/api/v1/users/{nothing}",        {"json": {}},    "404  403  403  404  403  403", None),
    ("DELETE", "/api/v1/users/{new}",            None,            "200  403  403  200  403  403", ["detail"]),
    ("DELETE", "/api/v1/users/{root}",           None,            "400  403  403  400  403  403", None),
    ("DELETE", "/api/v1/users/{nothing}",        None,            "404  403  403  404  403  403", None),
    ("PATCH",  "/api/v1/users/{ada}/reset-password", RESET,       "403  403  403  403  200  403", USER),
    ("PATCH",  "/api/v1/users/{ada}/reset-password", MISTYPED,    "403  403  403  403  400  403", None),
    # Keys
    ("GET",    "/api/v1/api_key/",               None,            "200  200  200  200  200  403", KEYS),
    ("POST",   "/api/v1/api_key/",               {"json": {}},    "200  200  200  200  200  403", KEY),
    ("POST",   "/api/v1/api_key/",               {"json": {"expires_at": "never"}},
                                                                  "422  422  422  422  422  403", None),
    ("DELETE", "/api/v1/api_key/{key}",          None,            "400  200  400  400  200  403", ["detail"]),
    ("DELETE", "/api/v1/api_key/{nothing}",      None,            "400  400  400  400  400  403", None),
    ("DELETE", "/api/v1/api_key/no-uuid",        None,            "422  422  422  422  422  403", None),
    ("POST",   "/api/v1/api_key/{key}/rotate",   {"json": {}},    "400  200  400  400  200  403", KEY),
    # Flows
    ("GET",    "/api/v1/flows/",                 None,            "200  200  200  200  200  403", [FLOW]),
    ("POST",   "/api/v1/flows/",                 NEW_FLOW,        "201  201  201  201  201  403", FLOW),
    ("GET",    "/api/v1/flows/{flow}",           None,            "404  200  404  404  200  403", FLOW),
    ("PATCH",  "/api/v1/flows/{flow}",           {"json": {"description": "mine"}},
                                                                  "404  200  404  404  200  403", FLOW),
    ("DELETE", "/api/v1/flows/{flow}",           None,            "404  200  404  404  200  403", ["message"]),
    ("GET",    "/api/v1/flows/{nothing}",        None,            "404  404  404  404  404  403", None),
    # Running them
    ("POST",   "/api/v1/run/{flow}?stream=false", SEEDS_BODY,     "404  200  404  403  403  403", RUN),
    ("POST",   "/api/v1/run/{endpoint}",         {"json": {"input_value": "Ada"}},
                                                                  "404  200  404  403  403  403", RUN),
    ("POST",   "/api/v1/run/{flow}?stream=true", SEEDS_BODY,      "404  200  404  403  403  403", EVENTS),
    ("POST",   "/api/v1/run/{nothing}?stream=true", SEEDS_BODY,   "404  404  404  403  403  403", None),
    ("POST",   "/api/v1/run/{nothing}",          SEEDS_BODY,      "404  404  404  403  403  403", None),
    ("POST",   "/api/v1/run/no-such-name",       SEEDS_BODY,      "404  404  404  403  403  403", None),
    ("POST",   "/api/v1/process/{flow}",         SEEDS_BODY,      "404  200  404  403  403  403", PROCESS),
    ("POST",   "/api/v1/process/{nothing}",      SEEDS_BODY,      "404  404  404  403  403  403", None),
    # Variables
    ("GET",    "/api/v1/variables/",             None,            "200  200  200  200  200  403", [VARIABLE]),
    ("POST",   "/api/v1/variables/",             NEW_VARIABLE,    "201  201  201  201  201  403", VARIABLE),
    ("POST",   "/api/v1/variables/",             {"json": {"name": "", "value": "x", "type": "Generic"}},
                                                                  "400  400  400  400  400  403", None),
    ("PATCH",  "/api/v1/variables/{variable}",   {"json": {"value": "another one"}},
                                                                  "404  200  404  404  200  403", VARIABLE),
    ("DELETE", "/api/v1/variables/{variable}",   None,            "404  204  404  404  204  403", ()),
    ("DELETE", "/api/v1/variables/{nothing}",    None,            "404  404  404  404  404  403", None),
    # The MCP server: whoever asks is nobody
    ("POST",   "/api/v1/mcp",                    INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/api/v1/mcp/anything",           INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/api/v1/mcp-projects",           INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/api/v2/mcp",                    INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/v1/mcp",                        INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/v1/mcp-projects",               INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("POST",   "/v2/mcp",                        INITIALIZE,      "200  200  200  200  200  200", ANSWER),
    ("PUT",    "/api/v1/mcp",                    INITIALIZE,      "405  405  405  405  405  403", None),
]  # fmt: skip

ENDS_SESSIONS = ("/refresh", "/logout", "/reset-password")
"""After one of these the caller needs another session."""


@dataclass
class Person:
    id: str
    name: str
    password: str
    key: str
    session: str


class Cast:
    """Who asks, and what they ask for; requests go to the workers in turn."""

    def __init__(self, clients):
        self._clients = cycle(clients)
        token = self.session(SUPERUSER, PASSWORD)
        self.root = Person(self._whoami(token), SUPERUSER, PASSWORD, self.key(token), token)
        self.ada = self.person("Ada's own password")
        self.eve = self.person("Eve's own password")
        idle = self.person("a password")
        self.ask(self.root.session, "PATCH", f"/users/{idle.id}", json={"is_active": False})
        revoked = self.ask(self.ada.session, "POST", "/api_key/").json()
        self.ask(self.ada.session, "DELETE", f"/api_key/{revoked['id']}")
        good = self.ada.key
        unknown = good[:-1] + ("A" if good[-1] != "A" else "B")
        self.bad_keys = [unknown, "sk-of-another-kind", revoked["api_key"], idle.key]
        WATCH.key(revoked["api_key"])

    def client(self):
        return next(self._clients)

    def ask(self, token, method, path, **more):
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.client().request(method, f"{V1}{path}", headers=headers, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def session(self, name, password):
        answer = self.client().post(f"{V1}/login", data={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def _whoami(self, token):
        return self.ask(token, "GET", "/users/whoami").json()["id"]

    def key(self, token):
        key = self.ask(token, "POST", "/api_key/").json()["api_key"]
        WATCH.key(key)
        return key

    def person(self, password):
        name = f"user-{uuid4().hex}"
        made = self.ask(self.root.session, "POST", "/users/", json={"username": name, "password": password}).json()
        token = self.session(name, password)
        return Person(made["id"], name, password, self.key(token), token)

    def made(self, name):  # noqa: PLR0911 A case a line.
        """Make what a path or a body has in braces."""
        ada = self.ada.session
        match name:
            case "ada" | "root":
                return getattr(self, name).id
            case "ada_name" | "eve_name":
                return getattr(self, name.removesuffix("_name")).name
            case "ada_password":
                return self.ada.password
            case "address":
                return f"198.51.100.{secrets.randbelow(255)}"
            case "new_name" | "nothing" | "self":
                return str(uuid4())
            case "new":
                body = {"username": f"user-{uuid4().hex}", "password": "a password"}
                return self.ask(self.root.session, "POST", "/users/", json=body).json()["id"]
            case "key":
                return self.ask(ada, "POST", "/api_key/").json()["id"]
            case "flow" | "endpoint":
                body = {"name": uuid4().hex, "endpoint_name": f"e-{uuid4().hex}", "data": GRAPH}
                flow = self.ask(ada, "POST", "/flows/", json=body).json()
                return flow["id"] if name == "flow" else flow["endpoint_name"]
            case "variable":
                body = {"name": uuid4().hex, "value": "a value", "type": "Generic", "default_fields": []}
                return self.ask(ada, "POST", "/variables/", json=body).json()["id"]
        raise AssertionError(name)

    def filled(self, value):
        """The same with what is in braces made, also in the members of a body; a template of a flow is left alone."""
        if isinstance(value, dict):
            return {name: each if name == "data" else self.filled(each) for name, each in value.items()}
        return re.sub(r"\{(\w+)\}", lambda found: self.made(found[1]), value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def cast(server):
    with server.each_worker() as workers:
        yield Cast(list(workers.values()))


def test_each_request_is_answered_as_the_table_says(cast, row):
    """Status and members are those of the table, for everybody who asks, and however they say who they are."""
    method, path, body, statuses, members = row
    *expected, outside = map(int, statuses.split())
    for status, person in zip(expected[:3], [cast.root, cast.ada, cast.eve], strict=True):
        for place in ("header", "query"):
            judge(asked(cast, method, path, body, person, key=person.key, place=place), status, members)
    for status, person in zip(expected[3:], [cast.root, cast.ada], strict=True):
        for place in ("bearer", "cookie"):
            answer = asked(cast, method, path, body, person, session=person.session, place=place)
            judge(answer, status, members)
            if answer.is_success and any(path.endswith(end) for end in ENDS_SESSIONS):
                person.password += "!" if body is RESET else ""
                person.session = cast.session(person.name, person.password)
    path = cast.filled(path)  # Those outside change nothing: one thing is enough for all of them.
    judge(asked(cast, method, path, body), outside, members)
    for key in cast.bad_keys:
        for place in ("header", "query"):
            judge(asked(cast, method, path, body, key=key, place=place), outside, members)


def test_the_table_names_every_call(tmp_path):
    """Whatever the OpenAPI document describes stands in the table: a call that is added is not forgotten here."""
    settings = load({"LANGFLOW_CONFIG_DIR": str(tmp_path)}, env_file=os.devnull)
    described = create_app(settings).openapi()["paths"]
    for template, operations in described.items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        named = {method for method, path, *_ in TABLE if re.fullmatch(pattern, path.partition("?")[0])}
        assert {method.upper() for method in operations} <= named, template


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        names = [f"{method} {path}" for method, path, *_ in TABLE]
        ids = [f"{name} ({names[:at].count(name) + 1})" for at, name in enumerate(names)]
        metafunc.parametrize("row", TABLE, ids=ids)


def asked(cast, method, path, body, person=None, *, key=None, session=None, place=None):
    """Send one request, with a key or a session in one of the places where they may stand."""
    path = path.replace("{self}", str(uuid4()) if person is None else person.id)
    more = cast.filled(body or {})
    headers = more.pop("headers", {})
    if "form" in more:
        more["data"] = more.pop("form")
    path = cast.filled(path)
    if place == "header":
        headers["x-api-key"] = key
    elif place == "query":
        path += f"{'&' if '?' in path else '?'}x-api-key={key}"
    elif place == "bearer":
        headers["Authorization"] = f"Bearer {session}"
    elif place == "cookie":
        headers["Cookie"] = f"access_token_lf={session}"
    client = cast.client()
    client.cookies.clear()
    return client.request(method, path, headers=headers, **more)


def judge(answer, status, members):
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    if not answer.is_success:
        assert set(answer.json()) == {"detail"}, answer.text
    elif members == EVENTS:
        assert answer.headers["content-type"].startswith("text/event-stream")
        names = re.findall(r"^event: (\w+)", answer.text, re.MULTILINE)
        assert names[-1] == "end", answer.text
        assert set(names[:-1]) <= {"token"}, answer.text
    elif members == ():
        assert answer.content == b""
    else:
        has(answer.json(), members)


def has(value, members):
    """The members of an object are these and no others, and those of the objects in it."""
    match members:
        case [dict() | list() as each]:
            assert isinstance(value, list)
            for item in value:
                has(item, each)
        case dict():
            assert set(value) == set(members), value
            for name, more in members.items():
                if more is not None:
                    has(value[name], more)
        case list():
            assert set(value) == set(members), value
