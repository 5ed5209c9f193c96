"""relationship.team_complaint: the customer complained about one of our people."""

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
from services.signals.core.days import DAY_US, day_of
from services.signals.core.engagement import Complaint


def _complaints(c: Context) -> list[Complaint]:
    """Complaints about the team that still count, by time."""
    since = c.now - int(c.p["days"]) * DAY_US
    return [said for said in c.dossier.engagement.complaints if said.about == "team" and since < said.at <= c.now]


def _raises(c: Context) -> Finding | None:
    said = _complaints(c)
    return Finding("warning", frozen={"at": said[-1].at, "event": said[-1].event_id}) if said else None


def _clears(c: Context) -> str | None:
    return None if _complaints(c) else "expired"


def _due(c: Context) -> int:
    said = _complaints(c) if c.episode is not None else []
    return said[-1].at + int(c.p["days"]) * DAY_US if said else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    said = _complaints(c)
    last = said[-1].at if said else c.open.frozen["at"]
    days = c.p["days"]
    sentence = (
        f"{times(len(said), 'complaint')} about a member of our team in the last {days} days, the latest on "
        f"{on(day_of(last))}. For the manager of the customer success manager, who is not to handle it."
    )
    proof = evidence(
        "complaints_about_the_team",
        len(said),
        "complaints",
        threshold=1,
        window=(max(0, c.now - days * DAY_US), c.now),
        event_ids=[complaint.event_id for complaint in said] or [c.open.frozen["event"]],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="relationship.team_complaint",
    version=1,
    title="A complaint about our team",
    kind="risk",
    family="relationship",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "A complaint about the team was made in the trailing 30 × 24 h. Clears when the latest is 30 d old. It goes to the "
        "manager of the account's customer success manager and never to that person: of the owners there are, sales is the "
        "one who knows the customer and is not in the team that the complaint may be about, and hands it to the manager."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.COMPLAINTS,
    inputs=("complaint.made",),
    needs=("complaint.made",),
    action=Action(
        title="Hand this to the manager of the account's CSM today, not to the CSM; the manager calls the customer",
        owner="sales",
        playbook="team-complaint",
        runbook="relationship.team_complaint",
    ),
    thresholds={"default": {"days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _complaint(at: str, about: str = "team") -> tuple[str, str, dict[str, object]]:
    return (at, "complaint.made", {"about": about, "user": "ana"})


CASES = [
    Case(
        name="once; over 30 days after, to the second",
        events=[_complaint("2026-01-05T10:00:00Z")],
        until="2026-02-04",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning"), ("2026-02-04T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a second one keeps it open",
        events=[_complaint("2026-01-05T10:00:00Z"), _complaint("2026-01-20T10:00:00Z")],
        until="2026-02-19",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning"), ("2026-02-19T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="about the product, or something else",
        events=[_complaint("2026-01-05T10:00:00Z", "product"), _complaint("2026-01-06T10:00:00Z", "other")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="told when it is 30 days old",
        events=[
            ("2026-02-04T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _complaint("2026-01-05T10:00:00Z"),
        ],
        until="2026-02-28",
        expect=[],
    ),
]
