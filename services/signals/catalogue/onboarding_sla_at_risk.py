"""onboarding.sla_at_risk: the launch will be later than eight weeks after the signature, or is."""

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
from services.signals.core.days import DAY_US, day_of, day_of_iso
from services.signals.core.onboarding import launched_at


def _signed(c: Context) -> int:
    """The day of the signature, -1 where it is not known."""
    return day_of_iso(c.account.hot.profile.fields.get("contract_start"))


def _kickoff_slip(c: Context) -> int:
    """Days by which a kickoff is, or was, later than its earliest date."""
    slips = [0]
    for _, kickoff in c.dossier.onboarding.of_kind("kickoff"):
        if kickoff.done and kickoff.earliest >= 0:
            slips.append(day_of(kickoff.done_at) - kickoff.earliest)
        else:
            slips.append(kickoff.days_late(c.today))
    return max(slips)


def _projected(c: Context) -> int:
    """The day for which the launch is planned, today once that has passed; -1 where no launch is planned."""
    planned = [launch.due for _, launch in c.dossier.onboarding.of_kind("launch") if not launch.done]
    return max(max(planned), c.today) if any(due >= 0 for due in planned) else -1


def _content(c: Context, since: int) -> bool:
    """Whether somebody answered an onboarding survey well, at or after an instant."""
    answers = c.dossier.engagement.surveys.answers.get("onboarding", {}).values()
    return any(answer.at >= since and answer.score >= c.p["content_at"] for answer in answers)


def _at_risk(c: Context, signed: int) -> bool:
    return bool(_kickoff_slip(c) >= c.p["kickoff_slip_days"] or _projected(c) > signed + c.p["sla_days"])


def _raises(c: Context) -> Finding | None:
    signed = _signed(c)
    if signed < 0 or not c.today < signed + c.p["young_days"] or launched_at(c.dossier.onboarding) >= 0:
        return None
    return Finding("warning") if _at_risk(c, signed) and not _content(c, 0) else None


def _clears(c: Context) -> str | None:
    signed, launched = _signed(c), launched_at(c.dossier.onboarding)
    if signed < 0:
        return "not_applicable"
    if _content(c, c.open.opened_at):
        return "recovered"
    if launched >= 0:
        if day_of(launched) <= signed + c.p["sla_days"]:
            return "recovered"
        return "expired" if c.now >= launched + c.p["forget_days"] * DAY_US else None
    if not _at_risk(c, signed):
        return "recovered"
    return "expired" if c.today >= signed + c.p["give_up_days"] else None


