"""The MCP server: its tools are the flows that their owners have made public, and nothing else.

Whoever calls is anonymous, in every setting: the guard looks at no key here and passes none on. A tool runs for the
flow's owner, with the owner's credentials, and takes one text. What goes wrong in it is the owner's to know.

Every request stands alone, so any worker answers it, and what an owner makes private is gone with the next one.

It is for programs. A page of another site is refused as everywhere, by `langflow_server.origin`; here so is one that
has led a name of its own to this server (DNS rebinding), which elsewhere would have neither a session nor a key.
"""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import FastAPI
from mcp import MCPError
from mcp.server import ServerRequestContext, lowlevel
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from langflow_server.flows import running as running_flows
from langflow_server.flows import shelf
from langflow_server.flows.components import MAX_TEXT_CHARACTERS
from langflow_server.flows.shelf import Flow, Title
from langflow_server.guard import MCP_PATHS
from langflow_server.problems import Missing, Problem
from langflow_server.server import Server
from langflow_server.texts import Sendable

__all__ = ["add_to", "running", "tool_name"]

MAX_CALLS = 20
"""Flows that are run at a time, by each worker, for people without a key: the others are there for those with one."""

_log = logging.getLogger(__name__)


class ToolInput(BaseModel):
    """What a tool is called with: no tweaks, because they could have a flow do other than its owner has made public."""

    model_config = ConfigDict(extra="forbid")

    input_value: Annotated[
        Sendable, Field(max_length=MAX_TEXT_CHARACTERS, description="The text that the flow is run with.")
    ]


def tool_name(flow: Flow | Title) -> str:
    """Return what a flow is called as a tool: 64 letters, digits and underscores at most, as all clients take it.

    It has the flow's id in it. So two of the same name can be told apart, and none can take another's place.
    """
    words = re.sub(r"[^A-Za-z0-9]+", "_", flow.name).strip("_")[:31] or "flow"
    return f"{words}_{UUID(flow.id).hex}"


def add_to(app: FastAPI) -> None:
    """Add the MCP server to the app, at each of its paths and all below them."""
    app.state.mcp = door = _Door(app.state.server)
    for path in MCP_PATHS:
        for each in (path, f"{path}/{{rest:path}}"):
            app.router.routes.append(Route(each, door, methods=["GET", "POST", "DELETE"]))


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Have the MCP server answer."""
    async with cast("_Door", app.state.mcp).open():
        yield


class _Door:
    """Where requests of MCP come in. One path is as good as another."""

    def __init__(self, server: Server) -> None:
        self._tools = _Tools(server)
        self._hosts_are_known = bool(server.settings.allowed_hosts)
        self._sessions: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer from now on. An SDK's manager runs but once, so there is one for each start."""
        app = lowlevel.Server(
            "langflow-server",
            version=version("langflow-server"),
            on_list_tools=self._tools.list,
            on_call_tool=self._tools.call,
        )
        sessions = StreamableHTTPSessionManager(app, stateless=True, json_response=True)
        async with sessions.run():
            self._sessions = sessions
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Without sessions there is none to end by DELETE, and no stream to open by GET."""
        if scope["method"] != "POST" or self._sessions is None:
            answer = JSONResponse(
                {"detail": "MCP is spoken by POST here."}, HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"}
            )
            await answer(scope, receive, send)
        elif not self._hosts_are_known and _is_of_a_named_page(scope):
            answer = JSONResponse(
                {"detail": "No page may use this: LANGFLOW_ALLOWED_HOSTS has to name the host of one that does."},
                HTTPStatus.FORBIDDEN,
            )
            await answer(scope, receive, send)
        else:
            await self._sessions.handle_request(scope, receive, send)


_LOCAL_PAGE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")


def _is_of_a_named_page(scope: Scope) -> bool:
    """Tell whether a page asks whose host is neither this machine nor one that the settings name."""
    origin = Headers(scope=scope).get("origin")
    return origin is not None and _LOCAL_PAGE.fullmatch(origin) is None


class _Tools:
    """The public flows as tools. An error says nothing of why: the caller is anybody."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls = 0

    async def list(self, _: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        """List the flows that are public now."""
        with _quiet():
            flows = await shelf.public_flows(self._server)
            active = {owner: await self._is_active(owner) for owner in {flow.user_id for flow in flows}}
            return ListToolsResult(tools=[_tool_of(flow) for flow in flows if active[flow.user_id]])

    async def call(self, _: ServerRequestContext[Any], asked: CallToolRequestParams) -> CallToolResult:
        """Run one of them."""
        try:
            given = ToolInput.model_validate(asked.arguments or {})
        except ValidationError:
            return _error(f"A flow takes one text, input_value, of up to {MAX_TEXT_CHARACTERS} characters.")
        with _quiet():
            flow = await self._named(asked.name)
            if flow is None:
                raise MCPError(INVALID_PARAMS, "There is no such tool.")
            if self._calls >= MAX_CALLS:
                return _error("Too many flows are being run. Try again later.")
            self._calls += 1
            try:
                result = await running_flows.run(self._server, flow, text=given.input_value)
            except Problem:
                return _error("The flow could not be run.")
            finally:
                self._calls -= 1
            return CallToolResult(content=[TextContent(type="text", text=result.answer)])

    async def _named(self, name: str) -> Flow | None:
        """Return the flow that is called so now."""
        flow_id = name.rpartition("_")[2]
        if not _HEX.fullmatch(flow_id):
            return None
        try:
            flow = await shelf.get_public(self._server, str(UUID(flow_id)))
        except Missing:
            return None
        return flow if tool_name(flow) == name and await self._is_active(flow.user_id) else None

    async def _is_active(self, user_id: str) -> bool:
        """Tell whether an owner may act: the flows of one who was switched off are nobody's tools."""
        owner = await self._server.store.get_owner(user_id)
        return owner is not None and owner.is_active


_HEX = re.compile(r"[0-9a-f]{32}")


def _tool_of(flow: Title) -> Tool:
    return Tool(
        name=tool_name(flow),
        title=flow.name,
        description=flow.description or f"Runs the flow {flow.name}.",
        input_schema=ToolInput.model_json_schema(),
    )


def _error(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what went wrong: the SDK would answer with the exception's text, such as a statement."""
    try:
        yield
    except MCPError:
        raise
    except Exception as problem:  # noqa: BLE001 Whatever it is: this is the last to see it.
        _log.error("a call of the MCP server has failed: %s", type(problem).__name__)
        raise MCPError(INTERNAL_ERROR, "That did not work. Try again.") from None
