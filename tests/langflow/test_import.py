"""What becomes of each kind of row: taken over, left out, there already; and that a second time changes nothing."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from langflow.building import DAY, LONG_SECRET, NOON, PASSWORD, SHORT_SECRET, Langflow, a_key, a_vault, hash_of, seal
from sqlalchemy import String, Uuid

from keyguard import Keyring, langflow, lifecycle
from keyguard.errors import ConfigurationError, Conflict
from keyguard.langflow import LANGFLOW_KEYS, Kind, Note, Outcome, Report
from keyguard.model import ALL_SCOPES, AuditKind, Owner, Usage
from keyguard.settings import KeyFormat
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore, UserTable

USERS, KEYS, VARIABLES = Kind.USER, Kind.KEY, Kind.VARIABLE
NEW, PRESENT, DIFFERENT, REMOVED, LEFT_OUT = Outcome


@pytest.fixture
def db():
    return Langflow()


@pytest.fixture
def ada(db):
    return db.user("ada")


@pytest.fixture
def take(db, place, store, vault, clock):
    """Write the database, plan and carry out; what is done is what was planned."""

    async def take(*, secret=LONG_SECRET, store=store, vault=vault, actor="cli:root") -> Report:
        url = await db.write(place)
        plan = await langflow.plan(url, store, secret=secret, vault=vault, clock=clock)
        report = await langflow.carry_out(plan, store, vault=vault, actor=actor, clock=clock)
        assert report == plan.expected
        return report

    return take


@pytest.fixture
def place(file):
    """One kind of database is enough here: `test_guarded.py` and `test_the_same_database` have both."""
    return file


def became(report, row_id):
    """What has become of a row: outcome and notes."""
    (item,) = (item for item in report.items if item.id == str(row_id))
    return item.outcome, {*item.notes}


# --- users ------------------------------------------------------------------------------------------------------


async def test_users(db, take, store):
    """A user becomes an owner with its id, its name, what it may and its password."""
    ada = db.user("ada", is_superuser=True)
    bob = db.user("bob", is_active=False)
    report = await take()
    assert await store.list_owners() == [
        Owner(id=str(ada), name="ada", is_superuser=True),
        Owner(id=str(bob), name="bob", is_active=False),
    ]
    assert await store.get_password(str(ada)) == PASSWORD
    assert became(report, ada) == (NEW, {Note.SUPERUSER, Note.BCRYPT})
    assert became(report, bob) == (NEW, {Note.INACTIVE_USER, Note.BCRYPT})


@pytest.mark.parametrize(
    ("password", "note"),
    [
        ("", Note.NO_SIGN_IN),
        (None, Note.NO_SIGN_IN),
        ("open sesame", Note.OTHER_SCHEME),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA", Note.OTHER_SCHEME),
        (PASSWORD[:-1], Note.OTHER_SCHEME),
        (PASSWORD.replace("$04$", "$31$"), Note.OTHER_SCHEME),
        (PASSWORD.replace("$04$", "$99$"), Note.OTHER_SCHEME),
    ],
)
async def test_passwords_of_no_use(db, take, store, password, note):
    """A user whose password is none, or kept in another way, is taken over without it."""
    ada = db.user("ada", password=password)
    assert became(await take(), ada) == (NEW, {note})
    assert await store.get_password(str(ada)) is None


async def test_the_password_is_good(db, take, store):
    """An owner signs in with the password that the user had."""
    ada = db.user("ada")
    await take()
    assert await lifecycle.verify_password(store, "ada", "another password") is None
    assert await lifecycle.verify_password(store, "ada", "open sesame") == Owner(id=str(ada), name="ada")
    assert (await store.get_password(str(ada))).startswith("$argon2id$")


async def test_a_name_that_is_taken(db, ada, take, store, clock):
    """A user whose name another owner has is taken over by another name, with its keys: it may be somebody else."""
    db.key(ada, a_key("one"))
    other = await lifecycle.add_owner(store, "ada", clock=clock)
    report = await take()
    assert became(report, ada) == (NEW, {Note.BCRYPT, Note.NAME_TAKEN})
    assert [(each.id, each.name) for each in await store.list_owners()] == [
        (other.id, "ada"),
        (str(ada), "ada (langflow)"),
    ]
    assert [key.owner_id for key in await store.list_keys()] == [str(ada)]
    assert report.warnings == ("the name of the user 'ada' is taken: the user is taken over as 'ada (langflow)'",)
    again = await take()
    assert became(again, ada)[0] is PRESENT


async def test_a_name_that_is_taken_twice(db, ada, take, store, clock):
    """Where the second choice is taken as well the user's id is in the name; then it is the name, and then numbered."""
    for name in ("ada", "ada (langflow)"):
        await lifecycle.add_owner(store, name, clock=clock)
    bob = db.user("bob")
    for name in ("bob", "bob (langflow)", f"bob (langflow {bob})"):
        await lifecycle.add_owner(store, name, clock=clock)
    eve = db.user("eve")
    for name in ("eve", "eve (langflow)", f"eve (langflow {eve})", str(eve), f"{eve} (2)"):
        await lifecycle.add_owner(store, name, clock=clock)
    await take()
    assert (await store.get_owner(str(ada))).name == f"ada (langflow {ada})"
    assert (await store.get_owner(str(bob))).name == str(bob)
    assert (await store.get_owner(str(eve))).name == f"{eve} (3)"
    assert (await take()).changes == 0


