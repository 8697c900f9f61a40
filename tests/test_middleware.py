"""KeyGuard as an ASGI app sees it: what reaches the app, what is answered instead, and what is left in the scope."""

import asyncio
import gc
import inspect
from datetime import datetime, timedelta

import pytest
from asgi import connect, get, http_scope, live, send_scope, websocket_scope
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from keyguard import (
    AnonymousUser,
    ConfigurationError,
    KeyFormat,
    KeyGuard,
    Keyring,
    PathRule,
    Policy,
    Principal,
    Reason,
    Rule,
    Source,
    StoreUnavailable,
    WrongPepper,
    lifecycle,
)
from keyguard.access import Access, NotPermitted
from keyguard.model import Allowed, Refused
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, FrozenClock


class Foreign(MemoryStore):
    """A store of another program."""

    async def open(self):
        raise WrongPepper("the keys were made under another pepper")


class Recorder:
    """An app that answers 200 and keeps the scopes that reached it."""

    def __init__(self):
        self.scopes = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})
        await send({"type": "http.response.body", "body": b"app"})

    @property
    def scope(self):
        return self.scopes[-1]


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
async def store():
    store = MemoryStore()
    await lifecycle.add_owner(store, "ada", id="1")
    await lifecycle.add_owner(store, "root", id="2", is_superuser=True)
    return store


@pytest.fixture
async def key(store):
    return (await lifecycle.issue(store, "1", name="laptop")).key.reveal()


def guard(app, store, **options):
    return KeyGuard(app, store=store, **options)


# --- passing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "options", "source"),
    [
        (lambda key: {"headers": [("x-api-key", key)]}, {}, Source.HEADER),
        (lambda key: {"headers": [("X-API-Key", f" {key}\t")]}, {}, Source.HEADER),
        (lambda key: {"query": f"a=1&x-api-key={key}&b=2".encode()}, {}, Source.QUERY),
        (lambda key: {"headers": [("authorization", f"bearer {key}")]}, {"bearer": True}, Source.BEARER),
        (lambda key: {"headers": [("x-token", key)]}, {"header": "X-Token"}, Source.HEADER),
        (lambda key: {"query": f"token={key}".encode()}, {"query": "token"}, Source.QUERY),
    ],
    ids=["header", "blanks around", "query", "bearer", "other header", "other parameter"],
)
async def test_good_key(app, store, key, request_, options, source):
    """A good key passes, from each place that is looked into, and the app finds its owner and how it came in."""
    answer = await get(guard(app, store, **options), **request_(key))
    assert (answer.status, answer.body) == (200, b"app")
    user, auth, access = (app.scope[name] for name in ("user", "auth", "keyguard"))
    assert user == Principal(id="1", name="ada")
    assert (user.is_authenticated, user.display_name, user.identity, user.is_superuser) == (True, "ada", "1", False)
    assert "authenticated" in auth.scopes
    assert "flows:read" in auth.scopes
    assert "superuser" not in auth.scopes
    assert isinstance(access, Access)
    assert (access.rule, access.key_name, access.source) == (Rule.KEY, "laptop", source)
    assert await lifecycle.get(store, access.key_id)


@pytest.mark.parametrize(
    "request_",
    [
        lambda key: {"headers": [("x-api-key", key)]},
        lambda key: {"query": f"a=%20&x-api-key={key}&b".encode()},
        lambda key: {"headers": [("authorization", f"Bearer {key}")]},
        lambda key: {"headers": [("x-api-key", key)], "query": f"x-api-key={key}".encode()},
        lambda key: {"query": f"X-API-KEY={key}&x%2Dapi-key={key}".encode()},
    ],
    ids=["header", "query", "bearer", "header and query", "lookalikes"],
)
@pytest.mark.parametrize("path", ["/", "/health", "/greeting"])
@pytest.mark.parametrize("suffix", ["", "x"])
async def test_keys_are_taken_out_of_the_servers_scope(app, store, key, request_, path, suffix):
    """Passed, exempt, optional or refused: no key is left in the scope that the server logs from."""
    policy = Policy(exempt=["/health"], optional=["/greeting"])
    answer = await get(guard(app, store, policy=policy, bearer=True), path, **request_(key + suffix))
    assert key not in repr((answer.scope["headers"], answer.scope["query_string"], answer.scope.get("raw_path")))


async def test_the_rest_of_the_query_stays(app, store, key):
    """All other bytes of the query reach the app as they were sent."""
    await get(guard(app, store), query=f"a=%20&x-api-key={key}&&b=+&a=2".encode())
    assert app.scope["query_string"] == b"a=%20&&b=+&a=2"


async def test_query_in_raw_path(app, store, key):
    """Where a server lets the query stand in the raw path, it is cut off with the key."""
    query = f"x-api-key={key}".encode()
    await get(guard(app, store), query=query, raw_path=b"/?" + query)
    assert app.scope["raw_path"] == b"/"
    await get(guard(app, store), headers=[("x-api-key", key)], query=b"a=1", raw_path=b"/?a=1")
    assert app.scope["raw_path"] == b"/?a=1"


async def test_query_without_a_raw_path(app, store, key):
    """A server that brings no raw path, which it need not, is given none; the key is taken out all the same."""
    scope = http_scope(query=f"x-api-key={key}&a=1".encode())
    del scope["raw_path"]
    assert (await send_scope(guard(app, store), scope)).status == 200
    assert app.scope["query_string"] == b"a=1"
    assert "raw_path" not in app.scope


