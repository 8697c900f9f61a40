"""A key that was let in before: what may be used again without asking the store, and what must not."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

import pytest

from keyguard import lifecycle
from keyguard.authenticator import Authenticator
from keyguard.errors import StoreUnavailable
from keyguard.extract import Sources
from keyguard.hashing import hmac_digest, sha256_digest
from keyguard.journal import Journal
from keyguard.keys import from_entropy
from keyguard.model import Principal, Reason, Requirement, Rule
from keyguard.settings import Keyring, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.testing import FrozenClock

HERE, ELSEWHERE = IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1")
HOUR = timedelta(hours=1)
PEPPER = b"a pepper of enough bytes"


class ObservedStore(MemoryStore):
    """A `MemoryStore` that counts its reads, and does what it is told before and after it has looked."""

    def __init__(self, keyring):
        super().__init__(keyring=keyring)
        self.reads = 0
        self.before = self.after = None

    async def find(self, lookups):
        self.reads += 1
        before, self.before = self.before, None
        if before is not None:
            await before()
        found = await super().find(lookups)
        after, self.after = self.after, None
        if after is not None:
            await after()
        return found

    def alter_key(self, key_id, **fields):
        """Change what no call of the library does, as SQL can."""
        self._keys[key_id] = replace(self._keys[key_id], **fields)
        self._changes += 1


class Silent:
    """The same store, but for what vouches."""

    def __init__(self, store):
        self._store = store
        self.keyring, self.concurrency, self.is_open = store.keyring, store.concurrency, True

    async def open(self):
        raise NotImplementedError

    async def close(self):
        raise NotImplementedError

    async def find(self, lookups):
        return await self._store.find(lookups)

    async def find_owner(self, name):
        raise NotImplementedError

    async def upgrade(self, key_id, **digests):
        raise NotImplementedError


async def move_the_token(store):
    """Make a change that is not about any key: what is remembered is read anew."""
    owner = await lifecycle.add_owner(store, f"owner {len(await store.list_owners())}")
    await lifecycle.set_superuser(store, owner, superuser=True)


class Guarded:
    """An authenticator over a store with a superuser, called root, and a key of his."""

    def __init__(self, policy=Policy(), *, keyring=None, **options):  # noqa: B008 A frozen value.
        self.store = ObservedStore(keyring or Keyring())
        self.clock = FrozenClock()
        self.policy = policy
        self.make_new(**options)

    def make_new(self, store=None, **options):
        """What a new process has: the same store, nothing remembered."""
        self.authenticator = Authenticator(
            store or self.store, self.policy, journal=Journal(), clock=self.clock, **options
        )

    async def with_key(self, **arguments):
        self.root = await lifecycle.add_owner(self.store, "root", is_superuser=True, clock=self.clock)
        issued = await lifecycle.issue(self.store, self.root, clock=self.clock, **arguments)
        self.key, self.key_id = issued.key.reveal(), issued.record.id
        self.store.reads = 0
        return self

    async def ask(self, address=HERE, requirement=Requirement.REQUIRED, key=None):
        presented = Sources(prefixes=("kg_",)).extract([(b"x-api-key", (key or self.key).encode())], b"")
        return await self.authenticator.authenticate(requirement, presented, address)

    async def passes(self, address=HERE):
        """Whether the key lets a request pass, and how many reads that took."""
        before = self.store.reads
        decision = (await self.ask(address)).decision
        return decision.rule is Rule.KEY, self.store.reads - before

    @property
    def is_recalled(self):
        """Whether the key lets a request pass at once, without any waiting."""
        return self.authenticator.recall(self.key.encode(), HERE) is not None


async def settle():
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- while the token stands -------------------------------------------------------------------------------------


async def test_a_second_use_is_no_read():
    """A key that was let in is let in again without a read, with the same decision, from anywhere."""
    guarded = await Guarded().with_key()
    assert not guarded.is_recalled
    first = await guarded.ask()
    assert guarded.store.reads == 1
    for address in (HERE, ELSEWHERE, None):
        judged = await guarded.ask(address)
        assert judged.decision == first.decision
        assert judged.facts == replace(first.facts, address=address)
    recalled = guarded.authenticator.recall(guarded.key.encode(), HERE)
    assert recalled.allowed == first.decision
    assert recalled.verdict == first.facts.credential
    assert recalled.auth.scopes.granted == {"*"}
    assert guarded.store.reads == 1


async def test_only_the_very_key_is_recalled():
    """Nothing but the whole key is recalled, however like it is."""
    guarded = await Guarded().with_key()
    await guarded.ask()
    for other in (guarded.key[:-1], guarded.key + "0", guarded.key.swapcase(), f" {guarded.key}", "", "x" * 10_000):
        assert guarded.authenticator.recall(other.encode(), HERE) is None
    assert guarded.is_recalled


async def test_a_key_is_remembered_wherever_it_was_let_in():
    """A key that was let in on a path where it is optional is recalled on one where it is required."""
    guarded = await Guarded().with_key()
    await guarded.ask(requirement=Requirement.OPTIONAL)
    assert guarded.is_recalled


async def test_a_use_counts_whether_or_not_it_is_recalled():
    """Each request that a key lets in counts once, with its time and address: read, looked up or recalled at once."""
    guarded = await Guarded().with_key()
    await guarded.ask()
    await guarded.ask(ELSEWHERE)
    guarded.clock.advance(HOUR)
    assert guarded.authenticator.recall(guarded.key.encode(), ELSEWHERE) is not None
    await lifecycle.disable(guarded.store, guarded.key_id)
    await guarded.ask()
    await guarded.authenticator.close()
    uses = await guarded.store.get_uses([guarded.key_id])
    use = uses[guarded.key_id]
    assert (use.total, use.last_used_at, use.last_used_address) == (3, guarded.clock.now, str(ELSEWHERE))


async def test_asking_whether_it_passes_still_is_no_use():
    """What a connection asks about its key is not counted: it is not the caller who asks."""
    guarded = await Guarded().with_key()
    known = (await guarded.ask()).known
    for _ in range(3):
        assert await guarded.authenticator.passes_still(known, HERE)
        await move_the_token(guarded.store)
    await guarded.authenticator.close()
    assert (await guarded.store.get_uses([guarded.key_id]))[guarded.key_id].total == 1


async def test_a_cache_of_nothing_reads_each_time():
    """With a cache size of 0 each request is a read."""
    guarded = await Guarded(cache_size=0).with_key()
    assert [await guarded.passes() for _ in range(3)] == [(True, 1)] * 3
    assert not guarded.is_recalled


async def test_the_end_forgets_everything():
    """What is closed remembers nothing when it is used again."""
    guarded = await Guarded().with_key()
    await guarded.passes()
    await guarded.authenticator.close()
    assert not guarded.is_recalled
    assert await guarded.passes() == (True, 1)


# --- when it moves ----------------------------------------------------------------------------------------------

HARMLESS = {
    "another key disabled": lambda g: lifecycle.disable(g.store, g.other_id),
    "another key enabled": lambda g: lifecycle.enable(g.store, g.other_id),
    "another key revoked": lambda g: lifecycle.revoke(g.store, g.other_id),
    "another owner deactivated": lambda g: lifecycle.deactivate(g.store, g.other),
    "another owner activated": lambda g: lifecycle.activate(g.store, g.other),
    "another owner superuser": lambda g: lifecycle.set_superuser(g.store, g.other, superuser=True),
    "another key rotated": lambda g: lifecycle.rotate(g.store, g.other_id, grace=HOUR),
}


async def test_after_each_change_there_is_one_read():
    """After a change of whatever key or owner the next use reads the row once; those after it do not."""
    guarded = await Guarded().with_key()
    guarded.other = await lifecycle.add_owner(guarded.store, "other")
    guarded.other_id = (await lifecycle.issue(guarded.store, guarded.other)).record.id
    assert await guarded.passes() == (True, 1)
    for name, change in HARMLESS.items():
        if name == "another key rotated":
            guarded.other_id = (await lifecycle.issue(guarded.store, guarded.other)).record.id
        await change(guarded)
        assert not guarded.is_recalled
        assert [await guarded.passes() for _ in range(3)] == [(True, 1), (True, 0), (True, 0)]
        assert guarded.is_recalled


async def test_what_a_check_does_not_read_costs_no_read():
    """A new key, a new name and a new password leave what is remembered as good as it was."""
    guarded = await Guarded().with_key()
    await guarded.passes()
    await lifecycle.issue(guarded.store, guarded.root)
    await lifecycle.rename(guarded.store, guarded.key_id, "another")
    await lifecycle.set_password(guarded.store, guarded.root, None)
    assert await guarded.passes() == (True, 0)


CHANGES = {
    "revoked": (lambda g: lifecycle.revoke(g.store, g.key_id), Reason.REVOKED),
    "disabled": (lambda g: lifecycle.disable(g.store, g.key_id), Reason.DISABLED),
    "owner inactive": (lambda g: lifecycle.deactivate(g.store, g.root), Reason.OWNER_INACTIVE),
    "rotated": (lambda g: lifecycle.rotate(g.store, g.key_id), Reason.REVOKED),
}
changes = pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)


@changes
async def test_a_change_is_seen_by_the_next_request(change, reason):
    """A key that is remembered is refused once the change has returned, and each time after that."""
    guarded = await Guarded().with_key()
    assert [await guarded.passes() for _ in range(2)] == [(True, 1), (True, 0)]
    await change(guarded)
    assert not guarded.is_recalled
    for reads in (2, 3):
        decision = (await guarded.ask()).decision
        assert (decision.reason, decision.key.id, guarded.store.reads) == (reason, guarded.key_id, reads)


@changes
async def test_a_change_during_the_read_is_not_covered_up(change, reason):
    """Where a key is changed after its row was read, and before the answer is there, the old row is not remembered."""
    guarded = await Guarded().with_key()
    guarded.store.after = lambda: change(guarded)
    await guarded.ask()
    assert not guarded.is_recalled
    assert (await guarded.ask()).decision.reason is reason
    assert guarded.store.reads == 2


@changes
async def test_a_change_between_token_and_row_is_seen(change, reason):
    """Where a key is changed after the token was taken, and before its row is read, the request itself is refused."""
    guarded = await Guarded().with_key()
    guarded.store.before = lambda: change(guarded)
    assert (await guarded.ask()).decision.reason is reason
    assert not guarded.is_recalled


@changes
async def test_who_comes_after_a_change_does_not_share_the_older_read(change, reason):
    """While a read is under way that has missed a change, whoever comes after the change is refused, and all later."""
    guarded = await Guarded().with_key()
    go_on = asyncio.Event()
    guarded.store.after = go_on.wait
    early = [asyncio.create_task(guarded.ask()) for _ in range(2)]
    await settle()
    await change(guarded)
    late = asyncio.create_task(guarded.ask())
    await settle()
    assert (late.done(), early[0].done(), guarded.store.reads) == (True, False, 2)
    go_on.set()
    await settle()
    assert [task.result().decision.rule for task in early] == [Rule.KEY] * 2  # They came before it.
    assert late.result().decision.reason is reason
    assert not guarded.is_recalled
    assert (await guarded.ask()).decision.reason is reason


async def test_who_comes_while_the_token_stands_shares_the_read():
    """Requests that come while a read is under way, and nothing has changed, share it."""
    guarded = await Guarded().with_key()
    go_on = asyncio.Event()
    guarded.store.after = go_on.wait
    asking = []
    for _ in range(3):
        asking.append(asyncio.create_task(guarded.ask()))
        await settle()
    go_on.set()
    assert {judged.decision.rule for judged in await asyncio.gather(*asking)} == {Rule.KEY}
    assert guarded.store.reads == 1


async def test_a_key_that_is_issued_while_it_is_looked_for_passes():
    """Who has his key in hand passes, though others had asked for it before it was there, and still wait."""
    guarded = await Guarded().with_key()
    key = from_entropy("kg", bytes(48))
    record = replace(
        await guarded.store.get_key(guarded.key_id),
        id="another",
        lookup=sha256_digest(key.reveal().encode()),
        verifier=sha256_digest(key.reveal().encode()),
    )
    go_on = asyncio.Event()
    guarded.store.after = go_on.wait
    early = asyncio.create_task(guarded.ask(key=key.reveal()))
    await settle()
    await guarded.store.add_key(record)
    late = asyncio.create_task(guarded.ask(key=key.reveal()))
    await settle()
    go_on.set()
    assert (await early).decision.reason is Reason.UNKNOWN
    assert (await late).decision.rule is Rule.KEY


async def test_rights_that_are_taken_are_gone_at_once():
    """What a key may do is as new as whether it passes: superuser rights and scopes that were taken are not there."""
    guarded = await Guarded().with_key()
    assert (await guarded.ask()).decision.principal.is_superuser
    await lifecycle.set_superuser(guarded.store, guarded.root, superuser=False)
    judged = await guarded.ask()
    assert not judged.decision.principal.is_superuser
    assert "superuser" not in judged.known.auth.scopes
    assert "flows:write" in judged.known.auth.scopes
    guarded.store.alter_key(guarded.key_id, scopes=frozenset({"flows:read"}))
    judged = await guarded.ask()
    assert judged.decision.principal.scopes == {"flows:read"}
    assert "flows:write" not in judged.known.auth.scopes
    assert guarded.authenticator.recall(guarded.key.encode(), HERE).auth is judged.known.auth


async def test_a_bad_key_that_passes_without_it_is_not_remembered():
    """Where everybody passes, a bad key is read each time, and is what lets the request pass once it is good again."""
    guarded = await Guarded(Policy(skip_auth=True, auto_login_user="root")).with_key()
    await lifecycle.disable(guarded.store, guarded.key_id)
    for reads in (1, 2):
        judged = await guarded.ask()
        assert (judged.decision.rule, judged.decision.noted) == (Rule.SKIP_AUTH, Reason.DISABLED)
        assert judged.known.verdict.standing is Reason.DISABLED
        assert not guarded.is_recalled
        assert guarded.store.reads == reads
    await lifecycle.enable(guarded.store, guarded.key_id)
    assert [await guarded.passes() for _ in range(2)] == [(True, 1), (True, 0)]


# --- time and place are judged each time ------------------------------------------------------------------------


async def test_the_window_is_judged_each_time():
    """What is remembered passes only within the key's window, wherever the clock goes, back as well."""
    guarded = Guarded()
    begin, end = guarded.clock.now + HOUR, guarded.clock.now + 2 * HOUR
    await guarded.with_key(not_before=begin, expires_at=end)
    moment = timedelta(microseconds=1)
    for now, reason in [
        (begin - moment, Reason.NOT_YET_VALID),
        (begin, None),
        (end - moment, None),
        (end, Reason.EXPIRED),
        (end - moment, None),
        (begin - moment, Reason.NOT_YET_VALID),
        (begin, None),
        (end + HOUR, Reason.EXPIRED),
    ]:
        guarded.clock.now = now
        decision = (await guarded.ask()).decision
        assert (None if decision.rule is Rule.KEY else decision.reason) is reason
        assert guarded.is_recalled is (reason is None)


