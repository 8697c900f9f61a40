"""An app with the key page, its owners, and browsers that visit it."""

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from urllib.parse import urlsplit

import httpx2
import pytest
from key_page_api import Api
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from keyguard import KeyGuard, Owner, Policy, lifecycle
from keyguard.admin import KeyAdmin, with_key_page
from keyguard.hashing import Passwords
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import FrozenClock

ORIGIN = "http://keys.test"
PASSWORD = "correct horse battery staple"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Browser:
    """A client that keeps cookies, and says as a browser does where a form comes from."""

    def __init__(self, app, *, mount="/keys", origin=ORIGIN, address="192.0.2.7"):
        transport = httpx2.ASGITransport(app=app, client=(address, 50_000))
        self.client = httpx2.AsyncClient(transport=transport, base_url=origin)
        self.mount = mount
        self.origin = origin
        self.csrf = ""

    async def get(self, path="/", **more):
        """Ask for a page, and remember the token that its forms have."""
        return self._seen(await self.client.get(f"{self.mount}{path}", **more))

    async def post(self, path, data=None, *, csrf=None, headers=None, **more):
        """Send a form, with the token that was seen last."""
        sent = {"csrf": self.csrf if csrf is None else csrf} | dict(data or {})
        headers = {"origin": self.origin} | dict(headers or {})
        return self._seen(await self.client.post(f"{self.mount}{path}", data=sent, headers=headers, **more))

    async def follow(self, answer):
        """Go where an answer leads to."""
        return self._seen(await self.client.get(answer.headers["location"]))

    async def api(self, method, path, *, json=None, headers=None, **more):
        """Ask the API as a front end does: with the token, from a page of this origin."""
        headers = {"origin": self.origin, "x-csrf-token": self.csrf} | dict(headers or {})
        return await self.client.request(method, f"{self.mount}/api{path}", json=json, headers=headers, **more)

    async def sign_in(self, name, password=PASSWORD):
        await self.get("/sign-in")
        answer = await self.post("/sign-in", {"name": name, "password": password})
        if answer.status_code == 303:
            await self.get("/no-such-page")  # Any will do: it brings the token of the new session.
        return answer

    def cookie(self, name):
        """The value of a cookie whose name begins with `name`."""
        return next((each.value for each in self.client.cookies.jar if each.name.startswith(name)), None)

    def _seen(self, answer):
        if found := CSRF.search(answer.text):
            self.csrf = found[1]
        return answer


@dataclass
class People:
    """Who has keys: two owners and a superuser, all with the same password."""

    ada: object
    bob: object
    root: object


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    store = MemoryStore()
    if request.param == "sqlite":
        store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db")
        await store.create_schema()
    await store.open()
    yield store
    await store.close()


@cache
def verifier():
    """What `PASSWORD` is verified against, made once: it takes its time."""
    return Passwords().hash(PASSWORD.encode())


@pytest.fixture
def people_of(clock):
    """Add the owners of keys to a store, all of them with the same password."""

    async def add(store):
        people = People(
            ada=Owner(id="ada-id", name="ada"),
            bob=Owner(id="bob-id", name="bob"),
            root=Owner(id="root-id", name="root", is_superuser=True),
        )
        for owner in (people.ada, people.bob, people.root):
            await store.add_owner(owner, created_at=clock(), password=verifier())
        return people

    return add


@pytest.fixture
async def people(store, people_of):
    """The owners of keys."""
    return await people_of(store)


async def whoami(request):
    user = request.user
    return JSONResponse({"user": user.name, "by": request.scope["keyguard"].rule.name})


@pytest.fixture
def make_app(store, clock):
    """Make an app with the key page at /keys behind a guard; arguments go to `KeyAdmin`, `policy` to the guard."""

    def make(*, guard_policy=None, guard_arguments=None, path="/keys", **arguments):
        arguments = {"clock": clock, "lifetimes": (timedelta(days=7), timedelta(days=30)), **arguments}
        page = KeyAdmin(store, **arguments)
        app = Starlette(routes=[Route("/whoami", whoami), Mount(path, app=page)])
        policy = with_key_page(guard_policy or Policy(), path)
        return KeyGuard(app, store=store, policy=policy, clock=clock, **(guard_arguments or {}))

    return make


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
async def browse(app):
    """Give browsers that visit `app`, or another one."""
    browsers = []

    def make(visited=None, **more):
        browsers.append(Browser(visited or app, **more))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.client.aclose()


@pytest.fixture
async def browser(browse):
    """A browser in which nobody has signed in."""
    return browse()


@pytest.fixture
async def signed_in(browse, people, store, clock):
    """Give browsers in which an owner has signed in, as if by the form but without its slow hash."""

    async def make(name="ada", visited=None, **more):
        new = browse(visited, **more)
        await new.get("/sign-in")
        begun = await lifecycle.start_session(store, getattr(people, name), clock=clock)
        (suffix,) = (each.name.rpartition("_")[2] for each in new.client.cookies.jar)
        domain = urlsplit(new.origin).hostname
        new.client.cookies.set(f"keyguard_session_{suffix}", begun.token, domain=domain, path=new.mount)
        await new.get("/no-such-page")  # Any will do: it brings the token of the session.
        return new

    return make


@pytest.fixture
def issue(store, people, clock):
    """Issue keys to owners, to ada where nobody is named, now or some time ago."""

    async def make(name="", *, owner=None, ago=timedelta(0), **more):
        owner = owner or people.ada
        born = clock() - ago
        return (await lifecycle.issue(store, owner, name=name, actor=owner, clock=lambda: born, **more)).record

    return make


# --- clients of the API -----------------------------------------------------------------------------------------


@pytest.fixture
def api_of(browse, store, people, clock):
    """Make clients of the API for an owner, of the app or of another one."""

    async def make(name, visited=None, **more):
        return await Api.signed_in(browse(visited, **more), store, getattr(people, name), clock)

    return make


@pytest.fixture
async def ada(api_of):
    return await api_of("ada")


@pytest.fixture
async def bob(api_of):
    return await api_of("bob")


@pytest.fixture
async def root(api_of):
    return await api_of("root")


@pytest.fixture
async def nobody(browse, people):
    return await Api.of(browse())
