"""What the pages answer to what no browser of good will sends, and which header fields each of them has."""

import pytest
from langflow_accounts import COOKIE, add_key, add_user, as_cookie, by_key, superuser
from langflow_flows import add_flow, chat, template, unique
from langflow_serving import ONE_DATABASE
from starlette.routing import Route
from starlette.testclient import TestClient

from langflow_server.app import create_app
from langflow_server.settings import Settings

HTML = {"accept": "text/html,application/xhtml+xml"}
NO_ID = "00000000-0000-0000-0000-000000000000"

FOR_ALL = [
    "/flows",
    "/settings",
    "/settings/variables",
    "/settings/variables/new",
    "/settings/password",
    "/settings/api-keys/",
]
FOR_SUPERUSERS = ["/settings/users", "/settings/users/new"]
CHANGES = [
    "/sign-out",
    "/flows/sample",
    f"/flows/{NO_ID}/run",
    f"/flows/{NO_ID}/public",
    "/settings/variables/new",
    f"/settings/variables/{NO_ID}",
    f"/settings/variables/{NO_ID}/delete",
    "/settings/users/new",
    f"/settings/users/{NO_ID}/active",
    f"/settings/users/{NO_ID}/superuser",
    f"/settings/users/{NO_ID}/password",
    f"/settings/users/{NO_ID}/delete",
    "/settings/password",
]


def cookie_of(headers):
    """A session as a browser sends it."""
    return {**as_cookie(headers), **HTML}


@pytest.fixture
def browser(server):
    """A connection to a worker that keeps no cookie by itself."""
    with server.client() as client:
        yield client


@pytest.fixture
def user(server):
    return add_user(server)


def assert_safe(answer):
    """See to what keeps a page safe: no script but ours, no frame, nothing kept, nothing told to others."""
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"


@ONE_DATABASE
@pytest.mark.parametrize("path", [*FOR_ALL, *FOR_SUPERUSERS])
def test_a_page_is_safe_to_show(browser, server, path):
    """Each page is HTML with the header fields of all pages, and nothing in it is a script or a style of its own."""
    page = browser.get(path, headers=cookie_of(superuser(server)))
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert_safe(page)
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert "<script>" not in page.text
    assert " onclick=" not in page.text


@ONE_DATABASE
@pytest.mark.parametrize("path", ["/", *FOR_ALL, *FOR_SUPERUSERS])
def test_nobody_is_led_to_sign_in(browser, path):
    """A browser without a session is sent to the form, which leads back; that answer is safe, too."""
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/sign-in?next={path}"
    assert_safe(answer)
    form = browser.get(answer.headers["location"], headers=HTML)
    assert form.status_code == 200
    assert_safe(form)


@ONE_DATABASE
@pytest.mark.parametrize("path", CHANGES)
def test_nobody_changes_anything(browser, path):
    """A form that is sent without a session is refused with a page, and says that nothing was done."""
    answer = browser.post(path, headers={**HTML, "sec-fetch-site": "same-origin"}, data={"public": "yes"})
    assert answer.status_code == 403
    assert "You are not signed in any more. Nothing was done." in answer.text
    assert_safe(answer)


@ONE_DATABASE
@pytest.mark.parametrize("path", FOR_ALL[:-1])
def test_a_key_opens_no_page(browser, server, user, path):
    """Whoever has got hold of a key sees no page with it, and changes nothing by a form."""
    key = by_key(add_key(server, user))
    answer = browser.get(path, headers={**HTML, **key})
    assert answer.status_code == 403
    assert "A key opens no page" in answer.text or "This needs a session" in answer.text
    assert browser.post("/flows/sample", headers={**HTML, **key}).status_code == 403
    assert browser.get("/api/v1/flows/", headers=key).json() == []


@ONE_DATABASE
def test_a_key_signs_nobody_out(browser, server, user):
    """A page of another site that has a key of its own ends nobody's session with it."""
    key, site, cookie = by_key(add_key(server, user)), {"sec-fetch-site": "cross-site"}, cookie_of(user.session)
    assert browser.post("/sign-out", headers={**key, **site, **cookie}).status_code == 403
    assert browser.get("/flows", headers=cookie).status_code == 200


@ONE_DATABASE
def test_a_key_does_not_open_the_key_page(browser, server, user):
    """The key page sends whoever comes with a key to sign in: a key makes no keys there."""
    answer = browser.get("/settings/api-keys/", headers={**HTML, **by_key(add_key(server, user))})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/settings/api-keys/"


@ONE_DATABASE
@pytest.mark.parametrize("path", FOR_SUPERUSERS)
def test_users_are_not_for_everybody(browser, user, path):
    """Who is no superuser sees none of the pages about users, and is told so on a page."""
    answer = browser.get(path, headers=cookie_of(user.session))
    assert answer.status_code == 403
    assert "Only a superuser manages users." in answer.text
    assert_safe(answer)


