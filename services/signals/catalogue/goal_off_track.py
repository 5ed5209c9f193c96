"""goal.off_track: a goal is behind its time, nobody measures it, or a review ended without a next one."""

from __future__ import annotations

from math import isfinite

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, midnight
from services.signals.core.onboarding import Goal

NEXT = "next goal"
"""The subject that stands for the goal which a review should have set."""
FAR = 10.0
"""A gap beyond ten times the way is not told more exactly."""


def _subjects(c: Context) -> list[str]:
    goals = c.dossier.onboarding.goals
    return [NEXT, *(name for name, goal in goals.items() if goal.achieved_at < 0 and goal.due is not None)]


def _goal(c: Context) -> Goal:
    return c.dossier.onboarding.goals.get(c.subject) or Goal()


def _gap(goal: Goal) -> float | None:
    """Share of the time that had passed at the latest measure, less the share of the way; None where nobody can tell."""
    measured, baseline, target, due = goal.measured, goal.baseline, goal.target, goal.due
    if measured is None or baseline is None or target is None or due is None or goal.set_at < 0:
        return None
    way, time = target[1] - baseline[1], midnight(due[1] + 1) - goal.set_at
    if not way or time <= 0:
        return None
    gap = (measured[0] - goal.set_at) / time - (measured[1] - baseline[1]) / way
    return max(-FAR, min(FAR, gap)) if isfinite(gap) else None


def _half(c: Context, goal: Goal) -> int:
    """The instant at which half of the time of a goal that was never measured has passed; 0 for others."""
    if goal.measured is not None or goal.due is None or goal.set_at < 0:
        return 0
    return int(goal.set_at + c.p["measured_by"] * (midnight(goal.due[1] + 1) - goal.set_at))


def _why(c: Context, goal: Goal, limit: float) -> str:
    """Why a goal is off track, `` where it is not."""
    if goal.achieved_at >= 0 or goal.due is None or c.today > goal.due[1] + c.p["forget_days"]:
        return ""
    if c.today > goal.due[1]:
        return "past its date"
    gap, half = _gap(goal), _half(c, goal)
    if gap is not None and gap >= limit:
        return "behind"
    return "never measured" if half and c.now >= half else ""


def _review_without_next(c: Context) -> int:
    """The instant at which the latest review has been without a next goal for too long, 0 where there is one to come."""
    goals = c.dossier.onboarding.goals
    held = c.dossier.engagement.touches.reviews.held
    if not goals or not held:
        return 0
    if any(goal.achieved_at < 0 and (goal.due is None or goal.due[1] >= c.today) for goal in goals.values()):
        return 0
    ends = [
        goal.achieved_at if goal.achieved_at >= 0 else midnight(goal.due[1] + 1) for goal in goals.values() if goal.due
    ]
    ends += [goal.achieved_at for goal in goals.values() if not goal.due]
    return int(max(held[-1].at, *ends) + c.p["next_days"] * DAY_US)


def _raises(c: Context) -> Finding | None:
    if c.subject == NEXT:
        at = _review_without_next(c)
        return Finding("info") if at and c.now >= at else None
    why = _why(c, _goal(c), c.p["behind"])
    return (Finding("info" if why == "never measured" else "warning")) if why else None


def _escalates(c: Context) -> Finding | None:
    if c.subject == NEXT or c.open.severity != "info":
        return None
    return Finding("warning") if _why(c, _goal(c), c.p["behind"]) in ("behind", "past its date") else None


def _clears(c: Context) -> str | None:
    if c.subject == NEXT:
        return None if _review_without_next(c) else "recovered"
    goal = _goal(c)
    if _why(c, goal, c.p["clear_behind"]):
        return None
    forgotten = goal.achieved_at < 0 and goal.due is not None and c.today > goal.due[1]
    return "expired" if forgotten else "recovered"


