"""The calls of `lifecycle`, over every store that can keep a change."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import assert_type

from keyguard import ApiKey, KeyRecord, Keyring, Owner, lifecycle
from keyguard.model import AuditEvent, AuditKind, KeyState, OwnerPage, Principal, Usage
from keyguard.ports import AuditLog, KeyRegistry
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.stores.static import StaticStore
from keyguard.testing import FrozenClock


async def issue(store: SQLStore) -> str:
    await store.create_schema()
    ada = await store.find_owner("ada") or await lifecycle.add_owner(store, "ada", is_superuser=True)
    assert_type(ada, Owner)
    issued = await lifecycle.issue(
        store,
        ada,
        name="laptop",
        scopes=["flows:read"],
        networks=["192.0.2.0/24", ip_network("2001:db8::/32")],
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    assert_type(issued, lifecycle.Issued)
    assert_type(issued.key, ApiKey)
    assert_type(issued.record, KeyRecord)
    return issued.key.reveal()


async def administer(store: KeyRegistry, key_id: str) -> None:
    assert_type(await lifecycle.get(store, key_id), KeyRecord)
    assert_type(await lifecycle.list_keys(store, "owner-1"), list[KeyRecord])
    assert_type(await lifecycle.revoke(store, key_id, reason="leaked"), bool)
    assert_type(await lifecycle.rotate(store, key_id, grace=timedelta(days=1)), lifecycle.Issued)
    assert_type(await lifecycle.usage(store, key_id), Usage)
    assert_type(await lifecycle.usages(store, [key_id]), dict[str, Usage])
    assert_type(await lifecycle.adopt(store, "owner-1", "sk-…"), KeyRecord)
    assert_type(await lifecycle.verify_password(store, "ada", "…"), Owner | None)
    assert_type(lifecycle.mint(Keyring()), tuple[ApiKey, str])
    assert_type(await lifecycle.find(store, "kg_…"), KeyRecord)
    assert_type(await lifecycle.disable(store, key_id, clock=FrozenClock()), bool)
    assert_type(await lifecycle.enable(store, key_id, actor="cli:root"), bool)
    assert_type(await lifecycle.end_grace(store, key_id, actor=Principal(id="1", name="ada")), bool)
    assert_type(await lifecycle.deactivate(store, "owner-1"), bool)
    assert_type(await lifecycle.purge(store, timedelta(days=365)), int)
    assert_type(await lifecycle.rename_owner(store, "owner-1", "ada", actor="cli:root"), bool)
    assert_type(await lifecycle.remove_owner(store, "owner-1"), int)
    assert_type(await lifecycle.list_owners(store, offset=10, limit=10), OwnerPage)
    page = await lifecycle.list_keys(store, state=KeyState.ACTIVE, begins="kg_3fJ2", limit=50)
    await lifecycle.list_keys(store, after=page[-1], limit=50)


async def look_back(store: AuditLog, key: KeyRecord) -> None:
    events = await lifecycle.events(store, key=key, kinds=[AuditKind.KEY_REVOKED], limit=10)
    assert_type(events, list[AuditEvent])
    await lifecycle.events(store, owner="owner-1", before=events[-1], since=datetime.now(UTC))


async def mistakes(store: MemoryStore, static: StaticStore) -> None:
    await lifecycle.issue(static, "ada")  # type: ignore[arg-type]  # It can keep no change.
    await lifecycle.issue(store, 1)  # type: ignore[arg-type]  # An owner's id is a text.
    await lifecycle.issue(store, "1", expires_at=3600)  # type: ignore[arg-type]  # A time, not a number of seconds.
    await lifecycle.rotate(store, "1", grace=3600)  # type: ignore[arg-type]  # A timedelta, not a number of seconds.
    await lifecycle.rotate(static, "ci")  # type: ignore[arg-type]  # It can keep no change.
    await lifecycle.usage(static, "ci")  # It counts all the same.
    await lifecycle.disable(store, "1", actor=1)  # type: ignore[arg-type]  # A text, an owner or a principal.
    await lifecycle.list_keys(store, state="revoked")  # type: ignore[arg-type]  # A KeyState.
    await lifecycle.purge(store, 90)  # type: ignore[arg-type]  # A time or a timedelta, not a number of days.
    await lifecycle.revoke(store, "1", "leaked")  # type: ignore[call-arg]  # The reason is given by name.
