"""SQL of the portfolio. Each question is summed where the facts are: what comes back are cells, a few for each group.

One statement answers most of it: `z` holds every account as it stood at the end, `b` with its start, its risk and its
score, `a` what it brought, `cells` sums alike accounts, and each section sums cells in its own way. Instants are half
open: a state is the one just before the instant. Amounts travel as text, so that they stay exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.db.tables import KEY_CHARACTERS
from services.api.portfolio.period import Period

DIRECT: Final = "direct"
REASONS_SHOWN: Final = 50

# Of the account as it stood at the end (`e`). No tier is low touch.
TIER: Final = "coalesce(e.tier, 'low')"
GROUPS: Final[dict[str, str]] = {
    "tier": TIER,
    "csm": "e.csm",
    "industry": "e.industry",
    "size": "e.size",
    "region": "e.region",
    "plan": "e.plan",
    "channel": f"coalesce(e.partner, '{DIRECT}')",
    "tenure": """CASE WHEN :day - e.signed < 90 THEN 'under 90 d'
        WHEN e.signed > :day - interval '1 year' THEN '90 d to 1 y'
        WHEN e.signed > :day - interval '2 years' THEN '1 to 2 y'
        WHEN e.signed > :day - interval '3 years' THEN '2 to 3 y' ELSE '3 y and more' END""",
    "cohort": "to_char(e.signed, 'YYYY-\"Q\"Q')",
    "product": "e.product",
}
"""What accounts may be grouped by, as SQL."""


def _stated(column: str, absent: str, name: str) -> str:
    # Said so that the planner can tell how many accounts that is: of a function's value it knows nothing.
    return f"({column} = :w_{name} OR {column} IS NULL AND :w_{name} = '{absent}')"


FILTERS: Final[dict[str, str]] = {
    "tier": _stated("e.tier", "low", "tier"),
    "csm": "e.csm = :w_csm",
    "industry": "e.industry = :w_industry",
    "size": "e.size = :w_size",
    "region": "e.region = :w_region",
    "plan": "e.plan = :w_plan",
    "channel": _stated("e.partner", DIRECT, "channel"),
    "use_case": "e.use_case = :w_use_case",
}
"""What accounts may be narrowed by, as conditions."""


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked. `where` narrows by how accounts stood at the end of the period."""

    period: Period
    group_by: str | None
    where: dict[str, str]


# --- cells ---------------------------------------------------------------------------------------------------------


class Cell(Struct):
    """A sum. `whole`: over every account; else `group` says over which."""

    whole: bool
    group: str | None


class Standing(Cell):
    """Accounts of a group, counted."""

    accounts: int
    customers: int
    opening: int
    new: int
    lost: int
    lost_avoidable: int
    unpriced: int
    at_risk: int
    at_risk_critical: int
    score: float | None
    scored: int
    thriving: int
    healthy: int
    watch: int
    critical: int


class Opening(Cell):
    """What a period opened with, in one currency. `same` is the part that did not change its currency."""

    currency: str
    mrr: Decimal
    same: Decimal
    kept: Decimal
    kept_gross: Decimal
    accounts: int
    expanded: int
    expanded_mrr: Decimal
    contracted: int
    lost: int
    lost_mrr: Decimal
    lost_avoidable_mrr: Decimal
    product_new: Decimal
    product_add_on: Decimal
    product_upsell: Decimal
    product_downsell: Decimal
    product_cancelled: Decimal


class Closing(Cell):
    """What there is at the end, in one currency."""

    currency: str
    mrr: Decimal
    customers: int
    at_risk: Decimal
    at_risk_critical: Decimal


class Moved(Cell):
    """Movements of one kind."""

    currency: str
    kind: str
    amount: Decimal
    movements: int


class Reason(Struct):
    """Customers lost for one reason."""

    reason: str | None
    avoidable: bool | None
    currency: str
    accounts: int
    mrr: Decimal


class Locked(Cell):
    """Terms to renew, as they stood at the start: `due` in the period, `early` before it, or `carried` over."""

    currency: str
    state: str
    terms: int
    mrr: Decimal


