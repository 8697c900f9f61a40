"""Keys that there are: named, switched off and on, revoked, listed, purged, counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lives import HOUR, ada

from keyguard import lifecycle
from keyguard.errors import ConfigurationError, NotFound, NotSupported
from keyguard.model import Owner, Usage
from keyguard.stores.memory import MemoryStore
from keyguard.testing import NOON


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
