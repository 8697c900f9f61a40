"""The tables, as data.

How they may change: each change is a migration in `keyguard.migrations` and moves both numbers below. `VERSION` is what
a store compares when it opens; `REVISION` is the same place in Alembic's words, so that `create_schema` can note it
without Alembic.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeEngine

from keyguard.errors import ConfigurationError, StoreUnavailable

__all__ = ["REVISION", "VERSION", "VERSION_TABLE", "Instant", "Schema", "version_table"]

VERSION = "4"
REVISION = "0004"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class _NaiveTime(ConfigurationError, DontWrapMixin):
    """Reaches the caller as it is, not wrapped into SQLAlchemy's error with the statement's parameters."""


class Instant(TypeDecorator[datetime]):
    """A time as microseconds since 1970 in UTC: an integer, which no database rounds or strips of its zone.

    Raises `ConfigurationError` for a datetime without a zone.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 SQLAlchemy's signature.
        """Return what is stored."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise _NaiveTime("a time is an aware datetime; this one has no time zone")
        return (value - _EPOCH) // _TICK

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 Likewise.
        """Return the time that was stored, in UTC."""
        try:
            return None if value is None else _EPOCH + value * _TICK
        except (OverflowError, TypeError):
            raise StoreUnavailable("a time in the database is not a number of microseconds since 1970") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of one store. There is no table of owners where they live in the app's own."""

    metadata: MetaData
    meta: Table
    keys: Table
    owners: Table | None
    revision: Table
    """One row: how many transactions have changed what a check reads."""
    listener: Table
    """A row for each worker that trusts what it has read before, while its lease lasts."""
    uses: Table
    flushes: Table
    """The last batch of uses that each worker has written."""
    events: Table
    """Who changed what, and when: a row for each change, which stays when what it speaks of is gone."""
    credentials: Table
    sessions: Table | None
    """Who has signed in, and stays so until when; of the app's own users that is the app's affair."""

    @classmethod
    def build(cls, app_owner_id: TypeEngine[Any] | None) -> "Schema":
        """Return the tables; `app_owner_id` is the type of the ids in the app's own user table, if that is used."""
        metadata = MetaData()
        meta = Table(
            "keyguard_meta",
            metadata,
            Column("name", Text, primary_key=True),
            Column("value", Text, nullable=False),
        )
        owners = sessions = None
        if app_owner_id is None:
            owners = Table(
                "keyguard_owners",
                metadata,
                Column("id", Text, primary_key=True),
                Column("name", Text, nullable=False),
                Column("is_active", Boolean, nullable=False),
                Column("is_superuser", Boolean, nullable=False),
                Column("password", Text),
                Column("created_at", Instant, nullable=False),
                UniqueConstraint("name", name="uq_keyguard_owners_name"),
            )
            sessions = Table(
                "keyguard_sessions",
                metadata,
                Column("lookup", Text, primary_key=True),
                Column("owner_id", Text, nullable=False, index=True),
                Column("created_at", Instant, nullable=False),
                Column("expires_at", Instant, nullable=False, index=True),
            )
        keys = Table(
            "keyguard_keys",
            metadata,
            Column("id", Text, primary_key=True),
            Column("lookup", Text, nullable=False),
            Column("verifier", Text, nullable=False),
            Column("owner_id", app_owner_id or Text, nullable=False),
            Column("prefix", Text, nullable=False),
            Column("name", Text, nullable=False),
            Column("scopes", Text, nullable=False),
            Column("networks", Text, nullable=False),
            Column("created_at", Instant, nullable=False),
            Column("not_before", Instant),
            Column("expires_at", Instant),
            Column("disabled_at", Instant),
            Column("revoked_at", Instant),
            Column("revoked_reason", Text, nullable=False),
            Column("rotated_at", Instant),
            Column("rotated_from", Text),
            Column("metadata", Text, nullable=False, server_default="{}"),
            UniqueConstraint("lookup", name="uq_keyguard_keys_lookup"),
            # By which they are listed, page by page: all of them, and those of one owner.
            Index("ix_keyguard_keys_created_at", "created_at", "id"),
            Index("ix_keyguard_keys_owner_id_created_at", "owner_id", "created_at", "id"),
        )
        revision = Table(
            "keyguard_revision",
            metadata,
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("n", BigInteger, nullable=False),
        )
        listener = Table(
            "keyguard_listener",
            metadata,
            Column("id", Text, primary_key=True),
            Column("revision", BigInteger, nullable=False),
            Column("expires_at", DateTime(timezone=True), nullable=False),
        )
        uses = Table(
            "keyguard_uses",
            metadata,
            Column("key_id", Text, primary_key=True),
            Column("total", BigInteger, nullable=False),
            Column("last_used_at", Instant),
            Column("last_used_address", Text),
        )
        flushes = Table(
            "keyguard_flushes",
            metadata,
            Column("worker", Text, primary_key=True),
            Column("sequence", BigInteger, nullable=False),
            Column("written_at", Instant, nullable=False),
        )
        events = Table(
            "keyguard_events",
            metadata,
            Column("id", Integer().with_variant(BigInteger, "postgresql"), primary_key=True),
            Column("at", Instant, nullable=False),
            Column("kind", Text, nullable=False),
            Column("actor", Text, nullable=False),
            Column("key_id", Text, index=True),
            Column("owner_id", Text, index=True),
            Column("detail", Text, nullable=False),
            sqlite_autoincrement=True,  # No number is given twice, even if the newest events were deleted.
        )
        credentials = Table(
            "keyguard_credentials",
            metadata,
            Column("owner_id", app_owner_id or Text, primary_key=True, autoincrement=False),
            Column("name", Text, primary_key=True),
            Column("sealed", Text, nullable=False),
            Column("sealed_with", Text, nullable=False),
            Column("created_at", Instant, nullable=False),
            Column("updated_at", Instant, nullable=False),
            Column("metadata", Text, nullable=False, server_default="{}"),
        )
        if owners is not None and sessions is not None:
            for table in (keys, credentials, sessions):
                table.append_constraint(
                    ForeignKeyConstraint(
                        [table.c.owner_id], [owners.c.id], name=f"fk_{table.name}_owner_id", ondelete="CASCADE"
                    )
                )
        return cls(
            metadata=metadata,
            meta=meta,
            keys=keys,
            owners=owners,
            revision=revision,
            listener=listener,
            uses=uses,
            flushes=flushes,
            events=events,
            credentials=credentials,
            sessions=sessions,
        )


VERSION_TABLE = "keyguard_alembic_version"

version_table = Table(
    VERSION_TABLE,
    MetaData(),  # Not the schema's: Alembic looks after this one, and would report it as a table too many.
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""Just as Alembic makes it."""
