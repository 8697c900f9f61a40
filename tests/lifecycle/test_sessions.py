"""People sign in, are known by what their browser holds, and sign out again, on every worker."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from leaks import WATCH
from lives import HOUR, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, NotFound, StoreUnavailable
from keyguard.hashing import Passwords
from keyguard.model import AuditKind, Session
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, make_digest

TICK = timedelta(microseconds=1)
HALF_A_DAY = timedelta(hours=12)
SIGNED_IN, SIGNED_OUT = AuditKind.OWNER_SIGNED_IN, AuditKind.OWNER_SIGNED_OUT


@pytest.fixture
async def bob(store):
    """An owner with a password."""
    return await lifecycle.add_owner(store, "bob", id="owner-2", password="right")


async def noted(store, *kinds):
    """What of sessions stands in the log, the oldest first: kind, whose, by whom, and the detail."""
    events = await lifecycle.events(store, kinds=kinds or (SIGNED_IN, SIGNED_OUT))
    return [(event.kind, event.owner_id, event.actor, dict(event.detail)) for event in reversed(events)]


# --- signing in -------------------------------------------------------------------------------------------------


async def test_somebody_signs_in(store, bob, clock):
    """The right name and password begin a session, by whose token its owner is known for twelve hours."""
    signed_in = await lifecycle.sign_in(store, "bob", "right", clock=clock)
    assert signed_in.owner == bob
    assert (signed_in.session.created_at, signed_in.session.expires_at) == (NOON, NOON + HALF_A_DAY)
    found = await lifecycle.find_session(store, signed_in.token, clock=clock)
    assert (found.session, found.owner) == (signed_in.session, bob)
    expires_at = (NOON + HALF_A_DAY).isoformat()
    assert await noted(store) == [(SIGNED_IN, "owner-2", "owner-2", {"expires_at": expires_at})]


@pytest.mark.parametrize(("name", "password"), [("bob", "wrong"), ("bob", ""), ("eve", "right"), ("\ud800", "right")])
async def test_nobody_signs_in_otherwise(store, bob, clock, name, password):
    """Another name or password begins nothing, and leaves no event."""
    assert await lifecycle.sign_in(store, name, password, clock=clock) is None
    assert await noted(store) == []
    assert await lifecycle.end_sessions(store, bob, clock=clock) == 0


async def test_who_is_not_active_does_not_sign_in(store, bob, clock):
    """The right password of an owner who is not active begins no session."""
    await lifecycle.deactivate(store, bob)
    assert await lifecycle.sign_in(store, "bob", "right", clock=clock) is None


async def test_a_token_is_32_random_bytes(store, bob, clock):
    """A token is the random bytes in base64url, and the store has the SHA-256 of that text, with its scheme."""
    signed_in = await lifecycle.sign_in(store, "bob", "right", clock=clock, entropy=lambda count: bytes(range(count)))
    assert signed_in.token == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert signed_in.session.lookup == f"sha256${sha256(signed_in.token.encode()).hexdigest()}"


async def test_each_session_is_one_of_its_own(store, bob):
    """Who signs in twice has two sessions with two tokens, by the clock and the randomness of this host."""
    first, second = [await lifecycle.sign_in(store, "bob", "right") for _ in range(2)]
    assert first.token != second.token
    assert await lifecycle.sign_out(store, first.token)
    assert await lifecycle.find_session(store, first.token) is None
    assert (await lifecycle.find_session(store, second.token)).session == second.session


async def test_who_has_proved_it_otherwise(store, clock):
    """The app may begin a session of whoever it has asked by itself; the owner or whoever was named did it."""
    owner = await ada(store)
    signed_in = await lifecycle.start_session(store, owner, lifetime=HOUR, clock=clock)
    assert (await lifecycle.find_session(store, signed_in.token, clock=clock)).owner == signed_in.owner == owner
    await lifecycle.start_session(store, "owner-1", lifetime=HOUR, actor="the intranet", clock=clock)
    expires_at = (NOON + HOUR).isoformat()
    assert await noted(store) == [
        (SIGNED_IN, "owner-1", by, {"expires_at": expires_at}) for by in ("owner-1", "the intranet")
    ]


async def test_nobody_and_who_is_not_active_have_no_session(store):
    """A session needs an active owner."""
    owner = await ada(store)
    await lifecycle.deactivate(store, owner)
    with pytest.raises(Conflict, match="not active"):
        await lifecycle.start_session(store, owner)
    with pytest.raises(NotFound):
        await lifecycle.start_session(store, "eve")
    assert await noted(store) == []


LONGEST = timedelta(days=400)


@pytest.mark.parametrize("lifetime", [TICK, LONGEST], ids=str)
async def test_how_long_a_session_lasts(store, bob, clock, lifetime):
    """A session lasts as long as asked for, and not one microsecond longer."""
    sessions = [
        await lifecycle.sign_in(store, "bob", "right", lifetime=lifetime, clock=clock),
        await lifecycle.start_session(store, bob, lifetime=lifetime, clock=clock),
    ]
    clock.advance(lifetime - TICK)
    for each in sessions:
        assert await lifecycle.find_session(store, each.token, clock=clock)
    clock.advance(TICK)
    for each in sessions:
        assert await lifecycle.find_session(store, each.token, clock=clock) is None


@pytest.mark.parametrize("lifetime", [timedelta(0), -TICK, LONGEST + TICK, 3600, None], ids=str)
async def test_how_long_no_session_lasts(lifetime):
    """A session has an end that lies ahead, and not farther than browsers keep a cookie."""
    store = MemoryStore()
    owner = await ada(store)
    for call in (
        lambda: lifecycle.sign_in(store, "ada", "right", lifetime=lifetime),
        lambda: lifecycle.start_session(store, owner, lifetime=lifetime),
    ):
        with pytest.raises(ConfigurationError, match="lifetime is a timedelta of more than nothing and at most 400"):
            await call()


# --- what a browser holds ---------------------------------------------------------------------------------------

DIGEST = make_digest("session")
NO_TOKENS = {
    "nothing": "",
    "too short": "A" * 42,
    "too long": "A" * 44,
    "very long": "A" * 1_000_000,
    "padded": "A" * 42 + "=",
    "a line": "A" * 42 + "\n",
    "letters of others": "é" * 43,
    "surrogates": "\ud800" * 43,
    "NUL": "\0" * 43,
    "a digest": DIGEST,
}


async def test_any_text_is_a_question(store):
    """Whatever a cookie holds is nobody's session, if it is no token of one."""
    for text in (*NO_TOKENS.values(), "A" * 43):
        assert await lifecycle.find_session(store, text) is None
        assert await lifecycle.sign_out(store, text) is False
    assert await noted(store) == []


