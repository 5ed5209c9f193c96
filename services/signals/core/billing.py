"""Payments and orders beyond the unpaid invoices, in bounded form, and what is paid per product."""

from __future__ import annotations

from bisect import insort
from itertools import pairwise
from statistics import mean, median
from typing import Final

from msgspec import Struct, field

from services.signals.core.days import DAY_US, day_of
from services.signals.core.subscriptions import Subscriptions

FAILED_DAYS: Final = 60
MAX_FAILURES: Final = 50
MAX_PAYMENTS: Final = 12
MAX_ORDERS: Final = 26


class Failure(Struct, array_like=True):
    """A payment failed at `at` (µs). `settled` says that its invoice is paid, voided or credited by now."""

    at: int
    invoice_id: str
    event_id: str
    attempt: int | None = None
    settled: bool = False


class Payment(Struct, array_like=True):
    """A recurring invoice that was paid: issued and settled at these instants (µs), the latter by an event."""

    issued_at: int
    paid_at: int
    invoice_id: str
    event_id: str = ""

    @property
    def days(self) -> int:
        """Whole UTC days from issue to payment, 0 where it was paid before."""
        return max(0, day_of(self.paid_at) - day_of(self.issued_at))


class Order(Struct, array_like=True):
    """An invoice as an order: the day on which it was issued."""

    day: int
    invoice_id: str
    event_id: str = ""


class Billing(Struct, array_like=True):
    """What finance knows of an account: failures by time, payments by issue, orders by day, and what is paid per line."""

    failures: list[Failure] = []
    payments: list[Payment] = []
    orders: list[Order] = []
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    def fail(self, failure: Failure, clock: int) -> int:
        """Note a failed payment; a known attempt at an invoice is the same one. How many were dropped for lack of room."""
        if failure.attempt is not None and any(
            (known.invoice_id, known.attempt) == (failure.invoice_id, failure.attempt) for known in self.failures
        ):
            return 0
        since = clock - FAILED_DAYS * DAY_US
        kept = [known for known in self.failures if known.at > since]
        insort(kept, failure, key=lambda known: known.at)
        self.failures = kept[-MAX_FAILURES:]
        return max(0, len(kept) - MAX_FAILURES)

    def settle(self, invoice_id: str) -> None:
        """An invoice needs no payment any more: its failures are over."""
        for failure in self.failures:
            if failure.invoice_id == invoice_id:
                failure.settled = True

    def pay(self, payment: Payment) -> None:
        """Note that a recurring invoice was paid; the latest issued are kept."""
        insort(self.payments, payment, key=lambda known: known.issued_at)
        del self.payments[:-MAX_PAYMENTS]

    def order(self, order: Order) -> None:
        """Note an invoice as an order; the latest are kept."""
        insort(self.orders, order, key=lambda known: known.day)
        del self.orders[:-MAX_ORDERS]

    def withdraw(self, invoice_id: str) -> None:
        """A voided invoice was no order."""
        self.orders = [order for order in self.orders if order.invoice_id != invoice_id]


def days_to_pay(billing: Billing, invoices: int = 3) -> float | None:
    """Mean days from issue to payment of the last so many recurring invoices that were paid, None where there are fewer."""
    found = [payment.days for payment in billing.payments[-invoices:]]
    return mean(found) if len(found) == invoices else None


def usual_interval(billing: Billing) -> tuple[int, float] | None:
    """The day of the last order and the median of days between orders, None with fewer than two days with orders."""
    days = sorted({order.day for order in billing.orders})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    return (days[-1], median(gaps)) if gaps else None
