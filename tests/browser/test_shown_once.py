"""The key is shown once, and nobody loses it by accident."""

import pytest
from browser.keypage import called
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


def questions(page):
    """Say yes whenever the browser asks whether to leave the page, and note it."""
    asked = []

    async def leave(dialog):
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", leave)
    return asked


async def holds(page, key):
    """Tell whether a page holds the key, shown or not."""
    return key.rpartition("_")[2] in await page.content()


async def test_the_key_is_masked_until_somebody_asks(keys):
    """Nobody who looks over a shoulder sees the key before it is shown."""
    await keys.create("masked")
    secret = keys.page.locator("pre").first
    await expect(secret).to_be_hidden()
    key = await keys.shown()
    assert key == await keys.copy()
    await keys.switch("the key").click()
    await expect(secret).to_be_hidden()


@pytest.mark.parametrize("way", ["reload", "forth and back", "back and forth"])
async def test_the_key_is_not_shown_again(keys, way):
    """Whoever reloads the page, leaves it and comes back, or goes back and comes again, does not see the key."""
    page = keys.page
    await keys.create("seen once")
    key = await keys.copy()
    assert await holds(page, key)
    match way:
        case "reload":
            await page.reload()
        case "forth and back":
            await keys.link("Done").click()
            await expect(keys.heading(called("seen once"))).to_be_visible()
            await page.go_back()
        case "back and forth":
            await page.go_back()
            await expect(keys.heading("New key")).to_be_visible()
            await page.go_forward()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert not await holds(page, key)
    await expect(keys.button("Copy the key")).to_have_count(0)


async def test_a_form_that_is_sent_again_makes_no_second_key(keys):
    """Whoever sends the same form once more is told that the key was made, without seeing it."""
    page, once = keys.page, keys.page.locator("input[name=once]")
    await keys.open("new")
    sent = await once.input_value()
    await keys.button("Create API key").click()
    key = await keys.copy()
    await keys.open("new")
    await once.evaluate("(field, sent) => { field.value = sent }", sent)
    await keys.button("Create API key").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("already")
    assert not await holds(page, key)
    await keys.open()
    await expect(page.get_by_role("row")).to_have_count(2)  # The head of the table, and one key.


async def test_the_browser_asks_before_a_key_is_lost_that_was_not_copied(keys):
    """Leaving the page asks until the key was copied, and not after that."""
    asked = questions(keys.page)
    await keys.create("lost")
    await keys.open()
    await expect(keys.row("lost")).to_be_visible()
    assert asked == ["beforeunload"]
    await keys.create("kept")
    await keys.copy()
    await keys.open()
    await expect(keys.row("kept")).to_be_visible()
    assert asked == ["beforeunload"]


async def test_done_asks_once_on_the_page_itself(keys):
    """Who presses Done without having copied is told so, and let go at the second press."""
    asked = questions(keys.page)
    await keys.create("written down")
    await keys.link("Done").click()
    await keys.told("You have not copied the key yet")
    await keys.link("Done").click()
    await expect(keys.heading(called("written down"))).to_be_visible()
    assert asked == []
