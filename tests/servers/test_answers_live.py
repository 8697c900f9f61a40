"""What refused callers get from real servers, byte for byte."""

import json
import random

import pytest
from servers.guarded import BAD_KEYS, key_of
from servers.wire import HANDSHAKE, Closed, Wire, ask, request, shake_hands

GOOD = f"X-API-Key: {key_of('good')}"
LIMITED = f"X-API-Key: {key_of('limited')}"
CHALLENGE = 'ApiKey realm="api", header="x-api-key", query="x-api-key"'
INVALID = {
    "type": "about:blank",
    "title": "Unauthorized",
    "status": 401,
    "detail": "The API key is not valid.",
    "code": "invalid_key",
}
MISSING = INVALID | {"detail": "An API key is required.", "code": "missing_key"}

WAYS = pytest.mark.parametrize("send", [ask, shake_hands], ids=["request", "handshake"])


@WAYS
def test_a_bad_key_gets_one_constant_answer(port, send):
    """Whether malformed, unknown, not yet valid, expired, revoked, disabled, of an inactive owner or from elsewhere."""
    answers = [send(port, "/anything", f"X-API-Key: {key_of(name)}").constant for name in BAD_KEYS]
    answers += [send(port, "/anything", f"X-API-Key: {value}").constant for value in ("", "malformed", "k" * 600)]
    status, fields, body = answers[0]
    assert answers == [(status, fields, body)] * (len(BAD_KEYS) + 3)
    assert (status, json.loads(body)) == (401, INVALID)
    assert ("www-authenticate", f'{CHALLENGE}, error="invalid_token"') in fields
    assert ("cache-control", "no-store") in fields
    assert ("content-type", "application/problem+json") in fields


def test_a_bad_key_gets_that_answer_in_the_query_too(port):
    """The same, with a word to the browser that the address is not for others."""
    answers = [ask(port, f"/anything?x-api-key={key_of(name)}").constant for name in BAD_KEYS]
    answers += [ask(port, f"/anything?x-api-key={value}").constant for value in ("", "malformed", "%zz", "%ff")]
    in_header = ask(port, "/anything", "X-API-Key: malformed")
    status, fields, body = answers[0]
    assert answers == [(status, fields, body)] * (len(BAD_KEYS) + 4)
    assert (status, body) == (in_header.status, in_header.body)
    assert set(fields) - set(in_header.fields) == {("referrer-policy", "no-referrer")}


@WAYS
def test_a_missing_key_may_be_told_apart(port, send):
    """By its code, and by a challenge without an error."""
    missing, invalid = send(port, "/anything"), send(port, "/anything", "X-API-Key: x")
    assert (missing.status, json.loads(missing.body)) == (401, MISSING)
    assert missing.header("www-authenticate") == [CHALLENGE]
    differing = {name for name, _ in set(missing.fields) ^ set(invalid.fields)}
    assert differing - {"date"} == {"www-authenticate", "content-length"}


@WAYS
def test_bearer_adds_its_challenge(port, send):
    """Both schemes are named, in one field or in two."""
    reply = send(port, "/anything", shape="bearer")
    assert ", ".join(reply.header("www-authenticate")) == f'{CHALLENGE}, Bearer realm="api"'


@WAYS
def test_each_refusal_has_its_status(port, send):
    """400 for what is ambiguous, 403 only after a good key; none is to be stored, and only a 401 challenges."""
    ambiguous = send(port, "/flows", GOOD, GOOD)
    lacking = send(port, "/flows", LIMITED)
    bad = send(port, "/flows", f"X-API-Key: {key_of('revoked')}")
    nothing = send(port, "/flows")
    replies = [ambiguous, lacking, bad, nothing]
    assert [(reply.status, reply.code) for reply in replies] == [
        (400, "ambiguous_credentials"),
        (403, "insufficient_scope"),
        (401, "invalid_key"),
        (401, "missing_key"),
    ]
    assert [reply.header("cache-control") for reply in replies] == [["no-store"]] * 4
    assert [len(reply.header("www-authenticate")) for reply in replies] == [0, 0, 1, 1]
    assert send(port, "/flows", GOOD).endpoint == "guarded flows"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/anything?x-api-key={key_of('good')}", 200),
        (f"/health?x-api-key={key_of('good')}", 200),
        (f"/feed?x-api-key={key_of('good')}", 200),
        (f"/static/a.js?x-api-key={key_of('good')}", 200),
        (f"/flows?x-api-key={key_of('limited')}", 403),
        (f"/anything?x-api-key={key_of('good')}&x-api-key=", 400),
        (f"/anything?X-Api-Key={key_of('good')}", 400),
        ("/anything?x-api-key=1", 401),
    ],
)
def test_an_address_with_a_key_is_not_for_others(port, target, status):
    """Each answer to a request whose query was used asks for no referrer; without a key in it none does."""
    path, _, _ = target.partition("?")
    reply = ask(port, target)
    assert (reply.status, reply.header("referrer-policy")) == (status, ["no-referrer"])
    assert ask(port, path, GOOD).header("referrer-policy") == []
    assert ask(port, f"{path}?a=1").header("referrer-policy") == []


