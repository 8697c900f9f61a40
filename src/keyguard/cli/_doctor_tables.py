"""What `doctor` sees in a database of either kind: the tables and their notes, and the times that stand in them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import NoSuchTableError

from keyguard.cli._findings import Finding, fine, problem, unknown, warning
from keyguard.cli._shown import amount_of
from keyguard.clock import utc_now
from keyguard.errors import ConfigurationError
from keyguard.settings import Keyring
from keyguard.stores._owners import Owners
from keyguard.stores._schema import REVISION, VERSION, version_table
from keyguard.stores._triggers import Triggers, triggers_for
from keyguard.stores.sql import SQLStore
from keyguard.vault import FILE_VARIABLE, KEY_VARIABLE, SecretFile, SecretKeys

__all__ = ["clock_finding", "look"]

_ANOTHER_VERSION = "That shows when the tables are as they should be."
_TOLERABLE = timedelta(seconds=5)
"""By which clocks may differ: keys expire by the worker's clock, and nobody sees to the second when."""

_BAD = timedelta(minutes=1)
_MOST_PEPPERS = 2
"""The new one and the one that it replaces."""


def look(connection: Connection, store: SQLStore) -> list[Finding]:
    """Return what is to be said of a store's tables. It only reads."""
    tables = set(inspect(connection).get_table_names())
    meta = store.metadata.tables["keyguard_meta"]
    notes = {row.name: row.value for row in connection.execute(select(meta))} if meta.name in tables else {}
    schema = _schema(connection, store, tables, notes)
    found = [schema, _pepper(store.keyring, notes.get("pepper"))]
    if schema.verdict.value == "problem":
        return [*found, *(unknown(about, _ANOTHER_VERSION) for about in ("triggers", "secret key", "times"))]
    return [*found, _triggers(connection, store), _secrets(connection, store), *_times(connection, store)]


def clock_finding(difference: timedelta) -> Finding:
    """Return what is to be said of how far the database server's clock is ahead of this machine's."""
    seconds = difference.total_seconds()
    if abs(difference) <= _TOLERABLE:
        return fine("clock", "The database server's clock and this machine's agree.")
    side = "ahead of" if seconds > 0 else "behind"
    what = f"The database server's clock is {abs(seconds):.0f} s {side} this machine's."
    to_do = "Have both set by NTP: what expires when is judged by the clock of each worker."
    return (problem if abs(difference) > _BAD else warning)("clock", what, to_do)


# --- the tables -------------------------------------------------------------------------------------------------


def _schema(connection: Connection, store: SQLStore, tables: set[str], notes: Mapping[str, str]) -> Finding:
    about, version = "schema", notes.get("schema")
    if not notes:
        what = "There are no Keyguard tables here." if "keyguard_meta" not in tables else "keyguard_meta is empty."
        return problem(about, what, "Is it the right database? `keyguard init` makes the tables.")
    if version != VERSION:
        what = f"The tables are of version {version}, and this Keyguard needs {VERSION}."
        is_later = str(version).isdecimal() and int(str(version)) > int(VERSION)
        to_do = (
            "Update Keyguard to the one that made them." if is_later else "`keyguard migrate` brings them up to date."
        )
        return problem(about, what, to_do)
    if missing := store.metadata.tables.keys() - tables:
        return problem(about, f"There is no table {min(missing)}.", "`keyguard init` makes it.")
    if (wrong := _users(connection, store)) is not None:
        return problem(about, wrong, "Is the store's UserTable the one that the app has?")
    revision = _revision(connection, tables)
    if revision != REVISION:
        what = f"The tables are of version {VERSION}, and Alembic's note says {revision}, not {REVISION}."
        return warning(about, what, f"If only the note is wrong, set keyguard_alembic_version to {REVISION}.")
    return fine(about, f"The tables are of version {VERSION}, which is this Keyguard's.")


def _revision(connection: Connection, tables: set[str]) -> str | None:
    if version_table.name not in tables:
        return None
    return connection.execute(select(version_table.c.version_num)).scalar()


def _users(connection: Connection, store: SQLStore) -> str | None:
    """Say what is wrong with the app's user table, if owners live there."""
    if store.users is None:
        return None
    owners = Owners(store.users)
    try:
        columns = {each["name"] for each in inspect(connection).get_columns(owners.name, owners.schema)}
    except NoSuchTableError:
        return f"There is no table {owners.name}, where the owners should be."
    missing = sorted({*store.users.columns} - columns)
    return f"The table {owners.name} has no column {missing[0]}." if missing else None


