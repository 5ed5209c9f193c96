"""lifecycle.renewal_notice: the renewal is near enough to send the notice and the quote."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.reminders import Due, Reminder, once


def _due_days(c: Context) -> Due:
    day = c.account.hot.profile.renewal_day
    return once(-1 if day is None else max(-1, day - c.p["open_days"]), c.today)


def _done(c: Context, day: int) -> bool:
    return c.episode is not None and c.account.hot.renewals > c.open.frozen["renewals"]


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    profile = c.account.hot.profile
    renewal = profile.renewal_day
    if renewal is None:
        renewal = c.open.frozen["due"] + c.p["open_days"]
    money = (
        f", {profile.fields['mrr']} {profile.fields.get('currency', '')}".rstrip() if "mrr" in profile.fields else ""
    )
    sentence = f"Renewal is on {on(renewal)}{money and money + ' a month'}: notice and quote are due."
    return sentence, [evidence("days_to_renewal", renewal - c.today, "days", threshold=c.p["open_days"])]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.renewal_notice",
    version=1,
    title="Send the renewal notice and the quote",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight N days before the renewal date (the contract's end where none is known): high touch 90, low "
        "60, tech 30. Clears when the contract is renewed, when the date is another, or on the renewal date."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, law 8",
    reads=Fact.PROFILE | Fact.CONTRACT,
    inputs=("account.updated", "account.renewed"),
    needs=("profile.renewal_date",),
    action=Action(
        title="Send the notice with the quote, and name the date by which you need the signature",
        owner="sales",
        playbook="renewal-notice",
        runbook="lifecycle.renewal_notice",
    ),
    thresholds={"default": {"open_days": 60}, "high": {"open_days": 90}, "tech": {"open_days": 30}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
)


def _renews(day: str, **more: object) -> tuple[str, str, dict[str, object]]:
    return ("2014-06-30T09:00:00Z", "account.updated", {"renewal_date": day, **more})


CASES = [
    Case(
        name="low touch: 60 days before, done by the renewal",
        events=[_renews("2015-06-30"), ("2015-06-12T10:00:00Z", "account.renewed", {"term_months": 12})],
        until="2015-12-31",
        expect=[("2015-05-01T00:00:00Z", "raised", "info"), ("2015-06-12T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="high touch: 90 days before, over on the date",
        events=[_renews("2015-06-30", tier="high")],
        until="2015-07-31",
        expect=[("2015-04-01T00:00:00Z", "raised", "info"), ("2015-06-30T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="tech touch: not before 30 days",
        events=[_renews("2015-06-30", tier="tech")],
        until="2015-05-29",
        expect=[],
    ),
    Case(
        name="tech touch: 30 days",
        events=[_renews("2015-06-30", tier="tech")],
        until="2015-05-31",
        expect=[("2015-05-31T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="the date is put off",
        events=[
            _renews("2015-06-30"),
            ("2015-05-10T10:00:00Z", "account.updated", {"renewal_date": "2015-12-31"}),
        ],
        until="2015-06-30",
        expect=[("2015-05-01T00:00:00Z", "raised", "info"), ("2015-05-10T10:00:00Z", "cleared", "info")],
    ),
]
