"""Users of the Langflow-style server, their sessions and their keys: each test makes its own."""

import asyncio
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from langflow_serving import PASSWORD, SUPERUSER, Running
from leaks import WATCH
from starlette.testclient import TestClient

from langflow_server.app import create_app
from langflow_server.server import Server
from langflow_server.settings import Settings
from langflow_server.start import prepare

API = "/api/v1"
COOKIE = "access_token_lf"
JSON = {"content-type": "application/json"}
"""The header of a body that is written by hand."""


@dataclass(frozen=True)
class User:
    """A user of a running server."""

    server: Running
    id: str
    name: str
    password: str

    @cached_property
    def session(self):
        """The header of a session of theirs, which begins when it is first asked for."""
        return session_of(self.server, self.name, self.password)


def sign_in(server, name, password):
    """The answer to a name and a password; no cookie is kept."""
    with server.client() as client:
        return client.post(f"{API}/login", data={"username": name, "password": password})


def session_of(server, name, password):
    """The header of a new session."""
    answer = sign_in(server, name, password)
    assert answer.status_code == 200, answer.text
    return bearer(answer.json()["access_token"])


def bearer(token):
    WATCH.key(token)
    return {"authorization": f"Bearer {token}"}


_SUPERUSERS = {}


def superuser(server):
    """The header of the superuser's session, the same one for all tests."""
    if server.url not in _SUPERUSERS:
        _SUPERUSERS[server.url] = session_of(server, SUPERUSER, PASSWORD)
    return _SUPERUSERS[server.url]


def call(server, method, path, headers=None, **more):
    """The answer to one request below the API, of whichever worker."""
    with server.client() as client:
        return client.request(method, f"{API}{path}", headers=headers or {}, **more)


def add_user(server, **members):
    """Add a user of a name and a password that nobody has."""
    new = {"username": f"user-{secrets.token_hex(6)}", "password": secrets.token_urlsafe(16), **members}
    answer = call(server, "POST", "/users/", superuser(server), json=new)
    assert answer.status_code == 201, answer.text
    return User(server, answer.json()["id"], new["username"], new["password"])


def add_key(server, user, **members):
    """Make a key of a user's; return what the server says of it, the whole key in `api_key`."""
    answer = call(server, "POST", "/api_key/", user.session, json=members)
    assert answer.status_code == 200, answer.text
    WATCH.key(answer.json()["api_key"])
    return answer.json()


def by_key(key):
    """The header that brings a key."""
    return {"x-api-key": key["api_key"]}


def as_cookie(session):
    """The header that brings a session as a browser does, made from the one that brings it as a program does."""
    return {"cookie": f"{COOKIE}={session['authorization'].removeprefix('Bearer ')}"}


def whoami(client, headers):
    """The answer to the question who one is, of the worker that a client is connected to."""
    return client.get(f"{API}/users/whoami", headers=headers)


@contextmanager
def refused_by_the_other(server, headers, *, status=403):
    """See to it that both workers know the caller, that one of them is asked for a change, and the other one refuses.

    Gives the client of the worker that is asked, which keeps no cookie of it.
    """
    with server.each_worker() as clients:
        asked, other = clients.values()
        for client in (asked, other):
            assert whoami(client, headers).status_code == 200
        yield asked
        answer = whoami(other, headers)
        assert answer.status_code == status, answer.text
        assert whoami(asked, headers).status_code == status


@contextmanager
def in_this_process(tmp_path, **settings):
    """A client of an app over SQLite, and what runs an action over the same data: `do(lambda server, root: ...)`."""
    given = {"config_dir": tmp_path / "config", "superuser": SUPERUSER, "superuser_password": PASSWORD}
    known = Settings(**given | settings)
    root = asyncio.run(prepare(known)).superuser

    async def over_the_same(action):
        server = Server(known)
        async with server.opened():
            return await action(server, root)

    with TestClient(create_app(known), base_url="http://localhost") as client:
        yield client, lambda action: asyncio.run(over_the_same(action))