class Ended(Cell):
    """What became of terms by the end: early, on_time, late, lost, overdue, open."""

    currency: str
    state: str
    terms: int
    before: Decimal
    after: Decimal


class Due(Cell):
    """Customers whose renewal is within so many days."""

    days: int
    currency: str
    accounts: int
    mrr: Decimal
    at_risk: int
    at_risk_mrr: Decimal
    score: float | None
    scored: int
    thriving: int
    healthy: int
    watch: int
    critical: int


class Value(Struct):
    """Accounts that reached their first value in a quarter."""

    quarter: str
    accounts: int
    days: Decimal


class Carried(Struct):
    """Customers of one manager in one tier, in one currency."""

    csm: str | None
    tier: str
    currency: str
    accounts: int
    mrr: Decimal


class Sections(Struct):
    """Everything that one look at the accounts gives."""

    standing: list[Standing]
    opening: list[Opening]
    closing: list[Closing]
    moved: list[Moved]
    locked: list[Locked]
    ended: list[Ended]
    due: list[Due]
    reasons: list[Reason]
    value: list[Value]
    carried: list[Carried]


_sections: Final = msgspec.json.Decoder(Sections).decode

# --- accounts ------------------------------------------------------------------------------------------------------

# An episode that changed since may have been milder then. The transition says; it is read as text, for a reason may hold
# what `json` refuses. What is open and what cleared later are found apart, each in its own index.
_SEVERITY_THEN: Final = """
  CASE WHEN x.changed_at < :end OR x.last_ordinal = 1 THEN x.severity ELSE (
    SELECT substring(t.body::text FROM '"severity":"(info|warning|critical)"') FROM transitions t
    WHERE t.episode_id = x.episode_id AND t.time < :end ORDER BY t.ordinal DESC LIMIT 1) END AS severity
"""

RISKS: Final = f"""
  SELECT o.account_id, max(CASE o.severity WHEN 'critical' THEN 2 WHEN 'warning' THEN 1 ELSE 0 END) AS risk
  FROM (
    SELECT x.account_id, {_SEVERITY_THEN} FROM episodes x
    WHERE x.kind = 'risk' AND x.cleared_at IS NULL AND x.opened_at < :end AND x.scope IN ('account', 'user')
    UNION ALL
    SELECT x.account_id, {_SEVERITY_THEN} FROM episodes x
    WHERE x.kind = 'risk' AND x.cleared_at >= :end AND x.opened_at < :end AND x.scope IN ('account', 'user')
  ) o GROUP BY o.account_id
"""

SUBSCRIBED: Final = "since < :end AND (until IS NULL OR until >= :start)"

# Put in order first, which the index nearly does: then one sum is held at a time, not one for each of them all.
PRODUCTS: Final = f"""
  SELECT account_id, product,
    sum(mrr) FILTER (WHERE since < :end AND (until IS NULL OR until >= :end)) AS mrr,
    sum(mrr) FILTER (WHERE since < :start AND (until IS NULL OR until >= :start)) AS mrr0
  FROM (
    SELECT * FROM subscription_spans WHERE {SUBSCRIBED} ORDER BY account_id, product
  ) subscribed GROUP BY account_id, product
"""


def at_end(asked: Asked) -> str:
    """The condition of an account's span (`e`) that it is the one at the end, of an account that is asked for."""
    narrowed = "".join(f" AND {FILTERS[name]}" for name in asked.where)
    return f"e.since < :end AND (e.until IS NULL OR e.until >= :end){narrowed}"


def stood(asked: Asked, group: str | None) -> str:
    """The accounts that are asked for as they stood at the end: spans, by product once for each product."""
    if group != "product":
        return f"SELECT * FROM account_spans e WHERE {at_end(asked)}"
    return f"""
    SELECT e.*, p.product FROM account_spans e
    LEFT JOIN (SELECT DISTINCT account_id, product FROM subscription_spans WHERE {SUBSCRIBED}) p
      ON p.account_id = e.account_id
    WHERE {at_end(asked)}
    """


