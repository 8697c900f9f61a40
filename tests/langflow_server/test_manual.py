"""The manual's page about the server: what it says to type, typed as it stands but for host, key and model."""

import json
import re
import subprocess
from pathlib import Path

from langflow_accounts import add_key, add_user, call
from langflow_flows import told_in, unique
from langflow_serving import PATIENCE

from langflow_server.flows.components import Component, fields_of
from langflow_server.flows.providers import PROVIDERS

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "langflow-server.md").read_text("utf-8")
CALLS = re.findall(r"^curl .*?'$", PAGE, re.DOTALL | re.MULTILINE)


def test_a_flow_is_added_and_run_as_the_page_says(server, openai):
    """The page's flow is added, says that it wants a credential, and with one it asks its provider what it was sent."""
    user = add_user(server)
    key = add_key(server, user)
    add, run = CALLS

    def typed(command):
        command = command.replace("http://127.0.0.1:7860", server.url).replace("gpt-4o-mini", "says")
        told = {"LANGFLOW_API_KEY": key["api_key"], "PATH": "/usr/bin:/bin"}
        ran = subprocess.run(
            ["bash", "-c", f"{command} --silent"], env=told, capture_output=True, check=True, timeout=PATIENCE
        )
        return json.loads(ran.stdout)

    assert typed(add)["endpoint_name"] == "haiku"
    assert "OPENAI_API_KEY" in typed(run)["detail"]
    secret = unique("sk")
    variable = {"name": "OPENAI_API_KEY", "value": secret, "type": "Credential", "default_fields": []}
    assert call(server, "POST", "/variables/", user.session, json=variable).status_code == 201
    assert told_in(typed(run)) == "Write a haiku about the sea."
    assert f"Bearer {secret}" in {asked.authorization for asked in openai.of("Write a haiku about the sea.")}


def test_the_page_names_each_component_and_provider():
    """The table of components has a row for each, and names each of its fields and each provider."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert set(rows) == set(Component)
    for component in Component:
        for field in fields_of(component, None):
            assert f"`{field}`" in rows[component]
    for provider in PROVIDERS:
        assert provider in rows[Component.LANGUAGE_MODEL]
