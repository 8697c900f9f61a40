"""Who visits: by the page's own session, by the app's own sign-in, or as the auto-login user; never by a key."""

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from keyguard import KeyGuard, Policy, Principal, lifecycle
from keyguard.admin import KeyAdmin, with_key_page
from keyguard.stores.memory import MemoryStore


@pytest.fixture
def store():
    return MemoryStore()


def by_header(scope):
    """An app's own sign-in: whoever a proxy has named."""
    name = dict(scope["headers"]).get(b"x-user", b"").decode()
    return Principal(id=f"{name}-id", name=name, is_superuser=name == "root") if name else None


def as_user(name, **more):
    return {"headers": {"x-user": name} | more}


# --- a key is no session -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["header", "query"])
async def test_whoever_brings_a_key_is_nobody(browser, store, people, how):
    """A good key opens the app's routes, and none of the page's: not even where `identify` would take it for a user."""
    key = (await lifecycle.issue(store, people.root)).key.reveal()
    given = {"headers": {"x-api-key": key}} if how == "header" else {"params": {"x-api-key": key}}
    assert (await browser.client.get("/whoami", **given)).json()["user"] == "root"
    assert (await browser.get("/", **given)).headers["location"] == "/keys/sign-in"
    assert (await browser.get("/api/keys", **given)).status_code == 401


async def test_a_key_is_not_taken_for_the_apps_own_sign_in(make_app, browse, store, people):
    """An `identify` that returns whatever user stands in the scope is not asked where that one comes from a key."""
    browser = browse(make_app(identify=lambda scope: scope.get("user")))
    key = (await lifecycle.issue(store, people.root)).key.reveal()
    answer = await browser.get("/", headers={"x-api-key": key})
    assert answer.status_code == 401


async def test_a_bad_key_is_refused_in_front(signed_in):
    """A key that is sent to the page is judged as anywhere: a wrong one does not pass, signed in or not."""
    ada = await signed_in("ada")
    assert (await ada.get("/", headers={"x-api-key": "kg_wrong"})).status_code == 401


async def test_a_key_in_a_pages_address_goes_no_further(signed_in, store, people, caplog):
    """The guard takes it out, so that no link, no redirect and no referrer has it."""
    ada = await signed_in("ada")
    key = (await lifecycle.issue(store, people.ada)).key.reveal()
    answer = await ada.get(f"/?x-api-key={key}&q=x")
    assert answer.status_code == 200
    assert answer.headers["referrer-policy"] == "no-referrer"
    await ada.post("/sign-out")
    redirect = await ada.get(f"/activity?x-api-key={key}&before=7")
    assert redirect.headers["location"] == "/keys/sign-in?next=%2Factivity%3Fbefore%3D7"
    assert key[16:40] not in answer.text + caplog.text


# --- the app's own sign-in ---------------------------------------------------------------------------------------


async def test_whom_the_app_knows_visits(make_app, browse, people):
    """`identify` says who visits; there is no button to sign out, and nobody else sees anything."""
    browser = browse(make_app(identify=by_header))
    answer = await browser.get("/", **as_user("ada"))
    assert answer.status_code == 200
    assert "ada" in answer.text
    assert "sign-out" not in answer.text
    answer = await browser.get("/")
    assert answer.status_code == 401
    assert "You are not signed in." in answer.text


async def test_whom_the_guard_in_front_knows_visits(store, browse, people, clock):
    """The guard's `identify` is enough: the page takes it from there, and sends nobody to the app's sign-in."""
    page = KeyAdmin(store, sign_in_url="/login", clock=clock)
    policy = with_key_page(Policy(), "/keys")
    app = Starlette(routes=[Mount("/keys", app=page)])
    browser = browse(KeyGuard(app, store=store, policy=policy, identify=by_header, clock=clock))
    assert (await browser.get("/", **as_user("ada"))).status_code == 200
    assert (await browser.get("/")).headers["location"] == "/login"


async def test_a_form_is_not_led_to_the_apps_sign_in(make_app, browse, people):
    """Browsers follow no form to another host: whoever is not signed in any more is told so, and given the link."""
    browser = browse(make_app(sign_in_url="https://login.test/start?to=keys"))
    assert (await browser.get("/new")).headers["location"] == "https://login.test/start?to=keys"
    answer = await browser.post("/new", {"name": "x"})
    assert answer.status_code == 401
    assert "Nothing was done." in answer.text
    assert 'href="https://login.test/start?to=keys"' in answer.text


