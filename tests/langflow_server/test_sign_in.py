"""Signing in and out."""

import threading
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
from langflow_accounts import (
    API,
    COOKIE,
    add_key,
    add_user,
    bearer,
    by_key,
    call,
    in_this_process,
    refused_by_the_other,
    sign_in,
    whoami,
)
from langflow_serving import ONE_DATABASE, PATIENCE, SUPERUSER

from keyguard import Overloaded, lifecycle
from langflow_server.attempts import Attempts
from langflow_server.problems import TooMany, WrongPassword


def test_a_name_and_a_password_begin_a_session(server):
    """The answer has the token twice, as Langflow's clients read it, and nothing in between keeps it."""
    user = add_user(server)
    answer = sign_in(server, user.name, user.password)
    assert answer.status_code == 200
    said = answer.json()
    assert said == {
        "access_token": said["access_token"],
        "refresh_token": said["access_token"],
        "token_type": "bearer",
    }
    assert answer.headers["cache-control"] == "no-store"
    with server.client() as client:
        assert whoami(client, bearer(said["access_token"])).json()["username"] == user.name
        assert whoami(client, {"cookie": f"{COOKIE}={said['access_token']}"}).json()["username"] == user.name


def test_the_cookie_is_out_of_scripts_reach(server):
    """It is HttpOnly and Lax, for all paths and twelve hours; over HTTPS it is not sent without."""
    user = add_user(server)
    form = {"username": user.name, "password": user.password}
    plain = call(server, "POST", "/login", data=form)
    assert _cookie(plain) == (
        plain.json()["access_token"],
        {"httponly", "max-age=43200", "path=/", "samesite=lax"},
    )
    # The server believes a proxy on this machine, as uvicorn does where nothing else is said.
    encrypted = call(server, "POST", "/login", {"x-forwarded-proto": "https"}, data=form)
    assert _cookie(encrypted)[1] == {"httponly", "max-age=43200", "path=/", "samesite=lax", "secure"}


