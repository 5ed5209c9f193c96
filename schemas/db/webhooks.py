"""Webhooks: who is told of the feed, how far each is, and what was sent to whom. A message is never copied from the feed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Identity, Index, Integer, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from schemas.db.tables import Base, Instant, Key


class Webhook(Base):
    """One endpoint. Everything in the feed up to `cursor` was sent to it, was given up, or is nothing that it asked for.

    `revision` grows with whatever people do to it: delivery then looks at it anew. Secrets are kept as they are: who
    signs needs them.
    """

    __tablename__ = "webhooks"

    webhook_id: Mapped[str] = mapped_column(Key, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text, comment="standard slack")
    filters: Mapped[dict[str, Any]] = mapped_column(JSON, comment="schemas.webhooks.Filter")
    secret: Mapped[str] = mapped_column(Text, comment="whsec_ and base64")
    previous_secret: Mapped[str | None] = mapped_column(Text, comment="signs too until previous_until")
    previous_until: Mapped[dt.datetime | None] = mapped_column(Instant)
    enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    disabled_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    disabled_because: Mapped[str | None] = mapped_column(Text, comment="asked gone failing")
    cursor: Mapped[int] = mapped_column(BigInteger)
    failing_since: Mapped[dt.datetime | None] = mapped_column(Instant, comment="first failure since the last success")
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    updated_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class WebhookDelivery(Base):
    """One message to one endpoint, from its first attempt on. `feed_id` is null where the message is `body`.

    `tries` counts within the present run of the retry schedule, `attempts` all that there were.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("uq_webhook_deliveries_feed", "webhook_id", "feed_id", unique=True),
        Index("ix_webhook_deliveries_log", "webhook_id", "delivery_id"),
        Index(
            "ix_webhook_deliveries_due",
            "webhook_id",
            "delivery_id",
            postgresql_where=text("state IN ('queued', 'retrying')"),
        ),
        Index("ix_webhook_deliveries_created", "created_at"),
    )

    delivery_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Key)
    message_id: Mapped[str] = mapped_column(Key, comment="the header webhook-id, of every attempt")
    feed_id: Mapped[int | None] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, comment="queued retrying delivered failed withdrawn")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    next_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    finished_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    body: Mapped[dict[str, Any] | None] = mapped_column(JSON, comment="a message that is not of the feed")


class WebhookAttempt(Base):
    """One time that a message was sent, and what came of it. `status` is null where there was no answer."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(Instant)
    milliseconds: Mapped[int] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    excerpt: Mapped[str | None] = mapped_column(Text, comment="the beginning of the answer")


class WebhookReplay(Base):
    """A part of the feed that an endpoint is sent again: from `next_id` up to `until_id`, before what is new."""

    __tablename__ = "webhook_replays"
    __table_args__ = (Index("ix_webhook_replays_webhook", "webhook_id", "replay_id"),)

    replay_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Key)
    next_id: Mapped[int] = mapped_column(BigInteger)
    until_id: Mapped[int] = mapped_column(BigInteger)
    requested_by: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
