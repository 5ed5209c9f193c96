"""onboarding.milestone_slipped: a planned date was moved later, or has passed."""

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
from services.signals.core.days import DAY_US
from services.signals.core.onboarding import Promise


def _subjects(c: Context) -> list[str]:
    return [name for name, planned in c.dossier.onboarding.milestones.items() if not planned.done and planned.due >= 0]


def _planned(c: Context) -> Promise:
    return c.dossier.onboarding.milestones.get(c.subject) or Promise()


def _raises(c: Context) -> Finding | None:
    planned = _planned(c)
    late = planned.days_late(c.today)
    if not late or c.today > planned.due + c.p["forget_days"]:
        return None
    return Finding("warning" if late >= c.p["warning_days"] else "info")


def _escalates(c: Context) -> Finding | None:
    late = _planned(c).days_late(c.today)
    return Finding("warning") if c.open.severity == "info" and late >= c.p["warning_days"] else None


def _clears(c: Context) -> str | None:
    planned = _planned(c)
    if planned.called_off:
        return "not_applicable"
    if not planned.days_late(c.today):
        return "recovered"
    return "expired" if c.today > planned.due + c.p["forget_days"] else None


def _due(c: Context) -> int:
    planned = _planned(c)
    if planned.done or planned.due < 0:
        return 0
    passed = planned.due + 1
    days = (passed, max(passed, planned.earliest + c.p["warning_days"]), passed + c.p["forget_days"])
    return min((day * DAY_US for day in days if day > c.today), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    planned = _planned(c)
    late = planned.days_late(c.today)
    proof = evidence(
        "days_late",
        late,
        "days",
        baseline=on(planned.earliest) if planned.earliest >= 0 else None,
        threshold=c.p["warning_days"],
        event_ids=[planned.event_id] if planned.event_id else None,
    )
    if planned.done or planned.due < 0:
        word = "is done" if planned.done else "has no date any more"
        return f"The milestone {c.subject} {word}.", [proof]
    state = f"now planned for {on(planned.due)}" if c.today <= planned.due else "not done"
    sentence = f"The milestone {c.subject} was due on {on(planned.earliest)}; {state}, {times(late, 'day')} late."
    return sentence, [proof]


SIGNAL = Signal(
    id="onboarding.milestone_slipped",
    version=1,
    title="A milestone slipped",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="info; warning from 14 days behind the earliest plan",
    pages=False,
    meaning=(
        "For each milestone that is not done and has a date: the date was moved later than the earliest one it ever had "
        "(at the event that moves it), or it has passed (at the midnight that ends it). The delay counts from the earliest "
        "date to the planned one, or to today once that has passed; from 14 days on it is a warning. Clears when done, when "
        "moved back, when the date is taken away, or 90 days after the planned date has passed."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 7",
    reads=Fact.MILESTONES,
    inputs=("account.milestone_planned", "account.milestone_done"),
    needs=("account.milestone_planned",),
    action=Action(
        title="Agree with the customer on the next step, its owner and a new date that holds",
        owner="csm",
        playbook="milestone-slipped",
        runbook="onboarding.milestone_slipped",
    ),
    thresholds={"default": {"warning_days": 14, "forget_days": 90}},
    subjects=_subjects,
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
)


def _planned_for(at: str, due: str | None, name: str = "training") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.milestone_planned", {"milestone": name, "due": due})


def _done(at: str, name: str = "training") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.milestone_done", {"milestone": name})


_STALE = {"source": "case", "topic": "accounts", "since": "2026-01-01T09:00:00Z"}

CASES = [
    Case(
        name="the date passes: at the midnight that ends it, a warning after 14 days, done",
        events=[_planned_for("2026-01-01", "2026-01-10"), _done("2026-01-30")],
        until="2026-01-31",
        expect=[
            ("2026-01-11T00:00:00Z", "raised", "info"),
            ("2026-01-24T00:00:00Z", "escalated", "warning"),
            ("2026-01-30T09:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="done on the day",
        events=[_planned_for("2026-01-01", "2026-01-10"), _done("2026-01-10")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="moved by 14 days: at once, a warning",
        events=[_planned_for("2026-01-01", "2026-01-10"), _planned_for("2026-01-05", "2026-01-24")],
        until="2026-01-10",
        expect=[("2026-01-05T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="moved by 13 days, and back again",
        events=[
            _planned_for("2026-01-01", "2026-01-10"),
            _planned_for("2026-01-05", "2026-01-23"),
            _planned_for("2026-01-06", "2026-01-10"),
        ],
        until="2026-01-09",
        expect=[("2026-01-05T09:00:00Z", "raised", "info"), ("2026-01-06T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="moved to an earlier date",
        events=[
            _planned_for("2026-01-01", "2026-01-20"),
            _planned_for("2026-01-05", "2026-01-10"),
            _done("2026-01-09"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="called off: the date is taken away",
        events=[_planned_for("2026-01-01", "2026-01-10"), _planned_for("2026-01-12", None)],
        until="2026-04-30",
        expect=[("2026-01-11T00:00:00Z", "raised", "info"), ("2026-01-12T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="forgotten 90 days after its date has passed",
        events=[_planned_for("2026-01-01", "2026-01-10")],
        until="2026-05-31",
        expect=[
            ("2026-01-11T00:00:00Z", "raised", "info"),
            ("2026-01-24T00:00:00Z", "escalated", "warning"),
            ("2026-04-11T00:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="a late word that it was done in time",
        events=[
            _planned_for("2026-01-01", "2026-01-10"),
            _planned_for("2026-01-12", "2026-02-01", "x"),
            _done("2026-01-10"),
        ],
        until="2026-01-12",
        expect=[("2026-01-11T00:00:00Z", "raised", "info"), ("2026-01-12T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="two milestones are two episodes",
        events=[
            _planned_for("2026-01-01", "2026-01-10"),
            _planned_for("2026-01-01", "2026-01-12", "launch"),
            _done("2026-01-14"),
        ],
        until="2026-01-14",
        expect=[
            ("2026-01-11T00:00:00Z", "raised", "info"),
            ("2026-01-13T00:00:00Z", "raised", "info"),
            ("2026-01-14T09:00:00Z", "cleared", "info"),
        ],
    ),
    Case(
        name="while the source of milestones is silent nobody knows whether it was done; it was not",
        events=[
            _planned_for("2026-01-01", "2026-01-10"),
            ("2026-01-09T00:00:00Z", "source.stale", _STALE),
            ("2026-01-13T12:00:00Z", "source.fresh", _STALE),
        ],
        until="2026-01-14",
        expect=[("2026-01-14T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="it was: the source comes back with its backlog",
        events=[
            _planned_for("2026-01-01", "2026-01-10"),
            ("2026-01-09T00:00:00Z", "source.stale", _STALE),
            ("2026-01-13T12:00:00Z", "source.fresh", _STALE),
            _done("2026-01-10"),
        ],
        until="2026-01-31",
        expect=[],
    ),
]