async def test_a_window_alone_takes_no_entry_out():
    """An entry outside its window is not used, and is used again when the clock is set back."""
    guarded = Guarded()
    begin, end = guarded.clock.now, guarded.clock.now + HOUR
    await guarded.with_key(not_before=begin, expires_at=end)
    await guarded.ask()
    for now, is_recalled in [(end, False), (begin - HOUR, False), (begin, True), (end + HOUR, False), (begin, True)]:
        guarded.clock.now = now
        assert guarded.is_recalled is is_recalled
    assert guarded.store.reads == 1


@pytest.mark.parametrize("window", ["not_before", "expires_at"])
async def test_half_a_window_is_one(window):
    """A key with one end of a window alone is judged by it."""
    guarded = Guarded()
    edge = guarded.clock.now + HOUR
    guarded.clock.now = edge if window == "not_before" else edge - HOUR
    await guarded.with_key(**{window: edge})
    await guarded.ask()
    assert guarded.is_recalled
    guarded.clock.now = edge - HOUR if window == "not_before" else edge
    assert not guarded.is_recalled
    assert await guarded.passes() == (False, 0)


async def test_networks_are_judged_each_time():
    """A key that is tied to networks is recalled with the address judged, never without it."""
    guarded = await Guarded().with_key(networks=["192.0.2.0/24"])
    assert await guarded.passes() == (True, 1)
    assert not guarded.is_recalled
    assert await guarded.passes() == (True, 0)
    for address in (ELSEWHERE, None):
        assert (await guarded.ask(address)).decision.reason is Reason.ADDRESS_NOT_ALLOWED
    assert (await guarded.passes())[0]
    assert not guarded.is_recalled


