"""The procedure of a check: what a request brings becomes facts, and whatever fails on the way is a refusal."""

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

import pytest

from keyguard import lifecycle
from keyguard.admission import Admission
from keyguard.authenticator import Authenticator
from keyguard.errors import Overloaded, SchemaMismatch, StartRefused, StoreUnavailable, WrongPepper
from keyguard.extract import Sources
from keyguard.hashing import Argon2Hasher, SlowHashing, hmac_digest, sha256_digest
from keyguard.journal import Journal
from keyguard.keys import from_entropy
from keyguard.model import (
    Allowed,
    Anonymous,
    Facts,
    Found,
    Presented,
    Principal,
    Reason,
    Refused,
    Requirement,
    Rule,
    Verdict,
)
from keyguard.settings import KeyFormat, Keyring, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.testing import FrozenClock

EXEMPT, OPTIONAL, REQUIRED = Requirement.EXEMPT, Requirement.OPTIONAL, Requirement.REQUIRED
OUTAGE = Refused(rule=Rule.OUTAGE, reason=Reason.UNAVAILABLE)
HERE = IPv4Address("192.0.2.7")
A, B = b"the pepper called A", b"the pepper called B"
CHOSEN = KeyFormat(prefix="my-", alphabet="abcdefghijklmnopqrstuvwxyz-", min_length=4, max_length=40)
SIGNED_IN = Principal(id="session-1", name="grace")
OPEN_TO_ALL = Policy(skip_auth=True, auto_login_user="root")


class ObservedStore(MemoryStore):
    """A `MemoryStore` that keeps what it was asked, and fails or hangs where it is told to."""

    def __init__(self, keyring=None):
        super().__init__(keyring=keyring or Keyring())
        self.asked = []
        self.problems = {}
        self.hangs = False
        self.go_on = asyncio.Event()

    async def _asked(self, what):
        self.asked.append(what)
        if self.hangs:
            await self.go_on.wait()
        if what in self.problems:
            raise self.problems[what]

    async def open(self):
        await self._asked("open")
        await asyncio.sleep(0)
        await super().open()

    async def close(self):
        await self._asked("close")
        await super().close()

    async def find(self, lookups):
        await self._asked("find")
        return await super().find(lookups)

    async def find_owner(self, name):
        await self._asked("find_owner")
        return await super().find_owner(name)

    async def upgrade(self, key_id, **digests):
        await self._asked("upgrade")
        return await super().upgrade(key_id, **digests)


async def settle():
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Guarded:
    """An authenticator over a store with one owner, who is called root."""

    def __init__(self, policy=Policy(), *, keyring=None):  # noqa: B008 A frozen value.
        self.store = ObservedStore(keyring)
        self.clock = FrozenClock()
        self.policy = policy
        self.make_new()

    def make_new(self):
        """What a new process has: the same store, nothing remembered."""
        self.authenticator = Authenticator(self.store, self.policy, journal=Journal(), clock=self.clock)

    async def with_key(self, **arguments):
        self.root = await lifecycle.add_owner(self.store, "root", is_superuser=True, clock=self.clock)
        issued = await lifecycle.issue(self.store, self.root, clock=self.clock, **arguments)
        self.key, self.key_id = issued.key.reveal(), issued.record.id
        self.store.asked.clear()
        return self

    async def move_the_token(self):
        """Have a change made that is not about the key: what is remembered is read anew."""
        bystander = await lifecycle.add_owner(self.store, f"owner {len(await self.store.list_owners())}")
        await lifecycle.set_superuser(self.store, bystander, superuser=True)

    async def ask(self, *keys, requirement=REQUIRED, address=HERE, bearer=None, **options):
        """Ask with keys in the header, and with a bearer token."""
        headers = [(b"x-api-key", key.encode()) for key in keys]
        if bearer is not None:
            headers.append((b"authorization", f"Bearer {bearer}".encode()))
        sources = Sources(bearer=True, prefixes=self.store.keyring.prefixes)
        presented = sources.extract(headers, b"")
        return await self.authenticator.authenticate(requirement, presented, address, **options)


def knows(answer):
    """The app's own sign-in, that answers so; it keeps how often it was asked."""

    async def identify():
        identify.asked += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    identify.asked = 0
    return identify


# --- from what was presented to a fact --------------------------------------------------------------------------


async def test_a_good_key_passes_as_its_owner():
    """A good key becomes a verdict about it, and passes as its owner."""
    guarded = await Guarded().with_key(name="laptop")
    judged = await guarded.ask(guarded.key)
    assert judged.decision.rule is Rule.KEY
    assert judged.decision.principal == Principal(id=guarded.root.id, name="root", is_superuser=True)
    assert judged.decision.key.name == "laptop"
    assert isinstance(judged.facts.credential, Verdict)
    assert judged.facts.address == HERE


