"""Days of use whose figure was changed after they were over.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Days of use whose figure was changed after they were over"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.add_column("usage_days", sa.Column("revised_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_column("usage_days", "revised_at")
