"""What an invented customer and the vendor agreed on: goals with their measures, and dates that were promised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.demo.customer import APP, CRM, Customer
from services.demo.events import Draft

GOALS: Final = (
    ("faster planning", "days per cycle", 12, 5),
    ("fewer errors", "corrections per month", 40, 15),
    ("one forecast", "files per forecast", 9, 1),
    ("more self-service", "requests per week", 30, 12),
)
SHARE: Final = 0.3
"""Of customers that are there already track goals."""


def goals(customer: Customer) -> Iterator[Draft]:
    """The goals of a customer that tracks any, and the promises made to one to whom they are not kept."""
    plan, rng = customer.plan, customer.rng
    if customer.is_a("growing"):
        yield from _reached(customer, GOALS[0], max(plan.starts, plan.trouble - 45), plan.trouble)
    elif customer.is_a("broken_promises"):
        yield from _missed(customer, GOALS[1])
        yield from _promises(customer)
    elif not plan.starts and not customer.is_a("silent", "churned", "declining", "buyer") and rng.random() < SHARE:
        day = rng.randrange(2, 60)
        for number, goal in enumerate(GOALS):
            # The first is a small one: what is worth something is wanted soon.
            reached = day + (rng.randrange(90, 140) if number else rng.randrange(30, 58))
            yield from _reached(customer, goal, day, reached)
            day = reached + rng.randrange(3, 12)


def _reached(customer: Customer, goal: tuple[str, str, int, int], agreed: int, reached: int) -> Iterator[Draft]:
    """A goal that is measured on its way and reached in time."""
    name, metric, baseline, target = goal
    due = customer.date(max(reached + 10, agreed + 30))
    terms = {"goal": name, "metric": metric, "baseline": baseline, "target": target, "due": due}
    yield Draft(customer.at(agreed, 0.3), "account.goal_set", terms, CRM)
    for step in (1, 2):
        value = round(baseline + (target - baseline) * step / 3, 1)
        day = agreed + (reached - agreed) * step // 3
        yield Draft(customer.at(day, 9), "account.goal_measured", {"goal": name, "value": value}, CRM)
    end = customer.at(customer.working_day(reached))
    yield Draft(end, "usage.value_reached", {"goal": name, "value": target, "user": customer.user(0)}, APP)
    yield Draft(end, "account.goal_achieved", {"goal": name, "value": target}, CRM)


def _missed(customer: Customer, goal: tuple[str, str, int, int]) -> Iterator[Draft]:
    """A goal that is far from reached when most of its time is over; later it gets another date."""
    name, metric, baseline, target = goal
    begins = customer.plan.trouble
    terms = {"goal": name, "metric": metric, "baseline": baseline, "target": target}
    yield Draft(customer.at(begins - 60, 14), "account.goal_set", terms | {"due": customer.date(begins + 40)}, CRM)
    measured = {"goal": name, "value": round(baseline + (target - baseline) * 0.1, 1)}
    yield Draft(customer.at(begins, 14), "account.goal_measured", measured, CRM)
    yield Draft(customer.at(begins + 50, 14), "account.goal_set", terms | {"due": customer.date(begins + 200)}, CRM)


def _promises(customer: Customer) -> Iterator[Draft]:
    """Two dates that were promised: one passes, one is moved; both are kept late."""
    begins = customer.plan.trouble
    made = (("single sign-on", begins - 20, 15), ("audit log", begins - 10, 30), ("audit log", begins + 25, 60))
    for promise, day, due in made:
        data = {"commitment": promise, "due": customer.date(begins + due)}
        yield Draft(customer.at(day, 15), "account.commitment_made", data, CRM)
    for promise, kept in (("single sign-on", 44), ("audit log", 58)):
        yield Draft(customer.at(begins + kept, 15), "account.commitment_kept", {"commitment": promise}, CRM)
