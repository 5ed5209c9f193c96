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
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KEY_CHARACTERS = 256
"""Most characters of a filter value (a person's or an account's name) that are kept in an indexed column."""

CONTRACT_TYPES = "type IN ('account.updated', 'account.renewed', 'account.churned', 'account.subscription_changed')"
"""Which entries of the timeline say what an account is and pays. Written so, a query finds them in their index."""

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
    """Feature uses of one account on one UTC day, and those of core features. A day without usage has no row.

    `revised_at` is when a figure was last replaced that had been told more than a day after its day was over.
    """

    __tablename__ = "usage_days"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    usage: Mapped[int] = mapped_column(BigInteger)
    core: Mapped[int] = mapped_column(BigInteger)
    revised_at: Mapped[dt.datetime | None] = mapped_column(Instant)


class HealthDay(Base):
    """The score of one account as one UTC day ended. A day on which nothing could be scored has a null score."""

    __tablename__ = "health_days"
    # One day of every account, for sums over all of them.
    __table_args__ = (Index("ix_health_days_day", "day"),)

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    score: Mapped[float | None] = mapped_column(Double)
    band: Mapped[str | None] = mapped_column(Text)
    coverage: Mapped[float] = mapped_column(Double)


class HealthParts(Base):
    """What each component gave to an account's score in its last record of one UTC day, so that a change can be told by
    its parts. A day without a record has none.
    """

    __tablename__ = "health_parts"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    parts: Mapped[list[int]] = mapped_column(
        ARRAY(SmallInteger), comment="tenths of a point, in the order of the record's components; -1 without data"
    )


class Standing(Base):
    """What the latest health record says of an account beside others: made by the recorder, on the record's day.

    `weight` is the account's part of every rank, `precedence` its place in lists that put some accounts first
    (`schemas.priority`). A churned account stands in no cohort. `untried` is null where it is not known.
    """

    __tablename__ = "standings"
    __table_args__ = (
        Index("ix_standings_weight", "weight", "account_id"),
        Index("ix_standings_cohort", "cohort", "score"),
        Index("ix_standings_untried", "untried", postgresql_using="gin"),
    )

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    weight: Mapped[Decimal] = mapped_column(Numeric)
    precedence: Mapped[int] = mapped_column(SmallInteger)
    renewal: Mapped[dt.date | None] = mapped_column(Date, comment="renewal date, else the contract's end")
    cohort: Mapped[dt.date | None] = mapped_column(Date, comment="first day of the quarter of the signature")
    score: Mapped[float | None] = mapped_column(Double)
    untried: Mapped[list[str] | None] = mapped_column(ARRAY(Text), comment="released features it has not used")


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
        # For sums over many: what they read stands in the index, so that no row has to be fetched.
        Index("ix_episodes_counted", "opened_at", postgresql_include=["signal", "kind", "account_id"]),
        Index("ix_episodes_cleared", "cleared_at", postgresql_include=["opened_at", "signal", "kind", "account_id"]),
        Index(
            "ix_episodes_open_risks",
            "account_id",
            postgresql_include=["severity", "scope", "opened_at", "changed_at", "last_ordinal", "episode_id"],
            postgresql_where=text("kind = 'risk' AND cleared_at IS NULL"),
        ),
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


