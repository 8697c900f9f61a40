"""On PostgreSQL, whoever signs in while they are deactivated, or get another password, is signed out afterwards.

And what comes to an owner who is being removed finds nobody.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from keyguard.errors import Changed, Conflict, NotFound
from keyguard.model import AuditKind, Owner, Session, Usage
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_credential, make_event, make_record

SESSION = Session(lookup="sha256$1", owner_id="1", created_at=NOON, expires_at=NOON + timedelta(hours=1))
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

LOSSES = {
    "deactivated": (lambda store: store.set_owner_active("1", active=False), "is_active = false"),
    "another password": (lambda store: store.set_password("1", "another"), "password = 'another'"),
    "no password": (lambda store: store.set_password("1", None), "password = NULL"),
}
LOSING = pytest.mark.parametrize(("lose", "values"), LOSSES.values(), ids=LOSSES)


@pytest.fixture
async def store(postgres_url):
    """A store with an owner and a key."""
    store = SQLStore(postgres_url)
    await store.create_schema()
    await store.add_owner(Owner(id="1", name="ada"), created_at=NOON, password="verifier")
    await store.add_key(make_record("k", "1"))
    yield store
    await store.close()


@pytest.fixture
def until_waiting(postgres, database):
    """Waits until a connection of the database's waits for a lock of another one."""

    async def wait():
        async with asyncio.timeout(30):
            while await asyncio.to_thread(postgres.psql, WAITING, database) != "1":  # noqa: ASYNC110 The server tells nobody.
                await asyncio.sleep(0.01)

    return wait


@asynccontextmanager
async def transaction(store):
    """A transaction of another connection, which is committed in the end."""
    other = SQLStore(store.url)
    async with other._database.engine.begin() as connection:
        yield connection
    await other.close()


@LOSING
async def test_a_change_waits_for_a_session_that_is_begun(store, until_waiting, lose, values):
    """While somebody is being signed in, what would sign them out waits, and then ends the new session, too."""
    async with transaction(store) as connection:
        await connection.run_sync(store._sessions.adding(SESSION, "verifier"))
        losing = asyncio.create_task(lose(store))
        await until_waiting()
    await losing
    assert await store.find_session(SESSION.lookup) is None


@LOSING
async def test_a_session_waits_for_a_change_that_is_made(store, until_waiting, lose, values):
    """While an owner's row is being changed, signing in waits, and then goes by what the owner is by now."""
    async with transaction(store) as connection:
        await connection.exec_driver_sql(f"UPDATE keyguard_owners SET {values} WHERE id = '1'")
        adding = asyncio.create_task(store.add_session(SESSION, password="verifier"))
        await until_waiting()
    with pytest.raises(Conflict):
        await adding
    assert await store.find_session(SESSION.lookup) is None


@LOSING
async def test_at_once_nobody_stays_signed_in(store, lose, values):
    """Whatever comes first, of several who sign in at the moment of a change none is signed in afterwards."""
    others = [SQLStore(store.url) for _ in range(3)]
    sessions = [
        Session(lookup=f"{number}", owner_id="1", created_at=NOON, expires_at=NOON) for number in range(len(others))
    ]
    signing_in = [other.add_session(each, password="verifier") for other, each in zip(others, sessions, strict=True)]
    answers = await asyncio.gather(signing_in[0], lose(store), *signing_in[1:], return_exceptions=True)
    assert all(answer in {None, True} or type(answer) is Conflict for answer in answers), answers
    assert [await store.find_session(each.lookup) for each in sessions] == [None] * len(sessions)
    for other in others:
        await other.close()


async def test_those_who_end_the_same_sessions_count_each_once(store):
    """Several that end the same sessions at once, by owner or by time, all succeed, and each session counts once."""
    others = [SQLStore(store.url) for _ in range(4)]
    for number in range(50):
        session = Session(lookup=f"{number % 7}{number}", owner_id="1", created_at=NOON, expires_at=NOON)
        await store.add_session(session)
    ending = [other.end_sessions("1") for other in others[:2]]
    purging = [other.purge_sessions(NOON + timedelta(seconds=1)) for other in others[2:]]
    assert sum(await asyncio.gather(*ending, *purging)) == 50
    for other in others:
        await other.close()


