"""No page, in whatever state, keeps anybody out or falls off a telephone."""

import pytest
from browser.axe import violations
from browser.chromium import PHONE, WIDE
from browser.keypage import KeyPage
from browser.states import STATES, go

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOKS = [(width, scheme) for width in (WIDE, PHONE) for scheme in ("light", "dark")]

SIDEWAYS = """() => [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1
        && !element.closest("pre, [hidden], .unseen, .skip"))
    .map((element) => element.outerHTML.slice(0, 160))"""
"""What reaches beyond the right edge; a line of code may be longer than the screen, within a box that scrolls."""


@pytest.mark.parametrize("state", STATES)
async def test_a_page_is_for_everybody(state, browse, samples, signed_in, axe_core):
    """axe-core finds no barrier and nothing reaches beyond the edge, in light and dark, on a screen and a telephone."""
    page = await browse(storage_state=await signed_in(STATES[state][0]))
    page.on("dialog", lambda dialog: dialog.accept())
    await go(state, KeyPage(page), samples)
    for size, scheme in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # Dark is the same page in other colours.
        assert await violations(page, axe_core, only_colours=scheme == "dark") == [], (size, scheme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"], await page.evaluate(
            SIDEWAYS
        )
