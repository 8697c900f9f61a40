"""What a store does in one transaction, as a function of the connection that is in it."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Insert, Update
from sqlalchemy.exc import IntegrityError

from keyguard.errors import Conflict

__all__ = ["Change", "execute"]

_T = TypeVar("_T")

Change = Callable[[Connection], _T]


def execute(connection: Connection, statement: Insert | Update) -> int:
    """Execute `statement` and return how many rows it touched. Raises `Conflict` where something unique is taken."""
    try:
        return connection.execute(statement).rowcount
    except IntegrityError:
        raise Conflict("that id, name or lookup is taken already") from None
