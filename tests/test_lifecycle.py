"""The life of keys and owners, over the stores that keep both: what is asked for is what is kept, or nothing is."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from ipaddress import ip_network
from pathlib import Path

import pytest

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, InvalidKey, NotFound, NotSupported, Overloaded
from keyguard.hashing import SLOW_HASHING, Argon2Hasher, SlowHashing, hmac_digest, sha256_digest
from keyguard.keys import from_entropy
from keyguard.lifecycle import _passwords
from keyguard.model import KeyRecord, Owner, Usage
from keyguard.settings import KeyFormat, Keyring
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, FrozenClock

VECTORS = json.loads((Path(__file__).parent / "vectors" / "keys.json").read_text())

A, B = b"the pepper called A", b"the pepper called B"
HOUR = timedelta(hours=1)
LOWER = "abcdefghijklmnopqrstuvwxyz"
STRONG_FORM = KeyFormat(prefix="sk-", alphabet=LOWER, min_length=32, max_length=32, entropy=150)
WEAK_FORM = KeyFormat(prefix="my-", alphabet=LOWER, min_length=4, max_length=40)
STRONG, WEAK = "sk-" + "abcdefgh" * 4, "my-secret"
ADOPTING = Keyring(peppers=[A], formats=[STRONG_FORM, WEAK_FORM])


@pytest.fixture(params=["memory", "sqlite"])
async def make_store(request, tmp_path):
    """Makes stores with a keyring; those of one test share what they hold, as processes with one database do."""
    stores = []

    async def make(keyring=Keyring()):  # noqa: B008 A frozen value.
        if request.param == "memory":
            store = MemoryStore(keyring=keyring)
            if stores:
                for name in ("_owners", "_passwords", "_keys", "_by_lookup"):
                    setattr(store, name, getattr(stores[0], name))
        else:
            store = SQLStore(f"sqlite+aiosqlite:///{tmp_path}/keys.db", keyring=keyring)
            if not stores:
                await store.create_schema()
        stores.append(store)
        await store.open()
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
async def store(make_store):
    return await make_store()


@pytest.fixture
def clock():
    return FrozenClock()


async def ada(store):
    return await lifecycle.add_owner(store, "ada", id="owner-1")


# --- issuing ----------------------------------------------------------------------------------------------------


async def test_an_issued_key_has_what_was_asked_for(store, clock):
    """Each argument of `issue` stands in the record, and the record is what the store keeps."""
    issued = await lifecycle.issue(
        store,
        await ada(store),
        name="laptop",
        scopes=["flows:read", "mcp:*"],
        networks=["192.0.2.0/24", ip_network("2001:db8::/32"), "192.0.2.1"],
        not_before=clock.now + HOUR,
        expires_at=clock.now + 2 * HOUR,
        clock=clock,
        entropy=bytes,
    )
    key = from_entropy("kg", bytes(48))
    digest = sha256_digest(key.reveal().encode())
    assert issued.key == key
    assert issued.record == KeyRecord(
        id=key.id,
        owner_id="owner-1",
        prefix="kg_",
        name="laptop",
        lookup=digest,
        verifier=digest,
        scopes=frozenset({"flows:read", "mcp:*"}),
        networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"), ip_network("192.0.2.1/32")),
        created_at=NOON,
        not_before=NOON + HOUR,
        expires_at=NOON + 2 * HOUR,
    )
    assert await lifecycle.get(store, key.id) == issued.record
    assert (await store.find([digest])).owner.name == "ada"


async def test_an_issued_key_without_more(store, clock):
    """Without arguments a key has all its owner's rights, from anywhere, from now on, for ever, and no name."""
    record = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    assert (record.name, record.scopes, record.networks) == ("", {"*"}, ())
    assert (record.created_at, record.not_before, record.expires_at) == (NOON, None, None)
    assert (record.disabled_at, record.revoked_at, record.revoked_reason) == (None, None, "")


async def test_the_clock_and_the_entropy_of_whoever_gives_none(store):
    """Without a clock a key is issued now, and each with a secret of its own."""
    before = datetime.now(UTC)
    one, two = [await lifecycle.issue(store, await _owner(store, name)) for name in ("ada", "bob")]
    assert timedelta(0) <= one.record.created_at - before < HOUR
    assert one.key != two.key