async def test_an_id_that_is_taken(db, take, store, clock):
    """Whoever writes the id of another owner into Langflow's database gets no key with that owner's rights."""
    boss = await lifecycle.add_owner(store, "boss", is_superuser=True, clock=clock)
    eve = db.user("eve", id=UUID(boss.id))
    key, variable = db.key(eve, a_key("one")), db.variable(eve, "TOKEN", "a value", kind="Generic")
    report = await take()
    assert became(report, eve) == (LEFT_OUT, {Note.BCRYPT, Note.ID_TAKEN})
    assert became(report, key) == (LEFT_OUT, {Note.PLAINTEXT_KEY, Note.OWNER_LEFT_OUT})
    assert became(report, variable)[0] is LEFT_OUT
    assert (await store.list_owners(), await store.list_keys(), await store.list_credentials()) == ([boss], [], [])


async def test_a_name_that_is_too_long(db, take):
    """A user is left out whose name no index takes, with whatever stands behind it; the others come."""
    longest, longer = db.user("🥄" * 600), db.user("🥄" * 601, id=UUID(int=3))
    report = await take()
    assert became(report, longest)[0] is NEW
    assert became(report, longer) == (LEFT_OUT, {Note.TOO_LONG, Note.BCRYPT})


async def test_two_users_of_one_name(db, take, store):
    """Where two users have one name, which no release allows and SQL does, the second one gets another."""
    db.user("ada")
    other = db.user("ada", id=UUID(int=2))
    report = await take()
    assert report.notes(USERS)[Note.NAME_TAKEN] == 1
    assert [owner.id for owner in await store.list_owners() if owner.name == "ada (langflow)"] == [str(other)]


async def test_names_that_differ_by_case(db, take, store):
    """Names that differ by their letter case are two names, as in Langflow before 1.13."""
    db.user("Ann")
    db.user("ann")
    await take()
    assert [owner.name for owner in await store.list_owners()] == ["Ann", "ann"]


@pytest.mark.parametrize("column", ["is_active", "is_superuser", "username"])
async def test_a_user_that_differs(db, ada, take, store, column):
    """A user that was changed in Langflow since is reported, and the owner stays as it is."""
    await take()
    owners = await store.list_owners()
    db.users[0][column] = {"is_active": False, "is_superuser": True, "username": "grace"}[column]
    report = await take()
    (item,) = report.items
    assert (item.outcome, item.differs) == (DIFFERENT, (column.removeprefix("is_").replace("username", "name"),))
    assert (report.changes, await store.list_owners()) == (0, owners)


async def test_users_that_cannot_be_taken(db, take, store):
    """A user without a name, or with the id of another one, is left out."""
    ada = db.user("ada")
    nobody = db.user("", id=UUID(int=1))
    db.users.append(db.users[0] | {"username": "grace", "id": str(ada).upper()})
    db.user("lost", id="no id")
    report = await take()
    assert became(report, nobody) == (LEFT_OUT, {Note.BCRYPT, Note.UNREADABLE})
    assert [owner.name for owner in await store.list_owners()] == ["ada"]
    assert report.notes(USERS)[Note.DUPLICATE] == 1
    assert became(report, "") == (LEFT_OUT, {Note.UNREADABLE})


# --- keys -------------------------------------------------------------------------------------------------------

KEY = a_key("one")
OTHER = a_key("another")


@pytest.mark.parametrize(
    ("stored", "key_hash", "note"),
    [
        (KEY, None, Note.PLAINTEXT_KEY),
        (KEY, hash_of(KEY), Note.PLAINTEXT_KEY),
        (seal(KEY, LONG_SECRET), None, Note.DECRYPTED_KEY),
        (seal(KEY, LONG_SECRET), "", Note.DECRYPTED_KEY),
        (seal(KEY, LONG_SECRET), hash_of(KEY), Note.DECRYPTED_KEY),
        (seal(KEY, SHORT_SECRET), hash_of(KEY), Note.HASH_ONLY),
        ("", hash_of(KEY), Note.HASH_ONLY),
        (None, hash_of(KEY), Note.HASH_ONLY),
    ],
)
async def test_keys_that_are_taken(db, ada, take, store, clock, stored, key_hash, note):
    """A key is taken over whether it is in plain text, encrypted, or known by its hash, with its id and its name."""
    row = db.key(ada, stored, api_key_hash=key_hash)
    report = await take()
    assert became(report, row) == (NEW, {note})
    (record,) = await store.list_keys()
    assert (record.id, record.owner_id, record.name) == (row, str(ada), "laptop")
    assert (record.scopes, record.networks, record.created_at) == (ALL_SCOPES, (), NOON - 20 * DAY)
    assert (record.prefix, record.expires_at, record.disabled_at) == ("sk-", None, None)
    assert record.lookup == record.verifier
    assert record.lookup.startswith("sha256$" if note is Note.HASH_ONLY else "hmac-sha256$")
    assert await store.find([record.lookup]) is not None
    with pytest.raises(Conflict):
        await lifecycle.adopt(store, str(ada), KEY, clock=clock)


