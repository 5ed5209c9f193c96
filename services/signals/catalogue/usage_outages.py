"""usage.outages: the account met two outages in a month, or errors per use jumped."""

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
    remembered,
    times,
)
from services.signals.core.days import DAY_US
from services.signals.core.windows import ERRORS, USAGE

WEEK = (1, 7)
MONTH_BEFORE = (8, 35)


def _outages(c: Context) -> list[tuple[int, int]]:
    """Outages last seen in the trailing window."""
    since = c.now - c.p["outage_days"] * DAY_US
    if c.account.hot.noted.outage_at <= since:
        return []
    return [outage for outage in c.dossier.breadth.outages if since < outage[1] <= c.now]


def _counts(c: Context) -> tuple[int, int, int, int]:
    """Errors and uses of the last 7 complete days, and of the 28 before."""
    w = c.account.windows
    return (
        w.complete(ERRORS, *WEEK),
        w.complete(USAGE, *WEEK),
        w.complete(ERRORS, *MONTH_BEFORE),
        w.complete(USAGE, *MONTH_BEFORE),
    )


def _jumped(c: Context, errors_min: int, times_: float, base: tuple[int, int]) -> bool:
    """Whether there are enough errors in the week, and that many times as many per use as in the base."""
    errors, uses, _, _ = _counts(c)
    before, uses_before = base
    return errors >= errors_min and errors * uses_before >= times_ * before * uses


def _jump(c: Context) -> bool:
    if c.account.windows.complete(ERRORS, *WEEK) < c.p["errors_min"]:
        return False
    _, _, before, uses_before = _counts(c)
    if uses_before < c.p["uses_min"]:
        return False
    return _jumped(c, c.p["errors_min"], c.p["raise_times"], (before, uses_before))


def _raises(c: Context) -> Finding | None:
    jump = _jump(c)
    if not jump and len(_outages(c)) < c.p["outages"]:
        return None
    return Finding("warning", frozen={"base": [*_counts(c)[2:]] if jump else None})


def _clears(c: Context) -> str | None:
    if len(_outages(c)) >= c.p["outages"]:
        return None
    base = c.open.frozen["base"]
    if base is None or not _jumped(c, c.p["errors_min"] // 2, c.p["clear_times"], (base[0], base[1])):
        return "recovered"
    return "new_normal" if c.now >= c.open.opened_at + c.p["new_normal_days"] * DAY_US else None


def _due(c: Context) -> int:
    """The next midnight while a week with enough errors may lie before it; open, also when an outage grows old."""
    midnight = (c.today + 1) * DAY_US
    if c.episode is None:
        return midnight if c.account.windows.last_7(ERRORS) >= c.p["errors_min"] else 0
    ends = [outage[1] + c.p["outage_days"] * DAY_US for outage in _outages(c)]
    return min([end for end in ends if end > c.now] + [midnight] * (c.open.frozen["base"] is not None), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    outages = _outages(c)
    errors, uses, before, uses_before = _counts(c)
    days = c.p["outage_days"]
    sentence = f"{times(len(outages), 'outage')} seen in {days} days (limit {c.p['outages']})"
    if c.open.frozen["base"] is not None:
        before, uses_before = c.open.frozen["base"]
        sentence += (
            f"; {times(errors, 'error')} in {uses} uses of the last 7 complete days, {before} in {uses_before} before"
        )
    proofs = [
        evidence("outages", len(outages), "outages", threshold=c.p["outages"], window=(c.now - days * DAY_US, c.now)),
        evidence(
            "errors_7d", errors, "errors", baseline=before, threshold=c.p["errors_min"], days=(c.today - 7, c.today - 1)
        ),
    ]
    return f"{sentence}.", proofs


SIGNAL = Signal(
    id="usage.outages",
    version=1,
    title="The account meets outages or many more errors",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "At least 2 outages last seen within 30 × 24 h; sightings less than an hour apart are of one outage. Or, at a "
        "midnight, at least 10 errors (outages count too) in the 7 complete days before, and at least 3 times as many per "
        "use as in the 28 days before those, which had at least 20 uses; that base is frozen. Clears when fewer than 2 "
        "outages are in the window and the week has fewer than 5 errors or less than 1.5 times the frozen rate, or, for "
        "the rate, after 90 days as the new normal."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3",
    reads=Fact.ERRORS | Fact.LATE_USAGE,
    inputs=("usage.error_seen", "usage.feature_used"),
    action=Action(
        title="Tell the account what happened and what was done about it, before they ask",
        owner="support",
        playbook="outages",
        runbook="usage.outages",
    ),
    thresholds={
        "default": {
            "outages": 2,
            "outage_days": 30,
            "errors_min": 10,
            "uses_min": 20,
            "raise_times": 3,
            "clear_times": 1.5,
            "new_normal_days": 90,
        }
    },
    needs=("usage.error_seen",),
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=remembered((30, "outage_days")),
)


def _outage(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "usage.error_seen", {"kind": "outage"})


def _errors(day: str, count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{day}T10:{n:02d}:00Z", "usage.error_seen", {}) for n in range(count)]


def _used(day: str, count: int) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T09:00:00Z", "usage.feature_used", {"feature": "report", "count": count})


CASES = [
    Case(
        name="the second outage in 30 days; cleared when the first is 30 days old",
        events=[_outage("2026-01-05T10:00:00Z"), _outage("2026-01-20T12:00:00Z")],
        until="2026-02-28",
        expect=[("2026-01-20T12:00:00Z", "raised", "warning"), ("2026-02-04T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the first is exactly 30 × 24 h old",
        events=[_outage("2026-01-05T10:00:00Z"), _outage("2026-02-04T10:00:00Z")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="seen by three people within the hour it is one",
        events=[_outage(f"2026-01-05T{time}:00Z") for time in ("10:00", "10:59", "11:58")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="seen again an hour later it is another",
        events=[_outage("2026-01-05T10:00:00Z"), _outage("2026-01-05T11:00:00Z")],
        until="2026-01-05",
        expect=[("2026-01-05T11:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a late sighting shows that two were one",
        events=[
            _outage("2026-01-05T10:00:00Z"),
            _outage("2026-01-05T11:00:00Z"),
            _outage("2026-01-05T10:30:00Z"),
        ],
        until="2026-01-05",
        expect=[("2026-01-05T11:00:00Z", "raised", "warning"), ("2026-01-05T11:00:00Z", "cleared", "warning")],
    ),
    # 100 uses with 10 errors, then 50 uses with 15: three times the rate.
    Case(
        name="three times the errors per use",
        events=[
            _used("2026-01-05", 100),
            *_errors("2026-01-05", 10),
            _used("2026-02-05", 50),
            *_errors("2026-02-05", 15),
        ],
        until="2026-02-05",
        expect=[("2026-02-06T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="one error fewer",
        events=[
            _used("2026-01-05", 100),
            *_errors("2026-01-05", 10),
            _used("2026-02-05", 50),
            *_errors("2026-02-05", 14),
        ],
        until="2026-02-11",
        expect=[],
    ),
    Case(
        name="nine errors are too few, however rare they were",
        events=[_used("2026-01-05", 100), _used("2026-02-05", 50), *_errors("2026-02-05", 9)],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="ten where there were none; cleared when they leave the week",
        events=[_used("2026-01-12", 20), _used("2026-02-05", 50), *_errors("2026-02-05", 10)],
        until="2026-02-28",
        expect=[("2026-02-06T00:00:00Z", "raised", "warning"), ("2026-02-13T00:00:00Z", "cleared", "warning")],
    ),
]
