"""adoption.advanced: an advanced feature became part of the work."""

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
)
from services.signals.core.breadth import features_used, weeks_used
from services.signals.core.days import DAY_US


def _subjects(c: Context) -> list[str]:
    return list(features_used(c.account.hot.noted, c.dossier.breadth, c.today, advanced=True))


def _weeks(c: Context) -> int:
    days = features_used(c.account.hot.noted, c.dossier.breadth, c.today, advanced=True)
    return weeks_used(days.get(c.subject, 0), c.today, c.p["of_weeks"])


def _raises(c: Context) -> Finding | None:
    weeks = _weeks(c)
    return Finding("info", frozen={"weeks": weeks}) if weeks >= c.p["weeks"] else None


def _clears(c: Context) -> str | None:
    return "noted" if c.now >= _ends(c) else None


def _ends(c: Context) -> int:
    return int(c.open.opened_at + c.p["noted_days"] * DAY_US)


def _due(c: Context) -> int:
    return 0 if c.episode is None else _ends(c)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    weeks, of = c.open.frozen["weeks"], c.p["of_weeks"]
    monday = c.today - (c.today + 3) % 7
    sentence = f"The advanced feature {c.subject} was used in {weeks} of {of} weeks in a row: it is part of their work."
    proof = evidence("weeks_used", weeks, "weeks", threshold=c.p["weeks"], days=(monday - 7 * (of - 1), c.today))
    return sentence, [proof]


SIGNAL = Signal(
    id="adoption.advanced",
    version=1,
    title="An advanced feature is in steady use",
    kind="opportunity",
    family="adoption",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "A feature was used in production, marked advanced, in at least 3 of the last 4 ISO weeks, the running one "
        "included. At the use with which it is so; once per feature for ever. Clears 30 days after."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.ADVANCED,
    inputs=("usage.feature_used",),
    action=Action(
        title="Ask what they do with it, tell the story inside, and show the next step",
        owner="csm",
        playbook="advanced-use",
        runbook="adoption.advanced",
    ),
    thresholds={"default": {"weeks": 3, "of_weeks": 4, "noted_days": 30}},
    once=True,
    subjects=_subjects,
    needs=("usage.feature_used",),
    warming_days=14,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=remembered((9, "of_weeks")),
)


def _used(day: str, feature: str = "forecast", **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": feature, "advanced": True, **more})


# 2026-01-05 is a Monday.
CASES = [
    Case(
        name="in three weeks of four; noted for 30 days, and once for ever",
        events=[
            _used("2026-01-05"),
            _used("2026-01-18"),
            _used("2026-02-01"),
            *(_used(f"2026-03-{day:02d}") for day in (2, 9, 16, 23)),
        ],
        until="2026-03-31",
        expect=[("2026-02-01T10:00:00Z", "raised", "info"), ("2026-03-03T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the first of the three is five weeks back",
        events=[_used("2026-01-05"), _used("2026-01-18"), _used("2026-02-02")],
        until="2026-02-08",
        expect=[],
    ),
    Case(
        name="every day of two weeks is not steady yet",
        events=[_used(f"2026-01-{day:02d}") for day in range(5, 19)],
        until="2026-01-18",
        expect=[],
    ),
    Case(
        name="not marked advanced",
        events=[_used(f"2026-01-{day:02d}", advanced=False, core=True) for day in (5, 12, 19, 26)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="each feature for itself",
        events=[_used("2026-01-05"), _used("2026-01-12", "export"), _used("2026-01-19")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a late use fills the third week",
        events=[
            _used("2026-01-05"),
            _used("2026-01-19"),
            _used("2026-01-20", "report", advanced=False),
            _used("2026-01-14"),
        ],
        until="2026-01-20",
        expect=[("2026-01-20T10:00:00Z", "raised", "info")],
    ),
]
