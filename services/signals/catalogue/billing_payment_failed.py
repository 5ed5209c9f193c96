"""billing.payment_failed: a payment failed, or payments fail again and again."""

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
    times,
)
from services.signals.core.billing import FAILED_DAYS, Failure
from services.signals.core.days import DAY_US


def _failures(c: Context) -> list[Failure]:
    since = c.now - FAILED_DAYS * DAY_US
    return [known for known in c.dossier.billing.failures if since < known.at <= c.now]


def _raises(c: Context) -> Finding | None:
    found = _failures(c)
    if len(found) >= c.p["failures"]:
        return Finding("warning")
    return Finding("info") if any(not known.settled for known in found) else None


def _escalates(c: Context) -> Finding | None:
    return Finding("warning") if c.open.severity == "info" and len(_failures(c)) >= c.p["failures"] else None


def _clears(c: Context) -> str | None:
    if _raises(c) is not None:
        return None
    return "recovered" if all(known.settled for known in c.dossier.billing.failures) else "expired"


def _due(c: Context) -> int:
    if c.episode is None:
        return 0
    return min((known.at + FAILED_DAYS * DAY_US for known in _failures(c)), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found = _failures(c)
    unpaid = sorted({known.invoice_id for known in found if not known.settled})
    still = f"unpaid since: {', '.join(unpaid[:3])}" if unpaid else "all of them are settled by now"
    sentence = f"{times(len(found), 'payment')} failed in {FAILED_DAYS} days; {still}."
    proof = evidence(
        "failed_payments",
        len(found),
        "payments",
        threshold=c.p["failures"],
        window=(c.now - FAILED_DAYS * DAY_US, c.now),
        event_ids=[known.event_id for known in found[:20]],
    )
    return sentence, [proof, evidence("invoices_unpaid_after_failure", len(unpaid), "invoices")]


SIGNAL = Signal(
    id="billing.payment_failed",
    version=1,
    title="A payment failed",
    kind="risk",
    family="billing",
    scope="account",
    severity="info; warning from the second failure in 60 days on",
    pages=False,
    meaning=(
        "A payment failed in the trailing 60 × 24 h and its invoice is not settled (info), or at least 2 failed in that time, "
        "settled or not (warning). A failure with a number of attempt is identified by invoice and attempt. Clears when "
        "neither holds."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.INVOICES | Fact.TIER,
    inputs=("invoice.payment_failed", "invoice.paid", "invoice.partly_paid", "invoice.voided", "invoice.credited"),
    needs=("invoice.issued",),
    action=Action(
        title="Ask for another means of payment; find out whether it is the card or the will",
        owner="finance",
        playbook="payment-failed",
        runbook="billing.payment_failed",
    ),
    thresholds={"default": {"failures": 2}},
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _invoice(day: str, name: str, what: str, **data: object) -> tuple[str, str, dict[str, object]]:
    return (f"2026-{day}T10:00:00Z", f"invoice.{what}", {"invoice_id": name, **data})


def _issued(day: str, name: str) -> tuple[str, str, dict[str, object]]:
    return _invoice(day, name, "issued", amount="100.00", currency="EUR", due="2026-12-31")


CASES = [
    Case(
        name="one failure, until the invoice is paid",
        events=[
            _issued("01-05", "I1"),
            _invoice("01-10", "I1", "payment_failed", attempt=1),
            _invoice("01-12", "I1", "paid", amount="100.00"),
        ],
        until="2026-01-31",
        expect=[("2026-01-10T10:00:00Z", "raised", "info"), ("2026-01-12T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="never paid: forgotten after 60 × 24 h",
        events=[_issued("01-05", "I1"), _invoice("01-10", "I1", "payment_failed")],
        until="2026-04-30",
        expect=[("2026-01-10T10:00:00Z", "raised", "info"), ("2026-03-11T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the second in just under 60 × 24 h, although both were paid in the end",
        events=[
            _issued("01-05", "I1"),
            _invoice("01-10", "I1", "payment_failed"),
            _invoice("01-12", "I1", "paid", amount="100.00"),
            _issued("03-01", "I2"),
            ("2026-03-11T09:59:59Z", "invoice.payment_failed", {"invoice_id": "I2"}),
            ("2026-03-11T09:59:59Z", "invoice.paid", {"invoice_id": "I2", "amount": "100.00"}),
        ],
        until="2026-03-31",
        expect=[
            ("2026-01-10T10:00:00Z", "raised", "info"),
            ("2026-01-12T10:00:00Z", "cleared", "info"),
            ("2026-03-11T09:59:59Z", "raised", "warning"),
            ("2026-03-11T10:00:00Z", "cleared", "warning"),
        ],
    ),
    Case(
        name="the second attempt at one invoice; told twice it is one",
        events=[
            _issued("01-05", "I1"),
            _invoice("01-10", "I1", "payment_failed", attempt=1),
            _invoice("01-11", "I1", "payment_failed", attempt=1),
            _invoice("01-13", "I1", "payment_failed", attempt=2),
        ],
        until="2026-01-31",
        expect=[("2026-01-10T10:00:00Z", "raised", "info"), ("2026-01-13T10:00:00Z", "escalated", "warning")],
    ),
    Case(
        name="a failure that is heard of after the payment",
        events=[
            _issued("01-05", "I1"),
            _invoice("01-12", "I1", "paid", amount="100.00"),
            _invoice("01-10", "I1", "payment_failed"),
        ],
        until="2026-01-31",
        expect=[],
    ),
]
