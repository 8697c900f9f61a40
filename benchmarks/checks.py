"""What one check costs in process: everybody side by side, in turns, against the bare framework.

`python -m benchmarks.checks` measures all, `--quick` less exactly, `--only <text>` those whose name has the text in it.
With `--cpu` the time in which the thread did not run is left out: that is of use while other programs take turns with
it, and says nothing of who waits for a database.

In each round everybody answers the same number of requests, in an order that is drawn anew; the round's ratio is that
of the times within the round, so that a busy machine slows both sides of it. The figure is the median over the rounds.
"""

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.contestants import BARE, Contestant, Entered, contestants, keyguard_on, postgres_store
from benchmarks.peers import FASTAPI, LITESTAR, absent_peers, peers
from benchmarks.report import Section, Verdict, as_text
from benchmarks.servers import Missing, postgres_server
from benchmarks.traffic import seconds_for, status_of

__all__ = ["TARGETS", "Figure", "Run", "Target", "as_section", "everybody", "measure", "section"]


SLOW = 200e-6
"""Seconds for a request. Who is slower takes his turn behind all others, so that theirs lie within milliseconds of the
bare framework's: whatever else the machine does lasts longer than that, and is the same for all of them."""

UNCOUNTED = 50
"""More than the lines that the `keyguard` logger may write at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured of one contestant."""

    name: str
    against: str
    microseconds: float
    """The median time of a request."""
    ratio: float
    """The median of the rounds' ratios to the bare framework."""
    spread: tuple[float, float]
    """Between which two ratios the middle half of the rounds lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a ratio between two contestants should not exceed."""

    name: str
    against: str
    most: float


