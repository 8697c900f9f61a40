"""Keys of another owner cannot be seen, changed or guessed by their id, on whatever path."""

import json
import re
from dataclasses import asdict
from datetime import timedelta

import pytest
from starlette.routing import Match

from keyguard import lifecycle
from keyguard.admin import KeyAdmin
from keyguard.admin._etags import etag_of
from keyguard.stores.memory import MemoryStore

UNKNOWN_KEY, UNKNOWN_OWNER = "zzzzzzzzzzzz", "zz-id"


def all_requests():
    """Each route of the page with each of its methods; what others add later is among them."""
    return [
        (method, route.path)
        for route in KeyAdmin(MemoryStore()).routes
        for method in sorted(route.methods)
        if route.path not in {"/sign-in", "/sign-out", "/api/session", "/assets/{name}"}
    ]


@pytest.fixture
def store():
    """The desk decides, not the store."""
    return MemoryStore()


FORM = {"name": "taken", "grace": "0", "grace_seconds": "0", "reason": "x"}
BODIES = {
    "PATCH": [{"name": "taken"}, {"disabled": True}, {"disabled": False}],
    "DELETE": [None],
    "POST": [None, {"grace_seconds": 3600}, {"name": "taken"}],
}


def attempts(method, path, key_id, owner_id, tag):
    """What can be sent there to get at a key or an owner: everything that forms, queries and bodies speak of."""
    path = path.replace("{key_id}", key_id)
    query = {"id": key_id, "owner": owner_id, "tag": tag}
    if not path.startswith("/api/"):
        yield path, {"params": query, "data": {**FORM, **query} if method == "POST" else None}
        return
    if method not in BODIES:
        yield path, {"params": {"owner": owner_id} if path in {"/api/keys", "/api/events"} else None}
    listed = {"keys": [{"id": key_id, "etag": tag}]}
    for body in [*BODIES.get(method, []), *([listed] if method == "POST" else [])]:
        for condition in (tag, "*"):
            yield path, {"json": body, "headers": {"if-match": condition}}


async def send(browser, method, path, *, params=None, data=None, json=None, headers=None):
    headers = {"origin": browser.origin, "x-csrf-token": browser.csrf} | (headers or {})
    if data is not None:
        data = data | {"csrf": browser.csrf}
    url = f"{browser.mount}{path}"
    return await browser.client.request(method, url, params=params, data=data, json=json, headers=headers)


_CHANGING = re.compile(r'name="(?:csrf|once)" value="[^"]*"|"csrf_token": ?"[^"]*"|keyguard_notice_\w+=[^;]*')


def shown(answer, key_id, owner_id):
    """All of an answer that a caller sees, without the ids that they sent and what is made anew with each."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"content-length", "date"}}
    text = _CHANGING.sub("…", json.dumps([answer.status_code, headers]) + answer.text)
    return text.replace(key_id, "<key>").replace(owner_id, "<owner>")


async def contents(store):
    """All that a store holds."""
    keys = [asdict(key) for key in await lifecycle.list_keys(store)]
    owners = await store.list_owners()
    return keys, owners, await lifecycle.events(store, limit=None), await store.get_uses([key["id"] for key in keys])


@pytest.fixture
async def key(store, people, clock):
    """A key of Ada's, which says by its name that it is seen."""
    issued = await lifecycle.issue(store, people.ada, name="SECRET-NAME", clock=clock)
    return issued.record


