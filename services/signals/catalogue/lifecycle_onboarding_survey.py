"""lifecycle.onboarding_survey: the account has launched, and nobody has been asked how the onboarding went."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import DAY_US
from services.signals.core.onboarding import launched_at
from services.signals.core.reminders import Due, Reminder, last_answer, next_midnight, once


def _due_days(c: Context) -> Due:
    return once(next_midnight(launched_at(c.dossier.onboarding)), c.today)


def _done(c: Context, day: int) -> bool:
    launched = launched_at(c.dossier.onboarding)
    answered = last_answer(c, "onboarding")
    return answered >= 0 and answered >= launched - c.p["early_days"] * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    sentence = f"Launched on {on(due - 1)}: the onboarding survey has been due since {on(due)}."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.onboarding_survey",
    version=1,
    title="Ask how the onboarding went",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight after the launch (a milestone of kind launch was done), unless an onboarding "
        "survey was answered since 14 d before it. Clears when one is answered, or 30 d after it was due; later than that "
        "it does not open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.MILESTONES | Fact.SURVEYS,
    inputs=("account.milestone_done", "survey.answered"),
    needs=("account.milestone_done",),
    action=Action(
        title="Send the onboarding survey and call about every answer of 3 or less",
        owner="csm",
        playbook="onboarding-survey",
        runbook="lifecycle.onboarding_survey",
    ),
    thresholds={"default": {"open_days": 30, "early_days": 14}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
)


def _launch(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "account.milestone_done", {"milestone": "Launch", "kind": "launch"})


def _answer(at: str, kind: str = "onboarding") -> tuple[str, str, dict[str, object]]:
    return (at, "survey.answered", {"survey_id": at, "kind": kind, "score": 5, "user": "ana"})


CASES = [
    Case(
        name="at the midnight after the launch, done when answered",
        events=[_launch("2014-09-05T15:00:00Z"), _answer("2014-09-08T11:00:00Z")],
        until="2014-09-30",
        expect=[("2014-09-06T00:00:00Z", "raised", "info"), ("2014-09-08T11:00:00Z", "cleared", "info")],
    ),
    Case(
        name="launched at midnight: the next one",
        events=[_launch("2014-09-05T00:00:00Z")],
        until="2014-09-05",
        expect=[("2014-09-06T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="nobody answers: 30 days",
        events=[_launch("2014-09-05T15:00:00Z"), _answer("2014-09-10T11:00:00Z", "nps")],
        until="2014-10-31",
        expect=[("2014-09-06T00:00:00Z", "raised", "info"), ("2014-10-06T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="answered two weeks before the launch",
        events=[_answer("2014-08-22T15:00:00Z"), _launch("2014-09-05T15:00:00Z")],
        until="2014-09-30",
        expect=[],
    ),
    Case(
        name="answered a second earlier than that",
        events=[_answer("2014-08-22T14:59:59Z"), _launch("2014-09-05T15:00:00Z")],
        until="2014-09-06",
        expect=[("2014-09-06T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="the kickoff is no launch",
        events=[("2014-09-05T15:00:00Z", "account.milestone_done", {"milestone": "Kickoff", "kind": "kickoff"})],
        until="2014-09-30",
        expect=[],
    ),
]
