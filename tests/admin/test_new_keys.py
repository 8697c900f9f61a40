"""New keys: what can be chosen, what is wrong, and the key, once."""

import shlex
from datetime import timedelta

import pytest
from html_pages import read_page
from key_pages import as_principal, fill, text_of_key, wrong

from keyguard import KeyGuard, lifecycle
from keyguard.admin import KeyAdmin
from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


async def test_a_new_key_is_shown_once(app, signed_in, store, clock, issue):
    """A new key is shown on the answer to its form alone, masked until it is asked for, and it works."""
    browser = await signed_in()
    answer = await fill(browser, "/new", name="laptop", lifetime="2592000")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    page = read_page(answer)
    text = text_of_key(page)
    (found,) = await lifecycle.list_keys(store, owner="ada-id")
    assert (await lifecycle.find(store, text)).id == found.id
    assert (found.name, found.expires_at, found.scopes) == ("laptop", clock() + 30 * DAY, frozenset({"*"}))
    assert "It expires on 31 Mar, 12:00 UTC." in page.one("div", role="status").text
    for secret in page.all("pre"):
        assert secret.within("details") is not None
        assert "open" not in secret.within("details").attributes
    assert answer.text.count(text) == len(page.all("pre"))
    me = await browser.client.get("/whoami", headers={"x-api-key": text})
    assert me.json() == {"user": "ada", "by": "KEY"}
    for path in ("/", f"/key/{found.id}", "/activity", f"/delete?id={found.id}"):
        assert text not in (await browser.get(path)).text
        assert text[-49:] not in (await browser.get(path)).text


async def test_the_same_form_makes_one_key(signed_in, store):
    """Who reloads the page of a new key is told that it was made, without it, and no second one is made."""
    browser = await signed_in()
    page = read_page(await browser.get("/new"))
    form = {"once": page.one("input", name="once")["value"], "lifetime": "604800"}
    text = text_of_key(read_page(await browser.post("/new", form)))
    again = await browser.post("/new", form)
    assert again.status_code == 409
    page = read_page(again)
    assert page.one("h1").text == "The key was created already"
    assert text not in again.text
    (key,) = await lifecycle.list_keys(store)
    assert f"/keys/key/{key.id}" in [each["href"] for each in page.all("a")]


@pytest.mark.parametrize("once", ["", "x", "made up"])
async def test_a_form_that_is_not_ours_makes_no_key(signed_in, store, once):
    """A form without the id that we gave it is shown again."""
    browser = await signed_in()
    answer = await fill(browser, "/new", once=once, name="kept")
    assert answer.status_code == 422
    assert read_page(answer).one("input", id="name")["value"] == "kept"
    assert await lifecycle.list_keys(store) == []


async def test_a_key_has_what_was_chosen(make_app, signed_in, store, clock):
    """A key has the scopes, networks and last day that were chosen, and a name without blanks around it."""
    app = make_app(scopes={"flows:read": "", "flows:write": "", "files:read": ""})
    browser = await signed_in("ada", app)
    answer = await fill(
        browser,
        "/new",
        name="  ci  ",
        lifetime="custom",
        until="2026-03-31",
        access="some",
        scope=["files:read", "flows:read"],
        networks=" 192.0.2.7 \r\n\r\n2001:db8::/32\r\n",
    )
    assert answer.status_code == 200
    (key,) = await lifecycle.list_keys(store)
    assert key.name == "ci"
    assert key.scopes == {"flows:read", "files:read"}
    assert [str(network) for network in key.networks] == ["192.0.2.7/32", "2001:db8::/32"]
    assert key.expires_at.isoformat() == "2026-04-01T00:00:00+00:00"
    answer = await fill(browser, "/new", lifetime="none", access="all")
    assert "It never expires." in read_page(answer).one("div", role="status").text
    assert [key.expires_at for key in await lifecycle.list_keys(store, owner="ada-id") if key.name == ""] == [None]


