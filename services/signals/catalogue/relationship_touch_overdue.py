"""relationship.touch_overdue: nobody has talked to the customer for longer than the tier allows."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

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
from services.signals.core.days import DAY_US, day_of, midnight
from services.signals.core.touches import KEPT_TOUCHES


class _Clock(NamedTuple):
    """One cadence: its measure, what it asks for, from when it counts (µs), and how many days it allows."""

    measure: str
    what: str
    since: int
    days: int

    def after(self, factor: int) -> int:
        """The midnight (µs) that ends the day on which so many of its cadences have passed."""
        return midnight(day_of(self.since) + factor * self.days + 1)


def _key_account(c: Context) -> bool:
    """Whether the account is among the most important: its yearly revenue is at or above the tier's bar."""
    mrr = c.account.hot.profile.fields.get("mrr")
    return mrr is not None and c.p["key_arr"] > 0 and 12 * Decimal(mrr) >= c.p["key_arr"]


def _clocks(c: Context) -> list[_Clock]:
    """The cadences in force. None where nothing was ever said of contacts: then silence means nothing."""
    touches = c.dossier.engagement.touches
    start = touches.first_at
    if start < 0:
        return []
    found = []
    if c.p["personal_days"]:
        count = c.p["key_count"] if _key_account(c) else 1
        since = touches.latest(count, with_bulk=c.p["bulk_counts"])
        what = "personal contact" if count == 1 else times(count, "personal contact")
        found.append(_Clock("days_without_personal_contact", what, max(since, start), c.p["personal_days"]))
    if c.p["any_days"]:
        since = touches.latest(1, with_bulk=True)
        what = "contact of any kind, bulk mail too"
        found.append(_Clock("days_without_any_contact", what, max(since, start), c.p["any_days"]))
    profile = c.account.hot.profile
    owner = profile.fields.get("sales_owner")
    if c.p["sales_days"] and owner and touches.last_by:
        since = touches.last_by.get(owner, max(start, profile.set_at.get("sales_owner", start)))
        what = f"contact by the sales owner {owner}"
        found.append(_Clock("days_without_the_sales_owner", what, since, c.p["sales_days"]))
    return found


def _late(c: Context, factor: int = 1) -> list[_Clock]:
    return [clock for clock in _clocks(c) if factor and c.now >= clock.after(factor)]


def _raises(c: Context) -> Finding | None:
    late = _late(c)
    if not late:
        return None
    frozen = {"late": [list(clock) for clock in late]}
    return Finding("warning" if _late(c, c.p["warning_after"]) else "info", frozen=frozen)


def _escalates(c: Context) -> Finding | None:
    return Finding("warning") if c.open.severity == "info" and _late(c, c.p["warning_after"]) else None


def _clears(c: Context) -> str | None:
    return None if _late(c) else "recovered"


def _due(c: Context) -> int:
    steps = (clock.after(factor) for clock in _clocks(c) for factor in (1, c.p["warning_after"]) if factor)
    return min((at for at in steps if at > c.now), default=0)


def _refuses(p: Mapping[str, Any]) -> str:
    if not 1 <= p["key_count"] <= KEPT_TOUCHES:
        return f"key_count is {p['key_count']} and must be 1 to {KEPT_TOUCHES}, as many contacts as are remembered"
    return ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    late = _late(c) or [_Clock(*clock) for clock in c.open.frozen["late"]]
    parts = [
        f"{times((c.now - clock.since) // DAY_US, 'day')} without {clock.what} since {on(day_of(clock.since))} "
        f"(the tier allows {clock.days})"
        for clock in late
    ]
    proofs = [
        evidence(
            clock.measure,
            (c.now - clock.since) // DAY_US,
            "days",
            threshold=clock.days,
            window=(clock.since, c.now),
        )
        for clock in late
    ]
    return f"{'; '.join(parts)}.", proofs


SIGNAL = Signal(
    id="relationship.touch_overdue",
    version=1,
    title="Nobody has talked to the customer",
    kind="risk",
    family="relationship",
    scope="account",
    severity="info; warning once twice the time has passed, not for tech touch",
    pages=False,
    meaning=(
        "One of the tier's cadences has passed: so many whole days after the day of the last contact that counts, or of "
        "the first word on any contact where none counted yet; judged at midnight, for a weekly call may be at ten "
        "o'clock and then at noon. Personal contact: every 30 d for low touch, 7 d for high touch, and there two in 7 d "
        "where the yearly revenue (12 × MRR, in the account's currency) is 1 000 000 or more; not asked of tech touch. "
        "Contact of any kind: every 30 d, and this is the only clock that bulk mail satisfies. The sales owner, high "
        "touch: every 30 d, where a sales owner is on the profile and contacts say by whom they were. A contact counts "
        "when it was held, is not bulk, and nobody said that it stayed unanswered; attempts, plans and missed "
        "appointments do not. Warning at twice the cadence, not for tech touch. Clears when no cadence has passed. Before "
        "the first touchpoint event it says nothing."
    ),
    source="Fourteen commandments of customer success (Abdullah), commandment 6; Customer Success, law 5",
    reads=Fact.TOUCH | Fact.PROFILE,
    inputs=("touchpoint.held", "touchpoint.planned", "touchpoint.missed", "account.updated"),
    needs=("touchpoint.held",),
    action=Action(
        title="Call or visit: one personal contact with a reason the customer cares about",
        owner="csm",
        playbook="touch-overdue",
        runbook="relationship.touch_overdue",
    ),
    thresholds={
        "default": {
            "personal_days": 30,
            "any_days": 30,
            "sales_days": 0,
            "key_arr": 0,
            "key_count": 2,
            "bulk_counts": False,
            "warning_after": 2,
        },
        "high": {"personal_days": 7, "sales_days": 30, "key_arr": 1_000_000},
        "tech": {"personal_days": 0, "warning_after": 0},
    },
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    describe=_describe,
    held_by=("engagement",),
    hole_days="any_days",
    refuses=_refuses,
)


