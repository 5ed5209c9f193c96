"""support.silence: an account that used to ask does not any more, and uses the product less."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, NEVER, day_of, midnight
from services.signals.core.windows import USAGE

ASKED = 1 << SEEN.index("ticket.opened")


def _quiet_from(c: Context) -> int:
    """The midnight from which on the account counts as silent, NEVER where it never opened a ticket."""
    hot = c.account.hot
    if not hot.seen & ASKED:
        return NEVER
    last = hot.openings[-1][0] if hot.openings else c.dossier.support.last_opened
    return midnight(day_of(last) + 1 + int(c.p["quiet_days"])) if last >= 0 else NEVER


def _explained(c: Context) -> bool:
    windows = c.account.windows
    change = windows.complete_28(USAGE) / windows.complete_previous_28(USAGE) - 1
    return c.fell_like_all(change, c.p["raise_at"] - 1)


def _raises(c: Context) -> Finding | None:
    windows = c.account.windows
    previous, current = windows.complete_previous_28(USAGE), windows.complete_28(USAGE)
    falling = previous >= c.p["baseline_min"] and current <= c.p["raise_at"] * previous
    return Finding("info", frozen={"baseline": previous}) if falling and c.now >= _quiet_from(c) else None


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _clears(c: Context) -> str | None:
    asked = c.now < _quiet_from(c)
    if asked or c.account.windows.complete_28(USAGE) >= c.p["clear_at"] * c.open.frozen["baseline"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _due(c: Context) -> int:
    """Closed: the midnight of silence, then the first midnight at which usage would be down if nobody used the product."""
    today = c.today
    if c.episode is not None:
        return min((today + 1) * DAY_US, _new_normal(c))
    quiet = _quiet_from(c)
    if c.now < quiet:
        return 0 if quiet == NEVER else quiet
    uses = c.account.windows.by_age(USAGE, 57)
    current, previous = sum(uses[:28]), sum(uses[28:56])
    for ahead in range(1, 29):
        if previous >= c.p["baseline_min"] and current <= c.p["raise_at"] * previous:
            return (today + ahead) * DAY_US
        leaving = uses[28 - ahead]
        current -= leaving
        previous += leaving - uses[56 - ahead]
    return (today + 29) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    today = c.today
    last = c.dossier.support.last_opened
    days = (c.now - last) // DAY_US
    current, baseline = c.account.windows.complete_28(USAGE), c.open.frozen["baseline"]
    change = round(100 * (current / baseline - 1))
    sentence = (
        f"The last ticket was opened {days} days ago, and usage was {current} over the last 28 complete days against "
        f"{baseline} at the baseline ({change:+d} %)."
    )
    return sentence, [
        evidence("days_without_ticket", days, "days", threshold=c.p["quiet_days"], window=(last, c.now)),
        evidence(
            "usage",
            current,
            "uses",
            baseline=baseline,
            threshold=c.p["raise_at"] * baseline,
            days=(today - 28, today - 1),
        ),
    ]


SIGNAL = Signal(
    id="support.silence",
    version=2,
    title="No questions any more, and less usage",
    kind="risk",
    family="support",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "An account that once opened a ticket opened none on the 90 complete days before today, and feature uses in "
        "production over the 28 complete days before today are at most 90 % of those over the 28 before, which were at least "
        "20. The baseline is frozen at the raise. Clears when a ticket is opened, at 95 % of the baseline, or after 90 days "
        "as the new normal. Judged at midnights and at late events."
    ),
    source="Fourteen commandments of customer success (S. Abdullah), 7",
    reads=Fact.TICKETS | Fact.LATE_USAGE | Fact.TIER,
    inputs=("ticket.opened", "usage.feature_used"),
    needs=("ticket.opened", "usage.feature_used"),
    warming_days=90,
    held_by=("tickets", "usage"),
    hole_days="quiet_days",
    explained=_explained,
    action=Action(
        title="Write to the people who used to ask: what stopped, and what would they do next with the product",
        owner="csm",
        playbook="silent-account",
        runbook="support.silence",
    ),
    thresholds={
        "default": {
            "quiet_days": 90,
            "baseline_min": 20,
            "raise_at": 0.9,
            "clear_at": 0.95,
            "new_normal_days": 90,
        }
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _used(day: str, count: int) -> tuple[str, str, dict[str, object]]:
    return (f"2026-{day}T12:00:00Z", "usage.feature_used", {"feature": "report", "count": count})


def _ticket(day: str, name: str = "T1") -> tuple[str, str, dict[str, object]]:
    return (f"2026-{day}T10:00:00Z", "ticket.opened", {"ticket_id": name, "priority": "P3"})


CASES = [
    Case(
        name="ninety days of silence, with a tenth less usage; cleared by a question",
        events=[_ticket("01-05"), _used("02-20", 100), _used("03-20", 90), _ticket("04-06", "T2")],
        until="2026-04-06",
        expect=[("2026-04-06T00:00:00Z", "raised", "info"), ("2026-04-06T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="usage 9 % down",
        events=[_ticket("01-05"), _used("02-20", 100), _used("03-20", 91)],
        until="2026-04-08",
        expect=[],
    ),
    Case(
        name="silent first, then usage falls, at the midnight that shows it; it comes back to 95 %",
        events=[
            _ticket("01-05"),
            _used("03-20", 100),
            _used("04-17", 100),
            _used("05-15", 80),
            _used("05-16", 15),
        ],
        until="2026-05-31",
        expect=[("2026-05-16T00:00:00Z", "raised", "info"), ("2026-05-17T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="never asked",
        events=[_used("02-20", 100), _used("03-20", 50)],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="89 days of silence",
        events=[_ticket("01-05"), _used("02-20", 100), _used("03-20", 50)],
        until="2026-04-04",
        expect=[],
    ),
    Case(
        name="too little used to say: a baseline of 19",
        events=[_ticket("01-05"), _used("02-20", 19), _used("03-20", 5)],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="a late ticket ends it",
        events=[
            _ticket("01-05"),
            _used("02-20", 100),
            _used("03-20", 90),
            ("2026-04-06T10:00:00Z", "account.updated", {"name": "Acme"}),
            _ticket("03-25", "T2"),
        ],
        until="2026-04-06",
        expect=[("2026-04-06T00:00:00Z", "raised", "info"), ("2026-04-06T10:00:00Z", "cleared", "info")],
    ),
]
