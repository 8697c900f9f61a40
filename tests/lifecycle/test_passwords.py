"""Owners' passwords: set, verified, and kept as new ones are from then on."""

import json
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from lives import ADOPTING, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, NotFound, Overloaded, StoreUnavailable
from keyguard.hashing import SLOW_HASHING, Passwords, SlowHashing
from keyguard.lifecycle import _passwords
from keyguard.model import Owner
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "bcrypt.json").read_text("utf-8"))


async def test_a_password_is_verified(store):
    """An owner is known by name and password, and by nothing else."""
    owner = await lifecycle.add_owner(store, "ada", password="correct horse")
    verifier = await store.get_password(owner.id)
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await lifecycle.verify_password(store, "ada", "correct horse") == owner
    for name, password in [("ada", "correct"), ("ada", ""), ("Ada", "correct horse"), ("ada", verifier)]:
        assert await lifecycle.verify_password(store, name, password) is None


@pytest.mark.parametrize(
    "password", ["Zoë's „Löffel“ 🥄", "\ud800 from JSON", "x" * 10_000], ids=["text", "surrogate", "long"]
)
async def test_a_password_is_any_text(store, password):
    """Any text but the empty one is a password."""
    owner = await ada(store)
    await lifecycle.set_password(store, owner, password)
    assert await lifecycle.verify_password(store, "ada", password) == owner
    assert await lifecycle.verify_password(store, "ada", password[:-1]) is None


@pytest.mark.parametrize("text", ["\ud800", "ada\0"], ids=["surrogate", "NUL"])
async def test_a_text_that_no_database_takes(store, text):
    """Half of a surrogate pair, or a NUL character, is nobody's name and no key's id, and nothing can be called so."""
    owner = await ada(store)
    key = (await lifecycle.issue(store, owner)).record
    assert await lifecycle.verify_password(store, text, "x") is None
    with pytest.raises(NotFound):
        await lifecycle.get(store, text)
    with pytest.raises(NotFound):
        await lifecycle.issue(store, text)
    for call in (
        lambda: lifecycle.issue(store, owner, name=text),
        lambda: lifecycle.rename(store, key.id, text),
        lambda: lifecycle.revoke(store, key.id, reason=text),
        lambda: lifecycle.add_owner(store, text),
        lambda: lifecycle.add_owner(store, "bob", id=text),
    ):
        with pytest.raises(ConfigurationError, match="no NUL character and no half of a surrogate pair"):
            await call()
    assert await lifecycle.list_keys(store) == [key]
    assert await store.list_owners() == [owner]


async def test_an_owner_without_a_password(store):
    """An owner without a password, or whose password was taken away, is not known by any."""
    owner = await ada(store)
    assert await lifecycle.verify_password(store, "ada", "") is None
    await lifecycle.set_password(store, owner.id, "first")
    assert await lifecycle.verify_password(store, "ada", "first") == owner
    await lifecycle.set_password(store, owner, None)
    assert await lifecycle.verify_password(store, "ada", "first") is None
    with pytest.raises(ConfigurationError, match="None takes it away"):
        await lifecycle.set_password(store, owner, "")


async def test_an_owner_who_is_not_active_is_not_known(store):
    """The right password of an owner who is not active is refused."""
    owner = await lifecycle.add_owner(store, "ada", password="right")
    await lifecycle.deactivate(store, owner)
    assert await lifecycle.verify_password(store, "ada", "right") is None


class Counting(Passwords):
    """Notes which hashes are computed: of each its scheme with its costs."""

    def __init__(self):
        super().__init__()
        self.computed = []
        self.made = 0

    def hash(self, secret):
        self.made += 1
        return super().hash(secret)

    def verify(self, verifier, secret):
        self.computed.append(verifier[: len(ARGON2)] if verifier.startswith("$argon2") else verifier[:7])
        return super().verify(verifier, secret)


ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1"


async def computed_for(store, monkeypatch, attempts):
    """Which hashes a process computes for each attempt that knows nothing of others before it, and how often each."""
    passwords = Counting()
    monkeypatch.setattr(_passwords, "_PASSWORDS", passwords)
    for name, password in attempts:
        before = len(passwords.computed)
        await lifecycle.verify_password(store, name, password)
        yield Counter(passwords.computed[before:])


