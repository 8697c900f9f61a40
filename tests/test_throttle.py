"""Who tries too often waits: how often and how long, by each name, and with how much memory."""

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from keyguard.errors import ConfigurationError
from keyguard.throttle import Throttle

MINUTE = timedelta(minutes=1)


class Seconds:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def throttle_and_clock(limit=5, per=MINUTE, **more):
    clock = Seconds()
    return Throttle(limit, per, clock=clock, **more), clock


def attempts(throttle, *names, of=100):
    """How many of so many attempts at one moment are let through."""
    return sum(throttle.attempt(*names) == 0 for _ in range(of))


# --- how often --------------------------------------------------------------------------------------------------


def test_five_a_minute():
    """After five attempts one waits twelve seconds for the next, and after a minute there are five again."""
    throttle, clock = throttle_and_clock()
    assert [throttle.attempt("ada") for _ in range(7)] == [0, 0, 0, 0, 0, 12, 12]
    clock.now = 11.5
    assert throttle.attempt("ada") == 0.5
    clock.now = 12
    assert attempts(throttle, "ada") == 1
    clock.now = 72
    assert attempts(throttle, "ada") == 5


@given(limit=st.integers(1, 20), per=st.integers(1, 100), now=st.floats(0, 2e9))
def test_it_is_as_many_whatever_the_time(limit, per, now):
    """Whenever it begins, and however the time divides, there are all attempts at once, and one more after the wait."""
    throttle, clock = throttle_and_clock(limit, timedelta(seconds=per))
    clock.now = now
    assert attempts(throttle, "ada") == limit
    wait = throttle.attempt("ada")
    assert wait == pytest.approx(per / limit, abs=1e-4)
    clock.now += wait
    assert attempts(throttle, "ada") == 1


def test_a_refused_attempt_does_not_count():
    """Who goes on trying while waiting waits no longer for it."""
    throttle, clock = throttle_and_clock()
    attempts(throttle, "ada", of=1000)
    clock.now = 12
    assert throttle.attempt("ada") == 0


def test_an_attempt_counts_from_its_beginning():
    """Of a thousand attempts of which none has ended yet, five are let through."""
    throttle, _ = throttle_and_clock()
    assert attempts(throttle, "ada", of=1000) == 5


def test_what_succeeded_does_not_count():
    """One may sign in as often as one likes."""
    throttle, _ = throttle_and_clock()
    for _ in range(100):
        assert throttle.attempt("ada") == 0
        throttle.succeeded("ada")
    assert attempts(throttle, "ada") == 5


def test_a_success_takes_no_failure_back():
    """Who signs in as themselves in between has no more guesses at others from the same address."""
    throttle, _ = throttle_and_clock()
    guesses = 0
    for _ in range(100):
        if throttle.attempt("ada", "192.0.2.1") == 0:
            guesses += 1
        if throttle.attempt("eve", "192.0.2.1") == 0:
            throttle.succeeded("eve", "192.0.2.1")
    assert guesses == 5


# --- by which names ---------------------------------------------------------------------------------------------


def test_each_name_has_its_own_attempts():
    """An attempt needs one of each of its names, and one that is refused takes none of any."""
    throttle, clock = throttle_and_clock()
    assert attempts(throttle, "ada", "192.0.2.1") == 5
    assert throttle.attempt("bob", "192.0.2.1") == 12
    assert throttle.attempt("ada", "192.0.2.2") == 12
    assert attempts(throttle, "bob", "192.0.2.2") == 5
    clock.now = 6
    assert attempts(throttle, "carol") == 5
    assert throttle.attempt("ada", "carol") == 12  # As long as for the one that has to wait longest.


def test_a_name_that_is_given_twice_counts_once():
    """What is said twice is one name."""
    throttle, _ = throttle_and_clock()
    assert attempts(throttle, "ada", "ada") == 5


def test_any_text_is_a_name():
    """Half of a surrogate pair, which JSON can bring, is a name like others, and a long text is one of its own."""
    throttle, _ = throttle_and_clock()
    for name in ("\ud800", "", "x" * 100_000, "x" * 100_001):
        assert attempts(throttle, name) == 5
        throttle.succeeded(name)


def test_without_a_name_nothing_is_counted():
    """Where nobody is named nobody waits."""
    throttle, _ = throttle_and_clock()
    assert attempts(throttle, of=100) == 100


# --- another form of the same -----------------------------------------------------------------------------------


