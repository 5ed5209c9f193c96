"""lifecycle.nps_3_months: three months after the signature, ask whether they would recommend us."""

from __future__ import annotations

import datetime as dt

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import add_months, day_of_date, midnight
from services.signals.core.reminders import Due, Reminder, last_answer, once


def _signed(c: Context) -> int:
    """The day of the signature: the contract's start, -1 where it is not known."""
    text = c.account.hot.profile.fields.get("contract_start")
    return day_of_date(dt.date.fromisoformat(text)) if text else -1


def _due_days(c: Context) -> Due:
    signed = _signed(c)
    return once(add_months(signed, c.p["months"]) if signed >= 0 else -1, c.today)


def _done(c: Context, day: int) -> bool:
    return last_answer(c, "nps") >= midnight(day - c.p["early_days"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    signed, due = _signed(c), c.open.frozen["due"]
    since = "an unknown day" if signed < 0 else on(signed)
    sentence = f"Signed on {since}: an NPS answer has been due since {on(due)}."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.nps_3_months",
    version=1,
    title="Ask for the first NPS",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight three calendar months after the contract's start, unless an NPS survey was answered since "
        "30 d before it. Clears when one is answered, when the contract's start is another, or 30 d after it was due; later "
        "than that it does not open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.PROFILE | Fact.SURVEYS,
    inputs=("account.updated", "survey.answered"),
    needs=("profile.contract_start",),
    action=Action(
        title="Send the NPS survey, and call every detractor within two days",
        owner="csm",
        playbook="nps-survey",
        runbook="lifecycle.nps_3_months",
    ),
    thresholds={"default": {"months": 3, "open_days": 30, "early_days": 30}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
)


def _signs(day: str, at: str = "2014-06-30T09:00:00Z") -> tuple[str, str, dict[str, object]]:
    return (at, "account.updated", {"contract_start": day})


def _answer(at: str, kind: str = "nps") -> tuple[str, str, dict[str, object]]:
    return (at, "survey.answered", {"survey_id": at, "kind": kind, "score": 4, "user": "ana"})


CASES = [
    Case(
        name="three calendar months to the day, done by the first answer",
        events=[_signs("2014-06-30"), _answer("2014-10-07T10:00:00Z")],
        until="2014-10-31",
        expect=[("2014-09-30T00:00:00Z", "raised", "info"), ("2014-10-07T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the end of a shorter month",
        events=[_signs("2014-11-30", "2014-11-30T09:00:00Z")],
        until="2015-02-28",
        expect=[("2015-02-28T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="answered 30 days before",
        events=[_signs("2014-06-30"), _answer("2014-08-31T00:00:00Z")],
        until="2014-10-31",
        expect=[],
    ),
    Case(
        name="answered a second before that",
        events=[_signs("2014-06-30"), _answer("2014-08-30T23:59:59Z")],
        until="2014-09-30",
        expect=[("2014-09-30T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="a customer of old: long past",
        events=[_signs("2012-06-30")],
        until="2014-12-31",
        expect=[],
    ),
    Case(
        name="told on the last day on which it is of use, and on the day after",
        events=[_signs("2014-06-30", "2014-10-28T09:00:00Z")],
        until="2014-10-31",
        expect=[("2014-10-29T00:00:00Z", "raised", "info"), ("2014-10-30T00:00:00Z", "cleared", "info")],
    ),
]
