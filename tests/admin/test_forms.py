"""What forms change: a key is shown once, each change says what happened, and what failed says why."""

import shlex
from datetime import timedelta

import pytest
from html_pages import read_page

from keyguard import KeyGuard, lifecycle
from keyguard.admin import KeyAdmin
from keyguard.errors import KeyguardError, StoreUnavailable
from keyguard.model import KeyState, Principal
from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def issue(store, people, clock):
    async def make(name="", *, owner=None, **more):
        owner = owner or people.ada
        return (await lifecycle.issue(store, owner, name=name, actor=owner, clock=clock, **more)).record

    return make


async def fill(browser, path, **fields):
    """Open a form, fill it in, and send it: what is not filled in is sent as it stands."""
    page = read_page(await browser.get(path))
    (form,) = [
        each
        for each in page.all("form")
        if each["action"].removeprefix("/keys").partition("?")[0] == path.partition("?")[0]
    ]
    data = {}
    for each in [*form.all("input"), *form.all("textarea")]:
        if each.get("type") not in {"radio", "checkbox"} or "checked" in each.attributes:
            data.setdefault(each["name"], []).append(each.get("value") or each.raw_text.strip())
    return await browser.post(path.partition("?")[0], data | fields)


async def press(browser, key, action, **fields):
    """Press one of the buttons of a key's page."""
    page = read_page(await browser.get(f"/key/{key.id}"))
    form = page.one("form", action=f"/keys/key/{key.id}/{action}")
    data = {each["name"]: each["value"] for each in form.all("input")}
    return await browser.post(f"/key/{key.id}/{action}", data | fields)


async def notice(browser, answer, path=None):
    """What the page says that an answer leads to; it says it once, and is what is read first."""
    assert answer.status_code == 303, answer.text
    if path is not None:
        assert answer.headers["location"] == f"/keys{path}"
    page = read_page(await browser.follow(answer))
    said = page.one("div", class_="notice")
    assert "autofocus" in said.attributes
    assert said["tabindex"] == "-1"
    assert said["role"] == ("alert" if "failed" in said["class"] else "status")
    assert not read_page(await browser.follow(answer)).all("div", class_="notice")
    return said.text.replace("\u2068", "").replace("\u2069", "")


def wrong(page):
    return {each["id"].removesuffix("-wrong"): each.text for each in page.all("p", class_="wrong")}


def text_of_key(page):
    return page.one("pre", id="key").text


# --- new keys ---------------------------------------------------------------------------------------------------


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


async def as_principal(owner, scopes=frozenset({"*"})):
    return Principal(id=owner.id, name=owner.name, scopes=scopes)


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


# --- one key ----------------------------------------------------------------------------------------------------


async def test_a_key_is_renamed(signed_in, issue, store):
    """A key has its new name at once, and the page says so; an impossible one is said beside the field."""
    key = await issue("old")
    browser = await signed_in()
    assert await notice(browser, await press(browser, key, "rename", name=" new "), f"/key/{key.id}") == (
        "Renamed to “new”."
    )
    assert (await lifecycle.get(store, key.id)).name == "new"
    answer = await press(browser, key, "rename", name="n" * 201)
    assert answer.status_code == 422
    assert wrong(read_page(answer)) == {"name": "A name has at most 200 characters; this one has 201."}
    assert read_page(answer).one("input", id="name")["value"] == "n" * 201
    assert await notice(browser, await press(browser, key, "rename", name="")) == "It has no name any more."


async def test_a_key_is_disabled_and_enabled(signed_in, issue, store, clock):
    """A disabled key is refused until it is enabled, and each says so."""
    key = await issue("k")
    browser = await signed_in()
    said = await notice(browser, await press(browser, key, "disable"), f"/key/{key.id}")
    assert said == "Disabled “k”. It is refused until you enable it."
    assert (await lifecycle.get(store, key.id)).state(clock()) is KeyState.DISABLED
    assert await notice(browser, await press(browser, key, "enable")) == "Enabled “k”. It works again."
    assert (await lifecycle.get(store, key.id)).state(clock()) is KeyState.ACTIVE


@pytest.mark.parametrize(
    ("grace", "sentence", "state"),
    [
        ("0", "The old key is refused from now on.", KeyState.REVOKED),
        ("900", "The old key works until 12:15 UTC; you can end that earlier.", KeyState.GRACE),
        ("86400", "The old key works until 2 Mar, 12:00 UTC; you can end that earlier.", KeyState.GRACE),
    ],
)
async def test_a_key_is_rotated(signed_in, issue, store, clock, grace, sentence, state):
    """A rotated key's successor is shown once, and what becomes of the old one is said."""
    key = await issue("ci", expires_at=None)
    browser = await signed_in()
    answer = await fill(browser, f"/key/{key.id}/rotate", grace=grace)
    page = read_page(answer)
    assert (
        page.one("div", role="status").text.replace("\u2068", "").replace("\u2069", "") == f"Rotated “ci”. {sentence}"
    )
    new = await lifecycle.find(store, text_of_key(page))
    assert new.rotated_from == key.id
    assert (await lifecycle.get(store, key.id)).state(clock()) is state


