"""Global variables: texts that a user's flows refer to by name, some of them secret.

The value of a Credential is in the vault, and its row says by which name. Each value gets a name of its own that is
never used again, and is sealed before the row is written that points to it. So a row has its value whenever it can be
seen, whichever of two requests comes first and whatever fails: what is left over is a sealed value without a row, which
nobody finds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from keyguard import CannotOpen, NotFound
from keyguard.vault import MAX_VALUE_BYTES
from langflow_server import tables
from langflow_server.problems import BadRequest, Missing
from langflow_server.server import Server

__all__ = [
    "MAX_DEFAULT_FIELDS",
    "Variable",
    "VariableType",
    "add_variable",
    "change_variable",
    "check_value",
    "get_variable",
    "list_variables",
    "remove_variable",
    "text_of",
    "value_of",
    "variable_named",
]

MAX_VARIABLES = 500
"""Of a user: their list is one answer."""

MAX_NAME_CHARACTERS = 255
MAX_DEFAULT_FIELDS = 100

_table = tables.variables


class VariableType(Enum):
    """Whether a variable's value may be shown."""

    CREDENTIAL = "Credential"
    GENERIC = "Generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What may be shown of a variable.

    Attributes:
        id: a UUID.
        name: what flows refer to it by; no two of a user have the same.
        type: whether its value may be shown.
        value: that of a Generic one. None for a Credential.
        default_fields: the fields that it is used for where a flow says nothing, such as "OpenAI API Key"; see
            `langflow_server.flows.providers.Provider.field`.
        sealed_as: by which name the vault has a Credential's value, until it is given another. None for a Generic one.
        created_at: when it was added.
        updated_at: when anything of it was changed.
    """

    id: str
    name: str
    type: VariableType
    value: str | None = field(repr=False)
    default_fields: tuple[str, ...]
    sealed_as: str | None
    created_at: datetime
    updated_at: datetime


async def list_variables(server: Server, user_id: str) -> list[Variable]:
    """Return a user's variables, by name."""
    statement = select(_table).where(_table.c.user_id == user_id).order_by(_table.c.name)
    async with server.database.connect() as connection:
        return [_variable_of(row) for row in await connection.execute(statement)]


async def get_variable(server: Server, user_id: str, variable_id: str) -> Variable:
    """Return a user's variable. Raises `Missing` if there is none of that id, or it is another's: in the same words."""
    variable = await _first(server, _table.c.user_id == user_id, _table.c.id == variable_id)
    if variable is None:
        raise _missing()
    return variable


async def find_variable(server: Server, user_id: str, name: str) -> Variable | None:
    """Return the variable that a user has by that name; None if there is none."""
    return await _first(server, _table.c.user_id == user_id, _table.c.name == name)


async def variable_named(server: Server, user_id: str, name: str) -> Variable:
    """Return the variable that a field refers to. Raises `BadRequest` if there is none."""
    variable = await find_variable(server, user_id, name)
    if variable is None:
        raise BadRequest(f"There is no variable {name!r}. Add it, or name another.")
    return variable


async def value_of(server: Server, user_id: str, variable: Variable) -> str:
    """Return a variable's value, a Credential's too. Only to be used, never to be shown.

    Raises `BadRequest` if a Credential's value is not in the vault, or does not open.
    """
    while variable.sealed_as is not None:
        try:
            return await server.vault.get(user_id, variable.sealed_as)
        except NotFound:
            newer = await _first(server, _table.c.user_id == user_id, _table.c.id == variable.id)
            if newer is None or newer.sealed_as == variable.sealed_as:
                raise BadRequest(f"The Credential {variable.name!r} has no value any more. Give it one.") from None
            variable = newer  # It was given another value a moment ago.
        except CannotOpen:
            raise BadRequest(f"The value of the Credential {variable.name!r} does not open. Give it again.") from None
    return variable.value or ""


async def text_of(server: Server, user_id: str, name: str) -> str:
    """Return the value of a Generic variable, for a field that is not secret.

    Raises `BadRequest` if there is none by that name, and if it is a Credential: a flow could print it.
    """
    variable = await variable_named(server, user_id, name)
    if variable.value is None:
        raise BadRequest(f"The variable {name!r} is a Credential, and only a field that is secret may use it.")
    return variable.value


async def add_variable(
    server: Server,
    user_id: str,
    name: str,
    value: str,
    *,
    type: VariableType,  # noqa: A002 Langflow's word.
    default_fields: Sequence[str] = (),
) -> Variable:
    """Add a variable.

    Raises `BadRequest` if the name or the value is empty or too long, the name is taken, or the user has
    `MAX_VARIABLES`.
    """
    name = _checked_name(name)
    check_value(value)
    _check_fields(default_fields)
    if await find_variable(server, user_id, name) is not None:
        raise _Taken(name)
    if await _number_of(server, user_id) >= MAX_VARIABLES:
        raise BadRequest(f"{MAX_VARIABLES} variables are the most that one user can have.")
    now = datetime.now(UTC)
    variable_id = str(uuid4())
    kept = await _kept(server, user_id, variable_id, type, value)
    row = {
        "id": variable_id,
        "user_id": user_id,
        "name": name,
        "default_fields": list(default_fields),
        "created_at": now,
        "updated_at": now,
    }
    try:
        with _unless_taken(name):
            async with server.database.begin() as connection:
                await connection.execute(insert(_table).values({**row, **kept}))
    except _Taken:  # Somebody was faster.
        await _drop(server, user_id, kept["sealed_as"])
        raise
    return await get_variable(server, user_id, variable_id)


