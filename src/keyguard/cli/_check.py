"""The command that looks at an app's routes."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, cast

import typer

from keyguard.cli._app import app, command
from keyguard.cli._failures import ExitCode
from keyguard.cli._invocation import Invocation
from keyguard.cli._loading import AppName, Factory, load_app
from keyguard.routes import Finding, Level, RouteKind, Survey, SurveyedRoute, survey

__all__ = ["check"]

Strict = Annotated[
    bool, typer.Option("--strict", help="End with exit code 1 if there is a warning, or something cannot be told.")
]


@command(app, "check", needs_store=False)
async def check(invocation: Invocation, app_name: AppName, *, factory: Factory = False, strict: Strict = False) -> None:
    """List an app's routes as guarded, optional or exempt, and warn of what is open against your wish.

    The app is imported and not started, and no store is asked.
    """
    loaded = load_app(app_name, factory=factory)
    with redirect_stdout(sys.stderr):  # The app's middleware is constructed, and may print.
        found = survey(loaded)
    if invocation.as_json:
        invocation.output.json({"app": app_name, "is_clear": found.is_clear, **_plain(found)})
    else:
        _show(invocation, found)
    if strict and not found.is_clear:
        raise typer.Exit(ExitCode.FOUND)


def _show(invocation: Invocation, found: Survey) -> None:
    output = invocation.output
    output.table(["asked with", "path", "is"], (_row(route) for route in found.routes))
    output.line("")
    if found.findings:
        output.pairs((finding.level.value, finding.message) for finding in found.findings)
    output.line(_summary(found))


def _row(route: SurveyedRoute) -> tuple[str, str, str]:
    methods = ("any" if method == "*" else method for method in route.methods)
    asked = "websocket" if route.kind is RouteKind.WEBSOCKET else " ".join(methods)
    parts = {"exempt in part": route.exempt, "optional in part": route.optional}
    said = [route.standing.value, *(f"{name}: {', '.join(paths)}" for name, paths in parts.items() if paths)]
    return asked, route.host + route.path, "; ".join(said)


def _summary(found: Survey) -> str:
    count = Counter(finding.level for finding in found.findings)
    if found.is_clear:
        return "Nothing to warn of."
    warnings, unknown = count[Level.WARNING], count[Level.CANNOT_TELL]
    parts = [f"{warnings} warning{'s' * (warnings > 1)}"] * bool(warnings)
    parts += [f"{unknown} that cannot be told"] * bool(unknown)
    return f"{' and '.join(parts)}."


def _plain(value: Any) -> Any:  # noqa: ANN401 A value of JSON, of whatever kind.
    """Return a value as JSON has it, with the names of its fields."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("Sequence[object]", value)]
    if is_dataclass(value):
        level = {"level": value.level.value} if isinstance(value, Finding) else {}
        return level | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
