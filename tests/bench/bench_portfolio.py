"""How long the portfolio takes over many accounts: p50 and p95 of one client's requests, one after the other.

The facts are made in the database itself: five spans, five movements and two subscriptions of each account, the ends of
their terms, marks, scores of days, and signals. Then one api process answers. Baseline in the same run: the catalogue,
which asks no database.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import time
from typing import Final

from services.common import db
from tests.bench.bench_api import ask
from tests.bench.report import Report, Table, percentile
from tests.bench.servers import servers
from tests.harness import new_key, start_service

TODAY: Final = dt.datetime.now(dt.UTC).date()
PAST: Final = TODAY - dt.timedelta(days=3)
YEAR: Final = f"as_of={PAST}T12:00:00Z&from={PAST - dt.timedelta(days=365)}"

# $1: how many accounts, $2: how many signals.
FACTS: Final = (
    f"""
    INSERT INTO account_spans
    SELECT 'a' || n, begun + k * interval '60 days', CASE WHEN k < 4 THEN begun + (k + 1) * interval '60 days' END,
      'Company ' || n, (ARRAY['high', 'low', 'tech'])[1 + n % 3], 'csm-' || n % 200, 'industry ' || n % 12,
      (ARRAY['small', 'middle', 'large'])[1 + n % 3], 'region ' || n % 4, 'plan ' || n % 3,
      CASE WHEN n % 5 = 0 THEN 'partner ' || n % 4 END, 'use ' || n % 6, (ARRAY['EUR', 'USD'])[1 + n % 2],
      CASE WHEN k = 4 AND n % 10 = 0 THEN 0 ELSE 100 + n * 37 % 9000 + k * 10.55 END, begun::date,
      date '{TODAY}' - 30 + n * 7 % 500, k = 4 AND n % 10 = 0, CASE WHEN k = 4 AND n % 10 = 0 THEN 'no ROI' END,
      CASE WHEN k = 4 AND n % 10 = 0 THEN n % 3 > 0 END
    FROM generate_series(0, $1::int - 1) n, generate_series(0, 4) k,
      LATERAL (SELECT timestamptz '{TODAY} 00:00Z' - (940 - n % 700) * interval '1 day' AS begun) b
    """,
    f"""
    INSERT INTO subscription_spans
    SELECT 'a' || n, 's' || p, begun + k * interval '200 days', CASE WHEN k = 0 THEN begun + interval '200 days' END,
      'product ' || (n + p) % 8, 50 + n * 37 % 4000 + k * 10, n % 30, k = 1
    FROM generate_series(0, $1::int - 1) n, generate_series(0, 1) k, generate_series(0, 1) p,
      LATERAL (SELECT timestamptz '{TODAY} 00:00Z' - (940 - n % 700) * interval '1 day' AS begun) b
    """,
    f"""
    INSERT INTO revenue_movements
    SELECT 'a' || n, k + 1, timestamptz '{TODAY} 00:00Z' - (940 - n % 700 - k * 60) * interval '1 day',
      (ARRAY['new', 'upsell', 'renewal', 'upsell', 'cancelled'])[k + 1], (ARRAY['EUR', 'USD'])[1 + n % 2], 10.55
    FROM generate_series(0, $1::int - 1) n, generate_series(0, 4) k
    """,
    f"""
    INSERT INTO term_ends
    SELECT 'a' || n, 1, date '{TODAY}' - 500 + n % 500,
      timestamptz '{TODAY} 00:00Z' - (505 - n % 500 - n % 20) * interval '1 day',
      n % 10 > 0, (ARRAY['EUR', 'USD'])[1 + n % 2], 100 + n * 37 % 9000, 110 + n * 37 % 9000
    FROM generate_series(0, $1::int - 1) n
    """,
    f"""
    INSERT INTO account_marks
    SELECT 'a' || n, kind, kind, timestamptz '{TODAY} 00:00Z' - n % 500 * interval '1 day', 'topic ' || n % 30
    FROM generate_series(0, $1::int - 1) n, unnest(ARRAY['value', 'feature_request', 'reference']) kind
    """,
    f"""
    INSERT INTO latest_scores
    SELECT 'a' || n, timestamptz '{TODAY} 00:00Z', 30 + n * 13 % 70, (ARRAY['critical', 'watch', 'healthy'])[1 + n % 3]
    FROM generate_series(0, $1::int - 1) n
    """,
    """
    INSERT INTO component_scores
    SELECT 'a' || n, jsonb_object_agg(name, (n * place % 100)::text) FROM generate_series(0, $1::int - 1) n,
      unnest(ARRAY['adoption', 'support', 'payment', 'survey', 'community']) WITH ORDINALITY c(name, place) GROUP BY n
    """,
    f"""
    INSERT INTO health_days
    SELECT 'a' || n, date '{TODAY}' - d, 30 + n * 13 % 70, 'watch', 0.8
    FROM generate_series(0, $1::int - 1) n, generate_series(1, 10) d
    """,
    f"""
    INSERT INTO episodes (episode_id, account_id, signal, version, kind, severity, scope, pages, historical, opened_at,
      changed_at, cleared_at, cleared_because, last_ordinal, last_sequence)
    SELECT 'e' || n, 'a' || (n::bigint * 7919) % $1::int, 'signal.' || n % 40, 1,
      CASE WHEN n % 5 = 0 THEN 'opportunity' ELSE 'risk' END, (ARRAY['info', 'warning', 'critical'])[1 + n % 3], 'account',
      false, false, opened, opened, CASE WHEN n % 12 > 0 THEN opened + (1 + n % 95) * interval '1 hour' END, 'recovered', 1, 1
    FROM generate_series(0, $2::int - 1) n,
      LATERAL (SELECT timestamptz '{TODAY} 00:00Z' - n * interval '40 seconds' AS opened) b
    """,
)
QUESTIONS: Final = {
    "catalogue (no database)": "/v1/catalogue",
    "portfolio now, quarter so far": "/v1/portfolio",
    "portfolio now, by tier": "/v1/portfolio?group_by=tier",
    "portfolio now, of a csm, with the sheet": "/v1/portfolio?csm=csm-7",
    "portfolio as of a past day, a year": f"/v1/portfolio?{YEAR}",
    "portfolio as of a past day, a year, by csm": f"/v1/portfolio?{YEAR}&group_by=csm",
    "portfolio as of a past day, a year, by product": f"/v1/portfolio?{YEAR}&group_by=product",
    "named reports, quarter": "/v1/portfolio?include=reports",
}


def options(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--accounts", type=int, default=10_000, help="100000 for the stated goal")
    parser.add_argument("--episodes", type=int, default=100_000, help="1000000 for the stated goal")
    parser.add_argument("--requests", type=int, default=10, help="of each kind")


async def fill(url: str, accounts: int, episodes: int) -> None:
    """All facts, then what autovacuum would have done by now."""
    connection = await db.connect(url, process="bench", statement_timeout_s=3600)
    try:
        for statement in FACTS:
            given = [accounts, episodes] if "$2" in statement else [accounts]
            await connection.execute(statement, *given, timeout=3600)
        await connection.execute("VACUUM (ANALYZE)", timeout=3600)
    finally:
        await connection.close()


def run(given: argparse.Namespace) -> Report:
    """Fill, measure and report."""
    title = f"{given.accounts:,} accounts, {given.episodes:,} episodes: milliseconds a request"
    table = Table(title, ("what", "p50", "p95", "max"))
    with servers(durable=False) as env:
        since = time.monotonic()
        asyncio.run(fill(env["EBBTIDE_DATABASE_URL"], given.accounts, given.episodes))
        filled = time.monotonic() - since
        key = new_key(env, "read")
        service = start_service("api", env)
        try:
            for name, path in QUESTIONS.items():
                taken, _ = ask(int(env["EBBTIDE_API_PORT"]), key, lambda _, path=path: path, given.requests)
                table.rows.append((name, percentile(taken, 0.5), percentile(taken, 0.95), max(taken)))
        finally:
            service.stop()
    told = [f"Filling took {filled:.0f} s."]
    return Report("portfolio", {"accounts": given.accounts, "episodes": given.episodes}, [table], told)
