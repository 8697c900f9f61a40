"""A flow's graph: what can run, in which order, and what is said of what cannot."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from langflow_server.flows import running
from langflow_server.flows.components import (
    MAX_TEXT_CHARACTERS,
    fill_in,
    names_in,
)
from langflow_server.flows.graph import MAX_NODES, Graph, Variable, check, in_order, tweaked
from langflow_server.flows.shelf import SAMPLE, Flow
from langflow_server.problems import BadRequest
from langflow_server.server import Server
from langflow_server.settings import Settings


def node(kind, node_id=None, **fields):
    return {"id": node_id or kind, "type": kind, "fields": fields}


def edge(source, target, field="text"):
    return {"source": source, "target": target, "field": field}


MODEL = {"provider": "OpenAI", "model": "gpt", "prompt": "Hello"}


def graph(nodes, edges=()):
    return Graph.model_validate({"nodes": nodes, "edges": list(edges)})


def refusal(nodes, edges=()):
    """What is said of a graph that cannot run."""
    with pytest.raises(BadRequest) as caught:
        check(graph(nodes, edges))
    return caught.value.detail


# --- what can run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ([], []),
        ([node("ChatOutput", text="")], []),
        ([node("ChatOutput", text={"variable": "GREETING"})], []),
        ([node("ChatInput"), node("ChatOutput")], [edge("ChatInput", "ChatOutput")]),
        ([node("Text"), node("ChatOutput")], [edge("Text", "ChatOutput")]),
        ([node("Text", text=""), node("Prompt", template=""), node("ChatOutput", text="")], []),
        ([node("Prompt", template="{{}}"), node("ChatOutput")], [edge("Prompt", "ChatOutput")]),
        ([node("Prompt", template="{a}{a}", a="1"), node("ChatOutput")], [edge("Prompt", "ChatOutput")]),
        ([node("LanguageModel", **MODEL), node("ChatOutput")], [edge("LanguageModel", "ChatOutput")]),
        (
            [
                node("LanguageModel", **MODEL, system="Be kind.", temperature=1, api_key={"variable": "KEY"}),
                node("ChatOutput", "a"),
                node("ChatOutput", "b"),
            ],
            [edge("LanguageModel", "a"), edge("a", "b")],
        ),
        # What an edge brings counts, and what was set before it was drawn stays.
        ([node("ChatInput"), node("ChatOutput", text="unused")], [edge("ChatInput", "ChatOutput")]),
    ],
)
def test_it_can_run(nodes, edges):
    """A graph can run whose needed fields have a value each, of their own or by an edge."""
    check(graph(nodes, edges))


def test_the_sample_can_run():
    """The sample flow is one that can run, and asks no language model."""
    check(SAMPLE)
    assert [each.type for each in in_order(SAMPLE)] == ["ChatInput", "Prompt", "ChatOutput"]


def test_what_an_editor_notes_is_left_out():
    """Members that Langflow's editor writes, such as positions and the viewport, are no error and are not kept."""
    written = {
        "nodes": [{**node("ChatOutput", text="hi"), "position": {"x": 1, "y": 2}}],
        "edges": [],
        "viewport": {"zoom": 1},
    }
    assert Graph.model_validate(written).model_dump() == {"nodes": [node("ChatOutput", text="hi")], "edges": []}


