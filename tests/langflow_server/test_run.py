"""Running a flow with a key: what is sent, what is answered, and what goes wrong."""

import socket
import uuid
from datetime import datetime
from itertools import pairwise

import pytest
from langflow_accounts import JSON, add_user, call
from langflow_flows import add_flow, chat, edge, node, template, text_of, unique, until, was_left
from langflow_serving import ONE_DATABASE, PATIENCE

from langflow_server.flows.components import MAX_TEXT_CHARACTERS
from langflow_server.limits import MAX_BODY_BYTES


def run(server, key, flow, body=None, **more):
    return call(server, "POST", f"/run/{flow['id']}", key, json=body, **more)


def detail(answer, status=400):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


# --- the answer ---------------------------------------------------------------------------------------------------


def test_the_answer_is_where_clients_of_langflow_look_for_it(server, key, echo):
    """The text stands where the clients of each of Langflow's releases read it, with what else they know."""
    answer = run(server, key, echo, {"input_value": "hi", "session_id": "chat-1"})
    assert answer.status_code == 200
    said = answer.json()
    (message,) = (output["results"]["message"] for output in said["outputs"][0]["outputs"])
    assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
    assert said == {
        "session_id": "chat-1",
        "outputs": [
            {
                "inputs": {"input_value": "hi"},
                "outputs": [
                    {
                        "results": {
                            "message": {
                                "text": "[hi]",
                                "sender": "Machine",
                                "sender_name": "AI",
                                "session_id": "chat-1",
                                "timestamp": message["timestamp"],
                                "flow_id": echo["id"],
                                "component_id": "ChatOutput",
                            }
                        },
                        "outputs": {"message": {"message": "[hi]", "type": "text"}},
                        "component_id": "ChatOutput",
                        "component_display_name": "ChatOutput",
                    }
                ],
            }
        ],
    }


def test_a_session_is_the_callers_or_a_new_one(server, key, echo):
    """The session's id is given back; without one, each run has a new one."""
    assert run(server, key, echo, {"session_id": "mine"}).json()["session_id"] == "mine"
    made = {run(server, key, echo, body).json()["session_id"] for body in ({}, {"session_id": None}, None)}
    assert len({uuid.UUID(each) for each in made}) == 3


def test_each_output_is_answered(server, user, key):
    """A flow with several outputs answers with the text of each, in the graph's order."""
    nodes = [node("ChatOutput", "second"), node("ChatInput"), node("ChatOutput", "first", text="set")]
    flow = add_flow(server, user, {"nodes": nodes, "edges": [edge("ChatInput", "second")]})
    outputs = run(server, key, flow, {"input_value": "hi"}).json()["outputs"][0]["outputs"]
    told = [(each["component_id"], each["results"]["message"]["text"]) for each in outputs]
    assert told == [("second", "hi"), ("first", "set")]


# --- what is sent -------------------------------------------------------------------------------------------------


def test_the_text_is_found_wherever_it_stands(server, key, echo):
    """The text may stand in `input_value` or in `inputs`, as each of Langflow's releases has it; the former wins."""
    for body, text in [
        (None, ""),
        ({}, ""),
        ({"inputs": {"text": ""}, "tweaks": {}}, ""),  # As the seeds send it.
        ({"inputs": {"text": "a"}}, "a"),
        ({"inputs": {"input_value": "a"}}, "a"),
        ({"inputs": {"input": "a", "chat_history": []}}, "a"),
        ({"inputs": [{"components": ["ChatInput"], "input_value": "a", "type": "chat"}]}, "a"),
        ({"inputs": []}, ""),
        ({"inputs": None}, ""),
        ({"input_value": "a", "inputs": {"text": "b"}}, "a"),
        ({"input_value": "", "inputs": {"text": "b"}}, ""),
        ({"input_value": None, "inputs": {"text": "b"}}, "b"),
        (
            {"input_value": "a", "input_type": "chat", "output_type": "chat", "output_component": "", "tweaks": None},
            "a",
        ),
        ({"input_value": "{text} ä€😀"}, "{text} ä€😀"),
    ]:
        assert text_of(run(server, key, echo, body)) == f"[{text}]", body


