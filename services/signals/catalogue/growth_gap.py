"""growth.gap: the account grows far less than its segment: a loss that nobody calls churn."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, midnight_from
from services.signals.core.subscriptions import LATE_DAYS, next_level_out, yearly_growth

YEAR = 365


def _segment(c: Context) -> Decimal | None:
    """Mean growth of the account's industry, None where it is not measured."""
    mean = c.world.benchmark(c.now).growth.get(str(c.account.hot.profile.fields.get("industry")))
    return None if mean is None else Decimal(str(mean))


def _gap(c: Context) -> Decimal | None:
    segment = _segment(c)
    if segment is None:
        return None
    paid = c.dossier.billing.subscriptions
    growth = yearly_growth(paid, c.now)
    if growth is None:
        return None
    longer = yearly_growth(paid, c.now, int(c.p["late_days"]))
    return segment - (growth if longer is None else max(growth, longer))


def _changes(c: Context) -> str | None:
    """Why the next midnight opens or clears it: history that is imported fact by fact is judged when the day is over."""
    gap = _gap(c)
    if c.episode is None:
        return "raised" if gap is not None and gap >= Decimal(str(c.p["raise_at"])) else None
    if gap is None:
        return "not_applicable"
    return "recovered" if gap < Decimal(str(c.p["clear_at"])) else None


def _raises(c: Context) -> Finding | None:
    return Finding("warning") if c.midnight and _changes(c) else None


def _clears(c: Context) -> str | None:
    return _changes(c) if c.midnight else None


def _due(c: Context) -> int:
    if _changes(c) is not None:
        return (c.today + 1) * DAY_US
    if _segment(c) is None:
        return 0
    lines, late = c.dossier.billing.subscriptions.paying(), int(c.p["late_days"])
    dues = [at for days in (YEAR, YEAR + late) if (at := next_level_out(lines, c.now, days))]
    return midnight_from(min(dues, default=0))


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    gap, segment = _gap(c), _segment(c)
    window = (c.now - YEAR * DAY_US, c.now)
    if gap is None or segment is None:
        sentence = "Growth of the account or of its segment is not known."
        return sentence, [evidence("growth_12_months", None, "percent", window=window)]
    growth = segment - gap
    industry = c.account.hot.profile.fields.get("industry")
    sentence = (
        f"{100 * growth:+.0f} % in 12 months where {industry} accounts grew by {100 * segment:.0f} % on average: "
        f"a gap of {100 * gap:.0f} points."
    )
    proof = evidence(
        "growth_12_months",
        float(round(100 * growth, 2)),
        "percent",
        baseline=float(round(100 * segment, 2)),
        threshold=float(round(100 * (segment - Decimal(str(c.p["raise_at"]))), 2)),
        window=window,
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="growth.gap",
    version=2,
    title="Grows far less than its segment",
    kind="opportunity",
    family="growth",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "What the account pays per month grew, over 365 or over 425 × 24 h, whichever is more, for a renewal may be 60 days "
        "late, by at least 20 points less than the mean of its industry as the portfolio measured it last. Clears under 15 "
        "points. Judged at midnights. Silent where the industry, its mean or what was paid a year "
        "ago is not known. It is a commercial matter and no churn."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 2",
    reads=Fact.SUBSCRIPTIONS | Fact.PORTFOLIO | Fact.PROFILE,
    inputs=("account.subscription_changed", "account.updated", "account.renewed", "portfolio.measured"),
    needs=("profile.industry",),
    warming_days=365,
    action=Action(
        title="Look for the growth that others of the segment found: teams, products, uses that this account lacks",
        owner="sales",
        playbook="growth-gap",
        runbook="growth.gap",
    ),
    thresholds={"default": {"raise_at": 0.2, "clear_at": 0.15, "late_days": LATE_DAYS}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _sold(at: str, mrr: str) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T10:00:00Z", "account.updated", {"mrr": mrr, "industry": "retail"})


def _measured(day: str, told: str, **means: float) -> tuple[str, str, dict[str, object]]:
    return (told, "portfolio.measured", {"day": day, "accounts": 40, "growth_mean_by_segment": means})


_SUNDAYS = [dt.date(2024, 12, 29) + dt.timedelta(weeks=n) for n in range(13)]
_WEEKLY = [_measured(f"{day}", f"{day + dt.timedelta(days=1)}T00:30:00Z", retail=0.2) for day in _SUNDAYS]


def _yearly(renewed: str) -> list[tuple[str, str, dict[str, object]]]:
    sold = [_sold("2023-01-05", "1000.00"), _sold("2024-01-05", "1100.00"), _sold(renewed, "1210.00")]
    return sorted([*sold, *_WEEKLY], key=lambda event: event[0])


CASES = [
    Case(
        name="10 % where the segment has 30 %; later the segment has 24 %",
        events=[
            _sold("2024-01-05", "1000.00"),
            _sold("2024-12-05", "1100.00"),
            _measured("2025-02-02", "2025-02-03T00:30:00Z", retail=0.3),
            _measured("2025-02-09", "2025-02-10T00:30:00Z", retail=0.24),
        ],
        until="2025-02-10",
        expect=[("2025-02-04T00:00:00Z", "raised", "warning"), ("2025-02-11T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="10.1 % where the segment has 30 %",
        events=[
            _sold("2024-01-05", "1000.00"),
            _sold("2024-12-05", "1101.00"),
            _measured("2025-02-02", "2025-02-03T00:30:00Z", retail=0.3),
        ],
        until="2025-02-08",
        expect=[],
    ),
    Case(
        name="another segment is measured",
        events=[
            _sold("2024-01-05", "1000.00"),
            _measured("2025-02-02", "2025-02-03T00:30:00Z", finance=0.5),
        ],
        until="2025-02-08",
        expect=[],
    ),
    Case(
        name="a year begins to be known at its own instant",
        events=[
            _sold("2024-02-05", "1000.00"),
            _measured("2025-02-02", "2025-02-03T00:30:00Z", retail=0.3),
            ("2025-02-05T08:00:00Z", "account.updated", {"name": "Acme"}),
        ],
        until="2025-02-05",
        expect=[("2025-02-05T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="10 % a year, and the second renewal is 59 days late",
        events=_yearly("2025-03-03"),
        until="2025-03-31",
        expect=[],
    ),
    Case(
        name="a renewal that does not come for 60 days and more",
        events=_yearly("2025-03-07"),
        until="2025-03-31",
        expect=[("2025-03-06T00:00:00Z", "raised", "warning"), ("2025-03-08T00:00:00Z", "cleared", "warning")],
    ),
]
