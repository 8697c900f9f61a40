"""Users: who one is, and what superusers do with others."""

import secrets
from uuid import uuid4

import pytest
from langflow_accounts import (
    API,
    COOKIE,
    JSON,
    add_key,
    add_user,
    by_key,
    call,
    in_this_process,
    refused_by_the_other,
    sign_in,
    superuser,
    whoami,
)
from langflow_serving import ONE_DATABASE, SUPERUSER
from sqlalchemy import select

from keyguard import Principal, lifecycle
from langflow_server import people, tables, variables
from langflow_server.flows import shelf
from langflow_server.variables import VariableType

NO_SUPERUSER = {"detail": "Only a superuser may do that."}
NAMED = (
    "LANGFLOW_SUPERUSER names this user, who keeps that name, stays active and a superuser. Change the setting first."
)


# --- who one is ---------------------------------------------------------------------------------------------------


def test_everybody_learns_who_they_are(server):
    """By bearer token, cookie, and key in header or query, the members are Langflow's, `create_at` among them."""
    user = add_user(server, profile_image="Space/046-rocket.svg")
    token = user.session["authorization"].removeprefix("Bearer ")
    key = add_key(server, user)
    ways = [
        {"headers": user.session},
        {"headers": {"cookie": f"{COOKIE}={token}"}},
        {"headers": by_key(key)},
        {"params": {"x-api-key": key["api_key"]}},
    ]
    with server.client() as client:
        answers = [client.get(f"{API}/users/whoami", **way) for way in ways]
    assert [answer.status_code for answer in answers] == [200] * 4
    said = answers[0].json()
    assert all(answer.json() == said for answer in answers)
    assert said == {
        "id": user.id,
        "username": user.name,
        "profile_image": "Space/046-rocket.svg",
        "store_api_key": None,
        "is_active": True,
        "is_superuser": False,
        "create_at": said["create_at"],
        "updated_at": said["create_at"],
        "last_login_at": said["last_login_at"],
    }
    assert said["create_at"] < said["last_login_at"]


def test_the_last_sign_in_is_written_down(server):
    """Who has never signed in has no time of that; each sign-in moves it, and nothing else does."""
    user = add_user(server)
    assert _seen(server, user)["last_login_at"] is None
    session = user.session
    first = _seen(server, user)
    call(server, "POST", "/refresh", session)
    assert _seen(server, user) == first
    assert sign_in(server, user.name, user.password).status_code == 200
    second = _seen(server, user)
    assert second["last_login_at"] > first["last_login_at"]
    assert second | {"last_login_at": None} == first | {"last_login_at": None}


def test_a_user_who_was_added_elsewhere_was_made_then(server):
    """The superuser, whom no request has added, was made before the first user that one has."""
    user = add_user(server)
    with server.client() as client:
        assert whoami(client, superuser(server)).json()["create_at"] < whoami(client, user.session).json()["create_at"]


# --- the list -----------------------------------------------------------------------------------------------------


def test_the_list_has_each_user_once_by_name(server):
    """Page by page come all that `total_count` speaks of, in the order of their names; ten where nobody says more."""
    added = {add_user(server, is_active=False).name for _ in range(3)}
    total = _list(server)["total_count"]
    pages = [_list(server, skip=skip, limit=2)["users"] for skip in range(0, total, 2)]
    names = [user["username"] for page in pages for user in page]
    assert len(names) == len(set(names)) == total
    assert names == sorted(names)
    assert {*added, SUPERUSER} <= set(names)
    assert len(_list(server)["users"]) == min(10, total)
    assert _list(server, skip=total + 5) == {"total_count": total, "users": []}


@ONE_DATABASE
@pytest.mark.parametrize("asked", [{"skip": -1}, {"limit": 0}, {"limit": 1001}, {"skip": "many"}], ids=str)
def test_what_is_no_part_of_the_list_is_422(server, asked):
    """`skip` counts from 0 on, `limit` from 1 to 1000."""
    assert call(server, "GET", "/users/", superuser(server), params=asked).status_code == 422


