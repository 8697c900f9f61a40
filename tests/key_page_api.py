"""A client of the key page's API that holds every answer it sees to the API's own OpenAPI document."""

import json
import re
from hashlib import sha256

from jsonschema import Draft202012Validator, FormatChecker

from keyguard import lifecycle
from keyguard.admin._api.openapi import document

__all__ = ["DOCUMENT", "Api", "hold_to_document", "problem"]

DOCUMENT = json.loads(json.dumps(document("/keys/api", "keyguard_session")))

_PATHS = {
    path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path.replace(".", "[.]")))
    for path in sorted(DOCUMENT["paths"], key=lambda path: "{" in path)
}


class Api:
    """The API as a front end calls it: from a page of its origin, in a browser, with the session's token."""

    def __init__(self, browser):
        self.browser = browser
        self.token = ""

    @classmethod
    async def of(cls, browser):
        """Return a client that has asked for its token."""
        api = cls(browser)
        await api.session()
        return api

    @classmethod
    async def signed_in(cls, browser, store, owner, clock):
        """Return a client with a session of an owner's, whose password need not be hashed and verified for that."""
        signed_in = await lifecycle.start_session(store, owner, clock=clock)
        name = f"keyguard_session_{sha256(browser.mount.encode()).hexdigest()[:8]}"
        browser.client.headers["cookie"] = f"{name}={signed_in.token}"
        return await cls.of(browser)

    async def session(self):
        answer = await self.get("/session")
        self.token = answer.json()["csrf_token"]
        return answer.json()

    async def ask(self, method, path, *, headers=None, if_match=None, **more):
        """Ask, and hold the answer to the document. None as the value of a header leaves it out."""
        fields = {"origin": self.browser.origin, "x-csrf-token": self.token, "if-match": if_match} | dict(headers or {})
        given = {name: value for name, value in fields.items() if value is not None}
        answer = await self.browser.client.request(method, f"{self.browser.mount}/api{path}", headers=given, **more)
        hold_to_document(method, path.partition("?")[0], answer)
        return answer

    async def get(self, path, **more):
        return await self.ask("GET", path, **more)

    async def post(self, path, body=None, **more):
        return await self.ask("POST", path, json={} if body is None else body, **more)

    async def patch(self, path, body, **more):
        return await self.ask("PATCH", path, json=body, **more)

    async def delete(self, path, **more):
        return await self.ask("DELETE", path, **more)

    async def issue(self, **body):
        """Issue a key, and return what the API shows of it."""
        answer = await self.post("/keys", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def key(self, key_id):
        return (await self.get(f"/keys/{key_id}")).json()


def problem(answer):
    """The status and the code of a problem document."""
    return answer.status_code, answer.json()["code"]


def hold_to_document(method, path, answer):
    """Fail if the document does not tell of such an answer: its status, its header fields, its type and its members."""
    path = next((template for template, form in _PATHS.items() if form.fullmatch(path)), None)
    described = DOCUMENT["paths"].get(path, {}).get(method.lower())
    if described is None:
        assert answer.status_code in {403, 404, 405, 503}, (method, path, answer.status_code)
        _hold(answer, "application/problem+json", {"$ref": "#/components/schemas/Problem"})
        return
    told = described["responses"].get(str(answer.status_code))
    assert told is not None, f"{method} {path} answers {answer.status_code}, of which the document does not know"
    if "$ref" in told:
        told = DOCUMENT["components"]["responses"][told["$ref"].rpartition("/")[2]]
    optional = {"Link"}
    for name in set(told.get("headers", ())) - optional:
        assert name in answer.headers, f"{method} {path} {answer.status_code} lacks {name}"
    if "content" not in told:
        assert not answer.content
        return
    ((media_type, content),) = told["content"].items()
    _hold(answer, media_type, content["schema"])


def _hold(answer, media_type, schema):
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    whole = {"components": DOCUMENT["components"], **schema}
    Draft202012Validator(whole, format_checker=FormatChecker(("date-time",))).validate(told)
    if media_type == "application/problem+json":
        assert told["status"] == answer.status_code
