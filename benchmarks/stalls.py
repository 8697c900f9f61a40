"""How long slow hashes keep the event loop from its other work: `python -m benchmarks.stalls`.

Eight keys are checked at once under a keyring that hashes every key with Argon2id, each for the first time. Meanwhile a
coroutine sleeps for a millisecond, again and again, and notes how much later than that it wakes. The longest delay of a
run is its stall. A machine that does other work as well adds delays of its own, so several runs are made and the
shortest stall is reported, beside the median and the same without any hashing.
"""

import asyncio
import time
from statistics import median

from benchmarks.contestants import bare_app, new_key, silence
from benchmarks.report import Section, Verdict, duration, run_alone
from benchmarks.traffic import requests_with, status_of
from keyguard import KeyGuard, lifecycle
from keyguard.hashing import Argon2Hasher
from keyguard.settings import Keyring
from keyguard.stores.memory import MemoryStore

__all__ = ["section"]

AT_ONCE = 8
"""As many as wait in the queue behind the one that is computed."""

TICK = 0.001
TARGET = 0.005


async def _longest_delay(stop: asyncio.Event) -> float:
    longest = 0.0
    while not stop.is_set():
        begin = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - begin - TICK)
    return longest


async def _stall_under_hashing(store: MemoryStore, guard: KeyGuard) -> tuple[float, float]:
    """Return the longest delay, and how long the checks took."""
    keys = [(await lifecycle.issue(store, "ada")).key.reveal() for _ in range(AT_ONCE)]
    stop = asyncio.Event()
    ticker = asyncio.create_task(_longest_delay(stop))
    await asyncio.sleep(10 * TICK)
    begin = time.perf_counter()
    statuses = await asyncio.gather(*(status_of(guard, request) for request in requests_with(keys)))
    seconds = time.perf_counter() - begin
    stop.set()
    if set(statuses) != {200}:
        raise RuntimeError(f"the checks were answered with {statuses}")
    return await ticker, seconds


async def _stall_of_nothing(seconds: float) -> float:
    stop = asyncio.Event()
    ticker = asyncio.create_task(_longest_delay(stop))
    await asyncio.sleep(seconds)
    stop.set()
    return await ticker


async def measure(runs: int) -> Section:
    """Return the stalls of so many runs."""
    store = MemoryStore(keyring=Keyring(hasher=Argon2Hasher(), peppers=[new_key().encode()]))
    await lifecycle.add_owner(store, "ada", id="ada")
    guard = KeyGuard(bare_app(), store=store)
    stalls, idle, took = [], [], []
    with silence():
        for _ in range(runs):
            stall, seconds = await _stall_under_hashing(store, guard)
            stalls.append(stall)
            took.append(seconds)
            idle.append(await _stall_of_nothing(seconds))
        await guard.aclose()
    rows = [
        [f"{AT_ONCE} Argon2 checks at once", *map(duration, (min(stalls), median(stalls), max(stalls)))],
        ["nothing, for as long", *map(duration, (min(idle), median(idle), max(idle)))],
    ]
    return Section(
        title="The event loop beside slow hashes",
        text=(
            f"{AT_ONCE} keys under Argon2id (19 MiB, 2 passes) are checked at once, each for the first time: "
            f"{duration(median(took))} in the one thread that slow hashes have. The stall is the most by which a "
            f"coroutine that sleeps for 1 ms at a time wakes too late. {runs} runs; as other programs that run on the "
            "machine delay it too, the shortest of the runs' stalls is what hashing itself can be blamed for at most."
        ),
        columns=["longest stall of a run", "shortest", "median", "longest"],
        rows=rows,
        verdicts=[
            Verdict(
                what=f"the loop's longest stall under {AT_ONCE} Argon2 checks, best run",
                measured=duration(min(stalls)),
                wanted=f"< {duration(TARGET)}",
                is_met=min(stalls) < TARGET,
            )
        ],
    )


def section(*, quick: bool = False) -> Section:
    """Measure, and return what was found."""
    return asyncio.run(measure(3 if quick else 15))


if __name__ == "__main__":
    run_alone("stalls", __doc__, section)
