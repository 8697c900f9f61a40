"""The revision that a change moves, who listens to it, and how keys are used."""

import sqlalchemy as sa
from alembic import op

from keyguard.stores._triggers import Triggers, triggers_for

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the triggers as far as the app's own user table is there."""
    revision_table = op.create_table(
        "keyguard_revision",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "keyguard_listener",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "keyguard_uses",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("last_used_address", sa.Text),
    )
    op.create_table(
        "keyguard_flushes",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(revision_table, [{"id": 1, "n": 0}])
    if triggers := _triggers():
        if op.get_context().as_sql:
            for statement in triggers.statements():
                op.execute(statement)
        else:
            triggers.install(op.get_bind())
    op.execute("UPDATE keyguard_meta SET value = '2' WHERE name = 'schema'")


def downgrade() -> None:
    """Drop the triggers and the tables."""
    if triggers := _triggers():
        for statement in triggers.removal:
            op.execute(statement)
    for name in ("keyguard_flushes", "keyguard_uses", "keyguard_listener", "keyguard_revision"):
        op.drop_table(name)
    op.execute("UPDATE keyguard_meta SET value = '1' WHERE name = 'schema'")


def _triggers() -> Triggers | None:
    context = op.get_context()
    return triggers_for(context.dialect.name, context.opts["users"])