def test_a_chat_input_has_a_text_of_its_own(server, user, key):
    """What the flow has set for its ChatInput is its text where a run brings none; an empty one is one."""
    nodes = [node("ChatInput", input_value="set"), node("ChatOutput")]
    flow = add_flow(server, user, {"nodes": nodes, "edges": [edge("ChatInput", "ChatOutput")]})
    bodies = [{}, {"input_value": ""}, {"tweaks": {"ChatInput": {"input_value": "tweaked"}}}]
    assert [text_of(run(server, key, flow, body)) for body in bodies] == ["set", "", "tweaked"]


def test_a_flow_has_two_names(server, key, echo):
    """A flow is run by its id, in any of a UUID's forms, and by its endpoint name."""
    for name in (echo["id"], echo["id"].upper(), uuid.UUID(echo["id"]).hex, echo["endpoint_name"]):
        assert text_of(call(server, "POST", f"/run/{name}", key, json={"input_value": "hi"})) == "[hi]"


def test_tweaks_are_for_one_run(server, user, key):
    """Tweaks take the place of what the flow has, or of what an edge would bring, and are forgotten."""
    flow = add_flow(server, user, template("{greeting} {text}", greeting="Hello"))
    for tweaks, text in [
        ({"Prompt": {"greeting": "Bye"}}, "Bye Ada"),
        ({"Prompt": {"text": "Eve"}}, "Hello Eve"),
        ({"Prompt": {"template": "{text}{greeting}"}}, "AdaHello"),
        ({"Prompt": {}, "ChatOutput": {"text": ""}}, ""),
        ({}, "Hello Ada"),
    ]:
        assert text_of(run(server, key, flow, {"input_value": "Ada", "tweaks": tweaks})) == text


def test_tweaks_that_do_not_fit(server, key, echo):
    """A component or a field that the flow does not have is 400, and is named."""
    said = detail(run(server, key, echo, {"tweaks": {"Prompt-9": {}}}))
    assert said == "The tweaks name a node 'Prompt-9', which the flow does not have."
    said = detail(run(server, key, echo, {"tweaks": {"Prompt": {"model": "x"}}}))
    assert said == "Node 'Prompt': it has no field 'model'; it has template, text."


@ONE_DATABASE
def test_what_does_not_validate(server, key, echo):
    """A body of another form is 422 that names the place, and what is too large or no JSON is told so."""
    for body, place in [
        ({"input_value": 5}, ["input_value"]),
        ({"input_value": {}}, ["input_value"]),
        ({"input_value": "a" * (MAX_TEXT_CHARACTERS + 1)}, ["input_value"]),
        ({"input_value": "\0"}, ["input_value"]),
        ({"inputs": "text"}, ["inputs"]),
        ({"inputs": [{}, {}]}, ["inputs"]),
        ({"inputs": {"text": 5}}, ["inputs"]),
        ({"tweaks": []}, ["tweaks"]),
        ({"tweaks": {"Prompt": "x"}}, ["tweaks", "Prompt"]),
        ({"tweaks": {"Prompt": {"text": [1]}}}, ["tweaks", "Prompt", "text"]),
        ({"tweaks": {"Prompt": {"text": {"sealed": "x"}}}}, ["tweaks", "Prompt", "text"]),
        ({"session_id": 5}, ["session_id"]),
        ({"session_id": "s" * 256}, ["session_id"]),
        ([], []),
        ("text", []),
    ]:
        for path in ("run", "process"):
            said = detail(call(server, "POST", f"/{path}/{echo['id']}", key, json=body), 422)
            assert said[0]["loc"][: len(place) + 1] == ["body", *place], body
    assert detail(run(server, key, echo, {}, params={"stream": "perhaps"}), 422)[0]["loc"] == ["query", "stream"]
    for content, status in [(b"{", 422), (b"\xff", 400), (b"[" * 100_000, 400), (b'{"input_value": "\\ud800"}', 422)]:
        answer = call(server, "POST", f"/run/{echo['id']}", {**key, **JSON}, content=content)
        assert answer.status_code == status, content[:20]


