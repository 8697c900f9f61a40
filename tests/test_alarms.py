"""A key that is presented after it was revoked is an event of its own, for a person to build an alarm on."""

import pytest
from asgi import get
from starlette.applications import Starlette

from keyguard import KeyGuard, Policy, lifecycle
from keyguard.model import Allowed, Reason, Refused
from keyguard.stores.memory import MemoryStore


@pytest.fixture
async def store():
    return MemoryStore()


async def issue(store, name="ada"):
    owner = await store.find_owner(name) or await lifecycle.add_owner(store, name)
    issued = await lifecycle.issue(store, owner)
    return issued.record.id, issued.key.reveal()


def guarded(store, **arguments):
    """An app behind a guard, and the events that its observer is told of."""
    events = []
    return KeyGuard(Starlette(), store=store, observer=events.append, **arguments), events


async def status(app, key, path="/"):
    return (await get(app, path, headers=[("x-api-key", key)])).status


async def test_a_revoked_key_raises_an_alarm(store, caplog):
    """The observer is told which key it was, whose, and when and why it was revoked; and the log has its line."""
    key_id, key = await issue(store)
    app, events = guarded(store)
    assert await status(app, key) == 404  # There is no route, but the guard has let it pass.
    await lifecycle.revoke(store, key_id, reason="leaked")
    assert await status(app, key) == 401
    assert [event.revoked_key for event in events] == [None, await lifecycle.get(store, key_id)]
    (line,) = [record for record in caplog.records if getattr(record, "keyguard_event", "") == "revoked_key_presented"]
    assert (line.keyguard_key_id, line.keyguard_revoked_reason) == (key_id, "leaked")


async def test_an_alarm_changes_nothing(store):
    """However often a revoked key comes, nothing is done about it: no key, no owner and no audit event changes."""
    key_id, key = await issue(store)
    _, other = await issue(store)
    await lifecycle.revoke(store, key_id)
    app, _ = guarded(store)
    before = await lifecycle.list_keys(store), await store.list_owners(), await lifecycle.events(store)
    for _ in range(50):
        assert await status(app, key) == 401
    assert (await lifecycle.list_keys(store), await store.list_owners(), await lifecycle.events(store)) == before
    assert await status(app, other) == 404


async def test_a_key_that_was_replaced_is_told_from_one_that_leaked(store):
    """Whoever still has a key that was rotated gives an alarm that says so."""
    key_id, key = await issue(store)
    await lifecycle.rotate(store, key_id)
    app, events = guarded(store)
    assert await status(app, key) == 401
    assert events[0].revoked_key.revoked_by_rotation


@pytest.mark.parametrize("is_there", [True, False], ids=["passes", "nobody to pass as"])
async def test_skip_auth_hides_no_revoked_key(store, is_there):
    """Where SKIP_AUTH lets a revoked key pass, or would if its user were there, the alarm is the same."""
    key_id, key = await issue(store, "ada")
    await lifecycle.revoke(store, key_id)
    app, events = guarded(store, policy=Policy(skip_auth=True, auto_login_user="ada" if is_there else "nobody"))
    assert await status(app, key) == (404 if is_there else 401)
    (event,) = events
    match event.decision:
        case Allowed(key=None, noted=Reason.REVOKED, noted_key=noted) if is_there:
            assert noted.id == key_id
        case Refused(reason=Reason.NO_AUTO_LOGIN_USER, key=noted) if not is_there:
            assert noted.id == key_id
        case other:
            pytest.fail(f"not expected: {other}")
    assert event.revoked_key.id == key_id


async def test_what_is_not_looked_at_raises_no_alarm(store):
    """On an exempt path no key is looked at; and a made-up key with a revoked one's id is nobody's."""
    key_id, key = await issue(store)
    await lifecycle.revoke(store, key_id)
    app, events = guarded(store, policy=Policy(exempt=["/health"]))
    assert await status(app, key, "/health") == 404
    other = (await issue(store))[1]
    assert await status(app, key[:15] + other[15:]) == 401
    assert [event.revoked_key for event in events] == [None, None]
