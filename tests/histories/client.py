"""Uses keys: a quick HTTP client that notes when a use began, when it ended, and what was answered."""

import asyncio
import time
from dataclasses import dataclass

from histories.checker import Answer, Use

__all__ = ["Gone", "Key", "Line", "Worker", "connect"]

PATIENCE = 30.0
"""Seconds that an answer may take; a worker that is stopped on purpose is not waited for by anybody."""


class Gone(Exception):
    """The worker has ended the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key that clients use."""

    id: str
    text: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that answers at a port of its own."""

    port: int
    pid: int


class Line(asyncio.Protocol):
    """A connection that is kept, to one worker: one request after the other."""

    def __init__(self, worker):
        self.worker = worker
        self._received = b""
        self._answer = None
        self._turn = asyncio.Lock()
        self._is_lost = False

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, exc):
        self._is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Gone)

    def data_received(self, data):
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if end and self._answer is not None and not self._answer.done():
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) >= length:
                self._received = rest[length:]
                self._answer.set_result((int(head[9:12]), rest[:length]))

    async def get(self, path, key):
        """Return status and body. Raises `Gone`."""
        async with self._turn:
            if self._is_lost:
                raise Gone
            self._answer = asyncio.get_running_loop().create_future()
            self._transport.write(b"GET %b HTTP/1.1\r\nHost: h\r\nX-API-Key: %b\r\n\r\n" % (path, key.text.encode()))
            async with asyncio.timeout(PATIENCE):
                return await self._answer

    async def use(self, key):
        """Return the `Use` that was made of `key`, None where nobody could judge it (503)."""
        start = time.monotonic_ns()
        status, body = await self.get(b"/who", key)
        end = time.monotonic_ns()
        match status:
            case 200:
                pid, owner, superuser = body.decode().split(" ")
                assert (int(pid), owner) == (self.worker.pid, key.owner), body
                answer = Answer.SUPERUSER if superuser == "True" else Answer.PASSED
            case 401:
                answer = Answer.REFUSED
            case 503:
                return None
            case _:
                raise AssertionError(status, body)
        return Use(key=key.id, start=start, end=end, pid=self.worker.pid, answer=answer)

    def close(self):
        self._transport.close()


async def connect(worker):
    """Return a `Line` to `worker`."""
    _, line = await asyncio.get_running_loop().create_connection(lambda: Line(worker), "127.0.0.1", worker.port)
    return line