def _held(at: str, kind: str = "call", **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": kind, **more})


def _profile(**fields: object) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T00:00:00Z", "account.updated", fields)


def _source(what: str, at: str) -> tuple[str, str, dict[str, object]]:
    return (at, f"source.{what}", {"source": "case", "topic": "engagement", "since": "2026-01-31T12:00:00Z"})


CASES = [
    Case(
        name="low touch: 30 whole days, warning after 60, cleared by a call",
        events=[_held("2026-01-05T10:00:00Z"), _held("2026-03-20T10:00:00Z")],
        until="2026-03-20",
        expect=[
            ("2026-02-05T00:00:00Z", "raised", "info"),
            ("2026-03-07T00:00:00Z", "escalated", "warning"),
            ("2026-03-20T10:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="a call one second before the 30th day is over",
        events=[_held("2026-01-05T10:00:00Z"), _held("2026-02-04T23:59:59Z")],
        until="2026-03-05",
        expect=[],
    ),
    Case(
        name="a call at the very instant: the deadline is judged first",
        events=[_held("2026-01-05T10:00:00Z"), _held("2026-02-05T00:00:00Z")],
        until="2026-02-05",
        expect=[("2026-02-05T00:00:00Z", "raised", "info"), ("2026-02-05T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="bulk mail and an unanswered attempt are no contact",
        events=[
            _held("2026-01-05T10:00:00Z"),
            _held("2026-01-20T10:00:00Z", "email", bulk=True),
            _held("2026-01-25T10:00:00Z", direction="outbound", answered=False),
        ],
        until="2026-02-04",
        expect=[("2026-02-05T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="high touch: weekly",
        events=[_profile(tier="high"), _held("2026-01-05T10:00:00Z"), _held("2026-01-11T10:00:00Z", "visit")],
        until="2026-01-18",
        expect=[("2026-01-19T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="a million a year: one call a week is not enough",
        events=[
            _profile(tier="high", mrr="83333.34"),
            _held("2026-01-05T10:00:00Z"),
            _held("2026-01-07T10:00:00Z"),
            _held("2026-01-13T10:00:00Z"),
        ],
        until="2026-01-13",
        expect=[("2026-01-13T00:00:00Z", "raised", "info"), ("2026-01-13T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="just under a million a year: one call a week is enough",
        events=[
            _profile(tier="high", mrr="83333.33"),
            _held("2026-01-05T10:00:00Z"),
            _held("2026-01-12T19:00:00Z"),
            _held("2026-01-19T20:00:00Z"),
        ],
        until="2026-01-25",
        expect=[],
    ),
    Case(
        name="tech touch: bulk mail satisfies the monthly clock, and nothing for 30 days does not",
        events=[_profile(tier="tech"), *(_held(f"2026-0{n}-05T10:00:00Z", "email", bulk=True) for n in (1, 2))],
        until="2026-06-30",
        expect=[
            ("2026-02-05T00:00:00Z", "raised", "info"),
            ("2026-02-05T10:00:00Z", "cleared", "info"),
            ("2026-03-08T00:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="high touch: the sales owner has not called for 30 days",
        events=[
            _profile(tier="high", sales_owner="Sue"),
            _held("2026-01-05T10:00:00Z", by="Sue"),
            *(_held(f"2026-01-{day:02d}T10:00:00Z", by="Carl") for day in (9, 15, 21, 27)),
            _held("2026-02-02T10:00:00Z", by="Carl"),
            _held("2026-02-05T10:00:00Z", by="Sue"),
        ],
        until="2026-02-05",
        expect=[("2026-02-05T00:00:00Z", "raised", "info"), ("2026-02-05T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="nothing was ever said of contacts",
        events=[_profile(tier="high"), ("2026-01-05T10:00:00Z", "usage.feature_used", {"feature": "report"})],
        until="2026-06-30",
        expect=[],
    ),
    Case(
        name="what tells of contacts is stale: nothing is raised until its hole has left the window",
        events=[
            _held("2026-01-05T10:00:00Z"),
            _source("stale", "2026-02-01T12:00:00Z"),
            _source("fresh", "2026-02-06T12:00:00Z"),
        ],
        until="2026-03-08",
        expect=[("2026-03-09T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a call that is told late clears it",
        events=[
            _held("2026-01-05T10:00:00Z"),
            ("2026-02-06T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _held("2026-01-30T10:00:00Z"),
        ],
        until="2026-02-28",
        expect=[("2026-02-05T00:00:00Z", "raised", "info"), ("2026-02-06T10:00:00Z", "cleared", "info")],
    ),
]
