"""lifecycle.csat_after_ticket: a ticket was solved, and nobody has said how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Signal, evidence, on, times
from services.signals.core.days import DAY_US, midnight
from services.signals.core.reminders import Due, Reminder, last_answer, next_midnight
from services.signals.core.support import SOLVED_DAYS


def _all_solved(c: Context) -> dict[str, int]:
    """When each ticket was solved that is not open again (µs)."""
    return {name: known.ends[-1] for name, known in c.dossier.support.solved.items() if known.stands}


def _solved(c: Context, day: int) -> dict[str, int]:
    """Those whose reminder is due on this day."""
    return {name: at for name, at in _all_solved(c).items() if next_midnight(at) == day}


def _does_not_answer(c: Context) -> bool:
    """Whether the latest tickets that there was time to judge were all left without a word, and no CSAT was answered."""
    before = midnight(c.today - c.p["open_days"])
    asked = sorted((at, name) for name, at in _all_solved(c).items() if at < before)[-c.p["patience"] :]
    if len(asked) < c.p["patience"] or any(name in c.dossier.support.rated for _, name in asked):
        return False
    return last_answer(c, "csat") < asked[0][0]


def _due_days(c: Context) -> Due:
    if not c.p["by_hand"]:
        return Due()
    days = [next_midnight(at) for at in _all_solved(c).values()]
    today = -1 if c.today not in days or _does_not_answer(c) else c.today
    return Due(today, min((day for day in days if day > c.today), default=-1))


def _done(c: Context, day: int) -> bool:
    solved, rated = _solved(c, day), c.dossier.support.rated
    if not solved:
        return False
    return last_answer(c, "csat") >= min(solved.values()) or all(name in rated for name in solved)


def _stays(c: Context, day: int) -> bool:
    return bool(c.p["by_hand"] and _solved(c, day))


def _refuses(p: Mapping[str, Any]) -> str:
    if p["patience"] < 1:
        return "patience is how many tickets without a word are enough: 1 or more"
    if not 1 <= p["open_days"] <= SOLVED_DAYS // 2:
        return f"open_days must be 1 to {SOLVED_DAYS // 2}: solved tickets are remembered for {SOLVED_DAYS} days"
    return ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    due = c.open.frozen["due"]
    rated = c.dossier.support.rated
    waiting = sorted(name for name in _solved(c, due) if name not in rated)
    named = f": {', '.join(waiting[:5])}" if waiting else ""
    sentence = f"{times(len(waiting), 'ticket')} solved by {on(due)} and not rated{named}."
    proof = evidence("tickets_not_rated", len(waiting), "tickets", threshold=1, window=(midnight(due) - DAY_US, c.now))
    return sentence, [proof]


_REMINDER = Reminder(_due_days, _done, _stays)

SIGNAL = Signal(
    id="lifecycle.csat_after_ticket",
    version=1,
    title="Ask how the ticket went",
    kind="opportunity",
    family="lifecycle",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Opens at the midnight after a ticket was resolved or closed, where it was not rated and no CSAT survey was "
        "answered since; it names all tickets solved on that day. One is open at a time, so that nobody is asked twice in "
        "a week unless they answer; tickets solved meanwhile are not asked about. Where neither of the latest 2 tickets "
        "that were solved 7 d or longer ago was rated, and no CSAT answered since, the customer does not answer: nothing "
        "opens. Clears when every such ticket is rated or a CSAT survey is answered, when they are open again, or after 7 "
        "d. Not for tech touch, where nobody asks by hand."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7, ch. 17",
    reads=Fact.TICKETS | Fact.SURVEYS | Fact.PROFILE,
    inputs=("ticket.resolved", "ticket.closed", "ticket.reopened", "ticket.rated", "survey.answered"),
    needs=("ticket.opened",),
    action=Action(
        title="Send the one-question survey about this ticket",
        owner="support",
        playbook="csat-survey",
        runbook="lifecycle.csat_after_ticket",
    ),
    thresholds={"default": {"open_days": 7, "patience": 2, "by_hand": True}, "tech": {"by_hand": False}},
    raises=_REMINDER.raises,
    clears=_REMINDER.clears,
    due=_REMINDER.wakes,
    describe=_describe,
    held_by=("tickets", "engagement"),
    refuses=_refuses,
)


def _ticket(at: str, what: str, ticket: str = "T1", **more: object) -> tuple[str, str, dict[str, object]]:
    data = {"ticket_id": ticket, **({"priority": "P3"} if what == "opened" else {}), **more}
    return (at, f"ticket.{what}", data)


CASES = [
    Case(
        name="at the midnight after the close, done by the rating",
        events=[
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-06T15:00:00Z", "closed"),
            _ticket("2026-01-09T10:00:00Z", "rated", score=5),
        ],
        until="2026-01-31",
        expect=[("2026-01-07T00:00:00Z", "raised", "info"), ("2026-01-09T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="two tickets of one day are one reminder; over after 7 days",
        events=[
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-05T09:00:00Z", "opened", "T2"),
            _ticket("2026-01-06T15:00:00Z", "resolved"),
            _ticket("2026-01-06T16:00:00Z", "resolved", "T2"),
            _ticket("2026-01-09T10:00:00Z", "rated", "T2", score=5),
        ],
        until="2026-01-31",
        expect=[("2026-01-07T00:00:00Z", "raised", "info"), ("2026-01-14T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="one is open at a time",
        events=[
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-06T15:00:00Z", "resolved"),
            _ticket("2026-01-08T09:00:00Z", "opened", "T2"),
            _ticket("2026-01-08T15:00:00Z", "resolved", "T2"),
            ("2026-01-10T10:00:00Z", "survey.answered", {"survey_id": "c1", "kind": "csat", "score": 4, "user": "ana"}),
        ],
        until="2026-01-31",
        expect=[("2026-01-07T00:00:00Z", "raised", "info"), ("2026-01-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="rated on the day it was closed",
        events=[
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-06T15:00:00Z", "closed"),
            _ticket("2026-01-06T15:10:00Z", "rated", score=2),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="tech touch asks by machine",
        events=[
            ("2026-01-02T09:00:00Z", "account.updated", {"tier": "tech"}),
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-06T15:00:00Z", "closed"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="open again before midnight",
        events=[
            _ticket("2026-01-05T09:00:00Z", "opened"),
            _ticket("2026-01-06T15:00:00Z", "resolved"),
            _ticket("2026-01-06T18:00:00Z", "reopened"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="twice without an answer: not asked a third time",
        events=[
            step
            for n, day in enumerate(("01", "09", "17", "25"))
            for step in (
                _ticket(f"2026-01-{day}T09:00:00Z", "opened", f"T{n}"),
                _ticket(f"2026-01-{day}T15:00:00Z", "closed", f"T{n}"),
            )
        ],
        until="2026-02-28",
        expect=[
            (f"2026-01-{day}T00:00:00Z", what, "info")
            for raised, cleared in (("02", "09"), ("10", "17"))
            for day, what in ((raised, "raised"), (cleared, "cleared"))
        ],
    ),
]
