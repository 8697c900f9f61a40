"""A key's whole life, as a person leads it in a browser and a program on two workers meets it."""

import asyncio
import json
import re
import shlex
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from browser.keypage import KeyPage, called
from browser.proxy import below
from playwright.async_api import expect
from servers.wire import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_key_is_made_copied_used_rotated_and_deleted(browse, people, workers, url):
    """What the page shows is what happens: each step is true on both workers before the page says that it is done."""
    ada, page = await people("ada"), await browse()
    keys = KeyPage(page)
    await keys.enter(ada)
    await expect(page.get_by_text("You have no keys yet")).to_be_visible()

    # Create, copy, call.
    old = await keys.create_and_copy("laptop")
    assert workers.call(old) == [200, 200]

    # Rotate with a grace: both keys work.
    await keys.link("Rotate…").click()
    await page.get_by_role("radio", name=re.compile("1 hour")).check()
    await keys.button("Rotate key").click()
    await expect(keys.heading("Copy your key")).to_be_visible()
    new = await keys.copy()
    assert new != old
    assert workers.call(old) == [200, 200]
    assert workers.call(new) == [200, 200]

    # End the grace: the old one is refused.
    await keys.open()
    await page.get_by_role("link", name=re.compile(re.escape(old[:7]))).click()
    await expect(page.get_by_text("grace until")).to_be_visible()
    await keys.button("End grace now").click()
    await keys.told("grace")
    assert workers.call(old) == [401, 401]
    assert workers.call(new) == [200, 200]

    # Delete several, after a confirmation that names them.
    others = {name: await keys.create_and_copy(name) for name in ("backup", "telephone", "server")}
    await keys.select("backup", "telephone")
    await keys.button("Delete").click()
    await expect(keys.heading("Delete these 2 keys?")).to_be_visible()
    named = page.get_by_role("main").get_by_role("listitem")
    await expect(named.filter(has_text=called("backup"))).to_be_visible()
    await expect(named.filter(has_text=called("telephone"))).to_be_visible()
    await expect(named.filter(has_text=called("server"))).to_have_count(0)
    assert workers.call(others["backup"]) == [200, 200]
    assert workers.call(others["telephone"]) == [200, 200]
    await keys.button("Delete 2 keys").click()
    await keys.told(called("backup"))
    assert workers.call(others["backup"]) == [401, 401]
    assert workers.call(others["telephone"]) == [401, 401]
    assert workers.call(others["server"]) == [200, 200]
    await expect(keys.row("backup")).to_have_count(0)
    await expect(keys.row("server")).to_be_visible()


async def test_the_commands_that_are_shown_call_the_app(browse, people, server, url):
    """Each command calls the app's own URL with the new key, once by header and once by query."""
    keys = KeyPage(await browse())
    await keys.enter(await people())
    await keys.create("tried at once")
    key = await keys.copy()
    answers = []
    for button in await keys.button(re.compile("Copy the command")).all():
        arguments = shlex.split(await keys.copy_by(button))
        assert arguments[0] == "curl"
        assert any(key in argument for argument in arguments)
        (address,) = [argument for argument in arguments if argument.startswith("http")]
        fields = [value for name, value in pairwise(arguments) if name in {"-H", "--header"}]
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == url
        answers.append((bool(fields), ask(server.port, f"{parts.path}?{parts.query}".rstrip("?"), *fields).status))
    assert sorted(answers) == [(False, 200), (True, 200)]


async def test_disabling_and_renaming_take_effect_at_once(browse, people, workers):
    """A disabled key is refused until it is enabled again, and a new name is in the list."""
    page = await browse()
    keys = KeyPage(page)
    await keys.enter(await people())
    key = await keys.create_and_copy("toaster")
    await keys.button("Disable").click()
    await keys.told("disabled")
    assert workers.call(key) == [401, 401]
    await keys.button("Enable").click()
    await keys.told("enabled")
    assert workers.call(key) == [200, 200]
    await page.get_by_label("Rename").fill("kettle")
    await keys.button("Save name").click()
    await expect(keys.heading(called("kettle"))).to_be_visible()
    await keys.open()
    await expect(keys.row("kettle")).to_be_visible()


async def test_a_name_is_shown_as_it_was_written(browse, people):
    """Markup in a key's name, which is anybody's text, is text on every page."""
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    page = await browse()
    keys = KeyPage(page)
    await keys.enter(await people())
    await keys.create(name)
    await keys.copy()
    await keys.link("Done").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    await keys.open()
    await expect(page.get_by_role("link", name="onerror=alert(1)")).to_be_visible()
    assert await page.locator("table img, table script").count() == 0


@pytest_asyncio.fixture(loop_scope="session", params=["a proxy's prefix", "a mount in a mount"])
async def rooted(request, served):
    """The app below `/base`: where it is, and what has the port that it listens on."""
    if request.param == "a proxy's prefix":
        with served("httptools", root="/base", ROOT="/base") as server:
            async with below("/base", server.port) as port:
                yield port
    else:
        with served("httptools", BELOW="/base") as server:
            yield server.port


async def test_the_page_works_below_a_prefix(rooted, browse, people):
    """Links, forms, cookies, files and commands know where the page is, behind a proxy and in another app."""
    page = await browse(base := f"http://127.0.0.1:{rooted}")
    keys = KeyPage(page, "/base")
    await keys.enter(await people())
    key = await keys.create_and_copy("abroad")
    # In a thread, because the proxy runs in this one.
    reply = await asyncio.to_thread(ask, rooted, "/base/work", f"X-API-Key: {key}")
    assert (reply.status, set(json.loads(reply.body))) == (200, {"pid", "as"})
    await keys.link("Rotate…").click()
    await page.get_by_role("radio", name=re.compile("1 hour")).check()
    await keys.button("Rotate key").click()
    command = shlex.split(await keys.copy_by(keys.button(re.compile("Copy the command")).first))
    assert any(argument.startswith(f"{base}/base/work") for argument in command)
    await keys.create_and_copy("of no use")
    await keys.delete("of no use")
    assert {cookie["path"] for cookie in await page.context.cookies()} == {"/base/keys"}
    await keys.sign_out()
    assert page.url.startswith(f"{base}/base/keys/sign-in")
