"""renewal.opt_out_window: the right to opt out ends soon and value was not reached."""

from __future__ import annotations

import datetime as dt

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import day_of_date, midnight


def _last_day(c: Context) -> int | None:
    """The last day on which the customer may opt out."""
    text = c.account.hot.profile.fields.get("opt_out_by")
    return None if text is None else day_of_date(dt.date.fromisoformat(text))


def _raises(c: Context) -> Finding | None:
    day = _last_day(c)
    if day is None or c.account.hot.value_reached or not 0 <= day - c.today <= c.p["days"]:
        return None
    return Finding("warning")


def _clears(c: Context) -> str | None:
    day = _last_day(c)
    if c.account.hot.value_reached:
        return "recovered"
    if day is None or day - c.today > c.p["days"]:
        return "not_applicable"
    return "expired" if c.today > day else None


def _due(c: Context) -> int:
    day = _last_day(c)
    if day is None or c.account.hot.value_reached:
        return 0
    steps = (midnight(day - c.p["days"]), midnight(day + 1))
    return min((at for at in steps if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    day = _last_day(c)
    if day is None:
        return "No date is known by which the customer may opt out.", [evidence("days_to_opt_out", None, "days")]
    reached = "value was reached" if c.account.hot.value_reached else "value was not reached yet"
    sentence = f"The customer may opt out until {on(day)}, {day - c.today} days from today, and {reached}."
    return sentence, [evidence("days_to_opt_out", day - c.today, "days", threshold=c.p["days"], days=(c.today, day))]


SIGNAL = Signal(
    id="renewal.opt_out_window",
    version=1,
    title="The customer may opt out soon, without value",
    kind="risk",
    family="renewal",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "0 to 30 days remain to the day by which the customer may opt out or cancel (its opt_out_by, such as the end of a "
        "90-day clause), and value was never reached. Clears when value is reached, when the day is over, or when the date "
        "is withdrawn or put off by more."
    ),
    source="Fourteen commandments of customer success (S. Abdullah), 3",
    reads=Fact.PROFILE | Fact.VALUE | Fact.TIER,
    inputs=("account.updated", "usage.value_reached", "account.goal_achieved"),
    needs=("profile.opt_out_by",),
    action=Action(
        title="Agree on the one result that must be seen before the date, and bring it about",
        owner="csm",
        playbook="opt-out-window",
        runbook="renewal.opt_out_window",
    ),
    thresholds={"default": {"days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _by(day: str | None, at: str = "2026-01-01") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T10:00:00Z", "account.updated", {"opt_out_by": day})


def _value(day: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.value_reached", {"goal": "first report"})


CASES = [
    Case(
        name="30 days before, until the day is over",
        events=[_by("2026-03-31")],
        until="2026-04-30",
        expect=[("2026-03-01T00:00:00Z", "raised", "warning"), ("2026-04-01T00:00:00Z", "cleared", "warning")],
    ),
    Case(name="31 days before", events=[_by("2026-03-31")], until="2026-02-27", expect=[]),
    Case(
        name="value is reached in time",
        events=[_by("2026-03-31"), _value("2026-03-10")],
        until="2026-04-30",
        expect=[("2026-03-01T00:00:00Z", "raised", "warning"), ("2026-03-10T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="value was reached before", events=[_by("2026-03-31"), _value("2026-02-10")], until="2026-04-30", expect=[]
    ),
    Case(
        name="the date is put off",
        events=[_by("2026-03-31"), _by("2026-06-30", "2026-03-15")],
        until="2026-05-29",
        expect=[("2026-03-01T00:00:00Z", "raised", "warning"), ("2026-03-15T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="known on its last day",
        events=[_by("2026-03-31", "2026-03-31")],
        until="2026-04-01",
        expect=[("2026-03-31T10:00:00Z", "raised", "warning"), ("2026-04-01T00:00:00Z", "cleared", "warning")],
    ),
    Case(name="known a day too late", events=[_by("2026-03-31", "2026-04-01")], until="2026-04-30", expect=[]),
]
