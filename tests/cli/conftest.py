"""Runs commands in this process, as a person types them."""

import asyncio
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest
from leaks import WATCH

from keyguard.cli._commands import app
from keyguard.stores.sql import SQLStore


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Terminal:
    """Types commands: `terminal("key", "list")`; what it is given as `stdin` is no terminal's."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments, stdin="", **environment):
        """Run a command with further environment variables."""
        WATCH.key(stdin.strip())  # Whatever is typed there is a secret.
        out, err = io.StringIO(), io.StringIO()
        with self._monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                app([str(each) for each in arguments], prog_name="keyguard")
        WATCH.see(f"standard error of {arguments[:2]}", err.getvalue())
        if not {"init", "issue", "rotate"} & {*arguments}:  # These print a new key, by right.
            WATCH.see(f"standard output of {arguments[:2]}", out.getvalue())
        return Ran(ended.value.code, out.getvalue(), err.getvalue())

    def app(self, work):
        """Return what `work` does with the database's store, as an app would."""

        async def done():
            store = SQLStore("sqlite+aiosqlite:///keys.db")
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(done())


@pytest.fixture
def ada(terminal):
    """A terminal at a database with the owner ada, who has no key."""
    assert terminal("init").code == 0
    assert terminal("owner", "add", "ada").code == 0
    return terminal


@pytest.fixture
def key(ada):
    """The id of a key of ada's, called ci."""
    return ada("key", "issue", "ada", "--name", "ci", "--json").json["key"]["id"]


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """A terminal in an empty directory, without any of Keyguard's environment variables but the database's."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KEYGUARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYGUARD_DATABASE_URL", "sqlite:///keys.db")
    return Terminal(monkeypatch)
