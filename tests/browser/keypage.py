"""What somebody does on the key page, said in the words that the page says and that screen readers read out."""

import re

from leaks import WATCH
from playwright.async_api import expect


def called(name):
    """A pattern for what holds a key's name, whatever marks keep its direction of writing to itself."""
    return re.compile(rf"\b{re.escape(name)}\b")


class KeyPage:
    """The key page in somebody's browser, below `root`, which is empty or begins with a slash."""

    def __init__(self, page, root=""):
        self.page = page
        self.home = f"{root}/keys/"

    # --- what is there ---

    def heading(self, name):
        return self.page.get_by_role("heading", name=name, level=1)

    def link(self, name):
        return self.page.get_by_role("link", name=name)

    def button(self, name):
        return self.page.get_by_role("button", name=name)

    def switch(self, what):
        """What shows and hides a secret."""
        return self.page.locator("summary").filter(has_text=what)

    def row(self, name):
        """A key in the list."""
        return self.page.get_by_role("row", name=called(name))

    def fact(self, term):
        """What stands beside a term on a key's page."""
        return (
            self.page.locator("dl > div").filter(has=self.page.get_by_text(term, exact=True)).get_by_role("definition")
        )

    async def told(self, words):
        """Wait until the page says so, as what happened or what failed, where somebody who listens hears it first."""
        said = self.page.get_by_role("status").or_(self.page.get_by_role("alert")).filter(has_text=words)
        await expect(said).to_be_focused()

    # --- what is done ---

    async def open(self, path=""):
        """Go to a path below the page's own."""
        return await self.page.goto(self.home + path)

    async def sign_in(self, name, password):
        await self.open()
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.button("Sign in").click()

    async def enter(self, person):
        """Sign in as somebody who may."""
        await self.sign_in(person.name, person.password)
        await expect(self.page.get_by_text(f"Signed in as {person.name}")).to_be_visible()

    async def create(self, name):
        """Create a key of the usual kind; the page that shows it once is open then."""
        await self.open("new")
        await self.page.get_by_label("Name").fill(name)
        await self.button("Create API key").click()
        await expect(self.heading("Copy your key")).to_be_visible()
        await self.page.wait_for_load_state()  # Its script has begun then, if there are scripts.

    async def copy(self):
        """Copy the new key, and return it; from now on no log may show it."""
        WATCH.key(key := await self.copy_by(self.button("Copy the key")))
        return key

    async def copy_by(self, button):
        """Press a button that copies, and return what the clipboard then holds."""
        await button.click()
        await expect(self.page.get_by_text("Copied.", exact=True)).to_be_attached()
        return await self.page.evaluate("navigator.clipboard.readText()")

    async def shown(self):
        """Show the new key, and return it."""
        await self.switch("the key").click()
        return await self.page.get_by_text(re.compile(r"^kg_\w{12}_\w{49}$")).inner_text()

    async def create_and_copy(self, name):
        """Create a key, copy it, and go on to its own page; return it."""
        await self.create(name)
        key = await self.copy()
        await self.link("Done").click()
        await expect(self.heading(called(name))).to_be_visible()
        return key

    async def select(self, *names):
        """Select keys in the list."""
        await self.open()
        for name in names:
            await self.row(name).get_by_role("checkbox").check()

    async def delete(self, *names):
        """Delete keys that are in the list, and confirm it."""
        await self.select(*names)
        await self.button("Delete").click()
        await self.button("Delete 1 key" if len(names) == 1 else f"Delete {len(names)} keys").click()
        await self.told("deleted")

    async def sign_out(self):
        await self.button("Sign out").click()
        await expect(self.heading("Sign in")).to_be_visible()
