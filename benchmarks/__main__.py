"""Runs all benchmarks, one after the other: `python -m benchmarks [--quick] [name ...]`.

All of them, and not quick, they also write the tables of the manual, `benchmarks/results.md`: unless the machine has
other work to do, because on a busy one not even the order of the rows is right.
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks import checks, effect, scale, scaling, served, stalls
from benchmarks.report import Section, as_markdown, as_text
from benchmarks.servers import Missing, version_of_postgres

RESULTS = Path(__file__).with_name("results.md")

QUIET = 1.0
"""The load average before the run up to which a machine is quiet: hardly one program that wanted a core."""

BENCHMARKS: dict[str, Callable[..., Section]] = {
    "checks": checks.section,
    "served": served.section,
    "effect": effect.section,
    "scale": scale.section,
    "stalls": stalls.section,
    "scaling": scaling.section,
}


def _servers() -> list[str]:
    """Return the programs beside Python that were measured, or measured with."""
    found = [version_of_postgres()]
    if wrk := shutil.which("wrk"):
        said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout.split()
        found.append(f"wrk {said[1]}")
    return [each for each in found if each]


def load_average() -> float:
    """Return how many programs wanted a core in the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and nothing is written")
    parser.add_argument("--note", default="", help="a sentence for the page, such as what is special about the machine")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {min(unknown)!r}, only {', '.join(BENCHMARKS)}")
    load = load_average()
    sections = []
    for name, run in BENCHMARKS.items():
        if name in options.names or not options.names:
            try:
                sections.append(run(quick=options.quick))
            except Missing as missing:
                print(f"\n{name} is left out: {missing}")
            else:
                print(as_text(sections[-1]), flush=True)
    if options.names or options.quick:
        return
    if load > QUIET:
        print(f"\nnot written: the load average was {load:.1f} before the run, so these figures are worth nothing")
    else:
        RESULTS.write_text(as_markdown(sections, servers=_servers(), note=options.note), "utf-8")
        print(f"\nwritten to {RESULTS}")


if __name__ == "__main__":
    main()
