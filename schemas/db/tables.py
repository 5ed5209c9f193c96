"""Every table, once. What the engine says and what people do are kept in different tables and never in one row.

Keys that take part in an order or a cursor are collated "C": their order is that of their UTF-8 bytes in every
database, whatever its locale. Documents that came from Kafka are `json`, not `jsonb`: kept as they came, and U+0000 is
legal in them. Texts from outside that stand in an index are cut to `KEY_CHARACTERS`: an index row has a size limit.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY_CHARACTERS = 256
"""Most characters of a filter value (a person's or an account's name) that are kept in an indexed column."""

Key = Text(collation="C")
Instant = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Metadata of the whole database, with predictable names for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Account(Base):
    """What accounts are listed, filtered and sorted by. It changes only when the profile does, so its indexes rest.

    Unknown revenue sorts lowest, an unknown renewal last, an account never seen as seen first.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        Index("ix_accounts_name", "sort_name", "account_id"),
        Index("ix_accounts_tier", "tier", "sort_name", "account_id"),
        Index("ix_accounts_csm", "csm", "sort_name", "account_id"),
        Index("ix_accounts_mrr", text("coalesce(mrr, '-1'::numeric)"), "account_id"),
        Index("ix_accounts_renewal", text("coalesce(renewal_date, '9999-01-01'::date)"), "account_id"),
        Index("ix_accounts_words", "words", postgresql_using="gin"),
    )

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    sort_name: Mapped[str] = mapped_column(Key, comment="name, else account id, casefolded and cut")
    tier: Mapped[str | None] = mapped_column(Key)
    csm: Mapped[str | None] = mapped_column(Key)
    mrr: Mapped[Decimal | None] = mapped_column(Numeric)
    currency: Mapped[str | None] = mapped_column(Text)
    renewal_date: Mapped[dt.date | None] = mapped_column(Date)
    churned: Mapped[bool] = mapped_column(Boolean)
    words: Mapped[str] = mapped_column(TSVECTOR, comment="words of name and account id, casefolded")


class AccountHealth(Base):
    """The latest health record of an account, whole but for its usage days, and what its reconciliation needs."""

    __tablename__ = "account_health"
    __table_args__ = (
        Index(
            "ix_account_health_seen", text("coalesce(last_seen, '0001-01-02 00:00:00+00'::timestamptz)"), "account_id"
        ),
    )

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    as_of: Mapped[dt.datetime] = mapped_column(Instant)
    last_seen: Mapped[dt.datetime | None] = mapped_column(Instant)
    open_episodes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="complete at `sequence`")
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    recorded_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class UsageDay(Base):
    """Feature uses of one account on one UTC day, and those of core features. A day without usage has no row."""

    __tablename__ = "usage_days"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    usage: Mapped[int] = mapped_column(BigInteger)
    core: Mapped[int] = mapped_column(BigInteger)


