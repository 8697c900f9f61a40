"""What a request is, as real servers say it, and what the app finds in its scope."""

import json

import pytest
from servers.guarded import ROOT, key_of
from servers.harness import SERVERS
from servers.wire import Closed, Wire, ask, shake_hands

KEY = key_of("good")
GOOD = f"X-API-Key: {KEY}"

# --- trailer fields -----------------------------------------------------------------------------------------------

HEAD = (
    "POST /late HTTP/1.1\r\nHost: host.example\r\nX-Shape: {shape}\r\n{fields}Trailer: X-API-Key\r\n"
    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
TRAILERS = f"0\r\nX-API-Key: {key_of('other')}\r\nX-Late: 1\r\n\r\n"


def with_trailers(port, shape, *fields):
    """Send trailer fields after the app has begun to answer; return the names of the headers that it then has."""
    lines = "".join(f"{field}\r\n" for field in fields)
    with Wire(port) as wire:
        wire.send(HEAD.format(shape=shape, fields=lines).encode())
        wire.send(b"3\r\nabc\r\n")
        head = wire.until(b"\r\n\r\n")
        assert b" 200 " in head, head
        if b"chunked" in head.lower():
            parts = wire.chunks()
            assert next(parts) == b"begun\n"
            wire.send(TRAILERS.encode())
            told = b"".join(parts)
        else:
            wire.until(b"begun\n")
            wire.send(TRAILERS.encode())
            told = wire.rest()
    return {name for name, _ in json.loads(told)["headers"]}


def test_trailer_fields_do_not_arrive(server):
    """The app has the headers that were judged; uvicorn with httptools goes on appending to the list it gave."""
    assert with_trailers(server.port, "starlette", GOOD) & {"x-api-key", "x-late"} == set()
    assert with_trailers(server.port, "unstripped", GOOD) & {"x-api-key", "x-late"} == {"x-api-key"}
    # Without a guard they do arrive there, so that the test can fail.
    appended = {"x-api-key", "x-late"} if server.kind == "httptools" else set()
    assert with_trailers(server.port, "bare") & {"x-api-key", "x-late"} == appended


@pytest.mark.parametrize("fields", [(), (GOOD,)])
def test_trailer_fields_that_come_with_the_headers_are_headers_to_httptools(server, fields):
    """If all comes in one packet, they are appended before any app runs: judged like headers, and taken out like them.

    The other servers drop them. What is presented in both places is ambiguous.
    """
    lines = "".join(f"{field}\r\n" for field in fields)
    with Wire(server.port) as wire:
        wire.send((HEAD.format(shape="starlette", fields=lines) + "3\r\nabc\r\n" + TRAILERS).encode())
        reply = wire.reply()
    expected = (400 if fields else 200) if server.kind == "httptools" else (200 if fields else 401)
    assert reply.status == expected
    assert b"kg_" not in reply.raw


# --- identity -----------------------------------------------------------------------------------------------------

WAYS = pytest.mark.parametrize("send", [ask, shake_hands], ids=["request", "handshake"])
NOBODY = {"user": "", "auth": "Auth", "key": None}


@WAYS
def test_an_identity_from_outside_never_reaches_the_app(port, send):
    """What stands in the scope as user, auth and keyguard is replaced, whoever put it there."""
    assert send(port, "/anything", shape="forged").status == 401
    passed = send(port, "/anything", GOOD, shape="forged").report
    assert (passed["user"], passed["auth"], passed["rule"], passed["key"]) == ("ada", "Auth", "KEY", "good")
    exempt = send(port, "/live/x", shape="forged").report
    assert exempt.items() >= (NOBODY | {"rule": "EXEMPT"}).items()


def test_an_optional_path_has_no_identity_from_outside_either(port):
    """Anonymous is anonymous."""
    optional = ask(port, "/feed", shape="forged").report
    assert optional.items() >= NOBODY.items()
    assert ask(port, "/feed", "X-Signed-In: carol", shape="signed-in").report["user"] == "carol"


@WAYS
def test_identify_sees_what_the_layers_outside_say(port, send):
    """It is asked where no key was presented; a key, good or bad, goes before it; an exempt path asks nobody."""
    carol = "X-Signed-In: carol"
    assert send(port, "/anything", shape="signed-in").status == 401
    known = send(port, "/anything", carol, shape="signed-in").report
    assert (known["user"], known["rule"], known["auth"]) == ("carol", "IDENTIFIED", "Auth")
    assert send(port, "/anything", carol, GOOD, shape="signed-in").report["user"] == "ada"
    assert send(port, "/anything", carol, "X-API-Key: 1", shape="signed-in").status == 401
    assert send(port, "/live/x", carol, shape="signed-in").report["user"] == ""


@WAYS
def test_a_second_guard_believes_the_first(port, send):
    """With the same store, what the outer one took out and found good is good to the inner one."""
    passed = send(port, f"/anything?x-api-key={KEY}", shape="twice")
    assert (passed.report["user"], passed.report["key"]) == ("ada", "good")
    assert send(port, "/anything", shape="twice").status == 401
    assert send(port, "/anything", "X-API-Key: 1", shape="twice").status == 401


# --- nothing of a key in the scope --------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("path", ["/anything", "/live/x"])
def test_the_scope_holds_no_key(port, send, path):
    """Guarded or exempt, header and query are taken out, and all other bytes stay as they were."""
    query = "a=%20+&&b;c=1&=&d"
    in_query = send(port, f"{path}?a=%20+&x-api-key={KEY}&&b;c=1&=&d")
    in_header = send(port, f"{path}?{query}", "X-Before: 1", GOOD, "X-After: 2")
    for reply in (in_query, in_header):
        assert KEY.encode() not in reply.raw
        assert reply.report["query"] == query
        assert "x-api-key" not in dict(reply.report["headers"])
    assert dict(in_header.report["headers"]).items() >= {"x-before": "1", "x-after": "2"}.items()


@WAYS
def test_an_exempt_scope_holds_no_key_of_an_ambiguous_request(port, send):
    """All that was presented is taken out, lookalikes too."""
    reply = send(port, f"/live/x?x-api-key={KEY}&X-Api-Key={KEY}&a=1&x-api-key={KEY}", GOOD, GOOD)
    assert (reply.report["query"], reply.report["rule"]) == ("a=1", "EXEMPT")
    assert KEY.encode() not in reply.raw


@WAYS
def test_a_header_may_be_left(port, send):
    """With strip=False the header stays for the app to see, and the query's key goes all the same."""
    in_header = send(port, "/anything", GOOD, shape="unstripped").report
    assert dict(in_header["headers"])["x-api-key"] == KEY
    assert KEY.encode() not in send(port, f"/anything?x-api-key={KEY}", shape="unstripped").raw


# --- methods and types --------------------------------------------------------------------------------------------

ORDINARY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
UNPARSED = None
"""The server refuses the request by itself, or hangs up."""

STRANGE = {
    # The status on an exempt path without a key, in the order of SERVERS.
    "TRACE": (401, 401, 401, 401),
    "CONNECT": (401, 401, 401, 401),
    "PROPFIND": (401, 401, 401, 401),
    "QUERY": (401, 401, 401, 401),
    "BREW": (UNPARSED, 401, 401, 401),
    "get": (UNPARSED, 401, 200, 401),  # hypercorn writes methods in capitals, and the app sees it so.
    "GET,POST": (UNPARSED, UNPARSED, UNPARSED, UNPARSED),
}


@pytest.mark.parametrize("method", ORDINARY)
def test_an_entry_opens_the_ordinary_methods(port, method):
    """A path without methods of its own is exempt for each of the seven, and what stands beside it for none."""
    assert ask(port, "/health", method=method).status == 200
    assert ask(port, "/health/", method=method).status == 401
    assert ask(port, "/anything", method=method).status == 401


@pytest.mark.parametrize("method", STRANGE)
def test_an_entry_opens_no_other_method(server, method):
    """CONNECT, TRACE and what nobody knows are never exempt."""
    expected = STRANGE[method][SERVERS.index(server.kind)]
    try:
        reply = ask(server.port, "/health", method=method)
    except Closed:
        assert expected is UNPARSED
        return
    if expected is UNPARSED:
        assert reply.status in {400, 405, 501}
        assert b"code" not in reply.body
    else:
        assert reply.status == expected


def test_an_entry_opens_the_methods_it_names(port):
    """POST beside a GET-only entry falls to whatever route takes it, and needs a key."""
    assert ask(port, "/login").endpoint == "open login"
    for method in set(ORDINARY) - {"GET"}:
        assert ask(port, "/login", method=method).status == 401
    assert ask(port, "/login", GOOD, method="POST").endpoint == "guarded anything"
    assert ask(port, "/login", GOOD, method="POST", shape="litestar").endpoint == "guarded login"


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("/live/x", "open live"),
        ("/live/x/y", "open live"),
        ("/live/../anything", None),
        ("/live//x", None),
        ("/live%2fx", None),
        ("/live;/x", None),
        ("/lively", None),
        ("/tree/x", None),
        ("/health", None),
        ("/login", None),
        ("/feed", None),
        ("/anything", None),
    ],
)
def test_a_handshake_is_exempt_only_where_the_entry_says_so(port, target, endpoint):
    """A WebSocket catch-all under a path that is open to HTTP stays guarded."""
    assert shake_hands(port, target).endpoint == endpoint
    assert shake_hands(port, target, GOOD).status == 101