async def test_a_key_that_is_used_elsewhere_stays_remembered():
    """Who uses a key from where it may not be used is refused, and costs neither himself nor its owner a read."""
    guarded = await Guarded().with_key(networks=["192.0.2.0/24"])
    assert await guarded.passes() == (True, 1)
    for address, passes in [(ELSEWHERE, False), (HERE, True), (None, False), (ELSEWHERE, False), (HERE, True)]:
        assert await guarded.passes(address) == (passes, 0)
    guarded.make_new()
    assert [await guarded.passes(ELSEWHERE) for _ in range(2)] == [(False, 1)] * 2  # It was never let in.
    await guarded.passes()
    await lifecycle.revoke(guarded.store, guarded.key_id)
    await guarded.passes(ELSEWHERE)
    assert not guarded.authenticator._cache._entries


# --- who vouches ------------------------------------------------------------------------------------------------


async def test_a_store_that_cannot_vouch_is_read_each_time():
    """Behind a store without `Freshness` each request reads its row, and sees what was changed."""
    guarded = await Guarded().with_key()
    guarded.make_new(Silent(guarded.store))
    assert [await guarded.passes() for _ in range(3)] == [(True, 1)] * 3
    assert not guarded.is_recalled
    await lifecycle.revoke(guarded.store, guarded.key_id)
    assert await guarded.passes() == (False, 1)


