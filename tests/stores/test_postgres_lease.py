"""A lease says when memory may be trusted, and a writer waits until nobody trusts it: without a database or a clock."""

import asyncio

import pytest

from keyguard.errors import StoreUnavailable
from keyguard.stores._lease import LEASE, MARGIN, Lease
from keyguard.stores._postgres import wait_until_heard

# --- the lease --------------------------------------------------------------------------------------------------


def test_there_is_no_token_before_the_first_lease():
    """Before a lease was granted, and after it was given up, there is no token at any time."""
    for lease in (Lease(), Lease().read(7), Lease().granted(10.0, 7).ended(), Lease().granted(10.0, 7).ended().read(8)):
        assert [lease.token(now) for now in (0.0, 10.0, 10.5, 1e9)] == [None] * 4


def test_a_lease_lasts_from_its_sending():
    """A lease vouches until so many seconds after it was sent, and at that moment no more."""
    lease = Lease(2.0).granted(10.0, 7)
    assert lease.token(10.0) == lease.token(11.999) == 1
    assert lease.token(12.0) is None


def test_a_new_lease_of_the_same_revision_keeps_the_token():
    """Renewed in time or too late, with the revision where it was, the token is what it was."""
    lease = Lease(2.0).granted(10.0, 7)
    for sent in (11.0, 50.0):
        assert lease.granted(sent, 7).token(sent + 1) == lease.token(10.0)
        assert lease.granted(sent, 7).token(sent + 2) is None


@pytest.mark.parametrize("other", [8, 6, 0, 100])
def test_another_revision_moves_the_token(other):
    """A revision that differs moves the token, be it larger or smaller, with a new lease or within one."""
    lease = Lease(2.0).granted(10.0, 7)
    assert lease.read(other).token(11.0) not in {None, lease.token(11.0)}
    assert lease.granted(11.0, other).token(11.0) not in {None, lease.token(11.0)}


def test_a_notification_moves_the_token_by_itself():
    """A notification moves the token before the revision is read; the lease lasts no longer for it."""
    lease = Lease(2.0).granted(10.0, 7)
    assert lease.stirred().token(11.0) not in {None, lease.token(11.0)}
    assert lease.stirred().token(12.0) is None


def test_tokens_never_come_again():
    """Whatever happens, no token is given twice with something in between: not even if an old revision comes back."""
    lease, seen = Lease(), []
    for sent, revision in [(0, 7), (10, 8), (20, 7), (30, 8), (40, 0)]:
        for changed in (lease.granted(sent, revision), lease.granted(sent, revision).stirred()):
            lease = changed
            seen.append(lease.token(sent))
        lease = lease.ended()
    assert len(seen) == len(set(seen))
    assert None not in seen


def test_after_an_interruption_the_token_moves():
    """Where nothing was heard for a while the token moves with the next lease, though the revision be the same."""
    lease = Lease(2.0).granted(10.0, 7)
    assert lease.ended().granted(10.5, 7).token(11.0) not in {None, lease.token(11.0)}


# --- the writer -------------------------------------------------------------------------------------------------


class World:
    """A database with a row of listeners, and a time that goes on while the writer sleeps."""

    def __init__(self, *, unheard_until=0.0, fails_from=None):
        self.now = 100.0
        self.began = self.now
        self.unheard_until = self.began + unheard_until
        self.fails_from = None if fails_from is None else self.began + fails_from
        self.reads, self.pauses = 0, []

    async def read(self, statement, parameters):
        assert parameters == {"revision": 7}
        self.reads += 1
        if self.fails_from is not None and self.now >= self.fails_from:
            raise StoreUnavailable("gone")
        return ["somebody"] if self.now < self.unheard_until else []

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    async def wait(self):
        await wait_until_heard(self.read, 7, clock=lambda: self.now, sleep=self.sleep)
        return self.now - self.began


async def test_a_writer_does_not_wait_where_everybody_has_heard():
    """Where nobody has a lease, or all have acknowledged, one look is all."""
    world = World()
    assert await world.wait() == 0
    assert world.reads == 1


async def test_a_writer_looks_often_at_first():
    """The pauses between two looks grow from 1 to 50 ms, so that neither the caller nor the database waits long."""
    world = World(unheard_until=0.5)
    assert 0.5 <= await world.wait() < 0.55
    assert world.pauses[:7] == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05]
    assert max(world.pauses) == 0.05


async def test_a_writer_waits_for_a_lease_and_the_margin_at_most():
    """For a worker that never acknowledges the writer waits until its lease must have run out, and no longer."""
    world = World(unheard_until=1e9)
    assert LEASE + MARGIN <= await world.wait() < LEASE + MARGIN + 0.05


@pytest.mark.parametrize("fails_from", [0.0, 0.3, 1.9])
async def test_a_writer_that_cannot_look_waits_all_the_time(fails_from):
    """Where the database cannot be asked the writer waits until every lease must have run out, and returns."""
    world = World(unheard_until=1e9, fails_from=fails_from)
    assert await world.wait() == pytest.approx(LEASE + MARGIN)


async def test_a_writer_waits_no_longer_for_a_server_that_does_not_answer():
    """Where the answer to the writer's look does not come, the writer returns when the time is over nevertheless."""
    world = World()
    asked = asyncio.get_running_loop().create_future()
    times = iter([0.0, LEASE + MARGIN - 0.01])
    await wait_until_heard(lambda *_: asked, 7, clock=lambda: next(times), sleep=world.sleep)
    assert not asked.done()
