"""The server as a process of its own, on SQLite and on PostgreSQL.

One server for each database is shared by the tests of a process: they make users of their own, and change no setting.
"""

import pytest
from langflow_provider import providing
from langflow_serving import serving


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
