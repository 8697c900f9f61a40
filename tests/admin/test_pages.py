"""What the pages show beside the list: one key, forms, activity; and what holds for all pages."""

import re
from datetime import timedelta

import pytest
from html_pages import read_page
from key_pages import see

from keyguard import Policy, lifecycle
from keyguard.admin import Theme
from keyguard.model import Owner

CANARY = "<script>alert(1)</script>'\"&\u202e"
SHOWN_CANARY = "<script>alert(1)</script>'\"&"


# --- other pages ------------------------------------------------------------------------------------------------------


async def test_the_form_of_a_new_key(make_app, signed_in):
    """The form offers the app's lives and scopes, the default is chosen, and all rights are."""
    app = make_app(scopes={"flows:read": "See flows."}, default_lifetime=timedelta(days=30))
    page = await see(await signed_in("ada", app), "/new")
    assert page.one("title").text == "New key · API keys"
    lives = page.all("input", name="lifetime")
    assert [each["value"] for each in lives] == ["604800", "2592000", "custom", "none"]
    assert [each["value"] for each in lives if "checked" in each.attributes] == ["2592000"]
    assert lives[0].parent.text == "7 days until 8 Mar 2026"
    assert page.one("input", name="scope").parent.text == "flows:read See flows."
    assert "checked" in page.one("input", name="access", value="all").attributes


async def test_a_default_life_stands_among_the_others(make_app, signed_in):
    """A default that is not among the lives on offer is one of them; without one, no expiry is chosen."""
    page = await see(await signed_in("ada", make_app(default_lifetime=timedelta(days=14))), "/new")
    assert [each["value"] for each in page.all("input", name="lifetime")][1] == "1209600"
    assert not page.all("input", name="access")
    page = await see(await signed_in("ada", make_app(default_lifetime=None)), "/new")
    assert "checked" in page.one("input", name="lifetime", value="none").attributes


async def test_what_rotating_means_is_said(signed_in, issue, clock):
    """The form to rotate says of each grace until when both keys work."""
    key = await issue("ci", ago=timedelta(days=1), expires_at=clock() + timedelta(hours=2))
    page = await see(await signed_in(), f"/key/{key.id}/rotate")
    assert [each.parent.text for each in page.all("input", name="grace")] == [
        "Now It is refused as soon as you have the new one.",
        "In 15 minutes Both keys work until 12:15 UTC.",
        "In 1 hour Both keys work until 13:00 UTC.",
        "In 6 hours Both keys work until 14:00 UTC, when the old one expires anyway.",
        "In 24 hours Both keys work until 14:00 UTC, when the old one expires anyway.",
    ]
    assert "ends when this one would have ended" in page.one("main").text


async def test_a_confirmation_names_the_keys(signed_in, issue, people):
    """Before keys are deleted they are named, with their ids, and of others with their owners."""
    one, two = await issue("laptop"), await issue(owner=people.bob)
    root = await signed_in("root")
    page = await see(root, f"/delete?id={one.id}&id={two.id}&id={one.id}&id=gone")
    assert page.one("h1").text == "Delete these 2 keys?"
    text = page.one("main").text
    assert f"laptop kg_{one.id}" in text
    assert f"No name kg_{two.id}" in text
    assert "Owner: bob" in text
    assert "1 other selected key cannot be deleted: it is gone or deleted already." in text
    assert [each["value"] for each in page.all("input", name="id")] == [one.id, two.id]
    page = await see(root, f"/delete?id={one.id}&from=key")
    assert page.one("h1").text == "Delete this key?"
    assert f"/keys/key/{one.id}" in [each["href"] for each in page.all("a", class_="button")]
    answer = await root.get("/delete")
    assert read_page(await root.follow(answer)).one("div", role="alert").text == (
        "Select the keys first that are to be deleted."
    )
    answer = await root.get("/delete?id=gone")
    assert "Those keys are gone" in (await root.follow(answer)).text