TARGETS = [
    Target(name="KeyGuard, memory, warm", against="HandWritten", most=1.4),
    Target(name="KeyGuard, memory, warm", against=BARE, most=1.6),
    Target(name="KeyGuard, memory, malformed", against=BARE, most=1.0),
    Target(name="KeyGuard, SQLite, warm", against="HandWrittenFresh", most=1.3),
    Target(name="KeyGuard, SQLite, warm", against=BARE, most=2.1),
    Target(name="KeyGuard, SQLite, malformed", against=BARE, most=1.0),
    Target(name="KeyGuard, PostgreSQL, warm", against="KeyGuard, memory, warm", most=1.1),
    Target(name="KeyGuard, PostgreSQL, malformed", against=BARE, most=1.0),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The times of all rounds, by contestant: seconds for one request."""

    contestants: list[Contestant]
    seconds: dict[str, list[float]]

    def ratios(self, name: str, against: str) -> list[float]:
        """Return the ratio of two contestants' times, for each round."""
        return [one / other for one, other in zip(self.seconds[name], self.seconds[against], strict=True)]

    def figures(self) -> list[Figure]:
        """Return what stands in the table."""
        figures = []
        for contestant in self.contestants:
            ratios = self.ratios(contestant.name, contestant.against)
            low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            figures.append(
                Figure(
                    name=contestant.name,
                    against=contestant.against,
                    microseconds=median(self.seconds[contestant.name]) * 1e6,
                    ratio=median(ratios),
                    spread=(low, high),
                )
            )
        return figures

    def verdicts(self) -> list[tuple[Target, float]]:
        """Return each target that can be judged by this run, with the ratio that was measured."""
        there = self.seconds.keys()
        return [
            (target, median(self.ratios(target.name, target.against)))
            for target in TARGETS
            if {target.name, target.against} <= there
        ]


async def measure(
    taking_part: list[Contestant],
    *,
    seconds: float,
    requests: int = 300,
    rounds: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Return what everybody took by `clock`, in as many rounds as fit into `seconds` unless their number is given."""
    times: dict[str, list[float]] = {contestant.name: [] for contestant in taking_part}
    async with AsyncExitStack() as stack:
        entered: dict[str, Entered] = {}
        for contestant in taking_part:
            entered[contestant.name] = ready = await stack.enter_async_context(contestant.enter())
            for scope in ready.scopes(3):
                if (status := await status_of(ready.app, scope)) != ready.status:
                    raise RuntimeError(f"{contestant.name} answers {status} instead of {ready.status}")
        slow = {name for name, ready in entered.items() if await _turn(ready, 10, time.perf_counter) > SLOW}
        stack.callback(gc.unfreeze)
        end = time.monotonic() + seconds
        order = list(entered.items())
        while time.monotonic() < end if rounds is None else len(times[order[0][0]]) < rounds:
            random.shuffle(order)
            order.sort(key=lambda entry: entry[0] in slow)
            for name, ready in order:
                times[name].append(await _turn(ready, requests, clock))
    return Run(contestants=taking_part, seconds=times)


async def _turn(ready: Entered, requests: int, clock: Callable[[], float]) -> float:
    """Return the seconds of one request, after some that do not count.

    Those fill the processor's caches, and use up what the `keyguard` logger lets through in a second: under a flood of
    bad keys, hardly any request finds something left of that.
    """
    uncounted, scopes = list(ready.scopes(UNCOUNTED)), list(ready.scopes(requests))
    gc.collect()
    gc.freeze()  # The collector goes on, but finds nothing to look at other than what this contestant leaves behind.
    await seconds_for(ready.app, uncounted)
    return await seconds_for(ready.app, scopes, clock) / requests


def as_section(run: Run, absent: dict[str, str]) -> Section:
    """Return what stands in the manual."""
    rounds = len(next(iter(run.seconds.values())))
    rows = []
    for figure in run.figures():
        low, high = figure.spread
        than = "" if figure.against in {BARE, figure.name} else f" (to {figure.against})"
        rows.append(
            [figure.name, f"{figure.microseconds:.1f} µs", f"{figure.ratio:.2f}{than}", f"{low:.2f} to {high:.2f}"]
        )
    verdicts = [
        Verdict(
            what=f"{target.name}, as a ratio to {target.against}",
            measured=f"{ratio:.2f}",
            wanted=f"≤ {target.most}",
            is_met=ratio <= target.most,
        )
        for target, ratio in run.verdicts()
    ]
    return Section(
        title="One check",
        text=(
            "In process, without a server: an app with one route, which returns two bytes, answers a GET with seven "
            "headers, one of them the key. KeyGuard has every rule in force: exempt and optional paths, keys in the "
            f"header and in the query. {rounds} rounds, in each of which everybody answered as many requests, in an "
            "order that was drawn anew. The ratio is the median of the rounds' ratios to the bare framework; beside it "
            "stands where the middle half of them lies."
        ),
        columns=["", "a request takes", "ratio to bare", "middle half"],
        rows=rows,
        verdicts=verdicts,
        absent=[f"{name}: {reason}" for name, reason in absent.items()],
    )


def everybody(stack: ExitStack) -> tuple[list[Contestant], dict[str, str]]:
    """Return who can take part here, and who cannot, with the reason; `stack` ends what is started for them."""
    absent = absent_peers()
    taking_part = contestants()
    try:
        taking_part += keyguard_on("PostgreSQL", postgres_store(stack.enter_context(postgres_server())))
    except Missing as missing:
        absent["KeyGuard, PostgreSQL"] = str(missing)
    return taking_part + peers(), absent


def section(*, quick: bool = False) -> Section:
    """Measure everybody, and return what was found."""
    with ExitStack() as stack:
        taking_part, absent = everybody(stack)
        run = asyncio.run(measure(taking_part, seconds=10 if quick else 150))
    return as_section(run, absent)


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 s, without a server: what the targets speak of")
    parser.add_argument("--only", default="", help="those whose name has this in it, beside the limits")
    parser.add_argument("--cpu", action="store_true", help="by the CPU time of the one thread: on a busy machine")
    options = parser.parse_args()
    clock = time.thread_time if options.cpu else time.perf_counter
    with ExitStack() as stack:
        taking_part, absent = (contestants(), {}) if options.quick else everybody(stack)
        limits = {BARE, FASTAPI, LITESTAR, "HandWritten", "HandWrittenFresh"}
        wanted = {target.name for target in TARGETS} if options.quick else {each.name for each in taking_part}
        chosen = [
            each for each in taking_part if each.name in limits or (each.name in wanted and options.only in each.name)
        ]
        run = asyncio.run(measure(chosen, seconds=10 if options.quick else 150, clock=clock))
    print(as_text(as_section(run, absent)))


if __name__ == "__main__":
    main()
