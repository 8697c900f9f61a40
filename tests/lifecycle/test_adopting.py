"""Keys from elsewhere are taken over, once, and under the digest that their strength asks for."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from lives import ADOPTING, HOUR, STRONG, WEAK, A, B, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, InvalidKey, NotFound
from keyguard.hashing import Argon2Hasher, hmac_digest, sha256_digest
from keyguard.keys import from_entropy
from keyguard.model import KeyRecord
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON


async def test_a_weak_key_is_adopted_under_argon2(make_store, clock):
    """A key that somebody chose is found by its peppered digest and verified by Argon2id; its prefix is its form's."""
    store = await make_store(ADOPTING)
    record = await lifecycle.adopt(
        store,
        await ada(store),
        WEAK,
        name="old one",
        scopes=["flows:read"],
        networks=["192.0.2.0/24"],
        not_before=NOON + HOUR,
        expires_at=NOON + 2 * HOUR,
        clock=clock,
        entropy=bytes,
    )
    assert record.verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert Argon2Hasher().verify(record.verifier, WEAK.encode())
    assert record == KeyRecord(
        id=from_entropy("kg", bytes(48)).id,
        owner_id="owner-1",
        prefix="my-",
        name="old one",
        lookup=hmac_digest(A, WEAK.encode()),
        verifier=record.verifier,
        scopes=frozenset({"flows:read"}),
        networks=(ip_network("192.0.2.0/24"),),
        created_at=NOON,
        not_before=NOON + HOUR,
        expires_at=NOON + 2 * HOUR,
    )
    assert await lifecycle.get(store, record.id) == record


async def test_a_strong_key_is_adopted_under_a_fast_digest(make_store):
    """A key of a form with enough entropy has one fast digest, and an id of its own that says nothing of it."""
    store = await make_store(ADOPTING)
    record = await lifecycle.adopt(store, await ada(store), STRONG)
    assert record.lookup == record.verifier == hmac_digest(A, STRONG.encode())
    assert (record.prefix, len(record.id)) == ("sk-", 12)
    assert record.id not in STRONG


async def test_a_key_of_our_own_form_keeps_its_id(make_store):
    """A key of Keyguard's own form, issued by another store, keeps id and prefix, and needs no format."""
    store = await make_store()
    key = from_entropy("kg", bytes(range(7, 55)))
    record = await lifecycle.adopt(store, await ada(store), key.reveal())
    assert (record.id, record.prefix) == (key.id, "kg_")
    assert record.lookup == record.verifier == sha256_digest(key.reveal().encode())


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "secret",
        "my-",
        "my-Secret",
        "my-secret\n",
        "my-\u017fecret",
        "my-secret\ud800",
        "x" * 600,
        from_entropy("other", bytes(48)).reveal(),
        from_entropy("kg", bytes(48)).reveal()[:-1] + "x",
    ],
    ids=ascii,
)
async def test_a_secret_of_no_known_form(secret):
    """A secret that the keyring does not recognise is not adopted, and the message does not quote it."""
    store = MemoryStore(keyring=ADOPTING)
    owner = await ada(store)
    with pytest.raises(InvalidKey, match="has no form that the keyring accepts") as caught:
        await lifecycle.adopt(store, owner, secret)
    assert str(caught.value) == (
        "the secret has no form that the keyring accepts; name its form in Keyring(formats=...)"
    )
    assert await lifecycle.list_keys(store) == []


async def test_a_secret_is_in_no_variable_of_the_error():
    """Where adopting fails, the variables of our frames do not hold the secret any more."""
    store = MemoryStore(keyring=ADOPTING)
    owner = await ada(store)
    await lifecycle.adopt(store, owner, STRONG)
    for secret in (STRONG, STRONG.upper()):
        with pytest.raises((InvalidKey, Conflict)) as caught:
            await lifecycle.adopt(store, owner, secret)
        frames = [entry.frame for entry in caught.traceback if "keyguard" in entry.frame.code.path.parts]
        assert frames
        assert not [frame for frame in frames if secret in repr(frame.f_locals)]


@pytest.mark.parametrize("secret", [STRONG, WEAK], ids=["strong", "weak"])
async def test_a_key_is_adopted_once(make_store, secret):
    """A key that is in the store is not adopted again: for nobody, also after it was revoked, under no pepper."""
    store = await make_store(ADOPTING)
    first = await lifecycle.adopt(store, await ada(store), secret)
    await lifecycle.add_owner(store, "bob", id="owner-2")
    await lifecycle.revoke(store, first.id)
    for peppers in ([A], [B, A]):
        later = await make_store(replace(ADOPTING, peppers=peppers))
        with pytest.raises(Conflict):
            await lifecycle.adopt(later, "owner-2", secret)
    assert [record.id for record in await lifecycle.list_keys(store)] == [first.id]


async def test_our_own_key_is_not_adopted_beside_itself(store):
    """A key that this store has issued is not adopted."""
    owner = await ada(store)
    issued = await lifecycle.issue(store, owner)
    with pytest.raises(Conflict):
        await lifecycle.adopt(store, owner, issued.key.reveal())


async def test_an_adopted_key_needs_an_owner(make_store):
    """A key for nobody is not adopted."""
    store = await make_store(ADOPTING)
    with pytest.raises(NotFound):
        await lifecycle.adopt(store, "nobody", STRONG)


async def test_adopting_makes_the_same_mistakes():
    """A mistake in the arguments is what it is for `issue`, and nothing is adopted."""
    store = MemoryStore(keyring=ADOPTING)
    owner = await ada(store)
    with pytest.raises(ConfigurationError, match="scopes is a list"):
        await lifecycle.adopt(store, owner, STRONG, scopes="flows")
    with pytest.raises(ConfigurationError, match="name is a text"):
        await lifecycle.adopt(store, owner, STRONG, name=None)
    assert await lifecycle.list_keys(store) == []


# --- which key is it? -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peppers", [[A], [B, A]], ids=["the same", "an older one"])
async def test_a_key_is_found_by_its_text(make_store, peppers):
    """The text of a key finds its record, whatever its form and state, also under a pepper that is not the first."""
    store = await make_store(ADOPTING)
    owner = await ada(store)
    issued = await lifecycle.issue(store, owner)
    adopted = [await lifecycle.adopt(store, owner, secret) for secret in (STRONG, WEAK)]
    await lifecycle.revoke(store, adopted[1].id)
    later = await make_store(replace(ADOPTING, peppers=peppers))
    texts = [issued.key.reveal(), STRONG, WEAK]
    found = [await lifecycle.find(later, text) for text in texts]
    assert [record.id for record in found] == [issued.record.id, *(record.id for record in adopted)]
    assert found[2].revoked_at is not None
    await later.close()


async def test_a_text_that_is_no_key_finds_none():
    """A text that is no key, or no key of this store, finds nothing, and neither message nor frames hold it."""
    store = MemoryStore(keyring=ADOPTING)
    await lifecycle.issue(store, await ada(store))
    for secret, error in (
        (STRONG.upper(), InvalidKey),
        (STRONG, NotFound),
        (from_entropy("kg", bytes(48)).reveal(), NotFound),
    ):
        with pytest.raises(error) as caught:
            await lifecycle.find(store, secret)
        assert secret not in str(caught.value)
        frames = [entry.frame for entry in caught.traceback if "keyguard" in entry.frame.code.path.parts]
        assert not [frame for frame in frames if secret in repr(frame.f_locals)]
