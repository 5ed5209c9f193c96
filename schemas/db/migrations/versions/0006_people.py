"""People, what they do to signals, and the feed of what happened.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    """People, what they do to signals, and the feed of what happened"""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.create_table(
        "users",
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=True, comment="as shown; else the id"),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False, comment="read operate admin"),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
    op.create_table(
        "pools",
        sa.Column("pool_id", KEY, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False, comment="round_robin load"),
        sa.Column("members", sa.ARRAY(sa.Text()), nullable=False, comment="user ids, in turn"),
        sa.Column(
            "given", sa.BigInteger(), server_default="0", nullable=False, comment="how many signals were given out"
        ),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("pool_id", name=op.f("pk_pools")),
    )
    op.add_column("api_keys", sa.Column("user_id", KEY, nullable=True, comment="whose it is; null: a program's"))
    op.create_table(
        "acts",
        sa.Column("episode_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="1 is the first act on the episode"),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("act", sa.Text(), nullable=False, comment="acknowledge snooze assign close comment undo"),
        sa.Column("actor", sa.Text(), nullable=False, comment="a user id, or key:NAME for a key that is nobody's"),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("severity", sa.Text(), nullable=False, comment="of the episode when it was done"),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="of the episode's last transition then"),
        sa.Column("request_id", sa.Text(), nullable=True, comment="the client's own: sent again, it is the same act"),
        sa.Column("data", sa.JSON(), nullable=False, comment="what the act carries, by its kind"),
        sa.Column("undoes", sa.Integer(), nullable=True, comment="version of the act that this one takes back"),
        sa.PrimaryKeyConstraint("episode_id", "version", name=op.f("pk_acts")),
    )
    op.create_index("ix_acts_account", "acts", ["account_id", "at"], unique=False)
    op.create_index("ix_acts_at", "acts", ["at", "act"], unique=False)
    op.create_table(
        "handlings",
        sa.Column("episode_id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="how many acts there are"),
        sa.Column("acknowledged_at", INSTANT, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_ordinal", sa.Integer(), nullable=True),
        sa.Column("snoozed_at", INSTANT, nullable=True),
        sa.Column("snoozed_by", sa.Text(), nullable=True),
        sa.Column("snoozed_until", INSTANT, nullable=True),
        sa.Column("snooze_reason", sa.Text(), nullable=True),
        sa.Column("snoozed_ordinal", sa.Integer(), nullable=True),
        sa.Column("assignee", KEY, nullable=True),
        sa.Column("pool", KEY, nullable=True, comment="the pool whose turn gave it to the assignee"),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("closed_ordinal", sa.Integer(), nullable=True),
        sa.Column(
            "outcome", sa.Text(), nullable=True, comment="saved saved_by_concession churned false_alarm no_action"
        ),
        sa.Column("churn_reason", sa.Text(), nullable=True),
        sa.Column("avoidable", sa.Boolean(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True, comment="upstream: sales onboarding training support product"),
        sa.Column("first_acknowledged_at", INSTANT, nullable=True, comment="stays when it is taken back"),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("episode_id", name=op.f("pk_handlings")),
    )
    op.create_index("ix_handlings_account", "handlings", ["account_id"], unique=False)
    op.create_index("ix_handlings_assignee", "handlings", ["assignee", "episode_id"], unique=False)
    op.create_index("ix_handlings_acknowledged", "handlings", ["first_acknowledged_at"], unique=False)
    op.create_index("ix_handlings_closed", "handlings", ["closed_at"], unique=False)
    op.add_column(
        "queue_entries",
        sa.Column(
            "handled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="whether it has a row in handlings: somebody has acted on it",
        ),
    )
    op.create_index(
        "ix_queue_handled", "queue_entries", ["episode_id"], unique=False, postgresql_where=sa.text("handled")
    )
    op.create_table(
        "audit",
        sa.Column("entry", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="noun.verb, such as webhook.created"),
        sa.Column("subject", sa.Text(), nullable=False, comment="id of what it was done to"),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at", "entry"], unique=False)
    op.create_table(
        "console_sessions",
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", KEY, nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("pk_console_sessions")),
    )
    op.create_table(
        "health_parts",
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column(
            "parts",
            sa.ARRAY(sa.SmallInteger()),
            nullable=False,
            comment="tenths of a point, in the order of the record's components; -1 without data",
        ),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_health_parts")),
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column(
            "type",
            sa.Text(),
            nullable=False,
            comment="signal.raised signal.escalated signal.cleared, or signal.acknowledged snoozed assigned closed ...",
        ),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("episode_id", KEY, nullable=False),
        sa.Column(
            "position",
            sa.Integer(),
            nullable=True,
            comment="ordinal of the transition or version of the act; null where health put an episode right",
        ),
        sa.Column("signal", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("tier", KEY, nullable=True),
        sa.Column("csm", KEY, nullable=True),
        sa.Column("pages", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False, comment="a CloudEvent: the Kafka value, or the act in that form"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
    )
    op.create_index("ix_feed_account", "feed", ["account_id"], unique=False)
    op.create_index("ix_feed_at", "feed", ["at"], unique=False)
    op.create_index("ix_feed_episode", "feed", ["episode_id"], unique=False)


def downgrade() -> None:
    """Undo it."""
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '15min'")

    op.drop_column("api_keys", "user_id")
    op.drop_index("ix_queue_handled", table_name="queue_entries", postgresql_where=sa.text("handled"))
    op.drop_column("queue_entries", "handled")
    for table in ("feed", "health_parts", "console_sessions", "audit", "handlings", "acts", "pools", "users"):
        op.drop_table(table)