async def test_strip_off_keeps_the_header_only(app, store, key):
    """With strip=False the header stays in the scope; the query's key never does."""
    await get(guard(app, store, strip=False), headers=[("x-api-key", key)])
    assert app.scope["headers"] == [(b"x-api-key", key.encode())]
    await get(guard(app, store, strip=False), query=f"x-api-key={key}".encode())
    assert app.scope["query_string"] == b""


async def test_headers_are_an_own_list(app, store, key):
    """A server that goes on appending trailer fields to its list cannot add to what the app sees."""
    scope = http_scope(headers=[("X-Api-Key", key), ("X-Other", "1")])
    servers_own = scope["headers"]
    await send_scope(guard(app, store), scope)
    servers_own.append((b"x-api-key", b"late"))
    assert app.scope["headers"] == [(b"x-other", b"1")]


async def test_referrer_policy_for_a_key_in_the_query(app, store, key):
    """The app's answer to a key in the query asks the browser to keep the address to itself, unless the app has."""
    query = f"x-api-key={key}".encode()
    answer = await get(guard(app, store), query=query)
    assert answer.headers == [("x-app", "yes"), ("referrer-policy", "no-referrer")]
    assert (await get(guard(app, store), headers=[("x-api-key", key)])).headers == [("x-app", "yes")]

    async def careful(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Referrer-Policy", b"same-origin")]})
        await send({"type": "http.response.body"})

    assert (await get(guard(careful, store), query=query)).headers == [("Referrer-Policy", "same-origin")]


async def test_superuser_needs_owner_and_scope(app, store):
    """Superuser rights need both: an owner who is one, and a key that has all of its owner's permissions."""
    for scopes, expected in {None: True, ("flows:read",): False, (): False}.items():
        key = (await lifecycle.issue(store, "2", scopes=scopes)).key.reveal()
        await get(guard(app, store), headers=[("x-api-key", key)])
        assert app.scope["user"].is_superuser is expected
        assert ("superuser" in app.scope["auth"].scopes) is expected


async def test_starlettes_requires(store):
    """Starlette's own @requires holds by pattern."""

    @requires("flows:read")
    async def flows(request):
        return PlainTextResponse(request.user.display_name)

    starlette = Starlette(routes=[Route("/", flows)])
    for scopes, status in {("flows:*",): 200, ("flows:read", "x"): 200, ("runs:*",): 403, None: 200}.items():
        key = (await lifecycle.issue(store, "1", scopes=scopes)).key.reveal()
        assert (await get(guard(starlette, store), headers=[("x-api-key", key)])).status == status


# --- refusing ---------------------------------------------------------------------------------------------------


async def test_no_key(app, store):
    """A request without a key is refused with a problem document that says where keys go."""
    answer = await get(guard(app, store, bearer=True))
    assert app.scopes == []
    assert answer.status == 401
    assert answer.header("content-type") == ["application/problem+json"]
    assert answer.header("cache-control") == ["no-store"]
    assert answer.header("www-authenticate") == [
        'ApiKey realm="api", header="x-api-key", query="x-api-key"',
        'Bearer realm="api"',
    ]
    assert answer.header("content-length") == [str(len(answer.body))]
    assert (answer.json["code"], answer.json["status"]) == ("missing_key", 401)


async def test_bad_keys_look_alike(app, store):
    """Whatever is wrong with a key, its caller gets the same answer, byte for byte."""
    clock = FrozenClock()
    day = timedelta(days=1)
    issue = lambda **more: lifecycle.issue(store, "1", clock=clock, **more)  # noqa: E731
    revoked, disabled = await issue(), await issue()
    await lifecycle.revoke(store, revoked.record.id)
    await lifecycle.disable(store, disabled.record.id)
    await lifecycle.add_owner(store, "gone", id="3")
    inactive = await lifecycle.issue(store, "3")
    await lifecycle.deactivate(store, "3")
    issued = {
        Reason.REVOKED: revoked,
        Reason.DISABLED: disabled,
        Reason.OWNER_INACTIVE: inactive,
        Reason.NOT_YET_VALID: await issue(not_before=NOON + 2 * day, expires_at=NOON + 3 * day),
        Reason.EXPIRED: await issue(expires_at=NOON + day / 2),
        Reason.ADDRESS_NOT_ALLOWED: await issue(networks=["198.51.100.0/24"]),
    }
    other = MemoryStore()
    await lifecycle.add_owner(other, "eve", id="1")
    texts = {reason: one.key.reveal() for reason, one in issued.items()}
    texts[Reason.UNKNOWN] = (await lifecycle.issue(other, "1")).key.reveal()
    texts[Reason.MALFORMED] = "kg_nonsense"
    clock.advance(day)

    events = []
    answers = {}
    for reason, text in texts.items():
        answer = await get(guard(app, store, clock=clock, observer=events.append), headers=[("x-api-key", text)])
        assert isinstance(events[-1].decision, Refused)
        assert events[-1].decision.reason is reason
        answers[reason] = answer.messages
    assert len(texts) == 8
    assert app.scopes == []
    first = answers.pop(Reason.UNKNOWN)
    assert first[0]["status"] == 401
    assert all(messages == first for messages in answers.values())
    assert b'error="invalid_token"' in dict(first[0]["headers"])[b"www-authenticate"]


async def test_ambiguous(app, store, key):
    """Two keys are one too many, even equal ones and an empty one."""
    for request in (
        {"headers": [("x-api-key", key), ("x-api-key", key)]},
        {"headers": [("x-api-key", key)], "query": b"x-api-key="},
        {"query": f"x-api-key={key}&X-Api-Key=1".encode()},
    ):
        answer = await get(guard(app, store), **request)
        assert (answer.status, answer.json["code"]) == (400, "ambiguous_credentials")
    assert answer.header("referrer-policy") == ["no-referrer"]
    assert app.scopes == []


async def test_head_has_no_body(app, store):
    """The refusal of a HEAD has the headers of a GET's and no body."""
    answer, full = await get(guard(app, store), method="HEAD"), await get(guard(app, store))
    assert answer.body == b""
    assert answer.headers == full.headers


async def test_store_not_available(app, store, key, caplog):
    """A store that fails is 503 with Retry-After, and exempt paths go on."""

    class Failing(MemoryStore):
        async def find(self, lookups):
            raise StoreUnavailable("the disk is full")

    guarded = guard(app, Failing(), policy=Policy(exempt=["/health"]))
    answer = await get(guarded, headers=[("x-api-key", key)])
    assert (answer.status, answer.header("retry-after"), answer.json["code"]) == (503, ["1"], "unavailable")
    assert "the disk is full" in caplog.text
    assert (await get(guarded, "/health", headers=[("x-api-key", key)])).status == 200


# --- WebSockets -------------------------------------------------------------------------------------------------


async def test_websocket_passes(app, store, key):
    """A WebSocket with a good key reaches the app like a request."""
    answer = await connect(guard(app, store), query=f"x-api-key={key}".encode())
    assert answer.types == ["websocket.accept"]
    assert app.scope["user"].name == "ada"


async def test_websocket_denial(app, store):
    """A refused WebSocket gets the same answer as a request, as a denial response, before it was accepted."""
    answer, full = await connect(guard(app, store)), await get(guard(app, store))
    assert answer.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (answer.status, answer.headers, answer.body) == (full.status, full.headers, full.body)
    assert app.scopes == []


async def test_websocket_close(app, store):
    """Where the server has no denial response, a refused WebSocket is closed with 1008 before it was accepted."""
    answer = await connect(guard(app, store), denial=False)
    assert answer.messages == [{"type": "websocket.close", "code": 1008, "reason": "missing_key"}]
    scope = websocket_scope()
    del scope["extensions"]
    assert (await send_scope(guard(app, store), scope, {"type": "websocket.connect"})).types == ["websocket.close"]


async def test_websocket_that_has_gone(app, store):
    """A client that went away before it was answered is answered with nothing."""
    assert (await send_scope(guard(app, store), websocket_scope())).messages == []


async def test_exempt_websocket_only_by_its_own_entry(app, store):
    """A path is exempt for WebSockets only where its entry says so."""
    policy = Policy(exempt=["/health", PathRule(path="/live", websocket=True)])
    assert (await connect(guard(app, store, policy=policy), "/health")).status == 401
    assert (await connect(guard(app, store, policy=policy), "/live")).types == ["websocket.accept"]


# --- the policy's modes -----------------------------------------------------------------------------------------


async def test_exempt_is_anonymous(app, store, key):
    """An exempt request is anonymous, whatever key it carries."""
    await get(guard(app, store, policy=Policy(exempt=["/health"])), "/health", headers=[("x-api-key", key)])
    assert app.scope["user"] == AnonymousUser()
    assert app.scope["user"].is_authenticated is False
    assert list(app.scope["auth"].scopes) == []
    assert app.scope["keyguard"].rule is Rule.EXEMPT
    assert app.scope["keyguard"].source is None


@pytest.mark.parametrize("name", ["skip_auth", "auto_login"])
async def test_auto_login_user(app, store, name, caplog):
    """Requests that are excused from their key pass as the auto-login user, and start-up says so loudly."""
    policy = (
        Policy(skip_auth=True, auto_login_user="root")
        if name == "skip_auth"
        else Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="root")
    )
    guarded = guard(app, store, policy=policy)
    for _ in range(2):
        assert (await get(guarded)).status == 200
    assert app.scope["user"] == Principal(id="2", name="root", is_superuser=True)
    assert [record.levelname for record in caplog.records if "ANYONE" in record.getMessage()] == ["WARNING"]
    assert "'root'" in caplog.text
    await lifecycle.deactivate(store, "2")
    assert (await get(guarded)).status == 401


