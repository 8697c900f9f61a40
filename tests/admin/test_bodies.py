"""What the API reads: strict JSON, and of it what a schema knows."""

import json
import math
import re
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from starlette.requests import Request

from keyguard.admin import _schemas
from keyguard.admin._bodies import MOST_DEPTH, json_of, read_json
from keyguard.admin._parameters import read_parameters
from keyguard.admin._problems import Problem
from keyguard.admin._schemas import ALL_EVENTS_QUERY, BODIES, EVENTS_QUERY, KEYS_QUERY, NEW_KEY, NOTHING, PATCH
from keyguard.admin._shapes import faults, moment_of

JSON = [(b"content-type", b"application/json")]


def a_request(body=b"", headers=JSON, method="POST", query=b""):
    scope = {"type": "http", "method": method, "path": "/", "headers": headers, "query_string": query}

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


async def refusal(request, schema=NEW_KEY):
    with pytest.raises(Problem) as caught:
        await read_json(request, schema)
    return caught.value


# --- JSON -------------------------------------------------------------------------------------------------------

NOT_JSON = {
    "nothing but blanks": b"  ",
    "cut short": b'{"name": "a"',
    "two values": b"{} {}",
    "a comma too much": b'{"name": "a",}',
    "single quotes": b"{'name': 'a'}",
    "a comment": b'{"name": "a"} // mine',
    "no UTF-8": b'{"name": "\xff"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"name": "a"}',
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": Infinity}',
    "minus Infinity": b'{"name": -Infinity}',
    "a number beyond doubles": b'{"name": 1e999}',
    "an integer beyond doubles": b'{"name": ' + b"9" * 400 + b"}",
    "an integer with more digits than Python reads": b'{"name": ' + b"9" * 60_000 + b"}",
    "a leading zero": b'{"name": 01}',
    "a raw control character": b'{"name": "\n"}',
    "a member twice": b'{"name": "a", "name": "a"}',
    "a member twice, spelt in two ways": b'{"name": "a", "n\\u0061me": "b"}',
    "a member twice, further in": b'{"name": [{"a": 1, "a": 2}]}',
    "half of a surrogate pair": b'{"name": "\\ud800"}',
    "half of a surrogate pair in a member's name": b'{"\\udfff": 1}',
    "deeply nested lists": b"[" * 60_000,
    "deeply nested objects": b'{"a":' * 10_000,
    "nested lists that end": b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_no_json_is_400(body):
    """A body that is not I-JSON, or nested more deeply than anything that is asked for, is 400."""
    problem = await refusal(a_request(body))
    assert (problem.status, problem.code) == (400, "malformed_json")


def test_as_deep_as_allowed_is_read():
    """Lists may stand so many within one another as the bound says."""
    assert json_of(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)


def is_i_json(body):
    """Say by another way than ours whether bytes are I-JSON: a recursive reader of the grammar of RFC 8259."""
    try:
        text = body.decode("utf-8", "strict")
        value, end = _value(text, _blank(text, 0), 1)
    except (UnicodeDecodeError, _No):
        return False
    return _blank(text, end) == len(text) and _has_no_surrogate(value)


class _No(Exception):
    pass


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_WORD = re.compile(r"true|false|null")


def _blank(text, at):
    return re.compile(r"[ \t\n\r]*").match(text, at).end()


def _value(text, at, depth):
    """Read a value that begins at a place; return a list of the texts in it, and where it ends."""
    if text[at : at + 1] in ("{", "["):
        return _many(text, at, depth)
    if found := _STRING.match(text, at):
        units = re.sub(r"\\u([0-9a-fA-F]{4})", lambda one: chr(int(one[1], 16)), re.sub(r"\\[^u]", "x", found[0]))
        return [units.encode("utf-16", "surrogatepass")], found.end()
    if found := _NUMBER.match(text, at):
        if math.isinf(float(found[0])):
            raise _No
        return [], found.end()
    if found := _WORD.match(text, at):
        return [], found.end()
    raise _No


def _many(text, at, depth):
    if depth > MOST_DEPTH:
        raise _No
    is_object, end = text[at] == "{", "}" if text[at] == "{" else "]"
    texts, names = [], []
    at = _blank(text, at + 1)
    if text[at : at + 1] == end:
        return texts, at + 1
    while True:
        if is_object:
            name = _STRING.match(text, at)
            if name is None:
                raise _No
            (units,), at = _value(text, at, depth)
            names.append(json.loads(name[0]))
            texts.append(units)
            at = _blank(text, at)
            if text[at : at + 1] != ":":
                raise _No
            at = _blank(text, at + 1)
        inner, at = _value(text, at, depth + 1)
        texts += inner
        at = _blank(text, at)
        if text[at : at + 1] == end:
            if len(set(names)) < len(names):
                raise _No
            return texts, at + 1
        if text[at : at + 1] != ",":
            raise _No
        at = _blank(text, at + 1)


def _has_no_surrogate(texts):
    try:
        for units in texts:
            units.decode("utf-16", "strict")
    except UnicodeDecodeError:
        return False
    return True


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
_almost_json = st.lists(
    st.sampled_from(
        [*'{}[]:,"', '"a"', '"a":1', '"\\u0061":2', "1", "-0", "1e9", "1E400", "NaN", "\\", "\\ud83d\\ude00"]
    )
    | st.text(max_size=2),
    max_size=12,
).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60) | _almost_json | _json_values.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":1,"\\u0061":2}')
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ude00\\ud83d"')
@example(b'"\\\\ud800"')
@example(b"-")
@example("٣".encode())
def test_the_reader_agrees_with_a_reference(body):
    """Whatever the bytes, they are read if and only if another reader, written from the grammar, takes them."""
    if is_i_json(body):
        assert json_of(body) == json.loads(body)
    else:
        with pytest.raises(Problem) as caught:
            json_of(body)
        assert (caught.value.status, caught.value.code) == (400, "malformed_json")