def _due(c: Context) -> int:
    signed, onboarding = _signed(c), c.dossier.onboarding
    launched = launched_at(onboarding)
    if signed < 0:
        return 0
    if launched >= 0:
        return launched + c.p["forget_days"] * DAY_US if c.episode is not None else 0
    slip = c.p["kickoff_slip_days"]
    days = [signed + c.p["sla_days"] + 1, signed + c.p["give_up_days"]]
    days += [max(k.due + 1, k.earliest + slip) for _, k in onboarding.of_kind("kickoff") if not k.done and k.due >= 0]
    return min((day * DAY_US for day in days if day > c.today), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    signed, onboarding = _signed(c), c.dossier.onboarding
    launched, projected, slip = launched_at(onboarding), _projected(c), _kickoff_slip(c)
    due = signed + c.p["sla_days"]
    steps = onboarding.milestones
    done = sum(step.done for step in steps.values())
    if launched >= 0:
        state = f"launched on {on(day_of(launched))}"
    elif projected >= 0:
        state = f"the launch is expected on {on(projected)}"
    else:
        state = f"no launch is planned; with the kickoff's delay it is expected on {on(due + slip)}"
    sentence = f"Onboarding is due on {on(due)}, {c.p['sla_days']} days after the signature; {state}."
    if slip:
        sentence = f"{sentence[:-1]}; the kickoff slipped by {times(slip, 'day')}."
    expected = day_of(launched) if launched >= 0 else projected if projected >= 0 else due + slip
    kickoffs = [kickoff.event_id for _, kickoff in onboarding.of_kind("kickoff") if kickoff.event_id]
    proofs = [
        evidence("days_to_launch", expected - signed, "days", threshold=c.p["sla_days"]),
        evidence("kickoff_slip", slip, "days", threshold=c.p["kickoff_slip_days"], event_ids=kickoffs[:20]),
        evidence("milestones_done", done, "milestones", baseline=len(steps)),
    ]
    return sentence, proofs


def _refuses(p: Mapping[str, Any]) -> str:
    return "" if p["sla_days"] <= 3650 else "sla_days is at most 3650, ten years"


SIGNAL = Signal(
    id="onboarding.sla_at_risk",
    version=1,
    title="Onboarding will be late",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Onboarding is due 56 days after the contract's start. In the first 182 days, before the launch is done: the kickoff "
        "is 14 days or more behind its earliest date (at the event that plans it anew, or once that much has passed), or the "
        "launch is planned for later than the due day, or not done when that day ends. Not where an onboarding survey was "
        "answered with 4 or 5. Clears with such an answer after the raise, when launched by the due day, when planned anew "
        "within it; expires 90 days after a late launch, or a year after the contract's start."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.MILESTONES | Fact.SURVEYS | Fact.PROFILE,
    inputs=(
        "account.updated",
        "account.milestone_planned",
        "account.milestone_done",
        "survey.answered",
    ),
    needs=("profile.contract_start", "account.milestone_planned"),
    action=Action(
        title="Bring the launch forward: cut the scope of the first step, or add hands, and tell the customer which",
        owner="csm",
        playbook="onboarding-sla",
        runbook="onboarding.sla_at_risk",
    ),
    thresholds={
        "default": {
            "sla_days": 56,
            "kickoff_slip_days": 14,
            "content_at": 4,
            "young_days": 182,
            "forget_days": 90,
            "give_up_days": 365,
        }
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
    refuses=_refuses,
)


def _planned(at: str, due: str, kind: str = "kickoff") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.milestone_planned", {"milestone": kind, "due": due, "kind": kind})


def _done(at: str, kind: str = "launch") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T15:00:00Z", "account.milestone_done", {"milestone": kind, "kind": kind})


def _answer(at: str, score: int, kind: str = "onboarding") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T10:00:00Z", "survey.answered", {"survey_id": "S", "kind": kind, "score": score, "user": "ana"})


# Signed on 2026-01-01: due on 2026-02-26.
_SIGNED = ("2026-01-01T08:00:00Z", "account.updated", {"contract_start": "2026-01-01"})

CASES = [
    Case(
        name="the kickoff is planned anew 14 days later; launched late; content with it",
        events=[
            _SIGNED,
            _planned("2026-01-02", "2026-01-05"),
            _planned("2026-01-04", "2026-01-19"),
            _done("2026-01-19", "kickoff"),
            _planned("2026-01-19", "2026-03-05", "launch"),
            _done("2026-03-05"),
            _answer("2026-03-09", 4),
        ],
        until="2026-03-31",
        expect=[("2026-01-04T09:00:00Z", "raised", "warning"), ("2026-03-09T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the kickoff slips by 13 days",
        events=[
            _SIGNED,
            _planned("2026-01-02", "2026-01-05"),
            _planned("2026-01-04", "2026-01-18"),
            _done("2026-01-18", "kickoff"),
        ],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="the kickoff's date passes by 14 days",
        events=[_SIGNED, _planned("2026-01-02", "2026-01-05")],
        until="2026-01-31",
        expect=[("2026-01-19T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="the launch is planned one day too late, then for the due day",
        events=[
            _SIGNED,
            _planned("2026-01-10", "2026-02-27", "launch"),
            _planned("2026-01-12", "2026-02-26", "launch"),
            _done("2026-02-26"),
        ],
        until="2026-05-31",
        expect=[("2026-01-10T09:00:00Z", "raised", "warning"), ("2026-01-12T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="planned in time and not done when the due day ends; 3 of 5 is not content; forgotten 90 days after the launch",
        events=[
            _SIGNED,
            _planned("2026-01-10", "2026-02-20", "launch"),
            _done("2026-03-02"),
            _answer("2026-03-04", 3),
        ],
        until="2026-06-30",
        expect=[("2026-02-27T00:00:00Z", "raised", "warning"), ("2026-05-31T15:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a 10 in another kind of survey clears nothing",
        events=[_SIGNED, _planned("2026-01-10", "2026-03-20", "launch"), _answer("2026-01-20", 10, "nps")],
        until="2026-01-31",
        expect=[("2026-01-10T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="launched in time after a slipped kickoff",
        events=[
            _SIGNED,
            _planned("2026-01-02", "2026-01-05"),
            _planned("2026-01-04", "2026-01-19"),
            _planned("2026-01-19", "2026-02-26", "launch"),
            _done("2026-02-26"),
        ],
        until="2026-03-31",
        expect=[("2026-01-04T09:00:00Z", "raised", "warning"), ("2026-02-26T15:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the signature is not known",
        events=[_planned("2026-01-02", "2026-01-05"), _planned("2026-01-04", "2026-01-19")],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="a new module in the third year is no onboarding",
        events=[
            ("2026-01-01T08:00:00Z", "account.updated", {"contract_start": "2024-01-01"}),
            _planned("2026-01-02", "2026-01-05"),
            _planned("2026-01-04", "2026-01-19"),
        ],
        until="2026-03-31",
        expect=[],
    ),
]
