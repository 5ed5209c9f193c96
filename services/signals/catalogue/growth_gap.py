"""growth.gap: the account grows far less than its segment: a loss that nobody calls churn."""

from __future__ import annotations

from decimal import Decimal

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.subscriptions import next_level_out, yearly_growth

YEAR = 365


def _segment(c: Context) -> Decimal | None:
    """Mean growth of the account's industry, None where it is not measured."""
    mean = c.world.benchmark(c.now).growth.get(str(c.account.hot.profile.fields.get("industry")))
    return None if mean is None else Decimal(str(mean))


def _gap(c: Context) -> Decimal | None:
    segment = _segment(c)
    if segment is None:
        return None
    growth = yearly_growth(c.dossier.billing.subscriptions, c.now)
    return None if growth is None else segment - growth


def _raises(c: Context) -> Finding | None:
    gap = _gap(c)
    return Finding("warning") if gap is not None and gap >= Decimal(str(c.p["raise_at"])) else None


def _clears(c: Context) -> str | None:
    gap = _gap(c)
    if gap is None:
        return "not_applicable"
    return "recovered" if gap < Decimal(str(c.p["clear_at"])) else None


def _due(c: Context) -> int:
    if _segment(c) is None:
        return 0
    return next_level_out(c.dossier.billing.subscriptions.paying(), c.now, YEAR)


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
    version=1,
    title="Grows far less than its segment",
    kind="opportunity",
    family="growth",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "What the account pays per month grew, over 365 × 24 h, by at least 20 points less than the mean of its industry as "
        "the portfolio measured it last. Clears under 15 points. Silent where the industry, its mean or what was paid a year "
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
    thresholds={"default": {"raise_at": 0.2, "clear_at": 0.15}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _sold(at: str, mrr: str) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T10:00:00Z", "account.updated", {"mrr": mrr, "industry": "retail"})


def _measured(day: str, told: str, **means: float) -> tuple[str, str, dict[str, object]]:
    return (told, "portfolio.measured", {"day": day, "accounts": 40, "growth_mean_by_segment": means})


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
        expect=[("2025-02-03T00:30:00Z", "raised", "warning"), ("2025-02-10T00:30:00Z", "cleared", "warning")],
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
        expect=[("2025-02-04T10:00:00Z", "raised", "warning")],
    ),
]