# --- paths --------------------------------------------------------------------------------------------------------

OPEN = {
    "/health": "open health",
    "/health?x=/anything": "open health",
    "/health?": "open health",
    "/health??": "open health",
    "/tree": "open tree",
    "/tree/": "open tree",
    "/tree/a/b.c/~d,e=1@x:y/": "open tree",
    "/docs/": "open docs",
    "/login": "open login",
    "/feed": "open feed",
    "/static/a.js": None,  # A file.
}
CLOSED = [
    "/",
    "//",
    "/health/",
    "/health//",
    "//health",
    "/./health",
    "/anything/../health",
    "/health/.",
    "/health/..",
    "/health/x",
    "/health;x=1",
    "/health;",
    "/health%20",
    "/health%00",
    "/health%0a",
    "/health%3F",
    "/health%3f.js",
    "/health%23",
    "/health%2f",
    "/%68ealth",
    "/healt%68",
    "/Health",
    "/HEALTH",
    "/health.json",
    "/healthy",
    "/tree/../anything",
    "/tree/..",
    "/tree/.",
    "/tree/./x",
    "/tree//x",
    "/tree/x//",
    "/tree/%2e%2e/anything",
    "/tree/..%2fanything",
    "/tree/..;/anything",
    "/tree/x;y",
    "/tree/%2e",
    "/tree/caf%C3%A9",
    "/tree/x%2fy",
    "/tree%2fx",
    "/tree\\x",
    "/treetop",
    "/docs",
    "/docs//",
    "/docs/index.html",
    "/feed/",
    "/static/../secret.txt",
    "/static/%2e%2e/secret.txt",
    "/static/..%2fsecret.txt",
    "/static/..%5csecret.txt",
    "/static//a.js",
    "/files/secret.txt",
    "/anything?/health",
    "/anything?x=/health",
    "/anything%3f/health",
    "*",
    "/tree/" + "x" * 2043,
]


