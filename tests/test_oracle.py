"""The oracle is a statement about every case, and says what the manual says where a person can check it."""

from itertools import combinations

import pytest
from oracle import (
    ADDRESSES,
    AS_AUTO_USER,
    AS_IDENTIFIED,
    AS_OWNER,
    AUTO_LOGINS,
    AUTO_USERS,
    BAD_KEY,
    CREDENTIALS,
    EVERY,
    GOOD_KEY,
    OUTCOME_OF,
    OUTCOMES,
    PATHS,
    TIMES,
    Case,
    Key,
    those,
)

PLAIN = Case(
    path="required",
    credential="nothing",
    known=False,
    auto_login="off",
    skip_auth=False,
    auto_user="active",
    time="inside",
    address="inside",
)
GOOD = Key(standing="good", dated=False, bound=False)
REVOKED = Key(standing="revoked", dated=False, bound=False)
DATED = Key(standing="good", dated=True, bound=False)
BOUND = Key(standing="good", dated=False, bound=True)


def test_every_case_has_exactly_one_outcome():
    """The outcomes share no case, and together they are all cases."""
    assert frozenset().union(*OUTCOMES.values()) == EVERY
    for one, other in combinations(OUTCOMES.values(), 2):
        assert one.isdisjoint(other)


def test_every_combination_is_a_case():
    """Nothing was left out of the product: its size is that of its sides multiplied."""
    sides = (PATHS, CREDENTIALS, "ny", AUTO_LOGINS, "ny", AUTO_USERS, TIMES, ADDRESSES)
    size = 1
    for side in sides:
        size *= len(side)
    assert size == 3 * 21 * 2 * 3 * 2 * 4 * 3 * 3
    assert len(EVERY) == size


@pytest.mark.parametrize("name", OUTCOMES)
def test_no_outcome_is_empty(name):
    """Each outcome happens, so that none of the statements is about nothing."""
    assert OUTCOMES[name]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "401"),
        ({"credential": GOOD}, "owner"),
        ({"credential": REVOKED}, "401"),
        ({"credential": "unknown"}, "401"),
        ({"credential": "malformed"}, "401"),
        ({"credential": "ambiguous"}, "400"),
        ({"credential": "foreign token"}, "401"),
        ({"credential": DATED}, "owner"),
        ({"credential": DATED, "time": "before"}, "401"),
        ({"credential": DATED, "time": "after"}, "401"),
        ({"credential": BOUND}, "owner"),
        ({"credential": BOUND, "address": "outside"}, "401"),
        ({"credential": BOUND, "address": "not known"}, "401"),
        ({"path": "optional"}, "anonymous"),
        ({"path": "optional", "credential": GOOD}, "owner"),
        ({"path": "optional", "credential": REVOKED}, "401"),
        ({"path": "optional", "credential": "foreign token"}, "401"),
        ({"path": "exempt"}, "anonymous"),
        ({"path": "exempt", "credential": GOOD}, "anonymous"),
        ({"path": "exempt", "credential": "ambiguous"}, "anonymous"),
        ({"known": True}, "identified"),
        ({"known": True, "credential": "foreign token"}, "identified"),
        ({"known": True, "credential": GOOD}, "owner"),
        ({"known": True, "credential": REVOKED}, "401"),
        ({"auto_login": "with key"}, "401"),
        ({"auto_login": "without key"}, "auto-login user"),
        ({"auto_login": "without key", "auto_user": "missing"}, "401"),
        ({"auto_login": "without key", "known": True}, "identified"),
        ({"auto_login": "without key", "credential": REVOKED}, "401"),
        ({"auto_login": "without key", "credential": "foreign token"}, "401"),
        ({"auto_login": "without key", "path": "optional"}, "auto-login user"),
        ({"skip_auth": True}, "auto-login user"),
        ({"skip_auth": True, "auto_user": "inactive"}, "401"),
        ({"skip_auth": True, "auto_user": "superuser"}, "auto-login user"),
        ({"skip_auth": True, "credential": GOOD}, "owner"),
        ({"skip_auth": True, "credential": GOOD, "auto_user": "missing"}, "owner"),
        ({"skip_auth": True, "credential": REVOKED}, "auto-login user"),
        ({"skip_auth": True, "credential": "ambiguous"}, "auto-login user"),
        ({"skip_auth": True, "credential": "ambiguous", "auto_user": "missing"}, "401"),
        ({"skip_auth": True, "known": True}, "identified"),
        ({"skip_auth": True, "path": "exempt"}, "anonymous"),
    ],
    ids=lambda value: ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value,
)
def test_outcomes_that_a_person_can_check(changes, outcome):
    """A plain request without a key, changed in the way that is named, has the outcome that the manual gives it."""
    assert OUTCOME_OF[PLAIN._replace(**changes)] == outcome


def test_only_skip_auth_makes_a_bad_key_somebody():
    """Whoever passes with a bad key passes as the auto-login user, under SKIP_AUTH."""
    assert BAD_KEY.isdisjoint(AS_OWNER | AS_IDENTIFIED)
    assert BAD_KEY.intersection(AS_AUTO_USER).issubset(those(skip_auth=True))


def test_a_good_key_and_a_bad_key_are_two_things():
    """No key is good and bad at once."""
    assert GOOD_KEY.isdisjoint(BAD_KEY)
