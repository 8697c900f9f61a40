"""The server as a process of its own, on SQLite and on PostgreSQL.

One server for each database is shared by the tests of a process: they make users of their own, and change no setting.
"""

import pytest
from langflow_serving import serving


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def server(request, tmp_path_factory):
    """Two workers over one database, with AUTO_LOGIN off."""
    settings = {}
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        settings["LANGFLOW_DATABASE_URL"] = postgres.url(postgres.create_database())
    with serving(tmp_path_factory.mktemp(f"langflow-{request.param}"), workers=2, **settings) as running:
        yield running