class Episode(Base):
    """One signal from its raise to its clear, as the engine says: the last of its transitions, reconciled with health.

    A transition's place in its episode is its ordinal, whatever the order of arrival. `cleared_because` is `reconciled`
    where health says that the episode is not open and no transition said so. `tier` and `csm` follow the account.
    """

    __tablename__ = "episodes"
    __table_args__ = (
        Index("ix_episodes_opened", "opened_at", "episode_id"),
        Index("ix_episodes_open", "opened_at", "episode_id", postgresql_where=text("cleared_at IS NULL")),
        Index("ix_episodes_account", "account_id", "opened_at", "episode_id"),
        Index("ix_episodes_open_account", "account_id", postgresql_where=text("cleared_at IS NULL")),
        Index("ix_episodes_signal", "signal", "opened_at", "episode_id"),
        Index(
            "ix_episodes_open_signal",
            "signal",
            "opened_at",
            "episode_id",
            postgresql_where=text("cleared_at IS NULL"),
        ),
        # Some of these are rare or never go together (a critical opportunity): a scan for them would find nothing for long.
        # The migrations add statistics over them, so that the planner knows which are (`st_episodes_facets`).
        Index("ix_episodes_facets", "signal", "severity", "kind", "tier", "opened_at", "episode_id"),
        Index(
            "ix_episodes_open_severity",
            "severity",
            "opened_at",
            "episode_id",
            postgresql_where=text("cleared_at IS NULL"),
        ),
        Index("ix_episodes_csm", "csm", "opened_at", "episode_id"),
    )

    episode_id: Mapped[str] = mapped_column(Key, primary_key=True)
    account_id: Mapped[str] = mapped_column(Key)
    signal: Mapped[str] = mapped_column(Key)
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    user: Mapped[str | None] = mapped_column(Text)
    pages: Mapped[bool] = mapped_column(Boolean)
    historical: Mapped[bool] = mapped_column(Boolean)
    tier: Mapped[str | None] = mapped_column(Key)
    csm: Mapped[str | None] = mapped_column(Key)
    opened_at: Mapped[dt.datetime] = mapped_column(Instant)
    changed_at: Mapped[dt.datetime] = mapped_column(Instant, comment="time of the last transition")
    cleared_at: Mapped[dt.datetime | None] = mapped_column(Instant)
    cleared_because: Mapped[str | None] = mapped_column(Text)
    last_ordinal: Mapped[int] = mapped_column(Integer, comment="which transition of the episode this is, 1 the raise")
    last_sequence: Mapped[int] = mapped_column(BigInteger, comment="the account's sequence number at that transition")
    recorded_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class Transition(Base):
    """One change of an episode. The record's own text is kept, so that a repeat can be told from a contradiction."""

    __tablename__ = "transitions"

    episode_id: Mapped[str] = mapped_column(Key, primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the raise")
    sequence: Mapped[int] = mapped_column(BigInteger, comment="the account's sequence number at this change")
    time: Mapped[dt.datetime] = mapped_column(Instant)
    appended_at: Mapped[dt.datetime] = mapped_column(Instant, comment="when the record came to its topic")
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class TimelineEntry(Base):
    """One event of an account that a person would want to read. `entry` is a digest of the event's source and id."""

    __tablename__ = "timeline"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    time: Mapped[dt.datetime] = mapped_column(Instant, primary_key=True)
    entry: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    appended_at: Mapped[dt.datetime] = mapped_column(Instant, comment="when the record came to its topic")
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class Erasure(Base):
    """An account was erased: what is older and read later is not recorded again. It holds nothing but the id."""

    __tablename__ = "erasures"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    events_until: Mapped[dt.datetime | None] = mapped_column(Instant, comment="event time of the erasure")
    events_appended_until: Mapped[dt.datetime | None] = mapped_column(Instant, comment="its append time")
    records_until: Mapped[dt.datetime | None] = mapped_column(Instant, comment="append time of the null health record")


class RecorderOffset(Base):
    """The next offset to read of one topic-partition, moved in the transaction that writes the rows before it."""

    __tablename__ = "recorder_offsets"

    topic: Mapped[str] = mapped_column(Key, primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class RefusedRecord(Base):
    """A record of an output topic that the recorder could not use, with its bytes and the reason."""

    __tablename__ = "recorder_refused"

    topic: Mapped[str] = mapped_column(Key, primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    reason: Mapped[str] = mapped_column(Text, comment="undecodable | contradiction")
    detail: Mapped[str] = mapped_column(Text)
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    refused_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class DeadLetterReplay(Base):
    """A dead letter was sent to its source topic again, named by its identity: it never goes twice silently."""

    __tablename__ = "dead_letter_replays"

    topic: Mapped[str] = mapped_column(Key, primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    times: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    replayed_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())


class ApiKey(Base):
    """A key of the api or of ingest. Only the hash of its secret is kept."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(Key, primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    last_four: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    source: Mapped[str | None] = mapped_column(Text, comment="what an ingest key's events are said to come from")
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    revoked_at: Mapped[dt.datetime | None] = mapped_column(Instant)
