"""pilot.unready: nobody has said where the money, the owner, the buying process or the measure of success comes from."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.pilot import how_it_ended, is_pilot, running

PARTS = ("budget", "owner", "process", "kpi")


def _missing(c: Context) -> list[str]:
    pilot = running(c.account.hot.profile)
    return [] if pilot is None else [part for part in PARTS if not pilot.readiness.get(part)]


def _found(c: Context) -> Finding | None:
    pilot = running(c.account.hot.profile)
    if pilot is None or c.today < pilot.start or not _missing(c):
        return None
    return Finding("warning" if c.today >= pilot.midpoint(c.p["default_days"]) else "info")


def _escalates(c: Context) -> Finding | None:
    found = _found(c)
    return found if found and found.severity == "warning" and c.open.severity == "info" else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    return None if _missing(c) else "recovered"


def _due(c: Context) -> int:
    pilot = running(c.account.hot.profile)
    if pilot is None:
        return 0
    days = (pilot.start, pilot.midpoint(c.p["default_days"]))
    return min((day for day in days if day > c.today), default=0) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    missing = _missing(c)
    proof = evidence("readiness_missing", ", ".join(missing) or None, "parts", threshold=0)
    if not missing:
        return "Budget, owner, process and measure of the pilot are known, or it has ended.", [proof]
    return f"The pilot runs without {', '.join(missing)}; four parts are needed to buy afterwards.", [proof]


SIGNAL = Signal(
    id="pilot.unready",
    version=1,
    title="The pilot is not ready to be bought",
    kind="risk",
    family="pilot",
    scope="account",
    severity="info; warning from half of the pilot on",
    pages=False,
    meaning=(
        "The stage is pilot, it has started, and its readiness on the profile lacks budget, owner, process or KPI, or says no "
        "to one (a conflict with a tool that is in place is said as no process). A warning from half of its time on (of 90 days "
        "where no end is stated). Clears when all four are there, or when the stage is another."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 7",
    reads=Fact.PROFILE,
    where=is_pilot,
    inputs=("account.updated",),
    needs=("profile.stage",),
    action=Action(
        title="Get the budget line, the owner, the buying steps and the number that decides, in writing",
        owner="sales",
        playbook="pilot-readiness",
        runbook="pilot.unready",
    ),
    thresholds={"default": {"default_days": 90}},
    raises=_found,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _pilot(at: str = "2026-01-01", stage: str = "pilot", **more: object) -> tuple[str, str, dict[str, object]]:
    readiness = {"budget": True, "owner": "Nora Falk", "process": True, "kpi": "days to close", **more}
    pilot = {"start": "2026-01-10", "end": "2026-03-11", "readiness": readiness}
    return (f"{at}T08:00:00Z", "account.updated", {"stage": stage, "pilot": pilot})


# 60 days from 2026-01-10: half is over on 2026-02-09.
CASES = [
    Case(
        name="no KPI: from the first day, a warning from half of it on, then named",
        events=[_pilot(kpi=None), _pilot("2026-02-20")],
        until="2026-02-28",
        expect=[
            ("2026-01-10T00:00:00Z", "raised", "info"),
            ("2026-02-09T00:00:00Z", "escalated", "warning"),
            ("2026-02-20T08:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="complete one second before it starts",
        events=[_pilot(budget=False), _pilot("2026-01-09")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="a no is missing too",
        events=[_pilot(process=False), _pilot("2026-01-12", "live")],
        until="2026-01-31",
        expect=[("2026-01-10T00:00:00Z", "raised", "info"), ("2026-01-12T08:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a live account needs no readiness",
        events=[_pilot(stage="live", budget=None)],
        until="2026-04-30",
        expect=[],
    ),
]
