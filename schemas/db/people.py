"""What people do: who they are, what they did to which signal, and how each signal stands by it.

What the engine says is in `schemas.db.tables`, and never in one row with this: losing the database loses only this.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Identity, Index, Integer, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from schemas.db.tables import Base, Instant, Key


class User(Base):
    """A person. `user_id` is the name that profiles use for them (`csm`, `sales_owner`, `finance_owner`)."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str | None] = mapped_column(Text, comment="as shown; else the id")
    email: Mapped[str | None] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="read operate admin")
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    disabled_at: Mapped[dt.datetime | None] = mapped_column(Instant)


class Pool(Base):
    """People who share work. `policy` says who gets the next signal: in turn, or who has the fewest open ones."""

    __tablename__ = "pools"

    pool_id: Mapped[str] = mapped_column(Key, primary_key=True)
    policy: Mapped[str] = mapped_column(Text, comment="round_robin load")
    members: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="user ids, in turn")
    given: Mapped[int] = mapped_column(BigInteger, server_default="0", comment="how many signals were given out")
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class Act(Base):
    """One thing that somebody did to one signal. Never changed, never deleted but with its account."""

    __tablename__ = "acts"
    __table_args__ = (Index("ix_acts_account", "account_id", "at"), Index("ix_acts_at", "at", "act"))

    episode_id: Mapped[str] = mapped_column(Key, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the first act on the episode")
    account_id: Mapped[str] = mapped_column(Key)
    act: Mapped[str] = mapped_column(Text, comment="acknowledge snooze assign close comment undo")
    actor: Mapped[str] = mapped_column(Text, comment="a user id, or key:NAME for a key that is nobody's")
    at: Mapped[dt.datetime] = mapped_column(Instant)
    severity: Mapped[str] = mapped_column(Text, comment="of the episode when it was done")
    ordinal: Mapped[int] = mapped_column(Integer, comment="of the episode's last transition then")
    request_id: Mapped[str | None] = mapped_column(Text, comment="the client's own: sent again, it is the same act")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, comment="what the act carries, by its kind")
    undoes: Mapped[int | None] = mapped_column(Integer, comment="version of the act that this one takes back")


class Handling(Base):
    """What the acts on one episode come to: the fold of them, kept beside them in one transaction.

    Each `*_ordinal` is that of the episode's last transition when that was said: after an escalation it no longer holds.
    `schemas.lifecycle.Handling` is a row of it.
    """

    __tablename__ = "handlings"
    __table_args__ = (
        Index("ix_handlings_account", "account_id"),
        Index("ix_handlings_assignee", "assignee", "episode_id"),
        Index("ix_handlings_acknowledged", "first_acknowledged_at"),
        Index("ix_handlings_closed", "closed_at"),
    )

    episode_id: Mapped[str] = mapped_column(Key, primary_key=True)
    account_id: Mapped[str] = mapped_column(Key)
    version: Mapped[int] = mapped_column(Integer, comment="how many acts there are")
    acknowledged_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    acknowledged_ordinal: Mapped[int | None] = mapped_column(Integer)
    snoozed_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    snoozed_by: Mapped[str | None] = mapped_column(Text)
    snoozed_until: Mapped[dt.datetime | None] = mapped_column(Instant)
    snooze_reason: Mapped[str | None] = mapped_column(Text)
    snoozed_ordinal: Mapped[int | None] = mapped_column(Integer)
    assignee: Mapped[str | None] = mapped_column(Key)
    pool: Mapped[str | None] = mapped_column(Key, comment="the pool whose turn gave it to the assignee")
    closed_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(Text)
    closed_ordinal: Mapped[int | None] = mapped_column(Integer)
    outcome: Mapped[str | None] = mapped_column(Text, comment="saved saved_by_concession churned false_alarm no_action")
    churn_reason: Mapped[str | None] = mapped_column(Text)
    avoidable: Mapped[bool | None] = mapped_column(Boolean)
    cause: Mapped[str | None] = mapped_column(Text, comment="upstream: sales onboarding training support product")
    first_acknowledged_at: Mapped[dt.datetime | None] = mapped_column(Instant, comment="stays when it is taken back")
    updated_at: Mapped[dt.datetime] = mapped_column(Instant)


class AuditEntry(Base):
    """Something that was done to the service itself: a key, a person, a webhook, a replay, an erasure."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at", "entry"),)

    entry: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text, comment="noun.verb, such as webhook.created")
    subject: Mapped[str] = mapped_column(Text, comment="id of what it was done to")
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class ConsoleSession(Base):
    """A browser that is signed in. Only the hash of its cookie is kept. Ends with its key."""

    __tablename__ = "console_sessions"

    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    key_id: Mapped[str] = mapped_column(Key)
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    expires_at: Mapped[dt.datetime] = mapped_column(Instant)
