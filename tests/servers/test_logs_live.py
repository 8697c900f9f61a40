"""What servers write about requests: their access logs hold no key, because nothing that they read from holds one."""

import itertools
import os

import pytest
from servers.guarded import key_of
from servers.wire import ask, shake_hands

KEY = key_of("logged")
REQUESTS = {
    # How a key is presented: path, query with the canary in the middle, header fields.
    "passed": ("/anything", f"x-api-key={KEY}&{{}}", ()),
    "passed, in the middle": ("/anything", f"a=1&x-api-key={KEY}&{{}}", ()),
    "passed, at the end": ("/anything", f"{{}}&x-api-key={KEY}", ()),
    "passed, encoded": ("/anything", f"{{}}&x-api-key=%{ord(KEY[0]):02x}{KEY[1:]}", ()),
    "passed by a header": ("/anything", "{}", (f"X-API-Key: {KEY}",)),
    "exempt": ("/live/x", f"x-api-key={KEY}&{{}}", ()),
    "exempt and ambiguous": ("/live/x", f"x-api-key={KEY}&{{}}&x-api-key={KEY}", (f"X-API-Key: {KEY}",)),
    "optional": ("/feed", f"x-api-key={KEY}&{{}}", ()),
    "ambiguous": ("/anything", f"x-api-key={KEY}&{{}}&x-api-key={KEY}", ()),
    "ambiguous by a header": ("/anything", f"{{}}&x-api-key={KEY}", (f"X-API-Key: {KEY}",)),
    "a lookalike": ("/anything", f"{{}}&X-API-Key={KEY}", ()),
    "an encoded name": ("/anything", f"{{}}&x-api-ke%79={KEY}", ()),
    "malformed": ("/anything", f"x-api-key={KEY}%zz&{{}}", ()),
    "damaged": ("/anything", f"x-api-key={KEY}x&{{}}", ()),
    "lacking a right": ("/flows", f"x-api-key={key_of('limited')}&{{}}", ()),
}
NEVER = (KEY[14:], key_of("limited")[14:])
"""What follows the key's prefix and id, which may be shown."""

_numbers = itertools.count()


def canary():
    """A parameter of one request, which is no key and must be found."""
    return f"canary={os.getpid()}-{next(_numbers)}-"


@pytest.mark.parametrize("what", REQUESTS)
def test_an_access_log_holds_no_key(server, what):
    """Query keys are out of the line that tells of the request, and the rest of the query is in it."""
    path, query, fields = REQUESTS[what]
    marked = canary()
    ask(server.port, f"{path}?{query.format(marked)}", *fields)
    assert len(server.wait_until_logged(marked)) == 1
    assert_clean(server)


@pytest.mark.parametrize("kind", ["httptools", "h11", "hypercorn"])
@pytest.mark.parametrize("what", REQUESTS)
def test_an_access_log_holds_no_key_of_a_handshake(fleet, kind, what):
    """The same for WebSockets, but for granian, which writes about a handshake before it asks the app."""
    server = fleet(kind, "servers.guarded:app")
    path, query, fields = REQUESTS[what]
    marked = canary()
    shake_hands(server.port, f"{path}?{query.format(marked)}", *fields)
    assert len(server.wait_until_logged(marked)) == 1
    assert_clean(server)


def test_granian_logs_the_key_of_a_handshake(fleet):
    """Known, and in the manual: if this ever fails, granian's WebSocket log has become clean, and the word can go."""
    server = fleet("granian", "servers.guarded:app")
    marked, key = canary(), key_of("other")
    shake_hands(server.port, f"/anything?x-api-key={key}&{marked}")
    (line,) = server.wait_until_logged(marked)
    assert key in line


@pytest.mark.parametrize("shape", ["cors", "mounted", "litestar", "quart", "fastapi", "twice", "unstripped"])
def test_no_shape_of_an_app_brings_the_key_back(server, shape):
    """Whatever stands outside and inside of the guard, the server's own scope is what was cleaned."""
    marked = canary()
    path = "/api/anything" if shape == "mounted" else "/anything"
    assert ask(server.port, f"{path}?x-api-key={KEY}&{marked}", shape=shape).status in {200, 201}
    assert len(server.wait_until_logged(marked)) == 1
    assert_clean(server)


def test_without_a_guard_the_key_is_logged(server):
    """So the tests above can fail."""
    marked, key = canary(), key_of("other")
    ask(server.port, f"/anything?x-api-key={key}&{marked}", shape="bare")
    (line,) = server.wait_until_logged(marked)
    assert key in line


def assert_clean(server):
    """The guard's own lines and the server's errors stand in the same file."""
    assert [secret for secret in NEVER if secret in server.log] == []
