"""What `doctor` sees of a database of PostgreSQL's: the server, its clock, and whether workers hear of changes."""

import asyncio
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from keyguard.cli._doctor_tables import clock_finding, look
from keyguard.cli._findings import Finding, fine, problem, warning
from keyguard.cli._shown import amount_of
from keyguard.clock import utc_now
from keyguard.stores._database import Database
from keyguard.stores._triggers import triggers_for
from keyguard.stores._vouchers import voucher_for
from keyguard.stores.sql import SQLStore

__all__ = ["examine", "listener_finding", "server_finding"]

_PATIENCE = 8.0
"""Seconds within which a lease is granted: a listener waits five for its first notification."""

_SERVER = "SELECT pg_is_in_recovery() AS is_standby, current_setting('fsync') AS fsync, clock_timestamp() AS now"
_LEASES = "SELECT count(*) FROM keyguard_listener WHERE expires_at > clock_timestamp()"


async def examine(store: SQLStore) -> list[Finding]:
    """Return what is to be said of a store in PostgreSQL. Raises `StoreUnavailable` if it cannot be reached."""
    database = Database(store.url)
    try:
        found = await database.inspect(lambda connection: [*_server(connection), *look(connection, store)])
        if any(each.about == "schema" and each.verdict.value == "problem" for each in found):
            return found
        leases = await database.inspect(lambda connection: int(connection.exec_driver_sql(_LEASES).scalar_one()))
        return [*found, _workers(leases), await listener_finding(database, store)]
    finally:
        await database.close()


def _server(connection: Connection) -> Iterator[Finding]:
    before = utc_now()
    row = connection.exec_driver_sql(_SERVER).one()
    here = before + (utc_now() - before) / 2
    yield server_finding(is_standby=row.is_standby, fsync=row.fsync)
    yield clock_finding(row.now - here)


def server_finding(*, is_standby: bool, fsync: str) -> Finding:
    """Return what is to be said of a server."""
    about = "server"
    if is_standby:
        return problem(about, "It is a standby: what it has is older than what was changed.", "Lead to the primary.")
    if fsync != "on":
        to_do = "Set fsync = on, wherever keys are worth something."
        return warning(about, "It runs with fsync = off: a crash can undo a revocation.", to_do)
    return fine(about, "It is a primary, and what it has confirmed outlives a crash.")


def _workers(leases: int) -> Finding:
    about = "workers"
    if not leases:
        return fine(about, "None holds a lease at this moment: none runs, or none was asked.")
    return fine(about, f"{amount_of(leases, 'lease')} held, by workers who so hear of changes.")


async def listener_finding(database: Database, store: SQLStore) -> Finding:
    """See whether a lease is granted here, which takes a notification that arrives."""
    about = "listener"
    if database.driver != "asyncpg":
        return warning(
            about,
            f"With the driver {database.driver} no worker can listen: each check reads its row.",
            "Give the store a URL with asyncpg: postgresql+asyncpg://…",
        )
    voucher = voucher_for(database, triggers_for(database.backend, store.users), store.listen_url)
    with _log_kept() as said:
        await voucher.open(())
        try:
            async with asyncio.timeout(_PATIENCE):
                while voucher.token() is None:  # noqa: ASYNC110 A voucher tells nobody when it begins to vouch.
                    await asyncio.sleep(0.02)
        except TimeoutError:
            reason = said[-1] if said else "no lease was granted"
            return problem(
                about,
                f"{reason[0].upper()}{reason[1:]}. So each check reads its row.",
                "For this command, KEYGUARD_LISTEN_URL is that listen_url.",
            )
        finally:
            await voucher.aclose()
    return fine(about, "A lease was granted and a notification arrived. For that a row was written, and removed.")


@contextmanager
def _log_kept() -> Generator[list[str]]:
    """Give what is written to the log meanwhile, and show it nowhere: it becomes part of a finding."""
    said: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log = logging.getLogger("keyguard")
    before, keepers = log.handlers, list[logging.Handler]([Keeper()])
    log.handlers = keepers
    try:
        yield said
    finally:
        log.handlers = before
