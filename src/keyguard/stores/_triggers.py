"""The triggers that count, in `keyguard_revision`, the changes of what a check reads.

They stand in the database, so that it does not matter who makes a change, or with what: this library, the app's own
code, or a person at a prompt. A check reads a key's id, owner, scopes, networks and times; and of its owner, or of a
user in the app's own table, the id, the name and the two flags. A key's name, digests and passwords move nothing, and a
new key needs not: nothing is remembered of a key that is not there. Values are compared byte by byte, so that two ids
that differ in their case are two ids, whatever a column's collation says.

On SQLite each changed row counts. A row that gives way to another one (``INSERT OR REPLACE``, ``UPDATE OR REPLACE``)
goes without the triggers of DELETE, so what displaces it is watched for. The text of a trigger is kept by the database,
and compared.

On PostgreSQL each transaction counts once, at its very end, so that the revision's row is locked for no longer than a
commit takes; listeners are notified of its number with the commit. That a trigger is the right one is known by its
argument, which nothing else reads, a digest of all that defines it; and by the function, which is that of the schema
where the revision is. A table that has partitions, or from which others inherit, is not watched: its triggers do not
see a partition that is truncated or detached, nor a row of an heir.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import IdentifierPreparer

from keyguard.stores._owners import Owners, UserTable

__all__ = ["CHANNEL", "REVISION_QUERY", "Triggers", "triggers_for", "warn_of_missing"]

CHANNEL = "keyguard"
"""Where PostgreSQL notifies of a revision, its number being the payload."""

REVISION_QUERY = "SELECT n FROM keyguard_revision WHERE id = 1"

_logger = logging.getLogger("keyguard")

_BUMP = "UPDATE keyguard_revision SET n = n + 1 WHERE id = 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trigger:
    name: str
    statements: Sequence[str]
    """What makes it, or makes it anew."""
    is_on_users: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """All triggers of one store's database."""

    function: Sequence[str]
    """What must be there before them."""
    triggers: Sequence[_Trigger]
    removal: Sequence[str]
    """What takes all of them away."""
    name_column: str
    present: str
    """What follows ``SELECT … FROM`` to select those that are in the database just as they should be."""
    users_query: str | None
    """Has a row if there is a table of users that can bear triggers."""

    @property
    def all_there(self) -> str:
        """A scalar expression in SQL: whether all of them are there, enabled and the right ones."""
        return f"(SELECT count(*) = {len(self.triggers)} FROM {self.present})"

    def statements(self) -> list[str]:
        """Return the SQL that makes them, or makes them anew."""
        return self._making(self.triggers)

    def missing(self, fetch: Callable[[str], Sequence[Sequence[Any]]]) -> list[str]:
        """Return the names of those that are not there, not enabled or not the right ones; `fetch` returns rows."""
        there = {name for (name,) in fetch(f"SELECT {self.name_column} FROM {self.present}")}
        return [trigger.name for trigger in self.triggers if trigger.name not in there]

    def install(self, connection: Connection) -> None:
        """Make those that are missing, as far as the tables are there, in the transaction that `connection` is in."""

        def fetch(query: str) -> Sequence[Sequence[Any]]:
            return connection.exec_driver_sql(query).all()

        missing = self.missing(fetch)
        with_users = self.users_query is not None and bool(fetch(self.users_query))
        wanted = [each for each in self.triggers if each.name in missing and (with_users or not each.is_on_users)]
        if wanted:
            for statement in self._making(wanted):
                connection.exec_driver_sql(statement)

    def _making(self, triggers: Sequence[_Trigger]) -> list[str]:
        made = [statement for trigger in triggers for statement in trigger.statements]
        return [*self.function, *made, _BUMP]  # Something may have changed while there were none.


def triggers_for(dialect_name: str, users: UserTable | None) -> Triggers | None:
    """Return the triggers for a database of that dialect, None where Keyguard knows none."""
    if dialect_name == "sqlite":
        return _on_sqlite(users)
    if dialect_name == "postgresql":
        return _on_postgresql(users)
    return None


def warn_of_missing(names: Sequence[str]) -> None:
    """Say in the log which triggers are missing, what that means and what to do."""
    _logger.warning(
        "the database lacks the triggers %s, or has others by these names: nothing vouches for what was read before, "
        "so every check reads its row again; `await store.create_schema()` makes them",
        ", ".join(names),
    )


