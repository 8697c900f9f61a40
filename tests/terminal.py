"""Somebody at a terminal who reads what is asked and types an answer."""

import os
import pty
import select
import signal

import pytest
from leaks import WATCH

PATIENCE = 60.0
"""Seconds that a busy machine may take for anything; reaching it is a failure."""


class Person:
    """Runs a command in a terminal of its own."""

    def __init__(self, command, environment):
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:  # pragma: no cover  # Becomes the command.
            os.execve(command[0], command, environment)
        self.seen = ""

    def reads(self, text):
        """Read until `text` was shown."""
        while text not in self.seen:
            assert self._read(), self.seen

    def types(self, text):
        os.write(self._terminal, text.encode())

    def leaves(self):
        """Read to the end; return the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._terminal)
        WATCH.see("a terminal", self.seen)
        return os.waitstatus_to_exitcode(status)

    def _read(self):
        if not select.select([self._terminal], [], [], PATIENCE)[0]:
            os.kill(self.pid, signal.SIGKILL)
            pytest.fail(f"it shows no more, and does not end:\n{self.seen}")
        try:
            text = os.read(self._terminal, 65536)
        except OSError:  # What Linux says when the other end is closed.
            return False
        self.seen += text.decode()
        return bool(text)