# --- type and size ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "types",
    [
        [b"application/json"],
        [b"Application/JSON"],
        [b"application/json; charset=utf-8"],
        [b'application/json;charset="UTF-8"'],
        [b"application/json;"],
    ],
)
async def test_json_by_any_spelling_of_its_name(types):
    """A body that is said to be JSON, in whatever case and with its charset said, is read."""
    headers = [(b"content-type", each) for each in types]
    assert await read_json(a_request(b'{"name": "a"}', headers), NEW_KEY) == {"name": "a"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"")],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"application/merge-patch+json")],
        [(b"content-type", b"application/jsonx")],
        [(b"content-type", b"text/plain; application/json")],
        [(b"content-type", b"application/json, text/plain")],
        [(b"content-type", b"application/json; charset=utf-16")],
        [(b"content-type", b"application/json"), (b"content-type", b"text/plain")],
        [*JSON, (b"content-encoding", b"gzip")],
    ],
)
@pytest.mark.parametrize(("method", "name"), [("POST", "Accept"), ("PATCH", "Accept-Patch")])
async def test_what_is_not_called_json_is_415(headers, method, name):
    """A body under another name, under two, or compressed is 415, which says what is taken."""
    problem = await refusal(a_request(b"{}", headers, method))
    assert (problem.status, problem.code) == (415, "unsupported_media_type")
    assert problem.headers == {name: "application/json"}


async def test_no_body_is_an_empty_object():
    """A request without a body needs no type, and says nothing."""
    assert await read_json(a_request(b"", []), NOTHING) == {}


async def test_a_body_of_more_than_64_kib_is_413():
    """64 KiB are read, one byte more is not."""
    body = b'{"name": "a"}'
    assert await read_json(a_request(body + b" " * (65_536 - len(body))), NEW_KEY)
    problem = await refusal(a_request(body + b" " * (65_537 - len(body))))
    assert problem.status == 413


# --- shapes -----------------------------------------------------------------------------------------------------


def wrong(value, schema=NEW_KEY):
    return {fault.pointer: fault.detail for fault in faults(value, schema)}


@pytest.mark.parametrize(
    "name", ["owner", "owner_id", "key", "total_uses", "id", "prefix", "state", "etag", "created_at", "lookup", "actor"]
)
def test_what_a_client_may_not_set_is_an_unknown_member(name):
    """Owner, counts, the key itself and all else that a client may not say are members that are not known."""
    for schema in BODIES.values():
        assert wrong({name: "a"}, schema)[f"/{name}"] == "is no member that can be given here"


