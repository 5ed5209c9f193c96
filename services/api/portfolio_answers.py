"""The JSON of `/v1/portfolio`: shapes for `/openapi.json`, and how sums are put into them by the portfolio's measures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

from msgspec import Struct
from pydantic import BaseModel, Field

from schemas.lifecycle import OUTCOMES
from services.api import portfolio_handling_queries as handling
from services.api import portfolio_queries as cells
from services.api import portfolio_report_queries as reports
from services.api.portfolio import load, money, sheet, time_to_value
from services.api.portfolio.money import share, text, yearly
from services.api.portfolio.period import Period
from services.api.portfolio.retention import FALLING, RISING, Customers, Revenue, RollForward
from services.api.portfolio.terms import Expected, LookAlikes

QUARTERS_SHOWN: Final = 12
GROUPS_SHOWN: Final = 500
BANDS: Final = ("thriving", "healthy", "watch", "critical")
ENDINGS: Final = ("early", "on_time", "late", "lost", "overdue", "open")
ZERO: Final = Decimal(0)

Amount = str

# --- shapes --------------------------------------------------------------------------------------------------------


class PeriodAnswer(BaseModel):
    """The days measured, both included, and the instant up to which facts count (not included)."""

    first: dt.date = Field(alias="from")
    to: dt.date
    start: dt.datetime
    end: dt.datetime


class CustomersAnswer(BaseModel):
    """Customers (in force, with revenue or with revenue unknown) from start to end, and the share that left."""

    opening: int
    new: int
    lost: int
    lost_avoidable: int
    closing: int
    churn: float | None
    avoidable_churn: float | None
    unavoidable_churn: float | None


class RollForwardAnswer(BaseModel):
    """CMRR from start to end by kind of movement; what fell is negative."""

    opening: Amount
    new: Amount
    add_on: Amount
    renewal: Amount
    upsell: Amount
    downsell: Amount
    cancelled: Amount
    archive: Amount
    closing: Amount


class MoneyAnswer(BaseModel):
    """Revenue in one currency at the end, and what became of the opening revenue. Amounts are monthly but for `arr`."""

    currency: str
    customers: int
    mrr: Amount
    arr: Amount
    roll_forward: RollForwardAnswer
    gross_retention: float | None
    net_retention: float | None
    lost_mrr: Amount
    lost_avoidable_mrr: Amount
    expanded_accounts: int
    contracted_accounts: int
    arr_at_risk: Amount
    arr_at_critical_risk: Amount


class HealthAnswer(BaseModel):
    """Mean score of the accounts that have one, and how many stand in each band. `unscored` have none."""

    score: float | None
    scored: int
    unscored: int
    thriving: int
    healthy: int
    watch: int
    critical: int


class EndingAnswer(BaseModel):
    """Terms that ended, or have yet to, in one way: their MRR before, and after the decision."""

    terms: int
    mrr_before: Amount
    mrr_after: Amount


class ExpectedAnswer(BaseModel):
    """CMRR up for renewal in the period, locked at its start."""

    due: Amount
    carried_over: Amount
    total: Amount
    terms: int


class RenewalsAnswer(BaseModel):
    """Terms due in the period or carried over into it, in one currency. The rate is renewed ÷ decided, in terms."""

    currency: str
    expected: ExpectedAnswer
    early: EndingAnswer
    on_time: EndingAnswer
    late: EndingAnswer
    lost: EndingAnswer
    overdue: EndingAnswer
    open: EndingAnswer
    renewal_rate: float | None


class DueMoney(BaseModel):
    """Revenue whose renewal is near, in one currency."""

    currency: str
    accounts: int
    mrr: Amount
    arr: Amount
    arr_at_risk: Amount


class DueAnswer(BaseModel):
    """Customers whose renewal is today or within so many days."""

    days: Literal[30, 60, 90]
    accounts: int
    at_risk: int
    health: HealthAnswer
    money: list[DueMoney]


class SignalTotals(BaseModel):
    """Signals raised in the period, cleared in it, and open at its end."""

    triggered: int
    cleared: int
    open: int


class Measures(BaseModel):
    """Everything that is measured of a set of accounts."""

    accounts: int
    accounts_without_mrr: int
    accounts_at_risk: int
    accounts_at_critical_risk: int
    customers: CustomersAnswer
    retention_target: float | None
    health: HealthAnswer
    money: list[MoneyAnswer]
    renewals: list[RenewalsAnswer]
    renewals_due: list[DueAnswer]
    signals: SignalTotals | None


class GroupMeasures(Measures):
    """The measures of one group; null is the group of accounts of which it is not known."""

    group: str | None


class ReasonAnswer(BaseModel):
    """Customers lost for one reason. Null: the revenue ended, and nobody said that the customer left."""

    reason: str | None
    avoidable: bool | None
    accounts: int
    currency: str
    mrr: Amount


class TimeToValue(BaseModel):
    """Accounts that first reached value in a quarter: mean days since the signature, and against the quarter before."""

    quarter: str
    accounts: int
    mean_days: float
    change: float | None
    days_saved: float | None


class ManagerMoney(BaseModel):
    """Revenue in one manager's care."""

    currency: str
    mrr: Amount
    arr: Amount
    mean_arr: Amount | None


