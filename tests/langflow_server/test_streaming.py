"""A flow's answer as it comes: server-sent events, lines as Langflow's, and WebSockets; and how each of them ends."""

import asyncio
import json
from contextlib import contextmanager

import pytest
from langflow_accounts import add_key, add_user, by_key, call
from langflow_flows import add_flow, chat, edge, events_in, node, template, told_in, unique, until, was_left
from langflow_serving import PATIENCE
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from langflow_server.limits import MAX_BODY_BYTES

LINES = {"accept": "application/json"}


@contextmanager
def streaming(server, key, flow, text="hi", **headers):
    """The answer to a run whose events are told as they come."""
    with (
        server.client() as client,
        client.stream(
            "POST",
            f"/api/v1/run/{flow['id']}?stream=true",
            headers={**key, **headers},
            json={"input_value": text},
        ) as answer,
    ):
        yield answer


def events_of(answer):
    return events_in(answer.iter_lines())


def refused(server, key, flow, text="hi"):
    """The answer to a run that ends before an event has come."""
    return call(server, "POST", f"/run/{flow['id']}?stream=true", key, json={"input_value": text})


def revoke(server, user, key):
    answer = call(server, "DELETE", f"/api_key/{key['id']}", user.session)
    assert answer.status_code == 200


# --- what is told -------------------------------------------------------------------------------------------------


def test_an_answer_comes_as_events(server, key, echo):
    """A stream is server-sent events that nobody on the way keeps or holds back: tokens, and the whole in the end."""
    with streaming(server, key, echo, "hi") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        (name, token), (last, end) = events_of(answer)
    assert (name, token["chunk"], token["component_id"]) == ("token", "[hi]", "ChatOutput")
    assert last == "end"
    plain = call(server, "POST", f"/run/{echo['id']}", key, json={"input_value": "hi"}).json()
    assert told_in(end["result"]) == told_in(plain) == "[hi]"
    assert end["result"].keys() == plain.keys()


def test_a_stream_is_not_asked_for_by_accident(server, key, echo):
    """Without `stream=true` the answer is one document, whatever is accepted."""
    for query in ("", "?stream=false"):
        answer = call(server, "POST", f"/run/{echo['id']}{query}", {**key, "accept": "text/event-stream"})
        assert answer.headers["content-type"] == "application/json"


def test_tokens_come_while_the_model_speaks(server, user, key, openai):
    """Each token is there as soon as the model has said it, while it still thinks of the next."""
    text = f"say: {unique()} two three"
    flow = add_flow(server, user, chat("streams"))
    with streaming(server, key, flow, text) as answer:
        events = events_of(answer)
        name, first = next(events)
        assert (name, first["chunk"]) == ("token", text.split()[1])
        assert not openai.gate(text).is_set()
        openai.go_on(text)
        *rest, (last, end) = events
    assert [each["chunk"] for _, each in rest] == [" two", " three"]
    assert {each["id"] for _, each in rest} == {first["id"]}
    assert last == "end"
    assert told_in(end["result"]) == text.removeprefix("say: ")
    assert openai.of(text)[0].body["stream"] is True


def test_only_what_is_answered_is_told(server, user, key):
    """What a model says to another node is no token; each output has its tokens, which come to its text."""
    data = {
        "nodes": [
            node("ChatInput"),
            node("LanguageModel", provider="OpenAI", model="says", api_key="sk"),
            node("Prompt", template="<{said}>"),
            node("ChatOutput", "quoted"),
            node("ChatOutput", "plain"),
            node("ChatOutput", "same"),
            node("ChatOutput", "set", text="constant"),
        ],
        "edges": [
            edge("ChatInput", "LanguageModel", "prompt"),
            edge("LanguageModel", "Prompt", "said"),
            edge("Prompt", "quoted"),
            edge("LanguageModel", "plain"),
            edge("plain", "same"),
        ],
    }
    with streaming(server, key, add_flow(server, user, data), "say: one two") as answer:
        *tokens, (_, end) = events_of(answer)
    told = {}
    for _, token in tokens:
        told.setdefault(token["component_id"], []).append(token["chunk"])
    assert told == {
        "quoted": ["<one two>"],
        "plain": ["one", " two"],
        "same": ["one two"],
        "set": ["constant"],
    }
    outputs = end["result"]["outputs"][0]["outputs"]
    assert {each["component_id"]: each["results"]["message"]["text"] for each in outputs} == {
        node_id: "".join(chunks) for node_id, chunks in told.items()
    }


def test_clients_of_langflow_get_lines(server, user, key):
    """Who accepts JSON and no event streams gets what Langflow sends: a line of JSON for each event."""
    flow = add_flow(server, user, chat())
    with streaming(server, key, flow, "say: one two", **LINES) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        told = [json.loads(line) for line in answer.iter_lines() if line]
    assert [each["event"] for each in told] == ["token", "token", "end"]
    assert [each["data"]["chunk"] for each in told[:2]] == ["one", " two"]
    assert told_in(told[2]["data"]["result"]) == "one two"
    with streaming(server, key, flow, accept="text/event-stream, application/json") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")