async def test_nothing_is_no_key():
    """A request without a key is refused for that, or anonymous where a key is optional; the store is not asked."""
    guarded = await Guarded().with_key()
    judged = await guarded.ask()
    assert judged.decision == Refused(rule=Rule.NO_KEY, reason=Reason.MISSING)
    assert judged.facts == Facts(credential=Presented.NOTHING)
    assert (await guarded.ask(requirement=OPTIONAL)).decision == Anonymous(rule=Rule.OPTIONAL)
    assert guarded.store.asked == []


@pytest.mark.parametrize("twice", [False, True])
async def test_more_than_one_key_is_ambiguous(twice):
    """Two keys are ambiguous, were they both good, or equal; the store is not asked."""
    guarded = await Guarded().with_key()
    other = guarded.key if twice else from_entropy("kg", bytes(48)).reveal()
    judged = await guarded.ask(guarded.key, other)
    assert judged.decision == Refused(rule=Rule.AMBIGUOUS, reason=Reason.AMBIGUOUS)
    assert judged.facts == Facts(credential=Presented.AMBIGUOUS)
    assert guarded.store.asked == []


@pytest.mark.parametrize("key", ["", "secret", "sha256$00", from_entropy("other", bytes(48)).reveal()])
async def test_what_is_no_key_never_reaches_the_store(key):
    """A text of no known form, an empty one included, is a bad key; the store is not asked."""
    guarded = await Guarded().with_key()
    judged = await guarded.ask(key)
    assert judged.decision == Refused(rule=Rule.BAD_KEY, reason=Reason.MALFORMED)
    assert judged.facts == Facts(credential=Presented.MALFORMED)
    assert guarded.store.asked == []


async def test_a_key_of_nobody_is_unknown():
    """A well-formed key that the store does not have is unknown."""
    guarded = await Guarded().with_key()
    judged = await guarded.ask(from_entropy("kg", bytes(48)).reveal())
    assert judged.decision == Refused(rule=Rule.BAD_KEY, reason=Reason.UNKNOWN)
    assert judged.facts.credential is Presented.UNKNOWN


async def test_a_row_that_does_not_verify_is_unknown():
    """A key whose row has another verifier than its own is unknown, though it was found: finding is not enough."""
    guarded = await Guarded().with_key()
    record = await guarded.store.get_key(guarded.key_id)
    guarded.store._keys[guarded.key_id] = replace(record, verifier=sha256_digest(b"another"))
    assert (await guarded.ask(guarded.key)).facts.credential is Presented.UNKNOWN


async def test_a_foreign_token_is_left_to_the_apps_own_sign_in():
    """A bearer token that is none of ours is no key: whom the app's sign-in knows passes, and nobody else."""
    guarded = await Guarded().with_key()
    judged = await guarded.ask(bearer="eyJhbGciOi", identify=knows(SIGNED_IN))
    assert judged.decision == Allowed(rule=Rule.IDENTIFIED, principal=SIGNED_IN)
    assert judged.facts.credential is Presented.FOREIGN_TOKEN
    for nobody in (None, knows(None)):
        judged = await guarded.ask(bearer="eyJhbGciOi", identify=nobody)
        assert judged.decision == Refused(rule=Rule.BAD_KEY, reason=Reason.UNKNOWN_TOKEN)
    assert guarded.store.asked == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: lifecycle.revoke(g.store, g.key_id), Reason.REVOKED),
        (lambda g: lifecycle.disable(g.store, g.key_id), Reason.DISABLED),
        (lambda g: lifecycle.deactivate(g.store, g.root), Reason.OWNER_INACTIVE),
    ],
    ids=["revoked", "disabled", "owner inactive"],
)
async def test_a_change_holds_from_the_next_request_on(change, reason):
    """A key that was revoked or disabled, or whose owner is not active, is refused at once, and named."""
    guarded = await Guarded().with_key()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    await change(guarded)
    decision = (await guarded.ask(guarded.key)).decision
    assert (decision.rule, decision.reason, decision.key.id) == (Rule.BAD_KEY, reason, guarded.key_id)


async def test_time_and_place_are_judged():
    """The clock and the address decide about a key with a window of time and with networks."""
    guarded = Guarded()
    begin, end = guarded.clock.now + timedelta(hours=1), guarded.clock.now + timedelta(hours=2)
    await guarded.with_key(not_before=begin, expires_at=end, networks=["192.0.2.0/24"])
    assert (await guarded.ask(guarded.key)).decision.reason is Reason.NOT_YET_VALID
    guarded.clock.advance(timedelta(hours=1))
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    assert (await guarded.ask(guarded.key, address=None)).decision.reason is Reason.ADDRESS_NOT_ALLOWED
    guarded.clock.advance(timedelta(hours=1))
    assert (await guarded.ask(guarded.key)).decision.reason is Reason.EXPIRED


