"""The templates, and the words they know."""

from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from keyguard.admin import _shown
from keyguard.model import ALL_SCOPES, KeyRecord

__all__ = ["ENVIRONMENT"]


# These go by the time of the request, which every page has as `now`: one page speaks of one moment.


@pass_context
def _relative(context: Context, time: datetime) -> str:
    return _shown.relative(time, context["now"])


@pass_context
def _condition(context: Context, key: KeyRecord) -> _shown.Condition:
    return _shown.condition(key, context["now"])


@pass_context
def _state_word(context: Context, key: KeyRecord) -> str:
    return _shown.state_word(key, context["now"])


@pass_context
def _actions(context: Context, key: KeyRecord) -> frozenset[str]:
    return frozenset(action.value for action in _shown.actions(key, context["now"]))


def _called(key: KeyRecord) -> str:
    return _shown.in_a_sentence(key.name, key.hint)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("keyguard.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "actions": _actions,
        "amount": _shown.amount,
        "called": _called,
        "condition": _condition,
        "exact": _shown.exact,
        "key_path": _shown.key_path,
        "longer": _shown.longer,
        "plain": _shown.plain,
        "relative": _relative,
        "state_word": _state_word,
    }
    words: dict[str, Any] = {"all_scopes": ALL_SCOPES}
    environment.filters.update(filters)
    environment.globals.update(words)
    return environment


ENVIRONMENT = _environment()