def named(group: str | None, source: str) -> str:
    """Each account of such a relation with the name of its group: enough to tell whose a fact is."""
    return f"SELECT e.account_id, {GROUPS[group] if group else 'NULL::text'} AS grp FROM {source} e"


def scored(asked: Asked) -> str:
    """Joins that give each account (`e`) its score and band at the end, as `l`."""
    if not asked.period.past:
        return "LEFT JOIN latest_scores l ON l.account_id = e.account_id"
    # Nearly every account has the last day: those are found together, and the others one by one.
    return """
      LEFT JOIN health_days d ON d.account_id = e.account_id AND d.day = cast(:settled AS date) - 1
      LEFT JOIN LATERAL (
        SELECT d.score, d.band WHERE d.account_id IS NOT NULL
        UNION ALL
        (SELECT o.score, o.band FROM health_days o
        WHERE d.account_id IS NULL AND o.account_id = e.account_id AND o.day < cast(:settled AS date)
        ORDER BY o.day DESC LIMIT 1)) l ON true
    """


def beside(asked: Asked, group: str | None) -> str:
    """The relation `b`: accounts at the end (`z`) beside their start, with their risk and score."""
    return f"""
    SELECT e.account_id, {GROUPS[group] if group else "NULL::text"} AS key, e.currency, e.churn_reason,
      coalesce(e.avoidable, true) AS avoidable, e.renewal_date, e.churned, e.mrr,
      s.churned AS churned0, s.mrr AS mrr0, coalesce(s.currency, e.currency) AS currency0, s.renewal_date AS renewal0,
      s.account_id IS NOT NULL AND NOT s.churned AS here0, coalesce(r.risk, 0) AS risk, l.score, l.band
    FROM z e
    LEFT JOIN account_spans s
      ON s.account_id = e.account_id AND s.since < :start AND (s.until IS NULL OR s.until >= :start)
    LEFT JOIN ({RISKS}) r ON r.account_id = e.account_id
    {scored(asked)}
    """


def _brought(key: str, now: str, then: str, source: str) -> str:
    return f"""
    SELECT b.account_id, {key} AS key, b.currency, b.churn_reason, b.avoidable, b.renewal_date,
      NOT b.churned AS here, NOT b.churned AND {now} IS DISTINCT FROM 0 AS customer,
      coalesce({now}, 0) AS mrr, {now} IS NULL AS unpriced,
      b.here0 AND {then} IS DISTINCT FROM 0 AS customer0, coalesce({then}, 0) AS mrr0, {then} IS NULL AS unpriced0,
      b.currency0, b.renewal0, b.here0, b.risk, b.score, b.band
    FROM {source}
    """


COMPARED: Final = _brought("b.key", "b.mrr", "b.mrr0", "b")
"""The relation `a`: what each account of `b` brought at the end and at the start."""

# A product that an account has not is 0, not unknown.
COMPARED_BY_PRODUCT: Final = _brought(
    "p.product",
    "CASE WHEN p.product IS NULL THEN b.mrr WHEN b.churned THEN 0 ELSE coalesce(p.mrr, 0) END",
    "CASE WHEN p.product IS NULL THEN b.mrr0 WHEN b.churned0 THEN 0 ELSE coalesce(p.mrr0, 0) END",
    "b LEFT JOIN p ON p.account_id = b.account_id",
)
"""As `a`, but an account is there once for each of its products (`p`), with what that one brought."""


