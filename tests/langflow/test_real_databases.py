"""Databases that Langflow itself made: every key in them works, or is refused, as it was there."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asgi import get
from leaks import WATCH
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyguard import KeyGuard, Reason, langflow, lifecycle
from keyguard.langflow import Kind, Note, Outcome
from keyguard.model import Event

DATABASES = Path(__file__).with_name("databases")
CONTENTS = json.loads((DATABASES / "contents.json").read_text("utf-8"))
SEEN = datetime(2026, 11, 23, tzinfo=UTC)

pytestmark = pytest.mark.parametrize("name", CONTENTS)


@pytest.fixture(autouse=True)
def _watch(name):
    for key in CONTENTS[name]["api_keys"]:
        WATCH.key(key["key"])


@pytest.fixture
def real(name, file):
    """A copy of the database, as the tests leave the real one alone; its URL.

    In it no variable is called by its value: that is what the leak watch looks for.
    """
    shutil.copy(DATABASES / name, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE variable SET name = replace(name, ' of ', '_OF_')")
    return f"sqlite:///{file}"


def clock():
    return SEEN


def guarded(store, events):
    async def whoami(request):
        return JSONResponse({"name": request.user.name, "superuser": request.user.is_superuser})

    app = Starlette(routes=[Route("/", whoami)])
    return KeyGuard(app, store=store, observer=events.append, clock=clock)


async def taken(real, name, store, vault):
    plan = await langflow.plan(real, store, secret=CONTENTS[name]["secret_key"], vault=vault, clock=clock)
    return await langflow.carry_out(plan, store, vault=vault, clock=clock)


def expected_refusal(key, owners):
    """Why Langflow 1.13 refuses a key, None if it takes it."""
    if key["expires"] is not None and datetime.fromisoformat(key["expires"]).replace(tzinfo=UTC) <= SEEN:
        return Reason.EXPIRED
    if not key["active"]:
        return Reason.DISABLED
    return None if owners[key["owner"]]["active"] else Reason.OWNER_INACTIVE


async def test_every_key_works(real, name, database_store_of_file, file):
    """Each key lets its user in, and one that is off, expired or of an inactive user is refused for that."""
    store, vault = database_store_of_file
    before = file.read_bytes()
    report = await taken(real, name, store, vault)
    owners = {user["name"]: user for user in CONTENTS[name]["users"]}
    events: list[Event] = []
    app = guarded(store, events)
    for key in CONTENTS[name]["api_keys"]:
        answer = await get(app, headers=[("x-api-key", key["key"])])
        refusal = expected_refusal(key, owners)
        if refusal is None:
            assert answer.json == {"name": key["owner"], "superuser": owners[key["owner"]]["superuser"]}
        else:
            assert (answer.status, events[-1].decision.reason) == (401, refusal)
    assert len(CONTENTS[name]["api_keys"]) == report.rows(Kind.KEY) == report.outcomes(Kind.KEY)[Outcome.NEW]
    assert report.warnings == ()
    assert (file.read_bytes(), [*file.parent.iterdir()]) == (before, [file])


async def test_no_stored_text_is_a_key(real, name, database_store_of_file, file):
    """What stands in the database's rows, encrypted or hashed, lets nobody in, and neither do its digests."""
    store, vault = database_store_of_file
    await taken(real, name, store, vault)
    app = guarded(store, [])
    with closing(sqlite3.connect(file)) as connection:
        columns = {column for _, column, *_ in connection.execute("PRAGMA table_info(apikey)")}
        wanted = ", ".join(columns & {"api_key", "api_key_hash"})
        stored = {text for row in connection.execute(f"SELECT {wanted} FROM apikey") for text in row}
    sealed = {text for text in stored if text.startswith("gAAAAA")}
    keys = {key["key"] for key in CONTENTS[name]["api_keys"]}
    digests = {record.lookup for record in await store.list_keys()}
    for text in (stored | digests | {f"sk-{text[:43]}" for text in sealed}) - keys:
        answer = await get(app, headers=[("x-api-key", text)])
        assert answer.status == 401


async def test_what_was_counted_goes_on(real, name, database_store_of_file):
    """Names and numbers of uses are those of Langflow, and nothing of the keys' life is lost."""
    store, vault = database_store_of_file
    await taken(real, name, store, vault)
    owners = {owner.id: owner.name for owner in await store.list_owners()}
    records = await store.list_keys()
    uses = await lifecycle.usages(store, [record.id for record in records])
    there = sorted((owners[each.owner_id], each.name, uses[each.id].total) for each in records)
    assert there == sorted((key["owner"], key["name"] or "", key["uses"]) for key in CONTENTS[name]["api_keys"])
    assert all((use.last_used_at is not None) == (use.total > 0) for use in uses.values())


async def test_every_variable_is_in_the_vault(real, name, database_store_of_file):
    """Each value that is not empty is in the vault with its type, whatever release has sealed it or left it plain."""
    store, vault = database_store_of_file
    report = await taken(real, name, store, vault)
    owners = {owner.id: owner.name for owner in await store.list_owners()}
    there = {
        (owners[each.owner_id], each.name): (await vault.unseal(each), each.metadata["type"])
        for each in await vault.list()
    }
    variables = CONTENTS[name]["variables"]
    assert there == {
        (each["owner"], each["name"].replace(" of ", "_OF_")): (each["value"], each["type"])
        for each in variables
        if each["value"]
    }
    assert report.notes(Kind.VARIABLE).get(Note.EMPTY, 0) == sum(not each["value"] for each in variables)
    assert Note.UNDECRYPTABLE not in report.notes(Kind.VARIABLE)


async def test_every_password_is_good(real, name, database_store_of_file):
    """Each active user signs in with the password that it had; unless that is a long one it gets Argon2id thereby."""
    store, vault = database_store_of_file
    await taken(real, name, store, vault)
    assert await lifecycle.verify_password(store, "operator", "another password") is None
    for user in CONTENTS[name]["users"]:
        signed_in = await lifecycle.verify_password(store, user["name"], user["password"])
        assert (signed_in is not None) == user["active"]
        if signed_in is not None:
            assert signed_in.is_superuser == user["superuser"]
            is_long = len(user["password"].encode()) > 72  # More than bcrypt has ever compared.
            verifier = await store.get_password(signed_in.id)
            assert verifier.startswith("$2b$" if is_long else "$argon2id$")


async def test_a_second_time_changes_nothing(real, name, database_store_of_file):
    """Importing again finds all of it there, and writes nothing."""
    store, vault = database_store_of_file
    first = await taken(real, name, store, vault)
    events = await store.list_events()
    second = await taken(real, name, store, vault)
    assert (second.changes, await store.list_events()) == (0, events)
    assert sum(second.outcomes(Kind.KEY).values()) == second.outcomes(Kind.KEY)[Outcome.PRESENT]
    assert first.changes == len(events)
