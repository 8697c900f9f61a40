"""Changes keys and owners at full speed, through `lifecycle` and behind its back in SQL, and notes when.

Around each change it uses the key at every worker at once: what an answer may be is narrowest there. As a program it
does the same in a process of its own: it reads its task from its input, a line of JSON, and writes what happened to its
output, a line of JSON for each thing.
"""

import asyncio
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

from histories.checker import Answer, Change, Field, Use
from histories.client import Key, Worker, connect

from keyguard import lifecycle
from keyguard.errors import Conflict, NotFound, StoreUnavailable
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.stores.sql import SQLStore

__all__ = ["Changer", "changing", "dumped", "loaded", "raw_connection"]

# --- what can be changed --------------------------------------------------------------------------------------------


def _set_superuser(store, key, *, superuser):
    return lifecycle.set_superuser(store, key.owner, superuser=superuser)


LIBRARY = {
    # How often, what becomes of the key or its owner, and the call.
    "revoke": (3, {Field.REVOKED: True}, lambda store, key: lifecycle.revoke(store, key.id)),
    "disable": (6, {Field.DISABLED: True}, lambda store, key: lifecycle.disable(store, key.id)),
    "enable": (8, {Field.DISABLED: False}, lambda store, key: lifecycle.enable(store, key.id)),
    "deactivate": (3, {Field.ACTIVE: False}, lambda store, key: lifecycle.deactivate(store, key.owner)),
    "activate": (6, {Field.ACTIVE: True}, lambda store, key: lifecycle.activate(store, key.owner)),
    "promote": (3, {Field.SUPERUSER: True}, partial(_set_superuser, superuser=True)),
    "demote": (3, {Field.SUPERUSER: False}, partial(_set_superuser, superuser=False)),
    "issue": (8, {}, None),
    "rotate": (2, {Field.REVOKED: True}, None),
    "rotate with a grace": (4, {Field.ROTATED: True, Field.EXPIRED: False}, None),
}  # fmt: skip

_COLUMNS = (
    "id, owner_id, lookup, verifier, prefix, name, scopes, networks, created_at, not_before, expires_at, disabled_at"
)
_KEY, _OWNER = "UPDATE keyguard_keys SET {} WHERE id = :key", "UPDATE keyguard_owners SET {} WHERE id = :owner"
_REPLACE = (
    f"INSERT OR REPLACE INTO keyguard_keys ({_COLUMNS}, revoked_at, revoked_reason) "
    f"SELECT {_COLUMNS}, {{}}, '' FROM keyguard_keys WHERE id = :key"
)
RAW = {
    # Likewise, with the statement; `:key` and `:owner` are ids.
    "SQL revokes": (2, {Field.REVOKED: True}, _KEY.format("revoked_at = 1")),
    "SQL takes it back": (4, {Field.REVOKED: False}, _KEY.format("revoked_at = NULL")),
    "SQL disables": (1, {Field.DISABLED: True}, _KEY.format("disabled_at = 1")),
    "SQL enables": (2, {Field.DISABLED: False}, _KEY.format("disabled_at = NULL")),
    "SQL lets it expire": (1, {Field.EXPIRED: True, Field.ROTATED: False}, _KEY.format("expires_at = 1")),
    "SQL lets it live": (2, {Field.EXPIRED: False, Field.ROTATED: False}, _KEY.format("expires_at = NULL")),
    "SQL restricts": (1, {Field.RESTRICTED: True}, _KEY.format("scopes = '[]'")),
    "SQL frees": (2, {Field.RESTRICTED: False}, _KEY.format("""scopes = '["*"]'""")),
    "SQL deletes": (1, {Field.EXISTS: False}, "DELETE FROM keyguard_keys WHERE id = :key"),
    "SQL deactivates": (1, {Field.ACTIVE: False}, _OWNER.format("is_active = false")),
    "SQL activates": (2, {Field.ACTIVE: True}, _OWNER.format("is_active = true")),
    "SQL promotes": (1, {Field.SUPERUSER: True}, _OWNER.format("is_superuser = true")),
    "SQL demotes": (1, {Field.SUPERUSER: False}, _OWNER.format("is_superuser = false")),
}
ONLY_SQLITE = {
    "SQL replaces it by a revoked one": (2, {Field.REVOKED: True}, _REPLACE.format("1")),
    "SQL replaces it by a good one": (2, {Field.REVOKED: False}, _REPLACE.format("NULL")),
}
_UPSERT = (
    f"INSERT INTO keyguard_keys ({_COLUMNS}, revoked_at, revoked_reason) "
    f"SELECT {_COLUMNS}, {{}}, '' FROM keyguard_keys WHERE id = :key "
    "ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at"
)
ONLY_POSTGRESQL = {
    "SQL replaces it by a revoked one": (2, {Field.REVOKED: True}, _UPSERT.format("1")),
    "SQL replaces it by a good one": (2, {Field.REVOKED: False}, _UPSERT.format("NULL::bigint")),
}
HOWS = ("alone", "alone", "in a transaction", "rolled back")