@pytest.mark.parametrize(
    ("stored", "key_hash", "notes"),
    [
        (None, None, {Note.EMPTY}),
        ("", None, {Note.EMPTY}),
        ("", "no hash", {Note.EMPTY}),
        ("", hash_of(""), {Note.EMPTY}),
        (seal("", LONG_SECRET), None, {Note.DECRYPTED_KEY, Note.EMPTY}),
        pytest.param(seal(KEY, SHORT_SECRET), None, {Note.UNDECRYPTABLE}, id="another secret"),
        (seal(KEY, SHORT_SECRET), hash_of(KEY).upper(), {Note.UNDECRYPTABLE}),
        pytest.param(seal(KEY, LONG_SECRET)[:-2], None, {Note.UNDECRYPTABLE}, id="cut off"),
        ("gAAAAA", hash_of("gAAAAA"), {Note.UNDECRYPTABLE}),
        (KEY[:-1], None, {Note.UNKNOWN_FORM}),
        (f"{KEY}x", hash_of(f"{KEY}x"), {Note.UNKNOWN_FORM}),
        (f"{KEY}\n", None, {Note.UNKNOWN_FORM}),
        (hash_of(KEY), hash_of(KEY), {Note.UNKNOWN_FORM}),
        ("sk-" + "*" * 43, hash_of(KEY), {Note.UNKNOWN_FORM}),
        (seal(seal(KEY, LONG_SECRET), LONG_SECRET), None, {Note.DECRYPTED_KEY, Note.UNKNOWN_FORM}),
        (KEY, hash_of(OTHER), {Note.PLAINTEXT_KEY, Note.CONTRADICTING_HASH}),
        (KEY, "no hash", {Note.PLAINTEXT_KEY, Note.CONTRADICTING_HASH}),
        (seal(KEY, LONG_SECRET), hash_of(OTHER), {Note.DECRYPTED_KEY, Note.CONTRADICTING_HASH}),
    ],
)
async def test_keys_that_are_left_out(db, ada, take, store, stored, key_hash, notes):
    """What is not for sure the key that its hash is of, if it has one, is left out, and the reason is counted."""
    row = db.key(ada, stored, api_key_hash=key_hash)
    assert became(await take(), row) == (LEFT_OUT, notes)
    assert await store.list_keys() == []


async def test_a_hash_alone_needs_no_secret(db, ada, take, store):
    """Without a secret a key is taken over by its hash, and one without a hash is left out."""
    db.key(ada, seal(KEY, LONG_SECRET), api_key_hash=hash_of(KEY))
    db.key(ada, seal(OTHER, LONG_SECRET))
    report = await take(secret=None)
    assert report.notes(KEYS) == {Note.HASH_ONLY: 1, Note.UNDECRYPTABLE: 1}
    assert report.warnings == ("2 rows are encrypted, and no secret was given to open them",)
    assert [key.lookup for key in await store.list_keys()] == [f"sha256${hash_of(KEY)}"]


async def test_the_secret_comes_later(db, ada, take, store):
    """What could not be opened is taken over by a second import with the right secret; the rest stays as it is."""
    db.key(ada, seal(KEY, LONG_SECRET), api_key_hash=hash_of(KEY))
    db.key(ada, seal(OTHER, LONG_SECRET))
    await take(secret="another secret")
    report = await take()
    assert report.outcomes(KEYS) == {NEW: 1, PRESENT: 1}
    assert len(await store.list_keys()) == 2


async def test_another_langflows_secret(db, ada, take):
    """A secret that opens nothing is said to be that of another Langflow."""
    db.key(ada, seal(KEY, LONG_SECRET))
    db.variable(ada, "TOKEN", seal("a token", LONG_SECRET))
    report = await take(secret=SHORT_SECRET)
    assert report.warnings == (
        "the secret opened none of the 2 rows that are encrypted: it is that of another Langflow",
    )


@pytest.mark.parametrize("old", [False, True])
async def test_a_short_secret(db, ada, take, store, old):
    """Rows that were sealed with either key of a short secret are opened, row by row."""
    db.key(ada, seal(KEY, SHORT_SECRET, old=old))
    db.key(ada, seal(OTHER, SHORT_SECRET, old=not old))
    report = await take(secret=SHORT_SECRET)
    assert report.notes(KEYS) == {Note.DECRYPTED_KEY: 2}


