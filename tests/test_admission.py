"""The door in front of the store: how many are inside, how many wait, and for how long."""

import asyncio
import gc
from contextlib import suppress

import pytest

from keyguard.admission import Admission
from keyguard.errors import Overloaded, StoreUnavailable

TINY = 0.01
"""Seconds, for tests that see a deadline pass."""


class Held:
    """A call that lasts until it is let go; a `stubborn` one cannot be cancelled, as one to a frozen database."""

    def __init__(self, answer=None, *, stubborn=False, problem=None):
        self.begun, self.go, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._answer, self._problem = answer, problem
        self._ignored = [asyncio.CancelledError] if stubborn else []

    async def __call__(self):
        self.begun.set()
        try:
            while not self.go.is_set():
                with suppress(*self._ignored):
                    await self.go.wait()
            if self._problem is not None:
                raise self._problem
            return self._answer
        finally:
            self.ended.set()


async def answer():
    return "an answer"


async def fail():
    raise LookupError("nothing there")


async def begin(admission, call):
    task = asyncio.ensure_future(admission.run(call))
    await asyncio.sleep(0)
    return task


async def settle():
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def complaints():
    """What the loop complains of, such as exceptions that nobody took notice of: nothing, in every test."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield complaints
    gc.collect()
    await settle()
    assert complaints == []


async def test_the_fixture_can_complain():
    """An exception that nobody took notice of is seen by the fixture of this file."""
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["message"]))
    task = asyncio.ensure_future(fail())
    await settle()
    del task
    gc.collect()
    assert seen == ["Task exception was never retrieved"]


async def test_an_answer_comes_through():
    """What a call returns is returned, and what it raises is raised."""
    admission = Admission(at_once=1)
    assert await admission.run(answer) == "an answer"
    with pytest.raises(LookupError, match="nothing there"):
        await admission.run(fail)
    assert await admission.run(answer) == "an answer"


async def test_so_many_at_once():
    """No more calls run at the same time than the store can serve; the others follow in their order."""
    admission = Admission(at_once=2, waiting=2)
    calls = [Held(number) for number in range(4)]
    tasks = [await begin(admission, call) for call in calls]
    await settle()
    assert [call.begun.is_set() for call in calls] == [True, True, False, False]
    calls[1].go.set()
    await settle()
    assert [call.begun.is_set() for call in calls] == [True, True, True, False]
    for call in calls:
        call.go.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3]


async def test_so_many_may_wait():
    """One more than may run and wait is turned away at once, without its call being made."""
    admission = Admission(at_once=1, waiting=1)
    calls = [Held(), Held(), Held()]
    tasks = [await begin(admission, call) for call in calls[:2]]
    with pytest.raises(Overloaded, match="too many checks wait for the store"):
        await admission.run(calls[2])
    for call in calls:
        call.go.set()
    await asyncio.gather(*tasks)
    assert not calls[2].begun.is_set()
    assert await admission.run(answer) == "an answer"


async def test_sixty_four_may_wait():
    """Without other arguments 64 may wait."""
    admission = Admission(at_once=1)
    held = Held()
    tasks = [await begin(admission, held) for _ in range(65)]
    with pytest.raises(Overloaded):
        await admission.run(held)
    held.go.set()
    await asyncio.gather(*tasks)


async def test_the_bound_stays_when_calls_have_come_and_gone():
    """However many calls have ended, well or not, as many may run and wait as before."""
    admission = Admission(at_once=1, waiting=0)
    for call in (answer, answer, fail):
        await asyncio.gather(admission.run(call), return_exceptions=True)
    await settle()
    held = Held()
    task = await begin(admission, held)
    with pytest.raises(Overloaded):
        await admission.run(answer)
    held.go.set()
    await task


def test_the_deadline_is_two_seconds():
    """Without other arguments a call is given up after two seconds."""
    assert Admission(at_once=1)._seconds == 2.0


async def test_a_call_that_takes_too_long_is_given_up():
    """After the deadline the caller gets `StoreUnavailable`, and the call is cancelled."""
    held = Held()
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.01 s") as caught:
        await Admission(at_once=1, seconds=TINY).run(held)
    assert not isinstance(caught.value, Overloaded)
    await held.ended.wait()


async def test_waiting_counts_for_the_deadline():
    """A call that has not got its place by the deadline is given up, and is never made."""
    admission = Admission(at_once=1, seconds=TINY)
    frozen, second = Held(stubborn=True), Held()
    results = await asyncio.gather(admission.run(frozen), admission.run(second), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    frozen.go.set()
    await frozen.ended.wait()
    await settle()
    assert not second.begun.is_set()


async def test_a_call_that_ignores_cancellation_keeps_its_place():
    """A call that was given up and goes on all the same keeps its place, so that the store is not sent more work."""
    admission = Admission(at_once=1, waiting=0, seconds=TINY)
    frozen = Held(stubborn=True)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await admission.run(frozen)
    await settle()
    with pytest.raises(Overloaded):
        await admission.run(answer)
    frozen.go.set()
    await frozen.ended.wait()
    await settle()
    assert await admission.run(answer) == "an answer"


async def test_what_a_given_up_call_raises_is_taken_notice_of(complaints):
    """A call that fails after it was given up leaves no 'Task exception was never retrieved' behind."""
    failing = Held(stubborn=True, problem=OSError("the connection is gone"))
    with pytest.raises(StoreUnavailable):
        await Admission(at_once=1, seconds=TINY).run(failing)
    failing.go.set()
    await failing.ended.wait()
    await settle()
    gc.collect()
    assert complaints == []


async def test_a_caller_that_goes_away_gives_up_its_call():
    """When a caller is cancelled its call is cancelled, and its place is free once that has ended."""
    admission = Admission(at_once=1, waiting=0)
    held = Held()
    task = await begin(admission, held)
    await held.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await held.ended.wait()
    await settle()
    assert await admission.run(answer) == "an answer"


async def test_a_caller_that_goes_away_while_it_waits():
    """When a caller is cancelled in the queue its call is never made, and its place is free."""
    admission = Admission(at_once=1, waiting=1)
    first, second, third = Held("first"), Held(), Held("third")
    running, waiting = await begin(admission, first), await begin(admission, second)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await settle()
    another = await begin(admission, third)
    first.go.set()
    third.go.set()
    assert await asyncio.gather(running, another) == ["first", "third"]
    assert not second.begun.is_set()


async def test_one_caller_that_goes_away_takes_nobody_with_it():
    """A cancelled caller does not touch the calls of others."""
    admission = Admission(at_once=2)
    held, other = Held(), Held("other")
    going, staying = await begin(admission, held), await begin(admission, other)
    going.cancel()
    await settle()
    other.go.set()
    assert await staying == "other"


async def test_a_store_that_cancels_itself_is_not_available():
    """A call that ends as cancelled though nobody cancelled it does not look like a cancelled request."""

    async def give_up():
        raise asyncio.CancelledError

    with pytest.raises(StoreUnavailable, match="gave up"):
        await Admission(at_once=1).run(give_up)


async def test_a_request_with_several_calls_has_one_deadline():
    """A call that is told until when the request may take is given up then, however late it comes."""
    admission = Admission(at_once=2, seconds=5)
    deadline = Admission(at_once=1, seconds=TINY).deadline()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await admission.run(Held(), until=deadline)
        assert deadline <= asyncio.get_running_loop().time() < deadline + 4


async def crowd(admission):
    """More who come at once than may be inside."""

    async def turn():
        await asyncio.sleep(0)
        return "an answer"

    return set(await asyncio.gather(*(admission.run(turn) for _ in range(10))))


def test_a_door_outlives_an_event_loop():
    """Those who wait in a second loop get their answers as in the first."""
    admission = Admission(at_once=2)
    assert [asyncio.run(crowd(admission)) for _ in range(3)] == [{"an answer"}] * 3
