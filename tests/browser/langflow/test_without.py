"""The pages without a mouse, and without scripts."""

import pytest
from browser.langflow.pages import Pages
from browser.test_without import tab_to
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_keyboard_is_enough(browse, people):
    """Signing in, running a flow and copying its command need Tab, Enter and Space only."""
    ada, page = await people(), await browse()
    pages, press, write = Pages(page), page.keyboard.press, page.keyboard.type
    await pages.open("/")
    await expect(page.get_by_label("Name")).to_be_focused()
    await write(ada.name)
    await tab_to(page.get_by_label("Password"))
    await write(ada.password)
    await press("Enter")
    await expect(pages.heading("Flows")).to_be_visible()

    await tab_to(pages.button("Add the sample flow"))
    await press("Enter")
    await pages.told("added")
    await tab_to(page.get_by_label("Text"))
    await write("by hand")
    await tab_to(pages.button("Run"))
    await press("Space")
    await expect(page.get_by_role("status", name="Answer")).to_contain_text("by hand")
    await tab_to(pages.button("Copy the command: HTTP header"))
    await press("Enter")
    await expect(page.get_by_text("Copied.", exact=True)).to_be_attached()


async def test_the_menu_opens_and_closes_by_keyboard(pages):
    """Space and Enter open the user's menu, Escape closes it and leaves the focus where it was; it leads on by Tab."""
    page, press, write = pages.page, pages.page.keyboard.press, pages.page.keyboard.type
    menu = page.locator("summary", has_text="Menu of")
    await tab_to(menu)
    await press("Space")
    await expect(pages.button("Sign out")).to_be_visible()
    await press("Escape")
    await expect(pages.button("Sign out")).to_be_hidden()
    await expect(menu).to_be_focused()
    await press("Enter")
    await tab_to(page.locator(".menu").get_by_role("link", name="Settings"))
    await press("Enter")
    await expect(pages.heading("Settings")).to_be_visible()
    await tab_to(page.get_by_role("main").get_by_role("link", name="Global Variables").first)
    await press("Enter")
    await tab_to(pages.link("Add new"))
    await press("Enter")
    await tab_to(page.get_by_label("Name"))
    await write("GREETING")
    await tab_to(page.get_by_label("Credential"))
    await press("ArrowDown")
    await expect(page.get_by_label("Generic")).to_be_checked()
    await tab_to(page.get_by_label("Value"))
    await write("hello")
    await tab_to(pages.button("Add variable"))
    await press("Space")
    await pages.told("added")

    await tab_to(menu)
    await press("Enter")
    await tab_to(pages.button("Sign out"))
    await press("Enter")
    await expect(pages.heading("Sign in")).to_be_visible()


async def test_scripts_are_needed_for_copying_alone(browse, people):
    """Everything but copying works where scripts are switched off; what needs one is not shown."""
    page = await browse(java_script_enabled=False)
    pages = Pages(page)
    await pages.enter(await people())
    await pages.open("/flows")
    await pages.button("Add the sample flow").click()
    await expect(pages.heading("Sample flow private")).to_be_visible()
    await expect(page.locator("button[data-copy]").first).to_be_hidden()
    await page.get_by_label("Text").fill("plain")
    await pages.button("Run").click()
    await expect(page.get_by_role("status", name="Answer")).to_contain_text("plain")
    await pages.button("Make it public").click()
    await expect(page.get_by_text("The flow is public now")).to_be_visible()
    await pages.settings("Global Variables")
    await pages.link("Add new").click()
    await page.get_by_label("Name").fill("OPENAI_API_KEY")
    await page.get_by_label("Value").fill("of no use")
    await pages.button("Add variable").click()
    await pages.link("OPENAI_API_KEY").click()
    await pages.link("Delete…").click()
    await pages.button("Delete variable").click()
    await expect(page.get_by_text("The variable was deleted.")).to_be_visible()
    await pages.sign_out()
