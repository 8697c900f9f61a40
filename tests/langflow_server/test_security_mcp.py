"""What the MCP server, which asks for no key, does not let anybody do."""

import threading
from uuid import UUID

from langflow_accounts import in_this_process
from langflow_flows import chat, unique, until
from langflow_provider import providing
from langflow_serving import PASSWORD, SUPERUSER
from sqlalchemy import event

from langflow_server.api import mcp
from langflow_server.flows import shelf

HEADERS = {"accept": "application/json, text/event-stream"}


def ask(client, method, headers=None, **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post("/v1/mcp", json=body, headers=HEADERS | (headers or {}))


def test_a_page_under_a_name_of_its_own_calls_no_tool(tmp_path):
    """A page that has led its own host's name to this server is refused, unless the settings know that name."""
    page = {"host": "rebound.example:7860", "origin": "http://rebound.example:7860"}
    with in_this_process(tmp_path) as (client, _):
        assert ask(client, "tools/list", page).status_code == 403
        assert ask(client, "tools/list", {"host": "rebound.example"}).status_code == 200  # A program.
        for own in ("localhost", "127.0.0.1:7860", "[::1]:7860"):
            assert ask(client, "tools/list", {"host": own, "origin": f"http://{own}"}).status_code == 200
        for odd in ("[", "localhost.rebound.example", "localhost:80@rebound.example", ""):
            assert ask(client, "tools/list", {"host": odd, "origin": f"http://{odd}"}).status_code == 403
    with in_this_process(tmp_path / "named", allowed_hosts="rebound.example") as (client, _):
        assert ask(client, "tools/list", page).status_code == 200


def test_callers_without_a_key_leave_room_for_those_with_one(tmp_path, monkeypatch):
    """While as many flows run for anybody as may, another call is told to come back, and a user's run is answered."""
    monkeypatch.setattr(mcp, "MAX_CALLS", 1)
    with providing() as provider:
        environment = {"OPENAI_BASE_URL": provider.url}
        with in_this_process(tmp_path, environment=environment) as (client, _):
            token = client.post("/api/v1/login", data={"username": SUPERUSER, "password": PASSWORD}).json()[
                "access_token"
            ]
            session = {"authorization": f"Bearer {token}"}
            tool = {}
            for model in ("hangs", "says"):
                body = {"name": model, "access_type": "PUBLIC", "data": chat(model)}
                flow = client.post("/api/v1/flows/", json=body, headers=session).json()
                tool[model] = f"{model}_{UUID(flow['id']).hex}"
            key = client.post("/api/v1/api_key/", headers=session).json()["api_key"]

            def call(model, text):
                return ask(client, "tools/call", name=tool[model], arguments={"input_value": text}).json()["result"]

            first = unique()
            thread = threading.Thread(target=call, args=("hangs", first))
            thread.start()
            until(lambda: provider.of(first))
            busy = call("says", "hello")
            with_a_key = client.post(
                f"/api/v1/run/{flow['id']}", json={"input_value": "hello"}, headers={"x-api-key": key}
            )
            provider._ended.set()
            thread.join()
            assert (busy["isError"], busy["content"][0]["text"]) == (
                True,
                "Too many flows are being run. Try again later.",
            )
            assert with_a_key.status_code == 200
            assert not call("says", "hello")["isError"]


def test_the_list_of_tools_reads_no_graph(tmp_path):
    """What anybody can ask for again and again reads of each flow what it shows, and not the whole of it."""

    async def listed(server, root):
        await shelf.add_flow(server, root.id, "public", is_public=True, graph=shelf.SAMPLE)
        asked = []
        event.listen(server.database.sync_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        (title,) = await shelf.public_flows(server)
        return title.name, [each for each in asked if "langflow_flows.data" in each]

    with in_this_process(tmp_path) as (_, do):
        assert do(listed) == ("public", [])
