"""Topic `invoices`: what is owed and what was paid. Amounts are decimal strings, dates are UTC dates."""

from __future__ import annotations

import datetime as dt

from msgspec import Struct

from schemas.envelope import Count, Currency, Decimal, Identifier, LongText, Number, Text, event_type

TOPIC = "invoices"


class InvoiceLine(Struct, kw_only=True):
    """One product on an invoice; `discount` in percentage points."""

    product: Text
    quantity: Number | None = None
    unit_price: Decimal | None = None
    discount: Number | None = None


class InvoiceIssued(Struct, kw_only=True):
    """An invoice was issued. One that is not recurring never counts as overdue."""

    invoice_id: Identifier
    amount: Decimal
    currency: Currency
    due: dt.date
    period_start: dt.date | None = None
    period_end: dt.date | None = None
    recurring: bool = True
    lines: list[InvoiceLine] | None = None


class InvoicePayment(Struct, kw_only=True):
    """`invoice.paid` settles the invoice whatever the amount; `invoice.partly_paid` adds to what was paid."""

    invoice_id: Identifier
    amount: Decimal
    currency: Currency | None = None


class PaymentFailed(Struct, kw_only=True):
    """A payment attempt failed."""

    invoice_id: Identifier
    attempt: Count | None = None
    reason: LongText | None = None


class InvoiceReduced(Struct, kw_only=True):
    """`invoice.voided` settles the invoice; `invoice.credited` reduces it by `amount`, wholly when it is absent."""

    invoice_id: Identifier
    amount: Decimal | None = None


TYPES = (
    event_type(TOPIC, "invoice.issued", InvoiceIssued),
    event_type(TOPIC, "invoice.paid", InvoicePayment),
    event_type(TOPIC, "invoice.partly_paid", InvoicePayment),
    event_type(TOPIC, "invoice.payment_failed", PaymentFailed),
    event_type(TOPIC, "invoice.voided", InvoiceReduced),
    event_type(TOPIC, "invoice.credited", InvoiceReduced),
)