async def test_a_store_that_cannot_vouch_now_is_read_each_time():
    """While the token is None each request reads its row; what was read then is not used when it comes back."""
    guarded = await Guarded().with_key()
    await guarded.passes()
    token = None
    guarded.store.token = lambda: token
    guarded.make_new()
    assert [await guarded.passes() for _ in range(2)] == [(True, 1)] * 2
    token = 7
    assert [await guarded.passes() for _ in range(2)] == [(True, 1), (True, 0)]
    token = None
    assert await guarded.passes() == (True, 1)


@pytest.mark.parametrize("is_exact", [False, True])
async def test_strict_trusts_only_what_is_exact(is_exact):
    """With `strict` what is remembered is used where the store vouches for everybody's changes, and not elsewhere."""
    guarded = await Guarded().with_key()
    guarded.store.is_exact = is_exact
    guarded.make_new(freshness="strict")
    assert [await guarded.passes() for _ in range(3)] == [(True, 1), (True, not is_exact), (True, not is_exact)]
    assert guarded.is_recalled is is_exact
    guarded.make_new(freshness="auto")
    assert [await guarded.passes() for _ in range(2)] == [(True, 1), (True, 0)]


async def test_a_token_that_fails_vouches_for_nothing(caplog):
    """Where a store cannot say how fresh it is, each request reads its row and passes; the log says what failed."""
    guarded = await Guarded().with_key()

    def token():
        if is_broken:
            raise OSError("connection reset")
        return 1

    is_broken = False
    guarded.store.token = token
    guarded.make_new()
    assert await guarded.passes() == (True, 1)
    is_broken = True
    line = ("ERROR", "the store could not say how fresh it is: OSError")
    assert not guarded.is_recalled
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [line]
    assert [await guarded.passes() for _ in range(2)] == [(True, 1)] * 2
    assert {(record.levelname, record.getMessage()) for record in caplog.records} == {line}
    is_broken = False
    await guarded.passes()
    assert guarded.is_recalled