GRACES = (0.05, 0.2, 1.0)
"""Seconds; short, so that they end while the history still goes on."""


def _sets(key, fields):
    owners = {Field.ACTIVE, Field.SUPERUSER}
    return {(key.owner if field in owners else key.id, field): value for field, value in fields.items()}


# --- connections of which the library knows nothing -----------------------------------------------------------------


class _SQLite:
    def __init__(self, url):
        path = url.partition("///")[2]
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self.table = RAW | ONLY_SQLITE

    async def execute(self, statement, key, how):
        """Execute `statement` and return when its commit began and ended."""
        return await asyncio.to_thread(self._execute, statement, {"key": key.id, "owner": key.owner}, how)

    def _execute(self, statement, values, how):
        if how == "alone":
            start = time.monotonic_ns()
            self._connection.execute(statement, values)
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(statement, values)
            start = time.monotonic_ns()
            self._connection.execute("ROLLBACK" if how == "rolled back" else "COMMIT")
        return start, time.monotonic_ns()

    async def aclose(self):
        self._connection.close()


class _PostgreSQL:
    def __init__(self, url):
        self._url = url.replace("+asyncpg", "")
        self._connection = None
        self.table = RAW | ONLY_POSTGRESQL

    async def execute(self, statement, key, how):
        """Execute `statement` and return when its commit began and ended: never, if the connection was lost."""
        import asyncpg

        of_key = ":key" in statement
        numbered, value = statement.replace(":key" if of_key else ":owner", "$1"), key.id if of_key else key.owner
        start = time.monotonic_ns()
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url)
            if how == "alone":
                start = time.monotonic_ns()
                await self._connection.execute(numbered, value)
            else:
                await self._connection.execute("BEGIN")
                await self._connection.execute(numbered, value)
                start = time.monotonic_ns()
                await self._connection.execute("ROLLBACK" if how == "rolled back" else "COMMIT")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            if self._connection is not None:
                self._connection.terminate()
            return start, inf
        return start, time.monotonic_ns()

    async def aclose(self):
        if self._connection is not None:
            await self._connection.close()


def raw_connection(url):
    """Return a connection for changes in SQL."""
    return (_SQLite if url.startswith("sqlite") else _PostgreSQL)(url)


