"""support.reopened: what was solved came back."""

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
from services.signals.catalogue.support_same_topic import beside
from services.signals.core.days import DAY_US
from services.signals.core.support import REOPENED_DAYS, SOLVED_DAYS, Reopened


def _returns(c: Context) -> list[Reopened]:
    return c.dossier.support.returns(c.now, c.p["days"], c.p["again_days"])


def _raises(c: Context) -> Finding | None:
    found = len(_returns(c))
    if found >= c.p["warning_at"]:
        return Finding("warning")
    return Finding("info") if found >= c.p["returns"] else None


def _escalates(c: Context) -> Finding | None:
    worse = c.open.severity == "info" and len(_returns(c)) >= c.p["warning_at"]
    return Finding("warning") if worse else None


def _clears(c: Context) -> str | None:
    return None if _returns(c) else "recovered"


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    return min((known.at + c.p["days"] * DAY_US for known in _returns(c)), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found, days = _returns(c), c.p["days"]
    names = ", ".join(dict.fromkeys(known.ticket_id for known in found[-3:]))
    sentence = f"{times(len(found), 'time')} in {days} days what was solved came back" + (
        f": {names}." if found else "."
    )
    proof = evidence(
        "returns",
        len(found),
        "tickets",
        threshold=c.p["returns"],
        window=(c.now - days * DAY_US, c.now),
        event_ids=[known.event_id for known in found[:20]],
    )
    requests = c.dossier.support.requests
    tickets = (requests[name] for name in dict.fromkeys(known.ticket_id for known in found) if name in requests)
    return sentence, [proof, *beside(c, tickets)]


def _refuses(p: Mapping[str, Any]) -> str:
    if p["days"] > REOPENED_DAYS:
        return f"days: what was reopened is remembered for {REOPENED_DAYS} days"
    longest = SOLVED_DAYS - REOPENED_DAYS
    return (
        f"again_days: at most {longest}, for which solved tickets are remembered" if p["again_days"] > longest else ""
    )


SIGNAL = Signal(
    id="support.reopened",
    version=1,
    title="What was solved came back",
    kind="risk",
    family="support",
    scope="account",
    severity="info; warning from the third time on (high touch the second, tech touch the fifth)",
    pages=False,
    meaning=(
        "In the trailing 30 × 24 h a ticket was reopened, or one was opened on a topic on which another had been resolved "
        "or closed less than 14 × 24 h before (tech touch: two such tickets). Warning from the third time in that window on "
        "(high touch the second, tech touch the fifth). A ticket counts as solved while it is not open, from its first "
        "resolve or close since it was last open. Clears when none came back in the trailing 30 × 24 h."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 2",
    reads=Fact.TICKETS | Fact.TIER,
    inputs=("ticket.opened", "ticket.updated", "ticket.resolved", "ticket.closed", "ticket.reopened"),
    needs=("ticket.opened",),
    action=Action(
        title="Find the cause behind the tickets, and confirm the fix with the person who reported it",
        owner="support",
        playbook="came-back",
        runbook="support.reopened",
    ),
    thresholds={
        "default": {"days": 30, "again_days": 14, "returns": 1, "warning_at": 3},
        "high": {"warning_at": 2},
        "tech": {"returns": 2, "warning_at": 5},
    },
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
)


def _opened(at: str, name: str, topic: str = "login") -> tuple[str, str, dict[str, object]]:
    return (at, "ticket.opened", {"ticket_id": name, "priority": "P3", "topic": topic})


def _step(at: str, name: str, what: str) -> tuple[str, str, dict[str, object]]:
    return (at, f"ticket.{what}", {"ticket_id": name})


_SOLVED = [_opened("2026-01-05T10:00:00Z", "T1"), _step("2026-01-06T10:00:00Z", "T1", "resolved")]

CASES = [
    Case(
        name="reopened; clears 30 × 24 h later",
        events=[*_SOLVED, _step("2026-01-08T10:00:00Z", "T1", "reopened")],
        until="2026-02-28",
        expect=[("2026-01-08T10:00:00Z", "raised", "info"), ("2026-02-07T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the same topic again, just under 14 × 24 h after the resolve",
        events=[*_SOLVED, _opened("2026-01-20T09:59:59Z", "T2")],
        until="2026-01-31",
        expect=[("2026-01-20T09:59:59Z", "raised", "info")],
    ),
    Case(
        name="the same topic exactly 14 × 24 h after the resolve, however late the ticket was closed",
        events=[
            *_SOLVED,
            _step("2026-01-10T10:00:00Z", "T1", "closed"),
            _opened("2026-01-20T10:00:00Z", "T2"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="another topic, and the same while the first is open",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _opened("2026-01-05T11:00:00Z", "T2"),
            _step("2026-01-06T10:00:00Z", "T1", "resolved"),
            _opened("2026-01-07T10:00:00Z", "T3", "export"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="the third time is a warning",
        events=[
            *_SOLVED,
            _step("2026-01-08T10:00:00Z", "T1", "reopened"),
            _step("2026-01-09T10:00:00Z", "T1", "closed"),
            _opened("2026-01-10T10:00:00Z", "T2"),
            _step("2026-01-12T10:00:00Z", "T1", "reopened"),
        ],
        until="2026-01-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "info"), ("2026-01-12T10:00:00Z", "escalated", "warning")],
    ),
    Case(
        name="tech touch: once is nothing",
        events=[
            ("2026-01-01T00:00:00Z", "account.updated", {"tier": "tech"}),
            *_SOLVED,
            _step("2026-01-08T10:00:00Z", "T1", "reopened"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a late resolve shows that the topic came back",
        events=[
            _opened("2026-01-05T10:00:00Z", "T1"),
            _opened("2026-01-08T10:00:00Z", "T2"),
            _step("2026-01-07T10:00:00Z", "T1", "resolved"),
        ],
        until="2026-01-31",
        expect=[("2026-01-08T10:00:00Z", "raised", "info")],
    ),
]