def test_who_has_the_wrong_password_learns_nothing_else(server):
    """A wrong password, a name that nobody has and a user who is not active get one answer, byte for byte."""
    user, inactive = add_user(server), add_user(server, is_active=False)
    answers = [
        sign_in(server, user.name, "not the password"),
        sign_in(server, "nobody-has-this-name", "not the password"),
        sign_in(server, inactive.name, inactive.password),
        sign_in(server, "half \0 a name", "not the password"),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json() == {"detail": "The name or the password is not right."}
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "set-cookie" not in answer.headers
    assert len({answer.content for answer in answers}) == 1


@ONE_DATABASE
@pytest.mark.parametrize("form", [{}, {"username": "ada"}, {"username": "ada", "password": "long " * 201}])
def test_what_is_no_form_of_a_sign_in_is_422(server, form):
    """Without name or password, or with one that nobody can have, the answer is FastAPI's, and quotes nothing."""
    answer = call(server, "POST", "/login", data=form)
    assert answer.status_code == 422
    assert all(set(each) == {"type", "loc", "msg"} for each in answer.json()["detail"])
    assert "long" not in answer.text.replace("longer", "").replace("too_long", "")


def test_the_sixth_failure_within_a_minute_is_429(server):
    """Then the right password is no better, and Retry-After says when to come back; others get in meanwhile."""
    user, other = add_user(server), add_user(server)
    with _from(server, "127.0.0.51") as client:
        for _ in range(5):
            assert _try(client, user.name, "not the password").status_code == 401
        refused = _try(client, user.name, user.password)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 12  # Each of the five is given back after 12 s.
        assert refused.json()["detail"].startswith("There were too many attempts.")
        assert "set-cookie" not in refused.headers
        assert _try(client, other.name, other.password).status_code == 200
        with _from(server, "127.0.0.52", like=client) as elsewhere:
            assert _try(elsewhere, user.name, user.password).status_code == 200


def test_a_sign_in_that_succeeds_does_not_count(server):
    """Who knows the password signs in as often as they like."""
    user = add_user(server)
    with _from(server, "127.0.0.53") as client:
        assert [_try(client, user.name, user.password).status_code for _ in range(7)] == [200] * 7


def test_a_session_is_renewed_and_the_old_one_ends(server):
    """The new token is good in each worker, and the other worker refuses the old one at once."""
    user = add_user(server)
    with refused_by_the_other(server, user.session) as client:
        answer = client.post(f"{API}/refresh", headers=user.session)
        client.cookies.clear()
        assert answer.status_code == 200
        assert _cookie(answer)[0] == answer.json()["access_token"]
    with server.each_worker() as clients:
        for each in clients.values():
            assert whoami(each, bearer(answer.json()["access_token"])).json()["id"] == user.id


def test_of_two_renewals_at_once_one_is_made(server):
    """A session becomes one session, whoever else has the token: the other one is refused."""
    user = add_user(server)
    barrier, answers = threading.Barrier(2), []

    def renew(client):
        barrier.wait(PATIENCE)
        answers.append(client.post(f"{API}/refresh", headers=user.session))

    with server.each_worker() as clients:
        threads = [threading.Thread(target=renew, args=[client]) for client in clients.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    renewed, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (renewed.status_code, refused.status_code) == (200, 403)
    with server.client() as client:
        assert whoami(client, bearer(renewed.json()["access_token"])).status_code == 200


def test_who_signs_out_is_out_in_each_worker(server):
    """The other worker refuses the token at once, and the browser is told to forget it."""
    user = add_user(server)
    with refused_by_the_other(server, user.session) as client:
        answer = client.post(f"{API}/logout", headers=user.session)
        assert answer.status_code == 200
        assert answer.json() == {"detail": "Signed out."}
        value, attributes = _cookie(answer)
        assert not value
        assert "max-age=0" in attributes


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
def test_a_key_is_no_session(server, path):
    """A key neither renews nor ends a session, be there one beside it; and nobody has none to end."""
    user = add_user(server)
    key = by_key(add_key(server, user))
    for headers in (key, key | user.session, {}):
        assert call(server, "POST", path, headers).status_code == 403
    with server.client() as client:
        assert whoami(client, user.session).status_code == 200


def test_without_auto_login_nobody_is_signed_in(server):
    """The answer says so as Langflow's front end reads it."""
    answer = call(server, "GET", "/auto_login")
    assert answer.status_code == 400
    assert answer.json() == {
        "detail": {"message": "AUTO_LOGIN is off: sign in with a name and a password.", "auto_login": False}
    }
    assert "set-cookie" not in answer.headers


def test_with_auto_login_whoever_asks_is_the_superuser(tmp_path):
    """The answer is that of a sign-in; where the superuser is not active there is none."""
    with in_this_process(tmp_path, auto_login=True) as (client, do):
        answer = client.get(f"{API}/auto_login")
        assert answer.status_code == 200
        assert _cookie(answer)[0] == answer.json()["access_token"] == answer.json()["refresh_token"]
        client.cookies.clear()
        said = whoami(client, bearer(answer.json()["access_token"])).json()
        assert (said["username"], said["is_superuser"]) == (SUPERUSER, True)
        assert said["last_login_at"] is not None
        do(lambda server, root: lifecycle.deactivate(server.store, root))
        answer = client.get(f"{API}/auto_login")
        assert answer.status_code == 400
        assert answer.json()["detail"]["auto_login"] is False


def test_a_failure_is_written_down_without_what_was_typed(tmp_path, caplog):
    """The log says which user it was, and from where; a name that nobody has may be a password."""
    with in_this_process(tmp_path) as (client, do):
        _try(client, SUPERUSER, "typed by mistake")
        _try(client, "a password in the wrong field", "typed by mistake")
        (root,) = do(lambda server, root: server.store.list_owners())
    said = [record.getMessage() for record in caplog.records if record.name == "langflow_server"]
    assert said == [
        f"sign-in failed: user {root.id}, from 'testclient'",
        "sign-in failed: user unknown, from 'testclient'",
    ]


# --- how attempts are counted -------------------------------------------------------------------------------------


def test_an_address_may_try_twenty_names():
    """The 21st failure from one address is too much, whatever the name, and another address may go on."""
    attempts = Attempts()
    for number in range(20):
        _fail(attempts, f"user {number}", "192.0.2.1")
    with pytest.raises(TooMany):
        _fail(attempts, "user 20", "192.0.2.1")
    _fail(attempts, "user 20", "192.0.2.2")


def test_a_name_may_be_tried_twenty_times():
    """The 21st failure for one name is too much, wherever it comes from, and other names may be tried on."""
    attempts = Attempts()
    for number in range(20):
        _fail(attempts, "ada", f"192.0.2.{number}")
    with pytest.raises(TooMany):
        _fail(attempts, "ada", "192.0.2.20")
    _fail(attempts, "grace", "192.0.2.20")


@pytest.mark.parametrize(
    ("one", "another", "is_one"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "", True),
    ],
)
def test_whose_addresses_are_one(one, another, is_one):
    """An IPv6 address counts as its /64, which one customer has; one that is IPv4 in truth as itself."""
    attempts = Attempts()
    for _ in range(5):
        _fail(attempts, "ada", one)
    if is_one:
        with pytest.raises(TooMany):
            _fail(attempts, "ada", another)
    else:
        _fail(attempts, "ada", another)


def test_an_attempt_at_which_nothing_was_verified_does_not_count():
    """Where too much is to be computed, nobody has guessed."""
    attempts = Attempts()
    for _ in range(21):
        with pytest.raises(Overloaded), attempts.one("ada", "192.0.2.1"):
            raise Overloaded
    for _ in range(5):
        _fail(attempts, "ada", "192.0.2.1")


# --- what the tests above speak in --------------------------------------------------------------------------------


def _fail(attempts, name, address):
    with pytest.raises(WrongPassword), attempts.one(name, address):
        raise WrongPassword


def _try(client, name, password):
    answer = client.post(f"{API}/login", data={"username": name, "password": password})
    client.cookies.clear()
    return answer


@contextmanager
def _from(server, address, like=None):
    """A client that calls from an address of its own; with `like`, one of the same worker as that one."""
    with ExitStack() as stack:
        while True:
            client = stack.enter_context(server.client(transport=httpx2.HTTPTransport(local_address=address)))
            if like is None or server.worker_of(client) == server.worker_of(like):
                break
        yield client


def _cookie(answer):
    """What the cookie is set to, and how."""
    (line,) = answer.headers.get_list("set-cookie")
    pair, *attributes = line.split("; ")
    name, _, value = pair.partition("=")
    assert name == COOKIE
    return value.strip('"'), {each.lower() for each in attributes if not each.startswith("expires")}