async def test_skip_auth_notes_a_bad_key(app, store, caplog):
    """Under SKIP_AUTH a bad key passes as the auto-login user; the event and the log say what was wrong."""
    events = []
    policy = Policy(skip_auth=True, auto_login_user="ada")
    await get(guard(app, store, policy=policy, observer=events.append), headers=[("x-api-key", "kg_bad")])
    decision = events[0].decision
    assert isinstance(decision, Allowed)
    assert (decision.rule, decision.noted) == (Rule.SKIP_AUTH, Reason.MALFORMED)
    assert "let pass by SKIP_AUTH: what was presented is not a key" in caplog.text


async def test_plain_auto_login_needs_a_key(app, store):
    """AUTO_LOGIN by itself does not excuse a request from its key."""
    assert (await get(guard(app, store, policy=Policy(auto_login=True, auto_login_user="root")))).status == 401


# --- identify ---------------------------------------------------------------------------------------------------


async def test_identify(app, store, key):
    """The app's own sign-in is asked where no key was presented, and sees what the layers outside say."""
    seen = []

    async def identify(scope):
        seen.append(scope["user"])
        return Principal(id="7", name=scope["user"])

    guarded = guard(app, store, identify=identify, policy=Policy(exempt=["/health"]))
    assert (await get(guarded, user="bob", auth="outer", keyguard="outer")).status == 200
    assert app.scope["user"] == Principal(id="7", name="bob")
    assert app.scope["keyguard"].rule is Rule.IDENTIFIED
    await get(guarded, user="bob", headers=[("x-api-key", key)])
    assert app.scope["user"].name == "ada"
    assert (await get(guarded, user="bob", headers=[("x-api-key", "")])).status == 401
    await get(guarded, "/health", user="bob", auth="outer")
    assert app.scope["user"] == AnonymousUser()
    assert seen == ["bob"]


