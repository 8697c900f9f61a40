"""Makes a history: workers in processes of their own, clients, and changers in two further processes.

All of them work on the same few keys at full speed, until there are as many operations as were asked for.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field

from histories.changer import changing, loaded
from histories.checker import Answer, Change, Field, History, Use, check
from histories.client import Gone, Key, Worker, connect
from servers.harness import TESTS, running

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore

__all__ = ["Outcome", "make_history"]

OWNERS = 4
KEYS_EACH = 3
HOT = 12
"""So many of the newest keys are what clients use, most of the time."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    history: History = field(default_factory=History)
    keys: list = field(default_factory=list)
    unavailable: int = 0
    seconds: float = 0.0
    counts: dict = field(default_factory=dict)

    def tell(self, thing):
        """Take note of a `Key`, `Change` or `Use`, or of how often there was no answer."""
        match thing:
            case Key():
                self.history.owners[thing.id] = thing.owner
                self.keys.append(thing)
            case Change():
                self.history.changes.append(thing)
            case Use():
                self.history.uses.append(thing)
            case {"unavailable": number}:
                self.unavailable += number

    @property
    def operations(self):
        return len(self.history.changes) + len(self.history.uses)

    @property
    def pids(self):
        """The processes that let a key pass."""
        return {use.pid for use in self.history.uses if use.answer is not Answer.REFUSED}

    @property
    def hit_rate(self):
        """What part of the uses was answered without reading the key's row."""
        uses = sum(count["uses"] for count in self.counts.values())
        return 1 - sum(count["reads"] for count in self.counts.values()) / uses

    @property
    def crossed(self):
        """The keys that one process refused behind a change before which another process had let them pass."""
        first, crossed = defaultdict(dict), set()
        for use in sorted(self.history.uses, key=lambda use: use.end):
            if use.answer is not Answer.REFUSED:
                first[use.key].setdefault(use.pid, use.end)
        changes = defaultdict(list)
        for change in self.history.changes:
            for subject in {subject for subject, _ in change.sets}:
                changes[subject].append(change)
        for use in self.history.uses:
            if use.answer is Answer.REFUSED and use.key not in crossed:
                passed = [end for pid, end in first[use.key].items() if pid != use.pid]
                about = [*changes[use.key], *changes[self.history.owners[use.key]]]
                if passed and any(min(passed) < change.start and change.end < use.start for change in about):
                    crossed.add(use.key)
        return crossed

    def bad(self, lease=None):
        """Return what the checker reports, in words."""
        return [self.about(use) for use in check(self.history, lease=lease)]

    def about(self, use):
        """Return what happened to a key and its owner up to the end of a use, as far as it can matter."""
        subjects = {use.key, self.history.owners[use.key]}
        about = [change for change in self.history.changes if subjects & {subject for subject, _ in change.sets}]
        about = sorted([change for change in about if change.start <= use.end], key=lambda change: change.end)[-8:]
        others = [other for other in self.history.uses if other.key == use.key and other.end <= use.end]
        events = sorted([*about, *sorted(others, key=lambda other: other.end)[-6:]], key=lambda event: event.start)
        return "\n".join([f"{use.key} at {use.pid}:", *(self._in_words(event, use.start) for event in events)])

    def _in_words(self, event, origin):
        what = f"{event.answer.value} at {event.pid}" if isinstance(event, Use) else f"{event.kind} ({event.worker})"
        return f"  {(event.start - origin) / 1e6:+10.3f} ms to {(event.end - origin) / 1e6:+10.3f} ms: {what}"

    def summary(self):
        """Return the figures, in a few lines."""
        kinds = Counter(change.kind for change in self.history.changes)
        slowest = {
            kind: max(change.end - change.start for change in self.history.changes if change.kind == kind) / 1e6
            for kind in kinds
        }
        answers = Counter(use.answer.value for use in self.history.uses)
        statements = sum(count["statements"] for count in self.counts.values())
        text = (
            f"{self.operations} operations in {self.seconds:.1f} s, {len(self.pids)} processes: "
            f"{len(self.history.uses)} uses of {len(self.history.owners)} keys ({dict(answers)}), "
            f"{len(self.history.changes)} changes, {self.unavailable} times no answer\n"
            f"{statements} statements, hit rate {self.hit_rate:.2f}; "
            f"{len(self.crossed)} keys refused by one process that another had let pass\n"
        )
        return text + "".join(f"  {kinds[kind]:6} x {kind}, at most {slowest[kind]:.1f} ms\n" for kind in sorted(kinds))