async def _owner(store, name):
    return await lifecycle.add_owner(store, name)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['prefix']}: {vector['about']}")
async def test_from_the_same_entropy_the_same_key(vector, clock):
    """With entropy and keyring of a vector the key of the vector is issued, under the digest of its text."""
    store = MemoryStore(keyring=Keyring(prefix=vector["prefix"]))
    issued = await lifecycle.issue(
        store, await ada(store), clock=clock, entropy=lambda size: bytes.fromhex(vector["entropy"])[:size]
    )
    assert issued.key.reveal() == vector["key"]
    assert (issued.record.id, issued.record.prefix) == (vector["id"], vector["prefix"] + "_")
    assert issued.record.lookup == issued.record.verifier == sha256_digest(vector["key"].encode())


async def test_the_owner_may_be_named_by_id(store):
    """A key is issued to an `Owner`, or to the id of one."""
    owner = await ada(store)
    records = [(await lifecycle.issue(store, whom)).record for whom in (owner, owner.id)]
    assert [record.owner_id for record in records] == ["owner-1", "owner-1"]


@pytest.mark.parametrize("owner", ["nobody", "ada", Owner(id="nobody", name="ada")], ids=repr)
async def test_an_owner_who_does_not_exist(store, owner):
    """A key for nobody is not issued; an owner's name is not its id."""
    await ada(store)
    with pytest.raises(NotFound):
        await lifecycle.issue(store, owner)
    assert await lifecycle.list_keys(store) == []


async def test_a_pepper_makes_the_digest(make_store):
    """Under peppers a new key has its digest under the first."""
    store = await make_store(Keyring(peppers=[B, A]))
    issued = await lifecycle.issue(store, await ada(store))
    assert issued.record.lookup == issued.record.verifier == hmac_digest(B, issued.key.reveal().encode())


async def test_a_hasher_makes_the_verifier(make_store):
    """Under a hasher for every key a new one has a slow verifier, and a peppered lookup."""
    store = await make_store(Keyring(peppers=[A], hasher=Argon2Hasher(memory_cost=8, time_cost=1)))
    issued = await lifecycle.issue(store, await ada(store))
    assert issued.record.lookup == hmac_digest(A, issued.key.reveal().encode())
    assert issued.record.verifier.startswith("$argon2id$v=19$m=8,t=1,p=1$")


async def test_nothing_of_a_secret_is_kept_or_shown(store):
    """Neither the record nor the repr of what was issued holds the secret."""
    issued = await lifecycle.issue(store, await ada(store))
    secret = issued.key.reveal().rpartition("_")[2]
    assert secret not in repr(issued)
    assert all(secret not in repr(getattr(issued.record, name)) for name in KeyRecord.__slots__)


SCOPE = "a scope is '\\*' or lower-case words"
WINDOW = "expires_at lies in the future, and behind not_before"
AWARE = "not_before and expires_at are aware datetimes"
NETWORK = "a network is written like"


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"name": None}, "name is a text; not NoneType"),
        ({"name": b"laptop"}, "name is a text; not bytes"),
        ({"scopes": "flows:read"}, "scopes is a list of names, even of one; not a str"),
        ({"scopes": ["Flows"]}, SCOPE),
        ({"scopes": ["flows", ""]}, SCOPE),
        ({"scopes": [None]}, SCOPE),
        ({"scopes": ["superuser"]}, "granted by KeyGuard itself"),
        ({"scopes": ["authenticated"]}, "granted by KeyGuard itself"),
        ({"networks": "192.0.2.0/24"}, "networks is a list, even of one; not str"),
        ({"networks": b"192.0.2.0/24"}, "networks is a list, even of one; not bytes"),
        ({"networks": ip_network("192.0.2.0/24")}, "networks is a list, even of one; not IPv4Network"),
        ({"networks": ip_network("::/0")}, "networks is a list, even of one; not IPv6Network"),
        ({"networks": ["192.0.2.1/24"]}, NETWORK),
        ({"networks": ["192.0.2.0/33"]}, NETWORK),
        ({"networks": ["example.com"]}, NETWORK),
        ({"networks": [""]}, NETWORK),
        ({"not_before": datetime(2026, 3, 1)}, AWARE),  # noqa: DTZ001 The mistake.
        ({"expires_at": datetime(2027, 3, 1)}, AWARE),  # noqa: DTZ001 The mistake.
        ({"expires_at": NOON}, WINDOW),
        ({"expires_at": NOON - HOUR}, WINDOW),
        ({"expires_at": NOON + HOUR, "not_before": NOON + HOUR}, WINDOW),
        ({"expires_at": NOON + HOUR, "not_before": NOON + 2 * HOUR}, WINDOW),
        ({"entropy": lambda size: bytes(size - 1)}, "exactly 48 random bytes; not 47"),
    ],
)
async def test_mistakes_say_what_is_allowed(clock, mistake, sentence):
    """An argument that cannot be right raises, says what is allowed, and leaves no key behind."""
    store = MemoryStore()
    owner = await ada(store)
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.issue(store, owner, **{"clock": clock} | mistake)
    assert await lifecycle.list_keys(store) == []


