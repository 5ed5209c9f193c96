"""What happened to signals, in the order in which it was committed: what streams and webhooks read."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Identity, Index, Integer, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from schemas.db.tables import Base, Instant, Key

APPEND_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('ebbtide feed', 0))"
"""Taken by every writer right before it inserts, as the last thing before its commit: then ids are handed out in the
order of the commits, and who has read up to an id has missed nothing before it."""


class FeedEntry(Base):
    """One transition that is not historical, or one act of a person, written in the transaction that recorded it."""

    __tablename__ = "feed"
    __table_args__ = (
        Index("ix_feed_at", "at"),
        Index("ix_feed_episode", "episode_id"),
        Index("ix_feed_account", "account_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    type: Mapped[str] = mapped_column(
        Text,
        comment="signal.raised signal.escalated signal.cleared, or signal.acknowledged snoozed assigned closed ...",
    )
    account_id: Mapped[str] = mapped_column(Key)
    episode_id: Mapped[str] = mapped_column(Key)
    position: Mapped[int | None] = mapped_column(
        Integer, comment="ordinal of the transition or version of the act; null where health put an episode right"
    )
    signal: Mapped[str] = mapped_column(Key)
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    tier: Mapped[str | None] = mapped_column(Key)
    csm: Mapped[str | None] = mapped_column(Key)
    pages: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[dict[str, Any]] = mapped_column(JSON, comment="a CloudEvent: the Kafka value, or the act in that form")
