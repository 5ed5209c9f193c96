"""pilot.no_second_champion: half of the pilot is over and it hangs on one champion, or on none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def _champions(c: Context) -> int:
    return len(c.account.hot.contacts.holders("champion"))


def _raises(c: Context) -> Finding | None:
    pilot = running(c.account.hot.profile)
    if not c.midnight or pilot is None or c.today < pilot.midpoint(c.p["default_days"]):
        return None
    return Finding("warning") if _champions(c) < c.p["champions"] else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    return "recovered" if _champions(c) >= c.p["champions"] else None


def _due(c: Context) -> int:
    pilot = running(c.account.hot.profile)
    if c.episode is not None or pilot is None or _champions(c) >= c.p["champions"]:
        return 0
    return max(pilot.midpoint(c.p["default_days"]), c.today + 1) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    pilot, known = running(c.account.hot.profile), _champions(c)
    proof = evidence("champions", known, "contacts", threshold=c.p["champions"])
    if pilot is None:
        return f"The pilot has ended; {times(known, 'champion')} known.", [proof]
    half = on(pilot.midpoint(c.p["default_days"]))
    need = c.p["champions"]
    return f"{times(known, 'champion')} known; half of the pilot is over on {half}, and {need} are needed by then.", [
        proof
    ]


def _refuses(p: Mapping[str, Any]) -> str:
    return "" if p["default_days"] <= 3650 else "default_days is at most 3650, ten years"


SIGNAL = Signal(
    id="pilot.no_second_champion",
    version=1,
    title="The pilot hangs on one person",
    kind="risk",
    family="pilot",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The stage is pilot, half of its time is over (of 90 days where no end is stated), and fewer than 2 contacts hold the "
        "role champion. Raised at the midnight from which half is over, or at a later one when champions left. Clears with 2, "
        "or when the stage is another. A pilot starts with its stated start, or else with the contract, or else when its "
        "stage was said."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 2",
    reads=Fact.PROFILE | Fact.CONTACTS,
    where=is_pilot,
    inputs=("account.updated", "account.contact_changed", "account.contact_left"),
    needs=("profile.stage", "account.contact_changed"),
    action=Action(
        title="Ask the champion who else gains from it, and win that person before the pilot ends",
        owner="csm",
        playbook="second-champion",
        runbook="pilot.no_second_champion",
    ),
    thresholds={"default": {"champions": 2, "default_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
    refuses=_refuses,
)


def _pilot(**more: object) -> tuple[str, str, dict[str, object]]:
    pilot = {"start": "2026-01-01", "end": "2026-03-02"}
    return ("2026-01-01T08:00:00Z", "account.updated", {"stage": "pilot", "pilot": pilot, **more})


def _champion(at: str, name: str, what: str = "changed") -> tuple[str, str, dict[str, object]]:
    return (at, f"account.contact_{what}", {"contact_id": name, "roles": ["champion"] if what == "changed" else None})


# 60 days: half is over at midnight of 2026-01-31.
CASES = [
    Case(
        name="one champion at the midpoint; the second a week later",
        events=[_pilot(), _champion("2026-01-02T09:00:00Z", "ana"), _champion("2026-02-07T09:00:00Z", "ben")],
        until="2026-02-28",
        expect=[("2026-01-31T00:00:00Z", "raised", "warning"), ("2026-02-07T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="two just before it",
        events=[_pilot(), _champion("2026-01-02T09:00:00Z", "ana"), _champion("2026-01-30T23:59:59Z", "ben")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="one of two leaves in the second half",
        events=[
            _pilot(),
            _champion("2026-01-02T09:00:00Z", "ana"),
            _champion("2026-01-05T09:00:00Z", "ben"),
            _champion("2026-02-10T09:00:00Z", "ben", "left"),
        ],
        until="2026-02-28",
        expect=[("2026-02-11T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="without an end 90 days count: half is over after 45; it becomes a contract",
        events=[
            _pilot(pilot={"start": "2026-01-01"}),
            ("2026-02-20T09:00:00Z", "account.updated", {"stage": "live"}),
        ],
        until="2026-02-28",
        expect=[("2026-02-15T00:00:00Z", "raised", "warning"), ("2026-02-20T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a live account is no pilot",
        events=[_pilot(stage="live")],
        until="2026-04-30",
        expect=[],
    ),
]