@pytest.mark.parametrize("by", ["session", "key"])
def test_only_superusers_manage_users(server, by):
    """For anybody else the list, a new user, a removal and another's data are 403, whether there is such a user."""
    user, other = add_user(server), add_user(server)
    headers = user.session if by == "session" else by_key(add_key(server, user))
    new = {"username": "anybody", "password": "anything"}
    assert call(server, "GET", "/users/", headers).status_code == 403
    assert call(server, "POST", "/users/", headers, json=new).status_code == 403
    for user_id in (user.id, other.id, str(uuid4())):
        assert call(server, "DELETE", f"/users/{user_id}", headers).status_code == 403
    for user_id in (other.id, str(uuid4())):
        answer = call(server, "PATCH", f"/users/{user_id}", headers, json={"username": "anybody"})
        assert (answer.status_code, answer.json()) == (403, NO_SUPERUSER)
    assert _seen(server, other)["username"] == other.name


def test_a_superusers_key_manages_users(server):
    """A key may do what its user may: this one, too."""
    root = add_user(server, is_superuser=True)
    key = by_key(add_key(server, root))
    new = {"username": f"user-{secrets.token_hex(6)}", "password": "anything"}
    added = call(server, "POST", "/users/", key, json=new)
    assert added.status_code == 201
    assert call(server, "DELETE", f"/users/{added.json()['id']}", key).status_code == 200


# --- adding -------------------------------------------------------------------------------------------------------


def test_who_was_added_signs_in(server):
    """A new user is active and no superuser where nothing else is said, and no member shows the password."""
    body = {"username": f"user-{secrets.token_hex(6)}", "password": "a password of their own"}
    answer = call(server, "POST", "/users/", superuser(server), json=body)
    assert answer.status_code == 201
    said = answer.json()
    assert (said["username"], said["is_active"], said["is_superuser"]) == (body["username"], True, False)
    assert body["password"] not in answer.text
    assert sign_in(server, name=body["username"], password=body["password"]).status_code == 200


def test_a_name_is_anothers(server):
    """A name that is taken is 400, for a new user and for one who is renamed, and changes nothing."""
    user, other = add_user(server), add_user(server)
    taken = {"detail": "There is another user with that name."}
    answer = call(server, "POST", "/users/", superuser(server), json={"username": user.name, "password": "anything"})
    assert (answer.status_code, answer.json()) == (400, taken)
    changes = {"username": user.name, "is_active": False, "password": "anything"}
    answer = call(server, "PATCH", f"/users/{other.id}", superuser(server), json=changes)
    assert (answer.status_code, answer.json()) == (400, taken)
    assert sign_in(server, other.name, other.password).status_code == 200


@ONE_DATABASE
@pytest.mark.parametrize(
    ("member", "text", "status"),
    [
        ("username", " ada", 400),
        ("username", "a\nb", 400),
        ("username", "a\0b", 400),
        ("username", "", 422),
        ("username", "a" * 151, 422),
        ("username", 5, 422),
        ("password", "", 422),
        ("password", "long " * 201, 422),
        ("profile_image", "a\0b", 400),
        ("profile_image", "a" * 1001, 422),
        ("is_active", "perhaps", 422),
    ],
    ids=str,
)
def test_what_cannot_be_a_users_is_refused(server, user, member, text, status):
    """A new user and a change are refused alike, and the answer quotes nothing of it."""
    new = {"username": f"user-{secrets.token_hex(6)}", "password": "anything", member: text}
    for method, path, body in (("POST", "/users/", new), ("PATCH", f"/users/{user.id}", {member: text})):
        answer = call(server, method, path, superuser(server), json=body)
        assert answer.status_code == status, answer.text
        assert '"input"' not in answer.text
    assert _seen(server, user)["username"] == user.name


def test_a_password_that_was_sent_wrongly_is_not_quoted(server):
    """The answer to a body that does not validate has nothing of it: a password may stand in any place of it."""
    for body in (
        ["my password"],
        {"user": "ada", "password": "my password"},
        {"username": 1, "password": ["my password"]},
    ):
        answer = call(server, "POST", "/users/", superuser(server), json=body)
        assert answer.status_code == 422
        assert "my password" not in answer.text
    answer = call(
        server, "POST", "/users/", superuser(server) | JSON, content=b'{"username": "\\ud800", "password": 1}'
    )
    assert answer.status_code == 422


# --- changing oneself ---------------------------------------------------------------------------------------------