NETWORK = "write an address such as 203.0.113.7, or a network such as 203.0.113.0/24."
LAST_DAY = "Give the last day as year, month and day, such as 2030-01-31."
LATEST = "The key can be valid to the end of"
WRONG = [
    ({"name": "n" * 201}, {"name": "A name has at most 200 characters; this one has 201."}),
    ({"name": "a\0b"}, {"name": "The name has a character in it that cannot be kept."}),
    ({"lifetime": ""}, {"lifetime": "Choose when the key expires."}),
    ({"lifetime": "5"}, {"lifetime": "Choose when the key expires."}),
    ({"lifetime": "custom"}, {"until": LAST_DAY}),
    ({"lifetime": "custom", "until": "31.1.2030"}, {"until": LAST_DAY}),
    ({"lifetime": "custom", "until": "2026-02-28"}, {"until": "That day has passed: choose today or a later one."}),
    ({"lifetime": "custom", "until": "9999-12-31"}, {"until": f"{LATEST} 2126-02-04 at most."}),
    ({"access": "some"}, {"access": "Choose what the key may do: one scope at least."}),
    ({"access": "some", "scope": "mine"}, {"access": "One of the scopes is not on offer any more: choose again."}),
    ({"networks": "10.1.2.3/8"}, {"networks": "Line 1, “10.1.2.3/8”, is no network: did you mean 10.0.0.0/8?"}),
    ({"networks": "\nhome"}, {"networks": f"Line 2, “home”, is no network: {NETWORK}"}),
    ({"networks": "x" * 60}, {"networks": f"Line 1, “{'x' * 49}…”, is no network: {NETWORK}"}),
    ({"networks": "\n".join(["192.0.2.1"] * 101)}, {"networks": "At most 100 networks can be given."}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "errors"), WRONG)
async def test_what_is_wrong_is_said_beside_the_field(make_app, signed_in, store, fields, errors):
    """What is wrong is said in words beside the field and above the form, and what was typed is kept."""
    browser = await signed_in("ada", make_app(scopes=["flows:read"]))
    answer = await fill(browser, "/new", **({"name": "typed"} | fields))
    assert answer.status_code == 422
    page = read_page(answer)
    assert {name: text.replace("\u2068", "").replace("\u2069", "") for name, text in wrong(page).items()} == errors
    above = page.one("div", role="alert")
    assert [each["href"] for each in above.all("a")] == [f"#{name}" for name in errors]
    assert above.text.startswith("No key was created. One thing is to be put right:")
    (name,) = errors
    (field,) = [each for each in page if f"{name}-wrong" in (each.get("aria-describedby") or "")]
    assert field.tag == "fieldset" or field["aria-invalid"] == "true"
    if "\0" not in fields.get("name", ""):
        assert page.one("input", id="name")["value"] == fields.get("name", "typed")
    assert page.one("textarea").raw_text.strip() == fields.get("networks", "").strip()
    assert await lifecycle.list_keys(store) == []


async def test_many_faults_are_summed_up(signed_in):
    """Of many networks that are none, three are named and the others counted; each field has its own sentence."""
    answer = await fill(await signed_in(), "/new", networks="a\nb\nc\nd\ne", lifetime="x")
    page = read_page(answer)
    assert wrong(page)["networks"].endswith("And 2 more.")
    assert "2 things are to be put right" in page.one("div", role="alert").text


async def test_a_key_lives_no_longer_than_it_may(people, clock, browse):
    """Where the keyring has a longest life, no longer one is on offer, and none without an end."""
    store = MemoryStore(keyring=Keyring(max_lifetime=10 * DAY))
    await store.open()
    ada = await lifecycle.add_owner(store, "ada", clock=clock)
    app = KeyAdmin(store, identify=lambda scope: as_principal(ada), clock=clock)
    browser = browse(app, mount="")
    page = read_page(await browser.get("/new"))
    assert [each["value"] for each in page.all("input", name="lifetime")] == ["604800", "864000", "custom"]
    assert "checked" in page.all("input", name="lifetime")[1].attributes
    assert page.one("input", id="until")["max"] == "2026-03-10"
    assert "A key can be valid for 10 days at most." in page.one("main").text
    form = {"once": page.one("input", name="once")["value"], "lifetime": "864000"}
    clock.advance(timedelta(seconds=-1))
    assert (await browser.post("/new", form)).status_code == 200
    (key,) = await lifecycle.list_keys(store)
    assert key.expires_at == clock() + 10 * DAY
    page = read_page(await browser.get("/new"))
    form = {"once": page.one("input", name="once")["value"], "lifetime": "none"}
    assert (await browser.post("/new", form)).status_code == 422


