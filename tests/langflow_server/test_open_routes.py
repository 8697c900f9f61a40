"""Which of the server's routes ask for nobody: what `keyguard check langflow_server.app:create_app --factory` lists."""

import os

import pytest

from keyguard.routes import Concern, Level, Standing, survey
from langflow_server.app import create_app
from langflow_server.guard import KEY_PAGE
from langflow_server.settings import load

EXEMPT = {
    "GET /health",
    "GET /api/v1/version",
    "GET /api/v1/config",
    "POST /api/v1/login",
    "GET /api/v1/auto_login",
    # Open in every setting, as the document has it; the same without /api, as it writes them.
    "DELETE GET POST /api/v1/mcp",
    "DELETE GET POST /api/v1/mcp/{rest:path}",
    "DELETE GET POST /api/v1/mcp-projects",
    "DELETE GET POST /api/v1/mcp-projects/{rest:path}",
    "DELETE GET POST /api/v2/mcp",
    "DELETE GET POST /api/v2/mcp/{rest:path}",
    "DELETE GET POST /v1/mcp",
    "DELETE GET POST /v1/mcp/{rest:path}",
    "DELETE GET POST /v1/mcp-projects",
    "DELETE GET POST /v1/mcp-projects/{rest:path}",
    "DELETE GET POST /v2/mcp",
    "DELETE GET POST /v2/mcp/{rest:path}",
}
PAGES_EXEMPT = {
    "GET /sign-in",
    "POST /sign-in",
    "GET HEAD /assets/{path:path}",
    f"GET HEAD {KEY_PAGE}/sign-in",
    f"GET HEAD {KEY_PAGE}/assets/{{name}}",
}
PAGES_OPTIONAL = f"{KEY_PAGE}/"
"""The key page asks for itself who visits it."""


@pytest.fixture(params=[False, True], ids=["with pages", "backend only"])
def found(request, tmp_path):
    """What there is to say of the server as it is by default, with pages and without."""
    told = {"LANGFLOW_CONFIG_DIR": str(tmp_path), "LANGFLOW_BACKEND_ONLY": str(request.param)}
    return survey(create_app(load(told, env_file=os.devnull))), not request.param


def test_what_is_open_was_meant_to_be(found):
    """The exempt routes are those of the table, the optional ones are the key page's, and all others ask for a key."""
    seen, has_pages = found
    exempt = {said(route) for route in seen.routes if route.standing is Standing.EXEMPT}
    assert exempt == EXEMPT | (PAGES_EXEMPT if has_pages else set())
    for route in seen.routes:
        assert route.standing in {Standing.EXEMPT, Standing.OPTIONAL, Standing.GUARDED}, route
        assert (route.standing is Standing.OPTIONAL) <= route.path.startswith(PAGES_OPTIONAL), route
        assert route.exempt == route.optional == (), route


def test_there_is_nothing_to_warn_of(found):
    """The check ends with "Nothing to warn of", and tells of every route; its notes are the ones that are expected."""
    seen, _ = found
    assert seen.is_clear
    assert {finding.concern for finding in seen.findings} <= {Concern.FOREIGN_LAYER, Concern.QUERY_KEYS}
    assert all(finding.level is Level.NOTE for finding in seen.findings)


def test_what_lets_everybody_in_is_warned_of(tmp_path):
    """With SKIP_AUTH_AUTO_LOGIN, or the older AUTO_LOGIN, the check says so."""
    for more, concern in (
        ({"LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true"}, Concern.SKIP_AUTH),
        ({"LANGFLOW_AUTO_LOGIN": "true", "LANGFLOW_API_VERSION": "1.4"}, Concern.AUTO_LOGIN),
    ):
        app = create_app(load({"LANGFLOW_CONFIG_DIR": str(tmp_path), **more}, env_file=os.devnull))
        warned = [each.concern for each in survey(app).findings if each.level is Level.WARNING]
        assert warned == [concern]


def said(route):
    return f"{' '.join(sorted(route.methods))} {route.path}"
