"""End to end: requests a second through uvicorn, with and without KeyGuard: `python -m benchmarks.served`.

Each app has a uvicorn process of its own, with one worker. wrk loads one after the other, in an order that is drawn
anew in each round; the figure is the median of the rounds' ratios to the bare app.
"""

import asyncio
import http.client
import logging
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn

from benchmarks.contestants import EVERY_RULE, bare_app
from benchmarks.report import Section, duration, run_alone
from benchmarks.servers import ROOT, Missing, postgres_server
from benchmarks.traffic import PATH
from keyguard import KeyGuard, lifecycle
from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.ports import KeyRegistry
from keyguard.stores.memory import MemoryStore
from keyguard.stores.sql import SQLStore

__all__ = ["section"]

CONNECTIONS = 16
BARE, MEMORY = "bare", "memory"

_SHARE = re.compile(r"(\d+)%\s+([\d.]+)(us|ms|s)\b")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


# --- in the server's process ------------------------------------------------------------------------------------


async def _issue(store: KeyRegistry, entropy: bytes) -> None:
    await lifecycle.add_owner(store, "ada", id="ada")
    await lifecycle.issue(store, "ada", entropy=lambda count: entropy[:count])


async def serve(named: str, port: int, entropy: bytes) -> None:
    """Serve an app with uvicorn: bare, or with a KeyGuard on the store that is named."""
    logging.getLogger("keyguard").setLevel(logging.CRITICAL)
    app = bare_app()
    if named == MEMORY:
        store: KeyRegistry = MemoryStore()
        await _issue(store, entropy)
        app.add_middleware(KeyGuard, store=store, policy=EVERY_RULE)
    elif named != BARE:
        app.add_middleware(KeyGuard, store=SQLStore(named), policy=EVERY_RULE)
    config = uvicorn.Config(app, port=port, loop="asyncio", http="httptools", access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()


# --- in the process that measures -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An app that is served, and the key that wrk sends to it."""

    name: str
    port: int
    key: str
    passes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk says of one app in one round."""

    per_second: float
    p50: float
    p99: float


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving(store: str, entropy: bytes) -> Iterator[int]:
    """Serve an app with uvicorn; return its port when it answers."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.served", "serve", store, f"{port}", entropy.hex()]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", PATH)
            connection.getresponse().read()
            connection.close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("uvicorn has ended")


def load(wrk: str, served: Served, seconds: int) -> Load:
    """Have wrk send requests to an app for so long."""
    command = [wrk, "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"x-api-key: {served.key}"]
    said = subprocess.run(
        [*command, f"http://127.0.0.1:{served.port}{PATH}"], capture_output=True, text=True, check=True
    )
    if ("Non-2xx" in said.stdout) is served.passes or "Socket errors" in said.stdout:
        raise RuntimeError(f"{served.name} gave other answers than it should:\n{said.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)
    shares = {
        share: float(number) * _SECONDS[unit]
        for share, number, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", said.stdout)
    }
    if rate is None:
        raise RuntimeError(f"wrk says nothing of a rate:\n{said.stdout}")
    return Load(per_second=float(rate[1]), p50=shares["50"], p99=shares["99"])


async def _prepare(url: str, entropy: bytes) -> None:
    store = SQLStore(url)
    await store.create_schema()
    await _issue(store, entropy)
    await store.close()


def measure(wrk: str, server: Any, *, rounds: int, seconds: int) -> Section:
    """Return how many requests a second each app answers."""
    entropy = secrets.token_bytes(ENTROPY_BYTES)
    key = from_entropy("kg", entropy).reveal()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        stores = {"KeyGuard, memory": MEMORY, "KeyGuard, SQLite": f"sqlite+aiosqlite:///{Path(folder, 'keys.db')}"}
        if server is not None:
            stores["KeyGuard, PostgreSQL"] = server.url(server.create_database())
        for url in stores.values():
            if url != MEMORY:
                asyncio.run(_prepare(url, entropy))
        bare = Served(name="Starlette, bare", port=stack.enter_context(serving(BARE, entropy)), key=key)
        everybody = [bare]
        for name, store in stores.items():
            everybody.append(Served(name=name, port=stack.enter_context(serving(store, entropy)), key=key))
        malformed = replace(everybody[1], name=f"{everybody[1].name}, malformed key", key=f"{key[:-1]}!", passes=False)
        everybody.append(malformed)
        loads: dict[str, list[Load]] = {served.name: [] for served in everybody}
        for _ in range(rounds):
            for served in random.sample(everybody, len(everybody)):
                loads[served.name].append(load(wrk, served, seconds))
    return Section(
        title="Through a server",
        text=(
            "uvicorn with one worker, asyncio and httptools, each app in a process of its own; wrk on the same machine "
            f"with {CONNECTIONS} connections that are kept open; {rounds} rounds of {seconds} s each. Medians; the "
            "ratio is that of the requests a second within a round."
        ),
        columns=["", "requests a second", "ratio to bare", "p50", "p99"],
        rows=[_row(name, each, loads[bare.name]) for name, each in loads.items()],
    )


def _row(name: str, each: list[Load], bare: list[Load]) -> list[str]:
    ratio = median(one.per_second / other.per_second for one, other in zip(each, bare, strict=True))
    p50, p99 = (median(getattr(one, share) for one in each) for share in ("p50", "p99"))
    return [name, f"{median(one.per_second for one in each):,.0f}", f"{ratio:.2f}", duration(p50), duration(p99)]


def section(*, quick: bool = False) -> Section:
    """Measure, and return what was found. Raises `Missing` without wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Missing("wrk, the load generator, is not in PATH")
    rounds, seconds = (1, 1) if quick else (7, 3)
    with ExitStack() as stack:
        absent: list[str] = []
        server = None
        try:
            server = stack.enter_context(postgres_server())
        except Missing as missing:
            absent = [f"PostgreSQL: {missing}"]
        return replace(measure(wrk, server, rounds=rounds, seconds=seconds), absent=absent)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name, port, entropy]:
            asyncio.run(serve(name, int(port), bytes.fromhex(entropy)))
        case _:
            run_alone("served", __doc__, section)
