"""Judges a history: which answers can no order of events explain that respects real time?

A history is what was seen from outside: changes of keys and owners, and uses of keys with their answers, each with the
moments between which it happened, in nanoseconds of CLOCK_MONOTONIC, which all processes of one machine share. Nothing
here knows the library.

What is demanded. All that happened must fit into one line, in which

- each event stands at a point between its start and its end, so that what ended before another began stands before it;
- each use has the answer that the changes to its left make: a key passes if it exists, is not revoked, disabled or
  expired, and its owner is active; as a superuser, if its owner is one and the key was not restricted.

With no lease (SQLite), there is one such line for an owner and all of its keys, over all processes: an answer that saw
a change is never followed by one that did not. With a lease (PostgreSQL), there is one for each key and each process,
and a *raw* change (one made in SQL, behind the library's back) may take its place as late as a lease after its end; but
never behind a change that began after it had ended, because what a worker reads is one state of the database.

A change whose outcome is unknown has its place anywhere after its start, or none. An answer that was none (503) has
been counted by whoever made the history, and is not part of it.

How it is decided. Walk through all starts and ends in the order of time, and carry along every *situation* that can be:
the state, which of the changes under way have taken place, and which of the uses under way have met a state that
explains their answer. Where a use ends, those situations in which it met none cannot be; if none is left, the use is
reported, and left out. (Lowe, "Testing for linearizability", 2017, calls this just-in-time linearization.)
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import accumulate
from math import inf
from typing import NamedTuple

__all__ = ["Answer", "Change", "Field", "History", "Use", "check"]


class Field(Enum):
    """What can be true of a key, or of an owner. At first nothing is."""

    EXISTS = "exists"
    REVOKED = "revoked"
    DISABLED = "disabled"
    EXPIRED = "expired"
    ROTATED = "rotated"
    LAPSED = "the grace is over"
    RESTRICTED = "restricted"
    ACTIVE = "owner active"
    SUPERUSER = "owner superuser"


class Answer(Enum):
    """What a use of a key was answered."""

    REFUSED = "refused"
    PASSED = "passed"
    SUPERUSER = "superuser"


Place = tuple[str, Field]
"""A field of the key or the owner with that id."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """A change of keys and owners, all of it at one moment between `start` and `end`.

    `end` is infinite where the outcome is unknown. `raw` is one made in SQL; `clock` one that nobody makes, because
    time does: the end of a grace.
    """

    kind: str
    sets: Mapping[Place, bool]
    start: int
    end: float
    raw: bool = False
    clock: bool = False
    worker: str = ""

    @property
    def is_certain(self) -> bool:
        return self.end != inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Use:
    """A key that was presented, and what the process `pid` answered."""

    key: str
    start: int
    end: int
    pid: int
    answer: Answer


@dataclass(slots=True, kw_only=True)
class History:
    """What happened; `owners` has the owner of each key."""

    owners: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)


def check(history: History, *, lease: int | None = None) -> list[Use]:
    """Return the uses whose answers nothing explains, given those that ended before them. `lease` in nanoseconds."""
    changes, uses = defaultdict(list), defaultdict(list)
    for change in history.changes:
        for subject in {subject for subject, _ in change.sets}:
            changes[subject].append(change)
    for use in history.uses:
        uses[history.owners[use.key] if lease is None else (use.key, use.pid)].append(use)
    keys = defaultdict(list)
    for key, owner in history.owners.items():
        keys[owner].append(key)
    found = []
    for whose, some in uses.items():
        subjects = {whose, *keys[whose]} if lease is None else {whose[0], history.owners[whose[0]]}
        part = History(owners=history.owners, changes=_touching(changes, subjects), uses=some)
        found += _unexplained(part, lag=lease or 0)
    return found


def _touching(changes: Mapping[str, list[Change]], subjects: set[str]) -> list[Change]:
    """Return what the changes do to `subjects`."""
    touching = {change for subject in subjects for change in changes.get(subject, ())}
    return [_of(change, subjects) for change in sorted(touching, key=lambda change: change.start)]


def _of(change: Change, subjects: set[str]) -> Change:
    sets = {place: value for place, value in change.sets.items() if place[0] in subjects}
    return change if len(sets) == len(change.sets) else replace(change, sets=sets)


# --- one line -----------------------------------------------------------------------------------------------------

State = frozenset[Place]
"""All that is true."""


def answer_in(state: State, key: str, owner: str) -> Answer:
    """Return how a use of the key is answered in that state."""
    is_over = (key, Field.ROTATED) in state and (key, Field.LAPSED) in state
    bad = is_over or any((key, field) in state for field in (Field.REVOKED, Field.DISABLED, Field.EXPIRED))
    if bad or (key, Field.EXISTS) not in state or (owner, Field.ACTIVE) not in state:
        return Answer.REFUSED
    if (owner, Field.SUPERUSER) in state and (key, Field.RESTRICTED) not in state:
        return Answer.SUPERUSER
    return Answer.PASSED


def after(state: State, change: Change) -> State:
    """Return the state that a change makes of another."""
    true = {place for place, value in change.sets.items() if value}
    return state.difference(change.sets) | true


class _Situation(NamedTuple):
    """How things may stand: the state, and which of the events under way are done with."""

    state: State
    made: frozenset[Change]
    explained: frozenset[Use]


class _Line:
    """The situations that can be at one moment, and what is under way."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        self._owners = owners
        self._changes: list[Change] = []
        self._uses: list[Use] = []
        self._situations = {_Situation(frozenset(), frozenset(), frozenset())}

    def begin(self, event: Change | Use) -> None:
        """Take note that something begins, and of all that it may lead to at once."""
        (self._uses if isinstance(event, Use) else self._changes).append(event)
        reached: set[_Situation] = set()
        waiting = {self._explain(situation) for situation in self._situations}
        while waiting:
            situation = waiting.pop()
            reached.add(situation)
            waiting |= {self._explain(next_) for next_ in self._one_change_on(situation)} - reached
        self._situations = set(_without_the_needless(reached))

    def end(self, event: Change | Use) -> bool:
        """Take note that something has ended; tell whether that can be."""
        if isinstance(event, Change):
            self._changes.remove(event)
            # A change can always take place before it ends: these are never none.
            kept = {
                situation._replace(made=situation.made - {event})
                for situation in self._situations
                if event in situation.made
            }
        else:
            self._uses.remove(event)
            kept = {
                situation._replace(explained=situation.explained - {event})
                for situation in self._situations
                if event in situation.explained
            }
        if kept:
            self._situations = kept
        return bool(kept)

    def _explain(self, situation: _Situation) -> _Situation:
        """Return the same situation, with those uses explained that the state explains."""
        now = {
            use
            for use in self._uses
            if use not in situation.explained
            and answer_in(situation.state, use.key, self._owners[use.key]) is use.answer
        }
        return situation._replace(explained=situation.explained | now) if now else situation

    def _one_change_on(self, situation: _Situation) -> Iterable[_Situation]:
        waiting = [change for change in self._changes if change not in situation.made]
        for change in waiting:
            if not any(_precedes(other, change) for other in waiting):
                yield situation._replace(state=after(situation.state, change), made=situation.made | {change})