# --- a changer ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Changer:
    """Makes changes, one after the other, and tells of them.

    `keys` are those that it changes, besides those that it issues; `lines` leads to each worker; `tell` is called with
    each `Change`, `Use` and new `Key`; of a hundred changes, `raws` are made in SQL; `pace` is how many
    seconds it rests between two changes; `only` are the kinds of changes in SQL, if not all of them; `hot`
    is how many keys it has in hand, the newest that it knows.
    """

    name: str
    store: SQLStore
    raw: _SQLite
    keys: list[Key]
    lines: list
    tell: Callable
    raws: float
    pace: float
    only: tuple
    hot: int
    random: random.Random
    unavailable: int = 0
    _ours: set = field(default_factory=set)
    _owners: list = field(init=False)

    def __post_init__(self):
        self.keys = list(self.keys)
        self._owners = sorted({key.owner for key in self.keys})

    async def step(self):
        """Change something, and use the key at each worker: before it or while it goes on, and behind it."""
        is_raw = self.random.random() * 100 < self.raws
        table = LIBRARY
        if is_raw:
            table = {kind: row for kind, row in self.raw.table.items() if not self.only or kind in self.only}
        kind = self.random.choices([*table], [weight for weight, *_ in table.values()])[0]
        key = self.random.choice(self.keys[-self.hot :])
        probe = asyncio.create_task(self.probe(key))
        if self.random.random() < 0.5:
            await probe
        if is_raw:
            await self.change_in_sql(kind, key, self.random.choice(HOWS))
        elif kind == "issue":
            await self._issue()
        elif table[kind][2] is None:
            await self._rotate(kind, key)
        else:
            await self.call(kind, key)
        await self.probe(key)
        await probe
        await asyncio.sleep(self.pace)

    async def probe(self, *keys):
        """Use keys at each worker, at once."""
        await asyncio.gather(*(self._use(line, key) for line in self.lines for key in keys))

    async def _use(self, line, key):
        use = await line.use(key)
        if use is None:
            self.unavailable += 1
        else:
            self.tell(use)

    # --- through the library ---

    async def call(self, kind, key):
        """Make a change of a key or its owner."""
        _, fields, call = LIBRARY[kind]
        await self._call(kind, _sets(key, fields), lambda: call(self.store, key))

    async def _issue(self):
        """Issue a key that clients begin to use a moment before it exists."""
        entropy = os.urandom(ENTROPY_BYTES)
        key = self._made_of(entropy, self.random.choice(self._owners))
        self.tell(key)
        await self.probe(key)
        sets = _sets(key, {Field.EXISTS: True})
        if await self._call("issue", sets, lambda: lifecycle.issue(self.store, key.owner, entropy=lambda _: entropy)):
            self._take(key)

    async def _rotate(self, kind, old):
        """Rotate a key; with a grace only one of our own, and only once, so that it has one end."""
        grace = timedelta(0)
        if kind != "rotate":
            if old.id not in self._ours:
                return
            self._ours.discard(old.id)
            grace = timedelta(seconds=self.random.choice(GRACES))
        entropy, now = os.urandom(ENTROPY_BYTES), datetime.now(UTC)
        new = self._made_of(entropy, old.owner)
        self.tell(new)
        await self.probe(old, new)

        def rotate():
            return lifecycle.rotate(
                self.store,
                old.id,
                grace=grace,
                expires_at=now + timedelta(days=1),
                clock=lambda: now,
                entropy=lambda _: entropy,
            )

        def sets(issued=None):
            # What the new key takes over from the old one was read a little earlier than the rotation is made.
            taken = {} if issued is None else {
                Field.DISABLED: issued.record.disabled_at is not None,
                Field.RESTRICTED: not issued.record.scopes,
            }  # fmt: skip
            return _sets(old, LIBRARY[kind][1]) | _sets(new, {Field.EXISTS: True, **taken})

        if grace:
            self._tell_of_the_end(old, now + grace)
        if await self._call(kind, sets, rotate):
            self._take(new)
            await self.probe(old, new)

    def _tell_of_the_end(self, key, end):
        """Tell when the grace is over, by the clock that keys are judged by, as that which times are taken with."""
        apart = time.time_ns() - time.monotonic_ns()
        moment = int(end.timestamp() * 1_000_000) * 1_000 - apart
        sets = {(key.id, Field.LAPSED): True}
        self.tell(
            Change(
                kind="the grace ends",
                sets=sets,
                start=moment - CLOCKS_APART,
                end=moment + CLOCKS_APART,
                clock=True,
                worker=self.name,
            )
        )

    def _made_of(self, entropy, owner):
        key = from_entropy(self.store.keyring.prefix, entropy)
        return Key(id=key.id, text=key.reveal(), owner=owner)

    def _take(self, key):
        self.keys.append(key)
        self._ours.add(key.id)

    async def _call(self, kind, sets, call):
        """Make a change by one call of the library, tell of it, and return whether it was made for certain."""
        start, end = time.monotonic_ns(), inf
        outcome = None
        try:
            outcome = await call()
            end = time.monotonic_ns()
        except (NotFound, Conflict):
            return False  # Nothing was changed.
        except StoreUnavailable:
            self.unavailable += 1
            await asyncio.sleep(0.1)  # It may still happen, and nobody will ever know: let there be few of these.
        if callable(sets):
            sets = sets(outcome)
        self.tell(Change(kind=kind, sets=sets, start=start, end=end, worker=self.name))
        return end != inf

    # --- behind its back ---

    async def change_in_sql(self, kind, key, how="alone"):
        """Make a change of a key or its owner in SQL."""
        _, fields, statement = self.raw.table[kind]
        start, end = await self.raw.execute(statement, key, how)
        if how != "rolled back":
            self.tell(Change(kind=kind, sets=_sets(key, fields), start=start, end=end, raw=True, worker=self.name))


