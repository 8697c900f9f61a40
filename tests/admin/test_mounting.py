"""Wherever the page is mounted, its links, redirects and cookies lead to where it is."""

import json
import re
import sys
from base64 import b64encode
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest
from asgi import http_scope, live, send_scope
from fastapi import FastAPI
from itsdangerous import TimestampSigner
from starlette.applications import Starlette
from starlette.routing import Mount

from keyguard import KeyGuard, Policy, StoreUnavailable, lifecycle
from keyguard.admin import KeyAdmin, with_key_page
from keyguard.admin._cookies import path_of
from keyguard.explain import explain
from keyguard.routes import survey
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

HOWTO = Path(__file__).parent.parent.parent / "docs" / "howto" / "key-page.md"
BOTH = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.fixture
def store():
    return MemoryStore()


@cache
def snippets():
    return re.findall(r"^```python\n(.*?)^```$", HOWTO.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
async def howto(tmp_path, monkeypatch, people_of):
    """What the page of the manual makes, run as it is written, with a database that has its tables."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("snippets")  # Where Litestar looks up what the types of a handler's parameters are.
    monkeypatch.setitem(sys.modules, "snippets", module)
    namespace = vars(module)
    for text in snippets():
        exec(compile(text, str(HOWTO), "exec"), namespace)
    await namespace["store"].create_schema()
    await people_of(namespace["store"])
    yield namespace
    await namespace["store"].close()


@pytest.mark.parametrize("name", ["app", "fastapi_app", "litestar_app"])
async def test_it_works_as_the_manual_mounts_it(howto, browse, name):
    """In Starlette, FastAPI and Litestar people sign in, make a key, and open the app with it."""
    browser = browse(howto[name])
    answer = await browser.get("/")
    assert answer.headers["location"] == "/keys/sign-in"
    assert (await browser.sign_in("ada")).headers["location"] == "/keys/"
    page = await browser.get("/")
    links = set(re.findall(r'(?:href|src|action)="([^"#]+)', page.text))
    assert links
    for link in links:
        assert link.startswith("/keys/")
    assets = [link for link in links if "/assets/" in link]
    assert {(await browser.client.get(link)).status_code for link in assets} == {200}
    answer = await browser.api("POST", "/keys", json={"name": "laptop"})
    assert answer.status_code == 201
    key = answer.json()["key"]
    assert (await browser.client.get("/elsewhere", headers={"x-api-key": key})).status_code == 404
    assert (await browser.client.get("/elsewhere")).status_code == 401


async def test_the_apps_own_sign_in_works_as_the_manual_has_it(howto, browse):
    """Whom the app knows is not asked again; others are sent to the app."""
    ada = json.dumps({"user": {"id": "ada-id", "name": "ada", "admin": False}})
    session = TimestampSigner("a long secret of yours").sign(b64encode(ada.encode())).decode()
    browser = browse(howto["own"])
    assert (await browser.get("/")).headers["location"] == "/login"
    assert (await browser.get("/", headers={"cookie": f"session={session}"})).status_code == 200


ROOTS = {
    "alone": ("", ""),
    "mounted": ("/keys", "/keys"),
    "deep": ("/a/b/keys", "/a/b/keys"),
    "a path that is left out of": ("/prefix/keys", "/keys"),
    "blanks": ("/my keys", "/my keys"),
}


@pytest.mark.parametrize(("root", "lead"), ROOTS.values(), ids=ROOTS)
async def test_links_begin_with_the_root(store, people, root, lead):
    """Whether the path has all of the `root_path` or what the mount has added to it."""
    page = KeyAdmin(store)
    more = {"root_path": root, "app_root_path": root.removesuffix(lead)}
    answer = await send_scope(page, http_scope(f"{lead}/new", **more))
    written = root.replace(" ", "%20")
    assert answer.header("location") == [f"{written}/sign-in?next=%2Fnew"]
    answer = await send_scope(page, http_scope(f"{lead}/sign-in", **more))
    assert answer.status == 200
    assert f'action="{written}/sign-in"' in answer.body.decode()
    assert f"Path={written or '/'};" in answer.header("set-cookie")[0] + ";"


async def test_a_path_that_lies_elsewhere_is_not_there(store):
    """A framework that gives a path which neither begins with the root nor with the mount is taken at its word."""
    answer = await send_scope(KeyAdmin(store), http_scope("/sign-in", root_path="/keys"))
    assert answer.status == 200
    answer = await send_scope(KeyAdmin(store), http_scope("/keysign-in", root_path="/keys"))
    assert answer.status == 404


async def test_a_prefix_of_fastapi_is_found_before_the_mount(store, people, browse):
    """`FastAPI(root_path=)` leaves the prefix out of the path."""
    app = FastAPI()
    app.root_path = "/prefix"
    app.mount("/keys", KeyAdmin(store))
    browser = browse(app)
    assert (await browser.get("/")).headers["location"] == "/prefix/keys/sign-in"
    assert (await browser.get("/sign-in")).status_code == 200


@pytest.mark.parametrize(
    ("root", "written"),
    [
        ("", ""),
        ("/", ""),
        ("//evil.test/keys", "/evil.test/keys"),
        ("/\\evil.test", "/%5Cevil.test"),
        ("/a;b", "/a%3Bb"),
        ("/a\r\nb", "/a%0D%0Ab"),
        ('/"<', "/%22%3C"),
        ("/\ud800", "/%3F"),
    ],
)
def test_a_root_is_written_so_that_it_leads_nowhere_else(root, written):
    """A mount with a parameter in its path puts what a visitor has written into the root."""
    assert path_of(root) == written


async def test_two_pages_in_one_app_do_not_meet(people_of, browse, clock):
    """Each has its own sessions and cookies, also where one lies below the other."""
    first, second = MemoryStore(), MemoryStore()
    await people_of(first)
    await people_of(second)
    app = Starlette(
        routes=[
            Mount("/keys/team", app=KeyAdmin(second, clock=clock)),
            Mount("/keys", app=KeyAdmin(first, clock=clock)),
        ]
    )
    outer = browse(app)
    await outer.sign_in("ada")
    inner = browse(app, mount="/keys/team")
    inner.client.cookies = outer.client.cookies
    assert (await inner.get("/")).headers["location"] == "/keys/team/sign-in"
    await inner.sign_in("bob")
    assert ">ada<" in (await outer.get("/")).text
    assert ">bob<" in (await inner.get("/")).text
    await inner.post("/sign-out")
    assert ">ada<" in (await outer.get("/")).text


@pytest.mark.parametrize(
    ("arguments", "scheme", "is_secure"),
    [({}, "http", False), ({}, "https", True), ({"secure_cookies": True}, "http", True)],
)
@pytest.mark.parametrize(("root", "prefix"), [("", "__Host-"), ("/keys", "__Secure-")])
async def test_cookies_are_for_https_where_that_is_used(store, arguments, scheme, is_secure, root, prefix):
    """By the request's scheme, or as the app says it; then their names keep others from planting some."""
    scope = http_scope(f"{root}/sign-in", scheme=scheme, root_path=root)
    (cookie,) = (await send_scope(KeyAdmin(store, **arguments), scope)).header("set-cookie")
    assert ("Secure" in cookie) is is_secure
    assert cookie.startswith(f"{prefix}keyguard_browser_" if is_secure else "keyguard_browser_")


async def test_over_https_people_sign_in_and_out(people_of, browse, clock):
    """The cookies that were set are the ones that are looked for, and those that are forgotten."""
    store = MemoryStore()
    await people_of(store)
    browser = browse(KeyAdmin(store, clock=clock), mount="", origin="https://keys.test")
    assert (await browser.sign_in("ada")).status_code == 303
    assert ">ada<" in (await browser.get("/")).text
    await browser.post("/sign-out")
    assert browser.cookie("__Host-keyguard_session") is None
    assert (await browser.get("/")).headers["location"] == "/sign-in"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("fields", [1, 2])
async def test_a_cookie_that_was_planted_beside_ours_is_nobodys(store, people_of, clock, first, fields):
    """Whichever of two sessions comes first, and in however many fields: nobody is made to act as somebody else."""
    people = await people_of(store)
    page = KeyAdmin(store, clock=clock)
    name = f"keyguard_session_{sha256(b'').hexdigest()[:8]}"
    ada, bob = [
        f"{name}={(await lifecycle.start_session(store, owner, clock=clock)).token}"
        for owner in (people.ada, people.bob)
    ]
    both = [ada, bob] if first else [bob, ada]

    async def status(*cookies):
        headers = [("host", "keys.test"), *(("cookie", cookie) for cookie in cookies)]
        return (await send_scope(page, http_scope("/", headers=headers))).status

    assert await status(ada) == await status(f"a=b; {bob}") == 200
    assert await status(*(both if fields == 2 else ["; ".join(both)])) == 303


# --- the store, and the lifespan ---------------------------------------------------------------------------------


async def test_alone_it_opens_and_closes_the_store(tmp_path):
    """Its lifespan does."""
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db")
    await store.create_schema()
    await store.close()
    page = KeyAdmin(store)
    seen = []

    async def look():
        seen.append(store.is_open)

    assert [each["type"] for each in await live(page, between=look)] == BOTH
    assert (seen, store.is_open) == ([True], False)


async def test_a_store_that_does_not_belong_stops_the_start(tmp_path):
    """A database without tables fails the start; one that cannot be reached does not."""
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    (said,) = await live(KeyAdmin(store))
    assert said["type"] == "lifespan.startup.failed"
    assert "no Keyguard tables" in said["message"]
    await store.close()

    class Away(MemoryStore):
        async def open(self):
            raise StoreUnavailable("not now")

    assert [each["type"] for each in await live(KeyAdmin(Away()))] == BOTH


async def test_mounted_it_opens_the_store_once(store, people, browse):
    """At the first request that needs it; what it has opened `aclose` closes, and nothing else."""
    page = KeyAdmin(store)
    visitor = browse(page, mount="")
    await visitor.get("/assets/page.js")
    assert not store.is_open
    await visitor.get("/")
    await visitor.get("/")
    assert store.is_open
    await page.aclose()
    await page.aclose()
    assert not store.is_open
    await store.open()
    await visitor.get("/")
    await page.aclose()
    assert store.is_open


# --- what is said of it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [{}, {"identify": lambda scope: None}, {"sign_in_url": "/login"}], ids=["form", "identify", "url"]
)
def test_check_knows_its_routes(store, arguments):
    """`keyguard check` finds nothing to warn of; the form and the assets are exempt, all else is optional."""
    app = Starlette(routes=[Mount("/keys", app=KeyAdmin(store, **arguments))])
    guard = KeyGuard(app, store=store, query=None, policy=with_key_page(Policy(), "/keys"))
    found = survey(guard)
    assert found.findings == ()
    standing = {(route.path, method): route.standing.value for route in found.routes for method in route.methods}
    open_ones = {path for (path, _), value in standing.items() if value == "exempt"}
    assert open_ones == {"/keys/sign-in", "/keys/assets/{name}"}
    assert set(standing.values()) == {"exempt", "optional"}
    assert ("/keys/api/keys/{key_id}", "PATCH") in standing