async def test_a_guard_with_another_store_speaks_of_others(store, browse, people, clock):
    """An id of another store's owners is not taken for one of this store's."""
    page = KeyAdmin(store, sign_in_url="/login", clock=clock)
    policy = with_key_page(Policy(), "/keys")
    app = Starlette(routes=[Mount("/keys", app=page)])
    browser = browse(KeyGuard(app, store=MemoryStore(), policy=policy, identify=by_header, clock=clock))
    assert (await browser.get("/", **as_user("ada"))).status_code == 303


@pytest.mark.parametrize("name", ["ada", "root"])
async def test_the_app_says_who_is_a_superuser(make_app, browse, store, people, name):
    """By its sign-in it is the principal's right that counts, and not the store's record."""
    await lifecycle.issue(store, people.bob, name="of bob")
    browser = browse(make_app(identify=by_header))
    answer = await browser.get("/", **as_user(name))
    assert ("of bob" in answer.text) is (name == "root")


async def test_whoever_is_no_owner_is_told_so(make_app, browse, store, people):
    """The app knows them, the store does not, or they are deactivated: 403, and a sentence that says which."""
    browser = browse(make_app(identify=by_header))
    answer = await browser.get("/", **as_user("eve"))
    assert answer.status_code == 403
    assert "there is no owner of keys with your id here" in answer.text
    await lifecycle.deactivate(store, people.bob)
    answer = await browser.get("/", **as_user("bob"))
    assert answer.status_code == 403
    assert "Your account is deactivated" in answer.text


@pytest.mark.parametrize("answer", [RuntimeError("database password"), "ada"], ids=["raises", "a text"])
async def test_a_sign_in_that_fails_is_not_nobody(make_app, browse, people, answer, caplog):
    """Where `identify` raises, or returns no principal, the page answers 503 and says nothing more."""

    def fails(scope):
        if isinstance(answer, Exception):
            raise answer
        return answer

    browser = browse(make_app(identify=fails))
    page = await browser.get("/")
    assert page.status_code == 503
    assert page.headers["retry-after"] == "1"
    assert "database password" not in page.text
    assert "identify failed" in caplog.text


async def test_changes_by_the_apps_sign_in_need_a_token_too(make_app, browse, store, people):
    """The token is bound to a cookie of the page's own, and to the visitor: another one's is worth nothing."""
    browser = browse(make_app(identify=by_header))
    await browser.get("/new", **as_user("ada"))
    of_ada = browser.csrf
    assert (await browser.post("/sign-out", **as_user("ada"))).status_code == 404
    assert (await browser.post("/delete", {}, csrf="x", **as_user("ada"))).status_code == 403
    assert (await browser.post("/delete", {}, csrf=of_ada, **as_user("bob"))).status_code == 403
    assert (await browser.post("/delete", {}, csrf=of_ada, **as_user("ada"))).status_code != 403


