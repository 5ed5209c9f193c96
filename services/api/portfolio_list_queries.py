"""SQL behind the portfolio's numbers: which accounts a number is made of, what managers' scores lack, what people did."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.api import cursors
from services.api.portfolio_queries import (
    CARRIED,
    COMPARED,
    Asked,
    Carried,
    at_end,
    beside,
    named,
    scored,
    stood,
    values,
)

Of = Literal["opening", "lost", "expanded", "contracted", "at_risk", "at_critical_risk", "due_30", "due_60", "due_90"]

CONDITIONS: Final[dict[Of, str]] = {
    "opening": "a.customer0",
    "lost": "a.customer0 AND NOT a.customer",
    "expanded": "a.customer0 AND a.customer AND a.mrr > a.mrr0",
    "contracted": "a.customer0 AND a.customer AND a.mrr < a.mrr0",
    "at_risk": "a.customer AND a.risk > 0",
    "at_critical_risk": "a.customer AND a.risk > 1",
    "due_30": "a.customer AND a.renewal_date BETWEEN :day AND :day + 30",
    "due_60": "a.customer AND a.renewal_date BETWEEN :day AND :day + 60",
    "due_90": "a.customer AND a.renewal_date BETWEEN :day AND :day + 90",
}
"""Which accounts a number is made of, as conditions of `a` (`portfolio_queries.COMPARED`)."""
LISTED: Final = 100
NAMES_FROM: Final = 200


class Listed(Struct):
    """An account behind a number: how it stood at the start and at the end. `risk` is 0, 1 (warning) or 2 (critical)."""

    account_id: str
    name: str | None
    csm: str | None
    tier: str | None
    currency: str
    mrr: Decimal
    mrr0: Decimal
    renewal_date: dt.date | None
    risk: int
    score: float | None
    band: str | None


class _ByAmount(cursors.Place, frozen=True):
    """In accounts behind a number, the largest amount first."""

    amount: Decimal
    account_id: cursors.Id


async def listed(
    connection: AsyncConnection, asked: Asked, of: Of, currency: str | None, cursor: str | None
) -> tuple[list[Listed], str | None]:
    """One page of the accounts that a number is made of, the largest MRR first, and the cursor of the next page."""
    order = f"{of}.{currency or ''}"
    given = values(asked) | {"most": LISTED + 1}
    # Of who was there at the start, what they paid then counts, in the currency of then.
    opening = of in ("opening", "lost", "expanded", "contracted")
    amount, billed = ("a.mrr0", "a.currency0") if opening else ("a.mrr", "a.currency")
    where = CONDITIONS[of]
    if currency is not None:
        where += f" AND {billed} = :currency"
        given["currency"] = currency
    if cursor is not None:
        after = cursors.decode(cursor, _ByAmount, order)
        where += f" AND ({amount} < :amount OR {amount} = :amount AND a.account_id > :after)"
        given |= {"amount": after.amount, "after": after.account_id}
    statement = f"""
    WITH z AS MATERIALIZED ({stood(asked, None)}), b AS ({beside(asked, None)}), a AS ({COMPARED})
    SELECT a.account_id, z.name, z.csm, z.tier, {billed} AS currency, a.mrr::text AS mrr, a.mrr0::text AS mrr0,
      a.renewal_date, a.risk, a.score, a.band
    FROM a JOIN z ON z.account_id = a.account_id
    WHERE {where} ORDER BY {amount} DESC, a.account_id LIMIT :most
    """
    rows = await connection.execute(text(statement), given)
    found = [msgspec.convert(dict(row._mapping), Listed) for row in rows]
    if len(found) <= LISTED:
        return found, None
    last = found[LISTED - 1]
    place = _ByAmount(order, last.mrr0 if opening else last.mrr, last.account_id)
    return found[:LISTED], cursors.encode(place)


async def carried(connection: AsyncConnection, asked: Asked) -> list[Carried]:
    """Customers and their revenue by manager and tier."""
    statement = f"WITH z AS ({stood(asked, None)}) {CARRIED}"
    return [
        msgspec.convert(dict(row._mapping), Carried) for row in await connection.execute(text(statement), values(asked))
    ]


class ManagerMeans(Struct):
    """Mean score of one manager's accounts, with those of its components; `whole`: of all that have a manager."""

    whole: bool
    csm: str | None
    accounts: int
    scored: int
    score: float | None
    components: dict[str, float | None]


