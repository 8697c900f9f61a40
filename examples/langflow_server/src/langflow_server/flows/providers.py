"""The providers of language models that this server knows, and a conversation with one of them.

Each is asked at its own address: a flow cannot name one. Otherwise whoever writes a flow could have the credential of
the environment sent to a server of theirs, and could reach what only this server can reach.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Literal, TypedDict

from httpx2 import HTTPError, InvalidURL, Request, Response
from pydantic import BaseModel, ValidationError

from langflow_server.problems import BadRequest, ProviderFailed, ProviderSilent
from langflow_server.server import Server

__all__ = ["PROVIDERS", "Message", "Provider", "chat", "provider_named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who runs language models, and answers as OpenAI does.

    Attributes:
        name: as a flow names it.
        variable: what a credential for it is called, in the environment and among a user's variables.
        base_url: where it is asked. Only the environment can name another, by `url_variable`.
    """

    name: str
    variable: str
    base_url: str

    @property
    def field(self) -> str:
        """What its credential's field is called: what a variable's `default_fields` may name."""
        return f"{self.name} API Key"

    @property
    def url_variable(self) -> str:
        """The variable of the environment that names another address."""
        return f"{self.name.upper()}_BASE_URL"


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        each.name: each
        for each in (
            Provider(name="OpenAI", variable="OPENAI_API_KEY", base_url="https://api.openai.com/v1"),
            Provider(name="Anthropic", variable="ANTHROPIC_API_KEY", base_url="https://api.anthropic.com/v1"),
            Provider(
                name="Google",
                variable="GOOGLE_API_KEY",
                base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            ),
            Provider(name="Mistral", variable="MISTRAL_API_KEY", base_url="https://api.mistral.ai/v1"),
            Provider(name="Groq", variable="GROQ_API_KEY", base_url="https://api.groq.com/openai/v1"),
        )
    }
)
"""By name."""


MAX_ANSWER_BYTES = 8 * 2**20
"""More than that is no answer of a language model."""

_IN_A_HEADER = re.compile(r"[!-~]+")  # Printable ASCII without the blank, as RFC 6750's tokens are and all known keys.


class Message(TypedDict):
    """One part of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


def provider_named(name: str) -> Provider:
    """Return the provider of that name, in whatever case. Raises `BadRequest` if there is none."""
    for each in PROVIDERS.values():
        if each.name.lower() == name.lower():
            return each
    known = ", ".join(PROVIDERS)
    raise BadRequest(f"There is no provider {name!r}. Known are: {known}.")


async def chat(
    server: Server,
    provider: Provider,
    *,
    credential: str,
    model: str,
    messages: Sequence[Message],
    temperature: float | None = None,
    stream: bool = False,
) -> AsyncGenerator[str]:
    """Ask a model; yield its answer, in one piece, or in many if it is to `stream`.

    Close it when you leave early (`contextlib.aclosing`): so the provider learns that nobody listens.

    Raises:
        BadRequest: if the credential cannot stand in a header.
        ProviderFailed: if the provider cannot be reached, refuses, or does not answer as it should. What it said is
            not quoted: providers quote keys.
        ProviderSilent: if there is no next piece for `Settings.provider_timeout` seconds.
    """
    if not _IN_A_HEADER.fullmatch(credential):
        raise BadRequest(
            f"The API key for {provider.name} has a blank, a line break or a foreign letter. Copy it again."
        )
    asked: dict[str, object] = {"model": model, "messages": list(messages), "stream": stream}
    if temperature is not None:
        asked["temperature"] = temperature
    patience = server.settings.provider_timeout
    try:
        request = server.http.build_request(
            "POST",
            f"{_address(server, provider)}/chat/completions",
            json=asked,
            headers={"Authorization": f"Bearer {credential}", "Accept-Encoding": "identity"},
            timeout=None,  # The time limit here is of a piece, and not of a packet.
        )
        async with asyncio.timeout(patience):
            response = await _sent(server, request)
        async with aclosing(response), aclosing(_streamed(response) if stream else _whole(response)) as pieces:
            _check(provider, response)
            while True:
                async with asyncio.timeout(patience):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece
    except TimeoutError:
        raise ProviderSilent(f"{provider.name} has said nothing for {patience:g} seconds.") from None
    except (HTTPError, InvalidURL):
        raise ProviderFailed(f"{provider.name} cannot be reached, or has broken off.") from None
    except (ValidationError, _NoAnswer):
        raise ProviderFailed(f"{provider.name} has not answered as a language model does.") from None


# --- the request --------------------------------------------------------------------------------------------------


def _address(server: Server, provider: Provider) -> str:
    return (server.settings.environment.get(provider.url_variable) or provider.base_url).rstrip("/")


async def _sent(server: Server, request: Request) -> Response:
    # It follows no redirect: another host must not be sent the credential.
    return await server.http.send(request, stream=True, follow_redirects=False)


def _check(provider: Provider, response: Response) -> None:
    """Raise `ProviderFailed` if this is no answer, by its status alone."""
    match response.status_code:
        case HTTPStatus.OK:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN as status:
            said = "it does not take the API key"
        case HTTPStatus.NOT_FOUND as status:
            said = "it may not have the model"
        case HTTPStatus.TOO_MANY_REQUESTS as status:
            said = "it asks to wait, or the account has no credit left"
        case status:
            raise ProviderFailed(f"{provider.name} has answered with the status {status}.")
    raise ProviderFailed(f"{provider.name} has answered with the status {status:d}: {said}.")


# --- the answer ---------------------------------------------------------------------------------------------------


class _NoAnswer(Exception):
    """What came is not what a language model answers."""


class _Text(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Text


class _Completion(BaseModel):
    choices: list[_Choice]


class _Piece(BaseModel):
    delta: _Text


class _Chunk(BaseModel):
    choices: list[_Piece]


async def _whole(response: Response) -> AsyncGenerator[str]:
    """Yield the text of an answer that comes as one JSON document."""
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise _NoAnswer
    choices = _Completion.model_validate_json(bytes(body)).choices
    if not choices or choices[0].message.content is None:
        raise _NoAnswer
    yield choices[0].message.content


async def _streamed(response: Response) -> AsyncGenerator[str]:
    """Yield the pieces of a text that come as server-sent events, each of them one line of JSON."""
    rest, seen = b"", 0
    async for part in response.aiter_raw():
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > MAX_ANSWER_BYTES:
            raise _NoAnswer
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            document = line.removeprefix(b"data:").strip()
            if document == b"[DONE]":
                return
            for piece in _Chunk.model_validate_json(document).choices[:1]:
                if text := piece.delta.content:
                    seen += len(text)
                    if seen > MAX_ANSWER_BYTES:
                        raise _NoAnswer
                    yield text
    raise _NoAnswer  # It has broken off: what came may be half of a sentence.
