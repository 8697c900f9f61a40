"""Every page in each of the states that look different: who sees it, and how one gets there.

What asks for barriers, for what a telephone cannot show and for the pictures of the manual goes through this list.
"""

import re

from browser.keypage import KeyPage, called
from playwright.async_api import expect


def at(path, heading):
    """A state that is a page's own address."""

    async def go(keys, samples):
        await keys.open(path)
        await expect(keys.heading(heading)).to_be_visible()

    return go


def key(which):
    """The page of a sample key."""

    async def go(keys, samples):
        await keys.open(f"key/{samples.keys[which].id}")
        await expect(keys.page.get_by_role("heading", level=1)).to_be_visible()

    return go


async def wrong_password(keys, samples):
    await keys.sign_in(samples.ada.name, "wrong")
    await expect(keys.page.get_by_role("alert")).to_be_visible()


async def new_with_errors(keys, samples):
    await keys.open("new")
    await keys.page.get_by_role("radio", name=re.compile("Custom")).check()
    await keys.page.get_by_label("Allowed networks").fill("the office")
    await keys.button("Create API key").click()
    await expect(keys.page.get_by_role("alert")).to_be_visible()


async def made(keys, samples):
    await keys.create("Weather station")


async def made_and_shown(keys, samples):
    await keys.create("Weather station")
    await keys.shown()
    await keys.copy()


async def made_and_left(keys, samples):
    await keys.create("Weather station")
    await keys.link("Done").click()
    await keys.told("not copied")


async def rotating(keys, samples):
    await keys.open(f"key/{samples.keys['active'].id}/rotate")
    await expect(keys.button("Rotate key")).to_be_visible()


async def selected(keys, samples):
    await keys.select("Old laptop", "Office")


async def deleting(keys, samples):
    await selected(keys, samples)
    await keys.button("Delete").click()
    await expect(keys.button("Delete 2 keys")).to_be_visible()


async def renamed(keys, samples):
    """A page that says what has just been done; the name stays as it was in the end."""
    await keys.open(f"key/{samples.keys['restricted'].id}")
    for name in ("Office in town", "Office"):
        await keys.page.get_by_label("Rename").fill(name)
        await keys.button("Save name").click()
        await keys.told(called(name))


STATES = {
    "sign-in": ("nobody", at("sign-in", "Sign in")),
    "sign-in, refused": ("nobody", wrong_password),
    "list": ("ada", at("", "API keys")),
    "list, empty": ("newcomer", at("", "API keys")),
    "list, filtered": ("ada", at("?state=disabled", "API keys")),
    "list, nothing found": ("ada", at("?q=nothing+of+the+kind", "API keys")),
    "list, selected": ("ada", selected),
    "list, of everybody": ("root", at("", "API keys")),
    "new": ("ada", at("new", "New key")),
    "new, with errors": ("ada", new_with_errors),
    "made": ("maker", made),
    "made, shown": ("maker", made_and_shown),
    "made, not copied": ("maker", made_and_left),
    "key": ("ada", key("active")),
    "key, expiring soon": ("ada", key("expiring soon")),
    "key, disabled": ("ada", key("disabled")),
    "key, in its grace": ("ada", key("grace")),
    "key, expired": ("ada", key("expired")),
    "key, deleted": ("ada", key("revoked")),
    "key, without a name": ("ada", key("unnamed")),
    "key, of somebody else": ("root", key("restricted")),
    "key, renamed": ("ada", renamed),
    "rotate": ("ada", rotating),
    "delete": ("ada", deleting),
    "activity": ("ada", at("activity", "Activity")),
    "activity, of everybody": ("root", at("activity", "Activity")),
    "not found": ("ada", at("key/000000000000", re.compile("found|no such|not there", re.IGNORECASE))),
}


async def go(state, keys: KeyPage, samples):
    """Lead a page of whoever sees it into a state."""
    _, way = STATES[state]
    await way(keys, samples)
