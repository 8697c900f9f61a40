"""What forms change: each change says what happened, and what failed says why."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from html_pages import read_page
from key_pages import fill, notice, press, text_of_key, wrong

from keyguard import lifecycle
from keyguard.errors import KeyguardError, StoreUnavailable
from keyguard.model import KeyState

HOUR = timedelta(hours=1)


# --- one key ----------------------------------------------------------------------------------------------------------


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
    unnamed = await issue()
    said = await notice(browser, await press(browser, unnamed, "disable"))
    assert said == f"Disabled kg_{unnamed.id}. It is refused until you enable it."
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


# --- deleting ---------------------------------------------------------------------------------------------------------


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


async def test_deleting_leads_back_to_the_same_list(signed_in, issue):
    """Whoever deletes keys that they have searched for, or decides not to, sees the rest of what was found."""
    one, two = await issue("test one"), await issue("test two")
    browser = await signed_in("root")
    wanted = "/?q=test&state=active&owner=ada&sort=name"
    form = read_page(await browser.get(wanted)).one("form", method="get")
    kept = {each["name"]: each["value"] for each in form.all("input", type="hidden")}
    assert kept == {"q": "test", "state": "active", "owner": "ada", "sort": "name"}
    path = "/delete?" + urlencode({**kept, "id": one.id})
    assert read_page(await browser.get(path)).one("a", class_="button")["href"] == f"/keys{wanted}"
    said = await notice(browser, await fill(browser, path), wanted)
    assert said.startswith("Deleted “test one”")
    await notice(browser, await browser.get(path), wanted)
    answer = await browser.get(f"/delete?id={two.id}&q={'a' * 40}")
    assert "a" * 40 not in answer.text
