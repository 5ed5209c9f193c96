"""recovery: a trouble ended, and usage that had fallen with it is back."""

from __future__ import annotations

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
    remembered,
)
from services.signals.core.days import DAY_US, day_of, week_of
from services.signals.core.troubles import Trouble, latest
from services.signals.core.windows import USAGE, WEEKS

AFTER = 2
"""Complete weeks that are compared, after the trouble and before it."""


def _subjects(c: Context) -> list[str]:
    """The trouble that ended last: earlier ones cannot be told apart from it."""
    name = latest(c.dossier.troubles)
    return [name] if name else []


def _ages(c: Context, trouble: Trouble) -> tuple[int, int]:
    """How many ISO weeks ago it began and ended; 0 is the running week."""
    week = week_of(c.today)
    return week - week_of(day_of(trouble.began)), week - week_of(day_of(trouble.ended))


def _levels(c: Context, trouble: Trouble) -> tuple[int, float, int] | None:
    """Usage of the weeks before it, twice that of its worst week, and of the last weeks; None where it cannot be told."""
    began, ended = _ages(c, trouble)
    if not AFTER < ended <= c.p["weeks"] + 1 or began + AFTER >= WEEKS:
        return None
    weeks = c.account.windows.weeks_by_age(USAGE)
    return sum(weeks[began + 1 : began + 1 + AFTER]), AFTER * min(weeks[ended : began + 1]), sum(weeks[1 : 1 + AFTER])


def _raises(c: Context) -> Finding | None:
    trouble = c.dossier.troubles[c.subject]
    levels = _levels(c, trouble)
    if levels is None:
        return None
    before, worst, after = levels
    if before < c.p["baseline_min"] or worst > c.p["fell_to"] * before or after < c.p["back_at"] * before:
        return None
    return Finding("info", frozen={"ended": trouble.ended, "before": before, "worst": worst, "after": after})


def _clears(c: Context) -> str | None:
    return "noted" if c.now >= _ends(c) else None


def _ends(c: Context) -> int:
    return int(c.open.opened_at + c.p["noted_days"] * DAY_US)


def _due(c: Context) -> int:
    """Closed: the next Monday at which enough weeks have passed since it ended, while it is not too long ago."""
    if c.episode is not None:
        return _ends(c)
    ended = _ages(c, c.dossier.troubles[c.subject])[1]
    ahead = max(1, AFTER + 1 - ended)
    monday = c.today - (c.today + 3) % 7
    return (monday + 7 * ahead) * DAY_US if ended + ahead <= c.p["weeks"] + 1 else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    frozen = c.open.frozen
    before, worst, after = frozen["before"], frozen["worst"], frozen["after"]
    sentence = (
        f"{c.subject} ended on {on(day_of(frozen['ended']))}; usage is back at {after} in two weeks, against {before} before "
        f"it and {worst:g} at its worst."
    )
    proof = evidence("usage_2w", after, "uses", baseline=before, threshold=c.p["back_at"] * before)
    return sentence, [proof]


SIGNAL = Signal(
    id="recovery",
    version=1,
    title="A trouble is over and usage is back",
    kind="opportunity",
    family="recovery",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "A ticket that was a P1 or P2, or had been escalated, was solved, or a risk of severity critical cleared because its "
        "condition no longer held (usage.*, health.*, renewal.unsecured and critical.compound aside); and usage over the "
        "last 2 complete ISO weeks, both after the week in which that was, is at least 95 % of that over the 2 weeks before "
        "the trouble began, which was at least 20, while twice the usage of the worst week between was at most 80 % of it. "
        "Of several troubles the one that ended last; once for each, up to 8 weeks after. Judged as weeks begin. Clears 30 "
        "days after."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 4",
    reads=Fact.TICKETS | Fact.RISKS | Fact.LATE_USAGE,
    inputs=("ticket.opened", "ticket.escalated", "ticket.resolved", "ticket.closed", "usage.feature_used"),
    action=Action(
        title="Thank them for their patience, and ask what made the difference",
        owner="csm",
        playbook="recovery",
        runbook="recovery",
    ),
    thresholds={"default": {"baseline_min": 20, "fell_to": 0.8, "back_at": 0.95, "weeks": 8, "noted_days": 30}},
    once=True,
    subjects=_subjects,
    needs=("usage.feature_used",),
    warming_days=42,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=remembered((12, "weeks")),
)


