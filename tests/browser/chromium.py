"""The machine's own Chromium, driven by Playwright, and a record of whatever goes wrong in it.

Where there is none, the tests that need it are skipped; with KEYGUARD_REQUIRE_CHROMIUM=1 they fail instead.
"""

import os
import shutil
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import async_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--no-sandbox",  # It opens nothing but our own pages, and root may not have one.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",  # Screenshots are the same on every machine that has the same fonts.
)

PATIENCE = 15_000
"""Milliseconds that a busy machine may take for what a page does; reaching it is a failure."""

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`violates the policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


class Missing(Exception):
    """There is no Chromium here, or not what is run in it; the message says what was looked for."""


def is_required():
    """Tell whether a test is to fail where it would be skipped."""
    return os.environ.get("KEYGUARD_REQUIRE_CHROMIUM") == "1"


def program():
    """Return the path of the first Chromium in PATH. Raises `Missing`."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    raise Missing(f"none of {', '.join(PROGRAMS)} is in PATH")


@asynccontextmanager
async def launched():
    """Start the browser, without a window; stop it in the end. Raises `Missing`."""
    path = program()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def somebody(browser, url, **options):
    """Open a browser of somebody's own, who may use the clipboard; give its context."""
    settings = {"viewport": WIDE, "locale": "en-GB", "timezone_id": "UTC", "base_url": url} | options
    async with await browser.new_context(**settings) as context:
        context.set_default_timeout(PATIENCE)
        await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        yield context


class Trouble:
    """What a browser complains of, and what it asks other hosts for: nothing of it may ever happen on a key page."""

    def __init__(self, url):
        self._host = urlsplit(url).netloc
        self.found = []

    async def watch(self, context):
        """Look at every page of a context, from now on."""
        await context.add_init_script(_TELL_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"script error: {error.error}"))
        context.on("request", self._request)

    def _console(self, message):
        # A page that answers 401 or 404 is logged as an error too, and is none.
        is_status = message.text.startswith("Failed to load resource: the server responded with a status of")
        if message.type in {"error", "warning"} and not (is_status and _is_page(message)):
            self.found.append(f"console, {message.type}: {message.text}")

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in {"about", "blob", "data"} and parts.netloc != self._host:
            self.found.append(f"a request to another host: {request.url}")


def _is_page(message):
    """Tell whether a message speaks of the page itself, and not of something that the page asks for."""
    return message.page is not None and message.location["url"].split("#")[0] == message.page.url.split("#")[0]
