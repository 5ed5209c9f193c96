"""SQL of the portfolio's other parts: signals by kind and owner, one manager's sheet, and the named reports."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.signals import PORTFOLIO_ACCOUNT
from services.api.portfolio_queries import PRODUCTS, RISKS, Asked, at_end, named, scored, stood, values

LISTED: Final = 50
COHORTS_SHOWN: Final = 20
TOPICS_SHOWN: Final = 20
WITHIN_DAYS: Final = 90
REFERENCE_SCORE: Final = 70
# Whoever has components has them all but the missing ones: so many accounts name every one.
NAMES_FROM: Final = 200


async def read_rows[T](connection: AsyncConnection, kind: type[T], statement: str, given: dict[str, Any]) -> list[T]:
    """Rows as structs; amounts are read from their text, so that they stay exact."""
    found = await connection.execute(text(statement), given)
    return [msgspec.convert(dict(row._mapping), kind) for row in found]


# --- signals -------------------------------------------------------------------------------------------------------


class Triggered(Struct):
    """Signals of one kind in the period. Days are event time from the raise to the clear, of those that cleared in it."""

    signal: str
    kind: str
    triggered: int
    cleared: int
    open: int
    mean_days: float | None
    median_days: float | None
    owner: str | None = None


class TriggeredIn(Struct):
    """Signals of one group in the period."""

    group: str | None
    triggered: int
    cleared: int
    open: int


# Each signal that was raised, cleared or open in the period, once: nothing clears before it was raised. Those that cleared
# and those that did not are found apart, in one index that holds all that is read.
SEEN: Final = " UNION ALL ".join(
    f"""SELECT x.account_id, x.signal, x.kind, x.opened_at, x.cleared_at FROM episodes x
        WHERE {when} AND x.opened_at < :end AND x.account_id <> '{PORTFOLIO_ACCOUNT}'"""
    for when in ("x.cleared_at >= :start", "x.cleared_at IS NULL")
)
SUMS: Final = """
  count(*) FILTER (WHERE x.opened_at >= :start) AS triggered, count(*) FILTER (WHERE x.cleared_at < :end) AS cleared,
  count(*) FILTER (WHERE x.cleared_at >= :end OR x.cleared_at IS NULL) AS open
"""
DAYS: Final = "date_part('epoch', x.cleared_at - x.opened_at) / 86400"

OWNERS: Final = """
  SELECT s.signal, (
    SELECT substring(t.body::text FROM '"owner":"(csm|support|finance|sales|product)"')
    FROM episodes x JOIN transitions t ON t.episode_id = x.episode_id AND t.ordinal = x.last_ordinal
    WHERE x.signal = s.signal AND x.opened_at < :end ORDER BY x.opened_at DESC LIMIT 1) AS owner
  FROM unnest(cast(:signals AS text[])) AS s(signal)
