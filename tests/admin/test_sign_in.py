"""Signing in with the page's own form, and out again."""

from datetime import timedelta
from traceback import walk_tb
from urllib.parse import quote

import pytest
from leaks import WATCH

from keyguard import AuditKind, lifecycle
from keyguard.admin._entrance import way_back
from keyguard.stores.memory import MemoryStore

COOKIE = "keyguard_session_"


@pytest.fixture
def store():
    """Sessions in a database are tried by the contract of stores."""
    return MemoryStore()


async def test_a_visitor_signs_in(browser, people):
    """With the right name and password a session begins, in a cookie that no script and no other site gets."""
    answer = await browser.sign_in("ada")
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys/")
    (cookie,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)]
    attributes = [each.strip() for each in cookie.split(";")[1:]]
    assert attributes == ["HttpOnly", "Max-Age=43200", "Path=/keys", "SameSite=lax"]
    assert (await browser.get("/")).status_code == 200


async def test_signing_out_ends_the_session_on_the_server(signed_in, store):
    """After it the token is worth nothing, whoever kept it."""
    ada = await signed_in("ada")
    token = ada.cookie(COOKIE)
    answer = await ada.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys/sign-in")
    assert ada.cookie(COOKIE) is None
    assert "You have signed out." in (await ada.follow(answer)).text
    assert await lifecycle.find_session(store, token) is None


async def test_each_sign_in_has_a_token_of_its_own_and_ends_the_one_before(signed_in, store):
    """Whoever has planted a session in a browser does not share the one that begins in it."""
    ada = await signed_in("ada")
    before = ada.cookie(COOKIE)
    # The form is not shown to who has signed in, but it may have been open in another window.
    answer = await ada.post("/sign-in", {"name": "bob", "password": "correct horse battery staple"})
    assert answer.status_code == 303
    assert ada.cookie(COOKIE) != before
    assert await lifecycle.find_session(store, before) is None


async def test_who_signs_in_and_out_is_noted(signed_in, store, people):
    """Both stand in the audit log, with the owner as the actor."""
    ada = await signed_in("ada")
    await ada.post("/sign-out")
    kinds = {AuditKind.OWNER_SIGNED_IN, AuditKind.OWNER_SIGNED_OUT}
    events = await lifecycle.events(store, owner=people.ada, kinds=kinds)
    assert [event.kind for event in events] == [AuditKind.OWNER_SIGNED_OUT, AuditKind.OWNER_SIGNED_IN]
    assert {event.actor for event in events} == {people.ada.id}


@pytest.mark.parametrize("name", ["ada", "nobody", "", "\x00", "x" * 10_000, "inactive", "without"])
async def test_a_failed_sign_in_tells_nothing(browser, people, store, name):
    """The answer is the same whether the password is wrong, or there is no such owner, or it is not active."""
    inactive = await lifecycle.add_owner(store, "inactive", password="correct horse battery staple")
    await lifecycle.deactivate(store, inactive)
    await lifecycle.add_owner(store, "without")
    password = "correct horse battery staple" if name in {"inactive", "without"} else "wrong"
    answer = await browser.sign_in(name, password)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Session realm="keys"'
    assert "The name or the password is not right." in answer.text
    assert password not in answer.text
    assert browser.cookie(COOKIE) is None


async def test_a_session_ends_with_its_time(signed_in, clock):
    """After twelve hours the visitor is nobody, and comes back to where they were when they have signed in."""
    ada = await signed_in("ada")
    clock.advance(timedelta(hours=12))
    answer = await ada.get("/activity?before=7")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/keys/sign-in?next=%2Factivity%3Fbefore%3D7"
    await ada.follow(answer)
    password = "correct horse battery staple"
    answer = await ada.post("/sign-in", {"name": "ada", "password": password, "next": "/activity?before=7"})
    assert answer.headers["location"] == "/keys/activity?before=7"


