"""The manual's page on the API: its examples run, and its tables are complete."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from key_page_api import DOCUMENT
from servers.harness import running

from keyguard import admin, lifecycle
from keyguard.stores.sql import SQLStore

TEXT = Path(__file__).parents[2].joinpath("docs/reference/key-page-api.md").read_text("utf-8")
OF_FORMS = {"media_type", "bad_form"}
"""What only the page's forms are answered."""

_CODE = re.compile(r'(?:Problem|_invalid|_forbidden)\(\s*(?:HTTPStatus\.\w+,\s*)?"(\w+)"')


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the examples are curl's and jq's")
def test_the_examples_run(tmp_path):
    """The commands of the page do what it says, one behind the other, against a real server."""
    url = f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    asyncio.run(fill(url))
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    with running("httptools", "browser.app:app", tmp_path, environment={"DATABASE": url}) as server:
        server.wait_until_it_answers()
        script = script.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert '"as":"ada"' in said
    assert '"name": "laptop"' in said
    assert '"kind": "key.issued"' in said
    assert [line for line in said.splitlines() if line.startswith('"')] == ['"old laptop"', '"changed"', '"revoked"']
    assert said.rstrip().endswith('"deleted": true\n}')


async def fill(url):
    store = SQLStore(url)
    await store.create_schema()
    await lifecycle.add_owner(store, "ada", password="correct horse battery staple")
    await store.close()


async def test_the_problem_that_is_shown_is_one(ada):
    """The example of a problem is what a body with an owner in it is answered."""
    (shown,) = re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    told = (await ada.post("/keys", {"owner": "bob"})).json()
    assert json.loads(shown) | {"title": ""} == told | {"title": ""}  # The title is Python's, and differs by version.


def test_the_table_of_operations_is_complete():
    """Each operation stands in the page as the document has it, and no other."""
    told = re.findall(r"^\| ([A-Z]+) \| `(\S+)` \| (.+) \|$", TEXT, re.MULTILINE)
    assert told == [
        (method.upper(), path, operation["summary"])
        for path, described in DOCUMENT["paths"].items()
        for method, operation in described.items()
    ]


def test_the_table_of_codes_is_complete():
    """Each code that a problem can have stands in the page, and no other."""
    told = set(re.findall(r"^\| [45]\d\d \| `(\w+)` \|", TEXT, re.MULTILINE))
    raised = {
        code for path in Path(admin.__file__).parent.rglob("*.py") for code in _CODE.findall(path.read_text("utf-8"))
    }
    assert told == raised - OF_FORMS