# --- what cannot, and what is said of it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "edges", "said"),
    [
        (
            [node("Agent", "a-1")],
            [],
            "Node 'a-1': 'Agent' is none of the components: ChatInput, Text, Prompt, LanguageModel, ChatOutput.",
        ),
        ([node("Text", "t-1", tex="")], [], "Node 't-1': it has no field 'tex'; it has text."),
        ([node("ChatOutput", "o", text=""), node("Text", "o")], [], "Two nodes have the id 'o'."),
        (
            [node("ChatOutput", "o")],
            [],
            "Node 'o': its field 'text' is missing; give it a value, or lead an edge to it.",
        ),
        (
            [node("Prompt", "p", template="{who}"), node("ChatOutput")],
            [edge("p", "ChatOutput")],
            "Node 'p': its field 'who' is missing; give it a value, or lead an edge to it.",
        ),
        ([node("Prompt", "p")], [], "Node 'p': its field 'template' is missing; give it a value."),
        (
            [node("LanguageModel", "m", provider="OpenAI", model="gpt")],
            [],
            "Node 'm': its field 'prompt' is missing; give it a value, or lead an edge to it.",
        ),
        (
            [node("ChatOutput", "o")],
            [edge("nowhere", "o")],
            "An edge leads from a node 'nowhere', which the flow does not have.",
        ),
        (
            [node("Text", "t")],
            [edge("t", "nowhere")],
            "An edge leads to a node 'nowhere', which the flow does not have.",
        ),
        (
            [node("Text", "t"), node("ChatOutput", "o")],
            [edge("t", "o", "texts")],
            "Node 'o': it has no field 'texts'; it has text.",
        ),
        (
            [node("Text", "t"), node("ChatOutput", "o")],
            [edge("t", "o"), edge("t", "o")],
            "Node 'o': two edges lead to its field 'text'.",
        ),
        (
            [node("Text", "t"), node("Prompt", "p", template="")],
            [edge("t", "p", "template")],
            "Node 'p': no edge can lead to its field 'template'.",
        ),
        (
            [node("Text", "t"), node("LanguageModel", "m", **MODEL)],
            [edge("t", "m", "api_key")],
            "Node 'm': no edge can lead to its field 'api_key'.",
        ),
        (
            [node("Text", "a"), node("Text", "b"), node("ChatOutput", text="")],
            [edge("a", "b"), edge("b", "a")],
            "The edges lead in a circle: 'a' → 'b' → 'a'.",
        ),
        ([node("ChatOutput", "o")], [edge("o", "o")], "The edges lead in a circle: 'o' → 'o'."),
        ([node("Text", text="hi")], [], "A flow needs a ChatOutput: without one it has no answer."),
        (
            [node("LanguageModel", "m", **{**MODEL, "provider": "Nobody"})],
            [],
            "Node 'm': There is no provider 'Nobody'. Known are: OpenAI, Anthropic, Google, Mistral, Groq.",
        ),
        ([node("Text", "t", text=1)], [], "Node 't': its field 'text' holds a text, a Generic variable, or what an "),
        ([node("LanguageModel", "m", **MODEL, temperature="hot")], [], "Node 'm': its field 'temperature' holds a n"),
        ([node("LanguageModel", "m", **MODEL, api_key=1)], [], "Node 'm': its field 'api_key' holds a text that is "),
        ([node("Prompt", "p", template={"variable": "T"})], [], "Node 'p': its field 'template' holds a text, and it"),
        ([node("Prompt", "p", template="{")], [], "Node 'p': The template has a single '{' at character 1: write {{"),
        ([node("Prompt", "p", template="{template}")], [], "Node 'p': A template cannot have itself as a value: {te"),
    ],
)
def test_it_cannot_run(nodes, edges, said):
    """A graph that cannot run is refused by a sentence that names the node and what is the matter with it."""
    assert refusal(nodes, edges).startswith(said)


@pytest.mark.parametrize(
    "written",
    [
        {"nodes": {}},
        {"nodes": [{"type": "Text"}]},
        {"nodes": [{"id": "", "type": "Text"}]},
        {"nodes": [{"id": "a/b", "type": "Text"}]},
        {"nodes": [{"id": "a\n", "type": "Text"}]},
        {"nodes": [{"id": "a" * 101, "type": "Text"}]},
        {"nodes": [{"id": "a", "type": "T" * 101}]},
        {"nodes": [node("Text", text=None)]},
        {"nodes": [node("Text", text=True)]},
        {"nodes": [node("Text", text=["a"])]},
        {"nodes": [node("Text", text={"variable": ""})]},
        {"nodes": [node("Text", text={"variable": "A", "more": 1})]},
        {"nodes": [node("LanguageModel", **MODEL, api_key={"sealed": "flows/another/one"})]},
        {"nodes": [node("LanguageModel", **MODEL, temperature=float("inf"))]},
        {"nodes": [node("Text", text="a" * (MAX_TEXT_CHARACTERS + 1))]},
        {"nodes": [node("Text", text="\0")]},
        {"nodes": [node("Text", text="\ud800")]},
        {"nodes": [node("Text", f"t-{number}") for number in range(MAX_NODES + 1)]},
        {"edges": [{"source": "a", "target": "b"}]},
        {"edges": [edge("a", "b")] * 501},
    ],
)
def test_it_is_no_graph(written):
    """What is not of a graph's form, or too large, or no text that can be kept and shown, is refused as such."""
    with pytest.raises(ValidationError):
        Graph.model_validate(written)


# --- the order ------------------------------------------------------------------------------------------------------


