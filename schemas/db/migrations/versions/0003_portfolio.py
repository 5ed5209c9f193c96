"""Facts that portfolio measures are taken from: how accounts stood and when, what moved their revenue, what they did.

Revision: 0003, after 0002. The recorder derives them from the history that is recorded already, some accounts at a time.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CONTRACT_TYPES = "type IN ('account.updated', 'account.renewed', 'account.churned', 'account.subscription_changed')"

KEY = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Facts that portfolio measures are taken from"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "account_spans",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("until", INSTANT, nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        *(
            sa.Column(name, KEY, nullable=True)
            for name in ("tier", "csm", "industry", "size", "region", "plan", "partner", "use_case")
        ),
        sa.Column("currency", sa.Text(), nullable=False, comment="XXX where none is stated"),
        sa.Column("mrr", sa.Numeric(), nullable=True),
        sa.Column("signed", sa.Date(), nullable=False, comment="start of the contract, else day of the first fact"),
        sa.Column("renewal_date", sa.Date(), nullable=True, comment="renewal date, else the contract's end"),
        sa.Column("churned", sa.Boolean(), nullable=False),
        sa.Column("churn_reason", sa.Text(), nullable=True),
        sa.Column("avoidable", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "since", name=op.f("pk_account_spans")),
    )
    op.create_table(
        "subscription_spans",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("subscription_id", KEY, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("until", INSTANT, nullable=True),
        sa.Column("product", KEY, nullable=False),
        sa.Column("mrr", sa.Numeric(), nullable=False),
        sa.Column("discount", sa.Numeric(), nullable=True, comment="percentage points"),
        sa.Column("renewal", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "subscription_id", "since", name=op.f("pk_subscription_spans")),
    )
    op.create_index(
        "ix_subscription_spans_renewal",
        "subscription_spans",
        ["since", "account_id"],
        unique=False,
        postgresql_where=sa.text("renewal"),
    )
    op.create_table(
        "revenue_movements",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("time", INSTANT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="new add_on renewal upsell downsell cancelled archive"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ordinal", name=op.f("pk_revenue_movements")),
    )
    op.create_index("ix_revenue_movements_time", "revenue_movements", ["time"], unique=False)
    op.create_table(
        "term_ends",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("term", sa.Integer(), nullable=False, comment="1 is the first"),
        sa.Column("due", sa.Date(), nullable=False, comment="day of the decision where no date was known"),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("renewed", sa.Boolean(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("mrr_before", sa.Numeric(), nullable=True),
        sa.Column("mrr_after", sa.Numeric(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "term", name=op.f("pk_term_ends")),
    )
    op.create_index("ix_term_ends_due", "term_ends", ["due"], unique=False)
    op.create_index("ix_term_ends_decided", "term_ends", ["decided_at"], unique=False)
    op.create_table(
        "account_marks",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False, comment="value reference review referral feature_request"),
        sa.Column("name", KEY, nullable=False, comment="ticket id, digest of an event, or empty"),
        sa.Column("time", INSTANT, nullable=False),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "kind", "name", name=op.f("pk_account_marks")),
    )
    op.create_index("ix_account_marks_time", "account_marks", ["kind", "time"], unique=False)
    op.create_table(
        "latest_scores",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("band", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_latest_scores")),
    )
    op.create_table(
        "component_scores",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("scores", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_component_scores")),
    )
    op.create_table(
        "facts_due",
        sa.Column("account_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_facts_due")),
    )
    op.create_index(
        "ix_timeline_contract", "timeline", ["account_id"], unique=False, postgresql_where=sa.text(CONTRACT_TYPES)
    )
    op.create_index(
        "ix_episodes_counted",
        "episodes",
        ["opened_at"],
        unique=False,
        postgresql_include=["signal", "kind", "account_id"],
    )
    op.create_index(
        "ix_episodes_cleared",
        "episodes",
        ["cleared_at"],
        unique=False,
        postgresql_include=["opened_at", "signal", "kind", "account_id"],
    )
    op.create_index(
        "ix_episodes_open_risks",
        "episodes",
        ["account_id"],
        unique=False,
        postgresql_include=["severity", "scope", "opened_at", "changed_at", "last_ordinal", "episode_id"],
        postgresql_where=sa.text("kind = 'risk' AND cleared_at IS NULL"),
    )
    op.execute("INSERT INTO facts_due (account_id) SELECT DISTINCT account_id FROM timeline")


def downgrade() -> None:
    """Undo it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    for index in ("ix_episodes_open_risks", "ix_episodes_cleared", "ix_episodes_counted"):
        op.drop_index(index, table_name="episodes")
    op.drop_index("ix_timeline_contract", table_name="timeline")
    for table in (
        *("facts_due", "component_scores", "latest_scores", "account_marks", "term_ends"),
        *("revenue_movements", "subscription_spans", "account_spans"),
    ):
        op.drop_table(table)
