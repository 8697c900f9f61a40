"""The key page's JSON API: what it shows, what it changes, and what it tells those who may not."""

from datetime import timedelta

import pytest
from key_page_api import Api, problem

from keyguard import Keyring, lifecycle
from keyguard.admin import KeyAdmin
from keyguard.model import Usage
from keyguard.stores.memory import MemoryStore


def after(clock, **duration):
    return (clock() + timedelta(**duration)).isoformat().replace("+00:00", "Z")


# --- a key ------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_shown_whole_this_once(ada, people, clock, app):
    """Issuing answers 201 with the key's place, tag and text; the text opens the app, and is shown nowhere else."""
    answer = await ada.post(
        "/keys", {"name": "laptop", "networks": ["192.0.2.0/24"], "expires_at": after(clock, days=30)}
    )
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/keys/api/keys/{made['id']}"
    assert answer.headers["etag"] == made["etag"]
    text = made.pop("key")
    known = await ada.browser.client.get("/whoami", headers={"x-api-key": text})
    assert known.json() == {"user": "ada", "by": "KEY"}
    shown = await ada.get(f"/keys/{made['id']}")
    assert shown.headers["etag"] == made["etag"]
    assert {name: shown.json()[name] for name in made} == made
    assert made | {"id": "", "hint": "", "etag": ""} == {
        "id": "",
        "name": "laptop",
        "hint": "",
        "prefix": "kg_",
        "state": "active",
        "expiring_soon": False,
        "owner": {"id": people.ada.id, "name": "ada"},
        "created_at": after(clock),
        "not_before": None,
        "expires_at": after(clock, days=30),
        "disabled_at": None,
        "revoked_at": None,
        "revoked_reason": "",
        "rotated_at": None,
        "rotated_from": None,
        "scopes": None,
        "networks": ["192.0.2.0/24"],
        "last_used_at": None,
        "total_uses": 0,
        "etag": "",
    }
    assert text.startswith(made["hint"].rstrip("…"))


@pytest.mark.parametrize("body", [{}, None])
async def test_a_key_that_nothing_is_said_of_has_the_default_life(ada, clock, body):
    """Without a body's members, and without a body, a key has the life that the page has chosen already."""
    answer = await ada.ask("POST", "/keys", **({} if body is None else {"json": body}))
    assert answer.json()["expires_at"] == after(clock, days=90)


async def test_a_key_without_an_end(ada):
    """Null is never, where the keyring has no longest life."""
    assert (await ada.issue(expires_at=None))["expires_at"] is None


async def test_scopes_that_are_on_offer(make_app, api_of):
    """A key is restricted to scopes that the app offers; an empty list is for nothing; others are named as faults."""
    api = await api_of("ada", make_app(scopes={"flows:read": "See flows", "flows:write": ""}))
    assert (await api.session())["choices"]["scopes"] == [
        {"name": "flows:read", "description": "See flows"},
        {"name": "flows:write", "description": ""},
    ]
    assert (await api.issue(scopes=["flows:write", "flows:read"]))["scopes"] == ["flows:read", "flows:write"]
    assert (await api.issue(scopes=[]))["scopes"] == []
    answer = await api.post("/keys", {"scopes": ["flows:read", "*", "superuser"]})
    assert problem(answer) == (422, "invalid_body")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/scopes/1", "/scopes/2"]


@pytest.mark.parametrize("seconds", [-1, 0])
async def test_a_key_that_has_ended_already_is_not_issued(ada, clock, seconds):
    """The end of a new key lies in the future."""
    answer = await ada.post("/keys", {"expires_at": after(clock, seconds=seconds)})
    assert problem(answer) == (422, "invalid_body")
    assert answer.json()["errors"] == [{"pointer": "/expires_at", "detail": "must lie in the future"}]


async def test_the_longest_life_is_kept(clock, browse):
    """Where the keyring has a longest life, neither more nor no end can be chosen, and the default is not more."""
    store = MemoryStore(keyring=Keyring(max_lifetime=timedelta(days=30)))
    owner = await lifecycle.add_owner(store, "ada", clock=clock)
    api = await Api.signed_in(browse(KeyAdmin(store, clock=clock), mount=""), store, owner, clock)
    choices = (await api.session())["choices"]
    assert (choices["default_lifetime_seconds"], choices["max_lifetime_seconds"]) == (30 * 86_400, 30 * 86_400)
    assert (await api.issue())["expires_at"] == after(clock, days=30)
    for said in (None, after(clock, days=30, seconds=1)):
        answer = await api.post("/keys", {"expires_at": said})
        assert problem(answer) == (422, "invalid_body")
        assert answer.json()["errors"][0]["pointer"] == "/expires_at"


