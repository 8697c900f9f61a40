"""Whatever is done to a store, in whatever order, it answers like plain dicts and a list."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyguard.errors import Changed, Conflict, NotFound
from keyguard.model import (
    AuditKind,
    Found,
    KeyOrder,
    KeyQuery,
    KeyState,
    ListedKey,
    NewOwner,
    Owner,
    SessionFound,
    Usage,
)
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore
from keyguard.testing import NOON, make_credential, make_digest, make_event, make_record, make_session
from keyguard.testing._search import answer

IDS = st.sampled_from(["a", "b", "c", "d"])
NAMES = st.one_of(IDS, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5))
"""Those that can be stored; the contract suite has the others."""
DIGESTS = st.sampled_from([make_digest(str(number)) for number in range(8)])
TIMES = st.one_of(
    st.integers(-2, 2).map(lambda microseconds: NOON + timedelta(microseconds=microseconds)),
    st.integers(0, 10**12).map(lambda microseconds: NOON + timedelta(microseconds=microseconds)),
)
"""Few moments, so that some fall together, and many."""
LOOKUPS = st.sampled_from(["one", "two", "three"])
TEXTS = st.one_of(st.sampled_from(["", "", "o", "OWNER A", "KG_", "%", "_", "\\"]), NAMES)
QUERIES = st.one_of(
    st.builds(KeyQuery, order=st.sampled_from(KeyOrder), descending=st.booleans()),
    st.builds(KeyQuery, text=TEXTS),
    st.builds(
        KeyQuery,
        owner_id=st.none() | IDS,
        text=TEXTS,
        states=st.frozensets(st.sampled_from(KeyState), max_size=4),
        expires_from=st.none() | TIMES,
        expires_before=st.none() | TIMES,
        order=st.sampled_from(KeyOrder),
        descending=st.booleans(),
    ),
)
SCOPES = st.sets(st.sampled_from(["*", "flows:read", "mcp:*"])).map(frozenset)
NOTES = st.sampled_from(["{}", '{"a": 1}', '{ "ü": ["\\u0000"] }'])
STATES = st.sampled_from(KeyState)
BEGINNINGS = st.sampled_from(["", "k", "kg_", "kg_a", "kg_b", "KG_", "kg__", "%", "a"])
CHECKS = st.sampled_from(["check-1", "check-2", "check-3"])
LIMITS = st.none() | st.integers(0, 3)
STALE = st.sampled_from(
    [None, None, {}, {}, {"name": "stale"}, *({name: NOON} for name in ("expires_at", "disabled_at", "rotated_at"))]
)
"""What a caller expects of a key: nothing, what it is, or what it may have been."""


class StoreMachine(RuleBasedStateMachine):
    """Each rule does one thing to the store and to the dicts, and compares what they say.

    `events` are those that the store must have, the oldest first, without their numbers.
    """

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.owners, self.passwords, self.keys, self.uses, self.credentials = {}, {}, {}, {}, {}
        self.sessions = {}
        self.events, self.told, self.batches = [], 0, 0

    def make(self):
        raise NotImplementedError

    @initialize(ends=st.tuples(st.none() | TIMES, st.none() | TIMES))
    def begin(self, ends):
        """Begin with two owners, who have a key each: where there is nothing, most rules have nothing to change."""
        self.store = self.make()
        for number, (each, end) in enumerate(zip("ab", ends, strict=True)):
            self.add_owner(each, f"owner {each}", active=True, superuser=False, password=make_digest("0"))
            self.add_key(each, each, make_digest(str(number)), each, NOON, frozenset({"*"}), None, end, "{}")

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

    def event(self, kind, **fields):
        """Make an event that is told from all others."""
        self.told += 1
        at = NOON + timedelta(minutes=self.told % 7)
        return make_event(kind, actor=f"actor {self.told}", at=at, detail={"n": [self.told]}, **fields)

    def note(self, *events):
        """Note what the store must have noted, when the keys are as they are now."""
        for event in events:
            owner_id = event.owner_id
            if owner_id is None and event.key_id in self.keys:
                owner_id = self.keys[event.key_id].owner_id
            self.events.append(replace(event, owner_id=owner_id))

    # --- owners ---

    @rule(owner_id=IDS, name=NAMES, active=st.booleans(), superuser=st.booleans(), password=st.none() | DIGESTS)
    def add_owner(self, owner_id, name, active, superuser, password):
        owner = Owner(id=owner_id, name=name, is_active=active, is_superuser=superuser)
        event = self.event(AuditKind.OWNER_ADDED, owner_id=owner_id)
        outcome = self.outcome(self.store.add_owner(owner, created_at=NOON, password=password, events=[event]))
        assert outcome is (Conflict if self.is_taken(owner) else None)
        if outcome is None:
            self.owners[owner_id], self.passwords[owner_id] = owner, password
            self.note(event)

    def is_taken(self, owner):
        return owner.id in self.owners or owner.name in {other.name for other in self.owners.values()}

    @rule(owner_id=IDS, active=st.booleans())
    def set_owner_active(self, owner_id, active):
        event = self.event(AuditKind.OWNER_ACTIVATED, owner_id=owner_id)
        outcome = self.outcome(self.store.set_owner_active(owner_id, active=active, events=[event]))
        self.owner_is_changed(owner_id, outcome, event, is_active=active)
        if not active:
            self.forget(owner_id)

    @rule(owner_id=IDS, superuser=st.booleans())
    def set_owner_superuser(self, owner_id, superuser):
        event = self.event(AuditKind.OWNER_MADE_SUPERUSER, owner_id=owner_id)
        outcome = self.outcome(self.store.set_owner_superuser(owner_id, superuser=superuser, events=[event]))
        self.owner_is_changed(owner_id, outcome, event, is_superuser=superuser)

    @rule(owner_id=IDS, name=NAMES)
    def rename_owner(self, owner_id, name):
        event = self.event(AuditKind.OWNER_RENAMED, owner_id=owner_id)
        outcome = self.outcome(self.store.rename_owner(owner_id, name, event=event))
        owner = self.owners.get(owner_id)
        if owner is not None and name in {other.name for other in self.owners.values()} - {owner.name}:
            assert outcome is Conflict
        else:
            old_name = {} if owner is None else {"old_name": owner.name}
            self.owner_is_changed(owner_id, outcome, replace(event, detail={**event.detail, **old_name}), name=name)

    @rule(owner_id=IDS)
    def remove_owner(self, owner_id):
        event = self.event(AuditKind.OWNER_REMOVED, owner_id=owner_id)
        outcome = self.outcome(self.store.remove_owner(owner_id, event=event))
        owner = self.owners.pop(owner_id, None)
        if owner is None:
            assert outcome is NotFound
            return
        gone = {key.id for key in self.keys.values() if key.owner_id == owner_id}
        assert outcome == len(gone)
        del self.passwords[owner_id]
        self.keys = {key_id: key for key_id, key in self.keys.items() if key_id not in gone}
        self.uses = {key_id: uses for key_id, uses in self.uses.items() if key_id not in gone}
        self.credentials = {place: one for place, one in self.credentials.items() if place[0] != owner_id}
        self.forget(owner_id)
        self.note(replace(event, detail={**event.detail, "name": owner.name, "keys": len(gone)}))

    def owner_is_changed(self, owner_id, outcome, event, **change):
        owner = self.owners.get(owner_id)
        if owner is None:
            assert outcome is NotFound
        else:
            assert outcome is (replace(owner, **change) != owner)
            self.owners[owner_id] = replace(owner, **change)
            self.note(*[event] * outcome)

    @rule(owner_id=IDS, password=st.none() | DIGESTS)
    def set_password(self, owner_id, password):
        event = self.event(AuditKind.OWNER_PASSWORD_SET, owner_id=owner_id)
        outcome = self.outcome(self.store.set_password(owner_id, password, events=[event]))
        assert outcome is (None if owner_id in self.owners else NotFound)
        if outcome is None:
            if self.passwords[owner_id] != password:
                self.note(event)
                self.forget(owner_id)
            self.passwords[owner_id] = password

    @rule(owner_id=IDS, password=DIGESTS, new=DIGESTS)
    def upgrade_password(self, owner_id, password, new):
        outcome = self.outcome(self.store.upgrade_password(owner_id, password=password, new_password=new))
        assert outcome is (NotFound if owner_id not in self.owners else self.passwords[owner_id] == password)
        if outcome is True:
            self.passwords[owner_id] = new

    # --- keys ---

    @rule(
        key_id=IDS,
        owner_id=IDS,
        lookup=DIGESTS,
        name=NAMES,
        at=TIMES,
        scopes=SCOPES,
        begin=st.none() | TIMES,
        end=st.none() | TIMES,
        notes=NOTES,
    )
    def add_key(self, key_id, owner_id, lookup, name, at, scopes, begin, end, notes):
        record = make_record(
            key_id,
            owner_id,
            lookup=lookup,
            verifier=lookup,
            name=name,
            created_at=at,
            scopes=scopes,
            not_before=begin,
            expires_at=end,
            metadata_json=notes,
        )
        expected = None
        if owner_id not in self.owners:
            expected = NotFound
        elif key_id in self.keys or lookup in {other.lookup for other in self.keys.values()}:
            expected = Conflict
        event = self.event(AuditKind.KEY_ISSUED, key_id=key_id)
        assert self.outcome(self.store.add_key(record, events=[event])) is expected
        if expected is None:
            self.keys[key_id] = record
            self.note(event)

    def read(self, key_id, stale):
        """Return what a caller expects of a key, or None, and what must be raised for it, or None."""
        record = self.keys.get(key_id)
        expected = None if stale is None else replace(record or make_record(key_id, "a"), **stale)
        return expected, NotFound if record is None else Changed if expected not in (None, record) else None

    @rule(key_id=IDS, name=NAMES, stale=STALE)
    def rename_key(self, key_id, name, stale):
        event = self.event(AuditKind.KEY_RENAMED, key_id=key_id)
        expected, problem = self.read(key_id, stale)
        assert self.outcome(self.store.rename_key(key_id, name, expected=expected, events=[event])) is problem
        if problem is None:
            self.note(*[event] * (self.keys[key_id].name != name))
            self.keys[key_id] = replace(self.keys[key_id], name=name)

    @rule(key_id=IDS, at=st.none() | TIMES, stale=STALE)
    def set_key_disabled(self, key_id, at, stale):
        record = self.keys.get(key_id)
        event = self.event(AuditKind.KEY_DISABLED, key_id=key_id)
        expected, problem = self.read(key_id, stale)
        told = problem or ((at is None) != (record.disabled_at is None))
        assert self.outcome(self.store.set_key_disabled(key_id, at, expected=expected, events=[event])) is told
        if told is True:
            self.keys[key_id] = replace(record, disabled_at=at)
            self.note(event)

    @rule(key_id=IDS, at=TIMES, reason=NAMES, stale=STALE)
    def revoke_key(self, key_id, at, reason, stale):
        record = self.keys.get(key_id)
        event = self.event(AuditKind.KEY_REVOKED, key_id=key_id)
        expected, problem = self.read(key_id, stale)
        told = problem or record.revoked_at is None
        assert self.outcome(self.store.revoke_key(key_id, at, reason, expected=expected, events=[event])) is told
        if told is True:
            self.keys[key_id] = replace(record, revoked_at=at, revoked_reason=reason)
            self.note(event)

    @rule(
        key_id=IDS,
        stale=st.sampled_from([{}, {}, {}, {"name": "stale"}, {"expires_at": NOON}, {"disabled_at": NOON}]),
        new_id=IDS,
        lookup=DIGESTS,
        at=TIMES,
        until=st.none() | TIMES,
    )
    def rotate_key(self, key_id, stale, new_id, lookup, at, until):
        record = self.keys.get(key_id)
        known = replace(record or make_record(key_id, "a"), **stale)
        new = make_record(new_id, known.owner_id, lookup=lookup, verifier=lookup, created_at=at, rotated_from=key_id)
        expected = set()
        if record is None:
            expected = {NotFound}
        else:
            if record.revoked_at or record.rotated_at or known != record:
                expected.add(False)
            if new_id in self.keys or lookup in {other.lookup for other in self.keys.values()}:
                expected.add(Conflict)  # Which of the two comes first is not promised.
        events = [self.event(AuditKind.KEY_ROTATED, key_id=key_id), self.event(AuditKind.KEY_ISSUED, key_id=new_id)]
        assert self.outcome(self.store.rotate_key(known, new, until=until, events=events)) in (expected or {True})
        if not expected:
            end = {"expires_at": until} if until else {"revoked_at": at, "revoked_reason": "rotated"}
            self.keys[key_id] = replace(record, rotated_at=at, **end)
            self.keys[new_id] = new
            self.note(*events)

    @precondition(lambda self: any(key.rotated_at is None for key in self.keys.values()))
    @rule(data=st.data(), new_id=st.sampled_from(["e", "f", "g"]), digest=st.integers(10, 99))
    def rotate_rightly(self, data, new_id, digest):
        old = data.draw(st.sampled_from(sorted(key.id for key in self.keys.values() if key.rotated_at is None)))
        self.rotate_key(old, {}, new_id, make_digest(str(digest)), data.draw(TIMES), data.draw(st.none() | TIMES))

    @rule(before=TIMES, limit=st.integers(0, 3))
    def purge_keys(self, before, limit):
        ended = [
            key
            for key in self.keys.values()
            if any(end is not None and end < before for end in (key.revoked_at, key.expires_at))
        ]
        event = self.event(AuditKind.KEY_PURGED)
        assert self.run(self.store.purge_keys(before, limit=limit, event=event)) == min(limit, len(ended))
        left = {key.id for key in self.run(self.store.list_keys())}
        gone, stayed = [key for key in ended if key.id not in left], [key for key in ended if key.id in left]
        assert len(gone) == min(limit, len(ended))
        assert all(key.created_at <= other.created_at for key in gone for other in stayed)
        told = self.run(self.store.list_events(limit=len(gone)))
        assert {noted.key_id for noted in told} == {key.id for key in gone}  # In which order is not promised.
        for noted in reversed(told):
            self.note(replace(event, key_id=noted.key_id))
        for key in gone:
            del self.keys[key.id]
            self.uses.pop(key.id, None)
        if len(gone) < limit:
            self.uses = {key_id: uses for key_id, uses in self.uses.items() if key_id in self.keys}

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

    @rule(key_id=IDS)
    def use(self, key_id):
        self.batches += 1
        self.run(self.store.record_uses({key_id: Usage(total=1)}, worker="w", sequence=self.batches))
        self.uses[key_id] = Usage(total=self.uses.get(key_id, Usage(total=0)).total + 1)

    # --- credentials ---

    @rule(owner_id=IDS, name=IDS, sealed=DIGESTS, check=CHECKS, at=TIMES, notes=NOTES)
    def put_credential(self, owner_id, name, sealed, check, at, notes):
        credential = make_credential(
            owner_id, name, sealed=sealed, sealed_with=check, created_at=at, updated_at=at, metadata_json=notes
        )
        event = self.event(AuditKind.CREDENTIAL_STORED, owner_id=owner_id)
        outcome = self.outcome(self.store.put_credential(credential, events=[event]))
        assert outcome is (None if owner_id in self.owners else NotFound)
        if outcome is None:
            there = self.credentials.get((owner_id, name), credential)
            self.credentials[owner_id, name] = replace(credential, created_at=there.created_at)
            self.note(event)

    @rule(owner_id=IDS, name=IDS)
    def remove_credential(self, owner_id, name):
        event = self.event(AuditKind.CREDENTIAL_REMOVED, owner_id=owner_id)
        is_there = self.credentials.pop((owner_id, name), None) is not None
        assert self.run(self.store.remove_credential(owner_id, name, events=[event])) is is_there
        self.note(*[event] * is_there)

    @rule(check=CHECKS, limit=st.integers(0, 4), sealed=DIGESTS, stale=st.booleans())
    def reseal(self, check, limit, sealed, stale):
        batch = self.run(self.store.credentials_to_reseal(check, limit=limit))
        others = [one for one in self.credentials.values() if one.sealed_with != check]
        assert len(batch) == min(limit, len(others))
        assert all(one in others for one in batch)
        read = [replace(one, sealed="v1.stale") if stale else one for one in batch]
        pairs = [(one, replace(one, sealed=sealed, sealed_with=check, metadata_json="[]")) for one in read]
        event = self.event(AuditKind.CREDENTIALS_RESEALED)
        done = 0 if stale else len(batch)
        assert self.run(self.store.reseal_credentials(pairs, events=[event])) == done
        if done:
            for one in batch:
                self.credentials[one.owner_id, one.name] = replace(one, sealed=sealed, sealed_with=check)
            self.note(event)

    # --- sessions ---

    def forget(self, owner_id):
        """Forget an owner's sessions; return how many there were."""
        ended = [lookup for lookup, session in self.sessions.items() if session.owner_id == owner_id]
        for lookup in ended:
            del self.sessions[lookup]
        return len(ended)

    @rule(lookup=LOOKUPS, owner_id=IDS, at=TIMES, end=TIMES, data=st.data())
    def add_session(self, lookup, owner_id, at, end, data):
        session = make_session("", owner_id, lookup=lookup, created_at=at, expires_at=end)
        owner, verifier = self.owners.get(owner_id), self.passwords.get(owner_id)
        password = data.draw(st.sampled_from([None, verifier]) | DIGESTS)
        event = self.event(AuditKind.OWNER_SIGNED_IN, owner_id=owner_id)
        expected = None
        if owner is None:
            expected = NotFound
        elif not owner.is_active or password not in {None, verifier} or lookup in self.sessions:
            expected = Conflict
        assert self.outcome(self.store.add_session(session, password=password, events=[event])) is expected
        if expected is None:
            self.sessions[lookup] = session
            self.note(event)

    @rule(lookup=LOOKUPS)
    def end_session(self, lookup):
        event = self.event(AuditKind.OWNER_SIGNED_OUT, owner_id="a")
        is_there = self.sessions.pop(lookup, None) is not None
        assert self.run(self.store.end_session(lookup, events=[event])) is is_there
        self.note(*[event] * is_there)

    @rule(owner_id=IDS)
    def end_sessions(self, owner_id):
        event = self.event(AuditKind.OWNER_SIGNED_OUT, owner_id=owner_id)
        ended = self.forget(owner_id)
        assert self.run(self.store.end_sessions(owner_id, events=[event])) == ended
        self.note(*[event] * (ended > 0))

    @rule(before=TIMES)
    def purge_sessions(self, before):
        left = {lookup: session for lookup, session in self.sessions.items() if session.expires_at >= before}
        assert self.run(self.store.purge_sessions(before)) == len(self.sessions) - len(left)
        self.sessions = left

    # --- imports ---

    @rule(new_owner=st.none() | IDS, name=NAMES, owner_id=IDS, key_id=IDS, lookup=DIGESTS, credential=IDS)
    def add_all(self, new_owner, name, owner_id, key_id, lookup, credential):
        owners = [] if new_owner is None else [Owner(id=new_owner, name=name)]
        key = make_record(key_id, owner_id, lookup=lookup, verifier=lookup)
        sealed = make_credential(owner_id, credential)
        expected = set()
        if any(map(self.is_taken, owners)) or key_id in self.keys or (owner_id, credential) in self.credentials:
            expected.add(Conflict)
        if lookup in {other.lookup for other in self.keys.values()}:
            expected.add(Conflict)
        if owner_id not in {*self.owners, new_owner}:
            expected.add(NotFound)
        event = self.event(AuditKind.KEY_IMPORTED, key_id=key_id)
        outcome = self.outcome(
            self.store.add_all(
                owners=[NewOwner(owner=owner, created_at=NOON) for owner in owners],
                keys=[key],
                credentials=[sealed],
                uses={key_id: Usage(total=3)},
                events=[event],
            )
        )
        assert outcome in (expected or {None})
        if not expected:
            for owner in owners:
                self.owners[owner.id], self.passwords[owner.id] = owner, None
            self.keys[key_id] = key
            self.uses[key_id] = Usage(total=self.uses.get(key_id, Usage(total=0)).total + 3)
            self.credentials[owner_id, credential] = sealed
            self.note(event)

    # --- reading ---

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

    @rule(owner_id=IDS, name=IDS)
    def read_one(self, owner_id, name):
        assert self.run(self.store.get_owner(owner_id)) == self.owners.get(owner_id)
        assert self.run(self.store.get_password(owner_id)) == self.passwords.get(owner_id)
        assert self.run(self.store.get_credential(owner_id, name)) == self.credentials.get((owner_id, name))
        assert self.run(self.store.get_key(name)) == self.keys.get(name)
        assert self.run(self.store.list_credentials(owner_id)) == [
            one for place, one in sorted(self.credentials.items()) if place[0] == owner_id
        ]

    @rule(
        owner_id=st.none() | IDS,
        state=st.none() | STATES,
        at=TIMES,
        begins=BEGINNINGS,
        after=st.none() | st.tuples(IDS, TIMES),
        limit=LIMITS,
    )
    def list_keys(self, owner_id, state, at, begins, after, limit):
        place = None if after is None else make_record(after[0], "nobody", created_at=after[1])
        if place is not None:
            place = self.keys.get(place.id, place)  # As often as not one that is there.
        fit = [
            key
            for key in self.newest_first()
            if owner_id in {None, key.owner_id}
            and (state is None or key.state(at) is state)
            and f"{key.prefix}{key.id}".startswith(begins)
            and (place is None or (key.created_at, key.id) < (place.created_at, place.id))
        ]
        when = {} if state is None else {"state": state, "at": at}
        listed = self.run(self.store.list_keys(owner_id, **when, begins=begins, after=place, limit=limit))
        assert listed == fit[:limit]

    @rule(
        query=QUERIES,
        at=TIMES,
        offset=st.integers(0, 3),
        limit=st.integers(0, 6),
    )
    def search_keys(self, query, at, offset, limit):
        listed = [
            ListedKey(key=key, owner=self.owners[key.owner_id], usage=self.uses.get(key.id, Usage(total=0)))
            for key in self.newest_first()
        ]
        expected = answer(listed, query, at=at, offset=offset, limit=limit)
        assert self.run(self.store.search_keys(query, at=at, offset=offset, limit=limit)) == expected

    @rule(
        key_id=st.none() | IDS,
        owner_id=st.none() | IDS,
        kinds=st.none() | st.sets(st.sampled_from(AuditKind), max_size=5),
        since=st.none() | st.integers(0, 7),
        page=st.none() | st.integers(0, 20),
        limit=LIMITS,
    )
    def list_events(self, key_id, owner_id, kinds, since, page, limit):
        whole = self.run(self.store.list_events())
        before = None if page is None or page >= len(whole) else whole[page].id
        since = None if since is None else NOON + timedelta(minutes=since)
        fit = [
            event
            for event in whole
            if key_id in {None, event.key_id}
            and owner_id in {None, event.owner_id}
            and (kinds is None or event.kind in kinds)
            and (since is None or event.at >= since)
            and (before is None or event.id < before)
        ]
        chosen = {"key_id": key_id, "owner_id": owner_id, "kinds": kinds, "since": since, "before": before}
        assert self.run(self.store.list_events(**chosen, limit=limit)) == fit[:limit]

    def newest_first(self):
        return sorted(self.keys.values(), key=lambda key: (key.created_at, key.id), reverse=True)

    @invariant()
    def all_is_as_in_the_model(self):
        if hasattr(self, "store"):
            assert self.run(self.store.list_keys()) == self.newest_first()
            assert self.run(self.store.list_owners()) == sorted(self.owners.values(), key=lambda owner: owner.name)
            assert self.run(self.store.list_credentials()) == [one for _, one in sorted(self.credentials.items())]
            assert self.run(self.store.sealed_with()) == {one.sealed_with for one in self.credentials.values()}
            assert self.run(self.store.get_uses([*"abcdefg"])) == self.uses
            for lookup in ("one", "two", "three"):
                session = self.sessions.get(lookup)
                found = session and SessionFound(session=session, owner=self.owners[session.owner_id])
                assert self.run(self.store.find_session(lookup)) == found
            events = self.run(self.store.list_events())
            assert [replace(event, id=0) for event in reversed(events)] == self.events
            numbers = [event.id for event in events]
            assert numbers == sorted(set(numbers), reverse=True)


class MemoryMachine(StoreMachine):
    def make(self):
        return MemoryStore()


class SQLMachine(StoreMachine):
    def make(self):
        store = SQLStore("sqlite+aiosqlite://")
        self.run(store.create_schema())
        return store


TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = settings(max_examples=80, stateful_step_count=40)

TestSQLStore = SQLMachine.TestCase
TestSQLStore.settings = settings(max_examples=10, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow])
