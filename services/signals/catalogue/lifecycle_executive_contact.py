"""lifecycle.executive_contact: a year without contact with an executive."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.days import day_of
from services.signals.core.reminders import Due, Reminder, once


def _last(c: Context) -> int:
    """The day of the last contact with an executive sponsor, -1 for none."""
    at = c.dossier.engagement.touches.executive_at
    return -1 if at < 0 else day_of(at)


def _due_days(c: Context) -> Due:
    first = c.dossier.engagement.touches.first_at
    if first < 0 or not c.p["days"]:
        return Due()
    since = max(day_of(first), day_of(c.account.hot.profile.tenure_start(first)), _last(c))
    return once(since + c.p["days"], c.today)


def _done(c: Context, day: int) -> bool:
    return bool(_last(c) > day - c.p["days"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due, last = c.open.frozen["due"], _last(c)
    known = f"the last was on {on(last)}" if last >= 0 else "none is known"
    sentence = f"Contact with an executive has been due since {on(due)}; {known}."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done)

SIGNAL = Signal(
    id="lifecycle.executive_contact",
    version=1,
    title="Bring the executives together",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight 365 d after the day of the last personal contact with somebody who held executive_sponsor "
        "then; where there was none, after the later of the contract's start and the first touchpoint event. Not for tech "
        "touch. Stays until there is such a contact, and clears also when the start turns out to be another."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.TOUCH | Fact.PROFILE,
    inputs=("touchpoint.held", "account.contact_changed", "account.updated"),
    needs=("touchpoint.held",),
    action=Action(
        title="Arrange a call between an executive of ours and the sponsor",
        owner="csm",
        playbook="executive-contact",
        runbook="lifecycle.executive_contact",
    ),
    thresholds={"default": {"days": 365, "open_days": 0}, "tech": {"days": 0}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
)

_SPONSOR = (
    "2014-06-30T09:00:00Z",
    "account.contact_changed",
    {"contact_id": "s1", "roles": ["executive_sponsor"]},
)


def _held(at: str, contact: str = "s1", **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": "call", "contact_id": contact, **more})


CASES = [
    Case(
        name="a year after the last, done by the next",
        events=[_SPONSOR, _held("2014-07-16T10:00:00Z"), _held("2015-07-20T10:00:00Z")],
        until="2015-07-31",
        expect=[("2015-07-16T00:00:00Z", "raised", "info"), ("2015-07-20T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="calls with others do not count, nor attempts",
        events=[
            _SPONSOR,
            _held("2014-07-16T10:00:00Z", "a1"),
            _held("2015-05-01T10:00:00Z", "a1"),
            _held("2015-06-01T10:00:00Z", direction="outbound", answered=False),
        ],
        until="2015-07-16",
        expect=[("2015-07-16T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="the day before the year is over",
        events=[_SPONSOR, _held("2014-07-16T10:00:00Z"), _held("2015-07-15T10:00:00Z")],
        until="2016-07-12",
        expect=[],
    ),
    Case(
        name="the contract began later than the contacts",
        events=[
            ("2014-06-30T09:00:00Z", "account.updated", {"contract_start": "2014-09-01"}),
            _held("2014-07-16T10:00:00Z", "a1"),
        ],
        until="2015-09-01",
        expect=[("2015-09-01T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="tech touch",
        events=[("2014-06-30T09:00:00Z", "account.updated", {"tier": "tech"}), _held("2014-07-16T10:00:00Z", "a1")],
        until="2015-12-31",
        expect=[],
    ),
]
