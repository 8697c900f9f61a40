"""Running a flow with a key: at once, as a stream of events, over a WebSocket, and by the older call."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from langflow_server.api.answers import errors
from langflow_server.api.streams import Event, EventStream, converse, unless_left
from langflow_server.flows import running, shelf
from langflow_server.flows.components import MAX_TEXT_CHARACTERS, Component
from langflow_server.flows.graph import MAX_NODES, Fields
from langflow_server.flows.running import End, Output, Result
from langflow_server.flows.shelf import Flow
from langflow_server.guard import KeyUser
from langflow_server.limits import at_most
from langflow_server.problems import BadRequest
from langflow_server.server import Server, TheServer
from langflow_server.texts import Sendable, is_sendable

__all__ = ["router"]

router = APIRouter(
    tags=["run"],
    responses=errors(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.GATEWAY_TIMEOUT,
    ),
)

# --- what is sent -------------------------------------------------------------------------------------------------

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS), is_sendable]


class Inputs(BaseModel):
    """The text that a flow is run with, by one of its names."""

    input_value: Text | None = None
    text: Text | None = None
    input: Text | None = None


class RunBody(BaseModel):
    """What a flow is run with. Members that are not named here are ignored."""

    input_value: Text | None = Field(default=None, description="The text that the flow's ChatInput gives.")
    inputs: Inputs | Annotated[list[Inputs], Field(max_length=1)] | None = Field(
        default=None, description='The same as `{"text": "…"}`, for programs that send it so.'
    )
    tweaks: Annotated[dict[Sendable, Fields] | None, at_most(MAX_NODES)] = Field(
        default=None, description="Other values for this run: `{component id: {field: value}}`."
    )
    session_id: Annotated[str, StringConstraints(max_length=255), is_sendable] | None = Field(
        default=None, description="Given back; without it, a new one is."
    )

    @property
    def said(self) -> str | None:
        """The text, wherever it stands."""
        each = self.inputs if isinstance(self.inputs, list) else [self.inputs]
        texts = [self.input_value]
        for inputs in each:
            texts += [inputs.input_value, inputs.text, inputs.input] if inputs else []
        return next((text for text in texts if text is not None), None)


class ProcessBody(RunBody):
    sync: bool = Field(default=True, description="Must be true: nothing runs in the background here.")


# --- what is answered ---------------------------------------------------------------------------------------------


class MessageOut(BaseModel):
    text: str
    sender: str = "Machine"
    sender_name: str = "AI"
    session_id: str
    timestamp: datetime
    flow_id: str
    component_id: str


class ResultsOut(BaseModel):
    message: MessageOut


class PlainMessageOut(BaseModel):
    message: str
    type: str = "text"


class PlainOut(BaseModel):
    message: PlainMessageOut


class OutputOut(BaseModel):
    """What came to one ChatOutput, as each of Langflow's releases shows it."""

    results: ResultsOut
    outputs: PlainOut
    component_id: str
    component_display_name: str = str(Component.CHAT_OUTPUT)


class InputsOut(BaseModel):
    input_value: str


class RunOut(BaseModel):
    inputs: InputsOut
    outputs: list[OutputOut]


class RunAnswer(BaseModel):
    """What a flow answered: `outputs[0].outputs[0].results.message.text`."""

    session_id: str
    outputs: list[RunOut]

    @classmethod
    def of(cls, flow: Flow, result: Result) -> "RunAnswer":
        """Return what is told of a result."""
        now = datetime.now(UTC)

        def told(output: Output) -> OutputOut:
            message = MessageOut(
                text=output.text,
                session_id=result.session_id,
                timestamp=now,
                flow_id=flow.id,
                component_id=output.node_id,
            )
            return OutputOut(
                results=ResultsOut(message=message),
                outputs=PlainOut(message=PlainMessageOut(message=output.text)),
                component_id=output.node_id,
            )

        inputs = InputsOut(input_value=result.text)
        return cls(
            session_id=result.session_id,
            outputs=[RunOut(inputs=inputs, outputs=[told(output) for output in result.outputs])],
        )


