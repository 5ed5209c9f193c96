"""What the guards know: the portfolio's measures by day, and the cadence of each source.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """What the guards know"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "portfolio_measures",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False, comment="the broadcast, as it is sent"),
        sa.Column("measured_at", INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", INSTANT, nullable=True, comment="null until every partition has it"),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_portfolio_measures")),
    )
    op.create_table(
        "source_feeds",
        sa.Column("source", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("updated_at", INSTANT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", "topic", name=op.f("pk_source_feeds")),
    )
    op.create_index(
        "ix_timeline_answers", "timeline", ["time"], unique=False, postgresql_where=sa.text("type = 'survey.answered'")
    )


def downgrade() -> None:
    """Undo it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_index("ix_timeline_answers", table_name="timeline")
    op.drop_table("source_feeds")
    op.drop_table("portfolio_measures")
