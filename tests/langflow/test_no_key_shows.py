"""Nothing that an import says, keeps or raises shows a key, a value or the secret.

`leaks` sees every log record and every database of a store by itself; here it is handed what else there is.
"""

import json
import pickle
import sqlite3
from contextlib import closing

import pytest
from langflow.building import DAY, LONG_SECRET, NOON, Langflow, a_key, hash_of, seal
from leaks import WATCH

from keyguard import langflow
from keyguard.errors import Conflict, SchemaMismatch
from keyguard.langflow._judge import judge
from keyguard.langflow._secret import LangflowSecret
from keyguard.langflow._source import read

VALUE = "value-M4wKz9QpX2vTnB7sRj"


@pytest.fixture(autouse=True)
def _watch():
    for secret in (VALUE, LONG_SECRET):
        WATCH.key(secret)


@pytest.fixture
def url(file):
    """A database with a key in each form, and one that is called by itself."""
    db = Langflow()
    ada = db.user("ada")
    db.key(ada, a_key("plain"), name=a_key("plain"))
    db.key(ada, seal(a_key("sealed"), LONG_SECRET), api_key_hash=hash_of(a_key("sealed")))
    db.key(ada, seal(a_key("lost"), "another secret"))
    db.key(ada, f"{a_key('odd')}x", expires_at=NOON - DAY)
    db.key(ada, a_key("unreadable"), total_uses="many")
    db.variable(ada, "TOKEN", seal(VALUE, LONG_SECRET))
    db.variable(ada, "TOKEN", VALUE, kind="Generic")
    return db.write_file(file)


def see(value):
    for text in (repr(value), str(value), f"{value}"):
        WATCH.see(f"a {type(value).__name__}", text)


async def test_what_is_said(url, store, vault, clock):
    """Plan, report, their lines and the audit events have no secret in them."""
    plan = await langflow.plan(url, store, secret=LONG_SECRET, vault=vault, clock=clock)
    report = await langflow.carry_out(plan, store, vault=vault, actor="ada", clock=clock)
    events = await store.list_events()
    assert (report.rows(langflow.Kind.KEY), len(events)) == (5, report.changes)
    for each in (plan, report, *report.items, *events, *await store.list_keys(), *await store.list_credentials()):
        see(each)
    see([*report.lines(), *report.warnings])
    WATCH.see("the details of events", json.dumps([event.detail for event in events]))


async def test_what_stands_in_a_stores_database(url, database_store_of_file, clock):
    """What is written into a store's database has no secret in it, names of keys included."""
    store, vault = database_store_of_file
    plan = await langflow.plan(url, store, secret=LONG_SECRET, vault=vault, clock=clock)
    assert (await langflow.carry_out(plan, store, vault=vault, clock=clock)).changes == 4


async def test_what_is_between(url, keyring):
    """The rows on their way show no secret either, and neither does what opens them."""
    source, secret = await read(url), LangflowSecret(LONG_SECRET)
    judged = judge(source, secret, keyring, NOON)
    for each in (source, secret, judged, *source.keys.known, *source.variables.known, *judged.keys, *judged.variables):
        see(each)


async def test_a_plan_is_not_kept(url, store):
    """A plan cannot be pickled, because it would take the secret with it."""
    with pytest.raises(TypeError, match="would leave the secret behind"):
        pickle.dumps(await langflow.plan(url, store, secret=LONG_SECRET))


@pytest.mark.parametrize("problem", [Conflict("taken"), RuntimeError("a mistake")], ids=repr)
async def test_what_is_raised_when_writing(url, store, vault, clock, monkeypatch, problem):
    """An error while writing has no secret in its text, nor in the variables of any frame that it went through."""

    async def add_all(**new):
        raise problem

    monkeypatch.setattr(store, "add_all", add_all)
    plan = await langflow.plan(url, store, secret=LONG_SECRET, vault=vault, clock=clock)
    with pytest.raises(type(problem)) as raised:
        await langflow.carry_out(plan, store, vault=vault, clock=clock)
    WATCH.see_exception(raised.value)


async def test_what_is_raised_when_reading(url, file, store):
    """An error while reading has no secret in it, nor in the variables of any frame."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE variable DROP COLUMN value")
    with pytest.raises(SchemaMismatch) as raised:
        await langflow.plan(url, store, secret=LONG_SECRET)
    WATCH.see_exception(raised.value)
