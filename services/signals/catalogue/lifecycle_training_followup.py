"""lifecycle.training_followup: two weeks after a training, ask what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on
from services.signals.core.advocacy import TRAINING_DAYS
from services.signals.core.days import midnight
from services.signals.core.reminders import Due, Reminder


def _due_days(c: Context) -> Due:
    wait = c.p["days"]
    if not wait:
        return Due()
    days = [day + wait for day in c.dossier.engagement.advocacy.training]
    return Due(
        max((day for day in days if day <= c.today), default=-1),
        min((day for day in days if day > c.today), default=-1),
    )


def _done(c: Context, day: int) -> bool:
    touches = c.dossier.engagement.touches
    return touches.between(midnight(day - c.p["early_days"]) - 1, c.now)


def _stays(c: Context, day: int) -> bool:
    return bool(c.p["days"])


def _refuses(p: Mapping[str, Any]) -> str:
    if p["days"] + p["open_days"] > TRAINING_DAYS:
        return f"days and open_days come to more than the {TRAINING_DAYS} days for which trainings are remembered"
    return ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    sentence = f"The follow-up of a training has been due since {on(due)}."
    return sentence, [evidence("days_since_due", c.today - due, "days", threshold=0, days=(due, c.today))]


_REMINDER = Reminder(_due_days, _done, _stays)

SIGNAL = Signal(
    id="lifecycle.training_followup",
    version=1,
    title="Ask what came of the training",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Low touch: opens at the midnight 14 d after the day of a training, unless a personal contact that counts was held "
        "since 7 d before that midnight. One is open at a time; of several trainings the latest that is due counts. Clears "
        "with the next personal contact, or 30 d after it was due; later than that it does not open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.LEARNING | Fact.TOUCH | Fact.PROFILE,
    inputs=("training.attended", "touchpoint.held"),
    needs=("training.attended",),
    action=Action(
        title="Write to the participants personally: what do they do differently, what is missing",
        owner="csm",
        playbook="training-followup",
        runbook="lifecycle.training_followup",
    ),
    thresholds={"default": {"days": 14, "open_days": 30, "early_days": 7}, "high": {"days": 0}, "tech": {"days": 0}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("engagement",),
    refuses=_refuses,
)


def _trained(at: str) -> tuple[str, str, dict[str, object]]:
    return (at, "training.attended", {"user": "ana"})


def _held(at: str, **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "touchpoint.held", {"kind": "email", **more})


CASES = [
    Case(
        name="14 days after, done by a personal mail",
        events=[_trained("2026-01-05T14:00:00Z"), _held("2026-01-21T10:00:00Z")],
        until="2026-01-31",
        expect=[("2026-01-19T00:00:00Z", "raised", "info"), ("2026-01-21T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="bulk mail does not do it: over after 30 days",
        events=[_trained("2026-01-05T14:00:00Z"), _held("2026-01-21T10:00:00Z", bulk=True)],
        until="2026-02-28",
        expect=[("2026-01-19T00:00:00Z", "raised", "info"), ("2026-02-18T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="talked about in the week before",
        events=[_trained("2026-01-05T14:00:00Z"), _held("2026-01-12T00:00:00Z")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a second before that week",
        events=[_trained("2026-01-05T14:00:00Z"), _held("2026-01-11T23:59:59Z")],
        until="2026-01-19",
        expect=[("2026-01-19T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="high touch talks anyway",
        events=[
            ("2026-01-01T09:00:00Z", "account.updated", {"tier": "high"}),
            _trained("2026-01-05T14:00:00Z"),
        ],
        until="2026-02-28",
        expect=[],
    ),
]