"""


async def triggered(connection: AsyncConnection, asked: Asked) -> list[Triggered]:
    """Signals by kind, with who should act on them. Those of every account, unless accounts are singled out."""
    # A percentile that sorts each kind's days by themselves: one over the rows would sort every row by its kind.
    statement = f"""
        WITH j AS ({named(None, f"({stood(asked, None)})")})
        SELECT signal, kind, triggered, cleared, open, mean_days,
          (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d) FROM unnest(days) d) AS median_days
        FROM (
          SELECT x.signal, x.kind, {SUMS}, avg({DAYS}) FILTER (WHERE x.cleared_at < :end) AS mean_days,
            array_agg({DAYS}) FILTER (WHERE x.cleared_at < :end) AS days
          FROM ({SEEN}) x {"JOIN j ON j.account_id = x.account_id" if asked.where else ""} GROUP BY x.signal, x.kind) y
        ORDER BY triggered DESC, signal
    """
    found = await read_rows(connection, Triggered, statement, values(asked))
    signals = [entry.signal for entry in found]
    owners = await connection.execute(text(OWNERS), {"end": asked.period.end, "signals": signals})
    by_signal = {row.signal: row.owner for row in owners}
    for entry in found:
        entry.owner = by_signal[entry.signal]
    return found


async def triggered_by_group(connection: AsyncConnection, asked: Asked) -> list[TriggeredIn]:
    """Signals by the group of their account."""
    # Summed by account before it is joined: an account has many signals, and may be in many groups.
    statement = f"""
        WITH j AS MATERIALIZED ({named(asked.group_by, f"({stood(asked, asked.group_by)})")}),
        x AS MATERIALIZED (SELECT x.account_id, {SUMS} FROM ({SEEN}) x GROUP BY x.account_id)
        SELECT j.grp AS "group", sum(x.triggered)::bigint AS triggered, sum(x.cleared)::bigint AS cleared,
          sum(x.open)::bigint AS open
        FROM x JOIN j ON j.account_id = x.account_id GROUP BY 1
    """
    return await read_rows(connection, TriggeredIn, statement, values(asked))


# --- one manager ---------------------------------------------------------------------------------------------------


class Means(Struct):
    """Mean score of a manager's accounts (`own`) or of everybody else's, with those of the components."""

    own: bool
    accounts: int
    score: float | None
    components: dict[str, float | None]


class RenewalAtRisk(Struct):
    """A customer with an open risk whose renewal is near."""

    account_id: str
    name: str | None
    renewal_date: dt.date
    mrr: Decimal
    currency: str
    severity: str
    score: float | None


class Upsell(Struct):
    """An open opportunity."""

    account_id: str
    name: str | None
    signal: str
    opened_at: dt.datetime
    mrr: Decimal
    currency: str


class Activity(Struct):
    """How often something was done in the period, by so many accounts."""

    kind: str
    times: int
    accounts: int


async def means(connection: AsyncConnection, asked: Asked) -> list[Means]:
    """Scores of the accounts of `where["csm"]`, and of those of all other managers. Of a past day: no components."""
    others = {name: value for name, value in asked.where.items() if name != "csm"}
    team = msgspec.structs.replace(asked, where=others)
    names: list[str] = []
    if not asked.period.past:
        sampled = "SELECT DISTINCT jsonb_object_keys(c.scores) AS name FROM (SELECT scores FROM component_scores LIMIT :few) c"
        names = sorted((await connection.execute(text(sampled), {"few": NAMES_FROM})).scalars())
    columns = "".join(f", avg((c.scores ->> :n_{at})::float8) AS c_{at}" for at in range(len(names)))
    statement = f"""
        SELECT e.csm = :w_csm AS own, count(*) AS accounts, avg(l.score) AS score {columns}
        FROM account_spans e {scored(asked)} LEFT JOIN component_scores c ON c.account_id = e.account_id
        WHERE {at_end(team)} AND NOT e.churned AND e.csm IS NOT NULL GROUP BY 1
    """
    given = values(asked) | {f"n_{at}": name for at, name in enumerate(names)}
    return [
        Means(row.own, row.accounts, row.score, {n: getattr(row, f"c_{at}") for at, n in enumerate(names)})
        for row in await connection.execute(text(statement), given)
    ]


async def renewals_at_risk(connection: AsyncConnection, asked: Asked) -> list[RenewalAtRisk]:
    """Customers with an open risk whose renewal is within 90 days, soonest first."""
    statement = f"""
        SELECT e.account_id, e.name, e.renewal_date, coalesce(e.mrr, 0)::text AS mrr, e.currency,
          CASE WHEN r.risk > 1 THEN 'critical' ELSE 'warning' END AS severity, l.score
        FROM account_spans e JOIN ({RISKS}) r ON r.account_id = e.account_id AND r.risk > 0
        {scored(asked)}
        WHERE {at_end(asked)} AND NOT e.churned AND e.mrr IS DISTINCT FROM 0
          AND e.renewal_date BETWEEN :day AND :day + {WITHIN_DAYS}
        ORDER BY e.renewal_date, e.account_id LIMIT {LISTED}
    """
    return await read_rows(connection, RenewalAtRisk, statement, values(asked))


async def upsell(connection: AsyncConnection, asked: Asked) -> list[Upsell]:
    """Open opportunities, by currency, the largest account first."""
    statement = f"""
        SELECT e.account_id, e.name, x.signal, x.opened_at, coalesce(e.mrr, 0)::text AS mrr, e.currency
        FROM account_spans e JOIN episodes x ON x.account_id = e.account_id
        WHERE {at_end(asked)} AND NOT e.churned AND x.kind = 'opportunity' AND x.opened_at < :end
          AND (x.cleared_at IS NULL OR x.cleared_at >= :end)
        ORDER BY e.currency, e.mrr DESC NULLS LAST, x.opened_at, x.episode_id LIMIT {LISTED}
    """
    return await read_rows(connection, Upsell, statement, values(asked))


async def advocacy(connection: AsyncConnection, asked: Asked) -> list[Activity]:
    """References, reviews and referrals given in the period."""
    statement = f"""
        SELECT m.kind, count(*) AS times, count(DISTINCT m.account_id) AS accounts
        FROM account_marks m JOIN account_spans e ON e.account_id = m.account_id
        WHERE m.kind IN ('reference', 'review', 'referral') AND m.time >= :start AND m.time < :end AND {at_end(asked)}
        GROUP BY m.kind ORDER BY m.kind
    """
    return await read_rows(connection, Activity, statement, values(asked))


# --- named reports -------------------------------------------------------------------------------------------------


class Segment(Struct):
    """What a segment opened with and kept, in one currency."""

    name: str | None
    currency: str
    accounts: int
    lost: int
    lost_avoidable: int
    opening: Decimal
    kept: Decimal
    kept_gross: Decimal


class Discounts(Struct):
    """Discounts of subscriptions at their first renewal in the period, in percentage points."""

    subscriptions: int
    before: Decimal | None
    after: Decimal | None
    deeper: int
    shallower: int


class Requested(Struct):
    """Features asked for in one segment, and the revenue of who asks, in one currency."""

    segment: str | None
    currency: str
    requests: int
    accounts: int
    mrr: Decimal


class Topic(Struct):
    """What is asked for."""

    topic: str | None
    requests: int
    accounts: int


class Cohort(Struct):
    """What accounts of one industry and size did at their renewals."""

    industry: str | None
    size: str | None
    left_at_first: int
    left_at_second: int
    left_later: int
    not_yet_due: int
    renewed: int
    renewed_change: float | None


class Reference(Struct):
    """An account that may be asked for a reference, and when it last gave one."""

    account_id: str
    name: str | None
    industry: str | None
    size: str | None
    use_case: str | None
    score: float | None
    last_given: dt.datetime | None


RETAINED: Final = """
  count(*) FILTER (WHERE customer0) AS accounts, count(*) FILTER (WHERE customer0 AND NOT customer) AS lost,
  count(*) FILTER (WHERE customer0 AND NOT customer AND avoidable) AS lost_avoidable,
  coalesce(sum(mrr0) FILTER (WHERE same), 0)::text AS opening,
  coalesce(sum(mrr) FILTER (WHERE same), 0)::text AS kept,
  coalesce(sum(least(mrr, mrr0)) FILTER (WHERE same), 0)::text AS kept_gross
