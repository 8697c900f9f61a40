"""Who passes under which settings: one table, beside the sentences of Langflow's documents that it follows.

The table is compared with the policy itself, by `keyguard.explain`, and with servers that run under each setting.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from langflow_serving import PATIENCE, SUPERUSER, environment, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from keyguard import KeyGuard, Keyring, lifecycle
from keyguard.explain import explain, request, with_key
from keyguard.model import Allowed, Anonymous
from keyguard.stores.memory import MemoryStore
from langflow_server.flows.shelf import add_sample, list_flows
from langflow_server.guard import MCP_PATHS, guarded_by
from langflow_server.server import Server
from langflow_server.settings import load
from langflow_server.start import prepare

NEEDED = "In Langflow versions 1.5 and later, most API requests require a Langflow API key"
NEEDED_EVEN = f"{NEEDED}, even when `AUTO_LOGIN=true`."
OLDER = (
    "If you are running a Langflow version earlier than 1.5, if `AUTO_LOGIN=true`, Langflow automatically logs users "
    "in as a superuser without requiring authentication, and API requests can be made without a Langflow API key."
)
SKIPPED = (
    "If you set `SKIP_AUTH_AUTO_LOGIN=true`, authentication will be skipped entirely, and API requests will not "
    "require a Langflow API key, regardless of the `AUTO_LOGIN` setting."
)
OPEN = (
    "The only exceptions are the MCP endpoints: `/v1/mcp`, `/v1/mcp-projects`, and `/v2/mcp`. These endpoints don't "
    "require authentication, regardless of the `AUTO_LOGIN` setting."
)
IN_EVERY_VERSION = "decision 0036: what skips authentication skips it in every API_VERSION"
ONLY_IF_ON = "decision 0036: in an older version, too, it is AUTO_LOGIN that excuses a request, and not the version"

NO = 403
ROOT = SUPERUSER
ADA = "ada"
"""Whose key the good one is. A good key passes as its owner, whatever else is set: the superuser's rights are never
lent to somebody who says who they are."""

# --- ordinary paths, over HTTP and over WebSocket alike -----------------------------------------------------------

#   AUTO_LOGIN  SKIP_AUTH_AUTO_LOGIN  API_VERSION   no key  good  bad    why
ORDINARY = [
    (False,     False,                "1.5",        NO,     ADA,  NO,    NEEDED),
    (False,     False,                "1.4",        NO,     ADA,  NO,    ONLY_IF_ON),
    (True,      False,                "1.5",        NO,     ADA,  NO,    NEEDED_EVEN),
    (True,      False,                "1.4",        ROOT,   ADA,  NO,    OLDER),
    (False,     True,                 "1.5",        ROOT,   ADA,  ROOT,  IN_EVERY_VERSION),
    (False,     True,                 "1.4",        ROOT,   ADA,  ROOT,  SKIPPED),
    (True,      True,                 "1.5",        ROOT,   ADA,  ROOT,  IN_EVERY_VERSION),
    (True,      True,                 "1.4",        ROOT,   ADA,  ROOT,  SKIPPED),
]  # fmt: skip
"""A key that is bad is refused where none would have done (OLDER): whoever sends one wants to be known by it. That is
Keyguard's rule for all its modes. Only where authentication is "skipped entirely" (SKIPPED) nothing refuses."""

# --- MCP paths ----------------------------------------------------------------------------------------------------

MCP_OVER_HTTP = "open"
"""OPEN, in each of the eight settings and with each key: none is looked at, and whoever calls is nobody."""

MCP_OVER_WEBSOCKET = "there is none"
"""MCP is spoken over HTTP: GET, POST and DELETE are open, and nothing else is. A WebSocket to such a path is asked for
a key like any other, and behind the guard there is nothing that would take it: decision 0036."""


@dataclass(frozen=True)
class Row:
    auto_login: bool
    skip_auth: bool
    api_version: str
    none: object
    good: object
    bad: object
    why: str

    def __str__(self):
        return f"AUTO_LOGIN={self.auto_login}-SKIP_AUTH={self.skip_auth}-API_VERSION={self.api_version}"

    @property
    def environment(self):
        return {
            "LANGFLOW_AUTO_LOGIN": str(self.auto_login),
            "LANGFLOW_SKIP_AUTH_AUTO_LOGIN": str(self.skip_auth),
            "LANGFLOW_API_VERSION": self.api_version,
        }

    def cells(self, keys):
        """Each key that may be presented, None among them, with what comes of it."""
        return [(None, self.none), (keys.good, self.good), *((key, self.bad) for key in keys.bad)]


ROWS = [Row(*row) for row in ORDINARY]


def test_the_table_is_whole():
    """All eight settings stand in the table, each once."""
    settings = [(row.auto_login, row.skip_auth, row.api_version) for row in ROWS]
    assert sorted(settings) == sorted(product([False, True], [False, True], ["1.4", "1.5"]))


# --- whom there is ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    good: str
    bad: tuple[str, ...]


