"""Keys are issued: what is asked for is what is kept, or nothing is."""

import json
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from ipaddress import ip_network
from pathlib import Path

import pytest
from lives import HOUR, WINDOW, A, B, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, NotFound
from keyguard.hashing import Argon2Hasher, hmac_digest, sha256_digest
from keyguard.keys import from_entropy
from keyguard.model import KeyRecord, Owner
from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "keys.json").read_text())


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
AWARE = "is an aware datetime, such as datetime.now"
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
