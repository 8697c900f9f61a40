"""What is PostgreSQL's own: how connections are given up, how a change begins, and when all have heard of it.

Nobody waits for long for a connection that does not answer: it is closed at this end, and whoever used it gets an
error. To ask the server to cancel, as a driver would, takes a server that answers.

A read is one statement in a transaction of its own: one round trip. A change begins with a statement that also tells
whether the connection was still good, which costs less than asking that each time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Interval, Row, TextClause, bindparam, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from keyguard.errors import StoreUnavailable
from keyguard.stores._lease import LEASE, MARGIN
from keyguard.stores._triggers import REVISION_QUERY

__all__ = ["begin", "describe", "give_up_in_time", "is_worth_another_try", "present_revision", "wait_until_heard"]

# --- connections ------------------------------------------------------------------------------------------------

_WATCH = "keyguard_watch"


def give_up_in_time(engine: Engine, seconds: float) -> None:
    """Have a connection closed that was made or taken so many seconds ago and has not been given back."""

    def watch(_: DBAPIConnection, entry: ConnectionPoolEntry, *__: PoolProxiedConnection) -> None:
        _let_be(entry.info)
        driver_connection: Any = entry.driver_connection
        entry.info[_WATCH] = asyncio.get_running_loop().call_later(seconds, driver_connection.terminate)

    def release(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        _let_be(entry.info)

    event.listen(engine, "connect", watch, insert=True)  # Before SQLAlchemy asks it for the first time.
    event.listen(engine, "checkout", watch)
    event.listen(engine, "checkin", release)


def _let_be(info: dict[Any, Any]) -> None:
    """Let a connection be used for as long as it takes; `info` is what SQLAlchemy keeps with it."""
    if watch := info.pop(_WATCH, None):
        watch.cancel()


_OUTDATED = "InvalidCachedStatementError"
"""A prepared statement's result would have other columns now: a migration was here. SQLAlchemy prepares it anew."""

_QUOTING = ("22", "23")
"""The classes of errors that quote what was to be stored.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


def is_worth_another_try(error: DBAPIError) -> bool:
    """Tell whether a statement failed that would not, over a new connection or prepared anew."""
    return error.connection_invalidated or type(error.orig).__name__ == _OUTDATED


def describe(error: BaseException) -> str:
    """Return what an error of a driver says, unless it quotes what a statement was given."""
    if not hasattr(error, "sqlstate"):
        return str(error)
    state: str | None = getattr(error, "sqlstate", None)
    original = error.__cause__ or error  # asyncpg's own, without the details, which quote as well.
    name = type(original).__name__
    return name if state is None or state.startswith(_QUOTING) else f"{name}: {original.args[0]}"


# --- changes ----------------------------------------------------------------------------------------------------

_BEGIN = """
SELECT set_config('lock_timeout', '{milliseconds}', true), set_config(
    'synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
    true
)
"""
"""A revocation that a crash undoes was none; and a lock is waited for no longer than anything else."""

_PART_FOR_LOCKS = 0.8
"""The part of the time after which a connection is given up. So who waits for a lock learns that it was one."""

_ALONE = "SELECT pg_advisory_xact_lock(hashtext('keyguard'))"


def begin(connection: Connection, seconds: float | None) -> None:
    """Say what holds for the transaction that has just begun, whose connection is given up after so many seconds.

    None is for one that changes tables: it waits until no other such one is under way, and may take any time.
    """
    if seconds is None:
        _let_be(connection.info)
    milliseconds = 0 if seconds is None else max(1, round(seconds * _PART_FOR_LOCKS * 1000))
    connection.exec_driver_sql(_BEGIN.format(milliseconds=milliseconds))
    if seconds is None:
        connection.exec_driver_sql(_ALONE)


def present_revision(connection: Connection) -> int | None:
    """Return the number that the revision has when this transaction is committed, None if its row is not there.

    The triggers wait for the end of a transaction: this is the end. If they count, the row of the revision is locked
    from here to the commit.
    """
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    number: int | None = connection.exec_driver_sql(REVISION_QUERY).scalar()
    return number


# --- until all have heard ---------------------------------------------------------------------------------------

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05

_UNHEARD = text(
    "SELECT id FROM keyguard_listener WHERE revision < :revision AND expires_at + :margin > clock_timestamp() LIMIT 1"
).bindparams(bindparam("revision", type_=BigInteger), bindparam("margin", timedelta(seconds=MARGIN), type_=Interval))

_Read = Callable[[TextClause, dict[str, Any]], Awaitable[Sequence[Row[Any]]]]


async def wait_until_heard(
    read: _Read,
    revision: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Return when every worker that trusts its memory has acknowledged `revision`, which is committed.

    That takes a lease and the margin at most: by then no worker has a lease from before the commit, and whoever gets a
    new one reads the new revision first. So this is waited for where the database cannot be asked: the change is done,
    and all that can fail is to learn early that everybody has heard of it.

    `read` returns the rows that a statement selects.
    """
    end = clock() + LEASE + MARGIN
    pause = _FIRST_PAUSE
    while (left := end - clock()) > 0:
        try:
            # A read goes on when it is not waited for any more: a server that does not answer may keep it for longer.
            unheard = await asyncio.wait_for(asyncio.shield(read(_UNHEARD, {"revision": revision})), left)
        except StoreUnavailable:
            await sleep(end - clock())
        except TimeoutError:
            return
        else:
            if not unheard:
                return
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