CLOCKS_APART = 1_000_000
"""Nanoseconds by which two clocks of one machine may come apart in a second: a millisecond, as NTP may slew one."""

# --- as a program ---------------------------------------------------------------------------------------------------


def dumped(thing):
    """Return a `Key`, `Change` or `Use` as a line of JSON."""
    match thing:
        case Key():
            told = asdict(thing)
        case dict():
            told = thing
        case Use():
            told = {"key": thing.key, "start": thing.start, "end": thing.end, "pid": thing.pid}
            told["answer"] = thing.answer.value
        case Change():
            told = {name: getattr(thing, name) for name in ("kind", "start", "raw", "clock", "worker")}
            told["end"] = None if thing.end == inf else thing.end
            told["sets"] = [(subject, field.name, value) for (subject, field), value in thing.sets.items()]
    return json.dumps([type(thing).__name__, told])


def loaded(line):
    """Return what `dumped` was given."""
    name, told = json.loads(line)
    match name:
        case "dict":
            return told
        case "Key":
            return Key(**told)
        case "Use":
            return Use(**told | {"answer": Answer(told["answer"])})
        case "Change":
            sets = {(subject, Field[field]): value for subject, field, value in told["sets"]}
            return Change(**told | {"sets": sets, "end": inf if told["end"] is None else told["end"]})
    raise ValueError(name)


async def run(task, tell):
    """Change keys, in several lines of work, until the input ends."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)  # Nothing more is written there before it is closed.
    async with changing(tell=tell, **task) as changers:

        async def go_on(changer):
            while not ended.is_set():
                await changer.step()
                sys.stdout.flush()

        await asyncio.gather(*map(go_on, changers))
        tell({"unavailable": sum(changer.unavailable for changer in changers)})


@asynccontextmanager
async def changing(*, url, keys, workers, tell, raws, seed, at_once, pace, only, hot):
    """Give so many changers `at_once`, with one store, each with connections of its own."""
    async with AsyncExitStack() as stack:
        store = SQLStore(url)
        stack.push_async_callback(store.close)
        changers = []
        for number in range(at_once):
            raw = await stack.enter_async_context(aclosing(raw_connection(url)))
            lines = [await connect(worker) for worker in workers]
            for line in lines:
                stack.callback(line.close)
            changers.append(
                Changer(
                    name=f"{os.getpid()}-{number}",
                    store=store,
                    raw=raw,
                    keys=keys,
                    lines=lines,
                    tell=tell,
                    raws=raws,
                    pace=pace,
                    only=only,
                    hot=hot,
                    random=random.Random(f"{seed} {number}"),
                )
            )
        yield changers


def _write(thing):
    sys.stdout.write(dumped(thing) + "\n")
    if isinstance(thing, Key):  # Clients are to use it before it exists.
        sys.stdout.flush()


if __name__ == "__main__":
    its_task = json.loads(sys.stdin.readline())
    its_task["keys"] = [Key(**key) for key in its_task["keys"]]
    its_task["workers"] = [Worker(**worker) for worker in its_task["workers"]]
    asyncio.run(run(its_task, _write))
