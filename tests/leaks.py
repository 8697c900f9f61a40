"""Watches, over the whole suite, that no key shows where keys must not show.

It learns every key where it comes to be in this process: each text that becomes a `keyguard.keys.Plaintext` (a key that
is issued, read or adopted, the token of a session that begins, a password that is verified) and each value that is
found in a request as a `keyguard.extract.Candidate`; of a vault each secret key and each value that is put, sealed or
opened. What a test gives to a program of its own, it registers with `WATCH.key`.

It looks into these channels, and into no other, so that a test may hold a key, print it and put it into a request:

- every log record of every logger at DEBUG, as `logging` hands it on: message, arguments, traceback, `extra`. The
  loggers of HTTP and WebSocket clients are left out: they write what the test itself has sent;
- every message that an app sends through `asgi`: status, headers, body, close reason;
- every SQLite file below a test's `tmp_path`, with its `-wal`, `-shm` and `-journal`, when the test is over;
- what tests hand in with `WATCH.see`: logs of servers, reprs of objects, texts and tracebacks of exceptions.

A key shows where twelve characters in a row of its secret stand, as they are or percent-encoded. Of a key of
Keyguard's own form that is what follows the id; the id may be shown. Too short or too uniform to be told from other
texts, and so not watched, are: a `Plaintext` of fewer than 12 characters, a `Candidate` of fewer than 20, and whatever
has fewer than six different characters in twelve. A digest that is presented as a key is no key. Of what Hypothesis
makes up only keys of Keyguard's own form are: it also tries words from our own source.
"""

import asyncio
import contextvars
import functools
import gc
import logging
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from traceback import format_exception
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from hypothesis import currently_in_test_context

from keyguard.extract import Candidate
from keyguard.keys import ApiKey, Plaintext
from keyguard.vault import SecretKeys

__all__ = ["WATCH", "Leak", "install"]

RUN = 12
PART = 6
STRIDE = RUN - PART + 1
"""Wherever a run stands in a text, one of the parts that the text has at every so many characters lies within it."""
SHORTEST_CANDIDATE = 20
MOST_WAITING = 10_000
FEWEST_DIFFERENT = 6

_SECRETS = re.compile(r"[0-9A-Za-z]{16,}")  # Longer than an id, which has 12.
_STORED_FORM = re.compile(r"(hmac-)?sha256\$|\$argon2|[0-9a-f]{64}$")
_CLIENTS = ("httpx", "httpcore", "websockets.client", "urllib3", "hpack")
_LOUD = ("", "aiosqlite", "asyncio", "keyguard", "sqlalchemy")
_WATCHED_FRAMES = ("keyguard", "sqlalchemy", "aiosqlite")
_PLAIN_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_READ_DATABASES = """
import sys
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith(b"SQLite format 3\\0") or path.endswith(("-wal", "-shm", "-journal")):
        sys.stdout.buffer.write(content + b"\\0")
"""


class Leak(NamedTuple):
    """A place where a key shows."""

    channel: str
    around: str

    def __str__(self):
        return f"{self.channel}: …{self.around!r}…"