async def test_a_check_is_one_read():
    """A check asks the store once, whether or not it has the key, and asks nobody else."""
    guarded = await Guarded().with_key()
    identify = knows(SIGNED_IN)
    await guarded.ask(guarded.key, identify=identify)
    assert guarded.store.asked == ["open", "find"]
    await guarded.ask(from_entropy("kg", bytes(48)).reveal(), identify=identify)
    assert guarded.store.asked == ["open", "find", "find"]
    assert identify.asked == 0


async def test_an_exempt_path_asks_nobody():
    """On an exempt path neither the store nor the app's sign-in is asked, whatever was presented."""
    guarded = await Guarded().with_key()
    guarded.store.problems["find"] = guarded.store.problems["open"] = StoreUnavailable("down")
    identify = knows(OSError("down as well"))
    for keys in [(), (guarded.key,), (guarded.key, "x"), ("x",)]:
        judged = await guarded.ask(*keys, requirement=EXEMPT, identify=identify)
        assert judged.decision == Anonymous(rule=Rule.EXEMPT)
        assert judged.facts == Facts()
    assert (guarded.store.asked, identify.asked) == ([], 0)


# --- the app's own sign-in --------------------------------------------------------------------------------------


async def test_whom_the_app_knows_passes():
    """Without a key, whom the app's own sign-in knows passes as that user."""
    guarded = await Guarded().with_key()
    judged = await guarded.ask(identify=knows(SIGNED_IN))
    assert judged.decision == Allowed(rule=Rule.IDENTIFIED, principal=SIGNED_IN)
    assert judged.facts.identified is SIGNED_IN


async def test_whom_nobody_knows_has_no_key():
    """Without a key, whom the app's own sign-in does not know is refused for having no key."""
    guarded = await Guarded().with_key()
    assert (await guarded.ask(identify=knows(None))).decision.reason is Reason.MISSING


@pytest.mark.parametrize("keys", [("x",), ("", ""), ("",)])
async def test_with_a_key_the_sign_in_is_not_asked(keys):
    """Where anything was presented as a key, the app's own sign-in cannot stand in for it."""
    guarded = await Guarded().with_key()
    identify = knows(SIGNED_IN)
    assert isinstance((await guarded.ask(*keys, identify=identify)).decision, Refused)
    assert identify.asked == 0


@pytest.mark.parametrize(
    "answer",
    [
        OSError("no session store"),
        StoreUnavailable("no session store"),
        True,
        "grace",
        {"id": 1},
        Principal,
        Facts(),
    ],
)
async def test_a_sign_in_that_fails_lets_nobody_pass(caplog, answer):
    """A sign-in that raises, or returns anything but a user or None, is an outage, with one line in the log."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    assert (await guarded.ask(identify=knows(answer))).decision == OUTAGE
    (record,) = caplog.records
    assert record.getMessage().startswith("identify failed: ")


@pytest.mark.parametrize("identify", [lambda: SIGNED_IN, lambda: None, lambda: 1 / 0], ids=["a user", "None", "raises"])
async def test_a_sign_in_that_is_not_async(identify):
    """A sign-in that is not async answers nothing that can be waited for: an outage."""
    guarded = await Guarded().with_key()
    assert (await guarded.ask(identify=identify)).decision == OUTAGE


# --- the auto-login user ----------------------------------------------------------------------------------------


async def test_the_auto_login_user_is_asked_for_when_it_is_wanted():
    """Where the policy lets a keyless request pass, the user's record is read and decides."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    judged = await guarded.ask()
    assert judged.decision == Allowed(
        rule=Rule.SKIP_AUTH, principal=Principal(id=guarded.root.id, name="root", is_superuser=True)
    )
    assert judged.facts.auto_login_user == guarded.root
    assert guarded.store.asked == ["open", "find_owner"]


async def test_the_auto_login_user_is_not_asked_for_otherwise():
    """A good key, a known caller and a refusal of another kind do not read the user's record."""
    guarded = await Guarded(Policy(auto_login=True, auto_login_needs_key=False, auto_login_user="root")).with_key()
    await guarded.ask(guarded.key)
    await guarded.ask(identify=knows(SIGNED_IN))
    await guarded.ask("x")
    await guarded.ask("x", "y")
    assert "find_owner" not in guarded.store.asked
    assert (await guarded.ask()).decision.rule is Rule.AUTO_LOGIN
    assert guarded.store.asked.count("find_owner") == 1


async def test_an_auto_login_user_who_does_not_exist():
    """Where there is no such user the request is refused, and was not refused before it was looked for."""
    guarded = await Guarded(Policy(skip_auth=True, auto_login_user="nobody")).with_key()
    assert (await guarded.ask()).decision == Refused(rule=Rule.SKIP_AUTH, reason=Reason.NO_AUTO_LOGIN_USER)
    assert guarded.store.asked == ["open", "find_owner"]


