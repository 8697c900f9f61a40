"""Whose keys they are: reading owners from Keyguard's own table or from the app's."""

from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Row,
    Select,
    String,
    Table,
    TableClause,
    Text,
    column,
    false,
    select,
    table,
    true,
)
from sqlalchemy.types import TypeEngine

from keyguard.errors import ConfigurationError
from keyguard.model import Owner
from keyguard.stores._text import is_storable

__all__ = ["OWN_OWNERS", "Owners", "UserTable", "owner_of", "shared"]


@dataclass(frozen=True, slots=True)
class UserTable:
    """The app's own user table, in the same database, instead of Keyguard's table of owners.

    Args:
        table: its name, or the SQLAlchemy `Table`, which also says in which schema it stands.
        id: the column that keys refer to. Everywhere else in Keyguard the id is its text: ``"7"`` for 7.
        active: the column that says whether a user is active; NULL is no. None: everybody is.
        superuser: the column that says who is a superuser; NULL is no. None: nobody is.
        name: the column that users are called by. None: the id.
        id_type: the type of the column `id`: `String()` (which is the default), `Integer()`, `Uuid()` … A `Table` knows
            it already.

    Raises:
        ConfigurationError: if a `Table` has no such column, or ids are neither texts nor integers nor UUIDs.
    """

    table: str | Table
    _: KW_ONLY
    id: str = "id"
    active: str | None = "is_active"
    superuser: str | None = "is_superuser"
    name: str | None = None
    id_type: TypeEngine[Any] | None = None
    key_type: TypeEngine[Any] = field(init=False, repr=False, compare=False)
    """The type of the ids, wherever it was said."""

    def __post_init__(self) -> None:
        """Check the columns as far as they are known here."""
        key_type: TypeEngine[Any] = self.id_type or String()
        if isinstance(self.table, Table):
            known = {each.name: each.type for each in self.table.columns}
            for name in self.columns:
                if name not in known:
                    raise ConfigurationError(f"the table {self.table.name!r} has no column {name!r}")
            key_type = known[self.id]
        try:
            is_usable = key_type.python_type in {str, int, UUID}
        except NotImplementedError:  # SQLAlchemy's word for no particular type, before 2.1.
            is_usable = False
        if not is_usable:
            raise ConfigurationError(
                "id_type is String(), Integer(), Uuid() or another type of texts, integers or UUIDs"
            )
        object.__setattr__(self, "key_type", key_type)

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are read."""
        return [name for name in (self.id, self.name, self.active, self.superuser) if name is not None]


OWN_OWNERS = UserTable("keyguard_owners", name="name", id_type=Text())


class Owners:
    """How owners are read, from whichever table."""

    def __init__(self, users: UserTable) -> None:
        self._users = users
        plain: list[ColumnClause[Any]] = [column(name) for name in users.columns if name != users.id]
        own = users.table if isinstance(users.table, Table) else None
        self.schema = own.schema if own is not None else None
        self.name = own.name if own is not None else str(users.table)
        self.table: TableClause = table(self.name, column(users.id, users.key_type), *plain, schema=self.schema)
        self.id: ColumnElement[Any] = self.table.c[users.id]
        self.columns: list[ColumnElement[Any]] = [
            self.id.label("user_id"),
            self.table.c[users.name or users.id].label("user_name"),
            (self.table.c[users.active] if users.active else true()).label("user_active"),
            (self.table.c[users.superuser] if users.superuser else false()).label("user_superuser"),
        ]
        self.names_are_uuids = users.name is None and users.key_type.python_type is UUID
        self.every: Select[Any] = select(*self.columns)

    def id_from(self, text: str) -> Any:  # noqa: ANN401 Whatever the table's ids are.
        """Return the id whose text is `text`, None if there can be none."""
        if not is_storable(text):
            return None
        try:
            value = self._users.key_type.python_type(text)
        except ValueError:
            return None
        too_long = isinstance(value, int) and value.bit_length() > 63  # noqa: PLR2004 What a database's integer holds.
        return None if too_long or str(value) != text else value

    def by_id(self, owner_id: str) -> Select[Any]:
        """Select the owner with that id; no text but an id's finds anything."""
        return self.every.where(self.is_whose(self.id, owner_id))

    def staying(self, owner_id: str) -> Select[Any]:
        """Select the owner with that id, whom nobody removes before the transaction has ended.

        The app's own users are the app's to lock: a key may stay behind when one of them goes, and is found by nobody.
        """
        selected = self.by_id(owner_id)
        return selected.with_for_update(read=True, key_share=True) if self._users is OWN_OWNERS else selected

    def is_whose(self, column: ColumnElement[Any], owner_id: str) -> ColumnElement[bool]:
        """Return the condition that another table's column names that owner; no text but an id's names any."""
        value = self.id_from(owner_id)
        return false() if value is None else column == value

    def by_name(self, name: str) -> Select[Any]:
        """Select the owners whose name is `name` in the eyes of the database, which may not tell letter cases apart."""
        if self._users.name is None:
            return self.by_id(name)
        return self.every.where(self.table.c[self._users.name] == name)


@lru_cache(maxsize=1024)
def shared(text: str) -> str:
    """Return the same object for equal texts: what many keys have, a cache of keys holds once."""
    return text


def owner_of(row: Row[Any] | SimpleNamespace) -> Owner:
    return Owner(
        id=shared(str(row.user_id)),
        name="" if row.user_name is None else shared(str(row.user_name)),
        is_active=row.user_active == 1,  # True is 1; NULL is not, nor is a text such as 'false'.
        is_superuser=row.user_superuser == 1,
    )
