"""What an app gives KeyGuard to call: its own sign-in, its own answers, an observer, a clock."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from datetime import UTC, datetime
from typing import assert_type

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Scope

from keyguard import Access, Event, KeyGuard, Principal, Refusal, Source
from keyguard.stores.memory import MemoryStore
from keyguard.testing import FrozenClock

app = Starlette()
store = MemoryStore()


async def identify(scope: Scope) -> Principal | None:
    name = scope["session"].get("user")
    return Principal(id=name, name=name) if name else None


def refuse(scope: Scope, refusal: Refusal) -> JSONResponse:
    assert_type(refusal.status, int)
    assert_type(refusal.code, str)
    return JSONResponse({"error": refusal.code}, refusal.status)


async def refuse_slowly(scope: Scope, refusal: Refusal) -> PlainTextResponse | None:
    return PlainTextResponse(refusal.detail, refusal.status) if scope["type"] == "http" else None


def refuse_by_an_app(scope: Scope, refusal: Refusal) -> ASGIApp | None:
    return None


def observe(event: Event) -> None:
    assert_type(event.path, str)
    assert_type(event.sources, tuple[Source, ...])


def now() -> datetime:
    return datetime.now(UTC)


app.add_middleware(KeyGuard, store=store, identify=identify, on_refused=refuse, observer=observe, clock=now)
app.add_middleware(KeyGuard, store=store, on_refused=refuse_slowly, clock=FrozenClock())
app.add_middleware(KeyGuard, store=store, on_refused=refuse_by_an_app, observer=lambda event: None)


def identify_at_once(scope: Scope) -> Principal | None:
    return None


async def identify_by_name(scope: Scope) -> str:
    return "ada"


def observe_nothing() -> None: ...


app.add_middleware(KeyGuard, store=store, identify=identify_at_once)
app.add_middleware(KeyGuard, store=store, identify=identify_by_name)  # type: ignore[arg-type]  # No Principal.
app.add_middleware(KeyGuard, store=store, observer=observe_nothing)  # type: ignore[arg-type]  # It is told of an event.


def how(access: Access) -> str:
    assert_type(access.key_id, str | None)
    assert_type(access.source, Source | None)
    return access.rule.value
