"""What the engine says, keys, and the recorder's offsets.

Revision: 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What the engine says, keys, and the recorder's offsets"""
    # A migration that waits for a lock makes everybody behind it wait too: give up instead and try again.
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "account_health",
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_episodes", postgresql.ARRAY(sa.Text()), nullable=False, comment="complete at `sequence`"),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_health")),
    )
    op.create_index(
        "ix_account_health_seen",
        "account_health",
        [sa.literal_column("coalesce(last_seen, '0001-01-02 00:00:00+00'::timestamptz)"), "account_id"],
        unique=False,
    )
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column(
            "sort_name", sa.Text(collation="C"), nullable=False, comment="name, else account id, casefolded and cut"
        ),
        sa.Column("tier", sa.Text(collation="C"), nullable=True),
        sa.Column("csm", sa.Text(collation="C"), nullable=True),
        sa.Column("mrr", sa.Numeric(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("renewal_date", sa.Date(), nullable=True),
        sa.Column("churned", sa.Boolean(), nullable=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False, comment="words of name and account id, casefolded"),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_index("ix_accounts_csm", "accounts", ["csm", "sort_name", "account_id"], unique=False)
    op.create_index(
        "ix_accounts_mrr", "accounts", [sa.literal_column("coalesce(mrr, '-1'::numeric)"), "account_id"], unique=False
    )
    op.create_index("ix_accounts_name", "accounts", ["sort_name", "account_id"], unique=False)
    op.create_index(
        "ix_accounts_renewal",
        "accounts",
        [sa.literal_column("coalesce(renewal_date, '9999-01-01'::date)"), "account_id"],
        unique=False,
    )
    op.create_index("ix_accounts_tier", "accounts", ["tier", "sort_name", "account_id"], unique=False)
    op.create_index("ix_accounts_words", "accounts", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("source", sa.Text(), nullable=True, comment="what an ingest key's events are said to come from"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_table(
        "dead_letter_replays",
        sa.Column("topic", sa.Text(collation="C"), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name=op.f("pk_dead_letter_replays")),
    )
    op.create_table(
        "episodes",
        sa.Column("episode_id", sa.Text(collation="C"), nullable=False),
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("signal", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("pages", sa.Boolean(), nullable=False),
        sa.Column("historical", sa.Boolean(), nullable=False),
        sa.Column("tier", sa.Text(collation="C"), nullable=True),
        sa.Column("csm", sa.Text(collation="C"), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="time of the last transition"),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cleared_because", sa.Text(), nullable=True),
        sa.Column(
            "last_ordinal", sa.Integer(), nullable=False, comment="which transition of the episode this is, 1 the raise"
        ),
        sa.Column(
            "last_sequence", sa.BigInteger(), nullable=False, comment="the account's sequence number at that transition"
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_episodes")),
    )
    op.create_index("ix_episodes_account", "episodes", ["account_id", "opened_at", "episode_id"], unique=False)
    op.create_index("ix_episodes_csm", "episodes", ["csm", "opened_at", "episode_id"], unique=False)
    op.create_index(
        "ix_episodes_open",
        "episodes",
        ["opened_at", "episode_id"],
        unique=False,
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index(
        "ix_episodes_open_account",
        "episodes",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index(
        "ix_episodes_open_severity",
        "episodes",
        ["severity", "opened_at", "episode_id"],
        unique=False,
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index(
        "ix_episodes_open_signal",
        "episodes",
        ["signal", "opened_at", "episode_id"],
        unique=False,
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index("ix_episodes_severity", "episodes", ["kind", "severity", "opened_at", "episode_id"], unique=False)
    op.create_index("ix_episodes_opened", "episodes", ["opened_at", "episode_id"], unique=False)
    op.create_index("ix_episodes_signal", "episodes", ["signal", "opened_at", "episode_id"], unique=False)
    op.create_index("ix_episodes_tier", "episodes", ["tier", "opened_at", "episode_id"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("events_until", sa.DateTime(timezone=True), nullable=True, comment="event time of the erasure"),
        sa.Column("events_appended_until", sa.DateTime(timezone=True), nullable=True, comment="its append time"),
        sa.Column(
            "records_until", sa.DateTime(timezone=True), nullable=True, comment="append time of the null health record"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "recorder_offsets",
        sa.Column("topic", sa.Text(collation="C"), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_recorder_offsets")),
    )
    op.create_table(
        "recorder_refused",
        sa.Column("topic", sa.Text(collation="C"), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="undecodable | contradiction"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name=op.f("pk_recorder_refused")),
    )
    op.create_table(
        "timeline",
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column(
            "appended_at", sa.DateTime(timezone=True), nullable=False, comment="when the record came to its topic"
        ),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "time", "entry", name=op.f("pk_timeline")),
    )
    op.create_table(
        "transitions",
        sa.Column("episode_id", sa.Text(collation="C"), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="1 is the raise"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="the account's sequence number at this change"),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "appended_at", sa.DateTime(timezone=True), nullable=False, comment="when the record came to its topic"
        ),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("episode_id", "ordinal", name=op.f("pk_transitions")),
    )
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.Text(collation="C"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("usage", sa.BigInteger(), nullable=False),
        sa.Column("core", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_usage_days")),
    )


def downgrade() -> None:
    """Undo it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_table("usage_days")
    op.drop_table("transitions")
    op.drop_table("timeline")
    op.drop_table("recorder_refused")
    op.drop_table("recorder_offsets")
    op.drop_table("erasures")
    op.drop_index("ix_episodes_tier", table_name="episodes")
    op.drop_index("ix_episodes_signal", table_name="episodes")
    op.drop_index("ix_episodes_open_account", table_name="episodes", postgresql_where=sa.text("cleared_at IS NULL"))
    op.drop_index("ix_episodes_open_severity", table_name="episodes", postgresql_where=sa.text("cleared_at IS NULL"))
    op.drop_index("ix_episodes_open_signal", table_name="episodes", postgresql_where=sa.text("cleared_at IS NULL"))
    op.drop_index("ix_episodes_severity", table_name="episodes")
    op.drop_index("ix_episodes_opened", table_name="episodes")
    op.drop_index("ix_episodes_open", table_name="episodes", postgresql_where=sa.text("cleared_at IS NULL"))
    op.drop_index("ix_episodes_csm", table_name="episodes")
    op.drop_index("ix_episodes_account", table_name="episodes")
    op.drop_table("episodes")
    op.drop_table("dead_letter_replays")
    op.drop_table("api_keys")
    op.drop_index("ix_accounts_words", table_name="accounts", postgresql_using="gin")
    op.drop_index("ix_accounts_tier", table_name="accounts")
    op.drop_index("ix_accounts_renewal", table_name="accounts")
    op.drop_index("ix_accounts_name", table_name="accounts")
    op.drop_index("ix_accounts_mrr", table_name="accounts")
    op.drop_index("ix_accounts_csm", table_name="accounts")
    op.drop_table("accounts")
    op.drop_index("ix_account_health_seen", table_name="account_health")
    op.drop_table("account_health")
