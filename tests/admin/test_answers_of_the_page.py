"""How the page answers whatever is asked of it: safely, and never with a 500 that a visitor can bring about."""

import logging

import pytest
from asgi import http_scope, send_scope, websocket_scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyguard import KeyGuard, Principal, SchemaMismatch, StoreUnavailable
from keyguard.admin import KeyAdmin
from keyguard.admin._doors import page as page_route
from keyguard.errors import ConfigurationError, Conflict, NotFound, NotSupported, Overloaded
from keyguard.stores.memory import MemoryStore

SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/new", "/activity", "/nothing", "/key/x", "/api/keys", "/api/session", "/api/nothing"]
)
@pytest.mark.parametrize("who", ["ada", None])
async def test_every_answer_is_safe(signed_in, browser, people, path, who):
    """Each has the header fields that keep scripts, frames, caches and other origins out."""
    visitor = browser if who is None else await signed_in(who)
    answer = await visitor.get(path)
    assert {name: answer.headers.get(name) for name in SAFE} == SAFE


async def test_what_is_not_there_is_a_page(signed_in):
    """An unknown address is a 404 that leads back; below the API it is a problem document."""
    ada = await signed_in("ada")
    answer = await ada.get("/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert 'href="/keys/"' in answer.text
    answer = await ada.get("/api/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "no_page"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/openapi.json", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("DELETE", "/new", "GET, HEAD, POST"),
        ("GET", "/key/x/rename", "POST"),
        ("OPTIONS", "/sign-in", "GET, HEAD, POST"),
        ("PUT", "/api/keys", "GET, HEAD, POST"),
    ],
)
async def test_a_method_that_is_not_there_names_those_that_are(store, people, method, path, allow):
    """405, with `Allow`."""
    answer = await send_scope(KeyAdmin(store), http_scope(path, method=method))
    assert (answer.status, answer.header("allow")) == (405, [allow])


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nothing", "/api/session", "/assets/page.js"])
async def test_head_is_get_without_a_body(store, people, path):
    """The header fields are those of GET, and there is no body."""
    page = KeyAdmin(store)
    head, get = [await send_scope(page, http_scope(path, method=method)) for method in ("HEAD", "GET")]
    assert (head.status, head.body) == (get.status, b"")
    assert head.header("content-type") == get.header("content-type")


@pytest.mark.parametrize("path", ["/new", "/new/", "/"])
async def test_a_slash_at_the_end_makes_no_difference(signed_in, path):
    """Some frameworks put one there."""
    ada = await signed_in("ada")
    assert (await ada.get(path)).status_code == 200


# --- what is sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"csrf=" + b"x" * 65_536, "application/x-www-form-urlencoded", 413),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415),
        (b"{}", "application/json", 415),
        (b"a=b", None, 415),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"a&" * 3_000, "application/x-www-form-urlencoded", 400),
        (b"a=b", "application/x-www-form-urlencoded", 403),
        (b"", "Application/X-WWW-Form-URLEncoded; charset=utf-8", 403),
    ],
)
async def test_a_form_is_small_and_plain(signed_in, content, content_type, status):
    """At most 64 KiB, in the one encoding that browsers use for it; nothing that cannot be read is guessed at."""
    ada = await signed_in("ada")
    headers = {"origin": ada.origin} | ({"content-type": content_type} if content_type else {})
    answer = await ada.client.post("/keys/new", content=content, headers=headers)
    assert answer.status_code == status


async def test_who_goes_away_while_sending_is_let_go(store, people):
    """A connection that ends in the middle of a form is no error."""
    answer = await send_scope(
        KeyAdmin(store),
        http_scope("/sign-in", method="POST", headers=[("content-type", "application/x-www-form-urlencoded")]),
        {"type": "http.request", "body": b"a=", "more_body": True},
    )
    assert answer.status == 400


ODD = ["\x00", "\ud800", "\udcff", "%00", "%ff", "é" * 300, "x" * 20_000, "../..", "'\"<script>", "*", "\n", "￿"]


