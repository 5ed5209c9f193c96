"""onboarding.handover_incomplete: at the kickoff, sales has not said what was sold and why."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of, midnight

PARTS = ("goal", "pain_point", "scope", "notes")


def _missing(c: Context) -> list[str]:
    handover = c.account.hot.profile.fields.get("handover") or {}
    return [part for part in PARTS if not (handover.get(part) or "").strip()]


def _kickoff(c: Context) -> int:
    """The instant of the kickoff: held, or else the midnight at which its planned day begins. -1 where there is none."""
    known = (
        kickoff.done_at if kickoff.done else midnight(kickoff.due) if kickoff.due >= 0 else -1
        for _, kickoff in c.dossier.onboarding.of_kind("kickoff")
    )
    return min((at for at in known if at >= 0), default=-1)


def _ends(c: Context, kickoff: int) -> int:
    return int(kickoff + c.p["for_days"] * DAY_US)


def _raises(c: Context) -> Finding | None:
    if not _missing(c):
        return None
    kickoff = _kickoff(c)
    return Finding("info") if 0 <= kickoff <= c.now < _ends(c, kickoff) else None


def _clears(c: Context) -> str | None:
    if not _missing(c):
        return "recovered"
    kickoff = _kickoff(c)
    return "expired" if kickoff < 0 or c.now >= _ends(c, kickoff) else None


def _due(c: Context) -> int:
    if not _missing(c):
        return 0
    kickoff = _kickoff(c)
    return min((at for at in (kickoff, _ends(c, kickoff)) if kickoff >= 0 and at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    missing, kickoff = _missing(c), _kickoff(c)
    proof = evidence("handover_missing", ", ".join(missing) or None, "parts", threshold=0)
    if not missing:
        return "The handover from sales is complete.", [proof]
    when = f" at the kickoff on {on(day_of(kickoff))}" if kickoff >= 0 else ""
    words = ", ".join(part.replace("_", " ") for part in missing)
    return f"The handover from sales lacks {words}{when}; four parts are asked for.", [proof]


SIGNAL = Signal(
    id="onboarding.handover_incomplete",
    version=1,
    title="The handover from sales is incomplete",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "From the kickoff on (when it is held, or else from the midnight at which its planned day begins), for 182 days: the "
        "profile's handover lacks goal, pain point, scope or notes. Clears when all four are there, or as expired."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17; the essay on sales after the signature",
    reads=Fact.MILESTONES | Fact.PROFILE,
    inputs=("account.milestone_planned", "account.milestone_done", "account.updated"),
    needs=("account.milestone_planned",),
    action=Action(
        title="Fill in the handover: what was promised, to whom, and which pain it was bought against",
        owner="sales",
        playbook="handover",
        runbook="onboarding.handover_incomplete",
    ),
    thresholds={"default": {"for_days": 182}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _handover(at: str, **more: object) -> tuple[str, str, dict[str, object]]:
    whole = {"goal": "close in three days", "pain_point": "eight days", "scope": "finance", "notes": "audit in spring"}
    return (at, "account.updated", {"handover": {**whole, **more}})


_PLANNED = ("2026-01-01T09:00:00Z", "account.milestone_planned", {"milestone": "kickoff", "due": "2026-01-10"})
_HELD = ("2026-01-08T10:00:00Z", "account.milestone_done", {"milestone": "kickoff", "kind": "kickoff"})

CASES = [
    Case(
        name="the kickoff's day begins without notes; completed two days later",
        events=[_PLANNED, _handover("2026-01-02T09:00:00Z", notes=None), _handover("2026-01-12T09:00:00Z")],
        until="2026-01-31",
        expect=[("2026-01-10T00:00:00Z", "raised", "info"), ("2026-01-12T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="held earlier than planned, and nothing was handed over",
        events=[_PLANNED, _HELD],
        until="2026-01-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="complete in the last second",
        events=[_PLANNED, _handover("2026-01-09T23:59:59Z")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="blank text is missing",
        events=[_handover("2026-01-02T09:00:00Z", scope="  "), _HELD],
        until="2026-01-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="no kickoff is planned",
        events=[_handover("2026-01-02T09:00:00Z", notes=None)],
        until="2026-12-31",
        expect=[],
    ),
    Case(
        name="after 182 days nobody asks for it any more",
        events=[_HELD],
        until="2026-08-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "info"), ("2026-07-09T10:00:00Z", "cleared", "info")],
    ),
]
