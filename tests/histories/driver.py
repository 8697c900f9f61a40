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
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace

from histories.changer import changing, loaded
from histories.checker import Answer, Change, Field, History, Use, check
from histories.client import Key, Worker, connect
from servers.harness import TESTS, running

from keyguard import lifecycle
from keyguard.stores.sql import SQLStore

__all__ = ["Outcome", "Run", "make_history", "system"]

PATIENCE = 60.0
"""Seconds that anything may take that ends by itself; reaching it is a failure."""

OWNERS = 4
KEYS_EACH = 3


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

    def counted(self, what):
        """Return what the workers have counted, all together."""
        return sum(count[what] for count in self.counts.values())

    @property
    def hit_rate(self):
        """How many of a hundred uses were answered by what was remembered, without a read of the key's row."""
        return 100 * self.counted("hits") / self.counted("uses")

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

    def sharpness(self, lease=None):
        """Return how many of a hundred answers would have been reported, had they been the other way round."""
        choose = random.Random(0)
        turned = {
            use: replace(use, answer=Answer.PASSED if use.answer is Answer.REFUSED else Answer.REFUSED)
            for use in choose.sample(self.history.uses, len(self.history.uses) // 50)
        }
        uses = [turned.get(use, use) for use in self.history.uses]
        reported = set(check(replace(self.history, uses=uses), lease=lease))
        return 100 * len(reported & set(turned.values())) / len(turned)

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
        text = (
            f"{self.operations} operations in {self.seconds:.1f} s, {len(self.pids)} processes: "
            f"{len(self.history.uses)} uses of {len(self.history.owners)} keys ({dict(answers)}), "
            f"{len(self.history.changes)} changes, {self.unavailable} times no answer\n"
            f"{self.hit_rate:.0f} % of the uses by what was remembered, {self.counted('reads')} reads of keys, "
            f"{self.counted('statements')} statements in all; "
            f"{len(self.crossed)} keys refused by one process that another had let pass\n"
        )
        return text + "".join(f"  {kinds[kind]:6} x {kind}, at most {slowest[kind]:.1f} ms\n" for kind in sorted(kinds))


@dataclass(slots=True, kw_only=True)
class Run:
    """A system that runs: a database and its workers, and what has come of it so far."""

    url: str
    servers: list
    outcome: Outcome
    keys: list
    seed: str

    @property
    def places(self):
        return [Worker(port=server.port, pid=server.process.pid) for server in self.servers]

    async def go(self, operations, *, changes=0, clients=6, changers=1, elsewhere=True, **how):
        """Let so many operations happen, and so many of them be changes, at least.

        `changers` work in this process, and as many `elsewhere`, in another one; for `how` see `changers`.
        """
        outcome, begin = self.outcome, time.monotonic()
        end, last = outcome.operations + operations, len(outcome.history.changes) + changes

        def is_over():
            return outcome.operations >= end and len(outcome.history.changes) >= last

        async with AsyncExitStack() as stack:
            if elsewhere:
                await stack.enter_async_context(_other_process(self._task("there", changers, how), outcome))
            here = await stack.enter_async_context(self.changers(changers, **how))

            async def change(changer):
                while not is_over():
                    await changer.step()

            users = [self._use(random.Random(f"{self.seed} {end} {n}"), is_over, here[0].hot) for n in range(clients)]
            # Ten operations a second are a fraction of what the slowest machine does. Where nothing can be asked, there
            # are none at all, and this would go on without an end.
            async with asyncio.timeout(PATIENCE + operations / 10):
                await asyncio.gather(*map(change, here), *users)
        outcome.seconds += time.monotonic() - begin

    @asynccontextmanager
    async def changers(self, at_once, **how):
        """Give so many changers, which work in this process; `how` are settings of a `Changer`."""
        async with changing(tell=self.outcome.tell, **self._task("here", at_once, how)) as changers:
            yield changers
            self.outcome.unavailable += sum(changer.unavailable for changer in changers)

    def _task(self, where, at_once, how):
        settings = {"raws": 25, "pace": 0.0, "only": [], "hot": 12} | how
        seed = f"{self.seed} {self.outcome.operations} {where}"
        return {"url": self.url, "workers": self.places, "keys": self.keys, "at_once": at_once, "seed": seed} | settings

    async def _use(self, choose, is_over, hot):
        """Use keys, mostly the newest, at whatever worker."""
        lines = [await connect(place) for place in self.places]
        while not is_over():
            newest = self.outcome.keys[1:][-hot if choose.random() < 0.95 else 0 :]
            use = await choose.choice(lines).use(choose.choice(newest))
            self.outcome.tell(use if use is not None else {"unavailable": 1})
        for line in lines:
            line.close()

    async def renew_keys(self):
        """Issue new keys to begin with, as many as there were."""
        store = SQLStore(self.url)
        try:
            self.keys = [await _issue(store, key.owner, self.outcome) for key in self.keys]
        finally:
            await store.close()

    async def count(self):
        """Ask each worker for its counts."""
        for place in self.places:
            line = await connect(place)
            self.outcome.counts[place.pid] = json.loads((await line.get(b"/counts", self.outcome.keys[0]))[1])
            line.close()


@asynccontextmanager
async def system(url, directory, *, workers=2, prepare=None, seed="", **broken):
    """Start workers on the empty database at `url`; `prepare` is called when it has its tables and first keys.

    `broken` may name a `mutant`, for how many seconds one has to `pause` where that is what it does, and whether the
    workers are `strict`, which is no fault.
    """
    outcome = Outcome()
    store = SQLStore(url)
    try:
        await store.create_schema()
        keys = await _first_keys(store, outcome)
    finally:
        await store.close()
    if prepare is not None:
        await prepare()
    with ExitStack() as stack:
        environment = _environment(url, **broken)
        servers = [
            stack.enter_context(running("httptools", "histories.worker:app", directory, environment=environment))
            for _ in range(workers)
        ]
        await asyncio.gather(*(asyncio.to_thread(server.wait_until_it_answers) for server in servers))
        yield Run(url=url, servers=servers, outcome=outcome, keys=keys, seed=seed)


def _environment(url, *, mutant="", pause=0.02, strict=False):
    server = {"UVICORN_ACCESS_LOG": "0", "UVICORN_LOG_LEVEL": "warning", "UVICORN_TIMEOUT_KEEP_ALIVE": "60"}
    return server | {"DATABASE": url, "MUTANT": mutant, "PAUSE": str(pause), "STRICT": "1" if strict else ""}


async def make_history(url, directory, *, operations, paces=(0.0,), **more):
    """Return the `Outcome` of so many operations, in as many rounds as there are `paces`, each with keys of its own.

    See `system` and `Run.go` for what else can be said.
    """
    of_system = {name: more.pop(name) for name in _OF_SYSTEM & more.keys()}
    async with system(url, directory, **of_system) as run:
        for number, pace in enumerate(paces):
            if number:
                await run.renew_keys()
            await run.go(operations // len(paces), pace=pace, **more)
        await run.count()
        return run.outcome


_OF_SYSTEM = {"workers", "prepare", "seed", "mutant", "pause", "strict"}


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
        try:
            async with asyncio.timeout(PATIENCE):
                await listening
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
