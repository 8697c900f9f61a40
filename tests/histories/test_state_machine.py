"""Several authenticators, each with a store of its own over one database, say what a plain dict says.

Whatever is done in whatever order: by calls of the library, in SQL behind its back, in transactions that are held open
or rolled back, with the file replaced by an older copy of itself. Nothing waits for its time: the clock that keys are
judged by, and the one by which the file is looked at, are moved on by hand.
"""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keyguard import lifecycle
from keyguard.authenticator import Authenticator
from keyguard.errors import Conflict, NotFound
from keyguard.extract import Sources
from keyguard.journal import Journal
from keyguard.model import ALL_SCOPES, Allowed, Reason, Requirement
from keyguard.settings import Policy
from keyguard.stores._lease import LEASE
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, FrozenClock

SOURCES = Sources(header="x-api-key", query=None, bearer=False, prefixes=("kg_",))
WHO = st.integers(0, 2)
"""Which of the three authenticators, and of their stores."""
WHICH = st.integers(0, 20)
"""Which key, counted from the newest."""
MORE = 20 if "KEYGUARD_HISTORIES" in os.environ else 1
"""How many times as many examples the long session tries."""


# --- the model ------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class ModelKey:
    text: str
    owner: str
    exists: bool = True
    revoked: bool = False
    disabled: bool = False
    restricted: bool = False
    rotated: bool = False
    ends: float = float("inf")


@dataclass(kw_only=True)
class ModelOwner:
    active: bool = True
    superuser: bool = False


class Model:
    """What a check must say, by two dicts and the seconds that have passed."""

    def __init__(self, owners):
        self.owners = {name: ModelOwner() for name in owners}
        self.keys = {}

    def reasons(self, key_id, now):
        """All reasons there are to refuse a key."""
        key = self.keys[key_id]
        if not key.exists:
            return {Reason.UNKNOWN}
        true = {
            Reason.REVOKED: key.revoked,
            Reason.DISABLED: key.disabled,
            Reason.EXPIRED: now >= key.ends,
            Reason.OWNER_INACTIVE: not self.owners[key.owner].active,
        }
        return {reason for reason, is_true in true.items() if is_true}

    def rights(self, key_id):
        key = self.keys[key_id]
        return self.owners[key.owner].superuser and not key.restricted, frozenset() if key.restricted else ALL_SCOPES

    def change(self, key_id, whose, values):
        key = self.keys[key_id]
        for name, value in values.items():
            setattr(key if whose == "key" else self.owners[key.owner], name, value)


RAW = {
    # What is done in SQL, and what it means to the model's key or its owner.
    "UPDATE keyguard_keys SET revoked_at = 1 WHERE id = :key": ("key", {"revoked": True}),
    "UPDATE keyguard_keys SET revoked_at = NULL WHERE id = :key": ("key", {"revoked": False}),
    "UPDATE keyguard_keys SET disabled_at = 1 WHERE id = :key": ("key", {"disabled": True}),
    "UPDATE keyguard_keys SET disabled_at = NULL WHERE id = :key": ("key", {"disabled": False}),
    "UPDATE keyguard_keys SET expires_at = 1 WHERE id = :key": ("key", {"ends": -1}),
    "UPDATE keyguard_keys SET expires_at = NULL WHERE id = :key": ("key", {"ends": float("inf")}),
    "UPDATE keyguard_keys SET scopes = '[]' WHERE id = :key": ("key", {"restricted": True}),
    "UPDATE keyguard_keys SET scopes = '[\"*\"]' WHERE id = :key": ("key", {"restricted": False}),
    "UPDATE keyguard_keys SET name = 'renamed' WHERE id = :key": ("key", {}),
    "DELETE FROM keyguard_keys WHERE id = :key": ("key", {"exists": False}),
    "UPDATE keyguard_owners SET is_active = false WHERE id = :owner": ("owner", {"active": False}),
    "UPDATE keyguard_owners SET is_active = true WHERE id = :owner": ("owner", {"active": True}),
    "UPDATE keyguard_owners SET is_superuser = true WHERE id = :owner": ("owner", {"superuser": True}),
    "UPDATE keyguard_owners SET is_superuser = false WHERE id = :owner": ("owner", {"superuser": False}),
}