class QueueEntry(Base):
    """An open episode in the order of work. Made by the recorder from the episode, its account and what else is open.

    Signals of the portfolio have none: no account is theirs.
    """

    __tablename__ = "queue_entries"
    __table_args__ = (
        Index("ix_queue_rank", "rank", "account_id", "episode_id"),
        Index("ix_queue_csm", "csm", "rank", "account_id", "episode_id"),
        Index("ix_queue_signal", "signal", "rank", "account_id", "episode_id"),
        # What is least severe, and any opportunity, stands far down: along the rank alone it would be long in coming.
        Index("ix_queue_family", "family", "rank", "account_id", "episode_id"),
        Index("ix_queue_kind", "kind", "rank", "account_id", "episode_id"),
        Index("ix_queue_severity", "severity", "rank", "account_id", "episode_id"),
        Index("ix_queue_account", "account_id", "rank", "episode_id"),
        Index("ix_queue_renewal", "renewal"),
        # Few are: whoever asks for what is snoozed or closed finds them among these.
        Index("ix_queue_handled", "episode_id", postgresql_where=text("handled")),
    )

    episode_id: Mapped[str] = mapped_column(Key, primary_key=True)
    account_id: Mapped[str] = mapped_column(Key)
    rank: Mapped[Decimal] = mapped_column(Numeric)
    precedence: Mapped[int] = mapped_column(SmallInteger)
    signal: Mapped[str] = mapped_column(Key)
    family: Mapped[str] = mapped_column(Key)
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    tier: Mapped[str | None] = mapped_column(Key)
    csm: Mapped[str | None] = mapped_column(Key)
    renewal: Mapped[dt.date | None] = mapped_column(Date)
    handled: Mapped[bool] = mapped_column(
        Boolean, server_default=text("false"), comment="whether it has a row in handlings: somebody has acted on it"
    )


class Release(Base):
    """A feature that was released to every account."""

    __tablename__ = "releases"

    feature: Mapped[str] = mapped_column(Key, primary_key=True)
    released_at: Mapped[dt.datetime] = mapped_column(Instant, comment="the earliest: a feature is released once")
    advanced: Mapped[bool] = mapped_column(Boolean)


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
    __table_args__ = (
        # What revenue is derived from: few among many.
        Index("ix_timeline_contract", "account_id", postgresql_where=text(CONTRACT_TYPES)),
        Index("ix_timeline_answers", "time", postgresql_where=text("type = 'survey.answered'")),
    )

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    time: Mapped[dt.datetime] = mapped_column(Instant, primary_key=True)
    entry: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    appended_at: Mapped[dt.datetime] = mapped_column(Instant, comment="when the record came to its topic")
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class AccountSpan(Base):
    """How an account stood from `since` until `until` (null: until now): the profile it is grouped by, and its revenue.

    Derived by the recorder from the account's history, by event time, and derived anew whenever that changes. Instants
    are half open. `mrr` is 0 while churned and null while nobody stated any.
    """

    __tablename__ = "account_spans"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    since: Mapped[dt.datetime] = mapped_column(Instant, primary_key=True)
    until: Mapped[dt.datetime | None] = mapped_column(Instant)
    name: Mapped[str | None] = mapped_column(Text)
    tier: Mapped[str | None] = mapped_column(Key)
    csm: Mapped[str | None] = mapped_column(Key)
    industry: Mapped[str | None] = mapped_column(Key)
    size: Mapped[str | None] = mapped_column(Key)
    region: Mapped[str | None] = mapped_column(Key)
    plan: Mapped[str | None] = mapped_column(Key)
    partner: Mapped[str | None] = mapped_column(Key)
    use_case: Mapped[str | None] = mapped_column(Key)
    currency: Mapped[str] = mapped_column(Text, comment="XXX where none is stated")
    mrr: Mapped[Decimal | None] = mapped_column(Numeric)
    signed: Mapped[dt.date] = mapped_column(Date, comment="start of the contract, else day of the first fact")
    renewal_date: Mapped[dt.date | None] = mapped_column(Date, comment="renewal date, else the contract's end")
    churned: Mapped[bool] = mapped_column(Boolean)
    churn_reason: Mapped[str | None] = mapped_column(Text)
    avoidable: Mapped[bool | None] = mapped_column(Boolean)


class SubscriptionSpan(Base):
    """What one subscription of an account brought from `since` until `until`. `renewal`: it began with a renewal."""

    __tablename__ = "subscription_spans"
    __table_args__ = (Index("ix_subscription_spans_renewal", "since", "account_id", postgresql_where=text("renewal")),)

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    subscription_id: Mapped[str] = mapped_column(Key, primary_key=True)
    since: Mapped[dt.datetime] = mapped_column(Instant, primary_key=True)
    until: Mapped[dt.datetime | None] = mapped_column(Instant)
    product: Mapped[str] = mapped_column(Key)
    mrr: Mapped[Decimal] = mapped_column(Numeric)
    discount: Mapped[Decimal | None] = mapped_column(Numeric, comment="percentage points")
    renewal: Mapped[bool] = mapped_column(Boolean)


