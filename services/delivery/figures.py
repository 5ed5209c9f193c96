"""What is open, counted by the database and put into the gauges that people on call are alerted by.

One snapshot gives all figures. Reserved accounts (`_…`: the portfolio, the canary) are left out. What the figures mean is
in `services/common/metrics.py`; here is how they are come by, and what keeps their number bounded: signals come from the
catalogue, owners are roles, tiers and outcomes are closed lists. An account or a person is never among the labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, field
from prometheus_client import Gauge
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import asyncpg

from schemas.db.lifecycle import shown
from services.common import metrics

Labels = tuple[str, ...]

TIERS: Final = frozenset({"high", "low", "tech"})
QUANTILES: Final = (0.5, 0.9)
NOT_KNOWN: Final = "none"

_DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]
_SHOWN: Final = str(shown(func.now()).compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
_NOT_RESERVED: Final = r"account_id NOT LIKE '\_%'"

# The queue has a narrow row for each open episode. Few of them are handled: only for those is the episode read.
OPEN: Final = f"""
SELECT signal, severity, tier, count(*) FROM queue_entries WHERE {_NOT_RESERVED} GROUP BY 1, 2, 3
"""

HANDLED: Final = f"""
SELECT q.signal, q.severity, q.tier, {_SHOWN}, count(*)
FROM queue_entries q JOIN handlings USING (episode_id) JOIN episodes USING (episode_id)
WHERE q.{_NOT_RESERVED} AND {_SHOWN} NOT IN ('open', 'cleared') GROUP BY 1, 2, 3, 4
"""

# Known since its latest transition, which made it critical; of what a replay told, nobody knew before it was recorded.
UNACKNOWLEDGED: Final = f"""
SELECT episodes.signal, count(*),
  extract(epoch FROM now() - min(greatest(episodes.changed_at, episodes.recorded_at)))::float8
FROM episodes LEFT JOIN handlings USING (episode_id)
WHERE episodes.cleared_at IS NULL AND episodes.severity = 'critical' AND episodes.{_NOT_RESERVED} AND {_SHOWN} = 'open'
GROUP BY 1
"""

# As the portfolio has it: of the account or one of its users, customers only, a year of what they pay.
AT_RISK: Final = """
SELECT coalesce(a.currency, 'XXX'), CASE WHEN r.critical THEN 'critical' ELSE 'warning' END, sum(a.mrr) * 12
FROM (
  SELECT account_id, bool_or(severity = 'critical') AS critical FROM episodes
  WHERE kind = 'risk' AND cleared_at IS NULL AND scope IN ('account', 'user') AND severity IN ('warning', 'critical')
  GROUP BY 1
) r JOIN accounts a USING (account_id)
WHERE NOT a.churned AND a.mrr <> 0 GROUP BY 1, 2
"""

ACKNOWLEDGED: Final = """
SELECT e.severity, count(*), percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY
  greatest(extract(epoch FROM h.first_acknowledged_at - greatest(e.opened_at, e.recorded_at)), 0)::float8)
FROM handlings h JOIN episodes e USING (episode_id)
WHERE h.first_acknowledged_at >= now() - interval '7 days' GROUP BY 1
"""

CLOSED: Final = """
SELECT outcome, count(*) FROM handlings
WHERE closed_at >= now() - interval '7 days' AND outcome IS NOT NULL GROUP BY 1
"""

RAISED: Final = f"""
SELECT kind, count(*) FILTER (WHERE opened_at >= now() - interval '1 day'),
  count(*) FILTER (WHERE opened_at < now() - interval '1 day')
FROM episodes WHERE opened_at >= now() - interval '8 days' AND opened_at <= now() AND {_NOT_RESERVED} GROUP BY 1
"""

STALE: Final = "SELECT topic, count(*) FILTER (WHERE state->>'stale' = 'true') FROM source_feeds GROUP BY 1"

MEASURED: Final = """
SELECT extract(epoch FROM now() - (day + 1)::timestamp AT TIME ZONE 'UTC')::float8, sent_at IS NOT NULL
FROM portfolio_measures ORDER BY day DESC LIMIT 1
"""

# Of one open episode's latest transition; read as text, for a reason may hold what `json` refuses.
OWNER: Final = """
SELECT (SELECT substring(t.body::text FROM '"owner" *: *"(csm|support|finance|sales|product)"') FROM transitions t
  WHERE t.episode_id = e.episode_id ORDER BY t.ordinal DESC LIMIT 1)
