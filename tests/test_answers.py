"""How a refusal is answered: over HTTP and WebSocket, with our own words or the app's."""

import json

import pytest
from asgi import connect, get, send_scope, websocket_scope
from starlette.responses import JSONResponse, Response

from keyguard.answers import Answerer, RefusalResponse
from keyguard.model import Reason
from keyguard.refusals import Challenge, refusal_for

BOTH = Challenge(header="x-api-key", bearer=True)
INVALID = refusal_for(Reason.UNKNOWN)


def answering(reason=Reason.UNKNOWN, *, on_refused=None, query_was_used=False):
    """An ASGI app that refuses everything, for one reason."""
    return RefusalResponse(Answerer(BOTH, on_refused), refusal_for(reason), query_was_used=query_was_used)


@pytest.mark.parametrize("reason", Reason)
async def test_a_request_gets_status_headers_and_body(reason):
    """Over HTTP a refusal is its status, its headers in their order, and its problem document."""
    answer = await get(answering(reason))
    refusal = refusal_for(reason)
    start, body = answer.messages
    assert start == {
        "type": "http.response.start",
        "status": refusal.status,
        "headers": refusal.headers(BOTH, query_was_used=False),
    }
    assert body == {"type": "http.response.body", "body": refusal.body}


async def test_a_head_request_gets_no_body():
    """The answer to HEAD has the same headers, the length of what is not sent included, and an empty body."""
    head, full = await get(answering(), method="HEAD"), await get(answering())
    assert (head.status, head.headers, head.body) == (401, full.headers, b"")
    assert head.header("content-length") == [str(len(INVALID.body))]


async def test_an_answer_to_a_key_in_the_query():
    """Where the query was used, the browser is asked to keep the address for itself, over WebSocket too."""
    for talk in (get, connect):
        assert (await talk(answering(query_was_used=True))).header("referrer-policy") == ["no-referrer"]
        assert (await talk(answering())).header("referrer-policy") == []


async def test_a_websocket_is_denied_where_the_server_can():
    """With the denial extension a WebSocket gets the same answer, all challenges in one field, and is not accepted."""
    answer = await connect(answering())
    assert answer.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (answer.status, answer.body) == (401, INVALID.body)
    assert answer.header("www-authenticate") == [
        'ApiKey realm="api", header="x-api-key", error="invalid_token", Bearer realm="api", error="invalid_token"'
    ]
    others = [(name, value) for name, value in (await get(answering())).headers if name != "www-authenticate"]
    assert [(name, value) for name, value in answer.headers if name != "www-authenticate"] == others


async def test_a_denial_without_a_challenge_has_no_empty_field():
    """A denial that is no 401 has no challenge, and no field for one."""
    answer = await connect(answering(Reason.AMBIGUOUS))
    assert (answer.status, answer.header("www-authenticate")) == (400, [])


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
async def test_a_websocket_is_closed_where_the_server_cannot_deny(extensions):
    """Without the denial extension a WebSocket is closed as one that violates a policy, before it was accepted."""
    scope = websocket_scope(denial=False) | {"extensions": extensions}
    answer = await send_scope(answering(), scope, {"type": "websocket.connect"})
    assert answer.messages == [{"type": "websocket.close", "code": 1008, "reason": "invalid_key"}]


async def test_a_scope_without_extensions():
    """A server that knows no extensions need not say so."""
    scope = websocket_scope(denial=False)
    del scope["extensions"]
    assert (await send_scope(answering(), scope, {"type": "websocket.connect"})).types == ["websocket.close"]


async def test_a_websocket_that_has_gone_gets_nothing():
    """A client that has gone before it was answered gets no answer, and the app's own words are not asked for."""
    asked = []
    app = answering(on_refused=lambda scope, refusal: asked.append(refusal))
    answer = await send_scope(app, websocket_scope(), {"type": "websocket.disconnect", "code": 1006})
    assert (answer.messages, asked) == ([], [])


# --- the app's own answer ---------------------------------------------------------------------------------------


def page(scope, refusal):
    return JSONResponse({"code": refusal.code, "path": scope["path"]}, 418, {"x-own": "yes"})


async def async_page(scope, refusal):
    return page(scope, refusal)


@pytest.mark.parametrize("on_refused", [page, async_page])
async def test_the_app_may_answer(on_refused):
    """What `on_refused` returns answers instead, be it async or not; it sees the scope and the public refusal."""
    answer = await get(answering(on_refused=on_refused), "/flows")
    assert (answer.status, answer.header("x-own")) == (418, ["yes"])
    assert json.loads(answer.body) == {"code": "invalid_key", "path": "/flows"}


@pytest.mark.parametrize("on_refused", [page, async_page])
async def test_the_app_may_answer_a_websocket(on_refused):
    """What `on_refused` returns denies a WebSocket where the server can do that."""
    answer = await connect(answering(on_refused=on_refused), "/live")
    assert answer.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (answer.status, json.loads(answer.body)["path"]) == (418, "/live")


async def test_a_plain_app_may_answer_a_websocket():
    """An app that speaks HTTP alone, in any number of pieces, denies a WebSocket too."""

    async def plain(scope, receive, send):
        await send({"type": "http.response.start", "status": 418})
        for piece in (b"one", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": piece == b"one"})

    answer = await connect(answering(on_refused=lambda scope, refusal: plain))
    assert answer.types == ["websocket.http.response.start", *["websocket.http.response.body"] * 2]
    assert (answer.status, answer.body) == (418, b"onetwo")


async def test_the_app_is_not_asked_where_only_closing_is_possible():
    """Where a WebSocket can only be closed, `on_refused` is not asked: there is no answer that it could replace."""
    asked = []
    app = answering(on_refused=lambda scope, refusal: asked.append(refusal))
    assert (await connect(app, denial=False)).types == ["websocket.close"]
    assert asked == []


async def _raises(scope, refusal):
    raise LookupError("no template")


@pytest.mark.parametrize(
    ("on_refused", "line"),
    [
        (lambda scope, refusal: None, None),
        (lambda scope, refusal: 1 / 0, "ZeroDivisionError"),
        (_raises, "LookupError: no template"),
        (lambda: None, "TypeError"),
        (lambda scope, refusal: "go away", "TypeError: on_refused returns an ASGI app or None; not str"),
        (lambda scope, refusal: (403, "go away"), "TypeError: on_refused returns an ASGI app or None; not tuple"),
    ],
    ids=["None", "raises", "raises later", "wrong arguments", "a text", "a tuple"],
)
async def test_an_answer_that_the_app_does_not_give(caplog, on_refused, line):
    """Where `on_refused` returns None, nothing useful, or raises, the usual answer is given; a mistake is logged."""
    for talk in (get, connect):
        caplog.clear()
        answer = await talk(answering(on_refused=on_refused))
        assert (answer.status, answer.body) == (401, INVALID.body)
        logged = [record for record in caplog.records if record.name == "keyguard"]
        assert [record.getMessage() for record in logged] == (
            [] if line is None else ["on_refused failed; the usual answer is given"]
        )
        assert line is None or line in caplog.text


# --- as a response ----------------------------------------------------------------------------------------------


async def test_a_refusal_is_a_response():
    """A refusal can be returned wherever a Starlette response can, and says its status and body before it is sent."""
    response = answering(Reason.SCOPE_MISSING)
    assert isinstance(response, Response)
    assert (response.status_code, response.body) == (403, refusal_for(Reason.SCOPE_MISSING).body)
    assert (await get(response)).status == 403