async def test_identity_from_outside_is_removed(app, store):
    """What the layers outside say of the caller is not passed on, whatever identify answers."""

    async def identify(scope):
        return None

    for options in ({}, {"identify": identify}):
        guarded = guard(app, store, policy=Policy(optional=["/page"]), **options)
        await get(guarded, "/page", user="mallory", auth="all", keyguard=object())
        assert app.scope["user"] == AnonymousUser()
        assert list(app.scope["auth"].scopes) == []


async def test_foreign_bearer_token(app, store):
    """A bearer token that is no key of ours is left to identify, and refused where identify does not know it."""

    async def identify(scope):
        token = dict(scope["headers"]).get(b"authorization")
        return Principal(id="7", name="bob") if token == b"Bearer eyJ.good" else None

    guarded = guard(app, store, bearer=True, identify=identify, policy=Policy(optional=["/page"]))
    assert (await get(guarded, headers=[("authorization", "Bearer eyJ.good")])).status == 200
    assert app.scope["headers"] == [(b"authorization", b"Bearer eyJ.good")]
    assert (await get(guarded, "/page", headers=[("authorization", "Bearer eyJ.bad")])).json["code"] == "invalid_key"


async def test_identify_that_fails(app, store, caplog):
    """An exception in the app's own sign-in is 503: neither a pass nor 'nobody'."""

    async def identify(scope):
        raise LookupError("session store down")

    answer = await get(guard(app, store, identify=identify, policy=Policy(optional=["/page"])), "/page")
    assert answer.status == 503
    assert "identify failed: LookupError" in caplog.text


# --- hooks ------------------------------------------------------------------------------------------------------


async def test_on_refused_replaces_the_answer(app, store):
    """on_refused answers instead, sync or async, and is told no more than the caller may know."""
    told = []

    def sync(scope, refusal):
        told.append(refusal)
        return PlainTextResponse("no", 403, headers={"x-code": refusal.code})

    async def async_(scope, refusal):
        return sync(scope, refusal)

    for hook in (sync, async_):
        answer = await get(guard(app, store, on_refused=hook))
        assert (answer.status, answer.body, answer.header("x-code")) == (403, b"no", ["missing_key"])
        denied = await connect(guard(app, store, on_refused=hook))
        assert denied.types == ["websocket.http.response.start", "websocket.http.response.body"]
        assert (denied.status, denied.body) == (403, b"no")
    assert not hasattr(told[0], "reason")
    assert (await get(guard(app, store, on_refused=lambda scope, refusal: None))).status == 401


async def test_on_refused_keeps_what_every_refusal_has(app, store):
    """A replaced answer gets the header fields that it lacks: no-store always, the challenge where it is a 401."""

    def hook(scope, refusal):
        if scope["path"] == "/403":
            return PlainTextResponse("no", 403)
        return PlainTextResponse("no", refusal.status, headers={"Cache-Control": "private"})

    guarded = guard(app, store, on_refused=hook, bearer=True)
    forbidden = await get(guarded, "/403", query=b"x-api-key=kg_bad")
    assert forbidden.header("cache-control") == ["no-store"]
    assert forbidden.header("referrer-policy") == ["no-referrer"]
    assert forbidden.header("www-authenticate") == []
    assert forbidden.header("content-type") == ["text/plain; charset=utf-8"]
    unauthorized = await get(guarded)
    assert unauthorized.header("cache-control") == ["private"]
    assert len(unauthorized.header("www-authenticate")) == 2
    assert len((await connect(guarded)).header("www-authenticate")) == 1


async def test_on_refused_sees_no_identity_from_outside(app, store):
    """What the layers outside say of the caller is gone from the scope before a refusal is answered, too."""
    seen = []
    guarded = guard(app, store, on_refused=lambda scope, refusal: seen.append({*scope}))
    await get(guarded, user="mallory", auth="all", keyguard="outer")
    assert not seen[0] & {"user", "auth", "keyguard"}


async def test_on_refused_with_a_plain_asgi_app(app, store):
    """on_refused may return any ASGI app, for WebSockets too."""

    async def teapot(scope, receive, send):
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"teapot"})

    guarded = guard(app, store, on_refused=lambda scope, refusal: teapot)
    assert (await get(guarded)).status == 418
    assert (await connect(guarded)).types == ["websocket.http.response.start", "websocket.http.response.body"]


async def test_an_answer_of_on_refused_that_fails(app, store, caplog):
    """Where what on_refused returns raises or sends nothing, the usual answer is given, unless it is too late."""

    async def fails(scope, receive, send):
        raise LookupError("no template")

    async def silent(scope, receive, send):
        pass

    async def fails_late(scope, receive, send):
        await send({"type": "http.response.start", "status": 403, "headers": []})
        raise LookupError("no template")

    for answer in (fails, silent):
        assert (await get(guard(app, store, on_refused=lambda scope, refusal, it=answer: it))).status == 401
    assert "the answer of on_refused failed" in caplog.text
    with pytest.raises(LookupError):
        await get(guard(app, store, on_refused=lambda scope, refusal: fails_late))