def _used(*counts: int) -> list[tuple[str, str, dict[str, object]]]:
    """Uses of each week from that of 2026-01-05 on, on its Tuesday."""
    days = (f"2026-{month:02d}-{day:02d}" for month, day in _TUESDAYS)
    return [
        (f"{day}T09:00:00Z", "usage.feature_used", {"feature": "report", "count": count})
        for day, count in zip(days, counts, strict=False)
    ]


_TUESDAYS = ((1, 6), (1, 13), (1, 20), (1, 27), (2, 3), (2, 10), (2, 17), (2, 24), (3, 3), (3, 10), (3, 17), (3, 24))


def _ticket(priority: str = "P1", ended: str = "2026-01-30T10:00:00Z") -> list[tuple[str, str, dict[str, object]]]:
    """Opened in the third week, solved in the fourth."""
    return [
        ("2026-01-21T10:00:00Z", "ticket.opened", {"ticket_id": "T1", "priority": priority}),
        (ended, "ticket.resolved", {"ticket_id": "T1"}),
    ]


def _in_order(*parts: list[tuple[str, str, dict[str, object]]]) -> list[tuple[str, str, dict[str, object]]]:
    return sorted((event for part in parts for event in part), key=lambda event: event[0])


# 200 uses in the two weeks before; the weeks of 2026-02-02 and 2026-02-09 are the two after.
CASES = [
    Case(
        name="a P1 is solved and usage is back at 95 %; noted for 30 days",
        events=_in_order(_used(100, 100, 90, 80, 95, 95, 100, 100), _ticket()),
        until="2026-03-31",
        expect=[("2026-02-16T00:00:00Z", "raised", "info"), ("2026-03-18T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="one use fewer than 95 %",
        events=_in_order(_used(100, 100, 90, 80, 95, 94), _ticket()),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="the worst week was not below 80 %",
        events=_in_order(_used(100, 100, 90, 81, 95, 95), _ticket()),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="a P3 is no trouble",
        events=_in_order(_used(100, 100, 90, 80, 95, 95), _ticket("P3")),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="unless it was escalated",
        events=_in_order(
            _used(100, 100, 90, 80, 95, 95),
            _ticket("P3"),
            [("2026-01-22T10:00:00Z", "ticket.escalated", {"ticket_id": "T1"})],
        ),
        until="2026-02-15",
        expect=[("2026-02-16T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="it took until the eighth week after",
        events=_in_order(
            _used(100, 100, 90, 80, 50, 50, 50, 50, 50, 50, 95, 95),
            _ticket(),
            [("2026-04-01T10:00:00Z", "usage.logged_in", {"user": "ana"})],
        ),
        until="2026-03-31",
        expect=[("2026-03-30T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="the ticket came back",
        events=_in_order(
            _used(100, 100, 90, 80, 95, 95),
            _ticket(),
            [("2026-02-05T10:00:00Z", "ticket.reopened", {"ticket_id": "T1"})],
        ),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="the champion's role was lost for a week: a critical risk that cleared",
        events=_in_order(
            _used(100, 100, 90, 80, 100, 100),
            [
                ("2026-01-02T10:00:00Z", "account.contact_changed", {"contact_id": "c1", "roles": ["champion"]}),
                ("2026-01-21T10:00:00Z", "account.contact_left", {"contact_id": "c1"}),
                ("2026-01-28T10:00:00Z", "account.contact_changed", {"contact_id": "c2", "roles": ["champion"]}),
            ],
        ),
        until="2026-02-15",
        expect=[("2026-02-16T00:00:00Z", "raised", "info")],
    ),
]
