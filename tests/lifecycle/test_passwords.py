"""Owners' passwords: set, verified, and kept as new ones are from then on."""

import pytest
from lives import ADOPTING, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, NotFound, Overloaded
from keyguard.hashing import SLOW_HASHING, Passwords, SlowHashing
from keyguard.lifecycle import _passwords
from keyguard.stores.memory import MemoryStore


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


async def test_who_is_unknown_costs_as_much(monkeypatch):
    """One slow hash is verified whether or not there is such an owner, and whether or not it has a password."""
    store = MemoryStore()
    await ada(store)
    await lifecycle.add_owner(store, "bob", password="right")
    verified = []

    class Counting(Passwords):
        def verify(self, verifier, secret):
            verified.append(verifier.split("$")[3])
            return super().verify(verifier, secret)

    monkeypatch.setattr(_passwords, "_PASSWORDS", Counting())
    for name, password in [("nobody", "x"), ("ada", "x"), ("bob", "x"), ("bob", "right")]:
        await lifecycle.verify_password(store, name, password)
    assert verified == ["m=19456,t=2,p=1"] * 4


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