async def test_a_key_is_renamed(ada):
    """A new name is in the answer, with a new tag."""
    made = await ada.issue(name="old")
    answer = await ada.patch(f"/keys/{made['id']}", {"name": "new"}, if_match=made["etag"])
    assert (answer.status_code, answer.json()["name"]) == (200, "new")
    assert answer.headers["etag"] == answer.json()["etag"] != made["etag"]


async def test_a_key_is_disabled_and_enabled(ada, clock):
    """A disabled key is refused at once; enabled, it is good again."""
    made = await ada.issue()
    off = await ada.patch(f"/keys/{made['id']}", {"disabled": True}, if_match=made["etag"])
    assert (off.json()["state"], off.json()["disabled_at"]) == ("disabled", after(clock))
    refused = await ada.browser.client.get("/whoami", headers={"x-api-key": made["key"]})
    assert refused.status_code == 401
    on = await ada.patch(f"/keys/{made['id']}", {"disabled": False}, if_match=off.json()["etag"])
    assert (on.json()["state"], on.json()["disabled_at"]) == ("active", None)
    assert on.json()["etag"] == made["etag"]


async def test_a_key_is_deleted(ada, clock):
    """A deleted key is refused at once and listed as revoked; to delete it once more changes nothing."""
    made = await ada.issue()
    gone = await ada.delete(f"/keys/{made['id']}", if_match=made["etag"])
    assert (gone.status_code, gone.json()["state"], gone.json()["revoked_at"]) == (200, "revoked", after(clock))
    refused = await ada.browser.client.get("/whoami", headers={"x-api-key": made["key"]})
    assert refused.status_code == 401
    clock.advance(timedelta(seconds=1))
    again = await ada.delete(f"/keys/{made['id']}", if_match=gone.json()["etag"])
    assert again.json() == gone.json()


async def test_a_key_is_rotated_with_a_grace_that_is_ended(ada, clock):
    """Both keys work in the grace; when it is ended, the old one is refused, and its successor goes on."""
    old = await ada.issue(name="ci")
    answer = await ada.post(f"/keys/{old['id']}/rotate", {"grace_seconds": 3600}, if_match=old["etag"])
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/keys/api/keys/{new['id']}")
    assert (answer.headers["etag"], new["name"], new["rotated_from"]) == (new["etag"], "ci", old["id"])
    before = new["predecessor"]
    assert (before["id"], before["state"], before["expires_at"]) == (old["id"], "grace", after(clock, hours=1))
    for key in (old, new):
        known = await ada.browser.client.get("/whoami", headers={"x-api-key": key["key"]})
        assert known.status_code == 200
    ended = await ada.post(f"/keys/{old['id']}/end-grace", if_match=before["etag"])
    assert (ended.status_code, ended.json()["state"]) == (200, "revoked")
    statuses = [
        (await ada.browser.client.get("/whoami", headers={"x-api-key": key["key"]})).status_code for key in (old, new)
    ]
    assert statuses == [401, 200]


async def test_a_rotation_without_a_grace_ends_the_old_key_at_once(ada):
    """Where nothing is said of a grace, there is none."""
    old = await ada.issue()
    answer = await ada.ask("POST", f"/keys/{old['id']}/rotate", if_match=old["etag"])
    assert answer.json()["predecessor"]["state"] == "revoked"


async def test_what_a_key_is_in_no_state_for_is_409(ada):
    """A revoked key is not rotated, and one that was not rotated has no grace to end."""
    made = await ada.issue()
    assert problem(await ada.post(f"/keys/{made['id']}/end-grace", if_match="*")) == (409, "conflict")
    await ada.delete(f"/keys/{made['id']}", if_match="*")
    assert problem(await ada.post(f"/keys/{made['id']}/rotate", if_match="*")) == (409, "conflict")


