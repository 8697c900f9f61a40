"""How a command ends: the exit codes, and which exception leads to which."""

import re
from collections.abc import Sequence
from enum import IntEnum

from keyguard.errors import (
    CannotOpen,
    ConfigurationError,
    Conflict,
    InvalidKey,
    KeyguardError,
    NotFound,
    NotSupported,
    StartRefused,
    StoreUnavailable,
)

__all__ = ["ExitCode", "Failed", "NotPrinted", "failure_of", "masked"]


class ExitCode(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    FOUND = 1
    """It was asked to look for problems, and has found one."""
    USAGE = 2
    """The command line cannot be right, or what it asks for was not confirmed; nothing was done."""
    NOT_FOUND = 3
    CONFLICT = 4
    """A name or an id is taken, a key's state does not allow it, or this store cannot do it."""
    MISMATCH = 5
    """Database and program do not belong together: schema, pepper or secret key."""
    UNREACHABLE = 6
    """The database cannot be reached, or does not answer."""
    UNEXPECTED = 70
    """A mistake in Keyguard itself."""
    NOT_PRINTED = 74
    """What was asked for could not be written to standard output."""
    INTERRUPTED = 130


class Failed(Exception):
    """A command cannot do what it was asked for: the sentence is for people, and holds no secret."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class NotPrinted(Failed):
    """Standard output takes nothing any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror or error}", ExitCode.NOT_PRINTED)
        self.reader_is_gone: bool = isinstance(error, BrokenPipeError)
        """As in ``keyguard key list | head``: it has seen enough."""


_CODES: Sequence[tuple[type[KeyguardError], ExitCode]] = (
    (ConfigurationError, ExitCode.USAGE),
    (InvalidKey, ExitCode.USAGE),
    (NotFound, ExitCode.NOT_FOUND),
    (Conflict, ExitCode.CONFLICT),
    (NotSupported, ExitCode.CONFLICT),
    (CannotOpen, ExitCode.MISMATCH),
    (StartRefused, ExitCode.MISMATCH),
    (StoreUnavailable, ExitCode.UNREACHABLE),
)

_CALLS = {
    "`await store.create_schema()`": "`keyguard init`",
    "`await keyguard.migrations.upgrade(store)`": "`keyguard migrate`",
}
"""What the library's sentences advise in Python, and what it is called here."""


def failure_of(error: KeyguardError) -> Failed:
    """Return what an exception of the library means to whoever typed the command."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)
    sentence = str(error)
    for call, command in _CALLS.items():
        sentence = sentence.replace(call, command)
    return Failed(sentence, code)


_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):[^\s/]*@")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9A-Za-z_-])"
"""What follows `sk-` in the name of a key that came from Langflow, whose id this is."""

_KEY = re.compile(
    rf"([a-z0-9_]{{1,16}}_[0-9A-Za-z]{{4}})[0-9A-Za-z]{{8}}_[0-9A-Za-z]{{16,}}|(sk-)(?!{_UUID})[0-9A-Za-z_-]{{16,}}"
)


def masked(text: str) -> str:
    """Return a text without the passwords of URLs and without keys, whatever brought them into it."""
    text = _PASSWORD.sub(r"\1:…@", text)
    return _KEY.sub(lambda match: f"{match[1] or match[2]}…", text)
