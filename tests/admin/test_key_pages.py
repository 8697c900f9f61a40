"""The page of one key: all its facts, its relatives, and what can be done with it."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from key_pages import facts, rows, see
from starlette.applications import Starlette
from starlette.routing import Mount

from keyguard import lifecycle
from keyguard.admin import KeyAdmin
from keyguard.model import Usage


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


@pytest.mark.parametrize("key_id", ["a b", "ä", "a?b#c", "50%25", "a;b"])
async def test_a_key_with_an_odd_id_is_found_by_its_links(signed_in, issue, store, clock, key_id):
    """An id that was brought from elsewhere may hold anything; a guard in front has its say on such paths."""
    key = replace(await issue("odd"), id=key_id, lookup=f"sha256${'0' * 64}")
    await store.add_key(key, events=[])
    browser = await signed_in("ada", Starlette(routes=[Mount("/keys", app=KeyAdmin(store, clock=clock))]))
    links = re.findall(r'href="/keys(/key/[^"]+)"', (await browser.get("/")).text)
    shown = [(await see(browser, link)).one("div", class_="head").text for link in links]
    assert len(shown) == 2
    assert any(f"{key.prefix}{key_id}" in text for text in shown)


async def test_a_successor_is_known_however_much_was_done_since(signed_in, issue, store, clock):
    """A key that was switched off and on a hundred times after its rotation still leads to the one in its place."""
    old = await issue("ci", ago=timedelta(days=1))
    new = (await lifecycle.rotate(store, old.id, grace=timedelta(hours=1), clock=clock)).record
    for _ in range(100):
        await lifecycle.disable(store, old.id, clock=clock)
        await lifecycle.enable(store, old.id, clock=clock)
    page = await see(await signed_in(), f"/key/{old.id}")
    assert facts(page)["Replaced by"] == f"ci {new.hint} (just now)"


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
