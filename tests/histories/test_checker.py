"""The checker says what the definition says: tried against all permutations, and against systems that lie."""

import random
from dataclasses import replace
from itertools import permutations, product
from math import inf

import pytest
from histories.checker import Answer, Change, Field, History, Use, check
from hypothesis import given, settings
from hypothesis import strategies as st

OWNERS = {"k": "o", "l": "o"}
BORN = [
    Change(kind="add", sets={("o", Field.ACTIVE): True}, start=-9, end=-8),
    *(Change(kind="issue", sets={(key, Field.EXISTS): True}, start=-7, end=-6) for key in OWNERS),
]


def change(kind, start, end, *, subject="k", raw=False, clock=False):
    field, value = KINDS[kind]
    return Change(kind=kind, sets={(subject, field): value}, start=start, end=end, raw=raw, clock=clock)


KINDS = {
    "revoke": (Field.REVOKED, True),
    "disable": (Field.DISABLED, True),
    "enable": (Field.DISABLED, False),
    "delete": (Field.EXISTS, False),
    "rotate": (Field.ROTATED, True),
    "lapse": (Field.LAPSED, True),
    "deactivate": (Field.ACTIVE, False),
    "activate": (Field.ACTIVE, True),
    "promote": (Field.SUPERUSER, True),
}


def use(answer, start, end, *, key="k", pid=1):
    return Use(key=key, start=start, end=end, pid=pid, answer=Answer(answer))


def found(*events, lease=None):
    changes = BORN + [event for event in events if isinstance(event, Change)]
    uses = [event for event in events if isinstance(event, Use)]
    bad = check(History(owners=OWNERS, changes=changes, uses=uses), lease=lease)
    return [events.index(use) for use in bad]


# --- a table for people -------------------------------------------------------------------------------------------

REVOKE = change("revoke", 10, 20)
RAW = change("revoke", 10, 20, raw=True)
LOST = change("revoke", 10, inf)

