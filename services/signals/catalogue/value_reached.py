"""value.reached: the account got what it bought the product for: time to set the next goal."""

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
    on,
    times,
)
from services.signals.core.days import DAY_US, day_of


def _reached(c: Context) -> int:
    """When value was reached last: the first time ever, or the first time of a goal; -1 for never."""
    if not c.account.hot.value_reached:
        return -1
    onboarding = c.dossier.onboarding
    return max([onboarding.value_at, *(goal.achieved_at for goal in onboarding.goals.values())])


def _next_goal(c: Context, reached: int) -> bool:
    """Whether a goal was agreed after that."""
    return any(goal.set_at > reached for goal in c.dossier.onboarding.goals.values())


def _raises(c: Context) -> Finding | None:
    reached = _reached(c)
    if reached < 0 or c.now >= reached + c.p["days"] * DAY_US or _next_goal(c, reached):
        return None
    hot = c.account.hot
    return Finding("info", frozen={"reached": reached, "since": hot.profile.tenure_start(hot.first_event)})


def _clears(c: Context) -> str | None:
    reached = _reached(c)
    if _next_goal(c, reached):
        return "goal_set"
    return "expired" if c.now >= reached + c.p["days"] * DAY_US else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else int(_reached(c) + c.p["days"] * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    reached, since = max(_reached(c), c.open.frozen["reached"]), c.open.frozen["since"]
    days = max(0, day_of(reached) - day_of(since))
    then = "the next goal is set" if _next_goal(c, reached) else "no goal was set since"
    sentence = f"Value was reached on {on(day_of(reached))}, {times(days, 'day')} after the contract began; {then}."
    return sentence, [evidence("time_to_value", days, "days", window=(min(since, reached), reached))]


SIGNAL = Signal(
    id="value.reached",
    version=1,
    title="Value was reached: set the next goal",
    kind="opportunity",
    family="value",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Value was reached for the first time, or a goal was achieved for the first time, less than 30 × 24 h ago, and no "
        "goal was set after it. The days from the start of the tenure are the time to value. Clears when a new goal is "
        "set, or 30 days after the latest such event. Repeated value events of a goal change nothing."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 7",
    reads=Fact.VALUE | Fact.GOALS,
    inputs=("usage.value_reached", "account.goal_achieved", "account.goal_set"),
    action=Action(
        title="Celebrate it with the sponsor, and agree on the next goal with metric, baseline, target and date",
        owner="csm",
        playbook="next-goal",
        runbook="value.reached",
    ),
    thresholds={"default": {"days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _value(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "usage.value_reached", {"goal": "close faster"})


def _goal(at: str, what: str = "set", goal: str = "close faster") -> tuple[str, str, dict[str, object]]:
    return (at, f"account.goal_{what}", {"goal": goal})


CASES = [
    Case(
        name="the first time; cleared by the next goal",
        events=[
            _goal("2026-01-01T09:00:00Z"),
            _value("2026-01-20T10:00:00Z"),
            _value("2026-01-21T10:00:00Z"),
            _goal("2026-01-25T10:00:00Z", goal="report weekly"),
        ],
        until="2026-03-31",
        expect=[("2026-01-20T10:00:00Z", "raised", "info"), ("2026-01-25T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="no goal in 30 days; a value event of later is nothing new",
        events=[_value("2026-01-20T10:00:00Z"), _value("2026-03-20T10:00:00Z")],
        until="2026-03-31",
        expect=[("2026-01-20T10:00:00Z", "raised", "info"), ("2026-02-19T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a second goal is achieved",
        events=[
            _goal("2026-01-02T10:00:00Z", "achieved"),
            _goal("2026-01-10T10:00:00Z", goal="report weekly"),
            _goal("2026-03-10T10:00:00Z", "achieved", "report weekly"),
        ],
        until="2026-03-15",
        expect=[
            ("2026-01-02T10:00:00Z", "raised", "info"),
            ("2026-01-10T10:00:00Z", "cleared", "info"),
            ("2026-03-10T10:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="a goal is set and nothing is reached",
        events=[_goal("2026-01-01T09:00:00Z")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="what comes 30 days late is no news",
        events=[("2026-03-01T10:00:00Z", "usage.logged_in", {"user": "ana"}), _value("2026-01-30T10:00:00Z")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="29 days late it is",
        events=[("2026-03-01T10:00:00Z", "usage.logged_in", {"user": "ana"}), _value("2026-01-31T10:00:00Z")],
        until="2026-03-01",
        expect=[("2026-03-01T10:00:00Z", "raised", "info")],
    ),
]
