"""Running a flow: node after node, for the flow's owner, at once or piece by piece."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import assert_never
from uuid import uuid4

from langflow_server.flows.components import MAX_TEXT_CHARACTERS, Component, fill_in, names_in
from langflow_server.flows.credentials import credential_for
from langflow_server.flows.graph import Node, Tweaks, Variable, in_order, tweaked
from langflow_server.flows.providers import Message, chat, provider_named
from langflow_server.flows.shelf import Flow
from langflow_server.problems import BadRequest, Busy, ProviderFailed, ProviderSilent
from langflow_server.server import Server
from langflow_server.variables import text_of

__all__ = ["End", "Output", "Result", "Token", "run", "stream"]


MAX_CONVERSATIONS = 40
"""With providers, at a time, for one user, by each worker: a hundred are all that there is room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What came to one ChatOutput."""

    node_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a flow answered.

    Attributes:
        session_id: the caller's, or a new one.
        text: what the flow was run with.
        outputs: one for each ChatOutput, in the graph's order; at least one.
    """

    session_id: str
    text: str
    outputs: tuple[Output, ...]

    @property
    def answer(self) -> str:
        """The first output's text: most flows have one."""
        return self.outputs[0].text


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the text that comes to a ChatOutput. Put together, the pieces are that text."""

    node_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The flow has run."""

    result: Result


async def run(
    server: Server,
    flow: Flow,
    *,
    text: str | None = None,
    tweaks: Tweaks | None = None,
    session_id: str | None = None,
) -> Result:
    """Run a flow.

    Args:
        server: what this worker has open.
        flow: it is run for its owner, with the owner's variables and credentials.
        text: what its ChatInputs give; without it, what the flow has set for them.
        tweaks: other values for this run.
        session_id: given back; without it, a new one is.

    Raises:
        BadRequest: if it cannot run, with a sentence that names the node.
        ProviderFailed: if a provider of language models fails.
        ProviderSilent: if one does not answer in time.
        Busy: if its owner has `MAX_CONVERSATIONS` with providers already.
    """
    events = _Run(server, flow, text=text, tweaks=tweaks, session_id=session_id, in_pieces=False).events()
    async with aclosing(events):
        async for event in events:
            if isinstance(event, End):
                return event.result
    raise AssertionError  # The last event is an End.


async def stream(
    server: Server,
    flow: Flow,
    *,
    text: str | None = None,
    tweaks: Tweaks | None = None,
    session_id: str | None = None,
) -> AsyncGenerator[Token | End]:
    """Run a flow as `run` does, and tell its answer as it comes. The last is an `End`.

    Close it when you leave early (`contextlib.aclosing`), so that a provider learns that nobody listens.
    """
    events = _Run(server, flow, text=text, tweaks=tweaks, session_id=session_id, in_pieces=True).events()
    async with aclosing(events):
        async for event in events:
            yield event


