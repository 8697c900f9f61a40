"""The list of keys: what a row says, what is looked for, in which order, and in parts."""

from datetime import timedelta

from key_pages import rows, see

from keyguard import lifecycle
from keyguard.model import Usage


def names(page):
    return [each.all("span")[0].text for each in page.all("tbody")[0].all("th")] if page.all("tbody") else []


def chosen(page, field):
    (option,) = [each for each in page.one("select", id=field).all("option") if "selected" in each.attributes]
    return option


def heads(page):
    """The heads of the table by what they say; what stands in them for narrow windows says it again."""
    return {(each.all("a") or [each])[0].text: each for each in page.one("thead").all("th")}


async def test_a_row_says_all_of_a_key(signed_in, issue, store, clock):
    """Each row has name, prefix and id, state, access, when it was created and used, how often, and when it ends."""
    key = await issue("laptop", ago=timedelta(hours=3), scopes=["flows:read"], expires_at=clock() + timedelta(days=2))
    await store.record_uses(
        {key.id: Usage(total=1234, last_used_at=clock() - timedelta(minutes=5))}, worker="w", sequence=1
    )
    page = await see(await signed_in())
    assert rows(page) == [
        [
            f"Select “\u2068laptop\u2069” {key.hint}",
            f"laptop kg_{key.id}",
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
    """A key that was never used and never ends says so, and one without a name has prefix and id."""
    key = await issue()
    page = await see(await signed_in())
    assert rows(page)[0] == [
        f"Select {key.hint}", f"No name kg_{key.id}", "active", "Full access", "just now", "never", "0", "never",
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
    assert rows(await see(browser, "/?state=revoked"))[0][:3] == ["", f"old kg_{key.id}", "revoked"]


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
    assert page.one("h1").parent.text.startswith("API keys These are the keys of all owners.")
    ada = await see(await signed_in("ada"), "/?owner=bob")
    assert names(ada) == ["a's"]
    assert not ada.all("datalist")


async def test_nobody_has_keys(signed_in):
    """A superuser of an empty store is told that nobody has a key."""
    assert (await see(await signed_in("root"))).one("h2").text == "Nobody has a key yet"


async def test_what_is_found_elsewhere(signed_in, issue, store):
    """Where nothing of the asked state fits, a link shows what of any other does."""
    browser = await signed_in()
    for name in ("old one", "old two"):
        await lifecycle.revoke(store, (await issue(name)).id)
    await issue("new")
    nothing = (await see(browser, "/?q=old&sort=name")).one("section")
    show, clear = nothing.all("a")
    assert (show.text, clear.text) == ("Show 2 revoked keys", "Clear the search")
    assert names(await see(browser, show["href"].removeprefix("/keys"))) == ["old one", "old two"]
    nothing = (await see(browser, "/?q=new&state=disabled")).one("section")
    assert nothing.all("a")[0].text == "Show 1 key of any state"
    for path in ("/?q=zzz", "/?q=zzz&state=all"):
        assert [each.text for each in (await see(browser, path)).one("section").all("a")] == ["Clear the search"]
