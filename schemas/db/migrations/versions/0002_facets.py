"""Filters that match nothing together are answered from an index.

Revision: 0002, after 0001.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Filters that match nothing together are answered from an index"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_index(
        "ix_episodes_facets",
        "episodes",
        ["signal", "severity", "kind", "tier", "opened_at", "episode_id"],
        unique=False,
    )
    op.drop_index("ix_episodes_severity", table_name="episodes")
    op.drop_index("ix_episodes_tier", table_name="episodes")
    # By these the planner knows which values go together and which never do; each alone says nothing of that.
    op.execute("CREATE STATISTICS st_episodes_facets (mcv) ON kind, severity, signal, tier FROM episodes")
    op.execute("ALTER STATISTICS st_episodes_facets SET STATISTICS 1000")
    op.execute("ANALYZE episodes")


def downgrade() -> None:
    """Back to an index for each filter"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.execute("DROP STATISTICS st_episodes_facets")
    op.create_index("ix_episodes_tier", "episodes", ["tier", "opened_at", "episode_id"], unique=False)
    op.create_index("ix_episodes_severity", "episodes", ["kind", "severity", "opened_at", "episode_id"], unique=False)
    op.drop_index("ix_episodes_facets", table_name="episodes")
