"""Whether a database has what a store needs, and making it: tables, notes and triggers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.exc import NoSuchTableError

from keyguard.errors import SchemaMismatch, WrongPepper
from keyguard.stores._owners import Owners, UserTable
from keyguard.stores._schema import REVISION, VERSION, Schema, version_table
from keyguard.stores._triggers import Triggers

__all__ = ["Seen", "Tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found in a database whose tables are as they should be."""

    pepper: str
    """The note of it: its check value, empty where there is none."""
    missing_triggers: Sequence[str]


class Tables:
    """The tables of one store, in the database that a connection leads to."""

    def __init__(
        self,
        schema: Schema,
        *,
        users: UserTable | None,
        owners: Owners,
        triggers: Triggers | None,
        pepper_checks: Sequence[str],
    ) -> None:
        self._schema = schema
        self._users = users
        self._owners = owners
        self._triggers = triggers
        self._pepper_checks = pepper_checks

    def look(self, connection: Connection) -> Seen:
        """Return what is there. Raises `SchemaMismatch` or `WrongPepper`."""
        there = inspect(connection)
        tables = set(there.get_table_names())
        notes = self._notes(connection) if self._schema.meta.name in tables else {}
        if notes:
            _check_version(notes)  # First, because another version has other tables.
        if not self._schema.metadata.tables.keys() <= tables:
            raise SchemaMismatch(
                "the database has no Keyguard tables, or not all of them: `await store.create_schema()` makes them, "
                "before the server starts"
            )
        if not notes:
            raise SchemaMismatch(
                "the table keyguard_meta is empty: `await store.create_schema()` fills it, before the server starts"
            )
        if self._users is not None:
            try:
                columns = {each["name"] for each in there.get_columns(self._owners.name, self._owners.schema)}
            except NoSuchTableError:
                raise SchemaMismatch(f"the database has no table {self._owners.name!r}") from None
            if missing := set(self._users.columns) - columns:
                raise SchemaMismatch(f"the table {self._owners.name!r} has no column {min(missing)!r}")
        self.pepper_to_note(notes["pepper"])
        triggers = self._triggers
        return Seen(
            pepper=notes["pepper"],
            missing_triggers=triggers.missing(lambda query: connection.exec_driver_sql(query).all())
            if triggers
            else [],
        )

    def create(self, connection: Connection) -> None:
        """Make what is not there yet. Raises `SchemaMismatch` if there are tables of another version."""
        schema = self._schema
        # An app that makes the tables of `metadata` itself has the one of the notes empty at first.
        if inspect(connection).has_table(schema.meta.name) and (noted := self._notes(connection)):
            _check_version(noted)
        schema.metadata.create_all(connection)
        version_table.create(connection, checkfirst=True)
        if not self._notes(connection):
            notes = [{"name": "schema", "value": VERSION}, {"name": "pepper", "value": ""}]
            connection.execute(insert(schema.meta), notes)
        if connection.execute(select(schema.revision)).first() is None:
            connection.execute(insert(schema.revision).values(id=1, n=0))
        if connection.execute(select(version_table)).first() is None:
            connection.execute(insert(version_table).values(version_num=REVISION))
        if self._triggers:
            self._triggers.install(connection)

    def note_pepper(self, connection: Connection) -> None:
        """Note the first pepper. Raises `WrongPepper`: another process may have noted one meanwhile."""
        value, is_pepper = self._schema.meta.c.value, self._schema.meta.c.name == "pepper"
        noted = connection.execute(select(value).where(is_pepper).with_for_update()).scalar_one()
        connection.execute(update(self._schema.meta).where(is_pepper).values(value=self.pepper_to_note(noted)))

    def pepper_to_note(self, noted: str) -> str:
        """Return what is to be noted of the peppers: the first one's check value.

        Raises `WrongPepper` if the one that is noted is not among them: the keys that it made would all be dead.
        """
        checks = self._pepper_checks
        if noted and noted not in checks:
            raise WrongPepper(
                "the keys in this database were made under a pepper that is not among those given"
                if checks
                else "the keys in this database were made under a pepper, and none was given"
            )
        return checks[0] if checks else noted

    def _notes(self, connection: Connection) -> dict[str, str]:
        return {row.name: row.value for row in connection.execute(select(self._schema.meta))}


def _check_version(notes: Mapping[str, str]) -> None:
    if notes.get("schema") != VERSION or "pepper" not in notes:
        raise SchemaMismatch(
            f"the database's Keyguard tables are of version {notes.get('schema')!r}, and this library needs "
            f"{VERSION!r}: `await keyguard.migrations.upgrade(store)` brings older ones up to date"
        )
