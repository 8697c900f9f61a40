"""The running app needs no more rights in PostgreSQL than the manual says."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyguard.errors import StoreUnavailable
from keyguard.model import AuditEvent, AuditKind, Credential, Owner, Usage
from keyguard.settings import Keyring
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_record, make_session

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "postgres.md"


@pytest.fixture
async def role(postgres, database):
    """An account that may do what the manual grants it, on tables that another one has made."""
    maker = SQLStore(postgres.url(database))
    await maker.create_schema()
    await maker.close()
    (grants,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    name = f"app_{database}"
    postgres.psql(f"CREATE ROLE {name} LOGIN; {grants.replace('TO app', f'TO {name}')}", database)
    yield name
    postgres.psql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}", database)


async def test_the_manuals_grants_are_enough(postgres, database, role):
    """With the manual's grants the store does all that it does; revision and audit log are not the app's to change."""
    pepper = Keyring(peppers=(b"p" * 32,))
    store = SQLStore(postgres.url(database).replace("keyguard:", f"{role}:"), keyring=pepper)
    await store.add_owner(Owner(id="1", name="ada"), created_at=NOON)
    await store.add_key(make_record("k", "1"))
    store.token()
    async with asyncio.timeout(20):
        while (token := store.token()) is None:  # noqa: ASYNC110 The lease is the database's affair.
            await asyncio.sleep(0.01)
    assert await store.revoke_key("k", NOON, "leaked")
    assert store.token() != token
    await store.set_password("1", "verifier")
    await store.add_session(make_session("one", "1"), password="verifier")
    assert await store.end_sessions("1") == 1
    await store.record_uses({"k": Usage(total=3)}, worker="w", sequence=1)
    assert (await store.get_uses(["k"]))["k"].total == 3
    credential = Credential(owner_id="1", name="A", sealed="s", sealed_with="w", created_at=NOON, updated_at=NOON)
    await store.put_credential(credential)
    await store.add_all(keys=[make_record("another", "1")], uses={"another": Usage(total=1)})
    event = AuditEvent(at=NOON, kind=AuditKind.KEY_PURGED)
    assert await store.purge_keys(NOON + timedelta(1), limit=9, event=event) == 1
    assert await store.remove_credential("1", "A", events=[replace(event, kind=AuditKind.CREDENTIAL_REMOVED)])
    renamed = replace(event, kind=AuditKind.OWNER_RENAMED, owner_id="1")
    assert await store.rename_owner("1", "countess", event=renamed)
    assert await store.remove_owner("1", event=replace(renamed, kind=AuditKind.OWNER_REMOVED)) == 1
    assert len(await store.list_events()) == 4
    for statement in (
        "UPDATE keyguard_revision SET n = 0",
        "DELETE FROM keyguard_events",
        "UPDATE keyguard_events SET actor = 'nobody'",
    ):
        with pytest.raises(StoreUnavailable, match="permission denied"):
            await store._database.change(lambda each, statement=statement: each.exec_driver_sql(statement))
    await store.close()
