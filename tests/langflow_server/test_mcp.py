"""The MCP server, as the SDK's own client and as anybody with a socket sees it."""

import asyncio
import itertools
import json
import re
import secrets
import sqlite3
from contextlib import asynccontextmanager

import httpx2
import pytest
import websockets.sync.client
from langflow_accounts import add_key, add_user, by_key, call, superuser
from langflow_serving import NO_TLS, ONE_DATABASE, PATIENCE
from mcp import Client, ClientSession, MCPError
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient
from websockets.exceptions import InvalidStatus

from langflow_server.app import create_app
from langflow_server.guard import MCP_PATHS
from langflow_server.settings import Settings
from langflow_server.start import prepare

ECHO = {
    "nodes": [
        {"id": "ChatInput-1", "type": "ChatInput", "fields": {"input_value": "nothing"}},
        {"id": "Prompt-1", "type": "Prompt", "fields": {"template": "You said: {text}"}},
        {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}},
    ],
    "edges": [
        {"source": "ChatInput-1", "target": "Prompt-1", "field": "text"},
        {"source": "Prompt-1", "target": "ChatOutput-1", "field": "text"},
    ],
}


def asking(model, api_key=None):
    """A flow that asks a language model."""
    fields = {"provider": "OpenAI", "model": model} | ({} if api_key is None else {"api_key": api_key})
    return {
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


@pytest.fixture(scope="module")
def owners(server):
    """Two users, who own the flows of these tests."""
    return add_user(server), add_user(server)


def add_flow(server, owner, name=None, *, data=ECHO, access_type="PUBLIC", **more):
    body = {"name": name or secrets.token_hex(8), "data": data, "access_type": access_type, **more}
    answer = call(server, "POST", "/flows/", owner.session, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def change_flow(server, owner, flow, **changes):
    answer = call(server, "PATCH", f"/flows/{flow['id']}", owner.session, json=changes)
    assert answer.status_code == 200, answer.text


def hex_of(flow):
    return flow["id"].replace("-", "")


def named(tools, flow):
    """The tools that stand for a flow: one or none."""
    return [tool for tool in tools if tool.name.endswith(hex_of(flow))]


# --- by the SDK's client ------------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(server, **more):
    """A session of the SDK's client; `more` is for its HTTP client."""
    async with (
        httpx2.AsyncClient(timeout=PATIENCE, trust_env=False, verify=NO_TLS, **more) as client,
        streamable_http_client(f"{server.url}/api/v1/mcp", http_client=client) as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


async def tools_of(session):
    return (await session.list_tools()).tools


async def said(session, tool, **arguments):
    """What a tool has answered, and whether that was an error."""
    result = await session.call_tool(tool.name, arguments)
    (content,) = result.content
    return content.text, result.is_error


async def test_the_sdks_client_lists_and_calls_public_flows(server, owners):
    """A public flow is a tool with its name, its description and one text for input; calling it runs it."""
    flow = add_flow(server, owners[0], "Repeat after me!", description="Says what you said.")
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        assert tool.name == f"Repeat_after_me_{hex_of(flow)}"
        assert (tool.title, tool.description) == ("Repeat after me!", "Says what you said.")
        assert tool.input_schema["required"] == ["input_value"]
        assert tool.input_schema["properties"].keys() == {"input_value"}
        assert tool.input_schema["additionalProperties"] is False
        assert await said(session, tool, input_value="Grüße 東京") == ("You said: Grüße 東京", False)


async def test_a_client_of_the_newer_protocol_needs_no_handshake(server, owners):
    """One that speaks the protocol of 2026 finds the same tools, and calls them."""
    flow = add_flow(server, owners[0])
    async with asyncio.timeout(PATIENCE), Client(f"{server.url}/api/v1/mcp", mode="2026-07-28") as client:
        (tool,) = named(await tools_of(client), flow)
        assert await said(client, tool, input_value="hi") == ("You said: hi", False)
        assert await refusal(client, f"flow_{'0' * 32}") == NO_SUCH_TOOL


class InTurn(httpx2.AsyncBaseTransport):
    """Takes each request to another worker than the one before."""

    def __init__(self, clients):
        self.asked = []
        self._clients = itertools.cycle(clients.items())

    async def handle_async_request(self, request):
        worker, client = next(self._clients)
        self.asked.append((worker, request.method))
        content = await request.aread()
        answer = await asyncio.to_thread(
            client.request, request.method, str(request.url), content=content, headers=request.headers
        )
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


async def test_both_workers_answer_one_session(server, owners):
    """A session goes on with whichever worker is asked: no request needs another to have been there before."""
    flow = add_flow(server, owners[0])
    with server.each_worker() as clients:
        workers = InTurn(clients)
        async with asyncio.timeout(PATIENCE), connected(server, transport=workers) as session:
            for number in range(3):
                (tool,) = named(await tools_of(session), flow)
                assert await said(session, tool, input_value=f"hi {number}") == (f"You said: hi {number}", False)
        asked = {worker for worker, method in workers.asked if method == "POST"}
        assert asked == set(clients)


async def test_a_key_makes_no_difference(server, owners):
    """Anonymous, with a bad key, a good one and a session one sees the same tools and gets the same answers."""
    flow = add_flow(server, owners[0])
    private = add_flow(server, owners[0], access_type="PRIVATE")
    key = by_key(add_key(server, owners[0]))
    seen = []
    for headers in ({}, {"x-api-key": "lf_bad"}, key, owners[0].session, superuser(server)):
        async with asyncio.timeout(PATIENCE), connected(server, headers=headers) as session:
            (tool,) = named(await tools_of(session), flow)
            assert named(await tools_of(session), private) == []
            seen.append((tool.model_dump(), await said(session, tool, input_value="hi")))
    assert all(each == seen[0] for each in seen)


def test_a_key_in_the_query_is_not_looked_at(server, owners):
    """Neither a bad one nor a good one, nor two of them, changes the answer, and a good one is not counted as used."""
    add_flow(server, owners[0])
    key, other = add_key(server, owners[0]), add_key(server, owners[0])
    plain = post(server).json()
    for query in (
        "x-api-key=bad",
        f"x-api-key={key['api_key']}",
        f"x-api-key={key['api_key']}&x-api-key={other['api_key']}",
        f"X-API-Key={key['api_key']}&x=1",
    ):
        answer = post(server, f"/api/v1/mcp?{query}")
        assert (answer.status_code, answer.json()) == (200, plain)
    listed = call(server, "GET", "/api_key/", owners[0].session).json()["api_keys"]
    assert {each["total_uses"] for each in listed if each["id"] in (key["id"], other["id"])} == {0}


async def test_what_is_made_private_is_gone_at_once(server, owners):
    """With the next request of a session that has seen it: it is not listed, and calling it is as calling nothing."""
    flow = add_flow(server, owners[0])
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        change_flow(server, owners[0], flow, access_type="PRIVATE")
        assert named(await tools_of(session), flow) == []
        assert await refusal(session, tool.name) == NO_SUCH_TOOL
        change_flow(server, owners[0], flow, access_type="PUBLIC")
        assert await said(session, tool, input_value="hi") == ("You said: hi", False)
        assert call(server, "DELETE", f"/flows/{flow['id']}", owners[0].session).status_code == 200
        assert await refusal(session, tool.name) == NO_SUCH_TOOL


async def test_the_flows_of_who_is_switched_off_are_nobodys(server):
    """An owner who is not active has no tools; when they are again, the tools are there again."""
    owner = add_user(server)
    flow = add_flow(server, owner)

    def set_active(value):
        assert (
            call(server, "PATCH", f"/users/{owner.id}", superuser(server), json={"is_active": value}).status_code == 200
        )

    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        set_active(False)
        assert named(await tools_of(session), flow) == []
        assert await refusal(session, tool.name) == NO_SUCH_TOOL
        set_active(True)
        assert await said(session, tool, input_value="hi") == ("You said: hi", False)


NO_SUCH_TOOL = (-32602, "There is no such tool.", None)


async def refusal(session, name, **arguments):
    with pytest.raises(MCPError) as raised:
        await session.call_tool(name, arguments or {"input_value": "hi"})
    return raised.value.code, raised.value.message, raised.value.data


async def test_what_is_no_tool_is_told_in_one_sentence(server, owners):
    """A private flow, one that never was and a name that could be no tool's get one answer."""
    private = add_flow(server, owners[0], "mine", access_type="PRIVATE")
    public = add_flow(server, owners[0], "theirs")
    names = [
        f"mine_{hex_of(private)}",
        f"flow_{'0' * 32}",
        "",
        "mine",
        hex_of(public),
        f"x_{hex_of(public)}",
        "\0",
        "x" * 5000,
    ]
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        for name in names:
            assert await refusal(session, name) == NO_SUCH_TOOL


@ONE_DATABASE
@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Summarise", "Summarise"),
        ("  Ask: my/own (docs)? ", "Ask_my_own_docs"),
        ("東京", "flow"),
        ("_", "flow"),
        ("a" * 255, "a" * 31),
        ("</script><script>", "script_script"),
    ],
)
async def test_a_tools_name_is_one_that_every_client_takes(server, owners, name, slug):
    """Letters, digits and underscores, 64 at most, whatever the flow is called; its own name is the title."""
    owner = add_user(server)
    flow = add_flow(server, owner, name)
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        assert tool.name == f"{slug}_{hex_of(flow)}"
        assert re.fullmatch(r"[A-Za-z0-9_]{1,64}", tool.name)
        assert tool.title == name.strip()
        assert tool.description == f"Runs the flow {name.strip()}."
    del owners


async def test_two_owners_may_have_flows_of_one_name(server, owners):
    """Both are tools, by names of their own, and each runs what its owner has made."""
    flows = []
    for number, owner in enumerate(owners):
        data = json.loads(json.dumps(ECHO).replace("You said", f"Owner {number} heard"))
        flows.append(add_flow(server, owner, "the same name", data=data))
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        tools = await tools_of(session)
        assert len({tool.name for tool in tools}) == len(tools)
        for number, flow in enumerate(flows):
            (tool,) = named(tools, flow)
            assert await said(session, tool, input_value="hi") == (f"Owner {number} heard: hi", False)


async def test_it_runs_with_its_owners_credential(server, owners, openai):
    """Neither the caller's key nor anything that the caller says is sent to the provider as one."""
    keys = []
    for number, owner in enumerate(owners):
        keys.append(f"sk-of-owner-{number}-{secrets.token_hex(4)}")
        body = {"name": f"MINE_{number}", "value": keys[number], "type": "Credential"}
        assert call(server, "POST", "/variables/", owner.session, json=body).status_code == 201
    flows = [
        add_flow(server, owner, data=asking("says", {"variable": f"MINE_{number}"}))
        for number, owner in enumerate(owners)
    ]
    headers = by_key(add_key(server, owners[1])) | {"authorization": "Bearer sk-of-the-caller"}
    async with asyncio.timeout(PATIENCE), connected(server, headers=headers) as session:
        tools = await tools_of(session)
        for flow, key in zip(flows, keys, strict=True):
            (tool,) = named(tools, flow)
            text = secrets.token_hex(8)
            assert await said(session, tool, input_value=f"say: {text}") == (text, False)
            assert openai.key_for(text) == key


@ONE_DATABASE
@pytest.mark.parametrize(
    "arguments",
    [
        {"input_value": "hi", "tweaks": {"Prompt-1": {"template": "tweaked"}}},
        {"input_value": "hi", "session_id": "s"},
        {"input_value": ["hi"]},
        {"input_value": None},
        {"input_value": "x" * 100_001},
        {"input_value": "nul \0"},
        {},
    ],
    ids=["tweaks", "session", "list", "null", "too long", "nul", "nothing"],
)
async def test_a_tool_takes_one_text_and_no_tweaks(server, owners, arguments):
    """Anything else is an error of the tool that says what it takes, and nothing is run."""
    flow = add_flow(server, owners[0])
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        assert await said(session, tool, **arguments) == (
            "A flow takes one text, input_value, of up to 100000 characters.",
            True,
        )


@ONE_DATABASE
@pytest.mark.parametrize(
    "model", ["refuses", "fails", "not-json", "no-text", "redirects", "no-such-model", "no key", "empty"]
)
async def test_an_error_gives_nothing_away(server, owners, openai, model):
    """Whatever goes wrong in a flow, the anonymous caller reads one sentence; who owns it and runs it reads more."""
    canary = f"sk-canary-{secrets.token_hex(8)}"
    data = {"nodes": [], "edges": []} if model == "empty" else asking(model, None if model == "no key" else canary)
    flow = add_flow(server, owners[0], data=data)
    async with asyncio.timeout(PATIENCE), connected(server) as session:
        (tool,) = named(await tools_of(session), flow)
        assert await said(session, tool, input_value=canary[3:]) == ("The flow could not be run.", True)
    assert ("canary" in str(openai.of(canary[3:]))) is (model not in ("no key", "empty"))
    assert "canary" not in server.log
    own = call(server, "POST", f"/run/{flow['id']}", by_key(add_key(server, owners[0])), json={})
    assert own.json()["detail"] not in ("", "The flow could not be run.")


# --- by hand ------------------------------------------------------------------------------------------------------

ACCEPT = {"accept": "application/json, text/event-stream"}


def rpc(method, **params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def post(server, path="/api/v1/mcp", body=None, **headers):
    with server.client() as client:
        return client.post(path, json=rpc("tools/list") if body is None else body, headers=ACCEPT | headers)


@ONE_DATABASE
@pytest.mark.parametrize("path", MCP_PATHS)
def test_each_path_answers_and_none_redirects(server, path):
    """All six paths and whatever is below them are one server, with and without `/api`, a slash at the end or not."""
    with server.client(headers=ACCEPT) as client:
        for below in ("", "/", "/sse", "/project/0b0cdeb1-7a0d-4d3e-9b4f-0d5b1f0c2d3e/streamable"):
            answer = client.post(path + below, json=rpc("tools/list"))
            assert answer.status_code == 200, answer.text
            assert isinstance(answer.json()["result"]["tools"], list)


@ONE_DATABASE
def test_what_only_looks_like_it_is_guarded(server):
    """A path beside those, or one that is spelled otherwise, asks for a key like any other."""
    with server.client(headers=ACCEPT) as client:
        for path in (
            "/mcp",
            "/api/v1/mcpx",
            "/api/v1/mcp-other",
            "/api/v1/mcp-projectsx",
            "/api/v3/mcp",
            "/api/v1/MCP",
            "/api/v1//mcp",
            "/api/v1/mcp//",
            "/api/v1/mcp/../flows/",
            "/api/v1/mcp/%2e%2e/flows/",
        ):
            assert client.post(path, json=rpc("tools/list")).status_code == 403, path


@ONE_DATABASE
@pytest.mark.parametrize("path", MCP_PATHS)
def test_other_methods_ask_for_a_key(server, owners, path):
    """Only GET, POST and DELETE are open; with a key the others are not allowed either, because there is nothing."""
    with server.client() as client:
        for method in ("PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"):
            assert client.request(method, path).status_code == 403
            assert client.request(method, path, headers=owners[0].session).status_code == 405


@ONE_DATABASE
def test_there_is_no_stream_to_open_and_no_session_to_end(server):
    """GET and DELETE are answered with 405, which the protocol has for a server without them: nobody holds a worker."""
    with server.client(headers={"accept": "text/event-stream"}) as client:
        for path in MCP_PATHS:
            for method in ("GET", "DELETE"):
                answer = client.request(method, path)
                assert answer.status_code == 405
                assert answer.headers["allow"] == "POST"


@ONE_DATABASE
@pytest.mark.parametrize("path", MCP_PATHS)
def test_a_websocket_is_not_exempt(server, path):
    """There the exemption ends: without a key a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as raised:
        websockets.sync.client.connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=PATIENCE, proxy=None)
    assert raised.value.response.status_code == 403
    assert json.loads(raised.value.response.body) == {"detail": "An API key is required."}


@ONE_DATABASE
def test_a_page_of_another_site_cannot_call(server):
    """A browser says where a request comes from, and from elsewhere it is refused: no visitor's network is a way in."""
    own = f"http://127.0.0.1:{server.port}"
    assert post(server, origin="https://evil.example").status_code == 403
    assert post(server, origin="null").status_code == 403
    assert post(server, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert post(server, origin=own).status_code == 200
    assert post(server, **{"sec-fetch-site": "same-origin"}, origin=own).status_code == 200


@pytest.mark.parametrize("method", ["tools/list", "tools/call"])
def test_a_failure_of_the_server_gives_nothing_away(tmp_path, method):
    """If the database fails, the caller is told to try again, and reads neither a statement nor a table's name."""
    settings = Settings(config_dir=tmp_path)
    asyncio.run(prepare(settings))
    with sqlite3.connect(tmp_path / "langflow.db") as connection:
        connection.execute("DROP TABLE langflow_flows")
    connection.close()
    body = rpc(method, name=f"flow_{'0' * 32}", arguments={"input_value": "hi"}) if "call" in method else rpc(method)
    with TestClient(create_app(settings)) as client:
        answer = client.post("/api/v1/mcp", json=body, headers=ACCEPT)
    assert answer.json()["error"] == {"code": -32603, "message": "That did not work. Try again."}


@pytest.mark.parametrize("settings", [{"auto_login": True}, {"allowed_hosts": "flows.example, localhost"}])
def test_another_hosts_name_does_not_lead_here(tmp_path, settings):
    """With AUTO_LOGIN, or where hosts are named, a site that has its own name lead to this machine is refused."""
    client = TestClient(create_app(Settings(config_dir=tmp_path, **settings)))
    for path in MCP_PATHS:
        for method in ("GET", "POST", "DELETE"):
            assert client.request(method, path, headers={"host": "evil.example:7860"}).status_code == 400
            assert client.request(method, path, headers={"host": "localhost:7860"}).status_code == 405


@ONE_DATABASE
def test_a_body_that_is_too_large_is_refused(server):
    """Announced or not, more than a mebibyte is 413 before it is read as JSON."""
    large = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "' + b"x" * 2**20 + b'"}}'
    headers = ACCEPT | {"content-type": "application/json"}
    with server.client() as client:
        assert client.post("/api/v1/mcp", content=large, headers=headers).status_code == 413
        assert (
            client.post("/api/v1/mcp", content=iter([large[: 2**19], large[2**19 :]]), headers=headers).status_code
            == 413
        )


@ONE_DATABASE
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"5",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}',
        b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\ud800", "arguments": {}}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {"\\ud800": "x"}}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
        b'{"jsonrpc": "2.0", "id": 1e999, "method": "tools/list"}',
        b"\xff\xfe",
    ],
    ids=[
        "empty",
        "words",
        "list",
        "number",
        "deep",
        "no method",
        "unknown",
        "id",
        "name",
        "text",
        "no name",
        "inf",
        "bytes",
    ],
)
def test_what_is_no_request_is_an_error_and_no_failure(server, body):
    """Whatever is sent, the answer is a document that says what was wrong with it, and the log has no trace of it."""
    before = len(server.lines)
    with server.client(headers=ACCEPT | {"content-type": "application/json"}) as client:
        for headers in ({}, {"mcp-protocol-version": "2025-06-18"}, {"mcp-protocol-version": "2026-07-28"}):
            answer = client.post("/api/v1/mcp", content=body, headers=headers)
            assert answer.status_code < 500
            assert "sqlalchemy" not in answer.text.lower()
    assert "Traceback" not in "".join(server.lines[before:])
