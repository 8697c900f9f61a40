"""The page without a mouse, and without scripts."""

import re

import pytest
from browser.keypage import KeyPage, called
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_STEPS = 80


async def tab_to(locator):
    """Go on with the tabulator until something has the focus."""
    for _ in range(MOST_STEPS):
        await locator.page.keyboard.press("Tab")
        if await locator.evaluate("(element) => element === document.activeElement"):
            return
    pytest.fail(f"{MOST_STEPS} steps do not lead to {locator}")


async def test_the_keyboard_is_enough(browse, people):
    """Signing in, creating, copying and deleting need Tab, Enter and Space only."""
    ada, page = await people(), await browse()
    keys, press, write = KeyPage(page), page.keyboard.press, page.keyboard.type
    await keys.open()
    await expect(page.get_by_label("Name")).to_be_focused()
    await write(ada.name)
    await tab_to(page.get_by_label("Password"))
    await write(ada.password)
    await press("Enter")
    await expect(keys.heading("API keys")).to_be_visible()

    await tab_to(keys.link("Add new"))
    await press("Enter")
    await expect(keys.heading("New key")).to_be_visible()
    await tab_to(page.get_by_label("Name"))
    await write("by hand")
    await tab_to(keys.button("Create API key"))
    await press("Space")
    await expect(keys.heading("Copy your key")).to_be_visible()
    await tab_to(page.locator("summary").first)
    await press("Space")
    await expect(page.locator("pre").first).to_be_visible()
    await tab_to(keys.button("Copy the key"))
    await press("Enter")
    await expect(page.get_by_text("Copied.", exact=True)).to_be_attached()
    await tab_to(keys.link("Done"))
    await press("Enter")
    await expect(keys.heading(called("by hand"))).to_be_visible()

    await tab_to(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Keys"))
    await press("Enter")
    await tab_to(keys.row("by hand").get_by_role("checkbox"))
    await press("Space")
    await expect(page.get_by_text("1 of 1 selected")).to_be_visible()
    await press("Shift+Tab")
    await tab_to(keys.row("by hand").get_by_role("checkbox"))
    # The button stands before the table that it is about.
    while not await keys.button("Delete").evaluate("(element) => element === document.activeElement"):
        await press("Shift+Tab")
    await press("Enter")
    await expect(keys.heading("Delete this key?")).to_be_visible()
    await tab_to(keys.button("Delete 1 key"))
    await press("Space")
    await keys.told("deleted")


async def test_what_has_the_focus_can_be_seen(keys):
    """Each link, button and field that the tabulator comes to is marked, and is on the screen."""
    page = keys.page
    await keys.create_and_copy("something")
    await keys.open()
    seen = 0
    for _ in range(MOST_STEPS):
        await page.keyboard.press("Tab")
        found = await page.evaluate("""() => {
            const element = document.activeElement;
            if (element === document.body) return null;
            const box = element.getBoundingClientRect(), style = getComputedStyle(element);
            return {
                text: element.outerHTML.slice(0, 120),
                marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
                there: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0,
            };
        }""")
        if found is None:
            break
        assert (found["marked"], found["there"]) == (True, True), found["text"]
        seen += 1
    assert seen > 10


async def test_scripts_are_needed_for_copying_alone(browse, people):
    """Everything but copying works where scripts are switched off; what needs one is not shown."""
    page = await browse(java_script_enabled=False)
    keys = KeyPage(page)
    await keys.enter(await people())
    await keys.create("plain")
    await expect(keys.button("Copy the key")).to_be_hidden()
    assert len(await keys.shown()) == len("kg_") + 12 + 1 + 49
    await keys.link("Done").click()
    await page.get_by_label("Rename").fill("simple")
    await keys.button("Save name").click()
    await keys.told("simple")
    await keys.button("Disable").click()
    await keys.told("disabled")
    await keys.button("Enable").click()
    await keys.told("enabled")
    await keys.link("Rotate…").click()
    await page.get_by_role("radio", name=re.compile("1 hour")).check()
    await keys.button("Rotate key").click()
    await expect(keys.heading("Copy your key")).to_be_visible()
    await keys.link("Done").click()
    await page.get_by_role("definition").get_by_role("link", name="simple").click()
    await keys.button("End grace now").click()
    await keys.told("grace")

    for name in ("first", "second", "third"):
        await keys.create(name)
    await keys.open()
    await page.get_by_label("Search").fill("ir")
    await page.get_by_role("search").get_by_role("button").click()
    await expect(keys.row("first")).to_be_visible()
    await expect(keys.row("second")).to_have_count(0)
    await keys.delete("first", "third")
    await expect(keys.row("second")).to_be_visible()
    await expect(keys.row("third")).to_have_count(0)
    await keys.link("Activity").click()
    await expect(page.get_by_text("deleted").first).to_be_visible()
    await keys.sign_out()