"""


async def industries(connection: AsyncConnection, asked: Asked) -> list[Segment]:
    """Retention by industry, the highest logo churn first."""
    return await _segments(connection, asked, "e.industry", "", "e.mrr", "s.mrr")


async def products(connection: AsyncConnection, asked: Asked) -> list[Segment]:
    """Retention by product, the highest share of accounts that gave it up first."""
    join = f"JOIN ({PRODUCTS}) p ON p.account_id = e.account_id"
    return await _segments(connection, asked, "p.product", join, "coalesce(p.mrr, 0)", "coalesce(p.mrr0, 0)")


async def _segments(
    connection: AsyncConnection, asked: Asked, name: str, join: str, now: str, then: str
) -> list[Segment]:
    statement = f"""
        SELECT name, currency, {RETAINED}
        FROM (
          SELECT {name} AS name, s.currency, true AS customer0, NOT e.churned AND {now} IS DISTINCT FROM 0 AS customer,
            coalesce(e.avoidable, true) AS avoidable, CASE WHEN e.churned THEN 0 ELSE coalesce({now}, 0) END AS mrr,
            coalesce({then}, 0) AS mrr0, s.currency = e.currency OR e.churned AS same
          FROM account_spans e JOIN account_spans s ON s.account_id = e.account_id {join}
          WHERE {at_end(asked)} AND s.since < :start AND (s.until IS NULL OR s.until >= :start)
            AND NOT s.churned AND {then} IS DISTINCT FROM 0
        ) x GROUP BY name, currency
        ORDER BY (count(*) FILTER (WHERE NOT customer))::numeric / count(*) DESC, count(*) DESC, name, currency
        LIMIT {LISTED}
    """
    return await read_rows(connection, Segment, statement, values(asked))


async def discounts(connection: AsyncConnection, asked: Asked) -> Discounts:
    """How discounts changed at first renewals in the period. No discount stated is none given."""
    statement = f"""
        SELECT count(*) AS subscriptions, round(avg(before), 6)::text AS before, round(avg(after), 6)::text AS after,
          count(*) FILTER (WHERE after > before) AS deeper, count(*) FILTER (WHERE after < before) AS shallower
        FROM (
          SELECT coalesce(b.discount, 0) AS before, coalesce(f.discount, 0) AS after
          FROM subscription_spans f
          JOIN subscription_spans b ON (b.account_id, b.subscription_id, b.until) = (f.account_id, f.subscription_id, f.since)
          JOIN account_spans e ON e.account_id = f.account_id
          WHERE f.renewal AND f.since >= :start AND f.since < :end AND {at_end(asked)} AND NOT EXISTS (
            SELECT FROM subscription_spans g WHERE g.account_id = f.account_id
            AND g.subscription_id = f.subscription_id AND g.renewal AND g.since < f.since)
        ) x
    """
    return (await read_rows(connection, Discounts, statement, values(asked)))[0]


async def feature_requests(connection: AsyncConnection, asked: Asked) -> tuple[list[Requested], list[Topic]]:
    """Features asked for in the period by industry, those behind whom most stands first, and by topic."""
    asking = f"""
        SELECT m.account_id, m.topic, e.industry, e.currency, e.churned, e.mrr
        FROM account_marks m JOIN account_spans e ON e.account_id = m.account_id
        WHERE m.kind = 'feature_request' AND m.time >= :start AND m.time < :end AND {at_end(asked)}
    """
    by_segment = f"""
        SELECT industry AS segment, currency, sum(n)::int AS requests, count(*) AS accounts,
          coalesce(sum(mrr) FILTER (WHERE NOT churned), 0)::text AS mrr
        FROM (SELECT account_id, industry, currency, churned, mrr, count(*) AS n FROM ({asking}) y GROUP BY 1, 2, 3, 4, 5) x
        GROUP BY 1, 2 ORDER BY coalesce(sum(mrr) FILTER (WHERE NOT churned), 0) DESC, 1, 2 LIMIT {LISTED}
    """
    by_topic = f"""
        SELECT topic, count(*) AS requests, count(DISTINCT account_id) AS accounts FROM ({asking}) y
        GROUP BY topic ORDER BY 2 DESC, 1 LIMIT {TOPICS_SHOWN}
    """
    given = values(asked)
    return await read_rows(connection, Requested, by_segment, given), await read_rows(
        connection, Topic, by_topic, given
    )


async def look_alikes(connection: AsyncConnection, asked: Asked) -> list[Cohort]:
    """Of each industry and size that lost anybody: what all its accounts did at their renewals, most lost first."""
    statement = f"""
        SELECT e.industry, e.size, count(*) FILTER (WHERE e.churned AND t.ended = 1) AS left_at_first,
          count(*) FILTER (WHERE e.churned AND t.ended = 2) AS left_at_second,
          count(*) FILTER (WHERE e.churned AND t.ended > 2) AS left_later,
          count(*) FILTER (WHERE NOT e.churned AND t.renewals IS NULL) AS not_yet_due,
          count(*) FILTER (WHERE NOT e.churned AND t.renewals > 0) AS renewed,
          (avg(t.change) FILTER (WHERE NOT e.churned))::float8 AS renewed_change
        FROM account_spans e LEFT JOIN (
          SELECT account_id, nullif(count(*) FILTER (WHERE renewed), 0) AS renewals,
            max(term) FILTER (WHERE NOT renewed) AS ended,
            (array_agg(mrr_after / nullif(mrr_before, 0) - 1 ORDER BY term DESC) FILTER (WHERE renewed))[1] AS change
          FROM term_ends WHERE decided_at < :end GROUP BY account_id
        ) t ON t.account_id = e.account_id
        WHERE {at_end(asked)} GROUP BY 1, 2 HAVING bool_or(e.churned)
        ORDER BY count(*) FILTER (WHERE e.churned) DESC, 1, 2 LIMIT {COHORTS_SHOWN}
    """
    return await read_rows(connection, Cohort, statement, values(asked))


async def references(connection: AsyncConnection, asked: Asked) -> list[Reference]:
    """Healthy customers without an open risk: who was never or longest not asked first, then by score."""
    statement = f"""
        SELECT e.account_id, e.name, e.industry, e.size, e.use_case, l.score, m.last_given
        FROM account_spans e {scored(asked)}
        LEFT JOIN (
          SELECT account_id, max(time) AS last_given FROM account_marks
          WHERE kind = 'reference' AND time < :end GROUP BY account_id) m ON m.account_id = e.account_id
        WHERE {at_end(asked)} AND NOT e.churned AND e.mrr IS DISTINCT FROM 0 AND l.score >= {REFERENCE_SCORE}
          AND e.account_id NOT IN (SELECT r.account_id FROM ({RISKS}) r WHERE r.risk > 0)
        ORDER BY m.last_given NULLS FIRST, l.score DESC, e.account_id LIMIT {LISTED}
    """
    return await read_rows(connection, Reference, statement, values(asked))