class _Run:
    """One run of a flow.

    Raises `BadRequest`, here already, if the flow cannot run with these tweaks.
    """

    def __init__(
        self,
        server: Server,
        flow: Flow,
        *,
        text: str | None,
        tweaks: Tweaks | None,
        session_id: str | None,
        in_pieces: bool,
    ) -> None:
        if text is not None and len(text) > MAX_TEXT_CHARACTERS:
            raise BadRequest(f"The text is longer than {MAX_TEXT_CHARACTERS} characters.")
        self._server = server
        self._flow = flow
        self._text = text
        self._tweaks = tweaks or {}
        self._graph = tweaked(flow.graph, self._tweaks)
        self._session_id = session_id or str(uuid4())
        self._in_pieces = in_pieces
        self._texts: dict[str, str] = {}
        """What each node has given so far."""
        self._variables: dict[str, str] = {}
        """Those that were read so far: a template may name one thousands of times."""

    async def events(self) -> AsyncGenerator[Token | End]:
        """Run node after node. What goes straight to a ChatOutput is told as it comes."""
        if not self._graph.nodes:
            raise BadRequest("The flow is empty: it has no nodes that could run.")
        for node in in_order(self._graph):
            listeners = self._listeners(node)
            heard: list[str] = []
            try:
                async with aclosing(self._pieces(node)) as pieces:
                    async for piece in pieces:
                        heard.append(piece)
                        for listener in listeners:
                            yield Token(node_id=listener, text=piece)
            except (BadRequest, ProviderFailed, ProviderSilent) as problem:
                raise type(problem)(f"Node {node.id!r}: {problem.detail}") from None
            self._texts[node.id] = "".join(heard)
        outputs = [node.id for node in self._graph.nodes if node.type == Component.CHAT_OUTPUT]
        result = Result(
            session_id=self._session_id,
            text=self._text or "",
            outputs=tuple(Output(node_id=node_id, text=self._texts[node_id]) for node_id in outputs),
        )
        yield End(result=result)

    def _listeners(self, node: Node) -> list[str]:
        """Return the ids of the ChatOutputs whose text is this node's: itself, if nothing leads to it."""
        nodes = {each.id: each for each in self._graph.nodes}
        fed = [edge.target for edge in self._graph.edges if edge.source == node.id]
        listeners = [node_id for node_id in fed if nodes[node_id].type == Component.CHAT_OUTPUT]
        if node.type == Component.CHAT_OUTPUT and self._source(node, "text") is None:
            listeners.append(node.id)
        return listeners

    async def _pieces(self, node: Node) -> AsyncGenerator[str]:
        """Yield what a node gives."""
        match Component(node.type):
            case Component.CHAT_INPUT:
                yield await self._value(node, "input_value") if self._text is None else self._text
            case Component.TEXT | Component.CHAT_OUTPUT:
                yield await self._value(node, "text")
            case Component.PROMPT:
                template = str(node.fields["template"])
                yield fill_in(template, {name: await self._value(node, name) for name in names_in(template)})
            case Component.LANGUAGE_MODEL:
                async with aclosing(self._ask(node)) as answer:
                    async for piece in answer:
                        yield piece
            case unknown:
                assert_never(unknown)

    async def _ask(self, node: Node) -> AsyncGenerator[str]:
        """Ask a language model. Raises what `credentials.credential_for` and `providers.chat` raise."""
        server, flow = self._server, self._flow
        provider = provider_named(str(node.fields["provider"]))
        model, system = await self._value(node, "model"), await self._value(node, "system")
        if not model:
            raise BadRequest("Its field 'model' is empty.")
        tweak = self._tweaks.get(node.id, {}).get("api_key")
        credential = await credential_for(server, flow.user_id, provider=provider, kept=self._kept(node), tweak=tweak)
        messages = [Message(role="system", content=system)] if system else []
        messages.append(Message(role="user", content=await self._value(node, "prompt")))
        temperature = node.fields.get("temperature")
        answer = chat(
            server,
            provider,
            credential=credential,
            model=model,
            messages=messages,
            temperature=temperature if isinstance(temperature, float) else None,
            stream=self._in_pieces,
        )
        length = 0
        with _one_more(server, flow.user_id):
            async with aclosing(answer) as pieces:
                async for piece in pieces:
                    length += len(piece)
                    if length > MAX_TEXT_CHARACTERS:
                        raise ProviderFailed(f"The answer has more than {MAX_TEXT_CHARACTERS} characters.")
                    yield piece

    def _kept(self, node: Node) -> object:
        """Return what the flow has as a model's credential. It was meant for the flow's provider, and no other."""
        written = next(each["fields"] for each in self._flow.stored["nodes"] if each["id"] == node.id)
        same = str(written["provider"]).lower() == str(node.fields["provider"]).lower()
        return written.get("api_key") if same else None

    async def _value(self, node: Node, name: str) -> str:
        """Return the text in a field, empty if there is none."""
        source = self._source(node, name)
        if source is not None:
            return self._texts[source]
        value = node.fields.get(name, "")
        if isinstance(value, Variable):
            return await self._variable(value.variable)
        return str(value)

    async def _variable(self, name: str) -> str:
        """Return the value of one of the owner's Generic variables, as it is when it is first needed."""
        if name not in self._variables:
            self._variables[name] = await text_of(self._server, self._flow.user_id, name)
        return self._variables[name]

    def _source(self, node: Node, name: str) -> str | None:
        """Return the id of the node whose text comes into a field."""
        leading = (edge.source for edge in self._graph.edges if edge.target == node.id and edge.field == name)
        return next(leading, None)


@contextmanager
def _one_more(server: Server, user_id: str) -> Generator[None]:
    """Count a conversation of a user's. Raises `Busy` if there are as many as there may be."""
    if server.conversations[user_id] >= MAX_CONVERSATIONS:
        raise Busy("Too many of your flows wait for a provider. Try again when one of them is done.")
    server.conversations[user_id] += 1
    try:
        yield
    finally:
        server.conversations[user_id] -= 1
        if not server.conversations[user_id]:
            del server.conversations[user_id]
