"""A user's flows over the API: what is kept, what is shown, to whom, and what is refused."""

import asyncio
import uuid
from datetime import datetime

import pytest
from langflow_accounts import add_key, add_user, by_key, call
from langflow_flows import add_flow, chat, edge, node, template, text_of, unique
from langflow_serving import ONE_DATABASE

from langflow_server.flows import shelf
from langflow_server.flows.graph import Graph
from langflow_server.problems import BadRequest
from langflow_server.server import Server
from langflow_server.settings import Settings
from langflow_server.start import prepare

SEALED = "**********"
EMPTY = {"nodes": [], "edges": []}


@pytest.fixture(scope="module")
def other(server):
    return add_user(server)


def add(server, user, **members):
    return call(server, "POST", "/flows/", user.session, json={"name": unique("flow"), **members})


def change(server, user, flow, **members):
    return call(server, "PATCH", f"/flows/{flow['id']}", user.session, json=members)


def get(server, user, flow):
    return call(server, "GET", f"/flows/{flow['id']}", user.session)


def run(server, key, flow, **body):
    return call(server, "POST", f"/run/{flow['id']}", key, json=body)


# --- what is kept -------------------------------------------------------------------------------------------------


def test_a_flow_is_shown_as_it_was_given(server, user):
    """The answer is 201 with all that there is to know; asked for alone and in the list, the flow is the same."""
    data = template("Hello, {text}")
    answer = add(server, user, description="greets", endpoint_name=unique(), data=data, access_type="PUBLIC")
    assert answer.status_code == 201
    said = answer.json()
    assert uuid.UUID(said["id"])
    assert (said["description"], said["data"], said["access_type"]) == ("greets", data, "PUBLIC")
    assert said["user_id"] == user.id
    assert datetime.fromisoformat(said["created_at"]).tzinfo is not None
    assert said["updated_at"] == said["created_at"]
    assert get(server, user, said).json() == said
    assert said in call(server, "GET", "/flows/", user.session).json()


def test_a_name_is_enough(server, user, key):
    """A flow without a graph is kept, private and with nothing in it, and says that it is empty when it is run."""
    flow = add(server, user).json()
    assert flow["data"] == EMPTY
    assert (flow["description"], flow["endpoint_name"], flow["access_type"]) == ("", None, "PRIVATE")
    answer = run(server, key, flow)
    assert answer.status_code == 400
    assert answer.json() == {"detail": "The flow is empty: it has no nodes that could run."}


def test_members_of_langflow_are_ignored(server, user):
    """What programs for Langflow send along, and null for what they leave open, is no error."""
    more = {"folder_id": None, "is_component": False, "icon": "Bot", "data": None, "description": None}
    answer = add(server, user, **more)
    assert answer.status_code == 201
    assert "folder_id" not in answer.json()


def test_flows_are_listed_in_the_order_in_which_they_came(server):
    """The list has one's own flows only, the oldest first."""
    user = add_user(server)
    names = [add_flow(server, user)["name"] for _ in range(3)]
    assert [flow["name"] for flow in call(server, "GET", "/flows/", user.session).json()] == names


def test_only_what_is_given_is_changed(server, user):
    """A change leaves the other members as they are, but for the time, which is later."""
    flow = add_flow(server, user, template("one"), description="first", endpoint_name=unique())
    changed = change(server, user, flow, description="second").json()
    assert changed["updated_at"] > flow["updated_at"]
    assert {**changed, "updated_at": flow["updated_at"]} == {**flow, "description": "second"}
    data, name = template("two"), unique("name")
    assert change(server, user, flow, data=data, name=name, access_type="PUBLIC").status_code == 200
    assert get(server, user, flow).json()["data"] == data
    assert get(server, user, flow).json()["name"] == name
    assert get(server, user, flow).json()["access_type"] == "PUBLIC"


def test_null_takes_the_endpoint_name_away(server, user, key):
    """Null takes the endpoint name away, so that the flow has its id alone; null for anything else changes nothing."""
    flow = add_flow(server, user, template("x"), endpoint_name=unique())
    same = change(server, user, flow, name=None, description=None, data=None, access_type=None).json()
    assert {**same, "updated_at": None} == {**flow, "updated_at": None}
    assert change(server, user, flow, endpoint_name=None).json()["endpoint_name"] is None
    assert call(server, "POST", f"/run/{flow['endpoint_name']}", key).status_code == 404
    assert text_of(run(server, key, flow)) == "x"


def test_a_flow_is_removed(server, user):
    """A flow that was removed is not there any more, under neither of its names."""
    flow = add_flow(server, user, endpoint_name=unique())
    answer = call(server, "DELETE", f"/flows/{flow['id']}", user.session)
    assert answer.status_code == 200
    assert answer.json() == {"message": "The flow was deleted."}
    for method in ("GET", "DELETE"):
        assert call(server, method, f"/flows/{flow['id']}", user.session).status_code == 404
    assert add(server, user, name=flow["name"], endpoint_name=flow["endpoint_name"]).status_code == 201


