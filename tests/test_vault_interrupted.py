"""A process that is killed while it seals everything again leaves nothing half done, and the next one goes on."""

import os
import signal
import subprocess
import sys

import pytest
from vaults import ADA, NEW, OLD, opened, place_of

from keyguard.model import AuditKind
from keyguard.vault import SecretKeys, Vault

NUMBER = 60
BATCH = 7

CHILD = """
import asyncio
import sys

from keyguard.stores.sql import SQLStore
from keyguard.vault import SecretKeys, Vault


class Telling(SQLStore):
    async def credentials_to_reseal(self, sealed_with, *, limit):
        print("asks", flush=True)
        sys.stdin.readline()
        return await super().credentials_to_reseal(sealed_with, limit=limit)

    async def reseal_credentials(self, resealed, *, events=()):
        print("writes", flush=True)
        sys.stdin.readline()
        return await super().reseal_credentials(resealed, events=events)


async def rotate(url, batch, keys):
    store = Telling(url)
    try:
        await Vault(store, SecretKeys(keys)).rotate(batch=int(batch), actor="a process")
    finally:
        await store.close()


asyncio.run(rotate(sys.argv[1], sys.argv[2], sys.argv[3:]))
"""


class Process:
    """Another process that rotates, one step at a time."""

    def __init__(self, url):
        self.child = subprocess.Popen(
            [sys.executable, "-c", CHILD, url, str(BATCH), NEW, OLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def steps(self, number):
        """Let it take so many steps; the last one is begun, and it may be anywhere in it."""
        for _ in range(number):
            assert self.child.stdout.readline() in {"asks\n", "writes\n"}
            self.child.stdin.write("go\n")
            self.child.stdin.flush()

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.communicate(timeout=60)
        assert self.child.returncode == -signal.SIGKILL


async def noted(store):
    """How many were sealed again, as the audit log says."""
    found = await store.list_events(kinds={AuditKind.CREDENTIALS_RESEALED})
    return sum(event.detail["count"] for event in found)


async def at_rest(store):
    """The credentials when nothing changes any more: a server may still commit what a dead client has sent."""
    while True:
        before, credentials = await noted(store), await store.list_credentials()
        if await noted(store) == before:
            return credentials


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_a_killed_process_has_begun_is_finished_by_the_next(request, kind):
    """Killed between two batches or in the middle of one, it has sealed whole batches, each with its event."""
    url = place_of(request, kind)
    async with opened(url) as store:
        old, new = SecretKeys([OLD]).checks[0], SecretKeys([NEW]).checks[0]
        vault = Vault(store, SecretKeys([OLD, NEW]))
        values = {f"TOKEN{n}": f"the value with the number {n}" for n in range(NUMBER)}
        for name, value in values.items():
            await vault.put(ADA, name, value)
        done = [0]
        for steps in (1, 2, 5, 6):
            process = Process(url)
            process.steps(steps)
            process.kill()
            credentials = await at_rest(store)
            done.append(sum(credential.sealed_with == new for credential in credentials))
            assert {credential.sealed_with for credential in credentials} <= {old, new}
            assert {name: await vault.get(ADA, name) for name in values} == values
            assert done[-1] == await noted(store)
            assert done[-1] % BATCH == 0
        assert done == sorted(done)
        assert 0 < done[-1] < NUMBER
        assert await Vault(store, SecretKeys([NEW, OLD])).rotate(batch=BATCH) == NUMBER - done[-1]
        assert await noted(store) == NUMBER
        alone = Vault(store, SecretKeys([NEW]))
        await alone.open()
        assert {name: await alone.get(ADA, name) for name in values} == values
