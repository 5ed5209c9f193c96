"""Webhooks: endpoints, and what was sent to them.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    """Webhooks: endpoints, and what was sent to them"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "webhooks",
        sa.Column("webhook_id", KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False, comment="standard slack"),
        sa.Column("filters", sa.JSON(), nullable=False, comment="schemas.webhooks.Filter"),
        sa.Column("secret", sa.Text(), nullable=False, comment="whsec_ and base64"),
        sa.Column("previous_secret", sa.Text(), nullable=True, comment="signs too until previous_until"),
        sa.Column("previous_until", INSTANT, nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.Column("disabled_because", sa.Text(), nullable=True, comment="asked gone failing"),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", INSTANT, nullable=True, comment="first failure since the last success"),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("updated_at", INSTANT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("webhook_id", KEY, nullable=False),
        sa.Column("message_id", KEY, nullable=False, comment="the header webhook-id, of every attempt"),
        sa.Column("feed_id", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="queued retrying delivered failed withdrawn"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("next_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.Column("body", sa.JSON(), nullable=True, comment="a message that is not of the feed"),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index("uq_webhook_deliveries_feed", "webhook_deliveries", ["webhook_id", "feed_id"], unique=True)
    op.create_index("ix_webhook_deliveries_log", "webhook_deliveries", ["webhook_id", "delivery_id"])
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["webhook_id", "delivery_id"],
        postgresql_where=sa.text("state IN ('queued', 'retrying')"),
    )
    op.create_index("ix_webhook_deliveries_created", "webhook_deliveries", ["created_at"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=True, comment="the beginning of the answer"),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_webhook_attempts")),
    )
    op.create_table(
        "webhook_replays",
        sa.Column("replay_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("webhook_id", KEY, nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.Column("until_id", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", INSTANT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("replay_id", name=op.f("pk_webhook_replays")),
    )
    op.create_index("ix_webhook_replays_webhook", "webhook_replays", ["webhook_id", "replay_id"])


def downgrade() -> None:
    """Undo it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    for table in ("webhook_replays", "webhook_attempts", "webhook_deliveries", "webhooks"):
        op.drop_table(table)
