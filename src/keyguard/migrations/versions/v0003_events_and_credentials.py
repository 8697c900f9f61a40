"""The events of the audit log, sealed credentials, and of a key its lineage and what the app notes about it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, the index that pages of keys are read by, and the tables."""
    app_owner_id = op.get_context().opts["app_owner_id"]
    op.add_column("keyguard_keys", sa.Column("rotated_at", sa.BigInteger))
    op.add_column("keyguard_keys", sa.Column("rotated_from", sa.Text))
    op.add_column("keyguard_keys", sa.Column("metadata", sa.Text, nullable=False, server_default="{}"))
    op.create_index("ix_keyguard_keys_created_at", "keyguard_keys", ["created_at", "id"])
    op.create_table(
        "keyguard_events",
        sa.Column("id", sa.Integer().with_variant(sa.BigInteger, "postgresql"), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("owner_id", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    for name in ("key_id", "owner_id"):
        op.create_index(f"ix_keyguard_events_{name}", "keyguard_events", [name])
    owner_exists: list[sa.ForeignKeyConstraint] = []
    if app_owner_id is None:
        owner_exists = [
            sa.ForeignKeyConstraint(
                ["owner_id"], ["keyguard_owners.id"], name="fk_keyguard_credentials_owner_id", ondelete="CASCADE"
            )
        ]
    op.create_table(
        "keyguard_credentials",
        sa.Column("owner_id", app_owner_id or sa.Text, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("sealed_with", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False, server_default="{}"),
        *owner_exists,
    )
    op.execute("UPDATE keyguard_meta SET value = '3' WHERE name = 'schema'")


def downgrade() -> None:
    """Drop the tables and columns, on SQLite from 3.35 on, with all that is in them."""
    op.drop_table("keyguard_credentials")
    op.drop_table("keyguard_events")
    op.drop_index("ix_keyguard_keys_created_at", "keyguard_keys")
    for name in ("metadata", "rotated_from", "rotated_at"):
        op.drop_column("keyguard_keys", name)
    op.execute("UPDATE keyguard_meta SET value = '2' WHERE name = 'schema'")
