"""Callers of the guarded app: one connection to each of the processes that listen on its port."""

import json
import time
from contextlib import ExitStack, contextmanager

from servers.harness import PATIENCE
from servers.wire import Wire, request


class Callers:
    """A connection to each worker, which stays with it: what one of them knows, the other has to know by itself."""

    def __init__(self, wires):
        self._wires = wires

    def call(self, key):
        """Call the app with a key; return the status that each worker answers with, whose answer says who it is."""
        replies = {pid: _ask(wire, "/work", f"X-API-Key: {key}") for pid, wire in self._wires.items()}
        assert all(json.loads(reply.body)["pid"] == pid for pid, reply in replies.items() if reply.status == 200)
        return [reply.status for reply in replies.values()]

    def visit(self, cookies):
        """Open the key page with a browser's cookies; return the status that each worker answers with."""
        sent = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)
        return [_ask(wire, "/keys/", f"Cookie: {sent}").status for wire in self._wires.values()]


def _ask(wire, target, *fields):
    wire.send(request(target, *fields, close=False))
    return wire.reply()


@contextmanager
def callers(server, workers=2):
    """Connect to as many different workers; which of them takes a connection is theirs to settle, so try on."""
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        wires = {}
        while len(wires) < workers:
            assert time.monotonic() < deadline, f"only {len(wires)} of {workers} workers take connections"
            wire = stack.enter_context(
                Wire(server.port)
            )  # Kept open even if it is of no use: a busy worker takes less.
            wires.setdefault(json.loads(_ask(wire, "/health").body)["pid"], wire)
        yield Callers(wires)
