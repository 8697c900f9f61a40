"""What the pages show, as HTML: to owners, to superusers, and to whoever wrote something that is no harm."""

import re
from datetime import timedelta

import pytest
from html_pages import read_page

from keyguard import Policy, lifecycle
from keyguard.admin import Theme
from keyguard.model import Owner, Usage

CANARY = "<script>alert(1)</script>'\"&\u202e"
SHOWN_CANARY = "<script>alert(1)</script>'\"&"


@pytest.fixture
def issue(store, people, clock):
    async def make(name="", *, owner=None, ago=timedelta(0), **more):
        owner = owner or people.ada
        return (await lifecycle.issue(store, owner, name=name, actor=owner, clock=lambda: clock() - ago, **more)).record

    return make


def rows(page):
    return [[cell.text for cell in row.children if not isinstance(cell, str)] for row in page.one("tbody").all("tr")]


def names(page):
    return [each.all("span")[0].text for each in page.all("tbody")[0].all("th")] if page.all("tbody") else []


def chosen(page, field):
    (option,) = [each for each in page.one("select", id=field).all("option") if "selected" in each.attributes]
    return option


def heads(page):
    """The heads of the table by what they say; what stands in them for narrow windows says it again."""
    return {(each.all("a") or [each])[0].text: each for each in page.one("thead").all("th")}


async def see(browser, path="/", status=200):
    answer = await browser.get(path)
    assert answer.status_code == status, answer.text
    return read_page(answer)


# --- the list ---------------------------------------------------------------------------------------------------


async def test_a_row_says_all_of_a_key(signed_in, issue, store, clock):
    """Each row has name, hint, state, access, when it was created and used, how often, and when it ends."""
    key = await issue("laptop", ago=timedelta(hours=3), scopes=["flows:read"], expires_at=clock() + timedelta(days=2))
    await store.record_uses(
        {key.id: Usage(total=1234, last_used_at=clock() - timedelta(minutes=5))}, worker="w", sequence=1
    )
    page = await see(await signed_in())
    assert rows(page) == [
        [
            f"Select “\u2068laptop\u2069” {key.hint}",
            f"laptop {key.hint}",
            "expiring soon",
            "flows:read",
            "3 hours ago",
            "5 minutes ago",
            "1,234",
            "in 2 days",
        ]
    ]
    assert [each["title"] for each in page.all("time")][1] == "1 Mar 2026, 11:55:00 UTC"
    assert page.one("title").text == "Keys · API keys"
    (link,) = [each for each in page.all("a") if each["href"].startswith("/keys/key/")]
    assert link["href"] == f"/keys/key/{key.id}"


async def test_what_never_was_is_called_never(signed_in, issue):
    """A key that was never used and never ends says so, and one without a name has its hint."""
    key = await issue()
    page = await see(await signed_in())
    assert rows(page)[0] == [
        f"Select {key.hint}", f"No name {key.hint}", "active", "Full access", "just now", "never", "0", "never",
    ]  # fmt: skip


async def test_no_keys_at_all(signed_in, issue, store):
    """Who has no keys is told what to do, and where revoked ones are if there are any."""
    browser = await signed_in()
    page = await see(browser)
    assert page.one("h2").text == "You have no keys yet"
    assert [each["href"] for each in page.one("section").all("a")] == ["/keys/new"]
    key = await issue("old")
    await lifecycle.revoke(store, key.id)
    page = await see(browser)
    assert [each["href"] for each in page.one("section").all("a")] == ["/keys/new", "/keys/?state=revoked"]
    assert rows(await see(browser, "/?state=revoked"))[0][:3] == ["", f"old {key.hint}", "revoked"]


async def test_nothing_found(signed_in, issue):
    """Where nothing fits, a link clears the search; what was searched for stands in the field."""
    await issue("laptop")
    page = await see(await signed_in(), "/?q=zzz")
    assert page.one("h2").text == "No key was found"
    assert page.one("section").one("a")["href"] == "/keys/"
    assert page.one("input", id="q")["value"] == "zzz"


async def test_a_key_is_found_by_its_hint(signed_in, issue):
    """What the list shows of a key, copied into the search, finds it."""
    await issue("other")
    key = await issue("laptop")
    assert names(await see(await signed_in(), f"/?q={key.hint}")) == ["laptop"]


async def test_states_are_chosen(signed_in, issue, store, clock):
    """Each word of a state can be asked for, and a key is found under its own word alone."""
    day = timedelta(days=1)
    await issue("active")
    await issue("expiring soon", expires_at=clock() + day)
    await issue("not yet valid", not_before=clock() + day)
    await issue("expired", ago=3 * day, expires_at=clock() - day)
    await lifecycle.disable(store, (await issue("disabled")).id, clock=clock)
    await lifecycle.revoke(store, (await issue("revoked")).id, clock=clock)
    old = await issue("grace", ago=day)
    await lifecycle.rotate(store, old.id, grace=day, clock=clock)
    browser = await signed_in()
    for state in ("active", "expiring soon", "not yet valid", "expired", "disabled", "revoked", "grace"):
        page = await see(browser, f"/?state={state.replace(' ', '-')}")
        assert set(names(page)) == {state, *({"grace"} if state == "active" else set())}, state
        assert chosen(page, "state").text.casefold().endswith(state)
    assert len(names(await see(browser))) == 7
    assert len(names(await see(browser, "/?state=all"))) == 8
    assert len(names(await see(browser, "/?state=nonsense"))) == 7


