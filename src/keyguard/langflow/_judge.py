"""What each row of a Langflow database is, seen by itself and beside the others: no store is asked.

A row is judged by what stands in it. The release says nothing: a database that was upgraded has rows of every release
that it has seen, and a variable's type says nothing about whether it was sealed.

A text that begins with ``gAAAAA`` is sealed: that is how each Fernet token begins until the year 2106, and Langflow
takes no value that begins so. If it does not open, then there is nothing: no empty value, and never the text itself.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from keyguard.hashing import Digests, is_bcrypt
from keyguard.keys import Plaintext
from keyguard.langflow._report import LEFT_OUT_FOR, Note
from keyguard.langflow._rows import KeyRow, Source, UserRow, VariableRow
from keyguard.langflow._secret import LangflowSecret
from keyguard.settings import KeyFormat, Keyring
from keyguard.stores._text import json_of
from keyguard.vault import MAX_VALUE_BYTES
from keyguard.vault._vault import MAX_METADATA_BYTES, MAX_NAME_CHARACTERS

__all__ = ["LANGFLOW_KEYS", "Judged", "JudgedKey", "JudgedUser", "JudgedVariable", "is_left_out", "judge"]

LANGFLOW_KEYS = KeyFormat(
    prefix="sk-",
    alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
    min_length=43,
    max_length=43,
    entropy=256,
)
"""The keys that Langflow issues: ``"sk-" + secrets.token_urlsafe(32)``. An app that takes them says so in its keyring:
``Keyring(formats=[LANGFLOW_KEYS])``."""

_SEALED = "gAAAAA"
_HASH = re.compile(r"[0-9a-f]{64}")
_CREDENTIAL = "Credential"
_OF_LANGFLOW = re.compile(r"__\w+__")
"""What Langflow calls the variables in which it keeps settings, such as ``__disabled_models__``."""

_MOST_NAME_CHARACTERS = 600
"""Of a user. With what is put behind a name that is taken, it is less than PostgreSQL takes into an index (2,704 bytes
of UTF-8)."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedUser:
    """A user; `password` is the verifier that can be taken over."""

    row: UserRow
    password: str | None = field(repr=False)
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedKey:
    """A key, and the digests that it may be found by: the first is the one that it gets."""

    row: KeyRow
    lookups: tuple[str, ...] = field(repr=False)
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedVariable:
    """A variable, and the value that it has in plain text; empty if there is none."""

    row: VariableRow
    value: str = field(repr=False)
    notes: tuple[Note, ...]

    @property
    def metadata(self) -> dict[str, object]:
        """What the vault notes of it."""
        return {"type": self.row.type or _CREDENTIAL, "default_fields": self.row.default_fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All rows of a database that can be read."""

    users: Sequence[JudgedUser]
    keys: Sequence[JudgedKey]
    variables: Sequence[JudgedVariable]

    @property
    def notes(self) -> list[Note]:
        """All that there is to say of keys and variables, as often as it is said."""
        return [note for key in self.keys for note in key.notes] + [
            note for variable in self.variables for note in variable.notes
        ]


_Any = TypeVar("_Any", JudgedUser, JudgedKey, JudgedVariable)


def is_left_out(judged: JudgedUser | JudgedKey | JudgedVariable) -> bool:
    """Tell whether a row is left out, whatever the store has."""
    return not LEFT_OUT_FOR.isdisjoint(judged.notes)


def judge(source: Source, secret: LangflowSecret | None, keyring: Keyring, now: datetime) -> Judged:
    """Judge all rows; what is sealed stays so without a secret."""
    open_sealed = secret.open if secret is not None else _closed
    users = _once([_user(row) for row in source.users.known], lambda user: user.row.id)
    is_active = {user.row.id: user.row.is_active for user in users}
    keys = [_key(row, is_active.get(row.user_id), open_sealed, keyring, now) for row in source.keys.known]
    variables = [_variable(row, row.user_id in is_active, open_sealed) for row in source.variables.known]
    keys.sort(key=lambda key: _rank(key.row, now))
    variables.sort(key=lambda variable: variable.row.updated_at or variable.row.created_at or _EARLIEST, reverse=True)
    return Judged(
        users=users,
        keys=_once(_once(_unshared(keys), lambda key: key.lookups[-1]), lambda key: key.row.id),
        variables=_once(variables, lambda variable: (variable.row.user_id, variable.row.name)),
    )


def _closed(sealed: str) -> None:
    """Open nothing."""
    del sealed


_Open = Callable[[str], str | None]


# --- each by itself ---------------------------------------------------------------------------------------------


def _user(row: UserRow) -> JudgedUser:
    notes = [Note.UNREADABLE] if not row.name else []
    notes += [Note.TOO_LONG] if len(row.name) > _MOST_NAME_CHARACTERS else []
    notes += [Note.INACTIVE_USER] if not row.is_active else []
    notes += [Note.SUPERUSER] if row.is_superuser else []
    has_bcrypt = is_bcrypt(row.password)
    notes.append(Note.BCRYPT if has_bcrypt else Note.OTHER_SCHEME if row.password else Note.NO_SIGN_IN)
    return JudgedUser(row=row, password=row.password if has_bcrypt else None, notes=tuple(notes))


def _key(row: KeyRow, owner_is_active: bool | None, open_sealed: _Open, keyring: Keyring, now: datetime) -> JudgedKey:  # noqa: FBT001 It is what is known of the owner, and None if there is none.
    text, notes = _text_of_key(row, open_sealed)
    lookups: list[str] = []
    if text:
        key = Plaintext(text, is_strong=True)
        lookups = Digests(keyring).lookups(key)
        if row.api_key_hash and lookups[-1] != f"sha256${row.api_key_hash}":
            notes.append(Note.CONTRADICTING_HASH)
    elif Note.HASH_ONLY in notes:
        lookups = [f"sha256${row.api_key_hash}"]
    notes += [Note.ORPHAN] if owner_is_active is None else []
    notes += [Note.INACTIVE_OWNER] if owner_is_active is False else []
    notes += [Note.INACTIVE_KEY] if not row.is_active else []
    notes += [Note.EXPIRED] if row.expires_at is not None and row.expires_at <= now else []
    if keyring.max_lifetime is not None and (row.expires_at is None or row.expires_at > now + keyring.max_lifetime):
        notes.append(Note.OUTLIVES_KEYRING)
    return JudgedKey(row=row, lookups=tuple(lookups), notes=tuple(notes))


def _text_of_key(row: KeyRow, open_sealed: _Open) -> tuple[str, list[Note]]:
    """Return the text of a key, empty where it cannot be known, and what that rests on."""
    stored = row.api_key
    if LANGFLOW_KEYS.matches(stored):
        return stored, [Note.PLAINTEXT_KEY]
    # A hash of what is stored is the hash of no key.
    has_hash = _HASH.fullmatch(row.api_key_hash) is not None and row.api_key_hash != _sha256(stored)
    if not stored:
        return "", [Note.HASH_ONLY if has_hash else Note.EMPTY]
    if not stored.startswith(_SEALED):
        return "", [Note.UNKNOWN_FORM]
    opened = open_sealed(stored)
    if opened is None:
        return "", [Note.HASH_ONLY if has_hash else Note.UNDECRYPTABLE]
    if LANGFLOW_KEYS.matches(opened):
        return opened, [Note.DECRYPTED_KEY]
    return "", [Note.DECRYPTED_KEY, Note.UNKNOWN_FORM if opened else Note.EMPTY]


def _sha256(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def _variable(row: VariableRow, has_owner: bool, open_sealed: _Open) -> JudgedVariable:  # noqa: FBT001 It is what is known of the owner.
    value, notes = _value_of(row, open_sealed)
    notes += [Note.ORPHAN] if not has_owner else []
    notes += [Note.LANGFLOW_SETTING] if _OF_LANGFLOW.fullmatch(row.name) else []
    notes += [Note.UNREADABLE] if not row.name else []
    judged = JudgedVariable(row=row, value=value, notes=tuple(notes))
    if (
        len(row.name) > MAX_NAME_CHARACTERS
        or len(value.encode()) > MAX_VALUE_BYTES
        or len(json_of(judged.metadata)) > MAX_METADATA_BYTES
    ):
        judged = _with(judged, Note.TOO_LONG)
    return judged


def _value_of(row: VariableRow, open_sealed: _Open) -> tuple[str, list[Note]]:
    """Return the value of a variable, empty if there is none, and what it is."""
    is_credential = row.type in {_CREDENTIAL, ""}
    kind = Note.CREDENTIAL if is_credential else Note.GENERIC if row.type == "Generic" else Note.OTHER_TYPE
    if not row.value:
        return "", [kind, Note.EMPTY]
    if not row.value.startswith(_SEALED):
        return row.value, [kind, Note.PLAIN_CREDENTIAL if is_credential else Note.PLAIN_VALUE]
    opened = open_sealed(row.value)
    if opened is None:
        return "", [kind, Note.UNDECRYPTABLE]
    return opened, [kind, Note.DECRYPTED_VALUE, *([] if opened else [Note.EMPTY])]


# --- beside the others ------------------------------------------------------------------------------------------


def _rank(row: KeyRow, now: datetime) -> tuple[object, ...]:
    """Return what comes first of several rows of one key: one that lets it in, and the oldest of those."""
    lets_in = row.is_active and (row.expires_at is None or row.expires_at > now)
    return not lets_in, row.created_at or _EARLIEST, row.id


def _unshared(keys: Sequence[JudgedKey]) -> list[JudgedKey]:
    """Leave out the keys that stand for several users: which of them is meant is not for us to say."""
    owners: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        if not is_left_out(key):
            owners[key.lookups[-1]].add(key.row.user_id)
    return [
        _with(key, Note.SHARED) if not is_left_out(key) and len(owners[key.lookups[-1]]) > 1 else key for key in keys
    ]


def _once(rows: Sequence[_Any], identity: Callable[[_Any], object]) -> list[_Any]:
    """Leave out what is the same as a row before it."""
    seen: set[object] = set()
    judged: list[_Any] = []
    for row in rows:
        is_another = is_left_out(row) or identity(row) not in seen
        judged.append(row if is_another else _with(row, Note.DUPLICATE))
        if not is_left_out(row):
            seen.add(identity(row))
    return judged


def _with(row: _Any, note: Note) -> _Any:
    return replace(row, notes=(*row.notes, note))