@pytest.mark.parametrize(
    ("value", "pointer", "detail"),
    [
        ([], "", "must be an object"),
        (None, "", "must be an object"),
        ({"name": 1}, "/name", "must be a text"),
        ({"name": None}, "/name", "must be a text"),
        ({"name": "a" * 201}, "/name", "must have at most 200 characters"),
        ({"name": "a\0b"}, "/name", "must have no NUL character"),
        ({"expires_at": 1}, "/expires_at", "must be a text or null"),
        (
            {"expires_at": "tomorrow"},
            "/expires_at",
            "must be a time with its offset from UTC, such as 2030-01-31T12:00:00Z",
        ),
        ({"scopes": "flows:read"}, "/scopes", "must be a list or null"),
        ({"scopes": ["a", 1]}, "/scopes/1", "must be a text"),
        ({"networks": None}, "/networks", "must be a list"),
        ({"networks": ["192.0.2.0/24"] * 101}, "/networks", "must have at most 100 items"),
        ({"networks": ["a" * 50]}, "/networks/0", "must have at most 49 characters"),
        ({"a~/b": 1}, "/a~0~1b", "is no member that can be given here"),
        ({"": 1}, "/", "is no member that can be given here"),
        ({"k" * 41: 1}, "", "has a member, with a long name, that cannot be given here"),
    ],
)
def test_a_fault_has_a_place(value, pointer, detail):
    """What is wrong is said with a JSON Pointer to it, and as what must be."""
    assert wrong(value) == {pointer: detail}


def test_a_network_that_is_none_is_said_to_be_none():
    """A network with host bits is refused with the one that was meant."""
    assert "192.0.2.0/24 has none" in wrong({"networks": ["192.0.2.1/24"]})["/networks/0"]


def test_all_faults_are_said_at_once():
    """Whoever fills a form in learns of everything that is wrong with it."""
    found = wrong({"name": 1, "scopes": [1, "a", 2], "owner": "eve"})
    assert set(found) == {"/name", "/scopes/0", "/scopes/2", "/owner"}


def test_a_patch_is_one_change():
    """A patch of nothing and one of two things are refused: it would not be made as a whole."""
    assert wrong({}, PATCH) == {"": "must have one of: name, disabled"}
    assert wrong({"name": "a", "disabled": True}, PATCH) == {"": "must have one alone of: name, disabled"}
    assert wrong({"disabled": False}, PATCH) == {}


def test_what_is_missing_is_said():
    """Members that a body must have are named where they are not there."""
    assert wrong({}, _schemas.SIGN_IN) == {"/name": "is missing", "/password": "is missing"}
    assert wrong({"keys": [{"id": "a"}]}, _schemas.DELETION) == {"/keys/0/etag": "is missing"}
    assert wrong({"keys": []}, _schemas.DELETION) == {"/keys": "must have 1 or more items"}


FORMATS = FormatChecker(())


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(text):
    """The grammar of RFC 3339 §5.6, and a day that there is."""
    if not isinstance(text, str):
        return True
    date, mark, rest = text[:10], text[10:11], text[11:]
    time, zone = rest[:8], re.sub(r"^\.[0-9]{1,9}", "", rest[8:])
    shape = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date) and mark in {"T", "t"}
    shape = shape and re.fullmatch(r"[0-9]{2}:[0-9]{2}:[0-9]{2}", time)
    shape = shape and (zone in {"Z", "z"} or re.fullmatch(r"[+-][0-9]{2}:[0-9]{2}", zone))
    if not shape:
        return False
    moment = datetime(*map(int, date.split("-")), *map(int, time.split(":")), tzinfo=UTC)
    hours, minutes = (0, 0) if zone in {"Z", "z"} else map(int, zone[1:].split(":"))
    ahead = hours * 60 + minutes
    if hours > 23 or minutes > 59:
        return False
    since = (moment - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() - (-ahead if zone[0] == "-" else ahead) * 60
    return 0 <= since < (datetime(9999, 12, 31, tzinfo=UTC) - datetime(1, 1, 1, tzinfo=UTC)).total_seconds() + 86_400


@FORMATS.checks("network", raises=ValueError)
def _is_network(text):
    return not isinstance(text, str) or "%" not in str(ip_network(text))


_moments = st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][012][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,4})?([Zz]|[+-][0-9]{2}:[0-9]{2})?",
    fullmatch=True,
)
_texts = (
    st.text(max_size=5) | _moments | st.sampled_from(["192.0.2.0/24", "192.0.2.1/24", "::/0", "fe80::%1", "a" * 300])
)
_leaves = st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats(allow_nan=False) | _texts
_names = st.sampled_from(sorted({name for schema in BODIES.values() for name in schema["properties"]} | {"id", "etag"}))
_candidates = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names | st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("schema", BODIES.values(), ids=BODIES.keys())
@given(value=st.dictionaries(_names, _candidates, max_size=3) | _candidates)
@example(value={"grace_seconds": 1.0})
@example(value={"grace_seconds": True})
@example(value={"expires_at": "0001-01-01T00:00:00+01:00"})
@example(value={"expires_at": "9999-12-31T23:59:59-00:01"})
@example(value={"expires_at": "2030-02-30T00:00:00Z"})
@example(value={"expires_at": "2030-01-31T24:00:00Z"})
@example(value={"expires_at": "2030-01-31T12:00:00Z\n"})
@example(value={"keys": [{"id": "a", "etag": "b"}]})
def test_bodies_are_held_to_the_schemas_that_are_published(schema, value):
    """A JSON value fits one of our schemas if and only if a full reader of JSON Schema says so."""
    assert (not list(faults(value, schema))) is Draft202012Validator(schema, format_checker=FORMATS).is_valid(value)


