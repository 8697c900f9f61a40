"""Where a key may stand in a request, and what is made of it, as real servers pass it on."""

from dataclasses import dataclass, field

import pytest
from servers.guarded import key_of
from servers.harness import SERVERS
from servers.wire import Closed, ask, shake_hands

GOOD, OTHER, UNKNOWN = key_of("good"), key_of("other"), key_of("unknown")
MISSING, INVALID, AMBIGUOUS = (401, "missing_key"), (401, "invalid_key"), (400, "ambiguous_credentials")
HEADER, QUERY, BEARER = "HEADER", "QUERY", "BEARER"
ENCODED = "".join(f"%{ord(character):02X}" for character in GOOD)
encoded = ENCODED.lower()
ODD = "&".join(f"%61{number}=1" for number in range(256))


@dataclass(frozen=True)
class Row:
    what: str
    expected: object
    fields: tuple = ()
    query: str = ""
    shape: str = "starlette"
    path: str = "/anything"
    unparsed: tuple = field(default=())
    """The servers, or their WebSockets, that refuse such a request themselves."""


# uvicorn hands a handshake on to websockets, which takes no control characters and no lines of more than 8 KiB.
UVICORN_SOCKETS = ("httptools websocket", "h11 websocket")
EVERYWHERE = tuple(kind + way for kind in SERVERS for way in ("", " websocket"))


def header(*values):
    return tuple(f"X-API-Key: {value}" for value in values)


