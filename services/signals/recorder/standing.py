"""What stands beside the recorded facts and is made from them: places in the queue, standings, scores by day and their
parts.

Each function writes inside the caller's transaction, and writes only what changed. The judgement is `schemas.priority`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from schemas import priority
from schemas.health import Component, Health, ScoreDay
from schemas.priority import Judged
from services.signals.recorder.records import SEPARATOR, feature_key

FORGET_ACCOUNTS: Final = (
    "DELETE FROM queue_entries WHERE account_id = ANY($1)",
    "DELETE FROM standings WHERE account_id = ANY($1)",
    "DELETE FROM health_days WHERE account_id = ANY($1)",
    "DELETE FROM health_parts WHERE account_id = ANY($1)",
)

HELD_STANDINGS = """
SELECT account_id, weight, precedence, renewal, cohort, score, untried FROM standings WHERE account_id = ANY($1)
"""

WRITE_STANDINGS = """
INSERT INTO standings (account_id, weight, precedence, renewal, cohort, score, untried)
SELECT account_id, weight, precedence, renewal, cohort, score,
  CASE WHEN known THEN coalesce(string_to_array(untried, chr(31)), '{}') END
FROM unnest($1::text[], $2::numeric[], $3::smallint[], $4::date[], $5::date[], $6::float8[], $7::bool[], $8::text[])
  AS i(account_id, weight, precedence, renewal, cohort, score, known, untried)
ON CONFLICT (account_id) DO UPDATE SET
  weight = excluded.weight, precedence = excluded.precedence, renewal = excluded.renewal, cohort = excluded.cohort,
  score = excluded.score, untried = excluded.untried
"""

WRITE_SCORES = """
INSERT INTO health_days AS h (account_id, day, score, band, coverage)
SELECT * FROM unnest($1::text[], $2::date[], $3::float8[], $4::text[], $5::float8[])
ON CONFLICT (account_id, day) DO UPDATE SET
  score = excluded.score, band = excluded.band, coverage = excluded.coverage
WHERE (h.score, h.band, h.coverage) IS DISTINCT FROM (excluded.score, excluded.band, excluded.coverage)
"""

WRITE_PARTS = """
INSERT INTO health_parts AS h (account_id, day, parts)
SELECT account_id, day, string_to_array(parts, ' ')::smallint[]
FROM unnest($1::text[], $2::date[], $3::text[]) AS i(account_id, day, parts)
ON CONFLICT (account_id, day) DO UPDATE SET parts = excluded.parts WHERE h.parts IS DISTINCT FROM excluded.parts
"""

OPEN_EPISODES = """
SELECT e.account_id, e.episode_id, e.signal, e.kind, e.severity, e.scope, e.tier, e.csm,
  coalesce(s.weight, 1) AS weight, coalesce(s.precedence, 0::smallint) AS precedence, s.renewal,
  q.rank AS held_rank, q.precedence AS held_precedence, q.severity AS held_severity, q.tier AS held_tier,
  q.csm AS held_csm, q.renewal AS held_renewal
FROM unnest($1::text[]) AS touched(account_id)
JOIN episodes e ON e.account_id = touched.account_id AND e.cleared_at IS NULL AND e.scope <> 'portfolio'
LEFT JOIN standings s ON s.account_id = e.account_id
LEFT JOIN queue_entries q ON q.episode_id = e.episode_id
"""

LEAVE_QUEUE = """
DELETE FROM queue_entries q USING unnest($1::text[]) AS touched(account_id)
WHERE q.account_id = touched.account_id
  AND NOT EXISTS (SELECT FROM episodes e WHERE e.episode_id = q.episode_id AND e.cleared_at IS NULL)
"""

WRITE_QUEUE = """
INSERT INTO queue_entries (
  episode_id, account_id, rank, precedence, signal, family, kind, severity, scope, tier, csm, renewal, handled)