def test_a_redirection_does_not_repeat_the_key(port):
    """Starlette adds a slash to the address that it finds in the scope."""
    reply = ask(port, f"/slash?a=1&x-api-key={key_of('good')}&b=%20", shape="slashes")
    assert reply.status == 307
    assert reply.header("location") == ["http://host.example/slash/?a=1&b=%20"]
    assert reply.header("referrer-policy") == ["no-referrer"]


@pytest.mark.parametrize(
    ("fields", "status"), [((), 401), (("X-API-Key: 1",), 401), ((GOOD, GOOD), 400), ((LIMITED,), 403)]
)
def test_head_gets_the_head_of_what_get_gets(port, fields, status):
    """The same status and fields, and no body."""
    got, head = (ask(port, "/flows", *fields, method=method) for method in ("GET", "HEAD"))
    assert head.status == got.status == status
    assert [field for field in head.fields if field[0] != "date"] == got.constant[1]
    assert (head.body, head.header("content-length")) == (b"", [str(len(got.body))])


def test_options_is_not_exempt_by_itself(port):
    """It needs a key where the others need one."""
    assert ask(port, "/anything", method="OPTIONS").status == 401
    assert ask(port, "/anything", GOOD, method="OPTIONS").status == 200
    assert ask(port, "/health", method="OPTIONS").status == 200


ORIGIN = "Origin: https://app.example"
PREFLIGHT = (ORIGIN, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-api-key")


def test_cors_outside_answers_a_preflight(port):
    """A browser asks without a key whether it may send one."""
    reply = ask(port, "/anything", *PREFLIGHT, method="OPTIONS", shape="cors")
    assert reply.status == 200
    assert reply.header("access-control-allow-origin") == ["https://app.example"]
    assert "x-api-key" in reply.header("access-control-allow-headers")[0].lower()
    assert ask(port, "/anything", *PREFLIGHT, method="OPTIONS").status == 401


@pytest.mark.parametrize(
    ("fields", "status"),
    [((), 401), (("X-API-Key: 1",), 401), ((GOOD, GOOD), 400), ((LIMITED,), 403), ((GOOD,), 200)],
)
def test_a_browser_can_read_a_refusal(port, fields, status):
    """With CORSMiddleware outside, refusals carry its headers as answers do."""
    reply = ask(port, "/flows", ORIGIN, *fields, shape="cors")
    assert (reply.status, reply.header("access-control-allow-origin")) == (status, ["https://app.example"])


@pytest.mark.parametrize("fields", [(), ("X-API-Key: 1",), (GOOD, GOOD)])
def test_without_the_extension_a_handshake_is_closed(port, fields):
    """Closed before it was accepted, it is a bare 403; never a 101."""
    reply = shake_hands(port, "/anything", *fields, shape="without-denial")
    assert (reply.status, b"code" in reply.body) == (403, False)
    assert shake_hands(port, "/anything", GOOD, shape="without-denial").status == 101


def test_a_connection_remembers_no_key(port):
    """What one request presented is forgotten at the next on the same connection."""
    with Wire(port) as wire:
        seen = []
        for fields in ((GOOD,), (), (GOOD,), ("X-API-Key: 1",), ()):
            wire.send(request("/anything", *fields, close=False))
            reply = wire.reply()
            seen.append((reply.status, reply.report.get("key")))
    assert seen == [(200, "good"), (401, None), (200, "good"), (401, None), (401, None)]


def test_a_refused_body_is_no_request(port):
    """What follows the head of a refused request is its body, whatever it looks like."""
    smuggled = request("/anything?smuggled=1", GOOD, close=False)
    with Wire(port) as wire:
        wire.send(request("/anything?first", method="POST", body=smuggled, close=False))
        assert wire.reply().code == "missing_key"
        try:
            wire.send(request("/anything?second", GOOD))
            assert wire.reply().report["query"] == "second"
        except (Closed, BrokenPipeError):
            pass  # To hang up on an unread body is as good an answer.


def test_no_bytes_bring_a_server_error(server):
    """Whatever stands in query and headers, the answer is a refusal or a pass, never a 5xx; seeded."""
    chance = random.Random(6)
    pieces = [
        b"x-api-key",
        b"X-API-KEY",
        b"=",
        b"&",
        b"%",
        b"%00",
        b"%ff",
        b"+",
        b";",
        b",",
        b" ",
        b"\t",
        b"\xff",
        b'"',
    ]
    pieces += [b"kg_", key_of("good").encode(), key_of("good")[:30].encode(), b"Bearer ", b"%6", b"\xe2\x84\xaa", b"["]
    statuses = set()
    for _ in range(300):
        query, value, other = (b"".join(chance.choices(pieces, k=chance.randrange(9))) for _ in range(3))
        query = query.replace(b" ", b"").replace(b"\t", b"")
        fields = (b"X-API-Key:" + value, b"Authorization: " + other)[: chance.randrange(3)]
        try:
            reply = ask(server.port, b"/anything?" + query, *fields, *chance.choice([(), HANDSHAKE]), shape="bearer")
        except Closed:
            continue
        statuses.add(reply.status)
    assert {400, 401} <= statuses <= {200, 101, 400, 401}