class ManagerAnswer(BaseModel):
    """One manager's customers; null has those of nobody. `filled` is the share of `accounts_per_csm`, tech touch aside."""

    csm: str | None
    accounts: int
    by_tier: dict[str, int]
    filled: float | None
    state: Literal["under", "usual", "over"] | None
    money: list[ManagerMoney]


class LoadAnswer(BaseModel):
    """Who carries how much. `usual`: fewest and most accounts by tier."""

    accounts_per_csm: int
    usual: dict[str, list[int]]
    managers: list[ManagerAnswer]


class TriggeredAnswer(BaseModel):
    """Signals of one kind in the period, and what people did with them in it.

    `acknowledged` counts those that somebody first acknowledged, snoozed or closed, `closed` those closed. Hours are from
    when the signal could be seen. `precision` is the share of the closed that were no false alarm.
    """

    signal: str
    kind: str
    owner: str | None
    triggered: int
    cleared: int
    open: int
    mean_days_to_clear: float | None
    median_days_to_clear: float | None
    acknowledged: int
    closed: int
    mean_hours_to_acknowledge: float | None
    mean_hours_to_resolve: float | None
    outcomes: dict[str, int]
    precision: float | None


class PersonAnswer(BaseModel):
    """What was done in the period with the signals of one person: the assignee's, else the account's CSM's."""

    person: str | None
    acknowledged: int
    closed: int
    mean_hours_to_acknowledge: float | None
    mean_hours_to_resolve: float | None
    outcomes: dict[str, int]
    precision: float | None


class OwnerAnswer(BaseModel):
    """Signals that one owner should act on."""

    owner: str | None
    triggered: int
    cleared: int
    open: int
    acknowledged: int
    closed: int


class SignalsAnswer(BaseModel):
    """Signals in the period by kind, by whose task they are, and by person, those who had most first, 200 at most."""

    by_signal: list[TriggeredAnswer]
    by_owner: list[OwnerAnswer]
    by_person: list[PersonAnswer]


class GapAnswer(BaseModel):
    """A component's mean score here and in the rest of the team."""

    name: str
    score: float
    team: float
    gap: float


class RenewalAtRisk(BaseModel):
    """A customer with an open risk whose renewal is within 90 days. `plan` is null until plans are recorded."""

    account_id: str
    name: str | None
    renewal_date: dt.date
    currency: str
    arr: Amount
    severity: Literal["warning", "critical"]
    score: float | None
    plan: None


class UpsellAnswer(BaseModel):
    """An open opportunity."""

    account_id: str
    name: str | None
    signal: str
    opened_at: dt.datetime
    currency: str
    arr: Amount


class ActivityAnswer(BaseModel):
    """References, reviews or referrals given in the period."""

    kind: Literal["reference", "review", "referral"]
    times: int
    accounts: int