async def test_a_digest_is_no_token(store, bob, clock):
    """Who has read the table of sessions cannot sign in by what stands there."""
    signed_in = await lifecycle.sign_in(store, "bob", "right", clock=clock)
    digest = signed_in.session.lookup
    for text in (digest, digest.partition("$")[2], digest.partition("$")[2][:43]):
        assert await lifecycle.find_session(store, text, clock=clock) is None


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
async def test_the_store_is_asked_about_tokens_alone(text):
    """For what cannot be a token no store is asked, so that none can stumble over it."""
    assert await lifecycle.find_session(None, text) is None
    assert await lifecycle.sign_out(None, text) is False


async def test_a_token_shows_nowhere(store, bob, clock, tmp_path):
    """No repr has a token, no event, and no database; it is among what is watched for in all tests."""
    signed_in = await lifecycle.sign_in(store, "bob", "right", clock=clock)
    found = await lifecycle.find_session(store, signed_in.token, clock=clock)
    assert WATCH.knows(signed_in.token)
    WATCH.see("repr", f"{signed_in!r} {found!r} {await lifecycle.events(store)!r}")
    WATCH.see_databases(tmp_path)
    assert WATCH.judge() == []
    assert signed_in.session.lookup not in f"{signed_in!r} {found!r}"


@pytest.mark.parametrize("call", ["find_session", "sign_out", "sign_in", "start_session"])
async def test_a_token_is_in_no_traceback(call):
    """Where the store fails no variable of a frame of ours shows a token or a password."""
    store, password = Failing(), "correct-horse-battery-staple"
    owner = await ada(store)
    await lifecycle.set_password(store, owner, password)
    token = urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
    for secret in (token, password):
        WATCH.key(secret)
    arguments = {"sign_in": ("ada", password), "start_session": (owner,)}.get(call, (token,))
    with pytest.raises(StoreUnavailable) as caught:
        await getattr(lifecycle, call)(store, *arguments)
    WATCH.see_exception(caught.value)
    assert WATCH.judge() == []