def _due(c: Context) -> int:
    if c.subject == NEXT:
        at = _review_without_next(c)
        open_until = [g.due[1] for g in c.dossier.onboarding.goals.values() if g.due is not None and g.achieved_at < 0]
        days = [midnight(day + 1) for day in open_until]
        return min((due for due in (at, *days) if due > c.now), default=0)
    goal = _goal(c)
    if goal.achieved_at >= 0 or goal.due is None:
        return 0
    ends = midnight(goal.due[1] + 1)
    return min((at for at in (_half(c, goal), ends, ends + c.p["forget_days"] * DAY_US) if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    if c.subject == NEXT:
        goals = c.dossier.onboarding.goals.values()
        waiting = sum(goal.achieved_at < 0 and (goal.due is None or goal.due[1] >= c.today) for goal in goals)
        held = c.dossier.engagement.touches.reviews.held
        proof = evidence("open_goals", waiting, "goals", threshold=1, event_ids=[held[-1].event_id] if held else None)
        if waiting or not held:
            return "A next goal is agreed.", [proof]
        return f"No goal is open {c.p['next_days']} days or more after the review on {on(held[-1].at // DAY_US)}.", [
            proof
        ]
    goal = _goal(c)
    way = ""
    if goal.measured is not None and goal.baseline is not None and goal.target is not None:
        way = f" at {goal.measured[1]:g}, from {goal.baseline[1]:g} to {goal.target[1]:g}"
    gap = _gap(goal)
    proof = evidence(
        "behind_time",
        None if gap is None else round(100 * gap),
        "percentage points",
        threshold=round(100 * c.p["behind"]),
        event_ids=[goal.event_id] if goal.event_id else None,
    )
    if goal.achieved_at >= 0:
        return f"The goal {c.subject} is achieved.", [proof]
    when = f" by {on(goal.due[1])}" if goal.due is not None else ""
    why = _why(c, goal, c.p["behind"]) or "on its way"
    return f"The goal {c.subject}{when} is {why}{way}.", [proof]


SIGNAL = Signal(
    id="goal.off_track",
    version=1,
    title="A goal is off track",
    kind="risk",
    family="goal",
    scope="account",
    severity="warning; info while it was only never measured, and where the next goal is missing",
    pages=False,
    meaning=(
        "For each goal with a due date that is not achieved: at its latest measure the share of the time that had passed "
        "since it was set was at least 25 points ahead of the share of the way from baseline to target; or half of its time "
        "is over and it was never measured; or its date has passed. Clears when achieved, with a measure less than 15 points "
        "behind, with a later date, or 90 days after its date has passed. And where goals were set: for 14 days after the "
        "latest business review, and after the last open goal ended, none is open (not achieved and not past its date); "
        "clears when one is."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 9",
    reads=Fact.GOALS | Fact.TOUCH,
    inputs=("account.goal_set", "account.goal_measured", "account.goal_achieved", "touchpoint.held"),
    needs=("account.goal_set",),
    action=Action(
        title="Bring the goal to the next call: what is in the way, what changes, and by when",
        owner="csm",
        playbook="goal-off-track",
        runbook="goal.off_track",
    ),
    thresholds={
        "default": {"behind": 0.25, "clear_behind": 0.15, "measured_by": 0.5, "next_days": 14, "forget_days": 90}
    },
    subjects=_subjects,
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
)


# Set at midnight of 01-01 for 100 days, 01-01 to 04-10: each day is one percent of the time.
def _set(goal: str = "close", at: str = "2026-01-01T00:00:00Z", **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"goal": goal, "metric": "percent", "baseline": 0, "target": 100, "due": "2026-04-10", **more}
    return (at, "account.goal_set", data)


def _measured(day: str, value: float) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T00:00:00Z", "account.goal_measured", {"goal": "close", "value": value})


def _achieved(at: str, goal: str = "close") -> tuple[str, str, dict[str, object]]:
    return (at, "account.goal_achieved", {"goal": goal})


def _review(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": "business_review", "direction": "outbound"})


CASES = [
    Case(
        name="25 points behind after 30 of 100 days; 14 points behind clears",
        events=[_set(), _measured("2026-01-31", 5), _measured("2026-02-10", 26)],
        until="2026-02-28",
        expect=[("2026-01-31T00:00:00Z", "raised", "warning"), ("2026-02-10T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="24 points behind",
        events=[_set(), _measured("2026-01-31", 6)],
        until="2026-04-09",
        expect=[],
    ),
    Case(
        name="15 points behind keep it",
        events=[_set(), _measured("2026-01-31", 5), _measured("2026-02-10", 25)],
        until="2026-02-28",
        expect=[("2026-01-31T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="less is more: from 8 days to 3",
        events=[_set(baseline=8, target=3), _measured("2026-02-19", 7)],
        until="2026-02-28",
        expect=[("2026-02-19T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="numbers beyond all measure say nothing, until the date passes",
        events=[_set(baseline=-1e308, target=1e308), _measured("2026-01-31", 1e308)],
        until="2026-04-09",
        expect=[],
    ),
    Case(
        name="never measured at half of the time; past its date; achieved",
        events=[_set(), _achieved("2026-04-15T10:00:00Z")],
        until="2026-04-30",
        expect=[
            ("2026-02-20T00:00:00Z", "raised", "info"),
            ("2026-04-11T00:00:00Z", "escalated", "warning"),
            ("2026-04-15T10:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="measured just before half of the time, achieved on the day",
        events=[_set(), _measured("2026-02-19", 40), _achieved("2026-04-10T23:00:00Z")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="forgotten 90 days after its date",
        events=[_set(), _measured("2026-02-19", 40)],
        until="2026-08-31",
        expect=[("2026-04-11T00:00:00Z", "raised", "warning"), ("2026-07-10T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="no next goal 14 days after the review; set three days later",
        events=[
            _set(),
            _achieved("2026-02-01T10:00:00Z"),
            _review("2026-02-02T10:00:00Z"),
            _set("faster", "2026-02-19T10:00:00Z", due="2026-12-31"),
        ],
        until="2026-02-28",
        expect=[("2026-02-16T10:00:00Z", "raised", "info"), ("2026-02-19T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the next goal is set on the fourteenth day",
        events=[
            _set(),
            _achieved("2026-02-01T10:00:00Z"),
            _review("2026-02-02T10:00:00Z"),
            _set("faster", "2026-02-16T09:59:59Z", due="2026-12-31"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a goal without a date is open",
        events=[_set(due=None), _review("2026-02-02T10:00:00Z")],
        until="2026-12-31",
        expect=[],
    ),
]