async def test_on_refused_that_fails(app, store, caplog):
    """An on_refused that raises gets logged, and the refusal stays one."""
    answer = await get(guard(app, store, on_refused=lambda scope, refusal: 1 / 0))
    assert answer.json["code"] == "missing_key"
    assert "on_refused failed" in caplog.text
    assert app.scopes == []


async def test_observer(app, store, key):
    """The observer is told of each request: what was decided and why, where from, and never the key."""
    events = []
    guarded = guard(app, store, observer=events.append)
    await get(guarded, "/flows", method="POST", headers=[("x-api-key", key)])
    await connect(guarded, "/ws")
    passed, refused = events
    assert isinstance(passed.decision, Allowed)
    assert (passed.type, passed.method, passed.path, str(passed.address)) == ("http", "POST", "/flows", "192.0.2.7")
    assert passed.sources == (Source.HEADER,)
    assert (refused.type, refused.method, refused.decision.reason) == ("websocket", None, Reason.MISSING)
    assert key not in repr(events)


async def test_a_key_that_is_remembered_is_not_looked_at_on_an_exempt_path(app, store, key):
    """On an exempt path a caller is nobody, also where the key that came along was let in a moment ago."""
    guarded = guard(app, store, policy=Policy(exempt=["/health"]))
    for path, name in [("/", "ada"), ("/", "ada"), ("/health", ""), ("/", "ada")]:
        assert (await get(guarded, path, headers=[("x-api-key", key)])).status == 200
        assert app.scope["user"].name == name
        assert (app.scope["keyguard"].key_id is None) is (name == "")


async def test_a_key_that_is_remembered_does_not_excuse_another(app, store, key):
    """With anything else that could be a key, one that was let in a moment ago is ambiguous, as ever."""
    guarded = guard(app, store)
    query = f"x-api-key={key}".encode()
    for headers, more in [
        ([("x-api-key", key), ("x-api-key", key)], b""),
        ([("x-api-key", key), ("x-api-key", "")], b""),
        ([("x-api-key", "other"), ("x-api-key", key)], b""),
        ([("x-api-key", key)], query),
        ([("x-api-key", key)], b"x-api%2Dkey=1"),
        ([], query + b"&X-API-Key=1"),
        ([], query + b"&" + query),
    ]:
        assert (await get(guarded, headers=[("x-api-key", key)])).status == 200
        answer = await get(guarded, headers=headers, query=more)
        assert (answer.status, answer.json["code"]) == (400, "ambiguous_credentials")


async def test_observer_of_a_key_that_is_remembered(app, store, key):
    """The observer is told of a request whose key is recalled just what it was told of the first one with it."""
    events = []
    guarded = guard(app, store, observer=events.append)
    for by in ({"headers": [("x-api-key", key)]}, {"query": f"x-api-key={key}".encode()}):
        events.clear()
        for client in ("192.0.2.7", "192.0.2.8", "192.0.2.7"):
            await get(guarded, "/flows", client=(client, 50000), **by)
        first, other, again = events
        assert again == first
        assert (str(other.address), other.decision) == ("192.0.2.8", first.decision)
        assert first.sources == ((Source.HEADER,) if "headers" in by else (Source.QUERY,))


async def test_observer_that_fails(app, store, key, caplog):
    """What an observer raises is logged and changes nothing."""
    answer = await get(guard(app, store, observer=lambda event: 1 / 0), headers=[("x-api-key", key)])
    assert answer.status == 200
    assert "the observer failed" in caplog.text


async def test_trusted_hops(app, store):
    """The client's address comes from X-Forwarded-For only as far as proxies are declared."""
    key = (await lifecycle.issue(store, "1", networks=["203.0.113.0/24"])).key.reveal()
    headers = [("x-api-key", key), ("x-forwarded-for", "198.51.100.1, 203.0.113.9")]
    assert (await get(guard(app, store), headers=headers)).status == 401
    assert (await get(guard(app, store, trusted_hops=1), headers=headers)).status == 200
    assert (await get(guard(app, store, trusted_hops=2), headers=headers)).status == 401


# --- rights asked for further in --------------------------------------------------------------------------------


async def picky(scope, receive, send):
    raise NotPermitted(scope["keyguard"], scope["keyguard"].refuse(Reason.SCOPE_MISSING))


async def test_refusing_further_in(store, key):
    """A right that is missed further in is answered by the guard, through on_refused, and told to the observer."""
    events = []
    answer = await get(guard(picky, store, observer=events.append), query=f"x-api-key={key}".encode())
    assert (answer.status, answer.json["code"]) == (403, "insufficient_scope")
    assert answer.header("referrer-policy") == ["no-referrer"]
    assert [type(event.decision) for event in events] == [Allowed, Refused]
    assert events[1].decision.key.name == "laptop"
    hooked = guard(picky, store, on_refused=lambda scope, refusal: PlainTextResponse(refusal.code, 404))
    assert (await get(hooked, headers=[("x-api-key", key)])).body == b"insufficient_scope"


async def test_refusing_further_in_behind_an_error_page(store, key):
    """The guard's answer stands, and stands alone, where something in between makes a page for errors of its own."""

    async def paging(scope, receive, send):
        try:
            await picky(scope, receive, send)
        except NotPermitted as problem:
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
            if scope["path"] == "/raise":
                raise RuntimeError("what the framework makes of it") from problem

    answer = await get(guard(paging, store), headers=[("x-api-key", key)])
    assert answer.types == ["http.response.start", "http.response.body"]
    assert (answer.status, answer.json["code"]) == (403, "insufficient_scope")
    with pytest.raises(RuntimeError, match="makes of it"):
        await get(guard(paging, store), "/raise", headers=[("x-api-key", key)])