async def test_a_grace_ends_with_the_old_key(signed_in, issue, clock):
    """A grace is not said to be longer than the old key would have lived."""
    key = await issue("ci", expires_at=clock() + HOUR)
    answer = await fill(await signed_in(), f"/key/{key.id}/rotate", grace="86400")
    assert "The old key works until 13:00 UTC" in answer.text


async def test_a_rotation_is_shown_once(signed_in, issue, store):
    """Who reloads the page of a rotated key is told so, without the new one."""
    key = await issue("ci")
    browser = await signed_in()
    page = read_page(await browser.get(f"/key/{key.id}/rotate"))
    form = {"tag": page.one("input", name="tag")["value"], "grace": "3600"}
    text = text_of_key(read_page(await browser.post(f"/key/{key.id}/rotate", form)))
    again = await browser.post(f"/key/{key.id}/rotate", form)
    assert again.status_code == 409
    assert read_page(again).one("h1").text == "The key was rotated already"
    assert text not in again.text
    assert len(await lifecycle.list_keys(store)) == 2


async def test_a_grace_is_one_of_those_on_offer(signed_in, issue, store, clock):
    """A grace that is not on offer is asked for again, and a key that has expired cannot be rotated."""
    key = await issue("ci", expires_at=clock() + HOUR)
    browser = await signed_in()
    answer = await fill(browser, f"/key/{key.id}/rotate", grace="7")
    assert answer.status_code == 422
    assert wrong(read_page(answer)) == {"grace": "Choose when the old key is to stop working."}
    page = read_page(await browser.get(f"/key/{key.id}/rotate"))
    form = {"tag": page.one("input", name="tag")["value"], "grace": "0"}
    clock.advance(2 * HOUR)
    answer = await browser.post(f"/key/{key.id}/rotate", form)
    assert answer.status_code == 409
    assert "This key is not to be rotated any more: it is expired." in read_page(answer).one("main").text


async def test_a_grace_is_ended(signed_in, issue, store, clock):
    """Who ends a grace ends the old key."""
    key = await issue("ci")
    await lifecycle.rotate(store, key.id, grace=HOUR, clock=clock)
    browser = await signed_in()
    said = await notice(browser, await press(browser, key, "end-grace"))
    assert said == "Ended the grace of “ci”. It is refused from now on."
    assert (await lifecycle.get(store, key.id)).state(clock()) is KeyState.REVOKED


@pytest.mark.parametrize("action", ["rename", "disable", "enable", "end-grace", "rotate"])
async def test_a_change_of_what_was_read(signed_in, issue, store, clock, action):
    """A form that was opened before somebody else changed the key changes nothing, and says so."""
    key = await issue("k")
    browser = await signed_in()
    tag = read_page(await browser.get(f"/key/{key.id}")).all("input", name="tag")[0]["value"]
    await lifecycle.rename(store, key.id, "theirs", clock=clock)
    answer = await browser.post(f"/key/{key.id}/{action}", {"tag": tag, "name": "mine", "grace": "0"})
    if answer.status_code == 303:
        assert "has changed since you opened that page" in await notice(browser, answer)
    else:
        assert answer.status_code == 409
        assert "has changed in the meantime" in read_page(answer).one("main").text
    assert (await lifecycle.get(store, key.id)).name == "theirs"
    assert len(await lifecycle.list_keys(store)) == 1


async def test_a_change_that_is_made_at_the_same_moment(signed_in, issue, store, clock, monkeypatch):
    """Of two who rotate or delete what they have read, at the same moment, one is told that it has changed."""
    key = await issue("k")
    browser = await signed_in()

    monkeypatch.setattr(store, "rotate_key", _racing(store.rotate_key, store, key, clock))
    assert "has changed since" in await notice(browser, await fill(browser, f"/key/{key.id}/rotate", grace="0"))
    monkeypatch.setattr(store, "revoke_key", _racing(store.revoke_key, store, key, clock))
    answer = await fill(browser, f"/delete?id={key.id}")
    assert answer.status_code == 409
    assert "It has changed since you selected it" in read_page(answer).one("main").text


def _racing(change, store, key, clock):
    async def first(*arguments, **more):
        await lifecycle.rename(store, key.id, f"theirs {change.__name__}", clock=clock)
        return await change(*arguments, **more)

    return first


async def test_what_does_not_fit_the_state_fails(signed_in, issue, store, clock):
    """What does not fit a key's state is not done, and why is said."""
    key = await issue("k", expires_at=clock() + HOUR)
    browser = await signed_in()
    page = read_page(await browser.get(f"/key/{key.id}"))
    tag = page.all("input", name="tag")[0]["value"]
    assert "Nothing was done: the key is expiring soon." in await notice(
        browser, await browser.post(f"/key/{key.id}/enable", {"tag": tag})
    )
    clock.advance(2 * HOUR)
    assert await notice(browser, await browser.post(f"/key/{key.id}/disable", {"tag": tag})) == (
        "Nothing was done: the key is expired."
    )


# --- deleting ---------------------------------------------------------------------------------------------------