SELECT i.*, EXISTS (SELECT FROM handlings h WHERE h.episode_id = i.episode_id)
FROM unnest($1::text[], $2::text[], $3::numeric[], $4::smallint[], $5::text[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::text[], $11::text[], $12::date[])
  AS i(episode_id, account_id, rank, precedence, signal, family, kind, severity, scope, tier, csm, renewal)
ON CONFLICT (episode_id) DO UPDATE SET
  rank = excluded.rank, precedence = excluded.precedence, severity = excluded.severity, tier = excluded.tier,
  csm = excluded.csm, renewal = excluded.renewal
"""


class StandingRow(NamedTuple):
    """One row of `standings`. `untried` is None where it is not known."""

    account_id: str
    weight: Decimal
    precedence: int
    renewal: dt.date | None
    cohort: dt.date | None
    score: float | None
    untried: list[str] | None


def standing_row(health: Health) -> StandingRow:
    """How an account stands on the day that its health record is of."""
    today = health.as_of.astimezone(dt.UTC).date()
    about = priority.situation(health.profile, health.first_event_at)
    names = [feature_key(release.feature) for release in health.untried_releases]
    return StandingRow(
        account_id=health.account_id,
        weight=priority.product(priority.weight_of(about, today)),
        precedence=priority.precedence(about, today),
        renewal=about.renewal,
        cohort=None if about.since is None or health.churned else priority.quarter_start(about.since),
        score=health.score,
        # Every account that was heard of has sent something: no inputs is a record from before they were listed.
        untried=names if health.inputs_seen else None,
    )


async def write_standings(connection: Any, records: Iterable[Health]) -> set[str]:
    """Keep how accounts stand. Returns those whose signals may have another place now."""
    rows = [standing_row(health) for health in records]
    found = await connection.fetch(HELD_STANDINGS, [row.account_id for row in rows])
    held = {row["account_id"]: StandingRow(*row) for row in found}
    # What is unchanged is not sent: an upsert that changes nothing locks its row, and that is a write.
    changed = [row for row in rows if held.get(row.account_id) != row]
    if changed:
        columns = [(*row[:-1], row.untried is not None, SEPARATOR.join(row.untried or ())) for row in changed]
        await connection.execute(WRITE_STANDINGS, *_columns(columns, 8))
    return {row.account_id for row in changed if _place(held.get(row.account_id)) != _place(row)}


def _place(row: StandingRow | None) -> tuple[Any, ...] | None:
    return None if row is None else (row.weight, row.precedence, row.renewal)


async def write_scores(connection: Any, scores: Sequence[tuple[str, ScoreDay]]) -> None:
    """Keep scores of days; what was said of a day before is replaced."""
    if scores:
        rows = [(account_id, day.day, day.score, day.band, day.coverage) for account_id, day in scores]
        await connection.execute(WRITE_SCORES, *_columns(rows, 5))


async def write_parts(connection: Any, parts: Iterable[tuple[str, dt.date, Sequence[Component]]]) -> None:
    """Keep what scores were made of, by account and day."""
    rows = [(account_id, day, " ".join(map(_tenths, components))) for account_id, day, components in parts]
    if rows:
        await connection.execute(WRITE_PARTS, *_columns(rows, 3))


def _tenths(component: Component) -> str:
    return "-1" if component.score is None else str(round(10 * component.contribution))


async def refresh_queue(connection: Any, account_ids: Collection[str]) -> None:
    """Put the open episodes of these accounts in their places, and take out those that are no longer open."""
    touched = list(account_ids)
    await connection.execute(LEAVE_QUEUE, touched)
    by_account: dict[str, list[Any]] = {}
    for row in await connection.fetch(OPEN_EPISODES, touched):
        by_account.setdefault(row["account_id"], []).append(row)
    changed = [entry for rows in by_account.values() for entry in _entries(rows)]
    if changed:
        await connection.execute(WRITE_QUEUE, *_columns(changed, 12))


def _entries(rows: list[Any]) -> Iterable[tuple[Any, ...]]:
    """Of one account's open episodes, those whose place is another than the one held."""
    judged = [
        Judged(signal=row["signal"], kind=row["kind"], severity=row["severity"], scope=row["scope"]) for row in rows
    ]
    families = priority.families_open(judged)
    for row, one in zip(rows, judged, strict=True):
        rank = priority.rank(row["weight"], one, families.get(one.kind, 0))
        place = (rank, row["precedence"], row["severity"], row["tier"], row["csm"], row["renewal"])
        held = tuple(row[f"held_{name}"] for name in ("rank", "precedence", "severity", "tier", "csm", "renewal"))
        if place != held:
            signal = row["signal"]
            yield (
                *(row["episode_id"], row["account_id"], rank, row["precedence"], signal, priority.family_of(signal)),
                *(row["kind"], row["severity"], row["scope"], row["tier"], row["csm"], row["renewal"]),
            )


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
