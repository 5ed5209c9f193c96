"""lifecycle.nps_before_renewal: 90 days before the renewal, ask whether they would recommend us."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import midnight
from services.signals.core.reminders import Due, Reminder, last_answer, once


def _due_days(c: Context) -> Due:
    day = c.account.hot.profile.renewal_day
    return once(-1 if day is None else max(-1, day - c.p["days"]), c.today)


def _done(c: Context, day: int) -> bool:
    return last_answer(c, "nps") >= midnight(day - c.p["early_days"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    renewal = due + c.p["days"]
    sentence = f"Renewal is on {on(renewal)}: an NPS answer has been due since {on(due)}, {c.p['days']} days before."
    return sentence, [evidence("days_to_renewal", renewal - c.today, "days", threshold=c.p["days"])]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.nps_before_renewal",
    version=1,
    title="Ask for an NPS before the renewal",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight 90 d before the renewal date (the contract's end where none is known), unless an NPS survey "
        "was answered since 30 d before that. Clears when one is answered, when the date is another, or on the renewal date; "
        "later than that it does not open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.PROFILE | Fact.CONTRACT | Fact.SURVEYS,
    inputs=("account.updated", "account.renewed", "survey.answered"),
    needs=("profile.renewal_date",),
    action=Action(
        title="Send the NPS survey now: its answers decide what the renewal talk is about",
        owner="csm",
        playbook="nps-survey",
        runbook="lifecycle.nps_before_renewal",
    ),
    thresholds={"default": {"days": 90, "open_days": 90, "early_days": 30}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
)


def _renews(day: str, at: str = "2014-06-30T09:00:00Z") -> tuple[str, str, dict[str, object]]:
    return (at, "account.updated", {"renewal_date": day})


def _answer(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "survey.answered", {"survey_id": at, "kind": "nps", "score": 9, "user": "ana"})


CASES = [
    Case(
        name="90 days before, done by an answer",
        events=[_renews("2015-06-30"), _answer("2015-04-09T10:00:00Z")],
        until="2015-06-30",
        expect=[("2015-04-01T00:00:00Z", "raised", "info"), ("2015-04-09T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="nobody answers: over on the renewal date",
        events=[_renews("2015-06-30")],
        until="2015-07-31",
        expect=[("2015-04-01T00:00:00Z", "raised", "info"), ("2015-06-30T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="answered in the 30 days before",
        events=[_renews("2015-06-30"), _answer("2015-03-02T00:00:00Z")],
        until="2015-07-31",
        expect=[],
    ),
    Case(
        name="answered a second before those",
        events=[_renews("2015-06-30"), _answer("2015-03-01T23:59:59Z")],
        until="2015-04-01",
        expect=[("2015-04-01T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="renewed early: the date is another",
        events=[_renews("2015-06-30"), ("2015-05-01T10:00:00Z", "account.renewed", {"term_months": 12})],
        until="2015-07-31",
        expect=[("2015-04-01T00:00:00Z", "raised", "info"), ("2015-05-01T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="no renewal date is known",
        events=[("2014-06-30T09:00:00Z", "account.updated", {"name": "Acme"})],
        until="2015-07-31",
        expect=[],
    ),
]