# --- whose it is --------------------------------------------------------------------------------------------------


def test_anothers_flow_is_as_one_that_is_not_there(server, user, other):
    """The answer to another's flow is, byte for byte, that to an id of nothing; the flow stays as it is."""
    flow = add_flow(server, user, template("mine"), access_type="PUBLIC")
    for method, body in (("GET", None), ("PATCH", {"name": "mine now"}), ("PATCH", {"data": EMPTY}), ("DELETE", None)):
        paths = (f"/flows/{flow['id']}", f"/flows/{uuid.uuid4()}")
        answers = [call(server, method, path, other.session, json=body) for path in paths]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
        assert {**answers[0].headers, "date": ""} == {**answers[1].headers, "date": ""}
    assert get(server, user, flow).json() == flow
    assert flow["name"] not in call(server, "GET", "/flows/", other.session).text


def test_anothers_flow_is_not_run(server, user, other):
    """Another's flow is not run, public or not, by either of its names: the answer is that to a name of nothing."""
    flow = add_flow(server, user, template("secret"), endpoint_name=unique("end"), access_type="PUBLIC")
    theirs = by_key(add_key(server, other))
    names = [flow["id"], flow["endpoint_name"], uuid.uuid4(), unique("end")]
    paths = [f"/{way}/{name}{query}" for name in names for way in ("run", "process") for query in ("", "?stream=true")]
    answers = [call(server, "POST", path, theirs) for path in paths]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.content for answer in answers} == {b'{"detail":"There is no such flow."}'}


def test_names_are_each_users_own(server, user, other):
    """Two users may give a flow the same names, and each runs their own by them."""
    name, endpoint_name = unique(), unique("end")
    for who, text in ((user, "of one"), (other, "of the other")):
        add_flow(server, who, template(text), name=name, endpoint_name=endpoint_name)
    answers = [call(server, "POST", f"/run/{endpoint_name}", by_key(add_key(server, who))) for who in (user, other)]
    assert [text_of(answer) for answer in answers] == ["of one", "of the other"]


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["name", "endpoint_name"])
def test_a_taken_name_is_refused(server, user, member):
    """A name and an endpoint name are given once by each user: a second time is 400, and changes nothing."""
    taken, flow = (add_flow(server, user, endpoint_name=unique("end")) for _ in range(2))
    said = {"detail": f"You have a flow of the {member.replace('_', ' ')} {taken[member]!r} already."}
    for answer in (
        add(server, user, **{member: taken[member]}),
        change(server, user, flow, **{member: taken[member], "description": "changed", "data": template("changed")}),
    ):
        assert answer.status_code == 400
        assert answer.json() == said
    assert get(server, user, flow).json() == flow
    same = change(server, user, flow, name=flow["name"], endpoint_name=taken["endpoint_name"])
    assert same.json() == {"detail": f"You have a flow of the endpoint name {taken['endpoint_name']!r} already."}
    assert change(server, user, flow, **{member: flow[member]}).status_code == 200


def test_a_graph_that_cannot_run_is_refused(server, user):
    """A graph that cannot run is 400, with the sentence that says why, whether it is new or a change."""
    flow = add_flow(server, user, template("before"))
    circle = {"nodes": [node("ChatOutput", "o")], "edges": [edge("o", "o")]}
    unknown = {"nodes": [node("Agent", "a")], "edges": []}
    for data, said in ((circle, "The edges lead in a circle: 'o'"), (unknown, "Node 'a': 'Agent' is none of the ")):
        for answer in (add(server, user, data=data), change(server, user, flow, data=data)):
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith(said)
    assert get(server, user, flow).json() == flow


WRONG = [
    {"name": ""},
    {"name": " "},
    {"name": "n" * 256},
    {"name": 1},
    {"name": "\0"},
    {"description": "d" * 10_001},
    {"endpoint_name": ""},
    {"endpoint_name": "a/b"},
    {"endpoint_name": "a b"},
    {"endpoint_name": "4441b773-0724-434e-9cee-19d995d8f2df"},
    {"endpoint_name": "4441b7730724434e9cee19d995d8f2df"},
    {"access_type": "public"},
    {"data": []},
    {"data": {"nodes": [{"id": "a/b", "type": "Text"}]}},
    {"data": {"nodes": [{"id": "t", "type": "Text", "fields": {"text": None}}]}},
    {"data": {"nodes": [{"id": "m", "type": "LanguageModel", "fields": {"api_key": {"sealed": "x"}}}]}},
]


@ONE_DATABASE
def test_what_does_not_validate_is_422(server, user):
    """What is not of the right form is FastAPI's 422, which names the place, for a new flow and for a change."""
    flow = add_flow(server, user)
    for members in WRONG:
        for answer in (add(server, user, **members), change(server, user, flow, **members)):
            assert answer.status_code == 422, members
            assert answer.json()["detail"][0]["loc"][:2] == ["body", *members]
    assert get(server, user, flow).json() == flow