async def test_columns_are_sorted_by(signed_in, issue, clock):
    """A column's head sorts by it, says so, and turns the order round when it is asked again."""
    for number, name in enumerate(["b", "c", "a"]):
        await issue(name, ago=timedelta(days=number))
    browser = await signed_in()
    page = await see(browser)
    assert names(page) == ["b", "c", "a"]
    assert heads(page)["Created"]["aria-sort"] == "descending"
    assert "aria-sort" not in heads(page)["Key"].attributes
    by_name = heads(page)["Key"].one("a")["href"].removeprefix("/keys")
    page = await see(browser, by_name)
    assert names(page) == ["a", "b", "c"]
    head = heads(page)["Key"]
    assert head["aria-sort"] == "ascending"
    page = await see(browser, head.one("a")["href"].removeprefix("/keys"))
    assert names(page) == ["c", "b", "a"]
    assert chosen(page, "sort")["value"] == "-name"
    for sort in ("created", "last-used", "-last-used", "uses", "-uses", "expires", "-expires"):
        assert len(names(await see(browser, f"/?sort={sort}"))) == 3
    assert names(await see(browser, "/?sort=owner")) == ["b", "c", "a"]


async def test_long_lists_have_parts(signed_in, issue):
    """A long list is shown in parts, with how many there are in all; a part beyond the last is the last."""
    for number in range(26):
        await issue(f"key {number:02}", ago=timedelta(minutes=number))
    browser = await signed_in()
    page = await see(browser, "/?q=key&sort=name")
    part = page.one("nav", class_="pages")
    assert part.text == "1\u201325 of 26 keys Page 1 of 2 Next"
    page = await see(browser, part.one("a")["href"].removeprefix("/keys"))
    assert names(page) == ["key 25"]
    part = page.one("nav", class_="pages")
    assert part.text == "26 of 26 keys Previous Page 2 of 2"
    assert part.one("a")["href"] == "/keys/?q=key&sort=name"
    for beyond in ("3", "99999999", "99999999999"):
        assert len(names(await see(browser, f"/?page={beyond}"))) in {1, 25}
    for nonsense in ("0", "-1", "x", "1.5", "\u0661"):
        assert len(names(await see(browser, f"/?page={nonsense}"))) == 25


async def test_a_superuser_sees_everyone_s(signed_in, issue, people):
    """A superuser sees all owners' keys with a column for them, and can ask for those of one by name or id."""
    await issue("a's")
    await issue("b's", owner=people.bob)
    root = await signed_in("root")
    page = await see(root)
    assert "Owner" in heads(page)
    assert {(row[1].split(" ")[0], row[3]) for row in rows(page)} == {("a's", "ada"), ("b's", "bob")}
    assert [each["value"] for each in page.one("datalist").all("option")] == ["ada", "bob", "root"]
    for asked in ("bob", "bob-id"):
        assert names(await see(root, f"/?owner={asked}")) == ["b's"]
    assert "No owner is called “mallory”." in (await see(root, "/?owner=mallory")).one("section").text
    assert names(await see(root, "/?sort=-owner")) == ["b's", "a's"]
    assert (await see(root, "/?q=zzz")).one("h1").text == "All keys"
    ada = await see(await signed_in("ada"), "/?owner=bob")
    assert names(ada) == ["a's"]
    assert not ada.all("datalist")


async def test_nobody_has_keys(signed_in):
    """A superuser of an empty store is told that nobody has a key."""
    assert (await see(await signed_in("root"))).one("h2").text == "Nobody has a key yet"


# --- one key ----------------------------------------------------------------------------------------------------


def facts(page):
    return {
        each.one("dt").text: each.one("dd").text
        for each in page.one("main").all("div")
        if each.all("dt") and each.parent.tag == "dl"
    }


