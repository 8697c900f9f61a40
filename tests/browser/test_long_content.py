"""What people write may be long: no column of the list is cut off, however wide the window."""

from datetime import timedelta

import pytest
from browser.keypage import KeyPage
from playwright.async_api import expect

from keyguard import lifecycle
from keyguard.clock import utc_now
from keyguard.model import Usage

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDTHS = (320, 390, 768, 1024, 1040, 1280, 1920)

BEYOND = """() => [...document.querySelectorAll(".card.flush *")]
    .filter((element) => element.getBoundingClientRect().width > 1 && !element.closest("thead")
        && element.getBoundingClientRect().right > element.closest(".card").getBoundingClientRect().right + 0.5)
    .map((element) => element.outerHTML.slice(0, 160))"""
"""What reaches beyond the right edge of the card that it is in; on telephones the table's head is there unseen."""

INDENTS = """() => [...new Set([...document.querySelectorAll("td[data-label]")]
    .map((cell) => getComputedStyle(cell).paddingInlineStart))]"""
"""How far in from its edge what stands in a cell begins: on telephones, cells stand below one another."""


@pytest.mark.parametrize("name", ["W" * 200, "nightly backup of everything that there is " * 4])
async def test_no_column_is_cut_off(browse, people, store, url, name):
    """Keys and owners with long names, long scopes and many uses are listed with all columns within their card."""
    ada, root = await people("ada" * 40), await people("root", is_superuser=True)
    scopes = ["files:of-all-projects-of-the-whole-company:write", "flows:run", "flows:read"]
    now = utc_now()
    born, end = now - timedelta(days=359), now + timedelta(days=359)
    for owner in (ada.owner, root.owner):
        for is_rotated in (False, True):
            issued = await lifecycle.issue(store, owner, name=name, scopes=scopes, expires_at=end, clock=lambda: born)
            key = issued.record
            if is_rotated:
                await lifecycle.rotate(store, key.id, grace=timedelta(days=300))
            used = Usage(total=10_000_000_000, last_used_at=born)
            await store.record_uses({key.id: used}, worker=f"long {key.id}", sequence=1)
    for person in (ada, root):
        page = await browse()
        await KeyPage(page).enter(person)
        await page.goto(f"{url}/keys/?q={name[:9]}")
        await expect(page.get_by_role("table")).to_be_visible()
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate(BEYOND) == [], (person.name[:4], width)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert width > 1024 or await page.evaluate(INDENTS) == ["0px"]
