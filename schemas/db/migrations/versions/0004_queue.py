"""The queue, standings, scores by day and releases.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")


def upgrade() -> None:
    """The queue, standings, scores by day and releases"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "queue_entries",
        sa.Column("episode_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("rank", sa.Numeric(), nullable=False),
        sa.Column("precedence", sa.SmallInteger(), nullable=False),
        sa.Column("signal", KEY, nullable=False),
        sa.Column("family", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("tier", KEY, nullable=True),
        sa.Column("csm", KEY, nullable=True),
        sa.Column("renewal", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_queue_entries")),
    )
    op.create_index("ix_queue_rank", "queue_entries", ["rank", "account_id", "episode_id"])
    op.create_index("ix_queue_csm", "queue_entries", ["csm", "rank", "account_id", "episode_id"])
    op.create_index("ix_queue_signal", "queue_entries", ["signal", "rank", "account_id", "episode_id"])
    op.create_index("ix_queue_family", "queue_entries", ["family", "rank", "account_id", "episode_id"])
    op.create_index("ix_queue_kind", "queue_entries", ["kind", "rank", "account_id", "episode_id"])
    op.create_index("ix_queue_severity", "queue_entries", ["severity", "rank", "account_id", "episode_id"])
    op.create_index("ix_queue_account", "queue_entries", ["account_id", "rank", "episode_id"])
    op.create_index("ix_queue_renewal", "queue_entries", ["renewal"])

    op.create_table(
        "standings",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("weight", sa.Numeric(), nullable=False),
        sa.Column("precedence", sa.SmallInteger(), nullable=False),
        sa.Column("renewal", sa.Date(), nullable=True, comment="renewal date, else the contract's end"),
        sa.Column("cohort", sa.Date(), nullable=True, comment="first day of the quarter of the signature"),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("untried", postgresql.ARRAY(sa.Text()), nullable=True, comment="released features it has not used"),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_standings")),
    )
    op.create_index("ix_standings_weight", "standings", ["weight", "account_id"])
    op.create_index("ix_standings_cohort", "standings", ["cohort", "score"])
    op.create_index("ix_standings_untried", "standings", ["untried"], postgresql_using="gin")

    op.create_table(
        "health_days",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("band", sa.Text(), nullable=True),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_health_days")),
    )

    op.create_table(
        "releases",
        sa.Column("feature", KEY, nullable=False),
        sa.Column(
            "released_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the earliest: a feature is released once",
        ),
        sa.Column("advanced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("feature", name=op.f("pk_releases")),
    )

    # These tables are made from health records, and releases from `accounts`: the recorder reads both topics again.
    op.execute("DELETE FROM recorder_offsets WHERE topic IN ('health', 'accounts')")


def downgrade() -> None:
    """Without them"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_table("releases")
    op.drop_table("health_days")
    op.drop_table("standings")
    op.drop_table("queue_entries")
