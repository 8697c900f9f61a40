"""Credentials of components: what is kept of those that stand in a flow, and which one a component gets.

A flow that is stored holds no secret. In the place of each stands where the vault has it, ``{"sealed": …}``, and
answers show `SEALED` there. As with variables, each value has a name of its own that is never used again.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, TypeAlias
from uuid import uuid4

from sqlalchemy.exc import IntegrityError

from keyguard import CannotOpen, NotFound
from langflow_server import variables
from langflow_server.flows.components import SECRET_FIELDS
from langflow_server.flows.graph import Variable
from langflow_server.flows.providers import Provider
from langflow_server.problems import BadRequest, Missing, Problem
from langflow_server.server import Server

__all__ = ["SEALED", "credential_for", "forget", "shown", "taken_in"]

SEALED = "**********"
"""What answers show in the place of a secret. Sent back, it keeps the secret that is there."""

Data: TypeAlias = Mapping[str, Any]
"""A flow's graph as JSON: ``{"nodes": [{"id", "type", "fields": {…}}, …], "edges": […]}``."""


@asynccontextmanager
async def taken_in(
    server: Server, user_id: str, flow_id: str, data: Data, old: Data | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Give the graph as it is to be stored, with what is secret in it sealed. Store it inside of the block.

    `data` is a graph that was sent and is valid, and `old` what the flow's row has until now. Where `data` has the mark
    `SEALED`, what `old` has there stays. When the block ends well, what only `old` pointed to leaves the vault; when it
    raises a `Problem` or an `IntegrityError`, what only the new graph points to. So write the row inside of it, on the
    condition that it still is what it was when `old` was read, and raise if it is not::

        async with credentials.taken_in(server, user_id, flow_id, sent, old) as data:
            await write(data)

    Raises `BadRequest` if the mark stands where there is nothing to keep, or a secret field holds neither a text nor
    ``{"variable": name}``.
    """
    there = {} if old is None else dict(_sealed(old))
    new, added = deepcopy(dict(data)), set[str]()
    try:
        for node, name in _secrets(new):
            match node["fields"][name]:
                case None | "" | {"variable": str()}:
                    pass
                case str(mark) if mark == SEALED:
                    if (node["id"], name) not in there:
                        raise BadRequest(f"Node {node['id']!r}: no {name!r} is kept for it. Give its value.")
                    node["fields"][name] = {"sealed": there[node["id"], name]}
                case str(value):
                    node["fields"][name] = {"sealed": await _seal(server, user_id, flow_id, value, added)}
                case _:
                    raise BadRequest(f'Node {node["id"]!r}: its {name!r} is a text or {{"variable": "NAME"}}.')
        yield new
    except (Problem, IntegrityError):  # After anything else, the row may have been written.
        await _drop(server, user_id, added)
        raise
    await _drop(server, user_id, set(there.values()) - set(dict(_sealed(new)).values()))


def shown(data: Data) -> dict[str, Any]:
    """Return a stored graph as answers show it: with `SEALED` where something is sealed."""
    copy = deepcopy(dict(data))
    for node, name in _secrets(copy):
        if _is_sealed(node["fields"][name]):
            node["fields"][name] = SEALED
    return copy


async def forget(server: Server, user_id: str, data: Data) -> None:
    """Remove from the vault what a stored graph points to. Call it when the flow's row is gone."""
    await _drop(server, user_id, {sealed_as for _, sealed_as in _sealed(data)})


async def credential_for(
    server: Server, user_id: str, *, provider: Provider, kept: object = None, tweak: object = None
) -> str:
    """Return the credential that a component gets. The first that is set is the one.

    1. `tweak`: what the request says for the field, a text or ``{"variable": name}``;
    2. `kept`: what the flow's row has there: where it is sealed, or ``{"variable": name}``;
    3. the user's variable whose `default_fields` name the provider's field, or else the one by the name of the
       provider's variable, such as ``OPENAI_API_KEY``;
    4. that variable of the environment.

    None and an empty text set nothing, nor does the mark `SEALED` in a tweak. What is set and cannot be used is an
    error: nothing is used in its place, because the user would not know with whose credential the provider is asked.

    Raises `BadRequest`, with what to do, if there is none, if a variable is named that is not there or has no value, if
    several variables are for the field, or if a value does not open.
    """
    match kept if tweak in (None, "", SEALED) else tweak:
        case None | "":
            pass
        case Variable(variable=name) | {"variable": str(name)}:
            return await variables.value_of(server, user_id, await variables.variable_named(server, user_id, name))
        case {"sealed": str(sealed_as)} if sealed_as.startswith(_FLOWS):
            return await _opened(server, user_id, sealed_as)
        case str(literal):
            return literal
        case _:
            raise BadRequest('An API key is a text or {"variable": "NAME"}.')
    if (variable := await _variable_for(server, user_id, provider)) is not None:
        return await variables.value_of(server, user_id, variable)
    if value := server.settings.environment.get(provider.variable):
        return value
    raise BadRequest(
        f"{provider.name} needs an API key. Give it to the component, or add a variable {provider.variable} in the "
        f"settings, or start the server with {provider.variable} in its environment."
    )


async def _variable_for(server: Server, user_id: str, provider: Provider) -> variables.Variable | None:
    """Return the variable that is for a provider's field where nothing is said there."""
    own = await variables.list_variables(server, user_id)
    chosen = [each for each in own if provider.field in each.default_fields]
    if len(chosen) > 1:
        names = ", ".join(each.name for each in chosen)
        raise BadRequest(f"Several variables are for the field {provider.field!r}: {names}. Leave it to one of them.")
    return next(iter(chosen or [each for each in own if each.name == provider.variable]), None)


# --- what is sealed for a flow ------------------------------------------------------------------------------------

_FLOWS = "flows/"


def _secrets(data: Data) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each secret field that is there, as its node and its name."""
    for node in data["nodes"]:
        for name in SECRET_FIELDS.get(node["type"], ()):
            if name in node["fields"]:
                yield node, name


def _sealed(data: Data) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield where something is sealed in a stored graph, and by which name the vault has it."""
    for node, name in _secrets(data):
        if _is_sealed(value := node["fields"][name]):
            yield (node["id"], name), value["sealed"]


def _is_sealed(value: object) -> bool:
    return isinstance(value, dict) and "sealed" in value


async def _seal(server: Server, user_id: str, flow_id: str, value: str, added: set[str]) -> str:
    """Put a value into the vault, note its name in `added`, and return it."""
    variables.check_value(value)
    sealed_as = f"{_FLOWS}{flow_id}/{uuid4().hex}"
    try:
        await server.vault.put(user_id, sealed_as, value, actor=user_id)
    except NotFound:  # The user was removed a moment ago.
        raise Missing("There is no such user.") from None
    added.add(sealed_as)
    return sealed_as


async def _drop(server: Server, user_id: str, names: set[str]) -> None:
    for sealed_as in sorted(names):
        await server.vault.remove(user_id, sealed_as, actor=user_id)


async def _opened(server: Server, user_id: str, sealed_as: str) -> str:
    try:
        return await server.vault.get(user_id, sealed_as)
    except NotFound:
        raise BadRequest("The flow's API key is not there any more. Give it again, or run the flow again.") from None
    except CannotOpen:
        raise BadRequest("The flow's API key does not open any more. Give it again.") from None
