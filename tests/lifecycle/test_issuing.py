"""Keys are issued: what is asked for is what is kept, or nothing is."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lives import ADOPTING, HOUR, STRONG, WINDOW, A, B, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, Conflict, NotFound
from keyguard.hashing import Argon2Hasher, hmac_digest, sha256_digest
from keyguard.keys import from_entropy, id_from_entropy, parse
from keyguard.model import Allowed, Facts, KeyRecord, Owner, Requirement
from keyguard.policy import decide, judge
from keyguard.settings import Keyring, Policy
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON, FrozenClock, make_record

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


async def test_what_is_asked_for_twice_is_issued_once(store, clock):
    """By an id that was given out beforehand there is one key, however often it is asked for: the first one."""
    owner, key_id = await ada(store), id_from_entropy(b"asked for twice!")
    issued = await lifecycle.issue(store, owner, id=key_id, name="first", clock=clock)
    assert issued.record.id == issued.key.id == key_id
    assert issued.key.reveal().startswith(f"kg_{key_id}_")
    assert parse(issued.key.reveal(), prefix="kg") == issued.key
    with pytest.raises(Conflict):
        await lifecycle.issue(store, owner, id=key_id, name="second", clock=clock)
    assert await lifecycle.list_keys(store) == [issued.record]
    assert await lifecycle.find(store, issued.key.reveal()) == issued.record
    assert len(await lifecycle.events(store, key=key_id)) == 1


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


ID = "a key's id has exactly 12 characters, of 0-9, A-Z and a-z$"
SCOPE = "a scope is '\\*' or lower-case words"
AWARE = "is an aware datetime, such as datetime.now"
NETWORK = "a network is written like"


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"id": 123456789012}, "id is a text; not int"),
        ({"id": ""}, ID),
        ({"id": "3fJ2x0Qm7Lp"}, ID),
        ({"id": "3fJ2x0Qm7LpZ5"}, ID),
        ({"id": "3fJ2x0Qm7Lp_"}, ID),
        ({"id": "3fJ2x0Qm7Lpé"}, ID),
        ({"id": "3fJ2x0Qm7Lp\n"}, ID),
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
    for begin in (HOUR, 23 * HOUR):  # It is reckoned from now on, not from when the key is good.
        with pytest.raises(ConfigurationError, match="expires_at is at most 1 day, 0:00:00 from now"):
            await lifecycle.issue(store, owner, not_before=NOON + begin, expires_at=too_late, clock=clock)


shares = st.floats(-1, 3)
"""Of the longest life: how far from now a time is."""


@given(
    longest=st.timedeltas(timedelta(seconds=1), timedelta(days=36_525)),
    begin=st.none() | shares,
    asked=st.none() | shares,
    old_end=st.none() | shares,
    grace=st.floats(0, 3),
)
async def test_no_way_leads_to_a_longer_life(longest, begin, asked, old_end, grace):
    """Issued, adopted or put in another one's place, a key ends by the longest life from now on, or is not made.

    Neither a later beginning nor an end that the old key had, nor a grace, makes it longer; and no old key gets more.
    """
    begin, asked, old_end = (share if share is None else NOON + share * longest for share in (begin, asked, old_end))
    grace *= longest
    memory = MemoryStore(keyring=ADOPTING)
    owner = await ada(memory)
    keyring = replace(ADOPTING, max_lifetime=longest)
    clock = FrozenClock()
    old = make_record("old", owner.id, not_before=begin, expires_at=old_end)
    await memory.add_key(old)
    memory.keyring = keyring
    window = {"not_before": begin, "expires_at": asked}
    for make in (
        lambda: lifecycle.issue(memory, owner, **window, clock=clock),
        lambda: lifecycle.adopt(memory, owner, STRONG, **window, clock=clock),
        lambda: lifecycle.rotate(memory, old.id, grace=grace, expires_at=asked, clock=clock),
    ):
        before = await lifecycle.list_keys(memory)
        with suppress(ConfigurationError, Conflict):
            made = await make()
            record = made.record if isinstance(made, lifecycle.Issued) else made
            assert NOON < record.expires_at <= NOON + longest
            assert record.not_before is None or record.not_before < record.expires_at
            continue
        assert await lifecycle.list_keys(memory) == before
    end = (await lifecycle.get(memory, old.id)).expires_at
    assert old_end is None or end <= old_end


# --- networks ---------------------------------------------------------------------------------------------------


async def test_networks_are_kept_as_they_are_judged(store):
    """Mapped IPv4 networks are kept as IPv4, each network once, in the order in which they were given."""
    given = ["2001:db8::/32", "::ffff:192.0.2.0/120", "192.0.2.0/24", "192.0.2.128/25", "2001:db8::/32"]
    record = (await lifecycle.issue(store, await ada(store), networks=given)).record
    assert [str(network) for network in record.networks] == ["2001:db8::/32", "192.0.2.0/24", "192.0.2.128/25"]
    assert await lifecycle.get(store, record.id) == record


@pytest.mark.parametrize("network", ["192.0.2.0/24", "::ffff:192.0.2.0/120"])
@pytest.mark.parametrize(
    ("address", "passes"),
    [("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("198.51.100.7", False), ("::ffff:198.51.100.7", False)],
)
async def test_however_a_network_is_written_it_lets_the_same_in(store, network, address, passes):
    """A key that is bound to an IPv4 network, mapped or not, is good for an address of it, mapped or not."""
    record = (await lifecycle.issue(store, await ada(store), networks=[network])).record
    verdict = judge((await store.find([record.lookup])).key, await store.get_owner("owner-1"))
    facts = Facts(credential=verdict, address=ip_address(address))
    decision = decide(Requirement.REQUIRED, facts, Policy(), record.created_at)
    assert isinstance(decision, Allowed) is passes


# --- metadata ---------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXTS, JSON, max_size=3))
async def test_metadata_is_what_was_given(metadata):
    """Whatever JSON can say is kept, and each who reads it has a copy of its own."""
    store = MemoryStore()
    record = (await lifecycle.issue(store, await ada(store), metadata=metadata)).record
    assert record.metadata == metadata
    record.metadata["more"] = record.metadata
    assert (await lifecycle.get(store, record.id)).metadata == metadata


async def test_metadata_is_kept_in_a_database(store):
    """Letters of every kind, and what is nested, come back from a database; any mapping will do."""
    metadata = MappingProxyType({"Zoë": ["🥄", {"n": 1.5}], "empty": {}, "nothing": None, "back\\u0000slash": True})
    issued = await lifecycle.issue(store, await ada(store), metadata=metadata)
    assert (await lifecycle.get(store, issued.record.id)).metadata == dict(metadata)
    assert (await lifecycle.issue(store, "owner-1")).record.metadata == {}


async def test_metadata_has_8_kib_at_most(store):
    """Eight KiB of JSON, counted as UTF-8, are kept; a byte more is too much."""
    owner = await ada(store)
    most = {"x": "é" * 4092}  # {"x":"…"} has 8 bytes around it.
    assert len((await lifecycle.issue(store, owner, metadata=most)).record.metadata_json.encode()) == 8192
    with pytest.raises(ConfigurationError, match="metadata has at most 8192 bytes as JSON"):
        await lifecycle.issue(store, owner, metadata={"x": "é" * 4092 + "a"})
    assert len(await lifecycle.list_keys(store)) == 1


def endless():
    """A list that holds itself."""
    loop = []
    loop.append(loop)
    return loop


def deep(levels):
    """Lists in lists."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ([1, 2], "metadata is a JSON object, such as a dict; not list"),
        ("{}", "metadata is a JSON object, such as a dict; not str"),
        ({"x": float("nan")}, "what JSON can say"),
        ({"x": [float("inf")]}, "what JSON can say"),
        ({"x": {1, 2}}, "what JSON can say"),
        ({"x": b"bytes"}, "what JSON can say"),
        ({"x": NOON}, "what JSON can say"),
        ({1: "a number as a name"}, "what JSON can say"),
        ({"x": {None: 1}}, "what JSON can say"),
        ({"x": (1, 2)}, "what JSON can say"),
        ({"x": 10**5000}, "what JSON can say"),
        ({"x": endless()}, "what JSON can say"),
        ({"x": deep(100_000)}, "what JSON can say"),
        ({"x": "\0"}, "no NUL character"),
        ({"\0": 1}, "no NUL character"),
        ({"x": [{"y": "\ud800"}]}, "no half of a surrogate pair"),
        ({"\udfff": 1}, "no half of a surrogate pair"),
    ],
    ids=[
        "list",
        "text",
        "nan",
        "inf",
        "set",
        "bytes",
        "time",
        "number-name",
        "none-name",
        "tuple",
        "long",
        "endless",
        "deep",
        "nul",
        "nul-name",
        "half",
        "half-name",
    ],
)
async def test_metadata_that_is_none(store, metadata, sentence):
    """What JSON cannot say, or would give back as something else, or what no database takes, makes no key."""
    owner = await ada(store)
    with pytest.raises(ConfigurationError, match=sentence):
        await lifecycle.issue(store, owner, metadata=metadata)
    assert await lifecycle.list_keys(store) == []
