"""What the command line takes from the environment: how keys are made and checked.

It must say what the app says in Python, or keys that are issued here are no good there.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import typer

from keyguard.cli._failures import Failed
from keyguard.cli._values import duration
from keyguard.langflow import LANGFLOW_KEYS
from keyguard.settings import KeyFormat, Keyring

__all__ = ["VARIABLES", "keyring_of"]

VARIABLES = {
    "KEYGUARD_DATABASE_URL": "the database, where `--database` does not name it",
    "KEYGUARD_STORE": "the app's own store, as `--store` names it, where neither option is given",
    "KEYGUARD_LISTEN_URL": "PostgreSQL: the same database directly, past any pooler, as `SQLStore(listen_url=...)`",
    "KEYGUARD_PREFIX": "what new keys begin with, as `Keyring(prefix=...)`; `kg` without it",
    "KEYGUARD_PEPPERS": "the peppers, in the order of `Keyring(peppers=...)`, with blanks or line ends between them",
    "KEYGUARD_PEPPERS_FILE": "a file with the peppers, one a line, instead of KEYGUARD_PEPPERS",
    "KEYGUARD_FORMATS": "further forms of key, as `Keyring(formats=...)`: `langflow` for those that Langflow issued",
    "KEYGUARD_MAX_LIFETIME": "the longest life of a new key, such as `90d`, as `Keyring(max_lifetime=...)`",
}
"""Each variable that is read, and what it is for; the vault reads those of its secret keys itself."""


def keyring_of(environ: Mapping[str, str]) -> Keyring:
    """Return the keyring that the environment describes.

    Raises `Failed` or `ConfigurationError` if it describes none; no message quotes a pepper.
    """
    return Keyring(
        prefix=environ.get("KEYGUARD_PREFIX") or "kg",
        peppers=_peppers(environ),
        formats=_formats(environ.get("KEYGUARD_FORMATS", "")),
        max_lifetime=_max_lifetime(environ.get("KEYGUARD_MAX_LIFETIME", "")),
    )


def _peppers(environ: Mapping[str, str]) -> list[str]:
    here, file = environ.get("KEYGUARD_PEPPERS", ""), environ.get("KEYGUARD_PEPPERS_FILE", "")
    if here and file:
        raise Failed("KEYGUARD_PEPPERS and KEYGUARD_PEPPERS_FILE are both set: which of them holds the peppers?")
    try:
        if not file:
            here.encode()
            return here.split()
    except UnicodeEncodeError:  # What is no text in the environment becomes halves of surrogate pairs.
        raise Failed("KEYGUARD_PEPPERS is not UTF-8") from None
    try:
        return [line for line in Path(file).read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failed(f"the file of KEYGUARD_PEPPERS_FILE cannot be read: {reason}") from None


_FORMATS = {"langflow": LANGFLOW_KEYS}


def _formats(text: str) -> list[KeyFormat]:
    if unknown := set(text.split()) - _FORMATS.keys():
        raise Failed(f"KEYGUARD_FORMATS knows {' and '.join(map(repr, _FORMATS))}; not {min(unknown)!r}")
    return [_FORMATS[name] for name in dict.fromkeys(text.split())]


def _max_lifetime(text: str) -> timedelta | None:
    try:
        return duration(text) if text else None
    except typer.BadParameter as error:
        raise Failed(f"KEYGUARD_MAX_LIFETIME: {error}") from None