async def test_what_is_sent_when_a_session_has_ended_is_not_done(signed_in, store, people, clock):
    """The visitor is asked to sign in, and told that nothing was done."""
    ada = await signed_in("ada")
    clock.advance(timedelta(hours=12))
    answer = await ada.post("/new", {"name": "late"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys/sign-in")
    assert "Nothing was done." in (await ada.follow(answer)).text
    assert await lifecycle.list_keys(store) == []


@pytest.mark.parametrize("ends", ["deactivated", "password"])
async def test_what_happens_to_an_owner_ends_the_session(signed_in, store, people, ends):
    """Whoever is deactivated, or has a new password, is nobody at the next request."""
    ada = await signed_in("ada")
    if ends == "deactivated":
        await lifecycle.deactivate(store, people.ada)
    else:
        await lifecycle.set_password(store, people.ada, "another one")
    assert (await ada.get("/")).headers["location"] == "/keys/sign-in"


@pytest.mark.parametrize("way", ["form", "api"])
@pytest.mark.parametrize("ends", ["signed out", "another password", "no superuser"])
async def test_who_sends_slowly_may_do_no_more_than_at_the_end(signed_in, store, people, clock, way, ends):
    """A request that began before a session ended, or rights were taken away, is judged by what holds when it is whole.

    Otherwise whoever has got hold of a session could keep requests waiting, and make keys when it is long over.
    """
    root = await signed_in("root")
    key = (await lifecycle.issue(store, people.ada, clock=clock)).record
    tag = (await root.api("GET", f"/keys/{key.id}")).headers["etag"]

    async def slowly(beginning, rest):
        yield beginning
        if ends == "signed out":
            await lifecycle.end_sessions(store, people.root)
        elif ends == "another password":
            await lifecycle.set_password(store, people.root, "another one")
        else:
            await lifecycle.set_superuser(store, people.root, superuser=False)
        yield rest

    if way == "form":
        headers = {"origin": root.origin, "content-type": "application/x-www-form-urlencoded"}
        body = slowly(b"grace=0&tag=" + quote(tag).encode(), b"&csrf=" + root.csrf.encode())
        answer = await root.client.post(f"/keys/key/{key.id}/rotate", content=body, headers=headers)
        refused = 404 if ends == "no superuser" else 303
    else:
        headers = {"if-match": tag, "content-type": "application/json"}
        answer = await root.api("POST", f"/keys/{key.id}/rotate", content=slowly(b"{", b"}"), headers=headers)
        refused = 404 if ends == "no superuser" else 401
    assert answer.status_code == refused
    assert [each.id for each in await lifecycle.list_keys(store)] == [key.id]


async def test_whoever_has_signed_in_is_not_asked_again(signed_in):
    """The form sends them on."""
    ada = await signed_in("ada")
    answer = await ada.get("/sign-in?next=/new")
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys/new")


# --- who tries too often -----------------------------------------------------------------------------------------


async def attempt(browser, name="ada", password="wrong"):
    return await browser.post("/sign-in", {"name": name, "password": password})


async def test_one_name_from_one_address_is_slowed_down(browser, people):
    """After five failures in a minute there is a 429 that says when to come back, even for the right password."""
    await browser.get("/sign-in")
    assert [(await attempt(browser)).status_code for _ in range(5)] == [401] * 5
    answer = await attempt(browser, password="correct horse battery staple")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 12
    assert "too many attempts" in answer.text


async def test_others_are_not_slowed_down_with_them(browser, browse, people):
    """The owner signs in from elsewhere, and another one from the same place."""
    await browser.get("/sign-in")
    for _ in range(6):
        await attempt(browser)
    assert (await browse(address="198.51.100.1").sign_in("ada")).status_code == 303
    assert (await browser.sign_in("bob")).status_code == 303


async def test_an_address_is_slowed_down_whatever_names_it_tries(browser, people):
    """Twenty names in a minute are enough; and who signs in with a password of their own gets no more guesses by it."""
    await browser.get("/sign-in")
    for number in range(20):
        assert (await attempt(browser, name=f"name {number}")).status_code == 401
    assert (await attempt(browser, name="ada", password="correct horse battery staple")).status_code == 429


async def test_a_name_is_slowed_down_wherever_it_is_tried_from(browse, people):
    """Twenty guesses a minute are let through for one owner, from however many addresses; a /64 is one of them."""
    for number in range(20):
        guesser = browse(address=f"198.51.100.{number}")
        await guesser.get("/sign-in")
        assert (await attempt(guesser)).status_code == 401
    guesser = browse(address="198.51.100.99")
    await guesser.get("/sign-in")
    assert (await attempt(guesser)).status_code == 429


@pytest.mark.parametrize(("page", "guard", "status"), [(None, 1, 303), (1, 0, 303), (0, 1, 429), (None, 0, 429)])
async def test_behind_a_proxy_callers_are_told_apart(make_app, browse, people, page, guard, status):
    """Where the proxy names them, they are counted one by one: as the page says, else as the guard in front does."""
    app = make_app(trusted_hops=page, guard_arguments={"trusted_hops": guard})
    for number in range(21):
        browser = browse(app)
        browser.client.headers["x-forwarded-for"] = f"198.51.100.{number}"
        await browser.get("/sign-in")
        answer = await attempt(browser, name=f"name {number}") if number < 20 else await browser.sign_in("ada")
    assert answer.status_code == status


async def test_the_addresses_of_one_customer_are_one(browse, people):
    """Of IPv6 the first 64 bits are counted."""
    for number in range(6):
        guesser = browse(address=f"2001:db8::{number}")
        await guesser.get("/sign-in")
        answer = await attempt(guesser)
    assert answer.status_code == 429


async def test_ipv4_addresses_that_come_as_ipv6_are_told_apart(browse, people):
    """A server that listens to both writes them so; whoever guesses keeps nobody out who has another address."""
    for number in range(20):
        guesser = browse(address="::ffff:198.51.100.1")
        await guesser.get("/sign-in")
        assert (await attempt(guesser, name=f"name {number}")).status_code == 401
    assert (await attempt(guesser, name="another name")).status_code == 429
    assert (await browse(address="::ffff:198.51.100.2").sign_in("ada")).status_code == 303


async def test_signing_in_often_is_no_guessing(browser, people):
    """A right password is not counted."""
    for _ in range(8):
        assert (await browser.sign_in("ada")).status_code == 303
        await browser.post("/sign-out")


# --- who makes a browser sign in ---------------------------------------------------------------------------------


async def test_another_site_cannot_sign_a_visitor_in(browser, people):
    """The form has a token of its own, bound to a cookie of the browser, and the origin is looked at."""
    await browser.get("/sign-in")
    right = {"name": "ada", "password": "correct horse battery staple"}
    for wrong in [
        {"csrf": ""},
        {"csrf": "x"},
        {"headers": {"origin": "https://evil.test"}},
        {"headers": {"origin": "null"}},
    ]:
        answer = await browser.post("/sign-in", right, **wrong)
        assert answer.status_code == 403
        assert browser.cookie(COOKIE) is None


async def test_the_token_of_another_browser_is_none(browser, browse, people):
    """An attacker who has asked for a form of their own cannot use its token in somebody else's browser."""
    attacker = browse()
    await attacker.get("/sign-in")
    await browser.get("/sign-in")
    right = {"name": "ada", "password": "correct horse battery staple"}
    assert (await browser.post("/sign-in", right, csrf=attacker.csrf)).status_code == 403


async def test_the_token_from_before_is_none_afterwards(browser, people):
    """What a form had before signing in is worth nothing in the session, nor a session's after signing out."""
    await browser.get("/sign-in")
    before = browser.csrf
    await browser.sign_in("ada")
    within = browser.csrf
    assert (await browser.post("/sign-out", csrf=before)).status_code == 403
    await browser.post("/sign-out")
    await browser.get("/sign-in")
    assert (await browser.post("/sign-in", {"name": "ada", "password": "x"}, csrf=within)).status_code == 403


# --- where to go afterwards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["/", "/new", "/key/3fJ2AbCdEf12", "/activity?owner=1&before=2", "/delete?id=a&id=b", "/?text=%C3%A4"]
)
def test_the_page_is_come_back_to(place):
    """Every path of the page's own is one to come back to."""
    assert way_back(place) == place


@pytest.mark.parametrize(
    "place",
    [
        "",
        "new",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "https://evil.test",
        "javascript:alert(1)",
        "/..",
        "/../admin",
        "/key/../../admin",
        "/%2e%2e/admin",
        "/key/.%2E/x",
        "/new\r\nset-cookie: a=b",
        "/new#x",
        "/new\x00",
        "/né",
        " /new",
        "/new//x",
        "/new?x=\n",
        "/sign-in?next=/",
        "/sign-out",
        "/api/keys",
        "/assets/page.js",
    ],
)
def test_nowhere_else_is_gone_to(place):
    """What leads to another host, out of the mount, or to what is no page leads to the front page."""
    assert way_back(place) == "/"


async def test_another_host_is_not_gone_to(browser, people):
    """Neither the form nor the answer to it carries such an address on."""
    answer = await browser.get("/sign-in?next=//evil.test")
    assert "evil.test" not in answer.text
    right = {"name": "ada", "password": "correct horse battery staple"}
    answer = await browser.post("/sign-in", right | {"next": "https://evil.test/"})
    assert answer.headers["location"] == "/keys/"


# --- what the log says -------------------------------------------------------------------------------------------


def noted(caplog):
    """Of what was written about those who were turned away: what happened, and by whom."""
    kinds = [(record.keyguard_event, record.keyguard_owner_id) for record in caplog.records if is_noted(record)]
    assert all(record.keyguard_address == "192.0.2.7" for record in caplog.records if is_noted(record))
    return kinds


def is_noted(record):
    return hasattr(record, "keyguard_event")


@pytest.mark.parametrize("door", ["form", "api"])
async def test_a_failed_sign_in_is_written(browser, people, caplog, door):
    """The log says whose account it was and from where; of a name that nobody has it does not say what it was."""
    await browser.get("/sign-in")
    for name in ("ada", "my password, by mistake"):
        if door == "form":
            await attempt(browser, name=name)
        else:
            await browser.api("POST", "/session", json={"name": name, "password": "wrong"})
    assert noted(caplog) == [("sign_in_failed", "ada-id"), ("sign_in_failed", None)]
    assert "by mistake" not in caplog.text


async def test_who_is_slowed_down_is_written(browser, people, caplog):
    """That somebody goes on guessing is an event of its own."""
    await browser.get("/sign-in")
    for _ in range(6):
        await attempt(browser)
    assert noted(caplog) == [("sign_in_failed", "ada-id")] * 5 + [("sign_in_throttled", None)]


async def test_a_change_that_no_page_of_ours_asked_for_is_written(signed_in, people, caplog):
    """The log says in whose browser it was tried, and why it was not done."""
    ada = await signed_in("ada")
    caplog.clear()
    await ada.post("/new", headers={"origin": "https://evil.test"})
    await ada.post("/new", csrf="x")
    assert noted(caplog) == [("forbidden", "ada-id")] * 2
    assert ["foreign_origin" in caplog.messages[0], "csrf_token" in caplog.messages[1]] == [True, True]


async def test_who_signs_in_is_not_written(browser, people, caplog):
    """That stands in the audit log."""
    await browser.sign_in("ada")
    assert noted(caplog) == []


# --- what does not show ------------------------------------------------------------------------------------------


async def test_no_password_and_no_token_shows(browser, people, caplog):
    """Neither stands in the log, and the token in no page."""
    answer = await browser.sign_in("ada", "a wrong password")
    assert "a wrong password" not in answer.text + caplog.text
    await browser.sign_in("ada")
    token = browser.cookie(COOKIE)
    page = await browser.get("/")
    WATCH.see("a page", page.text)
    assert token not in page.text + caplog.text


@pytest.mark.parametrize("way", ["form", "api"])
async def test_no_password_is_in_what_an_error_reporter_shows(browser, store, people, monkeypatch, caplog, way):
    """Where a store fails in a way that nobody expected, no variable of a frame of ours holds the password."""

    async def fail(*_):
        raise RuntimeError("unheard of")

    password = "Tr0ub4dor&3 of nobody"
    await browser.get("/sign-in")
    monkeypatch.setattr(store, "get_password", fail)
    sent = {"name": "ada", "password": password}
    answer = await (browser.post("/sign-in", sent) if way == "form" else browser.api("POST", "/session", json=sent))
    assert answer.status_code == 500
    (problem,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert str(problem) == "unheard of"
    frames = [frame for frame, _ in walk_tb(problem.__traceback__)]
    assert "sign_in" in {frame.f_code.co_name for frame in frames}
    ours = [frame.f_locals for frame in frames if frame.f_code.co_name != "fail"]
    assert password not in repr(ours)


@pytest.mark.parametrize(
    ("arguments", "leads_to"),
    [({"identify": lambda scope: None}, "/keys/"), ({"sign_in_url": "/login"}, "/login")],
    ids=["identify", "sign_in_url"],
)
async def test_where_the_app_signs_people_in_there_is_no_form(make_app, browse, people, arguments, leads_to):
    """With `identify` or `sign_in_url` nobody can sign in here, and the form's address leads on."""
    browser = browse(make_app(**arguments))
    answer = await browser.get("/sign-in")
    assert (answer.status_code, answer.headers["location"]) == (303, leads_to)
    assert (await browser.post("/sign-in", {"name": "ada"})).status_code == 405
    assert (await browser.post("/sign-out")).status_code == 404
