"""The request that is to be explained, as a server would make its scope."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote_from_bytes, unquote

from starlette.types import Scope

from keyguard.errors import ConfigurationError
from keyguard.middleware import KeyGuard
from keyguard.model import (
    Source,
)

__all__ = ["request", "with_key"]


def request(
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    query: Iterable[str] = (),
    websocket: bool = False,
    client: str = "127.0.0.1",
    root_path: str = "",
) -> Scope:
    """Return the scope of a request, as a server would make it.

    Args:
        method: of HTTP; a WebSocket has none.
        target: the path as it is sent, encoded, with or without a query behind it.
        headers: names and values.
        query: parts of a query, such as ``page=2``, as they are sent.
        websocket: whether it is a WebSocket.
        client: the address that it comes from; that of the proxy, where there is one.
        root_path: the server's `root_path`.

    Raises:
        ConfigurationError: if the target does not begin with a slash, or if something cannot be sent.
    """
    path, _, own_query = target.partition("?")
    if not path.startswith("/") or not _is_sent(target):
        raise ConfigurationError(
            "the path begins with a slash, and is written as it is sent: what is not ASCII, as %XX"
        )
    parts = [part for part in [own_query, *query] if part]
    if not all(map(_is_sent, parts)):
        raise ConfigurationError("a part of the query is written as it is sent: what is not ASCII, or a blank, as %XX")
    try:
        fields = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
    except UnicodeEncodeError:
        raise ConfigurationError("a header's name is ASCII, and its value Latin-1") from None
    scope: dict[str, Any] = {
        "type": "websocket" if websocket else "http",
        "scheme": "ws" if websocket else "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": "&".join(parts).encode(),
        "headers": fields,
        "client": (client, 0),
        "server": None,
    }
    return scope if websocket else scope | {"method": method}


def _is_sent(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def with_key(guard: KeyGuard, scope: Scope, key: str | None, places: Sequence[Source] = ()) -> Scope:
    """Return a scope that presents `key` to `guard`: a text, whatever it is, or None for nothing.

    `places` are where it is put; where none is named, it is the first in which the guard looks. In more than one it is
    ambiguous.

    Raises:
        ConfigurationError: if `scope` presents a key already, in a place where others may have seen it, or if the guard
            does not look in one of `places`.
    """
    given = guard.sources.extract(scope["headers"], scope["query_string"])
    if given.candidates or given.is_ambiguous:
        raise ConfigurationError(
            "a key does not stand among the headers or in the query, where others may read it: it is given by itself"
        )
    if key is None:
        return scope
    looked_in = _places(guard)
    headers, query_string = list(scope["headers"]), scope["query_string"]
    for place in places or looked_in[:1]:
        if place not in looked_in:
            raise ConfigurationError(f"this guard looks for no key in the {place.value}")
        value = key.encode(errors="surrogateescape")
        if place is Source.QUERY:
            part = f"{guard.sources.query}={quote_from_bytes(value, safe='')}".encode()
            query_string = b"&".join(filter(None, [query_string, part]))
        elif place is Source.HEADER:
            headers.append(((guard.sources.header or "").encode(), value))
        else:
            headers.append((b"authorization", b"Bearer " + value))
    return {**scope, "headers": headers, "query_string": query_string}


def _places(guard: KeyGuard) -> list[Source]:
    """Return where a guard looks for keys."""
    sources = guard.sources
    looked = {Source.HEADER: sources.header, Source.QUERY: sources.query, Source.BEARER: sources.bearer}
    return [place for place, is_looked_in in looked.items() if is_looked_in]
