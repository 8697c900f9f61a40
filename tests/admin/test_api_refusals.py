"""What the key page's API refuses, how it says so, and that nothing makes it fail."""

import asyncio
import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from key_page_api import DOCUMENT, Api, problem

from keyguard import lifecycle
from keyguard.admin import KeyAdmin
from keyguard.admin._api.operations import OPERATIONS
from keyguard.admin._api.schemas import BODIES
from keyguard.stores.memory import MemoryStore
from keyguard.testing import FrozenClock

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""What is refused before the store is asked needs one store alone."""

CHANGES = [operation for operation in OPERATIONS if operation.body is not None]
OF_A_KEY = [operation for operation in OPERATIONS if operation.of_a_key]


def named(operations):
    return pytest.mark.parametrize("operation", operations, ids=[operation.name for operation in operations])


async def do(api, operation, *, key_id="none", **more):
    """Ask for an operation, with a body that it takes if nothing else is said."""
    bodies = {
        "SignIn": {"name": "ada", "password": "wrong"},
        "Patch": {"disabled": True},
        "Deletion": {"keys": [{"id": key_id, "etag": '"a"'}]},
    }
    if operation.body is not None and "content" not in more:
        more = {"json": bodies.get(operation.body, {})} | more
    more = ({"if_match": "*"} if operation.if_match else {}) | more
    return await api.ask(operation.method, operation.path.replace("{key_id}", key_id), **more)


# --- who may not ------------------------------------------------------------------------------------------------


@named([operation for operation in OPERATIONS if not operation.open_to_all])
async def test_nobody_is_told_to_sign_in(nobody, operation):
    """Where nobody is signed in the answer is 401, with a challenge that no browser asks a password for."""
    answer = await do(nobody, operation)
    assert problem(answer) == (401, "not_signed_in")
    assert answer.headers["www-authenticate"] == 'Session realm="keys"'


@named(OPERATIONS)
async def test_a_key_is_no_session(ada, nobody, operation):
    """Who brings a good key, and no session, is nobody here."""
    made = await ada.issue()
    answer = await do(nobody, operation, headers={"x-api-key": made["key"]})
    assert answer.status_code == (401 if operation.name != "get_session" else 200)
    assert operation.name != "get_session" or answer.json()["owner"] is None


@named(OF_A_KEY)
async def test_anothers_key_is_not_there(ada, bob, operation):
    """Another owner's key, and one that does not exist, are answered alike: byte for byte."""
    made = await bob.issue()
    others = await do(ada, operation, key_id=made["id"])
    missing = await do(ada, operation, key_id="000000000000")
    assert problem(others) == (404, "not_found")
    assert others.content == missing.content
    assert (await bob.key(made["id"]))["etag"] == made["etag"]


@named(OF_A_KEY)
async def test_a_superuser_may_do_all_with_anyones_key(ada, root, operation):
    """A superuser sees and changes the keys of all owners."""
    made = await ada.issue()
    await ada.post(f"/keys/{made['id']}/rotate", {"grace_seconds": 60}, if_match="*")
    key_id = made["id"] if operation.name == "end_grace" else (await ada.get("/keys")).json()["keys"][0]["id"]
    if operation.name == "rotate_key":
        key_id = (await ada.issue())["id"]
    assert (await do(root, operation, key_id=key_id)).status_code in {200, 201}


@pytest.mark.parametrize("member", ["owner", "owner_id", "user_id", "actor"])
async def test_the_owner_that_a_body_names_decides_nothing(ada, bob, root, people, member):
    """A body that names an owner is refused: neither does it say whose a key is, nor who is asked for permission."""
    made = await bob.issue()
    for api in (ada, root):
        for owner in (people.bob.id, people.ada.id):
            answer = await api.post("/keys", {"name": "a", member: owner})
            assert problem(answer) == (422, "invalid_body")
            assert answer.json()["errors"][0]["pointer"] == f"/{member}"
    answer = await ada.patch(f"/keys/{made['id']}", {member: people.ada.id}, if_match="*")
    assert problem(answer) == (404, "not_found")
    answer = await root.patch(f"/keys/{made['id']}", {member: people.ada.id}, if_match="*")
    assert problem(answer) == (422, "invalid_body")
    assert (await bob.key(made["id"]))["owner"]["id"] == people.bob.id


@named(CHANGES)
async def test_a_change_that_a_page_of_ours_did_not_ask_for(ada, operation):
    """Without the token, with a wrong one, or from another origin, a change is 403, whatever else is right."""
    made = await ada.issue()
    for headers, code in [
        ({"x-csrf-token": None}, "csrf_token"),
        ({"x-csrf-token": "a"}, "csrf_token"),
        ({"origin": "https://evil.test"}, "foreign_origin"),
        ({"origin": "null"}, "foreign_origin"),
        ({"origin": None}, "foreign_origin"),
    ]:
        answer = await do(ada, operation, key_id=made["id"], headers=headers)
        assert problem(answer) == (403, code)
    assert (await ada.key(made["id"]))["etag"] == made["etag"]


async def test_the_token_of_another_session_is_none(ada, bob):
    """A token is worth nothing in anybody else's session."""
    assert problem(await ada.post("/keys", headers={"x-csrf-token": bob.token})) == (403, "csrf_token")


