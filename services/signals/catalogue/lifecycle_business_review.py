"""lifecycle.business_review: a quarter has passed since the launch or the last business review."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import day_of
from services.signals.core.onboarding import launched_at
from services.signals.core.reminders import Due, Reminder, once


def _last_held(c: Context) -> int:
    """The day of the last business review, -1 for none."""
    held = c.dossier.engagement.touches.reviews.held
    return day_of(held[-1].at) if held else -1


def _due_days(c: Context) -> Due:
    launched = launched_at(c.dossier.onboarding)
    if launched < 0 or not c.p["days"]:
        return Due()
    return once(max(day_of(launched), _last_held(c)) + c.p["days"], c.today)


def _done(c: Context, day: int) -> bool:
    return bool(_last_held(c) > day - c.p["days"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    held = _last_held(c)
    last = f"the last was held on {on(held)}" if held >= 0 else "none was held so far"
    sentence = f"A business review has been due since {on(due)}; {last}."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.business_review",
    version=1,
    title="Hold the business review",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight 90 d after the day of the launch, or of the last business review held since; not for tech "
        "touch. Stays until one is held, and clears also when the launch turns out to be another. A missed one is told by "
        "relationship.review_missed."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.MILESTONES | Fact.TOUCH | Fact.PROFILE,
    inputs=("account.milestone_done", "touchpoint.held", "account.updated"),
    needs=("account.milestone_done",),
    action=Action(
        title="Invite the sponsor: goals, what was reached, what comes next",
        owner="csm",
        playbook="business-review",
        runbook="lifecycle.business_review",
    ),
    thresholds={"default": {"days": 90, "open_days": 0}, "tech": {"days": 0}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
)


def _launch(at: str = "2014-09-05T15:00:00Z") -> tuple[str, str, dict[str, object]]:
    return (at, "account.milestone_done", {"milestone": "Launch", "kind": "launch"})


def _held(at: str, kind: str = "business_review") -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": kind})


def _tier(tier: str, at: str = "2014-06-30T09:00:00Z") -> tuple[str, str, dict[str, object]]:
    return (at, "account.updated", {"tier": tier})


def _source(what: str, at: str) -> tuple[str, str, dict[str, object]]:
    return (at, f"source.{what}", {"source": "case", "topic": "engagement", "since": "2014-12-02T12:00:00Z"})


CASES = [
    Case(
        name="launch + 90 days, satisfied four days later; the next is due 90 days after that",
        events=[_launch(), _held("2014-12-08T16:00:00Z")],
        until="2015-03-08",
        expect=[
            ("2014-12-04T00:00:00Z", "raised", "info"),
            ("2014-12-08T16:00:00Z", "cleared", "info"),
            ("2015-03-08T00:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="held the day before it is due",
        events=[_launch(), _held("2014-12-03T16:00:00Z")],
        until="2015-03-01",
        expect=[],
    ),
    Case(
        name="a call is no review: it stays open",
        events=[_launch(), _held("2014-12-08T16:00:00Z", "call")],
        until="2015-06-30",
        expect=[("2014-12-04T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="tech touch has none, and an account that becomes it is done with it",
        events=[_launch(), _tier("tech", "2014-12-10T09:00:00Z")],
        until="2015-06-30",
        expect=[("2014-12-04T00:00:00Z", "raised", "info"), ("2014-12-10T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="what tells of reviews is stale on the day: the midnight after it is back",
        events=[
            _launch(),
            _held("2014-11-20T16:00:00Z", "call"),
            _source("stale", "2014-12-03T12:00:00Z"),
            _source("fresh", "2014-12-05T12:00:00Z"),
        ],
        until="2014-12-06",
        expect=[("2014-12-06T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="not launched",
        events=[_tier("high")],
        until="2015-06-30",
        expect=[],
    ),
]
