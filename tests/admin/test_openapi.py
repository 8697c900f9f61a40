"""The API's description: valid, complete, and true of what is served."""

import json

import pytest
from key_page_api import DOCUMENT, hold_to_document
from openapi_spec_validator import validate

from keyguard.admin import KeyAdmin
from keyguard.admin._api.openapi import API_VERSION
from keyguard.admin._api.operations import OPERATIONS
from keyguard.admin._api.schemas import BODIES
from keyguard.admin._api.shapes import faults
from keyguard.stores.memory import MemoryStore

OPERATIONS_TOLD = {
    (path, method.upper()): told for path, described in DOCUMENT["paths"].items() for method, told in described.items()
}


def test_the_document_is_valid():
    """It is what the schema of OpenAPI 3.1 asks for, and each reference in it leads somewhere."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT)


def test_each_route_is_told_of_and_no_other():
    """What the page serves below /api and what the document tells of is the same."""
    served = {
        (route.path.removeprefix("/api"), method)
        for route in KeyAdmin(MemoryStore()).routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api")
    }
    assert served == set(OPERATIONS_TOLD)


def test_what_a_change_needs_is_told():
    """Each change names its body and the token, each change of one key If-Match, and nothing else does."""
    for operation in OPERATIONS:
        told = OPERATIONS_TOLD[operation.path, operation.method.value]
        named = {each["$ref"].rpartition("/")[2] for each in told["parameters"] if "$ref" in each}
        is_change = operation.method.value != "GET"
        assert ("requestBody" in told) is is_change is ("X-CSRF-Token" in named)
        assert ("If-Match" in named) is ("412" in told["responses"]) is ("428" in told["responses"])
        assert ("If-Match" in named) is (is_change and operation.of_a_key)
        assert ("key_id" in named) is operation.of_a_key
        assert ("security" in told) is operation.open_to_all


def test_a_body_that_may_be_left_out_is_not_required():
    """A request's body is required where one without members does not fit."""
    for operation in OPERATIONS:
        if operation.body is not None:
            told = OPERATIONS_TOLD[operation.path, operation.method.value]["requestBody"]
            assert told["required"] is any(faults({}, BODIES[operation.body])), operation.name


async def test_the_document_is_served_for_where_it_is(ada):
    """The page serves it, with its version, its own address and the name of its cookie."""
    told = (await ada.get("/openapi.json")).json()
    assert told["info"]["version"] == API_VERSION
    assert told["servers"] == [{"url": "/keys/api"}]
    (name,) = [part.partition("=")[0] for part in ada.browser.client.headers["cookie"].split("; ")]
    assert told["components"]["securitySchemes"]["session"] == {"type": "apiKey", "in": "cookie", "name": name}
    changed = {"servers": None, "components": None}
    assert told | changed == DOCUMENT | changed


@pytest.mark.parametrize("name", ["name", "password", "expires_at", "scopes", "networks", "grace_seconds", "keys"])
def test_what_can_be_said_has_a_bound(name):
    """Each text, list and number in a body has a longest or largest form, where its format does not bound it."""
    for schema in BODIES.values():
        told = schema["properties"].get(name)
        if told is not None:
            assert {"maxLength", "maxItems", "maximum"} & set(told) or told.get("format") == "date-time"


def test_no_secret_is_in_what_is_shown():
    """The schema of a key has neither its digest nor what the app notes about it; its text is in two answers alone."""
    schemas = DOCUMENT["components"]["schemas"]
    assert not {"lookup", "verifier", "metadata", "key"} & set(schemas["Key"]["properties"])
    assert [name for name, told in schemas.items() if "key" in told.get("properties", ())] == [
        "IssuedKey",
        "RotatedKey",
    ]
    assert json.dumps(DOCUMENT).count("Nobody can read it back later") == 2


def test_an_answer_that_the_document_does_not_tell_of_is_noticed():
    """The tests' own reader of the document fails for a status that it has not, and for a member too many."""
    answer = type("Answer", (), {"status_code": 418, "headers": {}, "content": b"", "json": lambda _: {}})()
    with pytest.raises(AssertionError, match="does not know"):
        hold_to_document("GET", "/keys", answer)
