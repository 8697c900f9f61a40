"""Keys and times in words."""

from datetime import UTC, datetime, timedelta

import pytest

from keyguard.admin._shown import (
    Action,
    Condition,
    actions,
    amount,
    condition,
    exact,
    in_a_sentence,
    key_path,
    length,
    listed,
    longer,
    plain,
    relative,
    scope_words,
    state_word,
    until,
)
from keyguard.testing._made_up import make_record

NOW = datetime(2026, 11, 22, 15, 49, 50, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
ALL = {"rename", "rotate", "disable", "delete"}


def key(**fields):
    return make_record("3fJ2x0Qm7LpZ", "ada", **fields)


STATES = [
    ({}, "active", ALL),
    ({"expires_at": NOW + 8 * DAY}, "active", ALL),
    ({"expires_at": NOW + 7 * DAY}, "active", ALL),
    ({"expires_at": NOW + 7 * DAY - SECOND}, "expiring soon", ALL),
    ({"expires_at": NOW + SECOND}, "expiring soon", ALL),
    ({"expires_at": NOW}, "expired", {"rename", "delete"}),
    ({"expires_at": NOW - DAY, "disabled_at": NOW - 2 * DAY}, "expired", {"rename", "delete"}),
    ({"disabled_at": NOW}, "disabled", {"rename", "rotate", "enable", "delete"}),
    ({"disabled_at": NOW, "expires_at": NOW + DAY}, "disabled", {"rename", "rotate", "enable", "delete"}),
    ({"not_before": NOW + SECOND}, "not yet valid", ALL),
    ({"not_before": NOW}, "active", ALL),
    (
        {"rotated_at": NOW - HOUR, "expires_at": NOW + HOUR},
        "grace until 16:49 UTC",
        {"rename", "end grace", "disable", "delete"},
    ),
    (
        {"rotated_at": NOW, "expires_at": NOW + 12 * HOUR},
        "grace until 23 Nov, 03:49 UTC",
        {"rename", "end grace", "disable", "delete"},
    ),
    ({"rotated_at": NOW - DAY, "expires_at": NOW}, "expired", {"rename", "delete"}),
    ({"rotated_at": NOW}, "grace", {"rename", "end grace", "disable", "delete"}),
    (
        {"rotated_at": NOW, "disabled_at": NOW, "expires_at": NOW + DAY},
        "disabled",
        {"rename", "end grace", "enable", "delete"},
    ),
    ({"revoked_at": NOW}, "revoked", set()),
    ({"revoked_at": NOW, "disabled_at": NOW, "expires_at": NOW}, "revoked", set()),
]


@pytest.mark.parametrize(("fields", "word", "possible"), STATES)
def test_a_key_has_one_word_and_what_can_be_done_with_it(fields, word, possible):
    """Each key has one computed word, and only the actions that fit its state."""
    assert state_word(key(**fields), NOW) == word
    assert {action.value for action in actions(key(**fields), NOW)} == possible


def test_every_condition_occurs():
    """The table above has every word that there is."""
    seen = {condition(key(**fields), NOW) for fields, *_ in STATES}
    assert seen == set(Condition)
    assert {action for fields, *_ in STATES for action in actions(key(**fields), NOW)} == set(Action)


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(0), "just now"),
        (59 * SECOND, "just now"),
        (MINUTE, "1 minute ago"),
        (2 * MINUTE - SECOND, "1 minute ago"),
        (59 * MINUTE, "59 minutes ago"),
        (HOUR, "1 hour ago"),
        (3 * HOUR + 59 * MINUTE, "3 hours ago"),
        (DAY - SECOND, "23 hours ago"),
        (DAY, "1 day ago"),
        (59 * DAY, "59 days ago"),
        (60 * DAY, "2 months ago"),
        (364 * DAY, "12 months ago"),
        (365 * DAY, "1 year ago"),
        (800 * DAY, "2 years ago"),
    ],
)
def test_a_time_that_has_passed_is_rounded_down(ago, words):
    """How long ago something was is never said to be more than it is."""
    assert relative(NOW - ago, NOW) == words


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (SECOND, "in less than a minute"),
        (MINUTE, "in 1 minute"),
        (90 * DAY - SECOND, "in 90 days"),
        (HOUR - SECOND, "in 1 hour"),
        (5 * HOUR + 50 * MINUTE, "in 6 hours"),
        (DAY - SECOND, "in 1 day"),
        (364 * DAY, "in 364 days"),
        (730 * DAY, "in 2 years"),
    ],
)
def test_a_time_to_come_is_rounded_to_the_nearest(ahead, words):
    """A key that was made for 90 days a moment ago ends in 90 days."""
    assert relative(NOW + ahead, NOW) == words