class SheetAnswer(BaseModel):
    """One manager beside the rest of the team."""

    csm: str
    accounts: int
    score: float | None
    team_score: float | None
    gap: float | None
    components: list[GapAnswer]
    dragging_down: GapAnswer | None
    renewals_at_risk: list[RenewalAtRisk]
    upsell: list[UpsellAnswer]
    opportunities_found: int
    advocacy: list[ActivityAnswer]


class ExpandingAnswer(BaseModel):
    """Opening customers that pay more at the end, and the share of customers and of opening MRR that they are."""

    currency: str
    accounts: int
    share_of_accounts: float | None
    share_of_mrr: float | None


class SegmentAnswer(BaseModel):
    """Retention of a segment in one currency, from the period's opening customers."""

    name: str | None
    currency: str
    accounts: int
    lost: int
    churn: float | None
    avoidable_churn: float | None
    opening_mrr: Amount
    gross_retention: float | None
    net_retention: float | None


class DiscountAnswer(BaseModel):
    """Discounts at first renewals in the period: mean percentage points before and after."""

    subscriptions: int
    before: float | None
    after: float | None
    change: float | None
    deeper: int
    shallower: int


class RequestedAnswer(BaseModel):
    """Features asked for in one industry, and the revenue of who asks."""

    industry: str | None
    currency: str
    requests: int
    accounts: int
    arr: Amount


class TopicAnswer(BaseModel):
    """What is asked for."""

    topic: str | None
    requests: int
    accounts: int


class FeatureRequests(BaseModel):
    """Features asked for by industry and by topic."""

    by_industry: list[RequestedAnswer]
    by_topic: list[TopicAnswer]


class CohortAnswer(BaseModel):
    """What accounts of one industry and size did at their renewals. `not_yet_due` have not decided a renewal yet."""

    industry: str | None
    size: str | None
    accounts: int
    lost: int
    lost_share: float | None
    left_at_first: int
    left_at_second: int
    left_later: int
    first_due: int
    first_lost_share: float | None
    not_yet_due: int
    renewed: int
    renewed_change: float | None
    remaining: int


class ReferenceAnswer(BaseModel):
    """A healthy customer that may be asked for a reference."""

    account_id: str
    name: str | None
    industry: str | None
    size: str | None
    use_case: str | None
    score: float | None
    last_given: dt.datetime | None


class ReportsAnswer(BaseModel):
    """The named reports."""

    expanding: list[ExpandingAnswer]
    industries: list[SegmentAnswer]
    products: list[SegmentAnswer]
    first_renewal_discounts: DiscountAnswer
    feature_requests: FeatureRequests
    look_alikes: list[CohortAnswer]
    references: list[ReferenceAnswer]


class Portfolio(BaseModel):
    """The portfolio over a period. Amounts are exact decimals and never added across currencies; shares are ratios.

    `groups` are the 500 with the most accounts, `groups_left_out` is how many more there are.
    """

    as_of: dt.datetime
    period: PeriodAnswer
    group_by: str | None
    filters: dict[str, str]
    total: Measures
    groups: list[GroupMeasures]
    groups_left_out: int
    churn_reasons: list[ReasonAnswer]
    time_to_value: list[TimeToValue]
    load: LoadAnswer
    signals: SignalsAnswer | None
    sheet: SheetAnswer | None
    reports: ReportsAnswer | None


# --- sums into shapes ----------------------------------------------------------------------------------------------


def period(found: Period) -> dict[str, Any]:
    """A `PeriodAnswer`."""
    return {"from": found.first, "to": found.last, "start": found.start, "end": found.end}


class Part(Struct):
    """The sums of every account, or of one group."""

    standing: list[cells.Standing] = []
    opening: list[cells.Opening] = []
    closing: list[cells.Closing] = []
    moved: list[cells.Moved] = []
    locked: list[cells.Locked] = []
    ended: list[cells.Ended] = []
    due: list[cells.Due] = []


