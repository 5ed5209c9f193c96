"""usage.post_onboarding_slack: in the weeks after the launch usage is well below that of the weeks before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, day_of
from services.signals.core.onboarding import launched_at
from services.signals.core.windows import USAGE

MILESTONES_SEEN = 1 << SEEN.index("account.milestone_done")
BASE_DAYS = 28


def _launch_day(c: Context) -> int:
    """The day of the launch, -1 for none. The dossier is read only for accounts that have milestones at all."""
    if not c.account.hot.seen & MILESTONES_SEEN:
        return -1
    at = launched_at(c.dossier.onboarding)
    return day_of(at) if at >= 0 else -1


def _weeks(c: Context, launch: int) -> int:
    """Complete weeks since the launch that are compared now: 2 to 4, 0 before and a week after that."""
    weeks = (c.today - launch - 1) // 7
    return weeks if c.p["first_week"] <= weeks <= c.p["last_week"] else 0


def _sums(c: Context, launch: int, weeks: int) -> tuple[int, int]:
    """Usage over the 28 days that end with the launch's, and over the weeks from the day after it."""
    age = c.today - launch
    windows = c.account.windows
    return windows.complete(USAGE, age, age + BASE_DAYS - 1), windows.complete(USAGE, age - 7 * weeks, age - 1)


def _raises(c: Context) -> Finding | None:
    launch = _launch_day(c)
    weeks = _weeks(c, launch) if launch >= 0 else 0
    if not weeks:
        return None
    base, since = _sums(c, launch, weeks)
    slack = base >= c.p["baseline_min"] and since * BASE_DAYS <= c.p["raise_at"] * base * 7 * weeks
    if not slack or 2 * _last_two_weeks(c) >= c.p["clear_at"] * base:
        return None
    return Finding("warning", frozen={"baseline": base, "launch": launch})


def _explained(c: Context) -> bool:
    launch = _launch_day(c)
    weeks = _weeks(c, launch)
    base, since = _sums(c, launch, weeks)
    return c.fell_like_all(since * BASE_DAYS / (base * 7 * weeks) - 1, c.p["raise_at"] - 1)


def _last_two_weeks(c: Context) -> int:
    return c.account.windows.complete(USAGE, 1, 14)


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _clears(c: Context) -> str | None:
    if 2 * _last_two_weeks(c) >= c.p["clear_at"] * c.open.frozen["baseline"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _due(c: Context) -> int:
    """Every midnight while it is open, and from the end of the first week that is compared until a week after the last."""
    if c.episode is not None:
        return min((c.today + 1) * DAY_US, _new_normal(c))
    launch = _launch_day(c)
    if launch < 0:
        return 0
    day = max(launch + 1 + 7 * c.p["first_week"], c.today + 1)
    return day * DAY_US if day <= launch + 7 * (c.p["last_week"] + 1) else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    base, launch = c.open.frozen["baseline"], c.open.frozen["launch"]
    weeks = _weeks(c, launch) or c.p["first_week"]
    recent = c.account.windows.complete(USAGE, 1, 7 * weeks)
    expected = base * weeks / 4
    change = round(100 * (recent / expected - 1))
    sentence = (
        f"Usage was {recent} over the last {weeks} complete weeks, against {base} in the four weeks up to the launch on "
        f"{on(launch)} ({change:+d} % a week)."
    )
    proof = evidence(
        "usage",
        recent,
        "uses",
        baseline=base,
        threshold=c.p["raise_at"] * expected,
        days=(c.today - 7 * weeks, c.today - 1),
    )
    return sentence, [proof]


def _refuses(p: Mapping[str, Any]) -> str:
    if not 1 <= p["first_week"] <= p["last_week"] <= 8:
        return "first_week to last_week lie within 1 to 8: what was used before the launch is known no longer"
    return "" if p["baseline_min"] >= 1 else "baseline_min is at least 1: nothing is less than no use"


SIGNAL = Signal(
    id="usage.post_onboarding_slack",
    version=2,
    title="Usage slackens after the launch",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "At the ends of the second, third and fourth week after the launch's day (a milestone of kind launch done), and until "
        "a week after the fourth: feature uses in production a week since the launch are at most 70 % of those a week over "
        "the 28 days that end with the launch's, which were at least 20. Not while the last 14 complete days come to 85 % of "
        "that rate; clears when they do, or after 90 days as the new normal."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7",
    reads=Fact.MILESTONES | Fact.LATE_USAGE,
    inputs=("account.milestone_done", "usage.feature_used"),
    needs=("account.milestone_done", "usage.feature_used"),
    warming_days=42,
    action=Action(
        title="Meet the users who were trained: what keeps them from using it without us",
        owner="csm",
        playbook="post-onboarding",
        runbook="usage.post_onboarding_slack",
    ),
    thresholds={
        "default": {
            "first_week": 2,
            "last_week": 4,
            "baseline_min": 20,
            "raise_at": 0.7,
            "clear_at": 0.85,
            "new_normal_days": 90,
        }
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=28,
    explained=_explained,
    describe=_describe,
    refuses=_refuses,
)


def _used(day: str, count: int) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "count": count})


# Launched on 2026-02-02; 200 uses before it are 50 a week; the second week ends with 02-16.
_LAUNCH = ("2026-02-02T15:00:00Z", "account.milestone_done", {"milestone": "go live", "kind": "launch"})

CASES = [
    Case(
        name="70 uses in two weeks are 70 % of 50 a week",
        events=[_used("2026-01-20", 200), _LAUNCH, _used("2026-02-05", 70)],
        until="2026-02-16",
        expect=[("2026-02-17T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="71 are more",
        events=[_used("2026-01-20", 200), _LAUNCH, _used("2026-02-05", 71)],
        until="2026-02-16",
        expect=[],
    ),
    Case(
        name="the third week shows it; 85 in 14 days clear",
        events=[_used("2026-01-20", 200), _LAUNCH, _used("2026-02-05", 71), _used("2026-02-24", 85)],
        until="2026-02-28",
        expect=[("2026-02-24T00:00:00Z", "raised", "warning"), ("2026-02-25T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="19 uses before the launch are too few to compare",
        events=[_used("2026-01-20", 19), _LAUNCH],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="uses more than 28 days before do not count",
        events=[_used("2026-01-05", 200), _used("2026-01-06", 20), _LAUNCH, _used("2026-02-03", 15)],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="after 90 days it is the new normal",
        events=[_used("2026-01-20", 200), _LAUNCH],
        until="2026-05-31",
        expect=[("2026-02-17T00:00:00Z", "raised", "warning"), ("2026-05-18T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="late uses clear it",
        events=[_used("2026-01-20", 200), _LAUNCH, _used("2026-02-17", 1), _used("2026-02-10", 90)],
        until="2026-02-17",
        expect=[("2026-02-17T00:00:00Z", "raised", "warning"), ("2026-02-17T10:00:00Z", "cleared", "warning")],
    ),
]
