"""What the other tests stand on: that trouble would be noticed."""

import pytest
from browser.axe import violations
from browser.chromium import Trouble

pytestmark = pytest.mark.asyncio(loop_scope="session")

BAD = """<!doctype html><html><head><meta http-equiv="Content-Security-Policy" content="default-src 'none'"></head>
<body><p style="color: red">red</p><font color="#cccccc">pale</font><script>late()</script><input></body></html>"""


async def test_axe_finds_what_is_wrong(chromium, axe_core):
    """A page with pale words, and without a title, a language and a label is told about."""
    async with await chromium.new_context() as context:
        page = await context.new_page()
        await page.set_content(BAD)
        found = " ".join(await violations(page, axe_core))
        colours = await violations(page, axe_core, only_colours=True)
    assert all(rule in found for rule in ("color-contrast", "document-title", "html-has-lang", "label "))
    assert [line.partition(" ")[0] for line in colours] == ["color-contrast"]


async def test_a_browser_tells_what_goes_wrong_in_it(chromium):
    """A violation of the policy, an error of a script and a request to another host are noticed."""
    trouble = Trouble("http://127.0.0.1:1")
    async with await chromium.new_context() as context:
        await trouble.watch(context)
        page = await context.new_page()
        await context.route("**/*", lambda route: route.fulfill(body=BAD, content_type="text/html"))
        await page.goto("http://other.example/")
        async with context.expect_event("weberror"):
            await page.evaluate("setTimeout(() => { throw new Error('a script fails') })")
    told = "\n".join(trouble.found)
    assert "violates the policy: style-src-attr inline" in told
    assert "violates the policy: script-src-elem inline" in told
    assert "script error: a script fails" in told
    assert "a request to another host: http://other.example/" in told
