"""Everybody sees their own keys, a superuser everybody's, and nobody a session that has ended."""

import pytest
from browser.keypage import KeyPage, called
from playwright.async_api import expect

from keyguard import lifecycle

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_owners_see_their_own_keys_and_a_superuser_all(browse, people):
    """Two owners see each their own key; a superuser sees both, with their owners, and may disable one."""
    ada, bob, root = await people("ada"), await people("bob"), await people("root", is_superuser=True)
    adas, bobs, roots = [KeyPage(await browse()) for _ in range(3)]
    await adas.enter(ada)
    await bobs.enter(bob)
    await roots.enter(root)
    await adas.create_and_copy("ada's laptop")
    await bobs.create_and_copy("bob's laptop")
    await adas.open()
    await expect(adas.row("ada's laptop")).to_be_visible()
    await expect(adas.row("bob's laptop")).to_have_count(0)
    await expect(adas.page.get_by_role("columnheader", name="Owner")).to_have_count(0)
    await bobs.open()
    await expect(bobs.row("bob's laptop")).to_be_visible()
    await expect(bobs.row("ada's laptop")).to_have_count(0)

    await roots.open()
    await expect(roots.heading("API keys")).to_be_visible()
    for owner, key in ((ada, "ada's laptop"), (bob, "bob's laptop")):
        await expect(roots.row(key).get_by_role("cell", name=owner.name)).to_be_visible()
    await roots.row("bob's laptop").get_by_role("link").click()
    await roots.button("Disable").click()
    await roots.told("disabled")
    await bobs.open()
    await expect(bobs.row("bob's laptop")).to_contain_text("disabled")


async def test_another_owners_key_is_not_there(browse, people):
    """The address of another owner's key leads to the same page as that of a key that never was."""
    adas, bobs = KeyPage(await browse()), KeyPage(await browse())
    await adas.enter(await people("ada"))
    await bobs.enter(await people("bob"))
    await adas.create_and_copy("private")
    of_ada = adas.page.url
    pages = []
    for address in (of_ada, of_ada[:-1] + ("a" if of_ada[-1] != "a" else "b"), f"{of_ada}/rotate"):
        answer = await bobs.page.goto(address)
        pages.append((answer.status, await bobs.page.get_by_role("main").inner_text()))
    assert {status for status, _ in pages} == {404}
    assert pages[0] == pages[1] == pages[2]
    await expect(bobs.page.get_by_text("private")).to_have_count(0)


async def test_signing_out_ends_the_session_in_every_tab(browse, people, workers):
    """What another tab of the same browser asks for after that leads to the form, whichever worker it asks."""
    page = await browse()
    keys, other = KeyPage(page), KeyPage(await page.context.new_page())
    await keys.enter(await people())
    await other.open()
    await expect(other.heading("API keys")).to_be_visible()
    cookies = await page.context.cookies()
    assert workers.visit(cookies) == [200, 200]
    await keys.sign_out()
    assert workers.visit(cookies) == [303, 303]
    await other.link("Activity").click()
    await expect(other.heading("Sign in")).to_be_visible()


@pytest.mark.parametrize("how", ["deactivated", "another password"])
async def test_a_session_ends_with_what_it_stood_on(browse, people, store, workers, how):
    """An owner who is deactivated, or given another password, is out at once on every worker, and sees the form."""
    ada = await people()
    keys = KeyPage(await browse())
    await keys.enter(ada)
    cookies = await keys.page.context.cookies()
    assert workers.visit(cookies) == [200, 200]
    if how == "deactivated":
        await lifecycle.deactivate(store, ada.owner)
    else:
        await lifecycle.set_password(store, ada.owner, "quite another password")
    assert workers.visit(cookies) == [303, 303]
    await keys.link("Activity").click()
    await expect(keys.heading("Sign in")).to_be_visible()
    await keys.sign_in(ada.name, ada.password)
    await expect(keys.page.get_by_role("alert")).to_be_visible()
    if how == "another password":
        await keys.sign_in(ada.name, "quite another password")
        await expect(keys.heading("API keys")).to_be_visible()


async def test_after_signing_in_somebody_is_where_they_wanted_to_go(browse, people):
    """A page that asks for the form first is shown after it."""
    ada = await people()
    keys = KeyPage(await browse())
    await keys.open("new")
    await keys.page.get_by_label("Name").fill(ada.name)
    await keys.page.get_by_label("Password").fill(ada.password)
    await keys.button("Sign in").click()
    await expect(keys.heading("New key")).to_be_visible()


async def test_a_wrong_password_says_no_more_than_it_must(browse, people):
    """A wrong password and a name that nobody has are answered in the same words."""
    ada = await people()
    keys = KeyPage(await browse())
    said = []
    for name in (ada.name, "nobody at all"):
        await keys.sign_in(name, "wrong")
        said.append(await keys.page.get_by_role("alert").inner_text())
        await expect(keys.page.get_by_label("Name")).to_have_value(name)
    assert said[0] == said[1] != ""
    assert not called(ada.name).search(said[0])
