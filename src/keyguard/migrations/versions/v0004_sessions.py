"""Who has signed in, and the index that pages of one owner's keys are read by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, if owners do not live in the app's own, and put another index in the place of that of owners."""
    op.create_index("ix_keyguard_keys_owner_id_created_at", "keyguard_keys", ["owner_id", "created_at", "id"])
    op.drop_index("ix_keyguard_keys_owner_id", "keyguard_keys")
    if op.get_context().opts["app_owner_id"] is None:
        op.create_table(
            "keyguard_sessions",
            sa.Column("lookup", sa.Text, primary_key=True),
            sa.Column("owner_id", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
            sa.ForeignKeyConstraint(
                ["owner_id"], ["keyguard_owners.id"], name="fk_keyguard_sessions_owner_id", ondelete="CASCADE"
            ),
        )
        for name in ("owner_id", "expires_at"):
            op.create_index(f"ix_keyguard_sessions_{name}", "keyguard_sessions", [name])
    op.execute("UPDATE keyguard_meta SET value = '4' WHERE name = 'schema'")


def downgrade() -> None:
    """Drop the table, which signs everybody out, and put the index back.

    The events of signing in and out go, too: a release that does not know their kinds could not read the log.
    """
    op.execute("DELETE FROM keyguard_events WHERE kind IN ('owner.signed_in', 'owner.signed_out')")
    if op.get_context().opts["app_owner_id"] is None:
        op.drop_table("keyguard_sessions")
    op.create_index("ix_keyguard_keys_owner_id", "keyguard_keys", ["owner_id"])
    op.drop_index("ix_keyguard_keys_owner_id_created_at", "keyguard_keys")
    op.execute("UPDATE keyguard_meta SET value = '3' WHERE name = 'schema'")