ROWS = [
    Row("nothing", MISSING),
    # In the header.
    Row("a key in the header", HEADER, header(GOOD)),
    Row("the name in any letter case", HEADER, (f"x-aPi-kEy: {GOOD}",)),
    Row("blanks around it", HEADER, (f"x-api-key: \t {GOOD} \t",)),
    Row("no blank before it", HEADER, (f"x-api-key:{GOOD}",)),
    Row("a blank within it", INVALID, header(f"{GOOD[:20]} {GOOD[20:]}")),
    Row("an unknown key", INVALID, header(UNKNOWN)),
    Row("an empty header", INVALID, ("x-api-key:",)),
    Row("a header of blanks", INVALID, ("x-api-key: \t ",)),
    Row("an underscore is no hyphen", MISSING, (f"X_API_KEY: {GOOD}",)),
    Row("an underscore beside a good key", HEADER, (f"X_API_KEY: {OTHER}", *header(GOOD))),
    Row("another name", MISSING, (f"X-API-Key2: {GOOD}", f"API-Key: {GOOD}")),
    Row("two keys", AMBIGUOUS, header(GOOD, OTHER)),
    Row("two equal keys", AMBIGUOUS, header(GOOD, GOOD)),
    Row("two, in two letter cases", AMBIGUOUS, (f"X-API-KEY: {GOOD}", f"x-api-key: {GOOD}")),
    Row("two, the first empty", AMBIGUOUS, header("", GOOD)),
    Row("two, the last empty", AMBIGUOUS, header(GOOD, "")),
    Row("two empty ones", AMBIGUOUS, header("", "")),
    Row("two apart from each other", AMBIGUOUS, (*header(GOOD), "X-Between: 1", *header(OTHER))),
    Row("no list at commas", INVALID, header(f"{GOOD}, {GOOD}")),
    Row("no list at commas, one unknown", INVALID, header(f"{GOOD},{UNKNOWN}")),
    Row("quoted", INVALID, header(f'"{GOOD}"')),
    Row("percent-encoded in the header", INVALID, header(ENCODED)),
    Row("one character more", INVALID, header(f"{GOOD}0")),
    Row("one character less", INVALID, header(GOOD[:-1])),
    Row("another letter case", INVALID, header(GOOD.swapcase())),
    Row("another prefix", INVALID, header(f"lf{GOOD[2:]}")),
    Row("513 bytes", INVALID, header("k" * 513)),
    Row("40,000 bytes", INVALID, header("k" * 40_000), unparsed=UVICORN_SOCKETS),
    Row("bytes that are no ASCII", INVALID, header("\xff\xfe")),
    Row("a key and a byte that is no ASCII", INVALID, header(f"{GOOD}\xa0")),
    Row("a full-width digit", INVALID, header(GOOD[:-1] + "\uff11".encode().decode("latin-1"))),
    Row(
        "a control character behind it",
        INVALID,
        header(f"{GOOD}\x01"),
        unparsed=("httptools", "granian", "granian websocket", *UVICORN_SOCKETS),
    ),
    Row(
        "a vertical tab around it is no blank",
        INVALID,
        header(f"\x0b{GOOD}\x0b"),
        unparsed=EVERYWHERE,
    ),
    Row(
        "a key and NUL",
        INVALID,
        header(f"{GOOD}\x00"),
        unparsed=EVERYWHERE,
    ),
    Row(
        "a folded line",
        INVALID,
        (f"X-API-Key: {GOOD}\r\n {GOOD}",),
        unparsed=("httptools", "granian", "granian websocket", "httptools websocket"),
    ),
    Row(
        "a blank before the colon",
        INVALID,
        (f"X-API-Key : {GOOD}",),
        unparsed=EVERYWHERE,
    ),
    # In the query.
    Row("a key in the query", QUERY, query=f"x-api-key={GOOD}"),
    Row("first of several", QUERY, query=f"x-api-key={GOOD}&a=1"),
    Row("in the middle", QUERY, query=f"a=1&x-api-key={GOOD}&b=2"),
    Row("with empty parts around it", QUERY, query=f"&&x-api-key={GOOD}&&"),
    Row("behind a question mark", MISSING, query=f"?x-api-key={GOOD}"),
    Row("behind another parameter's question mark", QUERY, query=f"a=?&x-api-key={GOOD}"),
    Row("percent-encoded, capitals", QUERY, query=f"x-api-key={ENCODED}"),
    Row("percent-encoded, small letters", QUERY, query=f"x-api-key={encoded}"),
    Row("percent-encoded in part", QUERY, query=f"x-api-key={GOOD[:-1]}%{ord(GOOD[-1]):02x}"),
    Row("encoded twice", INVALID, query=f"x-api-key={ENCODED.replace('%', '%25')}"),
    Row("a broken escape", INVALID, query=f"x-api-key={GOOD}%"),
    Row("a broken escape within", INVALID, query=f"x-api-key={GOOD[:5]}%zz{GOOD[5:]}"),
    Row("an encoded byte that is no ASCII", INVALID, query=f"x-api-key={GOOD}%ff"),
    Row("an encoded NUL", INVALID, query=f"x-api-key={GOOD}%00"),
    Row("an encoded line end", INVALID, query=f"x-api-key={GOOD}%0a"),
    Row("a blank is no part of it", INVALID, query=f"x-api-key=%20{GOOD}"),
    Row("a plus is no blank", INVALID, query=f"x-api-key=+{GOOD}"),
    Row("a plus behind it", INVALID, query=f"x-api-key={GOOD}+"),
    Row("a second equals sign", INVALID, query=f"x-api-key=={GOOD}"),
    Row("an unknown key in the query", INVALID, query=f"x-api-key={UNKNOWN}"),
    Row("empty", INVALID, query="x-api-key="),
    Row("without equals sign", INVALID, query="x-api-key"),
    Row("no split at semicolons", MISSING, query=f"a=1;x-api-key={GOOD}"),
    Row("a semicolon behind it", INVALID, query=f"x-api-key={GOOD};a=1"),
    Row("two in the query", AMBIGUOUS, query=f"x-api-key={GOOD}&x-api-key={OTHER}"),
    Row("two equal ones in the query", AMBIGUOUS, query=f"x-api-key={GOOD}&x-api-key={GOOD}"),
    Row("one empty in the query", AMBIGUOUS, query=f"x-api-key={GOOD}&x-api-key="),
    Row("one without equals sign", AMBIGUOUS, query=f"x-api-key={GOOD}&x-api-key"),
    Row("the name with brackets", MISSING, query=f"x-api-key[]={GOOD}"),
    Row("an underscore in the query", MISSING, query=f"x_api_key={GOOD}"),
    Row("the name as a value", MISSING, query=f"a=x-api-key={GOOD}"),
    # Names that another parser could take for it.
    Row("another letter case of the name", AMBIGUOUS, query=f"X-API-Key={GOOD}"),
    Row("an encoded letter of the name", AMBIGUOUS, query=f"x-api-ke%79={GOOD}"),
    Row("an encoded hyphen of the name", AMBIGUOUS, query=f"x%2Dapi-key={GOOD}"),
    Row("the Kelvin sign", AMBIGUOUS, query=f"x-api-%E2%84%AAey={GOOD}"),
    Row("a lookalike beside a good key", AMBIGUOUS, query=f"x-api-key={GOOD}&X-Api-Key={OTHER}"),
    Row("a lookalike beside a header", AMBIGUOUS, header(GOOD), query=f"X-Api-Key={OTHER}"),
    Row("a lookalike without value", AMBIGUOUS, query="x-api-ke%79"),
    Row("a name that only resembles it", MISSING, query=f"x-api-ke%78={GOOD}"),
    Row("a plus in the name is a blank", MISSING, query=f"x+api+key={GOOD}"),
    Row("256 odd names", QUERY, query=f"{ODD}&x-api-key={GOOD}"),
    Row("257 odd names", AMBIGUOUS, query=f"{ODD}&%62=1&x-api-key={GOOD}"),
    Row("257 odd names and no key", AMBIGUOUS, query=f"{ODD}&%62=1"),
    Row(
        "60,000 bytes of query, the key last",
        QUERY,
        query=f"{'a=1&' * 15_000}x-api-key={GOOD}",
        unparsed=UVICORN_SOCKETS,
    ),
    Row("60,000 bytes of one value", INVALID, query=f"x-api-key={'%41' * 20_000}", unparsed=UVICORN_SOCKETS),
    # In both.
    Row("in header and query", AMBIGUOUS, header(GOOD), query=f"x-api-key={GOOD}"),
    Row("a header, and an empty query", AMBIGUOUS, header(GOOD), query="x-api-key="),
    Row("an empty header, and a query", AMBIGUOUS, header(""), query=f"x-api-key={GOOD}"),
    Row("different in header and query", AMBIGUOUS, header(GOOD), query=f"x-api-key={OTHER}"),
    # Nowhere else.
    Row("a cookie", MISSING, (f"Cookie: x-api-key={GOOD}",)),
    Row("a user and password", MISSING, ("Authorization: Basic YWRhOmFkYQ==",)),
    Row("a bearer token where none is read", MISSING, (f"Authorization: Bearer {GOOD}",)),
    Row("the referrer", MISSING, (f"Referer: https://host.example/?x-api-key={GOOD}",)),
    Row("the query, where it is not read", MISSING, query=f"x-api-key={GOOD}", shape="no-query"),
    Row("the header, where the query is not read", HEADER, header(GOOD), query="x-api-key=1", shape="no-query"),
    # As a bearer token.
    Row("a bearer token", BEARER, (f"Authorization: Bearer {GOOD}",), shape="bearer"),
    Row("the scheme in any letter case", BEARER, (f"authorization: bEARER {GOOD}",), shape="bearer"),
    Row("two blanks behind the scheme", BEARER, (f"Authorization: Bearer  {GOOD}",), shape="bearer"),
    Row("an unknown bearer token of ours", INVALID, (f"Authorization: Bearer {UNKNOWN}",), shape="bearer"),
    Row("a foreign bearer token", INVALID, ("Authorization: Bearer eyJhbGciOi.J9.x",), shape="bearer"),
    Row("an empty bearer token", INVALID, ("Authorization: Bearer",), shape="bearer"),
    Row("another scheme", MISSING, (f"Authorization: Basic {GOOD}",), shape="bearer"),
    Row("no scheme", MISSING, (f"Authorization: {GOOD}",), shape="bearer"),
    Row("two bearer tokens", AMBIGUOUS, (f"Authorization: Bearer {GOOD}",) * 2, shape="bearer"),
    Row("a bearer token and a header", AMBIGUOUS, (f"Authorization: Bearer {GOOD}", *header(GOOD)), shape="bearer"),
    Row("a bearer token and a query", AMBIGUOUS, (f"Authorization: Bearer {GOOD}",), f"x-api-key={GOOD}", "bearer"),
    Row("a foreign token and a good key", HEADER, ("Authorization: Bearer eyJ.x", *header(GOOD)), shape="bearer"),
    Row("a foreign token that is known", "eve", ("Authorization: Bearer session-of-eve",), shape="signed-in"),
    Row("a foreign token that nobody knows", INVALID, ("Authorization: Bearer session-of-x",), shape="signed-in"),
    Row(
        "a bad key beside a known token",
        INVALID,
        ("Authorization: Bearer session-of-eve", *header("")),
        "",
        "signed-in",
    ),
    # On open paths.
    Row("no key on an optional path", None, path="/feed"),
    Row("a good key on an optional path", HEADER, header(GOOD), path="/feed"),
    Row("a bad key on an optional path", INVALID, header(UNKNOWN), path="/feed"),
    Row("an ambiguous key on an optional path", AMBIGUOUS, header(GOOD, GOOD), path="/feed"),
    Row("an empty key on an optional path", INVALID, header(""), path="/feed"),
    Row("a good key on an exempt path", None, header(GOOD), path="/health"),
    Row("a bad key on an exempt path", None, header(UNKNOWN), query="x-api-key=%zz", path="/health"),
    Row("257 odd names on an exempt path", None, query=f"{ODD}&%62=1&x-api-key={GOOD}", path="/health"),
]


