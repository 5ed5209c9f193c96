"""health.drop: the health score fell into a lower band, or by ten points or more within 30 days."""

from __future__ import annotations

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    remembered,
)
from services.signals.core.components import regained
from services.signals.core.days import DAY_US
from services.signals.core.score import BAND_RANK, band_of
from services.signals.core.scores import DayScore, ended


def _peak(c: Context) -> DayScore | None:
    """The best score that a day of the last 30 ended with, of days that knew enough; the latest of equals."""
    known = [day for day in ended(c.account.hot, c.today - int(c.p["days"]), c.today - 1) if _enough(c, day.coverage)]
    return max(known, key=lambda day: (day.points, day.day), default=None)


def _enough(c: Context, coverage: float) -> bool:
    return bool(coverage >= c.p["coverage_min"])


def _fell(c: Context, peak: float, points: float) -> bool:
    """Whether a score is a fall from that peak. It has left the peak's band where it is below that by more than the slack."""
    best = band_of(peak)
    return bool(points <= peak - c.p["points"]) or BAND_RANK[band_of(points, best)] < BAND_RANK[best]


def _alone(c: Context) -> float | None:
    """The score as it would be had not all accounts used less; None where they did not, or it is not known."""
    account, shared = c.account, c.shared(c.today - 1)
    if shared is None or not -1 < shared <= -c.p["shared_min"]:
        return None
    weights = c.catalogue.score_weights[account.hot.profile.tier]
    return round(min(100.0, account.hot.score + regained(account, c.now, shared, weights)), 1)


def _explained(c: Context) -> bool:
    """Whether it is no fall once what all accounts used less is given back."""
    peak, alone = _peak(c), _alone(c)
    return peak is not None and alone is not None and not _fell(c, peak.points, alone)


def _worse_explained(c: Context) -> bool:
    alone = _alone(c)
    return alone is not None and band_of(alone) != "critical"


def _raises(c: Context) -> Finding | None:
    hot = c.account.hot
    if hot.band == "thriving" and hot.score > 100 - c.p["points"]:
        return None  # no peak is as far above
    peak = _peak(c) if hot.score >= 0 and _enough(c, hot.coverage) else None
    if peak is None or peak.points < 0 or not _fell(c, peak.points, hot.score):
        return None
    return Finding("critical" if hot.band == "critical" else "warning", frozen={"peak": peak.points, "day": peak.day})


def _escalates(c: Context) -> Finding | None:
    worse = c.account.hot.band == "critical" and c.open.severity != "critical"
    return Finding("critical") if worse else None


def _clears(c: Context) -> str | None:
    hot, peak = c.account.hot, c.open.frozen["peak"]
    if hot.score >= peak - c.p["clear_points"] and BAND_RANK[hot.band] >= BAND_RANK[band_of(peak)]:
        return "recovered"
    return "new_normal" if c.now >= _due(c) else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    hot, peak, day = c.account.hot, c.open.frozen["peak"], c.open.frozen["day"]
    sentence = f"Health is {hot.score:g} ({hot.band}); it was {peak:g} ({band_of(peak)}) within the 30 days before."
    proof = evidence(
        "health", hot.score, "points", baseline=peak, threshold=round(peak - c.p["points"], 1), days=(day, c.today)
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="health.drop",
    version=3,
    title="Health is falling",
    kind="risk",
    family="health",
    scope="account",
    severity="warning; critical in the band critical",
    pages=False,
    meaning=(
        "The health score is at least 10 points below, or in a lower band than, the best score that one of the last 30 "
        "days ended with. Both must rest on at least 40 % of the weights. That best score is frozen at the raise; clears "
        "when the score is within 5 points of it and in its band, or after 90 days as the new normal. A band is left "
        "downwards 2 points below where it begins. The score is settled when each day ends, and at once when anything but "
        "the running day's usage changes it. Where the portfolio, or its tier of it, was used at least 5 % less over the last "
        "28 complete days than over the 28 before, it is raised, and becomes critical, only if that holds for the score that "
        "the account would have with as much more usage and active users."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.SCORE,
    inputs=("usage.feature_used", "ticket.opened", "invoice.issued", "survey.answered", "touchpoint.held"),
    action=Action(
        title="Look at the component that fell most, and take its action",
        owner="csm",
        playbook="health-drop",
        runbook="health.drop",
    ),
    thresholds={
        "default": {
            "points": 10,
            "days": 30,
            "clear_points": 5,
            "coverage_min": 0.4,
            "new_normal_days": 90,
            "shared_min": 0.05,
        },
    },
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("usage", "tickets", "invoices", "engagement"),
    hole_days=28,
    explained=_explained,
    worse_explained=_worse_explained,
    describe=_describe,
    refuses=remembered((31, "days")),
    warming_days=30,
)


def _weekly(*days: str, count: int = 10) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "count": count}) for day in days]


def _invoice(day: str, due: str) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"invoice_id": "I1", "amount": "100", "currency": "EUR", "due": due}
    return (f"{day}T08:00:00Z", "invoice.issued", data)


def _paid(day: str) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"invoice_id": "I1", "amount": "100"}
    return (f"{day}T09:00:00Z", "invoice.paid", data)


_WEEKS = _weekly("2026-01-01", "2026-01-08", "2026-01-15", "2026-01-22", "2026-01-29", "2026-02-05", "2026-02-12")

# Adoption (35) and payment (15) are known. Steady use is worth 100; payment 70 from the first day past due, 40 from the
# 15th: the score is 100, then 91, then 82.
CASES = [
    Case(
        name="fifteen days past due take eighteen points; paid, they are back",
        events=sorted([*_WEEKS, _invoice("2026-01-02", "2026-01-20"), _paid("2026-02-10")]),
        until="2026-02-12",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-10T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="fourteen days take nine, and the band holds",
        events=sorted([*_WEEKS, _invoice("2026-01-02", "2026-01-20"), _paid("2026-02-03")]),
        until="2026-02-12",
        expect=[],
    ),
    Case(
        name="nine points, and out of the band",
        events=sorted([*_WEEKS, _invoice("2026-01-02", "2025-12-28")]),
        until="2026-01-13",
        expect=[("2026-01-12T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="nobody uses it any more: straight into the critical band, and in 90 days it is the new normal",
        events=[*_weekly("2026-01-01", count=100), _invoice("2026-01-02", "2026-01-20"), _paid("2026-01-03")],
        until="2026-04-30",
        expect=[("2026-01-30T00:00:00Z", "raised", "critical"), ("2026-04-30T00:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="payment alone is too little to go by",
        events=[_invoice("2026-01-02", "2026-01-20")],
        until="2026-03-31",
        expect=[],
    ),
]