async def test_an_auto_login_user_who_is_not_active():
    """Where that user is not active the request is refused."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    await lifecycle.deactivate(guarded.store, guarded.root)
    assert (await guarded.ask()).decision.reason is Reason.AUTO_LOGIN_USER_INACTIVE


async def test_a_bad_key_under_skip_auth_is_noted():
    """Under `skip_auth` a bad key passes as the auto-login user, and the decision says what was wrong with it."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    decision = (await guarded.ask("x")).decision
    assert (decision.rule, decision.principal.name, decision.noted) == (Rule.SKIP_AUTH, "root", Reason.MALFORMED)


# --- facts that are known already -------------------------------------------------------------------------------


async def test_known_facts_are_not_gathered_again():
    """Facts that another guard has gathered are judged by this policy, without asking the store."""
    outer, inner = await Guarded().with_key(), Guarded(Policy())
    facts = (await outer.ask(outer.key)).facts
    judged = await inner.ask(gathered=facts)
    assert judged.decision.rule is Rule.KEY
    assert judged.facts == facts
    assert inner.store.asked == []


async def test_known_facts_do_not_matter_on_an_exempt_path():
    """On an exempt path known facts are not looked at."""
    guarded = await Guarded().with_key()
    facts = (await guarded.ask(guarded.key)).facts
    judged = await guarded.ask(requirement=EXEMPT, gathered=facts)
    assert (judged.decision, judged.facts) == (Anonymous(rule=Rule.EXEMPT), Facts())


# --- outages ----------------------------------------------------------------------------------------------------