class TextOut(BaseModel):
    text: str


class ProcessAnswer(BaseModel):
    """What the older call answers."""

    result: TextOut
    status: str = "SUCCESS"
    task: None = Field(default=None, description="Always null: nothing runs in the background.")
    session_id: str
    backend: str = "asyncio"


# --- the calls ----------------------------------------------------------------------------------------------------


@router.post(
    "/run/{flow_id_or_name}", response_model=RunAnswer, responses={200: {"content": {"text/event-stream": {}}}}
)
async def run_flow(
    *,
    flow_id_or_name: str,
    request: Request,
    user: KeyUser,
    server: TheServer,
    body: RunBody | None = None,
    stream: bool = False,
) -> RunAnswer | Response:
    """Run a flow of the key's owner, by its id or its endpoint name.

    With `stream`, the answer is told as it comes, by events: `token` with a `chunk` of the text; in the end `end`, with
    the whole answer as its `result`, or `error`. They are server-sent events, or lines as Langflow sends them where
    `Accept` has `application/json` and no `text/event-stream`.
    """
    body = body or RunBody()
    flow = await shelf.find_flow(server, user.id, flow_id_or_name)
    if stream:
        return EventStream(_events(server, flow, body), request.headers)
    result = await unless_left(request.receive, _run(server, flow, body))
    return Response() if result is None else RunAnswer.of(flow, result)


@router.websocket("/run/{flow_id_or_name}")
async def run_over_socket(flow_id_or_name: str, websocket: WebSocket, user: KeyUser, server: TheServer) -> None:
    """Run a flow for each message, which is a body as POST takes it. The answers are events, a message each."""
    await shelf.find_flow(server, user.id, flow_id_or_name)  # Another's is not there: it is not even accepted.
    await websocket.accept()

    async def answer(message: str) -> AsyncGenerator[Event]:
        body = _body_of(message)
        flow = await shelf.find_flow(server, user.id, flow_id_or_name)
        async with aclosing(_events(server, flow, body)) as events:
            async for event in events:
                yield event

    await converse(websocket, answer)


@router.post("/process/{flow_id_or_name}", response_model=ProcessAnswer)
async def process_flow(
    *, flow_id_or_name: str, request: Request, user: KeyUser, server: TheServer, body: ProcessBody | None = None
) -> ProcessAnswer | Response:
    """Run a flow as earlier releases of Langflow did; `POST /run` is what took its place."""
    body = body or ProcessBody()
    flow = await shelf.find_flow(server, user.id, flow_id_or_name)
    if not body.sync:
        raise BadRequest("Flows do not run in the background here: leave out `sync`, or let it be true.")
    result = await unless_left(request.receive, _run(server, flow, body))
    if result is None:
        return Response()
    return ProcessAnswer(result=TextOut(text=result.answer), session_id=result.session_id)


async def _run(server: Server, flow: Flow, body: RunBody) -> Result:
    return await running.run(server, flow, text=body.said, tweaks=body.tweaks, session_id=body.session_id)


async def _events(server: Server, flow: Flow, body: RunBody) -> AsyncGenerator[Event]:
    """Run a flow, and tell its answer in Langflow's events."""
    message_id = str(uuid4())
    parts = running.stream(server, flow, text=body.said, tweaks=body.tweaks, session_id=body.session_id)
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, End):
                yield Event("end", {"result": RunAnswer.of(flow, part.result).model_dump(mode="json")})
            else:
                yield Event("token", {"chunk": part.text, "id": message_id, "component_id": part.node_id})


def _body_of(message: str) -> RunBody:
    """Return the body that is a message. Raises `BadRequest` if it is none; what was sent is not quoted."""
    try:
        return RunBody.model_validate_json(message)
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{place or 'The message'}: {first['msg']}") from None
