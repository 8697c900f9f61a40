"""A user's flows: run one, see how a program calls it, and make it public or private."""

import shlex
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from langflow_server.flows import running, shelf
from langflow_server.flows.components import MAX_TEXT_CHARACTERS
from langflow_server.flows.shelf import Flow
from langflow_server.guard import MCP_PATHS
from langflow_server.pages.layout import Said, go, page
from langflow_server.pages.visitor import Visitor
from langflow_server.problems import Problem
from langflow_server.server import TheServer
from langflow_server.texts import Sendable

__all__ = ["router"]

router = APIRouter()


@router.get("/")
async def front() -> Response:
    return RedirectResponse("/flows", HTTPStatus.SEE_OTHER)


@router.get("/flows")
async def flows(request: Request, server: TheServer, visitor: Visitor) -> Response:
    found = await shelf.list_flows(server, visitor.id)
    return page(request, "flows.html", section="flows", flows=found)


@router.post("/flows/sample")
async def add_sample(server: TheServer, visitor: Visitor) -> Response:
    flow = await shelf.add_sample(server, visitor.id)
    return go(f"/flows/{flow.id}", Said.FLOW_ADDED)


@router.get("/flows/{flow_id}")
async def flow(request: Request, server: TheServer, visitor: Visitor, flow_id: UUID) -> Response:
    return _flow_page(request, await shelf.get_flow(server, visitor.id, str(flow_id)))


@router.post("/flows/{flow_id}/run")
async def run(
    request: Request, server: TheServer, visitor: Visitor, flow_id: UUID, text: Annotated[Sendable, Form()] = ""
) -> Response:
    found = await shelf.get_flow(server, visitor.id, str(flow_id))
    text = text.replace("\r\n", "\n")  # A form sends its lines' ends so.
    try:
        result = await running.run(server, found, text=text)
    except Problem as problem:
        return _flow_page(request, found, problem, text=text)
    return _flow_page(request, found, text=text, outputs=result.outputs)


@router.post("/flows/{flow_id}/public")
async def make_public(
    server: TheServer, visitor: Visitor, flow_id: UUID, public: Annotated[Literal["yes", "no"], Form()]
) -> Response:
    changed = await shelf.change_flow(server, visitor.id, str(flow_id), is_public=public == "yes")
    return go(f"/flows/{flow_id}", Said.FLOW_PUBLIC if changed.is_public else Said.FLOW_PRIVATE)


def _flow_page(
    request: Request,
    flow: Flow,
    problem: Problem | None = None,
    *,
    text: str = "",
    outputs: tuple[running.Output, ...] = (),
) -> Response:
    return page(
        request,
        "flow.html",
        problem,
        section="flows",
        flow=flow,
        components=[node.type for node in flow.graph.nodes],
        commands=_commands(str(request.base_url), flow.id),
        longest_text=MAX_TEXT_CHARACTERS,
        mcp_path=MCP_PATHS[0],
        text=text,
        outputs=outputs,
    )


def _commands(base_url: str, flow_id: str) -> list[tuple[str, str]]:
    """Return how a program calls a flow, in the words of Langflow's manual."""
    url = f"{base_url}api/v1/run/{flow_id}"
    return [
        ("HTTP header", _curl(f"{url}?stream=false", "-H 'x-api-key: LANGFLOW_API_KEY'")),
        ("Query parameter", _curl(f"{url}?x-api-key=LANGFLOW_API_KEY")),
    ]


def _curl(url: str, *more: str) -> str:
    # The Host that a request names stands in the address, and so in what is pasted into a shell.
    lines = [
        "curl -X POST",
        shlex.quote(url),
        "-H 'Content-Type: application/json'",
        *more,
        """-d '{"inputs": {"text": "Hello"}, "tweaks": {}}'""",
    ]
    return " \\\n  ".join(lines)
