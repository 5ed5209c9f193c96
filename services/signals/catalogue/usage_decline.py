"""usage.decline: usage over 28 complete days fell by a quarter or more against the 28 before."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.windows import USAGE


def _raises(c: Context) -> Finding | None:
    windows = c.account.windows
    previous = windows.complete_previous_28(USAGE)
    current = windows.complete_28(USAGE)
    if previous < c.p["baseline_min"] or current > c.p["raise_at"] * previous:
        return None
    half = current <= c.p["critical_at"] * previous
    return Finding("critical" if half else "warning", frozen={"baseline": previous})


def _explained(c: Context) -> bool:
    windows = c.account.windows
    change = windows.complete_28(USAGE) / windows.complete_previous_28(USAGE) - 1
    return c.fell_like_all(change, c.p["raise_at"] - 1)


def _worse_explained(c: Context) -> bool:
    change = c.account.windows.complete_28(USAGE) / c.open.frozen["baseline"] - 1
    return c.fell_like_all(change, c.p["critical_at"] - 1, fall=c.p["raise_at"] - 1)


def _escalates(c: Context) -> Finding | None:
    current = c.account.windows.complete_28(USAGE)
    if c.open.severity != "critical" and current <= c.p["critical_at"] * c.open.frozen["baseline"]:
        return Finding("critical")
    return None


def _clears(c: Context) -> str | None:
    if c.account.windows.complete_28(USAGE) >= c.p["clear_at"] * c.open.frozen["baseline"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _days_while_open(c: Context) -> int:
    uses = c.account.windows.by_age(USAGE, 29)
    current, limit = sum(uses[:28]), c.p["critical_at"] * c.open.frozen["baseline"]
    if uses[0] or current >= c.p["clear_at"] * c.open.frozen["baseline"]:
        return 1
    if c.open.severity == "critical":
        return 29
    for ahead in range(1, 29):
        if current <= limit:
            return ahead
        current -= uses[28 - ahead]
    return 29


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _due(c: Context) -> int:
    """Closed: the first midnight at which it would hold if nobody used the product any more.

    Uses from today on can only put that off, until they leave the last 28 days themselves, 29 days from now.
    Open: the next midnight after a day with uses; without any it does not clear, so the first at which it escalates.
    """
    today = c.today
    if c.episode is not None:
        return min((today + _days_while_open(c)) * DAY_US, _new_normal(c))
    least, share = c.p["baseline_min"], c.p["raise_at"]
    uses = c.account.windows.by_age(USAGE, 57)
    current, previous = sum(uses[:28]), sum(uses[28:56])
    if not current and not previous:
        return 0
    if current + previous >= least:
        for ahead in range(1, 29):
            if previous >= least and current <= share * previous:
                return (today + ahead) * DAY_US
            leaving = uses[28 - ahead]
            current -= leaving
            previous += leaving - uses[56 - ahead]
    return (today + 29) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    windows, today = c.account.windows, c.today
    current = windows.complete_28(USAGE)
    baseline = c.open.frozen["baseline"]
    change = round(100 * (current / baseline - 1))
    sentence = (
        f"Usage was {current} over the last 28 complete days, against {baseline} at the baseline ({change:+d} %)."
    )
    proof = evidence(
        "usage",
        current,
        "uses",
        baseline=baseline,
        threshold=c.p["raise_at"] * baseline,
        days=(today - 28, today - 1),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="usage.decline",
    version=4,
    title="Usage is falling",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning; critical at half the baseline or less",
    pages=False,
    meaning=(
        "Feature uses in production over the 28 complete days before today are at most 75 % of those over the 28 days "
        "before, which were at least 20. The baseline is frozen at the raise. Clears at 85 % of it, or after 90 days "
        "as the new normal. Judged at midnights and at late events. Held back where the portfolio fell by half of that or "
        "more, unless it fell to 75 % against the portfolio too (and to half, for it to become critical); and while a source "
        "of its usage is stale or was within the last 28 days."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.LATE_USAGE,
    reads_open=Fact.USAGE,
    arms=Fact.USAGE,
    inputs=("usage.feature_used",),
    needs=("usage.feature_used",),
    warming_days=56,
    action=Action(
        title="Call the account, find out what stopped, and agree on the next use",
        owner="csm",
        playbook="usage-decline",
        runbook="usage.decline",
    ),
    thresholds={
        "default": {"baseline_min": 20, "raise_at": 0.75, "critical_at": 0.5, "clear_at": 0.85, "new_normal_days": 90}
    },
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=28,
    explained=_explained,
    worse_explained=_worse_explained,
    describe=_describe,
)


def _used(day: str, count: int, **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "count": count, **more})


# 100 uses a month ago and n since: at midnight of 2026-02-03 the first 28 days hold 100 and the last 28 hold n.
CASES = [
    Case(
        name="exactly three quarters of the 28 days before",
        events=[_used("2026-01-05", 100), _used("2026-01-20", 75)],
        until="2026-02-02",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="one use more than three quarters",
        events=[_used("2026-01-05", 100), _used("2026-01-20", 76)],
        until="2026-02-02",
        expect=[],
    ),
    Case(
        name="half opens critical, and 85 % of the frozen baseline clears",
        events=[_used("2026-01-05", 100), _used("2026-01-20", 50), _used("2026-02-03", 35)],
        until="2026-02-03",
        expect=[("2026-02-03T00:00:00Z", "raised", "critical"), ("2026-02-04T00:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="a warning escalates when usage falls to half of the frozen baseline",
        events=[_used("2026-01-05", 100), _used("2026-01-06", 30), _used("2026-01-20", 45)],
        until="2026-02-03",
        expect=[("2026-02-03T00:00:00Z", "raised", "warning"), ("2026-02-04T00:00:00Z", "escalated", "critical")],
    ),
    Case(
        name="after 90 days it is the new normal",
        events=[_used("2026-01-05", 100)],
        until="2026-05-04",
        expect=[("2026-02-03T00:00:00Z", "raised", "critical"), ("2026-05-04T00:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="a baseline of 19 is too small to judge",
        events=[_used("2026-01-05", 19)],
        until="2026-03-05",
        expect=[],
    ),
    Case(
        name="usage outside production does not count",
        events=[_used("2026-01-05", 100, environment="trial")],
        until="2026-03-05",
        expect=[],
    ),
    Case(
        name="a late event that fills the window clears it",
        events=[_used("2026-01-05", 100), _used("2026-02-03", 1), _used("2026-01-30", 90)],
        until="2026-02-03",
        expect=[("2026-02-03T00:00:00Z", "raised", "critical"), ("2026-02-03T10:00:00Z", "cleared", "critical")],
    ),
]
