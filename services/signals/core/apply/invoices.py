"""Topic `invoices` into state."""

from __future__ import annotations

from decimal import Decimal

from schemas.envelope import Event
from schemas.events.invoices import InvoiceIssued, InvoiceLine, InvoicePayment, InvoiceReduced, PaymentFailed
from services.signals.core.apply.handler import Handler, Records
from services.signals.core.billing import Failure, Order, Payment
from services.signals.core.days import day_of, day_of_date
from services.signals.core.records import Invoice
from services.signals.core.signal import Fact
from services.signals.core.state import MAX_OPEN_INVOICES, Account
from services.signals.core.subscriptions import INVOICED, Level, Subscriptions

MONTH_DAYS = Decimal(365) / 12
CENT = Decimal("0.01")


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
    invoice.issued_at = at
    if Decimal(invoice.paid) >= Decimal(invoice.amount) and Decimal(invoice.paid) > 0:
        invoice.settled = True
    billing = account.change_dossier().billing
    billing.order(Order(day_of(at), data.invoice_id, event.id))
    facts = Fact.INVOICES
    if data.recurring and data.lines:
        _note_lines(account, billing.subscriptions, data, at, event.id)
        facts |= Fact.SUBSCRIPTIONS
    if invoice.settled:
        _note_settled(account, data.invoice_id, invoice, event.id)
    _keep_invoice(account, data.invoice_id, invoice)
    return facts


def invoice_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice whatever the amount."""
    return _settle(account, event, records, None, paid_at=at)


def invoice_partly_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice when all parts and credits together reach its amount."""
    data: InvoicePayment = event.data
    return _settle(account, event, records, data.amount, paid_at=at)


def invoice_reduced(account: Account, event: Event, at: int, records: Records) -> int:
    """A credit counts like a payment; without an amount it is the whole invoice."""
    data: InvoiceReduced = event.data
    return _settle(account, event, records, data.amount)


def invoice_voided(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice; it was no order."""
    account.change_dossier().billing.withdraw(event.data.invoice_id)
    return _settle(account, event, records, None)


def payment_failed(account: Account, event: Event, at: int, records: Records) -> int:
    """A payment failed, of an invoice that may be settled by now."""
    data: PaymentFailed = event.data
    invoice = records.invoice(account, data.invoice_id)
    settled = invoice is not None and invoice.settled
    failure = Failure(at, data.invoice_id, event.id, data.attempt, settled)
    account.hot.over_cap += account.change_dossier().billing.fail(failure, account.hot.clock)
    return Fact.INVOICES


def _settle(account: Account, event: Event, records: Records, amount: str | None, paid_at: int = -1) -> int:
    invoice_id, event_id = event.data.invoice_id, event.id
    invoice = records.invoice(account, invoice_id) or Invoice()
    was_settled = invoice.settled
    if amount is None:
        invoice.settled = True
    else:
        invoice.paid = str(Decimal(invoice.paid) + Decimal(amount))
        if invoice.issued and Decimal(invoice.paid) >= Decimal(invoice.amount):
            invoice.settled = True
    if not was_settled:
        invoice.paid_at = paid_at
        if invoice.settled:
            _note_settled(account, invoice_id, invoice, event_id)
    _keep_invoice(account, invoice_id, invoice)
    return Fact.INVOICES


def _note_settled(account: Account, invoice_id: str, invoice: Invoice, event_id: str) -> None:
    """Its failures are over; where a payment settled it, it says how long the account takes to pay."""
    billing = account.change_dossier().billing
    billing.settle(invoice_id)
    if invoice.issued and invoice.recurring and invoice.paid_at >= 0:
        billing.pay(Payment(invoice.issued_at, invoice.paid_at, invoice_id, event_id))


def _note_lines(account: Account, paid: Subscriptions, data: InvoiceIssued, at: int, event_id: str) -> None:
    """What a recurring invoice says of each product, per month.

    A product that stood on the last invoice with one of these, and does not stand on this one, is not paid any more.
    """
    by_product: dict[str, list[InvoiceLine]] = {}
    for line in data.lines or ():
        by_product.setdefault(line.product, []).append(line)
    months = Decimal(1)
    if data.period_start is not None and data.period_end is not None:
        days = (data.period_end - data.period_start).days + 1
        months = max(Decimal(1), (days / MONTH_DAYS).quantize(Decimal(1)))
    before = {known.bill for known in paid.of(INVOICED) if known.product in by_product and known.billed_at <= at}
    for product, lines in by_product.items():
        kept = paid.line(INVOICED, product, product)
        if kept is None:
            account.hot.over_cap += 1
            continue
        kept.say(_level(at, lines, months, event_id))
        if at >= kept.billed_at:
            kept.bill, kept.billed_at = data.invoice_id, at
    for known in paid.of(INVOICED):
        if known.product not in by_product and known.bill in before and known.billed_at <= at:
            known.say(Level(at, mrr="0", event_id=event_id))


def _level(at: int, lines: list[InvoiceLine], months: Decimal, event_id: str) -> Level:
    """What the lines of one product come to per month. A part that some of them lack is not known."""
    quantities = [None if line.quantity is None else Decimal(str(line.quantity)) for line in lines]
    prices = [None if line.unit_price is None else Decimal(line.unit_price) for line in lines]
    discounts = [Decimal(str(line.discount or 0)) for line in lines]
    sold = [quantity for quantity in quantities if quantity is not None]
    priced = [
        (quantity, price, discount)
        for quantity, price, discount in zip(quantities, prices, discounts, strict=True)
        if quantity is not None and price is not None
    ]
    amount = sum((quantity * price * (1 - discount / 100) for quantity, price, discount in priced), Decimal(0))
    whole = len(priced) == len(lines)
    one = len(lines) == 1
    return Level(
        at,
        mrr=str((amount / months).quantize(CENT)) if whole else None,
        quantity=str(sum(sold, Decimal(0))) if len(sold) == len(lines) else None,
        unit_price=str((prices[0] / months).quantize(Decimal("0.0001"))) if one and prices[0] is not None else None,
        discount=str(discounts[0]) if one else None,
        event_id=event_id,
    )


def _keep_invoice(account: Account, invoice_id: str, invoice: Invoice) -> None:
    """Unpaid invoices live in the account's own record, the others in records of their own."""
    if invoice.issued and not invoice.settled:
        account.hot.invoices[invoice_id] = invoice
        account.invoices.pop(invoice_id, None)
        account.dirty_invoices.pop(invoice_id, None)
        return
    account.hot.invoices.pop(invoice_id, None)
    account.invoices[invoice_id] = invoice
    account.dirty_invoices[invoice_id] = None


BY_TYPE: dict[str, Handler] = {
    "invoice.issued": invoice_issued,
    "invoice.paid": invoice_paid,
    "invoice.partly_paid": invoice_partly_paid,
    "invoice.voided": invoice_voided,
    "invoice.credited": invoice_reduced,
    "invoice.payment_failed": payment_failed,
}