async def test_no_scopes_are_not_all_scopes(store):
    """An empty list of scopes is a key that may do nothing, and any iterable of names is one."""
    owner = await ada(store)
    assert (await lifecycle.issue(store, owner, scopes=[])).record.scopes == frozenset()
    assert (await lifecycle.issue(store, owner, scopes=iter(["a", "b"]))).record.scopes == {"a", "b"}
    assert (await lifecycle.issue(store, owner, scopes={"*"})).record.scopes == {"*"}


class BackToWinter(tzinfo):
    """Central Europe in the hour that it has twice, first in summer time."""

    def utcoffset(self, dt):
        return HOUR if dt.fold else 2 * HOUR


async def test_times_are_kept_in_utc(store, clock):
    """Times in another zone are kept as the same moments in UTC."""
    zone = timezone(-5 * HOUR)
    begin, end = (NOON + HOUR).astimezone(zone), (NOON + 2 * HOUR).astimezone(zone)
    record = (await lifecycle.issue(store, await ada(store), not_before=begin, expires_at=end, clock=clock)).record
    assert (record.not_before, record.expires_at) == (begin, end)
    assert (record.not_before.tzinfo, record.expires_at.tzinfo) == (UTC, UTC)


async def test_the_hour_that_comes_twice(clock):
    """A window within the hour that a zone has twice is judged by its moments, not by what the wall's clock says."""
    zone = BackToWinter()
    begin = datetime(2026, 10, 25, 2, 50, tzinfo=zone, fold=0)
    end = datetime(2026, 10, 25, 2, 10, tzinfo=zone, fold=1)
    store = MemoryStore()
    record = (await lifecycle.issue(store, await ada(store), not_before=begin, expires_at=end, clock=clock)).record
    assert record.expires_at - record.not_before == timedelta(minutes=20)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(None, NOON + 24 * HOUR), (NOON + 24 * HOUR, NOON + 24 * HOUR), (NOON + HOUR, NOON + HOUR)],
    ids=["none", "the longest", "shorter"],
)
async def test_the_longest_life(clock, asked, kept):
    """Where the keyring limits a key's life, that is the default, and a shorter one may be asked for."""
    store = MemoryStore(keyring=Keyring(max_lifetime=24 * HOUR))
    issued = await lifecycle.issue(store, await ada(store), expires_at=asked, clock=clock)
    assert issued.record.expires_at == kept


async def test_a_life_that_is_too_long(clock):
    """A longer life than the keyring allows is a mistake, and so is one that begins after it would have ended."""
    store = MemoryStore(keyring=Keyring(max_lifetime=24 * HOUR))
    owner = await ada(store)
    too_late = NOON + 24 * HOUR + timedelta(microseconds=1)
    with pytest.raises(ConfigurationError, match="expires_at is at most 1 day, 0:00:00 from now"):
        await lifecycle.issue(store, owner, expires_at=too_late, clock=clock)
    with pytest.raises(ConfigurationError, match=WINDOW):
        await lifecycle.issue(store, owner, not_before=NOON + 24 * HOUR, clock=clock)


# --- adopting ---------------------------------------------------------------------------------------------------


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
        frames = [entry.frame for entry in caught.traceback if entry.frame.code.path.parent.name == "lifecycle"]
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


# --- after that -------------------------------------------------------------------------------------------------