class Watch:
    """The keys that are known, and what was seen since it was last judged."""

    def __init__(self):
        self._keys = set()
        self._runs = set()
        self._parts = set()
        self._seen = {}
        self._leaks = []
        self._databases = set()
        self.texts = 0

    @property
    def keys(self):
        """How many different keys are watched."""
        return len(self._keys)

    # --- what is looked for ---

    def knows(self, text):
        """Tell whether `text` is a key that is watched."""
        return text in self._keys

    def key(self, text):
        """Watch for `text`, a key that was issued or presented."""
        if len(text) < RUN or text in self._keys or _STORED_FORM.match(text):
            return
        runs = {
            secret[start : start + RUN]
            for secret in _SECRETS.findall(text) or [text]
            for start in (*range(0, len(secret) - RUN + 1, RUN), len(secret) - RUN)
        }
        # Words with blanks between them stand in other texts as well.
        runs = {run for run in runs if len(set(run)) >= FEWEST_DIFFERENT and " " not in run}
        if runs:
            self._keys.add(text)
            self._runs |= runs
            self._parts |= {run[start : start + PART] for run in runs for start in range(STRIDE)}

    def candidate(self, value):
        """Watch for what was found in a request, if it is long enough to be told from other texts."""
        if len(value) >= SHORTEST_CANDIDATE:
            self.key(value.decode("latin-1"))

    # --- where it is looked for ---

    def see(self, channel, text):
        """Look at `text`, a str or bytes, when the test is over; `channel` names the place in the report."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        self._seen.setdefault((channel, text))
        if len(self._seen) >= MOST_WAITING:
            self._look()

    def see_record(self, record):
        """Look at a log record: all that any formatter or handler could write of it, but for variables in frames."""
        if record.name.startswith(_CLIENTS):
            return
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # The arguments do not fit the message; logging complains about that itself.
            message = str(record.msg)
        extra = {name: value for name, value in vars(record).items() if name not in _PLAIN_RECORD}
        parts = [message, repr(record.args), repr(extra), record.exc_text or "", record.stack_info or ""]
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            parts += format_exception(record.exc_info[1])
            self.see_exception(record.exc_info[1])
        self.see(f"log record of {record.name!r}", "\n".join(parts))

    def see_exception(self, problem):
        """Look at what an exception says, and at what an error reporter shows: each frame of ours with its variables.

        Frames of the test hold keys by right and are left out; so are causes that Python itself does not print.
        """
        while problem is not None:
            self.see(f"text of {type(problem).__name__}", f"{problem}\n{problem!r}\n{problem.args!r}")
            traceback = problem.__traceback__
            while traceback is not None:
                frame, traceback = traceback.tb_frame, traceback.tb_next
                if _module(frame).startswith(_WATCHED_FRAMES):
                    variables = {name: _shown(value) for name, value in frame.f_locals.items()}
                    self.see(f"variables of {frame.f_code.co_qualname} in a traceback", repr(variables))
            problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)

    def see_frames(self, frames, *, but=()):
        """Look at all that the local variables of our frames lead to; return the names of their functions."""
        ours = [frame for frame in frames if _module(frame).startswith(_WATCHED_FRAMES)]
        for frame in ours:
            self.see_all(f"variables of {frame.f_code.co_name}", frame.f_locals, but=but)
        return [frame.f_code.co_name for frame in ours]

    def see_all(self, channel, root, *, but=()):
        """Look at every text that `root` leads to, through any container, object, closure or coroutine.

        It does not go into `but`, nor into what leads to everything: modules, classes, loggers and event loops.
        """
        waiting, met = [root], {id(thing): thing for thing in but}
        while waiting:
            thing = waiting.pop()
            if id(thing) in met:
                continue
            met[id(thing)] = thing  # Kept, so that no other object gets its id.
            if isinstance(thing, str | bytes | bytearray | memoryview):
                self.see(channel, thing if isinstance(thing, str) else bytes(thing))
            elif not isinstance(thing, _LEADING_EVERYWHERE):
                waiting += _reached_from(thing)

    def see_databases(self, folder):
        """Look at the SQLite files in `folder`, through another process.

        To open and close one here would drop the locks that SQLite holds for this process.
        """
        stamps = {(path, path.stat().st_size, path.stat().st_mtime_ns) for path in _files(folder)}
        new = sorted(str(path) for path, *_ in stamps - self._databases)
        self._databases |= stamps
        for start in range(0, len(new), 100):
            command = [sys.executable, "-I", "-S", "-c", _READ_DATABASES, *new[start : start + 100]]
            content = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout
            self.see(f"a database file in {folder}", re.sub(rb"\0{2,}", b"\0", content))

    # --- what came of it ---

    def judge(self):
        """Return the leaks in what was seen since the last time."""
        self._look()
        leaks, self._leaks = self._leaks, []
        return leaks

    def _look(self):
        seen, self._seen = self._seen, {}
        self.texts += len(seen)
        self._leaks += [Leak(channel, around) for channel, text in seen for around in self._shows(text)]

    @contextmanager
    def provoked(self):
        """Give the leaks in what is seen inside of the block; they are taken as intended."""
        before, leaks = self.judge(), []
        try:
            yield leaks
        finally:
            leaks += self.judge()
            self._leaks = before

    def _shows(self, text) -> Iterable[str]:
        decoded = unquote_to_bytes(text).decode("latin-1") if "%" in text else ""
        for form in (text, decoded):
            if self._parts.isdisjoint([form[start : start + PART] for start in range(0, len(form), STRIDE)]):
                continue  # A million texts are looked at, nearly all of them in vain: this is seven times as quick.
            for start in range(len(form) - RUN + 1):
                if form[start : start + RUN] in self._runs:
                    end = start + RUN
                    yield f"{form[max(0, start - 60) : start]}»{form[start:end]}«{form[end : end + 60]}"
                    return


WATCH = Watch()


def _shown(value):
    try:
        return repr(value)
    except Exception as problem:  # noqa: BLE001 As an error reporter does: what cannot be shown does not leak.
        return f"<{type(problem).__name__}>"


def _module(frame):
    return frame.f_globals.get("__name__", "")


_LEADING_EVERYWHERE = (ModuleType, type, CodeType, logging.Logger, asyncio.AbstractEventLoop, contextvars.Context)


def _reached_from(thing):
    if isinstance(thing, FunctionType):
        return [thing.__closure__, thing.__defaults__, thing.__kwdefaults__, vars(thing)]
    if isinstance(thing, FrameType):
        return [*thing.f_locals.values()]
    return gc.get_referents(thing)


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def make_loud():
    """Let every logger write at DEBUG; tests and frameworks set levels of their own."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)


def learn_from_vaults():
    """Learn each secret key where it is given, and each value where it is opened; what is put is a `Plaintext`."""
    secret_keys, opened = SecretKeys.__init__, SecretKeys.open

    @functools.wraps(secret_keys)
    def making_secret_keys(self, keys):
        given = keys if isinstance(keys, str) else [*keys]
        for key in [given] if isinstance(given, str) else given:
            if isinstance(key, str):
                WATCH.key(key)
        secret_keys(self, given)

    @functools.wraps(opened)
    def opening(self, sealed, **place):
        value = opened(self, sealed, **place)
        if not currently_in_test_context():
            WATCH.key(value)
        return value

    SecretKeys.__init__ = making_secret_keys
    SecretKeys.open = opening


def install():
    """Learn each key where it comes to be, and each log record where it is handed on."""
    learn_from_vaults()
    plaintext, candidate, handle = Plaintext.__init__, Candidate.__init__, logging.Logger.handle

    @functools.wraps(plaintext)
    def making_plaintext(self, text, *, is_strong):
        if isinstance(self, ApiKey) or not currently_in_test_context():
            WATCH.key(text)
        plaintext(self, text, is_strong=is_strong)

    @functools.wraps(candidate)
    def making_candidate(self, source, value):
        if not currently_in_test_context():
            WATCH.candidate(value)
        candidate(self, source, value)

    @functools.wraps(handle)
    def handling(self, record):
        WATCH.see_record(record)
        handle(self, record)

    Plaintext.__init__ = making_plaintext
    Candidate.__init__ = making_candidate
    logging.Logger.handle = handling
