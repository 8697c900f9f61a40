"""Where flows are kept: each user's own, and those that their owners have made public."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Insert, Row, Update, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from langflow_server import tables
from langflow_server.flows import credentials
from langflow_server.flows.graph import Edge, Graph, Node, check
from langflow_server.problems import BadRequest, Missing, Problem
from langflow_server.server import Server

__all__ = [
    "SAMPLE",
    "Changes",
    "Flow",
    "Title",
    "add_flow",
    "add_sample",
    "change_flow",
    "find_flow",
    "get_flow",
    "get_public",
    "is_uuid",
    "list_flows",
    "public_flows",
    "remove_flow",
]

MAX_FLOWS = 500
"""Of a user: their list is one answer."""

EMPTY = Graph()

_table = tables.flows
_MISSING = "There is no such flow."


class _Outrun(Problem):
    """Somebody else has changed the flow since it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow, as its owner may see it.

    Attributes:
        id: a UUID.
        user_id: whose it is, and for whom it acts.
        name: no two of a user have the same.
        description: for people.
        endpoint_name: another name to run it by, if it has one; no two of a user have the same.
        is_public: whether it is a tool of the MCP server, for anybody.
        graph: with `credentials.SEALED` in the place of what is secret.
        stored: the graph as its row has it, for `credentials`.
        created_at: when it was added.
        updated_at: when anything of it was changed.
    """

    id: str
    user_id: str
    name: str
    description: str
    endpoint_name: str | None
    is_public: bool
    graph: Graph
    stored: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """What anybody may know of a public flow, and whose it is."""

    id: str
    user_id: str
    name: str
    description: str


class Changes(TypedDict, total=False):
    """What of a flow can be changed."""

    name: str
    description: str
    endpoint_name: str | None
    is_public: bool
    graph: Graph


async def list_flows(server: Server, user_id: str) -> list[Flow]:
    """Return a user's flows, the oldest first."""
    statement = select(_table).where(_table.c.user_id == user_id).order_by(_table.c.created_at, _table.c.id)
    async with server.database.connect() as connection:
        return [_flow_of(row) for row in await connection.execute(statement)]


async def get_flow(server: Server, user_id: str, flow_id: str) -> Flow:
    """Return a user's flow. Raises `Missing` if there is none of that id, or it is another's: in the same words."""
    return await _one(server, _table.c.user_id == user_id, _table.c.id == flow_id)


async def find_flow(server: Server, user_id: str, id_or_endpoint_name: str) -> Flow:
    """Return a user's flow by its id or its endpoint name. Raises `Missing` as `get_flow` does."""
    if is_uuid(id_or_endpoint_name):
        return await get_flow(server, user_id, str(UUID(id_or_endpoint_name)))
    if "\0" in id_or_endpoint_name:  # PostgreSQL takes no such text, not even to look for it.
        raise Missing(_MISSING)
    return await _one(server, _table.c.user_id == user_id, _table.c.endpoint_name == id_or_endpoint_name)


async def public_flows(server: Server) -> list[Title]:
    """Return all flows that their owners have made public, the oldest first, without their graphs."""
    columns = (_table.c.id, _table.c.user_id, _table.c.name, _table.c.description)
    statement = select(*columns).where(_table.c.is_public).order_by(_table.c.created_at, _table.c.id)
    async with server.database.connect() as connection:
        rows = await connection.execute(statement)
        return [Title(id=row.id, user_id=row.user_id, name=row.name, description=row.description) for row in rows]


async def get_public(server: Server, flow_id: str) -> Flow:
    """Return a public flow. Raises `Missing` if there is none of that id, or it is not public."""
    return await _one(server, _table.c.is_public, _table.c.id == flow_id)


async def add_flow(
    server: Server,
    user_id: str,
    name: str,
    *,
    description: str = "",
    endpoint_name: str | None = None,
    is_public: bool = False,
    graph: Graph = EMPTY,
) -> Flow:
    """Add a flow; without `graph`, one that is still to be made.

    Raises `BadRequest` if the name or the endpoint name is taken, the graph cannot run, or the user has `MAX_FLOWS`.
    """
    check(graph)
    flow_id = str(uuid4())
    now = datetime.now(UTC)
    async with credentials.taken_in(server, user_id, flow_id, graph.model_dump(mode="json")) as data:
        row = {
            "id": flow_id,
            "user_id": user_id,
            "name": name,
            "description": description,
            "endpoint_name": endpoint_name,
            "is_public": is_public,
            "data": data,
            "created_at": now,
            "updated_at": now,
        }
        await _write(server, user_id, flow_id, insert(_table).values(row), row)
    return await get_flow(server, user_id, flow_id)