def parted(found: cells.Sections) -> tuple[Part, dict[str | None, Part]]:
    """The sums of every account, and those of each group there is, by name, the unknown one last."""
    whole = Part()
    by_group: dict[str | None, Part] = {}
    for name in Part.__struct_fields__:
        for cell in getattr(found, name):
            part = whole if cell.whole else by_group.setdefault(cell.group, Part())
            getattr(part, name).append(cell)
    # Facts of a period may tell of more groups than there are accounts in: none of these is a group.
    names = sorted((name for name, part in by_group.items() if part.standing), key=lambda n: (n is None, n or ""))
    return whole, {name: by_group[name] for name in names}


def largest(by_group: dict[str | None, Part]) -> dict[str | None, Part]:
    """The groups that an answer has room for: those with the most accounts, in their order."""
    by_size = sorted(by_group, key=lambda name: by_group[name].standing[0].accounts, reverse=True)
    kept = set(by_size[:GROUPS_SHOWN])
    return {name: part for name, part in by_group.items() if name in kept}


def retention_targets(setting: str) -> dict[str, float]:
    """The share of customers to keep by tier, from `tier=share,…`. A tier without one has no target."""
    return {tier: float(kept) for tier, _, kept in (part.partition("=") for part in setting.split(",") if part)}


def measures(
    found: Part, *, signals: SignalCount | None, target: float | None = None, by_product: bool = False
) -> dict[str, Any]:
    """`Measures` of every account, or of a group. `target` is the share of customers to keep."""
    standing = found.standing[0] if found.standing else None
    opening = {cell.currency: cell for cell in found.opening}
    closing = {cell.currency: cell for cell in found.closing}
    currencies = sorted({*opening, *closing, *(cell.currency for cell in found.moved)})
    return {
        "accounts": standing.accounts if standing else 0,
        "accounts_without_mrr": standing.unpriced if standing else 0,
        "accounts_at_risk": standing.at_risk if standing else 0,
        "accounts_at_critical_risk": standing.at_risk_critical if standing else 0,
        "customers": _customers(standing),
        "retention_target": target,
        "health": _health([standing] if standing else [], standing.accounts if standing else 0),
        "money": [
            _money(
                currency,
                opening.get(currency),
                closing.get(currency),
                [cell for cell in found.moved if cell.currency == currency],
                by_product=by_product,
            )
            for currency in currencies
        ],
        "renewals": _renewals(found.locked, found.ended),
        "renewals_due": [_due(days, [cell for cell in found.due if cell.days == days]) for days in (30, 60, 90)],
        "signals": signals,
    }


def _customers(found: cells.Standing | None) -> dict[str, Any]:
    customers = Customers(
        opening=found.opening if found else 0,
        new=found.new if found else 0,
        lost=found.lost if found else 0,
        lost_avoidable=found.lost_avoidable if found else 0,
    )
    return {
        "opening": customers.opening,
        "new": customers.new,
        "lost": customers.lost,
        "lost_avoidable": customers.lost_avoidable,
        "closing": customers.closing,
        "churn": customers.churn,
        "avoidable_churn": customers.avoidable_churn,
        "unavoidable_churn": customers.unavoidable_churn,
    }


def _health(found: Sequence[cells.Standing | cells.Due], accounts: int) -> dict[str, Any]:
    scored = sum(cell.scored for cell in found)
    total = sum((cell.score or 0.0) * cell.scored for cell in found)
    bands = {band: sum(getattr(cell, band) for cell in found) for band in BANDS}
    return {
        "score": round(total / scored, 1) if scored else None,
        "scored": scored,
        "unscored": accounts - scored,
    } | bands


