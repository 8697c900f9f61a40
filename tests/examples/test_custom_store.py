"""The store of the example keeps the promises that KeyGuard relies on, and those that its page makes."""

import json
import runpy
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest

from keyguard import Keyring, StoreUnavailable
from keyguard.testing import KeyStoreContract

FILE = Path(__file__).parents[2] / "examples" / "custom_store" / "json_store.py"
JSONStore = runpy.run_path(FILE)["JSONStore"]


def in_json(value):
    match value:
        case datetime():
            return value.isoformat()
        case frozenset():
            return sorted(value)
        case _:
            return str(value)


class TestJSONStore(KeyStoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = tmp_path / "people.json"

    async def make_store(self, keyring, owners, keys):
        document = {"people": list(map(asdict, owners)), "keys": list(map(asdict, keys))}
        self.path.write_text(json.dumps(document, default=in_json), "utf-8")
        return JSONStore(self.path, keyring=keyring)


@pytest.mark.parametrize("text", [None, "", "[]", "{", "{}", '{"people": [{"nick": "ada"}], "keys": []}'])
async def test_a_file_that_cannot_be_read(tmp_path, text):
    """A missing or broken file is an outage: 503, and never a pass."""
    path = tmp_path / "people.json"
    if text is not None:
        path.write_text(text)
    store = JSONStore(path, keyring=Keyring())
    with pytest.raises(StoreUnavailable):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.find(["sha256$"])
