"""Digests: what a key is found by and verified against, how peppers change, and where the slow hash runs."""

import asyncio
import json
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from argon2.exceptions import VerificationError, VerifyMismatchError

from keyguard.errors import ConfigurationError, Overloaded, StoreUnavailable
from keyguard.hashing import (
    SLOW_HASHING,
    Argon2Hasher,
    Digests,
    Passwords,
    SlowHashing,
    _Verified,
    hmac_digest,
    sha256_digest,
)
from keyguard.keys import Plaintext, from_entropy
from keyguard.settings import KeyFormat, Keyring

VECTORS = Path(__file__).parent / "vectors"
DIGESTS = json.loads((VECTORS / "digests.json").read_text())
ARGON2ID = json.loads((VECTORS / "argon2id.json").read_text())
BCRYPT = json.loads((VECTORS / "bcrypt.json").read_text("utf-8"))

A, B = b"the pepper called A", b"the pepper called B"
CHOSEN = KeyFormat(prefix="my-", alphabet="abcdefghijklmnopqrstuvwxyz", min_length=4, max_length=40)

STRONG = from_entropy("kg", bytes(range(48)))
WEAK = Plaintext("my-secret", is_strong=False)
OTHER_WEAK = Plaintext("my-secres", is_strong=False)


class CountingHasher:
    """A hasher of the app's own, that counts how often it is asked to verify."""

    def __init__(self):
        self.verified = 0

    def hash(self, secret):
        return f"counted${secret.hex()}"

    def verify(self, verifier, secret):
        self.verified += 1
        return verifier == self.hash(secret)

    def needs_rehash(self, verifier):
        return not verifier.startswith("counted$")


CHEAP = Argon2Hasher(memory_cost=8, time_cost=1)


def digests(*peppers, hasher=None, **more):
    return Digests(Keyring(peppers=peppers, hasher=hasher), **more)


# --- vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", DIGESTS["sha256"])
def test_plain_digests_are_those_of_the_vectors(vector):
    """A plain digest is SHA-256 in hexadecimal digits, behind its scheme."""
    assert sha256_digest(vector["secret"].encode()) == vector["digest"]


@pytest.mark.parametrize("vector", DIGESTS["hmac-sha256"])
def test_peppered_digests_are_those_of_the_vectors(vector):
    """A peppered digest is HMAC-SHA-256 (RFC 2104) in hexadecimal digits, behind its scheme."""
    assert hmac_digest(bytes.fromhex(vector["pepper"]), vector["secret"].encode()) == vector["digest"]


def test_the_vectors_are_what_their_script_makes():
    """The script that made the file makes the same again."""
    assert runpy.run_path(str(VECTORS / "make_digests.py"))["vectors"]() == DIGESTS


@pytest.mark.parametrize("vector", ARGON2ID)
def test_argon2id_agrees_with_the_reference_implementation(vector):
    """What the reference implementation made verifies, whatever its parameters, and no other secret does."""
    assert CHEAP.verify(vector["verifier"], vector["secret"].encode())
    assert not CHEAP.verify(vector["verifier"], vector["secret"].encode() + b"x")


# --- Argon2 -----------------------------------------------------------------------------------------------------


def test_argon2_has_owasps_parameters():
    """A verifier names Argon2id with OWASP's parameters: 19 MiB, two passes, one lane."""
    verifier = Argon2Hasher().hash(b"secret")
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert Argon2Hasher().verify(verifier, b"secret")
    assert not Argon2Hasher().needs_rehash(verifier)


def test_a_verifier_is_salted():
    """The same secret gets another verifier each time."""
    assert CHEAP.hash(b"secret") != CHEAP.hash(b"secret")


@pytest.mark.parametrize("other", [{"memory_cost": 16}, {"memory_cost": 8, "time_cost": 2}])
def test_other_parameters_want_a_rehash(other):
    """A verifier made with other costs still verifies, and is to be replaced."""
    verifier = Argon2Hasher(**{"memory_cost": 8, "time_cost": 1} | other).hash(b"secret")
    assert CHEAP.verify(verifier, b"secret")
    assert CHEAP.needs_rehash(verifier)