async def test_keys_that_are_off_or_over(db, ada, take, store):
    """An inactive key comes disabled, an expired one with its expiry; each is said to have been good before."""
    bob = db.user("bob", is_active=False)
    off = db.key(ada, a_key("off"), is_active=False)
    over = db.key(ada, a_key("over"), expires_at=NOON)
    later = db.key(ada, a_key("later"), expires_at=NOON + timedelta(microseconds=1))
    of_bob = db.key(bob, a_key("of bob"))
    report = await take()
    assert became(report, off) == (NEW, {Note.PLAINTEXT_KEY, Note.INACTIVE_KEY})
    assert became(report, over) == (NEW, {Note.PLAINTEXT_KEY, Note.EXPIRED})
    assert became(report, later) == (NEW, {Note.PLAINTEXT_KEY})
    assert became(report, of_bob) == (NEW, {Note.PLAINTEXT_KEY, Note.INACTIVE_OWNER})
    records = {key.id: key for key in await store.list_keys()}
    assert [records[each].disabled_at for each in (off, over, later)] == [NOON, None, None]
    assert [records[each].expires_at for each in (off, over)] == [None, NOON]
    assert "it worked before Langflow 1.10" in Note.INACTIVE_KEY.value


async def test_orphans(db, ada, take, store):
    """A key or a variable of a user that does not exist is left out."""
    key = db.key(UUID(int=7), KEY)
    none = db.key(None, OTHER)
    variable = db.variable(UUID(int=7), "TOKEN", "a token", kind="Generic")
    report = await take()
    assert became(report, key) == became(report, none) == (LEFT_OUT, {Note.PLAINTEXT_KEY, Note.ORPHAN})
    assert became(report, variable) == (LEFT_OUT, {Note.GENERIC, Note.PLAIN_VALUE, Note.ORPHAN})
    assert await store.list_keys() == []


async def test_the_same_key_twice(db, ada, take, store):
    """Of several rows of one key one is taken over: one that lets it in, and the oldest of those."""
    rows = [
        db.key(ada, seal(KEY, LONG_SECRET), is_active=False, created_at=NOON - 90 * DAY),
        db.key(ada, KEY, expires_at=NOON - DAY, created_at=NOON - 80 * DAY),
        db.key(ada, seal(KEY, LONG_SECRET), created_at=NOON - 70 * DAY),
        db.key(ada, "", api_key_hash=hash_of(KEY), created_at=NOON - 60 * DAY),
    ]
    report = await take()
    assert [became(report, row)[0] for row in rows] == [LEFT_OUT, LEFT_OUT, NEW, LEFT_OUT]
    assert report.notes(KEYS)[Note.DUPLICATE] == 3
    assert [key.id for key in await store.list_keys()] == [rows[2]]


async def test_one_key_of_two_users(db, ada, take, store):
    """A key that stands for two users stands for neither: nobody is given another one's rights."""
    rows = [db.key(ada, KEY), db.key(db.user("bob"), seal(KEY, LONG_SECRET)), db.key(ada, OTHER)]
    report = await take()
    assert [became(report, row)[0] for row in rows] == [LEFT_OUT, LEFT_OUT, NEW]
    assert report.notes(KEYS)[Note.SHARED] == 2


async def test_one_id_of_two_keys(db, ada, take, store):
    """Of two rows with one id, written in two ways, the older one is taken."""
    row = db.key(ada, KEY)
    db.key(ada, OTHER, id=row.upper(), created_at=NOON)
    report = await take()
    assert report.outcomes(KEYS) == {NEW: 1, LEFT_OUT: 1}
    assert report.notes(KEYS)[Note.DUPLICATE] == 1


async def test_uses(db, ada, take, store):
    """How often a key was used, and when last, goes on from where it was."""
    used = db.key(ada, KEY, total_uses=41, last_used_at=NOON - DAY)
    db.key(ada, OTHER)
    await take()
    assert await store.get_uses([key.id for key in await store.list_keys()]) == {
        used: Usage(total=41, last_used_at=NOON - DAY)
    }


async def test_a_key_that_is_called_by_itself(db, ada, take, store):
    """A name in which the key itself stands is not taken over."""
    db.key(ada, KEY, name=f"my key {KEY}")
    db.key(ada, OTHER, name=None)
    await take()
    assert [key.name for key in await store.list_keys()] == ["", ""]


@pytest.mark.parametrize(
    ("lives", "is_noted"),
    [(None, True), (timedelta(days=91), True), (timedelta(days=90), False), (timedelta(days=-1), False)],
)
async def test_keys_that_live_long(db, ada, take, clock, lives, is_noted):
    """A key that lives longer than the keyring lets a new one live is taken over as it is, and counted."""
    store = MemoryStore(keyring=Keyring(formats=[LANGFLOW_KEYS], max_lifetime=timedelta(days=90)))
    expires_at = lives and NOON + lives
    row = db.key(ada, KEY, expires_at=expires_at)
    outcome, notes = became(await take(store=store, vault=None), row)
    assert (outcome, Note.OUTLIVES_KEYRING in notes) == (NEW, is_noted)
    assert [key.expires_at for key in await store.list_keys()] == [expires_at]