# --- the machine ----------------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Each rule does one thing to the database and to the model; whatever it was, the key that it touched is tried."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.names = [f"ada-{uuid4()}", f"bob-{uuid4()}"]
        self.model, self.clock, self.moved_on = Model(self.names), FrozenClock(), 0.0
        self.touched = None
        self.open_transaction = None

    def run(self, call):
        return self.loop.run_until_complete(call)

    # --- the database, which is another one in each machine ---

    @initialize()
    def begin(self):
        self.url = self.make_database()
        self.stores = [SQLStore(self.url) for _ in range(3)]
        self.run(self.stores[0].create_schema())
        self.guards = [Authenticator(store, Policy(), journal=Journal(), clock=self.clock) for store in self.stores]
        for guard in self.guards:
            self.run(guard.open())
        for name in self.names:
            self.run(lifecycle.add_owner(self.stores[0], name, id=name, clock=self.clock))
        self.issue(0, 0, None)

    def teardown(self):
        if hasattr(self, "guards"):
            self.roll_back_what_is_open()
            for guard, store in zip(self.guards, self.stores, strict=True):
                self.run(guard.close())
                self.run(store.close())
            self.remove_database()
        self.loop.close()

    def roll_back_what_is_open(self):
        if self.open_transaction is not None:
            self.execute("ROLLBACK")
            self.open_transaction = None

    # --- what is asked ---

    async def answer(self, guard, key_id):
        """Return with what rights the key passed, as a superuser or not, or why it did not pass."""
        presented = SOURCES.extract([(b"x-api-key", self.model.keys[key_id].text.encode())], b"")
        decision = (await guard.authenticate(Requirement.REQUIRED, presented, None)).decision
        if isinstance(decision, Allowed):
            assert decision.principal.id == self.model.keys[key_id].owner
            return decision.principal.is_superuser, decision.principal.scopes
        return decision.reason

    def expect(self, key_id, answer):
        reasons = self.model.reasons(key_id, self.seconds())
        if reasons:
            assert answer in reasons
        else:
            assert answer == self.model.rights(key_id)

    def seconds(self):
        return (self.clock.now - NOON).total_seconds()

    @rule(which=WHICH, who=WHO)
    def use(self, which, who):
        key_id = self.chosen(which)
        self.expect(key_id, self.run(self.answer(self.guards[who], key_id)))

    @rule()
    def use_all_at_once(self):
        """Every key at every authenticator, twice: so that reads are shared."""
        asked = [(guard, key_id) for guard in self.guards for key_id in self.model.keys] * 2

        async def ask():
            return await asyncio.gather(*(self.answer(guard, key_id) for guard, key_id in asked))

        for (_, key_id), answer in zip(asked, self.run(ask()), strict=True):
            self.expect(key_id, answer)

    @invariant()
    def what_was_touched_is_known_everywhere(self):
        if self.touched is not None:
            for guard in self.guards:
                self.expect(self.touched, self.run(self.answer(guard, self.touched)))

    def chosen(self, which):
        self.touched = list(self.model.keys)[-1 - which % len(self.model.keys)]
        return self.touched

    # --- what the library does ---

    nothing_open = precondition(lambda self: self.open_transaction is None)

    def call(self, call):
        """Make a call of the library; tell whether it found what it was to change."""
        try:
            return self.run(call)
        except (Conflict, NotFound):
            return None

    @nothing_open
    @rule(who=WHO, whose=st.integers(0, 1), seconds=st.sampled_from([None, 30, 90]))
    def issue(self, who, whose, seconds):
        owner = self.names[whose]
        expires_at = None if seconds is None else self.clock.now + timedelta(seconds=seconds)
        issued = self.run(lifecycle.issue(self.stores[who], owner, expires_at=expires_at, clock=self.clock))
        ends = float("inf") if seconds is None else self.seconds() + seconds
        self.model.keys[issued.record.id] = ModelKey(text=issued.key.reveal(), owner=owner, ends=ends)
        self.touched = issued.record.id

    @nothing_open
    @rule(who=WHO, which=WHICH, grace=st.sampled_from([0, 20]))
    def rotate(self, who, which, grace):
        key = self.model.keys[key_id := self.chosen(which)]
        grace_ = timedelta(seconds=grace)
        issued = self.call(lifecycle.rotate(self.stores[who], key_id, grace=grace_, clock=self.clock))
        assert (issued is None) == (not key.exists or key.rotated or key.revoked or key.ends <= self.seconds())
        if issued is not None:
            self.model.keys[issued.record.id] = ModelKey(
                text=issued.key.reveal(),
                owner=key.owner,
                disabled=key.disabled,
                restricted=key.restricted,
                ends=key.ends,
            )
            key.rotated = True
            key.revoked, key.ends = grace == 0, min(key.ends, self.seconds() + grace) if grace else key.ends

    @nothing_open
    @rule(who=WHO, which=WHICH)
    def revoke(self, who, which):
        key = self.model.keys[key_id := self.chosen(which)]
        done = self.call(lifecycle.revoke(self.stores[who], key_id, clock=self.clock))
        assert done is (not key.revoked if key.exists else None)
        key.revoked = True

    @nothing_open
    @rule(who=WHO, which=WHICH, disabled=st.booleans())
    def disable_or_enable(self, who, which, disabled):
        store, key_id = self.stores[who], self.chosen(which)
        self.call(lifecycle.disable(store, key_id, clock=self.clock) if disabled else lifecycle.enable(store, key_id))
        self.model.keys[key_id].disabled = disabled

    @nothing_open
    @rule(who=WHO, which=WHICH, active=st.booleans())
    def deactivate_or_activate(self, who, which, active):
        owner = self.model.keys[self.chosen(which)].owner
        self.run((lifecycle.activate if active else lifecycle.deactivate)(self.stores[who], owner))
        self.model.owners[owner].active = active

    @nothing_open
    @rule(who=WHO, which=WHICH, superuser=st.booleans())
    def set_superuser(self, who, which, superuser):
        owner = self.model.keys[self.chosen(which)].owner
        self.run(lifecycle.set_superuser(self.stores[who], owner, superuser=superuser))
        self.model.owners[owner].superuser = superuser

    @nothing_open
    @rule(who=WHO, which=WHICH)
    def rename(self, who, which):
        self.call(lifecycle.rename(self.stores[who], self.chosen(which), "another name"))

    # --- what is done behind its back ---

    def execute(self, statement, key_id=None):
        """Execute SQL over a connection of which the library knows nothing."""
        raise NotImplementedError

    @nothing_open
    @rule(which=WHICH, statements=st.lists(st.sampled_from(sorted(RAW)), min_size=1, max_size=4))
    def change_in_sql(self, which, statements):
        key_id = self.chosen(which)
        for statement in statements:
            self.what_was_touched_is_known_everywhere()
            self.execute(statement, key_id)
            self.model.change(key_id, *RAW[statement])
            self.seen_in_sql()

    @rule(which=WHICH, statement=st.sampled_from(sorted(RAW)))
    def change_in_a_transaction(self, which, statement):
        """Begin one, or go on in the one that is open: until its end nobody sees it."""
        if self.open_transaction is None:
            self.execute(self.BEGIN)
            self.open_transaction = deepcopy(self.model)
        key_id = self.chosen(which)
        self.execute(statement, key_id)
        self.open_transaction.change(key_id, *RAW[statement])

    @precondition(lambda self: self.open_transaction is not None)
    @rule(commits=st.booleans())
    def end_the_transaction(self, commits):
        self.execute("COMMIT" if commits else "ROLLBACK")
        if commits:
            self.model = self.open_transaction
            self.seen_in_sql()
        self.open_transaction = None

    def seen_in_sql(self):
        """Wait until a change in SQL must have been seen: on SQLite, not at all."""

    @rule(seconds=st.sampled_from([0.5, 10, 40]))
    def time_passes(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))
        self.moved_on += seconds


