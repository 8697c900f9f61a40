"""An app that is guarded with imported keys: programs go on with the keys that they have, and no other text passes."""

import pytest
from asgi import get
from langflow.building import DAY, LONG_SECRET, NOON, SHORT_SECRET, Langflow, a_key, hash_of, seal
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyguard import KeyGuard, Reason, langflow, lifecycle

SECRETS = {"1.5": LONG_SECRET, "1.8": SHORT_SECRET, "1.13": LONG_SECRET, "mixed": SHORT_SECRET}
PASSES = {"of ada": ("ada", True), "of bob": ("bob", False), "used": ("ada", True)}
REFUSED = {
    "off": Reason.DISABLED,
    "expired": Reason.EXPIRED,
    "of carla": Reason.OWNER_INACTIVE,
    "of nobody": Reason.UNKNOWN,
    "lost": Reason.UNKNOWN,
}


def stored(kind, name):
    """How a release keeps a key: its text, and its hash. A database that was upgraded has all of these."""
    text, secret = a_key(name), SECRETS[kind]
    forms = {
        "1.5": (text, None),
        "1.8": (seal(text, secret, old=True), None),
        "1.13": (seal(text, secret), hash_of(text)),
    }
    if kind != "mixed":
        return forms[kind]
    upgraded = [
        (text, None),
        (text, hash_of(text)),
        (seal(text, secret, old=True), None),
        (seal(text, secret, old=True), hash_of(text)),
        (seal(text, secret), hash_of(text)),
        (seal(text, "the secret of another time"), hash_of(text)),
    ]
    return upgraded[len(name) % len(upgraded)]


def a_database(kind):
    """A database of a release, with keys of each kind; `texts` is all that stands in it."""
    db = Langflow("1.13" if kind == "mixed" else kind)
    users = {
        "ada": db.user("ada", is_superuser=True),
        "bob": db.user("bob"),
        "carla": db.user("carla", is_active=False),
        "nobody": None,
    }
    for name, user, more in [
        ("of ada", "ada", {}),
        ("of bob", "bob", {}),
        ("used", "ada", {"total_uses": 7, "last_used_at": NOON - DAY}),
        ("off", "ada", {"is_active": False}),
        ("expired", "bob", {"expires_at": NOON - DAY}),
        ("of carla", "carla", {}),
        ("of nobody", "nobody", {}),
    ]:
        api_key, key_hash = stored(kind, name)
        db.key(users[user], api_key, name=name, api_key_hash=key_hash, **more)
    db.key(users["ada"], seal(a_key("lost"), "the secret of another time"), name="lost")
    return db


def guarded(store, events, clock):
    async def whoami(request):
        return JSONResponse([request.user.name, request.user.is_superuser])

    return KeyGuard(Starlette(routes=[Route("/", whoami)]), store=store, observer=events.append, clock=clock)


@pytest.fixture(params=SECRETS)
async def imported(request, place, database_store, clock):
    """A store with the keys of a Langflow database, and that database."""
    db = a_database(request.param)
    url = await db.write(place)
    plan = await langflow.plan(url, database_store, secret=SECRETS[request.param], clock=clock)
    await langflow.carry_out(plan, database_store, clock=clock)
    return database_store, db


async def test_the_right_keys_pass_as_the_right_users(imported, clock):
    """Each key lets its own user in, in a header and in the query, and each that is off, over or lost is refused."""
    store, db = imported
    events = []
    app = guarded(store, events, clock)
    for name, user in PASSES.items():
        in_header = await get(app, headers=[("x-api-key", a_key(name))])
        in_query = await get(app, query=b"x-api-key=" + a_key(name).encode())
        assert in_header.json == in_query.json == [*user]
    has_expiry = db.release == "1.13"  # The others have no column for it, and the key is good.
    for name, reason in REFUSED.items():
        answer = await get(app, headers=[("x-api-key", a_key(name))])
        if name == "expired" and not has_expiry:
            assert answer.json == ["bob", False]
        else:
            assert (answer.status, events[-1].decision.reason) == (401, reason)


async def test_no_stored_text_passes(imported, clock):
    """What stands in the rows of either database is no key, and neither is what it could be taken for."""
    store, db = imported
    app = guarded(store, [], clock)
    rows = [text for row in db.keys for text in (row["api_key"], row.get("api_key_hash", ""))]
    sealed = [text for text in rows if text and text.startswith("gAAAAA")]
    texts = {*filter(None, rows), *(f"sk-{text[:43]}" for text in sealed), *(text[:46] for text in sealed)}
    texts |= {key.lookup for key in await store.list_keys()} | {"sk-", "sk-" + "-" * 43}
    for text in texts - {a_key(row["name"]) for row in db.keys}:
        answer = await get(app, headers=[("x-api-key", text)])
        assert answer.status == 401


async def test_digests_are_upgraded_at_the_next_use(imported, clock):
    """What came by its hash alone has a digest under the pepper once it was used."""
    store, _ = imported
    app = guarded(store, [], clock)
    for name in PASSES:
        assert (await get(app, headers=[("x-api-key", a_key(name))])).status == 200
    await app.aclose()
    await store.open()
    good = [key for key in await store.list_keys() if key.name in PASSES]
    assert len(good) == len(PASSES)
    assert all(key.lookup.startswith("hmac-sha256$") for key in good)


async def test_a_key_goes_on_in_keyguard(imported, clock):
    """An imported key is counted from where it was, rotated and revoked like any other."""
    store, _ = imported
    app = guarded(store, [], clock)
    keys = {key.name: key.id for key in await store.list_keys()}
    assert (await lifecycle.usage(store, keys["used"])).total == 7
    issued = await lifecycle.rotate(store, keys["of bob"], clock=clock)
    await lifecycle.revoke(store, keys["of ada"], clock=clock)
    for name in ("of bob", "of ada"):
        assert (await get(app, headers=[("x-api-key", a_key(name))])).status == 401
    assert (await get(app, headers=[("x-api-key", issued.key.reveal())])).json == ["bob", False]