async def test_a_key_is_revoked_once(store, clock):
    """Revoking tells whether it did it, and what the first one said stays."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    assert await lifecycle.revoke(store, key_id, reason="leaked", clock=clock)
    clock.advance(HOUR)
    assert not await lifecycle.revoke(store, key_id, reason="again", clock=clock)
    record = await lifecycle.get(store, key_id)
    assert (record.revoked_at, record.revoked_reason) == (NOON, "leaked")


async def test_a_key_is_disabled_and_enabled(store, clock):
    """A disabled key has the time of the first call, and none any more when it is enabled."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    await lifecycle.disable(store, key_id, clock=clock)
    clock.advance(HOUR)
    await lifecycle.disable(store, key_id, clock=clock)
    assert (await lifecycle.get(store, key_id)).disabled_at == NOON
    await lifecycle.enable(store, key_id)
    await lifecycle.enable(store, key_id)
    assert (await lifecycle.get(store, key_id)).disabled_at is None


async def test_enabling_does_not_undo_a_revocation(store, clock):
    """A revoked key stays revoked, whether it is enabled or disabled."""
    key_id = (await lifecycle.issue(store, await ada(store), clock=clock)).record.id
    await lifecycle.revoke(store, key_id, clock=clock)
    await lifecycle.disable(store, key_id)
    await lifecycle.enable(store, key_id)
    assert (await lifecycle.get(store, key_id)).revoked_at == NOON


async def test_now_is_when_it_happens(store):
    """Without a clock a key is disabled and revoked now."""
    key_id = (await lifecycle.issue(store, await ada(store))).record.id
    before = datetime.now(UTC)
    await lifecycle.disable(store, key_id)
    await lifecycle.revoke(store, key_id)
    record = await lifecycle.get(store, key_id)
    assert timedelta(0) <= record.disabled_at - before < HOUR
    assert timedelta(0) <= record.revoked_at - before < HOUR
    assert record.revoked_reason == ""


async def test_a_key_gets_another_name(store):
    """Renaming changes the name and nothing else."""
    before = (await lifecycle.issue(store, await ada(store), name="old")).record
    await lifecycle.rename(store, before.id, "Zoë's „new“ one")
    assert await lifecycle.get(store, before.id) == replace(before, name="Zoë's „new“ one")


async def test_a_name_and_a_reason_are_texts(store):
    """What is no text is neither a key's name nor the reason of its end, and the key stays as it is."""
    before = (await lifecycle.issue(store, await ada(store), name="old")).record
    with pytest.raises(ConfigurationError, match="name is a text; not NoneType"):
        await lifecycle.rename(store, before.id, None)
    with pytest.raises(ConfigurationError, match="reason is a text; not NoneType"):
        await lifecycle.revoke(store, before.id, reason=None)
    assert await lifecycle.get(store, before.id) == before


async def test_keys_are_listed(store, clock):
    """Keys are listed for one owner or for all, the newest first, revoked ones included."""
    owners = [await ada(store), await lifecycle.add_owner(store, "bob", id="owner-2")]
    ids = []
    for number in range(4):
        ids.append((await lifecycle.issue(store, owners[number % 2], clock=clock)).record.id)
        clock.advance(HOUR)
    await lifecycle.revoke(store, ids[0])
    assert [record.id for record in await lifecycle.list_keys(store)] == ids[::-1]
    assert [record.id for record in await lifecycle.list_keys(store, owners[0])] == [ids[2], ids[0]]
    assert [record.id for record in await lifecycle.list_keys(store, "owner-2")] == [ids[3], ids[1]]
    assert await lifecycle.list_keys(store, "nobody") == []