@pytest.mark.parametrize("target", OPEN)
def test_an_entry_is_open_as_it_is_written(port, target):
    """An exempt path needs no key, whatever the query."""
    reply = ask(port, target)
    assert (reply.status, reply.endpoint) == (200, OPEN[target])


@pytest.mark.parametrize("target", CLOSED)
def test_no_other_way_of_writing_is_open(server, target):
    """Whatever else it may mean to a server or a router, it needs a key."""
    assert ask(server.port, target).status == 401


def test_an_open_tree_is_open_to_the_longest_path(port):
    """2,048 characters are a path; one more needs a key, as above."""
    assert ask(port, "/tree/" + "x" * 2042).status == 200


def test_a_static_tree_serves_what_is_in_it(port):
    """The open one its files, the guarded one its own, to those who have a key."""
    assert ask(port, "/static/a.js").body == b'console.log("open")\n'
    assert ask(port, "/files/secret.txt", GOOD).body == b"guarded secret\n"


ABSOLUTE = {
    # What is left of http://host.example/health, and whether it is open, in the order of SERVERS.
    "http://host.example/health": ("/health", None, None, "/health"),
    "http://host.example/anything": (None, None, None, None),
    "http://host.example/anything/../health": (None, None, None, None),
    "/health#x": ("/health", None, None, "/health"),
    "/anything#/../health": (None, None, None, None),
    "http://host.example/?/health": (None, None, None, None),
}


@pytest.mark.parametrize("target", ABSOLUTE)
def test_what_the_server_makes_of_a_target_is_what_counts(server, target):
    """Some cut the host or the fragment off before any app sees them, and then the app sees the exempt path itself."""
    expected = ABSOLUTE[target][SERVERS.index(server.kind)]
    assert ask(server.port, target).report.get("path") == expected


