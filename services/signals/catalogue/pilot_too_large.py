"""pilot.too_large: a large pilot without the steps that would show that it gets anywhere."""

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
    times,
)
from services.signals.core.days import DAY_US
from services.signals.core.pilot import how_it_ended, is_pilot, running


def _size(c: Context) -> tuple[int, int]:
    """Seats, and contacts that have not left."""
    hot = c.account.hot
    return hot.profile.seats, sum(not person.gone for person in hot.contacts.people.values())


def _milestones(c: Context) -> int:
    return sum(not step.called_off for step in c.dossier.onboarding.milestones.values())


def _large(c: Context) -> bool:
    seats, contacts = _size(c)
    return bool(seats >= c.p["seats"] or contacts >= c.p["contacts"])


def _too_large(c: Context) -> bool:
    return _large(c) and _milestones(c) < int(c.p["milestones"])


def _raises(c: Context) -> Finding | None:
    pilot = running(c.account.hot.profile)
    if not c.midnight or pilot is None or c.today < pilot.start + c.p["days"]:
        return None
    return Finding("info") if _too_large(c) else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if running(profile) is None:
        return how_it_ended(profile)
    return None if _too_large(c) else "recovered"


def _due(c: Context) -> int:
    pilot = running(c.account.hot.profile)
    if c.episode is not None or pilot is None or not _too_large(c):
        return 0
    return int(max(pilot.start + c.p["days"], c.today + 1) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    (seats, contacts), steps = _size(c), _milestones(c)
    sentence = (
        f"The pilot has {times(seats, 'seat')} and {times(contacts, 'contact')}, and {times(steps, 'milestone')}; from "
        f"{c.p['seats']} seats or {c.p['contacts']} contacts on it needs {c.p['milestones']}."
    )
    proofs = [
        evidence("milestones", steps, "milestones", threshold=c.p["milestones"]),
        evidence("seats", seats, "seats", threshold=c.p["seats"]),
        evidence("contacts", contacts, "contacts", threshold=c.p["contacts"]),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="pilot.too_large",
    version=1,
    title="The pilot is too large for its plan",
    kind="risk",
    family="pilot",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The stage is pilot, 14 days have passed since its start, it has at least 50 seats or 10 contacts, and fewer than 3 "
        "milestones are planned or done. Raised at midnights. Clears with the third, when it is smaller, or when the stage is "
        "another."
    ),
    source="Seven reasons customers leave after a pilot (P. Shin), 4",
    reads=Fact.PROFILE | Fact.CONTACTS | Fact.MILESTONES,
    where=is_pilot,
    inputs=("account.updated", "account.contact_changed", "account.milestone_planned", "account.milestone_done"),
    needs=("profile.stage",),
    action=Action(
        title="Cut the pilot to one team and one result, with three dated steps to it",
        owner="csm",
        playbook="pilot-scope",
        runbook="pilot.too_large",
    ),
    thresholds={"default": {"seats": 50, "contacts": 10, "milestones": 3, "days": 14}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _pilot(seats: int | None = None) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"stage": "pilot", "pilot": {"start": "2026-01-01", "end": "2026-04-01"}, "seats": seats}
    return ("2026-01-01T08:00:00Z", "account.updated", data)


def _steps(count: int, day: str = "2026-01-05") -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"{day}T09:00:0{n}Z", "account.milestone_planned", {"milestone": f"step {n}", "due": "2026-03-01"})
        for n in range(count)
    ]


def _contacts(count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"2026-01-02T09:00:0{n}Z", "account.contact_changed", {"contact_id": f"c{n}", "roles": ["user"]})
        for n in range(count)
    ]


CASES = [
    Case(
        name="50 seats and two milestones after 14 days; the third comes later",
        events=[_pilot(50), *_steps(2), *_steps(3, "2026-01-20")],
        until="2026-01-31",
        expect=[("2026-01-15T00:00:00Z", "raised", "info"), ("2026-01-20T09:00:02Z", "cleared", "info")],
    ),
    Case(
        name="49 seats and 9 contacts",
        events=[_pilot(49), *_contacts(9)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="10 contacts",
        events=[_pilot(), *_contacts(10)],
        until="2026-01-31",
        expect=[("2026-01-15T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="three milestones in time",
        events=[_pilot(500), *_steps(3, "2026-01-14")],
        until="2026-01-31",
        expect=[],
    ),
]
