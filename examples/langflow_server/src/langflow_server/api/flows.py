"""A user's own flows."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from langflow_server.api.answers import errors
from langflow_server.flows import shelf
from langflow_server.flows.graph import Graph
from langflow_server.flows.shelf import Changes, Flow
from langflow_server.guard import User
from langflow_server.server import TheServer
from langflow_server.texts import is_sendable

__all__ = ["router"]

router = APIRouter(prefix="/flows", tags=["flows"])

_NAMED = errors(HTTPStatus.BAD_REQUEST)
_FOUND = errors(HTTPStatus.NOT_FOUND)

Access = Literal["PRIVATE", "PUBLIC"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), is_sendable]
Description = Annotated[str, StringConstraints(max_length=10_000), is_sendable]


def _no_uuid(name: str) -> str:
    if shelf.is_uuid(name):
        raise ValueError("an endpoint name must not look like a flow's id")
    return name


EndpointName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,255}$"), AfterValidator(_no_uuid)]


class FlowOut(BaseModel):
    """A flow, in Langflow's members. What is secret in `data` is a row of asterisks."""

    id: UUID
    name: str
    description: str
    data: Graph
    endpoint_name: str | None
    access_type: Access
    user_id: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, flow: Flow) -> "FlowOut":
        """Return what is shown of a flow."""
        return cls(
            id=UUID(flow.id),
            name=flow.name,
            description=flow.description,
            data=flow.graph,
            endpoint_name=flow.endpoint_name,
            access_type="PUBLIC" if flow.is_public else "PRIVATE",
            user_id=flow.user_id,
            created_at=flow.created_at,
            updated_at=flow.updated_at,
        )


class NewFlow(BaseModel):
    """A flow that is to be added. Members that are not named here are ignored."""

    name: Name
    description: Description | None = None
    data: Graph | None = Field(default=None, description="The graph; without it, the flow cannot run yet.")
    endpoint_name: EndpointName | None = Field(default=None, description="Another name to run it by.")
    access_type: Access = Field(default="PRIVATE", description="PUBLIC: a tool of the MCP server, for anybody.")


class FlowChanges(BaseModel):
    """What is to be another; what is not there, or null, stays."""

    name: Name | None = None
    description: Description | None = None
    data: Graph | None = Field(default=None, description="A secret stays where a row of asterisks is in its place.")
    endpoint_name: EndpointName | None = Field(default=None, description="Null takes it away.")
    access_type: Access | None = None


class Removed(BaseModel):
    message: str


@router.get("/")
async def list_flows(user: User, server: TheServer) -> list[FlowOut]:
    """List one's own flows, the oldest first."""
    return [FlowOut.of(flow) for flow in await shelf.list_flows(server, user.id)]


@router.post("/", status_code=HTTPStatus.CREATED, responses=_NAMED)
async def add_flow(new: NewFlow, user: User, server: TheServer) -> FlowOut:
    """Add a flow."""
    flow = await shelf.add_flow(
        server,
        user.id,
        new.name,
        description=new.description or "",
        endpoint_name=new.endpoint_name,
        is_public=new.access_type == "PUBLIC",
        graph=new.data or Graph(),
    )
    return FlowOut.of(flow)


@router.get("/{flow_id}", responses=_FOUND)
async def get_flow(flow_id: UUID, user: User, server: TheServer) -> FlowOut:
    """Show one of one's own flows. Another's is not there."""
    return FlowOut.of(await shelf.get_flow(server, user.id, str(flow_id)))


@router.patch("/{flow_id}", responses=_NAMED | _FOUND)
async def change_flow(flow_id: UUID, wanted: FlowChanges, user: User, server: TheServer) -> FlowOut:
    """Change what is given of a flow."""
    changes = Changes()
    if wanted.name is not None:
        changes["name"] = wanted.name
    if wanted.description is not None:
        changes["description"] = wanted.description
    if "endpoint_name" in wanted.model_fields_set:
        changes["endpoint_name"] = wanted.endpoint_name
    if wanted.access_type is not None:
        changes["is_public"] = wanted.access_type == "PUBLIC"
    if wanted.data is not None:
        changes["graph"] = wanted.data
    return FlowOut.of(await shelf.change_flow(server, user.id, str(flow_id), **changes))


@router.delete("/{flow_id}", responses=_FOUND)
async def remove_flow(flow_id: UUID, user: User, server: TheServer) -> Removed:
    """Remove a flow and what is secret in it, for good."""
    await shelf.remove_flow(server, user.id, str(flow_id))
    return Removed(message="The flow was deleted.")
