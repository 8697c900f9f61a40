"""What the API reads: strict JSON, and of it what a schema knows."""

import json
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from keyguard.admin._api.bodies import MOST_DEPTH, json_of, read_json
from keyguard.admin._api.schemas import NEW_KEY, NOTHING
from keyguard.admin._problems import Problem

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
        [b"application/json ; ; \t;charset=utf-8 ; "],
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


@pytest.mark.parametrize("blanks", ["; ", " ;", ";", "; charset=utf-8 "])
async def test_a_type_is_read_once(blanks):
    """A type of whatever length is refused at once: a pattern that tries each blank twice would never end here."""
    headers = [(b"content-type", f"application/json{blanks * 5_000}x".encode())]
    assert (await refusal(a_request(b"{}", headers))).status == 415


async def test_no_body_is_an_empty_object():
    """A request without a body needs no type, and says nothing."""
    assert await read_json(a_request(b"", []), NOTHING) == {}


async def test_a_body_of_more_than_64_kib_is_413():
    """64 KiB are read, one byte more is not."""
    body = b'{"name": "a"}'
    assert await read_json(a_request(body + b" " * (65_536 - len(body))), NEW_KEY)
    problem = await refusal(a_request(body + b" " * (65_537 - len(body))))
    assert problem.status == 413
