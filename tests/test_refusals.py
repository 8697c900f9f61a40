"""What a refused caller learns, value by value: whoever changes an answer has to change it here as well."""

import json

import pytest

from keyguard.model import Reason
from keyguard.refusals import RETRY_AFTER_SECONDS, Challenge, Refusal, refusal_for

MISSING = (401, "missing_key", "An API key is required.", None)
INVALID = (401, "invalid_key", "The API key is not valid.", "invalid_token")

TABLE = {
    Reason.MISSING: MISSING,
    Reason.AMBIGUOUS: (
        400,
        "ambiguous_credentials",
        "More than one API key was presented, or one under a name that is spelt in another way.",
        None,
    ),
    Reason.MALFORMED: INVALID,
    Reason.UNKNOWN: INVALID,
    Reason.NOT_YET_VALID: INVALID,
    Reason.EXPIRED: INVALID,
    Reason.REVOKED: INVALID,
    Reason.DISABLED: INVALID,
    Reason.OWNER_INACTIVE: INVALID,
    Reason.ADDRESS_NOT_ALLOWED: INVALID,
    Reason.UNKNOWN_TOKEN: INVALID,
    Reason.NO_AUTO_LOGIN_USER: MISSING,
    Reason.AUTO_LOGIN_USER_INACTIVE: MISSING,
    Reason.KEY_REQUIRED: (401, "key_required", "An API key is required here; being signed in is not enough.", None),
    Reason.SCOPE_MISSING: (403, "insufficient_scope", "The API key lacks a scope that is required here.", None),
    Reason.SUPERUSER_REQUIRED: (403, "superuser_required", "Superuser rights are required here.", None),
    Reason.UNAVAILABLE: (503, "unavailable", "API keys cannot be checked at the moment; try again.", None),
}

BAD_KEY = [reason for reason, row in TABLE.items() if row is INVALID]
TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}

EVERYWHERE = Challenge(header="x-api-key", query="x-api-key", bearer=True)


def headers(reason, *, challenge=EVERYWHERE, query_was_used=False):
    return refusal_for(reason).headers(challenge, query_was_used=query_was_used)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_row(reason):
    """Each reason has the status, the code, the sentence and the error code that are written here."""
    refusal = refusal_for(reason)
    assert (refusal.status, refusal.code, refusal.detail, refusal.error) == TABLE[reason]


def test_a_refusal_writes_its_document():
    """A refusal writes its problem document when it is made, in this order and no other."""
    refusal = Refusal(status=403, code="not_you", detail="Not you.")
    assert refusal.body == (
        b'{"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "Not you.", "code": "not_you"}'
    )


@pytest.mark.parametrize("reason", Reason)
def test_the_body_is_a_problem_document(reason):
    """The body has the members of RFC 9457, title and type as its §4.2.1 asks, and the code beside them."""
    status, code, detail, _ = TABLE[reason]
    expected = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": detail, "code": code}
    assert json.loads(refusal_for(reason).body) == expected


def test_the_body_is_these_bytes():
    """The bytes themselves stand here once, the order of the members included."""
    assert refusal_for(Reason.UNKNOWN).body == (
        b'{"type": "about:blank", "title": "Unauthorized", "status": 401, '
        b'"detail": "The API key is not valid.", "code": "invalid_key"}'
    )


def test_a_bad_key_is_a_bad_key():
    """Whatever is wrong with a key, status, headers and body are the same, byte for byte."""
    answers = {
        (refusal_for(reason).status, tuple(headers(reason, query_was_used=used)), refusal_for(reason).body, used)
        for reason in BAD_KEY
        for used in (False, True)
    }
    assert len(BAD_KEY) == 9
    assert len(answers) == 2  # With the query, and without.


