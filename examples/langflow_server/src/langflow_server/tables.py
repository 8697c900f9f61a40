"""The server's own tables. Owners, keys, sessions and sealed credentials are Keyguard's, in the same database."""

from datetime import UTC, datetime

from sqlalchemy import JSON, Boolean, Column, DateTime, Index, MetaData, String, Table, Text, UniqueConstraint
from sqlalchemy.types import TypeDecorator

__all__ = ["flows", "metadata", "profiles", "variables"]

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """An aware time, in UTC whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:
        """Make UTC of it: SQLite drops what is said of the zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        """Say that it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


profiles = Table(
    "langflow_profiles",
    metadata,
    Column("user_id", String(255), primary_key=True),  # The id of an owner.
    Column("profile_image", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("last_login_at", Instant),
)

flows = Table(
    "langflow_flows",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("endpoint_name", String(255)),
    Column("is_public", Boolean, nullable=False, default=False),  # Whether it is a tool of the MCP server.
    Column("data", JSON, nullable=False),  # The graph. What is secret in it is a mark; its value is in the vault.
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("user_id", "name"),
    UniqueConstraint("user_id", "endpoint_name"),
    Index("langflow_flows_public", "is_public"),
)

variables = Table(
    "langflow_variables",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("type", String(255), nullable=False),
    Column("value", Text),  # Of a "Generic" one.
    Column("sealed_as", String(255)),  # Of a "Credential": the name by which the vault has its value.
    Column("default_fields", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("user_id", "name"),
)