class Buckets:
    """Tokens that run into buckets: of each name one, with room for `limit`, that is filled within `per`."""

    def __init__(self, limit, per):
        self.limit, self.rate, self.tokens = Fraction(limit), Fraction(limit) / per, {}

    def wait(self, seconds):
        self.tokens = {name: min(self.limit, each + seconds * self.rate) for name, each in self.tokens.items()}

    def attempt(self, names):
        least = min(self.tokens.get(name, self.limit) for name in names)
        if least < 1:
            return (1 - least) / self.rate
        for name in names:
            self.tokens[name] = self.tokens.get(name, self.limit) - 1
        return 0

    def succeeded(self, names):
        for name in names:
            self.tokens[name] = min(self.limit, self.tokens.get(name, self.limit) + 1)


NAMES = st.sets(st.sampled_from("abc"), min_size=1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 200).map(lambda eighths: Fraction(eighths, 8))),
        st.tuples(st.sampled_from(["attempt", "succeeded"]), NAMES),
        st.tuples(st.just("attempt"), NAMES),
    ),
    max_size=60,
)


@given(limit=st.sampled_from([1, 2, 4, 8]), per=st.sampled_from([1, 4, 16]), steps=STEPS)
def test_it_is_a_bucket_for_each_name(limit, per, steps):
    """Whatever is tried when, each is let through, or waits as long, as with tokens that run into buckets."""
    throttle, clock = throttle_and_clock(limit, timedelta(seconds=per))  # Powers of two: floats are exact.
    buckets = Buckets(limit, per)
    for what, given_ in steps:
        note(f"{what} {given_}")
        if what == "wait":
            clock.now += float(given_)
            buckets.wait(given_)
        elif what == "attempt":
            assert throttle.attempt(*given_) == buckets.attempt(given_)
        else:
            throttle.succeeded(*given_)
            buckets.succeeded(given_)


# --- how much memory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_no_more_names_are_remembered(size):
    """However many names are made up, `size` of them are remembered at most."""
    throttle, clock = throttle_and_clock(size=size)
    for number in range(1000):
        clock.now += 0.01
        throttle.attempt(f"name {number}", f"{number % 10}")
        assert len(throttle._until) <= size


def test_a_flood_of_names_frees_nobody():
    """Whoever has to wait goes on waiting while others make up names, each tried less often, whatever their number."""
    throttle, clock = throttle_and_clock(size=100)
    attempts(throttle, "ada")
    for number in range(10_000):
        clock.now += 0.001
        for _ in range(4):
            throttle.attempt(f"name {number}")
    assert throttle.attempt("ada") == pytest.approx(2)


def test_a_new_name_is_counted_in_a_flood():
    """Where all that is remembered has been tried more often, a new name does not have endless attempts for that."""
    throttle, _ = throttle_and_clock(size=100)
    for number in range(1000):
        attempts(throttle, f"name {number}", of=5)
    assert 5 <= attempts(throttle, "ada") < 10


def test_names_that_have_waited_make_room():
    """What is over is forgotten before anything else."""
    throttle, clock = throttle_and_clock(size=10)
    for number in range(10):
        attempts(throttle, f"name {number}")
    clock.now = 61
    attempts(throttle, "ada", of=1)
    assert len(throttle._until) == 1


def test_no_name_is_kept():
    """What somebody typed into the wrong field, such as a password, is not in memory."""
    throttle, _ = throttle_and_clock()
    throttle.attempt("correct horse")
    assert "correct horse" not in repr(vars(throttle))


# --- what it is given -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"limit": 0}, "limit is a whole number from 1 on; not 0"),
        ({"limit": 2.5}, "limit is a whole number from 1 on; not 2.5"),
        ({"limit": True}, "limit is a whole number from 1 on; not True"),
        ({"size": 0}, "size is a whole number from 1 on; not 0"),
        ({"per": timedelta(0)}, "per is a timedelta of more than nothing"),
        ({"per": 60}, "per is a timedelta of more than nothing; not 60"),
    ],
    ids=str,
)
def test_what_cannot_be_meant(arguments, sentence):
    """A mistake in an argument is said when the throttle is made."""
    with pytest.raises(ConfigurationError, match=sentence):
        Throttle(**arguments)


def test_without_a_clock_it_goes_by_its_own():
    """By default it counts real seconds: one attempt an hour is one, and the next waits almost all of it."""
    throttle = Throttle(limit=1, per=timedelta(hours=1))
    assert throttle.attempt("ada") == 0
    assert 3500 < throttle.attempt("ada") <= 3600