@pytest.mark.parametrize(
    "formats",
    [
        [],
        [
            KeyFormat(
                alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_length=8, max_length=64
            )
        ],
    ],
    ids=["none", "a wide one"],
)
async def test_a_keyring_that_does_not_take_the_keys(db, ada, take, formats):
    """It is said beforehand that the store's keyring would refuse the keys, or take them for chosen ones."""
    store = MemoryStore(keyring=Keyring(peppers=["a pepper of 16 bytes"], formats=formats))
    (warning,) = (await take(store=store, vault=None)).warnings
    assert warning.startswith("the store's keyring does not take Langflow's keys")


# --- variables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "kind", "notes"),
    [
        (seal("a value", LONG_SECRET), "Credential", {Note.CREDENTIAL, Note.DECRYPTED_VALUE}),
        (seal("a value", LONG_SECRET), "Generic", {Note.GENERIC, Note.DECRYPTED_VALUE}),
        (seal("a value", LONG_SECRET), "Text", {Note.OTHER_TYPE, Note.DECRYPTED_VALUE}),
        ("a value", "Generic", {Note.GENERIC, Note.PLAIN_VALUE}),
        ("a value", "Text", {Note.OTHER_TYPE, Note.PLAIN_VALUE}),
        ("a value", "Credential", {Note.CREDENTIAL, Note.PLAIN_CREDENTIAL}),
        ("a value", None, {Note.CREDENTIAL, Note.PLAIN_CREDENTIAL}),
    ],
)
async def test_variables_that_are_taken(db, ada, take, store, vault, stored, kind, notes):
    """A variable goes into the vault with what Langflow knew of it; whether it is sealed is seen by its text."""
    row = db.variable(ada, "TOKEN", stored, kind=kind, fields=["token"])
    assert became(await take(), row) == (NEW, notes)
    assert await vault.get(str(ada), "TOKEN") == "a value"
    (credential,) = await store.list_credentials()
    assert credential.metadata == {"type": kind or "Credential", "default_fields": ["token"]}
    assert (credential.created_at, credential.updated_at) == (NOON - 10 * DAY, NOON - 5 * DAY)


@pytest.mark.parametrize(
    ("name", "stored", "notes"),
    [
        pytest.param("TOKEN", seal("a value", SHORT_SECRET), {Note.UNDECRYPTABLE}, id="another secret"),
        pytest.param("TOKEN", seal("a value", LONG_SECRET)[:-8], {Note.UNDECRYPTABLE}, id="cut off"),
        pytest.param("TOKEN", "gAAAAA", {Note.UNDECRYPTABLE}, id="nothing but the beginning"),
        ("TOKEN", seal("", LONG_SECRET), {Note.DECRYPTED_VALUE, Note.EMPTY}),
        ("TOKEN", "", {Note.EMPTY}),
        ("TOKEN", None, {Note.EMPTY}),
        ("__disabled_models__", "[]", {Note.PLAIN_VALUE, Note.LANGFLOW_SETTING}),
        ("", "a value", {Note.PLAIN_VALUE, Note.UNREADABLE}),
        ("T" * 256, "a value", {Note.PLAIN_VALUE, Note.TOO_LONG}),
        pytest.param("TOKEN", "ü" * 32_769, {Note.PLAIN_VALUE, Note.TOO_LONG}, id="too long"),
    ],
)
async def test_variables_that_are_left_out(db, ada, take, store, name, stored, notes):
    """What has no value, or cannot be opened, and what is Langflow's own, is left out."""
    row = db.variable(ada, name, stored, kind="Generic")
    assert became(await take(), row) == (LEFT_OUT, {Note.GENERIC} | notes)
    assert await store.list_credentials() == []


async def test_a_variable_that_fills_very_many_fields(db, ada, take):
    """What the vault does not take beside a value leaves the variable out, and nothing else."""
    row = db.variable(ada, "TOKEN", "a value", kind="Generic", fields=[f"field {number}" for number in range(900)])
    assert became(await take(), row) == (LEFT_OUT, {Note.GENERIC, Note.PLAIN_VALUE, Note.TOO_LONG})