async def change_flow(server: Server, user_id: str, flow_id: str, **changes: Unpack[Changes]) -> Flow:
    """Change what is given. A secret stays where the graph has `credentials.SEALED` in its place.

    Raises:
        Missing: as `get_flow` does.
        BadRequest: as `add_flow` does.
    """
    values: dict[str, Any] = dict(changes)
    graph: Graph | None = values.pop("graph", None)
    if graph is not None:
        check(graph)
    while True:
        flow = await get_flow(server, user_id, flow_id)
        with suppress(_Outrun):
            if graph is None:
                await _update(server, flow, values)
            else:
                sent = graph.model_dump(mode="json")
                async with credentials.taken_in(server, user_id, flow.id, sent, flow.stored) as data:
                    await _update(server, flow, {**values, "data": data})
            return await get_flow(server, user_id, flow_id)


async def remove_flow(server: Server, user_id: str, flow_id: str) -> None:
    """Remove a flow and its secrets. Raises `Missing` as `get_flow` does."""
    statement = delete(_table).where(_table.c.user_id == user_id, _table.c.id == flow_id).returning(_table.c.data)
    async with server.database.begin() as connection:
        stored = (await connection.execute(statement)).scalar_one_or_none()
    if stored is None:
        raise Missing(_MISSING)
    await credentials.forget(server, user_id, stored)


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID, in any of its forms."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


# --- the sample ---------------------------------------------------------------------------------------------------

SAMPLE = Graph(
    nodes=[
        Node(id="ChatInput-1", type="ChatInput"),
        Node(id="Prompt-1", type="Prompt", fields={"template": 'Hello from your first flow! You wrote: "{message}"'}),
        Node(id="ChatOutput-1", type="ChatOutput"),
    ],
    edges=[
        Edge(source="ChatInput-1", target="Prompt-1", field="message"),
        Edge(source="Prompt-1", target="ChatOutput-1", field="text"),
    ],
)
"""A flow that needs no credential."""


async def add_sample(server: Server, user_id: str) -> Flow:
    """Add the sample flow. Raises `BadRequest` if the user has one."""
    return await add_flow(
        server,
        user_id,
        "Sample flow",
        description="Answers with the text that it is sent. It needs no language model.",
        endpoint_name="sample",
        graph=SAMPLE,
    )


# --- rows ---------------------------------------------------------------------------------------------------------


async def _one(server: Server, *conditions: ColumnElement[bool]) -> Flow:
    async with server.database.connect() as connection:
        row = (await connection.execute(select(_table).where(*conditions))).first()
    if row is None:
        raise Missing(_MISSING)
    return _flow_of(row)


def _flow_of(row: Row[Any]) -> Flow:
    return Flow(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        description=row.description,
        endpoint_name=row.endpoint_name,
        is_public=row.is_public,
        graph=Graph.model_validate(credentials.shown(row.data)),
        stored=row.data,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


async def _update(server: Server, flow: Flow, values: Mapping[str, Any]) -> None:
    """Change a row that is as it was read. Raises `_Outrun` if it is not."""
    statement = (
        update(_table)
        .where(_table.c.id == flow.id, _table.c.user_id == flow.user_id, _table.c.updated_at == flow.updated_at)
        .values(**values, updated_at=datetime.now(UTC))
    )
    if not await _write(server, flow.user_id, flow.id, statement, values):
        raise _Outrun("Somebody else has just changed this flow.")


async def _write(
    server: Server, user_id: str, flow_id: str, statement: Insert | Update, values: Mapping[str, Any]
) -> int:
    """Insert or update a row; return how many were. Raises `BadRequest` if a name is taken, or there are too many."""
    own = _table.c.user_id == user_id
    try:
        async with server.database.begin() as connection:
            if isinstance(statement, Insert):
                count = (await connection.execute(select(func.count()).select_from(_table).where(own))).scalar_one()
                if count >= MAX_FLOWS:
                    raise BadRequest(f"{MAX_FLOWS} flows are the most that one user can have.")
            return (await connection.execute(statement)).rowcount
    except IntegrityError:
        pass
    name, endpoint_name = values.get("name"), values.get("endpoint_name")
    named_so = select(_table.c.id).where(own, _table.c.id != flow_id, _table.c.name == name)
    async with server.database.connect() as connection:
        # The other flow may be gone by now: without an endpoint name it was the name all the same.
        is_name = endpoint_name is None or (await connection.execute(named_so)).first() is not None
    taken = f"name {name!r}" if is_name else f"endpoint name {endpoint_name!r}"
    raise BadRequest(f"You have a flow of the {taken} already.")
