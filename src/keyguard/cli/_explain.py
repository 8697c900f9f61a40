"""The command that says why a request would pass, or not."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer
from starlette.types import Scope

from keyguard.cli._app import app, command
from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._invocation import Invocation
from keyguard.cli._loading import Factory, load_app
from keyguard.errors import ConfigurationError
from keyguard.explain import Explanation, explain, request, with_key
from keyguard.middleware import KeyGuard
from keyguard.model import Allowed, Decision, Principal, Refused, Rule, Source
from keyguard.routes import guards_met

__all__ = ["explain_request"]


@command(app, "explain", needs_store=False)
async def explain_request(
    invocation: Invocation,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, …; of a WebSocket it does not matter.")],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The path as it is sent, encoded, with its query if it has one.")
    ],
    *,
    app_name: Annotated[
        str, typer.Option("--app", metavar="MODULE:APP", help="The app, as uvicorn takes it.", show_default=False)
    ],
    factory: Factory = False,
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header field that is sent; repeatable.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A part of the query, encoded; repeatable.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="-", help="With - a key is sent, which is typed unseen or comes from standard input."),
    ] = None,
    place: Annotated[
        list[Source] | None,
        typer.Option("--in", help="Where the key is put; else the first place where one is looked for. Repeatable."),
    ] = None,
    websocket: Annotated[bool, typer.Option("--websocket", help="It is a WebSocket.")] = False,
    client: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where it comes from; behind a proxy, the proxy.")
    ] = "127.0.0.1",
    root_path: Annotated[
        str, typer.Option(metavar="PATH", help="The root_path that the server sets; with uvicorn PATH begins with it.")
    ] = "",
) -> None:
    """Say which rule lets a request pass or refuses it, step by step, and why.

    The app is imported and not started. Its store is asked as with a request; nothing is counted or written.
    """
    if key not in {None, "-"}:
        raise Failed(
            "--key takes no key, for it would stand in the shell's history: say `--key -`, and type it or pipe it in. "
            "Nothing was done"
        )
    text = None if key is None else invocation.read_secret("Key")
    loaded = load_app(app_name, factory=factory)
    sent = request(
        method.upper(),
        path,
        headers=[_field(each) for each in header or ()],
        query=query or (),
        websocket=websocket,
        client=client,
        root_path=root_path,
    )
    met = guards_met(loaded, sent)
    if not met:
        raise Failed(
            f"no guard of {app_name} is met by {path}: as far as anybody can tell here, everybody may call it. "
            f"`keyguard check {app_name}` lists what is guarded",
            ExitCode.FOUND,
        )
    explanations = [each async for each in _explained(met, text, place or ())]
    if invocation.as_json:
        invocation.output.json({"guards": [_document(each) for each in explanations]})
    else:
        _show(invocation, explanations)
    if any(each.decision.rule is Rule.OUTAGE for each in explanations):
        raise typer.Exit(ExitCode.UNREACHABLE)


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name.strip() or not colon:
        raise Failed("a header is written as 'Name: value'")
    return name.strip(), value.strip()


async def _explained(
    met: Sequence[tuple[KeyGuard | None, Scope]], key: str | None, places: Sequence[Source]
) -> AsyncIterator[Explanation]:
    """Explain one guard after the other, as far as a request gets."""
    before: Explanation | None = None
    for guard, seen in met:
        if guard is None:
            raise Failed("a guard on the way cannot be set up, so that nothing passes it: `keyguard check` says why")
        try:
            if before is None:
                scope = with_key(guard, seen, key, places)
            else:
                scope = {**with_key(guard, seen, None), **before.handed_on}
        except ConfigurationError as error:
            raise Failed(f"{error}. Say `--key -`, and type it or pipe it in") from None
        before = await explain(guard, scope)
        yield before
        if not before.passes:
            return


def _show(invocation: Invocation, explanations: Sequence[Explanation]) -> None:
    for number, explanation in enumerate(explanations, 1):
        if number > 1:
            invocation.output.line("")
            invocation.output.line("It comes to another guard, further in.")
        for step in explanation.steps:
            invocation.output.item(step.what, step.found)


def _document(explanation: Explanation) -> dict[str, object]:
    decision, refusal = explanation.decision, explanation.refusal
    return {
        "passes": explanation.passes,
        "requirement": explanation.requirement.value,
        "rule": decision.rule.name,
        "reason": decision.reason.name if isinstance(decision, Refused) else None,
        "status": refusal.status if refusal else None,
        "code": refusal.code if refusal else None,
        "user": _user(decision.principal) if isinstance(decision, Allowed) else None,
        "key_id": _key_id(decision),
        "steps": [{"what": step.what, "found": step.found} for step in explanation.steps],
    }


def _user(principal: Principal) -> dict[str, object]:
    return {
        "id": principal.id,
        "name": principal.name,
        "is_superuser": principal.is_superuser,
        "scopes": sorted(principal.scopes),
    }


def _key_id(decision: Decision) -> str | None:
    return decision.key.id if isinstance(decision, Allowed | Refused) and decision.key else None