async def test_several_are_deleted_and_each_has_its_result(ada, bob):
    """Of several keys those are deleted that are as their tags say; what became of each is told, in order."""
    first, changed, last = [await ada.issue(name=name) for name in ("first", "changed", "last")]
    others = await bob.issue()
    await ada.patch(f"/keys/{changed['id']}", {"name": "other"}, if_match="*")
    asked = [{"id": key["id"], "etag": key["etag"]} for key in (first, changed, others, last)]
    answer = await ada.post("/keys/delete", {"keys": [*asked, {"id": "none", "etag": '"x"'}, asked[0]]})
    assert answer.status_code == 200
    told = [
        (each["id"], each["key"]["state"] if each["deleted"] else each["problem"]["code"])
        for each in answer.json()["results"]
    ]
    assert told == [
        (first["id"], "revoked"),
        (changed["id"], "changed"),
        (others["id"], "not_found"),
        (last["id"], "revoked"),
        ("none", "not_found"),
        (first["id"], "changed"),
    ]
    assert (await ada.key(changed["id"]))["state"] == "active"
    assert (await bob.key(others["id"]))["state"] == "active"


# --- preconditions ----------------------------------------------------------------------------------------------

CHANGES = [
    ("PATCH", "", {"name": "new"}),
    ("DELETE", "", None),
    ("POST", "/rotate", {"grace_seconds": 60}),
    ("POST", "/end-grace", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_says_what_it_is_a_change_of(ada, method, path, body):
    """Without If-Match a change is 428, with the tag of what is not there any more 412; neither changes anything."""
    made = await ada.issue()
    where = f"/keys/{made['id']}{path}"
    assert problem(await ada.ask(method, where, json=body)) == (428, "if_match_required")
    assert problem(await ada.ask(method, where, json=body, if_match='"another"')) == (412, "changed")
    assert (await ada.key(made["id"]))["etag"] == made["etag"]


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("{}", 200),
        ("*", 200),
        (" * ", 200),
        ('"a", {}', 200),
        ('{}, "a"', 200),
        (',, "a,b" ,{} ,', 200),
        ('W/"a", {}', 200),
        ("W/{}", 412),
        ('W/{}, "a"', 412),
        ('""', 412),
        ('"*"', 412),
        ('"{}"', 400),
        ("", 400),
        (",", 400),
        ("a", 400),
        ("w/{}", 400),
        ('"a" {}', 400),
        ("*, {}", 400),
        ('"a', 400),
    ],
)
async def test_if_match_is_read_as_the_rfc_says(ada, written, status):
    """RFC 9110 §13.1.1: a list of tags or ``*``, compared strongly; what is neither is told to be a mistake."""
    made = await ada.issue()
    answer = await ada.patch(f"/keys/{made['id']}", {"name": "new"}, if_match=written.replace("{}", made["etag"]))
    assert answer.status_code == status
    assert status == 200 or answer.json()["code"] == {400: "malformed_if_match", 412: "changed"}[status]
    assert (await ada.key(made["id"]))["name"] == ("new" if status == 200 else "")


async def test_if_match_may_stand_in_several_fields(ada):
    """Fields of one name are one list (RFC 9110 §5.3)."""
    made = await ada.issue()
    headers = [
        ("origin", ada.browser.origin),
        ("x-csrf-token", ada.token),
        ("if-match", '"a"'),
        ("if-match", made["etag"]),
    ]
    answer = await ada.browser.client.request(
        "PATCH", f"/keys/api/keys/{made['id']}", json={"name": "new"}, headers=headers
    )
    assert answer.status_code == 200


async def test_the_precondition_comes_before_the_body(ada):
    """Who has not read the key is told so first; what the body says is looked at after that (RFC 9110 §13.2.1)."""
    made = await ada.issue()
    answer = await ada.ask("PATCH", f"/keys/{made['id']}", content=b"no json", if_match='"a"')
    assert problem(answer) == (412, "changed")


async def test_uses_do_not_change_the_tag(ada, store):
    """A key that is in use can be changed: its tag is of what can be changed, and not of how often it was used."""
    made = await ada.issue()
    await store.record_uses({made["id"]: Usage(total=3)}, worker="a", sequence=1)
    used = await ada.key(made["id"])
    assert (used["total_uses"], used["etag"]) == (3, made["etag"])
