"""billing.reorder_overdue: a regular buyer without a contract has not ordered for longer than usual."""

from __future__ import annotations

import math
from itertools import pairwise

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.billing import usual_interval
from services.signals.core.days import NEVER, midnight


def _overdue_on(c: Context) -> int:
    """The day from whose midnight on an order is overdue, -1 where the account is no regular buyer without a term."""
    if c.account.hot.profile.renewal_day is not None:
        return -1
    days = sorted({order.day for order in c.dossier.billing.orders})
    if len(days) < c.p["orders"]:
        return -1
    gaps = [later - earlier for earlier, later in pairwise(days)]
    usual = usual_interval(c.dossier.billing)
    if usual is None or usual[1] < c.p["interval_min"] or max(gaps) > c.p["regular"] * usual[1]:
        return -1
    return int(usual[0] + math.ceil(c.p["late"] * usual[1]))


def _raises(c: Context) -> Finding | None:
    day = _overdue_on(c)
    usual = usual_interval(c.dossier.billing)
    if usual is None or not 0 <= day <= c.today or c.now >= _forgotten(c, *usual):
        return None
    return Finding("warning", frozen={"last": usual[0], "interval": usual[1]})


def _clears(c: Context) -> str | None:
    if c.account.hot.profile.renewal_day is not None:
        return "not_applicable"
    usual = usual_interval(c.dossier.billing)
    if usual is None or usual[0] != c.open.frozen["last"]:
        return "recovered"
    return "expired" if c.now >= _forgotten(c, *usual) else None


def _forgotten(c: Context, last: int, interval: float) -> int:
    """The midnight from which on nobody waits for an order any more."""
    return midnight(last + math.ceil(c.p["forgotten"] * interval))


def _due(c: Context) -> int:
    usual = usual_interval(c.dossier.billing)
    if c.episode is not None and usual is not None:
        return _forgotten(c, *usual)
    day = _overdue_on(c)
    return NEVER if day < 0 else midnight(day)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    last, interval = c.open.frozen["last"], c.open.frozen["interval"]
    days = c.today - last
    sentence = f"The last order was on {on(last)}, {days} days ago; every {interval:g} days is usual."
    proof = evidence(
        "days_since_order",
        days,
        "days",
        baseline=interval,
        threshold=math.ceil(c.p["late"] * interval),
        days=(last, c.today),
        event_ids=[order.event_id for order in c.dossier.billing.orders if order.day <= last][-4:],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="billing.reorder_overdue",
    version=1,
    title="A regular buyer has not ordered",
    kind="risk",
    family="billing",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "No renewal date and no end of a contract is known, invoices were issued on at least 4 days (of the last 26 invoices; "
        "voided ones aside), no two of them further apart than twice the usual interval, and the last is 1.5 times the usual "
        "interval ago (high touch 1.25, tech touch 2), in whole days, rounded up. The usual interval is the median of the "
        "days between them, at least 5. Raised at that day's midnight. Clears at the next invoice, when a term becomes "
        "known, or at 4 times the interval."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.INVOICES | Fact.PROFILE | Fact.CONTRACT,
    inputs=("invoice.issued", "invoice.voided", "account.updated"),
    needs=("invoice.issued",),
    held_by=("invoices",),
    hole_days="hole_days",
    action=Action(
        title="Ask the buyer about the next order, and what they use in its place",
        owner="sales",
        playbook="reorder",
        runbook="billing.reorder_overdue",
    ),
    thresholds={
        "default": {"orders": 4, "interval_min": 5, "regular": 2.0, "late": 1.5, "forgotten": 4.0, "hole_days": 30},
        "high": {"late": 1.25},
        "tech": {"late": 2.0},
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _order(day: str) -> tuple[str, str, dict[str, object]]:
    data = {"amount": "100.00", "currency": "EUR", "due": "2026-12-31", "recurring": False}
    return (f"2026-{day}T10:00:00Z", "invoice.issued", {"invoice_id": f"I{day}", **data})


_REGULAR = [_order("01-01"), _order("01-11"), _order("01-21"), _order("01-31")]

CASES = [
    Case(
        name="every ten days, and then not for 15; ordered again",
        events=[*_REGULAR, _order("02-20")],
        until="2026-02-20",
        expect=[("2026-02-15T00:00:00Z", "raised", "warning"), ("2026-02-20T10:00:00Z", "cleared", "warning")],
    ),
    Case(name="14 days", events=[*_REGULAR, _order("02-14")], until="2026-02-27", expect=[]),
    Case(
        name="a contract with a term",
        events=[("2026-01-01T00:00:00Z", "account.updated", {"contract_end": "2026-11-30"}), *_REGULAR],
        until="2026-03-31",
        expect=[],
    ),
    Case(name="three orders are no habit", events=_REGULAR[:3], until="2026-03-31", expect=[]),
    Case(
        name="not regular: a gap of more than twice the median",
        events=[_order("01-01"), _order("01-11"), _order("02-01"), _order("02-11"), _order("02-21")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="a voided invoice was no order; nobody orders again",
        events=[
            *_REGULAR,
            _order("02-10"),
            ("2026-02-12T10:00:00Z", "invoice.voided", {"invoice_id": "I02-10"}),
        ],
        until="2026-04-30",
        expect=[("2026-02-15T00:00:00Z", "raised", "warning"), ("2026-03-12T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a term becomes known",
        events=[*_REGULAR, ("2026-02-16T10:00:00Z", "account.updated", {"renewal_date": "2026-11-30"})],
        until="2026-02-28",
        expect=[("2026-02-15T00:00:00Z", "raised", "warning"), ("2026-02-16T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="tech touch: 20 days",
        events=[("2026-01-01T00:00:00Z", "account.updated", {"tier": "tech"}), *_REGULAR],
        until="2026-02-20",
        expect=[("2026-02-20T00:00:00Z", "raised", "warning")],
    ),
]
