"""One browser, one server with two workers and one store for all tests; each test has people of its own."""

import itertools
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from browser import axe
from browser.chromium import PATIENCE, Missing, Trouble, is_required, launched, program, somebody
from browser.keypage import KeyPage
from browser.samples import PASSWORD, fill
from browser.workers import callers
from leaks import WATCH
from playwright.async_api import expect
from servers.harness import running

from keyguard import Owner, lifecycle
from keyguard.clock import utc_now
from keyguard.stores.sql import SQLStore

# A browser is driven from one event loop, and so all that is asynchronous here runs in that of the session.
for_all = pytest_asyncio.fixture(scope="session", loop_scope="session")
for_each = pytest_asyncio.fixture(loop_scope="session")

expect.set_options(timeout=PATIENCE)

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in."""

    owner: Owner
    password: str

    @property
    def name(self):
        return self.owner.name


def _there(find):
    """Return what `find` finds, or skip the test, or fail where it must not be skipped."""
    try:
        return find()
    except Missing as missing:
        if is_required():
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@for_all
async def chromium():
    _there(program)
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def axe_core():
    """The script that finds what keeps people out."""
    return _there(axe.source)


@for_all
async def database(tmp_path_factory):
    """The URL of the store that all share."""
    url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('browser') / 'keys.db'}"
    store = SQLStore(url)
    await store.create_schema()
    await store.close()
    return url


@pytest.fixture(scope="session")
def served(database, tmp_path_factory):
    """A function that starts the app in another way, for those who want it mounted elsewhere."""
    folder = tmp_path_factory.mktemp("served")

    @contextmanager
    def start(kind, *, root="", **environment):
        environment["DATABASE"] = database
        with running(kind, "browser.app:app", folder, root=root, environment=environment) as server:
            yield server.wait_until_it_answers()
        WATCH.see("the log of a server that browsers used", server.log)

    return start


@pytest.fixture(scope="session")
def server(served):
    """The app, in two processes that listen on one port."""
    with served("workers") as server:
        yield server


@pytest.fixture(scope="session")
def url(server):
    """Where the app is."""
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def workers(server):
    """Programs that call the app, over a connection to each of its two processes."""
    with callers(server) as made:
        yield made


@for_all
async def store(database):
    """The same store, in this process: somebody else who changes what the page shows."""
    store = SQLStore(database)
    yield store
    await store.close()


@for_each
async def people(store):
    """A function that adds an owner with a password, under a name that nobody else has."""

    async def add(name="ada", *, is_superuser=False):
        password = f"the password of {name}"
        unique = f"{name}-{next(_NUMBERS)}"
        owner = await lifecycle.add_owner(store, unique, is_superuser=is_superuser, password=password)
        return Person(owner, password)

    return add


@for_each
async def browse(chromium, url):
    """A function that opens a browser of somebody's own and gives its first page; it never may complain of anything.

    Other hosts are never asked, no script fails and nothing violates the page's own policy, whatever the test does.
    """
    async with AsyncExitStack() as stack:
        troubles = []

        async def open_one(base=url, **options):
            context = await stack.enter_async_context(somebody(chromium, base, **options))
            troubles.append(trouble := Trouble(base))
            await trouble.watch(context)
            return await context.new_page()

        yield open_one
    assert [found for trouble in troubles for found in trouble.found] == []


@for_each
async def keys(browse, people):
    """The key page of somebody who has signed in and has no keys yet."""
    keys = KeyPage(await browse())
    await keys.enter(await people())
    return keys


@for_all
async def samples(store):
    """People and keys in every state, which no test changes for good."""
    return await fill(store, utc_now(), suffix=" the sample")


@for_all
async def signed_in(samples, chromium, url):
    """A function that gives the cookies of a sample person, who signs in once."""
    known = {"nobody": None}

    async def cookies_of(who):
        if who not in known:
            async with somebody(chromium, url) as context:
                await KeyPage(await context.new_page()).sign_in(getattr(samples, who).name, PASSWORD)
                known[who] = await context.storage_state()
        return known[who]

    return cookies_of
