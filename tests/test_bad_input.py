"""Whatever bytes a request is made of, it gets the answer of the table: never an exception, a hang, or a wrong pass.

What passes is said here a second time, in a few lines that share nothing with the package: `expected`.
"""

import asyncio
import random
import re
from urllib.parse import unquote_to_bytes

import pytest
from asgi import Answer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from leaks import WATCH

from keyguard import KeyGuard, Keyring, Policy, lifecycle
from keyguard.keys import from_entropy
from keyguard.stores.memory import MemoryStore

KEY = from_entropy("kg", bytes(range(48))).reveal().encode()
UNKNOWN = from_entropy("kg", bytes(range(1, 49))).reveal().encode()
POLICY = Policy(exempt=["/health", "/static/*"], optional=["/page"])
PATIENCE = 10.0
"""Seconds that a busy machine may take for one request; reaching it means that it hangs."""

relaxed = settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])

# --- who passes, said once more -----------------------------------------------------------------------------------

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PLAIN = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+"


def is_open(scope, pattern):
    path, raw = scope["path"], scope.get("raw_path")
    return (
        scope["type"] == "http"
        and scope.get("method") in METHODS
        and (scope.get("root_path") or "") == ""
        and re.fullmatch(pattern, path) is not None
        and len(path) <= 2048
        and (raw is None or bytes(raw).split(b"?")[0] == path.encode())
    )


def presented(headers, query):
    """The values of all that is called as the key is, and whether another parser could read one more."""
    values = [bytes(value).strip(b" \t") for name, value in headers if bytes(name).lower() == b"x-api-key"]
    odd = lookalikes = 0
    for part in bytes(query or b"").split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"x-api-key":
            values.append(unquote_to_bytes(value))
        elif any(byte in b"%+" or byte >= 128 or chr(byte).isupper() for byte in name):
            odd += 1
            lookalikes += unquote_to_bytes(name).decode(errors="replace").casefold() == "x-api-key"
    return values, lookalikes > 0 or odd > 256


def expected(scope):
    """The status of the answer to `scope`."""
    if is_open(scope, rf"/health|/static(?:{PLAIN})*/?"):
        return 200
    values, is_doubtful = presented(scope["headers_sent"], scope.get("query_string"))
    if is_doubtful or len(values) > 1:
        return 400
    if values:
        return 200 if values == [KEY] else 401
    return 200 if is_open(scope, "/page") else 401


# --- asking -------------------------------------------------------------------------------------------------------


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})


async def guarding(**options):
    store = MemoryStore(keyring=Keyring())
    owner = await lifecycle.add_owner(store, "ada")
    issued = await lifecycle.issue(store, owner, entropy=lambda many: bytes(range(many)))
    assert issued.key.reveal().encode() == KEY
    return KeyGuard(app, store=store, policy=POLICY, **options)


async def ask(guard, scope):
    """The status that the guard answers `scope` with; of a WebSocket that was closed, the one that stands for it."""
    answer = Answer(scope=scope)
    waiting = [{"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request"}]

    async def receive():
        return waiting.pop()

    async def send(message):
        answer.messages.append(message)

    async with asyncio.timeout(PATIENCE):
        await guard(scope, receive, send)
    if answer.types == ["websocket.accept"]:
        return 200
    if answer.types == ["websocket.close"]:
        assert answer.messages[0]["code"] == 1008
        return {"ambiguous_credentials": 400, "missing_key": 401, "invalid_key": 401}[answer.messages[0]["reason"]]
    start, body = answer.messages
    assert isinstance(start["status"], int)
    assert (start["status"] == 200) == (body["body"] == b"app")
    return start["status"]


async def check(guard, scope):
    """Ask, and compare with what is expected of the scope as it was sent."""
    scope["headers"] = scope["headers_sent"] = list(scope["headers"])
    wanted = expected(scope)
    del scope["headers_sent"]
    assert await ask(guard, scope) == wanted


# --- requests of all kinds ----------------------------------------------------------------------------------------

key_values = st.sampled_from(
    [KEY, KEY, UNKNOWN, b"", KEY[:-1], KEY + b" ", KEY + b"\n", b"\t" + KEY, KEY.lower(), b'"', KEY + KEY]
)
encoded = key_values.map(lambda value: b"".join(b"%%%02x" % byte for byte in value))
names = st.sampled_from(
    [
        b"x-api-key",
        b"x-api-key",
        b"X-Api-Key",
        b"x_api_key",
        b"x-api-key ",
        b"%78-api-key",
        b"x-api-%4Bey",
        b"x-api-\xe2\x84\xaaey",
    ]
)
blobs = st.binary(max_size=40)
header_lists = st.lists(st.tuples(names | blobs, key_values | blobs), max_size=4) | st.lists(
    st.tuples(st.sampled_from([b"x-api-key", b"authorization", b"cookie", b"x-forwarded-for"]), key_values), max_size=2
)
parts = (
    st.tuples(names, st.just(b"="), key_values | encoded | blobs).map(b"".join)
    | names
    | blobs
    | st.integers(250, 260).map(lambda many: b"&".join(b"%%41%d" % number for number in range(many)))
)
queries = st.none() | blobs | st.lists(parts, max_size=4).map(b"&".join)

open_paths = st.sampled_from(["/health", "/static", "/static/a.js", "/static/a/b", "/page", "/flows", "/"])
bits = st.sampled_from(
    ["", "/", "//", "/.", "/..", "/../flows", ";", "%2e", "%2F", "?", "#", "\0", "\n", " ", "é", "\udc80", "a"]
)
paths = st.tuples(bits, open_paths, bits).map("".join) | open_paths | st.text(max_size=20)


def utf8(path):
    return path.encode(errors="surrogatepass")


