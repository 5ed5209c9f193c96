"""pilot.hidden_success: the pilot reached its value, and nobody outside the pilot team ever looked."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.breadth import teams_known
from services.signals.core.days import DAY_US, day_of, midnight
from services.signals.core.pilot import how_it_ended, is_pilot, running


def _value_at(c: Context) -> int:
    """When value was reached in the pilot that runs, -1 for never."""
    pilot = running(c.account.hot.profile)
    if pilot is None or not c.account.hot.value_reached:
        return -1
    at = c.dossier.onboarding.value_at
    return at if at >= midnight(pilot.start) else -1


def _teams(c: Context) -> int:
    return len(teams_known(c.account.hot.noted, c.dossier.breadth))


def _executive(c: Context) -> bool:
    """Whether an executive sponsor was met since the pilot started."""
    pilot = running(c.account.hot.profile)
    return pilot is not None and c.dossier.engagement.touches.executive_at >= midnight(pilot.start)


def _hidden(c: Context) -> bool:
    return _teams(c) == 1 and not _executive(c)


def _raises(c: Context) -> Finding | None:
    value = _value_at(c)
    return Finding("info") if value >= 0 and c.now >= value + c.p["days"] * DAY_US and _hidden(c) else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    return None if _value_at(c) >= 0 and _hidden(c) else "recovered"


def _due(c: Context) -> int:
    value = _value_at(c)
    return 0 if c.episode is not None or value < 0 else value + c.p["days"] * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    value, teams = _value_at(c), _teams(c)
    proof = evidence("teams", teams, "teams", threshold=2)
    when = (
        f"Value was reached on {on(day_of(value))}"
        if value >= 0
        else "The pilot has ended, or value was not reached in it"
    )
    met = "an executive sponsor was met" if _executive(c) else "no executive sponsor was met in the pilot"
    return f"{when}; {teams} team(s) ever used the product, and {met}.", [proof]


SIGNAL = Signal(
    id="pilot.hidden_success",
    version=1,
    title="Nobody has seen the pilot's success",
    kind="risk",
    family="pilot",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The stage is pilot, value was first reached in it at least 14 days ago, one team alone ever used the product in "
        "production (teams are named in usage events), and no contact with an executive sponsor was held since the pilot's "
        "start. Clears when a second team uses it, when a sponsor is met, or when the stage is another."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 6",
    reads=Fact.PROFILE | Fact.VALUE | Fact.BREADTH | Fact.TOUCH,
    where=is_pilot,
    inputs=("usage.value_reached", "account.goal_achieved", "usage.feature_used", "touchpoint.held", "account.updated"),
    needs=("profile.stage", "usage.feature_used"),
    action=Action(
        title="Put the result on one page and have the champion show it to the sponsor and the next team",
        owner="csm",
        playbook="show-the-result",
        runbook="pilot.hidden_success",
    ),
    thresholds={"default": {"days": 14}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _used(day: str, team: str | None) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "match", "core": True, "team": team})


_PILOT = ("2026-01-01T08:00:00Z", "account.updated", {"stage": "pilot", "pilot": {"start": "2026-01-01"}})
_SPONSOR = ("2026-01-02T08:00:00Z", "account.contact_changed", {"contact_id": "oskar", "roles": ["executive_sponsor"]})
_VALUE = ("2026-01-20T12:00:00Z", "usage.value_reached", {"goal": "close"})


def _met(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": "meeting", "direction": "outbound", "contact_id": "oskar"})


CASES = [
    Case(
        name="14 days after the value, one team; a second one looks",
        events=[_PILOT, _used("2026-01-05", "finance"), _VALUE, _used("2026-02-10", "legal")],
        until="2026-02-28",
        expect=[("2026-02-03T12:00:00Z", "raised", "info"), ("2026-02-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the sponsor was met just before",
        events=[_PILOT, _SPONSOR, _used("2026-01-05", "finance"), _VALUE, _met("2026-02-03T11:59:59Z")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="two teams",
        events=[_PILOT, _used("2026-01-05", "finance"), _used("2026-01-06", "legal"), _VALUE],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="no value, nothing to show",
        events=[_PILOT, _used("2026-01-05", "finance")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="teams are not named",
        events=[_PILOT, _used("2026-01-05", None), _VALUE],
        until="2026-02-28",
        expect=[],
    ),
]