CASES = {
    "allowed before": ([use("passed", 1, 2), REVOKE], []),
    "refused before": ([use("refused", 1, 2), REVOKE], [0]),
    "allowed during": ([use("passed", 12, 13), REVOKE], []),
    "refused during": ([use("refused", 12, 13), REVOKE], []),
    "allowed behind": ([REVOKE, use("passed", 21, 22)], [1]),
    "refused behind": ([REVOKE, use("refused", 21, 22)], []),
    "begun during, allowed": ([REVOKE, use("passed", 20, 99)], []),
    "begun a nanosecond behind, allowed": ([REVOKE, use("passed", 21, 99)], [1]),
    "a superuser where nobody was made one": ([use("superuser", 1, 2)], [0]),
    "no such key": ([change("delete", 1, 2), use("passed", 3, 4)], [1]),
    "another key of the owner": ([REVOKE, use("passed", 21, 22, key="l")], []),
    "the owner": ([change("deactivate", 1, 2, subject="o"), use("passed", 3, 4, key="l")], [1]),
    "switched off and on": ([change("disable", 1, 2), change("enable", 3, 9), use("passed", 4, 5)], []),
    "on before off": ([change("disable", 4, 9), change("enable", 1, 2), use("refused", 3, 3)], [2]),
    "new, then old": ([REVOKE, use("refused", 11, 12), use("passed", 13, 14)], [2]),
    "old, then new": ([REVOKE, use("passed", 11, 12), use("refused", 13, 14)], []),
    "new and old at once": ([REVOKE, use("refused", 11, 13), use("passed", 12, 14)], []),
    "new, then old in another process": ([REVOKE, use("refused", 11, 12), use("passed", 13, 14, pid=2)], [2]),
    "new for one key, then old for another": (
        [change("deactivate", 10, 20, subject="o"), use("refused", 11, 12), use("passed", 13, 14, key="l")],
        [2],
    ),
    "outcome unknown, allowed": ([LOST, use("passed", 900, 901)], []),
    "outcome unknown, refused": ([LOST, use("refused", 900, 901)], []),
    "outcome unknown, refused before": ([LOST, use("refused", 8, 9)], [1]),
    "outcome unknown, but once refused always refused": (
        [LOST, use("refused", 30, 31), use("passed", 900, 901)],
        [2],
    ),
    "within the grace": ([change("rotate", 1, 2), change("lapse", 50, 51, clock=True), use("passed", 40, 49)], []),
    "behind the grace": ([change("rotate", 1, 2), change("lapse", 50, 51, clock=True), use("passed", 52, 53)], [2]),
    "an answer that is wrong by itself is left out": (
        [REVOKE, use("passed", 21, 22), use("refused", 23, 24), use("passed", 25, 26)],
        [1, 3],
    ),
    "raw has no lease on SQLite": ([RAW, use("passed", 21, 22)], [1]),
}
WITH_LEASE = {
    "library calls are exact": ([REVOKE, use("passed", 21, 22)], [1]),
    "raw, within the lease": ([RAW, use("passed", 110, 119)], []),
    "raw, behind the lease": ([RAW, use("passed", 121, 122)], [1]),
    "raw, seen early": ([RAW, use("refused", 15, 16)], []),
    "raw, new, then old": ([RAW, use("refused", 31, 32), use("passed", 33, 34)], [2]),
    "raw, new, then old in another process": ([RAW, use("refused", 31, 32), use("passed", 33, 34, pid=2)], []),
    "new, then old in another process, while under way": (
        [REVOKE, use("refused", 11, 12), use("passed", 13, 14, pid=2)],
        [],
    ),
    "a library call behind it brings a raw change along": (
        [change("disable", 10, 20, raw=True), change("deactivate", 30, 40, subject="o"),
         change("activate", 41, 42, subject="o"), use("passed", 43, 44)],
        [3],
    ),
    "a raw change that was seen brings one before it along": (
        [RAW, change("promote", 30, 40, subject="o", raw=True), use("superuser", 41, 42)],
        [2],
    ),
    "the clock waits for no raw change": (
        [change("rotate", 10, 20, raw=True), change("lapse", 30, 31, clock=True), use("passed", 40, 41)],
        [],
    ),
    "one state of the database": (
        [change("promote", 10, 20, subject="o", raw=True), change("revoke", 30, 40, raw=True), use("superuser", 31, 32),
         use("passed", 33, 34)],
        [3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    """Each row: what happened, and which of it cannot be."""
    events, bad = CASES[case]
    assert found(*events) == bad


@pytest.mark.parametrize("case", WITH_LEASE)
def test_cases_with_a_lease(case):
    """Likewise with a lease of 100."""
    events, bad = WITH_LEASE[case]
    assert found(*events, lease=100) == bad


# --- the definition, by trying all there is -------------------------------------------------------------------------


def may_pass(changes, key, owner):
    """Tell how a key is answered after `changes`, said in another way than the checker says it."""
    true = {(key, field): False for field in Field} | {(owner, field): False for field in Field}
    for each in changes:
        true |= each.sets
    is_good = (
        true[key, Field.EXISTS]
        and true[owner, Field.ACTIVE]
        and not true[key, Field.REVOKED]
        and not true[key, Field.DISABLED]
        and not true[key, Field.EXPIRED]
        and not (true[key, Field.ROTATED] and true[key, Field.LAPSED])
    )
    if not is_good:
        return Answer.REFUSED
    return Answer.SUPERUSER if true[owner, Field.SUPERUSER] and not true[key, Field.RESTRICTED] else Answer.PASSED


def must_stand_before(one, other, lag):
    """Tell whether real time, or the database, demands that `one` comes first."""
    both = isinstance(one, Change) and isinstance(other, Change)
    if both:
        seen_late = (one.clock or other.clock) and one.raw
        return one.end + (lag if seen_late else 0) < other.start
    late = lag if isinstance(one, Change) and one.raw else 0
    return one.end + late < other.start


def is_explained(owners, events, lag):
    """Tell whether some line of `events` explains them, trying one after the other."""
    unknown = [event for event in events if event.end == inf]
    for made in product([True, False], repeat=len(unknown)):
        left_out = [event for event, is_made in zip(unknown, made, strict=True) if not is_made]
        rest = [event for event in events if event not in left_out]
        if any(_holds(owners, line, lag) for line in permutations(rest)):
            return True
    return False


def _holds(owners, line, lag):
    for place, event in enumerate(line):
        if any(must_stand_before(later, event, lag) for later in line[place + 1 :]):
            return False
        if isinstance(event, Use):
            changes = [other for other in line[:place] if isinstance(other, Change)]
            if may_pass(changes, event.key, owners[event.key]) is not event.answer:
                return False
    return True


def bad_by_trying(history, lag):
    """Return the uses that cannot be, each given the good ones that ended before it."""
    good, bad = [], []
    for each in sorted(history.uses, key=lambda use: use.end):
        begun = [other for other in history.changes if other.start <= each.end]
        if is_explained(history.owners, [*begun, *good, each], lag):
            good.append(each)
        else:
            bad.append(each)
    return bad


TIMES = st.sampled_from(range(13))


@st.composite
def some_changes(draw, *, raws=False):
    kind = draw(st.sampled_from(["disable", "enable", "deactivate", "activate", "promote", "lapse"]))
    subject = "o" if KINDS[kind][0] in {Field.ACTIVE, Field.SUPERUSER} else "k"
    start, more, is_clock = draw(TIMES), draw(TIMES), kind == "lapse"
    end = start + draw(st.sampled_from([0, more, inf])) if not is_clock else start
    return change(kind, start, end, subject=subject, raw=raws and not is_clock and draw(st.booleans()), clock=is_clock)


@st.composite
def some_uses(draw, *, keys="k"):
    start, length = draw(TIMES), draw(st.sampled_from([0, 1, 2, 5]))
    key, answer = draw(st.sampled_from(keys)), draw(st.sampled_from(Answer))
    return Use(key=key, start=start, end=start + length, pid=1, answer=answer)


def born(keys):
    """One change, so that there is less to permute; `k` is one that was rotated."""
    first = {("o", Field.ACTIVE): True, ("k", Field.ROTATED): True} | {(key, Field.EXISTS): True for key in keys}
    return Change(kind="born", sets=first, start=-2, end=-1)


@settings(max_examples=300)
@given(
    changes=st.lists(some_changes(), min_size=1, max_size=3),
    uses=st.lists(some_uses(keys="kkl"), min_size=2, max_size=3),
)
def test_it_agrees_with_all_permutations(changes, uses):
    """Whatever tiny history there is, what it reports is what no permutation explains."""
    history = History(owners=OWNERS, changes=[born("kl"), *changes], uses=uses)
    assert set(check(history)) == set(bad_by_trying(history, 0))


@settings(max_examples=300)
@given(
    changes=st.lists(some_changes(raws=True), min_size=1, max_size=3),
    uses=st.lists(some_uses(), min_size=2, max_size=3),
    lease=st.sampled_from([0, 1, 3, 6, 10]),
)
def test_it_agrees_with_all_permutations_under_a_lease(changes, uses, lease):
    """The same for one key in one process, where raw changes may be seen late."""
    history = History(owners={"k": "o"}, changes=[born("k"), *changes], uses=uses)
    assert set(check(history, lease=lease)) == set(bad_by_trying(history, lease))


# --- systems made up ------------------------------------------------------------------------------------------------


class System:
    """A database with workers, on a made-up clock; each event has a moment of its own at which it happens.

    `stale` is how likely a worker answers by what it has read last, without asking whether that still holds.
    """

    def __init__(self, seed, *, stale=0.0, keys=6, workers=3, late=0):
        self.random = random.Random(seed)
        self.stale, self.late, self.workers = stale, late, workers
        self.owners = {f"k{number}": f"o{number % 2}" for number in range(keys)}
        subjects = {*self.owners, *self.owners.values()}
        fields = {subject: Field.ACTIVE if subject[0] == "o" else Field.EXISTS for subject in subjects}
        first = dict.fromkeys(fields.items(), True)
        self.made = [Change(kind="born", sets=first, start=0, end=1)]
        self.lies = 0

    def run(self, events):
        """Let `events` happen: each begins at about the time of the one before it, and many overlap."""
        moments, changes, uses, seen = [], [*self.made], [], {}
        now = 10
        for _ in range(events):
            now += self.random.randrange(0, 12)
            start, end = now, now + self.random.randrange(0, 60)
            is_use = self.random.random() < 0.85
            moments.append((self.random.randint(start, end), start, end, is_use))
        true = dict(changes[0].sets)
        for _, start, end, is_use in sorted(moments):
            if not is_use:
                change = self.change(start, end)
                changes.append(change)
                true |= change.sets
                continue
            key, pid = self.random.choice(sorted(self.owners)), self.random.randrange(self.workers)
            fresh = may_pass([Change(kind="all", sets=true, start=0, end=0)], key, self.owners[key])
            answer = seen.get((key, pid), fresh) if self.random.random() < self.stale else fresh
            seen[key, pid] = answer
            self.lies += answer is not fresh
            uses.append(Use(key=key, start=start, end=end, pid=pid, answer=answer))
        return History(owners=self.owners, changes=changes, uses=uses)

    def change(self, start, end):
        kind = self.random.choice(["disable", "enable", "enable", "deactivate", "activate", "activate", "promote"])
        field, value = KINDS[kind]
        whose = self.owners.values() if field in {Field.ACTIVE, Field.SUPERUSER} else self.owners
        value = value if kind != "promote" else self.random.random() < 0.5
        return Change(kind=kind, sets={(self.random.choice(sorted(whose)), field): value}, start=start, end=end)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lease", [None, 50])
def test_a_system_that_keeps_the_promise_passes(seed, lease):
    """Answers by the true state at one moment of each use are always explained, however much overlaps."""
    assert check(System(seed).run(1_000), lease=lease) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_cache_that_nobody_vouches_for_is_found(seed):
    """A worker that answers by what it has read before, one time in five, is found in a short history."""
    system = System(seed, stale=0.2)
    history = system.run(1_000)
    bad = check(history)
    assert 0 < len(bad) <= system.lies * 3
    assert check(history, lease=50)


@pytest.mark.parametrize("seed", range(20))
def test_one_lie_is_found(seed):
    """Of a true history one answer is turned round that stands far from any change: that one is reported."""
    history = System(seed).run(500)
    quiet = [
        use
        for use in history.uses
        if not any(change.start <= use.end and use.start <= change.end for change in history.changes)
    ]
    lie = random.Random(seed).choice(quiet)
    turned = replace(lie, answer=Answer.PASSED if lie.answer is Answer.REFUSED else Answer.REFUSED)
    history.uses[history.uses.index(lie)] = turned
    assert check(history) == [turned]