@pytest.mark.parametrize(
    "call",
    [
        lambda store: lifecycle.get(store, "nothing"),
        lambda store: lifecycle.rename(store, "nothing", "x"),
        lambda store: lifecycle.disable(store, "nothing"),
        lambda store: lifecycle.enable(store, "nothing"),
        lambda store: lifecycle.revoke(store, "nothing"),
        lambda store: lifecycle.rotate(store, "nothing"),
        lambda store: lifecycle.activate(store, "nobody"),
        lambda store: lifecycle.deactivate(store, Owner(id="nobody", name="ada")),
        lambda store: lifecycle.set_superuser(store, "nobody", superuser=True),
        lambda store: lifecycle.set_password(store, "nobody", "x"),
        lambda store: lifecycle.set_password(store, "nobody", None),
        lambda store: lifecycle.issue(store, "nobody"),
    ],
    ids=[
        "get",
        "rename",
        "disable",
        "enable",
        "revoke",
        "rotate",
        "activate",
        "deactivate",
        "set_superuser",
        "set_password",
        "take the password away",
        "issue",
    ],
)
async def test_what_does_not_exist_cannot_be_changed(store, call):
    """A change to a key or an owner that does not exist raises `NotFound`, which does not quote what may be a key."""
    await ada(store)
    with pytest.raises(NotFound) as caught:
        await call(store)
    assert "nothing" not in str(caught.value)
    assert "nobody" not in str(caught.value)


# --- rotating ---------------------------------------------------------------------------------------------------


async def test_a_rotated_key_is_replaced_at_once(store, clock):
    """Without a grace the old key is revoked, and a new one has owner, name, scopes and networks of the old one."""
    old = await lifecycle.issue(
        store,
        await ada(store),
        name="laptop",
        scopes=["flows:read"],
        networks=["192.0.2.0/24"],
        not_before=NOON + HOUR,
        expires_at=NOON + 9 * HOUR,
        clock=clock,
    )
    clock.advance(2 * HOUR)
    new = await lifecycle.rotate(store, old.record.id, clock=clock, entropy=bytes)
    assert new.key == from_entropy("kg", bytes(48))
    digest = sha256_digest(new.key.reveal().encode())
    assert new.record == replace(
        old.record,
        id=new.key.id,
        lookup=digest,
        verifier=digest,
        created_at=NOON + 2 * HOUR,
        not_before=None,
        expires_at=NOON + 9 * HOUR,
    )
    assert await lifecycle.get(store, new.record.id) == new.record
    assert await lifecycle.get(store, old.record.id) == replace(
        old.record, revoked_at=NOON + 2 * HOUR, revoked_reason="rotated"
    )


