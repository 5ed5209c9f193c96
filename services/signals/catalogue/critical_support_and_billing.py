"""critical.support_and_billing: a critical ticket has aged and the latest invoice is 30 days overdue."""

from __future__ import annotations

from services.signals.catalogue.billing_overdue import days_overdue, next_step, past_due
from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.catalogue.support_aged_critical import aged, next_aged


def _raises(c: Context) -> Finding | None:
    both = aged(c, c.p["ticket_days"]) and days_overdue(c) >= c.p["overdue_days"]
    return Finding("critical") if both else None


def _clears(c: Context) -> str | None:
    return None if aged(c, c.p["ticket_days"]) and past_due(c) else "recovered"


def _due(c: Context) -> int:
    dues = (next_aged(c, c.p["ticket_days"]), next_step(c, [1, c.p["overdue_days"]]))
    return min((due for due in dues if due), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    tickets, days = aged(c, c.p["ticket_days"]), days_overdue(c)
    age = (c.now - tickets[0][0]) // 86_400_000_000 if tickets else 0
    sentence = (
        f"The oldest open P1 or P2 is {age} days old (limit {c.p['ticket_days']}) and the latest invoice is {days} days "
        f"overdue (limit {c.p['overdue_days']})."
    )
    known = c.account.hot.tickets
    invoices = [c.account.hot.invoices[name].event_id for _, name in past_due(c)[-1:]]
    proofs = [
        evidence(
            "age_of_oldest_critical",
            age,
            "days",
            threshold=c.p["ticket_days"],
            event_ids=[known[name].event_id for _, name in tickets[:20]],
        ),
        evidence("days_overdue", days, "days", threshold=c.p["overdue_days"], event_ids=invoices),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="critical.support_and_billing",
    version=2,
    title="Unsolved critical ticket, and not paying",
    kind="risk",
    family="critical",
    scope="account",
    severity="critical",
    pages=True,
    composite=True,
    meaning=(
        "A P1 or P2 has been open for at least 10 × 24 h and the latest recurring invoice past due is at least 30 days "
        "overdue. The time is that of the later part. Clears when no P1 or P2 of that age is open, or no recurring invoice "
        "is unpaid past due."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.TICKETS | Fact.INVOICES,
    inputs=("ticket.opened", "ticket.updated", "ticket.resolved", "ticket.closed", "invoice.issued", "invoice.paid"),
    needs=("ticket.opened", "invoice.issued"),
    action=Action(
        title="Bring support and finance to one table today; solve the ticket before asking for money",
        owner="csm",
        playbook="support-and-billing",
        runbook="critical.support_and_billing",
    ),
    thresholds={"default": {"ticket_days": 10, "overdue_days": 30}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("tickets", "invoices"),
    describe=_describe,
)

_ISSUED = (
    "2026-01-01T09:00:00Z",
    "invoice.issued",
    {"invoice_id": "I1", "amount": "100.00", "currency": "EUR", "due": "2026-01-15"},
)


def _ticket(at: str, what: str = "opened", **data: object) -> tuple[str, str, dict[str, object]]:
    return (at, f"ticket.{what}", {"ticket_id": "T1", **data})


CASES = [
    Case(
        name="the invoice is the later part",
        events=[_ISSUED, _ticket("2026-01-20T10:00:00Z", priority="P1")],
        until="2026-02-14",
        expect=[("2026-02-14T00:00:00Z", "raised", "critical")],
    ),
    Case(
        name="the ticket is the later part, and its resolve clears",
        events=[
            _ISSUED,
            _ticket("2026-02-10T10:00:00Z", priority="P2"),
            _ticket("2026-02-22T10:00:00Z", "resolved"),
        ],
        until="2026-02-22",
        expect=[("2026-02-20T10:00:00Z", "raised", "critical"), ("2026-02-22T10:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="29 days overdue",
        events=[_ISSUED, _ticket("2026-01-20T10:00:00Z", priority="P1")],
        until="2026-02-12",
        expect=[],
    ),
    Case(
        name="a ticket of nine days",
        events=[
            _ISSUED,
            _ticket("2026-02-10T10:00:00Z", priority="P1"),
            _ticket("2026-02-19T10:00:00Z", "resolved"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a P3 however old",
        events=[_ISSUED, _ticket("2026-01-20T10:00:00Z", priority="P3")],
        until="2026-03-31",
        expect=[],
    ),
]