class SQLiteMachine(Machine):
    """Over a file."""

    BEGIN = "BEGIN IMMEDIATE"

    copy = None

    def make_database(self):
        self.folder = Path(tempfile.mkdtemp(prefix="keyguard-histories-"))
        self.path = self.folder / "keys.db"
        return f"sqlite+aiosqlite:///{self.path}"

    @initialize()
    def begin(self):
        super().begin()
        self.connect()
        for store in self.stores:
            store._voucher._monotonic = lambda: self.moved_on

    def connect(self):
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def execute(self, statement, key_id=None):
        values = {} if key_id is None else {"key": key_id, "owner": self.model.keys[key_id].owner}
        self.connection.execute(statement, values)

    def remove_database(self):
        self.connection.close()
        shutil.rmtree(self.folder)

    @precondition(lambda self: self.open_transaction is None)
    @rule()
    def copy_the_file(self):
        with closing(sqlite3.connect(self.folder / "copy.db")) as copy:
            self.connection.backup(copy)
        self.copy = deepcopy(self.model)

    @precondition(lambda self: self.open_transaction is None and self.copy is not None)
    @rule()
    def replace_the_file_by_its_copy(self):
        """As a backup is put back, under the running program; that is seen within a second."""
        self.connection.close()
        fresh = shutil.copy(self.folder / "copy.db", self.folder / "fresh.db")
        for rest in ("-wal", "-shm"):
            self.path.with_name(f"{self.path.name}{rest}").unlink(missing_ok=True)
        Path(fresh).replace(self.path)
        self.connect()
        known = self.model.keys
        self.model = deepcopy(self.copy)
        for key_id in known.keys() - self.model.keys.keys():
            self.model.keys[key_id] = known[key_id]
            known[key_id].exists = False
        self.moved_on += 1.0


TestOnSQLite = SQLiteMachine.TestCase
TestOnSQLite.settings = settings(
    max_examples=15 * MORE, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)


class PostgreSQLMachine(Machine):
    """Over one database for all examples, each with owners of its own."""

    BEGIN = "BEGIN"

    def __init__(self, url):
        super().__init__()
        self.url_of_all = url

    def make_database(self):
        self.connection = self.run(asyncpg.connect(self.url_of_all.replace("+asyncpg", "")))
        return self.url_of_all

    def execute(self, statement, key_id=None):
        if key_id is None:
            self.run(self.connection.execute(statement))
            return
        of_key = ":key" in statement
        value = key_id if of_key else self.model.keys[key_id].owner
        self.run(self.connection.execute(statement.replace(":key" if of_key else ":owner", "$1"), value))

    def remove_database(self):
        self.run(self.connection.close())

    def seen_in_sql(self):
        until = time.monotonic() + LEASE
        while True:
            is_late = time.monotonic() > until
            try:
                self.use_all_at_once()
            except AssertionError:
                if is_late:
                    raise
            else:
                return


def test_on_postgresql(postgres_url):
    """The same on PostgreSQL, where what is changed in SQL is seen within the lease."""
    run_state_machine_as_test(
        lambda: PostgreSQLMachine(postgres_url),
        settings=settings(max_examples=8 * MORE, stateful_step_count=15, suppress_health_check=list(HealthCheck)),
    )