@pytest.mark.parametrize("what", ["active", "superuser", "password", "delete"])
def test_who_is_no_superuser_changes_no_user(browser, server, user, what):
    """The forms of the pages about users are refused, too, and the other user is as before."""
    other = add_user(server)
    sent = {"active": "no", "superuser": "yes", "password": "another"}
    answer = browser.post(f"/settings/users/{other.id}/{what}", headers=cookie_of(user.session), data=sent)
    assert answer.status_code == 403
    assert browser.get("/flows", headers=cookie_of(other.session)).status_code == 200


def test_another_users_things_are_not_there(browser, server, user):
    """A flow and a variable of somebody else are answered as those that do not exist, whatever is asked of them."""
    other = add_user(server)
    flow = add_flow(server, other, template("Hello {text}"))
    variable = browser.post(
        "/api/v1/variables/", headers=other.session, json={"name": "MINE", "value": "it", "type": "Generic"}
    ).json()
    for path in (f"/flows/{flow['id']}", f"/settings/variables/{variable['id']}"):
        missing = browser.get(f"{path.rpartition('/')[0]}/{NO_ID}", headers=cookie_of(user.session))
        answer = browser.get(path, headers=cookie_of(user.session))
        assert (answer.status_code, answer.text) == (404, missing.text)
    for path, sent in (
        (f"/flows/{flow['id']}/run", {"text": "hello"}),
        (f"/flows/{flow['id']}/public", {"public": "yes"}),
        (f"/settings/variables/{variable['id']}", {"name": "YOURS", "value": "that"}),
        (f"/settings/variables/{variable['id']}/delete", {}),
    ):
        assert browser.post(path, headers=cookie_of(user.session), data=sent).status_code == 404
    assert browser.get("/api/v1/variables/", headers=other.session).json() == [variable]


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "null"},
    {"origin": "https://elsewhere.example"},
    {"origin": "null"},
]


@ONE_DATABASE
@pytest.mark.parametrize("said", FOREIGN, ids=lambda said: ", ".join(f"{name} {said[name]}" for name in said))
def test_another_sites_form_does_nothing(browser, user, said):
    """A form of another origin is refused, though the session's cookie comes along."""
    headers = {**cookie_of(user.session), **said}
    assert browser.post("/flows/sample", headers=headers).status_code == 403
    form = {"username": user.name, "password": user.password}
    signed_in = browser.post("/sign-in", headers=headers, data=form)
    assert signed_in.status_code == 403
    assert "set-cookie" not in signed_in.headers
    assert browser.post("/sign-out", headers=headers).status_code == 403
    assert browser.get("/api/v1/flows/", headers=user.session).json() == []


@ONE_DATABASE
@pytest.mark.parametrize(
    "place",
    [
        "//elsewhere.example",
        "https://elsewhere.example/",
        "/\\elsewhere.example",
        "/\t/elsewhere.example",
        "/%5celsewhere.example",
        "\\\\elsewhere.example",
        "javascript:alert(1)",
        "elsewhere",
        "",
    ],
)
def test_signing_in_leads_nowhere_else(browser, user, place):
    """`next` leads to a path of this server's, and anything else to its front."""
    form = {"username": user.name, "password": user.password, "next": place}
    answer = browser.post("/sign-in", headers=HTML, data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    browser.cookies.clear()
    there = browser.get("/sign-in", headers=cookie_of(user.session), params={"next": place})
    assert (there.status_code, there.headers["location"]) == (303, "/")


@ONE_DATABASE
def test_signing_in_sets_a_cookie_for_the_browser_alone(browser, user):
    """The session is in a cookie that scripts do not see and other sites' forms do not send; signing out drops it."""
    form = {"username": user.name, "password": user.password, "next": "/settings"}
    answer = browser.post("/sign-in", headers=HTML, data=form)
    assert answer.headers["location"] == "/settings"
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    again = browser.post("/sign-in", headers=HTML, data=form)
    assert COOKIE in again.headers["set-cookie"]  # The connection has kept the first one.
    first = answer.headers["set-cookie"].partition(";")[0]
    browser.cookies.clear()
    assert browser.get("/flows", headers={**HTML, "cookie": first}).status_code == 303  # It has ended.
    second = again.headers["set-cookie"].partition(";")[0]
    out = browser.post("/sign-out", headers={**HTML, "cookie": second})
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in?said=signed_out")
    assert f'{COOKIE}=""' in out.headers["set-cookie"]
    browser.cookies.clear()
    assert browser.get("/flows", headers={**HTML, "cookie": second}).status_code == 303


def test_who_tries_too_often_has_to_wait(browser, user):
    """The sixth wrong password is not even looked at, and the page says for how long."""
    form = {"username": user.name, "password": "wrong"}
    answers = [browser.post("/sign-in", headers=HTML, data=form) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 401, 429]
    wait = answers[-1].headers["retry-after"]
    assert f"Try again in {wait} s." in answers[-1].text
    assert_safe(answers[-1])


def test_who_guesses_the_current_password_has_to_wait(browser, user):
    """Where a password is changed, too, the sixth wrong one is not looked at, and the page says for how long."""
    form, cookie = {"current": "wrong", "new": "another", "again": "another"}, cookie_of(user.session)
    answers = [browser.post("/settings/password", headers=cookie, data=form) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 400, 429]
    assert f"Try again in {answers[-1].headers['retry-after']} s." in answers[-1].text


@ONE_DATABASE
@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/flows/nowhere", f"/flows/{NO_ID}", "/settings/users/%00", "/settings/variables/%00", "/sign-out"],
)
def test_what_is_not_there_is_a_page(browser, server, path):
    """A browser is shown a page that says so, with a way back; a program is told in JSON."""
    session = superuser(server)
    page = browser.get(path, headers=cookie_of(session))
    assert page.status_code in {404, 405, 422}
    assert '<a class="button" href="/flows">Back to the flows</a>' in page.text
    assert_safe(page)
    told = browser.get(path, headers=session)
    assert told.status_code == page.status_code
    assert "detail" in told.json()