@pytest.mark.parametrize(
    "field",
    [
        "X-Original-URL: /health",
        "X-Rewrite-URL: /health",
        "X-Forwarded-Path: /health",
        "X-Forwarded-Prefix: /health",
        "X-Forwarded-Host: host/health?",
        "X-Forwarded-For: 127.0.0.1",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Script-Name: /anything",
        "Root-Path: /anything",
        "Referer: http://host.example/health",
        "Forwarded: for=127.0.0.1;host=host",
    ],
)
def test_no_header_makes_a_path_open(port, field):
    """Only the path has a vote."""
    assert ask(port, "/anything", field).status == 401
    assert ask(port, "/health", field).status == 200


@pytest.mark.parametrize("host", ["host/health?", "host/health#", "/health", "host:80/health?x=", "host\\health"])
def test_no_host_makes_a_path_open(port, host):
    """A URL that is put together from the Host header says nothing of the path; some servers refuse such a host."""
    raw = f"GET /anything HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with Wire(port) as wire:
        wire.send(raw.encode())
        assert wire.reply().status in {400, 401}


def test_a_mount_does_not_own_its_own_path(port):
    """An entry says what is open, not which route answers: below Starlette's Mount("/live") the path /live is not."""
    assert ask(port, "/live").endpoint == "guarded anything"
    assert ask(port, "/live/").endpoint == "open live"


# --- root_path ----------------------------------------------------------------------------------------------------

ROOTED = {
    # Shape and target: whether it is exempt where the server puts the root into the path (uvicorn), and where not.
    ("rooted-in", "/health"): (True, False),
    ("rooted-in", "/api/health"): (False, True),
    ("rooted-in", "/api"): (False, False),
    ("rooted-in", "/tree/x"): (True, False),
    ("rooted-in", "/tree/../anything"): (False, False),
    ("rooted-out", "/health"): (False, True),
    ("rooted-out", "/api/health"): (False, False),
    ("rooted-out", "/apihealth"): (False, False),
    ("rooted-out", "/open"): (False, False),
    ("rooted-out", "/api/open"): (False, False),
    ("rooted-out", "/tree/x"): (False, True),
    ("rooted-wrong", "/health"): (False, False),
    ("rooted-wrong", "/other/health"): (False, False),
    ("rooted-wrong", "/api/health"): (False, False),
    ("starlette", "/health"): (False, False),
    ("starlette", "/api/health"): (False, False),
}


@pytest.fixture(params=SERVERS)
def rooted(request, fleet):
    return fleet(request.param, "servers.guarded:app", root=ROOT)


@pytest.mark.parametrize(("shape", "target"), ROOTED)
def test_only_the_declared_root_counts(rooted, shape, target):
    """Under a root that is not declared, is another, or stands elsewhere than declared, nothing is exempt."""
    expected = ROOTED[shape, target][0 if rooted.kind in {"httptools", "h11"} else 1]
    request = ask(rooted.port, target, shape=shape)
    handshake = shake_hands(rooted.port, target.replace("health", "live/x").replace("tree", "live"), shape=shape)
    for reply, good in ((request, 200), (handshake, 101)):
        assert (reply.status, reply.report.get("rule")) == ((good, "EXEMPT") if expected else (401, None))
    assert ask(rooted.port, target, GOOD, shape=shape).status in {200, 307, 404}


def test_a_root_that_nobody_declared_is_told_once(rooted):
    """One warning says what to declare, however many requests come."""
    for shape in (None, "rooted-wrong") * 3:  # Two guards, each of which tells it.
        assert ask(rooted.port, "/health", shape=shape).status == 401
    assert len(rooted.wait_until_logged(f"declare it: KeyGuard(..., root_path='{ROOT}')", times=2)) == 2


def test_fastapi_leaves_its_root_out_of_the_path(port):
    """FastAPI(root_path=) puts a root into the scope that no path begins with, unless somebody sends it."""
    assert ask(port, "/health", shape="fastapi-rooted").report["root_path"] == ROOT
    assert ask(port, f"{ROOT}/health", shape="fastapi-rooted").status == 401
    assert ask(port, f"{ROOT}/health", GOOD, shape="fastapi-rooted").endpoint == "open health"


def test_a_mounted_app_has_its_root_in_the_path(port):
    """Below another app, the mount's path is the declared root."""
    assert ask(port, f"{ROOT}/health", shape="mounted").report["root_path"] == ROOT
    assert ask(port, "/health", shape="mounted").endpoint == "open outer"
    for target in (f"{ROOT}{ROOT}/health", f"{ROOT}/anything", f"{ROOT}//health", f"{ROOT}/tree/../anything"):
        assert ask(port, target, shape="mounted").status == 401
