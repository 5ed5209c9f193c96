"""support.aged_critical: a P1 or P2 has been open for ten days."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US


def aged(c: Context, days: int) -> list[tuple[int, str]]:
    """(critical since, ticket id) of each open P1 or P2 of that age, the oldest first."""
    tickets = c.account.open_tickets
    return tickets.critical[: tickets.critical_for(c.now, days * DAY_US)]


def next_aged(c: Context, days: int) -> int:
    """The next instant at which an open P1 or P2 comes of age, or 0."""
    return c.account.open_tickets.next_critical_for(c.now, days * DAY_US)


def _raises(c: Context) -> Finding | None:
    return Finding("critical") if aged(c, c.p["days"]) else None


def _clears(c: Context) -> str | None:
    return None if aged(c, c.p["days"]) else "recovered"


def _due(c: Context) -> int:
    return next_aged(c, c.p["days"])


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found = aged(c, c.p["days"])
    if not found:
        return f"No P1 or P2 has been open for {c.p['days']} days.", [
            evidence("age_of_oldest_critical", 0, "days", threshold=c.p["days"])
        ]
    since, name = found[0]
    ticket, days = c.account.hot.tickets[name], (c.now - since) // DAY_US
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    proof = evidence(
        "age_of_oldest_critical",
        days,
        "days",
        threshold=c.p["days"],
        window=(since, c.now),
        event_ids=[c.account.hot.tickets[ticket_id].event_id for _, ticket_id in found[:20]],
    )
    return f"{ticket.priority} ticket {name} has been open for {days} days{more}; the limit is {c.p['days']}.", [proof]


SIGNAL = Signal(
    id="support.aged_critical",
    version=2,
    title="A critical ticket does not get solved",
    kind="risk",
    family="support",
    scope="account",
    severity="critical",
    pages=False,
    meaning=(
        "A P1 or P2 has been open for at least 10 × 24 h since it was opened, or since it last became P1 or P2 from P3 or "
        "P4. Reopening keeps the age. Clears when there is none."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.TICKETS,
    inputs=("ticket.opened", "ticket.updated", "ticket.resolved", "ticket.closed", "ticket.reopened"),
    needs=("ticket.opened",),
    action=Action(
        title="Escalate the ticket to an owner with a date, and tell the customer the date",
        owner="support",
        playbook="aged-critical",
        runbook="support.aged_critical",
    ),
    thresholds={"default": {"days": 10}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("tickets",),
    describe=_describe,
)


def _ticket(at: str, what: str, **data: object) -> tuple[str, str, dict[str, object]]:
    return (at, f"ticket.{what}", {"ticket_id": "T1", **data})


CASES = [
    Case(
        name="to the second ten days, cleared by the resolve",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P2"),
            _ticket("2026-01-20T08:00:00Z", "resolved"),
        ],
        until="2026-01-20",
        expect=[("2026-01-15T10:00:00Z", "raised", "critical"), ("2026-01-20T08:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="resolved a second before",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P1"),
            _ticket("2026-01-15T09:59:59Z", "resolved"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a P3 never ages; as a P2 it does, from then on",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P3"),
            _ticket("2026-02-05T10:00:00Z", "updated", priority="P2"),
            _ticket("2026-02-07T10:00:00Z", "updated", priority="P1"),
        ],
        until="2026-02-15",
        expect=[("2026-02-15T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="lowered to P4 in time",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P1"),
            _ticket("2026-01-10T10:00:00Z", "updated", priority="P4"),
        ],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="reopening keeps the old age",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P1"),
            _ticket("2026-01-08T10:00:00Z", "closed"),
            _ticket("2026-01-18T10:00:00Z", "reopened"),
        ],
        until="2026-01-18",
        expect=[("2026-01-18T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="a late resolve: raised at its instant, then cleared",
        events=[
            _ticket("2026-01-05T10:00:00Z", "opened", priority="P1"),
            ("2026-01-16T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _ticket("2026-01-14T10:00:00Z", "resolved"),
        ],
        until="2026-01-16",
        expect=[("2026-01-15T10:00:00Z", "raised", "critical"), ("2026-01-16T10:00:00Z", "cleared", "critical")],
    ),
]
