"""onboarding.no_success_metric: the kickoff was held and no measure of success is agreed."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of
from services.signals.core.onboarding import kickoff_at


def _agreed(c: Context) -> bool:
    return any(goal.whole for goal in c.dossier.onboarding.goals.values())


def _ends(c: Context) -> int:
    """The midnight that ends the kickoff's day, 0 where none was held."""
    held = kickoff_at(c.dossier.onboarding)
    return (day_of(held) + 1) * DAY_US if held >= 0 else 0


def _raises(c: Context) -> Finding | None:
    ends = _ends(c)
    return Finding("warning") if ends and c.now >= ends and not _agreed(c) else None


def _clears(c: Context) -> str | None:
    return "recovered" if _agreed(c) else None


def _due(c: Context) -> int:
    return _ends(c) if c.episode is None and not _agreed(c) else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    onboarding = c.dossier.onboarding
    held, goals = kickoff_at(onboarding), onboarding.goals
    whole = sum(goal.whole for goal in goals.values())
    goals_say = f"{whole} of {len(goals)} goals have metric, baseline, target and date"
    sentence = f"The kickoff was held on {on(day_of(held))}; {goals_say}."
    ids = [goal.event_id for goal in goals.values() if goal.event_id]
    return sentence, [evidence("goals_agreed", whole, "goals", threshold=1, event_ids=ids[:20])]


SIGNAL = Signal(
    id="onboarding.no_success_metric",
    version=1,
    title="No measure of success was agreed",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The kickoff (a milestone of kind kickoff, or of that name where no kind is given) was held, and at the midnight "
        "that ends its day no goal has metric, baseline, target and due date. Clears when one has all four."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 7, law 9",
    reads=Fact.MILESTONES | Fact.GOALS,
    inputs=("account.milestone_done", "account.goal_set"),
    needs=("account.milestone_done",),
    action=Action(
        title="Ask what success is, measure where it stands today, and agree on a number and a date",
        owner="csm",
        playbook="success-metric",
        runbook="onboarding.no_success_metric",
    ),
    thresholds={"default": {}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
)


def _kickoff(at: str, **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "account.milestone_done", {"milestone": "first meeting", "kind": "kickoff", **more})


def _goal(at: str, **more: object) -> tuple[str, str, dict[str, object]]:
    whole = {"goal": "close", "metric": "days", "baseline": 8, "target": 3, "due": "2026-06-30"}
    return (at, "account.goal_set", {**whole, **more})


CASES = [
    Case(
        name="nothing agreed when the kickoff's day ends; agreed a week later",
        events=[_kickoff("2026-01-05T10:00:00Z"), _goal("2026-01-12T10:00:00Z")],
        until="2026-01-31",
        expect=[("2026-01-06T00:00:00Z", "raised", "warning"), ("2026-01-12T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="agreed in the last second of the day",
        events=[_kickoff("2026-01-05T10:00:00Z"), _goal("2026-01-05T23:59:59Z")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a goal without a baseline is a wish",
        events=[_goal("2026-01-02T10:00:00Z", baseline=None), _kickoff("2026-01-05T10:00:00Z")],
        until="2026-01-31",
        expect=[("2026-01-06T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="the baseline comes in a second event",
        events=[
            _goal("2026-01-02T10:00:00Z", baseline=None),
            _kickoff("2026-01-05T10:00:00Z"),
            ("2026-01-05T11:00:00Z", "account.goal_set", {"goal": "close", "baseline": 8}),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="before the kickoff there is nothing to miss",
        events=[("2026-01-05T10:00:00Z", "account.milestone_planned", {"milestone": "kickoff", "due": "2026-01-20"})],
        until="2026-01-20",
        expect=[],
    ),
    Case(
        name="a milestone that is called kickoff is one",
        events=[("2026-01-05T10:00:00Z", "account.milestone_done", {"milestone": "Kickoff"})],
        until="2026-01-05",
        expect=[("2026-01-06T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="another kind of milestone",
        events=[_kickoff("2026-01-05T10:00:00Z", kind="launch")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a late word of the kickoff",
        events=[
            ("2026-01-08T10:00:00Z", "account.updated", {"name": "Acme"}),
            _kickoff("2026-01-05T10:00:00Z"),
        ],
        until="2026-01-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "warning")],
    ),
]