# --- what cannot be read ----------------------------------------------------------------------------------------


@named(CHANGES)
async def test_a_body_that_is_not_right(ada, operation):
    """Each change refuses what is no JSON, not called so, too large, or has a member that it does not know."""
    key_id = (await ada.issue())["id"]
    json_type = {"content-type": "application/json"}
    for content, headers, status in [
        (b"{", json_type, 400),
        (b"{}", {}, 415),
        (b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b" " * 65_537, json_type, 413),
        (b'{"total_uses": 0}', json_type, 422),
        (b"[]", json_type, 422),
    ]:
        answer = await do(ada, operation, key_id=key_id, content=content, headers=headers)
        assert answer.status_code == status


@named(OPERATIONS)
async def test_a_parameter_that_is_not_known(ada, operation):
    """Each operation refuses a query that it does not take."""
    key_id = (await ada.issue())["id"]
    answer = await do(ada, operation, key_id=key_id, params={"owner_id": "a"})
    assert problem(answer) == (422, "invalid_parameters")


@pytest.mark.parametrize("path", sorted(DOCUMENT["paths"]))
async def test_other_methods_are_405(api_of, store, clock, path):
    """What cannot be done at an address is 405, and Allow says what can."""
    ada = await api_of("ada", KeyAdmin(store, clock=clock), mount="")  # A guard in front lets no odd method pass.
    can = {method.upper() for method in DOCUMENT["paths"][path]}
    if path == "/keys/delete":  # Which might be a key of that id, with what can be done to one.
        can |= {"GET", "PATCH", "DELETE"}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} - can:
        answer = await ada.ask(method, path.replace("{key_id}", "none"))
        assert problem(answer) == (405, "method")
        assert {*answer.headers["allow"].split(", ")} - {"HEAD"} == can


async def test_what_is_not_there_is_404(ada):
    """Addresses below the API that there are not are told in a problem document, too."""
    for path in ("", "/", "/nothing", "/keys/a/b/c", "/keys/a/rotate/"):
        answer = await ada.browser.client.get(f"/keys/api{path}")
        assert answer.status_code in {404, 405}
        assert answer.headers["content-type"] == "application/problem+json"


async def test_head_has_the_head_alone(ada):
    """HEAD is answered as GET is, without the body."""
    made = await ada.issue()
    answer = await ada.browser.client.head(f"/keys/api/keys/{made['id']}")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", made["etag"])


# --- whatever the bytes -----------------------------------------------------------------------------------------

_bytes = st.binary(max_size=40)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({name for schema in BODIES.values() for name in schema["properties"]}))
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
_fields = st.sampled_from([b"application/json", b"text/plain"]) | st.binary(max_size=12)
_paths = st.sampled_from([operation.path for operation in OPERATIONS]) | st.text(max_size=12).map(
    lambda text: f"/{text}"
)


class Page:
    """A page with an owner who is signed in, asked by hand: clients send no bytes that are not right."""

    def __init__(self):
        self.clock = FrozenClock()
        self.store = MemoryStore()
        self.app = KeyAdmin(self.store, clock=self.clock, scopes=["a:b"])

    async def begin(self, browse):
        owner = await lifecycle.add_owner(self.store, "ada", clock=self.clock)
        api = await Api.signed_in(browse(self.app, mount=""), self.store, owner, self.clock)
        self.key = (await api.issue())["id"]
        cookie = api.browser.client.headers["cookie"]
        self.headers = [
            (b"host", b"keys.test"),
            (b"origin", b"http://keys.test"),
            (b"cookie", cookie.encode()),
            (b"x-csrf-token", api.token.encode()),
        ]
        return self

    async def ask(self, method, path, query, headers, body):
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "root_path": "",
            "query_string": query,
            "headers": [*self.headers, *headers],
            "client": ("192.0.2.7", 1),
            "server": ("keys.test", 80),
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
async def page(browse):
    return await Page().begin(browse)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    path=_paths,
    query=_bytes | st.sampled_from([b"", b"q=%00", b"page=1&state=active", b"before=9&limit=1", b"owner=%F0%9F%98%80"]),
    headers=st.just([(b"content-type", b"application/json"), (b"if-match", b"*")])
    | st.lists(
        st.tuples(st.just(b"content-type"), _fields)
        | st.tuples(st.just(b"if-match"), st.sampled_from([b"*", b'"a"', b'W/"a"']) | _bytes)
        | st.tuples(st.sampled_from([b"x-csrf-token", b"cookie", b"origin", b"host", b"content-encoding"]), _bytes),
        max_size=3,
    ),
    body=_bytes | _json,
)
def test_nothing_makes_it_fail(page, method, path, query, headers, body):
    """Whatever the method, path, query, header fields and body: the answer is never a 5xx, and no error is logged."""
    logger, seen = logging.getLogger("keyguard"), []
    handler = logging.Handler(logging.ERROR)  # Who is turned away is a warning.
    handler.emit = seen.append
    logger.addHandler(handler)
    try:
        path = f"/api{path.replace('{key_id}', page.key)}"
        status, told = asyncio.run(page.ask(method, path, query, headers, body))
    finally:
        logger.removeHandler(handler)
    assert status < 500
    assert not seen
    if status >= 400 and method != "HEAD" and told:
        assert json.loads(told)["status"] == status
