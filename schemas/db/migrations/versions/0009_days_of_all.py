"""One day's scores of every account are found together.

Revision: 0009, after 0008.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One day's scores of every account are found together"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_index("ix_health_days_day", "health_days", ["day"])


def downgrade() -> None:
    """Without it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_index("ix_health_days_day", table_name="health_days")