def _money(
    currency: str,
    opening: cells.Opening | None,
    closing: cells.Closing | None,
    moved: list[cells.Moved],
    *,
    by_product: bool,
) -> dict[str, Any]:
    opened = opening.mrr if opening else ZERO
    if by_product:
        # An account's movements are not its products': these are told by their two ends.
        kinds = ("new", "add_on", "upsell", "downsell", "cancelled")
        amounts = {kind: getattr(opening, f"product_{kind}") if opening else ZERO for kind in kinds}
    else:
        amounts = {cell.kind: cell.amount for cell in moved}
    forward = RollForward(opening=opened, **amounts)
    retained = Revenue(
        opening=opening.same if opening else ZERO,
        kept=opening.kept if opening else ZERO,
        kept_gross=opening.kept_gross if opening else ZERO,
    )
    mrr = closing.mrr if closing else ZERO
    return {
        "currency": currency,
        "customers": closing.customers if closing else 0,
        "mrr": text(mrr),
        "arr": text(yearly(mrr)),
        "roll_forward": {name: text(getattr(forward, name)) for name in ("opening", *RISING, *FALLING, "closing")},
        "gross_retention": retained.gross,
        "net_retention": retained.net,
        "lost_mrr": text(opening.lost_mrr if opening else ZERO),
        "lost_avoidable_mrr": text(opening.lost_avoidable_mrr if opening else ZERO),
        "expanded_accounts": opening.expanded if opening else 0,
        "contracted_accounts": opening.contracted if opening else 0,
        "arr_at_risk": text(yearly(closing.at_risk if closing else ZERO)),
        "arr_at_critical_risk": text(yearly(closing.at_risk_critical if closing else ZERO)),
    }


def _renewals(locked: list[cells.Locked], ended: list[cells.Ended]) -> list[dict[str, Any]]:
    found = []
    for currency in sorted({*(cell.currency for cell in locked), *(cell.currency for cell in ended)}):
        mine = [cell for cell in locked if cell.currency == currency]
        by_state = {cell.state: cell for cell in ended if cell.currency == currency}
        expected = Expected(
            due=sum((cell.mrr for cell in mine if cell.state != "carried"), ZERO),
            carried_over=sum((cell.mrr for cell in mine if cell.state == "carried"), ZERO),
        )
        renewed = sum(by_state[state].terms for state in ("early", "on_time", "late") if state in by_state)
        lost = by_state["lost"].terms if "lost" in by_state else 0
        found.append(
            {
                "currency": currency,
                "expected": {
                    "due": text(expected.due),
                    "carried_over": text(expected.carried_over),
                    "total": text(expected.total),
                    "terms": sum(cell.terms for cell in mine),
                },
                **{state: _ending(by_state.get(state)) for state in ENDINGS},
                "renewal_rate": share(renewed, renewed + lost),
            }
        )
    return found


def _ending(found: cells.Ended | None) -> dict[str, Any]:
    if found is None:
        return {"terms": 0, "mrr_before": "0", "mrr_after": "0"}
    return {"terms": found.terms, "mrr_before": text(found.before), "mrr_after": text(found.after)}


def _due(days: int, found: list[cells.Due]) -> dict[str, Any]:
    accounts = sum(cell.accounts for cell in found)
    return {
        "days": days,
        "accounts": accounts,
        "at_risk": sum(cell.at_risk for cell in found),
        "health": _health(found, accounts),
        "money": [
            {
                "currency": cell.currency,
                "accounts": cell.accounts,
                "mrr": text(cell.mrr),
                "arr": text(yearly(cell.mrr)),
                "arr_at_risk": text(yearly(cell.at_risk_mrr)),
            }
            for cell in sorted(found, key=lambda cell: cell.currency)
        ],
    }


SignalCount = dict[str, int]


def signal_count(found: Iterable[reports.Triggered | reports.TriggeredIn]) -> SignalCount:
    """`SignalTotals`."""
    counts = {"triggered": 0, "cleared": 0, "open": 0}
    for entry in found:
        for name in counts:
            counts[name] += getattr(entry, name)
    return counts


def reasons(found: list[cells.Reason]) -> list[dict[str, Any]]:
    """`ReasonAnswer`s."""
    return [
        {
            "reason": entry.reason,
            "avoidable": entry.avoidable,
            "accounts": entry.accounts,
            "currency": entry.currency,
            "mrr": text(entry.mrr),
        }
        for entry in found
    ]