async def change_variable(
    server: Server,
    user_id: str,
    variable_id: str,
    *,
    name: str | None = None,
    value: str | None = None,
    type: VariableType | None = None,  # noqa: A002 Langflow's word.
    default_fields: Sequence[str] | None = None,
) -> Variable:
    """Change what is given of a user's variable, all of it at once.

    Raises:
        Missing: if the user has no such variable.
        BadRequest: as `add_variable`; and if another type is given without a value, because what was secret must not
            be shown and what was shown is not secret.
    """
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = _checked_name(name)
    if value is not None:
        check_value(value)
    if default_fields is not None:
        _check_fields(default_fields)
        changes["default_fields"] = list(default_fields)
    while True:
        old = await get_variable(server, user_id, variable_id)
        kept: dict[str, str | None] = {}
        if value is not None:
            kept = await _kept(server, user_id, variable_id, type or old.type, value)
        elif type not in (None, old.type):
            raise BadRequest("Another type needs another value: give both.")
        try:
            changed = await _replace(server, user_id, old, {**changes, **kept})
        except _Taken:
            await _drop(server, user_id, kept.get("sealed_as"))
            raise
        if changed:
            await _drop(server, user_id, old.sealed_as if kept else None)
            return await get_variable(server, user_id, variable_id)
        await _drop(server, user_id, kept.get("sealed_as"))  # Somebody gave it another value, or removed it.


async def remove_variable(server: Server, user_id: str, variable_id: str) -> None:
    """Remove a user's variable, for good. Raises `Missing`."""
    statement = (
        delete_from(_table).where(_table.c.id == variable_id, _table.c.user_id == user_id).returning(_table.c.sealed_as)
    )
    async with server.database.begin() as connection:
        row = (await connection.execute(statement)).first()
    if row is None:
        raise _missing()
    await _drop(server, user_id, row.sealed_as)


# --- the value ----------------------------------------------------------------------------------------------------


async def _kept(
    server: Server, user_id: str, variable_id: str, type_: VariableType, value: str
) -> dict[str, str | None]:
    """Return what a row says of a value; that of a Credential is sealed by now."""
    if type_ is VariableType.GENERIC:
        return {"type": type_.value, "value": value, "sealed_as": None}
    sealed_as = f"variables/{variable_id}/{uuid4().hex}"
    try:
        await server.vault.put(user_id, sealed_as, value, actor=user_id)
    except NotFound:  # The user was removed a moment ago.
        raise Missing("There is no such user.") from None
    return {"type": type_.value, "value": None, "sealed_as": sealed_as}


async def _drop(server: Server, user_id: str, sealed_as: str | None) -> None:
    """Remove what no row points to any more."""
    if sealed_as is not None:
        await server.vault.remove(user_id, sealed_as, actor=user_id)


# --- the row ------------------------------------------------------------------------------------------------------


async def _replace(server: Server, user_id: str, old: Variable, changes: dict[str, Any]) -> bool:
    """Write what is new, and tell whether the row had the type and the value of `old` until then. Raises `_Taken`."""
    as_it_was = (
        _table.c.id == old.id,
        _table.c.user_id == user_id,
        _table.c.type == old.type.value,
        _table.c.sealed_as.is_not_distinct_from(old.sealed_as),
    )
    statement = update(_table).where(*as_it_was).values({**changes, "updated_at": datetime.now(UTC)})
    with _unless_taken(changes.get("name")):
        async with server.database.begin() as connection:
            return (await connection.execute(statement)).rowcount == 1


async def _number_of(server: Server, user_id: str) -> int:
    statement = select(func.count()).select_from(_table).where(_table.c.user_id == user_id)
    async with server.database.connect() as connection:
        return (await connection.execute(statement)).scalar_one()


async def _first(server: Server, *conditions: ColumnElement[bool]) -> Variable | None:
    async with server.database.connect() as connection:
        row = (await connection.execute(select(_table).where(*conditions))).first()
    return None if row is None else _variable_of(row)


def _variable_of(row: Row[Any]) -> Variable:
    return Variable(
        id=row.id,
        name=row.name,
        type=VariableType(row.type),
        value=row.value,
        default_fields=tuple(row.default_fields),
        sealed_as=row.sealed_as,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


# --- what may stand in it -----------------------------------------------------------------------------------------


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name:
        raise BadRequest("A variable needs a name.")
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise BadRequest(f"A variable's name has up to {MAX_NAME_CHARACTERS} characters, all of them printable.")
    return name


def check_value(value: str) -> None:
    """Raise `BadRequest` if a value cannot be kept."""
    if not value:
        raise BadRequest("A variable needs a value.")
    if "\0" in value or len(value.encode()) > MAX_VALUE_BYTES:
        raise BadRequest(f"A variable's value has up to {MAX_VALUE_BYTES} bytes, none of them zero.")


def _check_fields(default_fields: Sequence[str]) -> None:
    if len(default_fields) > MAX_DEFAULT_FIELDS or any(
        len(each) > MAX_NAME_CHARACTERS or not each.isprintable() for each in default_fields
    ):
        raise BadRequest(
            f"A variable is for up to {MAX_DEFAULT_FIELDS} fields, "
            f"and their names have up to {MAX_NAME_CHARACTERS} printable characters."
        )


class _Taken(BadRequest):
    """The user has another variable of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a variable {name!r} already.")


@contextmanager
def _unless_taken(name: str | None) -> Iterator[None]:
    """Say of a row that could not be written that its name is taken, if it has a new one."""
    try:
        yield
    except IntegrityError:
        if name is None:
            raise
        raise _Taken(name) from None


def _missing() -> Missing:
    return Missing("There is no such variable.")
