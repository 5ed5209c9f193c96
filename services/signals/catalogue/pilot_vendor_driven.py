"""pilot.vendor_driven: the vendor works harder on the pilot than the customer does."""

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
    times,
)
from services.signals.core.days import DAY_US, midnight
from services.signals.core.pilot import how_it_ended, is_pilot, running
from services.signals.core.touches import KEPT_TOUCHES
from services.signals.core.windows import CORE

DAYS = 28


def _touches(c: Context, newest: int) -> list[str]:
    """Event ids of personal outbound contacts on the 28 days that end `newest` days ago."""
    first, end = midnight(c.today - newest - DAYS + 1), midnight(c.today - newest + 1)
    return [
        touch.event_id for touch in c.dossier.engagement.touches.personal if touch.outbound and first <= touch.at < end
    ]


def _ready(c: Context) -> bool:
    pilot = running(c.account.hot.profile)
    return pilot is not None and c.today >= pilot.start + DAYS


def _raises(c: Context) -> Finding | None:
    if not _ready(c):
        return None
    touches = len(_touches(c, 1))
    driven = touches >= c.p["touches"] and c.account.windows.complete_28(CORE) < c.p["uses_each"] * touches
    return Finding("info") if driven else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    touches = len(_touches(c, 1))
    enough = c.account.windows.complete_28(CORE) >= c.p["clear_uses_each"] * touches
    return "recovered" if touches < c.p["clear_touches"] or enough else None


def _due(c: Context) -> int:
    """Every midnight while it is open, or while there are enough contacts, from four weeks into the pilot on."""
    pilot = running(c.account.hot.profile)
    if pilot is None:
        return 0
    if c.episode is None and len(_touches(c, 0)) < c.p["touches"] and len(_touches(c, 1)) < c.p["touches"]:
        return 0
    return max(c.today + 1, pilot.start + DAYS if c.episode is None else 0) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    touches, uses = _touches(c, 1), c.account.windows.complete_28(CORE)
    days = (c.today - DAYS, c.today - 1)
    sentence = (
        f"The vendor made {times(len(touches), 'contact')} in 28 complete days, and the customer used core features "
        f"{times(uses, 'time')}; {c.p['uses_each']} uses for each contact are expected."
    )
    proofs = [
        evidence(
            "vendor_contacts", len(touches), "contacts", threshold=c.p["touches"], days=days, event_ids=touches[-20:]
        ),
        evidence("core_usage", uses, "uses", threshold=c.p["uses_each"] * len(touches), days=days),
    ]
    return sentence, proofs


def _refuses(p: Mapping[str, Any]) -> str:
    if 1 <= p["touches"] <= KEPT_TOUCHES:
        return ""
    return f"touches is {p['touches']} and must be 1 to {KEPT_TOUCHES}, as many contacts as are remembered"


SIGNAL = Signal(
    id="pilot.vendor_driven",
    version=1,
    title="The vendor drives the pilot",
    kind="risk",
    family="pilot",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The stage is pilot, for at least 28 days, and over the 28 complete days before today the vendor made at least 8 "
        "personal outbound contacts (2 a week) while core features were used fewer than 10 times for each. Clears with fewer "
        "than 6 contacts, with 15 uses for each, or when the stage is another. Judged at midnights and when late events come."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 5",
    reads=Fact.PROFILE | Fact.TOUCH | Fact.LATE_USAGE,
    where=is_pilot,
    inputs=("touchpoint.held", "usage.feature_used", "account.updated"),
    needs=("profile.stage", "touchpoint.held"),
    warming_days=28,
    action=Action(
        title="Hand the next step to the customer: they run it, you watch",
        owner="csm",
        playbook="pilot-ownership",
        runbook="pilot.vendor_driven",
    ),
    thresholds={"default": {"touches": 8, "uses_each": 10, "clear_touches": 6, "clear_uses_each": 15}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=28,
    describe=_describe,
    refuses=_refuses,
)


def _calls(count: int, direction: str = "outbound") -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"2026-01-{10 + n}T09:00:00Z", "touchpoint.held", {"kind": "call", "direction": direction})
        for n in range(count)
    ]


def _used(day: str, count: int) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "match", "count": count, "core": True})


_PILOT = ("2026-01-01T08:00:00Z", "account.updated", {"stage": "pilot", "pilot": {"start": "2026-01-01"}})

CASES = [
    Case(
        name="8 calls and 79 uses after four weeks; over when fewer than 6 are left",
        events=[_PILOT, _used("2026-01-08", 79), *_calls(8)],
        until="2026-02-28",
        expect=[("2026-01-29T00:00:00Z", "raised", "info"), ("2026-02-10T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="80 uses are ten for each",
        events=[_PILOT, _used("2026-01-15", 80), *_calls(8)],
        until="2026-02-11",
        expect=[],
    ),
    Case(
        name="7 calls are fewer than two a week",
        events=[_PILOT, *_calls(7)],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="contacts that the customer asked for do not count",
        events=[_PILOT, *_calls(8, "inbound")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="15 uses for each clear it",
        events=[_PILOT, *_calls(8), _used("2026-01-30", 120)],
        until="2026-02-05",
        expect=[("2026-01-29T00:00:00Z", "raised", "info"), ("2026-01-31T00:00:00Z", "cleared", "info")],
    ),
]
