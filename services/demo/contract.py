"""What an invented customer bought and pays: its profile, its contract, its subscriptions and its invoices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from services.demo.customer import BILLING, CRM, TERM_DAYS, Customer
from services.demo.events import Draft

CSMS: Final = {
    "high": ("ines.moreau", "tom.becker", "yuki.sato"),
    "low": ("mia.torres", "jon.hale", "priya.nair", "lea.vogt"),
    "tech": ("pool.digital",),
}
PLANS: Final = {"high": "enterprise", "low": "business", "tech": "team"}
REASONS: Final = ("no ROI", "low adoption", "missing feature", "sponsor change", "acquired")
ORDER_DAYS, NO_ORDER_DAYS = 45, 130
OPT_OUT_DAYS: Final = 60


class Contract:
    """The account, its contract and its money."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        rng = customer.rng
        # What is paid in the term of the first day, and in each later one; the history goes one term back.
        self.rises = 1 + (rng.uniform(0.26, 0.4) if customer.fast else rng.uniform(0.0, 0.075))
        self.currency = "EUR" if customer.region == "EMEA" else "USD"
        self.value_priced = customer.is_a("healthy") and rng.random() < 0.12
        self.opts_out = customer.plan.tier == "low" and rng.random() < 0.12
        self.who: dict[str, Any] = {
            "name": customer.plan.name,
            "tier": customer.plan.tier,
            "industry": customer.industry,
            "region": customer.region,
            "plan": PLANS[customer.plan.tier],
            "csm": rng.choice(CSMS[customer.plan.tier]),
            "currency": self.currency,
        }
        self.pays_before = rng.randrange(3, 18)
        """Days before the due date on which it usually pays."""

    def events(self) -> Iterator[Draft]:
        """Who it is, what it bought and pays, and whether it stays."""
        yield self._profile()
        if self.customer.is_a("buyer"):
            yield from self._orders()
            return
        yield from self._subscription()
        yield from self._terms()
        yield from self._invoices()

    def mrr(self, day: int) -> str:
        """What is paid per month on a day; the profile and the subscription say the same."""
        renewals = self.customer.renewals
        terms = sum(renewal <= day for renewal in renewals) - (day < renewals[0] - TERM_DAYS)
        left = 0.7 if self.customer.in_trouble(day, "contracting") else 1.0
        return f"{round(self.customer.mrr * self.rises**terms * left)}.00"

    def _profile(self) -> Draft:
        customer, plan = self.customer, self.customer.plan
        seats = customer.seats * 2 if customer.is_a("shelfware") else customer.seats
        renewal = customer.date(customer.renewals[0])
        profile: dict[str, Any] = {
            **self.who,
            "seats": seats,
            "mrr": self.mrr(plan.starts),
            "contract_start": customer.date(customer.contract_start),
            "contract_end": renewal,
            "renewal_date": renewal,
            "auto_renew": plan.tier == "tech",
            "pricing": "value" if self.value_priced else "per_seat",
            "stage": "live",
        }
        if self.opts_out:
            profile["opt_out_by"] = customer.date(customer.renewals[0] - OPT_OUT_DAYS)
        if customer.is_a("misfit"):
            profile["fit"] = 0.3
        if customer.is_a("buyer"):
            for member in ("contract_end", "renewal_date"):
                del profile[member]
            profile |= {"auto_renew": False, "pricing": "usage"}
        return Draft(customer.at(plan.starts, 0.1), "account.updated", profile, CRM)

    def _subscription(self) -> Iterator[Draft]:
        """What is paid, by time; what was paid in the term before is imported where there was one."""
        customer, plan = self.customer, self.customer.plan

        def said(day: int, hour: float, kind: str, quantity: int, discount: int = 10) -> Draft:
            data = {"subscription_id": "platform", "product": "platform", "mrr": self.mrr(day), "kind": kind}
            return Draft(
                customer.at(day, hour),
                "account.subscription_changed",
                data | {"quantity": quantity, "discount": discount},
                CRM,
            )

        if customer.is_a("stuck_pilot"):
            return
        seats = customer.seats * 2 if customer.is_a("shelfware") else customer.seats
        term = customer.renewals[0] - TERM_DAYS
        begun = max(customer.contract_start, term - TERM_DAYS)
        for day, kind in ((begun, "new"), (term, "renewal"))[: 1 + (begun < term)]:
            # Later in the day than renewals are, so that a year later the new price is known before the old one counts.
            yield said(day, 0.2 if plan.starts else 12, kind, seats)
            if day < plan.starts:
                stated = self.who | {"mrr": self.mrr(day)}
                yield Draft(customer.at(day, 11.9), "account.updated", stated, CRM)
        for day in customer.renewals:
            yield said(day, 11.1, "renewal", seats)
        if customer.is_a("contracting"):
            # Every other one keeps its seats, and pays less for each.
            fewer = customer.rng.random() < 0.5
            yield said(plan.trouble, 10, "downsell", round(0.7 * seats) if fewer else seats, 10 if fewer else 37)
            if fewer:
                less = {"seats": round(0.7 * seats), "mrr": self.mrr(plan.trouble)}
                yield Draft(customer.at(plan.trouble, 10.1), "account.updated", less, CRM)

    def _terms(self) -> Iterator[Draft]:
        customer, plan = self.customer, self.customer.plan
        if plan.churns is not None:
            reason = customer.rng.choice(REASONS)
            left = {"reason": reason, "avoidable": reason != "acquired"}
            yield Draft(customer.at(plan.churns, 17), "account.churned", left, CRM)
        for day in customer.renewals:
            renewed = {"mrr": self.mrr(day), "term_months": 12}
            yield Draft(customer.at(day, 11), "account.renewed", renewed, CRM)
            if self.opts_out:
                again = {"opt_out_by": customer.date(day + TERM_DAYS - OPT_OUT_DAYS)}
                yield Draft(customer.at(day, 11.2), "account.updated", again, CRM)

    def _invoices(self) -> Iterator[Draft]:
        """Monthly or quarterly invoices, due after 30 days and mostly paid before. A pilot that gets nowhere is free."""
        customer, plan = self.customer, self.customer.plan
        if customer.is_a("stuck_pilot"):
            return
        late = customer.is_a("late_payer", "support_and_billing")
        period = 30 if customer.monthly and not late else 91
        # Of late payers one falls due on the day the trouble begins.
        issued = (plan.trouble - 30) % period if late else plan.starts or customer.rng.randrange(period)
        issued += period * math.ceil(max(0, plan.starts - issued) / period)
        failing = 2
        for number, day in enumerate(range(issued, customer.last, period), 1):
            due = day + 30
            amount = f"{int(self.mrr(day)[:-3]) * (1 if period == 30 else 3)}.00"
            failed = customer.in_trouble(due, "card_failing") and failing > 0
            failing -= failed
            yield from self._invoice(number, day, amount, self._paid(due, failed=failed), failed=failed)

    def _paid(self, due: int, *, failed: bool) -> int:
        """The day on which an invoice is paid."""
        customer, plan, rng = self.customer, self.customer.plan, self.customer.rng
        if failed:
            return due + 6
        if customer.in_trouble(due, "late_payer"):
            return due + rng.choice((6, 20, 38, 66))
        if customer.is_a("support_and_billing") and due == plan.trouble:
            return due + 50
        if customer.in_trouble(due - 31, "silent", "churned"):
            return due + rng.choice((10, 40, 90))
        if customer.is_a("paying_later"):
            return due - (2 if due >= plan.trouble else 18) + rng.randrange(-2, 2)
        if rng.random() < 0.01:
            return due + rng.randrange(2, 5)
        return due - min(max(self.pays_before + rng.randrange(-3, 4), 1), 20)

    def _invoice(
        self, number: int, day: int, amount: str, paid: int, *, failed: bool = False, product: str = "platform"
    ) -> Iterator[Draft]:
        customer, due = self.customer, day + 30
        invoice = {"invoice_id": f"INV-{number:03d}"}
        details = {"amount": amount, "currency": self.currency, "due": customer.date(due)}
        lines = [{"product": product, "quantity": customer.seats}]
        yield Draft(customer.at(day, 8), "invoice.issued", invoice | details | {"lines": lines}, BILLING)
        for attempt, tried in enumerate((due - 2, due + 3) if failed else (), 1):
            refused = invoice | {"attempt": attempt, "reason": "card expired"}
            yield Draft(customer.at(tried, 6), "invoice.payment_failed", refused, BILLING)
        settled = invoice | {"amount": amount, "currency": self.currency}
        yield Draft(customer.at(paid, 12), "invoice.paid", settled, BILLING)

    def _orders(self) -> Iterator[Draft]:
        """One that buys every six weeks, without a contract, and then does not for months."""
        customer, plan = self.customer, self.customer.plan
        days = [
            day + customer.rng.randrange(-3, 4)
            for day in range(plan.starts + 6, customer.last, ORDER_DAYS)
            if not plan.trouble <= day < plan.trouble + NO_ORDER_DAYS
        ]
        for number, day in enumerate(days, 1):
            yield from self._invoice(number, day, f"{customer.mrr * 3 // 2}.00", day + 20, product="credits")
