"""Whatever is done to a store, in whatever order, it answers like a plain dict."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyguard.errors import Conflict, NotFound
from keyguard.model import Found, Owner
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_digest, make_record

IDS = st.sampled_from(["a", "b", "c", "d"])
NAMES = st.one_of(IDS, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5))
"""Those that can be stored; the contract suite has the others."""
DIGESTS = st.sampled_from([make_digest(str(number)) for number in range(5)])
TIMES = st.integers(0, 10**12).map(lambda microseconds: NOON + timedelta(microseconds=microseconds))
SCOPES = st.sets(st.sampled_from(["*", "flows:read", "mcp:*"])).map(frozenset)


class StoreMachine(RuleBasedStateMachine):
    """Each rule does one thing to the store and to the dicts, and compares what they say."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.owners, self.passwords, self.keys = {}, {}, {}

    def make(self):
        raise NotImplementedError

    @initialize()
    def begin(self):
        self.store = self.make()

    def teardown(self):
        self.run(self.store.close())
        self.loop.close()

    def run(self, call):
        return self.loop.run_until_complete(call)

    def outcome(self, call):
        try:
            return self.run(call)
        except (Conflict, NotFound) as error:
            return type(error)

    @rule(owner_id=IDS, name=NAMES, active=st.booleans(), superuser=st.booleans(), password=st.none() | DIGESTS)
    def add_owner(self, owner_id, name, active, superuser, password):
        owner = Owner(id=owner_id, name=name, is_active=active, is_superuser=superuser)
        taken = owner_id in self.owners or name in {other.name for other in self.owners.values()}
        outcome = self.outcome(self.store.add_owner(owner, created_at=NOON, password=password))
        assert outcome is (Conflict if taken else None)
        if not taken:
            self.owners[owner_id], self.passwords[owner_id] = owner, password

    @rule(owner_id=IDS, active=st.booleans())
    def set_owner_active(self, owner_id, active):
        outcome = self.outcome(self.store.set_owner_active(owner_id, active=active))
        assert outcome is (None if owner_id in self.owners else NotFound)
        if owner_id in self.owners:
            self.owners[owner_id] = replace(self.owners[owner_id], is_active=active)

    @rule(owner_id=IDS, superuser=st.booleans())
    def set_owner_superuser(self, owner_id, superuser):
        outcome = self.outcome(self.store.set_owner_superuser(owner_id, superuser=superuser))
        assert outcome is (None if owner_id in self.owners else NotFound)
        if owner_id in self.owners:
            self.owners[owner_id] = replace(self.owners[owner_id], is_superuser=superuser)

    @rule(owner_id=IDS, password=st.none() | DIGESTS)
    def set_password(self, owner_id, password):
        outcome = self.outcome(self.store.set_password(owner_id, password))
        assert outcome is (None if owner_id in self.owners else NotFound)
        if owner_id in self.owners:
            self.passwords[owner_id] = password

    @rule(key_id=IDS, owner_id=IDS, lookup=DIGESTS, name=NAMES, at=TIMES, scopes=SCOPES, end=st.none() | TIMES)
    def add_key(self, key_id, owner_id, lookup, name, at, scopes, end):
        record = make_record(
            key_id, owner_id, lookup=lookup, verifier=lookup, name=name, created_at=at, scopes=scopes, expires_at=end
        )
        expected = None
        if owner_id not in self.owners:
            expected = NotFound
        elif key_id in self.keys or lookup in {other.lookup for other in self.keys.values()}:
            expected = Conflict
        assert self.outcome(self.store.add_key(record)) is expected
        if expected is None:
            self.keys[key_id] = record

    @rule(key_id=IDS, name=NAMES)
    def rename_key(self, key_id, name):
        assert self.outcome(self.store.rename_key(key_id, name)) is (None if key_id in self.keys else NotFound)
        if key_id in self.keys:
            self.keys[key_id] = replace(self.keys[key_id], name=name)

    @rule(key_id=IDS, at=st.none() | TIMES)
    def set_key_disabled(self, key_id, at):
        assert self.outcome(self.store.set_key_disabled(key_id, at)) is (None if key_id in self.keys else NotFound)
        if key_id in self.keys and (at is None or self.keys[key_id].disabled_at is None):
            self.keys[key_id] = replace(self.keys[key_id], disabled_at=at)

    @rule(key_id=IDS, at=TIMES, reason=NAMES)
    def revoke_key(self, key_id, at, reason):
        record = self.keys.get(key_id)
        expected = NotFound if record is None else record.revoked_at is None
        assert self.outcome(self.store.revoke_key(key_id, at, reason)) is expected
        if expected is True:
            self.keys[key_id] = replace(record, revoked_at=at, revoked_reason=reason)

    @rule(key_id=IDS, verifier=DIGESTS, new_lookup=DIGESTS, new_verifier=DIGESTS)
    def upgrade(self, key_id, verifier, new_lookup, new_verifier):
        record = self.keys.get(key_id)
        taken = {other.lookup for other in self.keys.values() if other.id != key_id}
        expected = record is not None and record.verifier == verifier and new_lookup not in taken
        done = self.run(self.store.upgrade(key_id, verifier=verifier, new_lookup=new_lookup, new_verifier=new_verifier))
        assert done is expected
        if done:
            self.keys[key_id] = replace(record, lookup=new_lookup, verifier=new_verifier)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def upgrade_rightly(self, data):
        record = data.draw(st.sampled_from(sorted(self.keys.values(), key=lambda key: key.id)))
        self.upgrade(record.id, record.verifier, data.draw(DIGESTS), data.draw(DIGESTS))

    @rule(lookups=st.lists(DIGESTS, max_size=1))
    def find(self, lookups):
        found = [Found(key=key, owner=self.owners[key.owner_id]) for key in self.keys.values() if key.lookup in lookups]
        assert self.run(self.store.find(lookups)) == (found[0] if found else None)

    @rule(lookups=st.lists(DIGESTS))
    def find_any(self, lookups):
        found = self.run(self.store.find(lookups))
        assert (found is None) == (not any(key.lookup in lookups for key in self.keys.values()))
        assert found is None or found.key == self.keys[found.key.id]

    @rule(name=NAMES)
    def find_owner(self, name):
        expected = [owner for owner in self.owners.values() if owner.name == name]
        assert self.run(self.store.find_owner(name)) == (expected[0] if expected else None)

    @rule(owner_id=IDS)
    def read_one(self, owner_id):
        assert self.run(self.store.get_owner(owner_id)) == self.owners.get(owner_id)
        assert self.run(self.store.get_password(owner_id)) == self.passwords.get(owner_id)
        keys = [key for key in self.newest_first() if key.owner_id == owner_id]
        assert self.run(self.store.list_keys(owner_id)) == keys

    def newest_first(self):
        return sorted(self.keys.values(), key=lambda key: (key.created_at, key.id), reverse=True)

    @invariant()
    def all_is_as_in_the_dicts(self):
        if hasattr(self, "store"):
            assert self.run(self.store.list_keys()) == self.newest_first()
            assert self.run(self.store.list_owners()) == sorted(self.owners.values(), key=lambda owner: owner.name)


class MemoryMachine(StoreMachine):
    def make(self):
        return MemoryStore()


class SQLMachine(StoreMachine):
    def make(self):
        store = SQLStore("sqlite+aiosqlite://")
        self.run(store.create_schema())
        return store


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestSQLStore = SQLMachine.TestCase
TestSQLStore.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