async def test_a_short_life_has_no_last_day(clock, browse):
    """Where no key may live to the end of the day, no last day can be chosen."""
    store = MemoryStore(keyring=Keyring(max_lifetime=HOUR))
    await store.open()
    ada = await lifecycle.add_owner(store, "ada", clock=clock)
    browser = browse(KeyAdmin(store, identify=lambda scope: as_principal(ada), clock=clock), mount="")
    page = read_page(await browser.get("/new"))
    assert [each["value"] for each in page.all("input", name="lifetime")] == ["3600"]
    assert not page.all("input", id="until")


async def test_nobody_gives_more_rights_than_they_have(make_app, signed_in, browse, people, store):
    """Who is signed in with few scopes can choose among those alone, and who has none is told so."""
    few = make_app(
        scopes=["flows:read", "files:read"], identify=lambda scope: as_principal(people.ada, frozenset({"flows:*"}))
    )
    browser = browse(few)
    page = read_page(await browser.get("/new"))
    assert [each["value"] for each in page.all("input", name="access")] == ["some"]
    assert [each["value"] for each in page.all("input", name="scope")] == ["flows:read"]
    assert (await fill(browser, "/new", access="all")).status_code == 422
    assert (await fill(browser, "/new", scope="flows:read")).status_code == 200
    assert [key.scopes for key in await lifecycle.list_keys(store)] == [{"flows:read"}]
    none = browse(make_app(identify=lambda scope: as_principal(people.ada, frozenset())))
    answer = await none.get("/new")
    assert answer.status_code == 403
    assert "You have no rights here that a key of yours could have." in read_page(answer).one("main").text


def samples(page):
    return [
        (each.one("h3").text, each.one("pre").text)
        for each in page.all("div")
        if each.all("h3") and each.all("pre") and each.parent.tag == "section"
    ]


async def test_samples_hold_the_key_and_the_app_s_address(make_app, signed_in):
    """The samples call the app by its own address, quoted for a shell, with the key in header and query."""
    browser = await signed_in("ada", make_app(sample_path="/whoami"))
    page = read_page(await fill(browser, "/new"))
    text = text_of_key(page)
    (one, by_header), (two, by_query) = samples(page)
    assert (one, two) == ("In a header", "In the address")
    assert shlex.split(by_header) == ["curl", "--header", f"x-api-key: {text}", "http://keys.test/whoami"]
    assert shlex.split(by_query) == ["curl", f"http://keys.test/whoami?x-api-key={text}"]
    assert all(text not in each.text for each in page.all("summary"))


@pytest.mark.parametrize(
    ("guard", "labels"),
    [
        ({"query": None}, ["In a header"]),
        ({"header": "x-key", "query": "k"}, ["In a header", "In the address"]),
        ({"header": None, "query": None, "bearer": True}, ["As a bearer token"]),
        ({"header": None}, ["In the address"]),
    ],
)
async def test_samples_are_as_the_guard_takes_keys(make_app, signed_in, store, clock, guard, labels):
    """There is a sample for each way in which the guard in front takes keys, and for no other."""
    inner = make_app(url="https://api.example.com/it's?a=1")
    app = KeyGuard(inner.app, store=store, policy=inner.policy, clock=clock, **guard)
    page = read_page(await fill(await signed_in("ada", app), "/new"))
    assert [label for label, _ in samples(page)] == labels
    for _, command in samples(page):
        assert shlex.split(command)[-1].startswith("https://api.example.com/it's?a=1/")
        assert text_of_key(page) in command