# Accounts alike in everything that a section asks for, as one row: a few hundred stand for a hundred thousand.
ALIKE: Final = """
  SELECT key, currency, currency0, here, customer, customer0, here0,
    customer0 AND NOT unpriced0 AND (NOT customer OR currency = currency0) AS same,
    CASE WHEN customer0 AND NOT customer AND NOT here THEN churn_reason END AS reason,
    CASE WHEN customer0 AND NOT customer THEN avoidable END AS avoidable,
    CASE WHEN here THEN risk END AS risk, CASE WHEN here THEN band END AS band, customer AND unpriced AS unpriced,
    customer0 AND unpriced0 AS unpriced0,
    CASE WHEN customer THEN
      CASE WHEN renewal_date < :day THEN 'overdue' WHEN renewal_date <= :last THEN 'open' END END AS state,
    CASE WHEN customer AND renewal_date >= :day AND renewal_date <= :day + 90
      THEN greatest(ceil((renewal_date - :day) / 30.0) * 30, 30)::int END AS days,
    CASE WHEN customer0 THEN
      CASE WHEN renewal0 < :first THEN 'carried' WHEN renewal0 <= :last THEN 'due' END END AS state0,
    CASE WHEN customer0 AND customer THEN sign(mrr - mrr0)::int END AS moved,
    count(*) AS n, sum(mrr) AS mrr, sum(mrr0) AS mrr0,
    sum(score) FILTER (WHERE here) AS score, count(score) FILTER (WHERE here) AS scored
  FROM {source} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
"""


def values(asked: Asked) -> dict[str, Any]:
    """What the statements' parameters stand for."""
    where = {f"w_{name}": value[:KEY_CHARACTERS] for name, value in asked.where.items()}
    period = asked.period
    return where | {
        "start": period.start,
        "end": period.end,
        "first": period.first,
        "last": period.last,
        "day": period.day,
        # A day's score is settled once the day is over.
        "settled": period.end.date(),
    }


BANDS: Final = ", ".join(
    f"coalesce(sum(n) FILTER (WHERE here AND band = '{band}'), 0) AS {band}"
    for band in ("thriving", "healthy", "watch", "critical")
)


def _count(condition: str) -> str:
    return f"coalesce(sum(n) FILTER (WHERE {condition}), 0)"


def _sum(what: str, condition: str) -> str:
    return f"coalesce(sum({what}) FILTER (WHERE {condition}), 0)::text"


KEYS: Final = 'whole, grp AS "group"'

STANDING: Final = f"""
  SELECT {_count("here")} AS accounts, {_count("customer")} AS customers, {_count("customer0")} AS opening,
    {_count("customer AND NOT customer0")} AS new, {_count("customer0 AND NOT customer")} AS lost,
    {_count("customer0 AND NOT customer AND avoidable")} AS lost_avoidable, {_count("unpriced")} AS unpriced,
    {_count("risk > 0")} AS at_risk, {_count("risk > 1")} AS at_risk_critical,
    sum(score) / nullif(sum(scored), 0)::float8 AS score, coalesce(sum(scored), 0) AS scored, {BANDS}, {KEYS}
  FROM cells GROUP BY whole, grp
"""

# What accounts lost, kept and gained, by the currency that they paid in at the start. The product's columns are its
# movements by the two ends: what one product gained is not what the account did.
OPENING: Final = f"""
  SELECT currency0 AS currency, {_sum("mrr0", "customer0")} AS mrr, {_sum("mrr0", "same")} AS same,
    {_sum("mrr", "same AND customer")} AS kept,
    {_sum("CASE WHEN moved > 0 THEN mrr0 ELSE mrr END", "same AND customer")} AS kept_gross,
    {_count("customer0")} AS accounts, {_count("same AND moved > 0")} AS expanded,
    {_sum("mrr0", "same AND moved > 0")} AS expanded_mrr,
    {_count("same AND moved < 0")} AS contracted, {_count("customer0 AND NOT customer")} AS lost,
    {_sum("mrr0", "customer0 AND NOT customer")} AS lost_mrr,
    {_sum("mrr0", "customer0 AND NOT customer AND avoidable")} AS lost_avoidable_mrr,
    {_sum("mrr", "NOT customer0 AND NOT here0")} AS product_new, {_sum("mrr", "NOT customer0 AND here0")} AS product_add_on,
    {_sum("mrr - mrr0", "moved > 0")} AS product_upsell, {_sum("mrr - mrr0", "moved < 0")} AS product_downsell,
    {_sum("-mrr0", "customer0 AND NOT customer")} AS product_cancelled, {KEYS}
  FROM cells WHERE customer AND NOT unpriced OR customer0 AND NOT unpriced0 GROUP BY currency0, whole, grp
"""