async def test_staleness_that_the_app_has_asked_for():
    """With `max_staleness` a key that nothing vouches for passes for so many seconds after its read, revoked or not."""
    guarded = await Guarded().with_key()
    guarded.make_new(Silent(guarded.store), max_staleness=60)
    assert await guarded.passes() == (True, 1)
    cache = guarded.authenticator._cache
    (entry,) = cache._entries.values()
    await lifecycle.revoke(guarded.store, guarded.key_id)
    for seconds, is_recalled in [(0.0, True), (30.0, True), (59.0, True), (60.0, False), (61.0, False)]:
        cache._clock = lambda seconds=seconds: entry.since + seconds
        assert guarded.is_recalled is is_recalled
        assert await guarded.passes() == ((True, 0) if is_recalled else (False, 1))


async def test_staleness_is_not_for_what_is_vouched_for():
    """With `max_staleness` a change is still seen at once where the store vouches."""
    guarded = await Guarded(max_staleness=60).with_key()
    assert await guarded.passes() == (True, 1)
    await lifecycle.revoke(guarded.store, guarded.key_id)
    assert await guarded.passes() == (False, 1)


# --- whether it would pass now ----------------------------------------------------------------------------------


async def let_in(guarded, address=HERE):
    """What is known of the key when it was let in."""
    judged = await guarded.ask(address)
    assert judged.decision.rule is Rule.KEY
    guarded.store.reads = 0
    return judged.known