def _precedes(one: Change, other: Change) -> bool:
    """Tell whether the database must have made `one` before `other`, however late somebody sees them."""
    return one.end < other.start and not one.clock and not other.clock


def _without_the_needless(situations: Iterable[_Situation]) -> Iterable[_Situation]:
    """Leave out what leads nowhere that another situation does not lead to as well.

    That is so if the state is the same and the other has explained no less, and has made the same changes, or fewer by
    some whose outcome is unknown: these need never be made.
    """
    alike = defaultdict(list)
    for situation in situations:
        certain = frozenset(change for change in situation.made if change.is_certain)
        alike[situation.state, certain].append(situation)
    for some in alike.values():
        for one in some:
            if not any(_replaces(other, one) for other in some):
                yield one


def _replaces(other: _Situation, one: _Situation) -> bool:
    return other != one and other.made <= one.made and other.explained >= one.explained


def _unexplained(history: History, *, lag: int) -> list[Use]:
    line = _Line(history.owners)
    moments: list[tuple[float, int, int, Change | Use]] = []
    for number, event in enumerate([*_that_matter(history, lag), *history.uses]):
        last = _last(event, lag) if isinstance(event, Change) else event.end
        # At the same nanosecond starts stand before ends: the two events may be in any order.
        moments += [(event.start, 0, number, event), (last, 1, number, event)]
    found = []
    for time, is_end, _, event in sorted(moments, key=lambda moment: moment[:3]):
        if not is_end:
            line.begin(event)
        elif time != inf and not line.end(event):
            found.append(event)
    return found


def _last(change: Change, lag: int) -> float:
    """Return until when it may take its place."""
    return change.end + (lag if change.raw else 0)


def _that_matter(history: History, lag: int) -> Iterable[Change]:
    """Leave out the changes that nobody can have seen.

    So it is if another one sets the same, begins when this one has ended, and has taken its place before anybody looks
    again. Most keys are looked at for a short part of the history, and their owners are changed in all of it.
    """
    uses = sorted(history.uses, key=lambda use: use.start)
    starts, ends = [use.start for use in uses], [*accumulate((use.end for use in uses), max)]
    alike = defaultdict(list)
    for change in history.changes:
        alike[frozenset(change.sets)].append(change)
    for changes in alike.values():
        later = sorted((other for other in changes if other.is_certain), key=lambda other: other.start)
        begins = [other.start for other in later]
        soonest = [*accumulate((_last(other, lag) for other in reversed(later)), min)][::-1]
        for change in changes:
            after_it = bisect_right(begins, change.end)
            until = soonest[after_it] if after_it < len(later) else inf
            begun = bisect_right(starts, until)
            if begun and ends[begun - 1] >= change.start:
                yield change