async def manager_means(connection: AsyncConnection, asked: Asked) -> list[ManagerMeans]:
    """Scores by manager, and of all of them together. Components are known of the latest scores only."""
    names: list[str] = []
    if not asked.period.past:
        sampled = "SELECT DISTINCT jsonb_object_keys(c.scores) AS name FROM (SELECT scores FROM component_scores LIMIT :few) c"
        names = sorted((await connection.execute(text(sampled), {"few": NAMES_FROM})).scalars())
    columns = "".join(f", avg((c.scores ->> :n_{at})::float8) AS c_{at}" for at in range(len(names)))
    statement = f"""
        SELECT GROUPING(e.csm) = 1 AS whole, e.csm, count(*) AS accounts, count(l.score) AS scored,
          avg(l.score) AS score {columns}
        FROM account_spans e {scored(asked)} LEFT JOIN component_scores c ON c.account_id = e.account_id
        WHERE {at_end(asked)} AND NOT e.churned AND e.csm IS NOT NULL
        GROUP BY GROUPING SETS ((e.csm), ())
    """
    given: dict[str, Any] = values(asked) | {f"n_{at}": name for at, name in enumerate(names)}
    return [
        ManagerMeans(
            row.whole,
            row.csm,
            row.accounts,
            row.scored,
            row.score,
            {name: getattr(row, f"c_{at}") for at, name in enumerate(names)},
        )
        for row in await connection.execute(text(statement), given)
    ]


class Acknowledged(Struct):
    """Signals raised in the period, and how long the first act on them took, by the manager of their accounts."""

    csm: str | None
    raised: int
    acknowledged: int
    median_hours: float | None


async def acknowledged(connection: AsyncConnection, asked: Asked) -> list[Acknowledged]:
    """How soon risks of warning and above were taken up, by manager: from when they were recorded to the first act."""
    statement = f"""
        WITH j AS ({named("csm", f"({stood(asked, None)})")})
        SELECT j.grp AS csm, count(*) AS raised, count(h.first_acknowledged_at) AS acknowledged,
          percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN h.first_acknowledged_at IS NOT NULL THEN
            greatest(date_part('epoch', h.first_acknowledged_at - t.appended_at), 0) / 3600 END) AS median_hours
        FROM episodes x JOIN j ON j.account_id = x.account_id
        JOIN transitions t ON t.episode_id = x.episode_id AND t.ordinal = 1
        LEFT JOIN handlings h ON h.episode_id = x.episode_id AND h.first_acknowledged_at < :end
        WHERE x.opened_at >= :start AND x.opened_at < :end AND x.kind = 'risk' AND x.severity <> 'info'
        GROUP BY 1
    """
    rows = await connection.execute(text(statement), values(asked))
    return [msgspec.convert(dict(row._mapping), Acknowledged) for row in rows]


class Outcome(Struct):
    """Signals closed in the period with one outcome, and the monthly revenue of their accounts, in one currency."""

    outcome: str
    currency: str
    signals: int
    accounts: int
    mrr: Decimal


async def outcomes(connection: AsyncConnection, asked: Asked) -> list[Outcome]:
    """What closed signals came to. An account counts once in each outcome."""
    statement = f"""
        WITH z AS ({stood(asked, None)}),
        closed AS (
          SELECT h.outcome, x.account_id, count(*) AS signals FROM handlings h
          JOIN episodes x ON x.episode_id = h.episode_id
          WHERE h.closed_at >= :start AND h.closed_at < :end AND h.outcome IS NOT NULL GROUP BY 1, 2)
        SELECT c.outcome, z.currency, sum(c.signals)::bigint AS signals, count(*) AS accounts,
          coalesce(sum(z.mrr), 0)::text AS mrr
        FROM closed c JOIN z ON z.account_id = c.account_id GROUP BY 1, 2 ORDER BY 1, 2
    """
    rows = await connection.execute(text(statement), values(asked))
    return [msgspec.convert(dict(row._mapping), Outcome) for row in rows]
