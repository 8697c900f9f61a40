"""What `KeyAdmin` takes, and what it refuses with a sentence that says what is allowed."""

import inspect
from datetime import datetime, timedelta

import pytest

from keyguard import ConfigurationError, Keyring, Policy
from keyguard.admin import KeyAdmin, Theme
from keyguard.admin._settings import Settings
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore, UserTable
from keyguard.stores.static import StaticStore

DAY = timedelta(days=1)

WRONG = {
    "identify": ["a text", 1],
    "sign_in_url": ["", "login", "//evil.test", "/\\evil.test", "ftp://x.test", "https://a@x.test", "https://", 1],
    "policy": ["auto_login", {}],
    "scopes": ["flows:read", ["Flows"], ["*"], ["superuser"], {"flows": None}, [1], 1],
    "lifetimes": [DAY, [7], [timedelta(0)], [-DAY], [timedelta(days=40_000)], [None], "7"],
    "default_lifetime": [90, timedelta(0), -DAY],
    "session_lifetime": [12, timedelta(0), timedelta(days=366), None],
    "url": ["app.example.com", "/app", "ftp://x.test", "https://u:p@x.test", "https://[x", 1],
    "sample_path": ["", "flows", "//evil.test", "/a b", "/é", 1],
    "origins": ["https://x.test", ["x.test"], ["https://x.test/path"], ["https://x.test?a"], ["null"], 1],
    "trusted_hops": [-1, True, "1", 1.0],
    "secure_cookies": ["yes", 1],
    "title": ["", "x" * 81, 1],
    "links": [
        "/flows",
        ["/flows"],
        ["ab"],
        [("Flows", "/flows", "more")],
        [("", "/flows")],
        [(" ", "/flows")],
        [("x" * 41, "/flows")],
        [(1, "/flows")],
        [("Flows", "flows")],
        [("Flows", "//evil.test")],
        [("Flows", "/\\evil.test")],
        [("Flows", "javascript:alert(1)")],
        [("Flows", "/a b")],
        [("Flows", 1)],
        {"Flows": "/flows"},
        [None],
        1,
    ],
    "theme": ["dark", {}],
    "clock": ["now", None, lambda: None, lambda: datetime(2026, 1, 1)],  # noqa: DTZ001 Without a zone on purpose.
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name} {number}")
        for name, values in WRONG.items()
        for number, value in enumerate(values)
    ],
)
def test_what_cannot_be_right_is_refused(name, value):
    """At construction, with the argument's name."""
    with pytest.raises(ConfigurationError, match=name.rstrip("s") + "|scope|origin"):
        KeyAdmin(MemoryStore(), **{name: value})


@pytest.mark.parametrize(
    "store", [MemoryStore, StaticStore({}), object(), None], ids=["a class", "static", "an object", "none"]
)
def test_a_store_is_one_that_keys_are_issued_in(store):
    """Neither a class nor a store that cannot be written."""
    with pytest.raises(ConfigurationError, match="store is"):
        KeyAdmin(store)


def test_people_sign_in_where_passwords_and_sessions_are(tmp_path):
    """With owners in the app's own table, or a store without sessions, the app's own sign-in is needed."""
    users = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db", users=UserTable("users", id="id", name="name"))
    with pytest.raises(ConfigurationError, match="the app's own table"):
        KeyAdmin(users)
    KeyAdmin(users, sign_in_url="/login")

    store = MemoryStore()

    class WithoutSessions:
        def __getattr__(self, name):
            if "session" in name:
                raise AttributeError(name)
            return getattr(store, name)

    with pytest.raises(ConfigurationError, match="keeps no sessions"):
        KeyAdmin(WithoutSessions())
    KeyAdmin(WithoutSessions(), identify=lambda scope: None)


def test_what_is_right_is_taken():
    """Each argument in each of its forms."""
    settings = KeyAdmin(
        MemoryStore(),
        policy=Policy(),
        scopes={"flows:read": "See flows", "flows:*": ""},
        lifetimes=[3 * DAY, DAY],
        default_lifetime=2 * DAY,
        url="https://app.example.com/base",
        sample_path="/flows?x=1",
        origins=["https://App.example.com/", "http://localhost:3000"],
        trusted_hops=1,
        secure_cookies=True,
        title="Schlüssel",
        links=[("Flows", "/flows?all"), ["Help", "https://example.com/help#keys"]],
        theme=Theme(accent="#000000"),
    ).settings
    assert dict(settings.scopes_on_offer) == {"flows:read": "See flows", "flows:*": ""}
    assert settings.lifetimes_on_offer == (DAY, 2 * DAY, 3 * DAY)
    assert settings.lifetime_by_default == 2 * DAY
    assert settings.trusted_origins == {"https://app.example.com", "http://localhost:3000"}
    assert settings.way_out == (("Flows", "/flows?all"), ("Help", "https://example.com/help#keys"))
    assert KeyAdmin(MemoryStore(), scopes=["a", "b"]).settings.scopes_on_offer == {"a": "", "b": ""}
    assert KeyAdmin(MemoryStore(), sign_in_url="https://login.example.com/x").settings.sessions is None


@pytest.mark.parametrize(("default", "chosen"), [(90, 30), (None, 30), (7, 7)])
def test_no_life_is_longer_than_the_keyring_allows(default, chosen):
    """What is longer is not on offer, and the default is at most that."""
    store = MemoryStore(keyring=Keyring(max_lifetime=30 * DAY))
    settings = KeyAdmin(store, default_lifetime=None if default is None else default * DAY).settings
    assert settings.lifetime_by_default == chosen * DAY
    assert settings.lifetimes_on_offer == (7 * DAY, 30 * DAY)
    assert not settings.may_be_endless


def test_without_a_limit_a_key_may_have_no_end():
    """And no end can be the default."""
    settings = KeyAdmin(MemoryStore(), default_lifetime=None).settings
    assert settings.may_be_endless
    assert settings.lifetime_by_default is None


@pytest.mark.parametrize("colour", ["red", "#fff", "#12345g", "#123456;", "url(x)", "", None, 1])
def test_a_colour_is_written_in_one_way(colour):
    """It goes into a stylesheet."""
    for name in ("accent", "on_accent", "dark_accent", "dark_on_accent"):
        with pytest.raises(ConfigurationError, match=name):
            Theme(**{name: colour})


def test_the_arguments_are_the_settings():
    """`KeyAdmin` takes what `Settings` has, and is the one of them that has defaults."""
    given, taken = inspect.signature(KeyAdmin).parameters, inspect.signature(Settings).parameters
    assert list(given) == list(taken)
    assert [each.default for each in taken.values()] == [inspect.Parameter.empty] * len(taken)