def test_line_breaks_do_not_break_events(server, key, echo):
    """A text with line breaks of any kind, and what looks like an event, is one token."""
    text = "a\nb\r\nevent: end\ndata: {}\n\n\u2028\x85ä"
    with streaming(server, key, echo, text) as answer:
        told = list(events_of(answer))
    assert [name for name, _ in told] == ["token", "end"]
    assert told[0][1]["chunk"] == f"[{text}]"


# --- how it ends --------------------------------------------------------------------------------------------------


def test_what_goes_wrong_at_once_has_its_status(server, user, key, echo):
    """Before the first event, a stream's answer is an error like any other, with its status and `detail`."""
    flow = add_flow(server, user, chat("refuses"))
    for answer, status in [
        (refused(server, key, flow), 502),
        (refused(server, key, add_flow(server, user)), 400),
        (refused(server, key, {"id": "no-such-name"}), 404),
        (refused(server, {}, echo), 403),
        (refused(server, user.session, echo), 403),
        (refused(server, key, echo, 5), 422),
    ]:
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["detail"]


@pytest.mark.parametrize("model", ["stops", "breaks", "error-inside"])
def test_what_goes_wrong_later_is_an_event(server, user, key, model):
    """After the first token, what goes wrong is an event `error`, the last one, which does not quote the provider."""
    with streaming(server, key, add_flow(server, user, chat(model))) as answer:
        *tokens, (last, error) = events_of(answer)
    assert tokens
    assert last == "error"
    assert error["error"].startswith("Node 'LanguageModel': OpenAI ")
    assert "sk-of-the-flow" not in str(error)


def test_an_answer_without_end_is_ended(server, user, key):
    """A model that does not stop is cut off, and the caller told so."""
    with streaming(server, key, add_flow(server, user, chat("endless-stream"))) as answer:
        *_, (last, error) = events_of(answer)
    assert last == "error"
    assert error["error"].startswith("Node 'LanguageModel': ")


def test_the_provider_is_left_with_the_listener(server, user, key, openai):
    """When whoever listens has left, the provider's connection is closed, in the middle of its answer or before."""
    flow, text = add_flow(server, user, chat("listens")), unique()
    with streaming(server, key, flow, text) as answer:
        events = events_of(answer)  # A name of its own: without one it would be gone, and the answer be left with it.
        assert next(events)[1]["chunk"] == "half"
        assert not openai.gate(text).is_set()
    assert was_left(openai, text)


def test_a_stream_ends_with_its_key(server, user, openai):
    """A key that is revoked while its stream goes on ends it by an event `error`, and the provider's with it."""
    mine = add_key(server, user)
    flow, text = add_flow(server, user, chat("listens")), unique()
    with streaming(server, by_key(mine), flow, text) as answer:
        events = events_of(answer)
        assert next(events)[0] == "token"
        revoke(server, user, mine)
        assert list(events) == [("error", {"error": "The key is no longer good."})]
    assert was_left(openai, text)


async def test_a_key_is_lost_before_the_first_word(server, user, openai):
    """A key that is revoked while the model has said nothing yet is refused, as if it had been revoked before."""
    mine = add_key(server, user)
    flow, text = add_flow(server, user, chat("listens-silently")), unique()
    asking = asyncio.create_task(asyncio.to_thread(refused, server, by_key(mine), flow, text))
    await asyncio.to_thread(until, lambda: openai.of(text))
    revoke(server, user, mine)
    answer = await asking
    assert (answer.status_code, answer.json()) == (403, {"detail": "The key is no longer good."})
    assert await asyncio.to_thread(was_left, openai, text)


def test_a_stream_goes_on_without_another_key(server, user, openai):
    """Revoking another key of the same user leaves a stream alone."""
    mine, another = add_key(server, user), add_key(server, user)
    text = f"say: {unique()} two"
    flow = add_flow(server, user, chat("streams"))
    with streaming(server, by_key(mine), flow, text) as answer:
        events = events_of(answer)
        next(events)
        revoke(server, user, another)
        openai.go_on(text)
        assert [name for name, _ in events] == ["token", "end"]


# --- WebSockets ---------------------------------------------------------------------------------------------------


@contextmanager
def talking(server, key, flow, query=""):
    """A WebSocket to a flow."""
    url = f"{server.url.replace('http', 'ws')}/api/v1/run/{flow['id']}{query}"
    with connect(url, additional_headers=key, open_timeout=PATIENCE, close_timeout=PATIENCE, proxy=None) as socket:
        yield socket


def say(socket, **body):
    socket.send(json.dumps(body))


def hear(socket):
    """The next event, as name and data."""
    told = json.loads(socket.recv(timeout=PATIENCE))
    assert told.keys() == {"event", "data"}
    return told["event"], told["data"]