async def test_who_is_unknown_costs_as_much(monkeypatch):
    """One slow hash is verified whether or not there is such an owner, and whether or not it has a password."""
    store = MemoryStore()
    await ada(store)
    await lifecycle.add_owner(store, "bob", password="right")
    attempts = [("nobody", "x"), ("ada", "x"), ("bob", "x"), ("bob", "right")]
    assert [each async for each in computed_for(store, monkeypatch, attempts)] == [{ARGON2: 1}] * 4


@pytest.mark.parametrize("name", ["nobody", "bob"])
async def test_who_comes_first_costs_as_much(monkeypatch, name):
    """What is verified in place of a missing password is made at the first attempt, whoever is asked for."""
    store = MemoryStore()
    await lifecycle.add_owner(store, "bob", password="right")
    passwords = Counting()
    monkeypatch.setattr(_passwords, "_PASSWORDS", passwords)
    for made in (1, 1):
        await lifecycle.verify_password(store, name, "x")
        assert passwords.made == made


async def test_who_was_brought_from_elsewhere_costs_as_much(monkeypatch):
    """Once a process has verified a password under bcrypt, it computes hashes of both schemes for whoever comes.

    Those of bcrypt make up one at the highest cost that was met: at one less, it takes two for the same time.
    """
    store = MemoryStore()
    await ada(store)
    await lifecycle.add_owner(store, "bob", password="right")
    await brought(store, BCRYPT, "carol")
    await brought(store, BCRYPT.replace("$04$", "$07$"), "dan")
    at_once = [("nobody", "x"), ("carol", "x"), ("nobody", "x")]
    later = [("dan", "x"), ("nobody", "x"), ("ada", "x"), ("bob", "x"), ("bob", "right"), ("carol", "x"), ("bob", "x")]
    computed = [each async for each in computed_for(store, monkeypatch, [*at_once, *later])]
    assert computed[: len(at_once)] == [{ARGON2: 1}, {ARGON2: 1, "$2b$04$": 1}, {ARGON2: 1, "$2b$04$": 1}]
    highest, carols = {ARGON2: 1, "$2b$07$": 1}, {ARGON2: 1, "$2b$04$": 2, "$2b$05$": 1, "$2b$06$": 1}
    assert computed[len(at_once) :] == [*[highest] * 5, carols, highest]


async def test_who_is_unknown_is_looked_up_as_often(monkeypatch):
    """The store is asked the same of a name that nobody has as of one that somebody has."""
    store = MemoryStore()
    await ada(store)
    look, asked = store.get_password, []

    async def counted(owner_id):
        asked.append(owner_id)
        return await look(owner_id)

    monkeypatch.setattr(store, "get_password", counted)
    for name in ("ada", "nobody"):
        await lifecycle.verify_password(store, name, "x")
    assert asked == ["owner-1", ""]


async def test_passwords_wait_for_their_turn(monkeypatch):
    """Where too many slow hashes wait, whatever needs one is turned away, and nothing has changed."""
    store = MemoryStore(keyring=ADOPTING)
    owner = await lifecycle.add_owner(store, "ada", password="right")
    before = await store.get_password(owner.id)
    assert _passwords.SLOW_HASHING is SLOW_HASHING
    monkeypatch.setattr(_passwords, "SLOW_HASHING", SlowHashing(waiting=-1))
    with pytest.raises(Overloaded):
        await lifecycle.verify_password(store, "ada", "right")
    with pytest.raises(Overloaded):
        await lifecycle.set_password(store, owner, "other")
    with pytest.raises(Overloaded):
        await lifecycle.add_owner(store, "bob", password="other")
    assert await store.get_password(owner.id) == before
    assert await store.list_owners() == [owner]


# --- other ways in which a password may be kept -----------------------------------------------------------------

BCRYPT = "$2b$04$0tm2MCV0ESa9RvcPRR38AeJc7TlMy8v9vKbL1H2c/HxpJliG9kmdu"
"""Of the password ``langflow``."""

OUTDATED = [BCRYPT, Passwords(memory_cost=16, time_cost=1).hash(b"langflow")]


async def brought(store, verifier, name="ada"):
    """An owner whose password came from elsewhere, kept in another way than a new one."""
    owner = Owner(id=f"id of {name}", name=name)
    await store.add_owner(owner, created_at=NOON, password=verifier)
    return owner


