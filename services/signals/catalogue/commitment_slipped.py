"""commitment.slipped: a date promised to the account was moved later, or has passed."""

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
from services.signals.core.onboarding import Promise


def _subjects(c: Context) -> list[str]:
    return [name for name, made in c.dossier.onboarding.commitments.items() if not made.done and made.due >= 0]


def _made(c: Context) -> Promise:
    return c.dossier.onboarding.commitments.get(c.subject) or Promise()


def _raises(c: Context) -> Finding | None:
    made = _made(c)
    slipped = made.days_late(c.today) and c.today <= made.due + c.p["forget_days"]
    return Finding("warning") if slipped else None


def _clears(c: Context) -> str | None:
    made = _made(c)
    if made.called_off:
        return "not_applicable"
    if not made.days_late(c.today):
        return "recovered"
    return "expired" if c.today > made.due + c.p["forget_days"] else None


def _due(c: Context) -> int:
    made = _made(c)
    if made.done or made.due < 0:
        return 0
    days = (made.due + 1, made.due + 1 + c.p["forget_days"])
    return min((day * DAY_US for day in days if day > c.today), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    made = _made(c)
    late = made.days_late(c.today)
    proof = evidence(
        "days_late",
        late,
        "days",
        baseline=on(made.earliest) if made.earliest >= 0 else None,
        threshold=1,
        event_ids=[made.event_id] if made.event_id else None,
    )
    if made.done or made.due < 0:
        word = "was kept" if made.done else "has no date any more"
        return f"What was promised, {c.subject}, {word}.", [proof]
    state = f"it is now promised for {on(made.due)}" if c.today <= made.due else "it was not kept"
    sentence = f"{c.subject} was promised for {on(made.earliest)}; {state}, {times(late, 'day')} late."
    return sentence, [proof]


SIGNAL = Signal(
    id="commitment.slipped",
    version=1,
    title="A promise to the customer slipped",
    kind="risk",
    family="commitment",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "For each commitment that is not kept and has a date: the date was moved later than the earliest one it ever had "
        "(at the event that moves it), or it has passed (at the midnight that ends it). Clears when kept, when moved back, "
        "when the date is taken away, or 90 days after the promised date has passed."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3",
    reads=Fact.COMMITMENTS,
    inputs=("account.commitment_made", "account.commitment_kept"),
    needs=("account.commitment_made",),
    action=Action(
        title="Tell the customer before they ask: why it slipped, the new date, and who answers for it",
        owner="csm",
        playbook="commitment-slipped",
        runbook="commitment.slipped",
    ),
    thresholds={"default": {"forget_days": 90}},
    subjects=_subjects,
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("accounts",),
    describe=_describe,
)


def _promised(at: str, due: str | None) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.commitment_made", {"commitment": "export to the warehouse", "due": due})


def _kept(at: str) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.commitment_kept", {"commitment": "export to the warehouse"})


CASES = [
    Case(
        name="the date passes; kept later",
        events=[_promised("2026-01-01", "2026-01-10"), _kept("2026-01-13")],
        until="2026-01-31",
        expect=[("2026-01-11T00:00:00Z", "raised", "warning"), ("2026-01-13T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="kept on the day",
        events=[_promised("2026-01-01", "2026-01-10"), _kept("2026-01-10")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="moved by one day: at once",
        events=[
            _promised("2026-01-01", "2026-01-10"),
            _promised("2026-01-05", "2026-01-11"),
            _kept("2026-01-11"),
        ],
        until="2026-01-31",
        expect=[("2026-01-05T09:00:00Z", "raised", "warning"), ("2026-01-11T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="promised again for the same day",
        events=[
            _promised("2026-01-01", "2026-01-10"),
            _promised("2026-01-05", "2026-01-10"),
            _kept("2026-01-09"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a late word of the first date shows the slip",
        events=[_promised("2026-01-05", "2026-01-12"), _promised("2026-01-01", "2026-01-10")],
        until="2026-01-10",
        expect=[("2026-01-05T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="promised without a date",
        events=[_promised("2026-01-01", None)],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="forgotten 90 days after its date has passed",
        events=[_promised("2026-01-01", "2026-01-10")],
        until="2026-05-31",
        expect=[("2026-01-11T00:00:00Z", "raised", "warning"), ("2026-04-11T00:00:00Z", "cleared", "warning")],
    ),
]