async def people_in(store):
    """Make the superuser and Ada; return her good key, and what is none: a revoked one, another server's, a word."""
    if await store.find_owner(SUPERUSER) is None:
        await lifecycle.add_owner(store, SUPERUSER, is_superuser=True)
    ada = await lifecycle.add_owner(store, ADA)
    good = await lifecycle.issue(store, ada)
    revoked = await lifecycle.issue(store, ada)
    await lifecycle.revoke(store, revoked.record.id)
    unknown, _ = lifecycle.mint(store.keyring)
    return Keys(good.key.reveal(), (revoked.key.reveal(), unknown.reveal(), "open-sesame"))


# --- the policy itself --------------------------------------------------------------------------------------------


async def judged(settings, keys, store, scope, key):
    """What the guard would do with a request: ``NO``, ``"open"``, or the name of whom it takes the caller for."""
    guard = KeyGuard(None, **guarded_by(store, settings))
    explained = await explain(guard, with_key(guard, scope, key))
    match explained.decision:
        case Allowed(principal=principal):
            return principal.name
        case Anonymous():
            return "open"
    return NO


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_the_policy_follows_the_table(row):
    """What the guard decides of each request, by itself and without a server, is what stands in the table."""
    store = MemoryStore(keyring=Keyring(prefix="lf"))
    keys = await people_in(store)
    settings = load(row.environment | {"LANGFLOW_SUPERUSER": SUPERUSER}, env_file=os.devnull)
    for key, expected in row.cells(keys):
        for scope in (
            request("GET", "/api/v1/users/whoami"),
            request("POST", "/api/v1/run/sample"),
            request("GET", "/api/v1/run/sample", websocket=True),
            *(request("PUT", path) for path in MCP_PATHS),
            *(request("GET", path, websocket=True) for path in MCP_PATHS),
        ):
            assert await judged(settings, keys, store, scope, key) == expected, (row.why, scope["path"], key)
        for path in MCP_PATHS:
            for method in ("GET", "POST", "DELETE"):
                for scope in (request(method, path), request(method, f"{path}/anything")):
                    assert await judged(settings, keys, store, scope, key) == MCP_OVER_HTTP


# --- servers under each setting -----------------------------------------------------------------------------------

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass(frozen=True)
class World:
    """A database with people in it, over which one server after the other runs."""

    directory: Path
    database: dict[str, str]
    keys: Keys
    owners: dict[str, str]
    """Whose each flow is, by its id."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request, tmp_path_factory):
    """The superuser and Ada, each with a flow called sample."""
    directory, database = tmp_path_factory.mktemp(f"who-passes-{request.param}"), {}
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        database["LANGFLOW_DATABASE_URL"] = postgres.url(postgres.create_database())

    async def made():
        settings = load(environment(directory, **database), env_file=os.devnull)
        await prepare(settings)
        async with Server(settings).opened() as server:
            keys = await people_in(server.store)
            await add_sample(server, (await server.store.find_owner(ADA)).id)
            people = [await server.store.find_owner(name) for name in (ROOT, ADA)]
            flows = {flow.id: each.name for each in people for flow in await list_flows(server, each.id)}
            return World(directory, database, keys, flows)

    return asyncio.run(made())


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_servers_follow_the_table(world, row):
    """Under each setting every worker answers as the table says, over HTTP and over WebSocket."""
    with serving(world.directory, workers=2, **world.database, **row.environment) as server:
        with server.each_worker() as workers:
            for client, (key, expected) in product(workers.values(), row.cells(world.keys)):
                client.headers = {} if key is None else {"x-api-key": key}
                assert whoami(client) == expected, row.why
                assert ran_as(world, client) == expected, row.why
                for path in MCP_PATHS:
                    assert mcp(client, path) == MCP_OVER_HTTP, path
        for key, expected in row.cells(world.keys):
            assert conversed_as(world, server, "/api/v1/run/sample", key) == expected, row.why
            for path in MCP_PATHS:
                assert conversed_as(world, server, path, key) == NO, MCP_OVER_WEBSOCKET


def whoami(client):
    answer = client.get("/api/v1/users/whoami")
    return answer.json()["username"] if answer.status_code == 200 else answer.status_code


def ran_as(world, client):
    """Whose flow is run that is called sample."""
    answer = client.post("/api/v1/run/sample", json={"input_value": "who am I?"})
    return owner_of(world, answer.json()) if answer.status_code == 200 else answer.status_code


def mcp(client, path):
    """``"open"`` if the MCP server itself answers, which knows no caller."""
    answer = client.post(path, json=INITIALIZE, headers={"accept": "application/json, text/event-stream"})
    return "open" if answer.status_code == 200 and answer.json()["result"]["serverInfo"] else answer.status_code


def conversed_as(world, server, path, key):
    """Whose flow is run that is called sample, over a WebSocket; or the status that the handshake was refused with."""
    headers = {} if key is None else {"x-api-key": key}
    try:
        with connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers, proxy=None) as socket:
            socket.send('{"input_value": "who am I?"}')
            while (event := json.loads(socket.recv(PATIENCE)))["event"] != "end":
                assert event["event"] == "token", event
            return owner_of(world, event["data"]["result"])
    except InvalidStatus as refused:
        return refused.response.status_code


def owner_of(world, result):
    return world.owners[result["outputs"][0]["outputs"][0]["results"]["message"]["flow_id"]]
