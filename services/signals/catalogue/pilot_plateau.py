"""pilot.plateau: core usage has not grown for three weeks, and nothing new is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    times,
)
from services.signals.core.days import DAY_US, day_of, week_of
from services.signals.core.pilot import how_it_ended, is_pilot, running
from services.signals.core.windows import CORE


def _weeks(c: Context) -> tuple[int, int]:
    """Core uses of the best complete week of the pilot before the last ones, and of the best of these."""
    pilot = running(c.account.hot.profile)
    flat = c.p["flat_weeks"]
    if pilot is None:
        return 0, 0
    age = week_of(c.today) - week_of(pilot.start)
    weeks = c.account.windows.weeks_by_age(CORE)
    return max(weeks[flat + 1 : age + 1], default=0), max(weeks[1 : flat + 1])


def _flat_since(c: Context) -> int:
    """The day on which the last weeks began."""
    return int(7 * (week_of(c.today) - c.p["flat_weeks"]) - 3)


def _raises(c: Context) -> Finding | None:
    if running(c.account.hot.profile) is None:
        return None
    peak, recent = _weeks(c)
    if peak < c.p["peak_min"] or recent > c.p["growth"] * peak:
        return None
    tried = c.dossier.onboarding.use_case_at
    if tried >= 0 and day_of(tried) >= _flat_since(c):
        return None
    return Finding("warning", frozen={"peak": peak})


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    if c.dossier.onboarding.use_case_at > c.open.opened_at:
        return "recovered"
    if max(c.account.windows.weeks_by_age(CORE)[1 : c.p["flat_weeks"] + 1]) > c.p["growth"] * c.open.frozen["peak"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _due(c: Context) -> int:
    """The midnight at which the running week is complete."""
    if running(c.account.hot.profile) is None:
        return 0
    monday = (7 * (week_of(c.today) + 1) - 3) * DAY_US
    return monday if c.episode is None else min(monday, _new_normal(c))


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    weeks = c.account.windows.weeks_by_age(CORE)[1 : c.p["flat_weeks"] + 1]
    peak, since = c.open.frozen["peak"], _flat_since(c)
    sentence = (
        f"Core usage came to {max(weeks)} at best in the last {times(len(weeks), 'week')}, against {peak} in its best week "
        "before."
    )
    proof = evidence(
        "core_usage_a_week",
        max(weeks),
        "uses",
        baseline=peak,
        threshold=c.p["growth"] * peak,
        days=(since, since + 7 * len(weeks) - 1),
    )
    return sentence, [proof]


def _refuses(p: Mapping[str, Any]) -> str:
    if not 1 <= p["flat_weeks"] <= 26:
        return "flat_weeks lies within 1 to 26"
    return "" if p["peak_min"] >= 1 else "peak_min is at least 1: nothing is no peak"


SIGNAL = Signal(
    id="pilot.plateau",
    version=1,
    title="The pilot has stopped growing",
    kind="risk",
    family="pilot",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The stage is pilot, and none of the last 3 complete ISO weeks had more than 105 % of the core uses of the pilot's best "
        "week before them, which had at least 20; and in these weeks the profile was given no other use case. The peak is "
        "frozen; clears with a week above 105 % of it, another use case, another stage, or after 90 days as the new normal."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 3",
    reads=Fact.PROFILE | Fact.LATE_USAGE,
    where=is_pilot,
    inputs=("usage.feature_used", "account.updated"),
    needs=("profile.stage", "usage.feature_used"),
    warming_days=28,
    action=Action(
        title="Find the second use case with the champion, and start it this week",
        owner="csm",
        playbook="pilot-second-use-case",
        runbook="pilot.plateau",
    ),
    thresholds={"default": {"flat_weeks": 3, "growth": 1.05, "peak_min": 20, "new_normal_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=21,
    describe=_describe,
    refuses=_refuses,
)


def _used(day: str, count: int, core: bool = True) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "match", "count": count, "core": core})


def _profile(day: str, **fields: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T08:00:00Z", "account.updated", fields)


# Weeks begin on Monday, 2026-01-05: 100 core uses in the first, then n a week.
_PILOT = _profile("2026-01-05", stage="pilot", pilot={"start": "2026-01-05"}, use_case="matching")


def _weekly(n: int) -> list[tuple[str, str, dict[str, object]]]:
    return [_used(day, n) for day in ("2026-01-14", "2026-01-21", "2026-01-28")]


CASES = [
    Case(
        name="105 a week after a week of 100",
        events=[_PILOT, _used("2026-01-07", 100), *_weekly(105)],
        until="2026-02-01",
        expect=[("2026-02-02T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="106 in the last of three",
        events=[_PILOT, _used("2026-01-07", 100), *_weekly(100), _used("2026-01-30", 6)],
        until="2026-02-08",
        expect=[],
    ),
    Case(
        name="growth clears it when its week is complete",
        events=[_PILOT, _used("2026-01-07", 100), *_weekly(90), _used("2026-02-04", 106)],
        until="2026-02-09",
        expect=[("2026-02-02T00:00:00Z", "raised", "warning"), ("2026-02-09T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="another use case in these weeks puts it off by one; the same one again does not",
        events=[
            _PILOT,
            _used("2026-01-07", 100),
            _profile("2026-01-12", use_case="payments"),
            *_weekly(90),
            _profile("2026-01-29", use_case="payments"),
        ],
        until="2026-02-08",
        expect=[("2026-02-09T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="another use case clears it",
        events=[_PILOT, _used("2026-01-07", 100), *_weekly(90), _profile("2026-02-03", use_case="payments")],
        until="2026-02-05",
        expect=[("2026-02-02T00:00:00Z", "raised", "warning"), ("2026-02-03T08:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="19 core uses are no peak",
        events=[_PILOT, _used("2026-01-07", 19), _used("2026-01-08", 100, core=False)],
        until="2026-03-31",
        expect=[],
    ),
]