def test_users_change_their_own_name_and_image(server):
    """Keys and sessions go on, the new name shows in both workers at once, and the old one is nobody's."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    new = f"user-{secrets.token_hex(6)}"
    with server.each_worker() as clients:
        one, other = clients.values()
        assert whoami(other, key).json()["username"] == user.name
        answer = one.patch(f"{API}/users/{user.id}", headers=key, json={"username": new, "profile_image": "rocket"})
        assert answer.status_code == 200
        said = whoami(other, key).json()
        assert said == whoami(one, user.session).json() == answer.json()
    assert (said["username"], said["profile_image"]) == (new, "rocket")
    assert said["updated_at"] > said["create_at"]
    assert sign_in(server, new, user.password).status_code == 200
    assert sign_in(server, user.name, user.password).status_code == 401


def test_what_is_null_or_not_there_stays(server):
    """Null changes nothing, as in Langflow, nor does what is so already; an empty image takes it away."""
    user = add_user(server, profile_image="rocket")
    session = user.session
    before = _seen(server, user)
    nothing = {"username": None, "password": None, "is_active": None, "is_superuser": None, "profile_image": None}
    for body in ({}, nothing, {"username": user.name, "profile_image": "rocket"}):
        answer = call(server, "PATCH", f"/users/{user.id}", session, json=body)
        assert (answer.status_code, answer.json()) == (200, before)
    answer = call(server, "PATCH", f"/users/{user.id}", session, json={"profile_image": ""})
    assert answer.json()["profile_image"] is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"is_superuser": True}, 403),
        ({"is_active": False}, 403),
        ({"is_superuser": True, "username": "anything"}, 403),
        ({"is_superuser": False, "is_active": True}, 200),
        ({"password": "another"}, 400),
    ],
    ids=str,
)
def test_users_give_themselves_no_rights(server, user, changes, status):
    """The members that begin with `is_` are a superuser's, unless they say what is so, and so is a password."""
    ways = [user.session, by_key(add_key(server, user))]
    before = _seen(server, user)
    for headers in ways:
        assert call(server, "PATCH", f"/users/{user.id}", headers, json=changes).status_code == status
    assert _seen(server, user) == before
    assert sign_in(server, user.name, user.password).status_code == 200


# --- changing others ----------------------------------------------------------------------------------------------


def test_who_is_switched_off_is_refused_by_every_worker(server):
    """Session and keys are refused by the other worker at once; switched on, the keys are good again."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with refused_by_the_other(server, user.session) as client, refused_by_the_other(server, key):
        answer = client.patch(f"{API}/users/{user.id}", headers=superuser(server), json={"is_active": False})
        assert (answer.status_code, answer.json()["is_active"]) == (200, False)
    assert sign_in(server, user.name, user.password).status_code == 401
    assert call(server, "PATCH", f"/users/{user.id}", superuser(server), json={"is_active": True}).status_code == 200
    assert call(server, "GET", "/users/whoami", key).status_code == 200
    assert call(server, "GET", "/users/whoami", user.session).status_code == 403


def test_a_superuser_sets_anothers_password(server):
    """The other worker refuses the user's sessions at once, and the old password is nobody's; keys go on."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with refused_by_the_other(server, user.session) as client:
        answer = client.patch(f"{API}/users/{user.id}", headers=superuser(server), json={"password": "another one"})
        assert answer.status_code == 200
    assert sign_in(server, user.name, user.password).status_code == 401
    assert sign_in(server, user.name, "another one").status_code == 200
    assert call(server, "GET", "/users/whoami", key).status_code == 200