FROM episodes e WHERE e.signal = $1 AND e.cleared_at IS NULL LIMIT 1
"""


class Reading(Struct, frozen=True):
    """The rows of one snapshot. ARR is exact; `owners` is by signal, the role that its action names."""

    open: list[tuple[str, str, str | None, int]] = field(default_factory=list)
    handled: list[tuple[str, str, str | None, str, int]] = field(default_factory=list)
    unacknowledged: list[tuple[str, int, float | None]] = field(default_factory=list)
    at_risk: list[tuple[str, str, Any]] = field(default_factory=list)
    acknowledged: list[tuple[str, int, list[float]]] = field(default_factory=list)
    closed: list[tuple[str, int]] = field(default_factory=list)
    raised: list[tuple[str, int, int]] = field(default_factory=list)
    stale: list[tuple[str, int]] = field(default_factory=list)
    measured: list[tuple[float, bool]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)


async def read(connection: Any, owners: dict[str, str]) -> Reading:
    """All figures as of one moment. `owners` are those known before; new signals are looked up and added to it."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        seen = [tuple(row) for row in await connection.fetch(OPEN)]
        for signal in {row[0] for row in seen} - owners.keys():
            owners[signal] = await connection.fetchval(OWNER, signal) or NOT_KNOWN
        return Reading(
            open=seen,
            handled=[tuple(row) for row in await connection.fetch(HANDLED)],
            unacknowledged=[tuple(row) for row in await connection.fetch(UNACKNOWLEDGED)],
            at_risk=[tuple(row) for row in await connection.fetch(AT_RISK)],
            acknowledged=[tuple(row) for row in await connection.fetch(ACKNOWLEDGED, list(QUANTILES))],
            closed=[tuple(row) for row in await connection.fetch(CLOSED)],
            raised=[tuple(row) for row in await connection.fetch(RAISED)],
            stale=[tuple(row) for row in await connection.fetch(STALE)],
            measured=[tuple(row) for row in await connection.fetch(MEASURED)],
            owners=owners,
        )


def values(reading: Reading) -> dict[Gauge, dict[Labels, float]]:
    """What each gauge is to say, by its labels in their order. Nothing else keeps a value."""
    found: dict[Gauge, dict[Labels, float]] = {gauge: {} for gauge in GAUGES}

    def add(gauge: Gauge, labels: Labels, value: float) -> None:
        found[gauge][labels] = found[gauge].get(labels, 0.0) + value

    def owner(signal: str) -> str:
        return reading.owners.get(signal, NOT_KNOWN)

    for signal, severity, tier, count in reading.open:
        add(metrics.OPEN_SIGNALS, (signal, severity, _tier(tier), owner(signal)), count)
        add(metrics.SIGNALS_SHOWN, ("open", severity, owner(signal)), count)
    for signal, severity, tier, status, count in reading.handled:
        add(metrics.SIGNALS_SHOWN, ("open", severity, owner(signal)), -count)
        add(metrics.SIGNALS_SHOWN, (status, severity, owner(signal)), count)
        if status == "closed":
            add(metrics.OPEN_SIGNALS, (signal, severity, _tier(tier), owner(signal)), -count)
    for signal, count, oldest in reading.unacknowledged:
        add(metrics.UNACKNOWLEDGED, (signal, owner(signal)), count)
        if oldest is not None:
            add(metrics.UNACKNOWLEDGED_OLDEST, (signal, owner(signal)), max(oldest, 0.0))
    for currency, severity, arr in reading.at_risk:
        add(metrics.ARR_AT_RISK, (currency, severity), float(arr))
    for severity, count, seconds in reading.acknowledged:
        add(metrics.ACKNOWLEDGED, (severity,), count)
        for quantile, value in zip(QUANTILES, seconds, strict=True):
            add(metrics.ACKNOWLEDGE_SECONDS, (severity, str(quantile)), value)
    for outcome, count in reading.closed:
        add(metrics.CLOSED, (outcome,), count)
    # What is alerted on when it is nothing has to be there when it is nothing.
    for kind, last_day, week_before in _with_both_kinds(reading.raised):
        add(metrics.RAISED, ("last_day", kind), last_day)
        add(metrics.RAISED, ("week_before", kind), week_before)
    for topic, count in reading.stale:
        add(metrics.STALE_SOURCES, (topic,), count)
    for age, told in reading.measured:
        add(metrics.PORTFOLIO_AGE, ("true" if told else "false",), max(age, 0.0))
    return found


def _tier(tier: str | None) -> str:
    return tier if tier in TIERS else NOT_KNOWN


def _with_both_kinds(raised: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    by_kind = {kind: (last_day, week_before) for kind, last_day, week_before in raised}
    return [(kind, *by_kind.get(kind, (0, 0))) for kind in ("risk", "opportunity")]


GAUGES: Final = (
    metrics.OPEN_SIGNALS,
    metrics.SIGNALS_SHOWN,
    metrics.UNACKNOWLEDGED,
    metrics.UNACKNOWLEDGED_OLDEST,
    metrics.ARR_AT_RISK,
    metrics.ACKNOWLEDGED,
    metrics.ACKNOWLEDGE_SECONDS,
    metrics.CLOSED,
    metrics.RAISED,
    metrics.STALE_SOURCES,
    metrics.PORTFOLIO_AGE,
)
"""The gauges that a reading fills."""


def show(reading: Reading) -> None:
    """Put a reading into the gauges, in the place of the one before it. Not seen half done by a scrape."""
    for gauge, by_labels in values(reading).items():
        gauge.clear()
        for labels, value in by_labels.items():
            gauge.labels(*labels).set(value)


def forget() -> None:
    """Leave every gauge without a value: nothing is known."""
    for gauge in GAUGES:
        gauge.clear()
