"""The facts that portfolio measures are taken from, kept in step with the timeline, in the transaction that writes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import structs

from schemas.db.tables import CONTRACT_TYPES
from schemas.health import Health
from services.signals.recorder.fold import Events
from services.signals.recorder.records import TimelineRow
from services.signals.recorder.revenue import (
    DECODERS,
    MARKED,
    Fact,
    Mark,
    Revenue,
    Span,
    derive,
    marks_of,
    repeats,
)

# Of accounts that were recorded before these facts were: so many with each batch.
OVERDUE_AT_ONCE: Final = 200

TAKE_OVERDUE = """
DELETE FROM facts_due WHERE account_id IN (SELECT account_id FROM facts_due LIMIT $1) RETURNING account_id
"""

# Equal times keep their order of arrival as far as it is known.
READ_CONTRACTS = f"""
SELECT account_id, time, type, data::text FROM timeline
WHERE account_id = ANY($1) AND {CONTRACT_TYPES}
ORDER BY account_id, time, appended_at, entry
"""

LAST_SPANS = "SELECT * FROM account_spans WHERE account_id = ANY($1) AND until IS NULL"

READ_MARKED = """
SELECT account_id, type, entry, time, data::text FROM timeline WHERE account_id = ANY($1) AND type = ANY($2)
"""

# Columns in the order of the structs' members.
TABLES: Final = {
    "account_spans": "account_id since until name tier csm industry size region plan partner use_case currency mrr signed "
    "renewal_date churned churn_reason avoidable",
    "subscription_spans": "account_id subscription_id since until product mrr discount renewal",
    "revenue_movements": "account_id time kind currency amount ordinal",
    "term_ends": "account_id term due decided_at renewed currency mrr_before mrr_after",
}

WRITE_MARKS = """
INSERT INTO account_marks AS m (account_id, kind, name, time, topic)
SELECT i.account_id, i.kind, i.name, i.time, i.topic
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
  AS i(account_id, kind, name, time, topic)
ON CONFLICT (account_id, kind, name) DO UPDATE SET time = least(m.time, excluded.time),
  topic = coalesce(excluded.topic, m.topic)
WHERE excluded.time < m.time OR m.topic IS NULL
"""

# What an erasure forgot must not leave a mark: the timeline knows, for it was written just before.
RECORDED = """
SELECT i.place - 1 FROM unnest($1::text[], $2::timestamptz[], $3::bytea[]) WITH ORDINALITY
  AS i(account_id, time, entry, place)