@st.composite
def scopes(draw):
    """A scope as a server could make it of anything, and some that none should make."""
    scope = {"type": draw(st.sampled_from(["http", "http", "websocket"])), "asgi": {"version": "3.0"}}
    scope["path"] = draw(paths)
    scope["headers"] = draw(header_lists)
    optional = {
        "raw_path": st.none() | st.just(scope["path"]).map(utf8) | blobs,
        "query_string": queries,
        "root_path": st.sampled_from(["", None, "/api", "/health", "//", "\udc80"]),
        "client": st.sampled_from(
            [
                None,
                ("192.0.2.7", 1),
                ["192.0.2.7", 1],
                ("", 0),
                ("unix:/run/x", None),
                ("fe80::1%eth0", 1),
                (None, None),
                (),
            ]
        ),
        "extensions": st.sampled_from([None, {}, {"websocket.http.response": {}}]),
        "user": st.just("root"),
        "auth": st.just(["authenticated"]),
        "keyguard": st.sampled_from([None, "let in", {"rule": "KEY"}]),
        "state": st.just({"user": "root"}),
        "server": st.none(),
    }
    if scope["type"] == "http":
        optional["method"] = st.sampled_from(["GET", "POST", "get", "CONNECT", "", None, "GET\n", "\udc80"]) | st.text(
            max_size=5
        )
    for name, values in optional.items():
        if draw(st.booleans()):
            scope[name] = draw(values)
    return scope


PLAIN_SCOPE = {"type": "http", "path": "/flows", "headers": []}


@relaxed
@given(scopes())
@example(PLAIN_SCOPE | {"headers": [(b"x-api-key", KEY)]})
@example(PLAIN_SCOPE | {"headers": [(b"x-api-key", KEY)], "query_string": None, "client": None, "raw_path": None})
@example(
    PLAIN_SCOPE | {"query_string": b"x-api-key=" + KEY, "root_path": None, "extensions": None, "client": (None, None)}
)
@example(PLAIN_SCOPE | {"path": "/health", "method": "GET"})
@example(PLAIN_SCOPE | {"path": "/health", "method": "GET", "raw_path": b"/health?x-api-key=1"})
@example(PLAIN_SCOPE | {"path": "/\udc80", "raw_path": b"/\x80", "method": "\n", "root_path": "\udc80"})
@example({"type": "websocket", "path": "/flows", "headers": [(b"x-api-key", KEY)], "extensions": None})
async def test_any_scope_gets_the_answer_of_the_table(scope):
    """A request of whatever kind passes, or is refused with 400 or 401, just as the few lines above say."""
    await check(await guarding(), dict(scope))


@relaxed
@given(scopes(), st.booleans(), st.integers(0, 3))
async def test_any_scope_with_other_options(scope, bearer, trusted_hops):
    """With bearer tokens read, hooks that fail and proxies trusted, too, nothing comes but 200, 400 and 401."""

    def fail(*_):
        raise LookupError("a hook failed")

    guard = await guarding(bearer=bearer, trusted_hops=trusted_hops, on_refused=fail, observer=fail)
    scope = dict(scope)
    goes = expected(scope | {"headers_sent": scope["headers"]})
    with WATCH.provoked():  # A key under another name is none: it stays in the scope, which a failing hook shows.
        status = await ask(guard, scope)
    assert status in {200, 400, 401}
    if status == 200 and goes != 200:
        assert bearer
    if not bearer:
        assert status == goes


@relaxed
@given(st.text(max_size=12).filter(lambda text: text not in {"http", "websocket", "lifespan"}), scopes())
async def test_a_scope_of_an_unknown_type_does_not_reach_the_app(type_, scope):
    """What asks for a path in an unknown way is not passed on, whatever key it brings."""
    sent = []

    async def send(message):
        sent.append(message)

    await (await guarding())(dict(scope) | {"type": type_}, None, send)
    assert sent == []


@pytest.mark.parametrize("seed", range(4))
async def test_mutated_requests(seed):
    """A seeded search from good requests, a byte here and a byte there, finds none that passes and should not."""
    randomly = random.Random(seed)
    guard = await guarding()
    seen = set()
    for _ in range(2500):
        path = mutated(randomly, randomly.choice([b"/health", b"/static/a/b.js", b"/page", b"/flows"]))
        query = mutated(randomly, randomly.choice([b"", b"a=1&x-api-key=" + KEY + b"&b=2", b"x-api-key=" + KEY]))
        name, value = randomly.choice([(b"accept", b"*/*"), (b"x-api-key", KEY), (b"x-api-key", UNKNOWN)])
        scope = {
            "type": "http",
            "method": mutated(randomly, b"GET").decode("latin-1"),
            "path": unquote_to_bytes(path).decode(errors="replace"),
            "raw_path": path,
            "query_string": query,
            "headers": [(mutated(randomly, name), mutated(randomly, value))],
            "client": ("192.0.2.7", 1),
            "root_path": "",
        }
        seen.add(expected(scope | {"headers_sent": scope["headers"]}))
        await check(guard, scope)
    assert seen == {200, 400, 401}


def mutated(randomly, text):
    """`text`, with no, one or two bytes put in, left out, replaced, doubled, swapped or percent-encoded."""
    changed = bytearray(text)
    for _ in range(randomly.choice([0, 0, 1, 1, 2])):
        place = randomly.randrange(len(changed) + 1)
        byte = randomly.choice([randomly.randrange(256), *b"/.;%?#&=+ \t\n\0\\"])
        here = bytes(changed[place : place + 1])
        changed[place : place + 1] = randomly.choice(
            [
                bytes([byte]),
                bytes([byte]) + here,
                b"",
                here + here,
                here.swapcase(),
                b"".join(b"%%%02X" % b for b in here),
            ]
        )
    return bytes(changed)
