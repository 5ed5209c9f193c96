"""What the portfolio page shows, from the answers of `/v1/portfolio`. Pure; amounts stay decimals until they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from services.api.console import shown
from services.api.console.account import named
from services.api.console.charts import Level, Step, waterfall
from services.api.portfolio_list_queries import Acknowledged, ManagerMeans, Outcome

KINDS: Final = {
    "new": "New",
    "add_on": "Add-ons",
    "renewal": "Dearer renewals",
    "upsell": "Upsells",
    "downsell": "Downsells",
    "cancelled": "Cancelled",
    "archive": "Moved to another currency",
}
"""Movements of the roll-forward, in their order."""
OUTCOMES: Final = ("saved", "saved_by_concession", "churned", "false_alarm", "no_action")
LEAST_BEHIND: Final = 0.5


def roll_forward(key: str, found: Mapping[str, Any]) -> Markup:
    """The CMRR of one currency from opening to closing."""
    forward, currency = found["roll_forward"], found["currency"]
    steps = [
        Step(name, float(amount), _signed(amount, currency))
        for kind, name in KINDS.items()
        if (amount := Decimal(forward[kind]))
    ]
    return waterfall(
        key,
        _level("Opening", forward["opening"], currency),
        steps,
        _level("Closing", forward["closing"], currency),
        about=f"CMRR in {shown.currency_name(currency)}",
        unit=shown.currency_name(currency),
    )


def _level(name: str, amount: str, currency: str) -> Level:
    return Level(name, float(amount), shown.money(amount, currency))


def _signed(amount: Decimal, currency: str) -> str:
    said = shown.money(abs(amount), currency)
    return f"+{said}" if amount > 0 else f"{shown.MINUS}{said}"


class Manager(Struct, frozen=True):
    """One row of the managers' sheet. `gap` and `behind` are against all managers' accounts together."""

    csm: str | None
    accounts: int
    state: str | None
    filled: float | None
    money: Sequence[Mapping[str, Any]]
    score: float | None
    gap: float | None
    worst: str | None
    behind: float | None
    raised: int
    acknowledged: int
    median_hours: float | None


def managers(
    carried: Sequence[Mapping[str, Any]], means: Sequence[ManagerMeans], acknowledged: Sequence[Acknowledged]
) -> list[Manager]:
    """Managers by name, what is nobody's last."""
    team = next((one for one in means if one.whole), None)
    own = {one.csm: one for one in means if not one.whole}
    acks = {one.csm: one for one in acknowledged}
    rows = []
    for one in carried:
        mean, ack = own.get(one["csm"]), acks.get(one["csm"])
        part, behind = _worst(mean, team)
        score = None if mean is None else mean.score
        rows.append(
            Manager(
                csm=one["csm"],
                accounts=one["accounts"],
                state=one["state"],
                filled=one["filled"],
                money=one["money"],
                score=score,
                gap=None if score is None or team is None or team.score is None else score - team.score,
                worst=part,
                behind=behind,
                raised=0 if ack is None else ack.raised,
                acknowledged=0 if ack is None else ack.acknowledged,
                median_hours=None if ack is None else ack.median_hours,
            )
        )
    return rows


def _worst(mean: ManagerMeans | None, team: ManagerMeans | None) -> tuple[str | None, float | None]:
    """The component that is furthest behind all managers' accounts, and how far; none where none is."""
    if mean is None or team is None:
        return None, None
    gaps = [
        (score - whole, name)
        for name, score in mean.components.items()
        if score is not None and (whole := team.components.get(name)) is not None
    ]
    behind, name = min(gaps, default=(0.0, ""))
    return (named(name), behind) if behind <= -LEAST_BEHIND else (None, None)


class OutcomeRow(Struct, frozen=True):
    """Signals closed with one outcome, and the yearly revenue of their accounts by currency."""

    outcome: str
    signals: int
    accounts: int
    arr: list[tuple[Decimal, str]]


def outcome_rows(found: Sequence[Outcome]) -> list[OutcomeRow]:
    """A row for each outcome there is, also where none was."""
    rows = []
    for name in OUTCOMES:
        mine = [one for one in found if one.outcome == name]
        rows.append(
            OutcomeRow(
                name,
                sum(one.signals for one in mine),
                sum(one.accounts for one in mine),
                [(one.mrr * 12, one.currency) for one in mine if one.mrr],
            )
        )
    return rows


def by_currency(due: Sequence[Mapping[str, Any]]) -> list[str]:
    """The currencies in which anything is due, in their order."""
    return sorted({money["currency"] for one in due for money in one["money"]})
