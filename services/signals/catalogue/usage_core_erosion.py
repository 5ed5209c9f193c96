"""usage.core_erosion: core features are used a fifth less than half a year ago."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, week_of
from services.signals.core.windows import CORE


def _now(c: Context) -> int:
    return c.account.windows.complete_weeks(CORE, 1, 4)


def _base(c: Context) -> int:
    return c.account.windows.complete_weeks(CORE, 27, 30)


def _explained(c: Context) -> bool:
    last_sunday = week_of(c.today) * 7 - 4
    return c.fell_like_all(_now(c) / _base(c) - 1, c.p["raise_at"] - 1, day=last_sunday)


def _raises(c: Context) -> Finding | None:
    base = _base(c)
    if base < c.p["baseline_min"] or _now(c) > c.p["raise_at"] * base:
        return None
    return Finding("warning", frozen={"baseline": base})


def _clears(c: Context) -> str | None:
    if _now(c) >= c.p["clear_at"] * c.open.frozen["baseline"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _due(c: Context) -> int:
    """The next Monday where weeks could show it: the base is known for 26 weeks, and uses to come only put it off."""
    monday = (week_of(c.today) + 1) * 7 - 3
    if c.episode is not None:
        return min(monday * DAY_US, _new_normal(c))
    weeks = c.account.windows.weeks_by_age(CORE)
    for ahead in range(1, 27):
        base = sum(weeks[age] for age in range(27 - ahead, 31 - ahead))
        if base >= c.p["baseline_min"]:
            current = sum(weeks[age] for age in range(max(0, 1 - ahead), max(0, 5 - ahead)))
            if current <= c.p["raise_at"] * base:
                return (monday + 7 * (ahead - 1)) * DAY_US
    return (monday + 7 * 26) * DAY_US


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    current, baseline = _now(c), c.open.frozen["baseline"]
    monday = week_of(c.today) * 7 - 3
    change = round(100 * (current / baseline - 1))
    sentence = (
        f"Core features were used {current} times in the last 4 complete weeks, "
        f"{change:+d} % against {baseline} in the 4 weeks that ended 26 weeks earlier."
    )
    proof = evidence(
        "core_usage",
        current,
        "uses",
        baseline=baseline,
        threshold=c.p["raise_at"] * baseline,
        days=(monday - 28, monday - 1),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="usage.core_erosion",
    version=3,
    title="Core features are used less than half a year ago",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Core-feature uses in the last 4 complete ISO weeks are at most 80 % of those in the 4 weeks that ended 26 weeks "
        "before the running week, which were at least 20. The base is frozen at the raise. Clears at 90 % of it, or "
        "after 90 days as the new normal. Judged at midnights and at late events. Held back where the portfolio was used 10 % "
        "less, or more so, over these 4 weeks than over the 4 before, unless it is 80 % against the portfolio too."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.LATE_USAGE,
    inputs=("usage.feature_used",),
    needs=("usage.feature_used",),
    warming_days=210,
    action=Action(
        title="Review which core features fell out of use and re-train the team on them",
        owner="csm",
        playbook="core-erosion",
        runbook="usage.core_erosion",
    ),
    thresholds={"default": {"baseline_min": 20, "raise_at": 0.8, "clear_at": 0.9, "new_normal_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=35,
    explained=_explained,
    describe=_describe,
)


def _core(day: str, count: int, core: bool = True) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "forecast", "count": count, "core": core})


# 2026-01-05 is a Monday. In the week of 2026-07-13, 27 weeks later, the base weeks end with it, and the current ones
# are those of 06-15 to 07-06.
CASES = [
    Case(
        name="exactly 80 %: raised on the Monday that completes the weeks",
        events=[_core("2026-01-05", 100), _core("2026-07-06", 80)],
        until="2026-07-12",
        expect=[("2026-07-13T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="81 % stays silent",
        events=[_core("2026-01-26", 100), _core("2026-07-06", 81), _core("2026-07-29", 81)],
        until="2026-08-09",
        expect=[],
    ),
    Case(
        name="a base of 19 is too small to judge",
        events=[_core("2026-01-05", 19)],
        until="2026-09-30",
        expect=[],
    ),
    Case(
        name="features that are not core do not count",
        events=[_core("2026-01-05", 100, core=False)],
        until="2026-09-30",
        expect=[],
    ),
    Case(
        name="90 % of the frozen base clears",
        events=[_core("2026-01-05", 100), _core("2026-07-06", 80), _core("2026-08-05", 90)],
        until="2026-08-10",
        expect=[("2026-07-13T00:00:00Z", "raised", "warning"), ("2026-08-10T00:00:00Z", "cleared", "warning")],
    ),
]
