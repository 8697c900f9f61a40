"""What bodies and queries are held to: the schemas that are published, read as a full reader of JSON Schema would."""

import re
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from starlette.requests import Request

from keyguard.admin._api import schemas
from keyguard.admin._api.parameters import read_parameters
from keyguard.admin._api.schemas import ALL_EVENTS_QUERY, BODIES, EVENTS_QUERY, KEYS_QUERY, NEW_KEY, PATCH
from keyguard.admin._api.shapes import faults, moment_of
from keyguard.admin._problems import Problem

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
    assert wrong({}, schemas.SIGN_IN) == {"/name": "is missing", "/password": "is missing"}
    assert wrong({"keys": [{"id": "a"}]}, schemas.DELETION) == {"/keys/0/etag": "is missing"}
    assert wrong({"keys": []}, schemas.DELETION) == {"/keys": "must have 1 or more items"}


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


def asked(query):
    return Request({"type": "http", "query_string": query})


def query(text, parameters=KEYS_QUERY):
    return read_parameters(asked(text.encode("latin-1")), parameters)


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
    assert caught.value.errors == [{"detail": "The query must be percent-encoded UTF-8, with at most 50 values."}]


@given(st.binary(max_size=40) | st.text(alphabet="page=&12%+q;state", max_size=30).map(str.encode))
def test_no_query_is_more_than_refused(text):
    """Whatever stands behind the question mark, it is read or is 422."""
    for parameters in (KEYS_QUERY, EVENTS_QUERY, ALL_EVENTS_QUERY):
        refused = None
        try:
            read_parameters(asked(text), parameters)
        except Problem as problem:
            refused = problem.status
        assert refused in {None, 422}