def value_trend(found: list[cells.Value]) -> list[dict[str, Any]]:
    """`TimeToValue`s of the last quarters, oldest first."""
    steps = time_to_value.trend([time_to_value.Quarter(entry.quarter, entry.accounts, entry.days) for entry in found])
    return [
        {
            "quarter": step.quarter,
            "accounts": step.accounts,
            "mean_days": round(float(step.mean_days), 1),
            "change": None if step.change is None else round(float(step.change), 1),
            "days_saved": None if step.days_saved is None else round(float(step.days_saved), 1),
        }
        for step in steps[-QUARTERS_SHOWN:]
    ]


def carried(found: list[cells.Carried], most: int) -> dict[str, Any]:
    """A `LoadAnswer`."""
    managers: dict[str | None, list[cells.Carried]] = {}
    for entry in found:
        managers.setdefault(entry.csm, []).append(entry)
    names = sorted(managers, key=lambda name: (name is None, name or ""))
    return {
        "accounts_per_csm": most,
        "usual": {tier: list(bounds) for tier, bounds in load.USUAL.items()},
        "managers": [_manager(name, managers[name], most) for name in names],
    }


def _manager(csm: str | None, found: list[cells.Carried], most: int) -> dict[str, Any]:
    by_tier = {tier: sum(entry.accounts for entry in found if entry.tier == tier) for tier in load.TIERS}
    book = load.Book(by_tier)
    amounts: dict[str, tuple[Decimal, int]] = {}
    for entry in found:
        mrr, accounts = amounts.get(entry.currency, (ZERO, 0))
        amounts[entry.currency] = (mrr + entry.mrr, accounts + entry.accounts)
    return {
        "csm": csm,
        "accounts": book.accounts,
        "by_tier": by_tier,
        "filled": None if csm is None else book.filled(most),
        "state": None if csm is None else book.state(most),
        "money": [
            {
                "currency": currency,
                "mrr": text(mrr),
                "arr": text(yearly(mrr)),
                "mean_arr": None if (each := load.mean(yearly(mrr), accounts)) is None else text(each),
            }
            for currency, (mrr, accounts) in sorted(amounts.items())
        ],
    }


def signals(
    found: list[reports.Triggered], handled: dict[str, handling.Handled], people: list[handling.Handled]
) -> dict[str, Any]:
    """A `SignalsAnswer`. `handled` is by signal."""
    owners = sorted({entry.owner for entry in found}, key=lambda name: (name is None, name or ""))

    def done(owner: str | None) -> dict[str, int]:
        theirs = [handled[entry.signal] for entry in found if entry.owner == owner and entry.signal in handled]
        return {
            "acknowledged": sum(entry.acknowledged for entry in theirs),
            "closed": sum(entry.closed for entry in theirs),
        }

    return {
        "by_signal": [
            {
                "signal": entry.signal,
                "kind": entry.kind,
                "owner": entry.owner,
                "triggered": entry.triggered,
                "cleared": entry.cleared,
                "open": entry.open,
                "mean_days_to_clear": _rounded(entry.mean_days),
                "median_days_to_clear": _rounded(entry.median_days),
                **_handled(handled.get(entry.signal)),
            }
            for entry in found
        ],
        "by_owner": [
            {"owner": owner} | signal_count(entry for entry in found if entry.owner == owner) | done(owner)
            for owner in owners
        ],
        "by_person": [{"person": entry.name} | _handled(entry) for entry in people],
    }


def _handled(found: handling.Handled | None) -> dict[str, Any]:
    return {
        "acknowledged": 0 if found is None else found.acknowledged,
        "closed": 0 if found is None else found.closed,
        "mean_hours_to_acknowledge": None if found is None else _rounded(found.hours_to_acknowledge),
        "mean_hours_to_resolve": None if found is None else _rounded(found.hours_to_resolve),
        "outcomes": dict.fromkeys(OUTCOMES, 0) if found is None else found.outcomes,
        "precision": None if found is None else _rounded(found.precision),
    }


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 3)


