"""The five components that a flow is made of: what fields each has, and how a template is filled in.

=============  =====================================================================================================
ChatInput      the text that the flow is run with; `input_value` where a run brings none
Text           `text`, as it stands
Prompt         `template` with a value for each of its names: ``{question}`` is a field `question` of that node
LanguageModel  what a provider's `model` answers to `prompt`, told `system`, at `temperature`, paid by `api_key`
ChatOutput     `text`: what the flow answers
=============  =====================================================================================================

The value of a field stands in the flow, or comes along an edge from another node. It is the tweak's where there is one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from langflow_server.problems import BadRequest

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "SECRET_FIELDS",
    "Component",
    "Field",
    "Holds",
    "component_of",
    "fields_of",
    "fill_in",
    "names_in",
]

MAX_TEXT_CHARACTERS = 100_000
"""Of any text in a flow: what is sent, what is set, and what a node makes of it."""


class Component(StrEnum):
    """What a node is."""

    CHAT_INPUT = "ChatInput"
    TEXT = "Text"
    PROMPT = "Prompt"
    LANGUAGE_MODEL = "LanguageModel"
    CHAT_OUTPUT = "ChatOutput"


class Holds(Enum):
    """What a field holds."""

    TEXT = "a text, a Generic variable, or what an edge brings"
    SETTING = "a text, and it stands in the flow"
    NUMBER = "a number"
    SECRET = "a text that is never shown again, or a variable"  # noqa: S105 No password, but a sentence about one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a component. `is_needed`: without a value it cannot run."""

    holds: Holds = Holds.TEXT
    is_needed: bool = False


_NEEDED = Field(is_needed=True)

_FIELDS: Mapping[Component, Mapping[str, Field]] = {
    Component.CHAT_INPUT: {"input_value": Field()},
    Component.TEXT: {"text": Field()},
    Component.PROMPT: {"template": Field(holds=Holds.SETTING, is_needed=True)},
    Component.LANGUAGE_MODEL: {
        "provider": Field(holds=Holds.SETTING, is_needed=True),
        "model": _NEEDED,
        "system": Field(),
        "temperature": Field(holds=Holds.NUMBER),
        "api_key": Field(holds=Holds.SECRET),
        "prompt": _NEEDED,
    },
    Component.CHAT_OUTPUT: {"text": _NEEDED},
}

SECRET_FIELDS: Mapping[str, tuple[str, ...]] = {
    component: tuple(name for name, field in fields.items() if field.holds is Holds.SECRET)
    for component, fields in _FIELDS.items()
}
"""Which fields are secret, by the component's name: what a flow has in them is sealed when it is kept."""


def component_of(kind: str) -> Component:
    """Return the component by its name. Raises `BadRequest` if there is none."""
    try:
        return Component(kind)
    except ValueError:
        raise BadRequest(f"{kind!r} is none of the components: {', '.join(Component)}.") from None


def fields_of(component: Component, template: object) -> Mapping[str, Field]:
    """Return the fields of a component, a prompt's by its template. Raises `BadRequest` as `names_in` does."""
    fields = _FIELDS[component]
    if component is not Component.PROMPT or not isinstance(template, str):
        return fields
    names = names_in(template)
    if "template" in names:
        raise BadRequest("A template cannot have itself as a value: {template} needs another name.")
    return {**fields, **dict.fromkeys(names, _NEEDED)}


# --- templates ----------------------------------------------------------------------------------------------------

_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,99})\}|[{}]|[^{}]+")


def names_in(template: str) -> tuple[str, ...]:
    """Return the names in a template, each once. Raises `BadRequest` for a brace that is neither a name's nor doubled.

    ``{name}`` is all there is: no formats, no attributes, no indices. ``{{`` and ``}}`` stand for braces.
    """
    return tuple(dict.fromkeys(name for name, _ in _parts(template) if name is not None))


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Return a template with values for its names. What stands in a value is never looked at.

    Raises `BadRequest` if it comes to more than `MAX_TEXT_CHARACTERS`, and what `names_in` raises.
    """
    filled, length = [], 0
    for name, text in _parts(template):
        part = text if name is None else values[name]
        length += len(part)
        if length > MAX_TEXT_CHARACTERS:
            raise BadRequest(f"The template comes to more than {MAX_TEXT_CHARACTERS} characters.")
        filled.append(part)
    return "".join(filled)


def _parts(template: str) -> Iterator[tuple[str | None, str]]:
    for match in _PART.finditer(template):
        match match[0]:
            case "{{" | "}}" as doubled:
                yield None, doubled[0]
            case "{" | "}" as single:
                raise BadRequest(
                    f"The template has a single {single!r} at character {match.start() + 1}: write {single * 2} for a "
                    "brace, or {name} with letters, digits and underscores."
                )
            case text:
                yield match[1], text