@pytest.mark.parametrize(
    ("grace", "expires_at", "end"),
    [
        (HOUR, None, NOON + HOUR),
        (HOUR, NOON + 2 * HOUR, NOON + HOUR),
        (2 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
        (3 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
    ],
)
async def test_a_rotated_key_is_good_for_its_grace(store, clock, grace, expires_at, end):
    """The old key expires after the grace, and never later than it would have; the new one as the old one would."""
    old = (await lifecycle.issue(store, await ada(store), expires_at=expires_at, clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=grace, clock=clock)).record
    assert await lifecycle.get(store, old.id) == replace(old, expires_at=end)
    assert new.expires_at == expires_at


async def test_a_grace_is_ended_early(store, clock):
    """A key within its grace is revoked as any other, for the reason that is given; its successor is not."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    new = (await lifecycle.rotate(store, old.id, grace=HOUR, clock=clock)).record
    assert await lifecycle.revoke(store, old.id, reason="leaked", clock=clock)
    assert (await lifecycle.get(store, old.id)).revoked_reason == "leaked"
    assert await lifecycle.get(store, new.id) == new


@pytest.mark.parametrize(
    ("old_end", "asked", "new_end"),
    [
        (None, None, NOON + 25 * HOUR),
        (NOON + 24 * HOUR, None, NOON + 24 * HOUR),
        (NOON + 24 * HOUR, NOON + 25 * HOUR, NOON + 25 * HOUR),
        (NOON + 30 * HOUR, None, NOON + 25 * HOUR),
        (NOON + 30 * HOUR, NOON + 2 * HOUR, NOON + 2 * HOUR),
    ],
)
async def test_a_new_key_lives_no_longer_than_allowed(make_store, clock, old_end, asked, new_end):
    """A new key ends as the old one would have, or as was asked for, and within the keyring's longest life."""
    old = (
        await lifecycle.issue(await make_store(), await ada(await make_store()), expires_at=old_end, clock=clock)
    ).record
    store = await make_store(Keyring(max_lifetime=24 * HOUR))
    clock.advance(HOUR)
    assert (await lifecycle.rotate(store, old.id, expires_at=asked, clock=clock)).record.expires_at == new_end


async def test_a_key_that_is_not_valid_yet_gives_none_that_is(store, clock):
    """A key that is rotated before it is valid is replaced by one that is not valid before that either."""
    old = (await lifecycle.issue(store, await ada(store), not_before=NOON + HOUR, clock=clock)).record
    assert (await lifecycle.rotate(store, old.id, clock=clock)).record.not_before == NOON + HOUR


async def test_a_disabled_key_gives_a_disabled_one(store, clock):
    """Rotating enables nothing: of a disabled key the new one is disabled as well, until it is enabled."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    await lifecycle.disable(store, old.id, clock=clock)
    new = (await lifecycle.rotate(store, old.id, clock=clock)).record
    assert new.disabled_at == NOON
    await lifecycle.enable(store, new.id)
    assert (await lifecycle.get(store, new.id)).disabled_at is None
    assert (await lifecycle.get(store, old.id)).disabled_at == NOON


async def test_an_adopted_key_gets_a_successor_of_our_own_form(make_store):
    """What takes the place of a key from elsewhere has Keyguard's own form, and a fast digest."""
    store = await make_store(ADOPTING)
    old = await lifecycle.adopt(store, await ada(store), WEAK, name="old one")
    new = await lifecycle.rotate(store, old.id)
    assert (new.record.prefix, new.record.name) == ("kg_", "old one")
    assert new.record.lookup == new.record.verifier == hmac_digest(A, new.key.reveal().encode())


async def test_the_clock_and_the_entropy_of_a_rotation(store):
    """Without a clock a key is rotated now, and without entropy its successor has a secret of its own."""
    before = datetime.now(UTC)
    old = await lifecycle.issue(store, await ada(store))
    new = await lifecycle.rotate(store, old.record.id)
    assert timedelta(0) <= new.record.created_at - before < HOUR
    assert new.key != old.key


async def test_a_key_that_has_ended_is_not_rotated(store, clock):
    """A key that is revoked or has expired gets no successor; the moment of its end is its end."""
    owner = await ada(store)
    dead = (await lifecycle.issue(store, owner, clock=clock)).record
    brief = (await lifecycle.issue(store, owner, expires_at=NOON + HOUR, clock=clock)).record
    await lifecycle.revoke(store, dead.id, clock=clock)
    clock.advance(HOUR)
    before = await lifecycle.list_keys(store)
    with pytest.raises(Conflict, match="a revoked key is not rotated: issue a new one"):
        await lifecycle.rotate(store, dead.id, clock=clock)
    with pytest.raises(Conflict, match="a key that has expired is not rotated: issue a new one"):
        await lifecycle.rotate(store, brief.id, grace=HOUR, clock=clock)
    assert await lifecycle.list_keys(store) == before


@pytest.mark.parametrize("grace", [timedelta(0), HOUR], ids=["at once", "with a grace"])
async def test_whoever_is_later_is_told(store, clock, grace):
    """Where a key is revoked or rotated between a rotation's look at it and its writing, there is no new key."""
    owner = await ada(store)
    for meanwhile in (lifecycle.revoke, lifecycle.rotate):
        old = (await lifecycle.issue(store, owner, clock=clock)).record
        find = store.get_key

        async def look(key_id, find=find, meanwhile=meanwhile):
            seen = await find(key_id)
            store.get_key = find
            await meanwhile(store, key_id, **({} if meanwhile is lifecycle.revoke else {"grace": HOUR}))
            return seen

        store.get_key = look
        before = len(await lifecycle.list_keys(store))
        with pytest.raises(Conflict, match="the key was revoked or rotated at this moment: look at it again"):
            await lifecycle.rotate(store, old.id, grace=grace, clock=clock)
        assert len(await lifecycle.list_keys(store)) - before == (meanwhile is lifecycle.rotate)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"grace": -HOUR}, "grace is a timedelta, and not a negative one"),
        ({"grace": 3600}, "grace is a timedelta, and not a negative one; not 3600"),
        ({"grace": timedelta.max}, "grace has an end"),
        ({"expires_at": NOON}, WINDOW),
        ({"expires_at": datetime(2027, 3, 1)}, AWARE),  # noqa: DTZ001 The mistake.
        ({"entropy": lambda size: bytes(size - 1)}, "exactly 48 random bytes; not 47"),
    ],
)
async def test_mistakes_rotate_nothing(store, clock, mistake, sentence):
    """An argument that cannot be right raises, says what is allowed, and leaves the old key alone as it is."""
    old = (await lifecycle.issue(store, await ada(store), clock=clock)).record
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.rotate(store, old.id, **{"clock": clock} | mistake)
    assert await lifecycle.list_keys(store) == [old]