def test_half_a_surrogate_pair_is_no_text(server, user):
    """What JSON can write, and no text can be, is refused wherever it stands, and the answer can be read."""
    for body in (
        b'{"name": "\\ud800"}',
        b'{"name": "a", "description": "\\ud800"}',
        b'{"name": "a", "data": {"nodes": [{"id": "t", "type": "Text", "fields": {"\\ud800": "x"}}]}}',
        b'{"name": "a", "data": {"nodes": [{"id": "t", "type": "\\ud800"}]}}',
        b'{"name": "a", "data": {"nodes": [], "edges": [{"source": "\\ud800", "target": "a", "field": "\\ud800"}]}}',
    ):
        headers = {**user.session, "content-type": "application/json"}
        assert call(server, "POST", "/flows/", headers, content=body).status_code == 422


def test_an_id_that_is_none_is_422(server, user):
    """What is no UUID is the id of no flow, and is said to be none."""
    for method in ("GET", "PATCH", "DELETE"):
        answer = call(server, method, "/flows/no-uuid", user.session, json={})
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["path", "flow_id"]


async def test_a_user_has_so_many_flows(tmp_path, monkeypatch):
    """There is a largest number of flows, because a user's list is one answer; one that is removed makes room."""
    monkeypatch.setattr(shelf, "MAX_FLOWS", 2)
    settings = Settings(config_dir=tmp_path)
    owner = (await prepare(settings)).superuser
    async with Server(settings).opened() as own:
        flow = await shelf.add_flow(own, owner.id, "second")
        with pytest.raises(BadRequest, match="2 flows are the most"):
            await shelf.add_flow(own, owner.id, "third")
        await shelf.remove_flow(own, owner.id, flow.id)
        await shelf.add_flow(own, owner.id, "third")


# --- secrets ------------------------------------------------------------------------------------------------------


def test_a_secret_is_not_shown_again(server, user, key, openai):
    """A credential is a row of asterisks in each answer; sent back, it keeps what is there, which the provider gets."""
    secret = unique("sk")
    flow = add_flow(server, user, chat(api_key=secret))
    assert flow["data"]["nodes"][1]["fields"]["api_key"] == SEALED
    for answer in (
        get(server, user, flow),
        change(server, user, flow, data=flow["data"]),
        call(server, "GET", "/flows/", user.session),
    ):
        assert answer.status_code == 200
        assert SEALED in answer.text
        assert secret not in answer.text
    text = unique()
    assert text_of(run(server, key, flow, input_value=text)) == text
    assert openai.key_for(text) == secret
    assert secret not in server.log


def test_a_secret_that_was_never_there_is_not_kept(server, user):
    """Asterisks where no credential is kept are 400, and the node is named."""
    answer = add(server, user, data=chat(api_key=SEALED))
    assert answer.status_code == 400
    assert "'LanguageModel'" in answer.json()["detail"]


# --- at the same time ---------------------------------------------------------------------------------------------


async def test_changes_at_the_same_time_are_all_made(server, user, key, openai):
    """Of changes to one flow on both workers at once none is lost, and the secret that is left is one of theirs."""
    flow = add_flow(server, user, chat())
    secrets = [unique("sk") for _ in range(8)]
    changes = [{"data": chat(api_key=secret)} for secret in secrets] + [{"description": "new"}, {"name": unique("n")}]
    answers = await asyncio.gather(*(asyncio.to_thread(change, server, user, flow, **each) for each in changes))
    assert [answer.status_code for answer in answers] == [200] * len(changes)
    left = get(server, user, flow).json()
    assert (left["description"], left["name"]) == ("new", changes[-1]["name"])
    text = unique()
    assert text_of(run(server, key, flow, input_value=text)) == text
    assert openai.key_for(text) in secrets


async def test_no_secret_is_left_behind(tmp_path):
    """Of changes at once, each is made on what the one before has left: in the end one secret is kept, the flow's."""
    settings = Settings(config_dir=tmp_path)
    owner = (await prepare(settings)).superuser
    async with Server(settings).opened() as own:
        flow = await shelf.add_flow(own, owner.id, "flow", graph=Graph.model_validate(chat()))
        graphs = [Graph.model_validate(chat(api_key=unique("sk"))) for _ in range(4)]
        await asyncio.gather(*(shelf.change_flow(own, owner.id, flow.id, graph=graph) for graph in graphs))
        left = await shelf.get_flow(own, owner.id, flow.id)
        kept = left.stored["nodes"][1]["fields"]["api_key"]["sealed"]
        assert [each.name for each in await own.vault.list(owner)] == [kept]
        await shelf.remove_flow(own, owner.id, flow.id)
        assert await own.vault.list(owner) == []


async def test_a_name_is_given_once_at_the_same_time(server, user):
    """Of several requests for one name at once, on both workers, one has it, and the others are told so."""
    name = unique()
    answers = await asyncio.gather(*(asyncio.to_thread(add, server, user, name=name, data=chat()) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 5