async def make_history(
    url,
    directory,
    *,
    operations,
    workers=2,
    clients=6,
    changers=1,
    raws=25,
    seed=0,
    mutant=None,
    pace=0.0,
):
    """Return the `Outcome` of that many operations on the empty database at `url`.

    `changers` work in each of two processes, this one and another; of a hundred changes `raws` are made in SQL. `pace`
    is how many seconds each of them rests between two changes.
    """
    outcome = Outcome()
    async with AsyncExitStack() as stack:
        store = SQLStore(url)
        stack.push_async_callback(store.close)
        await store.create_schema()
        keys = await _first_keys(store, outcome)
        started = [
            stack.enter_context(running("httptools", "histories.worker:app", directory, environment=environment))
            for environment in [_environment(url, mutant)] * workers
        ]
        await asyncio.gather(*(asyncio.to_thread(server.wait_until_it_answers) for server in started))
        places = [Worker(port=server.port, pid=server.process.pid) for server in started]
        begin = time.monotonic()
        task = {"url": url, "workers": places, "keys": keys, "raws": raws, "at_once": changers, "pace": pace}
        async with _other_process(task | {"seed": f"{seed} there"}, outcome):
            here = await stack.enter_async_context(changing(tell=outcome.tell, **task, seed=f"{seed} here"))

            async def change(changer):
                while outcome.operations < operations:
                    await changer.step()

            await asyncio.gather(
                *map(change, here),
                *(_use(random.Random(f"{seed} {number}"), places, outcome, operations) for number in range(clients)),
            )
        outcome.unavailable += sum(changer.unavailable for changer in here)
        outcome.seconds = time.monotonic() - begin
        for place in places:
            line = await connect(place)
            outcome.counts[place.pid] = json.loads((await line.get(b"/counts", outcome.keys[0]))[1])
            line.close()
    return outcome


def _environment(url, mutant):
    quiet = {"UVICORN_ACCESS_LOG": "0", "UVICORN_LOG_LEVEL": "warning"}
    return quiet | {"DATABASE": url} | ({"MUTANT": mutant} if mutant else {})


async def _first_keys(store, outcome):
    """Return keys of several owners; one more, which nobody changes, is the outcome's first."""
    await _add_owner(store, "observer", outcome)
    await _issue(store, "observer", outcome)
    for number in range(OWNERS):
        await _add_owner(store, f"owner-{number}", outcome)
    return [await _issue(store, f"owner-{number % OWNERS}", outcome) for number in range(OWNERS * KEYS_EACH)]


async def _add_owner(store, name, outcome):
    start = time.monotonic_ns()
    await lifecycle.add_owner(store, name, id=name)
    sets = {(name, Field.ACTIVE): True}
    outcome.tell(Change(kind="add", sets=sets, start=start, end=time.monotonic_ns()))


async def _issue(store, owner, outcome):
    start = time.monotonic_ns()
    issued = await lifecycle.issue(store, owner)
    key = Key(id=issued.record.id, text=issued.key.reveal(), owner=owner)
    outcome.tell(key)
    sets = {(key.id, Field.EXISTS): True}
    outcome.tell(Change(kind="issue", sets=sets, start=start, end=time.monotonic_ns()))
    return key


async def _use(choose, places, outcome, operations):
    """Use keys, mostly the newest, at whatever worker."""
    lines = [await connect(place) for place in places]
    while outcome.operations < operations:
        newest = outcome.keys[1:][-HOT if choose.random() < 0.95 else 0 :]
        try:
            use = await choose.choice(lines).use(choose.choice(newest))
        except Gone:
            continue
        outcome.tell(use if use is not None else {"unavailable": 1})
    for line in lines:
        line.close()


@asynccontextmanager
async def _other_process(task, outcome):
    """Let another process change keys meanwhile, and take note of what it tells."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "histories.changer",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])},
    )

    async def listen():
        async for line in process.stdout:
            outcome.tell(loaded(line))

    listening = asyncio.create_task(listen())
    try:
        plain = {"keys": list(map(asdict, task["keys"])), "workers": list(map(asdict, task["workers"]))}
        process.stdin.write(json.dumps(task | plain).encode() + b"\n")
        yield
    finally:
        process.stdin.close()
        await listening
        assert await process.wait() == 0
