"""pilot.extended: the pilot's end was put off, or has passed without a contract."""

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
    times,
)
from services.signals.core.days import DAY_US
from services.signals.core.pilot import how_it_ended, is_pilot, running


def _over(c: Context) -> int:
    """Days beyond the earliest end that was stated, 0 for none."""
    pilot = running(c.account.hot.profile)
    if pilot is None or pilot.end < 0:
        return 0
    first = c.dossier.onboarding.pilot_end
    return max(pilot.end, c.today if c.today > pilot.end else -1) - (first if first >= 0 else pilot.end)


def _raises(c: Context) -> Finding | None:
    return Finding("warning") if _over(c) else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    return None if _over(c) else "recovered"


def _due(c: Context) -> int:
    pilot = running(c.account.hot.profile)
    return 0 if c.episode is not None or pilot is None or pilot.end < 0 else (pilot.end + 1) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    pilot, over = running(c.account.hot.profile), _over(c)
    proof = evidence("days_beyond_end", over, "days", threshold=1)
    if pilot is None or not over:
        return "The pilot ended, or runs within its time.", [proof]
    first = on(c.dossier.onboarding.pilot_end)
    state = f"it was put off to {on(pilot.end)}" if c.today <= pilot.end else "it is over without a contract"
    return f"The pilot was to end on {first}; {state}, {times(over, 'day')} later.", [proof]


SIGNAL = Signal(
    id="pilot.extended",
    version=1,
    title="The pilot goes on and on",
    kind="risk",
    family="pilot",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The stage is pilot and its stated end was put off beyond the earliest one that was stated for its start (at once), or "
        "has passed (at the midnight that ends it). Clears when the stage is another, or when the end is moved back."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 5",
    reads=Fact.PROFILE,
    where=is_pilot,
    inputs=("account.updated",),
    needs=("profile.stage", "profile.pilot"),
    action=Action(
        title="Ask what is missing for a yes; without an answer with a date, end the pilot",
        owner="sales",
        playbook="pilot-decision",
        runbook="pilot.extended",
    ),
    thresholds={"default": {}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _pilot(
    at: str, end: str | None, stage: str = "pilot", start: str = "2026-01-01"
) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T08:00:00Z", "account.updated", {"stage": stage, "pilot": {"start": start, "end": end}})


CASES = [
    Case(
        name="the end passes; a contract a week later",
        events=[_pilot("2026-01-01", "2026-03-01"), ("2026-03-08T08:00:00Z", "account.updated", {"stage": "live"})],
        until="2026-03-31",
        expect=[("2026-03-02T00:00:00Z", "raised", "warning"), ("2026-03-08T08:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a contract on the last day",
        events=[_pilot("2026-01-01", "2026-03-01"), ("2026-03-01T08:00:00Z", "account.updated", {"stage": "live"})],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="put off by a day, at once; and back",
        events=[
            _pilot("2026-01-01", "2026-03-01"),
            _pilot("2026-02-20", "2026-03-02"),
            _pilot("2026-02-21", "2026-03-01"),
        ],
        until="2026-02-28",
        expect=[("2026-02-20T08:00:00Z", "raised", "warning"), ("2026-02-21T08:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the same end again",
        events=[_pilot("2026-01-01", "2026-03-01"), _pilot("2026-02-20", "2026-03-01")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="another pilot, with a start of its own, extends nothing",
        events=[_pilot("2026-01-01", "2026-03-01"), _pilot("2026-02-20", "2026-05-01", start="2026-02-21")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="no end is stated",
        events=[_pilot("2026-01-01", None)],
        until="2026-12-31",
        expect=[],
    ),
]
