"""The rows of a Langflow database, of whatever release, made from what a driver gives.

SQLite has ids as 32 hexadecimal digits, times as texts without a zone, in UTC, and truth as 0 and 1. PostgreSQL has a
type for each of them. Both can be found in either, so each value is read by what it is.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from keyguard.stores._text import is_storable

__all__ = ["KEYS", "USERS", "VARIABLES", "KeyRow", "Rows", "Source", "Table", "UserRow", "VariableRow"]

_KEY_IN_TEXT = re.compile(r"sk-[A-Za-z0-9_-]{43}")
"""In the name of a key: somebody has called it by itself, and that is not to be shown."""

_MOST_USES = 10**15
"""A database counts to nine thousand times as many, and goes on counting from here: it must not run over."""

_Row = TypeVar("_Row")
_Values = Mapping[str, Any]
"""A row by the names of its columns; a column that the table has not is not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A row of the table `user`."""

    id: str
    name: str
    password: str = field(repr=False)
    is_active: bool
    is_superuser: bool
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A row of the table `apikey`."""

    id: str
    user_id: str
    name: str
    api_key: str = field(repr=False)
    api_key_hash: str = field(repr=False)
    is_active: bool
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    total_uses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableRow:
    """A row of the table `variable`."""

    id: str
    user_id: str
    name: str
    value: str = field(repr=False)
    type: str
    default_fields: list[str]
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Generic[_Row]):
    """The rows of a table, and how many more there are that cannot be read."""

    known: Sequence[_Row] = ()
    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a Langflow database holds of users, keys and variables."""

    users: Rows[UserRow]
    keys: Rows[KeyRow]
    variables: Rows[VariableRow]


# --- rows, of whatever kind of database -------------------------------------------------------------------------


def _user_of(values: _Values) -> UserRow:
    return UserRow(
        id=_id(values["id"]),
        name=_text(values["username"]),
        password=_text(values.get("password")),
        is_active=_flag(values.get("is_active")),
        is_superuser=_flag(values.get("is_superuser")),
        created_at=_time(values.get("create_at", values.get("created_at"))),
    )


def _key_of(values: _Values) -> KeyRow:
    return KeyRow(
        id=_id(values["id"]),
        user_id=_reference(values["user_id"]),
        name="" if _KEY_IN_TEXT.search(_raw(values.get("name"))) else _text(values.get("name")),
        api_key=_raw(values["api_key"]),
        api_key_hash=_raw(values.get("api_key_hash")),
        is_active=_flag(values.get("is_active", True)),
        created_at=_time(values.get("created_at")),
        expires_at=_time(values.get("expires_at")),
        last_used_at=_time(values.get("last_used_at")),
        total_uses=min(max(0, int(values.get("total_uses") or 0)), _MOST_USES),
    )


def _variable_of(values: _Values) -> VariableRow:
    return VariableRow(
        id=_id(values["id"]),
        user_id=_reference(values["user_id"]),
        name=_text(values["name"]),
        value=_utf8(values["value"]),
        type=_text(values.get("type")),
        default_fields=_texts(values.get("default_fields")),
        created_at=_time(values.get("created_at")),
        updated_at=_time(values.get("updated_at")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[_Row]):
    """A table of Langflow's: the columns that each release has, those that only some have, and what a row makes."""

    name: str
    needed: AbstractSet[str]
    others: AbstractSet[str]
    row: Callable[[_Values], _Row]

    def read(self, rows: Iterable[_Values]) -> Rows[_Row]:
        """Return the rows that can be read, and count the others."""
        known: list[_Row] = []
        unreadable = 0
        for values in rows:
            try:
                known.append(self.row(values))
            except (ValueError, TypeError, OverflowError):
                unreadable += 1
        return Rows(known=known, unreadable=unreadable)


USERS = Table(
    name="user",
    needed={"id", "username"},
    others={"password", "is_active", "is_superuser", "create_at", "created_at"},
    row=_user_of,
)
KEYS = Table(
    name="apikey",
    needed={"id", "user_id", "api_key"},
    others={"name", "api_key_hash", "is_active", "created_at", "expires_at", "last_used_at", "total_uses"},
    row=_key_of,
)
VARIABLES = Table(
    name="variable",
    needed={"id", "user_id", "name", "value"},
    others={"type", "default_fields", "created_at", "updated_at"},
    row=_variable_of,
)


# --- values -----------------------------------------------------------------------------------------------------


def _id(value: object) -> str:
    """Return an id as 32 hexadecimal digits with dashes, in lower case."""
    return str(value if isinstance(value, UUID) else UUID(_raw(value)))


def _reference(value: object) -> str:
    """Return the id of another row, empty where it is none: then it leads nowhere."""
    try:
        return _id(value)
    except (TypeError, ValueError):
        return ""


def _raw(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value


def _utf8(value: object) -> str:
    text = _raw(value)
    text.encode()
    return text


def _text(value: object) -> str:
    text = _raw(value)
    if not is_storable(text):
        raise ValueError
    return text


_FLAGS: Mapping[object, bool] = {
    **dict.fromkeys([None, "", 0, "0", "f", "false"], False),
    **dict.fromkeys([1, "1", "t", "true"], True),
}


def _flag(value: object) -> bool:
    """Return what is true or false, NULL being false; another text or number than those known is neither."""
    answer = _FLAGS.get(value.lower() if isinstance(value, str) else value)
    if answer is None:
        raise ValueError
    return answer


def _time(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(_raw(value))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _texts(value: object) -> list[str]:
    """Return a list of texts that stands there as JSON, empty if it is anything else: it only fills forms."""
    try:
        content: object = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):  # It may be nested as deep as whoever wrote it liked.
        content = None
    if not isinstance(content, list):
        return []
    return [item for item in cast("list[object]", content) if isinstance(item, str) and is_storable(item)]