@pytest.mark.parametrize("verifier", OUTDATED, ids=["bcrypt", "other costs"])
async def test_a_password_is_kept_as_a_new_one_after_it_was_right(store, verifier):
    """At the first right password its verifier is replaced by one like a new one's, which goes on verifying."""
    owner = await brought(store, verifier)
    assert await lifecycle.verify_password(store, "ada", "wrong") is None
    assert await store.get_password(owner.id) == verifier
    assert await lifecycle.verify_password(store, "ada", "langflow") == owner
    new = await store.get_password(owner.id)
    assert new.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await lifecycle.verify_password(store, "ada", "langflow") == owner
    assert await lifecycle.verify_password(store, "ada", "Langflow") is None
    assert await store.get_password(owner.id) == new
    assert await lifecycle.events(store) == []  # The password is what it was.


async def test_an_owner_who_is_not_active_keeps_a_verifier(store):
    """The right password of an owner who is not active lets nobody in, and changes nothing."""
    owner = await brought(store, BCRYPT)
    await lifecycle.deactivate(store, owner)
    assert await lifecycle.verify_password(store, "ada", "langflow") is None
    assert await store.get_password(owner.id) == BCRYPT


async def test_a_long_password_stays_under_bcrypt(store):
    """Of a password of more than 72 bytes bcrypt has compared the beginning alone, so that is all that is kept."""
    kept = next(vector for vector in VECTORS if vector["about"].startswith("100 bytes"))["verifier"]
    owner = await brought(store, kept)
    for end in ("y" * 28, "something else", "!"):
        assert await lifecycle.verify_password(store, "ada", "x" * 72 + end) == owner
        assert await store.get_password(owner.id) == kept
    assert await lifecycle.verify_password(store, "ada", "x" * 72) == owner
    assert (await store.get_password(owner.id)).startswith("$argon2id$")


async def test_a_password_that_is_changed_meanwhile_stays_changed(store):
    """Where somebody sets another password while the old one is verified, the old one's new verifier is dropped."""
    owner = await brought(store, BCRYPT)
    look = store.get_password

    async def look_then_change(owner_id):
        seen = await look(owner_id)
        store.get_password = look
        await lifecycle.set_password(store, owner, "another")
        return seen

    store.get_password = look_then_change
    assert await lifecycle.verify_password(store, "ada", "langflow") == owner
    assert await lifecycle.verify_password(store, "ada", "langflow") is None
    assert await lifecycle.verify_password(store, "ada", "another") == owner


async def test_a_verifier_that_cannot_be_replaced_now(store, caplog):
    """A right password is right also where its verifier cannot be replaced: that has a line, and waits."""
    owner = await brought(store, BCRYPT)
    store.upgrade_password = failing
    assert await lifecycle.verify_password(store, "ada", "langflow") == owner
    assert caplog.messages == ["a password's verifier could not be replaced: the database is read-only"]


async def test_an_owner_who_is_deleted_meanwhile(store):
    """Who is deleted while the password is verified, and has no verifier to be replaced, is not let in."""
    await brought(store, BCRYPT)

    async def gone(owner_id, **verifiers):
        raise NotFound("there is no owner with that id")

    store.upgrade_password = gone
    assert await lifecycle.verify_password(store, "ada", "langflow") is None


async def failing(owner_id, **verifiers):
    raise StoreUnavailable("the database is read-only")


async def test_without_bcrypt_nobody_is_let_in(store, monkeypatch):
    """Where bcrypt is not installed, a password kept under it is no pass and no refusal: it cannot be told."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    monkeypatch.setattr(_passwords, "_PASSWORDS", Passwords())  # It has verified none while bcrypt was there.
    await brought(store, BCRYPT)
    other = await lifecycle.add_owner(store, "bob", password="right")
    for password in ("langflow", "wrong"):
        with pytest.raises(StoreUnavailable, match="kept under bcrypt"):
            await lifecycle.verify_password(store, "ada", password)
    assert await lifecycle.verify_password(store, "bob", "right") == other


async def test_bcrypt_runs_where_slow_hashes_do(store, monkeypatch):
    """A password under bcrypt is verified in the thread of the slow hashes, and waits for its turn there."""
    threads = []

    class Watching(Passwords):
        def verify(self, verifier, secret):
            threads.append(threading.current_thread().name)
            return super().verify(verifier, secret)

    monkeypatch.setattr(_passwords, "_PASSWORDS", Watching())
    await brought(store, BCRYPT)
    await lifecycle.verify_password(store, "ada", "langflow")
    assert threads
    assert all(name.startswith("keyguard-hashing") for name in threads)
