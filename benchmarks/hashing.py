"""What one check of a key costs under each digest: `python benchmarks/hashing.py` prints a table.

All four are measured in turns, so that a busy machine slows all of them alike.
"""

import platform
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from keyguard.hashing import Argon2Hasher, hmac_digest, sha256_digest
from keyguard.keys import ENTROPY_BYTES, from_entropy

ROUNDS = 40
FAST_CALLS = 5_000
"""A fast digest is timed in runs of so many: one alone is as short as the clock's own tick."""


def contestants() -> dict[str, tuple[Callable[[], object], int]]:
    """Return what is measured, by name, and how many calls are one measurement."""
    key = from_entropy("kg", secrets.token_bytes(ENTROPY_BYTES)).reveal().encode()
    pepper = secrets.token_bytes(32)
    owasp, rfc = Argon2Hasher(), PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
    by_owasp, by_rfc = owasp.hash(key), rfc.hash(key)
    return {
        "SHA-256": (lambda: sha256_digest(key), FAST_CALLS),
        "HMAC-SHA-256": (lambda: hmac_digest(pepper, key), FAST_CALLS),
        "Argon2id, 19 MiB, t=2, p=1 (OWASP)": (lambda: owasp.verify(by_owasp, key), 1),
        "Argon2id, 64 MiB, t=3, p=4 (RFC 9106)": (lambda: rfc.verify(by_rfc, key), 1),
    }


def measure(calls: dict[str, tuple[Callable[[], object], int]]) -> dict[str, list[float]]:
    """Return, for each contestant, the seconds that one call took in each round."""
    measured: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, (call, times) in calls.items():
            begin = time.perf_counter()
            for _ in range(times):
                call()
            measured.setdefault(name, []).append((time.perf_counter() - begin) / times)
    return measured


def processor() -> str:
    """Return what the processor calls itself, as far as the platform tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def duration(seconds: float) -> str:
    """Write a duration for people."""
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"  # noqa: PLR2004


if __name__ == "__main__":
    print(f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Python {platform.python_version()} on {sys.platform},")
    print(f"argon2-cffi {version('argon2-cffi')}, argon2-cffi-bindings {version('argon2-cffi-bindings')}\n")
    print("| digest | fastest | median | 90th percentile |\n|---|---:|---:|---:|")
    for name, times in measure(contestants()).items():
        columns = [name, *map(duration, (min(times), median(times), quantiles(times, n=10)[-1]))]
        print(f"| {' | '.join(columns)} |")