# --- what is watched --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """A table of whose rows a check reads some columns; names are written as SQL has them."""

    name: str
    """As it stands in the names of its triggers."""
    table: str
    columns: Sequence[str]
    unique: Sequence[str] = ()
    """The columns by which a row of a table of our own can take another one's place."""
    is_users: bool = False
    names: Sequence[str] = ()
    """The columns of a table of users, as they are called."""


_KEYS = _Watched(
    name="keys",
    table="keyguard_keys",
    columns=("id", "owner_id", "scopes", "networks", "not_before", "expires_at", "disabled_at", "revoked_at"),
    unique=("id", "lookup"),
)
_OWNERS = _Watched(
    name="owners",
    table="keyguard_owners",
    columns=("id", "name", "is_active", "is_superuser"),
    unique=("id", "name"),
)


def _users(users: UserTable, table: str, quote: Callable[[str], str]) -> _Watched:
    columns = list(dict.fromkeys(users.columns))
    return _Watched(name="users", table=table, columns=[*map(quote, columns)], is_users=True, names=columns)


def _preparer(dialect: Callable[..., Dialect]) -> IdentifierPreparer:
    return dialect(paramstyle="named").identifier_preparer  # Of this style, it doubles no percent signs.


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# --- SQLite -----------------------------------------------------------------------------------------------------


def _on_sqlite(users: UserTable | None) -> Triggers:
    preparer = _preparer(sqlite.dialect)
    owners, users_query = _OWNERS, None
    if users is not None:
        # A trigger reaches only the tables of its own database, so users stand in the main one, whatever their schema.
        name = Owners(users).name
        owners = _users(users, preparer.quote(name), preparer.quote)
        users_query = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name = {_literal(name)} COLLATE NOCASE"
    triggers = [
        _Trigger(
            name=name,
            statements=(f"DROP TRIGGER IF EXISTS {name}", f"CREATE TRIGGER {name} {event} BEGIN {_BUMP}; END"),
            is_on_users=watched.is_users,
        )
        for watched in (_KEYS, owners)
        for name, event in _sqlite_events(watched)
    ]
    texts = ", ".join(f"({_literal(trigger.name)}, {_literal(trigger.statements[-1])})" for trigger in triggers)
    tables, kinds = ("keys", "owners", "users"), ("insert", "update", "displace", "delete")
    return Triggers(
        function=(),
        triggers=triggers,
        removal=[f"DROP TRIGGER IF EXISTS keyguard_{table}_{kind}" for table in tables for kind in kinds],
        name_column="name",
        present=f"sqlite_master WHERE type = 'trigger' AND (name, sql) IN (VALUES {texts})",
        users_query=users_query,
    )


def _sqlite_events(watched: _Watched) -> Iterator[tuple[str, str]]:
    prefix, table = f"keyguard_{watched.name}", watched.table
    differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column} COLLATE BINARY" for column in watched.columns)
    yield f"{prefix}_update", f"AFTER UPDATE ON {table} WHEN {differs}"
    yield f"{prefix}_delete", f"AFTER DELETE ON {table}"
    if watched.is_users:
        yield f"{prefix}_insert", f"AFTER INSERT ON {table}"
    else:
        same = " OR ".join(f"{column} = NEW.{column}" for column in (*watched.unique, "rowid"))
        yield f"{prefix}_insert", f"BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"
        others = f"rowid <> OLD.rowid AND ({same})"
        yield f"{prefix}_displace", f"BEFORE UPDATE ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {others})"


# --- PostgreSQL -------------------------------------------------------------------------------------------------

_FUNCTION = f"""\
DO $do$
DECLARE
    home name := (
        SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = to_regclass('keyguard_revision')
    );
BEGIN
    EXECUTE format($create$
        CREATE OR REPLACE FUNCTION %1$I.keyguard_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$I, pg_temp AS $body$
        DECLARE
            counted text := pg_current_xact_id() || ' in ' || %1$L;
            present bigint;
        BEGIN
            IF current_setting('keyguard.changed', true) IS DISTINCT FROM counted THEN
                {_BUMP} RETURNING n INTO present;
                PERFORM set_config('keyguard.changed', counted, true);
                PERFORM pg_notify('{CHANNEL}', present::text);
            END IF;
            RETURN NULL;
        END
        $body$
    $create$, home);
END
$do$"""
"""Makes the function, in the schema where the revision is, whoever then changes a row and with what search path.

It has its maker's rights, because whoever may change a user need not be allowed to write into Keyguard's tables. One
transaction may change the tables of several schemas, each of which has its revision.
"""


