"""How an invented customer asks for help: its tickets, and what becomes of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

from services.demo.customer import HELPDESK, Customer
from services.demo.events import Draft

TOPICS: Final = ("import", "export", "permissions", "reports", "billing", "integrations", "mobile", "notifications")
CATEGORIES: Final = ("how_to", "how_to", "bug", "bug", "feature_request", "performance", "other")
QUIET_BEFORE, QUIET_DAYS = 8, 45
"""Where tickets are the story, there are no others around it."""


class Help:
    """The tickets of one customer."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self._tickets = 0

    def events(self) -> Iterator[Draft]:
        """Tickets now and then, and those of the customer's story."""
        customer, plan, rng = self.customer, self.customer.plan, self.customer.rng
        day = plan.starts + 2.0
        rate = {"high": 25, "low": 45, "tech": 90}[plan.tier]
        while True:
            # At least five days apart: what heaps up is the archetypes' business, not chance's.
            day += 5 + rng.expovariate(1 / rate)
            if day >= customer.last:
                break
            if not self._quiet(day):
                priority = rng.choices(("P1", "P2", "P3", "P4"), (1, 6, 60, 33))[0]
                category = "feature_request" if customer.is_a("misfit") else rng.choice(CATEGORIES)
                yield from self._ticket(
                    customer.working_day(int(day)), rng.uniform(0.1, 4), priority, rng.choice(TOPICS), category
                )
        yield from self._story()

    def _quiet(self, day: float) -> bool:
        if self.customer.is_a("silent"):
            return day > self.customer.plan.trouble
        telling = self.customer.is_a("support_burst", "same_topic", "support_and_billing", "aged_critical", "recovered")
        return telling and -QUIET_BEFORE <= day - self.customer.plan.trouble <= QUIET_DAYS

    def _story(self) -> Iterator[Draft]:
        customer, rng, begins = self.customer, self.customer.rng, self.customer.plan.trouble
        match customer.plan.archetype:
            case "support_burst":
                for number in range(rng.randrange(5, 8)):
                    topic, category = TOPICS[number], rng.choice(CATEGORIES)
                    yield from self._ticket(begins + number * 5 // 7, rng.uniform(1, 6), "P3", topic, category)
            case "same_topic":
                # Solved, come back, solved again; in the end it is escalated.
                for number, days in enumerate((3.0, 4.0, 9.0)):
                    day, last = begins + 4 * number, number == 2
                    yield from self._ticket(
                        day, days, "P3", "reports", "bug", reopened=not number, escalated=last, rated=2
                    )
            case "aged_critical":
                yield from self._ticket(begins, rng.uniform(12, 30), rng.choice(("P1", "P2")), "import", "bug")
            case "support_and_billing":
                yield from self._ticket(begins + 20, 30, "P1", "import", "bug")
            case "recovered":
                yield from self._ticket(begins, 17, "P1", "integrations", "performance", escalated=True, rated=4)
            case "evaluating":
                for number, topic in enumerate(("export", "billing", "export", "integrations")):
                    category = "feature_request" if topic == "integrations" else "pricing"
                    yield from self._ticket(begins + 3 * number, rng.uniform(0.5, 3), "P3", topic, category)
            case "misfit":
                for number in range(7):
                    yield from self._ticket(begins + 9 * number, rng.uniform(1, 5), "P4", TOPICS[number], "other")

    def _ticket(
        self,
        day: int,
        open_days: float,
        priority: str,
        topic: str,
        category: str,
        *,
        reopened: bool = False,
        escalated: bool = False,
        rated: int = 0,
    ) -> Iterator[Draft]:
        """One ticket. `rated` 0 leaves to chance whether and how; one that is `reopened` takes a day and a half more."""
        customer, rng = self.customer, self.customer.rng
        self._tickets += 1
        ticket = {"ticket_id": f"{customer.plan.account[:40]}-{self._tickets}"}
        opened = customer.at(day)
        asking = customer.user(rng.randrange(max(1, min(3, customer.pool))))
        details = {"priority": priority, "user": asking, "topic": topic, "category": category}
        yield Draft(opened, "ticket.opened", ticket | details, HELPDESK)
        solved = opened + dt.timedelta(minutes=round(open_days * 1440))
        yield Draft(opened + dt.timedelta(minutes=rng.randrange(5, 240)), "ticket.responded", ticket, HELPDESK)
        if escalated:
            yield Draft(opened + (solved - opened) / 3, "ticket.escalated", ticket, HELPDESK)
        yield Draft(solved, "ticket.resolved", ticket, HELPDESK)
        if reopened:
            yield Draft(solved + dt.timedelta(hours=12), "ticket.reopened", ticket, HELPDESK)
            solved += dt.timedelta(hours=36)
            yield Draft(solved, "ticket.resolved", ticket, HELPDESK)
        yield Draft(solved + dt.timedelta(hours=30), "ticket.closed", ticket, HELPDESK)
        # The question goes out with the answer, and most reply to it at once.
        if rated or rng.random() < 0.65:
            score = rated or rng.choice((3, 4, 4, 5, 5))
            at = solved + dt.timedelta(minutes=rng.randrange(1, 20))
            yield Draft(at, "ticket.rated", ticket | {"score": score}, HELPDESK)
