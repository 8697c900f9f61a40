"""The Langflow-style server with two workers, in the place of the key page's own app; the browser is the same.

Whatever is said here in other words than in the folder above is said for these tests alone: where the server is, and
where people are kept.
"""

import asyncio

import pytest
import pytest_asyncio
from browser.chromium import somebody
from browser.langflow.pages import Pages
from browser.langflow.samples import fill
from langflow_serving import serving

from keyguard import Keyring
from keyguard.stores.sql import SQLStore

for_all = pytest_asyncio.fixture(scope="session", loop_scope="session")
for_each = pytest_asyncio.fixture(loop_scope="session")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Two workers, with AUTO_LOGIN off."""
    with serving(tmp_path_factory.mktemp("langflow"), workers=2) as running:
        yield running


@pytest.fixture(scope="session")
def auto(tmp_path_factory):
    """Another server, with AUTO_LOGIN on."""
    with serving(tmp_path_factory.mktemp("langflow-auto"), LANGFLOW_AUTO_LOGIN="true") as running:
        yield running


@pytest.fixture(scope="session")
def url(server):
    return server.url


@for_all
async def store(server):
    """The server's own store, in this process: somebody else who changes what the pages show."""
    store = SQLStore(f"sqlite+aiosqlite:///{server.directory}/config/langflow.db", keyring=Keyring(prefix="lf"))
    yield store
    await store.close()


@for_each
async def pages(browse, people):
    """The pages of somebody who has signed in and has nothing yet."""
    pages = Pages(await browse())
    await pages.enter(await people())
    return pages


@for_all
async def samples(server):
    return await asyncio.to_thread(fill, server)


@for_all
async def signed_in(samples, chromium, url):
    """A function that gives the cookies of a sample person, who signs in once."""
    known = {"nobody": None}

    async def cookies_of(who):
        if who not in known:
            async with somebody(chromium, url) as context:
                await Pages(await context.new_page()).enter(getattr(samples, who))
                known[who] = await context.storage_state()
        return known[who]

    return cookies_of
