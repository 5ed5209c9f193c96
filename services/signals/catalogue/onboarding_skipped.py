"""onboarding.skipped: in its first six months the account declined its onboarding, or left it unfinished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, add_months, day_of
from services.signals.core.onboarding import launched_at

STEPS = ("kickoff", "onboarding", "launch")


def _ends(c: Context) -> int:
    """The day on which tenure reaches the months that count."""
    profile = c.account.hot.profile
    return add_months(day_of(profile.tenure_start(c.account.hot.first_event)), c.p["months"])


def _left(c: Context) -> list[tuple[str, int]]:
    """(milestone, day from which it is left) of each step that was called off (-1) or is not done after its date."""
    onboarding = c.dossier.onboarding
    if launched_at(onboarding) >= 0:
        return []
    found = []
    for kind in STEPS:
        for name, step in onboarding.of_kind(kind):
            if step.called_off:
                found.append((name, -1))
            elif not step.done and step.due >= 0:
                found.append((name, step.due + 1 + c.p["late_days"]))
    return sorted(found, key=lambda entry: (entry[1], entry[0]))


def _holding(c: Context) -> list[str]:
    return [name for name, day in _left(c) if day <= c.today]


def _raises(c: Context) -> Finding | None:
    return Finding("warning") if c.midnight and c.today < _ends(c) and _holding(c) else None


def _clears(c: Context) -> str | None:
    if not _holding(c):
        return "recovered"
    return "expired" if c.midnight and c.today >= _ends(c) else None


def _due(c: Context) -> int:
    ends = _ends(c)
    if c.episode is not None:
        return max(ends, c.today + 1) * DAY_US
    days = (max(day, c.today + 1) for _, day in _left(c))
    return min((day for day in days if day < ends), default=0) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    onboarding = c.dossier.onboarding
    holding = _holding(c)
    declined = [name for name in holding if onboarding.milestones[name].called_off]
    late = [name for name in holding if name not in declined]
    proof = evidence(
        "steps_left",
        len(holding),
        "milestones",
        threshold=1,
        event_ids=[onboarding.milestones[name].event_id for name in holding][:20],
    )
    if not holding:
        return "No step of the onboarding is left.", [proof]
    parts = [f"called off: {', '.join(declined)}"] if declined else []
    parts += [f"{c.p['late_days']} days or more past the date: {', '.join(late)}"] if late else []
    return f"The onboarding is unfinished within the first {c.p['months']} months; {'; '.join(parts)}.", [proof]


def _refuses(p: Mapping[str, Any]) -> str:
    return "" if p["months"] <= 120 else "months is at most 120, ten years"


SIGNAL = Signal(
    id="onboarding.skipped",
    version=1,
    title="The onboarding was left",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Tenure is under six months, the launch is not done, and a milestone of kind kickoff, onboarding or launch was called "
        "off (its date was taken away) or is not done 30 days after its date has passed. Raised at midnights. Clears when "
        "nothing is left so (done, launched, or planned anew), or as expired when tenure reaches six months. Tenure counts "
        "from the contract's start, or else from the first event."
    ),
    source="Fourteen commandments of customer success (S. Abdullah), 4",
    reads=Fact.MILESTONES | Fact.PROFILE,
    inputs=("account.milestone_planned", "account.milestone_done", "account.updated"),
    needs=("account.milestone_planned",),
    action=Action(
        title="Win them back to the onboarding: one session on what they need most, with a date",
        owner="csm",
        playbook="onboarding-skipped",
        runbook="onboarding.skipped",
    ),
    thresholds={"default": {"months": 6, "late_days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
    refuses=_refuses,
)


def _step(at: str, due: str | None, kind: str = "onboarding") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.milestone_planned", {"milestone": kind, "due": due, "kind": kind})


def _done(at: str, kind: str = "onboarding") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.milestone_done", {"milestone": kind, "kind": kind})


_START = ("2026-01-01T09:00:00Z", "account.updated", {"contract_start": "2026-01-01"})

CASES = [
    Case(
        name="declined: at the next midnight, until it is taken up again",
        events=[
            _START,
            _step("2026-01-02", "2026-01-20"),
            _step("2026-01-05", None),
            _step("2026-01-09", "2026-01-30"),
        ],
        until="2026-01-31",
        expect=[("2026-01-06T00:00:00Z", "raised", "warning"), ("2026-01-09T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="not done 30 days after its date has passed; launched",
        events=[_START, _step("2026-01-02", "2026-01-20"), _done("2026-02-25", "launch")],
        until="2026-02-28",
        expect=[("2026-02-20T00:00:00Z", "raised", "warning"), ("2026-02-25T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="done on the thirtieth day",
        events=[_START, _step("2026-01-02", "2026-01-20"), _done("2026-02-19")],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="six months end it",
        events=[_START, _step("2026-01-02", "2026-01-20")],
        until="2026-07-31",
        expect=[("2026-02-20T00:00:00Z", "raised", "warning"), ("2026-07-01T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="left on the day on which six months are over",
        events=[_START, _step("2026-01-02", "2026-05-31")],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="left one day before",
        events=[_START, _step("2026-01-02", "2026-05-30")],
        until="2026-06-30",
        expect=[("2026-06-30T00:00:00Z", "raised", "warning"), ("2026-07-01T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="other milestones are no onboarding",
        events=[_START, _step("2026-01-02", "2026-01-20", "other")],
        until="2026-07-31",
        expect=[],
    ),
]