def target(row):
    return row.path + (f"?{row.query}" if row.query else "")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_request_is_read_in_one_way(server, row):
    """Each row's request is let in from where it says, or refused as it says, and the app sees no key of it."""
    judge(row, server.kind, 200, lambda **more: ask(server.port, target(row), *row.fields, shape=row.shape, **more))


@pytest.mark.parametrize("row", [row for row in ROWS if row.path == "/anything"], ids=lambda row: row.what)
def test_a_handshake_is_read_in_the_same_way(server, row):
    """WebSockets are judged by the same rows: accepted, or denied with the same answer."""
    kind = f"{server.kind} websocket"
    judge(row, kind, 101, lambda **more: shake_hands(server.port, target(row), *row.fields, shape=row.shape, **more))


def judge(row, kind, good, send):
    if kind in row.unparsed:
        assert is_unparsed(send)
        return
    reply = send()
    assert GOOD not in reply.raw.decode("latin-1")
    match row.expected:
        case (status, code):
            assert (reply.status, reply.code) == (status, code)
            assert reply.header("content-type") == ["application/problem+json"]
        case "eve":
            assert (reply.status, reply.report["user"], reply.report["source"]) == (good, "eve", None)
        case None:
            assert (reply.status, reply.report["user"], reply.report["source"]) == (good, "", None)
        case source:
            assert (reply.status, reply.report["key"], reply.report["source"]) == (good, "good", source)


def is_unparsed(send):
    """Tell whether the server refused by itself: the answer is none of ours, or there is none."""
    try:
        reply = send(patience=0.3)
    except (Closed, TimeoutError):  # uvicorn leaves a connection open whose handshake was too long.
        return True
    return 400 <= reply.status < 500 and b"code" not in reply.body