async def new_owner(guarded):
    """Have the key belong to somebody else with the same rights."""
    owner = await lifecycle.add_owner(guarded.store, "another", is_superuser=True)
    guarded.store.alter_key(guarded.key_id, owner_id=owner.id)


async def new_id(guarded):
    """Have another row in the key's place, found by the same lookup."""
    record = guarded.store._keys.pop(guarded.key_id)
    del guarded.store._by_lookup[record.lookup]
    await guarded.store.add_key(replace(record, id="another"))
    guarded.store._changes += 1


async def gone(guarded):
    record = guarded.store._keys.pop(guarded.key_id)
    del guarded.store._by_lookup[record.lookup]
    guarded.store._changes += 1


async def with_scopes(guarded, *scopes):
    guarded.store.alter_key(guarded.key_id, scopes=frozenset(scopes))


async def upgraded(guarded):
    """Have a current digest take the place of an outdated one."""
    digest = hmac_digest(PEPPER, guarded.key.encode())
    record = await guarded.store.get_key(guarded.key_id)
    assert await guarded.store.upgrade(record.id, verifier=record.verifier, new_lookup=digest, new_verifier=digest)
    guarded.store._changes += 1


async def expired(guarded):
    guarded.store.alter_key(guarded.key_id, expires_at=guarded.clock.now)


async def nothing(guarded):
    pass


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (nothing, True),
        (lambda g: lifecycle.rename(g.store, g.key_id, "another"), True),
        (lambda g: with_scopes(g, "*"), True),
        (upgraded, True),
        (lambda g: lifecycle.set_superuser(g.store, g.root, superuser=False), False),
        (lambda g: with_scopes(g, "flows:read"), False),
        (with_scopes, False),
        (lambda g: lifecycle.revoke(g.store, g.key_id), False),
        (lambda g: lifecycle.disable(g.store, g.key_id), False),
        (lambda g: lifecycle.deactivate(g.store, g.root), False),
        (lambda g: lifecycle.rotate(g.store, g.key_id), False),
        (expired, False),
        (gone, False),
        (new_id, False),
        (new_owner, False),
    ],
    ids=[
        "nothing",
        "renamed",
        "the same scopes",
        "digest upgraded",
        "superuser rights lost",
        "narrower scopes",
        "no scopes",
        "revoked",
        "disabled",
        "owner inactive",
        "rotated",
        "expired",
        "gone",
        "another key in its place",
        "another owner",
    ],
)
@pytest.mark.parametrize("vouches", [True, False], ids=["recalled", "read"])
async def test_whether_it_would_pass_now(change, passes, vouches):
    """A key that was let in passes still if it is the same, as good, and gives the same rights to the same caller."""
    guarded = await Guarded(keyring=Keyring(peppers=[PEPPER])).with_key()
    plain = sha256_digest(guarded.key.encode())  # As if it was issued before there was a pepper.
    record = guarded.store._keys[guarded.key_id]
    assert await guarded.store.upgrade(record.id, verifier=record.verifier, new_lookup=plain, new_verifier=plain)
    if not vouches:
        guarded.make_new(Silent(guarded.store))
    known = await let_in(guarded)
    await change(guarded)
    assert await guarded.authenticator.passes_still(known, HERE) is passes
    if change is nothing:
        assert guarded.store.reads == (0 if vouches else 1)
    else:
        assert guarded.store.reads <= 1


@pytest.mark.parametrize("scopes", [["a"], ["a", "b", "c"], ["a", "c"], []], ids=["fewer", "more", "others", "none"])
async def test_passing_still_is_with_the_same_scopes(scopes):
    """A key whose scopes have become others, if only one, does not pass as it was let in."""
    guarded = await Guarded().with_key(scopes=["a", "b"])
    known = await let_in(guarded)
    await with_scopes(guarded, "b", "a")
    assert await guarded.authenticator.passes_still(known, HERE)
    await with_scopes(guarded, *scopes)
    assert not await guarded.authenticator.passes_still(known, HERE)


