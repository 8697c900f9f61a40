"""A flow's graph: nodes with fields, edges between them; whether it can run, and in which order.

::

    {
        "nodes": [
            {"id": "ChatInput-1", "type": "ChatInput", "fields": {}},
            {"id": "Prompt-1", "type": "Prompt", "fields": {"template": "Say hello to {name}."}},
            {"id": "ChatOutput-1", "type": "ChatOutput", "fields": {}}
        ],
        "edges": [
            {"source": "ChatInput-1", "target": "Prompt-1", "field": "name"},
            {"source": "Prompt-1", "target": "ChatOutput-1", "field": "text"}
        ]
    }

The models say what a graph looks like. `check` says whether it can run, in sentences that name the node.
"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

import pydantic
from pydantic import BaseModel, ConfigDict, StringConstraints

from langflow_server.flows.components import MAX_TEXT_CHARACTERS, Component, Field, Holds, component_of, fields_of
from langflow_server.flows.providers import provider_named
from langflow_server.limits import at_most
from langflow_server.problems import BadRequest
from langflow_server.texts import is_sendable

__all__ = [
    "MAX_NODES",
    "Edge",
    "Fields",
    "Graph",
    "Node",
    "Tweaks",
    "Value",
    "Variable",
    "check",
    "in_order",
    "tweaked",
]

MAX_NODES = 100
MAX_EDGES = 500
MAX_FIELDS = 100
"""Of a node: a template with more names than that is none."""

NodeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_ .:-]{1,100}$")]
"""As Langflow's: ``ChatInput-iQ1bC``."""
Name = Annotated[str, StringConstraints(max_length=100), is_sendable]


class Variable(BaseModel):
    """A global variable, in a value's place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variable: Annotated[str, StringConstraints(min_length=1, max_length=255), is_sendable]


Value = (
    Annotated[str, StringConstraints(strict=True, max_length=MAX_TEXT_CHARACTERS), is_sendable]
    | Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False)]
    | Variable
)
"""A text, a number, or ``{"variable": "NAME"}``."""


Fields = Annotated[dict[Name, Value], at_most(MAX_FIELDS)]
"""Values by the names of a node's fields."""


class Node(BaseModel):
    """A component with its fields. What else an editor notes at a node is left out."""

    model_config = ConfigDict(frozen=True)

    id: NodeId
    type: Name
    fields: Fields = {}


class Edge(BaseModel):
    """The text of `source` goes into `field` of `target`."""

    model_config = ConfigDict(frozen=True)

    source: NodeId
    target: NodeId
    field: Name


class Graph(BaseModel):
    """Nodes and edges. One without nodes is a flow that is still to be made: it can be kept, and cannot run."""

    model_config = ConfigDict(frozen=True)

    nodes: Annotated[list[Node], pydantic.Field(max_length=MAX_NODES)] = []
    edges: Annotated[list[Edge], pydantic.Field(max_length=MAX_EDGES)] = []


Tweaks = Mapping[str, Mapping[str, Value]]
"""Values that take the place of a flow's, for one run: by the node's id and the field's name."""


def check(graph: Graph) -> None:
    """Raise `BadRequest`, which names the node, if a graph with nodes cannot run."""
    fields: dict[str, Mapping[str, Field]] = {}
    for node in graph.nodes:
        if node.id in fields:
            raise BadRequest(f"Two nodes have the id {node.id!r}.")
        fields[node.id] = _checked_fields(node)
    fed: set[tuple[str, str]] = set()
    for edge in graph.edges:
        _check_edge(edge, fields)
        if (edge.target, edge.field) in fed:
            raise BadRequest(f"Node {edge.target!r}: two edges lead to its field {edge.field!r}.")
        fed.add((edge.target, edge.field))
    for node in graph.nodes:
        for name, field in fields[node.id].items():
            if field.is_needed and name not in node.fields and (node.id, name) not in fed:
                way = "give it a value, or lead an edge to it" if field.holds is Holds.TEXT else "give it a value"
                raise BadRequest(f"Node {node.id!r}: its field {name!r} is missing; {way}.")
    try:
        TopologicalSorter(_sources(graph)).prepare()
    except CycleError as problem:
        circle = " → ".join(repr(node_id) for node_id in problem.args[1])
        raise BadRequest(f"The edges lead in a circle: {circle}.") from None
    if graph.nodes and not _outputs(graph):
        raise BadRequest("A flow needs a ChatOutput: without one it has no answer.")