class RevenueMovement(Base):
    """One change of an account's MRR. What an account's movements sum to is its MRR, in each currency."""

    __tablename__ = "revenue_movements"
    __table_args__ = (Index("ix_revenue_movements_time", "time"),)

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    time: Mapped[dt.datetime] = mapped_column(Instant)
    kind: Mapped[str] = mapped_column(Text, comment="new add_on renewal upsell downsell cancelled archive")
    currency: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Numeric)


class TermEnd(Base):
    """How a contract term of an account ended: renewed or churned, when that was due and when it was decided."""

    __tablename__ = "term_ends"
    __table_args__ = (Index("ix_term_ends_due", "due"), Index("ix_term_ends_decided", "decided_at"))

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    term: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the first")
    due: Mapped[dt.date] = mapped_column(Date, comment="day of the decision where no date was known")
    decided_at: Mapped[dt.datetime] = mapped_column(Instant)
    renewed: Mapped[bool] = mapped_column(Boolean)
    currency: Mapped[str] = mapped_column(Text)
    mrr_before: Mapped[Decimal | None] = mapped_column(Numeric)
    mrr_after: Mapped[Decimal | None] = mapped_column(Numeric)


class AccountMark(Base):
    """Something that an account did and is counted by: value reached, a reference given, a feature asked for.

    Once per `name`, at its earliest time.
    """

    __tablename__ = "account_marks"
    __table_args__ = (Index("ix_account_marks_time", "kind", "time"),)

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(Key, primary_key=True, comment="value reference review referral feature_request")
    name: Mapped[str] = mapped_column(Key, primary_key=True, comment="ticket id, digest of an event, or empty")
    time: Mapped[dt.datetime] = mapped_column(Instant)
    topic: Mapped[str | None] = mapped_column(Text)


class LatestScore(Base):
    """The score of the latest health record. Few columns on purpose: sums over every account read it whole."""

    __tablename__ = "latest_scores"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    as_of: Mapped[dt.datetime] = mapped_column(Instant)
    score: Mapped[float | None] = mapped_column(Double)
    band: Mapped[str | None] = mapped_column(Text)


class ComponentScores(Base):
    """The scores of the latest health record's components by name, without the missing ones."""

    __tablename__ = "component_scores"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)
    scores: Mapped[dict[str, Any]] = mapped_column(JSONB)


class FactsDue(Base):
    """An account whose spans, movements and marks have yet to be derived from the history that is recorded."""

    __tablename__ = "facts_due"

    account_id: Mapped[str] = mapped_column(Key, primary_key=True)


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


class PortfolioMeasure(Base):
    """The portfolio's movement on one day, measured once. `body` is the broadcast as it is sent, and sent again."""

    __tablename__ = "portfolio_measures"

    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON, comment="the broadcast, as it is sent")
    measured_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    sent_at: Mapped[dt.datetime | None] = mapped_column(Instant, comment="null until every partition has it")


class SourceFeed(Base):
    """What is known of one source on one topic: when it used to send, and whether it is stale (`core.sources.Feed`)."""

    __tablename__ = "source_feeds"

    source: Mapped[str] = mapped_column(Key, primary_key=True)
    topic: Mapped[str] = mapped_column(Key, primary_key=True)
    state: Mapped[dict[str, Any]] = mapped_column(JSON)
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
    user_id: Mapped[str | None] = mapped_column(Key, comment="whose it is; null: a program's")
    created_at: Mapped[dt.datetime] = mapped_column(Instant, server_default=func.now())
    revoked_at: Mapped[dt.datetime | None] = mapped_column(Instant)