@ONE_DATABASE
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(server, key, echo, chunked):
    """A body beyond the limit is 413, whether its length is announced or it comes in pieces; one within it is read."""

    def content(size):
        start, end = b'{"input_value": "hi", "more": "', b'"}'
        middle = b"a" * (size - len(start) - len(end))
        return iter([start, middle, end]) if chunked else start + middle + end

    headers = {**key, **JSON}
    answer = call(server, "POST", f"/run/{echo['id']}", headers, content=content(MAX_BODY_BYTES))
    assert text_of(answer) == "[hi]"
    answer = call(server, "POST", f"/run/{echo['id']}", headers, content=content(MAX_BODY_BYTES + 1))
    assert detail(answer, 413) == "This is too large: 1048576 bytes are the most."


@ONE_DATABASE
def test_only_post_runs_a_flow(server, key, echo):
    """Any other method is 405: a link must not run a flow."""
    for path in ("run", "process"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            answer = call(server, method, f"/{path}/{echo['id']}", key)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# --- who may ------------------------------------------------------------------------------------------------------


def test_only_a_key_runs_a_flow(server, user, echo):
    """A session is not enough, and a bad key is refused before anybody looks whether there is such a flow."""
    for path in ("run", "process"):
        for name in (echo["id"], uuid.uuid4(), "no-such-name"):
            for headers in (user.session, {}, {"x-api-key": "lf_bad"}):
                assert call(server, "POST", f"/{path}/{name}", headers).status_code == 403


# --- variables ----------------------------------------------------------------------------------------------------


def test_a_field_may_be_a_variable(server, user, key):
    """A text field may name a Generic variable of the owner's, whose value it then has, in the flow or by tweak."""
    name = unique("GREETING")
    flow = add_flow(server, user, template("{greeting} {text}", greeting={"variable": name}))
    said = detail(run(server, key, flow, {"input_value": "Ada"}))
    assert said.startswith("Node 'Prompt': ")
    assert name in said
    body = {"name": name, "value": "Hello", "type": "Generic"}
    assert call(server, "POST", "/variables/", user.session, json=body).status_code == 201
    assert text_of(run(server, key, flow, {"input_value": "Ada"})) == "Hello Ada"
    assert text_of(run(server, key, flow, {"tweaks": {"Prompt": {"text": {"variable": name}}}})) == "Hello Hello"


def test_a_flow_cannot_print_a_credential(server, user, key):
    """A Credential is for secret fields alone: a text field that names one is 400, and does not show it."""
    name, secret = unique("KEY"), unique("sk")
    body = {"name": name, "value": secret, "type": "Credential"}
    assert call(server, "POST", "/variables/", user.session, json=body).status_code == 201
    flow = add_flow(server, user, template("{leak}", leak={"variable": name}))
    answer = run(server, key, flow)
    assert detail(answer).startswith("Node 'Prompt': ")
    assert secret not in answer.text


def test_another_users_variable_is_not_there(server, user, key):
    """A flow acts for its owner, and does not see what others have."""
    other, name = add_user(server), unique("GREETING")
    body = {"name": name, "value": "theirs", "type": "Generic"}
    assert call(server, "POST", "/variables/", other.session, json=body).status_code == 201
    flow = add_flow(server, user, template("{greeting}", greeting={"variable": name}))
    assert "theirs" not in detail(run(server, key, flow))


# --- how large an answer becomes ----------------------------------------------------------------------------------


def test_a_text_does_not_grow_without_end(server, user, key):
    """Templates that double a text, one behind the other, end with a 400 that names the node, and not the memory."""
    nodes = [
        node("ChatInput"),
        *(node("Prompt", f"p-{n}", template="{text}{text}") for n in range(60)),
        node("ChatOutput"),
    ]
    chain = [each["id"] for each in nodes]
    flow = add_flow(server, user, {"nodes": nodes, "edges": [edge(*pair) for pair in pairwise(chain)]})
    said = detail(run(server, key, flow, {"input_value": "ab"}))
    assert said == "Node 'p-15': The template comes to more than 100000 characters."
    assert text_of(run(server, key, flow, {"input_value": ""})) == ""


# --- language models ----------------------------------------------------------------------------------------------


def test_a_language_model_is_asked(server, user, key, openai):
    """The model gets prompt, system message and temperature with the flow's credential, and its word is told."""
    text = unique()
    flow = add_flow(server, user, chat(system="Be kind.", temperature=0.5))
    assert text_of(run(server, key, flow, {"input_value": text})) == text
    (asked,) = openai.of(text)
    assert asked.authorization == "Bearer sk-of-the-flow"
    assert asked.body == {
        "model": "says",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}],
        "temperature": 0.5,
        "stream": False,
    }


