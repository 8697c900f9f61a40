"""Who signs in, how they get out again, and what a superuser does with users."""

import re

import pytest
from browser.chromium import somebody
from browser.langflow.pages import Pages
from langflow_serving import PASSWORD, SUPERUSER
from playwright.async_api import expect

from keyguard import lifecycle

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_wrong_password_is_told(browse, people):
    """The form says that it is not right and keeps the name; the right one leads to what was asked for."""
    ada, pages = await people(), Pages(await browse())
    await pages.open("/settings/variables")
    await expect(pages.heading("Sign in")).to_be_visible()
    await pages.page.get_by_label("Name").fill(ada.name)
    await pages.page.get_by_label("Password").fill("wrong")
    await pages.button("Sign in").click()
    await pages.told("The name or the password is not right.")
    await expect(pages.page.get_by_label("Name")).to_have_value(ada.name)
    await expect(pages.page.get_by_label("Password")).to_have_value("")
    await pages.page.get_by_label("Password").fill(ada.password)
    await pages.button("Sign in").click()
    await expect(pages.heading("Global Variables")).to_be_visible()


async def test_signing_out_ends_the_session(pages):
    """After signing out no page opens, whoever has kept the cookie."""
    context = pages.page.context
    kept = await context.cookies()
    await pages.sign_out()
    await context.add_cookies(kept)
    await pages.open("/flows")
    await expect(pages.heading("Sign in")).to_be_visible()


async def test_a_new_password_ends_all_sessions(browse, people):
    """Who changes their password is asked for it in every browser."""
    ada = await people()
    here, elsewhere = Pages(await browse()), Pages(await browse())
    await here.enter(ada)
    await elsewhere.enter(ada)
    await here.settings("Password")
    for label, text in (
        ("Current password", ada.password),
        ("New password", "another one"),
        ("New password, once more", "another one"),
    ):
        await here.page.get_by_label(label, exact=True).fill(text)
    await here.button("Change password").click()
    await here.told("Your password was changed")
    await elsewhere.open("/flows")
    await expect(elsewhere.heading("Sign in")).to_be_visible()
    await here.sign_in(ada.name, "another one")
    await expect(here.heading("Flows")).to_be_visible()


async def test_a_superuser_manages_users(browse):
    """A user who is added can sign in; one who is deactivated is out at the next click; one who is deleted is gone."""
    root, name = Pages(await browse()), "grace of the users"
    await root.sign_in(SUPERUSER, PASSWORD)
    await root.settings("Users")
    await root.link("Add new").click()
    await root.page.get_by_label("Name").fill(name)
    await root.page.get_by_label("Password").fill("the first password")
    await root.button("Add user").click()
    await root.told("The user was added")
    grace = Pages(await browse())
    await grace.sign_in(name, "the first password")
    await expect(grace.heading("Flows")).to_be_visible()

    await root.link(name).click()
    await root.button("Make a superuser").click()
    await root.told("superuser now")
    await grace.open("/settings/users")
    await expect(grace.heading("Users")).to_be_visible()
    await root.button("Make an ordinary user").click()
    await root.told("no superuser")
    await grace.page.reload()
    await expect(grace.page.get_by_text("Only a superuser manages users.")).to_be_visible()

    await root.button("Deactivate").click()
    await root.told("deactivated")
    await grace.open("/flows")
    await expect(grace.heading("Sign in")).to_be_visible()
    await root.button("Activate").click()
    await root.told("activated")
    await root.page.get_by_label("New password").fill("the second password")
    await root.button("Set password").click()
    await root.told("new password was set")
    await grace.sign_in(name, "the second password")
    await expect(grace.heading("Flows")).to_be_visible()

    await root.link("Delete…").click()
    await expect(root.heading(f"Delete the user “{name}”?")).to_be_visible()
    await root.button("Delete user").click()
    await root.told("The user was deleted")
    await grace.open("/flows")
    await expect(grace.heading("Sign in")).to_be_visible()


async def test_the_list_of_users_has_pages(browse, store):
    """Twenty users stand on a page, and the next ones on the next."""
    for number in range(21):
        await lifecycle.add_owner(store, f"one of many, {number}")
    root = Pages(await browse())
    await root.sign_in(SUPERUSER, PASSWORD)
    await root.open("/settings/users")
    await expect(root.page.get_by_role("rowheader")).to_have_count(20)
    first = await root.page.get_by_role("rowheader").all_inner_texts()
    await root.link("Next").click()
    await expect(root.page.get_by_text(re.compile("^21"))).to_be_visible()
    second = await root.page.get_by_role("rowheader").all_inner_texts()
    assert not set(first) & set(second)
    await root.link("Previous").click()
    await expect(root.page.get_by_text(re.compile("^1.20 of"))).to_be_visible()


async def test_with_auto_login_nobody_is_asked(browse, auto):
    """Whoever comes is the superuser, at what they came for, without a form; there is no way to sign out."""
    pages = Pages(await browse(auto.url))
    await pages.open("/settings/variables")
    await expect(pages.heading("Global Variables")).to_be_visible()
    assert pages.page.url == f"{auto.url}/settings/variables"
    await pages.open_menu()
    await expect(pages.page.locator(".menu")).to_contain_text("superuser")
    await expect(pages.button("Sign out")).to_have_count(0)
    await pages.open("/")
    await expect(pages.link("Sample flow").or_(pages.page.get_by_text("no flows yet"))).to_be_visible()


async def test_with_auto_login_programs_need_a_key(browse, auto):
    """The browser's session is no key: a program without one is refused, and with the one that the page made is not."""
    pages = Pages(await browse(auto.url))
    await pages.open("/settings/api-keys/")
    await pages.keys.create("laptop")
    key = await pages.keys.copy()
    with auto.client() as client:
        path = "/api/v1/users/whoami"
        assert client.get(path).status_code == 403
        assert client.get(path, headers={"x-api-key": key}).json()["username"] == SUPERUSER
        assert client.get(path, params={"x-api-key": key}).json()["username"] == SUPERUSER


FOREIGN = """<!doctype html><title>Elsewhere</title>
<form method="post" action="{action}"><input name="public" value="yes"><button>Win a prize</button></form>"""


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:9", "http://localhost:9", "http://elsewhere.example"])
async def test_another_sites_form_is_refused(elsewhere, chromium, server, people):
    """A form of another origin changes nothing: on another port of the same host, where the cookie goes along, too."""
    ada = await people()
    async with somebody(chromium, server.url) as context:
        pages = Pages(await context.new_page())
        await pages.enter(ada)
        flow_id = await pages.add_sample()
        form = FOREIGN.format(action=f"{server.url}/flows/{flow_id}/public")
        await context.route(f"{elsewhere}/", lambda route: route.fulfill(body=form, content_type="text/html"))
        await pages.open(f"{elsewhere}/")
        async with pages.page.expect_response(f"{server.url}/**") as answered:
            await pages.button("Win a prize").click()
        assert (await answered.value).status == 403
        await expect(pages.heading("Forbidden")).to_be_visible()
        await pages.open(f"/flows/{flow_id}")
        await expect(pages.page.get_by_text("This flow is private")).to_be_visible()
