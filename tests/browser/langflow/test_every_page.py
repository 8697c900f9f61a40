"""No page of the Langflow-style server, in whatever state, keeps anybody out or falls off a telephone."""

import asyncio

import pytest
from browser.axe import violations
from browser.chromium import PHONE, WIDE
from browser.langflow.pages import Pages
from browser.langflow.states import STATES, go
from browser.test_every_page import SIDEWAYS
from langflow_accounts import add_user

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


def long_things(server):
    """Add a user with a name, a flow and a variable as long as they may be, without a space to break them at."""
    user = add_user(server, username="u" * 150, is_superuser=True)
    with server.client() as client:
        flow = {"name": "f" * 255, "description": "d" * 3000, "endpoint_name": "e" * 255}
        flow = client.post("/api/v1/flows/", headers=user.session, json=flow).json()
        variable = {"name": "v" * 255, "type": "Generic", "value": "x" * 3000, "default_fields": ["OpenAI API Key"]}
        variable = client.post("/api/v1/variables/", headers=user.session, json=variable).json()
    paths = ["/flows", f"/flows/{flow['id']}", "/settings", "/settings/variables"]
    paths += [f"/settings/variables/{variable['id']}", f"/settings/variables/{variable['id']}/delete"]
    paths += ["/settings/users?page=1000", f"/settings/users/{user.id}", "/settings/password", "/nowhere"]
    return user, paths


async def test_long_texts_stay_on_the_page(browse, server):
    """Names without a space, as long as they may be, widen no page, on a screen and a telephone."""
    user, paths = await asyncio.to_thread(long_things, server)
    pages = Pages(await browse())
    await pages.enter(user)
    for path in paths:
        await pages.open(path)
        for size in (WIDE, PHONE):
            await pages.page.set_viewport_size(size)
            width = await pages.page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], (path, await pages.page.evaluate(SIDEWAYS))