def _on_postgresql(users: UserTable | None) -> Triggers:
    preparer = _preparer(postgresql.dialect)
    owners, users_query = _OWNERS, None
    if users is not None:
        owners = _users(users, preparer.format_table(Owners(users).table), preparer.quote)
        is_table = f"oid = to_regclass({_literal(owners.table)}) AND relkind = 'r' AND {_has_no_parts('oid')}"
        users_query = f"SELECT relname FROM pg_class WHERE {is_table}"
    triggers: list[_Trigger] = []
    expected: list[str] = []
    for watched in (_KEYS, owners):
        for name, declaration in _postgresql_events(watched):
            digest = sha256(f"{_FUNCTION}\n{declaration}".encode()).hexdigest()[:16]
            statements = (
                f"DROP TRIGGER IF EXISTS {name} ON {watched.table}",
                f"CREATE {declaration} EXECUTE FUNCTION keyguard_changed('{digest}')",
                f"ALTER TABLE {watched.table} ENABLE ALWAYS TRIGGER {name}",
            )
            triggers.append(_Trigger(name=name, statements=statements, is_on_users=watched.is_users))
            expected.append(_is_right(watched, name, digest))
    return Triggers(
        function=[_FUNCTION],
        triggers=triggers,
        removal=["DROP FUNCTION IF EXISTS keyguard_changed() CASCADE"],
        name_column="tgname",
        present=(
            "pg_trigger WHERE tgenabled = 'A' AND tgfoid = to_regprocedure('keyguard_changed()') "
            f"AND ({' OR '.join(expected)})"
        ),
        users_query=users_query,
    )


def _is_right(watched: _Watched, name: str, digest: str) -> str:
    """Return the condition, in SQL, on which a row of `pg_trigger` is the trigger of that name."""
    conditions = [
        f"tgrelid = to_regclass({_literal(watched.table)})",
        f"tgname = '{name}'",
        f"tgargs = decode('{digest.encode().hex()}00', 'hex')",
    ]
    if watched.is_users:
        conditions.append(_has_no_parts("tgrelid"))
        if name.endswith("_update"):
            conditions.append(_compares(watched.names))
    return f"({' AND '.join(conditions)})"


def _has_no_parts(table: str) -> str:
    """Tell, in SQL, that a table has no partitions and none inherits from it."""
    return f"NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = {table})"


def _compares(columns: Sequence[str]) -> str:
    """Tell, in SQL, that a trigger compares these columns: it would follow one that was given another name."""
    return (
        "(SELECT count(DISTINCT attnum) FROM pg_depend "
        "JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid "
        "WHERE classid = 'pg_trigger'::regclass AND objid = pg_trigger.oid AND refobjid = tgrelid "
        f"AND attname IN ({', '.join(map(_literal, columns))})) = {len(columns)}"
    )


def _postgresql_events(watched: _Watched) -> Iterator[tuple[str, str]]:
    prefix, table = f"keyguard_{watched.name}", watched.table
    at_the_end = f"ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    differs = " OR ".join(
        f'OLD.{column}::text COLLATE "C" IS DISTINCT FROM NEW.{column}::text COLLATE "C"' for column in watched.columns
    )
    yield f"{prefix}_update", f"CONSTRAINT TRIGGER {prefix}_update AFTER UPDATE {at_the_end} WHEN ({differs})"
    yield f"{prefix}_delete", f"CONSTRAINT TRIGGER {prefix}_delete AFTER DELETE {at_the_end}"
    yield f"{prefix}_truncate", f"TRIGGER {prefix}_truncate AFTER TRUNCATE ON {table} FOR EACH STATEMENT"
    if watched.is_users:
        yield f"{prefix}_insert", f"CONSTRAINT TRIGGER {prefix}_insert AFTER INSERT {at_the_end}"