def test_what_no_answer_needs_is_not_run():
    """A node that leads to no ChatOutput is left out: its provider is not asked in vain."""
    nodes = [node("LanguageModel", **MODEL), node("Text"), node("ChatOutput", "o"), node("Text", "t")]
    edges = [edge("Text", "o"), edge("t", "LanguageModel", "system")]
    assert [each.id for each in in_order(graph(nodes, edges))] == ["Text", "o"]


IDS = ("a", "b", "c", "d", "e")
FITTING = {
    "ChatInput": {},
    "Text": {"text": "text"},
    "Prompt": {"template": "{a} {b}", "a": "A", "b": "B"},
    "LanguageModel": {**MODEL, "temperature": 1.0},
    "ChatOutput": {"text": "text"},
}
CONNECTS = {"ChatInput": "input_value", "Text": "text", "Prompt": "a", "LanguageModel": "prompt", "ChatOutput": "text"}
values = st.sampled_from(["", "text", "{a} {b}", "{", 1.0, {"variable": "NAME"}])
fields = st.sampled_from(["input_value", "text", "template", "a", "b", "provider", "model", "prompt", "api_key", "x"])
faults = st.sampled_from(["none", "none", "field", "missing", "component", "twice", "nowhere", "edge", "back"])


@st.composite
def graphs(draw, components=tuple(FITTING)):
    """Graphs of a few nodes; about half of them can run."""
    kinds = ["ChatOutput", *draw(st.lists(st.sampled_from(components), max_size=len(IDS) - 1))]
    nodes = [
        node(kind, node_id, **FITTING[kind]) for kind, node_id in zip(draw(st.permutations(kinds)), IDS, strict=False)
    ]
    edges = []
    for index, target in enumerate(nodes):
        if index and draw(st.booleans()):
            source = nodes[draw(st.integers(0, index - 1))]
            edges.append(edge(source["id"], target["id"], CONNECTS[target["type"]]))
    spoiled = draw(st.sampled_from(nodes))
    match draw(faults):
        case "field":
            spoiled["fields"][draw(fields)] = draw(values)
        case "missing":
            spoiled["fields"] = {}
        case "component":
            spoiled["type"] = "Agent"
        case "twice":
            nodes.append(node("Text", spoiled["id"]))
        case "nowhere":
            edges.append(edge(spoiled["id"], "nowhere"))
        case "back":
            edges.append(edge(nodes[-1]["id"], nodes[0]["id"], CONNECTS[nodes[0]["type"]]))
        case "edge":
            edges.append(edge("a", spoiled["id"], draw(fields)))
    return graph(nodes, edges)


@given(graphs())
def test_any_graph_has_an_order_or_is_refused(drawn):
    """A graph that is not refused has an order: each node once, behind all that leads to it, up to every output."""
    try:
        check(drawn)
    except BadRequest:
        return
    order = [each.id for each in in_order(drawn)]
    assert len(order) == len(set(order))
    assert {each.id for each in drawn.nodes if each.type == "ChatOutput"} <= set(order)
    for each in drawn.edges:
        if each.target in order:
            assert order.index(each.source) < order.index(each.target)


@given(graphs(), st.dictionaries(st.sampled_from([*IDS, "nowhere"]), st.dictionaries(fields, values, max_size=2)))
def test_any_tweaks_fit_or_are_refused(drawn, tweaks):
    """A graph that can run still can with tweaks, and has their values; or they are refused."""
    try:
        check(drawn)
        changed = tweaked(drawn, tweaks)
    except BadRequest:
        return
    check(changed)
    written = {each.id: each.fields for each in changed.nodes}
    for node_id, own in tweaks.items():
        for name, value in own.items():
            assert written[node_id][name] == value
            assert not [each for each in changed.edges if (each.target, each.field) == (node_id, name)]
    assert [each.id for each in changed.nodes] == [each.id for each in drawn.nodes]


@pytest.fixture(scope="module")
def unopened(tmp_path_factory):
    """A server that has nothing open: a flow without variables and language models needs nothing."""
    return Server(Settings(config_dir=tmp_path_factory.mktemp("server")))


