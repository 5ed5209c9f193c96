"""billing.paying_later: the last three invoices took longer to be paid than the three before."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.billing import Payment
from services.signals.core.days import day_of

COMPARED = 3


def _paid(c: Context) -> tuple[list[Payment], list[Payment]]:
    """The last three recurring invoices that were paid, by issue, and the three before; empty where there are too few."""
    payments = c.dossier.billing.payments
    return (payments[-COMPARED:], payments[-2 * COMPARED : -COMPARED]) if len(payments) >= 2 * COMPARED else ([], [])


def _total(payments: list[Payment]) -> int:
    return sum(payment.days for payment in payments)


def _raises(c: Context) -> Finding | None:
    last, before = _paid(c)
    if not last or _total(last) - _total(before) < c.p["days"] * COMPARED:
        return None
    return Finding("info", frozen={"before": _total(before), "until": last[-1].issued_at})


def _clears(c: Context) -> str | None:
    last, _ = _paid(c)
    if _total(last) - c.open.frozen["before"] < c.p["clear_days"] * COMPARED:
        return "recovered"
    return "usual" if all(payment.issued_at > c.open.frozen["until"] for payment in last) else None


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    last, _ = _paid(c)
    now, before = _total(last) / COMPARED, c.open.frozen["before"] / COMPARED
    first, final = day_of(last[0].issued_at), day_of(last[-1].issued_at)
    sentence = (
        f"The last {COMPARED} invoices, of {on(first)} to {on(final)}, took {now:.0f} days to be paid on average; "
        f"{before:.0f} were usual before."
    )
    proof = evidence(
        "days_to_pay",
        round(now, 1),
        "days",
        baseline=round(before, 1),
        threshold=round(before + c.p["days"], 1),
        days=(first, day_of(max(payment.paid_at for payment in last))),
        event_ids=[payment.event_id for payment in last],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="billing.paying_later",
    version=1,
    title="Invoices are paid later and later",
    kind="risk",
    family="billing",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The mean of whole UTC days from issue to payment of the last 3 recurring invoices that were paid, by their issue, is "
        "at least 10 days above the mean of the 3 before, which is frozen at the raise. Invoices settled by a void or a "
        "credit do not count. Clears when the mean is less than 5 days above the frozen one, or when the last 3 were all "
        "issued after those of the raise: late has become usual."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3",
    reads=Fact.INVOICES | Fact.TIER,
    inputs=("invoice.issued", "invoice.paid", "invoice.partly_paid"),
    needs=("invoice.paid",),
    action=Action(
        title="Ask the buyer what changed in how invoices are released, and tell the CSM what it was",
        owner="finance",
        playbook="paying-later",
        runbook="billing.paying_later",
    ),
    thresholds={"default": {"days": 10, "clear_days": 5}},
    raises=_raises,
    clears=_clears,
    describe=_describe,
)


def _invoices(*days_to_pay: int, recurring: bool = True) -> list[tuple[str, str, dict[str, object]]]:
    """One invoice on the first of each month of 2025, paid after so many days (at most 27)."""
    events: list[tuple[str, str, dict[str, object]]] = []
    for month, days in enumerate(days_to_pay, 1):
        name = f"I{month}"
        data = {"amount": "100.00", "currency": "EUR", "due": "2026-11-30", "recurring": recurring}
        events += [
            (f"2025-{month:02d}-01T09:00:00Z", "invoice.issued", {"invoice_id": name, **data}),
            (f"2025-{month:02d}-{1 + days:02d}T09:00:00Z", "invoice.paid", {"invoice_id": name, "amount": "100.00"}),
        ]
    return events


CASES = [
    Case(
        name="10 days later on average; back to less than 5 more",
        events=_invoices(5, 10, 15, 20, 20, 20, 10, 10, 14),
        until="2025-12-31",
        expect=[("2025-06-21T09:00:00Z", "raised", "info"), ("2025-08-11T09:00:00Z", "cleared", "info")],
    ),
    Case(
        name="9 and two thirds of a day later", events=_invoices(5, 10, 15, 20, 20, 19), until="2025-12-31", expect=[]
    ),
    Case(
        name="late has become usual",
        events=_invoices(2, 2, 2, 20, 20, 20, 20, 20, 20),
        until="2025-12-31",
        expect=[("2025-06-21T09:00:00Z", "raised", "info"), ("2025-09-21T09:00:00Z", "cleared", "info")],
    ),
    Case(name="five invoices are too few", events=_invoices(2, 2, 20, 20, 20), until="2025-12-31", expect=[]),
    Case(
        name="one-off invoices do not count",
        events=_invoices(2, 2, 2, 20, 20, 20, recurring=False),
        until="2025-12-31",
        expect=[],
    ),
]