async def test_activity_is_told_in_words(signed_in, issue, store, people, clock):
    """What was done to an owner and their keys is told with who did it, in parts, also of a key that is gone."""
    key = await issue("laptop")
    await lifecycle.rename(store, key.id, "desk", actor=people.ada, clock=clock)
    await lifecycle.rename(store, key.id, "", actor="cli:root", clock=clock)
    new = (await lifecycle.rotate(store, key.id, actor=people.root, clock=clock)).record
    clock.advance(timedelta(minutes=2))
    await lifecycle.purge(store, timedelta(minutes=1), clock=clock)
    await lifecycle.deactivate(store, people.ada, clock=clock)
    await lifecycle.activate(store, people.ada, actor=people.root, clock=clock)
    browser = await signed_in()
    page = await see(browser, "/activity")
    told = [re.split(" just now| 2 minutes ago", each.text)[0] for each in page.one("ol", class_="feed").all("li")]
    assert told == [
        "You signed in",
        "root activated your account",
        "Somebody deactivated your account",
        f"Somebody removed from the records {key.id}",
        f"root created {new.hint} in place of {key.id}",
        f"root rotated {key.id} into {new.hint}",
        f"cli:root renamed {key.id} to no name",
        f"You renamed {key.id} to desk",
        f"You created {key.id}",
    ]
    root = await signed_in("root")
    page = await see(root, "/activity?owner=ada")
    assert page.one("h1").text == "Activity of ada"
    assert page.one("title").text == "Activity of ada · API keys"
    assert "deactivated the account of ada" in page.one("ol", class_="feed").text
    assert not (await see(root, "/activity?owner=bob")).all("ol", class_="feed")
    assert "There is no such owner here." in (await see(root, "/activity?owner=mallory", 404)).one("main").text
    await see(browser, "/activity?owner=bob-id", 404)


async def test_nobody_comes_in_between_who_is_called_like_anothers_id(signed_in, store, people, clock):
    """Links name an owner by id: what was done to bob is shown, whatever somebody else is called."""
    mallory = Owner(id="mallory-id", name=people.bob.id)
    await store.add_owner(mallory, created_at=clock())
    await lifecycle.issue(store, people.bob, name="bob's own")
    await lifecycle.issue(store, mallory, name="mallory's")
    root = await signed_in("root")
    for path in (f"/activity?owner={people.bob.id}", f"/?owner={people.bob.id}"):
        text = (await root.get(path)).text
        assert "bob&#39;s own" in text
        assert "mallory&#39;s" not in text


async def test_activity_has_parts(signed_in, issue, store, clock):
    """A long activity leads to what is older, and back to the latest."""
    key = await issue("k")
    for number in range(30):
        await lifecycle.rename(store, key.id, f"name {number}", clock=clock)
    browser = await signed_in()
    for path in ("/activity", f"/key/{key.id}"):
        page = await see(browser, path)
        assert len(page.one("ol", class_="feed").all("li")) == 25
        older = page.one("nav", class_="pages").one("a")
        assert older.text == "Older"
        page = await see(browser, older["href"].removeprefix("/keys"))
        assert [each.text for each in page.one("nav", class_="pages").all("a")] == ["Latest"]
        assert "created" in page.one("ol", class_="feed").text
        await see(browser, f"{path}?before=nonsense")


# --- all pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", ["ada", "root"])
async def test_what_an_attacker_wrote_is_text(make_app, signed_in, issue, store, people, clock, width):
    """Names, reasons, actors, owners, searches: whatever an attacker can set is text on every page, and isolated."""
    await store.add_owner(Owner(id="mallory-id", name=f"mallory{CANARY}"), created_at=clock())
    key = await issue(CANARY, networks=["192.0.2.0/24"])
    await lifecycle.rename(store, key.id, f"x{CANARY}", actor=CANARY, clock=clock)
    gone = await issue(CANARY)
    await lifecycle.revoke(store, gone.id, reason=CANARY, actor="mallory-id", clock=clock)
    await store.add_owner(Owner(id=f"id{CANARY}"[:20], name="odd"), created_at=clock())
    browser = await signed_in(width, make_app(title=f"Keys {SHOWN_CANARY}"))
    for path in (
        "/?state=all",
        f"/?q={CANARY}&owner={CANARY}&state={CANARY}&sort={CANARY}",
        "/new",
        f"/key/{key.id}",
        f"/key/{gone.id}",
        f"/key/{key.id}/rotate",
        f"/delete?id={key.id}",
        "/activity",
        "/activity?owner=ada-id",
    ):
        page = await see(browser, path)
        assert all(each.get("src", "").startswith("/keys/assets/") for each in page.all("script")), path
        assert "\u202e" not in page.one("body").text, path
        for bidi in page.all("bdi"):
            assert bidi.text == bidi.text.strip()
    assert f"x{SHOWN_CANARY}" in (await see(browser, f"/key/{key.id}")).one("h1").one("bdi").text


