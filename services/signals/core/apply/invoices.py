"""Topic `invoices` into state."""

from __future__ import annotations

from decimal import Decimal

from schemas.envelope import Event
from schemas.events.invoices import InvoiceIssued, InvoicePayment, InvoiceReduced
from services.signals.core.apply.handler import Handler, Records, known
from services.signals.core.days import day_of_date
from services.signals.core.records import Invoice
from services.signals.core.signal import Fact
from services.signals.core.state import MAX_OPEN_INVOICES, Account


def invoice_issued(account: Account, event: Event, at: int, records: Records) -> int:
    """An invoice is issued once. What was paid before it was known counts."""
    data: InvoiceIssued = event.data
    hot = account.hot
    invoice = records.invoice(account, data.invoice_id) or Invoice()
    if invoice.issued:
        return 0
    if len(hot.invoices) >= MAX_OPEN_INVOICES:
        hot.over_cap += 1
        return 0
    invoice.issued = True
    invoice.due_day = day_of_date(data.due)
    invoice.amount, invoice.currency = data.amount, data.currency
    invoice.recurring = data.recurring
    invoice.event_id = event.id
    if Decimal(invoice.paid) >= Decimal(invoice.amount) and Decimal(invoice.paid) > 0:
        invoice.settled = True
    _keep_invoice(account, data.invoice_id, invoice)
    return Fact.INVOICES


def invoice_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice whatever the amount."""
    return _settle(account, event.data.invoice_id, records, None)


def invoice_partly_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice when all parts and credits together reach its amount."""
    data: InvoicePayment = event.data
    return _settle(account, data.invoice_id, records, data.amount)


def invoice_reduced(account: Account, event: Event, at: int, records: Records) -> int:
    """A credit counts like a payment; without an amount it is the whole invoice."""
    data: InvoiceReduced = event.data
    return _settle(account, data.invoice_id, records, data.amount)


def invoice_voided(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice."""
    return _settle(account, event.data.invoice_id, records, None)


def _settle(account: Account, invoice_id: str, records: Records, amount: str | None) -> int:
    invoice = records.invoice(account, invoice_id) or Invoice()
    if amount is None:
        invoice.settled = True
    else:
        invoice.paid = str(Decimal(invoice.paid) + Decimal(amount))
        if invoice.issued and Decimal(invoice.paid) >= Decimal(invoice.amount):
            invoice.settled = True
    _keep_invoice(account, invoice_id, invoice)
    return Fact.INVOICES


def _keep_invoice(account: Account, invoice_id: str, invoice: Invoice) -> None:
    """Unpaid invoices live in the account's own record, the others in records of their own."""
    if invoice.issued and not invoice.settled:
        account.hot.invoices[invoice_id] = invoice
        account.invoices.pop(invoice_id, None)
        account.dirty_invoices.discard(invoice_id)
        return
    account.hot.invoices.pop(invoice_id, None)
    account.invoices[invoice_id] = invoice
    account.dirty_invoices.add(invoice_id)


BY_TYPE: dict[str, Handler] = {
    "invoice.issued": invoice_issued,
    "invoice.paid": invoice_paid,
    "invoice.partly_paid": invoice_partly_paid,
    "invoice.voided": invoice_voided,
    "invoice.credited": invoice_reduced,
    "invoice.payment_failed": known,
}
