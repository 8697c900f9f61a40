"""What a form proves: that a page of ours, in this visitor's browser, has made it."""

from datetime import timedelta

import pytest
from asgi import http_scope
from starlette.requests import Request

from keyguard.admin._csrf import Seal, comes_from_here
from keyguard.testing import FrozenClock

SECRET = "s" * 43


@pytest.fixture
def clock():
    return FrozenClock()


def seal(clock, secret=SECRET, who="session 1"):
    return Seal(secret, who, clock)


# --- what is signed ----------------------------------------------------------------------------------------------


def test_what_was_signed_is_read(clock):
    """A value comes back as it was, and no two texts for it are the same."""
    texts = {seal(clock).sign("change", ["a", 1]) for _ in range(3)}
    assert len(texts) == 3
    assert all(seal(clock).read("change", text) == ["a", 1] for text in texts)


@pytest.mark.parametrize(
    "other",
    [
        lambda clock: seal(clock, secret="t" * 43),
        lambda clock: seal(clock, who="session 2"),
        lambda clock: seal(clock, who="app 1"),
    ],
    ids=["another session", "another visitor", "another way"],
)
def test_what_another_has_signed_is_not_read(clock, other):
    """What was signed in another session, or for another visitor, is nothing."""
    assert other(clock).read("change", seal(clock).sign("change", "x")) is None


def test_each_purpose_is_for_itself(clock):
    """What was signed for a notice does not pass for a token."""
    assert seal(clock).read("change", seal(clock).sign("notice", "change")) is None


@pytest.mark.parametrize("text", ["", ".", "a.b", "a" * 100_000, "\x00", "é", "\ud800", "W10.abc", "=.=.="])
def test_no_text_that_was_not_signed_is_read(clock, text):
    """Whatever somebody sends is nothing, and raises nothing."""
    assert seal(clock).read("change", text) is None


def test_what_was_signed_can_be_too_old(clock):
    """It is read up to the end of its time, and not after it."""
    text = seal(clock).sign("notice", "x")
    clock.advance(timedelta(seconds=60))
    assert seal(clock).read("notice", text, within=timedelta(seconds=60)) == "x"
    clock.advance(timedelta(seconds=1))
    assert seal(clock).read("notice", text, within=timedelta(seconds=60)) is None
    assert seal(clock).read("notice", text) == "x"


# --- where a request comes from ----------------------------------------------------------------------------------


def request(headers, scheme="http"):
    return Request(http_scope(method="POST", headers=list(headers.items()), scheme=scheme))


HERE = [
    {"host": "keys.test", "origin": "http://keys.test"},
    {"host": "keys.test", "origin": "https://keys.test"},
    {"host": "KEYS.test", "origin": "https://keys.TEST"},
    {"host": "keys.test:8000", "origin": "http://keys.test:8000"},
    {"host": "keys.test", "origin": "https://keys.test:443"},
    {"host": "keys.test:80", "origin": "http://keys.test"},
    {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
    {"host": "keys.test", "referer": "http://keys.test/keys/new?x=y"},
    {"host": "backend:9000", "origin": "https://front.test"},
]


@pytest.mark.parametrize("headers", HERE, ids=str)
def test_a_page_of_this_host_may_ask(headers):
    """The origin is this host's by name and port, or one that is trusted; where there is none, the referrer is."""
    assert comes_from_here(request(headers), frozenset({"https://front.test"}))


ELSEWHERE = [
    {"host": "keys.test"},
    {"host": "keys.test", "origin": "null"},
    {"host": "keys.test", "origin": ""},
    {"host": "keys.test", "origin": "http://evil.test"},
    {"host": "keys.test", "origin": "http://evil.test", "referer": "http://keys.test/"},
    {"host": "keys.test", "origin": "null", "referer": "http://keys.test/"},
    {"host": "keys.test", "origin": "http://keys.test.evil.test"},
    {"host": "keys.test", "origin": "http://keys.test@evil.test"},
    {"host": "keys.test", "origin": "http://evil.test@keys.test"},
    {"host": "keys.test", "origin": "http://keys.test:8000"},
    {"host": "keys.test:8000", "origin": "http://keys.test"},
    {"host": "keys.test:443", "origin": "http://keys.test"},
    {"host": "keys.test", "origin": "keys.test"},
    {"host": "keys.test", "origin": "ftp://keys.test"},
    {"host": "keys.test", "origin": "http://[keys.test"},
    {"host": "", "origin": "http://"},
    {"origin": "http://keys.test"},
    {"host": "backend:9000", "origin": "http://front.test"},
    {"host": "keys.test", "x-forwarded-host": "evil.test", "origin": "http://evil.test"},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_no_other_page_may_ask(headers):
    """Another name, port, or one that only looks alike is not this host; `null` and nothing are no answer."""
    assert not comes_from_here(request(headers), frozenset({"https://front.test"}))


def test_an_encrypted_request_comes_from_an_encrypted_page():
    """Where we know that a request is encrypted, a page of the same name that is not may be anybody's."""
    headers = {"host": "keys.test", "origin": "http://keys.test"}
    assert comes_from_here(request(headers), frozenset())
    assert not comes_from_here(request(headers, scheme="https"), frozenset())
    assert comes_from_here(request(headers | {"origin": "https://keys.test"}, scheme="https"), frozenset())