def manager_sheet(
    csm: str,
    means: list[reports.Means],
    at_risk: list[reports.RenewalAtRisk],
    upsell: list[reports.Upsell],
    advocacy: list[reports.Activity],
    found: int,
) -> dict[str, Any]:
    """A `SheetAnswer`. `found` is how many opportunities opened in the period."""
    own = next((entry for entry in means if entry.own), None)
    rest = next((entry for entry in means if not entry.own), None)
    compared = sheet.compare(
        sheet.Scores(own.score if own else None, own.components if own else {}),
        sheet.Scores(rest.score if rest else None, rest.components if rest else {}),
    )
    return {
        "csm": csm,
        "accounts": own.accounts if own else 0,
        "score": compared.score,
        "team_score": compared.team,
        "gap": compared.gap,
        "components": compared.components,
        "dragging_down": compared.dragging_down,
        "renewals_at_risk": [
            {
                "account_id": entry.account_id,
                "name": entry.name,
                "renewal_date": entry.renewal_date,
                "currency": entry.currency,
                "arr": text(yearly(entry.mrr)),
                "severity": entry.severity,
                "score": entry.score,
                "plan": None,
            }
            for entry in at_risk
        ],
        "upsell": [
            {
                "account_id": entry.account_id,
                "name": entry.name,
                "signal": entry.signal,
                "opened_at": entry.opened_at,
                "currency": entry.currency,
                "arr": text(yearly(entry.mrr)),
            }
            for entry in upsell
        ],
        "opportunities_found": found,
        "advocacy": advocacy,
    }


def expanding(found: list[cells.Opening]) -> list[dict[str, Any]]:
    """`ExpandingAnswer`s."""
    return [
        {
            "currency": cell.currency,
            "accounts": cell.expanded,
            "share_of_accounts": share(cell.expanded, cell.accounts),
            "share_of_mrr": share(cell.expanded_mrr, cell.mrr),
        }
        for cell in sorted(found, key=lambda cell: cell.currency)
        if cell.whole and cell.accounts
    ]


def segments(found: list[reports.Segment]) -> list[dict[str, Any]]:
    """`SegmentAnswer`s."""
    return [
        {
            "name": entry.name,
            "currency": entry.currency,
            "accounts": entry.accounts,
            "lost": entry.lost,
            "churn": share(entry.lost, entry.accounts),
            "avoidable_churn": share(entry.lost_avoidable, entry.accounts),
            "opening_mrr": text(entry.opening),
            "gross_retention": share(entry.kept_gross, entry.opening),
            "net_retention": share(entry.kept, entry.opening),
        }
        for entry in found
    ]


def discounts(found: reports.Discounts) -> dict[str, Any]:
    """A `DiscountAnswer`."""
    before, after = found.before, found.after
    return {
        "subscriptions": found.subscriptions,
        "before": None if before is None else float(before),
        "after": None if after is None else float(after),
        "change": None if before is None or after is None else float(money.EXACT.subtract(after, before)),
        "deeper": found.deeper,
        "shallower": found.shallower,
    }


def feature_requests(by_industry: list[reports.Requested], by_topic: list[reports.Topic]) -> dict[str, Any]:
    """`FeatureRequests`."""
    return {
        "by_industry": [
            {
                "industry": entry.segment,
                "currency": entry.currency,
                "requests": entry.requests,
                "accounts": entry.accounts,
                "arr": text(yearly(entry.mrr)),
            }
            for entry in by_industry
        ],
        "by_topic": by_topic,
    }


def cohort(found: reports.Cohort) -> dict[str, Any]:
    """A `CohortAnswer`."""
    alike = LookAlikes(
        left_at_first=found.left_at_first,
        left_at_second=found.left_at_second,
        left_later=found.left_later,
        not_yet_due=found.not_yet_due,
        renewed=found.renewed,
        renewed_change=None if found.renewed_change is None else round(found.renewed_change, 6),
    )
    names = (
        *("accounts", "lost", "lost_share", "left_at_first", "left_at_second", "left_later", "first_due"),
        *("first_lost_share", "not_yet_due", "renewed", "renewed_change", "remaining"),
    )
    return {"industry": found.industry, "size": found.size} | {name: getattr(alike, name) for name in names}