@pytest.mark.parametrize("text", ODD, ids=ascii)
async def test_odd_texts_are_no_error(signed_in, store, text):
    """Ids, searches and numbers of whatever form are not found, or wrong: never a 5xx."""
    ada = await signed_in("ada")
    cookie = "; ".join(f"{each.name}={each.value}" for each in ada.client.cookies.jar)
    page = KeyAdmin(store)
    for path, query in [
        (f"/key/{text}", ""),
        (f"/key/{text}/rotate", ""),
        (f"/api/keys/{text}", ""),
        (f"/{text}", ""),
        *(
            (path, f"{name}={text}")
            for path in ("/", "/activity", "/delete", "/api/keys", "/api/events", "/sign-in")
            for name in ("q", "page", "owner", "before", "limit", "state", "sort", "id", "next")
        ),
    ]:
        raw = query.encode(errors="surrogatepass")
        scope = http_scope("/keys" + path.replace("\ud800", "�").replace("\udcff", "�"), query=raw, root_path="/keys")
        scope["path"], scope["headers"] = f"/keys{path}", [(b"cookie", cookie.encode()), (b"host", b"keys.test")]
        answer = await send_scope(page, scope)
        assert answer.status < 500, (path, query)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    names=st.lists(
        st.sampled_from(["host", "origin", "cookie", "referer", "content-type", "x-csrf-token", "if-match"])
    ),
    data=st.data(),
)
async def test_no_header_makes_an_error(names, data):
    """Whatever stands in the header fields, the answer is none of the server's faults."""
    headers = [(name.encode(), data.draw(st.binary(max_size=60))) for name in names]
    page = KeyAdmin(MemoryStore())
    for method, path in [("GET", "/"), ("POST", "/sign-in"), ("POST", "/api/session"), ("GET", "/api/session")]:
        scope = http_scope(path, method=method)
        scope["headers"] = headers
        answer = await send_scope(page, scope, {"type": "http.request", "body": b"", "more_body": False})
        assert answer.status < 500


# --- what fails --------------------------------------------------------------------------------------------------


class Failing(MemoryStore):
    """A store whose reads fail with what it is told."""

    problem = None

    async def get_owner(self, owner_id):
        if self.problem is not None:
            raise self.problem
        return await super().get_owner(owner_id)


@pytest.fixture
async def failing(people_of):
    """A store that fails, and a page on it whose visitor is known by the app."""
    store = Failing()
    await people_of(store)
    return store


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (StoreUnavailable("db.internal does not answer"), 503),
        (Overloaded("too many"), 503),
        (SchemaMismatch("tables are missing"), 503),
        (NotSupported("not here"), 501),
        (ConfigurationError("it is wrong"), 422),
        (Conflict("it is taken"), 409),
        (NotFound("it is gone"), 404),
        (RuntimeError("SELECT secret FROM x"), 500),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("path", ["/", "/api/keys"])
async def test_what_fails_is_answered_without_a_word_of_it(failing, browse, caplog, path, problem, status):
    """An outage is a 503 that says when to come again; what nobody expected is a 500; neither tells what it was."""
    page = KeyAdmin(failing, identify=lambda scope: Principal(id="ada-id", name="ada"))
    visitor = browse(page, mount="")
    failing.problem = problem
    answer = await visitor.get(path)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert "SELECT" not in answer.text
    assert "db.internal" not in answer.text
    if status in {500, 503}:
        assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_even_a_page_that_cannot_be_made_is_answered(people_of, browse, clock):
    """Where the page that says what went wrong fails as well, there is a plain answer."""
    store = MemoryStore()
    await people_of(store)
    broken = False

    def breaking():
        if broken:
            raise RuntimeError("no time")
        return clock()

    visitor = browse(
        KeyAdmin(store, identify=lambda scope: Principal(id="ada-id", name="ada"), clock=breaking), mount=""
    )
    broken = True
    answer = await visitor.get("/")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_is_open_to_all_shows_nobody_a_desk(store, browse):
    """An endpoint that everybody reaches, and that asks for keys all the same, is answered for: 401."""

    async def mine(visit):
        return visit.page("message.html", heading="", sentence=str(await visit.desk.owners()), link="")

    page = KeyAdmin(store)
    page.routes.append(page_route(page.settings, "/mine", mine, open_to_all=True))
    answer = await browse(page, mount="").get("/mine")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Session realm="keys"'


async def test_a_websocket_is_closed(store):
    """There is none here: it is refused before it was accepted."""
    answer = await send_scope(KeyAdmin(store), websocket_scope("/"), {"type": "websocket.connect"})
    assert answer.types == ["websocket.close"]


async def test_what_is_no_request_is_left_alone(store):
    """A scope of a type that nobody knows gets no answer, and raises nothing."""
    answer = await send_scope(KeyGuard(KeyAdmin(store), store=store), {"type": "telemetry"})
    assert answer.messages == []