async def test_who_purges_does_not_wait_for_another_who_does(store):
    """While expired sessions are being deleted, whoever else would delete them goes on, and leaves them to it."""
    later = SESSION.expires_at + timedelta(seconds=1)
    other = replace(SESSION, lookup="sha256$2")
    for session in (SESSION, other):
        await store.add_session(session)
    async with transaction(store) as connection:
        assert await connection.run_sync(store._sessions.purging(later)) == 2
        await store.add_session(replace(SESSION, lookup="sha256$3"))
        assert await store.purge_sessions(later) == 1
    assert [await store.find_session(session.lookup) for session in (SESSION, other)] == [None, None]


async def test_of_two_who_read_the_same_one_changes_it(store, until_waiting):
    """Who waits for another's change of the same key learns that the key is not as it was."""
    key = await store.get_key("k")
    async with transaction(store) as connection:
        await connection.exec_driver_sql("UPDATE keyguard_keys SET name = 'theirs' WHERE id = 'k'")
        revoking = asyncio.create_task(store.revoke_key("k", NOON, "leaked", expected=key))
        await until_waiting()
    with pytest.raises(Changed):
        await revoking
    assert (await store.get_key("k")).revoked_at is None


# --- removed owners ---------------------------------------------------------------------------------------------

REMOVED = make_event(AuditKind.OWNER_REMOVED, owner_id="1")
NEW = make_record("new", "1")
COMING = {
    "a key": (lambda store: store.add_key(NEW), lambda store: store._keys.adding(NEW), 2),
    "a credential": (
        lambda store: store.put_credential(make_credential("1", "TOKEN")),
        lambda store: store._credentials.putting(make_credential("1", "TOKEN")),
        1,
    ),
    "a session": (lambda store: store.add_session(SESSION), lambda store: store._sessions.adding(SESSION, None), 1),
    "a rotation": (
        lambda store: store.rotate_key(make_record("k", "1"), NEW, until=None),
        lambda store: store._keys.rotating(make_record("k", "1"), NEW, None),
        2,
    ),
}
"""How each comes by a call, and in a transaction; and how many keys the owner has then."""


@pytest.mark.parametrize("what", COMING)
async def test_what_comes_to_an_owner_waits_for_a_removal(store, until_waiting, what):
    """While an owner is being removed, what is added to the owner waits, and then finds nobody."""
    async with transaction(store) as connection:
        await connection.run_sync(store._own_owners.removing("1"))
        coming = asyncio.create_task(COMING[what][0](store))
        await until_waiting()
    with pytest.raises(NotFound):
        await coming


@pytest.mark.parametrize("what", COMING)
async def test_a_removal_waits_for_what_comes(store, until_waiting, what):
    """While something is being added to an owner, a removal waits, and then takes it along."""
    _, adding, keys = COMING[what]
    async with transaction(store) as connection:
        await connection.run_sync(adding(store))
        removing = asyncio.create_task(store.remove_owner("1", event=REMOVED))
        await until_waiting()
    assert await removing == keys
    assert await store.list_keys() == []
    assert await store.list_credentials() == []
    assert await store.find_session(SESSION.lookup) is None


async def test_a_rotation_has_its_owner_before_its_key(store, until_waiting):
    """A rotation that waits for the owner's row leaves its key free, which whoever removes the owner wants next."""
    async with transaction(store) as connection:
        await connection.exec_driver_sql("SELECT 1 FROM keyguard_owners WHERE id = '1' FOR UPDATE")
        rotating = asyncio.create_task(store.rotate_key(make_record("k", "1"), NEW, until=None))
        await until_waiting()
        await connection.exec_driver_sql("SELECT 1 FROM keyguard_keys WHERE id = 'k' FOR UPDATE NOWAIT")
    assert await rotating is True


@pytest.mark.parametrize(("table", "column"), [("keyguard_uses", "key_id"), ("keyguard_credentials", "name")])
async def test_a_removal_locks_in_the_order_of_others(store, until_waiting, table, column):
    """A removal that waits for the first of several uses or credentials leaves those behind it free.

    Whoever counts uses, or seals anew, has the first and wants the next.
    """
    await store.add_key(make_record("a", "1"))
    for sequence, each in enumerate(("k", "a"), 1):
        await store.record_uses({each: Usage(total=1)}, worker="w", sequence=sequence)
        await store.put_credential(make_credential("1", each))
    locking = f"SELECT 1 FROM {table} WHERE {column} = '{{}}' FOR UPDATE NOWAIT"
    async with transaction(store) as connection:
        await connection.exec_driver_sql(locking.format("a"))
        removing = asyncio.create_task(store.remove_owner("1", event=REMOVED))
        await until_waiting()
        await connection.exec_driver_sql(locking.format("k"))
    assert await removing == 2