@pytest.mark.parametrize(
    "times",
    [
        {"created_at": NOON - 9 * DAY, "updated_at": NOON - DAY},
        {"created_at": NOON - DAY, "updated_at": None},
    ],
    ids=["changed", "made"],
)
async def test_variables_of_one_name(db, ada, take, vault, times):
    """Of several variables of one name the one that was changed or made last is taken, unless that is empty."""
    db.variable(ada, "TOKEN", "old", kind="Generic", created_at=NOON - 3 * DAY, updated_at=NOON - 2 * DAY)
    db.variable(ada, "TOKEN", "new", kind="Generic", **times)
    db.variable(ada, "TOKEN", "without a time", kind="Generic", created_at=None, updated_at=None)
    db.variable(ada, "TOKEN", "", kind="Generic", updated_at=NOON)
    db.variable(db.user("bob"), "TOKEN", "of bob", kind="Generic")
    report = await take()
    assert report.outcomes(VARIABLES) == {NEW: 2, LEFT_OUT: 3}
    assert await vault.get(str(ada), "TOKEN") == "new"


async def test_without_a_vault(db, ada, take, store):
    """Without a vault variables are left out, and a later import with one brings them."""
    row = db.variable(ada, "TOKEN", "a value", kind="Generic", created_at=None, updated_at=None)
    assert became(await take(vault=None), row) == (LEFT_OUT, {Note.GENERIC, Note.PLAIN_VALUE, Note.NO_VAULT})
    assert became(await take(), row)[0] is NEW
    (credential,) = await store.list_credentials()
    assert credential.created_at == credential.updated_at == NOON


@pytest.mark.parametrize("how", ["value", "metadata", "secret"])
async def test_a_variable_that_differs(db, ada, take, store, vault, how):
    """A variable that was changed on either side since is reported, and what is in the vault stays as it is."""
    db.variable(ada, "TOKEN", "a value", kind="Generic")
    await take()
    if how == "value":
        await vault.put(str(ada), "TOKEN", "another value", metadata={"type": "Generic", "default_fields": []})
    elif how == "metadata":
        db.variables[0]["default_fields"] = '["token"]'
    else:
        (credential,) = await store.list_credentials()
        await store.remove_credential(str(ada), "TOKEN")
        other = await vault.seal(str(ada), "ANOTHER", "a value")
        await store.put_credential(replace(credential, sealed=other.sealed))
    report = await take()
    (item,) = (item for item in report.items if item.kind is VARIABLES)
    assert (item.outcome, item.differs) == (DIFFERENT, ("metadata" if how == "metadata" else "value",))
    assert report.changes == 0


# --- once more --------------------------------------------------------------------------------------------------


async def fill(db):
    ada, bob = db.user("ada", is_superuser=True), db.user("bob", is_active=False)
    db.key(ada, KEY, api_key_hash=hash_of(KEY), total_uses=4, last_used_at=NOON - DAY)
    db.key(ada, seal(OTHER, LONG_SECRET), expires_at=NOON - DAY, name="over")
    db.key(bob, seal(a_key("sealed"), SHORT_SECRET), api_key_hash=hash_of(a_key("sealed")), is_active=False, name=None)
    db.key(bob, "no key", name="no key")
    db.variable(ada, "TOKEN", seal("a token", LONG_SECRET), fields=["token"])
    db.variable(bob, "REGION", "eu", kind="Generic")
    return ada, bob


async def test_a_second_time_changes_nothing(db, take, store, monkeypatch):
    """A second import writes nothing, not even an event or nothing at all, and says that all is there."""
    await fill(db)
    first = await take()
    assert first.changes == 7
    before = [await store.list_owners(), await store.list_keys(), await store.list_credentials()]
    events = await store.list_events()
    monkeypatch.setattr(store, "add_all", None)
    second = await take()
    assert second.changes == 0
    assert [second.outcomes(kind) for kind in Kind] == [{PRESENT: 2}, {PRESENT: 3, LEFT_OUT: 1}, {PRESENT: 2}]
    assert [await store.list_owners(), await store.list_keys(), await store.list_credentials()] == before
    assert await store.list_events() == events


async def test_what_is_new_is_added(db, take, store):
    """If the source has grown meanwhile only what is new is taken over."""
    ada, _ = await fill(db)
    await take()
    new = db.key(ada, a_key("new"))
    report = await take()
    assert [item.id for item in report.items if item.outcome is NEW] == [new]
    assert len(await store.list_keys()) == 4


async def test_the_events(db, take, store):
    """Each owner, key and credential that is taken over has its event, with who did it and where it is from."""
    ada, bob = await fill(db)
    await take(actor="cli:root")
    events = (await store.list_events())[::-1]
    assert {(event.at, event.actor, event.detail["from"]) for event in events} == {(NOON, "cli:root", "langflow")}
    owners = {event.owner_id: event.detail for event in events if event.kind is AuditKind.OWNER_IMPORTED}
    flags = {"is_active": True, "is_superuser": True, "has_password": True}
    assert owners[str(ada)] == {"from": "langflow", "name": "ada"} | flags
    assert owners[str(bob)] == {"from": "langflow", "name": "bob"} | flags | {"is_active": False, "is_superuser": False}
    for key in await store.list_keys():
        (event,) = await store.list_events(key_id=key.id)
        assert event.detail["name"] == key.name
        assert event.detail["scopes"] == ["*"]
        assert (event.detail["expires_at"] is None) == (key.expires_at is None)
        assert (event.detail["disabled_at"] is None) == (key.disabled_at is None)
    assert [(event.kind, event.owner_id, event.detail["name"]) for event in events if event.key_id is None] == [
        (AuditKind.OWNER_IMPORTED, str(ada), "ada"),
        (AuditKind.OWNER_IMPORTED, str(bob), "bob"),
        (AuditKind.CREDENTIAL_IMPORTED, str(ada), "TOKEN"),
        (AuditKind.CREDENTIAL_IMPORTED, str(bob), "REGION"),
    ]
    keys = {key.id: key.owner_id for key in await store.list_keys()}
    assert {event.key_id: event.owner_id for event in events if event.kind is AuditKind.KEY_IMPORTED} == keys