def test_what_fails_is_a_page():
    """Whatever fails behind a page is a page that tells nothing of it, with the header fields of all pages."""

    async def failing(_):
        raise RuntimeError("a password")

    app = create_app(Settings())
    app.router.routes.insert(0, Route("/sign-in", failing))
    answer = TestClient(app, raise_server_exceptions=False).get("/sign-in", headers=HTML)
    assert answer.status_code == 500
    assert "Something went wrong here." in answer.text
    assert "a password" not in answer.text
    assert_safe(answer)


@ONE_DATABASE
def test_the_api_answers_programs(browser, server):
    """Below /api/ an error is JSON for everybody: whoever opens it in a browser sees what a program sees."""
    answer = browser.get(f"/api/v1/flows/{NO_ID}", headers=cookie_of(superuser(server)))
    assert answer.status_code == 404
    assert answer.json()["detail"]


@ONE_DATABASE
def test_a_form_that_lacks_something_is_refused(browser, user):
    """What no form of ours sends is a page that says so."""
    answer = browser.post("/settings/variables/new", headers=cookie_of(user.session), data={"name": "X"})
    assert answer.status_code == 422
    assert "Something is missing in what was sent" in answer.text


def test_a_form_brings_what_was_typed(browser, server, openai, user):
    """Lines end in a flow as they do on the page, and a pasted credential has no space around it."""
    secret, text = f"sk-{unique('pasted')}", f"say: {unique()}\r\nsecond line"
    flow = add_flow(server, user, chat(api_key={"variable": "PASTED"}))
    form = {"name": "PASTED", "type": "Credential", "value": f" {secret}\r\n"}
    added = browser.post("/settings/variables/new", headers=cookie_of(user.session), data=form)
    assert added.status_code == 303, added.text
    page = browser.post(f"/flows/{flow['id']}/run", headers=cookie_of(user.session), data={"text": text})
    assert page.status_code == 200
    assert openai.key_for(text.replace("\r\n", "\n")) == secret


@ONE_DATABASE
def test_only_what_was_done_is_said(browser, user):
    """The address chooses among sentences of ours: no other text is put onto a page by a link."""
    said = browser.get("/settings/variables?said=variable_added", headers=cookie_of(user.session))
    assert "The variable was added." in said.text
    made_up = browser.get("/settings/variables?said=Call+this+number", headers=cookie_of(user.session))
    assert "Call this number" not in made_up.text


@ONE_DATABASE
def test_files_are_asked_for_anew(browser):
    """Style sheets and scripts need no session, may be kept, and are asked for anew; nothing else is there."""
    answer = browser.get("/assets/frame.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.headers["x-content-type-options"] == "nosniff"
    kept = browser.get("/assets/frame.css", headers={"if-none-match": answer.headers["etag"]})
    assert kept.status_code == 304
    for path in ("/assets/../layout.py", "/assets/%2e%2e/layout.py", "/assets/"):
        assert browser.get(path).status_code in {403, 404}


def test_without_pages_there_are_none():
    """With `--backend-only` no page and no file is there; a browser is answered as a program is."""
    app = create_app(Settings(backend_only=True))
    paths = {getattr(route, "path", "") for route in app.routes}
    assert not paths & {"/", "/sign-in", "/flows", "/assets", "/settings", "/settings/api-keys"}
    client = TestClient(app)
    for path in ["/", "/sign-in", "/assets/frame.css", *FOR_ALL, *FOR_SUPERUSERS]:
        answer = client.get(path, headers=HTML, follow_redirects=False)
        assert (answer.status_code, answer.json()) == (403, {"detail": "An API key is required."})