# --- uses -------------------------------------------------------------------------------------------------------


async def test_uses_are_read(store):
    """The uses of a key are those that the store has; of many at once they come by id, and every id is there."""
    used = Usage(total=3, last_used_at=NOON, last_used_address="192.0.2.1")
    await store.record_uses({"one": used, "two": Usage(total=1)}, worker="w", sequence=1)
    assert await lifecycle.usage(store, "one") == used
    assert await lifecycle.usage(store, "none") == Usage(total=0)
    assert await lifecycle.usages(store, iter(["two", "none", "one"])) == {
        "two": Usage(total=1),
        "none": Usage(total=0),
        "one": used,
    }
    assert await lifecycle.usages(store, []) == {}


class Uncounted(MemoryStore):
    """A store that counts nothing."""

    record_uses = None
    get_uses = None


async def test_uses_are_not_read_where_there_are_none():
    """A store that does not count says so, and a single id is no list of ids."""
    with pytest.raises(ConfigurationError, match="key_ids is a list of ids, even of one; not a str"):
        await lifecycle.usages(MemoryStore(), "one")
    with pytest.raises(NotSupported, match="this store does not count uses"):
        await lifecycle.usage(Uncounted(), "one")


# --- owners -----------------------------------------------------------------------------------------------------


async def test_an_owner_is_added(store):
    """An owner has the id and the rights that were asked for, is active, and is kept so."""
    owner = await lifecycle.add_owner(store, "root", id="owner-9", is_superuser=True)
    assert owner == Owner(id="owner-9", name="root", is_active=True, is_superuser=True)
    assert await store.get_owner("owner-9") == owner
    assert await store.get_password("owner-9") is None


async def test_an_owner_gets_an_id(store):
    """Without an id an owner gets a random UUID, and no rights beyond its own."""
    owner = await lifecycle.add_owner(store, "ada", entropy=lambda size: b"\xff" * size)
    assert owner == Owner(id="ffffffff-ffff-4fff-bfff-ffffffffffff", name="ada")
    other = await lifecycle.add_owner(store, "bob")
    assert (len(other.id), other.id[14]) == (36, "4")


@pytest.mark.parametrize(("name", "owner_id"), [("ada", "owner-2"), ("bob", "owner-1")])
async def test_names_and_ids_are_unique(store, name, owner_id):
    """A name or an id that is taken makes no second owner."""
    await ada(store)
    with pytest.raises(Conflict):
        await lifecycle.add_owner(store, name, id=owner_id)
    assert [owner.name for owner in await store.list_owners()] == ["ada"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": ""}, "an owner needs a name"),
        ({"name": None}, "name is a text; not NoneType"),
        ({"name": 7}, "name is a text; not int"),
        ({"name": "ada", "id": 7}, "id is a text; not int"),
        ({"name": "ada", "password": ""}, "a password has one character at least"),
    ],
    ids=["empty name", "no name", "number for a name", "number for an id", "password"],
)
async def test_an_owner_has_a_name_and_no_empty_password(store, arguments, sentence):
    """Name and id are texts, and neither the name nor a password may be empty; there is no owner then."""
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.add_owner(store, **arguments)
    assert await store.list_owners() == []


async def test_owners_come_and_go(store):
    """Owners are deactivated and activated, and superuser rights are given and taken, each by itself."""
    owner = await ada(store)
    await lifecycle.deactivate(store, owner)
    assert await store.get_owner(owner.id) == replace(owner, is_active=False)
    await lifecycle.set_superuser(store, owner, superuser=True)
    assert await store.get_owner(owner.id) == replace(owner, is_active=False, is_superuser=True)
    await lifecycle.activate(store, owner.id)
    await lifecycle.set_superuser(store, owner.id, superuser=False)
    assert await store.get_owner(owner.id) == owner


# --- passwords --------------------------------------------------------------------------------------------------


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

    class Counting(Argon2Hasher):
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