def test_each_message_is_answered(server, key, echo):
    """Each message runs the flow anew; its events come in order, one message's after the other's."""
    with talking(server, key, echo) as socket:
        for text in ("one", "two"):
            say(socket, input_value=text, session_id="chat-1")
        for text in ("one", "two"):
            assert hear(socket)[1]["chunk"] == f"[{text}]"
            name, end = hear(socket)
            assert name == "end"
            assert end["result"]["session_id"] == "chat-1"
            assert told_in(end["result"]) == f"[{text}]"


def test_more_messages_than_are_kept(server, key, echo):
    """However many messages are sent at once, each is answered."""
    with talking(server, key, echo) as socket:
        for number in range(30):
            say(socket, input_value=str(number))
        told = [hear(socket) for _ in range(60)]
    assert [data["chunk"] for name, data in told if name == "token"] == [f"[{number}]" for number in range(30)]


def test_a_socket_may_bring_its_key_in_the_query(server, key, echo):
    """A browser's WebSocket has no headers of its own: the key may stand in the query."""
    with talking(server, {}, echo, f"?x-api-key={key['x-api-key']}") as socket:
        say(socket, input_value="hi")
        assert hear(socket)[1]["chunk"] == "[hi]"


def test_a_message_that_is_none_is_an_error(server, user, key, echo):
    """What is no body, or asks for what cannot be, is an event `error` that says why; the next message is answered."""
    large = json.dumps({"input_value": "hi", "more": "a" * MAX_BODY_BYTES})
    with talking(server, key, echo) as socket:
        for message, said in [
            ("{", "The message: Invalid JSON"),
            ("[]", "The message: Input should be an object"),
            ("[" * 100_000, "The message: Invalid JSON"),
            ("null", "The message: "),
            ('{"input_value": "\\ud800"}', "The message: Invalid JSON"),
            ('{"input_value": 5}', "input_value: Input should be a valid string"),
            ('{"tweaks": {"Prompt": {"text": null}}}', "tweaks.Prompt.text."),
            ('{"tweaks": {"Prompt-9": {}}}', "The tweaks name a node 'Prompt-9'"),
            (b"bytes", "Send text, not bytes."),
            (large, "This is too large: 1048576 characters are the most."),
        ]:
            socket.send(message)
            name, error = hear(socket)
            assert name == "error"
            assert error["error"].startswith(said), error
        say(socket, input_value="hi")
        assert [hear(socket)[0], hear(socket)[0]] == ["token", "end"]


def test_a_socket_to_nothing_is_not_opened(server, user, key, echo):
    """No key, a session, a bad key and a flow that is not there, or another's, are refused at the handshake."""
    other = by_key(add_key(server, add_user(server)))
    for headers, flow, status in [
        ({}, echo, 403),
        (user.session, echo, 403),
        ({"x-api-key": "lf_bad"}, echo, 403),
        (key, {"id": "no-such-name"}, 404),
        (other, echo, 404),
    ]:
        with pytest.raises(InvalidStatus) as caught, talking(server, headers, flow):
            pass
        assert caught.value.response.status_code == status
        assert json.loads(caught.value.response.body)["detail"]


def test_a_flow_that_is_gone_is_an_error(server, user, key):
    """A socket whose flow was removed says so, and stays."""
    flow = add_flow(server, user, template("x"))
    with talking(server, key, flow) as socket:
        assert call(server, "DELETE", f"/flows/{flow['id']}", user.session).status_code == 200
        say(socket)
        assert hear(socket) == ("error", {"error": "There is no such flow."})


def test_a_socket_ends_with_its_key(server, user, echo):
    """A socket whose key was revoked is closed with 1008 at the next message, which is not answered."""
    mine = add_key(server, user)
    with talking(server, by_key(mine), echo) as socket:
        say(socket)
        assert [hear(socket)[0], hear(socket)[0]] == ["token", "end"]
        revoke(server, user, mine)
        say(socket)
        with pytest.raises(ConnectionClosed) as caught:
            hear(socket)
    assert caught.value.rcvd.code == 1008


def test_the_provider_is_left_with_the_socket(server, user, key, openai):
    """When a socket is closed while a model speaks, the provider's connection is closed, whatever else was sent."""
    flow, text = add_flow(server, user, chat("listens")), unique()
    with talking(server, key, flow) as socket:
        say(socket, input_value=text)
        assert hear(socket)[1]["chunk"] == "half"
        behind = unique()
        say(socket, input_value=behind)
        assert not openai.gate(text).is_set()
    assert was_left(openai, text)
    assert not openai.of(behind)


def test_a_socket_is_left_before_the_first_word(server, user, key, openai):
    """A socket that is closed before the model has said anything ends the conversation with it, too."""
    flow, text = add_flow(server, user, chat("listens-silently")), unique()
    with talking(server, key, flow) as socket:
        say(socket, input_value=text)
        until(lambda: openai.of(text))
    assert was_left(openai, text)
