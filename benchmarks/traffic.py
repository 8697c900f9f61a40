"""Requests as a server hands them to an app, and how long an app takes for them."""

import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any

__all__ = ["PATH", "Scopes", "requests_with", "seconds_for", "status_of"]

PATH = "/items"
"""What every request asks for: a path that is guarded."""

USUAL_HEADERS = (
    ("host", "api.example.com"),
    ("user-agent", "python-httpx/0.28.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("connection", "keep-alive"),
    ("x-request-id", "0b6f2a7c-5d1f-4c9e-9b57-2f6d5f0e8a11"),
)

Scope = MutableMapping[str, Any]
Scopes = Callable[[int], Sequence[Scope]]
"""Makes so many requests."""

App = Callable[..., Any]
"""An ASGI app; each framework gives the three arguments types of its own."""


def requests_with(keys: Iterable[str], *, header: str = "x-api-key") -> list[Scope]:
    """Return a request for each key, with the key behind the six usual headers.

    Nothing is shared between two of them, down to the bytes: a server makes those anew for each request, so that their
    hashes, which Python remembers, have to be computed.
    """
    return [_request(key, header) for key in keys]


def _request(key: str, header: str) -> Scope:
    headers = [(_new(name), _new(value)) for name, value in (*USUAL_HEADERS, (header, key))]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.7", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": _new(PATH).decode(),
        "raw_path": _new(PATH),
        "query_string": b"",
        "headers": headers,
        "state": {},
    }


def _new(text: str) -> bytes:
    return bytes(bytearray(text.encode()))


async def _receive() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: MutableMapping[str, Any]) -> None:
    pass


async def seconds_for(app: App, scopes: list[Scope], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long `app` takes by `clock` to answer `scopes`, one after another; none of them is left.

    A server lets a scope go when it is answered, and with it all that the app has put there.
    """
    begin = clock()
    while scopes:
        await app(scopes.pop(), _receive, _send)
    return clock() - begin


async def status_of(app: App, scope: Scope) -> int:
    """Return the status that `app` answers `scope` with."""
    statuses: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, _receive, send)
    (status,) = statuses
    return status