class Failing(MemoryStore):
    """Keeps no session."""

    async def add_session(self, session, **more):
        raise StoreUnavailable("the disk is full")

    async def find_session(self, lookup):
        raise StoreUnavailable("the disk is full")


# --- the end of a session ---------------------------------------------------------------------------------------


async def test_signing_out_ends_a_session_once(store, bob, clock):
    """Who has signed out is not known any more, and cannot sign out again."""
    token = (await lifecycle.sign_in(store, "bob", "right", clock=clock)).token
    assert await lifecycle.sign_out(store, token, clock=clock) is True
    assert await lifecycle.find_session(store, token, clock=clock) is None
    assert await lifecycle.sign_out(store, token, clock=clock) is False
    assert await noted(store, SIGNED_OUT) == [(SIGNED_OUT, "owner-2", "owner-2", {})]


async def test_signing_out_ends_it_on_every_worker(make_store):
    """What one process has ended the next request to another one does not find."""
    store, other = await make_store(), await make_store()
    owner = await ada(store)
    token = (await lifecycle.start_session(store, owner)).token
    assert await lifecycle.find_session(other, token)
    assert await lifecycle.sign_out(other, token)
    assert await lifecycle.find_session(store, token) is None


async def test_what_has_expired_has_ended(store, bob, clock):
    """To sign out of a session that has expired does nothing, and leaves no event."""
    token = (await lifecycle.sign_in(store, "bob", "right", clock=clock)).token
    clock.advance(HALF_A_DAY)
    assert await lifecycle.sign_out(store, token, clock=clock) is False
    clock.advance(TICK)
    assert await lifecycle.end_sessions(store, bob, clock=clock) == 0
    assert await noted(store, SIGNED_OUT) == []


async def test_all_sessions_of_an_owner_are_ended(store, bob, clock):
    """All sessions of one owner end at once, those of others go on, and what has expired is not counted."""
    owner = await ada(store)
    other = await lifecycle.start_session(store, owner, clock=clock)
    await lifecycle.start_session(store, bob, lifetime=HOUR, clock=clock)
    tokens = [(await lifecycle.start_session(store, bob, clock=clock)).token for _ in range(3)]
    clock.advance(HOUR + TICK)
    assert await lifecycle.end_sessions(store, bob, actor=owner, clock=clock) == 3
    assert [await lifecycle.find_session(store, token, clock=clock) for token in tokens] == [None] * 3
    assert await lifecycle.find_session(store, other.token, clock=clock)
    assert await lifecycle.end_sessions(store, "owner-2", clock=clock) == 0
    assert await lifecycle.end_sessions(store, "nobody", clock=clock) == 0
    assert await noted(store, SIGNED_OUT) == [(SIGNED_OUT, "owner-2", "owner-1", {"everywhere": True})]


@pytest.mark.parametrize(
    "change",
    [
        lifecycle.deactivate,
        lambda store, owner: lifecycle.set_password(store, owner, "another"),
        lambda store, owner: lifecycle.set_password(store, owner, None),
    ],
    ids=["deactivated", "another password", "no password"],
)
async def test_what_else_ends_sessions(store, bob, change):
    """Whoever is deactivated, or has another password, has no session any more, and gets none back."""
    token = (await lifecycle.sign_in(store, "bob", "right")).token
    await change(store, bob)
    assert await lifecycle.find_session(store, token) is None
    await lifecycle.activate(store, bob)
    assert await lifecycle.find_session(store, token) is None