def test_a_moment_is_read_in_utc():
    """A time is what it says, whatever its offset."""
    assert moment_of("2030-01-31t12:00:00.25+01:30") == datetime(2030, 1, 31, 10, 30, 0, 250_000, tzinfo=UTC)


# --- queries ----------------------------------------------------------------------------------------------------


def query(text, parameters=KEYS_QUERY):
    return read_parameters(a_request(query=text.encode("latin-1")), parameters)


def test_a_query_is_read_with_its_defaults():
    """What is not said of a list is what the document says it is by default."""
    assert query("") == {"q": "", "sort": "created", "page": 1, "per_page": 50}
    assert query("q=a+b%26&state=active&state=grace&page=2&order=asc") == {
        "q": "a b&",
        "state": ["active", "grace"],
        "sort": "created",
        "order": "asc",
        "page": 2,
        "per_page": 50,
    }
    assert query("before=7", EVENTS_QUERY) == {"before": 7, "limit": 50}


@pytest.mark.parametrize(
    ("text", "parameter", "detail"),
    [
        ("limit=5", "limit", "is no parameter that can be given here"),
        ("Page=1", "Page", "is no parameter that can be given here"),
        ("x" * 100 + "=1", "x" * 40, "is no parameter that can be given here"),
        ("page=1&page=2", "page", "must be given once"),
        ("page=0", "page", "must be at least 1"),
        ("page=1000001", "page", "must be at most 1000000"),
        ("page=-1", "page", "must be a whole number"),
        ("page=1.0", "page", "must be a whole number"),
        ("page=1_0", "page", "must be a whole number"),
        ("page=%D9%A3", "page", "must be a whole number"),
        ("page=", "page", "must be a whole number"),
        ("per_page=101", "per_page", "must be at most 100"),
        ("sort=color", "sort", "must be one of: created, name, owner, expires, last_used, uses"),
        ("order=up", "order", "must be one of: asc, desc"),
        (
            "state=gone",
            "state",
            "must be one of: revoked, expired, disabled, not_yet_valid, grace, active, expiring_soon",
        ),
        ("q=" + "a" * 201, "q", "must have at most 200 characters"),
    ],
)
def test_a_parameter_that_is_not_known_or_not_right_is_422(text, parameter, detail):
    """A mistake in a query is told, and not read over."""
    with pytest.raises(Problem) as caught:
        query(text)
    assert (caught.value.status, caught.value.code) == (422, "invalid_parameters")
    assert caught.value.errors == [{"parameter": parameter, "detail": detail}]


@pytest.mark.parametrize("text", ["q=%ff", "q=\xe9", "&".join(["state=active"] * 51)])
def test_a_query_that_cannot_be_read_is_422(text):
    """Bytes that are no text, and more values than there can be, are told as a whole."""
    with pytest.raises(Problem) as caught:
        query(text)
    assert (caught.value.status, caught.value.code) == (422, "invalid_parameters")


@given(st.binary(max_size=40) | st.text(alphabet="page=&12%+q;state", max_size=30).map(str.encode))
def test_no_query_is_more_than_refused(text):
    """Whatever stands behind the question mark, it is read or is 422."""
    for parameters in (KEYS_QUERY, EVENTS_QUERY, ALL_EVENTS_QUERY):
        refused = None
        try:
            read_parameters(a_request(query=text), parameters)
        except Problem as problem:
            refused = problem.status
        assert refused in {None, 422}