def test_rights_come_and_go_with_the_answer(server):
    """The other worker lets a new superuser's key manage users at once, and refuses it once the right is taken."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with server.each_worker() as clients:
        one, other = clients.values()
        for right, status in ((True, 200), (False, 403)):
            assert other.get(f"{API}/users/", headers=key).status_code == 403 if right else 200
            answer = one.patch(f"{API}/users/{user.id}", headers=superuser(server), json={"is_superuser": right})
            assert (answer.status_code, answer.json()["is_superuser"]) == (200, right)
            assert other.get(f"{API}/users/", headers=key).status_code == status


def test_a_superuser_changes_all_of_another_user(server):
    """Name, password, rights and image go in one request."""
    user, new = add_user(server), f"user-{secrets.token_hex(6)}"
    changes = {"username": new, "is_superuser": True, "is_active": False, "profile_image": "rocket"}
    answer = call(server, "PATCH", f"/users/{user.id}", superuser(server), json={**changes, "password": "another one"})
    assert answer.status_code == 200
    assert changes.items() <= answer.json().items()
    assert _seen(server, user) == answer.json()
    call(server, "PATCH", f"/users/{user.id}", superuser(server), json={"is_active": True})
    assert sign_in(server, new, "another one").status_code == 200


@pytest.mark.parametrize("changes", [{"is_superuser": False}, {"is_active": False}], ids=str)
def test_superusers_do_not_lock_themselves_out(server, changes):
    """Nobody takes their own rights or switches themselves off: whoever did that could not undo it."""
    root = add_user(server, is_superuser=True)
    for headers in (root.session, by_key(add_key(server, root))):
        answer = call(server, "PATCH", f"/users/{root.id}", headers, json=changes)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("You cannot")
    said = _seen(server, root)
    assert (said["is_superuser"], said["is_active"]) == (True, True)


@pytest.mark.parametrize("changes", [{"is_superuser": False}, {"is_active": False}, {"username": "another"}], ids=str)
def test_the_superuser_of_the_settings_stays(server, changes):
    """No other superuser renames, switches off or removes whom LANGFLOW_SUPERUSER names: a start would make another."""
    root = add_user(server, is_superuser=True)
    with server.client() as client:
        before = whoami(client, superuser(server)).json()
        answer = client.patch(f"{API}/users/{before['id']}", headers=root.session, json=changes)
        assert (answer.status_code, answer.json()) == (400, {"detail": NAMED})
        answer = client.delete(f"{API}/users/{before['id']}", headers=root.session)
        assert (answer.status_code, answer.json()) == (400, {"detail": NAMED})
        assert whoami(client, superuser(server)).json() == before


@pytest.mark.parametrize("user_id", [str(uuid4()), "nobody", "%00", "a" * 300], ids=["uuid", "word", "nul", "long"])
def test_a_superuser_learns_that_there_is_no_such_user(server, user_id):
    """An id that nobody has is 404, whatever it looks like."""
    for method, more in (("PATCH", {"json": {"username": "ada"}}), ("DELETE", {})):
        answer = call(server, method, f"/users/{user_id}", superuser(server), **more)
        assert (answer.status_code, answer.json()) == (404, {"detail": "There is no such user."})


# --- one's own password -------------------------------------------------------------------------------------------


def test_who_resets_their_password_goes_on_with_a_new_session(server):
    """The other worker refuses every older session at once; the answer's cookie, the password and keys are good."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with refused_by_the_other(server, user.session) as client:
        answer = _reset(client, user, user.session, user.password, "another one")
        assert answer.status_code == 200
        assert answer.json()["username"] == user.name
        token = answer.cookies[COOKIE]
        client.cookies.clear()
    assert call(server, "GET", "/users/whoami", {"cookie": f"{COOKIE}={token}"}).json()["id"] == user.id
    assert call(server, "GET", "/users/whoami", key).status_code == 200
    assert sign_in(server, user.name, user.password).status_code == 401
    assert sign_in(server, user.name, "another one").status_code == 200


def test_a_password_is_reset_by_who_knows_it(server):
    """A wrong one is 400 and ends nothing, as is the same one again; another's is 403, for a superuser, too."""
    user, other = add_user(server), add_user(server)
    with server.client() as client:
        assert _reset(client, user, user.session, "not the password", "another one").status_code == 400
        assert _reset(client, user, user.session, user.password, user.password).status_code == 400
        assert _reset(client, user, other.session, user.password, "another one").status_code == 403
        assert _reset(client, user, superuser(server), user.password, "another one").status_code == 403
        assert whoami(client, user.session).status_code == 200
    assert sign_in(server, user.name, user.password).status_code == 200