async def test_a_store_that_keeps_more_than_it_should(clock):
    """A session whose owner is not active is none, also where the store has it still: a row was changed by hand."""
    store = MemoryStore()
    owner = await ada(store)
    token = (await lifecycle.start_session(store, owner, clock=clock)).token
    store._owners[owner.id] = replace(owner, is_active=False)
    assert await lifecycle.find_session(store, token, clock=clock) is None


async def test_expired_sessions_are_deleted_when_somebody_signs_in(store, bob, clock):
    """The table of sessions does not grow for ever: who signs in takes away what has expired."""
    await lifecycle.sign_in(store, "bob", "right", lifetime=HOUR, clock=clock)
    clock.advance(HOUR + TICK)
    assert await lifecycle.sign_in(store, "bob", "wrong", clock=clock) is None
    await lifecycle.sign_in(store, "bob", "right", clock=clock)
    assert await store.purge_sessions(clock()) == 0
    clock.advance(HALF_A_DAY + TICK)
    assert await store.purge_sessions(clock()) == 1


# --- what happens meanwhile -------------------------------------------------------------------------------------


def before_the_session(store, change):
    """Let something happen to the store between a password's being verified and the session's being kept, once."""
    add = store.add_session

    async def change_then_add(*args, **kwargs):
        store.add_session = add
        await change()
        await add(*args, **kwargs)

    store.add_session = change_then_add


async def test_a_password_that_is_changed_meanwhile(store, bob):
    """Where the password is changed while somebody signs in by the old one, no session begins."""
    before_the_session(store, lambda: lifecycle.set_password(store, bob, "another"))
    assert await lifecycle.sign_in(store, "bob", "right") is None
    assert await lifecycle.end_sessions(store, bob) == 0
    assert await lifecycle.sign_in(store, "bob", "another")


async def test_a_password_that_is_right_again(store, bob):
    """Where the password is set to the same again, it has another verifier and is right: one more try finds that."""
    before_the_session(store, lambda: lifecycle.set_password(store, bob, "right"))
    signed_in = await lifecycle.sign_in(store, "bob", "right")
    assert (await lifecycle.find_session(store, signed_in.token)).owner == bob
    assert len(await noted(store)) == 1


async def test_who_is_deactivated_meanwhile(store, bob):
    """Who is deactivated while signing in has no session."""
    before_the_session(store, lambda: lifecycle.deactivate(store, bob))
    assert await lifecycle.sign_in(store, "bob", "right") is None
    assert await noted(store) == []


@pytest.mark.parametrize("problem", [Conflict, NotFound])
async def test_who_never_gets_in(store, bob, problem):
    """Where things change again and again somebody is not signed in, after two tries; also who is deleted meanwhile."""
    tries = []

    async def never(session, **more):
        tries.append(session)
        raise problem("changed meanwhile")

    store.add_session = never
    assert await lifecycle.sign_in(store, "bob", "right") is None
    assert len(tries) == 2


async def test_a_password_that_is_kept_anew_ends_no_session(store, clock):
    """A verifier that is replaced by a stronger one is of the same password: who was signed in before still is."""
    weak = Passwords(memory_cost=16, time_cost=1).hash(b"right")
    owner = await ada(store)
    await store.set_password(owner.id, weak)
    first = await lifecycle.start_session(store, owner, clock=clock)
    second = await lifecycle.sign_in(store, "ada", "right", clock=clock)
    assert await store.get_password(owner.id) != weak
    for each in (first, second):
        assert await lifecycle.find_session(store, each.token, clock=clock)


async def test_a_session_that_is_ended_meanwhile(store, bob, clock):
    """Of two who end the same session one did it, and one event says so."""
    token = (await lifecycle.sign_in(store, "bob", "right", clock=clock)).token
    look = store.find_session

    async def look_then_end(lookup):
        found = await look(lookup)
        store.find_session = look
        assert await lifecycle.sign_out(store, token, clock=clock)
        return found

    store.find_session = look_then_end
    assert await lifecycle.sign_out(store, token, clock=clock) is False
    assert len(await noted(store, SIGNED_OUT)) == 1


def test_a_session_shows_no_digest():
    """What a session is found by is not in its repr."""
    session = Session(lookup=DIGEST, owner_id="1", created_at=NOON, expires_at=NOON)
    assert DIGEST[:20] not in repr(session)