@pytest.mark.parametrize("change", ["rename", "disable", "revoke", "rotate"])
async def test_a_key_that_differs(db, ada, take, store, clock, change):
    """A key that was changed in Keyguard since is reported by what differs, and stays as it was changed."""
    row = db.key(ada, KEY)
    await take()
    match change:
        case "rename":
            await lifecycle.rename(store, row, "renamed", clock=clock)
        case "disable":
            await lifecycle.disable(store, row, clock=clock)
        case "revoke":
            await lifecycle.revoke(store, row, clock=clock)
        case "rotate":
            await lifecycle.rotate(store, row, grace=DAY, clock=clock)
    changed = await store.list_keys()
    report = await take()
    (item,) = (item for item in report.items if item.kind is KEYS)
    differs = {"rename": "name", "disable": "state", "revoke": "state", "rotate": "expiry"}
    assert (item.outcome, item.differs) == (DIFFERENT, (differs[change],))
    assert (report.changes, await store.list_keys()) == (0, changed)


async def test_a_key_that_is_another_by_now(db, ada, take, store):
    """A row that has another key by now, or belongs to another user, is reported and not taken."""
    db.key(ada, KEY)
    moved = db.key(ada, OTHER)
    await take()
    db.keys[0]["api_key"] = a_key("changed")
    db.keys[1]["user_id"] = db.user("bob")
    report = await take()
    assert [(item.id == moved, item.differs) for item in report.items if item.outcome is DIFFERENT] == [
        (False, ("key",)),
        (True, ("owner",)),
    ]


async def test_a_key_that_was_adopted_before(db, ada, take, store, clock):
    """A key that is there already, under whatever id, is found by its digest."""
    await take()
    await lifecycle.adopt(store, str(ada), KEY, name="laptop", clock=clock)
    row = db.key(ada, KEY)
    by_hash = db.key(ada, "", api_key_hash=hash_of(OTHER), name="by its hash")
    report = await take()
    assert became(report, row)[0] is PRESENT
    assert became(report, by_hash)[0] is NEW


async def test_a_hash_that_was_upgraded(db, ada, take, store):
    """A key that came by its hash, and has a digest under the pepper since, is known by its id."""
    row = db.key(ada, "", api_key_hash=hash_of(KEY))
    await take()
    record = await store.get_key(row)
    assert await store.upgrade(row, verifier=record.verifier, new_lookup="hmac-sha256$1", new_verifier="hmac-sha256$1")
    assert became(await take(), row)[0] is PRESENT


async def test_what_was_removed_stays_away(db, ada, take, store, vault, clock):
    """A key that was revoked and purged since, or a credential that was removed, is not brought back."""
    row = db.key(ada, KEY)
    variable = db.variable(ada, "TOKEN", "a value", kind="Generic")
    await take()
    await lifecycle.revoke(store, row, clock=lambda: NOON - DAY)
    assert await lifecycle.purge(store, NOON, clock=clock) == 1
    await vault.remove(str(ada), "TOKEN")
    report = await take()
    assert (became(report, row)[0], became(report, variable)[0], report.changes) == (REMOVED, REMOVED, 0)


async def test_an_owner_who_was_deleted(database_store_of_file, db, take):
    """An owner who was deleted from the table since stays away, and so do its keys and variables."""
    store, vault = database_store_of_file
    ada = db.user("ada")
    key, variable = db.key(ada, KEY), db.variable(ada, "TOKEN", "a value", kind="Generic")
    await take(store=store, vault=vault)
    async with store._database.engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM keyguard_owners")
    report = await take(store=store, vault=vault)
    assert became(report, ada)[0] is REMOVED
    assert became(report, key) == (LEFT_OUT, {Note.PLAINTEXT_KEY, Note.OWNER_LEFT_OUT})
    assert became(report, variable)[0] is LEFT_OUT


class Racing(MemoryStore):
    """A store in which somebody else is faster."""

    async def add_all(self, **new):
        await super().add_all(owners=new["owners"])
        await super().add_all(**new)


