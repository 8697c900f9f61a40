"""No page of the Langflow-style server, in whatever state, keeps anybody out or falls off a telephone."""

import pytest
from browser.axe import violations
from browser.chromium import PHONE, WIDE
from browser.langflow.states import STATES, go
from browser.test_every_page import SIDEWAYS

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOKS = [(WIDE, "light"), (PHONE, "dark")]
"""Each size and each scheme once: narrow pages have the same colours, and dark ones the same places."""


@pytest.mark.parametrize("state", STATES)
async def test_a_page_is_for_everybody(state, browse, samples, signed_in, axe_core):
    """axe-core finds no barrier and nothing reaches beyond the edge, on a screen in light and a telephone in dark."""
    page = await browse(storage_state=await signed_in(STATES[state][0]))
    page.on("dialog", lambda dialog: dialog.accept())
    await go(state, page, samples)
    for size, scheme in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await violations(page, axe_core) == [], (size, scheme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"], await page.evaluate(
            SIDEWAYS
        )