async def test_a_key_s_page_says_everything(make_app, signed_in, issue, store, clock, people):
    """A key's page has all facts, its use with the address, and its activity in words."""
    key = await issue(
        "laptop",
        ago=timedelta(days=2),
        scopes=["flows:read", "other"],
        networks=["192.0.2.0/24"],
        expires_at=clock() + timedelta(days=30),
    )
    used = Usage(total=7, last_used_at=clock() - timedelta(hours=1), last_used_address="192.0.2.9")
    await store.record_uses({key.id: used}, worker="w", sequence=1)
    await lifecycle.disable(store, key.id, actor=people.root, clock=clock)
    browser = await signed_in("ada", make_app(scopes={"flows:read": "See flows."}))
    page = await see(browser, f"/key/{key.id}")
    assert page.one("h1").text == "laptop disabled"
    assert f"{key.prefix}{key.id}" in page.one("div", class_="head").text
    assert facts(page) == {
        "State": "It is refused until somebody enables it again.",
        "Access": "flows:read See flows. other",
        "Networks": "192.0.2.0/24",
        "Created": "27 Feb 2026, 12:00 UTC (2 days ago)",
        "Expires": "31 Mar 2026, 12:00 UTC (in 30 days)",
        "Disabled": "1 Mar 2026, 12:00 UTC (just now)",
        "Last used": "1 Mar 2026, 11:00 UTC (1 hour ago)",
        "From": "192.0.2.9",
        "Uses": "7",
    }
    born = "Scopes flows:read, other · From 1 network only · Expires 31 Mar 2026, 12:00 UTC"
    assert [each.text for each in page.one("ol", class_="feed").all("li")] == [
        "root disabled this key just now",
        f"You created this key 2 days ago {born}",
    ]


async def test_a_key_s_relatives_are_linked(signed_in, issue, store, clock):
    """A key that was rotated leads to the one in its place, and that one back; a gone one is named."""
    old = await issue("ci", ago=timedelta(days=1))
    new = (await lifecycle.rotate(store, old.id, grace=timedelta(hours=1), clock=clock)).record
    browser = await signed_in()
    page = await see(browser, f"/key/{old.id}")
    assert facts(page)["Replaced by"] == f"ci {new.hint} (just now)"
    assert facts(page)["State"] == "Another key has taken its place. It works until 13:00 UTC."
    page = await see(browser, f"/key/{new.id}")
    assert facts(page)["Takes the place of"] == f"ci {old.hint}"
    assert f"/keys/key/{old.id}" in [each["href"] for each in page.all("a")]
    await lifecycle.end_grace(store, old.id, clock=clock)
    page = await see(browser, f"/key/{old.id}")
    assert facts(page)["State"] == "Another key has taken its place. It is refused for good."
    clock.advance(timedelta(minutes=2))
    await lifecycle.purge(store, timedelta(minutes=1), clock=clock)
    assert facts(await see(browser, f"/key/{new.id}"))["Takes the place of"] == old.id


@pytest.mark.parametrize(
    ("more", "meaning"),
    [
        ({}, "It works."),
        ({"days": 3}, "It works, and stops working in 3 days."),
        ({"days": -1}, "It has expired, and is refused for good."),
        ({"begins": 3}, "It is refused until 4 Mar 2026, 12:00 UTC."),
    ],
)
async def test_a_state_s_meaning(signed_in, issue, clock, more, meaning):
    """A key's page says what its state means."""
    expires_at = clock() + timedelta(days=more["days"]) if "days" in more else None
    not_before = clock() + timedelta(days=more["begins"]) if "begins" in more else None
    key = await issue(ago=timedelta(days=2), expires_at=expires_at, not_before=not_before)
    assert facts(await see(await signed_in(), f"/key/{key.id}"))["State"] == meaning


async def test_a_revoked_key_has_nothing_to_be_done(signed_in, issue, store, clock):
    """Of a revoked key nothing is offered, and the reason is said if somebody gave one."""
    key = await issue("leaked")
    await lifecycle.revoke(store, key.id, reason="found on a wall", clock=clock)
    browser = await signed_in()
    page = await see(browser, f"/key/{key.id}")
    assert facts(page)["Deleted"] == "1 Mar 2026, 12:00 UTC (just now) Reason: found on a wall"
    assert [each["action"] for each in page.all("form")] == ["/keys/sign-out"]
    await see(browser, f"/key/{key.id}/rotate", 409)
    assert (await browser.get(f"/delete?id={key.id}")).headers["location"] == "/keys/"


async def test_a_superuser_sees_whose_key_it_is(signed_in, issue, store, people, clock):
    """A superuser's page of a key names its owner, and says where that keeps it from working."""
    key = await issue("laptop", scopes=[])
    root = await signed_in("root")
    page = await see(root, f"/key/{key.id}")
    assert facts(page)["Owner"] == "ada"
    assert facts(page)["Access"] == "Nothing: it has no scopes"
    await lifecycle.deactivate(store, people.ada, clock=clock)
    page = await see(root, f"/key/{key.id}")
    assert facts(page)["Owner"] == "ada, inactive: none of its keys works"
    assert facts(page)["State"] == "Refused, because its owner is inactive."
    assert "ada (inactive)" in rows(await see(root))[0]
    await see(root, f"/delete?id={key.id}")


# --- other pages ------------------------------------------------------------------------------------------------


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
    assert "deactivated the account of ada" in page.one("ol", class_="feed").text
    assert not (await see(root, "/activity?owner=bob")).all("ol", class_="feed")
    await see(root, "/activity?owner=mallory", 404)
    await see(browser, "/activity?owner=bob-id", 404)


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


# --- all pages --------------------------------------------------------------------------------------------------


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