async def test_passing_still_depends_on_the_address():
    """A key that is tied to networks passes still where it may be used, and nowhere else."""
    guarded = await Guarded().with_key(networks=["192.0.2.0/24"])
    known = await let_in(guarded)
    assert await guarded.authenticator.passes_still(known, HERE)
    assert not await guarded.authenticator.passes_still(known, ELSEWHERE)
    assert await guarded.authenticator.passes_still(known, HERE)


async def test_passing_still_depends_on_the_time():
    """A key whose time is over passes no longer, though nothing has changed in the store."""
    guarded = Guarded()
    await guarded.with_key(expires_at=guarded.clock.now + HOUR)
    known = await let_in(guarded)
    assert await guarded.authenticator.passes_still(known, HERE)
    guarded.clock.advance(HOUR)
    assert not await guarded.authenticator.passes_still(known, HERE)
    guarded.clock.advance(-HOUR)
    assert await guarded.authenticator.passes_still(known, HERE)


async def test_passing_without_the_key_is_not_passing_still():
    """A key that was revoked passes no longer, even where the policy lets everybody in."""
    guarded = await Guarded(Policy(skip_auth=True, auto_login_user="root")).with_key()
    known = await let_in(guarded)
    await lifecycle.revoke(guarded.store, guarded.key_id)
    assert not await guarded.authenticator.passes_still(known, HERE)


async def test_nobody_can_tell_whether_it_passes_still():
    """Where the store cannot be asked, and nothing vouches, that is neither yes nor no."""
    guarded = await Guarded().with_key()
    known = await let_in(guarded)

    async def fail():
        raise StoreUnavailable("down")

    guarded.store.before = fail
    assert await guarded.authenticator.passes_still(known, HERE)  # What is vouched for needs no store.
    await move_the_token(guarded.store)
    with pytest.raises(StoreUnavailable):
        await guarded.authenticator.passes_still(known, HERE)
    assert await guarded.authenticator.passes_still(known, HERE)


async def test_many_who_ask_whether_it_passes_still_share_a_read():
    """After a change the connections of one key, however many, cost one read, and their next requests none."""
    guarded = await Guarded().with_key()
    known = await let_in(guarded)
    await move_the_token(guarded.store)
    answers = await asyncio.gather(*[guarded.authenticator.passes_still(known, HERE) for _ in range(20)])
    assert (answers, guarded.store.reads) == ([True] * 20, 1)
    assert await guarded.passes() == (True, 0)


async def test_what_was_let_in_is_not_changed_by_what_is_read_later():
    """A request goes on with the rights that it was let in with; what is read later is somebody else's."""
    guarded = await Guarded().with_key()
    known = await let_in(guarded)
    await lifecycle.set_superuser(guarded.store, guarded.root, superuser=False)
    assert not await guarded.authenticator.passes_still(known, HERE)
    assert known.verdict.principal == Principal(id=guarded.root.id, name="root", is_superuser=True)


# --- how long it may take ---------------------------------------------------------------------------------------


class Patient:
    """Stands where the admission is: lets everybody in, and keeps until when they are given time."""

    def __init__(self):
        self.now, self.given = 0, []

    def deadline(self):
        self.now += 1
        return float(self.now)

    async def run(self, call, *, until):
        self.given.append(until)
        return await call()


async def test_a_shared_read_has_the_time_of_whoever_came_first():
    """Those who share a read are answered by the deadline of the first: each of them has at least as long."""
    guarded = await Guarded().with_key()
    await guarded.store.open()
    patient = guarded.authenticator._reader._admission = Patient()
    await asyncio.gather(*[guarded.ask() for _ in range(5)])
    assert (patient.now, patient.given) == (5, [1.0])


async def test_asking_again_has_a_time_of_its_own():
    """Whether a key passes still is a question with a deadline of its own."""
    guarded = await Guarded().with_key()
    known = await let_in(guarded)
    patient = guarded.authenticator._reader._admission = Patient()
    assert await guarded.authenticator.passes_still(known, HERE)
    assert patient.now == 0
    await move_the_token(guarded.store)
    assert await guarded.authenticator.passes_still(known, HERE)
    assert patient.given == [1.0]