CLOSING: Final = f"""
  SELECT currency, sum(mrr)::text AS mrr, sum(n) AS customers, {_sum("mrr", "risk > 0")} AS at_risk,
    {_sum("mrr", "risk > 1")} AS at_risk_critical, {KEYS}
  FROM cells WHERE customer AND NOT unpriced GROUP BY currency, whole, grp
"""

# Facts are summed by what is known of their account (`x.key`) before they are counted in each group (`n`) that it is in.
MOVED: Final = f"""
  SELECT currency, kind, sum(amount)::text AS amount, sum(movements) AS movements, {KEYS}
  FROM (
    SELECT {{key}} AS key, m.currency, m.kind, sum(m.amount) AS amount, count(*) AS movements
    FROM revenue_movements m {{whose_m}}
    WHERE m.time >= :start AND m.time < :end GROUP BY 1, 2, 3
  ) x {{groups}} GROUP BY currency, kind, whole, grp
"""

LOCKED: Final = f"""
  SELECT currency, state, sum(n) AS terms, sum(mrr)::text AS mrr, {KEYS}
  FROM (
    SELECT whole, grp, currency0 AS currency, state0 AS state, n, mrr0 AS mrr FROM cells WHERE state0 IS NOT NULL
    UNION ALL
    SELECT whole, grp, currency, 'early', n, mrr
    FROM (
      SELECT {{key}} AS key, t.currency, count(*) AS n, coalesce(sum(t.mrr_before), 0) AS mrr
      FROM term_ends t {{whose_t}}
      WHERE t.renewed AND t.due BETWEEN :first AND :last AND t.decided_at < :start GROUP BY 1, 2
    ) x {{groups}}
  ) y GROUP BY currency, state, whole, grp
"""

ENDED: Final = f"""
  SELECT currency, state, sum(n) AS terms, sum(before)::text AS before, sum(after)::text AS after, {KEYS}
  FROM (
    SELECT whole, grp, currency, state, n, before, after
    FROM (
      SELECT {{key}} AS key, t.currency, count(*) AS n, coalesce(sum(t.mrr_before), 0) AS before,
        coalesce(sum(t.mrr_after), 0) AS after,
        CASE WHEN NOT t.renewed THEN 'lost' WHEN t.decided_at < :start THEN 'early'
          WHEN t.decided_at < (t.due + 1)::timestamp AT TIME ZONE 'UTC' THEN 'on_time' ELSE 'late' END AS state
      FROM term_ends t {{whose_t}}
      WHERE t.decided_at < :end AND (t.renewed AND t.due BETWEEN :first AND :last
        OR t.due <= :last AND t.decided_at >= :start)
      GROUP BY key, t.currency, state
    ) x {{groups}}
    UNION ALL
    SELECT whole, grp, currency, state, n, mrr, 0 FROM cells WHERE state IS NOT NULL
  ) y GROUP BY currency, state, whole, grp
"""

DUE: Final = f"""
  SELECT w.days, currency, sum(n) AS accounts, sum(mrr)::text AS mrr, {_count("risk > 0")} AS at_risk,
    {_sum("mrr", "risk > 0")} AS at_risk_mrr, sum(score) / nullif(sum(scored), 0)::float8 AS score,
    sum(scored) AS scored, {BANDS}, {KEYS}
  FROM cells JOIN (VALUES (30), (60), (90)) AS w(days) ON cells.days <= w.days GROUP BY w.days, currency, whole, grp
"""

REASONS: Final = f"""
  SELECT reason, avoidable, currency0 AS currency, sum(n) AS accounts, sum(mrr0)::text AS mrr
  FROM cells WHERE whole AND customer0 AND NOT customer GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1 LIMIT {REASONS_SHOWN}
"""

VALUE: Final = """
  SELECT to_char(m.time AT TIME ZONE 'UTC', 'YYYY-"Q"Q') AS quarter, count(*) AS accounts,
    sum(greatest((m.time AT TIME ZONE 'UTC')::date - e.signed, 0))::text AS days
  FROM account_marks m JOIN z e ON e.account_id = m.account_id
  WHERE m.kind = 'value' AND m.time < :end GROUP BY 1
"""