def test_models_are_asked_one_after_the_other(server, user, key, openai):
    """What one model says goes into the next one's prompt."""
    data = chat()
    data["nodes"] += [
        node("Prompt", template="again: {said}"),
        node("LanguageModel", "second", provider="openai", model="says", api_key="sk-second"),
    ]
    data["edges"][1:] = [
        edge("LanguageModel", "Prompt", "said"),
        edge("Prompt", "second", "prompt"),
        edge("second", "ChatOutput"),
    ]
    text = unique()
    flow = add_flow(server, user, data)
    assert text_of(run(server, key, flow, {"input_value": f"say: {text}"})) == f"again: {text}"
    assert openai.key_for(f"again: {text}") == "sk-second"


def test_a_credential_is_for_the_provider_that_it_was_set_for(server, user, key, openai):
    """A tweak to another provider does not send it the flow's credential: one of its own is asked for."""
    text = unique()
    flow = add_flow(server, user, chat())
    said = detail(run(server, key, flow, {"input_value": text, "tweaks": {"LanguageModel": {"provider": "Anthropic"}}}))
    assert said.startswith("Node 'LanguageModel': Anthropic needs an API key.")
    assert not openai.of(text)


def test_a_credential_may_be_tweaked(server, user, key, openai):
    """A tweak's credential takes the place of the flow's, for one run, and is kept nowhere."""
    text, secret = unique(), unique("sk")
    flow = add_flow(server, user, chat())
    tweaks = {"LanguageModel": {"api_key": secret}}
    assert text_of(run(server, key, flow, {"input_value": text, "tweaks": tweaks})) == text
    assert openai.key_for(text) == secret
    assert openai.key_for(text) not in server.log


@ONE_DATABASE
@pytest.mark.parametrize("model", ["refuses", "fails", "not-json", "no-text", "no-such-model"])
def test_a_provider_that_fails_is_502(server, user, key, model):
    """What goes wrong at the provider is 502; the node is named, and what the provider said is not passed on."""
    flow = add_flow(server, user, chat(model))
    for path in ("run", "process"):
        answer = call(server, "POST", f"/{path}/{flow['id']}", key, json={"input_value": unique()})
        assert detail(answer, 502).startswith("Node 'LanguageModel': OpenAI has ")
        assert "sk-of-the-flow" not in answer.text


def test_a_model_without_a_name(server, user, key):
    """A model's name that is empty, though it is there, is 400 before the provider is asked."""
    flow = add_flow(server, user, chat(""))
    assert detail(run(server, key, flow)) == "Node 'LanguageModel': Its field 'model' is empty."


@pytest.mark.parametrize("path", ["run", "process"])
def test_a_provider_is_left_with_whoever_asked(server, user, key, openai, path):
    """When whoever asked has left, the provider's connection is closed, though it has said nothing yet."""
    text = unique()
    flow = add_flow(server, user, chat("listens-silently"))
    request = server.client().build_request(
        "POST", f"/api/v1/{path}/{flow['id']}", headers=key, json={"inputs": {"text": text}}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"POST {request.url.raw_path.decode()} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        until(lambda: openai.of(text))
        assert not openai.gate(text).is_set()
    assert was_left(openai, text)


# --- the older call -----------------------------------------------------------------------------------------------


def test_the_older_call(server, key, echo):
    """`/process` answers as earlier releases of Langflow did: the text, and that nothing runs in the background."""
    body = {"inputs": {"text": "hi"}, "tweaks": {}, "sync": True, "clear_cache": False, "session_id": "chat-1"}
    answer = call(server, "POST", f"/process/{echo['id']}", key, json=body)
    assert answer.status_code == 200
    assert answer.json() == {
        "result": {"text": "[hi]"},
        "status": "SUCCESS",
        "task": None,
        "session_id": "chat-1",
        "backend": "asyncio",
    }
    assert call(server, "POST", f"/process/{echo['endpoint_name']}", key).json()["result"] == {"text": "[]"}


def test_nothing_runs_in_the_background(server, key, echo):
    """A program that asks to be answered later is told that it will not be."""
    said = detail(call(server, "POST", f"/process/{echo['id']}", key, json={"sync": False}))
    assert said == "Flows do not run in the background here: leave out `sync`, or let it be true."