async def test_a_program_with_a_token_of_the_apps_needs_no_other(make_app, browse, store, people):
    """Nobody can have a browser send a bearer token; with a cookie, or from another origin, ours is asked for."""

    def by_bearer(scope):
        is_ada = dict(scope["headers"]).get(b"authorization") in {b"Bearer of-ada", b"Basic of-ada"}
        return Principal(id="ada-id", name="ada") if is_ada else None

    browser = browse(make_app(identify=by_bearer))
    post = browser.client.post
    for origin in ({}, {"origin": browser.origin}):
        headers = {"authorization": "Bearer of-ada"} | origin
        assert (await post("/keys/api/keys", json={"name": "x"}, headers=headers)).status_code == 201
    for headers in [
        {"authorization": "Bearer of-ada", "cookie": "a=b"},
        {"authorization": "Basic of-ada"},
        {"authorization": "Bearer of-ada", "origin": "https://evil.test"},
        {"authorization": "Bearer of-ada", "origin": "null"},
    ]:
        answer = await post("/keys/api/keys", json={"name": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


async def test_no_key_may_do_more_than_who_makes_it(make_app, browse, store, people):
    """Whom the app lets do some things only can issue keys for these, and neither rotate nor enable any with more."""

    def reader(scope):
        return Principal(id="ada-id", name="ada", scopes=frozenset({"flows:read"}))

    browser = browse(make_app(identify=reader, scopes=["flows:read", "flows:write"]))
    await browser.get("/new")
    assert (await browser.api("POST", "/keys", json={"scopes": ["flows:read"]})).status_code == 201
    for scopes in (None, ["flows:write"], ["*"], ["flows:*"]):
        assert (await browser.api("POST", "/keys", json={"scopes": scopes})).status_code in {403, 422}
    whole = (await lifecycle.issue(store, people.ada)).record
    every = {"if-match": "*"}
    assert (await browser.api("POST", f"/keys/{whole.id}/rotate", json={}, headers=every)).status_code == 403
    await lifecycle.disable(store, whole.id)
    answer = await browser.api("PATCH", f"/keys/{whole.id}", json={"disabled": False}, headers=every)
    assert answer.status_code == 403
    assert (await browser.api("DELETE", f"/keys/{whole.id}", headers=every)).status_code == 200


async def test_no_key_has_a_superusers_rights_whose_owner_visits_without_them(make_app, browse, store, people):
    """A key's rights are those of the store's record: from whom the app knows as less, it can have some scopes only."""

    def ordinary(scope):
        return Principal(id="root-id", name="root", is_superuser=False)

    browser = browse(make_app(identify=ordinary, scopes=["flows:read"]))
    await browser.get("/new")
    assert (await browser.api("GET", "/session")).json()["choices"]["may_grant_all"] is False
    for body in ({}, {"scopes": None}):
        assert (await browser.api("POST", "/keys", json=body)).status_code == 403
    assert (await browser.api("POST", "/keys", json={"scopes": ["flows:read"]})).status_code == 201
    whole = (await lifecycle.issue(store, people.root)).record
    every = {"if-match": "*"}
    assert (await browser.api("POST", f"/keys/{whole.id}/rotate", json={}, headers=every)).status_code == 403
    await lifecycle.disable(store, whole.id)
    answer = await browser.api("PATCH", f"/keys/{whole.id}", json={"disabled": False}, headers=every)
    assert answer.status_code == 403


# --- auto-login --------------------------------------------------------------------------------------------------

AUTO = {
    "auto_login": Policy(auto_login=True, auto_login_user="ada"),
    "without a key": Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="ada"),
    "skip_auth": Policy(skip_auth=True, auto_login_user="ada"),
}


@pytest.mark.parametrize("policy", AUTO.values(), ids=AUTO)
@pytest.mark.parametrize("where", ["guard", "page"])
async def test_with_auto_login_the_visitor_is_that_user(make_app, browse, people, policy, where):
    """There is no form to sign in with; the policy is the guard's in front, or the page's own."""
    app = make_app(guard_policy=policy) if where == "guard" else make_app(policy=policy)
    browser = browse(app)
    answer = await browser.get("/")
    assert answer.status_code == 200
    assert ">ada<" in answer.text
    assert (await browser.get("/sign-in")).headers["location"] == "/keys/"


async def test_that_everybody_is_that_user_is_said_once(make_app, browse, people, caplog):
    """Under a policy that still asks programs for a key, whoever reaches the page makes one: the log says so."""
    app = make_app(guard_policy=AUTO["auto_login"])
    for _ in range(2):
        await browse(app).get("/")
    assert [record.levelname for record in caplog.records if "ANYONE" in record.getMessage()] == ["WARNING"]


async def test_auto_login_changes_need_a_token(make_app, browse, store, people):
    """That everybody is signed in does not let other sites' pages do anything."""
    browser = browse(make_app(guard_policy=AUTO["auto_login"]))
    await browser.get("/new")
    assert (await browser.api("POST", "/keys", json={}, headers={"x-csrf-token": "x"})).status_code == 403
    assert (await browser.api("POST", "/keys", json={}, headers={"origin": "https://evil.test"})).status_code == 403
    assert (await browser.api("POST", "/keys", json={})).status_code == 201


@pytest.mark.parametrize("gone", ["unknown", "inactive"])
async def test_an_auto_login_user_who_is_not_there_is_told_of(make_app, browse, store, people, gone):
    """The page says so, and signs nobody in."""
    name = "nobody" if gone == "unknown" else "ada"
    await lifecycle.deactivate(store, people.ada)
    browser = browse(make_app(guard_policy=Policy(auto_login=True, auto_login_user=name)))
    answer = await browser.get("/")
    assert answer.status_code == 403
    assert "The user whom everybody is signed in as" in answer.text