def test_a_key_resets_no_password(server):
    """Whoever has found a key does not get more by it, though a session comes along."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with server.client() as client:
        for headers in (key, key | user.session):
            assert _reset(client, user, headers, user.password, "another one").status_code == 403
    assert sign_in(server, user.name, user.password).status_code == 200


def test_a_stolen_session_does_not_guess_the_password(server):
    """The sixth attempt at the current password within a minute is 429, and says when to come back."""
    user = add_user(server)
    with server.client() as client:
        for _ in range(5):
            assert _reset(client, user, user.session, "not the password", "another one").status_code == 400
        answer = _reset(client, user, user.session, user.password, "another one")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


# --- removing -----------------------------------------------------------------------------------------------------


def test_who_is_removed_is_refused_by_every_worker(server):
    """Session and keys are refused by the other worker at once, and the user is gone from the list."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    with refused_by_the_other(server, user.session) as client, refused_by_the_other(server, key):
        answer = client.delete(f"{API}/users/{user.id}", headers=superuser(server))
        assert (answer.status_code, answer.json()) == (200, {"detail": "The user was deleted."})
    assert sign_in(server, user.name, user.password).status_code == 401
    assert call(server, "DELETE", f"/users/{user.id}", superuser(server)).status_code == 404


def test_a_removed_users_name_is_free(server):
    """Another one may have it, who has nothing of the first one's, and whose keys are others."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    assert call(server, "DELETE", f"/users/{user.id}", superuser(server)).status_code == 200
    another = add_user(server, username=user.name)
    assert another.id != user.id
    assert call(server, "GET", "/api_key/", another.session).json()["total_count"] == 0
    assert call(server, "GET", "/users/whoami", key).status_code == 403


def test_superusers_do_not_remove_themselves(server):
    """By session or by key: it is 400, and they are still there."""
    root = add_user(server, is_superuser=True)
    for headers in (root.session, by_key(add_key(server, root))):
        answer = call(server, "DELETE", f"/users/{root.id}", headers)
        assert (answer.status_code, answer.json()) == (400, {"detail": "You cannot delete yourself."})
    assert call(server, "GET", "/users/whoami", root.session).status_code == 200


def test_nothing_of_a_removed_user_is_left(tmp_path):
    """Flows, variables, credentials and profile go with their user, and nobody else's do."""

    async def remove_one_of_two(server, owner):
        root = Principal(id=owner.id, name=owner.name, is_superuser=True)
        ada, grace = [(await people.add_person(server, name, "a password", actor=root)).id for name in ("ada", "grace")]
        for user_id in (ada, grace):
            await shelf.add_sample(server, user_id)
            await variables.add_variable(server, user_id, "CITY", "Oslo", type=VariableType.GENERIC)
            await server.vault.put(user_id, "OPENAI_API_KEY", "sk-not-a-real-one")
        await people.remove_person(server, ada, actor=root)
        assert await server.vault.list(ada) == []
        assert len(await server.vault.list(grace)) == 1
        async with server.database.connect() as connection:
            for table in (tables.flows, tables.variables, tables.profiles):
                found = (await connection.execute(select(table.c.user_id))).scalars().all()
                assert ada not in found
                assert grace in found

    with in_this_process(tmp_path) as (_, do):
        do(remove_one_of_two)


def test_a_database_that_fails_is_503(tmp_path):
    """The answer says to try again, and nothing of what was asked of the database."""

    async def break_it(server, _):
        async with server.database.begin() as connection:
            await connection.run_sync(tables.profiles.drop)

    with in_this_process(tmp_path) as (client, do):
        key = do(lambda server, root: lifecycle.issue(server.store, root)).key.reveal()
        assert whoami(client, {"x-api-key": key}).status_code == 200
        do(break_it)
        answer = whoami(client, {"x-api-key": key})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json() == {"detail": "The database does not answer. Try again."}


# --- what the tests above speak in --------------------------------------------------------------------------------


def _list(server, **asked):
    answer = call(server, "GET", "/users/", superuser(server), params=asked)
    assert answer.status_code == 200
    return answer.json()


def _seen(server, user):
    """A user as the list has them."""
    found = [each for each in _list(server, limit=1000)["users"] if each["id"] == user.id]
    assert len(found) == 1
    return found[0]


def _reset(client, user, headers, current, new):
    body = {"current_password": current, "password": new}
    return client.patch(f"{API}/users/{user.id}/reset-password", headers=headers, json=body)