CARRIED: Final = f"""
  SELECT e.csm, {TIER} AS tier, e.currency, count(*) AS accounts, coalesce(sum(e.mrr), 0)::text AS mrr
  FROM z e WHERE NOT e.churned AND e.mrr IS DISTINCT FROM 0 GROUP BY 1, 2, 3
"""

SECTIONS: Final = {
    "standing": STANDING,
    "opening": OPENING,
    "closing": CLOSING,
    "moved": MOVED,
    "locked": LOCKED,
    "ended": ENDED,
    "due": DUE,
    "reasons": REASONS,
    "value": VALUE,
    "carried": CARRIED,
}


# Sums over every account: hashing them in memory is worth it for one statement. The planner knows nothing of how few cells
# there are, and would sort every account by eighteen columns. The driver gives up after ten seconds.
SUMMING: Final = """
  SELECT set_config('work_mem', '64MB', true), set_config('enable_sort', 'off', true),
    set_config('statement_timeout', '9s', true)
"""


async def sections(connection: AsyncConnection, asked: Asked) -> Sections:
    """Everything that one look at the accounts gives: over all of them, and by group where one is asked for."""
    await connection.execute(text(SUMMING))
    relations, groups = _by_product(asked) if asked.group_by == "product" else _by_column(asked)
    # A fact of an account that nobody singles out needs no account to be counted.
    single = bool(asked.group_by or asked.where)
    given = {"key": "j.key" if single else "NULL::text", "groups": groups} | {
        f"whose_{x}": f"JOIN j ON j.account_id = {x}.account_id" if single else "" for x in "mt"
    }
    members = ", ".join(
        f"'{name}', (SELECT coalesce(json_agg(q), '[]') FROM ({query.format(**given)}) q)"
        for name, query in SECTIONS.items()
    )
    statement = f"""
    WITH z AS MATERIALIZED ({stood(asked, None)}), {relations}
    SELECT json_build_object({members})::text
    """
    found = await connection.execute(text(statement), values(asked))
    await connection.execute(text("SET LOCAL enable_sort = on"))
    return _sections(found.scalar_one())


def _by_column(asked: Asked) -> tuple[str, str]:
    """The relations from `z` to `cells`, with the key of each account (`j`), and a join to the groups of a key (`n`)."""
    key = GROUPS[asked.group_by] if asked.group_by else "NULL::text"
    own = ", (false, x.key)" if asked.group_by else ""
    groups = f"CROSS JOIN LATERAL (VALUES (true, NULL::text){own}) n(whole, grp)"
    return (
        f"""
    j AS (SELECT e.account_id, {key} AS key FROM z e), b AS ({beside(asked, asked.group_by)}), a AS ({COMPARED}),
    cells AS MATERIALIZED (SELECT n.whole, n.grp, x.* FROM ({ALIKE.format(source="a")}) x {groups})
    """,
        groups,
    )


def _by_product(asked: Asked) -> tuple[str, str]:
    """As `_by_column`. Accounts with the same products have the same key: what they did is summed once, then counted in
    each group.
    """
    return (
        f"""
    p AS MATERIALIZED ({PRODUCTS}),
    j AS MATERIALIZED (
      SELECT z.account_id, k.key FROM z LEFT JOIN (
        SELECT account_id, array_agg(product ORDER BY product) AS key FROM p GROUP BY account_id
      ) k ON k.account_id = z.account_id),
    b AS MATERIALIZED ({beside(asked, None)}), a AS ({COMPARED}), c AS ({COMPARED_BY_PRODUCT}),
    cells AS MATERIALIZED (
      SELECT true AS whole, NULL::text AS grp, x.* FROM ({ALIKE.format(source="a")}) x
      UNION ALL SELECT false, x.key, x.* FROM ({ALIKE.format(source="c")}) x)
    """,
        """
    CROSS JOIN LATERAL (
      SELECT true, NULL::text UNION ALL SELECT false, unnest(coalesce(x.key, ARRAY[NULL::text]))) n(whole, grp)
    """,
    )