async def test_explain_knows_its_paths(store, people):
    """A page is optional to the guard in front of it, and the way to it is explained."""
    app = Starlette(routes=[Mount("/keys", app=KeyAdmin(store))])
    guard = KeyGuard(app, store=store, policy=with_key_page(Policy(), "/keys"))
    for path, rule in {"/keys/": "OPTIONAL", "/keys/sign-in": "EXEMPT", "/keys/new": "OPTIONAL"}.items():
        explained = await explain(guard, http_scope(path))
        assert explained.decision.rule.name == rule


def test_its_paths_are_opened_beside_the_policys_own():
    """The policy stays what it was but for the page's paths."""
    before = Policy(exempt=["/health"], optional=["/feed"], auto_login=True, auto_login_user="ada")
    after = with_key_page(before, "/keys")
    assert [rule.path for rule in after.exempt_rules] == ["/health", "/keys/sign-in", "/keys/assets/*"]
    assert [rule.path for rule in after.optional_rules] == ["/feed", "/keys/*"]
    assert (after.auto_login, after.auto_login_user) == (True, "ada")


async def test_a_guard_with_a_root_opens_them_below_it(store, people, browse):
    """Behind a prefix the guard has it declared, and the page takes it from the scope."""
    app = Starlette(routes=[Mount("/keys", app=KeyAdmin(store))])
    guard = KeyGuard(app, store=store, root_path="/api", policy=with_key_page(Policy(), "/keys"))

    @asynccontextmanager
    async def nothing(_):
        yield

    async def rooted(scope, receive, send):
        await guard({**scope, "root_path": "/api"}, receive, send)

    browser = browse(rooted, mount="/api/keys")
    assert (await browser.get("/")).headers["location"] == "/api/keys/sign-in"
    assert (await browser.sign_in("ada")).headers["location"] == "/api/keys/"
    assert (await browser.get("/")).status_code == 200
    assert await lifecycle.list_keys(store) == []