async def test_refusing_further_in_when_it_is_too_late(store, key):
    """A WebSocket that was accepted already is closed with 1008; an answer that has begun is broken off."""

    async def hasty(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise NotPermitted(scope["keyguard"], scope["keyguard"].refuse(Reason.SCOPE_MISSING))

    answer = await connect(guard(hasty, store), headers=[("x-api-key", key)])
    assert answer.types == ["websocket.accept", "websocket.close"]
    assert answer.messages[1]["code"] == 1008

    async def begun(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise NotPermitted(scope["keyguard"], scope["keyguard"].refuse(Reason.SCOPE_MISSING))

    assert (await get(guard(begun, store), headers=[("x-api-key", key)])).types == ["http.response.start"]


async def test_sources_are_named_once(app, store):
    """However often a key is presented in one place, the event names that place once."""
    events = []
    await get(guard(app, store, observer=events.append), query=b"x-api-key&" * 5000)
    assert events[0].sources == (Source.QUERY,)


async def test_keys_of_any_form_stay_out_of_the_logged_path(app, caplog):
    """A path is logged without what begins like a key, of our form or another that is accepted."""
    keyring = Keyring(
        peppers=["x" * 16], formats=[KeyFormat(prefix="pw-", alphabet="abcdefg.", min_length=8, max_length=30)]
    )
    guarded = guard(app, MemoryStore(keyring=keyring))
    for path in ("/run/pw-abc.defg.abc/x", "/run/?x-api-key=pw-abc.defg", "/kg_abc"):
        await get(guarded, path)
    for logged in (r"/run/\u2026/x", r"/run/?x-api-key=\u2026", r"/\u2026"):
        assert f"('GET {logged}')" in caplog.text


# --- a guard below a guard --------------------------------------------------------------------------------------


async def test_inner_guard_trusts_an_outer_one_with_its_store(app, store, key):
    """A second guard further in knows the key that the first has taken out, if both have the same store object."""
    inner = guard(app, store, policy=Policy())
    assert (await get(guard(inner, store), headers=[("x-api-key", key)])).status == 200
    access = app.scope["keyguard"]
    assert (access.rule, access.key_name, access.source) == (Rule.KEY, "laptop", Source.HEADER)
    other = MemoryStore()
    assert (await get(guard(guard(app, other), store), headers=[("x-api-key", key)])).status == 401


async def test_inner_guard_applies_its_own_policy(app, store, key):
    """What the outer guard let pass without a key is refused by a stricter one further in."""
    await lifecycle.add_owner(store, "guest", id="9")
    loose = Policy(skip_auth=True, auto_login_user="root")
    assert (await get(guard(guard(app, store), store, policy=loose))).status == 401
    assert (await get(guard(guard(app, store), store, policy=Policy(exempt=["/x"])), "/x")).status == 401
    guest = Policy(skip_auth=True, auto_login_user="guest")
    bad = {"headers": [("x-api-key", "kg_bad")]}
    assert (await get(guard(guard(app, store), store, policy=loose), **bad)).json["code"] == "invalid_key"
    assert (await get(guard(guard(app, store, policy=guest), store, policy=loose), **bad)).status == 200
    assert app.scope["user"].name == "guest"

    async def identify(scope):
        return Principal(id="7", name="bob")

    assert (await get(guard(guard(app, store), store, identify=identify))).status == 200
    assert app.scope["user"].name == "bob"


async def test_inner_guard_judges_what_the_outer_one_let_pass(app, store):
    """A key that the outer guard passed over is judged further in by what is known there."""
    key = (await lifecycle.issue(store, "1", networks=["203.0.113.0/24"])).key.reveal()
    loose = Policy(skip_auth=True, auto_login_user="root")
    both = guard(guard(app, store, trusted_hops=1), store, policy=loose)
    assert (await get(both, headers=[("x-api-key", key), ("x-forwarded-for", "203.0.113.9")])).status == 200
    access = app.scope["keyguard"]
    assert (access.rule, access.source, app.scope["user"].name) == (Rule.KEY, Source.HEADER, "ada")


async def test_inner_guard_sees_ambiguity_in_its_own_place(app, store, key):
    """A lookalike that only the guard further in looks for makes the request ambiguous there."""
    outer = guard(guard(app, store, query="token"), store, query=None)
    assert (await get(outer, headers=[("x-api-key", key)], query=b"TOKEN=1")).status == 400


async def test_inner_guard_sees_its_own_place(app, store, key):
    """A guard further in that looks elsewhere judges what it finds there."""
    outer = guard(guard(app, store, header="x-inner"), store)
    other = (await lifecycle.issue(store, "2", name="inner")).key.reveal()
    await get(outer, headers=[("x-api-key", key), ("x-inner", other)])
    assert app.scope["keyguard"].key_name == "inner"


# --- other scopes, and life -------------------------------------------------------------------------------------


async def test_other_scopes(app, store, caplog):
    """A scope of another type passes if it asks for no path; with one it cannot be judged and goes nowhere."""

    async def anything(scope, receive, send):
        app.scopes.append(scope)

    await guard(anything, store)({"type": "timer"}, None, None)
    assert app.scopes == [{"type": "timer"}]
    await guard(anything, store)({"type": "webtransport", "path": "/health"}, None, None)
    assert len(app.scopes) == 1
    assert "'webtransport'" in caplog.text


async def test_lifespan_opens_and_closes(store):
    """KeyGuard opens the store before the app starts, and closes it before the server hears that all has ended."""
    seen = []

    async def lively(scope, receive, send):
        seen.append(((await receive())["type"], store.is_open))
        await send({"type": "lifespan.startup.complete"})
        seen.append(((await receive())["type"], store.is_open))
        await send({"type": "lifespan.shutdown.complete"})

    assert [m["type"] for m in await live(guard(lively, store))] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert seen == [("lifespan.startup", True), ("lifespan.shutdown", True)]
    assert store.is_open is False


async def test_lifespan_leaves_an_open_store_alone(store):
    """A store that somebody else has opened stays open."""
    await store.open()
    await live(guard(Starlette(), store))
    assert store.is_open is True


async def test_start_refused(caplog):
    """A store that does not belong to the program fails the start-up with its sentence."""
    assert await live(guard(Starlette(), Foreign())) == [
        {"type": "lifespan.startup.failed", "message": "the keys were made under another pepper"}
    ]


async def test_store_out_of_reach_does_not_stop_the_start(app, store, key, caplog):
    """A database that cannot be reached does not stop the start: 503 until it answers, and then as usual."""

    class Waking(MemoryStore):
        asleep = True

        async def open(self):
            if self.asleep:
                raise StoreUnavailable("no route to host")
            await super().open()

    waking = Waking()
    await lifecycle.add_owner(waking, "ada", id="1")
    key = (await lifecycle.issue(waking, "1")).key.reveal()

    async def requests():
        waking.is_open = False
        assert (await get(guarded, headers=[("x-api-key", key)])).status == 503
        waking.asleep = False
        assert (await get(guarded, headers=[("x-api-key", key)])).status == 200

    guarded = guard(app, waking)
    waking.is_open = False
    assert [m["type"] for m in await live(guarded, between=requests)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert "no route to host" in caplog.text


async def test_without_lifespan_it_opens_at_the_first_request(app, store, key):
    """Below another app no lifespan comes: the store is opened once, at the first request, and closed by aclose."""
    opened = []

    class Counting(MemoryStore):
        async def open(self):
            opened.append(1)
            await asyncio.sleep(0)
            await super().open()

    counting = Counting()
    await lifecycle.add_owner(counting, "ada", id="1")
    key = (await lifecycle.issue(counting, "1")).key.reveal()
    below = guard(app, counting, root_path="/sub")
    outer = Starlette(routes=[Mount("/sub", below)])
    answers = await asyncio.gather(*(get(outer, "/sub/x", headers=[("x-api-key", key)]) for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    assert opened == [1]
    await below.aclose()
    assert counting.is_open is False


async def test_root_path_that_was_not_declared(app, store, caplog):
    """Under a root path that was not declared nothing is exempt, and one warning says what to declare."""
    guarded = guard(app, store, policy=Policy(exempt=["/health"]))
    for _ in range(2):
        assert (await get(guarded, "/api/health", root_path="/api")).status == 401
    warnings = [record.getMessage() for record in caplog.records if "root_path" in record.getMessage()]
    assert len(warnings) == 1
    assert "KeyGuard(..., root_path='/api')" in warnings[0]
    declared = guard(app, store, policy=Policy(exempt=["/health"]), root_path="/api")
    assert (await get(declared, "/api/health", root_path="/api")).status == 200


async def test_start_says_that_query_keys_are_on(app, store, caplog):
    """Start-up says once that keys are accepted in the query, and query=None ends that."""
    guarded = guard(app, store)
    for _ in range(2):
        await live(guarded)
        await get(guarded)
    assert caplog.text.count("query=None ends that") == 1
    caplog.clear()
    await get(guard(app, store, query=None))
    assert "query" not in caplog.text


# --- mistakes ---------------------------------------------------------------------------------------------------


async def identify_nobody(scope):
    return None


class HalfAStore:
    """A store that was written against half of the port."""

    keyring = Keyring()


MISTAKES = [
    ({"policy": {"exempt": []}}, "policy is a keyguard.Policy"),
    ({"policy": None}, "policy is a keyguard.Policy"),
    ({"store": "sqlite://"}, "store is a store of keys"),
    ({"store": MemoryStore}, "store is a store of keys"),
    ({"header": "x api key"}, "header is the name of a header"),
    ({"header": "authorization"}, "bearer=True"),
    ({"query": "x&y"}, "query is the name of a query parameter"),
    ({"header": None, "query": None}, "at least one"),
    ({"bearer": "yes"}, "bearer is True or False"),
    ({"root_path": "api"}, "root_path is empty, or begins with one slash"),
    ({"root_in_path": "no"}, "root_in_path is True or False"),
    ({"identify": "me"}, "identify is a function, or None"),
    ({"on_refused": 403}, "on_refused is a function, or None"),
    ({"observer": []}, "observer is a function, or None"),
    ({"clock": 0}, "clock is a function that returns an aware datetime"),
    ({"clock": None}, "clock is a function that returns an aware datetime"),
    ({"clock": lambda: "noon"}, "clock is a function that returns an aware datetime"),
    ({"clock": datetime.now}, "clock is a function that returns an aware datetime"),
    ({"observer": identify_nobody}, "observer is a plain function"),
    ({"store": HalfAStore()}, "HalfAStore has no 'concurrency'"),
    ({"store": "postgresql+asyncpg://ada:hunter2@db/x"}, "str has no 'keyring'"),
    ({"strip": 0}, "strip is True or False"),
    ({"trusted_hops": -1}, "trusted_hops is the number of proxies"),
    ({"trusted_hops": True}, "trusted_hops is the number of proxies"),
    ({"trusted_hops": 1.5}, "trusted_hops is the number of proxies"),
    *(
        ({"cache_size": wrong}, "cache_size is the number of keys that are remembered, 0 or more; not ")
        for wrong in (-1, 1.0, True, None, "many")
    ),
    *(
        ({"freshness": wrong}, "freshness is 'auto' or 'strict'; not ")
        for wrong in ("exact", "", "Strict", None, True, ["auto"])
    ),
    *(
        ({"max_staleness": wrong}, "max_staleness is a number of seconds above 0, or None; not ")
        for wrong in (0, -1, 0.0, True, False, "60", float("inf"), float("nan"), timedelta(seconds=60))
    ),
    *(
        ({"recheck": wrong}, "recheck is a number of seconds above 0; not ")
        for wrong in (0, -1.5, True, None, "15", float("inf"), float("nan"))
    ),
    ({"freshness": "strict", "max_staleness": 1}, "max_staleness lets a revoked key pass for a while"),
    ({"exempt": ["/health"]}, "unexpected keyword argument 'exempt'"),
]


@pytest.mark.parametrize(
    "options",
    [
        {"cache_size": 0},
        {"cache_size": 1},
        {"freshness": "strict"},
        {"freshness": "auto"},
        {"max_staleness": None},
        {"max_staleness": 60},
        {"max_staleness": 0.5},
        {"recheck": 1},
        {"recheck": 0.25},
    ],
)
async def test_what_may_be_said_of_freshness(app, store, key, options):
    """Each of these is right, and lets a good key pass, again and again."""
    guarded = guard(app, store, **options)
    assert [(await get(guarded, headers=[("x-api-key", key)])).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES)
def test_mistakes_raise(app, options, sentence):
    """A mistake in an argument raises where KeyGuard is constructed, with a sentence that says what is allowed."""
    with pytest.raises((ConfigurationError, TypeError), match=sentence) as caught:
        KeyGuard(app, **{"store": MemoryStore(), **options})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("options", "sentence"), MISTAKES)
async def test_mistakes_fail_the_startup(app, options, sentence, caplog):
    """Constructed inside a running loop, as Starlette does, a mistake fails the start-up, and nothing passes."""
    starlette = Starlette(routes=[Route("/", app)])
    starlette.add_middleware(KeyGuard, **{"store": MemoryStore(), **options})
    (failed,) = await live(starlette)
    assert failed["type"] == "lifespan.startup.failed"
    assert sentence in failed["message"]
    assert sentence in caplog.text
    answer = await get(starlette, query=b"x-api-key=secret")
    assert answer.status == 503
    assert answer.scope["query_string"] == b""
    assert (await connect(starlette)).status == 503
    assert app.scopes == []


@pytest.mark.parametrize("options", [{"header": "x api key"}, {"store": Foreign()}], ids=["an argument", "the store"])
def test_a_refused_start_fails_a_test_client(app, options):
    """A start that is refused raises in Starlette's test client, where it would else wait for ever."""
    starlette = Starlette(routes=[Route("/", app)])
    starlette.add_middleware(KeyGuard, **{"store": MemoryStore(), **options})
    with pytest.raises((ConfigurationError, WrongPepper)), TestClient(starlette):
        raise AssertionError("it has started")  # pragma: no cover Never reached.


async def test_misconfigured_goes_nowhere_with_other_scopes(app, store):
    """A guard that cannot be set up lets no scope of any type through."""
    broken = KeyGuard(app, store=store, header="")
    await broken({"type": "timer"}, None, None)
    assert app.scopes == []


def test_the_signature_is_the_constructors():
    """What help() shows of KeyGuard are its arguments."""
    parameters = inspect.signature(KeyGuard).parameters
    assert next(iter(parameters)) == "app"
    assert parameters["header"].default == "x-api-key"
    assert "kwargs" not in parameters


def test_keyring_prefixes_are_bearer_prefixes(app):
    """bearer=True works with any keyring: the prefixes are its own."""
    assert KeyGuard(app, store=MemoryStore(keyring=Keyring(prefix="lf_live")), bearer=True)


# --- what is left of a request ----------------------------------------------------------------------------------


class Cycle:
    """One request as uvicorn keeps it: what it receives and sends by leads to the scope."""

    def __init__(self, scope, *messages):
        self.scope, self._messages, self.sent = scope, [*messages], []

    async def receive(self):
        return self._messages.pop(0) if self._messages else {"type": f"{self.scope['type']}.disconnect"}

    async def send(self, message):
        self.sent.append(message["type"])

    async def run(self, app):
        await app(self.scope, self.receive, self.send)
        return self.sent[0]


async def refusing(scope, receive, send):
    """An app below which somebody finds that a right is missing."""
    access = scope["keyguard"]
    raise NotPermitted(access, access.refuse(Reason.SCOPE_MISSING))


@pytest.mark.parametrize("inner", [Recorder, lambda: refusing], ids=["answered", "given up"])
@pytest.mark.parametrize("by", ["header", "query"])
@pytest.mark.parametrize("make", [http_scope, websocket_scope], ids=["http", "websocket"])
async def test_a_request_leaves_no_cycle_behind(store, key, make, by, inner):
    """When a request has ended nothing of it has to be searched for by the garbage collector, warm or not."""
    app = inner()
    guarded = guard(app, store)
    request = {"headers": [("x-api-key", key)]} if by == "header" else {"query": f"x-api-key={key}".encode()}
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await Cycle(make(**request), {"type": "websocket.connect"}).run(guarded)
            if isinstance(app, Recorder):
                app.scopes.clear()
            await asyncio.sleep(0)
            assert [thing for thing in gc.get_objects() if isinstance(thing, Access)] == []
    finally:
        gc.enable()