async def test_keys_are_deleted(signed_in, issue, store, clock):
    """Deleted keys are refused at once, named in what is said, and out of the list."""
    one, two = await issue("one"), await issue("two")
    kept = await issue("kept")
    browser = await signed_in()
    said = await notice(browser, await fill(browser, f"/delete?id={one.id}&id={two.id}"), "/")
    assert said == f"Deleted “one” ({one.hint}) and “two” ({two.hint}). From now on they are refused."
    states = {key.id: key.state(clock()) for key in await lifecycle.list_keys(store)}
    assert states == {one.id: KeyState.REVOKED, two.id: KeyState.REVOKED, kept.id: KeyState.ACTIVE}
    said = await notice(browser, await fill(browser, f"/delete?id={kept.id}"))
    assert said == f"Deleted “kept” ({kept.hint}). From now on it is refused."


async def test_many_deleted_keys_are_counted(signed_in, issue):
    """Of many deleted keys a few are named and the others counted, so that the notice has room, also of long names."""
    keys = [await issue(f"{number} {'n' * 190}") for number in range(30)]
    browser = await signed_in()
    said = await notice(browser, await fill(browser, "/delete?" + "&".join(f"id={key.id}" for key in keys)))
    assert said.endswith("and 27 other keys. From now on they are refused.")


async def test_each_failure_is_said(signed_in, issue, store, clock):
    """Where some of several cannot be deleted, each is named with what became of it, and why."""
    names = ("done", "changed", "deleted", "gone")
    done, changed, deleted, gone = [await issue(name) for name in names]
    browser = await signed_in()
    page = read_page(await browser.get(f"/delete?id={done.id}&id={changed.id}&id={deleted.id}&id={gone.id}"))
    form = page.one("form", action="/keys/delete")
    data = {name: [each["value"] for each in form.all("input", name=name)] for name in ("id", "tag")}
    await lifecycle.rename(store, changed.id, "renamed", clock=clock)
    await lifecycle.revoke(store, deleted.id, clock=clock)
    data["id"][3] = "unknown"
    answer = await browser.post("/delete", data)
    page = read_page(answer)
    assert answer.status_code == 409
    assert page.one("div", role="alert").text == "3 keys could not be deleted. 1 key was deleted."
    assert [
        each.text.replace("\u2068", "").replace("\u2069", "") for each in page.one("ul", class_="card").all("li")
    ] == [
        f"“done” ({done.hint}) Deleted. It is refused from now on.",
        f"“renamed” ({changed.hint}) It has changed since you selected it: look at it again.",
        f"“deleted” ({deleted.hint}) It was deleted already.",
        "A key There is no such key here.",
    ]
    assert (await lifecycle.get(store, done.id)).revoked_at is not None
    assert (await lifecycle.get(store, changed.id)).revoked_at is None


async def test_a_store_that_fails_is_said_of_each(signed_in, issue, store, monkeypatch):
    """What a store that cannot be reached has not done is said of the key; what nobody expected is no answer."""
    key = await issue("k")
    browser = await signed_in()

    raised = iter([StoreUnavailable("away"), RuntimeError("unheard of"), KeyguardError("unheard of")])

    async def fail(*_, **__):
        raise next(raised)

    data = await _delete_form(browser, key)
    monkeypatch.setattr(store, "revoke_key", fail)
    answer = await browser.post("/delete", data)
    assert "The keys cannot be reached at the moment" in read_page(answer).one("ul", class_="card").text
    for _ in range(2):
        assert (await browser.post("/delete", data)).status_code == 500


async def _delete_form(browser, key):
    page = read_page(await browser.get(f"/delete?id={key.id}"))
    return {name: page.one("input", name=name)["value"] for name in ("id", "tag")}


@pytest.mark.parametrize("data", [{}, {"id": "x"}, {"id": [str(n) for n in range(101)], "tag": ["x"] * 101}])
async def test_nothing_to_delete(signed_in, data):
    """Without a key, or with too many, nothing is deleted."""
    browser = await signed_in()
    assert await notice(browser, await browser.post("/delete", data), "/") == "Nothing was done: select 1 to 100 keys."


async def test_another_owner_s_key_is_not_there(signed_in, issue, store, people, clock):
    """No form changes another owner's key, and no answer tells that there is one; a superuser's does."""
    key = await issue("b's", owner=people.bob)
    browser = await signed_in()
    root = await signed_in("root")
    tag = read_page(await root.get(f"/key/{key.id}")).all("input", name="tag")[0]["value"]
    for action in ("rename", "disable", "enable", "end-grace", "rotate"):
        answer = await browser.post(f"/key/{key.id}/{action}", {"tag": tag, "name": "mine", "grace": "0"})
        assert answer.status_code == 404
    answer = await browser.post("/delete", {"id": key.id, "tag": tag})
    assert "There is no such key here." in answer.text
    assert "b's" not in answer.text
    assert (await lifecycle.get(store, key.id)).revoked_at is None
    assert (
        await notice(root, await fill(root, f"/delete?id={key.id}"))
        == f"Deleted “b's” ({key.hint}). From now on it is refused."
    )