@pytest.mark.parametrize(("method", "path"), all_requests(), ids=lambda value: value.strip("/") or "front")
async def test_another_owners_key_is_as_one_that_is_not_there(signed_in, store, people, key, method, path):
    """The answers for a key of somebody else's and for an unknown id are the same; nothing in the store changes."""
    bob = await signed_in("bob")
    tag = etag_of(key)
    before = await contents(store)
    of_ada = list(attempts(method, path, key.id, people.ada.id, tag))
    of_nobody = list(attempts(method, path, UNKNOWN_KEY, UNKNOWN_OWNER, tag))
    for (address, sent), (other_address, other) in zip(of_ada, of_nobody, strict=True):
        answer = await send(bob, method, address, **sent)
        unknown = await send(bob, method, other_address, **other)
        assert answer.status_code < 500
        assert "SECRET-NAME" not in answer.text
        if answer.status_code == 201 or "/new" in path:  # A key of Bob's own came of it.
            continue
        assert shown(answer, key.id, people.ada.id) == shown(unknown, UNKNOWN_KEY, UNKNOWN_OWNER)
    keys, owners, events, uses = await contents(store)
    others = [each for each in keys if each["owner_id"] != people.bob.id]
    assert (others, owners) == (before[0], before[1])
    assert [event for event in events if event.owner_id != people.bob.id] == [
        event for event in before[2] if event.owner_id != people.bob.id
    ]
    assert {key_id: uses[key_id] for key_id in before[3]} == before[3]


@pytest.mark.parametrize(("method", "path"), all_requests(), ids=lambda value: value.strip("/") or "front")
async def test_nobody_sees_or_changes_anything(browser, store, people, key, method, path):
    """Who has not signed in is sent to do so, or told 401; nothing in the store changes."""
    await browser.get("/sign-in")
    before = await contents(store)
    for address, sent in attempts(method, path, key.id, people.ada.id, etag_of(key)):
        answer = await send(browser, method, address, **sent)
        assert answer.status_code in {303, 401}
        assert "SECRET-NAME" not in answer.text
    assert await contents(store) == before


OF_A_KEY = [(method, path) for method, path in all_requests() if "{key_id}" in path]


@pytest.mark.parametrize(("method", "path"), OF_A_KEY, ids=lambda value: value.strip("/"))
@pytest.mark.parametrize("name", ["ada", "root"])
async def test_the_owner_and_a_superuser_do_what_others_cannot(
    signed_in, store, people, key, clock, name, method, path
):
    """The same requests find the key when they come from those whose it is: none of them fails for all."""
    visitor = await signed_in(name)
    if "end-grace" in path:
        await lifecycle.rotate(store, key.id, grace=timedelta(hours=1), clock=clock)
        key = await lifecycle.get(store, key.id)
    if "enable" in path:
        await lifecycle.disable(store, key.id, clock=clock)
        key = await lifecycle.get(store, key.id)
    statuses = set()
    for address, sent in attempts(method, path, key.id, people.ada.id, etag_of(key)):
        answer = await send(visitor, method, address, **sent)
        statuses.add(answer.status_code)
    assert 404 not in statuses
    assert statuses & {200, 201, 303}
    if method == "POST" and answer.status_code == 303:
        assert 'class="notice done"' in (await visitor.follow(answer)).text


async def test_a_key_of_ones_own_is_issued_whoever_is_named(signed_in, store, people, key):
    """An owner who is named in a query, a form or a body does not get a key; what names one in a body is refused."""
    bob = await signed_in("bob")
    await bob.get("/new")
    for member in ("owner", "owner_id", "id", "key", "uses", "created_at"):
        answer = await bob.api("POST", "/keys", json={"name": "mine", member: people.ada.id})
        assert answer.status_code == 422
    answer = await bob.api("POST", f"/keys?owner={people.ada.id}", json={"name": "mine"})
    assert answer.status_code == 422
    assert [each.id for each in await lifecycle.list_keys(store)] == [key.id]


def test_every_request_is_asked_for_as_it_is_routed():
    """What is sent to a route here is answered by that route, and by no other before it."""
    page = KeyAdmin(MemoryStore())
    for method, path in all_requests():
        scope = {"type": "http", "method": method, "path": path.replace("{key_id}", UNKNOWN_KEY), "root_path": ""}
        first = next(route for route in page.routes if route.matches(scope)[0] is Match.FULL)
        assert first.path == path