@pytest.mark.parametrize(
    "verifier",
    ["", "secret", "sha256$00", "$2b$12$x", "$argon2id$½"],
)
def test_what_is_no_verifier_verifies_nothing(verifier):
    """A text that is no verifier of Argon2 is verified by no secret, raises nothing and is to be replaced."""
    assert not CHEAP.verify(verifier, b"secret")
    assert CHEAP.needs_rehash(verifier)


@pytest.mark.parametrize(
    "verifier", ["$argon2id$", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"]
)
def test_what_could_not_be_computed_is_no_answer(verifier):
    """Where Argon2 fails, on a broken verifier or for want of memory, that is raised and not taken for a mismatch."""
    with pytest.raises(VerificationError) as caught:
        CHEAP.verify(verifier, b"secret")
    assert not isinstance(caught.value, VerifyMismatchError)


@pytest.mark.parametrize("costs", [{"memory_cost": 7}, {"time_cost": 0}])
def test_costs_that_argon2_does_not_know(costs):
    """A cost below Argon2's least is a mistake that says what is allowed."""
    with pytest.raises(ConfigurationError, match=r"memory_cost of at least 8 \(KiB\) and a time_cost of at least 1"):
        Argon2Hasher(**costs)


def test_a_hasher_shows_its_costs():
    """The costs stand in the hasher's repr, and so in its keyring's."""
    assert repr(CHEAP) == "Argon2Hasher(memory_cost=8, time_cost=1)"


# --- passwords --------------------------------------------------------------------------------------------------

PASSWORDS = Passwords(memory_cost=8, time_cost=1)
SOME_BCRYPT = BCRYPT[0]["verifier"]


@pytest.mark.parametrize("vector", BCRYPT, ids=lambda vector: vector["about"])
def test_a_password_kept_under_bcrypt_is_verified(vector):
    """What passlib and crypt_blowfish have made of a password verifies, and that of another password does not."""
    secret = vector["password"].encode()
    assert PASSWORDS.verify(vector["verifier"], secret)
    assert not PASSWORDS.verify(vector["verifier"], b"!" + secret)
    assert not PASSWORDS.verify(vector["verifier"], secret[:72][:-1])


@pytest.mark.parametrize(("length", "same"), [(71, False), (72, True), (73, True), (1000, True)])
def test_bcrypt_takes_72_bytes(length, same):
    """Of a longer password, and of what is tried, the first 72 bytes count: so it was when the verifier was made."""
    kept = next(vector for vector in BCRYPT if vector["about"].startswith("100 bytes"))
    assert PASSWORDS.verify(kept["verifier"], (b"x" * 72 + b"a" * 1000)[:length]) is same


@pytest.mark.parametrize("secret", [b"langflow\0", b"\0langflow", b"langflow\0x", b"\0" * 80])
def test_no_password_under_bcrypt_has_a_nul_byte(secret):
    """A password with a NUL byte is never right: those who made the verifiers refused it, or cut it there."""
    import bcrypt

    assert not PASSWORDS.verify(SOME_BCRYPT, secret)
    assert not PASSWORDS.verify(bcrypt.hashpw(secret[:72], bcrypt.gensalt(4)).decode(), secret)


@pytest.mark.parametrize(
    "verifier",
    [
        SOME_BCRYPT[:-1],
        SOME_BCRYPT + "x",
        SOME_BCRYPT + "\n",
        SOME_BCRYPT[:-1] + "½",
        SOME_BCRYPT[:-1] + "!",
        SOME_BCRYPT.replace("$04$", "$03$"),
        SOME_BCRYPT.replace("$04$", "$32$"),
        SOME_BCRYPT.replace("$04$", "$16$"),
        SOME_BCRYPT.replace("$04$", "$31$"),
        SOME_BCRYPT[:28] + "a" + SOME_BCRYPT[29:],
        "$2b$04$" + 53 * "9",
        SOME_BCRYPT.replace("$04$", "$4$"),
        SOME_BCRYPT.replace("$2b$", "$2x$"),
        SOME_BCRYPT.replace("$2b$", "$2$"),
        "$2b$04$",
    ],
    ids=ascii,
)
def test_what_is_no_bcrypt_verifier_verifies_nothing(verifier):
    """A text that only looks like a verifier of bcrypt is verified by no password, and raises nothing."""
    assert not PASSWORDS.verify(verifier, b"langflow")
    assert PASSWORDS.needs_rehash(verifier)


def test_without_bcrypt_nobody_can_tell(monkeypatch):
    """Where the package is missing, a password under bcrypt is neither right nor wrong; others are verified."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(StoreUnavailable, match=r"kept under bcrypt.*missing: install keyguard-asgi\[langflow\]"):
        PASSWORDS.verify(SOME_BCRYPT, b"langflow")
    assert PASSWORDS.verify(PASSWORDS.hash(b"x"), b"x")
    assert not PASSWORDS.verify("$2b$12$x", b"x")


def test_a_password_is_renewed():
    """A password gets a new verifier under bcrypt and under other costs, and none where it has one like a new one."""
    for outdated in (SOME_BCRYPT, Passwords(memory_cost=16, time_cost=1).hash(b"langflow")):
        new = PASSWORDS.renewed(outdated, b"langflow")
        assert new.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert PASSWORDS.verify(new, b"langflow")
    assert PASSWORDS.renewed(PASSWORDS.hash(b"langflow"), b"langflow") is None


@pytest.mark.parametrize(("length", "is_renewed"), [(72, True), (73, False)])
def test_what_bcrypt_did_not_compare_is_not_kept(length, is_renewed):
    """A password of more than 72 bytes stays under bcrypt: its end was not compared, and may be a slip of the pen."""
    kept = next(vector for vector in BCRYPT if vector["about"].startswith("100 bytes"))["verifier"]
    secret = b"x" * 72 + b"a" * (length - 72)
    assert PASSWORDS.verify(kept, secret)
    assert (PASSWORDS.renewed(kept, secret) is not None) == is_renewed
    weak = Passwords(memory_cost=16, time_cost=1).hash(secret)
    assert PASSWORDS.renewed(weak, secret) is not None


# --- lookups ----------------------------------------------------------------------------------------------------


def test_a_strong_key_is_found_by_every_pepper_and_by_none():
    """A strong key's lookups are its digests under each pepper, in order, and the plain one last."""
    secret = STRONG.reveal().encode()
    assert digests().lookups(STRONG) == [sha256_digest(secret)]
    assert digests(B, A).lookups(STRONG) == [hmac_digest(B, secret), hmac_digest(A, secret), sha256_digest(secret)]


def test_a_weak_key_is_never_found_by_a_plain_digest():
    """A secret that somebody chose is looked up under the peppers alone."""
    secret = WEAK.reveal().encode()
    assert digests(B, A).lookups(WEAK) == [hmac_digest(B, secret), hmac_digest(A, secret)]


@pytest.mark.parametrize("peppers", [(), (A,), (B, A)])
async def test_a_new_strong_key_gets_one_fast_digest(peppers):
    """A strong key gets its first lookup, as verifier too; that verifies it and no other key."""
    ring = digests(*peppers)
    lookup, verifier = await ring.make(STRONG)
    assert lookup == verifier == ring.lookups(STRONG)[0]
    assert await ring.verify(STRONG, verifier)
    assert ring.are_current(STRONG, lookup=lookup, verifier=verifier)
    other = from_entropy("kg", bytes(48))
    assert not await ring.verify(other, verifier)
    assert not ring.are_current(other, lookup=lookup, verifier=verifier)


@pytest.mark.parametrize(("key", "hasher"), [(WEAK, None), (STRONG, Argon2Hasher(memory_cost=8))])
async def test_a_slow_hash_where_one_is_due(key, hasher):
    """A weak key, and under `Keyring(hasher=...)` every key, gets Argon2id, and a peppered lookup."""
    ring = digests(A, hasher=hasher)
    lookup, verifier = await ring.make(key)
    assert lookup == hmac_digest(A, key.reveal().encode())
    assert verifier.startswith("$argon2id$")
    assert await ring.verify(key, verifier)
    assert not await ring.verify(OTHER_WEAK, verifier)
    assert ring.are_current(key, lookup=lookup, verifier=verifier)


# --- changing the pepper ----------------------------------------------------------------------------------------

OF_KEYS = {
    "plain": sha256_digest(STRONG.reveal().encode()),
    "under A": hmac_digest(A, STRONG.reveal().encode()),
    "under B": hmac_digest(B, STRONG.reveal().encode()),
}


@pytest.mark.parametrize(
    ("peppers", "verify", "current"),
    [
        ((), {"plain"}, {"plain"}),
        ((A,), {"plain", "under A"}, {"under A"}),
        ((A, B), {"plain", "under A", "under B"}, {"under A"}),
        ((B, A), {"plain", "under A", "under B"}, {"under B"}),
        ((B,), {"plain", "under B"}, {"under B"}),
    ],
    ids=["none", "A", "A, B", "B, A", "B"],
)
async def test_the_pepper_changes_without_killing_keys(peppers, verify, current):
    """Each step of a rotation verifies what the step before made; only the first pepper's digests are current."""
    ring = digests(*peppers)
    assert {name for name, digest in OF_KEYS.items() if await ring.verify(STRONG, digest)} == verify
    assert {name for name, digest in OF_KEYS.items() if digest in ring.lookups(STRONG)} == verify
    assert {name for name, d in OF_KEYS.items() if ring.are_current(STRONG, lookup=d, verifier=d)} == current


@pytest.mark.parametrize("peppers", [(A,), (A, B), (B, A), (B,)], ids=["A", "A, B", "B, A", "B"])
async def test_a_weak_key_is_verified_by_argon2_under_any_pepper(peppers):
    """The pepper decides whether a weak key is found; its verifier does not depend on it, and no plain one counts."""
    ring = digests(*peppers)
    verifier = CHEAP.hash(WEAK.reveal().encode())
    assert await ring.verify(WEAK, verifier)
    assert not await ring.verify(WEAK, sha256_digest(WEAK.reveal().encode()))
    assert (hmac_digest(A, WEAK.reveal().encode()) in ring.lookups(WEAK)) is (A in peppers)


async def test_a_fast_verifier_of_a_weak_key_is_not_current():
    """Where a slow hash is due, a fast verifier, another cost and an old lookup are all to be replaced."""
    ring = digests(B, A, hasher=CHEAP)
    under_a, under_b = (hmac_digest(pepper, WEAK.reveal().encode()) for pepper in (A, B))
    good = CHEAP.hash(WEAK.reveal().encode())
    costly = Argon2Hasher(memory_cost=16, time_cost=1).hash(WEAK.reveal().encode())
    assert ring.are_current(WEAK, lookup=under_b, verifier=good)
    assert not ring.are_current(WEAK, lookup=under_b, verifier=under_b)
    assert not ring.are_current(WEAK, lookup=under_b, verifier=costly)
    assert not ring.are_current(WEAK, lookup=under_a, verifier=good)


async def test_a_slow_verifier_of_a_strong_key_goes_on_when_the_hasher_has_gone():
    """Keys made under `Keyring(hasher=...)` verify without it, and are due for a fast digest then."""
    lookup, verifier = await digests(A, hasher=CHEAP).make(STRONG)
    assert await digests(A).verify(STRONG, verifier)
    assert not digests(A).are_current(STRONG, lookup=lookup, verifier=verifier)


@pytest.mark.parametrize("verifier", ["", "sha256$", "hmac-sha256$", "hmac-sha256$½", "md5$00", STRONG.reveal()])
async def test_a_damaged_verifier_verifies_nothing(verifier):
    """A verifier of no known scheme, or without its digest, is verified by no key: least of all by being the key."""
    assert not await digests(A).verify(STRONG, verifier)


# --- once is enough ---------------------------------------------------------------------------------------------


async def test_a_slow_hash_is_computed_once_for_a_genuine_key():
    """The same key against the same verifier costs one slow hash, however often it is used."""
    hasher = CountingHasher()
    ring = digests(A, hasher=hasher)
    _, verifier = await ring.make(WEAK)
    assert [await ring.verify(WEAK, verifier) for _ in range(5)] == [True] * 5
    assert hasher.verified == 1


async def test_a_wrong_secret_is_never_remembered():
    """Each wrong secret costs a slow hash each time, and does not push out what was genuine."""
    hasher = CountingHasher()
    ring = digests(A, hasher=hasher)
    _, verifier = await ring.make(WEAK)
    assert await ring.verify(WEAK, verifier)
    assert [await ring.verify(OTHER_WEAK, verifier) for _ in range(3)] == [False] * 3
    assert await ring.verify(WEAK, verifier)
    assert hasher.verified == 4


async def test_another_verifier_is_another_question():
    """What was verified is the key with its verifier: when the record's verifier changes, it is computed again."""
    hasher = CountingHasher()
    ring = digests(A, hasher=hasher)
    _, verifier = await ring.make(WEAK)
    _, other = await ring.make(OTHER_WEAK)
    assert await ring.verify(WEAK, verifier)
    assert not await ring.verify(WEAK, other)
    assert hasher.verified == 2


def test_what_was_verified_is_bounded():
    """Of more verified keys than there is room for, those go first that were not used for the longest time."""
    verified = _Verified(size=2)
    one, two, three = (Plaintext(text, is_strong=False) for text in ("one", "two", "three"))
    verified.add(one, "v")
    verified.add(two, "v")
    assert verified.holds(one, "v")
    verified.add(three, "v")
    assert [verified.holds(key, "v") for key in (one, two, three)] == [True, False, True]


def test_what_was_verified_holds_no_secret():
    """Nothing that is remembered is the secret, or a digest of it that another process could try."""
    one, another = _Verified(), _Verified()
    for verified in (one, another):
        verified.add(WEAK, "counted$00")
    assert not one._entries.keys() & another._entries.keys()
    assert all(b"my-secret" not in entry and len(entry) == 32 for entry in one._entries)


# --- the thread -------------------------------------------------------------------------------------------------


class Held:
    """A call that lasts until it is let go; it tells when it has begun."""

    def __init__(self, problem=None):
        self.begun, self._go, self._problem = threading.Event(), threading.Event(), problem

    def __call__(self):
        self.begun.set()
        assert self._go.wait(10)
        if self._problem is not None:
            raise self._problem

    def let_go(self):
        self._go.set()

    async def has_begun(self):
        assert await asyncio.to_thread(self.begun.wait, 10)


async def begin(pool, call):
    """Begin a call in the pool, and go on when it has been given its place."""
    task = asyncio.ensure_future(pool.run(call))
    await asyncio.sleep(0)
    return task


async def test_slow_hashes_run_in_a_thread_of_their_own():
    """A slow hash runs with its arguments, in a thread that is not the loop's, and the same one each time."""
    pool = SlowHashing()
    threads = {await pool.run(threading.current_thread) for _ in range(3)}
    assert len(threads) == 1
    assert threads.pop().name.startswith("keyguard-hashing")
    assert await pool.run(lambda: "done") == "done"


async def test_one_runs_and_eight_wait():
    """While one slow hash runs eight more may wait, and the tenth is turned away at once."""
    pool = SlowHashing()
    held = Held()
    tasks = [await begin(pool, held)]
    await held.has_begun()
    order = []
    tasks += [await begin(pool, lambda n=n: order.append(n)) for n in range(8)]
    with pytest.raises(Overloaded, match="too many slow hashes wait"):
        await pool.run(int)
    assert order == []
    held.let_go()
    await asyncio.gather(*tasks)
    assert order == list(range(8))
    assert await pool.run(int) == 0


async def test_a_cancelled_wait_gives_its_place_back_at_once():
    """A caller that goes away while it waits leaves its place, and its call does not run."""
    pool = SlowHashing(waiting=1)
    held, ran = Held(), []
    running = await begin(pool, held)
    await held.has_begun()
    waiting = await begin(pool, lambda: ran.append("cancelled"))
    with pytest.raises(Overloaded):
        await pool.run(int)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    another = await begin(pool, lambda: ran.append("another"))
    held.let_go()
    await asyncio.gather(running, another)
    assert ran == ["another"]


async def test_a_running_call_keeps_its_place_until_it_ends():
    """A caller that goes away while its hash is computed leaves its place when that ends: it cannot be stopped."""
    pool = SlowHashing(waiting=1)
    held = Held()
    running = await begin(pool, held)
    await held.has_begun()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    waiting = await begin(pool, int)
    with pytest.raises(Overloaded):
        await pool.run(int)
    held.let_go()
    assert await waiting == 0
    assert await asyncio.gather(pool.run(int), pool.run(int)) == [0, 0]


async def test_a_call_that_raises_gives_its_place_back():
    """What a call raises reaches its caller, and its place is free again."""
    pool = SlowHashing(waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0)


async def test_an_overload_reaches_who_asks_for_a_digest():
    """Making and verifying raise `Overloaded` where a slow hash is due; a fast digest needs no place."""
    pool = SlowHashing(waiting=0)
    ring = Digests(Keyring(peppers=[A]), slow=pool)
    held = Held()
    running = await begin(pool, held)
    with pytest.raises(Overloaded):
        await ring.make(WEAK)
    with pytest.raises(Overloaded):
        await ring.verify(WEAK, CHEAP.hash(WEAK.reveal().encode()))
    assert await ring.verify(STRONG, (await ring.make(STRONG))[1])
    held.let_go()
    await running


FORKING = """
import asyncio, os, threading
from keyguard.hashing import SLOW_HASHING

release = threading.Event()

async def fill():
    hashes = [asyncio.ensure_future(SLOW_HASHING.run(lambda: release.wait(10))) for _ in range(9)]
    await asyncio.sleep(0)
    return hashes

async def compute():
    thread = await asyncio.wait_for(SLOW_HASHING.run(threading.get_ident), 10)
    assert thread != threading.get_ident()

loop = asyncio.new_event_loop()
hashes = loop.run_until_complete(fill())
child = os.fork()
if child == 0:
    asyncio.run(compute())
    os._exit(0)
status = os.waitpid(child, 0)[1]
release.set()
assert loop.run_until_complete(asyncio.gather(*hashes)) == [True] * 9
loop.run_until_complete(compute())
loop.close()
assert status == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_slow_hashes_run_after_a_fork():
    """A process that was forked after slow hashes had run, and while the queue was full, computes its own."""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING], check=True, timeout=30)


def test_there_is_one_pool_in_a_process():
    """All keyrings share one thread, so that the memory of slow hashes is bounded for the whole process."""
    assert digests()._slow is digests(A)._slow is SLOW_HASHING


class FailingHasher(CountingHasher):
    """A hasher that fails, as where there is no memory."""

    def hash(self, secret):
        raise MemoryError

    def verify(self, verifier, secret):
        raise MemoryError


async def test_a_hasher_that_fails_shows_no_key():
    """What a hasher raises comes through, and no variable of our frames on its way holds the key."""
    ring = digests(A, hasher=FailingHasher())
    for call in (ring.make(WEAK), ring.verify(WEAK, "counted$")):
        with pytest.raises(MemoryError) as caught:
            await call
        frames = [entry.frame for entry in caught.traceback if entry.frame.code.path.name == "hashing.py"]
        assert len(frames) >= 3
        assert not [frame for frame in frames if WEAK.reveal() in repr(frame.f_locals)]
