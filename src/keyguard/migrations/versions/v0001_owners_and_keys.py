"""Owners, keys, and the notes that a store compares when it opens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; not that of owners, where they live in the app's own."""
    app_owner_id = op.get_context().opts["app_owner_id"]
    meta = op.create_table(
        "keyguard_meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    owner_exists: list[sa.ForeignKeyConstraint] = []
    if app_owner_id is None:
        op.create_table(
            "keyguard_owners",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("is_active", sa.Boolean, nullable=False),
            sa.Column("is_superuser", sa.Boolean, nullable=False),
            sa.Column("password", sa.Text),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.UniqueConstraint("name", name="uq_keyguard_owners_name"),
        )
        owner_exists = [
            sa.ForeignKeyConstraint(
                ["owner_id"], ["keyguard_owners.id"], name="fk_keyguard_keys_owner_id", ondelete="CASCADE"
            )
        ]
    op.create_table(
        "keyguard_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("lookup", sa.Text, nullable=False),
        sa.Column("verifier", sa.Text, nullable=False),
        sa.Column("owner_id", app_owner_id or sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("networks", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_reason", sa.Text, nullable=False),
        sa.UniqueConstraint("lookup", name="uq_keyguard_keys_lookup"),
        *owner_exists,
    )
    op.create_index("ix_keyguard_keys_owner_id", "keyguard_keys", ["owner_id"])
    op.bulk_insert(meta, [{"name": "schema", "value": "1"}, {"name": "pepper", "value": ""}])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("keyguard_keys")
    if op.get_context().opts["app_owner_id"] is None:
        op.drop_table("keyguard_owners")
    op.drop_table("keyguard_meta")