def in_order(graph: Graph) -> list[Node]:
    """Return the nodes that some ChatOutput needs, each after those that it needs itself. The graph has been checked.

    What is needed by nothing is left out: no provider is asked in vain.
    """
    sources = _sources(graph)
    needed: set[str] = set()
    waiting = _outputs(graph)
    while waiting:
        node_id = waiting.pop()
        if node_id not in needed:
            needed.add(node_id)
            waiting += sources[node_id]
    nodes = {node.id: node for node in graph.nodes}
    return [nodes[node_id] for node_id in TopologicalSorter(sources).static_order() if node_id in needed]


def tweaked(graph: Graph, tweaks: Tweaks) -> Graph:
    """Return the graph with other values in its fields, which also take the place of what an edge would bring.

    Raises `BadRequest` for a node that it does not have, and what `check` raises: for an unknown field, say.
    """
    known = {node.id for node in graph.nodes}
    for node_id in tweaks:
        if node_id not in known:
            raise BadRequest(f"The tweaks name a node {node_id!r}, which the flow does not have.")
    nodes = [node.model_copy(update={"fields": {**node.fields, **tweaks.get(node.id, {})}}) for node in graph.nodes]
    edges = [edge for edge in graph.edges if edge.field not in tweaks.get(edge.target, {})]
    changed = Graph(nodes=nodes, edges=edges)
    check(changed)
    return changed


def _sources(graph: Graph) -> dict[str, list[str]]:
    """Return by each node's id the ids of those whose text it needs."""
    sources: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        sources[edge.target].append(edge.source)
    return sources


def _outputs(graph: Graph) -> list[str]:
    return [node.id for node in graph.nodes if node.type == Component.CHAT_OUTPUT]


def _checked_fields(node: Node) -> Mapping[str, Field]:
    """Return the fields that a node may have. Raises `BadRequest` if it has others, or they hold what they cannot."""
    try:
        fields = fields_of(component_of(node.type), node.fields.get("template"))
        for name, value in node.fields.items():
            _check_value(name, value, fields)
        if isinstance(provider := node.fields.get("provider"), str):
            provider_named(provider)
    except BadRequest as problem:
        raise BadRequest(f"Node {node.id!r}: {problem.detail}") from None
    return fields


def _check_value(name: str, value: Value, fields: Mapping[str, Field]) -> None:
    if name not in fields:
        raise BadRequest(_unknown(name, fields))
    holds = fields[name].holds
    if not isinstance(value, _TYPES[holds]):
        raise BadRequest(f"its field {name!r} holds {holds.value}.")


_TYPES: Mapping[Holds, type | tuple[type, ...]] = {
    Holds.TEXT: (str, Variable),
    Holds.SETTING: str,
    Holds.NUMBER: float,
    Holds.SECRET: (str, Variable),
}


def _check_edge(edge: Edge, fields: Mapping[str, Mapping[str, Field]]) -> None:
    for node_id, end in ((edge.source, "from"), (edge.target, "to")):
        if node_id not in fields:
            raise BadRequest(f"An edge leads {end} a node {node_id!r}, which the flow does not have.")
    field = fields[edge.target].get(edge.field)
    if field is None:
        raise BadRequest(f"Node {edge.target!r}: {_unknown(edge.field, fields[edge.target])}")
    if field.holds is not Holds.TEXT:
        raise BadRequest(f"Node {edge.target!r}: no edge can lead to its field {edge.field!r}.")


def _unknown(name: str, fields: Mapping[str, Field]) -> str:
    return f"it has no field {name!r}; it has {', '.join(fields)}."