@given(
    graphs(components=("ChatInput", "Text", "Prompt", "ChatOutput")),
    st.none() | st.text(alphabet="{}ab", max_size=4),
    st.dictionaries(st.sampled_from(IDS), st.dictionaries(fields, st.text(max_size=4), max_size=2), max_size=1),
)
def test_any_flow_runs_or_is_refused(unopened, drawn, text, tweaks):
    """A flow runs, or is refused by a sentence; told bit by bit, its answer comes to the same."""
    assume(not any(isinstance(value, Variable) for each in drawn.nodes for value in each.fields.values()))
    now = datetime.now(UTC)
    flow = Flow(
        id="a-flow",
        user_id="somebody",
        name="drawn",
        description="",
        endpoint_name=None,
        is_public=False,
        graph=drawn,
        stored=drawn.model_dump(),
        created_at=now,
        updated_at=now,
    )

    async def both():
        result = await running.run(unopened, flow, text=text, tweaks=tweaks, session_id="s")
        return result, [each async for each in running.stream(unopened, flow, text=text, tweaks=tweaks, session_id="s")]

    try:
        result, (*tokens, end) = asyncio.run(both())
    except BadRequest:
        return
    assert end.result == result
    assert [each.node_id for each in result.outputs] == [each.id for each in drawn.nodes if each.type == "ChatOutput"]
    for output in result.outputs:
        assert output.text == "".join(token.text for token in tokens if token.node_id == output.node_id)


@given(graphs())
def test_a_graph_is_written_as_it_is_read(drawn):
    """What is written of a graph, read again, is the same graph."""
    assert Graph.model_validate(json.loads(drawn.model_dump_json())) == drawn


# --- tweaks ---------------------------------------------------------------------------------------------------------


def test_a_tweak_takes_the_place_of_an_edge():
    """A field that is tweaked no longer gets what an edge would bring, and what only led there is not run."""
    tried = tweaked(SAMPLE, {"Prompt-1": {"message": "direct"}})
    assert [each.id for each in in_order(tried)] == ["Prompt-1", "ChatOutput-1"]


@pytest.mark.parametrize(
    ("tweaks", "said"),
    [
        ({"Prompt-2": {}}, "The tweaks name a node 'Prompt-2', which the flow does not have."),
        ({"Prompt-1": {"templates": "a"}}, "Node 'Prompt-1': it has no field 'templates'; it has template, message."),
        ({"Prompt-1": {"template": "{other}"}}, "Node 'Prompt-1': it has no field 'message'; it has template, other."),
        ({"Prompt-1": {"template": 1.0}}, "Node 'Prompt-1': its field 'template' holds a text, and it stands in the"),
    ],
)
def test_a_tweak_does_not_fit(tweaks, said):
    """Tweaks for a node or a field that is not there, or with which the flow could not run, are refused."""
    with pytest.raises(BadRequest) as caught:
        tweaked(SAMPLE, tweaks)
    assert caught.value.detail.startswith(said)


# --- templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("", ""),
        ("no names", "no names"),
        ("{a}", "A"),
        ("{a}{b}{a}", "ABA"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{A}"),
        ("}}{{", "}{"),
        ('{{"key": "{a}"}}', '{"key": "A"}'),
        ("ä{a}\n{b}€", "äA\nB€"),
    ],
)
def test_a_template_is_filled_in(template, filled):
    """Each name is replaced by its value, and doubled braces by one."""
    assert fill_in(template, {"a": "A", "b": "B"}) == filled


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{ a }", "{a!r}", "{a:>9}", "{a.__class__}", "{a[0]}", "{0}", "{a", "a}", "{a}}", "{é}", "{a b}"],
)
def test_it_is_no_template(template):
    """Formats, attributes, indices and single braces are refused, with what to write instead."""
    with pytest.raises(BadRequest, match=r"write .. for a brace, or \{name\}"):
        names_in(template)


@given(st.text(alphabet="{}ab", max_size=12), st.text(alphabet="{}ab", max_size=6))
def test_values_are_not_looked_at(template, value):
    """What stands in a value stays as it is, whatever it looks like."""
    try:
        names = names_in(template)
    except BadRequest:
        return
    filled = fill_in(template, dict.fromkeys(names, value))
    assert filled == fill_in(template, dict.fromkeys(names, "\0")).replace("\0", value)


def test_a_template_does_not_grow_without_end():
    """A template that would come to more than a flow's longest text is refused before it is put together."""
    longest = "x" * MAX_TEXT_CHARACTERS
    assert fill_in("{a}", {"a": longest}) == longest
    with pytest.raises(BadRequest, match="more than 100000 characters"):
        fill_in("{a}{a}", {"a": longest})