async def test_every_kind_of_page_is_sound(signed_in, issue, browser, people):
    """Each page has unique ids, labels, headings in order, a title, a language, and no script or style of its own."""
    key = await issue("laptop")
    for path in ("/", "/new", f"/key/{key.id}", f"/key/{key.id}/rotate", f"/delete?id={key.id}", "/activity"):
        page = await see(await signed_in(), path)
        assert page.one("header")
        assert page.one("nav", aria_label="Pages").all("a")
        assert page.one("title").text.endswith(" · API keys")
    await see(browser, "/sign-in")
    await see(await signed_in(), "/key/unknown", 404)
    await see(await signed_in(), "/nowhere", 404)


async def test_a_title_and_colours_are_the_app_s(make_app, signed_in):
    """The page has the app's title and colours, which come in a style sheet."""
    app = make_app(title="Keys of Acme", theme=Theme(accent="#123456", dark_on_accent="#abcdef"))
    browser = await signed_in("ada", app)
    page = await see(browser, "/new")
    assert page.one("title").text == "New key · Keys of Acme"
    (sheet,) = [each["href"] for each in page.all("link") if "theme.css" in each["href"]]
    text = (await browser.get(sheet.removeprefix("/keys"))).text
    assert "--accent: #123456" in text
    assert "--on-accent: #abcdef" in text


async def test_the_title_heads_the_list(make_app, signed_in):
    """The list is headed by the app's title; below it stands whose keys these are."""
    page = await see(await signed_in("ada", make_app(title="Keys of <Acme>")))
    assert page.one("h1").parent.text.startswith("Keys of <Acme> These are your keys.")


async def test_links_lead_back_into_the_app(make_app, signed_in, browse, people):
    """The app's links stand in the bar before the page's own entries, as they were given; also where nobody visits."""
    app = make_app(links=[("Flows & <more>", "/flows?a=1&b"), ("Help", "/help")])
    theirs = [("Flows & <more>", "/flows?a=1&b"), ("Help", "/help")]
    ours = [("Keys", "/keys/"), ("Activity", "/keys/activity")]
    page = await see(await signed_in("ada", app))
    assert [(each.text, each["href"]) for each in page.one("header").one("nav").all("a")] == theirs + ours
    page = await see(browse(app), "/sign-in")
    assert [(each.text, each["href"]) for each in page.one("header").one("nav").all("a")] == theirs
    assert not (await see(browse(make_app()), "/sign-in")).one("header").all("nav")


async def test_files_are_kept_by_their_version(browser, people):
    """Each file of a page has its version in its address, and is kept for ever by it alone."""
    page = await see(browser, "/sign-in")
    files = [each.get("href") or each.get("src") for each in [*page.all("link"), *page.all("script")]]
    assert len(files) == 10
    for file in files:
        assert re.search(r"\?v=[0-9a-f]{12}$", file)
        answer = await browser.get(file.removeprefix("/keys"))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        answer = await browser.get(file.removeprefix("/keys").replace("?v=", "?v=0"))
        assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"] in {"text/javascript; charset=utf-8", "text/css; charset=utf-8"}
    assert (await browser.get("/assets/nothing.css")).status_code == 404


async def test_auto_login_has_nothing_to_sign_out_of(make_app, browse, people):
    """Where everybody is the auto-login user, no button signs out."""
    policy = Policy(auto_login=True, auto_login_user="ada")
    page = await see(browse(make_app(policy=policy)))
    assert "Signed in as ada" in page.one("header").text
    assert "Sign out" not in page.one("header").text