def _triggers(connection: Connection, store: SQLStore) -> Finding:
    about = "triggers"
    triggers = cast("Triggers", triggers_for(connection.dialect.name, store.users))  # These two kinds have them.

    def fetch(query: str) -> Sequence[Sequence[Any]]:
        return connection.exec_driver_sql(query).all()

    if missing := triggers.missing(fetch):
        return problem(
            about,
            f"Missing, disabled or of another text: {', '.join(missing)}. So nothing vouches for what was read before, "
            "and each check reads its row.",
            "`keyguard init` makes them.",
        )
    return fine(about, f"All {len(triggers.triggers)} are there.")


# --- peppers and secret keys ------------------------------------------------------------------------------------


def _pepper(keyring: Keyring, noted: str | None) -> Finding:
    about, checks = "pepper", keyring.pepper_checks
    given = amount_of(len(checks), "pepper")
    if noted is None:
        return unknown(about, "There is no note of it.")
    if noted and noted not in checks:
        what = f"The keys were made under a pepper that is not among those given, of which there are {len(checks)}."
        return problem(about, what, "Set KEYGUARD_PEPPERS to what the app has. The app itself would not start so.")
    if not checks:
        return fine(about, "None is used, and none is given.")
    if len(checks) > _MOST_PEPPERS:
        to_do = "Each key is looked for under each of them: take out those that no key needs any more."
        return warning(about, f"There are {given}.", to_do)
    if noted != checks[0]:
        return fine(about, f"{given} given; the app's next start notes the first.")
    return fine(about, f"{given} given; the first is the one that is noted.")


def _secrets(connection: Connection, store: SQLStore) -> Finding:
    """Compare the secret keys in the environment with what sealed the credentials; nothing is opened or made."""
    about, table = "secret key", store.metadata.tables["keyguard_credentials"]
    rows = connection.execute(select(table.c.sealed_with, func.count()).group_by(table.c.sealed_with))
    sealed = {str(check): int(count) for check, count in rows}
    count = amount_of(sum(sealed.values()), "credential")
    try:
        checks = _secret_checks()
    except ConfigurationError as error:
        return problem(about, f"It cannot be used: {error}.", "Correct it. The app's vault would not open so.")
    if checks is None and sealed:
        return unknown(about, f"{count} sealed, and no secret key is given.", f"Set {KEY_VARIABLE}, as the app has it.")
    if not checks and not sealed:
        return fine(about, "No credential is sealed, and there is no secret key.")
    strange, older = _sealed_otherwise(sealed, checks or ())
    if strange:
        what = f"{amount_of(strange, 'credential')} of {count} sealed with a key that is not given."
        return problem(about, what, "Put the lost key behind the others. Nothing else opens them.")
    if older:
        what = f"{amount_of(older, 'credential')} of {count} sealed with an older key."
        return warning(about, what, "`keyguard vault rotate` seals them with the first; then the older key can go.")
    return fine(about, f"{count} sealed with the first of {amount_of(len(checks or ()), 'secret key')}.")


def _secret_checks() -> Sequence[str] | None:
    """Return the check values of the secret keys; none where their file is not made yet, None without any setting."""
    if not {KEY_VARIABLE, FILE_VARIABLE} & os.environ.keys():
        return None
    keys = SecretKeys.from_environment(os.environ)
    read = keys.read() if isinstance(keys, SecretFile) else keys
    return read.checks if read else ()


def _sealed_otherwise(sealed: Mapping[str, int], checks: Sequence[str]) -> tuple[int, int]:
    """Return how many are sealed with keys that are not there, and how many with others than the first."""
    strange = sum(number for check, number in sealed.items() if check not in checks)
    older = sum(number for check, number in sealed.items() if check in checks[1:])
    return strange, older


# --- times ------------------------------------------------------------------------------------------------------


def _times(connection: Connection, store: SQLStore) -> Iterator[Finding]:
    """Look for what lies in the future: then a clock was, or is, wrong."""
    tables, now = store.metadata.tables, utc_now()
    newest = {
        "key": tables["keyguard_keys"].c.created_at,
        "event": tables["keyguard_events"].c.at,
        "use": tables["keyguard_uses"].c.last_used_at,
    }
    for what, column in newest.items():
        at: datetime | None = connection.execute(select(func.max(column))).scalar()
        if at is not None and at - now > _TOLERABLE:
            ahead = round((at - now).total_seconds())
            yield warning(
                "times",
                f"The newest {what} is of a time that is {ahead} s ahead of this machine's clock.",
                "Either this clock is slow, or another one was fast: keys may expire too late, or too early.",
            )
            return
    yield fine("times", "Nothing that was noted lies in the future.")
