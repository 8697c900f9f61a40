"""The server as a process of its own, on SQLite and on PostgreSQL.

One server for each database is shared by the tests of a process: they make users of their own, and change no setting.
"""

import pytest
from langflow_accounts import add_key, add_user, by_key
from langflow_flows import add_flow, template, unique
from langflow_provider import providing
from langflow_serving import serving

from keyguard import lifecycle
from langflow_server.server import Server
from langflow_server.settings import Settings
from langflow_server.start import prepare


@pytest.fixture(scope="session")
def openai():
    """What `server` takes for OpenAI."""
    with providing() as provider:
        yield provider


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def server(request, tmp_path_factory, openai):
    """Two workers over one database, with AUTO_LOGIN off."""
    settings = {"OPENAI_BASE_URL": openai.url}
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        settings["LANGFLOW_DATABASE_URL"] = postgres.url(postgres.create_database())
    with serving(tmp_path_factory.mktemp(f"langflow-{request.param}"), workers=2, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def user(server):
    """A user to whom nothing happens, but that keys, flows and the like are added."""
    return add_user(server)


@pytest.fixture(scope="module")
def key(server, user):
    """The header with that user's key."""
    return by_key(add_key(server, user))


@pytest.fixture(scope="module")
def echo(server, user):
    """A flow that answers with the text that it is sent, in brackets."""
    return add_flow(server, user, template("[{text}]"), endpoint_name=unique("echo"))


@pytest.fixture
async def opened(tmp_path):
    """A server's parts, open in this process, and the id of a user."""
    settings = Settings(config_dir=tmp_path)
    await prepare(settings)
    server = Server(settings)
    async with server.opened():
        yield server, (await lifecycle.add_owner(server.store, "ada")).id