def test_a_missing_key_differs_in_code_and_challenge_alone():
    """What a caller without a key gets differs from what a bad one gets in code, sentence and challenge."""
    missing, bad = (json.loads(refusal_for(reason).body) for reason in (Reason.MISSING, Reason.REVOKED))
    assert {name for name in missing if missing[name] != bad[name]} == {"code", "detail"}
    differing = set(headers(Reason.MISSING)) ^ set(headers(Reason.REVOKED))
    assert {name for name, _ in differing} == {b"www-authenticate", b"content-length"}


def test_the_headers_of_a_401():
    """A 401 says its type and length, that it may not be kept, and where a key is expected, in this order."""
    assert headers(Reason.EXPIRED) == [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(refusal_for(Reason.EXPIRED).body)),
        (b"cache-control", b"no-store"),
        (
            b"www-authenticate",
            b'ApiKey realm="api", header="x-api-key", query="x-api-key", error="invalid_token"',
        ),
        (b"www-authenticate", b'Bearer realm="api", error="invalid_token"'),
    ]


@pytest.mark.parametrize("reason", Reason)
def test_what_all_answers_say(reason):
    """Each answer is a problem document of the length that it says, and no cache keeps it."""
    fields = dict(headers(reason))
    assert fields[b"content-type"] == b"application/problem+json"
    assert int(fields[b"content-length"]) == len(refusal_for(reason).body)
    assert fields[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("reason", Reason)
def test_each_401_and_no_other_challenges(reason):
    """A challenge stands on each 401 and nowhere else; it has an error code where a key was presented."""
    challenges = [value for name, value in headers(reason) if name == b"www-authenticate"]
    assert len(challenges) == (2 if TABLE[reason][0] == 401 else 0)
    assert [b"error=" in value for value in challenges] == [reason in BAD_KEY] * len(challenges)


@pytest.mark.parametrize("reason", Reason)
def test_only_a_503_says_when_to_come_back(reason):
    """A 503 advises to ask again in a second, and no other answer does."""
    wait = [value for name, value in headers(reason) if name == b"retry-after"]
    assert wait == ([b"1"] if TABLE[reason][0] == 503 else [])
    assert RETRY_AFTER_SECONDS == 1


@pytest.mark.parametrize("reason", Reason)
def test_an_address_that_held_a_key_is_no_referrer(reason):
    """An answer to a request that used the query asks the browser to keep its address; the others say nothing of it."""
    more = set(headers(reason, query_was_used=True)) - set(headers(reason))
    assert more == {(b"referrer-policy", b"no-referrer")}


@pytest.mark.parametrize(
    ("challenge", "error", "expected"),
    [
        (Challenge(header="x-api-key"), None, [b'ApiKey realm="api", header="x-api-key"']),
        (Challenge(query="key"), None, [b'ApiKey realm="api", query="key"']),
        (Challenge(bearer=True), None, [b'Bearer realm="api"']),
        (Challenge(bearer=True), "invalid_token", [b'Bearer realm="api", error="invalid_token"']),
        (Challenge(header="a", query="b"), None, [b'ApiKey realm="api", header="a", query="b"']),
        (Challenge(header="a"), "oops", [b'ApiKey realm="api", header="a", error="oops"']),
        (Challenge(query="b", bearer=True), None, [b'ApiKey realm="api", query="b"', b'Bearer realm="api"']),
        (Challenge(), "invalid_token", []),
    ],
)
def test_a_challenge_names_the_places_that_are_on(challenge, error, expected):
    """One `ApiKey` challenge names header and query, where they are on, and `Bearer` has its own."""
    assert challenge.values(error) == expected


def test_a_refusal_is_a_value():
    """A refusal equals itself alone, cannot be changed, and shows its code and not its body."""
    refusal = refusal_for(Reason.MISSING)
    assert refusal == refusal_for(Reason.NO_AUTO_LOGIN_USER)
    assert refusal != refusal_for(Reason.UNKNOWN)
    assert repr(refusal) == ("Refusal(status=401, code='missing_key', detail='An API key is required.', error=None)")
    with pytest.raises(AttributeError):
        refusal.status = 200