def test_times_are_written_out():
    """A time is as long as it must be where it stands, in English whatever the host speaks, and in UTC."""
    assert exact(NOW) == "22 Nov 2026, 15:49:50 UTC"
    assert longer(NOW) == "22 Nov 2026, 15:49 UTC"
    assert until(NOW + HOUR, NOW) == "16:49 UTC"
    assert until(NOW + 20 * DAY, NOW) == "12 Dec, 15:49 UTC"
    assert until(NOW + 60 * DAY, NOW) == "21 Jan 2027, 15:49 UTC"


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (90 * DAY, "90 days"),
        (DAY, "1 day"),
        (36 * HOUR, "36 hours"),
        (15 * MINUTE, "15 minutes"),
        (90 * SECOND, "90 seconds"),
        (timedelta(milliseconds=1), "1 second"),
    ],
)
def test_a_length_is_written_in_its_largest_whole_unit(duration, words):
    """A length is written in the largest unit that leaves nothing over."""
    assert length(duration) == words


def test_amounts_and_lists():
    """One is one, and the last of several stands behind an "and"."""
    assert [amount(count, "key") for count in (0, 1, 2, 1200)] == ["0 keys", "1 key", "2 keys", "1,200 keys"]
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("laptop", "laptop"),
        (" laptop ", "laptop"),
        ("two\nlines", "two lines"),
        ("exe.\u202egpj", "exe.gpj"),
        ("\u2066a\u2069", "a"),
        ("שלום", "שלום"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\u200b\u2060", ""),
        ("\t\0", ""),
        ("", ""),
    ],
)
def test_a_name_changes_nothing_around_it(name, shown):
    """What turns the direction of writing or breaks lines is not shown, nor a name of which nothing is to be seen."""
    assert plain(name) == shown


def test_a_key_is_called_by_its_name_or_its_hint():
    """In a sentence a key has its name, cut where it is long and isolated, else what tells it from others."""
    assert in_a_sentence("laptop", "kg_3fJ2…") == "“\u2068laptop\u2069”"
    assert in_a_sentence("\u2069\n", "kg_3fJ2…") == "kg_3fJ2…"
    assert in_a_sentence("n" * 48, "") == f"“\u2068{'n' * 48}\u2069”"
    assert in_a_sentence("n" * 49, "") == f"“\u2068{'n' * 47}…\u2069”"


def test_an_id_is_one_part_of_a_path():
    """Whatever an id holds that was brought from elsewhere, its page's path has it as one part."""
    assert key_path("3fJ2x0Qm7LpZ") == "/key/3fJ2x0Qm7LpZ"
    assert key_path("../a?b#c") == "/key/..%2Fa%3Fb%23c"


def test_scopes_have_their_meanings():
    """A key's scopes come in order, each with what the app says of it; one with all rights has none to name."""
    words = scope_words(frozenset({"b", "a"}), {"a": "Read."})
    assert [(word.name, word.meaning) for word in words] == [("a", "Read."), ("b", "")]
    assert scope_words(frozenset({"*"}), {}) == ()
    assert scope_words(frozenset(), {}) == ()