PROBLEMS = [
    StoreUnavailable("the database is locked"),
    Overloaded("too many"),
    SchemaMismatch("the tables are of another version"),
    WrongPepper("another pepper"),
    OSError("connection reset"),
    ValueError("whatever"),
    asyncio.CancelledError(),
    TimeoutError(),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
@pytest.mark.parametrize("where", ["open", "find"])
async def test_a_store_that_fails_is_an_outage(caplog, where, problem):
    """Whatever a store raises, the request is refused for that, under every policy, with one line in the log."""
    for policy in (Policy(), OPEN_TO_ALL):
        caplog.clear()
        guarded = await Guarded(policy).with_key()
        guarded.store.problems[where] = problem
        judged = await guarded.ask(guarded.key)
        assert judged.decision == OUTAGE
        assert judged.facts == Facts()
        (record,) = [record for record in caplog.records if record.name == "keyguard"]
        assert record.levelname == "ERROR"
        assert record.getMessage().startswith("the store is not available: ")


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
async def test_an_auto_login_user_who_cannot_be_read(problem):
    """Where the auto-login user cannot be read, nobody passes."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    guarded.store.problems["find_owner"] = problem
    assert (await guarded.ask()).decision == OUTAGE


async def test_a_store_that_hangs_is_an_outage():
    """A store that does not answer within the deadline is an outage, and the request is answered then."""
    guarded = await Guarded().with_key()
    guarded.authenticator._reader._admission = Admission(at_once=1, seconds=0.01)
    await guarded.authenticator.open()
    guarded.store.hangs = True
    assert (await guarded.ask(guarded.key)).decision == OUTAGE
    guarded.store.hangs = False
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY


async def test_a_store_that_comes_back_is_asked_again():
    """After an outage the next request asks the store again, without a restart."""
    guarded = await Guarded().with_key()
    guarded.store.problems = {"open": StoreUnavailable("down"), "find": StoreUnavailable("down")}
    assert (await guarded.ask(guarded.key)).decision == OUTAGE
    del guarded.store.problems["open"]
    assert (await guarded.ask(guarded.key)).decision == OUTAGE
    del guarded.store.problems["find"]
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY


async def test_no_more_is_asked_than_the_store_can_serve():
    """A store is asked no more at once than it says that it can serve, and so much is used."""
    guarded = await Guarded().with_key()
    keys = [(await lifecycle.issue(guarded.store, guarded.root)).key.reveal() for _ in range(20)]
    guarded.store.concurrency = 2
    guarded.make_new()
    busy, most = 0, 0

    async def find(lookups):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1

    guarded.store.find = find
    await asyncio.gather(*[guarded.ask(key) for key in keys])
    assert most == 2


async def test_many_at_once_with_one_key_are_one_read():
    """Requests that bring the same key at the same time share one read, and each gets the answer."""
    guarded = await Guarded().with_key()
    judged = await asyncio.gather(*[guarded.ask(guarded.key) for _ in range(20)])
    assert {each.decision.rule for each in judged} == {Rule.KEY}
    assert guarded.store.asked == ["open", "find"]


async def test_a_cancelled_request_stays_cancelled():
    """A cancelled request is not an outage: its cancellation goes through."""
    guarded = await Guarded().with_key()
    guarded.store.hangs = True
    task = asyncio.ensure_future(guarded.ask(guarded.key))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Patient:
    """Stands where the admission is: lets everybody in, and keeps until when they are given time."""

    def __init__(self):
        self.now, self.given = 0.0, []

    def deadline(self):
        self.now += 1
        return asyncio.get_running_loop().time() + self.now * 100

    async def run(self, call, *, until):
        self.given.append(round((until - asyncio.get_running_loop().time()) / 100))
        return await call()


async def test_a_request_has_one_deadline():
    """A request that asks the store twice, for a key and then for the auto-login user, has the time of one."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    guarded.authenticator._reader._admission = Patient()
    assert (await guarded.ask(from_entropy("kg", bytes(48)).reveal())).decision.rule is Rule.SKIP_AUTH
    assert guarded.store.asked == ["open", "find", "find_owner"]
    assert guarded.authenticator._reader._admission.given == [1, 1]


async def test_the_apps_own_sign_in_takes_its_own_time():
    """The time that the app's own sign-in took is not taken from what the store has: the deadline is set after it."""
    guarded = await Guarded(OPEN_TO_ALL).with_key()
    patient = guarded.authenticator._reader._admission = Patient()

    async def nobody():
        patient.now += 5

    assert isinstance((await guarded.ask(identify=nobody)).decision, Allowed)
    assert guarded.store.asked == ["open", "find_owner"]
    assert patient.given == [6]


# --- opening and closing ----------------------------------------------------------------------------------------


async def test_the_store_is_opened_once():
    """However many requests come first at once, the store is opened once."""
    guarded = await Guarded().with_key()
    judged = await asyncio.gather(*[guarded.ask(guarded.key) for _ in range(5)], guarded.authenticator.open())
    assert {answer.decision.rule for answer in judged[:-1]} == {Rule.KEY}
    assert guarded.store.asked.count("open") == 1


async def test_what_was_opened_here_is_closed_here():
    """A store that the authenticator has opened is closed with it, once."""
    guarded = await Guarded().with_key()
    await guarded.authenticator.open()
    await guarded.authenticator.close()
    await guarded.authenticator.close()
    assert guarded.store.asked == ["open", "close"]


async def test_what_was_opened_elsewhere_stays_open():
    """A store that somebody else has opened is neither opened nor closed."""
    guarded = await Guarded().with_key()
    await guarded.store.open()
    guarded.store.asked.clear()
    await guarded.authenticator.open()
    await guarded.ask(guarded.key)
    await guarded.authenticator.close()
    assert guarded.store.asked == ["find"]
    assert guarded.store.is_open


async def test_what_was_never_needed_is_not_closed():
    """An authenticator that was never asked has nothing to close."""
    guarded = await Guarded().with_key()
    await guarded.authenticator.close()
    assert guarded.store.asked == []


@pytest.mark.parametrize("opened", ["here", "elsewhere"])
async def test_what_is_opened_to_write_uses_is_closed(opened):
    """A store that others have closed before the last uses are written, which opens it again, is closed after that."""
    guarded = await Guarded().with_key()
    record_uses = guarded.store.record_uses

    async def opens_it(uses, **batch):
        await guarded.store.open()
        await record_uses(uses, **batch)

    guarded.store.record_uses = opens_it
    if opened == "elsewhere":
        await guarded.store.open()
    await guarded.ask(guarded.key)
    await guarded.store.close()
    await guarded.authenticator.close()
    assert (await guarded.store.get_uses([guarded.key_id]))[guarded.key_id].total == 1
    assert not guarded.store.is_open


async def test_closed_is_not_the_end():
    """A request after the end opens the store again."""
    guarded = await Guarded().with_key()
    await guarded.ask(guarded.key)
    await guarded.authenticator.close()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY


@pytest.mark.parametrize("problem", [SchemaMismatch("no tables"), WrongPepper("another"), StoreUnavailable("down")])
async def test_opening_says_why_it_fails(problem):
    """`open` raises what the store raises, so that start-up can be refused or go on, and has nothing to close then."""
    guarded = await Guarded().with_key()
    guarded.store.problems["open"] = problem
    with pytest.raises((StartRefused, StoreUnavailable)) as caught:
        await guarded.authenticator.open()
    assert caught.value is problem
    await guarded.authenticator.close()
    assert guarded.store.asked == ["open"]


async def open_slowly(guarded):
    """Have the store take longer to open than anybody waits."""
    guarded.authenticator._reader._admission = Admission(at_once=1, seconds=0.01)
    guarded.store.hangs = True
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.01 s"):
        await guarded.authenticator.open()
    assert (await guarded.ask(guarded.key)).decision == OUTAGE


async def test_a_store_that_opens_slowly_opens():
    """A store that takes longer to open than a request waits is opened all the same, once, for the next ones."""
    guarded = await Guarded().with_key()
    await open_slowly(guarded)
    guarded.store.go_on.set()
    await settle()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    await guarded.authenticator.close()
    assert guarded.store.asked == ["open", "find", "close"]


@pytest.mark.parametrize("problem", [SchemaMismatch("no tables"), OSError("connection reset")], ids=repr)
async def test_why_a_slow_opening_failed_is_in_the_log(caplog, problem):
    """Where nobody has waited for the end of an opening that failed, the log says why; the next request tries again."""
    guarded = await Guarded().with_key()
    guarded.store.problems["open"] = problem
    await open_slowly(guarded)
    caplog.clear()
    guarded.store.go_on.set()
    await settle()
    detail = problem if isinstance(problem, StartRefused) else "OSError"
    assert [record.getMessage() for record in caplog.records] == [f"the store could not be opened: {detail}"]
    del guarded.store.problems["open"]
    guarded.store.hangs = False
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    assert guarded.store.asked == ["open", "open", "find"]


async def test_an_opening_that_hangs_is_given_up_at_last():
    """A store that hangs as it is opened is opened anew after a minute; one that then answers goes on."""
    guarded = await Guarded().with_key()
    assert guarded.authenticator._reader._opening_seconds == 60
    guarded.authenticator._reader._opening_seconds = 0.01
    guarded.store.hangs = True
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.01 s"):
        await guarded.authenticator.open()
    guarded.store.hangs = False
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    assert guarded.store.asked == ["open", "open", "find"]


async def test_closing_ends_an_opening():
    """An opening that is under way at the end is ended, and the store is not opened after that."""
    guarded = await Guarded().with_key()
    await open_slowly(guarded)
    await guarded.authenticator.close()
    guarded.store.go_on.set()
    await settle()
    assert guarded.store.asked == ["open"]
    assert not guarded.store.is_open


@pytest.mark.parametrize("hangs", ["close", "upgrade"])
async def test_a_store_that_hangs_does_not_hold_up_the_end(caplog, hangs):
    """A store that hangs at the end is left behind after five seconds, with a line in the log."""
    guarded = await Guarded().with_key()
    assert guarded.authenticator._reader._closing_seconds == 5
    if hangs == "upgrade":
        guarded.store.keyring = Keyring(peppers=[A])
        guarded.make_new()
    await guarded.ask(guarded.key)
    guarded.authenticator._reader._closing_seconds = 0.2
    guarded.store.hangs = True
    await guarded.authenticator.close()
    await settle()
    assert guarded.store.asked == ["open", "find", hangs]
    line = "the store could not be closed: the store did not answer within 0.2 s"
    assert [record.getMessage() for record in caplog.records] == [line]


async def test_a_store_that_cannot_be_reached_at_the_end_is_in_the_log(caplog):
    """A store that is not available when it is closed does not make the end fail."""
    guarded = await Guarded().with_key()
    await guarded.authenticator.open()
    guarded.store.problems["close"] = StoreUnavailable("down")
    await guarded.authenticator.close()
    assert [record.getMessage() for record in caplog.records] == ["the store could not be closed: down"]


async def test_an_opening_that_is_ended_with_its_loop_is_no_failure(caplog):
    """An opening that ends because its loop does leaves no line in the log."""
    guarded = await Guarded().with_key()
    await open_slowly(guarded)
    caplog.clear()
    guarded.authenticator._reader._opening.cancel()
    await settle()
    assert caplog.records == []


def test_requests_in_one_loop_after_another_pass():
    """However many loops follow one another, with many requests at once in each, every good key passes."""
    guarded = asyncio.run(Guarded().with_key())
    guarded.store.concurrency = 1
    guarded.make_new()

    async def many(*, close):
        judged = await asyncio.gather(*[guarded.ask(guarded.key) for _ in range(20)])
        if close:
            await guarded.authenticator.close()
        return {each.decision.rule for each in judged}

    assert [asyncio.run(many(close=close)) for close in (True, False, False, True, True)] == [{Rule.KEY}] * 5


def test_a_loop_that_ends_during_an_opening_does_not_hinder_the_next():
    """An opening that was left behind in a loop that stands still is begun again in the next."""
    guarded = asyncio.run(Guarded().with_key())
    guarded.store.hangs = True
    loop = asyncio.new_event_loop()
    asking = loop.create_task(guarded.authenticator.open())
    loop.run_until_complete(settle())
    guarded.store.hangs = False

    async def ask():
        return (await guarded.ask(guarded.key)).decision.rule

    left_behind = guarded.authenticator._reader._opening
    assert asyncio.run(ask()) is Rule.KEY
    for task in (asking, left_behind):
        task.cancel()
    loop.run_until_complete(settle())
    loop.close()


# --- upgrade on use ---------------------------------------------------------------------------------------------


async def upgraded(before, after, *, key=None):
    """Issue or adopt a key under one keyring, use it under another, and return both records and what was asked."""
    guarded = Guarded(keyring=before)
    await guarded.with_key()
    if key is not None:
        guarded.key, guarded.key_id = key, (await lifecycle.adopt(guarded.store, guarded.root, key)).id
    record = await guarded.store.get_key(guarded.key_id)
    guarded.store.keyring = after
    guarded.make_new()
    guarded.store.asked.clear()
    for _ in range(3):
        await guarded.move_the_token()
        assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    assert guarded.store.asked == ["open", "find", "find", "find"]
    await guarded.authenticator.close()
    return guarded, record, await guarded.store.get_key(guarded.key_id)


@pytest.mark.parametrize(
    ("before", "after"),
    [((), (A,)), ((A,), (B, A)), ((), (B, A))],
    ids=["plain to peppered", "old pepper to new", "plain to the newer pepper"],
)
async def test_an_outdated_digest_is_replaced_when_its_key_is_used(before, after):
    """A key that was found by an outdated digest gets a current one: once, when the notes are written."""
    guarded, old, new = await upgraded(Keyring(peppers=before), Keyring(peppers=after))
    current = hmac_digest(after[0], guarded.key.encode())
    assert (new.lookup, new.verifier) == (current, current)
    assert replace(new, lookup=old.lookup, verifier=old.verifier) == old
    assert guarded.store.asked[4:] == ["upgrade", "close"]
    guarded.store.asked.clear()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    await guarded.authenticator.close()
    assert "upgrade" not in guarded.store.asked


async def test_stronger_parameters_replace_weaker_ones():
    """A key under Argon2 with weaker parameters gets a verifier with the present ones, and keeps its lookup."""
    weak, strong = Argon2Hasher(memory_cost=8, time_cost=1), Argon2Hasher(memory_cost=16, time_cost=1)
    old_ring = Keyring(peppers=[A], formats=[CHOSEN], hasher=weak)
    _, old, new = await upgraded(old_ring, replace(old_ring, hasher=strong), key="my-own-secret")
    assert old.verifier.startswith("$argon2id$v=19$m=8,")
    assert new.verifier.startswith("$argon2id$v=19$m=16,")
    assert new.lookup == old.lookup


async def test_a_current_digest_is_left_alone():
    """A key whose digests are what a new one would get costs no write."""
    guarded, old, new = await upgraded(Keyring(peppers=[A]), Keyring(peppers=[A, B]))
    assert old == new
    assert "upgrade" not in guarded.store.asked


async def test_a_refused_key_is_not_upgraded():
    """A revoked key keeps its digests."""
    guarded = await Guarded().with_key()
    await lifecycle.revoke(guarded.store, guarded.key_id)
    guarded.store.keyring = Keyring(peppers=[A])
    guarded.make_new()
    assert (await guarded.ask(guarded.key)).decision.reason is Reason.REVOKED
    await guarded.authenticator.close()
    assert "upgrade" not in guarded.store.asked


async def test_an_upgrade_does_not_undo_a_change():
    """An upgrade is written only if the key still has the verifier that it was found with."""
    guarded = await Guarded().with_key()
    guarded.store.keyring = Keyring(peppers=[A])
    guarded.make_new()
    await guarded.ask(guarded.key)
    theirs = sha256_digest(b"another")
    assert await guarded.store.upgrade(
        guarded.key_id, verifier=sha256_digest(guarded.key.encode()), new_lookup=theirs, new_verifier=theirs
    )
    await guarded.authenticator.close()
    assert (await guarded.store.get_key(guarded.key_id)).lookup == theirs


async def test_an_upgrade_that_has_to_wait_does_not_refuse_the_request(caplog):
    """Where too many slow hashes wait for an upgrade to be made, the request passes, and the next read tries again."""
    caplog.set_level(logging.DEBUG, logger="keyguard")
    guarded = await Guarded(keyring=Keyring(peppers=[A])).with_key()
    guarded.store.keyring = Keyring(peppers=[A], hasher=Argon2Hasher(memory_cost=8, time_cost=1))
    guarded.make_new()
    guarded.authenticator._reader._digests._slow = SlowHashing(waiting=-1)
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    guarded.authenticator._reader._digests._slow = SlowHashing()
    await guarded.move_the_token()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    await guarded.authenticator.close()
    assert (await guarded.store.get_key(guarded.key_id)).verifier.startswith("$argon2id$")
    assert [record.getMessage() for record in caplog.records] == []


class SlowHasher(Argon2Hasher):
    """A hasher that takes until it is let go, for what it is told to take long for."""

    def __init__(self, *, makes=False, verifies=False):
        super().__init__(memory_cost=8, time_cost=1)
        self.makes, self.verifies, self.go_on = makes, verifies, threading.Event()

    def hash(self, secret):
        assert not self.makes or self.go_on.wait(10)
        return super().hash(secret)

    def verify(self, verifier, secret):
        assert not self.verifies or self.go_on.wait(10)
        return verifier.startswith("slow$")


async def test_an_upgrade_that_takes_too_long_does_not_refuse_the_request(caplog):
    """Where the slow hash of an upgrade is not there by the deadline, the request passes, and nothing is noted."""
    guarded = await Guarded(keyring=Keyring(peppers=[A])).with_key()
    hasher = SlowHasher(makes=True)
    guarded.store.keyring = Keyring(peppers=[A], hasher=hasher)
    guarded.make_new()
    guarded.authenticator._reader._admission = Admission(at_once=1, seconds=0.05)
    guarded.authenticator._reader._digests._slow = SlowHashing()
    try:
        assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    finally:
        hasher.go_on.set()
    await guarded.authenticator.close()
    assert "upgrade" not in guarded.store.asked
    assert caplog.records == []


class BrokenHasher:
    """A hasher of the app's own, that fails."""

    def hash(self, secret):
        raise MemoryError

    def verify(self, verifier, secret):
        raise MemoryError

    def needs_rehash(self, verifier):
        raise MemoryError


async def test_an_upgrade_that_fails_does_not_refuse_the_request(caplog):
    """Where an upgrade cannot be made the request passes, and the log says so."""
    guarded = await Guarded(keyring=Keyring(peppers=[A])).with_key()
    guarded.store.keyring = Keyring(peppers=[A], hasher=BrokenHasher())
    guarded.make_new()
    assert (await guarded.ask(guarded.key)).decision.rule is Rule.KEY
    assert [record.getMessage() for record in caplog.records] == ["a digest could not be upgraded: MemoryError"]


# --- verifying --------------------------------------------------------------------------------------------------


async def with_chosen_key(hasher=None):
    guarded = await Guarded(keyring=Keyring(peppers=[A], formats=[CHOSEN], hasher=hasher)).with_key()
    await lifecycle.adopt(guarded.store, guarded.root, "my-own-secret")
    guarded.make_new()
    return guarded


async def test_a_key_that_somebody_chose_passes():
    """A key under Argon2 passes, and a wrong one of the same form is unknown."""
    guarded = await with_chosen_key(Argon2Hasher(memory_cost=8, time_cost=1))
    assert (await guarded.ask("my-own-secret")).decision.rule is Rule.KEY
    assert (await guarded.ask("my-own-secrets")).decision.reason is Reason.UNKNOWN


async def test_a_wait_for_slow_hashes_that_is_too_long_is_an_outage(caplog):
    """Where too many slow hashes wait, a key that needs one is an outage, and the log says so."""
    guarded = await with_chosen_key(Argon2Hasher(memory_cost=8, time_cost=1))
    guarded.authenticator._reader._digests._slow = SlowHashing(waiting=-1)
    assert (await guarded.ask("my-own-secret")).decision == OUTAGE
    (record,) = caplog.records
    assert record.getMessage() == "a key could not be verified: too many slow hashes wait to be computed"


async def test_a_slow_hash_that_takes_too_long_is_an_outage(caplog):
    """Where a slow hash is not there by the deadline of its request, that is an outage, and the log says so."""
    guarded = await with_chosen_key(Argon2Hasher(memory_cost=8, time_cost=1))
    record = await guarded.store.get_key(guarded.key_id)
    guarded.store._keys[guarded.key_id] = replace(record, verifier="slow$")
    hasher = guarded.authenticator._reader._digests._hasher = SlowHasher(verifies=True)
    guarded.authenticator._reader._admission = Admission(at_once=1, seconds=0.05)
    guarded.authenticator._reader._digests._slow = SlowHashing()
    try:
        assert (await guarded.ask(guarded.key)).decision == OUTAGE
    finally:
        hasher.go_on.set()
    assert [line.getMessage() for line in caplog.records] == [
        "a key could not be verified: its slow hash took too long"
    ]


async def test_a_hasher_that_fails_is_an_outage(caplog):
    """Where verifying fails, the key is neither good nor bad: an outage, and the log says what failed."""
    guarded = await with_chosen_key(Argon2Hasher(memory_cost=8, time_cost=1))
    record = await guarded.store.get_key(guarded.key_id)
    guarded.store._keys[guarded.key_id] = replace(record, verifier="broken$")
    guarded.authenticator._reader._digests._hasher = BrokenHasher()
    assert (await guarded.ask(guarded.key)).decision == OUTAGE
    assert [record.getMessage() for record in caplog.records] == ["a key could not be verified: MemoryError"]


async def test_a_found_key_is_not_read_again():
    """What the store answered is what is judged: key and owner of one read."""
    guarded = await Guarded().with_key()
    found = await guarded.store.find([sha256_digest(guarded.key.encode())])
    assert isinstance(found, Found)
    judged = await guarded.ask(guarded.key)
    assert judged.facts.credential.key == found.key
    assert judged.facts.credential.principal.id == found.owner.id
