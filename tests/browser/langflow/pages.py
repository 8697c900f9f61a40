"""What somebody does on the pages of the Langflow-style server, in the words that stand there."""

import re

from browser.keypage import KeyPage
from playwright.async_api import expect


class Pages:
    """The server in somebody's browser."""

    def __init__(self, page):
        self.page = page
        self.keys = KeyPage(page)
        self.keys.home = "/settings/api-keys/"

    # --- what is there ---

    def heading(self, name):
        return self.page.get_by_role("heading", name=name, level=1)

    def link(self, name):
        return self.page.get_by_role("link", name=name, exact=True)

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def row(self, name):
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=name))

    async def told(self, words):
        """Wait until the page says so, where somebody who listens hears it first."""
        said = self.page.get_by_role("status").or_(self.page.get_by_role("alert")).filter(has_text=words)
        await expect(said).to_be_focused()

    # --- what is done ---

    async def open(self, path):
        return await self.page.goto(path)

    async def sign_in(self, name, password):
        """Fill the form in and send it."""
        await self.open("/sign-in")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.button("Sign in").click()

    async def enter(self, person):
        """Sign in as somebody who may."""
        await self.sign_in(person.name, person.password)
        await expect(self.heading("Flows")).to_be_visible()

    async def open_menu(self):
        await self.page.locator("summary", has_text="Menu of").click()

    async def settings(self, place):
        """Go to the settings as the documents say: by the menu of the user's icon."""
        await self.open_menu()
        await self.page.locator(".menu").get_by_role("link", name="Settings").click()
        await expect(self.heading("Settings")).to_be_visible()
        await self.page.get_by_role("main").get_by_role("link", name=place, exact=True).first.click()

    async def add_sample(self):
        """Add the sample flow for somebody who has none; its page is open then. Return its id."""
        await self.open("/flows")
        await self.button("Add the sample flow").click()
        await self.told("added")
        return re.search(r"/flows/([0-9a-f-]{36})", self.page.url)[1]

    async def run(self, text):
        """Run the flow whose page is open, and return what the page says."""
        await self.page.get_by_label("Text").fill(text)
        await self.button("Run").click()
        await expect(answer := self.page.get_by_role("status", name="Answer")).to_be_focused()
        return await answer.inner_text()

    async def copy(self, label):
        """Copy one of the commands, and return what the clipboard then holds."""
        await self.button(f"Copy the command: {label}").click()
        await expect(self.page.get_by_text("Copied.", exact=True)).to_be_attached()
        return await self.page.evaluate("navigator.clipboard.readText()")

    async def sign_out(self):
        await self.open_menu()
        await self.button("Sign out").click()
        await expect(self.heading("Sign in")).to_be_visible()
