"""Flows for the tests of the Langflow-style server, and what is read from their answers."""

import json
import secrets
import time

from langflow_accounts import call
from langflow_serving import PATIENCE


def unique(what="text"):
    """A text that no other test has."""
    return f"{what}-{secrets.token_hex(6)}"


def until(happened):
    """Wait until something that gives no sign has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def was_left(provider, text):
    """Tell whether a provider was left that `listens`, before the server has given it up of its own."""
    return provider.gate(text).wait(PATIENCE / 2)


def node(kind, node_id=None, **fields):
    return {"id": node_id or kind, "type": kind, "fields": fields}


def edge(source, target, field="text"):
    return {"source": source, "target": target, "field": field}


def template(text, **fields):
    """A graph that fills the text that it is run with into a template, as `text`."""
    return {
        "nodes": [node("ChatInput"), node("Prompt", template=text, **fields), node("ChatOutput")],
        "edges": [edge("ChatInput", "Prompt"), edge("Prompt", "ChatOutput")]
        if "{text}" in text
        else [edge("Prompt", "ChatOutput")],
    }


def chat(model="says", **fields):
    """A graph that gives the text to a language model, and answers what that says."""
    fields = {"provider": "OpenAI", "model": model, "api_key": "sk-of-the-flow", **fields}
    return {
        "nodes": [node("ChatInput"), node("LanguageModel", **fields), node("ChatOutput")],
        "edges": [edge("ChatInput", "LanguageModel", "prompt"), edge("LanguageModel", "ChatOutput")],
    }


def add_flow(server, user, data=None, **members):
    """Add a flow of a user's; return what the server says of it."""
    body = {"name": unique("flow"), "data": data, **members}
    answer = call(server, "POST", "/flows/", user.session, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def text_of(answer):
    """The text of a flow's first output, where Langflow's clients look for it."""
    assert answer.status_code == 200, answer.text
    return told_in(answer.json())


def told_in(result):
    """The text of a result's first output."""
    return result["outputs"][0]["outputs"][0]["results"]["message"]["text"]


def events_in(lines):
    """Yield the events of a stream of server-sent events, as soon as each has come, as name and data."""
    name, data = None, []
    for line in lines:
        field, _, value = line.partition(": ")
        match field:
            case "":
                yield name, json.loads("\n".join(data))
                name, data = None, []
            case "event":
                name = value
            case "data":
                data.append(value)
            case _:
                raise AssertionError(f"no server-sent event has a line like {line!r}")
