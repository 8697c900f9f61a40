"""A user's own keys over the API."""

import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from langflow_accounts import (
    API,
    JSON,
    add_key,
    add_user,
    by_key,
    call,
    in_this_process,
    refused_by_the_other,
    superuser,
    whoami,
)
from langflow_serving import ONE_DATABASE

from keyguard import lifecycle
from langflow_server import keys
from langflow_server.ids import key_id_of

UNKNOWN = b'{"detail":"You have no such key."}'


# --- made, and listed ---------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once(server, user):
    """It is in the answer that made it, which nobody is to keep; the list has its beginning, both workers know it."""
    answer = call(server, "POST", "/api_key/", user.session, json={"name": "laptop"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made == {
        "id": made["id"],
        "name": "laptop",
        "api_key": made["api_key"],
        "user_id": user.id,
        "created_at": made["created_at"],
        "last_used_at": None,
        "total_uses": 0,
        "is_active": True,
        "expires_at": None,
    }
    with server.each_worker() as clients:
        for client in clients.values():
            assert whoami(client, by_key(made)).json()["id"] == user.id
    listed = call(server, "GET", "/api_key/", user.session)
    assert made["api_key"][20:] not in listed.text
    (seen,) = [key for key in listed.json()["api_keys"] if key["id"] == made["id"]]
    assert seen["api_key"] == f"{made['api_key'][:7]}…"
    assert seen.keys() == made.keys()


def test_the_list_has_ones_own_keys_the_newest_first(server):
    """All that were not deleted are in it, and nobody else's; asked by a key, it is the list of the key's user."""
    user, other = add_user(server), add_user(server)
    assert _list(server, user.session) == {"total_count": 0, "user_id": user.id, "api_keys": []}
    theirs = add_key(server, other)
    made = [add_key(server, user, name=f"key {number}") for number in range(3)]
    assert call(server, "DELETE", f"/api_key/{made[1]['id']}", user.session).status_code == 200
    listed = _list(server, user.session)
    assert (listed["total_count"], listed["user_id"]) == (2, user.id)
    assert [key["name"] for key in listed["api_keys"]] == ["key 2", "key 0"]
    assert [key["id"] for key in _list(server, by_key(theirs))["api_keys"]] == [theirs["id"]]


def test_a_superuser_has_a_list_of_their_own_keys(server):
    """Others' keys are not in it, as they are not theirs."""
    root = add_user(server, is_superuser=True)
    theirs, own = add_key(server, add_user(server)), add_key(server, root)
    listed = _list(server, root.session)
    assert [key["id"] for key in listed["api_keys"]] == [own["id"]]
    assert call(server, "DELETE", f"/api_key/{theirs['id']}", root.session).content == UNKNOWN


def test_what_else_is_sent_has_no_effect(server, user):
    """Owner, counts, times and the key itself are not for the client to say."""
    other = add_user(server)
    sent = {
        "id": str(uuid4()),
        "api_key": "lf_chosen",
        "user_id": other.id,
        "created_at": "2001-01-01T00:00:00Z",
        "last_used_at": "2001-01-01T00:00:00Z",
        "total_uses": 7,
        "is_active": False,
        "scopes": [],
    }
    made = add_key(server, user, **sent)
    assert not {name for name, value in sent.items() if made.get(name) == value}
    assert (made["user_id"], made["total_uses"], made["last_used_at"], made["is_active"]) == (user.id, 0, None, True)
    assert _list(server, other.session)["total_count"] == 0
    assert call(server, "GET", "/users/whoami", by_key(made)).json()["id"] == user.id


@pytest.mark.parametrize("body", [b"", b"{}", b'{"name": null, "expires_at": null}'], ids=["nothing", "empty", "null"])
def test_a_key_needs_no_name(server, user, body):
    """Without a name, it has none."""
    answer = call(server, "POST", "/api_key/", user.session | JSON, content=body)
    assert answer.status_code == 200
    assert answer.json()["name"] is None


@ONE_DATABASE
@pytest.mark.parametrize("name", ["a" * 201, "a\0b", "\ud800", 5], ids=["long", "nul", "surrogate", "number"])
def test_what_is_no_name_is_422(server, user, name):
    """A name has 200 characters at most, and is a text."""
    content = f'{{"name": {name if isinstance(name, int) else _escaped(name)}}}'.encode()
    before = _list(server, user.session)["total_count"]
    assert call(server, "POST", "/api_key/", user.session | JSON, content=content).status_code == 422
    assert _list(server, user.session)["total_count"] == before
    assert add_key(server, user, name="a" * 200)["name"] == "a" * 200


# --- until when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=5, minutes=30))], ids=str)
def test_a_key_ends_when_it_was_said(server, user, zone):
    """A time without a zone is in UTC, and any other the moment that it is."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    sent = end.replace(tzinfo=None) if zone is None else end.astimezone(zone)
    made = add_key(server, user, expires_at=sent.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == end
    (listed,) = [key for key in _list(server, user.session)["api_keys"] if key["id"] == made["id"]]
    assert (datetime.fromisoformat(listed["expires_at"]), listed["is_active"]) == (end, True)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("2001-01-01T00:00:00Z", 400),
        ("2001-01-01T00:00:00", 400),
        ("0001-01-01T00:00:00+14:00", 400),
        ("9999-12-31T23:59:59-12:00", 400),
        ("tomorrow", 422),
    ],
)
def test_what_is_no_end_is_refused(server, user, sent, status):
    """A time that has passed or cannot be is 400, and a text that is no time 422."""
    answer = call(server, "POST", "/api_key/", user.session, json={"expires_at": sent})
    assert answer.status_code == status, answer.text


# --- deleted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["session", "another key", "itself"])
def test_a_deleted_key_is_dead_when_the_answer_arrives(server, user, by):
    """The other worker refuses it at once, whoever of its user's has deleted it."""
    key = add_key(server, user)
    who = {"session": user.session, "another key": by_key(add_key(server, user)), "itself": by_key(key)}[by]
    with refused_by_the_other(server, by_key(key)) as client:
        answer = client.delete(f"{API}/api_key/{key['id']}", headers=who)
        assert (answer.status_code, answer.json()) == (200, {"detail": "The key was deleted."})


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/rotate")])
def test_what_is_no_key_of_ones_own_is_400(server, user, method, path):
    """Another's, one that was deleted, one that never was and what no key can have get one answer, byte for byte."""
    theirs, deleted = add_key(server, add_user(server)), add_key(server, user)
    assert call(server, "DELETE", f"/api_key/{deleted['id']}", user.session).status_code == 200
    never = UUID(int=UUID(deleted["id"]).int ^ 1)
    assert key_id_of(never) is not None
    for headers in (user.session, superuser(server)):
        for key_id in (theirs["id"], deleted["id"], never, uuid4()):
            answer = call(server, method, f"/api_key/{key_id}{path}", headers)
            assert (answer.status_code, answer.content) == (400, UNKNOWN)
        assert call(server, method, f"/api_key/no-uuid{path}", headers).status_code == 422
    assert call(server, "GET", "/users/whoami", by_key(theirs)).status_code == 200


# --- rotated ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["session", "itself"])
def test_a_rotated_key_gives_way_to_another(server, user, by):
    """The new one has its name and end, and is good in both workers; the other worker refuses the old one at once."""
    end = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    old = add_key(server, user, name="laptop", expires_at=end)
    with refused_by_the_other(server, by_key(old)) as client:
        who = by_key(old) if by == "itself" else user.session
        answer = client.post(f"{API}/api_key/{old['id']}/rotate", headers=who)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
    new = answer.json()
    fresh = {name: new[name] for name in ("id", "api_key", "created_at")}
    assert new == old | fresh
    assert not fresh.items() & old.items()
    with server.each_worker() as clients:
        for client in clients.values():
            assert whoami(client, by_key(new)).json()["id"] == user.id
    listed = [key["id"] for key in _list(server, user.session)["api_keys"]]
    assert new["id"] in listed
    assert old["id"] not in listed


def test_a_key_may_have_a_grace(server, user):
    """Both are good until then, and both are listed; deleted, the old one is dead at once, and the new one goes on."""
    old = add_key(server, user)
    answer = call(server, "POST", f"/api_key/{old['id']}/rotate", user.session, json={"grace_seconds": 3600})
    assert answer.status_code == 200
    new = answer.json()
    listed = {key["id"]: key for key in _list(server, user.session)["api_keys"]}
    left = datetime.fromisoformat(listed[old["id"]]["expires_at"]) - datetime.fromisoformat(new["created_at"])
    assert left == timedelta(hours=1)
    assert listed[old["id"]]["is_active"]
    assert listed[new["id"]]["is_active"]
    with refused_by_the_other(server, by_key(old)) as client:
        assert client.delete(f"{API}/api_key/{old['id']}", headers=user.session).status_code == 200
    assert call(server, "GET", "/users/whoami", by_key(new)).status_code == 200


def test_a_key_is_rotated_once(server, user):
    """While it has its grace the new one is to be rotated, and the answer says so."""
    old = add_key(server, user)
    path = f"/api_key/{old['id']}/rotate"
    assert call(server, "POST", path, user.session, json={"grace_seconds": 3600}).status_code == 200
    answer = call(server, "POST", path, user.session)
    assert answer.status_code == 400
    assert answer.json() == {"detail": "The key was rotated already: rotate the one that took its place."}


@pytest.mark.parametrize("grace", [-1, 31_622_401, 1.5, "long", 10**30])
def test_a_grace_has_bounds(server, user, grace):
    """It is a whole number of seconds from 0 to those of 366 days; anything else is 422, and nothing is rotated."""
    key = add_key(server, user)
    answer = call(server, "POST", f"/api_key/{key['id']}/rotate", user.session, json={"grace_seconds": grace})
    assert answer.status_code == 422
    assert call(server, "GET", "/users/whoami", by_key(key)).status_code == 200


# --- what only the library makes ----------------------------------------------------------------------------------


def test_a_key_that_is_not_good_is_listed_as_such(tmp_path):
    """One that has expired, is disabled or is for later is not active, and the first of them is not rotated."""
    now, day = datetime.now(UTC), timedelta(days=1)

    async def make(server, user):
        store = server.store
        await lifecycle.issue(store, user, name="expired", expires_at=now - day, clock=lambda: now - 2 * day)
        disabled = await lifecycle.issue(store, user, name="disabled")
        await lifecycle.disable(store, disabled.record.id)
        await lifecycle.issue(store, user, name="later", not_before=now + day)
        await lifecycle.issue(store, user, name="good")
        return await keys.list_keys(server, user.id)

    with in_this_process(tmp_path) as (client, do):
        listed, total = do(make)
        assert total == 4
        assert {key.name: key.is_active for key in listed} == {
            "expired": False,
            "disabled": False,
            "later": False,
            "good": True,
        }
        good = by_key({"api_key": do(_issue).key.reveal()})
        (key_id,) = [key.id for key in listed if key.name == "expired"]
        answer = client.post(f"{API}/api_key/{key_id}/rotate", headers=good)
        assert (answer.status_code, answer.json()) == (400, {"detail": "The key has expired: make a new one."})


@pytest.mark.parametrize("scopes", [[], ["flows:run"], ["flows:*"], ["keys:*", "users:*"]], ids=str)
def test_a_key_with_scopes_does_no_more_than_they_say(tmp_path, scopes):
    """It makes, lists, ends and rotates no key and sees no user, a superuser's, too; it runs flows if they say so."""
    with in_this_process(tmp_path) as (client, do):
        issued = do(lambda server, user: lifecycle.issue(server.store, user, scopes=scopes))
        whole = do(_issue)
        key = by_key({"api_key": issued.key.reveal()})
        other = keys.uuid_of(whole.record.id)
        for method, path in (
            ("GET", "/users/whoami"),
            ("GET", "/users/"),
            ("PATCH", f"/users/{whole.record.owner_id}"),
            ("PATCH", f"/users/{whole.record.owner_id}/reset-password"),
            ("GET", "/api_key/"),
            ("POST", "/api_key/"),
            ("DELETE", f"/api_key/{other}"),
            ("POST", f"/api_key/{other}/rotate"),
            ("GET", "/flows/"),
            ("GET", "/variables/"),
        ):
            body = None if method in {"GET", "DELETE"} else {"password": "new", "current_password": "old"}
            assert client.request(method, f"{API}{path}", headers=key, json=body).status_code == 403, path
        runs = client.post(f"{API}/run/no-such-flow", headers=key, json={}).status_code
        assert runs == (404 if any(scope.startswith("flows:") for scope in scopes) else 403)
        assert whoami(client, by_key({"api_key": whole.key.reveal()})).status_code == 200


def test_uses_are_counted(tmp_path):
    """The list says how often a key has let a request in, and when it did so last."""
    with in_this_process(tmp_path) as (client, do):
        issued = do(_issue)
        key = by_key({"api_key": issued.key.reveal()})
        for _ in range(3):
            assert whoami(client, key).status_code == 200
        used_at = time.time()
    listed, _ = do(lambda server, user: keys.list_keys(server, user.id))
    assert listed[0].total_uses == 3
    assert abs(listed[0].last_used_at.timestamp() - used_at) < 60


# --- what the tests above speak in --------------------------------------------------------------------------------


def _list(server, headers):
    answer = call(server, "GET", "/api_key/", headers)
    assert answer.status_code == 200
    return answer.json()


def _escaped(text):
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


async def _issue(server, user):
    return await lifecycle.issue(server.store, user)
