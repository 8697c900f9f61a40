"""How much one user, or anybody, can have the server do."""

import threading

import pytest
from langflow_accounts import in_this_process
from langflow_flows import chat, unique, until
from langflow_provider import providing
from langflow_serving import SUPERUSER
from sqlalchemy import event

from keyguard import lifecycle
from langflow_server import people, variables
from langflow_server.flows import running, shelf
from langflow_server.flows.graph import Edge, Graph, Node, Variable
from langflow_server.problems import BadRequest
from langflow_server.variables import VariableType


def test_a_variable_is_read_once_in_a_run(tmp_path):
    """However often a flow names a variable, a run asks the database for it once."""
    names = [f"a{number}" for number in range(50)]
    template = "".join(f"{{{name}}}" for name in names)
    graph = Graph(
        nodes=[
            Node(
                id="Prompt",
                type="Prompt",
                fields={"template": template, **dict.fromkeys(names, Variable(variable="V"))},
            ),
            Node(id="ChatOutput", type="ChatOutput"),
        ],
        edges=[Edge(source="Prompt", target="ChatOutput", field="text")],
    )
    asked = []

    async def run(server, root):
        await variables.add_variable(server, root.id, "V", "x", type=VariableType.GENERIC)
        flow = await shelf.add_flow(server, root.id, "names one variable often", graph=graph)
        event.listen(server.database.sync_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
        return (await running.run(server, flow)).answer

    with in_this_process(tmp_path) as (_, do):
        assert do(run) == "x" * len(names)
    assert len([statement for statement in asked if "langflow_variables" in statement]) == 1


def test_a_user_has_so_many_variables_at_most(tmp_path, monkeypatch):
    """Who has as many variables as there may be gets no other one before one is gone."""
    monkeypatch.setattr(variables, "MAX_VARIABLES", 2)

    async def add(server, root):
        for name in ("A", "B"):
            last = await variables.add_variable(server, root.id, name, "x", type=VariableType.CREDENTIAL)
        with pytest.raises(BadRequest, match="2 variables are the most"):
            await variables.add_variable(server, root.id, "C", "x", type=VariableType.CREDENTIAL)
        await variables.remove_variable(server, root.id, last.id)
        await variables.add_variable(server, root.id, "C", "x", type=VariableType.CREDENTIAL)
        return [each.name for each in await variables.list_variables(server, root.id)]

    with in_this_process(tmp_path) as (_, do):
        assert do(add) == ["A", "C"]


def test_one_user_leaves_room_for_others(tmp_path, monkeypatch):
    """Who waits for a provider as often as one may is told to come back; another user is answered meanwhile."""
    monkeypatch.setattr(running, "MAX_CONVERSATIONS", 1)

    async def add(server, root):
        other = await people.add_person(server, "other", "x", actor=root)
        keys = {}
        for owner in (root, other):
            for model in ("hangs", "says"):
                graph = Graph.model_validate(chat(model))
                await shelf.add_flow(server, owner.id, model, endpoint_name=model, graph=graph)
            issued = await lifecycle.issue(server.store, owner.id)
            keys[owner.name] = {"x-api-key": issued.key.reveal()}
        return keys

    with (
        providing() as provider,
        in_this_process(tmp_path, environment={"OPENAI_BASE_URL": provider.url}) as (client, do),
    ):
        keys = do(add)

        def run(model, who, text="hello"):
            return client.post(f"/api/v1/run/{model}", json={"input_value": text}, headers=keys[who])

        first = unique()
        thread = threading.Thread(target=run, args=("hangs", SUPERUSER, first))
        thread.start()
        until(lambda: provider.of(first))
        again = run("says", SUPERUSER)
        others = run("says", "other")
        provider._ended.set()
        thread.join()
        assert (again.status_code, again.headers["retry-after"]) == (429, "1")
        assert others.status_code == 200
        assert run("says", SUPERUSER).status_code == 200
