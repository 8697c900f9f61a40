"""The way that both documents tell: settings, a new key, copied, a flow that is run with it, and the key's end."""

import json
import shlex

import pytest
from browser.langflow.pages import Pages
from leaks import WATCH
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


def sent(client, command):
    """Send what a curl command says, as far as ours say anything."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["curl", "-X", "POST"]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    return client.post(words[3], headers=headers, content=words[words.index("-d") + 1])


def statuses(server, command):
    """What each of the two workers answers to a command."""
    with server.each_worker() as workers:
        return [sent(client, command).status_code for client in workers.values()]


async def test_a_key_is_made_used_and_deleted(pages, server):
    """Settings, Langflow API Keys, Add new, a name, Create API key, copy: it runs a flow until it is deleted, at once.

    It does so by header and by query, and both workers refuse it as soon as the page says that it is deleted.
    """
    page = pages.page
    flow_id = await pages.add_sample()
    commands = [await pages.copy("HTTP header"), await pages.copy("Query parameter")]
    assert all(f"{server.url}/api/v1/run/{flow_id}" in command for command in commands)
    assert all("LANGFLOW_API_KEY" in command for command in commands)
    assert statuses(server, commands[0]) == [403, 403]  # As it stands there, it holds no key.

    await pages.settings("Langflow API Keys")
    await pages.link("Add new").click()
    await page.get_by_label("Name").fill("laptop")
    await pages.button("Create API key").click()
    await expect(pages.heading("Copy your key")).to_be_visible()
    await page.wait_for_load_state()
    key = await pages.keys.copy()
    with_key = [command.replace("LANGFLOW_API_KEY", key) for command in commands]

    with server.client() as client:
        answers = [sent(client, command) for command in with_key]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("Hello" in json.dumps(answer.json()["outputs"]) for answer in answers)
    assert [statuses(server, command) for command in with_key] == [[200, 200], [200, 200]]

    await pages.link("Done").click()
    await pages.keys.delete("laptop")
    assert [statuses(server, command) for command in with_key] == [[403, 403], [403, 403]]


async def test_the_key_page_leads_back(pages):
    """The key page has the app's colours and links, and is signed in to by the app's session."""
    page = pages.page
    await pages.open("/settings/api-keys/")
    accent = "getComputedStyle(document.documentElement).getPropertyValue('--accent').trim()"
    theirs = await page.evaluate(accent)
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Flows").click()
    await expect(pages.heading("Flows")).to_be_visible()
    assert await page.evaluate(accent) == theirs == "#6d28d9"


async def test_a_flow_is_run_in_the_page(pages):
    """The text that is sent comes back as the flow has it, and markup in it is text."""
    await pages.add_sample()
    text = "<b>bold</b> & <script>alert(1)</script>\nsecond line"
    assert await pages.run(text) == f'Hello from your first flow! You wrote: "{text}"'
    await expect(pages.page.get_by_label("Text")).to_have_value(text)


async def test_a_flow_that_cannot_run_says_why(browse, samples, signed_in):
    """What went wrong is a sentence on the page, which keeps what was typed; the status says so as well."""
    pages = Pages(await browse(storage_state=await signed_in("ada")))
    await pages.open(f"/flows/{samples.flows['Ask a model']}")
    await pages.page.get_by_label("Text").fill("What is a flow?")
    async with pages.page.expect_response("**/run") as answered:
        await pages.button("Run").click()
    assert (await answered.value).status == 400
    await pages.told("OPENAI_API_KEY")
    await expect(pages.page.get_by_label("Text")).to_have_value("What is a flow?")


async def test_a_public_flow_is_a_tool_until_it_is_private(pages, server):
    """The page says who can run a public flow, and MCP clients find it for as long as it is one."""
    flow_id = await pages.add_sample()
    for button, said, is_there in (("Make it public", "public now", True), ("Make it private", "private again", False)):
        await pages.button(button).click()
        await pages.told(said)
        with server.client() as client:
            found = client.post(
                "/api/v1/mcp",
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
                headers={"accept": "application/json, text/event-stream"},
            )
        assert found.status_code == 200
        assert (flow_id.replace("-", "") in found.text) is is_there


async def test_a_credential_goes_in_and_never_out(pages):
    """A Credential is added, given another value and deleted, and no page shows either value."""
    page, secrets = pages.page, ("sk-first-secret-4711", "sk-other-secret-0815")
    for secret in secrets:
        WATCH.key(secret)
    await pages.settings("Global Variables")
    await pages.link("Add new").click()
    await page.get_by_label("Name").fill("OPENAI_API_KEY")
    await page.get_by_label("Value").fill(f"  {secrets[0]}\n")
    await page.get_by_label("OpenAI API Key").check()
    await pages.button("Add variable").click()
    await pages.told("added")
    await expect(pages.row("OPENAI_API_KEY")).to_contain_text("never shown")
    seen = await page.content()
    await pages.link("OPENAI_API_KEY").click()
    await expect(page.get_by_label("New value")).to_have_value("")
    await expect(page.get_by_label("OpenAI API Key")).to_be_checked()
    seen += await page.content()
    await page.get_by_label("New value").fill(secrets[1])
    await pages.button("Save").click()
    await pages.told("changed")
    seen += await page.content()
    assert not any(secret in seen for secret in secrets)
    await pages.link("OPENAI_API_KEY").click()
    await pages.link("Delete…").click()
    await expect(pages.heading("Delete the variable “OPENAI_API_KEY”?")).to_be_visible()
    await pages.button("Delete variable").click()
    await pages.told("deleted")
    await expect(page.get_by_text("You have no variables yet")).to_be_visible()


async def test_a_generic_variable_is_shown_and_changed(pages):
    """A Generic variable's value stands in the list and in its form, with its lines."""
    page = pages.page
    await pages.open("/settings/variables/new")
    await page.get_by_label("Name").fill("GREETING")
    await page.get_by_label("Generic").check()
    await page.get_by_label("Value").fill("Hello\nthere")
    await pages.button("Add variable").click()
    await pages.told("added")
    await expect(pages.row("GREETING")).to_contain_text("Hello there")
    await pages.link("GREETING").click()
    await expect(page.get_by_label("Value")).to_have_value("Hello\nthere")
    await page.get_by_label("Value").fill("Good morning")
    await pages.button("Save").click()
    await pages.told("changed")
    await expect(pages.row("GREETING")).to_contain_text("Good morning")