async def test_somebody_else_is_faster(db, ada, file, clock, keyring):
    """If the store changes at the very moment of writing nothing is written, and it is said to begin again."""
    store = Racing(keyring=keyring)
    plan = await langflow.plan(db.write_file(file), store, clock=clock)
    with pytest.raises(Conflict, match="begin again"):
        await langflow.carry_out(plan, store, clock=clock)


async def test_a_plan_is_carried_out_on_what_is_there(db, ada, file, clock, store):
    """What has come into the store since the plan was made is left as it is."""
    db.key(ada, KEY)
    url = db.write_file(file)
    plan = await langflow.plan(url, store, clock=clock)
    assert await store.list_owners() == []
    await langflow.carry_out(plan, store, clock=clock)
    report = await langflow.carry_out(plan, store, clock=clock)
    assert (plan.expected.changes, report.changes) == (2, 0)


# --- where owners live ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_table", [False, True], ids=["own owners", "the app's users"])
async def test_the_same_database(request, db, clock, own_table, keyring, kind):
    """Keyguard's tables may stand beside Langflow's, and its owners may be Langflow's own users."""
    place = request.getfixturevalue("file" if kind == "sqlite" else "postgres_url")
    ada = db.user("ada", is_superuser=True)
    bob = db.user("bob", is_active=False)
    db.key(ada, KEY)
    db.key(bob, OTHER)
    db.variable(ada, "TOKEN", seal("a token", LONG_SECRET))
    url = await db.write(place)
    users = UserTable("user", name="username", id_type=String() if kind == "sqlite" else Uuid()) if own_table else None
    store = SQLStore(place if isinstance(place, str) else f"sqlite+aiosqlite:///{place}", keyring=keyring, users=users)
    await store.create_schema()
    vault = a_vault(store)
    for changes in (3 if own_table else 5, 0):
        plan = await langflow.plan(url, store, secret=LONG_SECRET, vault=vault, clock=clock)
        report = await langflow.carry_out(plan, store, vault=vault, clock=clock)
        assert report.changes == changes
    assert report.outcomes(USERS) == {PRESENT: 2}
    owner = await store.find_owner("ada")
    assert UUID(owner.id) == ada
    assert await vault.get(owner, "TOKEN") == "a token"
    assert {UUID(key.owner_id) for key in await store.list_keys()} == {ada, bob}
    await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request):
    return request.param


async def test_users_that_the_app_does_not_have(db, ada, take, tmp_path, keyring):
    """Where owners live in the app's own table, users that are not in it are left out, with what is theirs."""
    bob = db.user("bob")
    key, of_bob = db.key(ada, KEY), db.key(bob, OTHER)
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY, is_active BOOLEAN, is_superuser BOOLEAN)")
        connection.executemany("INSERT INTO users VALUES (?, 1, 0)", [[str(ada)], ["another program's"]])
    store = SQLStore(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}", keyring=keyring, users=UserTable("users"))
    await store.create_schema()
    report = await take(store=store, vault=None)
    await store.close()
    assert [became(report, each)[0] for each in (ada, bob, key, of_bob)] == [PRESENT, LEFT_OUT, NEW, LEFT_OUT]
    assert Note.NOT_IN_APP_TABLE in became(report, bob)[1]
    assert Note.OWNER_LEFT_OUT in became(report, of_bob)[1]


# --- the report -------------------------------------------------------------------------------------------------


async def test_the_lines(db, take):
    """A report reads as lines: what becomes of how many rows, what there is to say of them, and why some are left."""
    await fill(db)
    assert [*(await take()).lines()] == [
        "users: 2",
        "  2 new: taken over",
        f"    1 {Note.INACTIVE_USER.value}",
        "    1 superuser",
        f"    2 {Note.BCRYPT.value}",
        "keys: 4",
        "  3 new: taken over",
        f"    1 {Note.PLAINTEXT_KEY.value}",
        f"    1 {Note.DECRYPTED_KEY.value}",
        f"    1 {Note.HASH_ONLY.value}",
        f"    1 {Note.INACTIVE_KEY.value}",
        f"    1 {Note.INACTIVE_OWNER.value}",
        f"    1 {Note.EXPIRED.value}",
        "  1 left out",
        f"    1 {Note.UNKNOWN_FORM.value}",
        "variables: 2",
        "  2 new: taken over",
        f"    1 {Note.CREDENTIAL.value}",
        f"    1 {Note.GENERIC.value}",
        f"    1 {Note.DECRYPTED_VALUE.value}",
        f"    1 {Note.PLAIN_VALUE.value}",
    ]


async def test_arguments(db, ada, file, store, clock):
    """A secret that cannot be Langflow's, and an actor that is none, are refused before anything is written."""
    url = db.write_file(file)
    with pytest.raises(ConfigurationError, match="cannot be Langflow's secret"):
        await langflow.plan(url, store, secret="x" * 33)
    plan = await langflow.plan(url, store, clock=clock)
    with pytest.raises(ConfigurationError, match="actor is"):
        await langflow.carry_out(plan, store, actor=7)
    assert await store.list_owners() == []