JOIN timeline t ON t.account_id = i.account_id AND t.time = i.time AND t.entry = i.entry
"""

WRITE_LATEST_SCORES = """
INSERT INTO latest_scores (account_id, as_of, score, band)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::float8[], $4::text[])
ON CONFLICT (account_id) DO UPDATE SET as_of = excluded.as_of, score = excluded.score, band = excluded.band
"""

WRITE_COMPONENTS = """
INSERT INTO component_scores AS h (account_id, scores)
SELECT account_id, jsonb_object(string_to_array(names, $4), string_to_array(scores, $4))
FROM unnest($1::text[], $2::text[], $3::text[]) AS i(account_id, names, scores)
ON CONFLICT (account_id) DO UPDATE SET scores = excluded.scores WHERE h.scores IS DISTINCT FROM excluded.scores
"""

FORGET_SCORES: Final = (
    "DELETE FROM latest_scores WHERE account_id = ANY($1)",
    "DELETE FROM component_scores WHERE account_id = ANY($1)",
)
SEPARATOR: Final = "\x1f"


async def write_facts(connection: Any, batch: Events) -> None:
    """Bring the facts up to what the timeline holds after `batch` was written to it."""
    entries = list(batch.entries.values())
    anew = {row["account_id"] for row in await connection.fetch(TAKE_OVERDUE, OVERDUE_AT_ONCE)} | set(batch.erasures)
    marking = [row for row in entries if row.type in MARKED and row.account_id not in anew]
    if marking:
        keys = [[row.account_id for row in marking], [row.time for row in marking], [row.entry for row in marking]]
        kept = [marking[place] for (place,) in await connection.fetch(RECORDED, *keys)]
        await _write_marks(connection, ((r.account_id, r.type, r.entry, r.time, r.data) for r in kept))
    if anew:
        await connection.execute("DELETE FROM account_marks WHERE account_id = ANY($1)", list(anew))
        found = await connection.fetch(READ_MARKED, list(anew), list(MARKED))
        await _write_marks(connection, (tuple(row) for row in found))
    changed = anew | await _changed(connection, [row for row in entries if row.type in DECODERS])
    if changed:
        await _write_revenue(connection, sorted(changed))


async def _changed(connection: Any, rows: list[TimelineRow]) -> set[str]:
    """Accounts of which these rows say anything new."""
    if not rows:
        return set()
    accounts = {row.account_id for row in rows}
    found = await connection.fetch(LAST_SPANS, list(accounts))
    last = {row["account_id"]: Span(**{name: row[name] for name in Span.__struct_fields__}) for row in found}
    return {
        row.account_id
        for row in rows
        if row.account_id not in last or not repeats(last[row.account_id], Fact(row.time, row.type, row.data))
    }


async def _write_revenue(connection: Any, accounts: list[str]) -> None:
    history: dict[str, list[Fact]] = {account_id: [] for account_id in accounts}
    for account_id, time, type_, data in await connection.fetch(READ_CONTRACTS, accounts):
        history[account_id].append(Fact(time, type_, data))
    derived = {account_id: derive(facts) for account_id, facts in history.items() if facts}
    for table, columns in TABLES.items():
        await connection.execute(f"DELETE FROM {table} WHERE account_id = ANY($1)", accounts)
        rows = [row for account_id, revenue in derived.items() for row in _rows(table, account_id, revenue)]
        if rows:
            await connection.copy_records_to_table(table, records=rows, columns=columns.split())


def _rows(table: str, account_id: str, revenue: Revenue) -> list[tuple[Any, ...]]:
    match table:
        case "account_spans":
            return [(account_id, *structs.astuple(span)) for span in revenue.spans]
        case "subscription_spans":
            return [(account_id, *structs.astuple(span)) for span in revenue.subscriptions]
        case "revenue_movements":
            return [(account_id, *structs.astuple(m), number) for number, m in enumerate(revenue.movements, 1)]
        case _:
            return [(account_id, *structs.astuple(term)) for term in revenue.terms]


async def _write_marks(connection: Any, events: Iterable[Sequence[Any]]) -> None:
    by_account: dict[str, list[tuple[str, bytes, dt.datetime, str]]] = {}
    for account_id, type_, entry, time, data in events:
        by_account.setdefault(account_id, []).append((type_, entry, time, data))
    rows: list[tuple[str, Mark, dt.datetime]] = [
        (account_id, mark, time) for account_id, found in by_account.items() for mark, time in marks_of(found).values()
    ]
    if rows:
        await connection.execute(
            WRITE_MARKS,
            [account_id for account_id, _, _ in rows],
            [mark.kind for _, mark, _ in rows],
            [mark.name for _, mark, _ in rows],
            [time for _, _, time in rows],
            [mark.topic for _, mark, _ in rows],
        )


async def write_scores(connection: Any, records: Iterable[Health]) -> None:
    """Keep the scores of the latest health records. `records` are those that are not older than what is held."""
    rows = [(h, {c.name: c.score for c in h.components if c.score is not None}) for h in records]
    if not rows:
        return
    accounts = [health.account_id for health, _ in rows]
    await connection.execute(
        WRITE_LATEST_SCORES,
        accounts,
        [health.as_of for health, _ in rows],
        [health.score for health, _ in rows],
        [health.band for health, _ in rows],
    )
    await connection.execute(
        WRITE_COMPONENTS,
        accounts,
        [SEPARATOR.join(scores) for _, scores in rows],
        [SEPARATOR.join(map(str, scores.values())) for _, scores in rows],
        SEPARATOR,
    )
