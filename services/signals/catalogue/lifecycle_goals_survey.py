"""lifecycle.goals_survey: a quarter has passed since the launch or the last answer about goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import day_of, midnight
from services.signals.core.onboarding import launched_at
from services.signals.core.reminders import Due, Reminder, every, last_answer


def _due_days(c: Context) -> Due:
    launched = launched_at(c.dossier.onboarding)
    if launched < 0:
        return Due()
    since = max(launched, last_answer(c, "goals"))
    return every(day_of(since) + c.p["days"], c.p["days"], c.today)


def _done(c: Context, day: int) -> bool:
    return last_answer(c, "goals") >= midnight(day)


def _refuses(p: Mapping[str, Any]) -> str:
    return "" if p["days"] > p["open_days"] else "days must be more than open_days: one is over before the next is due"


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    sentence = f"A goals survey has been due since {on(due)}; one is due every {c.p['days']} days from the launch."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.goals_survey",
    version=1,
    title="Ask whether the goals are still the goals",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight 90 d after the day of the launch, or of the last goals survey answered since, and every 90 d "
        "from there while none is answered. Clears when one is answered, when the launch turns out to be another, or 30 d "
        "after it was due."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.MILESTONES | Fact.SURVEYS,
    inputs=("account.milestone_done", "survey.answered"),
    needs=("account.milestone_done",),
    action=Action(
        title="Send the goals survey; where the goals changed, agree on new ones",
        owner="csm",
        playbook="goals-survey",
        runbook="lifecycle.goals_survey",
    ),
    thresholds={"default": {"days": 90, "open_days": 30}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
    refuses=_refuses,
)

_LAUNCH = ("2014-09-05T15:00:00Z", "account.milestone_done", {"milestone": "Launch", "kind": "launch"})


def _answer(at: str, kind: str = "goals") -> tuple[str, str, dict[str, object]]:
    return (at, "survey.answered", {"survey_id": at, "kind": kind, "score": 4, "user": "ana"})


CASES = [
    Case(
        name="launch + 90 days, done when answered",
        events=[_LAUNCH, _answer("2014-12-09T10:00:00Z")],
        until="2015-03-07",
        expect=[("2014-12-04T00:00:00Z", "raised", "info"), ("2014-12-09T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="nobody answers: 30 days, and again after another 60",
        events=[_LAUNCH],
        until="2015-03-04",
        expect=[
            ("2014-12-04T00:00:00Z", "raised", "info"),
            ("2015-01-03T00:00:00Z", "cleared", "info"),
            ("2015-03-04T00:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="answered the day before",
        events=[_LAUNCH, _answer("2014-12-03T23:59:59Z")],
        until="2015-03-01",
        expect=[],
    ),
    Case(
        name="an NPS answer says nothing of goals",
        events=[_LAUNCH, _answer("2014-12-05T10:00:00Z", "nps")],
        until="2014-12-05",
        expect=[("2014-12-04T00:00:00Z", "raised", "info")],
    ),
]
